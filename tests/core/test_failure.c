#include "daemon/core/failure.h"

#include <string.h>

#include "protocol/utf8.h"
#include "tests/support/run_suite.h"

struct failure_case {
    enum failure failure;
    const char *name;
    int32_t code;
};

/* The table of the local protocol, "Failures made here". */
static const struct failure_case failures[] = {
    { FAILURE_TIMEOUT, "timeout", 10002 },
    { FAILURE_NO_REPLY, "timeout", 10006 },
    { FAILURE_UNREACHABLE, "unreachable", 10001 },
    { FAILURE_CONNECTION_LOST, "connection-lost", 10100 },
    { FAILURE_NO_NAMESERVER, "no-nameserver", 10004 },
    { FAILURE_NO_ROUTE, "no-route", 10005 },
    { FAILURE_NO_BROKER, "no-broker", 10003 },
    { FAILURE_OVERLOADED, "overloaded", 2 },
    { FAILURE_UNSUPPORTED, "unsupported", 3 },
    { FAILURE_DRAINING, "draining", 2 },
    { FAILURE_FORBIDDEN, "forbidden", 16 },
    { FAILURE_INVALID, "invalid", 13 },
};

START_TEST(failure_has_the_word_and_the_code_of_the_local_protocol)
{
    ck_assert_str_eq(failure_name(failures[_i].failure), failures[_i].name);
    ck_assert_int_eq(failure_code(failures[_i].failure), failures[_i].code);
}
END_TEST

START_TEST(table_above_has_every_failure_once)
{
    const size_t n = sizeof(failures) / sizeof(failures[0]);
    ck_assert_uint_eq(n, (size_t)FAILURE_INVALID + 1);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq((size_t)failures[i].failure, i);
    }
}
END_TEST

START_TEST(report_says_what_it_was_told)
{
    struct failure_report report = { 0 };
    failure_set(&report, FAILURE_UNREACHABLE, true, "%s refused %d times", "10.0.0.7:10911", 3);
    ck_assert_int_eq(report.failure, FAILURE_UNREACHABLE);
    ck_assert(report.maybe_sent);
    ck_assert_str_eq(report.cause, "10.0.0.7:10911 refused 3 times");
    failure_set(&report, FAILURE_TIMEOUT, false, "late");
    ck_assert_int_eq(report.failure, FAILURE_TIMEOUT);
    ck_assert(!report.maybe_sent);
    ck_assert_str_eq(report.cause, "late");
}
END_TEST

/* A remark that is not UTF-8 would make the whole answer unreadable. */
START_TEST(cause_that_is_too_long_ends_with_a_whole_character)
{
    char text[FAILURE_CAUSE_SIZE * 2];
    const char *const characters[] = { "x", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x90\xa7" };
    for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++) {
        const size_t size = strlen(characters[i]);
        for (size_t before = 0; before < size; before++) {
            memset(text, '.', before);
            size_t n = before;
            for (; n + size < sizeof(text); n += size) {
                memcpy(text + n, characters[i], size);
            }
            text[n] = '\0';
            struct failure_report report;
            failure_set(&report, FAILURE_INVALID, false, "%s", text);
            size_t length = strlen(report.cause);
            ck_assert_uint_lt(length, FAILURE_CAUSE_SIZE);
            ck_assert_uint_ge(length, FAILURE_CAUSE_SIZE - 4);
            ck_assert_int_eq(strncmp(report.cause, text, length), 0);
            ck_assert(utf8_is_valid(span_of(report.cause)));
        }
    }
}
END_TEST

START_TEST(cause_that_was_cut_by_its_format_keeps_whole_characters)
{
    struct failure_report report;
    failure_set(&report, FAILURE_INVALID, false, "'%.*s': is it %.3s?", 4, "a\xc3\xa9\xc3\xa9",
        "b\xe4\xb8\xad");
    ck_assert_str_eq(report.cause, "'a\xc3\xa9': is it b?");
    failure_set(&report, FAILURE_INVALID, false, "%.3s", "\xf0\x9f\x90\xa7");
    ck_assert_str_eq(report.cause, "");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("failure");
    tcase_add_loop_test(tests, failure_has_the_word_and_the_code_of_the_local_protocol, 0,
        (int)(sizeof(failures) / sizeof(failures[0])));
    tcase_add_test(tests, table_above_has_every_failure_once);
    tcase_add_test(tests, report_says_what_it_was_told);
    tcase_add_test(tests, cause_that_is_too_long_ends_with_a_whole_character);
    tcase_add_test(tests, cause_that_was_cut_by_its_format_keeps_whole_characters);
    Suite *suite = suite_create("failure");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
