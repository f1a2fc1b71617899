#include "daemon/core/permission.h"

#include "protocol/code.h"
#include "protocol/utf8.h"

#include <jansson.h>
#include <stddef.h>
#include <string.h>

#define SHOWN_MAX 100 /* bytes of a name that a report shows */
#define BODY_MAX  (256 * 1024)
#define KEY_MAX   64

enum permission_need {
    NEEDS_NOTHING,
    NEEDS_SEND,
    NEEDS_CONSUME,
    NEEDS_READ, /* the topic alone: no group has to do with it */
    NEEDS_EITHER,
    NEEDS_EVERY_TOPIC, /* to consume from: it names no topic that anybody looks at */
    NEEDS_BODY,        /* topics and group of a consumer, in the body */
};

/* The ext fields of a code: topic, and the group of its need. NULL: it has none. */
struct permission_row {
    int32_t code;
    enum permission_need need;
    const char *topic;
    const char *group;
};

static const struct permission_row rows[] = {
    { REQUEST_SEND_MESSAGE, NEEDS_SEND, "topic", "producerGroup" },
    { REQUEST_SEND_MESSAGE_V2, NEEDS_SEND, "b", "a" },
    { REQUEST_SEND_BATCH_MESSAGE, NEEDS_SEND, "b", "a" },
    { REQUEST_SEND_REPLY_MESSAGE, NEEDS_SEND, "topic", "producerGroup" },
    { REQUEST_SEND_REPLY_MESSAGE_V2, NEEDS_SEND, "b", "a" },
    { REQUEST_END_TRANSACTION, NEEDS_SEND, "topic", "producerGroup" },
    { REQUEST_RECALL_MESSAGE, NEEDS_SEND, "topic", "producerGroup" },
    { REQUEST_POP_MESSAGE, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_ACK_MESSAGE, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_CHANGE_MESSAGE_INVISIBLETIME, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_NOTIFICATION, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_PEEK_MESSAGE, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_PULL_MESSAGE, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_LITE_PULL_MESSAGE, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_QUERY_CONSUMER_OFFSET, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_UPDATE_CONSUMER_OFFSET, NEEDS_CONSUME, "topic", "consumerGroup" },
    { REQUEST_QUERY_MESSAGE, NEEDS_READ, "topic", NULL },
    { REQUEST_GET_MAX_OFFSET, NEEDS_EITHER, "topic", NULL },
    { REQUEST_GET_MIN_OFFSET, NEEDS_EITHER, "topic", NULL },
    { REQUEST_SEARCH_OFFSET_BY_TIMESTAMP, NEEDS_EITHER, "topic", NULL },
    { REQUEST_GET_EARLIEST_MSG_STORETIME, NEEDS_EITHER, "topic", NULL },
    { REQUEST_GET_ROUTEINFO_BY_TOPIC, NEEDS_EITHER, "topic", NULL },
    { REQUEST_GET_BROKER_CLUSTER_INFO, NEEDS_NOTHING, NULL, NULL },
    { REQUEST_VIEW_MESSAGE_BY_ID, NEEDS_EVERY_TOPIC, NULL, NULL },
    { REQUEST_CONSUMER_SEND_MSG_BACK, NEEDS_EVERY_TOPIC, NULL, "group" },
    { REQUEST_LOCK_BATCH_MQ, NEEDS_BODY, NULL, NULL },
    { REQUEST_UNLOCK_BATCH_MQ, NEEDS_BODY, NULL, NULL },
    { REQUEST_CHECK_CLIENT_CONFIG, NEEDS_BODY, NULL, NULL },
    { REQUEST_QUERY_ASSIGNMENT, NEEDS_BODY, NULL, NULL },
};

static const struct permission_row *row_find(int32_t code)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return NULL;
}

/* "role web may not send to topic 'orders': ..." */
static bool refuse(const struct role *role, const char *what, struct span name, const char *setting,
    struct failure_report *ret_report)
{
    struct span shown = utf8_cut(name, SHOWN_MAX);
    if (span_is_empty(name)) {
        failure_set(ret_report, FAILURE_FORBIDDEN, false,
            "role %s may not %s that is not named: [role %s] %s would have to be *", role->name,
            what, role->name, setting);
    } else {
        failure_set(ret_report, FAILURE_FORBIDDEN, false,
            "role %s may not %s '%.*s': [role %s] %s would have to name it", role->name, what,
            SPAN_ARGS(shown), role->name, setting);
    }
    return false;
}

/* The rest behind the prefix, or absent. */
static struct span behind(struct span name, struct span prefix)
{
    if (!span_starts_with(name, prefix)) {
        return SPAN_ABSENT;
    }
    return (struct span){ name.data + prefix.n, name.n - prefix.n };
}

/*
 * A topic that brokers made for a consumer group; for POP the retry topic is the group's and
 * another topic's, behind _ or +.
 */
static bool is_of_consumer_group(const struct role *role, struct span topic, struct span group)
{
    struct span owner = behind(topic, SPAN("%RETRY%"));
    if (span_is_absent(owner)) {
        struct span dead = behind(topic, SPAN("%DLQ%"));
        return !span_is_empty(dead) && name_patterns_match(&role->consumer_groups, dead);
    }
    if (!span_is_empty(owner) && name_patterns_match(&role->consumer_groups, owner)) {
        return true;
    }
    struct span rest = span_is_empty(group) ? SPAN_ABSENT : behind(owner, group);
    if (rest.n < 2 || (rest.data[0] != '_' && rest.data[0] != '+')) {
        return false;
    }
    return name_patterns_match(&role->consumer_groups, group) &&
           name_patterns_match(&role->consume, (struct span){ rest.data + 1, rest.n - 1 });
}

static bool may_read(const struct role *role, struct span topic, struct span group)
{
    return name_patterns_match(&role->consume, topic) || is_of_consumer_group(role, topic, group);
}

static bool may_write(const struct role *role, struct span topic)
{
    struct span owner = behind(topic, SPAN("%RETRY%"));
    return name_patterns_match(&role->send, topic) ||
           (!span_is_empty(owner) && name_patterns_match(&role->consumer_groups, owner));
}

static bool may_use_producer_group(
    const struct role *role, struct span group, struct failure_report *ret_report)
{
    return name_patterns_match(&role->producer_groups, group) ||
           refuse(role, "use a producer group", group, "producer_groups", ret_report);
}

static bool may_use_consumer_group(
    const struct role *role, struct span group, struct failure_report *ret_report)
{
    return name_patterns_match(&role->consumer_groups, group) ||
           refuse(role, "use a consumer group", group, "consumer_groups", ret_report);
}

bool permission_to_send(const struct role *role, struct span topic, struct span producer_group,
    struct failure_report *ret_report)
{
    if (!may_write(role, topic)) {
        return refuse(role, "send to a topic", topic, "send", ret_report);
    }
    return span_is_empty(producer_group) ||
           span_equals(producer_group, role->shared_producer_group) ||
           may_use_producer_group(role, producer_group, ret_report);
}

bool permission_to_consume(const struct role *role, struct span topic, struct span group,
    struct failure_report *ret_report)
{
    if (!may_read(role, topic, group)) {
        return refuse(role, "read a topic", topic, "consume", ret_report);
    }
    return may_use_consumer_group(role, group, ret_report);
}

bool permission_to_be_asked(
    const struct role *role, int32_t code, struct span group, struct failure_report *ret_report)
{
    if (code == REQUEST_PUSH_REPLY_MESSAGE_TO_CLIENT) {
        /* Replies that nobody waits for, whoever asked: they name no group. */
        return may_use_producer_group(role, SPAN_ABSENT, ret_report);
    }
    return code == REQUEST_CHECK_TRANSACTION_STATE
               ? may_use_producer_group(role, group, ret_report)
               : may_use_consumer_group(role, group, ret_report);
}

/* --- bodies --- */

/*
 * Java's parser takes "TOPIC" and "to_pic" for "topic" where the latter is missing, and the last of
 * them where there are several: what we read has to be what the broker reads.
 */
static void key_fold(const char *key, char folded[static KEY_MAX])
{
    size_t n = 0;
    for (; *key && n < KEY_MAX - 1; key++) {
        if (*key != '_' && *key != '-') {
            folded[n++] = (char)(*key >= 'A' && *key <= 'Z' ? *key + ('a' - 'A') : *key);
        }
    }
    folded[n] = '\0';
}

/* Whether nothing but the exact key could be taken for it. */
static bool has_only(json_t *object, const char *key)
{
    char wanted[KEY_MAX], seen[KEY_MAX];
    const char *each;
    json_t *value;
    key_fold(key, wanted);
    json_object_foreach(object, each, value)
    {
        key_fold(each, seen);
        if (strcmp(seen, wanted) == 0 && strcmp(each, key) != 0) {
            return false;
        }
    }
    return true;
}

static struct span text_of(json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || !has_only(object, key)) {
        return SPAN_ABSENT;
    }
    return (struct span){ json_string_value(value), json_string_length(value) };
}

/* The objects of an array name topics; where it is absent or empty there is no objection. */
static bool may_read_all(const struct role *role, json_t *object, const char *key,
    struct span group, struct failure_report *ret_report)
{
    size_t i;
    json_t *item;
    json_t *array = json_object_get(object, key);
    bool is_set = !array || json_is_array(array) || json_is_null(array);
    if (!is_set || !has_only(object, key)) {
        return refuse(role, "read a topic", SPAN_ABSENT, "consume", ret_report);
    }
    json_array_foreach(array, i, item)
    {
        if (!permission_to_consume(role, text_of(item, "topic"), group, ret_report)) {
            return false;
        }
    }
    return true;
}

static bool may_by_body(
    const struct role *role, int32_t code, json_t *root, struct failure_report *ret_report)
{
    if (code == REQUEST_CHECK_CLIENT_CONFIG) {
        return may_use_consumer_group(role, text_of(root, "group"), ret_report);
    }
    struct span group = text_of(root, "consumerGroup");
    if (code == REQUEST_QUERY_ASSIGNMENT) {
        return permission_to_consume(role, text_of(root, "topic"), group, ret_report);
    }
    return may_use_consumer_group(role, group, ret_report) &&
           may_read_all(role, root, "mqSet", group, ret_report);
}

static bool may_command_by_body(
    const struct role *role, int32_t code, struct span body, struct failure_report *ret_report)
{
    json_t *root = NULL;
    if (body.n > 0 && body.n <= BODY_MAX) {
        root = json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES, NULL);
    }
    bool is_allowed = json_is_object(root) && may_by_body(role, code, root, ret_report);
    if (!json_is_object(root)) {
        failure_set(ret_report, FAILURE_FORBIDDEN, false,
            "code %d (%s) has no JSON object as its body, by which role %s could be allowed to "
            "give it",
            (int)code, request_code_name(code), role->name);
    }
    json_decref(root);
    return is_allowed;
}

bool permission_to_heartbeat(
    const struct role *role, const struct heartbeat *heartbeat, struct failure_report *ret_report)
{
    for (size_t i = 0; i < heartbeat_n_producers(heartbeat); i++) {
        if (!may_use_producer_group(role, heartbeat_producer(heartbeat, i), ret_report)) {
            return false;
        }
    }
    for (size_t i = 0; i < heartbeat_n_consumers(heartbeat); i++) {
        json_t *row = json_array_get(heartbeat->consumers, i);
        struct span group = text_of(row, "groupName");
        if (!may_use_consumer_group(role, group, ret_report) ||
            !may_read_all(role, row, "subscriptionDataSet", group, ret_report)) {
            return false;
        }
    }
    return true;
}

/* --- commands --- */

static struct span field_of(const struct ext_fields *ext_fields, const char *key)
{
    return key ? ext_fields_get(ext_fields, span_of(key)) : SPAN_ABSENT;
}

static bool may_command_unlisted(
    const struct role *role, int32_t code, struct failure_report *ret_report)
{
    if (role->is_admin) {
        return true;
    }
    const char *name = request_code_name(code);
    failure_set(ret_report, FAILURE_FORBIDDEN, false,
        "code %d (%s) is not confined to topics and groups that role %s may use: \"admin = yes\" "
        "in [role %s] would allow it",
        (int)code, name ? name : "unnamed", role->name, role->name);
    return false;
}

static bool may_read_every_topic(const struct role *role, const struct permission_row *row,
    struct span group, struct failure_report *ret_report)
{
    if (!role->consume.is_all) {
        failure_set(ret_report, FAILURE_FORBIDDEN, false,
            "code %d (%s) names a message by its offset, whatever its topic: [role %s] consume "
            "would have to be *",
            (int)row->code, request_code_name(row->code), role->name);
        return false;
    }
    return !row->group || may_use_consumer_group(role, group, ret_report);
}

bool permission_to_command(const struct role *role, int32_t code,
    const struct ext_fields *ext_fields, struct span body, struct failure_report *ret_report)
{
    if (code == REQUEST_GET_CONSUMER_LIST_BY_GROUP) {
        return may_use_consumer_group(role, field_of(ext_fields, "consumerGroup"), ret_report);
    }
    const struct permission_row *row = row_find(code);
    if (!row) {
        return may_command_unlisted(role, code, ret_report);
    }
    struct span topic = field_of(ext_fields, row->topic);
    struct span group = field_of(ext_fields, row->group);
    switch (row->need) {
    case NEEDS_NOTHING:
        return true;
    case NEEDS_SEND:
        return permission_to_send(role, topic, group, ret_report);
    case NEEDS_CONSUME:
        return permission_to_consume(role, topic, group, ret_report);
    case NEEDS_READ:
        return may_read(role, topic, SPAN_ABSENT) ||
               refuse(role, "read a topic", topic, "consume", ret_report);
    case NEEDS_EITHER:
        return may_write(role, topic) || may_read(role, topic, SPAN_ABSENT) ||
               refuse(role, "send to or read a topic", topic, "send or consume", ret_report);
    case NEEDS_EVERY_TOPIC:
        return may_read_every_topic(role, row, group, ret_report);
    case NEEDS_BODY:
        return may_command_by_body(role, code, body, ret_report);
    }
    return false;
}
