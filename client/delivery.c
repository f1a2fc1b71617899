#include "client/delivery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/interrupt.h"
#include "client/receive.h"
#include "protocol/code.h"

DEFINE_CLEANUP(char *, free)

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 5000

enum outcome {
    OUTCOME_STORED,
    OUTCOME_REFUSED, /* not stored, and never will be as it stands */
    OUTCOME_FAILED,  /* not stored, and another try may go better */
    OUTCOME_UNKNOWN, /* perhaps stored */
};

/* --- the files --- */

static bool open_source(struct delivery *delivery, const char *path)
{
    const int r = undelivered_open_to_send(path, &delivery->source);
    if (r == 0) {
        delivery->keeps_in_source =
            !delivery->undelivered || undelivered_is_same(delivery->source, delivery->undelivered);
        return true;
    }
    if (r == -EBUSY) {
        fprintf(stderr, "remotingctl: another process is sending %s.\n", path);
        delivery->exit_code = EXIT_CODE_UNDELIVERED;
    } else if (r != -ENOENT) {
        fprintf(stderr, "remotingctl: %s cannot be sent (%s).\n", path, strerror(-r));
        delivery->exit_code = EXIT_CODE_USAGE;
    }
    return false;
}

bool delivery_init(
    struct delivery *delivery, const struct delivery_options *options, const char *from_path)
{
    *delivery = (struct delivery){ .options = options, .pause_ms = PAUSE_MIN_MS };
    const char *path = options->undelivered_path;
    const int r = path ? undelivered_open(path, &delivery->undelivered) : 0;
    if (r < 0) {
        fprintf(stderr, "remotingctl: %s cannot be written (%s).\n", path, strerror(-r));
        delivery->exit_code = EXIT_CODE_USAGE;
        return false;
    }
    if (from_path && !open_source(delivery, from_path)) {
        return false;
    }
    interrupt_catch();
    return true;
}

void delivery_deinit(struct delivery *delivery)
{
    delivery->client = remotingclient_free(delivery->client);
    delivery->undelivered = undelivered_free(delivery->undelivered);
    delivery->source = undelivered_free(delivery->source);
}

static bool has_file(const struct delivery *delivery)
{
    return delivery->undelivered || delivery->source;
}

static void write_line(struct delivery *delivery, struct span line)
{
    const int r = delivery->keeps_in_source ? undelivered_keep(delivery->source, line)
                                            : undelivered_add(delivery->undelivered, line);
    if (r < 0) {
        fprintf(
            stderr, "remotingctl: what was not delivered cannot be written (%s).\n", strerror(-r));
        delivery->is_file_broken = true;
    }
}

static void write_letter(struct delivery *delivery, const struct letter *letter)
{
    CLEANUP(free) char *line = letter_text(letter);
    if (line) {
        write_line(delivery, span_of(line));
    } else {
        fputs("remotingctl: there is no memory to write what was not delivered.\n", stderr);
        delivery->is_file_broken = true;
    }
}

void delivery_count_lost(struct delivery *delivery)
{
    delivery->n_failed++;
    delivery->is_file_broken = true;
}

/* --- one try --- */

void delivery_add_fields(
    const struct delivery_options *options, struct remotingclient_request *request)
{
    if (options->timeout_ms >= 0) {
        remotingclient_request_add_number(request, "sidecar.timeoutMillis", options->timeout_ms);
    }
    if (options->at_least_once) {
        remotingclient_request_add(request, "sidecar.retry", "at-least-once");
    }
}

/* A daemon that went away between two letters has not got the second one. */
static void leave_if_closed(struct delivery *delivery)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    (void)remotingclient_step(delivery->client);
    const int r = remotingclient_take(delivery->client, &answer);
    if (r < 0 && r != -EAGAIN) {
        delivery->client = remotingclient_free(delivery->client);
    }
}

/* Which is told; those that follow are quiet. */
static bool is_first_failure(const struct delivery *delivery)
{
    return delivery->failing_since_ms == 0;
}

static enum outcome connect_again(struct delivery *delivery)
{
    const struct invocation *invocation = delivery->options->invocation;
    const int r = remotingclient_new(invocation->socket_path, &delivery->client);
    if (r == 0) {
        return OUTCOME_STORED;
    }
    if (is_first_failure(delivery)) {
        fprintf(stderr, "remotingctl: no daemon listens at %s (%s).\n", invocation->socket_path,
            strerror(-r));
    }
    if (delivery->exit_code == EXIT_CODE_SUCCESS) {
        delivery->exit_code = EXIT_CODE_NO_DAEMON;
    }
    /* Nobody opens a socket to us while we wait. */
    delivery->has_given_up |= r == -EACCES || r == -EPERM;
    return OUTCOME_FAILED;
}

static enum outcome judge(const struct remotingclient_answer *answer)
{
    struct remotingclient_failure failure;
    if (remotingclient_answer_is_stored(answer) ||
        !remotingclient_answer_failure(answer, &failure)) {
        return OUTCOME_STORED;
    }
    if (failure.error) {
        const bool passes = receive_may_pass_later(answer);
        return failure.sent == REMOTINGCLIENT_SENT_MAYBE ? OUTCOME_UNKNOWN
               : passes                                  ? OUTCOME_FAILED
                                                         : OUTCOME_REFUSED;
    }
    switch (failure.code) {
    case RESPONSE_SYSTEM_ERROR: /* it failed in the broker, before or behind the storing */
        return OUTCOME_UNKNOWN;
    case RESPONSE_SYSTEM_BUSY:
    case RESPONSE_SERVICE_NOT_AVAILABLE:
    case RESPONSE_FLOW_CONTROL:
    case RESPONSE_GO_AWAY:
        return OUTCOME_FAILED;
    default:
        return OUTCOME_REFUSED;
    }
}

static struct remotingclient_request *request_new(
    const struct delivery *delivery, const struct letter *letter)
{
    struct remotingclient_request *request = letter_request_new(letter);
    delivery_add_fields(delivery->options, request);
    return request;
}

static enum outcome judge_broken(struct delivery *delivery, int error)
{
    const enum exit_code exit_code =
        command_report_broken(delivery->options->invocation, delivery->client, error);
    if (delivery->exit_code == EXIT_CODE_SUCCESS) {
        delivery->exit_code = exit_code;
    }
    if (error == -EMSGSIZE || error == -EINVAL) {
        return OUTCOME_REFUSED;
    }
    delivery->client = remotingclient_free(delivery->client);
    return OUTCOME_UNKNOWN;
}

static enum outcome try_once(struct delivery *delivery, struct letter *letter, const char *prefix,
    struct remotingclient_answer **ret_answer)
{
    *ret_answer = remotingclient_answer_free(*ret_answer);
    if (delivery->client) {
        leave_if_closed(delivery);
    }
    if (!delivery->client && connect_again(delivery) != OUTCOME_STORED) {
        return OUTCOME_FAILED;
    }
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = request_new(delivery, letter);
    const int r = remotingclient_call(delivery->client, request, ret_answer);
    if (r < 0) {
        return judge_broken(delivery, r);
    }
    const enum outcome outcome = judge(*ret_answer);
    const char *uniq_key = remotingclient_answer_field(*ret_answer, "sidecar.uniqKey");
    if (outcome != OUTCOME_STORED) {
        if (uniq_key) {
            letter_set_uniq_key(letter, uniq_key);
        }
        if (is_first_failure(delivery) || outcome != OUTCOME_FAILED) {
            const enum exit_code exit_code = command_report_failure(*ret_answer, prefix);
            delivery->exit_code =
                delivery->exit_code == EXIT_CODE_SUCCESS ? exit_code : delivery->exit_code;
        }
    }
    return outcome;
}

/* --- until nothing more can be done --- */

static void pause_sending(
    struct delivery *delivery, uint64_t most_ms, const struct remotingclient_answer *answer)
{
    struct remotingclient_failure failure = { .retry_after_ms = -1 };
    (void)(answer && remotingclient_answer_failure(answer, &failure));
    uint64_t pause_ms = delivery->pause_ms;
    if (failure.retry_after_ms > 0 && (uint64_t)failure.retry_after_ms > pause_ms) {
        pause_ms = (uint64_t)failure.retry_after_ms;
    }
    pause_ms = pause_ms < most_ms ? pause_ms : most_ms;
    (void)interrupt_poll(NULL, 0, (int64_t)pause_ms);
    delivery->pause_ms *= 2;
    if (delivery->pause_ms > PAUSE_MAX_MS) {
        delivery->pause_ms = PAUSE_MAX_MS;
    }
}

/* Gives up when nothing was delivered for so long. */
static uint64_t note_failure(struct delivery *delivery)
{
    const uint64_t now = clock_now_ms();
    const uint64_t retry_for_ms = (uint64_t)delivery->options->retry_for_ms;
    if (delivery->failing_since_ms == 0) {
        delivery->failing_since_ms = now;
        if (retry_for_ms > 0) {
            fprintf(stderr, "remotingctl: trying again for %" PRIu64 " s.\n",
                (retry_for_ms + 999) / 1000);
        }
    }
    const uint64_t end = delivery->failing_since_ms + retry_for_ms;
    delivery->has_given_up |= interrupt_came() || now >= end;
    return now < end ? end - now : 0;
}

static enum outcome send_until(struct delivery *delivery, struct letter *letter, const char *prefix,
    struct remotingclient_answer **ret_answer)
{
    bool may_be_sent = letter->may_be_sent;
    for (;;) {
        const enum outcome outcome = try_once(delivery, letter, prefix, ret_answer);
        may_be_sent |= outcome == OUTCOME_UNKNOWN;
        if (outcome == OUTCOME_STORED || outcome == OUTCOME_REFUSED) {
            delivery->failing_since_ms = 0;
            delivery->pause_ms = PAUSE_MIN_MS;
            return outcome == OUTCOME_REFUSED && may_be_sent ? OUTCOME_UNKNOWN : outcome;
        }
        const uint64_t left_ms = note_failure(delivery);
        if (delivery->has_given_up ||
            (outcome == OUTCOME_UNKNOWN && !delivery->options->at_least_once)) {
            return may_be_sent ? OUTCOME_UNKNOWN : outcome;
        }
        pause_sending(delivery, left_ms, *ret_answer);
    }
}

/* What was perhaps stored by an earlier run is sent again only where it may arrive twice. */
static bool may_try(const struct delivery *delivery, const struct letter *letter)
{
    return !delivery->has_given_up && !interrupt_came() &&
           (delivery->options->at_least_once || !letter->may_be_sent) &&
           !(delivery->holds_order && letter_has_order(letter));
}

void delivery_send(struct delivery *delivery, struct letter *letter, const char *prefix,
    struct remotingclient_answer **ret_answer)
{
    enum outcome outcome = letter->may_be_sent ? OUTCOME_UNKNOWN : OUTCOME_FAILED;
    if (may_try(delivery, letter)) {
        outcome = send_until(delivery, letter, prefix, ret_answer);
    }
    if (outcome == OUTCOME_STORED) {
        delivery->n_sent++;
        return;
    }
    delivery->n_failed++;
    delivery->n_unknown += outcome == OUTCOME_UNKNOWN;
    delivery->holds_order |= outcome == OUTCOME_UNKNOWN && letter_has_order(letter);
    letter->may_be_sent = outcome == OUTCOME_UNKNOWN;
    if (has_file(delivery)) {
        write_letter(delivery, letter);
    }
}

void delivery_send_file(struct delivery *delivery)
{
    struct span line;
    uint64_t number = 0;
    int r;
    while ((r = undelivered_next(delivery->source, &line)) == 0) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        struct letter letter;
        const char *problem;
        char prefix[40];
        (void)snprintf(prefix, sizeof(prefix), "line %" PRIu64 ": ", ++number);
        if (letter_read(line, &letter, &problem)) {
            delivery_send(delivery, &letter, prefix, &answer);
            letter_deinit(&letter);
        } else if (line.n > 0) {
            fprintf(stderr, "%snot sent, and kept: %s\n", prefix, problem);
            delivery->n_failed++;
            write_line(delivery, line);
        }
    }
    if (r != -ENODATA) {
        fprintf(stderr, "remotingctl: the file cannot be read (%s).\n", strerror(-r));
        delivery->is_file_broken = true;
    }
}

static void sync_files(struct delivery *delivery)
{
    int r = delivery->undelivered ? undelivered_sync(delivery->undelivered) : 0;
    /* A file that could not be read or written to its end keeps all that it had. */
    if (r == 0 && delivery->source && !delivery->is_file_broken) {
        r = undelivered_replace(delivery->source);
    }
    if (r < 0) {
        fprintf(
            stderr, "remotingctl: what was not delivered cannot be written (%s).\n", strerror(-r));
        delivery->is_file_broken = true;
    }
}

static void report(const struct delivery *delivery)
{
    fprintf(stderr, "sent %" PRIu64 ", failed %" PRIu64, delivery->n_sent, delivery->n_failed);
    if (delivery->n_unknown > 0) {
        fprintf(stderr, ", perhaps stored %" PRIu64, delivery->n_unknown);
    }
    fputc('\n', stderr);
}

enum exit_code delivery_finish(struct delivery *delivery)
{
    sync_files(delivery);
    if (delivery->n_sent + delivery->n_failed > 1 || delivery->n_failed > 0) {
        report(delivery);
    }
    if (delivery->is_file_broken) {
        return EXIT_CODE_BROKER;
    }
    if (delivery->n_failed == 0) {
        return EXIT_CODE_SUCCESS;
    }
    if (has_file(delivery)) {
        return delivery->n_unknown > 0 ? EXIT_CODE_UNKNOWN : EXIT_CODE_UNDELIVERED;
    }
    return delivery->exit_code == EXIT_CODE_SUCCESS ? EXIT_CODE_DAEMON : delivery->exit_code;
}
