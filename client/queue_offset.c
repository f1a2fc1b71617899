#include "client/queue_offset.h"

#include <stdio.h>

#include "protocol/code.h"
#include "protocol/ext_fields.h"

static const int32_t request_codes[N_QUEUE_OFFSET_KINDS] = {
    [QUEUE_OFFSET_MIN] = REQUEST_GET_MIN_OFFSET,
    [QUEUE_OFFSET_MAX] = REQUEST_GET_MAX_OFFSET,
    [QUEUE_OFFSET_GROUP] = REQUEST_QUERY_CONSUMER_OFFSET,
    [QUEUE_OFFSET_AT] = REQUEST_SEARCH_OFFSET_BY_TIMESTAMP,
};

struct remotingclient_request *queue_offset_request_new(
    const struct queue_offset_question *question, enum queue_offset_kind kind)
{
    struct remotingclient_request *request = remotingclient_request_new(request_codes[kind]);
    remotingclient_request_add(request, "topic", question->topic);
    if (question->timeout_ms >= 0) {
        remotingclient_request_add_number(request, "sidecar.timeoutMillis", question->timeout_ms);
    }
    remotingclient_request_add(request, "sidecar.broker", question->broker);
    remotingclient_request_add_number(request, "queueId", question->queue_id);
    if (kind == QUEUE_OFFSET_GROUP) {
        remotingclient_request_add(request, "consumerGroup", question->group);
        /* Else a broker makes up an offset 0 for a group that has none. */
        remotingclient_request_add(request, "setZeroIfNotFound", "false");
    } else if (kind == QUEUE_OFFSET_AT) {
        remotingclient_request_add_number(request, "timestamp", question->at_ms);
        remotingclient_request_add(request, "boundaryType", "LOWER");
    }
    return request;
}

enum exit_code queue_offset_ask(const struct invocation *invocation, struct remotingclient *client,
    const struct queue_offset_question *question, enum queue_offset_kind kind, int64_t *ret_offset)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = queue_offset_request_new(question, kind);
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    enum exit_code exit_code = command_invoke_request(invocation, client, request, &answer);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (kind == QUEUE_OFFSET_GROUP &&
        remotingclient_answer_code(answer) == RESPONSE_QUERY_NOT_FOUND) {
        *ret_offset = -1;
        return EXIT_CODE_SUCCESS;
    }
    exit_code = command_judge(answer);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    int64_t offset;
    if (!ext_value_parse_i64(answer_field(answer, "offset"), -1, INT64_MAX, &offset)) {
        fputs("remotingctl: the answer names no offset.\n", stderr);
        return EXIT_CODE_NO_DAEMON;
    }
    *ret_offset = offset;
    return EXIT_CODE_SUCCESS;
}
