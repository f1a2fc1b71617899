/* Messages: what the daemon's JSON says, as structs; and the calls that need no request of one's own. */
#include "client/remotingclient.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/library/answer.h"
#include "protocol/base64.h"

#define MESSAGES_MAX 32 /* what a broker gives at most for one POP */

DEFINE_CLEANUP(struct remotingclient_request *, remotingclient_request_free)
DEFINE_CLEANUP(struct remotingclient_messages *, remotingclient_messages_free)

/* The texts of a message point into `json`, and into `owned` where its body was base64. */
struct stored {
    struct remotingclient_message message;
    char *owned;
};

struct remotingclient_messages {
    json_t *json;
    size_t n;
    struct stored stored[];
};

int remotingclient_send_message(struct remotingclient *client, const char *topic, const void *body,
    size_t n, const char *const *properties, struct remotingclient_answer **ret_answer)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(REMOTINGCLIENT_SEND);
    remotingclient_request_add(request, "topic", topic);
    for (size_t i = 0; properties && properties[i]; i += 2) {
        if (!properties[i + 1]) {
            return -EINVAL;
        }
        remotingclient_request_add_property(request, properties[i], properties[i + 1]);
    }
    remotingclient_request_set_body(request, body, n);
    return remotingclient_call(client, request, ret_answer);
}

int remotingclient_receive_messages(struct remotingclient *client, const char *topic,
    const char *group, int max, int64_t poll_time_ms, struct remotingclient_answer **ret_answer)
{
    if (max < 1 || max > MESSAGES_MAX) {
        return -EINVAL;
    }
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(REMOTINGCLIENT_POP);
    remotingclient_request_add(request, "topic", topic);
    remotingclient_request_add(request, "consumerGroup", group);
    remotingclient_request_add_number(request, "maxMsgNums", max);
    remotingclient_request_add_number(request, "pollTime", poll_time_ms);
    remotingclient_request_add(request, "sidecar.answerFormat", "json");
    return remotingclient_call(client, request, ret_answer);
}

int remotingclient_acknowledge(
    struct remotingclient *client, const char *receipt, struct remotingclient_answer **ret_answer)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(REMOTINGCLIENT_ACK);
    remotingclient_request_add(request, "sidecar.receipt", receipt);
    return remotingclient_call(client, request, ret_answer);
}

static const char *text_of(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

static int64_t number_of(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

static int read_body(const json_t *row, struct stored *stored)
{
    struct remotingclient_message *message = &stored->message;
    const json_t *body = json_object_get(row, "body");
    const char *encoding = text_of(row, "encoding");
    message->body = json_string_value(body);
    message->n_body = json_string_length(body);
    if (!message->body) {
        const char *reason = text_of(row, "reason");
        message->reason = reason ? reason : "it has no body";
        return 0;
    }
    if (!encoding || !span_equals_text(SPAN("base64"), encoding)) {
        return 0;
    }
    const struct span text = { message->body, message->n_body };
    const int r = base64_decode(text, &stored->owned, &message->n_body);
    message->body = stored->owned;
    if (r == -EINVAL) {
        message->n_body = 0;
        message->reason = "its base64 is damaged";
        return 0;
    }
    return r;
}

static int read_row(const json_t *row, struct stored *stored)
{
    stored->message = (struct remotingclient_message){
        .topic = text_of(row, "topic"),
        .tags = text_of(row, "tags"),
        .keys = text_of(row, "keys"),
        .uniq_key = text_of(row, "uniqKey"),
        .broker_name = text_of(row, "brokerName"),
        .queue_id = (int32_t)number_of(row, "queueId"),
        .queue_offset = number_of(row, "queueOffset"),
        .born_timestamp_ms = number_of(row, "bornTimestamp"),
        .reconsume_times = (int32_t)number_of(row, "reconsumeTimes"),
        .receipt = text_of(row, "receipt"),
    };
    return read_body(row, stored);
}

static int load_rows(const struct remotingclient_answer *answer, json_t **ret_rows)
{
    if (remotingclient_answer_code(answer) != 0) {
        *ret_rows = json_array();
        return *ret_rows ? 0 : -ENOMEM;
    }
    size_t n;
    const char *body = remotingclient_answer_body(answer, &n);
    json_t *rows = json_loadb(body, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_array(rows)) {
        json_decref(rows);
        return -EBADMSG;
    }
    *ret_rows = rows;
    return 0;
}

int remotingclient_messages_new(
    const struct remotingclient_answer *answer, struct remotingclient_messages **ret_messages)
{
    json_t *rows;
    int r = load_rows(answer, &rows);
    if (r < 0) {
        return r;
    }
    const size_t n = json_array_size(rows);
    CLEANUP(remotingclient_messages_free)
    struct remotingclient_messages *messages =
        calloc(1, sizeof(*messages) + n * sizeof(messages->stored[0]));
    if (!messages) {
        json_decref(rows);
        return -ENOMEM;
    }
    messages->json = rows;
    while (messages->n < n) {
        r = read_row(json_array_get(rows, messages->n), &messages->stored[messages->n]);
        if (r < 0) {
            return r;
        }
        messages->n++;
    }
    *ret_messages = TAKE(messages);
    return 0;
}

struct remotingclient_messages *remotingclient_messages_free(
    struct remotingclient_messages *messages)
{
    if (messages) {
        for (size_t i = 0; i < messages->n; i++) {
            free(messages->stored[i].owned);
        }
        json_decref(messages->json);
        free(messages);
    }
    return NULL;
}

size_t remotingclient_messages_count(const struct remotingclient_messages *messages)
{
    return messages->n;
}

const struct remotingclient_message *remotingclient_messages_get(
    const struct remotingclient_messages *messages, size_t i)
{
    return &messages->stored[i].message;
}

const char *remotingclient_messages_property(
    const struct remotingclient_messages *messages, size_t i, const char *name)
{
    return text_of(json_object_get(json_array_get(messages->json, i), "properties"), name);
}

bool remotingclient_messages_next_property(const struct remotingclient_messages *messages, size_t i,
    const char *after, struct remotingclient_text *ret_name, struct remotingclient_text *ret_value)
{
    json_t *properties = json_object_get(json_array_get(messages->json, i), "properties");
    void *at = after ? json_object_iter_at(properties, after) : json_object_iter(properties);
    if (after && at) {
        at = json_object_iter_next(properties, at);
    }
    while (at && !json_is_string(json_object_iter_value(at))) {
        at = json_object_iter_next(properties, at);
    }
    if (!at) {
        return false;
    }
    const char *name = json_object_iter_key(at);
    const json_t *value = json_object_iter_value(at);
    *ret_name = (struct remotingclient_text){ name, strlen(name) };
    *ret_value =
        (struct remotingclient_text){ json_string_value(value), json_string_length(value) };
    return true;
}
