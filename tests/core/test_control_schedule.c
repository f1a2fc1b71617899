#include "daemon/core/control_schedule.h"

#include "tests/support/run_suite.h"

#define NOW_MS UINT64_C(1000000)

/* One that wants its first heartbeat. */
static struct control_schedule wanting(void)
{
    struct control_schedule schedule;
    control_schedule_init(&schedule);
    control_schedule_want(&schedule, 1, NOW_MS);
    return schedule;
}

/* One whose heartbeat of that number was taken at NOW_MS. */
static struct control_schedule registered(void)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_end_beat(&schedule, CONTROL_TAKEN, NOW_MS);
    return schedule;
}

static enum control_step next(const struct control_schedule *schedule, uint64_t now_ms)
{
    return control_schedule_next(schedule, 0, now_ms);
}

START_TEST(nothing_is_said_before_there_is_something_to_say)
{
    struct control_schedule schedule;
    control_schedule_init(&schedule);
    ck_assert_int_eq(next(&schedule, NOW_MS + 3600000), CONTROL_NOTHING);
    ck_assert_uint_eq(control_schedule_due_ms(&schedule), NEVER_MS);
}
END_TEST

START_TEST(what_is_wanted_is_said_at_once_and_then_every_thirty_seconds)
{
    struct control_schedule schedule = wanting();
    ck_assert_int_eq(next(&schedule, NOW_MS), CONTROL_BEAT);
    for (uint64_t at_ms = NOW_MS; at_ms < NOW_MS + 3600000; at_ms += 30000) {
        ck_assert_int_eq(next(&schedule, at_ms), CONTROL_BEAT);
        control_schedule_begin(&schedule);
        control_schedule_end_beat(&schedule, CONTROL_TAKEN, at_ms);
        ck_assert_int_eq(next(&schedule, at_ms + 29999), CONTROL_NOTHING);
        ck_assert_uint_eq(control_schedule_due_ms(&schedule), at_ms + 30000);
    }
}
END_TEST

START_TEST(one_thing_is_said_at_a_time)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    ck_assert_int_eq(control_schedule_next(&schedule, 1, NOW_MS), CONTROL_NOTHING);
    ck_assert_uint_eq(control_schedule_due_ms(&schedule), NEVER_MS);
}
END_TEST

START_TEST(what_was_left_is_unregistered_before_the_next_heartbeat)
{
    struct control_schedule schedule = registered();
    control_schedule_want(&schedule, 2, NOW_MS);
    ck_assert_int_eq(control_schedule_next(&schedule, 1, NOW_MS), CONTROL_UNREGISTER);
    control_schedule_begin(&schedule);
    control_schedule_end_unregister(&schedule);
    ck_assert_int_eq(next(&schedule, NOW_MS), CONTROL_BEAT);
}
END_TEST

START_TEST(what_changes_while_a_heartbeat_is_on_its_way_is_said_after_it)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_want(&schedule, 2, NOW_MS);
    ck_assert(!control_schedule_has_done(&schedule, 1));
    control_schedule_end_beat(&schedule, CONTROL_TAKEN, NOW_MS + 5);
    ck_assert(control_schedule_has_done(&schedule, 1));
    ck_assert(!control_schedule_has_done(&schedule, 2));
    ck_assert_int_eq(next(&schedule, NOW_MS + 5), CONTROL_BEAT);
}
END_TEST

START_TEST(after_a_failure_the_next_one_waits_for_the_broker_and_nobody_for_it)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_end_beat(&schedule, CONTROL_FAILED, NOW_MS);
    ck_assert(schedule.is_patient);
    ck_assert(control_schedule_has_done(&schedule, 1));
    ck_assert_int_eq(next(&schedule, NOW_MS), CONTROL_BEAT);
    control_schedule_begin(&schedule);
    control_schedule_want(&schedule, 2, NOW_MS);
    ck_assert_msg(control_schedule_has_done(&schedule, 2), "the broker is away");
}
END_TEST

START_TEST(patient_ones_that_cannot_even_wait_do_not_spin)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_end_beat(&schedule, CONTROL_FAILED, NOW_MS);
    for (unsigned i = 0; i < 10; i++) {
        control_schedule_begin(&schedule);
        control_schedule_end_beat(&schedule, CONTROL_FAILED, NOW_MS);
        ck_assert_int_eq(next(&schedule, NOW_MS + 999), CONTROL_NOTHING);
        ck_assert_int_eq(next(&schedule, NOW_MS + 1000), CONTROL_BEAT);
    }
}
END_TEST

START_TEST(one_that_is_taken_ends_the_patience)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_end_beat(&schedule, CONTROL_FAILED, NOW_MS);
    control_schedule_begin(&schedule);
    control_schedule_end_beat(&schedule, CONTROL_TAKEN, NOW_MS + 7000);
    ck_assert(!schedule.is_patient && schedule.is_registered);
    ck_assert_uint_eq(control_schedule_due_ms(&schedule), NOW_MS + 37000);
}
END_TEST

START_TEST(a_refusal_is_heard_and_asked_again_with_the_next_interval)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_end_beat(&schedule, CONTROL_REFUSED, NOW_MS);
    ck_assert(!schedule.is_registered && control_schedule_has_done(&schedule, 1));
    ck_assert_uint_eq(control_schedule_due_ms(&schedule), NOW_MS + 30000);
}
END_TEST

START_TEST(a_lost_connection_is_followed_by_a_heartbeat_at_once)
{
    struct control_schedule schedule = registered();
    control_schedule_lose(&schedule, NOW_MS + 400);
    ck_assert(!schedule.is_registered);
    ck_assert_int_eq(next(&schedule, NOW_MS + 400), CONTROL_BEAT);
}
END_TEST

START_TEST(a_broker_that_takes_heartbeats_and_closes_each_time_is_left_alone_longer_and_longer)
{
    static const uint64_t pauses_ms[] = { 0, 1000, 2000, 4000, 8000, 16000, 32000, 32000 };
    struct control_schedule schedule = registered();
    uint64_t now_ms = NOW_MS;
    for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
        control_schedule_lose(&schedule, now_ms);
        ck_assert_uint_eq(control_schedule_due_ms(&schedule), now_ms + pauses_ms[i]);
        now_ms += pauses_ms[i];
        ck_assert_int_eq(next(&schedule, now_ms), CONTROL_BEAT);
        control_schedule_begin(&schedule);
        control_schedule_end_beat(&schedule, CONTROL_TAKEN, now_ms);
    }
    /* What changes is said at once, and a connection that lasts ends it. */
    control_schedule_lose(&schedule, now_ms);
    control_schedule_want(&schedule, 2, now_ms);
    ck_assert_int_eq(next(&schedule, now_ms), CONTROL_BEAT);
    control_schedule_begin(&schedule);
    control_schedule_end_beat(&schedule, CONTROL_TAKEN, now_ms);
    control_schedule_lose(&schedule, now_ms + 60000);
    ck_assert_int_eq(next(&schedule, now_ms + 60000), CONTROL_BEAT);
}
END_TEST

START_TEST(a_heartbeat_that_was_taken_on_a_connection_that_is_gone_counts_for_nothing)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_lose(&schedule, NOW_MS);
    control_schedule_end_beat(&schedule, CONTROL_TAKEN, NOW_MS);
    ck_assert(!schedule.is_registered);
    ck_assert_int_eq(next(&schedule, NOW_MS), CONTROL_BEAT);
}
END_TEST

START_TEST(one_that_is_taken_back_was_never_said)
{
    struct control_schedule schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_take_back(&schedule);
    control_schedule_want(&schedule, 2, NOW_MS);
    ck_assert(!control_schedule_has_done(&schedule, 1));
    ck_assert_int_eq(next(&schedule, NOW_MS), CONTROL_BEAT);
}
END_TEST

START_TEST(after_the_stop_nothing_is_said_whatever_happens)
{
    struct control_schedule schedule = registered();
    control_schedule_stop(&schedule);
    ck_assert_int_eq(next(&schedule, NOW_MS + 3600000), CONTROL_NOTHING);
    control_schedule_lose(&schedule, NOW_MS);
    ck_assert_int_eq(next(&schedule, NOW_MS + 3600000), CONTROL_NOTHING);
    schedule = wanting();
    control_schedule_begin(&schedule);
    control_schedule_stop(&schedule);
    control_schedule_end_beat(&schedule, CONTROL_FAILED, NOW_MS);
    ck_assert_int_eq(next(&schedule, NOW_MS + 3600000), CONTROL_NOTHING);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("control_schedule");
    tcase_add_test(tests, nothing_is_said_before_there_is_something_to_say);
    tcase_add_test(tests, what_is_wanted_is_said_at_once_and_then_every_thirty_seconds);
    tcase_add_test(tests, one_thing_is_said_at_a_time);
    tcase_add_test(tests, what_was_left_is_unregistered_before_the_next_heartbeat);
    tcase_add_test(tests, what_changes_while_a_heartbeat_is_on_its_way_is_said_after_it);
    tcase_add_test(tests, after_a_failure_the_next_one_waits_for_the_broker_and_nobody_for_it);
    tcase_add_test(tests, patient_ones_that_cannot_even_wait_do_not_spin);
    tcase_add_test(tests, one_that_is_taken_ends_the_patience);
    tcase_add_test(tests, a_refusal_is_heard_and_asked_again_with_the_next_interval);
    tcase_add_test(tests, a_lost_connection_is_followed_by_a_heartbeat_at_once);
    tcase_add_test(
        tests, a_broker_that_takes_heartbeats_and_closes_each_time_is_left_alone_longer_and_longer);
    tcase_add_test(
        tests, a_heartbeat_that_was_taken_on_a_connection_that_is_gone_counts_for_nothing);
    tcase_add_test(tests, one_that_is_taken_back_was_never_said);
    tcase_add_test(tests, after_the_stop_nothing_is_said_whatever_happens);
    Suite *suite = suite_create("control_schedule");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
