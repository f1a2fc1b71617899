#include "daemon/core/permission.h"

#include "tests/support/run_suite.h"

#include <string.h>

#define FIELDS_MAX 4
#define N(array)   ((int)(sizeof(array) / sizeof((array)[0])))

/* send = orders;inv-*   producer_groups = shop   consume = news   consumer_groups = bill;audit-* */
static char *const send_texts[] = { "orders", "inv-*" };
static char *const producer_texts[] = { "shop" };
static char *const consume_texts[] = { "news" };
static char *const consumer_texts[] = { "bill", "audit-*" };
static char *const all_texts[] = { "*" };

static struct role_table table;
static struct role *web;    /* the one above */
static struct role *reader; /* everything to consume */
static struct role *boss;   /* nothing but the admin role */

#define TEXTS(array) ((struct role_texts){ (array), sizeof(array) / sizeof((array)[0]) })

static void begin(void)
{
    const struct role_texts none = { NULL, 0 };
    role_table_init(&table, 900);
    web = role_table_add(&table, "web", TEXTS(send_texts), TEXTS(producer_texts),
        TEXTS(consume_texts), TEXTS(consumer_texts), false);
    reader =
        role_table_add(&table, "reader", none, none, TEXTS(all_texts), TEXTS(all_texts), false);
    boss = role_table_add(&table, "boss", none, none, none, none, true);
    web->shared_producer_group = SPAN("remotingd");
}

static void end(void)
{
    role_table_deinit(&table);
}

static const struct command_case {
    const char *name;
    int32_t code;
    const char *fields[2 * FIELDS_MAX]; /* key, value, ... */
    const char *body;
    const char *refusal; /* a part of it; NULL: allowed */
} cases[] = {
    { "a send to a topic of the list", 10, { "topic", "orders" }, NULL, NULL },
    { "a send to what begins so", 10, { "topic", "inv-2" }, NULL, NULL },
    { "a send to another topic", 10, { "topic", "news" }, NULL,
        "role web may not send to a topic 'news': [role web] send would have to name it" },
    { "a send without a topic", 10, { NULL }, NULL, "[role web] send would have to be *" },
    { "a V2 send by its own field", 310, { "b", "orders" }, NULL, NULL },
    { "a V2 send by the other code's field", 310, { "b", "news", "topic", "orders" }, NULL,
        "'news'" },
    { "a batch", 320, { "b", "news" }, NULL, "'news'" },
    { "the shared producer group", 10, { "topic", "orders", "producerGroup", "remotingd" }, NULL,
        NULL },
    { "an own producer group", 10, { "topic", "orders", "producerGroup", "shop" }, NULL, NULL },
    { "another's producer group", 310, { "b", "orders", "a", "bank" }, NULL,
        "producer group 'bank': [role web] producer_groups would have to name it" },
    { "a reply", 325, { "b", "DefaultCluster_REPLY_TOPIC" }, NULL, "[role web] send" },
    { "the end of a transaction of another's", 37, { "topic", "orders", "producerGroup", "bank" },
        NULL, "'bank'" },
    { "a recall from another topic", 370, { "topic", "news" }, NULL, "'news'" },
    { "a pop", 200050, { "topic", "news", "consumerGroup", "bill" }, NULL, NULL },
    { "a pop of another topic", 200050, { "topic", "orders", "consumerGroup", "bill" }, NULL,
        "role web may not read a topic 'orders': [role web] consume would have to name it" },
    { "a pop as another group", 200050, { "topic", "news", "consumerGroup", "bank" }, NULL,
        "consumer group 'bank': [role web] consumer_groups would have to name it" },
    { "a pop without a group", 200050, { "topic", "news" }, NULL, "consumer_groups" },
    { "a pull", 11, { "topic", "news", "consumerGroup", "audit-7" }, NULL, NULL },
    { "a lite pull of another topic", 361, { "topic", "x", "consumerGroup", "bill" }, NULL, "'x'" },
    { "an ack of another topic", 200051, { "topic", "x", "consumerGroup", "bill" }, NULL, "'x'" },
    { "another's invisible time", 200053, { "topic", "news", "consumerGroup", "x" }, NULL, "'x'" },
    { "a peek", 200052, { "topic", "x", "consumerGroup", "bill" }, NULL, "'x'" },
    { "a notification", 200054, { "topic", "x", "consumerGroup", "bill" }, NULL, "'x'" },
    { "an own offset", 14, { "topic", "news", "consumerGroup", "bill" }, NULL, NULL },
    { "another's offset", 15, { "topic", "news", "consumerGroup", "x" }, NULL, "'x'" },
    { "the own retry topic", 11, { "topic", "%RETRY%bill", "consumerGroup", "bill" }, NULL, NULL },
    { "another's retry topic", 11, { "topic", "%RETRY%bank", "consumerGroup", "bill" }, NULL,
        "'%RETRY%bank'" },
    { "a retry topic of group and topic", 200051,
        { "topic", "%RETRY%bill_news", "consumerGroup", "bill" }, NULL, NULL },
    { "the newer form of it", 200051, { "topic", "%RETRY%bill+news", "consumerGroup", "bill" },
        NULL, NULL },
    { "a retry topic of another topic", 200051,
        { "topic", "%RETRY%bill_orders", "consumerGroup", "bill" }, NULL, "consume would" },
    { "a retry topic of a group and nothing", 200051,
        { "topic", "%RETRY%bill_", "consumerGroup", "bill" }, NULL, "consume would" },
    { "a retry topic of nobody", 11, { "topic", "%RETRY%", "consumerGroup", "bill" }, NULL,
        "consume would" },
    { "the own dead letters", 11, { "topic", "%DLQ%bill", "consumerGroup", "bill" }, NULL, NULL },
    { "another's dead letters", 11, { "topic", "%DLQ%bank", "consumerGroup", "bill" }, NULL,
        "consume would" },
    { "a send to the own retry topic", 10, { "topic", "%RETRY%bill" }, NULL, NULL },
    { "a send to another's retry topic", 10, { "topic", "%RETRY%bank" }, NULL, "send would" },
    { "a send to the own dead letters", 10, { "topic", "%DLQ%bill" }, NULL, "send would" },
    { "the end of a queue to send to", 30, { "topic", "orders" }, NULL, NULL },
    { "the end of a queue to read", 30, { "topic", "news" }, NULL, NULL },
    { "the end of another queue", 31, { "topic", "x" }, NULL,
        "[role web] send or consume would have to name it" },
    { "an offset by time", 29, { "topic", "x" }, NULL, "'x'" },
    { "a route", 105, { "topic", "inv-1" }, NULL, NULL },
    { "another route", 105, { "topic", "x" }, NULL, "'x'" },
    { "the cluster table", 106, { NULL }, NULL, NULL },
    { "a message by its offset", 33, { "topic", "news", "offset", "0" }, NULL,
        "whatever its topic: [role web] consume would have to be *" },
    { "a message back by its offset", 36, { "group", "bill", "originTopic", "news" }, NULL,
        "[role web] consume would have to be *" },
    { "the members of the own group", 38, { "consumerGroup", "bill" }, NULL, NULL },
    { "the members of another group", 38, { "consumerGroup", "bank" }, NULL, "'bank'" },
    { "all topics", 206, { NULL }, NULL, "code 206 (GET_ALL_TOPIC_LIST_FROM_NAMESERVER)" },
    { "a code of nobody's", 4711, { "topic", "orders" }, NULL,
        "code 4711 (unnamed) is not confined to topics and groups that role web may use: \"admin = "
        "yes\" in [role web]" },
    { "acks in RocketMQ's own body", 200151, { NULL }, "{}", "code 200151" },
    { "a lock", 41, { NULL },
        "{\"consumerGroup\":\"bill\",\"clientId\":\"c\",\"mqSet\":[{\"topic\":\"news\",\"queueId\":"
        "0}]}",
        NULL },
    { "a lock of nothing", 41, { NULL }, "{\"consumerGroup\":\"bill\"}", NULL },
    { "a lock for another group", 41, { NULL }, "{\"consumerGroup\":\"bank\",\"mqSet\":[]}",
        "'bank'" },
    { "a lock of another topic", 42, { NULL },
        "{\"consumerGroup\":\"bill\",\"mqSet\":[{\"topic\":\"news\"},{\"topic\":\"x\"}]}", "'x'" },
    { "a lock of what is no queue", 41, { NULL }, "{\"consumerGroup\":\"bill\",\"mqSet\":[7]}",
        "consume would have to be *" },
    { "a lock of what is no list", 41, { NULL },
        "{\"consumerGroup\":\"bill\",\"mqSet\":{\"topic\":\"x\"}}", "consume would have to be *" },
    { "a group that Java would take for another", 41, { NULL },
        "{\"consumerGroup\":\"bill\",\"consumer_group\":\"bank\"}", "consumer_groups would have" },
    { "a list that Java would take for another", 41, { NULL },
        "{\"consumerGroup\":\"bill\",\"mqset\":[{\"topic\":\"x\"}]}",
        "consume would have to be *" },
    { "a key twice", 41, { NULL }, "{\"consumerGroup\":\"bill\",\"consumerGroup\":\"bank\"}",
        "no JSON object" },
    { "no body", 400, { NULL }, NULL, "code 400 (QUERY_ASSIGNMENT) has no JSON object" },
    { "an assignment", 400, { NULL }, "{\"topic\":\"news\",\"consumerGroup\":\"bill\"}", NULL },
    { "another topic's assignment", 400, { NULL }, "{\"topic\":\"x\",\"consumerGroup\":\"bill\"}",
        "'x'" },
    { "a client's check", 46, { NULL }, "{\"clientId\":\"c\",\"group\":\"bill\"}", NULL },
    { "another group's check", 46, { NULL }, "{\"clientId\":\"c\",\"group\":\"bank\"}", "'bank'" },
};

static bool command(
    const struct role *role, const struct command_case *row, struct failure_report *report)
{
    struct ext_field storage[FIELDS_MAX];
    struct ext_fields fields;
    ext_fields_init(&fields, storage, FIELDS_MAX);
    for (size_t i = 0; i < 2 * FIELDS_MAX && row->fields[i]; i += 2) {
        ck_assert(ext_fields_add(&fields, span_of(row->fields[i]), span_of(row->fields[i + 1])));
    }
    return permission_to_command(role, row->code, &fields, span_of(row->body), report);
}

START_TEST(a_command_is_allowed_by_the_topics_and_groups_it_names)
{
    const struct command_case *row = &cases[_i];
    struct failure_report report = { .cause = "" };
    bool is_allowed = command(web, row, &report);
    ck_assert_msg(is_allowed == !row->refusal, "%s: %s", row->name, report.cause);
    if (row->refusal) {
        ck_assert_int_eq(report.failure, FAILURE_FORBIDDEN);
        ck_assert(!report.maybe_sent);
        ck_assert_msg(strstr(report.cause, row->refusal), "%s: \"%s\"", row->name, report.cause);
    }
}
END_TEST

START_TEST(what_names_a_message_by_its_offset_needs_every_topic)
{
    const struct command_case view = { .code = 33 };
    const struct command_case back = { .code = 36, .fields = { "group", "bill" } };
    struct failure_report report;
    ck_assert(command(reader, &view, &report));
    ck_assert(command(reader, &back, &report));
    ck_assert(!command(boss, &view, &report));
}
END_TEST

START_TEST(an_administrator_may_command_brokers_but_not_read_or_send)
{
    const struct command_case statistics = { .code = 208 };
    const struct command_case send = { .code = 10, .fields = { "topic", "orders" } };
    const struct command_case pull = { .code = 11,
        .fields = { "topic", "news", "consumerGroup", "bill" } };
    struct failure_report report;
    ck_assert(command(boss, &statistics, &report));
    ck_assert(!command(boss, &send, &report));
    ck_assert(!command(boss, &pull, &report));
    ck_assert(!command(reader, &statistics, &report));
}
END_TEST

START_TEST(a_long_or_odd_name_is_shown_in_part)
{
    char topic[1000];
    memset(topic, 'x', sizeof(topic) - 1);
    topic[sizeof(topic) - 1] = '\0';
    struct failure_report report;
    ck_assert(!permission_to_send(web, span_of(topic), SPAN_ABSENT, &report));
    ck_assert_ptr_nonnull(strstr(report.cause, "xxx'"));
    ck_assert_ptr_nonnull(strstr(report.cause, "would have to name it"));
}
END_TEST

START_TEST(being_asked_by_brokers_is_allowed_by_group)
{
    struct failure_report report;
    ck_assert(permission_to_be_asked(web, 39, SPAN("shop"), &report));
    ck_assert(!permission_to_be_asked(web, 39, SPAN("remotingd"), &report));
    ck_assert(!permission_to_be_asked(web, 39, SPAN("bill"), &report));
    ck_assert(permission_to_be_asked(web, 40, SPAN("bill"), &report));
    ck_assert(!permission_to_be_asked(web, 307, SPAN("shop"), &report));
    ck_assert(!permission_to_be_asked(web, 309, SPAN_ABSENT, &report));
    ck_assert(!permission_to_be_asked(web, 326, SPAN_ABSENT, &report));
    ck_assert_ptr_nonnull(strstr(report.cause, "producer_groups would have to be *"));
    ck_assert(permission_to_be_asked(reader, 309, SPAN_ABSENT, &report));
}
END_TEST

static const struct heartbeat_case {
    const char *name;
    const char *body;
    const char *refusal;
} heartbeats[] = {
    { "nothing", "{\"clientID\":\"c\"}", NULL },
    { "an own producer group",
        "{\"clientID\":\"c\",\"producerDataSet\":[{\"groupName\":\"shop\"}]}", NULL },
    { "another's among them",
        "{\"clientID\":\"c\",\"producerDataSet\":[{\"groupName\":\"shop\"},{\"groupName\":\"x\"}]}",
        "producer group 'x'" },
    { "a member",
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"bill\",\"subscriptionDataSet\":["
        "{\"topic\":\"news\"},{\"topic\":\"%RETRY%bill\"}]}]}",
        NULL },
    { "a member of another group",
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"bank\"}]}",
        "consumer group 'bank'" },
    { "a subscription to another topic",
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"bill\",\"subscriptionDataSet\":["
        "{\"topic\":\"x\"}]}]}",
        "topic 'x'" },
    { "no subscriptions",
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"bill\",\"subscriptionDataSet\":"
        "null}]}",
        NULL },
    { "a key that Java would take for the group",
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"bill\",\"GROUPNAME\":\"bank\"}]"
        "}",
        "consumer_groups" },
};

START_TEST(a_heartbeat_is_allowed_by_the_groups_and_topics_it_speaks_for)
{
    const struct heartbeat_case *row = &heartbeats[_i];
    struct heartbeat heartbeat;
    struct failure_report report = { .cause = "" };
    ck_assert_msg(
        heartbeat_decode(span_of(row->body), &heartbeat, report.cause, sizeof(report.cause)),
        "%s: %s", row->name, report.cause);
    bool is_allowed = permission_to_heartbeat(web, &heartbeat, &report);
    ck_assert_msg(is_allowed == !row->refusal, "%s: %s", row->name, report.cause);
    ck_assert_msg(
        !row->refusal || strstr(report.cause, row->refusal), "%s: \"%s\"", row->name, report.cause);
    heartbeat_deinit(&heartbeat);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core/permission");
    TCase *tcase = tcase_create("permission");
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_loop_test(tcase, a_command_is_allowed_by_the_topics_and_groups_it_names, 0, N(cases));
    tcase_add_test(tcase, what_names_a_message_by_its_offset_needs_every_topic);
    tcase_add_test(tcase, an_administrator_may_command_brokers_but_not_read_or_send);
    tcase_add_test(tcase, a_long_or_odd_name_is_shown_in_part);
    tcase_add_test(tcase, being_asked_by_brokers_is_allowed_by_group);
    tcase_add_loop_test(
        tcase, a_heartbeat_is_allowed_by_the_groups_and_topics_it_speaks_for, 0, N(heartbeats));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
