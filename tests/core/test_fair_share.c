#include "daemon/core/fair_share.h"

#include "tests/support/run_suite.h"

#define HOG   UINT64_C(1)
#define OTHER UINT64_C(65) /* in the hog's bucket */

START_TEST(while_there_is_plenty_everybody_is_let_in)
{
    ck_assert(fair_share_admits(0, 100, 0, 0));
    ck_assert(fair_share_admits(50, 100, 20, 3));
    ck_assert(fair_share_admits(74, 100, 74, 0));
}
END_TEST

START_TEST(who_holds_a_quarter_gets_no_more_while_others_hold_some)
{
    ck_assert(fair_share_admits(50, 100, 24, 1));
    ck_assert(!fair_share_admits(50, 100, 25, 1));
    ck_assert(fair_share_admits(50, 100, 50, 0));
}
END_TEST

START_TEST(the_last_quarter_is_for_those_who_hold_little)
{
    ck_assert(!fair_share_admits(75, 100, 75, 0));
    ck_assert(fair_share_admits(75, 100, 4, 4));
    ck_assert(!fair_share_admits(75, 100, 5, 4));
    ck_assert(fair_share_admits(99, 100, 0, 1000000));
}
END_TEST

START_TEST(nobody_is_let_in_at_the_limit)
{
    ck_assert(!fair_share_admits(100, 100, 0, 0));
    ck_assert(!fair_share_admits(101, 100, 0, 5));
    ck_assert(!fair_share_admits(0, 0, 0, 0));
}
END_TEST

START_TEST(limits_below_four_have_no_last_quarter)
{
    ck_assert(fair_share_admits(0, 1, 0, 0));
    ck_assert(fair_share_admits(2, 3, 2, 0));
    ck_assert(!fair_share_admits(3, 3, 0, 0));
}
END_TEST

/* However many take as much as they can get, one who has nothing finds room for something. */
START_TEST(any_number_of_hogs_leaves_room_for_one_more)
{
    for (size_t n_hogs = 1; n_hogs <= 64; n_hogs++) {
        size_t held[64] = { 0 };
        size_t used = 0;
        bool has_taken = true;
        while (has_taken) {
            has_taken = false;
            for (size_t i = 0; i < n_hogs; i++) {
                if (fair_share_admits(used, 1000, held[i], n_hogs - 1)) {
                    held[i]++;
                    used++;
                    has_taken = true;
                }
            }
        }
        ck_assert_uint_ge(used, 250);
        ck_assert(fair_share_admits(used, 1000, 0, n_hogs));
    }
}
END_TEST

START_TEST(the_ledger_knows_what_is_whose)
{
    struct share_ledger *ledger = share_ledger_new();
    size_t n_others;
    share_ledger_note(ledger, HOG, 100, 100);
    share_ledger_note(ledger, HOG, 50, 150);
    share_ledger_note(ledger, OTHER, 10, 160);
    share_ledger_note(ledger, HOG, 1, 161);
    ck_assert_uint_eq(share_ledger_of(ledger, HOG, &n_others), 151);
    ck_assert_uint_eq(n_others, 1);
    ck_assert_uint_eq(share_ledger_of(ledger, OTHER, &n_others), 10);
    ck_assert_uint_eq(share_ledger_of(ledger, 7, &n_others), 0);
    ck_assert_uint_eq(n_others, 2);
    share_ledger_free(ledger);
}
END_TEST

START_TEST(what_is_gone_is_nobodys)
{
    struct share_ledger *ledger = share_ledger_new();
    size_t n_others;
    share_ledger_note(ledger, HOG, 100, 200);
    share_ledger_note(ledger, OTHER, 10, 210);
    share_ledger_release(ledger, 100);
    ck_assert_uint_eq(share_ledger_of(ledger, HOG, &n_others), 100);
    share_ledger_release(ledger, 130);
    ck_assert_uint_eq(share_ledger_of(ledger, HOG, &n_others), 70);
    share_ledger_release(ledger, 200);
    ck_assert_uint_eq(share_ledger_of(ledger, HOG, &n_others), 0);
    ck_assert_uint_eq(n_others, 1);
    share_ledger_release(ledger, 210);
    ck_assert(share_ledger_is_empty(ledger));
    share_ledger_free(ledger);
}
END_TEST

START_TEST(a_ledger_does_what_plain_sums_do_however_long_it_gets)
{
    static size_t sizes[20000];
    struct share_ledger *ledger = share_ledger_new();
    size_t held[300] = { 0 }, first = 0, n = 0, n_others;
    uint64_t end = 0, gone = 0;
    uint32_t seed = 5;
    for (; n < 20000; n++) {
        seed = seed * 1664525 + 1013904223;
        sizes[n] = 1 + (seed >> 8) % 500;
        end += sizes[n];
        held[n * 7 % 300] += sizes[n];
        share_ledger_note(ledger, n * 7 % 300, sizes[n], end);
        while (n % 3 == 0 && first + 4000 < n) {
            gone += sizes[first];
            held[first * 7 % 300] -= sizes[first];
            first++;
        }
        share_ledger_release(ledger, gone);
    }
    for (size_t i = 0; i < 300; i++) {
        ck_assert_uint_eq(share_ledger_of(ledger, i, &n_others), held[i]);
    }
    share_ledger_free(ledger);
}
END_TEST

START_TEST(a_ledger_that_never_was_is_freed)
{
    ck_assert_ptr_null(share_ledger_free(NULL));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("fair_share");
    tcase_add_test(tests, while_there_is_plenty_everybody_is_let_in);
    tcase_add_test(tests, who_holds_a_quarter_gets_no_more_while_others_hold_some);
    tcase_add_test(tests, the_last_quarter_is_for_those_who_hold_little);
    tcase_add_test(tests, nobody_is_let_in_at_the_limit);
    tcase_add_test(tests, limits_below_four_have_no_last_quarter);
    tcase_add_test(tests, any_number_of_hogs_leaves_room_for_one_more);
    tcase_add_test(tests, the_ledger_knows_what_is_whose);
    tcase_add_test(tests, what_is_gone_is_nobodys);
    tcase_add_test(tests, a_ledger_does_what_plain_sums_do_however_long_it_gets);
    tcase_add_test(tests, a_ledger_that_never_was_is_freed);
    Suite *suite = suite_create("fair_share");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
