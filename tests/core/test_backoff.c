#include "daemon/core/backoff.h"

#include "tests/support/run_suite.h"

#define NOW_MS     UINT64_C(1000000)
#define DRAW_LEAST 0u
#define DRAW_HALF  0x80000000u
#define DRAW_MOST  UINT32_MAX

static const struct backoff_limits limits = {
    .initial_ms = 100,
    .max_ms = 30000,
    .max_wanted_ms = 2000,
};

static struct backoff failed(unsigned n_times, uint32_t draw)
{
    struct backoff backoff = { 0 };
    for (unsigned i = 0; i < n_times; i++) {
        backoff_fail(&backoff, NOW_MS, draw);
    }
    return backoff;
}

/* The span doubles from 100 ms to the cap, which is 30 s, or 2 s where somebody waits. */
static const uint64_t spans[] = { 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000,
    30000 };
#define N_SPANS (sizeof(spans) / sizeof(spans[0]))

START_TEST(address_that_never_failed_may_be_tried_at_once)
{
    const struct backoff backoff = { 0 };
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &limits, false), 0);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &limits, true), 0);
}
END_TEST

START_TEST(full_jitter_goes_from_nothing_to_the_span)
{
    for (unsigned i = 0; i < N_SPANS; i++) {
        struct backoff least = failed(i + 1, DRAW_LEAST);
        struct backoff half = failed(i + 1, DRAW_HALF);
        struct backoff most = failed(i + 1, DRAW_MOST);
        ck_assert_uint_eq(backoff_next_attempt_ms(&least, &limits, false), NOW_MS);
        ck_assert_uint_eq(backoff_next_attempt_ms(&half, &limits, false), NOW_MS + spans[i] / 2);
        uint64_t latest_ms = backoff_next_attempt_ms(&most, &limits, false);
        ck_assert_uint_lt(latest_ms, NOW_MS + spans[i]);
        ck_assert_uint_ge(latest_ms, NOW_MS + spans[i] - 1);
    }
}
END_TEST

START_TEST(every_draw_stays_within_the_span)
{
    uint32_t draw = 1;
    for (unsigned i = 0; i < 100000; i++) {
        draw = draw * 1664525 + 1013904223;
        unsigned n_failures = i % 40 + 1;
        struct backoff backoff = failed(n_failures, draw);
        uint64_t span_ms = n_failures <= N_SPANS ? spans[n_failures - 1] : limits.max_ms;
        uint64_t at_ms = backoff_next_attempt_ms(&backoff, &limits, false);
        assert_often(at_ms >= NOW_MS);
        assert_often(at_ms < NOW_MS + span_ms);
        uint64_t wanted_ms = backoff_next_attempt_ms(&backoff, &limits, true);
        assert_often(wanted_ms >= NOW_MS);
        assert_often(wanted_ms <= at_ms);
        assert_often(wanted_ms < NOW_MS + limits.max_wanted_ms);
    }
}
END_TEST

START_TEST(address_that_is_wanted_waits_for_the_same_share_of_a_smaller_span)
{
    for (unsigned i = 0; i < N_SPANS; i++) {
        struct backoff backoff = failed(i + 1, DRAW_HALF);
        uint64_t span_ms = spans[i] < limits.max_wanted_ms ? spans[i] : limits.max_wanted_ms;
        ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &limits, true), NOW_MS + span_ms / 2);
    }
}
END_TEST

START_TEST(cap_for_the_wanted_never_raises_the_other)
{
    const struct backoff_limits odd = { .initial_ms = 100, .max_ms = 500, .max_wanted_ms = 2000 };
    struct backoff backoff = failed(20, DRAW_HALF);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &odd, true), NOW_MS + 250);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &odd, false), NOW_MS + 250);
}
END_TEST

START_TEST(first_wait_beyond_the_cap_is_the_cap)
{
    const struct backoff_limits odd = { .initial_ms = 9000, .max_ms = 500, .max_wanted_ms = 200 };
    struct backoff backoff = failed(1, DRAW_HALF);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &odd, false), NOW_MS + 250);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &odd, true), NOW_MS + 100);
}
END_TEST

START_TEST(address_that_failed_for_days_still_waits_for_the_cap_only)
{
    struct backoff backoff = { .n_failures = 4000000000u };
    backoff_fail(&backoff, NOW_MS, DRAW_HALF);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &limits, false), NOW_MS + 15000);
}
END_TEST

START_TEST(wait_begins_at_the_last_failure)
{
    struct backoff backoff = failed(1, DRAW_HALF);
    backoff_fail(&backoff, NOW_MS + 777, DRAW_HALF);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &limits, false), NOW_MS + 777 + 100);
}
END_TEST

START_TEST(success_forgets_every_failure)
{
    struct backoff backoff = failed(8, DRAW_MOST);
    backoff_succeed(&backoff);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &limits, false), 0);
    backoff_fail(&backoff, NOW_MS, DRAW_HALF);
    ck_assert_uint_eq(backoff_next_attempt_ms(&backoff, &limits, false), NOW_MS + 50);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("backoff");
    tcase_add_test(tests, address_that_never_failed_may_be_tried_at_once);
    tcase_add_test(tests, full_jitter_goes_from_nothing_to_the_span);
    tcase_add_test(tests, every_draw_stays_within_the_span);
    tcase_add_test(tests, address_that_is_wanted_waits_for_the_same_share_of_a_smaller_span);
    tcase_add_test(tests, cap_for_the_wanted_never_raises_the_other);
    tcase_add_test(tests, first_wait_beyond_the_cap_is_the_cap);
    tcase_add_test(tests, address_that_failed_for_days_still_waits_for_the_cap_only);
    tcase_add_test(tests, wait_begins_at_the_last_failure);
    tcase_add_test(tests, success_forgets_every_failure);
    Suite *suite = suite_create("backoff");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
