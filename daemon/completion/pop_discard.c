#include "daemon/completion/pop_discard.h"

#include "daemon/loop/log.h"
#include "daemon/upstream/oneway.h"
#include "protocol/address.h"
#include "protocol/code.h"

#include <stdio.h>
#include <stdlib.h>

struct dead_letter {
    struct pop_discards *discards;
    struct pending_request request;
    struct loop_reapable reapable;
    struct receipt receipt; /* points into text */
    char text[RECEIPT_TEXT_MAX];
    char address[ADDRESS_TEXT_MAX];
    char offset[24]; /* as long as its command waits for a connection */
};

void pop_discard_acknowledge(
    struct pop_discards *discards, struct span address, const struct receipt *receipt)
{
    discards->context->stats->pop_filtered++;
    oneway_acknowledge(discards->context, discards->pool, address, POOL_LONG_POLL, receipt);
}

static struct dead_letter *letter_of(struct pending_request *request)
{
    return (struct dead_letter *)(void *)((char *)request - offsetof(struct dead_letter, request));
}

static void on_reap(struct loop_reapable *reapable)
{
    struct dead_letter *letter =
        (struct dead_letter *)(void *)((char *)reapable - offsetof(struct dead_letter, reapable));
    kept_command_deinit(&letter->request.kept);
    free(letter);
}

/* cause: NULL, or why the message was not moved. */
static void letter_end(struct dead_letter *letter, const char *cause)
{
    struct pop_discards *discards = letter->discards;
    const struct receipt *receipt = &letter->receipt;
    uint64_t second = discards->context->loop->now_ms / 1000;
    if (cause && second == discards->logged_second) {
        log_debug("another message not moved to its dead-letter topic");
    } else if (cause) {
        discards->logged_second = second;
        char quoted[LOG_QUOTE_SIZE];
        log_warning("group=%.*s topic=%.*s broker=%.*s physical_offset=%lld not moved to its "
                    "dead-letter topic: %s",
            SPAN_ARGS(receipt->group), SPAN_ARGS(receipt->topic), SPAN_ARGS(receipt->broker_name),
            (long long)receipt->physical_offset, log_quote(cause, strlen(cause), quoted));
    } else {
        discards->context->stats->pop_dead_lettered++;
        oneway_acknowledge(
            discards->context, discards->pool, span_of(letter->address), POOL_NORMAL, receipt);
    }
    discards->n--;
    loop_reap(discards->context->loop, &letter->reapable, on_reap);
}

static void on_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    (void)source;
    char cause[160];
    (void)snprintf(cause, sizeof(cause), "the broker answered code %d: %.*s", (int)response->code,
        (int)(response->remark.n < 96 ? response->remark.n : 96),
        response->remark.data ? response->remark.data : "");
    letter_end(letter_of(request), response->code == RESPONSE_SUCCESS ? NULL : cause);
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    letter_end(letter_of(request), report->cause);
}

static const struct pending_request_handler handler = {
    .on_response = on_response,
    .on_failure = on_failure,
};

static void letter_send(struct dead_letter *letter)
{
    struct pop_discards *discards = letter->discards;
    struct ext_field fields[RECEIPT_SEND_BACK_FIELDS + 1];
    struct remoting_command command = {
        .code = REQUEST_CONSUMER_SEND_MSG_BACK,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
    };
    ext_fields_init(&command.ext_fields, fields, RECEIPT_SEND_BACK_FIELDS + 1);
    (void)receipt_send_back_fields(
        &letter->receipt, &command.ext_fields, letter->offset, sizeof(letter->offset));
    (void)ext_fields_add(&command.ext_fields, SPAN("delayLevel"), SPAN(RECEIPT_DEAD_LETTER_LEVEL));
    const struct command_source source = { 0 };
    upstream_pool_invoke(
        discards->pool, span_of(letter->address), POOL_NORMAL, &letter->request, &command, &source);
}

void pop_discard_dead_letter(struct pop_discards *discards, struct span address,
    const struct receipt *receipt, uint64_t timeout_ms)
{
    if (discards->n >= POP_DEAD_LETTERS_MAX || address.n >= ADDRESS_TEXT_MAX) {
        return;
    }
    struct dead_letter *letter = calloc(1, sizeof(*letter));
    size_t n = letter ? receipt_encode(receipt, letter->text, sizeof(letter->text)) : 0;
    if (n == 0 || !receipt_decode((struct span){ letter->text, n }, &letter->receipt)) {
        free(letter);
        return;
    }
    (void)snprintf(letter->address, sizeof(letter->address), "%.*s", SPAN_ARGS(address));
    letter->discards = discards;
    pending_request_init(&letter->request, &handler);
    letter->request.deadline_ms = clock_after(discards->context->loop->now_ms, timeout_ms);
    discards->n++;
    letter_send(letter);
}
