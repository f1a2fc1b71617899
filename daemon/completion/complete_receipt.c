/* ACK_MESSAGE and CHANGE_MESSAGE_INVISIBLETIME from the receipt alone. */
#include "daemon/completion/invoke.h"

#include "daemon/core/classic_receipt.h"
#include "daemon/core/permission.h"
#include "daemon/core/receipt.h"
#include "protocol/code.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC_SIZE 600 /* a retry topic holds a group and a topic of 255 each */

struct receipt_state {
    struct receipt receipt;
    char extra_info[RECEIPT_TEXT_MAX];
    char topic[TOPIC_SIZE];
    char queue_id[16];
    char offset[24];
    char invisible_time[24];
};

static void receipt_send(struct invocation *invocation)
{
    struct receipt_state *state = invocation->state;
    invocation_send_to_broker(invocation, state->receipt.broker_name);
}

/*
 * CHANGE_MESSAGE_INVISIBLETIME: the old receipt is void, this is the new one. The broker has made a
 * checkpoint of this message alone, which begins at its own offset (changeInvisibleTimeAsync in
 * MQClientAPIImpl.java).
 */
static bool renewed_receipt(const struct receipt_state *state,
    const struct remoting_command *response, char *text, size_t text_size)
{
    struct receipt renewed = state->receipt;
    renewed.ck_queue_offset = renewed.queue_offset;
    int64_t revive_queue_id;
    const struct ext_fields *fields = &response->ext_fields;
    if (!ext_value_parse_i64(
            ext_fields_text(fields, "popTime"), 0, INT64_MAX, &renewed.pop_time_ms) ||
        !ext_value_parse_i64(
            ext_fields_text(fields, "invisibleTime"), 0, INT64_MAX, &renewed.invisible_time_ms) ||
        !ext_value_parse_i64(
            ext_fields_text(fields, "reviveQid"), INT32_MIN, INT32_MAX, &revive_queue_id)) {
        return false;
    }
    renewed.revive_queue_id = (int32_t)revive_queue_id;
    return receipt_encode(&renewed, text, text_size) > 0;
}

static void receipt_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    struct receipt_state *state = invocation->state;
    char text[RECEIPT_TEXT_MAX];
    if (invocation->code == REQUEST_CHANGE_MESSAGE_INVISIBLETIME &&
        response->code == RESPONSE_SUCCESS &&
        renewed_receipt(state, response, text, sizeof(text))) {
        (void)ext_fields_set(&response->ext_fields, SPAN("sidecar.receipt"), span_of(text));
    }
    invocation_answer(invocation, response, source->owner);
}

static const struct invocation_steps receipt_steps = {
    .on_route = receipt_send,
    .on_response = receipt_on_response,
    .on_failure = invocation_fail_report,
    .on_end = invocation_state_free,
};

static bool fields_complete(struct invocation *invocation, struct receipt_state *state)
{
    const struct receipt *receipt = &state->receipt;
    if (receipt_extra_info(receipt, state->extra_info, sizeof(state->extra_info)) == 0 ||
        receipt_real_topic(receipt, state->topic, sizeof(state->topic)) == 0) {
        invocation_fail(
            invocation, FAILURE_INVALID, false, "sidecar.receipt names what is too long");
        return false;
    }
    (void)snprintf(state->queue_id, sizeof(state->queue_id), "%" PRId32, receipt->queue_id);
    (void)snprintf(state->offset, sizeof(state->offset), "%" PRId64, receipt->queue_offset);
    if (!invocation_field_from_receipt(invocation, SPAN("consumerGroup"), receipt->group) ||
        !invocation_field_from_receipt(invocation, SPAN("topic"), span_of(state->topic)) ||
        !invocation_field_from_receipt(invocation, SPAN("queueId"), span_of(state->queue_id)) ||
        !invocation_field_from_receipt(invocation, SPAN("extraInfo"), span_of(state->extra_info)) ||
        !invocation_field_from_receipt(invocation, SPAN("offset"), span_of(state->offset))) {
        return false;
    }
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    if (invocation->code == REQUEST_CHANGE_MESSAGE_INVISIBLETIME &&
        span_is_absent(ext_fields_text(fields, "invisibleTime"))) {
        (void)snprintf(state->invisible_time, sizeof(state->invisible_time), "%" PRIu64,
            invocation->invoker->config->consume.invisible_time_ms);
        (void)ext_fields_add(fields, SPAN("invisibleTime"), span_of(state->invisible_time));
    }
    (void)ext_fields_set(fields, SPAN("bname"), receipt->broker_name);
    return true;
}

void complete_receipt_start(struct invocation *invocation)
{
    if (invocation->code != REQUEST_ACK_MESSAGE &&
        invocation->code != REQUEST_CHANGE_MESSAGE_INVISIBLETIME) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "code %d takes no sidecar.receipt: CONSUMER_SEND_MSG_BACK (36), END_TRANSACTION (37), "
            "ACK_MESSAGE (200051) and CHANGE_MESSAGE_INVISIBLETIME (200053) do, and "
            "BATCH_ACK_MESSAGE (200151) an array of them as its body",
            (int)invocation->code);
        return;
    }
    struct classic_receipt classic;
    if (classic_receipt_decode(invocation->sidecar.receipt, &classic)) {
        complete_classic_receipt_start(invocation, &classic);
        return;
    }
    struct receipt_state *state = calloc(1, sizeof(*state));
    if (!state) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    invocation->state = state;
    invocation->steps = &receipt_steps;
    if (!receipt_decode(invocation->sidecar.receipt, &state->receipt)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.receipt is no receipt: give back the text that came with the message, "
            "unchanged");
        return;
    }
    struct failure_report report;
    if (!invocation->role->may_everything &&
        !permission_to_consume(
            invocation->role, state->receipt.topic, state->receipt.group, &report)) {
        invocation_fail_report(invocation, &report);
        return;
    }
    if (fields_complete(invocation, state)) {
        receipt_send(invocation);
    }
}
