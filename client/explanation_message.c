#include "client/explanation_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/inquiry.h"
#include "client/output.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"

DEFINE_CLEANUP(char *, free)

#define COPIES_MAX 32 /* of one message in one topic that are looked at */

char *explanation_aside_topic(
    const struct explanation *explanation, enum aside_topic kind, const char *group)
{
    char *topic = NULL;
    int n = -1;
    switch (kind) {
    case ASIDE_RETRY_POP:
        n = asprintf(&topic, "%%RETRY%%%s_%s", group, explanation->topic);
        break;
    case ASIDE_RETRY_POP_V2:
        n = asprintf(&topic, "%%RETRY%%%s+%s", group, explanation->topic);
        break;
    case ASIDE_RETRY:
        n = asprintf(&topic, "%%RETRY%%%s", group);
        break;
    case ASIDE_DEAD_LETTERS:
        n = asprintf(&topic, "%%DLQ%%%s", group);
        break;
    case N_ASIDE_TOPICS:
        break;
    }
    return n < 0 ? NULL : topic;
}

/* --- in its topic --- */

/* kind: "stored", "retry" or "dead-letter"; group NULL: it is everybody's. */
static void add_copy(
    struct explanation *explanation, const json_t *message, const char *kind, const char *group)
{
    static const char *const kept[] = { "topic", "brokerName", "queueId", "queueOffset",
        "storeTimestamp", "bornTimestamp", "reconsumeTimes", "offsetMsgId", "uniqKey" };
    const json_t *properties = json_object_get(message, "properties");
    json_t *copy = json_pack("{s:s, s:s?}", "kind", kind, "group", group);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        json_t *value = json_object_get(message, kept[i]);
        json_object_set_new(copy, kept[i], value ? json_incref(value) : json_null());
    }
    const json_t *popped = json_object_get(properties, "1ST_POP_TIME");
    json_object_set_new(copy, "firstPopTimestamp",
        popped ? json_number_or_text(span_of(json_string_value(popped))) : json_null());
    json_object_set_new(copy, "groupOffset", json_null());
    json_array_append_new(json_object_get(explanation->report, "copies"), copy);
}

static size_t add_copies(
    struct explanation *explanation, const json_t *messages, const char *kind, const char *group)
{
    size_t i;
    const json_t *message;
    json_array_foreach(messages, i, message)
    {
        add_copy(explanation, message, kind, group);
    }
    return json_array_size(messages);
}

/* broker NULL: all masters of the topic. */
static struct remotingclient_request *query_new(
    const struct explanation *explanation, const char *topic, const char *key, const char *broker)
{
    struct remotingclient_request *request =
        inquiry_request_new(explanation, REQUEST_QUERY_MESSAGE);
    remotingclient_request_add(request, "topic", topic);
    remotingclient_request_add(request, "key", key);
    remotingclient_request_add(request, "_UNIQUE_KEY_QUERY", "true");
    remotingclient_request_add_number(request, "maxNum", COPIES_MAX);
    remotingclient_request_add_number(request, "beginTimestamp", 0);
    remotingclient_request_add_number(request, "endTimestamp", INT64_MAX);
    remotingclient_request_add(request, "sidecar.answerFormat", "json");
    remotingclient_request_add(request, "sidecar.broker", broker);
    return request;
}

/* What is stored under an offset id, wherever. */
static void view(struct explanation *explanation, struct inquiry *ret_inquiry)
{
    struct remotingclient_request *request =
        inquiry_request_new(explanation, REQUEST_VIEW_MESSAGE_BY_ID);
    remotingclient_request_add(request, "sidecar.msgId", explanation->message);
    remotingclient_request_add(request, "sidecar.answerFormat", "json");
    inquiry_ask(explanation, request, ret_inquiry);
}

static void set_topic(struct explanation *explanation, json_t *topic)
{
    json_object_set(explanation->report, "topic", topic);
    explanation->topic = json_string_value(topic);
}

bool explanation_find_topic(struct explanation *explanation)
{
    struct inquiry inquiry;
    view(explanation, &inquiry);
    json_t *topic = json_object_get(json_array_get(inquiry.body, 0), "topic");
    if (inquiry.code == RESPONSE_SUCCESS && json_is_string(topic)) {
        set_topic(explanation, topic);
    } else if (explanation->exit_code == EXIT_CODE_SUCCESS) {
        fprintf(stderr,
            "remotingctl: it is not known which topic the message is of: %s\n"
            "Name it: --topic TOPIC\n",
            inquiry.reason);
        explanation->exit_code = EXIT_CODE_BROKER;
    }
    inquiry_deinit(&inquiry);
    return explanation->topic != NULL;
}

void explanation_find_message(struct explanation *explanation)
{
    struct inquiry inquiry;
    inquiry_ask(explanation, query_new(explanation, explanation->topic, explanation->message, NULL),
        &inquiry);
    const size_t n = add_copies(explanation, inquiry.body, "stored", NULL);
    if (inquiry.code != RESPONSE_SUCCESS && inquiry.code != RESPONSE_QUERY_NOT_FOUND) {
        inquiry_note_unknown(explanation, inquiry.reason, "where the message is stored");
    }
    inquiry_deinit(&inquiry);
    if (n > 0) {
        return;
    }
    /* Perhaps it is an offset id. */
    view(explanation, &inquiry);
    (void)add_copies(explanation, inquiry.body, "stored", NULL);
    inquiry_deinit(&inquiry);
}

/* --- for a group --- */

/* What is known of the message besides the id that it was asked for by. */
static const char *uniq_key_of(const struct explanation *explanation)
{
    const json_t *copy = json_array_get(json_object_get(explanation->report, "copies"), 0);
    const char *key = json_string_value(json_object_get(copy, "uniqKey"));
    return key ? key : explanation->message;
}

static void look_aside(
    struct explanation *explanation, enum aside_topic kind, const char *group, const char *key)
{
    CLEANUP(free) char *topic = explanation_aside_topic(explanation, kind, group);
    size_t at = 0;
    for (const char *broker; topic && (broker = explanation_reachable_broker(explanation, &at));) {
        struct inquiry inquiry;
        inquiry_ask(explanation, query_new(explanation, topic, key, broker), &inquiry);
        if (inquiry.code == RESPONSE_SUCCESS) {
            (void)add_copies(explanation, inquiry.body,
                kind == ASIDE_DEAD_LETTERS ? "dead-letter" : "retry", group);
        } else if (inquiry.code != RESPONSE_QUERY_NOT_FOUND) {
            inquiry_note_unknown(
                explanation, inquiry.reason, "whether the message is in %s", topic);
        }
        inquiry_deinit(&inquiry);
    }
}

/* The copy that was stored last, of those that concern the group. */
static json_t *last_copy(const struct explanation *explanation, const char *group)
{
    json_t *last = NULL;
    size_t i;
    json_t *copy;
    json_array_foreach(json_object_get(explanation->report, "copies"), i, copy)
    {
        const struct span owner = json_object_text(copy, "group");
        if ((span_is_absent(owner) || span_equals_text(owner, group)) &&
            (!last || json_object_number(copy, "storeTimestamp") >=
                          json_object_number(last, "storeTimestamp"))) {
            last = copy;
        }
    }
    return last;
}

/* Where the group is in the queue that a copy lies in; -1: nowhere, or not known. */
static int64_t group_offset(
    struct explanation *explanation, const json_t *row, const json_t *copy, const char *group)
{
    if (!span_equals(json_object_text(copy, "kind"), SPAN("stored"))) {
        return inquiry_offset(explanation, json_string_value(json_object_get(copy, "topic")),
            json_string_value(json_object_get(copy, "brokerName")), QUEUE_OFFSET_GROUP, group);
    }
    size_t i;
    const json_t *queue;
    json_array_foreach(json_object_get(row, "offsets"), i, queue)
    {
        if (json_equal(json_object_get(queue, "queueId"), json_object_get(copy, "queueId")) &&
            json_equal(json_object_get(queue, "brokerName"), json_object_get(copy, "brokerName"))) {
            return json_object_number(queue, "offset");
        }
    }
    return -1;
}

void explanation_follow_message(struct explanation *explanation, json_t *row, const char *group)
{
    CLEANUP(free) char *key = strdup(uniq_key_of(explanation));
    for (enum aside_topic kind = 0; key && kind < N_ASIDE_TOPICS; kind++) {
        look_aside(explanation, kind, group, key);
    }
    json_t *copy = last_copy(explanation, group);
    const struct span kind = json_object_text(copy, "kind");
    if (!copy) {
        return;
    }
    if (span_equals(kind, SPAN("dead-letter"))) {
        json_object_set_new(row, "message", json_string("dead-letter"));
        return;
    }
    const int64_t offset = group_offset(explanation, row, copy, group);
    const bool is_passed = offset > json_object_number(copy, "queueOffset");
    const char *waits = span_equals(kind, SPAN("retry")) ? "in-retry" : "waiting";
    json_object_set_new(copy, "groupOffset", offset < 0 ? json_null() : json_integer(offset));
    json_object_set_new(row, "message", json_string(is_passed ? "handed-out" : waits));
}
