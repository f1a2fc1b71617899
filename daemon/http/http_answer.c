#include "daemon/http/http_answer.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core/failure.h"
#include "protocol/code.h"

/* When to come back after 503, in seconds: there is no shorter time that HTTP can say. */
#define RETRY_AFTER_S 1
#define MSG_ID_MAX    256

static const char *reason_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } phrases[] = {
        { 200, "OK" },
        { 400, "Bad Request" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 413, "Content Too Large" },
        { 417, "Expectation Failed" },
        { 431, "Request Header Fields Too Large" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++) {
        if (phrases[i].status == status) {
            return phrases[i].phrase;
        }
    }
    return "Error";
}

static unsigned status_of_failure(enum failure failure)
{
    switch (failure) {
    case FAILURE_TIMEOUT:
    case FAILURE_NO_REPLY:
        return 504;
    case FAILURE_UNREACHABLE:
    case FAILURE_CONNECTION_LOST:
    case FAILURE_NO_NAMESERVER:
    case FAILURE_NO_BROKER:
        return 502;
    case FAILURE_NO_ROUTE:
        return 404;
    case FAILURE_OVERLOADED:
    case FAILURE_DRAINING:
        return 503;
    case FAILURE_FORBIDDEN:
        return 403;
    case FAILURE_UNSUPPORTED:
    case FAILURE_INVALID:
        return 400;
    }
    return 502;
}

/* By the word that the answer carries: that is what tells failures apart, and not its code. */
static unsigned status_of_word(struct span word)
{
    for (int i = 0; i < FAILURES; i++) {
        if (span_equals_text(word, failure_name((enum failure)i))) {
            return status_of_failure((enum failure)i);
        }
    }
    return 502;
}

static struct span text_of(const struct remoting_command *command, const char *key)
{
    return ext_fields_get(&command->ext_fields, span_of(key));
}

/* Adds a text where there is one. */
static void add_text(json_t *object, const char *key, struct span text)
{
    if (!span_is_empty(text)) {
        (void)json_object_set_new(object, key, json_stringn(text.data, text.n));
    }
}

static void add_number(json_t *object, const char *key, struct span text)
{
    int64_t number;
    if (ext_value_parse_i64(text, INT64_MIN, INT64_MAX, &number)) {
        (void)json_object_set_new(object, key, json_integer(number));
    }
}

/* --- what was done --- */

/* That stored messages are not on disk or at the replica yet is no failure: they are stored. */
static bool is_stored(int32_t code)
{
    return code == RESPONSE_SUCCESS || code == RESPONSE_FLUSH_DISK_TIMEOUT ||
           code == RESPONSE_SLAVE_NOT_AVAILABLE || code == RESPONSE_FLUSH_SLAVE_TIMEOUT;
}

static json_t *stored_json(enum http_route route, const struct remoting_command *command)
{
    json_t *object = json_object();
    struct span keys = text_of(command, "sidecar.uniqKey");
    if (route == HTTP_SEND_BATCH) {
        json_t *ids = json_array();
        while (keys.n > 0) {
            const char *comma = memchr(keys.data, ',', keys.n);
            size_t n = comma ? (size_t)(comma - keys.data) : keys.n;
            (void)json_array_append_new(ids, json_stringn(keys.data, n));
            keys.data += n + (comma != NULL);
            keys.n -= n + (comma != NULL);
        }
        (void)json_object_set_new(object, "msgIds", ids);
    } else {
        add_text(object, "msgId", keys);
    }
    add_text(object, "offsetMsgId", text_of(command, "msgId"));
    add_text(object, "brokerName", text_of(command, "brokerName"));
    add_number(object, "queueId", text_of(command, "queueId"));
    add_number(object, "queueOffset", text_of(command, "queueOffset"));
    add_text(object, "recallHandle", text_of(command, "recallHandle"));
    if (command->code != RESPONSE_SUCCESS) {
        (void)json_object_set_new(object, "code", json_integer(command->code));
        add_text(object, "remark", command->remark);
    }
    return object;
}

/* The body of GET_STATUS as it is; 503 where the daemon is of no use now. */
static void health_make(const struct remoting_command *command, struct http_answer *answer)
{
    json_t *status = json_loadb(command->body.data, command->body.n, 0, NULL);
    const char *state = json_string_value(json_object_get(status, "state"));
    if (!state || strcmp(state, "down") == 0) {
        answer->status = 503;
    }
    json_decref(status);
}

/* --- what was not --- */

static unsigned status_of_code(int32_t code)
{
    switch (code) {
    case RESPONSE_TOPIC_NOT_EXIST:
        return 404;
    case RESPONSE_NO_PERMISSION:
        return 403;
    case RESPONSE_MESSAGE_ILLEGAL:
    case RESPONSE_INVALID_PARAMETER:
        return 400;
    case RESPONSE_SYSTEM_BUSY:
    case RESPONSE_SERVICE_NOT_AVAILABLE:
    case RESPONSE_POLLING_FULL:
    case RESPONSE_FLOW_CONTROL:
        return 503;
    default:
        return 502;
    }
}

/* The same word as the daemon's own, where it is the same that is wrong. */
static const char *word_of_code(int32_t code)
{
    switch (status_of_code(code)) {
    case 404:
        return "no-route";
    case 403:
        return "forbidden";
    case 400:
        return "invalid";
    case 503:
        return "overloaded";
    default:
        return "broker";
    }
}

static json_t *failure_json(const struct remoting_command *command, const char *sent)
{
    json_t *object = json_object();
    struct span word = text_of(command, "sidecar.error");
    add_text(object, "error", span_is_absent(word) ? span_of(word_of_code(command->code)) : word);
    (void)json_object_set_new(object, "code", json_integer(command->code));
    add_text(object, "remark", command->remark);
    (void)json_object_set_new(object, "sent", json_string(sent));
    add_text(object, "msgId", text_of(command, "sidecar.uniqKey"));
    add_text(object, "requestId", text_of(command, "sidecar.requestId"));
    return object;
}

static void failure_make(const struct remoting_command *command, struct http_answer *answer)
{
    struct span word = text_of(command, "sidecar.error");
    /* A broker that says no has read the request: whether it did anything is not always told. */
    bool is_maybe = span_is_absent(word)
                        ? command->code == RESPONSE_SYSTEM_ERROR
                        : !span_equals(text_of(command, "sidecar.sent"), SPAN("no"));
    answer->status = span_is_absent(word) ? status_of_code(command->code) : status_of_word(word);
    answer->sent = is_maybe ? "maybe" : "no";
    answer->closes = span_equals_text(word, failure_name(FAILURE_DRAINING));
    answer->json = failure_json(command, answer->sent);
}

void http_answer_make(
    enum http_route route, const struct remoting_command *command, struct http_answer *ret_answer)
{
    bool is_ours = !span_is_absent(text_of(command, "sidecar.error"));
    bool is_send = route == HTTP_SEND || route == HTTP_SEND_BATCH;
    *ret_answer = (struct http_answer){ .status = 200, .sent = "yes", .body = command->body };
    if (route == HTTP_SEND) {
        ret_answer->msg_id = text_of(command, "sidecar.uniqKey");
    }
    if (is_ours) {
        failure_make(command, ret_answer);
    } else if (is_send && is_stored(command->code)) {
        ret_answer->json = stored_json(route, command);
    } else if (route == HTTP_RECEIVE && command->code == RESPONSE_POLLING_TIMEOUT) {
        ret_answer->json = json_array();
    } else if (command->code != RESPONSE_SUCCESS) {
        failure_make(command, ret_answer);
    } else if (route == HTTP_HEALTH) {
        health_make(command, ret_answer);
    }
}

void http_answer_refuse(const struct http_refusal *refusal, struct http_answer *ret_answer)
{
    *ret_answer = (struct http_answer){
        .status = refusal->status,
        .sent = "no",
        .allow = refusal->allow,
        .json = json_pack("{s:s, s:s, s:s}", "error", failure_name(refusal->failure), "remark",
            refusal->cause, "sent", "no"),
    };
}

json_t *http_nack_row(const char *receipt, const struct remoting_command *command)
{
    json_t *row = json_pack("{s:s, s:i}", "receipt", receipt, "code", (int)command->code);
    if (row) {
        add_text(row, "newReceipt", text_of(command, "sidecar.receipt"));
        add_text(row, "error", text_of(command, "sidecar.error"));
        add_text(row, "remark", command->remark);
    }
    return row;
}

/* What may stand in a field: others would be taken for the end of it. */
static bool is_printable(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~') {
            return false;
        }
    }
    return text.n > 0 && text.n <= MSG_ID_MAX;
}

size_t http_answer_head(
    const struct http_answer *answer, size_t body_size, char dst[static HTTP_ANSWER_HEAD_SIZE])
{
    bool has_id = is_printable(answer->msg_id);
    bool comes_back = answer->status == 503;
    char retry_after[32];
    (void)snprintf(retry_after, sizeof(retry_after), "Retry-After: %d\r\n", RETRY_AFTER_S);
    int n = snprintf(dst, HTTP_ANSWER_HEAD_SIZE,
        "HTTP/1.1 %u %s\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: %zu\r\n"
        "X-Mq-Sent: %s\r\n"
        "%s%.*s%s%s%s%s%s%s\r\n",
        answer->status, reason_phrase(answer->status), body_size, answer->sent,
        has_id ? "X-Mq-Msg-Id: " : "", has_id ? (int)answer->msg_id.n : 0,
        has_id ? answer->msg_id.data : "", has_id ? "\r\n" : "", comes_back ? retry_after : "",
        answer->allow ? "Allow: " : "", answer->allow ? answer->allow : "",
        answer->allow ? "\r\n" : "", answer->closes ? "Connection: close\r\n" : "");
    return (size_t)n;
}
