#include "client/dead_letter_queues.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/output.h"
#include "client/queue_offset.h"
#include "protocol/code.h"

#define TOPIC_PREFIX "%DLQ%"

struct remotingclient_request *dead_letter_queues_request_new(
    const struct dead_letter_queues *queues, int32_t code)
{
    struct remotingclient_request *request = remotingclient_request_new(code);
    if (queues->timeout_ms >= 0) {
        remotingclient_request_add_number(request, "sidecar.timeoutMillis", queues->timeout_ms);
    }
    return request;
}

/* Invokes the request and judges the answer, which is only good or not. */
static enum exit_code invoke(
    const struct dead_letter_queues *queues, struct remotingclient_request *request)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    const enum exit_code exit_code =
        command_invoke_request(queues->invocation, queues->client, request, &answer);
    return exit_code == EXIT_CODE_SUCCESS ? command_judge(answer) : exit_code;
}

static enum exit_code make_readable(
    const struct dead_letter_queues *queues, struct queue_data *queue)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request =
        dead_letter_queues_request_new(queues, REQUEST_UPDATE_AND_CREATE_TOPIC);
    queue->perm |= PERM_READ;
    queue->read_queue_nums = queue->read_queue_nums > 0 ? queue->read_queue_nums : 1;
    remotingclient_request_add(request, "sidecar.broker", queue->broker_name);
    remotingclient_request_add(request, "topic", queues->topic);
    remotingclient_request_add(request, "defaultTopic", "TBW102");
    remotingclient_request_add_number(request, "readQueueNums", queue->read_queue_nums);
    remotingclient_request_add_number(request, "writeQueueNums", queue->write_queue_nums);
    remotingclient_request_add_number(request, "perm", queue->perm);
    remotingclient_request_add(request, "topicFilterType", "SINGLE_TAG");
    remotingclient_request_add_number(request, "topicSysFlag", queue->topic_sys_flag);
    remotingclient_request_add(request, "order", "false");
    return invoke(queues, request);
}

static enum exit_code tell_unreadable(
    const struct dead_letter_queues *queues, const struct queue_data *queue)
{
    output_text(stderr, span_of(queue->broker_name), OUTPUT_ONE_LINE);
    fputs(" lets the topic ", stderr);
    output_text(stderr, span_of(queues->topic), OUTPUT_ONE_LINE);
    fputs(" be written, not read (older brokers make it so). The admin role may change that:\n"
          "  remotingctl dlq list ",
        stderr);
    output_text(stderr, span_of(queues->group), OUTPUT_ONE_LINE);
    fputs(" --make-readable\n", stderr);
    return EXIT_CODE_BROKER;
}

enum exit_code dead_letter_queues_tell_none(
    const struct dead_letter_queues *queues, const char *why)
{
    output_text(stderr, span_of(queues->group), OUTPUT_ONE_LINE);
    fprintf(stderr, " has no dead letters%s\n", why);
    return EXIT_CODE_NOTHING;
}

static enum exit_code fetch_route(struct dead_letter_queues *queues)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    const enum exit_code exit_code = command_ask_route(
        queues->invocation, queues->client, queues->topic, queues->timeout_ms, &answer);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (remotingclient_answer_code(answer) == RESPONSE_TOPIC_NOT_EXIST) {
        return dead_letter_queues_tell_none(queues, ": there is no topic for them yet");
    }
    const enum exit_code judged = command_judge(answer);
    return judged == EXIT_CODE_SUCCESS ? command_read_route(answer, &queues->route) : judged;
}

/* Where the queue begins for this run, and ends. */
static enum exit_code measure_queue(
    struct dead_letter_queues *queues, struct dead_letter_queue *queue)
{
    const struct queue_offset_question question = {
        .topic = queues->topic,
        .broker = queue->broker,
        .queue_id = queue->queue_id,
        .group = queues->reader,
        .timeout_ms = queues->timeout_ms,
    };
    const struct {
        enum queue_offset_kind kind;
        int64_t *offset;
    } questions[] = {
        { QUEUE_OFFSET_MIN, &queue->begin },
        { QUEUE_OFFSET_MAX, &queue->end },
        { QUEUE_OFFSET_GROUP, &queue->marker },
    };
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        const enum exit_code exit_code = queue_offset_ask(
            queues->invocation, queues->client, &question, questions[i].kind, questions[i].offset);
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
    }
    if (queue->marker > queue->end) {
        queue->marker = -1; /* of a store that was lost */
    }
    if (!queues->wants_all && queue->marker > queue->begin) {
        queue->begin = queue->marker;
    }
    queues->n_letters += queue->end > queue->begin ? queue->end - queue->begin : 0;
    return EXIT_CODE_SUCCESS;
}

static enum exit_code add_queues(struct dead_letter_queues *queues, const struct queue_data *data)
{
    const size_t n = (size_t)data->read_queue_nums;
    struct dead_letter_queue *rows =
        reallocarray(queues->queues, queues->n_queues + n + 1, sizeof(*queues->queues));
    if (!rows) {
        fputs("remotingctl: out of memory.\n", stderr);
        return EXIT_CODE_BROKER;
    }
    queues->queues = rows;
    for (size_t id = 0; id < n; id++) {
        struct dead_letter_queue *queue = &queues->queues[queues->n_queues++];
        *queue = (struct dead_letter_queue){ .broker = data->broker_name, .queue_id = (int64_t)id };
        const enum exit_code exit_code = measure_queue(queues, queue);
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
    }
    return EXIT_CODE_SUCCESS;
}

enum exit_code dead_letter_queues_find(struct dead_letter_queues *queues)
{
    if (asprintf(&queues->topic, "%s%s", TOPIC_PREFIX, queues->group) < 0) {
        queues->topic = NULL;
        fputs("remotingctl: out of memory.\n", stderr);
        return EXIT_CODE_BROKER;
    }
    enum exit_code exit_code = fetch_route(queues);
    for (size_t i = 0; exit_code == EXIT_CODE_SUCCESS && i < queues->route->n_queues; i++) {
        struct queue_data *data = &queues->route->queues[i];
        if (!(data->perm & PERM_READ)) {
            exit_code =
                queues->make_readable ? make_readable(queues, data) : tell_unreadable(queues, data);
        }
        if (exit_code == EXIT_CODE_SUCCESS) {
            exit_code = add_queues(queues, data);
        }
    }
    return exit_code;
}

enum exit_code dead_letter_queues_move_marker(
    const struct dead_letter_queues *queues, struct dead_letter_queue *queue, int64_t offset)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request =
        dead_letter_queues_request_new(queues, REQUEST_UPDATE_CONSUMER_OFFSET);
    remotingclient_request_add(request, "sidecar.broker", queue->broker);
    remotingclient_request_add(request, "topic", queues->topic);
    remotingclient_request_add(request, "consumerGroup", queues->reader);
    remotingclient_request_add_number(request, "queueId", queue->queue_id);
    remotingclient_request_add_number(request, "commitOffset", offset);
    const enum exit_code exit_code = invoke(queues, request);
    queue->marker = exit_code == EXIT_CODE_SUCCESS ? offset : queue->marker;
    return exit_code;
}

void dead_letter_queues_deinit(struct dead_letter_queues *queues)
{
    topic_route_free(queues->route);
    free(queues->queues);
    free(queues->topic);
}
