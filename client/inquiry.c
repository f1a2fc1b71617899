#include "client/inquiry.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/output.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"

/* Of one explanation: some hundred in a cluster of the usual size. */
#define REQUESTS_MAX 1000

struct remotingclient_request *inquiry_request_new(
    const struct explanation *explanation, int32_t code)
{
    struct remotingclient_request *request = remotingclient_request_new(code);
    remotingclient_request_add_number(request, "sidecar.timeoutMillis", explanation->timeout_ms);
    return request;
}

static void set_reason(struct inquiry *inquiry)
{
    struct remotingclient_failure failure;
    if (inquiry->code == RESPONSE_SUCCESS ||
        !remotingclient_answer_failure(inquiry->answer, &failure)) {
        return;
    }
    const char *name = response_code_name(failure.code);
    const char *word = failure.error ? failure.error : name ? name : "refused";
    (void)snprintf(inquiry->reason, sizeof(inquiry->reason), "%.*s (%s)",
        (int)strcspn(failure.remark, "\r\n"), failure.remark, word);
}

void inquiry_ask(struct explanation *explanation, struct remotingclient_request *request,
    struct inquiry *ret_inquiry)
{
    *ret_inquiry = (struct inquiry){ .code = -1 };
    if (explanation->exit_code != EXIT_CODE_SUCCESS) {
        (void)snprintf(ret_inquiry->reason, REASON_SIZE, "the daemon went away");
    } else if (explanation->n_requests++ >= REQUESTS_MAX) {
        (void)snprintf(ret_inquiry->reason, REASON_SIZE, "%d questions are enough", REQUESTS_MAX);
    } else {
        explanation->exit_code = command_invoke_request(
            explanation->invocation, explanation->client, request, &ret_inquiry->answer);
    }
    remotingclient_request_free(request);
    if (!ret_inquiry->answer) {
        return;
    }
    const struct span body = answer_body(ret_inquiry->answer);
    ret_inquiry->code = remotingclient_answer_code(ret_inquiry->answer);
    ret_inquiry->body =
        json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    set_reason(ret_inquiry);
}

void inquiry_deinit(struct inquiry *inquiry)
{
    remotingclient_answer_free(inquiry->answer);
    json_decref(inquiry->body);
}

void inquiry_note_unknown(
    struct explanation *explanation, const char *reason, const char *format, ...)
{
    char what[REASON_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    json_t *rows = json_object_get(explanation->report, "notKnown");
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (span_equals_text(json_object_text(row, "what"), what)) {
            return;
        }
    }
    json_array_append_new(rows, json_pack("{s:o, s:o}", "what", json_text(span_of(what)), "reason",
                                    json_text(span_of(reason))));
}

int64_t inquiry_offset(struct explanation *explanation, const char *topic, const char *broker,
    enum queue_offset_kind kind, const char *group)
{
    const struct queue_offset_question question = {
        .topic = topic,
        .broker = broker,
        .group = group,
        .timeout_ms = explanation->timeout_ms,
    };
    struct inquiry inquiry;
    int64_t offset = -1;
    inquiry_ask(explanation, queue_offset_request_new(&question, kind), &inquiry);
    if (inquiry.code == RESPONSE_SUCCESS) {
        (void)ext_value_parse_i64(answer_field(inquiry.answer, "offset"), 0, INT64_MAX, &offset);
    } else if (inquiry.code != RESPONSE_QUERY_NOT_FOUND) {
        inquiry_note_unknown(explanation, inquiry.reason, "what is in %s at %s", topic, broker);
    }
    inquiry_deinit(&inquiry);
    return offset;
}
