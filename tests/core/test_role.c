#include "daemon/core/role.h"

#include "tests/support/run_suite.h"

#include <string.h>

#define DAEMON_UID 900
#define N(array)   (sizeof(array) / sizeof((array)[0]))

static struct role_table table;

static struct role *add(const char *name)
{
    const struct role_texts none = { NULL, 0 };
    struct role *role = role_table_add(&table, name, none, none, none, none, false);
    ck_assert_ptr_nonnull(role);
    return role;
}

static void begin(void)
{
    role_table_init(&table, DAEMON_UID);
}

static void end(void)
{
    role_table_deinit(&table);
}

static const struct role_caller somebody = { .is_known = true, .uid = 1000, .gid = 1000 };

static const struct role *find(uid_t uid, gid_t gid)
{
    const struct role_caller caller = { .is_known = true, .uid = uid, .gid = gid };
    return role_table_find(&table, NULL, &caller);
}

START_TEST(without_rules_everybody_may_everything_and_root_and_the_own_user_are_administrators)
{
    ck_assert(find(1000, 1000)->may_everything && !find(1000, 1000)->is_admin);
    ck_assert(find(0, 0)->may_everything && find(0, 0)->is_admin);
    ck_assert(find(DAEMON_UID, 1)->is_admin);
}
END_TEST

START_TEST(the_overflow_user_is_never_an_administrator_by_itself)
{
    ck_assert(!find(ROLE_ID_OVERFLOW, 0)->is_admin);
    role_table_deinit(&table);
    role_table_init(&table, ROLE_ID_OVERFLOW); /* the daemon runs as nobody */
    ck_assert(!find(ROLE_ID_OVERFLOW, ROLE_ID_OVERFLOW)->is_admin);
    ck_assert(!find((uid_t)-1, (gid_t)-1)->is_admin);
}
END_TEST

START_TEST(a_caller_whom_the_kernel_does_not_name_is_nobody)
{
    const struct role_caller unknown = { .is_known = false, .uid = 0, .gid = 0 };
    ck_assert(!role_table_find(&table, NULL, &unknown)->is_admin);
    struct role *role = add("all");
    role->has_every_user = true;
    ck_assert(role_add_group(role, 0));
    ck_assert_ptr_null(role_table_find(&table, NULL, &unknown));
}
END_TEST

START_TEST(the_first_role_that_names_a_caller_counts)
{
    struct role *first = add("first");
    struct role *second = add("second");
    struct role *rest = add("rest");
    ck_assert(role_add_user(first, 1000) && role_add_user(second, 1000));
    ck_assert(role_add_user(second, 1001));
    rest->has_every_user = true;
    ck_assert_ptr_eq(find(1000, 1), first);
    ck_assert_ptr_eq(find(1001, 1), second);
    ck_assert_ptr_eq(find(1002, 1), rest);
}
END_TEST

START_TEST(once_there_are_rules_those_whom_none_names_are_turned_away_root_included)
{
    ck_assert(role_add_user(add("shop"), 1000));
    ck_assert_ptr_nonnull(find(1000, 1));
    ck_assert_ptr_null(find(1001, 1));
    ck_assert_ptr_null(find(0, 0));
    ck_assert_ptr_null(find(DAEMON_UID, 0));
}
END_TEST

START_TEST(a_caller_is_named_by_its_group_or_any_of_its_supplementary_ones)
{
    struct role *role = add("shop");
    ck_assert(role_add_group(role, 50) && role_add_group(role, 60));
    ck_assert_ptr_eq(find(1000, 60), role);
    ck_assert_ptr_null(find(1000, 61));
    const gid_t groups[] = { 61, 62, 50 };
    struct role_caller caller = somebody;
    caller.groups = groups;
    caller.n_groups = 2;
    ck_assert_ptr_null(role_table_find(&table, NULL, &caller));
    caller.n_groups = 3;
    ck_assert_ptr_eq(role_table_find(&table, NULL, &caller), role);
}
END_TEST

START_TEST(no_rule_means_the_overflow_ids_whatever_it_says)
{
    struct role *role = add("shop");
    role->has_every_user = true;
    ck_assert(role_add_user(role, ROLE_ID_OVERFLOW));
    ck_assert(role_add_group(role, ROLE_ID_OVERFLOW) && role_add_group(role, 50));
    ck_assert_ptr_null(find(ROLE_ID_OVERFLOW, 50));
    ck_assert_ptr_null(find(ROLE_ID_OVERFLOW, ROLE_ID_OVERFLOW));
    role->has_every_user = false;
    ck_assert_ptr_null(find(1000, ROLE_ID_OVERFLOW));
    ck_assert_ptr_eq(find(1000, 50), role);
}
END_TEST

START_TEST(a_listeners_role_is_everyones_unless_it_names_users_or_groups)
{
    struct role *container = add("container");
    const struct role_caller overflow = { .is_known = true, .uid = ROLE_ID_OVERFLOW };
    ck_assert_ptr_eq(role_table_find(&table, container, &overflow), container);
    ck_assert_ptr_eq(role_table_find(&table, container, &somebody), container);
    ck_assert(role_add_user(container, 1000));
    ck_assert_ptr_eq(role_table_find(&table, container, &somebody), container);
    ck_assert_ptr_null(role_table_find(&table, container, &overflow));
}
END_TEST

START_TEST(a_role_for_a_listener_alone_changes_nothing_for_the_others)
{
    (void)add("container");
    ck_assert(find(1000, 1)->may_everything);
    ck_assert(find(0, 0)->is_admin);
}
END_TEST

START_TEST(a_role_may_everything_when_its_four_lists_do)
{
    static char *const all[] = { "a", "*" };
    static char *const some[] = { "a*" };
    const struct role_texts everything = { all, N(all) }, something = { some, N(some) };
    ck_assert(role_table_add(&table, "a", everything, everything, everything, everything, false)
                  ->may_everything);
    ck_assert(!role_table_add(&table, "b", something, everything, everything, everything, true)
                   ->may_everything);
    ck_assert(!role_table_add(&table, "c", everything, something, everything, everything, true)
                   ->may_everything);
    ck_assert(!role_table_add(&table, "d", everything, everything, something, everything, true)
                   ->may_everything);
    ck_assert(!role_table_add(&table, "e", everything, everything, everything, something, true)
                   ->may_everything);
    ck_assert_str_eq(role_table_named(&table, "d")->name, "d");
    ck_assert_ptr_null(role_table_named(&table, "f"));
    ck_assert_ptr_null(role_table_named(&table, ""));
}
END_TEST

START_TEST(a_table_and_a_role_hold_so_many_and_no_more)
{
    struct role *role = add("first");
    for (unsigned i = 0; i < ROLE_NAMED_MAX; i++) {
        ck_assert(role_add_user(role, i) && role_add_group(role, i));
    }
    ck_assert(!role_add_user(role, 1) && !role_add_group(role, 1));
    for (unsigned i = 1; i < ROLES_MAX; i++) {
        (void)add("more");
    }
    const struct role_texts none = { NULL, 0 };
    ck_assert_ptr_null(role_table_add(&table, "beyond", none, none, none, none, false));
}
END_TEST

START_TEST(a_refusal_says_who_is_meant_and_what_would_let_it_in)
{
    char text[384];
    const struct role *role = add("shop");
    role_describe_refusal(NULL, &somebody, text, sizeof(text));
    ck_assert_str_eq(text, "uid 1000 may not connect: users or groups of a [role NAME] would have "
                           "to name it");
    role_describe_refusal(role, &somebody, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "uid 1000"));
    ck_assert_ptr_nonnull(strstr(text, "[role shop]"));
    const struct role_caller overflow = { .is_known = true, .uid = ROLE_ID_OVERFLOW };
    role_describe_refusal(NULL, &overflow, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "65534"));
    ck_assert_ptr_nonnull(strstr(text, "a [listener] with a role"));
    role_describe_admin(role, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "\"admin = yes\" in [role shop]"));
    role_describe_admin(&table.user, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "root and the daemon's own user"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core/role");
    TCase *tcase = tcase_create("role");
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(
        tcase, without_rules_everybody_may_everything_and_root_and_the_own_user_are_administrators);
    tcase_add_test(tcase, the_overflow_user_is_never_an_administrator_by_itself);
    tcase_add_test(tcase, a_caller_whom_the_kernel_does_not_name_is_nobody);
    tcase_add_test(tcase, the_first_role_that_names_a_caller_counts);
    tcase_add_test(tcase, once_there_are_rules_those_whom_none_names_are_turned_away_root_included);
    tcase_add_test(tcase, a_caller_is_named_by_its_group_or_any_of_its_supplementary_ones);
    tcase_add_test(tcase, no_rule_means_the_overflow_ids_whatever_it_says);
    tcase_add_test(tcase, a_listeners_role_is_everyones_unless_it_names_users_or_groups);
    tcase_add_test(tcase, a_role_for_a_listener_alone_changes_nothing_for_the_others);
    tcase_add_test(tcase, a_role_may_everything_when_its_four_lists_do);
    tcase_add_test(tcase, a_table_and_a_role_hold_so_many_and_no_more);
    tcase_add_test(tcase, a_refusal_says_who_is_meant_and_what_would_let_it_in);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
