#include "protocol/ext_fields.h"

#include <stdio.h>

#include "tests/support/run_suite.h"

static struct ext_field storage[EXT_FIELDS_MAX];
static struct ext_fields fields;

static void begin(void)
{
    ext_fields_init(&fields, storage, EXT_FIELDS_MAX);
}

static void add(const char *key, const char *value)
{
    ck_assert(ext_fields_add(&fields, span_of(key), span_of(value)));
}

static void assert_keys(const char *expected)
{
    char keys[256] = "";
    for (size_t i = 0; i < fields.n; i++) {
        size_t n = strlen(keys);
        (void)snprintf(keys + n, sizeof(keys) - n, "%.*s ", SPAN_ARGS(fields.fields[i].key));
    }
    ck_assert_str_eq(keys, expected);
}

START_TEST(value_is_found_by_its_whole_key)
{
    add("topic", "T");
    add("topicSysFlag", "1");
    add("empty", "");
    ck_assert(span_equals_text(ext_fields_text(&fields, "topic"), "T"));
    ck_assert(span_equals_text(ext_fields_text(&fields, "topicSysFlag"), "1"));
    ck_assert(!span_is_absent(ext_fields_text(&fields, "empty")));
    ck_assert(span_is_empty(ext_fields_text(&fields, "empty")));
    ck_assert(span_is_absent(ext_fields_text(&fields, "top")));
    ck_assert(span_is_absent(ext_fields_text(&fields, "Topic")));
}
END_TEST

START_TEST(set_replaces_in_place_or_adds_at_the_end)
{
    add("a", "1");
    add("b", "2");
    ck_assert(ext_fields_set(&fields, SPAN("a"), SPAN("3")));
    ck_assert(ext_fields_set(&fields, SPAN("c"), SPAN("4")));
    assert_keys("a b c ");
    ck_assert(span_equals_text(ext_fields_text(&fields, "a"), "3"));
    ck_assert(span_equals_text(ext_fields_text(&fields, "c"), "4"));
}
END_TEST

START_TEST(full_array_takes_no_more_but_can_be_changed)
{
    ext_fields_init(&fields, storage, 2);
    add("a", "1");
    add("b", "2");
    ck_assert(!ext_fields_add(&fields, SPAN("c"), SPAN("3")));
    ck_assert(!ext_fields_set(&fields, SPAN("c"), SPAN("3")));
    ck_assert(ext_fields_set(&fields, SPAN("b"), SPAN("4")));
    assert_keys("a b ");
    ck_assert(span_equals_text(ext_fields_text(&fields, "b"), "4"));
}
END_TEST

START_TEST(removal_keeps_the_order_of_the_rest)
{
    add("a", "1");
    add("b", "2");
    add("c", "3");
    ck_assert(ext_fields_remove(&fields, SPAN("a")));
    assert_keys("b c ");
    ck_assert(!ext_fields_remove(&fields, SPAN("a")));
    ck_assert(ext_fields_remove(&fields, SPAN("c")));
    assert_keys("b ");
    ck_assert(ext_fields_remove(&fields, SPAN("b")));
    assert_keys("");
}
END_TEST

START_TEST(prefix_removes_all_that_begin_with_it)
{
    add("sidecar.addr", "1");
    add("topic", "2");
    add("sidecar.", "3");
    add("sidecar", "4");
    add("x.sidecar.", "5");
    ck_assert_uint_eq(ext_fields_remove_prefixed(&fields, SPAN("sidecar.")), 2);
    assert_keys("topic sidecar x.sidecar. ");
    ck_assert_uint_eq(ext_fields_remove_prefixed(&fields, SPAN("sidecar.")), 0);
}
END_TEST

/* Lengths from 1 on, keys that share their first or their last eight bytes. */
static void add_numbered(char (*keys)[32], size_t n, const char *start, const char *end)
{
    begin();
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "%s%zu%s", start, i, end);
        add(keys[i], "");
    }
}

START_TEST(duplicate_is_found_wherever_it_stands)
{
    static const char *const starts[] = { "", "key", "property.", "", "commonstart" };
    static const char *const ends[] = { "", "", "", ".property", "commonend" };
    static char keys[EXT_FIELDS_MAX][32];
    const size_t n = EXT_FIELDS_MAX - 1;
    for (size_t f = 0; f < sizeof(starts) / sizeof(starts[0]); f++) {
        add_numbered(keys, n, starts[f], ends[f]);
        ck_assert_int_eq(ext_fields_find_duplicate(&fields), -1);
        for (size_t i = 0; i < n; i++) {
            ck_assert(ext_fields_add(&fields, span_of(keys[i]), SPAN("again")));
            ck_assert_int_eq(ext_fields_find_duplicate(&fields), (ptrdiff_t)n);
            fields.n = n;
        }
    }
}
END_TEST

START_TEST(empty_keys_are_equal_and_no_fields_are_no_duplicate)
{
    ck_assert_int_eq(ext_fields_find_duplicate(&fields), -1);
    add("", "1");
    ck_assert_int_eq(ext_fields_find_duplicate(&fields), -1);
    add("a", "2");
    add("", "3");
    ck_assert_int_eq(ext_fields_find_duplicate(&fields), 2);
}
END_TEST

struct integer_case {
    const char *text;
    int64_t min;
    int64_t max;
    bool is_good;
    int64_t value;
};

static const struct integer_case integers[] = {
    { "0", INT64_MIN, INT64_MAX, true, 0 },
    { "-0", INT64_MIN, INT64_MAX, true, 0 },
    { "+7", INT64_MIN, INT64_MAX, true, 7 },
    { "007", INT64_MIN, INT64_MAX, true, 7 },
    { "9223372036854775807", INT64_MIN, INT64_MAX, true, INT64_MAX },
    { "-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN },
    { "9223372036854775808", INT64_MIN, INT64_MAX, false, 0 },
    { "-9223372036854775809", INT64_MIN, INT64_MAX, false, 0 },
    { "99999999999999999999999", INT64_MIN, INT64_MAX, false, 0 },
    { "65535", 0, 65535, true, 65535 },
    { "65536", 0, 65535, false, 0 },
    { "-1", 0, 65535, false, 0 },
    { "", INT64_MIN, INT64_MAX, false, 0 },
    { "-", INT64_MIN, INT64_MAX, false, 0 },
    { "+", INT64_MIN, INT64_MAX, false, 0 },
    { "--1", INT64_MIN, INT64_MAX, false, 0 },
    { " 1", INT64_MIN, INT64_MAX, false, 0 },
    { "1 ", INT64_MIN, INT64_MAX, false, 0 },
    { "1.0", INT64_MIN, INT64_MAX, false, 0 },
    { "0x1", INT64_MIN, INT64_MAX, false, 0 },
    { "true", INT64_MIN, INT64_MAX, false, 0 },
    { NULL, INT64_MIN, INT64_MAX, false, 0 },
};

START_TEST(integer_is_parsed_when_it_is_one_and_within_the_range)
{
    const struct integer_case *row = &integers[_i];
    int64_t value = 4711;
    bool is_good = ext_value_parse_i64(span_of(row->text), row->min, row->max, &value);
    ck_assert_msg(is_good == row->is_good, "'%s'", row->text ? row->text : "(absent)");
    ck_assert_int_eq(value, row->is_good ? row->value : 4711);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ext_fields");
    TCase *tcase = tcase_create("ext_fields");
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_test(tcase, value_is_found_by_its_whole_key);
    tcase_add_test(tcase, set_replaces_in_place_or_adds_at_the_end);
    tcase_add_test(tcase, full_array_takes_no_more_but_can_be_changed);
    tcase_add_test(tcase, removal_keeps_the_order_of_the_rest);
    tcase_add_test(tcase, prefix_removes_all_that_begin_with_it);
    tcase_add_test(tcase, duplicate_is_found_wherever_it_stands);
    tcase_add_test(tcase, empty_keys_are_equal_and_no_fields_are_no_duplicate);
    tcase_add_loop_test(tcase, integer_is_parsed_when_it_is_one_and_within_the_range, 0,
        (int)(sizeof(integers) / sizeof(integers[0])));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
