#include "client/requeue.h"

#include <stdio.h>
#include <string.h>

#include "client/output.h"
#include "protocol/code.h"

#define FOUND_AGAIN_COUNT 64 /* messages of one UNIQ_KEY, at most, that are looked at */

static enum exit_code refuse_letter(const struct dead_letter *letter, const char *why)
{
    fputs("dead letter ", stderr);
    output_text(stderr, dead_letter_id(letter), OUTPUT_ONE_LINE);
    fprintf(stderr, " %s\n", why);
    return EXIT_CODE_BROKER;
}

static bool names_letter(
    const struct remotingclient_answer *answer, const struct dead_letter *letter)
{
    const struct span body = answer_body(answer);
    CLEANUP(json_decref)
    json_t *rows = json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (span_equals(
                json_object_text(json_object_get(row, "properties"), PROPERTY_REQUEUED_FROM),
                dead_letter_id(letter))) {
            return true;
        }
    }
    return false;
}

/* Whether the topic has a message that was made of this dead letter. */
static enum exit_code ask_whether_requeued(const struct requeue *requeue,
    const struct dead_letter *letter, struct span topic, bool *ret_is_requeued)
{
    *ret_is_requeued = false;
    if (requeue->again || !letter->message->uniq_key) {
        return EXIT_CODE_SUCCESS;
    }
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request =
        dead_letter_queues_request_new(requeue->dead, REQUEST_QUERY_MESSAGE);
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    remotingclient_request_add_sized(request, "topic", strlen("topic"), topic.data, topic.n);
    remotingclient_request_add(request, "key", letter->message->uniq_key);
    remotingclient_request_add(request, "_UNIQUE_KEY_QUERY", "true");
    remotingclient_request_add_number(request, "maxNum", FOUND_AGAIN_COUNT);
    remotingclient_request_add(request, "sidecar.answerFormat", "json");
    enum exit_code exit_code =
        command_invoke_request(requeue->dead->invocation, requeue->dead->client, request, &answer);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    const int32_t code = remotingclient_answer_code(answer);
    *ret_is_requeued = code == RESPONSE_SUCCESS && names_letter(answer, letter);
    const bool is_complete = span_equals(
        answer_field(answer, "sidecar.brokers"), answer_field(answer, "sidecar.answered"));
    if (*ret_is_requeued || code == RESPONSE_QUERY_NOT_FOUND ||
        (code == RESPONSE_SUCCESS && is_complete)) {
        return EXIT_CODE_SUCCESS;
    }
    exit_code = code == RESPONSE_SUCCESS ? EXIT_CODE_BROKER : command_judge(answer);
    (void)refuse_letter(letter,
        "may have been requeued before, and not every broker says so (--again sends it without "
        "asking)");
    return exit_code;
}

static void print_outcome(const struct requeue *requeue, const struct dead_letter *letter,
    struct span topic, json_t *msg_id)
{
    if (requeue->dead->invocation->json) {
        output_json(json_pack("{s:o, s:o, s:s, s:o}", "deadLetter",
            json_text(dead_letter_id(letter)), "topic", json_text(topic), "outcome",
            json_is_null(msg_id) ? "requeued before" : "requeued", "msgId", msg_id));
    } else {
        json_decref(msg_id);
    }
}

static enum exit_code send_letter(
    struct requeue *requeue, const struct dead_letter *letter, struct span topic)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = dead_letter_send_new(letter, topic);
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    if (requeue->dead->timeout_ms >= 0) {
        remotingclient_request_add_number(
            request, "sidecar.timeoutMillis", requeue->dead->timeout_ms);
    }
    const enum exit_code exit_code =
        command_invoke_request(requeue->dead->invocation, requeue->dead->client, request, &answer);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (!remotingclient_answer_is_stored(answer)) {
        return command_judge(answer);
    }
    requeue->n_requeued++;
    print_outcome(requeue, letter, topic, json_text(answer_field(answer, "msgId")));
    return EXIT_CODE_SUCCESS;
}

enum exit_code requeue_letter(struct requeue *requeue, const struct dead_letter *letter)
{
    const struct span topic =
        requeue->to ? span_of(requeue->to) : dead_letter_topic(letter, requeue->dead->group);
    bool is_requeued;
    if (!letter->message->body) {
        return refuse_letter(letter, "cannot be decoded (dlq show): purge -n 1 passes it over");
    }
    if (span_is_empty(topic)) {
        return refuse_letter(letter, "does not say which topic it came from: --to TOPIC");
    }
    enum exit_code exit_code = ask_whether_requeued(requeue, letter, topic, &is_requeued);
    if (exit_code == EXIT_CODE_SUCCESS && is_requeued) {
        requeue->n_before++;
        print_outcome(requeue, letter, topic, json_null());
    } else if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = send_letter(requeue, letter, topic);
    }
    return exit_code;
}
