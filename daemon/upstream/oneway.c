#include "daemon/upstream/oneway.h"

#include "protocol/code.h"

/* Taken out below in the same turn: this is never reached but where connections fail at once. */
#define ONEWAY_WAIT_MS 1000

static void on_sent(struct pending_request *request)
{
    (void)request;
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    (void)request;
    (void)report;
}

static const struct pending_request_handler handler = {
    .on_sent = on_sent,
    .on_failure = on_failure,
};

void oneway_send(struct upstream_context *context, struct upstream_pool *pool, struct span address,
    enum pool_class class, const struct remoting_command *command)
{
    struct pending_request request;
    pending_request_init(&request, &handler);
    request.is_oneway = true;
    request.fails_fast = true;
    request.deadline_ms = clock_after(context->loop->now_ms, ONEWAY_WAIT_MS);
    const struct command_source source = { 0 };
    upstream_pool_invoke(pool, address, class, &request, command, &source);
    pending_request_cancel(context, &request);
    kept_command_deinit(&request.kept);
}

void oneway_acknowledge(struct upstream_context *context, struct upstream_pool *pool,
    struct span address, enum pool_class class, const struct receipt *receipt)
{
    char texts[RECEIPT_COMMAND_TEXTS_MAX(RECEIPT_TEXT_MAX)];
    struct ext_field fields[RECEIPT_COMMAND_FIELDS];
    struct remoting_command command = {
        .code = REQUEST_ACK_MESSAGE,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
    };
    ext_fields_init(&command.ext_fields, fields, RECEIPT_COMMAND_FIELDS);
    if (receipt_command_fields(receipt, &command.ext_fields, texts, sizeof(texts)) > 0) {
        oneway_send(context, pool, address, class, &command);
    }
}
