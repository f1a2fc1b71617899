#include "daemon/core/route_table.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/run_suite.h"

#define REFRESH_MS      30000
#define NEGATIVE_TTL_MS 5000
#define START_MS        UINT64_C(1000000)

static struct route_table *table_new(size_t max_topics)
{
    const struct route_table_limits limits = {
        .max_topics = max_topics,
        .refresh_ms = REFRESH_MS,
        .negative_ttl_ms = NEGATIVE_TTL_MS,
    };
    struct route_table *table = route_table_new(&limits);
    ck_assert_ptr_nonnull(table);
    return table;
}

/* As a nameserver sends it: a master at 10.0.0.HOST:10911, or a replica only. */
static struct topic_route *route_new(const char *broker_name, int host, int broker_id, int n_queues)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
        "{\"brokerDatas\":[{\"brokerAddrs\":{\"%d\":\"10.0.0.%d:10911\"},\"brokerName\":\"%s\","
        "\"cluster\":\"C\"}],\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":\"%s\","
        "\"perm\":6,\"readQueueNums\":%d,\"topicSysFlag\":0,\"writeQueueNums\":%d}]}",
        broker_id, host, broker_name, broker_name, n_queues, n_queues);
    const struct topic_route_limits limits = { .max_brokers = 10, .max_queues = 100 };
    struct topic_route *route = NULL;
    ck_assert_int_eq(topic_route_decode(text, (size_t)n, &limits, &route), TOPIC_ROUTE_OK);
    return route;
}

static void put(struct route_table *table, const char *topic, uint64_t now_ms)
{
    ck_assert_int_eq(
        route_table_put(table, span_of(topic), route_new("broker-a", 1, 0, 4), now_ms), 0);
}

static void put_absent(struct route_table *table, const char *topic, uint64_t now_ms)
{
    ck_assert_int_eq(route_table_deny(table, span_of(topic), now_ms), ROUTE_DENIAL_ABSENT);
}

static void assert_state(
    struct route_table *table, const char *topic, uint64_t now_ms, enum route_entry_state expected)
{
    struct route_entry *entry = (struct route_entry *)(void *)table; /* is to be written */
    ck_assert_int_eq(route_table_find(table, span_of(topic), now_ms, &entry), expected);
    ck_assert((entry == NULL) == (expected == ROUTE_UNKNOWN));
    if (entry) {
        ck_assert_str_eq(entry->topic, topic);
        ck_assert((entry->route == NULL) == (expected == ROUTE_ABSENT));
    }
}

START_TEST(topic_that_was_never_asked_for_is_unknown)
{
    struct route_table *table = table_new(10);
    assert_state(table, "T", START_MS, ROUTE_UNKNOWN);
    put(table, "TT", START_MS);
    assert_state(table, "T", START_MS, ROUTE_UNKNOWN);
    assert_state(table, "", START_MS, ROUTE_UNKNOWN);
    ck_assert_uint_eq(route_table_n_topics(table), 1);
    ck_assert_ptr_null(route_table_free(table));
}
END_TEST

START_TEST(route_is_fresh_for_the_refresh_interval_and_stale_for_good)
{
    struct route_table *table = table_new(10);
    put(table, "T", START_MS);
    assert_state(table, "T", START_MS, ROUTE_FRESH);
    assert_state(table, "T", START_MS + REFRESH_MS - 1, ROUTE_FRESH);
    assert_state(table, "T", START_MS + REFRESH_MS, ROUTE_STALE);
    assert_state(table, "T", START_MS + UINT64_C(1000) * 3600 * 24 * 365, ROUTE_STALE);
    put(table, "T", START_MS + REFRESH_MS);
    assert_state(table, "T", START_MS + REFRESH_MS, ROUTE_FRESH);
    ck_assert_uint_eq(route_table_n_topics(table), 1);
    route_table_free(table);
}
END_TEST

START_TEST(topic_that_does_not_exist_is_absent_until_it_is_worth_asking_again)
{
    struct route_table *table = table_new(10);
    put_absent(table, "T", START_MS);
    assert_state(table, "T", START_MS, ROUTE_ABSENT);
    assert_state(table, "T", START_MS + NEGATIVE_TTL_MS - 1, ROUTE_ABSENT);
    assert_state(table, "T", START_MS + NEGATIVE_TTL_MS, ROUTE_UNKNOWN);
    put(table, "T", START_MS + NEGATIVE_TTL_MS);
    assert_state(table, "T", START_MS + NEGATIVE_TTL_MS, ROUTE_FRESH);
    ck_assert_uint_eq(route_table_n_topics(table), 1);
    route_table_free(table);
}
END_TEST

/* As by a nameserver that was started again, until the brokers have told it of themselves. */
START_TEST(route_that_nameservers_deny_is_kept_for_a_while_and_asked_for_again)
{
    struct route_table *table = table_new(10);
    const uint64_t denied_ms = START_MS + REFRESH_MS;
    struct route_entry *entry;
    put(table, "T", START_MS);
    assert_state(table, "T", denied_ms - 1, ROUTE_FRESH);
    ck_assert_int_eq(route_table_deny(table, SPAN("T"), denied_ms - 1), ROUTE_DENIAL_DOUBTED);
    assert_state(table, "T", denied_ms - 1, ROUTE_STALE);
    ck_assert_int_eq(route_table_find(table, SPAN("T"), denied_ms, &entry), ROUTE_STALE);
    ck_assert(!route_table_is_due(table, entry, denied_ms + NEGATIVE_TTL_MS - 2));
    ck_assert(route_table_is_due(table, entry, denied_ms + NEGATIVE_TTL_MS - 1));
    ck_assert_int_eq(
        route_table_deny(table, SPAN("T"), denied_ms + ROUTE_DOUBT_MS - 2), ROUTE_DENIAL_DOUBTED);
    ck_assert(!route_table_is_due(table, entry, denied_ms + ROUTE_DOUBT_MS - 1));
    assert_state(table, "T", denied_ms + ROUTE_DOUBT_MS - 2, ROUTE_STALE);
    ck_assert_int_eq(
        route_table_deny(table, SPAN("T"), denied_ms + ROUTE_DOUBT_MS - 1), ROUTE_DENIAL_LOST);
    assert_state(table, "T", denied_ms + ROUTE_DOUBT_MS, ROUTE_ABSENT);
    ck_assert(entry->is_lost);
    ck_assert_int_eq(
        route_table_deny(table, SPAN("T"), denied_ms + ROUTE_DOUBT_MS), ROUTE_DENIAL_ABSENT);
    ck_assert(entry->is_lost);
    route_table_free(table);
}
END_TEST

START_TEST(route_that_was_denied_and_then_found_again_is_like_a_new_one)
{
    struct route_table *table = table_new(10);
    struct route_entry *entry;
    put(table, "T", START_MS);
    ck_assert_int_eq(route_table_deny(table, SPAN("T"), START_MS + 1), ROUTE_DENIAL_DOUBTED);
    put(table, "T", START_MS + 2);
    ck_assert_int_eq(route_table_find(table, SPAN("T"), START_MS + 2, &entry), ROUTE_FRESH);
    ck_assert(!entry->is_lost);
    ck_assert_int_eq(
        route_table_deny(table, SPAN("T"), START_MS + 1 + ROUTE_DOUBT_MS), ROUTE_DENIAL_DOUBTED);
    route_table_free(table);
}
END_TEST

START_TEST(route_that_a_broker_denies_too_is_lost_at_once)
{
    struct route_table *table = table_new(10);
    put(table, "T", START_MS);
    route_table_expire(table, SPAN("T"));
    ck_assert_int_eq(route_table_deny(table, SPAN("T"), START_MS + 1), ROUTE_DENIAL_LOST);
    assert_state(table, "T", START_MS + 1, ROUTE_ABSENT);
    route_table_free(table);
}
END_TEST

START_TEST(expired_route_is_stale_and_still_there)
{
    struct route_table *table = table_new(10);
    put(table, "T", START_MS);
    route_table_expire(table, SPAN("T"));
    assert_state(table, "T", START_MS, ROUTE_STALE);
    put(table, "T", START_MS + 1);
    assert_state(table, "T", START_MS + 1, ROUTE_FRESH);
    route_table_free(table);
}
END_TEST

/* The monotonic clock begins when the machine does, and a daemon may begin a second later. */
START_TEST(route_expires_also_while_the_clock_is_younger_than_the_refresh_interval)
{
    struct route_table *table = table_new(10);
    put(table, "T", 1000);
    assert_state(table, "T", 1001, ROUTE_FRESH);
    route_table_expire(table, SPAN("T"));
    assert_state(table, "T", 1001, ROUTE_STALE);
    route_table_free(table);
}
END_TEST

START_TEST(expired_absence_is_unknown)
{
    struct route_table *table = table_new(10);
    put_absent(table, "T", START_MS);
    route_table_expire(table, SPAN("T"));
    assert_state(table, "T", START_MS, ROUTE_UNKNOWN);
    route_table_expire(table, SPAN("U")); /* nothing to expire */
    assert_state(table, "U", START_MS, ROUTE_UNKNOWN);
    route_table_free(table);
}
END_TEST

START_TEST(entry_has_the_queues_of_its_route)
{
    struct route_table *table = table_new(10);
    ck_assert_int_eq(
        route_table_put(table, SPAN("T"), route_new("broker-a", 1, 0, 7), START_MS), 0);
    struct route_entry *entry;
    ck_assert_int_eq(route_table_find(table, SPAN("T"), START_MS, &entry), ROUTE_FRESH);
    ck_assert_uint_eq(entry->n_queues, 7);
    ck_assert_int_eq(entry->queues[6].queue_id, 6);
    ck_assert_str_eq(entry->route->brokers[entry->queues[6].broker].broker_name, "broker-a");
    entry->worth[0] = 7; /* as many as brokers */
    uint32_t turn = entry->turn;
    ck_assert_int_eq(
        route_table_put(table, SPAN("T"), route_new("broker-b", 2, 0, 2), START_MS), 0);
    ck_assert_int_eq(route_table_find(table, SPAN("T"), START_MS, &entry), ROUTE_FRESH);
    ck_assert_uint_eq(entry->n_queues, 2);
    ck_assert_uint_eq(entry->turn, turn);
    route_table_free(table);
}
END_TEST

START_TEST(route_of_the_default_topic_has_as_many_queues_as_a_topic_made_on_first_use)
{
    struct route_table *table = table_new(10);
    ck_assert_int_eq(route_table_put(table, span_of(ROUTE_DEFAULT_TOPIC),
                         route_new("broker-a", 1, 0, 8), START_MS),
        0);
    struct route_entry *entry;
    ck_assert_int_eq(
        route_table_find(table, span_of(ROUTE_DEFAULT_TOPIC), START_MS, &entry), ROUTE_FRESH);
    ck_assert_uint_eq(entry->n_queues, DEFAULT_TOPIC_QUEUE_NUMS);
    route_table_free(table);
}
END_TEST

START_TEST(at_the_limit_the_topic_unused_for_longest_makes_room)
{
    struct route_table *table = table_new(3);
    put(table, "A", START_MS);
    put(table, "B", START_MS + 1);
    put(table, "C", START_MS + 2);
    assert_state(table, "A", START_MS + 3, ROUTE_FRESH); /* a use: now it is B */
    put(table, "D", START_MS + 4);
    ck_assert_uint_eq(route_table_n_topics(table), 3);
    assert_state(table, "B", START_MS + 5, ROUTE_UNKNOWN);
    assert_state(table, "A", START_MS + 5, ROUTE_FRESH);
    assert_state(table, "C", START_MS + 6, ROUTE_FRESH);
    put_absent(table, "E", START_MS + 7); /* names that do not exist count too: D goes */
    ck_assert_uint_eq(route_table_n_topics(table), 3);
    assert_state(table, "D", START_MS + 8, ROUTE_UNKNOWN);
    assert_state(table, "E", START_MS + 8, ROUTE_ABSENT);
    put(table, "A", START_MS + 9); /* known: nobody has to go */
    ck_assert_uint_eq(route_table_n_topics(table), 3);
    assert_state(table, "C", START_MS + 9, ROUTE_FRESH);
    route_table_free(table);
}
END_TEST

START_TEST(any_number_of_topics_stays_within_the_limit)
{
    struct route_table *table = table_new(50);
    char topic[16];
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(topic, sizeof(topic), "T%u", i);
        put(table, topic, START_MS + i);
        ck_assert_uint_le(route_table_n_topics(table), 50);
    }
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(topic, sizeof(topic), "T%u", i);
        assert_state(table, topic, START_MS + 1000, i < 950 ? ROUTE_UNKNOWN : ROUTE_FRESH);
    }
    route_table_free(table);
}
END_TEST

static void assert_master(
    struct route_table *table, const char *broker_name, const char *master, bool is_known)
{
    bool found_known = !is_known;
    const char *found = route_table_master(table, span_of(broker_name), &found_known);
    ck_assert_pstr_eq(found, master);
    ck_assert(found_known == is_known);
}

START_TEST(master_of_a_broker_is_the_one_of_the_last_route)
{
    struct route_table *table = table_new(10);
    assert_master(table, "broker-a", NULL, false);
    put(table, "T", START_MS);
    assert_master(table, "broker-a", "10.0.0.1:10911", true);
    assert_master(table, "broker", NULL, false);
    assert_master(table, "broker-aa", NULL, false);
    ck_assert_int_eq(
        route_table_put(table, SPAN("T"), route_new("broker-a", 2, 0, 1), START_MS), 0);
    assert_master(table, "broker-a", "10.0.0.2:10911", true);
    ck_assert_int_eq(
        route_table_put(table, SPAN("T"), route_new("broker-a", 3, 1, 1), START_MS), 0);
    assert_master(table, "broker-a", NULL, true); /* known, but without a master now */
    put(table, "T", START_MS);
    assert_master(table, "broker-a", "10.0.0.1:10911", true);
    route_table_free(table);
}
END_TEST

START_TEST(broker_is_found_by_the_address_of_its_master)
{
    struct route_table *table = table_new(10);
    ck_assert_pstr_eq(route_table_broker_at(table, SPAN("10.0.0.1:10911")), NULL);
    put(table, "T", START_MS);
    ck_assert_pstr_eq(route_table_broker_at(table, SPAN("10.0.0.1:10911")), "broker-a");
    ck_assert_pstr_eq(route_table_broker_at(table, SPAN("10.0.0.1:1091")), NULL);
    ck_assert_int_eq(
        route_table_put(table, SPAN("T"), route_new("broker-a", 3, 1, 1), START_MS), 0);
    ck_assert_pstr_eq(route_table_broker_at(table, SPAN("10.0.0.1:10911")), NULL);
    route_table_free(table);
}
END_TEST

START_TEST(absence_of_a_topic_teaches_nothing_about_brokers)
{
    struct route_table *table = table_new(10);
    put(table, "T", START_MS);
    route_table_expire(table, SPAN("T"));
    ck_assert_int_eq(route_table_deny(table, SPAN("T"), START_MS), ROUTE_DENIAL_LOST);
    assert_master(table, "broker-a", "10.0.0.1:10911", true);
    route_table_free(table);
}
END_TEST

START_TEST(cluster_table_teaches_brokers_and_addresses_without_a_topic)
{
    struct route_table *table = table_new(10);
    struct topic_route *route = route_new("broker-c", 9, 0, 1);
    ck_assert_int_eq(route_table_learn(table, route, START_MS), 0);
    topic_route_free(route); /* it stays the caller's */
    assert_master(table, "broker-c", "10.0.0.9:10911", true);
    ck_assert(route_table_knows_address(table, SPAN("10.0.0.9:10911"), START_MS));
    ck_assert_uint_eq(route_table_n_topics(table), 0);
    route_table_free(table);
}
END_TEST

START_TEST(address_is_known_for_ten_minutes_after_it_was_last_named)
{
    const uint64_t ten_minutes_ms = 10 * 60 * 1000;
    struct route_table *table = table_new(10);
    struct span address = SPAN("10.0.0.1:10911");
    ck_assert(!route_table_knows_address(table, address, START_MS));
    put(table, "T", START_MS);
    ck_assert(route_table_knows_address(table, address, START_MS));
    ck_assert(!route_table_knows_address(table, SPAN("10.0.0.1:1091"), START_MS));
    ck_assert(!route_table_knows_address(table, SPAN("10.0.0.1:109111"), START_MS));
    ck_assert(route_table_knows_address(table, address, START_MS + ten_minutes_ms - 1));
    ck_assert(!route_table_knows_address(table, address, START_MS + ten_minutes_ms));
    put(table, "U", START_MS + ten_minutes_ms);
    ck_assert(route_table_knows_address(table, address, START_MS + 2 * ten_minutes_ms - 1));
    ck_assert(!route_table_knows_address(table, address, START_MS + 2 * ten_minutes_ms));
    route_table_free(table);
}
END_TEST

START_TEST(address_of_a_replica_is_known_too)
{
    struct route_table *table = table_new(10);
    ck_assert_int_eq(
        route_table_put(table, SPAN("T"), route_new("broker-a", 7, 1, 1), START_MS), 0);
    ck_assert(route_table_knows_address(table, SPAN("10.0.0.7:10911"), START_MS));
    route_table_free(table);
}
END_TEST

/* What a route that names so many brokers teaches; each has an address of its own. */
static void learn_many(struct route_table *table, size_t first, size_t n, uint64_t now_ms)
{
    for (size_t i = first; i < first + n; i++) {
        char name[32];
        char address_text[32];
        (void)snprintf(name, sizeof(name), "broker-%zu", i);
        (void)snprintf(address_text, sizeof(address_text), "h%zu:1", i);
        struct broker_address address = { 0, address_text };
        struct broker_data broker = {
            .broker_name = name, .addresses = &address, .n_addresses = 1
        };
        const struct topic_route route = { .brokers = &broker, .n_brokers = 1 };
        ck_assert_int_eq(route_table_learn(table, &route, now_ms), 0);
    }
}

static size_t count_known(struct route_table *table, size_t n, uint64_t now_ms, bool of_addresses)
{
    size_t n_known = 0;
    for (size_t i = 0; i < n; i++) {
        char text[32];
        bool is_known;
        (void)snprintf(text, sizeof(text), of_addresses ? "h%zu:1" : "broker-%zu", i);
        if (of_addresses) {
            is_known = route_table_knows_address(table, span_of(text), now_ms);
        } else {
            (void)route_table_master(table, span_of(text), &is_known);
        }
        n_known += is_known;
    }
    return n_known;
}

START_TEST(nameserver_that_invents_brokers_does_not_fill_the_memory)
{
    struct route_table *table = table_new(10);
    learn_many(table, 0, 20100, START_MS);
    ck_assert_uint_eq(count_known(table, 20100, START_MS, true), 20000);
    ck_assert_uint_eq(count_known(table, 20100, START_MS, false), 20000);
    /* Known ones are refreshed all the same, and what was long unseen makes room. */
    learn_many(table, 0, 1, START_MS + 1);
    const uint64_t later_ms = START_MS + 2 * ROUTE_ADDRESS_KNOWN_MS;
    learn_many(table, 20100, 5, later_ms);
    ck_assert_uint_eq(count_known(table, 20105, later_ms, false), 6);
    ck_assert_uint_eq(count_known(table, 20105, later_ms, true), 5);
    route_table_free(table);
}
END_TEST

START_TEST(table_that_never_was_is_freed)
{
    ck_assert_ptr_null(route_table_free(NULL));
}
END_TEST

int main(void)
{
    TCase *topics = tcase_create("topics");
    tcase_add_test(topics, topic_that_was_never_asked_for_is_unknown);
    tcase_add_test(topics, route_is_fresh_for_the_refresh_interval_and_stale_for_good);
    tcase_add_test(topics, topic_that_does_not_exist_is_absent_until_it_is_worth_asking_again);
    tcase_add_test(topics, route_that_nameservers_deny_is_kept_for_a_while_and_asked_for_again);
    tcase_add_test(topics, route_that_was_denied_and_then_found_again_is_like_a_new_one);
    tcase_add_test(topics, route_that_a_broker_denies_too_is_lost_at_once);
    tcase_add_test(topics, expired_route_is_stale_and_still_there);
    tcase_add_test(topics, route_expires_also_while_the_clock_is_younger_than_the_refresh_interval);
    tcase_add_test(topics, expired_absence_is_unknown);
    tcase_add_test(topics, entry_has_the_queues_of_its_route);
    tcase_add_test(
        topics, route_of_the_default_topic_has_as_many_queues_as_a_topic_made_on_first_use);
    tcase_add_test(topics, at_the_limit_the_topic_unused_for_longest_makes_room);
    tcase_add_test(topics, any_number_of_topics_stays_within_the_limit);
    TCase *brokers = tcase_create("brokers");
    tcase_set_timeout(brokers, 60);
    tcase_add_test(brokers, master_of_a_broker_is_the_one_of_the_last_route);
    tcase_add_test(brokers, broker_is_found_by_the_address_of_its_master);
    tcase_add_test(brokers, absence_of_a_topic_teaches_nothing_about_brokers);
    tcase_add_test(brokers, cluster_table_teaches_brokers_and_addresses_without_a_topic);
    tcase_add_test(brokers, address_is_known_for_ten_minutes_after_it_was_last_named);
    tcase_add_test(brokers, address_of_a_replica_is_known_too);
    tcase_add_test(brokers, nameserver_that_invents_brokers_does_not_fill_the_memory);
    tcase_add_test(brokers, table_that_never_was_is_freed);
    Suite *suite = suite_create("route_table");
    suite_add_tcase(suite, topics);
    suite_add_tcase(suite, brokers);
    return run_suite(suite);
}
