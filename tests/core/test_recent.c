#include "daemon/core/recent.h"

#include "tests/support/run_suite.h"

static void sample(struct recent *recent, uint64_t n_requests, uint64_t late_us)
{
    const struct stats stats = { .requests = n_requests };
    recent_sample(recent, &stats, late_us);
}

START_TEST(before_the_first_minute_is_over_the_first_sample_is_the_oldest)
{
    static struct recent recent;
    ck_assert_uint_eq(recent_oldest(&recent)->requests, 0);
    sample(&recent, 7, 0);
    ck_assert_uint_eq(recent_oldest(&recent)->requests, 7);
    sample(&recent, 8, 0);
    ck_assert_uint_eq(recent_oldest(&recent)->requests, 7);
}
END_TEST

START_TEST(then_the_oldest_sample_is_a_minute_old)
{
    static struct recent recent;
    for (uint64_t i = 0; i < 100; i++) {
        sample(&recent, i, 0);
    }
    ck_assert_uint_eq(recent_oldest(&recent)->requests, 100 - RECENT_SAMPLES);
    ck_assert_uint_eq(RECENT_SAMPLES * RECENT_SAMPLE_MS, 60000);
}
END_TEST

START_TEST(the_worst_lateness_is_forgotten_after_a_minute)
{
    static struct recent recent;
    sample(&recent, 0, 5000);
    for (unsigned i = 1; i < RECENT_SAMPLES; i++) {
        sample(&recent, 0, 10);
        ck_assert_uint_eq(recent_late_us(&recent), 5000);
    }
    sample(&recent, 0, 10);
    ck_assert_uint_eq(recent_late_us(&recent), 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recent");
    TCase *all = tcase_create("recent");
    tcase_add_test(all, before_the_first_minute_is_over_the_first_sample_is_the_oldest);
    tcase_add_test(all, then_the_oldest_sample_is_a_minute_old);
    tcase_add_test(all, the_worst_lateness_is_forgotten_after_a_minute);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
