#include "daemon/core/name_patterns.h"

#include "tests/support/run_suite.h"

#define PATTERNS_MAX 4

static const struct match_case {
    const char *name;
    char *patterns[PATTERNS_MAX + 1];
    const char *text; /* NULL: absent */
    bool matches;
} cases[] = {
    { "nothing means nothing", { NULL }, "orders", false },
    { "a name means itself", { "orders" }, "orders", true },
    { "a name does not mean what begins so", { "orders" }, "orders-2", false },
    { "a name does not mean its own beginning", { "orders" }, "order", false },
    { "a name is told by case", { "orders" }, "Orders", false },
    { "a beginning means what begins so", { "orders-*" }, "orders-2", true },
    { "a beginning means itself", { "orders-*" }, "orders-", true },
    { "a beginning means nothing shorter", { "orders-*" }, "orders", false },
    { "a beginning means nothing else", { "orders-*" }, "invoices-2", false },
    { "the second of two", { "a", "b*" }, "bc", true },
    { "none of two", { "a", "b*" }, "c", false },
    { "* means everything", { "*" }, "orders", true },
    { "* behind a name means everything", { "a", "*" }, "orders", true },
    { "* means what is not named", { "*" }, NULL, true },
    { "a name does not mean what is not named", { "orders" }, NULL, false },
    { "a beginning does not mean the empty name", { "o*" }, "", false },
};

START_TEST(a_list_means_names_and_what_begins_so)
{
    const struct match_case *row = &cases[_i];
    struct name_patterns patterns;
    size_t n = 0;
    while (row->patterns[n]) {
        n++;
    }
    ck_assert_int_eq(name_patterns_init(&patterns, row->patterns, n), 0);
    ck_assert_msg(
        name_patterns_match(&patterns, span_of(row->text)) == row->matches, "%s", row->name);
    name_patterns_deinit(&patterns);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core/name_patterns");
    TCase *tcase = tcase_create("name_patterns");
    tcase_add_loop_test(
        tcase, a_list_means_names_and_what_begins_so, 0, (int)(sizeof(cases) / sizeof(cases[0])));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
