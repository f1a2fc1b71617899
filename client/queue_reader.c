#include "client/queue_reader.h"

#include "protocol/code.h"
#include "protocol/ext_fields.h"
#include "protocol/utf8.h"

#define BATCH_MAX    32 /* what brokers give at most for one PULL, by default */
#define PREVIEW_SIZE 60
/* The subscription comes with the request: no heartbeat, no waiting and no commit of an offset. */
#define PULL_SYSFLAG_SUBSCRIPTION 4

struct remotingclient_request *queue_reader_request_new(
    const struct queue_reader *reader, int64_t max)
{
    struct remotingclient_request *request = remotingclient_request_new(REQUEST_PULL_MESSAGE);
    remotingclient_request_add(request, "sidecar.broker", reader->broker);
    remotingclient_request_add(request, "sidecar.answerFormat", "json");
    remotingclient_request_add(request, "consumerGroup", reader->group);
    remotingclient_request_add(request, "topic", reader->topic);
    remotingclient_request_add_number(request, "queueId", reader->queue_id);
    remotingclient_request_add_number(request, "queueOffset", reader->offset);
    remotingclient_request_add_number(request, "maxMsgNums", max < BATCH_MAX ? max : BATCH_MAX);
    remotingclient_request_add_number(request, "sysFlag", PULL_SYSFLAG_SUBSCRIPTION);
    remotingclient_request_add(request, "commitOffset", "0");
    remotingclient_request_add(request, "suspendTimeoutMillis", "0");
    remotingclient_request_add(request, "subscription", "*");
    remotingclient_request_add(request, "expressionType", "TAG");
    remotingclient_request_add(request, "subVersion", "0");
    if (reader->timeout_ms >= 0) {
        remotingclient_request_add_number(request, "sidecar.timeoutMillis", reader->timeout_ms);
    }
    return request;
}

/*
 * Moves to where the broker says that the next message is. False when that is not further on: the
 * end of the queue, or an offset behind it.
 */
static bool advance(struct queue_reader *reader, const struct remotingclient_answer *answer)
{
    int64_t next;
    if (!ext_value_parse_i64(answer_field(answer, "nextBeginOffset"), 0, INT64_MAX, &next) ||
        next <= reader->offset) {
        return false;
    }
    reader->offset = next;
    return true;
}

enum exit_code queue_reader_next(struct queue_reader *reader, int64_t max,
    struct remotingclient_answer **ret_answer, bool *ret_goes_on)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = queue_reader_request_new(reader, max);
    const enum exit_code exit_code =
        command_invoke_request(reader->invocation, reader->client, request, &answer);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    switch (remotingclient_answer_code(answer)) {
    case RESPONSE_SUCCESS:
    case RESPONSE_PULL_NOT_FOUND:
    case RESPONSE_PULL_RETRY_IMMEDIATELY:
    case RESPONSE_PULL_OFFSET_MOVED:
        break;
    default:
        return command_judge(answer);
    }
    *ret_goes_on = advance(reader, answer);
    *ret_answer = TAKE(answer);
    return EXIT_CODE_SUCCESS;
}

struct span message_preview(const struct remotingclient_message *message)
{
    if (!message->body) {
        return span_of(message->reason);
    }
    return utf8_cut((struct span){ message->body, message->n_body }, PREVIEW_SIZE);
}
