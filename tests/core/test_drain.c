#include "daemon/core/drain.h"

#include "daemon/core/clock.h"
#include "tests/support/run_suite.h"

/* The greatest id of a request when a drain begins. */
#define LAST_ID 100

static struct drain draining(uint64_t now_ms, uint64_t timeout_ms, size_t n_in_flight)
{
    struct drain drain = { 0 };
    drain_request(&drain, now_ms, timeout_ms, n_in_flight, LAST_ID);
    ck_assert_int_eq(drain.state, DRAIN_DRAINING);
    return drain;
}

START_TEST(daemon_begins_running_and_stays_so_unless_asked)
{
    struct drain drain = { 0 };
    ck_assert_int_eq(drain.state, DRAIN_RUNNING);
    drain_advance(&drain, NEVER_MS - 1, 0, 0);
    ck_assert_int_eq(drain.state, DRAIN_RUNNING);
    ck_assert(!drain_is_over(&drain));
}
END_TEST

START_TEST(first_request_starts_the_drain_and_its_time)
{
    struct drain drain = draining(1000, 30000, 17);
    ck_assert(!drain_is_over(&drain));
    ck_assert_uint_eq(drain.deadline_ms, 31000);
    ck_assert_uint_eq(drain.n_at_start, 17);
}
END_TEST

START_TEST(drain_lasts_while_answers_are_missing_or_unwritten)
{
    struct drain drain = draining(1000, 30000, 2);
    drain_advance(&drain, 1000, 2, 0);
    ck_assert_int_eq(drain.state, DRAIN_DRAINING);
    drain_advance(&drain, 1001, 0, 1);
    ck_assert_int_eq(drain.state, DRAIN_DRAINING);
    drain_advance(&drain, 1002, 1, 1);
    ck_assert_int_eq(drain.state, DRAIN_DRAINING);
    drain_advance(&drain, 1003, 0, 0);
    ck_assert_int_eq(drain.state, DRAIN_DRAINED);
    ck_assert(drain_is_over(&drain));
}
END_TEST

START_TEST(drain_expires_at_its_deadline_and_not_before)
{
    struct drain drain = draining(1000, 30000, 1);
    drain_advance(&drain, 30999, 1, 0);
    ck_assert_int_eq(drain.state, DRAIN_DRAINING);
    drain_advance(&drain, 31000, 1, 0);
    ck_assert_int_eq(drain.state, DRAIN_EXPIRED);
    ck_assert(drain_is_over(&drain));
}
END_TEST

START_TEST(last_answer_at_the_deadline_is_a_drain_that_succeeded)
{
    struct drain drain = draining(1000, 30000, 1);
    drain_advance(&drain, 31000, 0, 0);
    ck_assert_int_eq(drain.state, DRAIN_DRAINED);
}
END_TEST

START_TEST(second_request_ends_the_drain_at_once)
{
    struct drain drain = draining(1000, 30000, 1);
    drain_request(&drain, 1001, 30000, 1, LAST_ID + 1);
    ck_assert_int_eq(drain.state, DRAIN_EXPIRED);
}
END_TEST

START_TEST(end_of_a_drain_is_final)
{
    const enum drain_state ends[] = { DRAIN_DRAINED, DRAIN_EXPIRED };
    for (size_t i = 0; i < 2; i++) {
        struct drain drain = draining(1000, 30000, 1);
        drain_advance(&drain, 31000, i, 0);
        ck_assert_int_eq(drain.state, ends[i]);
        drain_request(&drain, 31001, 30000, 5, LAST_ID + 1);
        drain_advance(&drain, 99000, 1 - i, 1);
        ck_assert_int_eq(drain.state, ends[i]);
        ck_assert_uint_eq(drain.deadline_ms, 31000);
        ck_assert_uint_eq(drain.n_at_start, 1);
    }
}
END_TEST

START_TEST(drain_without_a_timeout_is_over_with_the_first_look)
{
    struct drain drain = draining(1000, 0, 1);
    drain_advance(&drain, 1000, 1, 0);
    ck_assert_int_eq(drain.state, DRAIN_EXPIRED);
}
END_TEST

START_TEST(timeout_beyond_all_time_never_expires)
{
    struct drain drain = draining(1000, NEVER_MS, 1);
    ck_assert_uint_eq(drain.deadline_ms, NEVER_MS);
    drain_advance(&drain, NEVER_MS - 1, 1, 0);
    ck_assert_int_eq(drain.state, DRAIN_DRAINING);
}
END_TEST

START_TEST(requests_that_were_in_flight_at_the_start_are_counted_by_how_they_ended)
{
    struct drain drain = { 0 };
    drain_count(&drain, 1, DRAIN_COMPLETED); /* before it */
    drain_request(&drain, 1000, 30000, 5, LAST_ID);
    drain_count(&drain, 2, DRAIN_COMPLETED);
    drain_count(&drain, LAST_ID, DRAIN_COMPLETED);
    drain_count(&drain, 3, DRAIN_FAILED);
    drain_count(&drain, LAST_ID + 1, DRAIN_ABORTED); /* came later, and was refused */
    drain_request(&drain, 1001, 30000, 2, LAST_ID + 1);
    drain_count(&drain, 4, DRAIN_ABORTED);
    drain_count(&drain, 5, DRAIN_LEFT);
    drain_count(&drain, LAST_ID + 1, DRAIN_ABORTED);
    ck_assert_uint_eq(drain.n_ended[DRAIN_COMPLETED], 2);
    ck_assert_uint_eq(drain.n_ended[DRAIN_FAILED], 1);
    ck_assert_uint_eq(drain.n_ended[DRAIN_ABORTED], 1);
    ck_assert_uint_eq(drain.n_ended[DRAIN_LEFT], 1);
}
END_TEST

START_TEST(states_have_the_names_of_the_header)
{
    ck_assert_str_eq(drain_state_name(DRAIN_RUNNING), "RUNNING");
    ck_assert_str_eq(drain_state_name(DRAIN_DRAINING), "DRAINING");
    ck_assert_str_eq(drain_state_name(DRAIN_DRAINED), "DRAINED");
    ck_assert_str_eq(drain_state_name(DRAIN_EXPIRED), "EXPIRED");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("drain");
    tcase_add_test(tests, daemon_begins_running_and_stays_so_unless_asked);
    tcase_add_test(tests, first_request_starts_the_drain_and_its_time);
    tcase_add_test(tests, drain_lasts_while_answers_are_missing_or_unwritten);
    tcase_add_test(tests, drain_expires_at_its_deadline_and_not_before);
    tcase_add_test(tests, last_answer_at_the_deadline_is_a_drain_that_succeeded);
    tcase_add_test(tests, second_request_ends_the_drain_at_once);
    tcase_add_test(tests, end_of_a_drain_is_final);
    tcase_add_test(tests, drain_without_a_timeout_is_over_with_the_first_look);
    tcase_add_test(tests, timeout_beyond_all_time_never_expires);
    tcase_add_test(tests, requests_that_were_in_flight_at_the_start_are_counted_by_how_they_ended);
    tcase_add_test(tests, states_have_the_names_of_the_header);
    Suite *suite = suite_create("drain");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
