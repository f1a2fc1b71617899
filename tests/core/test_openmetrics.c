#include "daemon/core/openmetrics.h"

#include "tests/support/run_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static size_t size;
static struct openmetrics metrics;

static void begin(enum openmetrics_form form)
{
    openmetrics_init(&metrics, form, open_memstream(&text, &size));
}

static void assert_text(const char *expected)
{
    (void)fclose(metrics.file);
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(a_counter_is_called_total_where_its_form_wants_it)
{
    begin(OPENMETRICS_1_0);
    openmetrics_family(&metrics, OPENMETRICS_COUNTER, "a_things", "Things.");
    openmetrics_sample(&metrics, NULL, NULL, 7);
    openmetrics_end(&metrics);
    assert_text("# HELP a_things Things.\n# TYPE a_things counter\na_things_total 7\n# EOF\n");
    begin(OPENMETRICS_PROMETHEUS);
    openmetrics_family(&metrics, OPENMETRICS_COUNTER, "a_things", "Things.");
    openmetrics_sample(&metrics, NULL, NULL, 7);
    openmetrics_end(&metrics);
    assert_text("# HELP a_things_total Things.\n# TYPE a_things_total counter\na_things_total 7\n");
}
END_TEST

START_TEST(values_of_labels_cannot_break_a_line)
{
    begin(OPENMETRICS_1_0);
    openmetrics_family(&metrics, OPENMETRICS_GAUGE, "a", "A.");
    openmetrics_sample(&metrics, "l", "x\"y\\z\nw\x01", 0.5);
    assert_text("# HELP a A.\n# TYPE a gauge\na{l=\"x\\\"y\\\\z\\nw?\"} 0.5\n");
}
END_TEST

START_TEST(large_counts_keep_their_digits)
{
    begin(OPENMETRICS_1_0);
    openmetrics_family(&metrics, OPENMETRICS_COUNTER, "a", "A.");
    openmetrics_sample(&metrics, NULL, NULL, 123456789012345.0);
    assert_text("# HELP a A.\n# TYPE a counter\na_total 123456789012345\n");
}
END_TEST

START_TEST(buckets_of_a_histogram_are_cumulative_and_end_with_all)
{
    struct latency latency = { 0 };
    latency_add(&latency, 127);
    latency_add(&latency, 128);
    latency_add(&latency, 60000000);
    begin(OPENMETRICS_1_0);
    openmetrics_family(&metrics, OPENMETRICS_HISTOGRAM, "a_seconds", "A.");
    openmetrics_histogram(&metrics, "c", "x", &latency);
    (void)fclose(metrics.file);
    ck_assert_ptr_nonnull(strstr(text, "a_seconds_bucket{c=\"x\",le=\"0.000128\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "a_seconds_bucket{c=\"x\",le=\"0.000256\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(text, "a_seconds_bucket{c=\"x\",le=\"4.194304\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(text, "a_seconds_bucket{c=\"x\",le=\"+Inf\"} 3\n"));
    ck_assert_ptr_nonnull(strstr(text, "a_seconds_sum{c=\"x\"} 60.000255\n"));
    ck_assert_ptr_nonnull(strstr(text, "a_seconds_count{c=\"x\"} 3\n"));
    ck_assert_uint_eq(metrics.n_series, 19);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("openmetrics");
    TCase *all = tcase_create("openmetrics");
    tcase_add_test(all, a_counter_is_called_total_where_its_form_wants_it);
    tcase_add_test(all, values_of_labels_cannot_break_a_line);
    tcase_add_test(all, large_counts_keep_their_digits);
    tcase_add_test(all, buckets_of_a_histogram_are_cumulative_and_end_with_all);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
