/*
 * BATCH_ACK_MESSAGE with receipts: its body is a JSON array of them. Each becomes an ACK_MESSAGE to
 * the broker that it names, all of them at once, and the answer is an array in the same order that
 * says what became of each. RocketMQ's own batch has one code for all and passes over what it cannot
 * acknowledge; one that names its broker passes through as it is (forward.c).
 */
#include "daemon/completion/invoke.h"

#include "daemon/core/permission.h"
#include "daemon/core/receipt.h"
#include "protocol/code.h"
#include "protocol/json_values.h"
#include "protocol/utf8.h"

#include <jansson.h>
#include <stdlib.h>

#define BATCH_RECEIPTS_MAX 1024
/* Every receipt with its quotes and comma. A longer body is not even read. */
#define BATCH_BODY_MAX (BATCH_RECEIPTS_MAX * (RECEIPT_TEXT_MAX + 3))
/* So much of a broker's remark is told. */
#define BATCH_REMARK_MAX 256

struct batch_item {
    struct pending_request request;
    struct batch *batch;
    json_t *row;  /* of the answer: receipt, code, remark, error */
    bool is_told; /* the row is complete */
    struct receipt receipt;
};

struct batch {
    struct invocation *invocation;
    json_t *given; /* what the receipts point into */
    json_t *rows;
    struct frame_buffer *memory; /* of the items and the texts behind them */
    struct batch_item *items;
    size_t n;
    size_t n_left;      /* not told yet */
    bool is_incomplete; /* a row found no memory for what it has to tell */
    char *texts;
    size_t texts_size;
    struct loop_reapable reapable;
};

static void on_reap(struct loop_reapable *reapable)
{
    struct batch *batch =
        (struct batch *)(void *)((char *)reapable - offsetof(struct batch, reapable));
    json_decref(batch->given);
    json_decref(batch->rows);
    frame_buffer_unref(batch->memory);
    free(batch);
}

/* Who calls may stand on one of the requests: their memory stays until the end of the turn. */
static void batch_on_end(struct invocation *invocation)
{
    struct batch *batch = invocation->state;
    struct invoker *invoker = invocation->invoker;
    for (size_t i = 0; i < batch->n; i++) {
        pending_request_cancel(invoker->upstreams, &batch->items[i].request);
        kept_command_deinit(&batch->items[i].request.kept);
    }
    invoker->n_in_flight -= batch->n;
    invocation->state = NULL;
    loop_reap(invoker->loop, &batch->reapable, on_reap);
}

static void batch_answer(struct batch *batch)
{
    invocation_answer_rows(batch->invocation, batch->is_incomplete ? NULL : batch->rows);
}

/* --- what became of one --- */

static void item_tell(struct batch_item *item, int32_t code, struct span remark, const char *error)
{
    struct span shown = utf8_cut(remark, BATCH_REMARK_MAX);
    json_t *text = json_stringn_nocheck(shown.data ? shown.data : "", shown.n);
    if (json_object_set_new_nocheck(item->row, "code", json_integer(code)) < 0 ||
        json_object_set_new_nocheck(item->row, "remark", text) < 0 ||
        (error &&
            json_object_set_new_nocheck(item->row, "error", json_string_nocheck(error)) < 0)) {
        item->batch->is_incomplete = true;
    }
    item->is_told = true;
    item->batch->n_left--;
}

static void item_fail(struct batch_item *item, const struct failure_report *report)
{
    item_tell(
        item, failure_code(report->failure), span_of(report->cause), failure_name(report->failure));
}

static struct batch_item *item_of(struct pending_request *request)
{
    return (struct batch_item *)(void *)((char *)request - offsetof(struct batch_item, request));
}

static void on_item_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    (void)source;
    struct batch_item *item = item_of(request);
    item_tell(item, response->code, response->remark, NULL);
    if (item->batch->n_left == 0) {
        batch_answer(item->batch);
    }
}

static void on_item_failure(struct pending_request *request, const struct failure_report *report)
{
    struct batch_item *item = item_of(request);
    item_fail(item, report);
    if (item->batch->n_left == 0) {
        batch_answer(item->batch);
    }
}

static const struct pending_request_handler item_handler = {
    .on_response = on_item_response,
    .on_failure = on_item_failure,
};

/* --- sending --- */

static void item_send(struct batch_item *item, const char *address)
{
    struct batch *batch = item->batch;
    struct invocation *invocation = batch->invocation;
    struct ext_field fields[RECEIPT_COMMAND_FIELDS];
    struct remoting_command command = {
        .code = REQUEST_ACK_MESSAGE,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
    };
    ext_fields_init(&command.ext_fields, fields, RECEIPT_COMMAND_FIELDS);
    size_t used = receipt_command_fields(
        &item->receipt, &command.ext_fields, batch->texts, batch->texts_size);
    if (used == 0) {
        item_tell(item, RESPONSE_MESSAGE_ILLEGAL, SPAN("the receipt names what is too long"),
            failure_name(FAILURE_INVALID));
        return;
    }
    batch->texts += used;
    batch->texts_size -= used;
    item->request.deadline_ms = invocation->deadline_ms;
    const struct command_source source = { 0 };
    upstream_pool_invoke(invocation->invoker->pool, span_of(address), POOL_NORMAL, &item->request,
        &command, &source);
}

/* Whether a broker is named that only a fresh cluster table may know. */
static bool has_to_wait(const struct batch *batch)
{
    const struct invocation *invocation = batch->invocation;
    struct routes *routes = invocation->invoker->routes;
    if (invocation->has_waited || routes_cluster_is_fresh(routes)) {
        return false;
    }
    for (size_t i = 0; i < batch->n; i++) {
        const struct batch_item *item = &batch->items[i];
        bool is_known;
        if (!item->is_told &&
            !route_table_master(routes_table(routes), item->receipt.broker_name, &is_known)) {
            return true;
        }
    }
    return false;
}

static void batch_send(struct invocation *invocation)
{
    struct batch *batch = invocation->state;
    struct routes *routes = invocation->invoker->routes;
    if (has_to_wait(batch)) {
        invocation_wait_route(invocation, SPAN_ABSENT);
        return;
    }
    /* What fails at once must not answer before the last one was sent. */
    batch->n_left++;
    for (size_t i = 0; i < batch->n; i++) {
        struct batch_item *item = &batch->items[i];
        if (item->is_told) {
            continue;
        }
        bool is_known;
        const char *address =
            route_table_master(routes_table(routes), item->receipt.broker_name, &is_known);
        if (address) {
            item_send(item, address);
            continue;
        }
        struct failure_report report;
        failure_set(&report, FAILURE_NO_BROKER, false,
            is_known ? "broker %.*s has no master at present"
                     : "the nameservers know no broker %.*s",
            SPAN_ARGS(item->receipt.broker_name));
        item_fail(item, &report);
    }
    invocation->maybe_sent = true;
    if (--batch->n_left == 0) {
        batch_answer(batch);
    }
}

static const struct invocation_steps batch_steps = {
    .on_route = batch_send,
    .on_end = batch_on_end,
};

/* --- the beginning --- */

/* The array, or NULL: then the invocation has failed. */
static json_t *receipts_read(struct invocation *invocation)
{
    struct span body = invocation->request.kept.command.body;
    json_t *given = NULL;
    /* What is parsed is kept until the last answer: an array of texts has no more values than this. */
    if (body.n > 0 && body.n <= BATCH_BODY_MAX &&
        json_values_count(body) <= BATCH_RECEIPTS_MAX + 1) {
        given = json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES, NULL);
    }
    size_t n = json_is_array(given) ? json_array_size(given) : 0;
    if (n == 0 || n > BATCH_RECEIPTS_MAX) {
        json_decref(given);
        invocation_fail(invocation, FAILURE_INVALID, false,
            "the body of BATCH_ACK_MESSAGE is no JSON array of 1 to %d receipts; with bname or "
            "sidecar.broker it is RocketMQ's own",
            BATCH_RECEIPTS_MAX);
        return NULL;
    }
    return given;
}

/* False without memory: every receipt has its row in the answer, or there is none. */
static bool item_init(struct batch *batch, size_t i)
{
    struct batch_item *item = &batch->items[i];
    json_t *text = json_array_get(batch->given, i);
    item->batch = batch;
    item->is_told = false;
    item->row = json_object();
    if (json_array_append_new(batch->rows, item->row) < 0 ||
        json_object_set_nocheck(item->row, "receipt", text) < 0) {
        return false;
    }
    pending_request_init(&item->request, &item_handler);
    item->request.session_id = batch->invocation->session_id;
    if (!json_is_string(text) ||
        !receipt_decode(
            (struct span){ json_string_value(text), json_string_length(text) }, &item->receipt)) {
        item_tell(item, RESPONSE_MESSAGE_ILLEGAL,
            SPAN("this is no receipt: give back the text that came with the message, unchanged"),
            failure_name(FAILURE_INVALID));
    }
    return true;
}

/* One receipt that the caller may not acknowledge refuses them all: nobody comes by it honestly. */
static bool batch_is_permitted(struct batch *batch)
{
    struct invocation *invocation = batch->invocation;
    struct failure_report report;
    for (size_t i = 0; i < batch->n && !invocation->role->may_everything; i++) {
        const struct batch_item *item = &batch->items[i];
        if (!item->is_told && !permission_to_consume(invocation->role, item->receipt.topic,
                                  item->receipt.group, &report)) {
            invocation_fail_report(invocation, &report);
            return false;
        }
    }
    return true;
}

static bool batch_init(struct batch *batch)
{
    size_t items_size = batch->n * sizeof(struct batch_item);
    for (size_t i = 0; i < batch->n; i++) {
        batch->texts_size +=
            RECEIPT_COMMAND_TEXTS_MAX(json_string_length(json_array_get(batch->given, i)));
    }
    batch->rows = json_array();
    batch->memory =
        frame_buffer_new(batch->invocation->invoker->memory, items_size + batch->texts_size);
    if (!batch->rows || !batch->memory) {
        return false;
    }
    batch->items = (struct batch_item *)(void *)batch->memory->data;
    batch->texts = (char *)batch->memory->data + items_size;
    batch->n_left = batch->n;
    for (size_t i = 0; i < batch->n; i++) {
        if (!item_init(batch, i)) {
            return false;
        }
    }
    return true;
}

void complete_batch_ack_start(struct invocation *invocation)
{
    struct invoker *invoker = invocation->invoker;
    json_t *given = receipts_read(invocation);
    if (!given) {
        return;
    }
    size_t n = json_array_size(given);
    if (invoker->n_in_flight + n > invoker->config->limits.max_in_flight) {
        json_decref(given);
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "%zu receipts and %zu requests in flight are too many (limits.max_in_flight)", n,
            invoker->n_in_flight);
        return;
    }
    struct batch *batch = calloc(1, sizeof(*batch));
    if (!batch) {
        json_decref(given);
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    batch->invocation = invocation;
    batch->given = given;
    batch->n = n;
    if (!batch_init(batch)) {
        on_reap(&batch->reapable);
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "no memory for %zu receipts (limits.total_memory)", n);
        return;
    }
    invoker->n_in_flight += n;
    invocation->state = batch;
    invocation->steps = &batch_steps;
    if (batch_is_permitted(batch)) {
        batch_send(invocation);
    }
}
