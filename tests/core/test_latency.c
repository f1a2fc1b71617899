#include "daemon/core/latency.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/run_suite.h"

#define BEYOND_US (UINT64_C(1) << 25) /* from here on only the maximum is known */

/* What a quantile may answer where the true value is value_us. */
static void assert_near(uint64_t answer_us, uint64_t value_us)
{
    ck_assert_uint_ge(answer_us, value_us);
    uint64_t width_us = value_us / 16 > 4 ? value_us / 16 : 4;
    ck_assert_uint_lt(answer_us - value_us, width_us);
}

static int compare_values(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(empty_histogram_answers_zero)
{
    const struct latency latency = { 0 };
    ck_assert_uint_eq(latency_quantile_us(&latency, 0), 0);
    ck_assert_uint_eq(latency_quantile_us(&latency, 500), 0);
    ck_assert_uint_eq(latency_quantile_us(&latency, 1000), 0);
}
END_TEST

START_TEST(one_value_is_every_quantile)
{
    const uint64_t values[] = { 0, 1, 3, 4, 63, 64, 65, 1000, 3000000, BEYOND_US - 1, BEYOND_US,
        300000000, UINT64_MAX };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct latency latency = { 0 };
        latency_add(&latency, values[i]);
        ck_assert_uint_eq(latency.n, 1);
        ck_assert_uint_eq(latency.max_us, values[i]);
        for (unsigned per_mille = 0; per_mille <= 1000; per_mille++) {
            ck_assert_uint_eq(latency_quantile_us(&latency, per_mille), values[i]);
        }
    }
}
END_TEST

START_TEST(every_value_lies_in_a_bucket_of_the_promised_width)
{
    /* Around every power of two and between, with a greater one so that the maximum hides nothing. */
    for (uint64_t base_us = 1; base_us < BEYOND_US; base_us *= 2) {
        for (uint64_t step = 0; step < 256; step++) {
            uint64_t value_us = base_us + base_us * step / 256;
            for (uint64_t near_us = value_us - 1; near_us <= value_us + 1; near_us++) {
                struct latency latency = { 0 };
                latency_add(&latency, near_us);
                latency_add(&latency, UINT64_MAX);
                if (near_us < BEYOND_US) {
                    assert_near(latency_quantile_us(&latency, 500), near_us);
                }
            }
        }
    }
}
END_TEST

enum distribution { UNIFORM, NARROW, HEAVY_TAIL, SMALL, WIDE };

static uint64_t draw_value(enum distribution distribution, unsigned short state[3])
{
    switch (distribution) {
    case UNIFORM:
        return (uint64_t)(erand48(state) * 1e6);
    case NARROW:
        return 1000 + (uint64_t)(erand48(state) * 10);
    case HEAVY_TAIL:
        return (uint64_t)(300 / (erand48(state) + 1e-4));
    case SMALL:
        return (uint64_t)(erand48(state) * 100);
    case WIDE:
        return UINT64_C(1) << (nrand48(state) % 25);
    }
    abort();
}

START_TEST(quantiles_are_those_of_the_sorted_values_within_a_bucket)
{
    unsigned short state[3] = { (unsigned short)_i, 5, 6 };
    const size_t sizes[] = { 1, 2, 3, 10, 99, 100, 101, 1000, 20000 };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i];
        uint64_t *values = calloc(n, sizeof(*values));
        struct latency latency = { 0 };
        for (size_t k = 0; k < n; k++) {
            values[k] = draw_value((enum distribution)_i, state);
            latency_add(&latency, values[k]);
        }
        qsort(values, n, sizeof(*values), compare_values);
        uint64_t last_us = 0;
        for (unsigned per_mille = 1; per_mille <= 1000; per_mille++) {
            size_t rank = (n * per_mille + 999) / 1000; /* the least rank that covers so many */
            uint64_t answer_us = latency_quantile_us(&latency, per_mille);
            assert_near(answer_us, values[rank - 1]);
            ck_assert_uint_ge(answer_us, last_us);
            last_us = answer_us;
        }
        ck_assert_uint_eq(last_us, values[n - 1]);
        ck_assert_uint_eq(latency.max_us, values[n - 1]);
        ck_assert_uint_eq(latency.n, n);
        free(values);
    }
}
END_TEST

START_TEST(merged_histogram_is_that_of_all_values)
{
    unsigned short state[3] = { 1, 2, 3 };
    struct latency parts[4] = { 0 };
    struct latency all = { 0 };
    for (int i = 0; i < 20000; i++) {
        uint64_t value_us = draw_value(HEAVY_TAIL, state);
        latency_add(&parts[nrand48(state) % 3], value_us); /* the fourth stays empty */
        latency_add(&all, value_us);
    }
    struct latency merged = { 0 };
    for (int i = 0; i < 4; i++) {
        latency_merge(&merged, &parts[i]);
    }
    ck_assert_mem_eq(&merged, &all, sizeof(all));
}
END_TEST

START_TEST(values_beyond_the_buckets_answer_the_maximum)
{
    struct latency latency = { 0 };
    for (int i = 0; i < 98; i++) {
        latency_add(&latency, 1000);
    }
    latency_add(&latency, BEYOND_US);
    latency_add(&latency, 300000000);
    assert_near(latency_quantile_us(&latency, 980), 1000);
    ck_assert_uint_eq(latency_quantile_us(&latency, 990), 300000000);
    ck_assert_uint_eq(latency_quantile_us(&latency, 1000), 300000000);
}
END_TEST

START_TEST(counts_of_centuries_give_right_ranks)
{
    /* A histogram merged into itself doubles: 2^53 values at the end. */
    struct latency latency = { 0 };
    latency_add(&latency, 100);
    latency_add(&latency, 1000000);
    for (int i = 0; i < 52; i++) {
        struct latency same = latency;
        latency_merge(&latency, &same);
    }
    ck_assert_uint_eq(latency.n, UINT64_C(1) << 53);
    assert_near(latency_quantile_us(&latency, 500), 100);
    assert_near(latency_quantile_us(&latency, 501), 1000000);
}
END_TEST

START_TEST(histogram_is_small)
{
    ck_assert_uint_le(sizeof(struct latency), 2600);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("latency");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, empty_histogram_answers_zero);
    tcase_add_test(tcase, one_value_is_every_quantile);
    tcase_add_test(tcase, every_value_lies_in_a_bucket_of_the_promised_width);
    tcase_add_loop_test(
        tcase, quantiles_are_those_of_the_sorted_values_within_a_bucket, UNIFORM, WIDE + 1);
    tcase_add_test(tcase, merged_histogram_is_that_of_all_values);
    tcase_add_test(tcase, values_beyond_the_buckets_answer_the_maximum);
    tcase_add_test(tcase, counts_of_centuries_give_right_ranks);
    tcase_add_test(tcase, histogram_is_small);

    Suite *suite = suite_create("latency");
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
