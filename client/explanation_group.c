#include "client/explanation_group.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/explanation_message.h"
#include "client/inquiry.h"
#include "client/output.h"
#include "client/queue_reader.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"

/* --- where it is --- */

/* Fills in the group's columns where it is the one that was asked for, and sums up its lag. */
static void ask_lag(struct explanation *explanation, json_t *group_row, const char *group)
{
    struct inquiry inquiry;
    struct remotingclient_request *request =
        inquiry_request_new(explanation, REQUEST_QUERY_CONSUMER_OFFSET);
    remotingclient_request_add(request, "topic", explanation->topic);
    remotingclient_request_add(request, "consumerGroup", group);
    /* Else a broker makes up an offset 0 for a group that has none. */
    remotingclient_request_add(request, "setZeroIfNotFound", "false");
    inquiry_ask(explanation, request, &inquiry);
    int64_t sum = -1;
    json_t *offsets = json_array();
    size_t i;
    const json_t *told;
    json_array_foreach(inquiry.body, i, told)
    {
        json_t *queue = explanation_queue(
            explanation, json_object_text(told, "brokerName"), json_object_number(told, "queueId"));
        const json_t *max = json_object_get(queue, "maxOffset");
        if (json_object_number(told, "code") != RESPONSE_SUCCESS || !json_is_integer(max)) {
            continue;
        }
        const int64_t behind = json_integer_value(max) - json_object_number(told, "offset");
        const int64_t lag = behind > 0 ? behind : 0;
        sum = (sum < 0 ? 0 : sum) + lag;
        json_array_append_new(offsets,
            json_pack("{s:O, s:O, s:O, s:I}", "brokerName", json_object_get(told, "brokerName"),
                "queueId", json_object_get(told, "queueId"), "offset",
                json_object_get(told, "offset"), "lag", (json_int_t)lag));
        if (explanation->group) {
            json_object_set(queue, "consumerOffset", json_object_get(told, "offset"));
            json_object_set_new(queue, "lag", json_integer(lag));
        }
    }
    json_object_set_new(group_row, "offsets", offsets);
    json_object_set_new(group_row, "lag", sum < 0 ? json_null() : json_integer(sum));
    if (inquiry.code != RESPONSE_SUCCESS) {
        inquiry_note_unknown(explanation, inquiry.reason, "offsets of %s", group);
    }
    inquiry_deinit(&inquiry);
}

static void ask_members(struct explanation *explanation, json_t *row, const char *group)
{
    struct inquiry inquiry;
    struct remotingclient_request *request =
        inquiry_request_new(explanation, REQUEST_GET_CONSUMER_LIST_BY_GROUP);
    remotingclient_request_add(request, "consumerGroup", group);
    remotingclient_request_add(request, "sidecar.topic", explanation->topic);
    inquiry_ask(explanation, request, &inquiry);
    if (inquiry.code == RESPONSE_SUCCESS || inquiry.code == RESPONSE_SYSTEM_ERROR) {
        /* 1: there is no member. */
        json_object_set_new(row, "members",
            json_integer(
                (json_int_t)json_array_size(json_object_get(inquiry.body, "consumerIdList"))));
    } else {
        inquiry_note_unknown(explanation, inquiry.reason, "members of %s", group);
    }
    inquiry_deinit(&inquiry);
}

/* --- whether it is paused --- */

/*
 * For who may not see its configuration: a broker refuses a paused group's PULL. At the end of a queue
 * nothing comes. Only for groups that it knows: it might make others.
 */
static int try_pull(struct explanation *explanation, const char *broker, const char *group)
{
    int64_t queue_id = -1;
    int64_t offset = 0;
    size_t i;
    const json_t *queue;
    json_array_foreach(json_object_get(explanation->report, "queues"), i, queue)
    {
        if (span_equals_text(json_object_text(queue, "brokerName"), broker) &&
            json_is_integer(json_object_get(queue, "maxOffset"))) {
            queue_id = json_object_number(queue, "queueId");
            offset = json_object_number(queue, "maxOffset");
            break;
        }
    }
    if (queue_id < 0) {
        return -1;
    }
    const struct queue_reader reader = {
        .topic = explanation->topic,
        .broker = broker,
        .group = group,
        .queue_id = queue_id,
        .offset = offset,
        .timeout_ms = explanation->timeout_ms,
    };
    struct inquiry inquiry;
    inquiry_ask(explanation, queue_reader_request_new(&reader, 1), &inquiry);
    const bool is_refused = inquiry.code == RESPONSE_NO_PERMISSION &&
                            span_is_absent(answer_field(inquiry.answer, "sidecar.error"));
    const bool is_served = inquiry.code == RESPONSE_SUCCESS ||
                           inquiry.code == RESPONSE_PULL_NOT_FOUND ||
                           inquiry.code == RESPONSE_PULL_RETRY_IMMEDIATELY ||
                           inquiry.code == RESPONSE_PULL_OFFSET_MOVED;
    inquiry_deinit(&inquiry);
    return is_refused ? 1 : is_served ? 0 : -1;
}

static bool has_offsets_at(const json_t *row, const char *broker)
{
    size_t i;
    const json_t *offset;
    json_array_foreach(json_object_get(row, "offsets"), i, offset)
    {
        if (span_equals_text(json_object_text(offset, "brokerName"), broker)) {
            return true;
        }
    }
    return false;
}

/*
 * The question for one group's configuration makes the group where there is none: of those that a
 * broker has no offsets of, the table of all tells.
 */
static struct remotingclient_request *config_request_new(
    const struct explanation *explanation, const char *broker, const char *group, bool has_offsets)
{
    struct remotingclient_request *request =
        inquiry_request_new(explanation, has_offsets ? REQUEST_GET_SUBSCRIPTIONGROUP_CONFIG
                                                     : REQUEST_GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
    remotingclient_request_add(request, "sidecar.broker", broker);
    remotingclient_request_add(request, "group", has_offsets ? group : NULL);
    return request;
}

/* 1: paused, 0: not, -1: not known, or there is no such group. */
static int ask_broker_paused(
    struct explanation *explanation, const json_t *row, const char *broker, const char *group)
{
    const bool has_offsets = has_offsets_at(row, broker);
    struct inquiry inquiry;
    inquiry_ask(explanation, config_request_new(explanation, broker, group, has_offsets), &inquiry);
    const json_t *config =
        has_offsets
            ? inquiry.body
            : json_object_get(json_object_get(inquiry.body, "subscriptionGroupTable"), group);
    const json_t *enable = json_object_get(config, "consumeEnable");
    int is_paused = json_is_boolean(enable) ? json_is_false(enable) : -1;
    if (is_paused < 0 && has_offsets) {
        is_paused = try_pull(explanation, broker, group);
    }
    if (is_paused < 0 && inquiry.code != RESPONSE_SUCCESS) {
        inquiry_note_unknown(explanation, inquiry.reason, "whether %s is paused", group);
    }
    inquiry_deinit(&inquiry);
    return is_paused;
}

static void ask_paused(struct explanation *explanation, json_t *row, const char *group)
{
    size_t at = 0;
    int is_paused = -1;
    for (const char *broker; (broker = explanation_reachable_broker(explanation, &at));) {
        const int there = ask_broker_paused(explanation, row, broker, group);
        is_paused = there > is_paused ? there : is_paused;
        if (there == 1) {
            json_object_set_new(row, "pausedAt", json_string(broker));
        }
    }
    json_object_set_new(row, "isPaused", is_paused < 0 ? json_null() : json_boolean(is_paused));
}

/* --- what waits elsewhere --- */

/* What the group has not read of queue 0 of a topic of its own, at all brokers; -1: not known. */
static int64_t count_waiting(struct explanation *explanation, const char *topic, const char *reader)
{
    int64_t sum = -1;
    size_t at = 0;
    for (const char *broker; (broker = explanation_reachable_broker(explanation, &at));) {
        const int64_t max = inquiry_offset(explanation, topic, broker, QUEUE_OFFSET_MAX, NULL);
        if (max < 0) {
            continue;
        }
        int64_t from = 0;
        if (max > 0) {
            const int64_t min = inquiry_offset(explanation, topic, broker, QUEUE_OFFSET_MIN, NULL);
            const int64_t read =
                inquiry_offset(explanation, topic, broker, QUEUE_OFFSET_GROUP, reader);
            from = read > min ? read : min;
        }
        sum = (sum < 0 ? 0 : sum) + (max > from ? max - from : 0);
    }
    return sum;
}

static json_t *count_or_null(int64_t count)
{
    return count < 0 ? json_null() : json_integer(count);
}

static void ask_aside(struct explanation *explanation, json_t *row, const char *group)
{
    int64_t in_retry = -1;
    for (enum aside_topic kind = 0; kind < N_ASIDE_TOPICS; kind++) {
        char *topic = explanation_aside_topic(explanation, kind, group);
        if (!topic) {
            continue;
        }
        const bool is_dead = kind == ASIDE_DEAD_LETTERS;
        const int64_t n = count_waiting(explanation, topic, is_dead ? GROUP_OF_TOOLS : group);
        if (is_dead) {
            json_object_set_new(row, "deadLetters", count_or_null(n));
        } else if (n >= 0) {
            in_retry = (in_retry < 0 ? 0 : in_retry) + n;
        }
        free(topic);
    }
    json_object_set_new(row, "inRetry", count_or_null(in_retry));
}

void explanation_add_group(struct explanation *explanation, const char *group)
{
    json_t *row = json_pack("{s:s, s:n, s:n, s:n, s:n, s:n, s:n, s:n}", "group", group, "isPaused",
        "pausedAt", "members", "lag", "inRetry", "deadLetters", "message");
    json_array_append_new(json_object_get(explanation->report, "groups"), row);
    ask_lag(explanation, row, group);
    ask_members(explanation, row, group);
    ask_paused(explanation, row, group);
    ask_aside(explanation, row, group);
    if (explanation->message) {
        explanation_follow_message(explanation, row, group);
    }
}
