#include "daemon/core/router.h"

#include "protocol/ext_fields.h"
#include "tests/support/run_suite.h"

/* One request and where the local protocol sends it ("Where a command goes, first match"). */
struct route_case {
    const char *name;
    int32_t code;
    bool is_admin;
    const char *addr, *broker, *topic, *receipt, *msg_id; /* sidecar.* */
    const char *queue_id;
    const char *key, *value; /* an ext field of RocketMQ's */
    enum route_target target;
    const char *target_name; /* NULL: none */
};

/* clang-format off */
static const struct route_case cases[] = {
    /* 1. sidecar codes */
    { "HELLO", 30000,
      .target = ROUTE_TO_DAEMON },
    { "the last sidecar code", 30999,
      .target = ROUTE_TO_DAEMON },
    { "an unused sidecar code", 30500,
      .target = ROUTE_TO_DAEMON },
    { "a sidecar code with an address", 30001, .addr = "h:1",
      .target = ROUTE_TO_DAEMON },
    { "a sidecar code with a broker", 30006, .broker = "b",
      .target = ROUTE_TO_DAEMON },
    { "one before the sidecar codes", 29999,
      .target = ROUTE_IS_INVALID },
    { "one behind the sidecar codes", 31000,
      .target = ROUTE_IS_INVALID },

    /* what needs a connection of the caller's own, also with an address */
    { "HEART_BEAT", 34,
      .target = ROUTE_TO_CONTROL },
    { "HEART_BEAT to an address", 34, .addr = "h:1",
      .target = ROUTE_TO_CONTROL },
    { "UNREGISTER_CLIENT to a broker", 35, .broker = "b",
      .target = ROUTE_TO_CONTROL },

    /* 2. sidecar.addr */
    { "any code to an address", 4711, .addr = "h:1",
      .target = ROUTE_TO_ADDRESS, .target_name = "h:1" },
    { "a send to an address", 10, .addr = "h:1", .key = "topic", .value = "T",
      .target = ROUTE_TO_ADDRESS, .target_name = "h:1" },
    { "a route to an address", 105, .addr = "h:1",
      .target = ROUTE_TO_ADDRESS, .target_name = "h:1" },
    { "an address before a broker", 11, .addr = "h:1", .broker = "b",
      .target = ROUTE_TO_ADDRESS, .target_name = "h:1" },
    { "an address before bname", 11, .addr = "h:1", .key = "bname", .value = "b",
      .target = ROUTE_TO_ADDRESS, .target_name = "h:1" },
    { "an address before a receipt", 200051, .addr = "h:1", .receipt = "r",
      .target = ROUTE_TO_ADDRESS, .target_name = "h:1" },
    { "the word nameserver", 4711, .addr = "nameserver",
      .target = ROUTE_TO_NAMESERVER },
    { "a host that begins with the word", 4711, .addr = "nameserver:9876",
      .target = ROUTE_TO_ADDRESS, .target_name = "nameserver:9876" },
    { "the word with capitals is a host", 4711, .addr = "NAMESERVER",
      .target = ROUTE_TO_ADDRESS, .target_name = "NAMESERVER" },

    /* 3. sidecar.broker, bname */
    { "any code to a broker", 4711, .broker = "b",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "any code to bname", 4711, .key = "bname", .value = "b",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "sidecar.broker before bname", 11, .broker = "x", .key = "bname", .value = "b",
      .target = ROUTE_TO_BROKER, .target_name = "x" },
    { "a send to a broker", 10, .broker = "b",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "a POP at a broker", 200050, .broker = "b",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "a pull at a broker", 11, .broker = "b", .key = "topic", .value = "T",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "a group command to a broker", 38, .broker = "b", .topic = "T",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "an empty bname is none", 11, .key = "bname", .value = "",
      .target = ROUTE_IS_INVALID },

    /* 4. the table: sends and receives */
    { "SEND", 10, .key = "topic", .value = "T",
      .target = ROUTE_TO_QUEUE, .target_name = "T" },
    { "SEND_V2", 310, .key = "b", .value = "T",
      .target = ROUTE_TO_QUEUE, .target_name = "T" },
    { "SEND_BATCH", 320, .key = "b", .value = "T",
      .target = ROUTE_TO_QUEUE, .target_name = "T" },
    { "SEND without a topic", 10,
      .target = ROUTE_IS_INVALID },
    { "SEND with an empty topic", 10, .key = "topic", .value = "",
      .target = ROUTE_IS_INVALID },
    { "POP", 200050, .key = "topic", .value = "T",
      .target = ROUTE_TO_RECEIVE, .target_name = "T" },
    { "POP without a topic", 200050,
      .target = ROUTE_IS_INVALID },
    { "ACK by receipt and broker", 200051, .broker = "a", .receipt = "r",
        .target = ROUTE_IS_INVALID },
    { "ACK by receipt", 200051, .receipt = "r",
      .target = ROUTE_TO_RECEIPT },
    { "BATCH_ACK by the receipts in its body", 200151,
      .target = ROUTE_TO_RECEIPTS },
    { "BATCH_ACK of RocketMQ's own", 200151, .broker = "b",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "CHANGE_INVISIBLE by receipt", 200053, .receipt = "r",
      .target = ROUTE_TO_RECEIPT },
    { "ACK by RocketMQ's own fields", 200051, .key = "topic", .value = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "CHANGE_INVISIBLE by RocketMQ's own fields", 200053, .key = "topic", .value = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "ACK without anything", 200051,
      .target = ROUTE_IS_INVALID },

    /* 4. commands that name a queue or a stored offset: exactly one master */
    { "11 PULL_MESSAGE", 11, .key = "topic", .value = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "14 QUERY_CONSUMER_OFFSET", 14, .key = "topic", .value = "T",
      .target = ROUTE_TO_ALL_QUEUES, .target_name = "T" },
    { "14 QUERY_CONSUMER_OFFSET of one queue", 14, .key = "topic", .value = "T", .queue_id = "0",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "15 UPDATE_CONSUMER_OFFSET", 15, .key = "topic", .value = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "29 SEARCH_OFFSET_BY_TIMESTAMP", 29, .key = "topic", .value = "T",
      .target = ROUTE_TO_ALL_QUEUES, .target_name = "T" },
    { "29 SEARCH_OFFSET_BY_TIMESTAMP of one queue", 29, .key = "topic", .value = "T", .queue_id = "0",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "30 GET_MAX_OFFSET", 30, .key = "topic", .value = "T",
      .target = ROUTE_TO_ALL_QUEUES, .target_name = "T" },
    { "30 GET_MAX_OFFSET of one queue", 30, .key = "topic", .value = "T", .queue_id = "0",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "31 GET_MIN_OFFSET", 31, .key = "topic", .value = "T",
      .target = ROUTE_TO_ALL_QUEUES, .target_name = "T" },
    { "31 GET_MIN_OFFSET of one queue", 31, .key = "topic", .value = "T", .queue_id = "0",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "32 GET_EARLIEST_MSG_STORETIME", 32, .key = "topic", .value = "T",
      .target = ROUTE_TO_ALL_QUEUES, .target_name = "T" },
    { "32 GET_EARLIEST_MSG_STORETIME of one queue", 32, .key = "topic", .value = "T", .queue_id = "0",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "33 VIEW_MESSAGE_BY_ID", 33, .key = "topic", .value = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "36 CONSUMER_SEND_MSG_BACK", 36, .key = "originTopic", .value = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "a VIEW by id", 33, .msg_id = "AB",
      .target = ROUTE_TO_MESSAGE },
    { "a VIEW by id and topic", 33, .msg_id = "AB", .key = "topic", .value = "T",
      .target = ROUTE_TO_ALL_MASTERS, .target_name = "T" },
    { "a message sent back by id", 36, .msg_id = "AB", .key = "originTopic", .value = "T",
      .target = ROUTE_TO_MESSAGE },
    { "a message sent back by receipt", 36, .receipt = "r2",
      .target = ROUTE_TO_RECEIPT },
    { "an id beside a receipt", 36, .msg_id = "AB", .receipt = "r2",
      .target = ROUTE_IS_INVALID },
    { "an id beside a broker", 33, .msg_id = "AB", .broker = "b",
      .target = ROUTE_IS_INVALID },
    { "an id beside bname", 33, .msg_id = "AB", .key = "bname", .value = "b",
      .target = ROUTE_IS_INVALID },
    { "an id before an address", 33, .msg_id = "AB", .addr = "h:1",
      .target = ROUTE_TO_ADDRESS, .target_name = "h:1" },
    { "an id of a code that takes none", 12, .msg_id = "AB", .key = "topic", .value = "T",
      .target = ROUTE_IS_INVALID },
    { "an id of an unknown code", 4711, .msg_id = "AB",
      .target = ROUTE_IS_INVALID },
    { "12 QUERY_MESSAGE", 12, .key = "topic", .value = "T",
      .target = ROUTE_TO_ALL_MASTERS, .target_name = "T" },
    { "12 QUERY_MESSAGE of a broker", 12, .key = "topic", .value = "T", .broker = "b",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "370 RECALL_MESSAGE", 370, .key = "recallHandle", .value = "x",
      .target = ROUTE_TO_HANDLE },
    { "37 END_TRANSACTION", 37, .key = "topic", .value = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "41 LOCK_BATCH_MQ", 41, .topic = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "42 UNLOCK_BATCH_MQ", 42, .topic = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "200054 NOTIFICATION", 200054, .key = "topic", .value = "T",
      .target = ROUTE_TO_ONE_MASTER, .target_name = "T" },
    { "PULL without a topic", 11,
      .target = ROUTE_IS_INVALID },
    { "LOCK_BATCH_MQ without a topic", 41,
      .target = ROUTE_IS_INVALID },

    /* 4. group-only commands */
    { "38 by sidecar.topic", 38, .topic = "T",
      .target = ROUTE_TO_ANY_MASTER, .target_name = "T" },
    { "38 alone", 38, .key = "consumerGroup", .value = "G",
      .target = ROUTE_IS_INVALID },

    /* 4. reads of a nameserver */
    { "105 GET_ROUTEINFO_BY_TOPIC", 105, .key = "topic", .value = "T",
      .target = ROUTE_TO_NAMESERVER },
    { "106 GET_BROKER_CLUSTER_INFO", 106,
      .target = ROUTE_TO_NAMESERVER },
    { "101 GET_KV_CONFIG", 101,
      .target = ROUTE_TO_NAMESERVER },
    { "206 GET_ALL_TOPIC_LIST_FROM_NAMESERVER", 206,
      .target = ROUTE_TO_NAMESERVER },
    { "319 GET_NAMESRV_CONFIG", 319,
      .target = ROUTE_TO_NAMESERVER },

    /* 4. writes to a nameserver, and broker administration: the admin role */
    { "100 for anybody", 100,
      .target = ROUTE_IS_FORBIDDEN },
    { "103 for anybody", 103,
      .target = ROUTE_IS_FORBIDDEN },
    { "216 for anybody", 216,
      .target = ROUTE_IS_FORBIDDEN },
    { "216 for an admin", 216, .is_admin = true,
      .target = ROUTE_TO_NAMESERVER },
    { "318 for anybody", 318,
      .target = ROUTE_IS_FORBIDDEN },
    { "318 for an admin", 318, .is_admin = true,
      .target = ROUTE_TO_NAMESERVER },
    { "318 for anybody, to an address", 318, .addr = "h:1",
      .target = ROUTE_IS_FORBIDDEN },
    { "318 for anybody, to the nameserver", 318, .addr = "nameserver",
      .target = ROUTE_IS_FORBIDDEN },
    { "318 for an admin, to an address", 318, .is_admin = true, .addr = "h:1",
      .target = ROUTE_TO_ADDRESS, .target_name = "h:1" },
    { "17 for anybody", 17,
      .target = ROUTE_IS_FORBIDDEN },
    { "17 for anybody, to a broker", 17, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "17 for an admin, to a broker", 17, .is_admin = true, .broker = "b",
      .target = ROUTE_TO_BROKER, .target_name = "b" },
    { "17 for an admin, but where", 17, .is_admin = true,
      .target = ROUTE_IS_INVALID },
    { "25 for anybody, to a broker", 25, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "18 for anybody, to a broker", 18, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "27 for anybody, to a broker", 27, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "225 for anybody, to a broker", 225, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "306 for anybody, to a broker", 306, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "329 for anybody, to a broker", 329, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "513 for anybody, to a broker", 513, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "904 for anybody, to the nameserver", 904, .addr = "nameserver",
      .target = ROUTE_IS_FORBIDDEN },
    { "3001 for anybody, to a broker", 3001, .broker = "b",
      .target = ROUTE_IS_FORBIDDEN },
    { "3010 for an admin, to a broker", 3010, .is_admin = true, .broker = "b",
      .target = ROUTE_TO_BROKER, .target_name = "b" },

    /* 5. anything else */
    { "an unknown code", 4711,
      .target = ROUTE_IS_INVALID },
    { "an unknown code with a topic", 4711, .topic = "T", .key = "topic", .value = "T",
      .target = ROUTE_IS_INVALID },
    { "a negative code", -1,
      .target = ROUTE_IS_INVALID },
    { "the smallest code", INT32_MIN, .is_admin = true,
      .target = ROUTE_IS_INVALID },
};
/* clang-format on */

static struct route_answer decide(const struct route_case *c)
{
    struct ext_field storage[2];
    struct ext_fields ext_fields;
    ext_fields_init(&ext_fields, storage, 2);
    if (c->key) {
        ck_assert(ext_fields_add(&ext_fields, span_of(c->key), span_of(c->value)));
    }
    if (c->queue_id) {
        ck_assert(ext_fields_add(&ext_fields, SPAN("queueId"), span_of(c->queue_id)));
    }
    const struct route_question question = {
        .code = c->code,
        .ext_fields = &ext_fields,
        .addr = span_of(c->addr),
        .broker = span_of(c->broker),
        .topic = span_of(c->topic),
        .receipt = span_of(c->receipt),
        .msg_id = span_of(c->msg_id),
        .is_admin = c->is_admin,
    };
    struct route_answer answer;
    router_decide(&question, &answer);
    return answer;
}

static bool has_a_reason(enum route_target target)
{
    return target == ROUTE_IS_INVALID || target == ROUTE_IS_FORBIDDEN;
}

START_TEST(command_goes_where_the_local_protocol_says)
{
    const struct route_case *c = &cases[_i];
    struct route_answer answer = decide(c);
    ck_assert_msg(answer.target == c->target, "%s: target %d instead of %d, \"%s\"", c->name,
        (int)answer.target, (int)c->target, answer.reason);
    ck_assert_msg(span_equals(answer.name, span_of(c->target_name)), "%s: \"%.*s\"", c->name,
        SPAN_ARGS(answer.name));
    bool has_reason = has_a_reason(c->target);
    ck_assert_msg((answer.reason[0] != '\0') == has_reason, "%s: \"%s\"", c->name, answer.reason);
}
END_TEST

START_TEST(reason_names_the_code_and_what_is_needed)
{
    const struct route_case unknown = { .code = 4711 };
    ck_assert_str_eq(decide(&unknown).reason, "code 4711 needs sidecar.addr or sidecar.broker");
    const struct route_case send = { .code = 10 };
    struct route_answer answer = decide(&send);
    ck_assert_ptr_nonnull(strstr(answer.reason, "10"));
    ck_assert_ptr_nonnull(strstr(answer.reason, "SEND_MESSAGE"));
    ck_assert_ptr_nonnull(strstr(answer.reason, "topic"));
    const struct route_case group = { .code = 38 };
    answer = decide(&group);
    ck_assert_ptr_nonnull(strstr(answer.reason, "sidecar.broker"));
    ck_assert_ptr_nonnull(strstr(answer.reason, "sidecar.topic"));
    const struct route_case send_v2 = { .code = 310 };
    ck_assert_ptr_nonnull(strstr(decide(&send_v2).reason, "b, the topic"));
    const struct route_case ack = { .code = 200051 };
    ck_assert_ptr_nonnull(strstr(decide(&ack).reason, "sidecar.receipt"));
    const struct route_case forbidden = { .code = 318 };
    ck_assert_ptr_nonnull(strstr(decide(&forbidden).reason, "admin"));
}
END_TEST

START_TEST(every_code_has_an_answer)
{
    for (int32_t code = -10; code < 201000; code++) {
        const struct route_case plain = { .code = code };
        const struct route_case admin = { .code = code, .is_admin = true, .addr = "h:1" };
        struct route_answer answer = decide(&plain);
        assert_often((answer.reason[0] != '\0') == has_a_reason(answer.target));
        bool is_ours = code >= 30000 && code <= 30999;
        bool is_identity = code == 34 || code == 35;
        assert_often(decide(&admin).target == (is_ours          ? ROUTE_TO_DAEMON
                                                  : is_identity ? ROUTE_TO_CONTROL
                                                                : ROUTE_TO_ADDRESS));
    }
}
END_TEST

START_TEST(long_polls_are_pull_pop_and_notification)
{
    for (int32_t code = -10; code < 201000; code++) {
        bool expected = code == 11 || code == 361 || code == 200050 || code == 200054;
        assert_often(router_is_long_poll(code) == expected);
    }
}
END_TEST

/* What is not repeated blindly: everything that stores, hands out or changes something. */
START_TEST(reads_change_nothing)
{
    const int32_t reads[] = { 11, 12, 14, 29, 30, 31, 32, 33, 38, 101, 105, 106, 206, 319 };
    const int32_t others[] = { 10, 310, 320, 15, 36, 37, 41, 42, 17, 25, 100, 103, 216, 318, 200050,
        200051, 200053, 4711, 30000, -1 };
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        ck_assert_msg(router_is_read(reads[i]), "%d", (int)reads[i]);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_msg(!router_is_read(others[i]), "%d", (int)others[i]);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("router");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, command_goes_where_the_local_protocol_says, 0,
        (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tests, reason_names_the_code_and_what_is_needed);
    tcase_add_test(tests, every_code_has_an_answer);
    tcase_add_test(tests, long_polls_are_pull_pop_and_notification);
    tcase_add_test(tests, reads_change_nothing);
    Suite *suite = suite_create("router");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
