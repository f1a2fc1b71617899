#include "daemon/core/fault_tolerance.h"

#include <stdio.h>

#include "tests/support/run_suite.h"

#define A SPAN("broker-a")
#define B SPAN("broker-b")

/* latencyMax = {50, 100, 550, 1800, 3000, 5000, 15000},
 * notAvailableDuration = {0, 0, 2000, 5000, 6000, 10000, 30000} */
static const struct {
    uint64_t latency_ms, duration_ms;
} java_rows[] = {
    { 0, 0 },
    { 49, 0 },
    { 50, 0 },
    { 100, 0 },
    { 549, 0 },
    { 550, 2000 },
    { 1799, 2000 },
    { 1800, 5000 },
    { 2999, 5000 },
    { 3000, 6000 },
    { 4999, 6000 },
    { 5000, 10000 },
    { 14999, 10000 },
    { 15000, 30000 },
    { UINT64_MAX, 30000 },
};

START_TEST(durations_are_those_of_javas_table)
{
    for (size_t i = 0; i < sizeof(java_rows) / sizeof(java_rows[0]); i++) {
        ck_assert_uint_eq(
            fault_tolerance_duration_ms(java_rows[i].latency_ms), java_rows[i].duration_ms);
    }
}
END_TEST

START_TEST(slow_broker_is_out_for_its_time_and_no_other_one_is)
{
    CLEANUP(fault_tolerance_free) struct fault_tolerance *tolerance = fault_tolerance_new();
    fault_tolerance_note(tolerance, A, FAULT_ANSWERED, 600, 1000);
    ck_assert(!fault_tolerance_is_available(tolerance, A, 1000));
    ck_assert(!fault_tolerance_is_available(tolerance, A, 2999));
    ck_assert(fault_tolerance_is_available(tolerance, B, 1000));
    ck_assert(fault_tolerance_is_available(tolerance, A, 3000));
    ck_assert_uint_eq(fault_tolerance_n_rows(tolerance), 0);
}
END_TEST

START_TEST(fast_answers_leave_no_trace)
{
    CLEANUP(fault_tolerance_free) struct fault_tolerance *tolerance = fault_tolerance_new();
    fault_tolerance_note(tolerance, A, FAULT_ANSWERED, 549, 1000);
    ck_assert(fault_tolerance_is_available(tolerance, A, 1000));
    ck_assert_uint_eq(fault_tolerance_n_rows(tolerance), 0);
}
END_TEST

START_TEST(refusal_counts_as_ten_seconds_of_latency)
{
    CLEANUP(fault_tolerance_free) struct fault_tolerance *tolerance = fault_tolerance_new();
    fault_tolerance_note(tolerance, A, FAULT_REFUSED, 1, 0);
    ck_assert(!fault_tolerance_is_available(tolerance, A, 9999));
    ck_assert(fault_tolerance_is_available(tolerance, A, 10000));
}
END_TEST

START_TEST(silence_counts_only_where_it_was_long_enough_to_say_something)
{
    CLEANUP(fault_tolerance_free) struct fault_tolerance *tolerance = fault_tolerance_new();
    fault_tolerance_note(tolerance, A, FAULT_SILENT, 5, 0);
    ck_assert(fault_tolerance_is_available(tolerance, A, 0));
    fault_tolerance_note(tolerance, A, FAULT_SILENT, 1000, 0);
    ck_assert(!fault_tolerance_is_available(tolerance, A, 9999));
    ck_assert(fault_tolerance_is_available(tolerance, A, 10000));
    fault_tolerance_note(tolerance, B, FAULT_SILENT, 20000, 0);
    ck_assert(!fault_tolerance_is_available(tolerance, B, 29999));
}
END_TEST

START_TEST(time_out_is_only_ever_extended)
{
    CLEANUP(fault_tolerance_free) struct fault_tolerance *tolerance = fault_tolerance_new();
    fault_tolerance_note(tolerance, A, FAULT_REFUSED, 0, 0);
    fault_tolerance_note(tolerance, A, FAULT_ANSWERED, 600, 100);
    fault_tolerance_note(tolerance, A, FAULT_ANSWERED, 1, 200);
    ck_assert(!fault_tolerance_is_available(tolerance, A, 9999));
    fault_tolerance_note(tolerance, A, FAULT_REFUSED, 0, 5000);
    ck_assert(!fault_tolerance_is_available(tolerance, A, 14999));
    ck_assert(fault_tolerance_is_available(tolerance, A, 15000));
}
END_TEST

START_TEST(rows_are_limited_and_those_that_are_over_make_room)
{
    CLEANUP(fault_tolerance_free) struct fault_tolerance *tolerance = fault_tolerance_new();
    char name[32];
    for (unsigned i = 0; i < 2 * FAULT_ROWS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "broker-%u", i);
        fault_tolerance_note(tolerance, span_of(name), FAULT_REFUSED, 0, 0);
    }
    ck_assert_uint_eq(fault_tolerance_n_rows(tolerance), FAULT_ROWS_MAX);
    ck_assert(!fault_tolerance_is_available(tolerance, SPAN("broker-0"), 1));
    ck_assert(fault_tolerance_is_available(tolerance, span_of(name), 1));
    fault_tolerance_note(tolerance, A, FAULT_REFUSED, 0, 10000);
    ck_assert_uint_eq(fault_tolerance_n_rows(tolerance), 1);
    ck_assert(!fault_tolerance_is_available(tolerance, A, 10001));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fault_tolerance");
    TCase *tests = tcase_create("fault_tolerance");
    tcase_add_test(tests, durations_are_those_of_javas_table);
    tcase_add_test(tests, slow_broker_is_out_for_its_time_and_no_other_one_is);
    tcase_add_test(tests, fast_answers_leave_no_trace);
    tcase_add_test(tests, refusal_counts_as_ten_seconds_of_latency);
    tcase_add_test(tests, silence_counts_only_where_it_was_long_enough_to_say_something);
    tcase_add_test(tests, time_out_is_only_ever_extended);
    tcase_add_test(tests, rows_are_limited_and_those_that_are_over_make_room);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
