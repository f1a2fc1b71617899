#include "daemon/core/group_table.h"

#include "tests/support/run_suite.h"

#include <stdio.h>

static size_t names_of(const struct group_table *table, char *text, size_t size)
{
    struct span names[64];
    size_t n = group_table_names(table, names, 64);
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        at +=
            (size_t)snprintf(text + at, size - at, "%s%.*s", i > 0 ? " " : "", SPAN_ARGS(names[i]));
    }
    return n;
}

static void leave_all(struct group_table *table, uint64_t session_id)
{
    char group[ROCKETMQ_NAME_MAX + 1];
    bool is_last;
    while (group_table_leave_one(table, session_id, group, &is_last)) {
    }
}

START_TEST(the_union_names_every_group_once)
{
    struct group_table *table = group_table_new(10, 10);
    char text[256];
    ck_assert_int_eq(group_table_join(table, SPAN("A"), 1, GROUP_BY_HEARTBEAT), GROUP_JOINED_FIRST);
    ck_assert_int_eq(group_table_join(table, SPAN("B"), 1, GROUP_BY_HEARTBEAT), GROUP_JOINED_FIRST);
    ck_assert_int_eq(group_table_join(table, SPAN("A"), 2, GROUP_BY_HEARTBEAT), GROUP_JOINED);
    ck_assert_int_eq(group_table_join(table, SPAN("A"), 2, GROUP_BY_HEARTBEAT), GROUP_JOINED);
    ck_assert_uint_eq(names_of(table, text, sizeof(text)), 2);
    ck_assert_str_eq(text, "A B");
    leave_all(table, 1);
    leave_all(table, 2);
    ck_assert_uint_eq(group_table_n(table), 0);
    group_table_free(table);
}
END_TEST

START_TEST(a_group_goes_with_its_last_caller)
{
    struct group_table *table = group_table_new(10, 10);
    group_table_join(table, SPAN("A"), 1, GROUP_BY_HEARTBEAT);
    group_table_join(table, SPAN("A"), 2, GROUP_BY_HEARTBEAT);
    ck_assert(!group_table_leave(table, SPAN("A"), 1, GROUP_BY_HEARTBEAT));
    ck_assert(!group_table_leave(table, SPAN("A"), 1, GROUP_BY_HEARTBEAT));
    ck_assert(!group_table_leave(table, SPAN("B"), 2, GROUP_BY_HEARTBEAT));
    ck_assert(group_table_leave(table, SPAN("A"), 2, GROUP_BY_HEARTBEAT));
    ck_assert_uint_eq(group_table_n(table), 0);
    group_table_free(table);
}
END_TEST

START_TEST(a_caller_stays_until_its_last_reason_is_gone)
{
    struct group_table *table = group_table_new(10, 10);
    group_table_join(table, SPAN("A"), 1, GROUP_BY_HEARTBEAT);
    group_table_join(table, SPAN("A"), 1, GROUP_BY_PROCESSOR);
    ck_assert(!group_table_leave(table, SPAN("A"), 1, GROUP_BY_PROCESSOR));
    ck_assert_uint_eq(group_table_n(table), 1);
    ck_assert(group_table_leave(table, SPAN("A"), 1, GROUP_BY_HEARTBEAT));
    group_table_free(table);
}
END_TEST

START_TEST(who_goes_leaves_all_groups_and_tells_which_are_gone)
{
    struct group_table *table = group_table_new(10, 10);
    group_table_join(table, SPAN("Mine"), 1, GROUP_BY_HEARTBEAT | GROUP_BY_REPLIES);
    group_table_join(table, SPAN("Both"), 1, GROUP_BY_HEARTBEAT);
    group_table_join(table, SPAN("Both"), 2, GROUP_BY_PROCESSOR);
    char group[ROCKETMQ_NAME_MAX + 1];
    bool is_last;
    ck_assert(group_table_leave_one(table, 1, group, &is_last));
    ck_assert_str_eq(group, "Mine");
    ck_assert(is_last);
    ck_assert(group_table_leave_one(table, 1, group, &is_last));
    ck_assert_str_eq(group, "Both");
    ck_assert(!is_last);
    ck_assert(!group_table_leave_one(table, 1, group, &is_last));
    leave_all(table, 2);
    group_table_free(table);
}
END_TEST

START_TEST(both_limits_hold_and_leave_nothing_behind)
{
    struct group_table *table = group_table_new(2, 1);
    char text[256];
    ck_assert_int_eq(group_table_join(table, SPAN("A"), 1, GROUP_BY_HEARTBEAT), GROUP_JOINED_FIRST);
    ck_assert_int_eq(
        group_table_join(table, SPAN("B"), 1, GROUP_BY_HEARTBEAT), GROUP_TABLE_FULL_HERE);
    ck_assert_int_eq(group_table_join(table, SPAN("B"), 2, GROUP_BY_HEARTBEAT), GROUP_JOINED_FIRST);
    ck_assert_int_eq(group_table_join(table, SPAN("C"), 3, GROUP_BY_HEARTBEAT), GROUP_TABLE_FULL);
    ck_assert_int_eq(group_table_join(table, SPAN("A"), 3, GROUP_BY_HEARTBEAT), GROUP_JOINED);
    names_of(table, text, sizeof(text));
    ck_assert_str_eq(text, "A B");
    for (uint64_t id = 1; id <= 3; id++) {
        leave_all(table, id);
    }
    group_table_free(table);
}
END_TEST

START_TEST(ten_thousand_callers_come_and_go)
{
    struct group_table *table = group_table_new(64, 4);
    for (uint64_t id = 1; id <= 10000; id++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "G%u", (unsigned)(id % 64));
        assert_often(
            group_table_join(table, span_of(name), id, GROUP_BY_HEARTBEAT) <= GROUP_JOINED_FIRST);
    }
    ck_assert_uint_eq(group_table_n(table), 64);
    for (uint64_t id = 1; id <= 10000; id++) {
        leave_all(table, id);
    }
    ck_assert_uint_eq(group_table_n(table), 0);
    group_table_free(table);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("group_table");
    tcase_add_test(tests, the_union_names_every_group_once);
    tcase_add_test(tests, a_group_goes_with_its_last_caller);
    tcase_add_test(tests, a_caller_stays_until_its_last_reason_is_gone);
    tcase_add_test(tests, who_goes_leaves_all_groups_and_tells_which_are_gone);
    tcase_add_test(tests, both_limits_hold_and_leave_nothing_behind);
    tcase_add_test(tests, ten_thousand_callers_come_and_go);
    Suite *suite = suite_create("group_table");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
