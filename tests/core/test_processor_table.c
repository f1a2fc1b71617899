#include "daemon/core/processor_table.h"

#include "tests/support/run_suite.h"

#define CHECK  39
#define STATUS 221

static bool everybody(void *context, uint64_t session_id)
{
    (void)context;
    (void)session_id;
    return true;
}

static bool all_but(void *context, uint64_t session_id)
{
    return session_id != *(const uint64_t *)context;
}

static uint64_t choose(struct processor_table *table, int32_t code, struct span group)
{
    bool is_registered;
    return processor_table_choose(table, code, group, 0, everybody, NULL, &is_registered);
}

START_TEST(callers_of_a_code_and_group_take_turns)
{
    struct processor_table *table = processor_table_new(10);
    for (uint64_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(processor_table_add(table, id, CHECK, SPAN("P")), PROCESSOR_ADDED);
    }
    for (uint64_t i = 0; i < 9; i++) {
        ck_assert_uint_eq(choose(table, CHECK, SPAN("P")), i % 3 + 1);
    }
    ck_assert_uint_eq(choose(table, CHECK, SPAN("Q")), 0);
    ck_assert_uint_eq(choose(table, STATUS, SPAN("P")), 0);
    for (uint64_t id = 1; id <= 3; id++) {
        processor_table_remove_session(table, id);
    }
    processor_table_free(table);
}
END_TEST

START_TEST(who_registered_for_every_group_is_asked_where_nobody_did_for_this_one)
{
    struct processor_table *table = processor_table_new(10);
    processor_table_add(table, 1, STATUS, SPAN_ABSENT);
    processor_table_add(table, 2, STATUS, SPAN("G"));
    ck_assert_uint_eq(choose(table, STATUS, SPAN("G")), 2);
    ck_assert_uint_eq(choose(table, STATUS, SPAN("G")), 2);
    ck_assert_uint_eq(choose(table, STATUS, SPAN("Other")), 1);
    ck_assert_uint_eq(choose(table, STATUS, SPAN_ABSENT), 1);
    processor_table_remove_session(table, 1);
    processor_table_remove_session(table, 2);
    processor_table_free(table);
}
END_TEST

START_TEST(the_preferred_one_is_asked_if_it_registered_and_can)
{
    struct processor_table *table = processor_table_new(10);
    bool is_registered;
    uint64_t busy = 2;
    processor_table_add(table, 1, CHECK, SPAN("P"));
    processor_table_add(table, 2, CHECK, SPAN("P"));
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(
            processor_table_choose(table, CHECK, SPAN("P"), 2, everybody, NULL, &is_registered), 2);
    }
    ck_assert_uint_eq(
        processor_table_choose(table, CHECK, SPAN("P"), 2, all_but, &busy, &is_registered), 1);
    ck_assert_uint_ne(
        processor_table_choose(table, CHECK, SPAN("P"), 7, everybody, NULL, &is_registered), 7);
    processor_table_remove_session(table, 1);
    processor_table_remove_session(table, 2);
    processor_table_free(table);
}
END_TEST

START_TEST(nobody_and_nobody_who_can_are_told_apart)
{
    struct processor_table *table = processor_table_new(10);
    bool is_registered = false;
    uint64_t busy = 1;
    processor_table_add(table, 1, CHECK, SPAN("P"));
    ck_assert_uint_eq(
        processor_table_choose(table, CHECK, SPAN("P"), 0, all_but, &busy, &is_registered), 0);
    ck_assert(is_registered);
    ck_assert_uint_eq(
        processor_table_choose(table, CHECK, SPAN("Q"), 0, all_but, &busy, &is_registered), 0);
    ck_assert(!is_registered);
    processor_table_remove_session(table, 1);
    processor_table_free(table);
}
END_TEST

START_TEST(one_caller_registers_so_often_and_no_more)
{
    struct processor_table *table = processor_table_new(2);
    ck_assert_int_eq(processor_table_add(table, 1, CHECK, SPAN("A")), PROCESSOR_ADDED);
    ck_assert_int_eq(processor_table_add(table, 1, CHECK, SPAN("A")), PROCESSOR_THERE_ALREADY);
    ck_assert_int_eq(processor_table_add(table, 1, CHECK, SPAN("B")), PROCESSOR_ADDED);
    ck_assert_int_eq(processor_table_add(table, 1, CHECK, SPAN("C")), PROCESSOR_TABLE_FULL_HERE);
    ck_assert_int_eq(processor_table_add(table, 2, CHECK, SPAN("C")), PROCESSOR_ADDED);
    ck_assert(processor_table_remove(table, 1, CHECK, SPAN("A")));
    ck_assert(!processor_table_remove(table, 1, CHECK, SPAN("A")));
    ck_assert_int_eq(processor_table_add(table, 1, CHECK, SPAN("C")), PROCESSOR_ADDED);
    processor_table_remove_session(table, 1);
    ck_assert_uint_eq(choose(table, CHECK, SPAN("C")), 2);
    ck_assert_uint_eq(choose(table, CHECK, SPAN("B")), 0);
    processor_table_remove_session(table, 2);
    processor_table_free(table);
}
END_TEST

START_TEST(a_group_longer_than_any_name_is_nobodys)
{
    struct processor_table *table = processor_table_new(2);
    static const char longest[2000] = "x";
    ck_assert_uint_eq(choose(table, CHECK, (struct span){ longest, sizeof(longest) }), 0);
    processor_table_free(table);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("processor_table");
    tcase_add_test(tests, callers_of_a_code_and_group_take_turns);
    tcase_add_test(tests, who_registered_for_every_group_is_asked_where_nobody_did_for_this_one);
    tcase_add_test(tests, the_preferred_one_is_asked_if_it_registered_and_can);
    tcase_add_test(tests, nobody_and_nobody_who_can_are_told_apart);
    tcase_add_test(tests, one_caller_registers_so_often_and_no_more);
    tcase_add_test(tests, a_group_longer_than_any_name_is_nobodys);
    Suite *suite = suite_create("processor_table");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
