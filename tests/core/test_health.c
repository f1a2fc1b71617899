#include "daemon/core/health.h"

#include "tests/support/run_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A daemon of forty brokers that nothing is wrong with. */
static struct health_facts fine(void)
{
    return (struct health_facts){
        .n_nameservers = 2,
        .n_nameservers_usable = 2,
        .n_routes = 10,
        .n_brokers = 40,
        .memory_limit = 1000,
        .n_in_flight_max = 100,
        .n_requests = 1000,
        .broker_out = "10.0.0.7:10911",
        .broker_cause = "connection refused",
    };
}

/* The word of the worst condition, or "healthy". */
static const char *worst(const struct health_facts *facts, enum health_state *ret_state)
{
    const struct health_condition *found[HEALTH_CONDITIONS_MAX];
    size_t n = health_examine(facts, found);
    *ret_state = health_state_of(found, n);
    return n > 0 ? found[0]->name : "healthy";
}

static void assert_worst(struct health_facts facts, enum health_state state, const char *name)
{
    enum health_state seen;
    ck_assert_str_eq(worst(&facts, &seen), name);
    ck_assert_str_eq(health_state_name(seen), health_state_name(state));
}

START_TEST(nothing_wrong_is_healthy)
{
    assert_worst(fine(), HEALTH_HEALTHY, "healthy");
}
END_TEST

START_TEST(one_broker_of_forty_is_not_degraded_and_half_of_them_are)
{
    struct health_facts facts = fine();
    facts.n_brokers_out = 1;
    assert_worst(facts, HEALTH_HEALTHY, "healthy");
    facts.n_brokers_out = 19;
    assert_worst(facts, HEALTH_HEALTHY, "healthy");
    facts.n_brokers_out = 20;
    assert_worst(facts, HEALTH_DEGRADED, "brokers-out");
    facts.n_brokers_out = 40;
    assert_worst(facts, HEALTH_DOWN, "no-broker");
}
END_TEST

START_TEST(without_nameservers_kept_routes_make_the_difference)
{
    struct health_facts facts = fine();
    facts.n_nameservers_usable = 1;
    assert_worst(facts, HEALTH_HEALTHY, "healthy");
    facts.n_nameservers_usable = 0;
    facts.no_nameserver_answers = true;
    assert_worst(facts, HEALTH_DEGRADED, "no-nameserver-answers");
    facts.n_routes = 0;
    assert_worst(facts, HEALTH_DOWN, "nothing-known");
}
END_TEST

START_TEST(without_a_nameserver_in_the_configuration_it_is_down)
{
    struct health_facts facts = fine();
    facts.n_nameservers = 0;
    facts.n_nameservers_usable = 0;
    facts.n_routes = 0;
    assert_worst(facts, HEALTH_DOWN, "not-configured");
}
END_TEST

START_TEST(a_topic_in_use_without_a_writable_queue_is_degraded_and_named)
{
    struct health_facts facts = fine();
    const struct health_condition *found[HEALTH_CONDITIONS_MAX];
    char reason[HEALTH_REASON_SIZE];
    facts.n_topics_stuck = 1;
    facts.topic_stuck = "orders";
    assert_worst(facts, HEALTH_DEGRADED, "topic-without-queue");
    ck_assert_uint_eq(health_examine(&facts, found), 1);
    found[0]->describe(&facts, reason);
    ck_assert_ptr_nonnull(strstr(reason, "topic orders"));
}
END_TEST

START_TEST(limits_that_are_reached_are_degraded)
{
    struct health_facts facts = fine();
    facts.memory_used = 900;
    assert_worst(facts, HEALTH_DEGRADED, "memory-full");
    facts = fine();
    facts.n_in_flight = 100;
    assert_worst(facts, HEALTH_DEGRADED, "in-flight-full");
    facts = fine();
    facts.full_socket = "/run/a.sock";
    assert_worst(facts, HEALTH_DEGRADED, "listener-full");
    facts = fine();
    facts.stopped_socket = "/run/a.sock";
    assert_worst(facts, HEALTH_DEGRADED, "listener-stopped");
    facts = fine();
    facts.last_reload_failed = true;
    assert_worst(facts, HEALTH_DEGRADED, "reload-failed");
    facts = fine();
    facts.late_ms = HEALTH_LATE_MS;
    assert_worst(facts, HEALTH_DEGRADED, "late");
}
END_TEST

START_TEST(few_failures_say_nothing_and_their_share_counts)
{
    struct health_facts facts = fine();
    facts.n_requests = 9;
    facts.n_undelivered = 9;
    facts.n_overloaded = 9;
    assert_worst(facts, HEALTH_HEALTHY, "healthy");
    facts.n_requests = 20;
    facts.n_undelivered = 10;
    assert_worst(facts, HEALTH_DEGRADED, "failing");
    facts.n_requests = 21 + 10;
    assert_worst(facts, HEALTH_HEALTHY, "healthy");
    facts.n_requests = 1000;
    facts.n_overloaded = 10;
    assert_worst(facts, HEALTH_DEGRADED, "overloaded");
    facts.n_requests = 2000;
    assert_worst(facts, HEALTH_HEALTHY, "healthy");
}
END_TEST

START_TEST(a_drain_is_down_whatever_else_there_is)
{
    struct health_facts facts = fine();
    facts.is_draining = true;
    facts.n_brokers_out = 40;
    assert_worst(facts, HEALTH_DOWN, "draining");
}
END_TEST

START_TEST(the_worst_conditions_stand_first_and_every_reason_fits)
{
    struct health_facts facts = fine();
    char reason[HEALTH_REASON_SIZE];
    for (size_t i = 0; i < n_health_conditions; i++) {
        ck_assert_int_ne(health_conditions[i].state, HEALTH_HEALTHY);
        ck_assert(i == 0 || health_conditions[i - 1].state >= health_conditions[i].state);
        reason[0] = '\0';
        health_conditions[i].describe(&facts, reason);
        ck_assert_uint_gt(strlen(reason), 10);
    }
}
END_TEST

/* The manual's table, row by row: | state | condition | when | `command` | */
START_TEST(the_manual_has_the_same_table)
{
    char path[4096], row[512], line[1024];
    (void)snprintf(path, sizeof(path), "%s/OPERATING.md", getenv("SOURCE_ROOT"));
    FILE *manual = fopen(path, "r");
    ck_assert_ptr_nonnull(manual);
    size_t n_rows = 0, n_same = 0;
    while (fgets(line, sizeof(line), manual)) {
        if (strncmp(line, "| down |", 8) != 0 && strncmp(line, "| degraded |", 12) != 0) {
            continue;
        }
        if (n_rows < n_health_conditions) {
            const struct health_condition *condition = &health_conditions[n_rows];
            (void)snprintf(row, sizeof(row), "| %s | `%s` | %s | `%s` |\n",
                health_state_name(condition->state), condition->name, condition->sentence,
                condition->command);
            ck_assert_str_eq(line, row);
            n_same++;
        }
        n_rows++;
    }
    (void)fclose(manual);
    ck_assert_uint_eq(n_rows, n_health_conditions);
    ck_assert_uint_eq(n_same, n_health_conditions);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("health");
    TCase *all = tcase_create("health");
    tcase_add_test(all, nothing_wrong_is_healthy);
    tcase_add_test(all, one_broker_of_forty_is_not_degraded_and_half_of_them_are);
    tcase_add_test(all, without_nameservers_kept_routes_make_the_difference);
    tcase_add_test(all, without_a_nameserver_in_the_configuration_it_is_down);
    tcase_add_test(all, a_topic_in_use_without_a_writable_queue_is_degraded_and_named);
    tcase_add_test(all, limits_that_are_reached_are_degraded);
    tcase_add_test(all, few_failures_say_nothing_and_their_share_counts);
    tcase_add_test(all, a_drain_is_down_whatever_else_there_is);
    tcase_add_test(all, the_worst_conditions_stand_first_and_every_reason_fits);
    tcase_add_test(all, the_manual_has_the_same_table);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
