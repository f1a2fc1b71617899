/*
 * VIEW_MESSAGE_BY_ID and CONSUMER_SEND_MSG_BACK by the offset id of a message alone
 * (sidecar.msgId): it says which broker has it, and where. And CONSUMER_SEND_MSG_BACK from the
 * receipt of a message that was popped: it is sent back, and acknowledged when it was, for the
 * broker has a copy of it then.
 *
 * Whom a broker is to move to the dead-letter topic (delayLevel < 0) it wants to know the topic of;
 * where the caller does not say it the message is looked at first.
 */
#include "daemon/completion/invoke.h"

#include "daemon/core/permission.h"
#include "daemon/core/receipt.h"
#include "daemon/upstream/oneway.h"
#include "protocol/code.h"
#include "protocol/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct message_state {
    bool has_receipt;
    struct receipt receipt;
    bool is_looked_at; /* a VIEW is on its way, the caller's command waits */
    char address[MESSAGE_HOST_TEXT_SIZE];
    char offset[24];
    char *topic; /* of the message, found by looking */
};

static void message_on_end(struct invocation *invocation)
{
    struct message_state *state = invocation->state;
    free(state->topic);
    free(state);
    invocation->state = NULL;
}

/* --- sending --- */

static bool needs_topic(const struct invocation *invocation)
{
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    return invocation->code == REQUEST_CONSUMER_SEND_MSG_BACK &&
           span_starts_with(ext_fields_text(fields, "delayLevel"), SPAN("-")) &&
           span_is_empty(ext_fields_text(fields, "originTopic"));
}

/* The kept command as a VIEW: its other fields are nothing to a broker that is asked for a message. */
static void look(struct invocation *invocation, struct span address)
{
    struct message_state *state = invocation->state;
    state->is_looked_at = true;
    invocation->request.kept.command.code = REQUEST_VIEW_MESSAGE_BY_ID;
    invocation_send_kept(invocation, address);
}

static void message_start(struct invocation *invocation)
{
    struct message_state *state = invocation->state;
    struct span address = span_of(state->address);
    if (state->has_receipt) {
        invocation_send_to_broker(invocation, state->receipt.broker_name);
        return;
    }
    const struct command_source source = invocation_kept_source(invocation);
    if (!forward_may_address(invocation, address, "sidecar.msgId: the broker",
            &invocation->request.kept.command, &source)) {
        return;
    }
    if (needs_topic(invocation)) {
        look(invocation, address);
    } else {
        invocation_send_kept(invocation, address);
    }
}

/* --- what comes back --- */

/* The topic of the message that was looked at is known: the caller's own command goes on with it. */
static void go_on_with_topic(struct invocation *invocation, const struct remoting_command *response)
{
    struct message_state *state = invocation->state;
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct message message;
    size_t size;
    if (message_decode((const uint8_t *)response->body.data, response->body.n, &message, &size) !=
        MESSAGE_OK) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "%s has no message at the offset that sidecar.msgId names", state->address);
        return;
    }
    state->topic = strndup(message.topic.data, message.topic.n);
    if (!state->topic) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    (void)ext_fields_set(fields, SPAN("originTopic"), span_of(state->topic));
    invocation->request.kept.command.code = invocation->code;
    invocation_send_kept(invocation, span_of(state->address));
}

static void message_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    struct message_state *state = invocation->state;
    struct invoker *invoker = invocation->invoker;
    bool is_looked_at = state->is_looked_at;
    state->is_looked_at = false;
    if (is_looked_at && response->code == RESPONSE_SUCCESS) {
        go_on_with_topic(invocation, response);
        return;
    }
    if (state->has_receipt && response->code == RESPONSE_SUCCESS) {
        oneway_acknowledge(invoker->upstreams, invoker->pool, span_of(invocation->address),
            POOL_NORMAL, &state->receipt);
    }
    /* A slave may have answered, whose name no route tells. */
    const char *broker_name =
        route_table_broker_at(routes_table(invoker->routes), span_of(invocation->address));
    forward_answer(
        invocation, response, source, broker_name ? span_of(broker_name) : SPAN_ABSENT);
}

static const struct invocation_steps message_steps = {
    .on_route = message_start,
    .on_response = message_on_response,
    .on_failure = invocation_fail_report,
    .on_end = message_on_end,
};

/* --- the beginning --- */

static struct message_state *state_new(struct invocation *invocation)
{
    struct message_state *state = calloc(1, sizeof(*state));
    if (!state) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return NULL;
    }
    invocation->state = state;
    invocation->steps = &message_steps;
    return state;
}

static bool receipt_complete(struct invocation *invocation, struct message_state *state)
{
    struct ext_field fields[RECEIPT_SEND_BACK_FIELDS];
    struct ext_fields said;
    ext_fields_init(&said, fields, RECEIPT_SEND_BACK_FIELDS);
    if (!receipt_decode(invocation->sidecar.receipt, &state->receipt)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.receipt is no receipt: give back the text that came with the message, "
            "unchanged");
        return false;
    }
    if (!receipt_send_back_fields(&state->receipt, &said, state->offset, sizeof(state->offset))) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.receipt comes from an older version and does not say where the message lies: "
            "use sidecar.msgId, the offsetMsgId of the message");
        return false;
    }
    for (size_t i = 0; i < said.n; i++) {
        if (!invocation_field_from_receipt(invocation, fields[i].key, fields[i].value)) {
            return false;
        }
    }
    struct failure_report report;
    if (!invocation->role->may_everything &&
        !permission_to_command(invocation->role, invocation->code,
            &invocation->request.kept.command.ext_fields, SPAN_ABSENT, &report)) {
        invocation_fail_report(invocation, &report);
        return false;
    }
    /* A receiver would not see it again: brokers retry in a topic of classic consumers. */
    invocation_field_default(invocation, SPAN("delayLevel"), SPAN(RECEIPT_DEAD_LETTER_LEVEL));
    return true;
}

void complete_send_back_start(struct invocation *invocation)
{
    struct message_state *state = state_new(invocation);
    if (!state) {
        return;
    }
    state->has_receipt = true;
    if (receipt_complete(invocation, state)) {
        message_start(invocation);
    }
}

static bool id_complete(struct invocation *invocation, struct message_state *state)
{
    struct span id = invocation->sidecar.msg_id;
    struct message_host host;
    int64_t offset;
    if (!message_offset_id_read(id, &host, &offset)) {
        struct span shown = utf8_cut(id, 64);
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.msgId is '%.*s': the offset id of a message is accepted (32 or 56 hex digits: "
            "msgId of a send, offsetMsgId of a message); for a uniqKey add topic",
            SPAN_ARGS(shown));
        return false;
    }
    message_host_text(&host, state->address);
    (void)snprintf(state->offset, sizeof(state->offset), "%" PRId64, offset);
    return invocation_field_from_receipt(invocation, SPAN("offset"), span_of(state->offset));
}

void complete_message_start(struct invocation *invocation)
{
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct message_state *state = state_new(invocation);
    if (!state || !id_complete(invocation, state)) {
        return;
    }
    if (invocation->code == REQUEST_CONSUMER_SEND_MSG_BACK) {
        if (span_is_empty(ext_fields_text(fields, "group"))) {
            invocation_fail(invocation, FAILURE_INVALID, false,
                "CONSUMER_SEND_MSG_BACK needs the ext field group beside sidecar.msgId");
            return;
        }
        invocation_field_default(invocation, SPAN("delayLevel"), SPAN("0"));
    }
    message_start(invocation);
}
