#include "daemon/core/log_fields.h"

#include "tests/support/run_suite.h"

#include <string.h>

static void assert_field(const char **at, const char *key, const char *value)
{
    struct span seen_key, seen_value;
    ck_assert(log_fields_next(at, &seen_key, &seen_value));
    ck_assert(span_equals_text(seen_key, key));
    ck_assert(span_equals_text(seen_value, value));
}

START_TEST(words_with_an_equals_sign_are_fields_and_others_are_not)
{
    const char *at = "session=42 pid=7 closed reason=protocol 3 = x A=1";
    struct span key, value;
    assert_field(&at, "session", "42");
    assert_field(&at, "pid", "7");
    assert_field(&at, "reason", "protocol");
    ck_assert(!log_fields_next(&at, &key, &value));
    ck_assert(!log_fields_next(&at, &key, &value));
}
END_TEST

START_TEST(a_quoted_value_may_have_blanks_and_escaped_quotes)
{
    const char *at = "upstream=h:1 READY -> CLOSED cause=\"it said \\\"no=1\\\" twice\" id=3";
    assert_field(&at, "upstream", "h:1");
    assert_field(&at, "cause", "it said \\\"no=1\\\" twice");
    assert_field(&at, "id", "3");
}
END_TEST

START_TEST(what_is_cut_ends_with_the_line)
{
    const char *const lines[] = { "", " ", "a", "a=", "a=\"", "a=\"x", "a=\"x\\", "=", "a b=c" };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *at = lines[i];
        struct span key, value;
        while (log_fields_next(&at, &key, &value)) {
            ck_assert(value.data >= lines[i]);
            ck_assert(value.data + value.n <= lines[i] + strlen(lines[i]));
        }
        ck_assert_ptr_eq(at, lines[i] + strlen(lines[i]));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log_fields");
    TCase *all = tcase_create("log_fields");
    tcase_add_test(all, words_with_an_equals_sign_are_fields_and_others_are_not);
    tcase_add_test(all, a_quoted_value_may_have_blanks_and_escaped_quotes);
    tcase_add_test(all, what_is_cut_ends_with_the_line);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
