#include "daemon/core/queue_selector.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/run_suite.h"

#define N_BROKERS 3

static struct broker_address masters[] = { { 0, (char[]){ "10.0.0.1:1" } },
    { 0, (char[]){ "10.0.0.2:1" } }, { 1, (char[]){ "10.0.0.3:1" } } };
static struct broker_data brokers[] = {
    { .broker_name = (char[]){ "a" },
        .cluster = (char[]){ "" },
        .addresses = &masters[0],
        .n_addresses = 1 },
    { .broker_name = (char[]){ "b" },
        .cluster = (char[]){ "" },
        .addresses = &masters[1],
        .n_addresses = 1 },
    { .broker_name = (char[]){ "replica" },
        .cluster = (char[]){ "" },
        .addresses = &masters[2],
        .n_addresses = 1 },
};

static struct topic_route route_of(struct queue_data *queues, size_t n_queues)
{
    return (struct topic_route){
        .brokers = brokers,
        .n_brokers = N_BROKERS,
        .queues = queues,
        .n_queues = n_queues,
    };
}

static struct queue_data row(char *broker_name, int32_t write_queue_nums, int32_t perm)
{
    return (struct queue_data){
        .broker_name = broker_name,
        .read_queue_nums = 16,
        .write_queue_nums = write_queue_nums,
        .perm = perm,
    };
}

static void assert_queues(const struct topic_route *route, int32_t queue_nums_max,
    const struct publish_queue *expected, size_t n_expected)
{
    struct publish_queue *queues = NULL;
    size_t n = 4711;
    ck_assert_int_eq(publish_queues_from_route(route, queue_nums_max, &queues, &n), 0);
    ck_assert_uint_eq(n, n_expected);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(queues[i].broker, expected[i].broker);
        ck_assert_int_eq(queues[i].queue_id, expected[i].queue_id);
    }
    free(queues);
}

START_TEST(writable_queues_of_masters_stand_in_the_order_of_broker_and_id)
{
    struct queue_data queues[] = { row(brokers[0].broker_name, 2, PERM_READ | PERM_WRITE),
        row(brokers[1].broker_name, 3, PERM_WRITE) };
    const struct publish_queue expected[] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 }, { 1, 2 } };
    const struct topic_route route = route_of(queues, 2);
    assert_queues(&route, 0, expected, 5);
}
END_TEST

START_TEST(queues_that_cannot_be_written_to_are_left_out)
{
    struct queue_data queues[] = {
        row(brokers[0].broker_name, 4, PERM_READ),              /* not writable */
        row(brokers[1].broker_name, 1, PERM_READ | PERM_WRITE), /* this one */
        row(brokers[2].broker_name, 4, PERM_READ | PERM_WRITE), /* no master */
        row((char[]){ "unlisted" }, 4, PERM_READ | PERM_WRITE), /* no such broker */
    };
    const struct publish_queue expected[] = { { 1, 0 } };
    const struct topic_route route = route_of(queues, 4);
    assert_queues(&route, 0, expected, 1);
}
END_TEST

START_TEST(route_without_a_writable_queue_has_none)
{
    struct queue_data queues[] = { row(brokers[0].broker_name, 0, PERM_WRITE),
        row(brokers[1].broker_name, 4, 0) };
    struct topic_route route = route_of(queues, 2);
    assert_queues(&route, 0, NULL, 0);
    route = route_of(NULL, 0);
    assert_queues(&route, 0, NULL, 0);
}
END_TEST

START_TEST(queues_of_a_topic_to_be_made_are_capped_a_broker)
{
    struct queue_data queues[] = { row(brokers[0].broker_name, 8, PERM_WRITE),
        row(brokers[1].broker_name, 1, PERM_WRITE) };
    const struct publish_queue expected[] = { { 0, 0 }, { 0, 1 }, { 0, 2 }, { 0, 3 }, { 1, 0 } };
    const struct topic_route route = route_of(queues, 2);
    assert_queues(&route, DEFAULT_TOPIC_QUEUE_NUMS, expected, 5);
}
END_TEST

START_TEST(ordered_topic_has_the_queues_of_its_configuration)
{
    struct queue_data queues[] = { row(brokers[0].broker_name, 8, PERM_WRITE),
        row(brokers[1].broker_name, 2, PERM_WRITE) };
    const struct publish_queue expected[] = { { 0, 0 }, { 0, 1 }, { 0, 2 }, { 1, 0 }, { 1, 1 } };
    static const char *const all[] = { "a:3;b:2", "b:2;a:3", "x:1;a:3;b:2147483647;",
        "aa:9;a:3;b:2" };
    struct topic_route route = route_of(queues, 2);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char conf[64];
        (void)snprintf(conf, sizeof(conf), "%s", all[i]);
        route.order_topic_conf = conf;
        assert_queues(&route, 0, expected, 5);
    }
    route.order_topic_conf = (char[]){ "a:3;b:-1" };
    assert_queues(&route, 0, expected, 3);
    route.order_topic_conf = (char[]){ ";:;a;a:;b:x" };
    assert_queues(&route, 0, NULL, 0);
}
END_TEST

/* Two queues on the brokers 0 and 1, one on 2. */
static const struct publish_queue five[] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 }, { 2, 0 } };
static const uint8_t all_good[] = { BROKER_WORTH_ALL, BROKER_WORTH_ALL, BROKER_WORTH_ALL };
static const uint8_t none_good[] = { 0, 0, 0 };

/* Whose addresses are in use, and which broker was tried already (SIZE_MAX: none). */
static void set_worth(uint8_t *worth, const bool *reachable, size_t tried)
{
    for (size_t i = 0; i < N_BROKERS; i++) {
        worth[i] = (uint8_t)((reachable[i] ? BROKER_WORTH_REACHABLE : 0) |
                             (i != tried ? BROKER_WORTH_UNTRIED : 0) | BROKER_WORTH_AVAILABLE);
    }
}

START_TEST(queues_are_taken_in_turn)
{
    uint32_t turn = 3;
    for (size_t i = 3; i < 28; i++) {
        ck_assert_ptr_eq(queue_select(five, 5, &turn, all_good), &five[i % 5]);
    }
}
END_TEST

START_TEST(turn_may_go_round)
{
    uint32_t turn = UINT32_MAX - 2;
    unsigned n_taken[5] = { 0 };
    for (size_t i = 0; i < 10; i++) {
        n_taken[queue_select(five, 5, &turn, all_good) - five]++;
    }
    for (size_t i = 0; i < 5; i++) {
        ck_assert_uint_ge(n_taken[i], 1);
    }
}
END_TEST

struct selection {
    const char *name;
    bool usable[N_BROKERS];
    size_t avoid;
    size_t expected[6]; /* from turn 0 on */
};

static const struct selection selections[] = {
    { "a broker out of use is passed over", { false, true, true }, SIZE_MAX, { 2, 3, 4, 2, 3, 4 } },
    { "so is the broker that was tried", { true, true, true }, 1, { 0, 1, 4, 0, 1, 4 } },
    { "both", { true, false, true }, 0, { 4, 4, 4, 4, 4, 4 } },
    { "the one that was tried when the others are out of use", { false, true, false }, 1,
        { 2, 3, 2, 3, 2, 3 } },
    { "another when none is usable", { false, false, false }, 0, { 2, 3, 4, 2, 3, 4 } },
    { "any when none is usable", { false, false, false }, SIZE_MAX, { 0, 1, 2, 3, 4, 0 } },
};

START_TEST(brokers_that_may_not_be_good_are_passed_over_while_another_can_take_it)
{
    const struct selection *c = &selections[_i];
    uint32_t turn = 0;
    uint8_t worth[N_BROKERS];
    set_worth(worth, c->usable, c->avoid);
    for (size_t i = 0; i < 6; i++) {
        const struct publish_queue *queue = queue_select(five, 5, &turn, worth);
        ck_assert_msg(queue == &five[c->expected[i]], "%s: selection %zu is queue %td", c->name, i,
            queue - five);
        ck_assert_uint_eq(turn % 5, (c->expected[i] + 1) % 5);
    }
}
END_TEST

/* MQFaultStrategy: available and not the last; then reachable and not the last; then any. */
START_TEST(slow_broker_is_passed_over_but_not_for_the_one_that_just_failed)
{
    uint32_t turn = 0;
    uint8_t worth[] = { BROKER_WORTH_REACHABLE | BROKER_WORTH_UNTRIED, BROKER_WORTH_ALL,
        BROKER_WORTH_AVAILABLE | BROKER_WORTH_UNTRIED };
    ck_assert_uint_eq(queue_select(five, 5, &turn, worth)->broker, 1);
    worth[1] = BROKER_WORTH_REACHABLE | BROKER_WORTH_AVAILABLE;
    ck_assert_uint_eq(queue_select(five, 5, &turn, worth)->broker, 0);
    worth[0] = BROKER_WORTH_UNTRIED;
    ck_assert_uint_eq(queue_select(five, 5, &turn, worth)->broker, 1);
    worth[1] = 0;
    ck_assert_uint_eq(queue_select(five, 5, &turn, worth)->broker, 2);
}
END_TEST

START_TEST(only_queue_is_taken_whatever_is_said_of_it)
{
    uint32_t turn = 0;
    for (size_t i = 0; i < 3; i++) {
        ck_assert_ptr_eq(queue_select(five, 1, &turn, none_good), five);
        ck_assert_ptr_eq(queue_select(five, 1, &turn, all_good), five);
    }
}
END_TEST

/*
 * Every mix of usable and avoided brokers, from every turn: a usable one that is not avoided is
 * found whenever there is one, and every such queue has its turn.
 */
START_TEST(selection_is_right_for_every_mix)
{
    for (unsigned mix = 0; mix < 8; mix++) {
        const bool usable[] = { mix & 1, mix & 2, mix & 4 };
        for (size_t avoid = 0; avoid <= N_BROKERS; avoid++) {
            uint8_t worth[N_BROKERS];
            set_worth(worth, usable, avoid);
            size_t n_good = 0;
            for (size_t i = 0; i < 5; i++) {
                n_good += usable[five[i].broker] && five[i].broker != avoid;
            }
            bool is_taken[5] = { false };
            uint32_t turn = mix;
            for (size_t i = 0; i < (n_good > 0 ? n_good : 1); i++) {
                const struct publish_queue *queue = queue_select(five, 5, &turn, worth);
                ck_assert(n_good == 0 || (usable[queue->broker] && queue->broker != avoid));
                ck_assert(!is_taken[queue - five]);
                is_taken[queue - five] = true;
            }
        }
    }
}
END_TEST

START_TEST(queues_of_one_broker_are_taken_in_turn)
{
    uint32_t turn = 0;
    for (size_t i = 0; i < 6; i++) {
        ck_assert_ptr_eq(queue_select_of_broker(five, 5, &turn, 1), &five[2 + i % 2]);
    }
    ck_assert_ptr_null(queue_select_of_broker(five, 5, &turn, 3));
}
END_TEST

struct key_case {
    const char *key;
    int32_t hash_code; /* of Java's String.hashCode() */
};

static const struct key_case keys[] = {
    { "", 0 },
    { "a", 97 },
    { "abc", 96354 },
    { "hello", 99162322 },
    { "Aa", 2112 },
    { "BB", 2112 },
    { "polygenelubricants", INT32_MIN }, /* the word known for it */
    /* Beyond ASCII it is of UTF-16: as Java's own hashCode() said. */
    { "gr\xC3\xB6\xC3\x9F"
      "e-7",
        421249915 },
    { "\xE6\xB3\xA8\xE6\x96\x87-1", 855551875 },
    { "\xF0\x9F\x90\x87", 1772394 },
    { "\xEF\xBF\xBF\xF0\x90\x80\x80", 64749631 },
};

START_TEST(sharding_key_takes_the_queue_that_java_takes)
{
    static struct publish_queue queues[16];
    for (size_t n = 1; n <= 16; n++) {
        int64_t remainder = (int64_t)keys[_i].hash_code % (int64_t)n; /* SelectMessageQueueByHash */
        const struct publish_queue *expected = &queues[remainder < 0 ? -remainder : remainder];
        ck_assert_ptr_eq(queue_select_by_key(queues, n, span_of(keys[_i].key)), expected);
    }
}
END_TEST

START_TEST(any_bytes_are_a_key_of_one_queue)
{
    static struct publish_queue queues[7];
    char key[2];
    for (int i = 0; i < 65536; i++) {
        key[0] = (char)(i & 255);
        key[1] = (char)(i >> 8);
        const struct publish_queue *queue = queue_select_by_key(queues, 7, (struct span){ key, 2 });
        assert_often(queue >= queues && queue < queues + 7);
        assert_often(queue_select_by_key(queues, 7, (struct span){ key, 2 }) == queue);
    }
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *queues = tcase_create("queues");
    tcase_add_test(queues, writable_queues_of_masters_stand_in_the_order_of_broker_and_id);
    tcase_add_test(queues, queues_that_cannot_be_written_to_are_left_out);
    tcase_add_test(queues, route_without_a_writable_queue_has_none);
    tcase_add_test(queues, queues_of_a_topic_to_be_made_are_capped_a_broker);
    tcase_add_test(queues, ordered_topic_has_the_queues_of_its_configuration);
    TCase *select = tcase_create("select");
    tcase_add_test(select, queues_of_one_broker_are_taken_in_turn);
    tcase_add_test(select, queues_are_taken_in_turn);
    tcase_add_test(select, turn_may_go_round);
    tcase_add_loop_test(select,
        brokers_that_may_not_be_good_are_passed_over_while_another_can_take_it, 0, N(selections));
    tcase_add_test(select, slow_broker_is_passed_over_but_not_for_the_one_that_just_failed);
    tcase_add_test(select, only_queue_is_taken_whatever_is_said_of_it);
    tcase_add_test(select, selection_is_right_for_every_mix);
    TCase *key = tcase_create("key");
    tcase_add_loop_test(key, sharding_key_takes_the_queue_that_java_takes, 0, N(keys));
    tcase_add_test(key, any_bytes_are_a_key_of_one_queue);
    Suite *suite = suite_create("queue_selector");
    suite_add_tcase(suite, queues);
    suite_add_tcase(suite, select);
    suite_add_tcase(suite, key);
    return run_suite(suite);
}
