#include "daemon/core/event_ring.h"

#include "tests/support/run_suite.h"

#include <string.h>

static struct event_ring ring;

static void set_up(void)
{
    ck_assert_int_eq(event_ring_init(&ring), 0);
}

static void tear_down(void)
{
    event_ring_deinit(&ring);
}

static bool add(enum event_kind kind, uint64_t now_ms)
{
    const struct noted_event event = { .kind = kind, .subject = "a", .wall_ms = (int64_t)now_ms };
    return event_ring_add(&ring, &event, now_ms);
}

START_TEST(an_empty_ring_has_no_event)
{
    ck_assert_ptr_null(event_ring_get(&ring, 0));
    ck_assert_ptr_null(event_ring_get(&ring, 1));
    ck_assert_uint_eq(event_ring_first(&ring), 1);
}
END_TEST

START_TEST(events_are_numbered_without_gaps)
{
    ck_assert(add(EVENT_IDLE, 5));
    ck_assert(add(EVENT_DRAIN, 6));
    ck_assert_uint_eq(event_ring_get(&ring, 1)->id, 1);
    ck_assert_int_eq(event_ring_get(&ring, 2)->kind, EVENT_DRAIN);
    ck_assert_ptr_null(event_ring_get(&ring, 3));
}
END_TEST

START_TEST(later_events_overwrite_the_oldest)
{
    for (uint64_t i = 1; i <= EVENT_RING_SIZE + 3; i++) {
        ck_assert(add(EVENT_IDLE, i * 1000));
    }
    ck_assert_uint_eq(event_ring_first(&ring), 4);
    ck_assert_ptr_null(event_ring_get(&ring, 3));
    ck_assert_int_eq(event_ring_get(&ring, 4)->wall_ms, 4000);
    ck_assert_int_eq(
        event_ring_get(&ring, EVENT_RING_SIZE + 3)->wall_ms, (EVENT_RING_SIZE + 3) * 1000);
}
END_TEST

START_TEST(too_many_of_a_kind_are_left_out_and_counted_and_other_kinds_are_not)
{
    for (unsigned i = 0; i < EVENTS_PER_SECOND; i++) {
        ck_assert(add(EVENT_FAILURE, 1000 + i));
    }
    ck_assert(!add(EVENT_FAILURE, 1999));
    ck_assert(!add(EVENT_FAILURE, 1999));
    ck_assert(add(EVENT_SESSION, 1999));
    ck_assert(add(EVENT_FAILURE, 2000));
    ck_assert_uint_eq(ring.n_left_out, 2);
    ck_assert_uint_eq(ring.n, EVENTS_PER_SECOND + 2);
}
END_TEST

START_TEST(every_kind_has_a_word)
{
    for (unsigned kind = 0; kind < EVENT_KINDS; kind++) {
        ck_assert_uint_gt(strlen(event_kind_name((enum event_kind)kind)), 3);
    }
    ck_assert(event_kind_is_public(EVENT_CONNECTED));
    ck_assert(!event_kind_is_public(EVENT_SESSION));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event_ring");
    TCase *all = tcase_create("event_ring");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, an_empty_ring_has_no_event);
    tcase_add_test(all, events_are_numbered_without_gaps);
    tcase_add_test(all, later_events_overwrite_the_oldest);
    tcase_add_test(all, too_many_of_a_kind_are_left_out_and_counted_and_other_kinds_are_not);
    tcase_add_test(all, every_kind_has_a_word);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
