/*
 * ACK_MESSAGE and CHANGE_MESSAGE_INVISIBLETIME of a message that came by the classic road
 * (classic.h): the daemon keeps who has what. An acknowledgement that moves the group's offset
 * becomes UPDATE_CONSUMER_OFFSET, and is answered when the broker has stored it, and what moved it
 * further meanwhile; all else is answered here.
 */
#include "daemon/completion/invoke.h"

#include "daemon/core/permission.h"
#include "daemon/completion/classic.h"
#include "protocol/code.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct acknowledge_state {
    struct classic_receipt receipt;
    bool is_committing;
    int64_t committed; /* that is being told */
    char queue_id[16];
    char offset[24];
};

static void acknowledge_on_end(struct invocation *invocation)
{
    struct acknowledge_state *state = invocation->state;
    if (state->is_committing) {
        classic_commit_end(invocation->invoker->classic, &state->receipt);
    }
    invocation_state_free(invocation);
}

static void answer_success(struct invocation *invocation, struct span receipt)
{
    struct ext_field fields[1];
    struct remoting_command answer = {
        .code = RESPONSE_SUCCESS,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
    };
    ext_fields_init(&answer.ext_fields, fields, 1);
    if (!span_is_empty(receipt)) {
        (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.receipt"), receipt);
    }
    invocation_answer(invocation, &answer, NULL);
}

static void fail_not_here(struct invocation *invocation)
{
    invocation_fail(invocation, FAILURE_INVALID, false,
        "this daemon does not have the message of sidecar.receipt any more (it was started anew, "
        "or "
        "has lost the queue to another one): it comes again");
}

static void offset_send(struct invocation *invocation)
{
    const struct acknowledge_state *state = invocation->state;
    invocation_send_to_broker(invocation, state->receipt.broker_name);
}

/* The kept command becomes another one; what it points into lives as long as it. */
static void offset_update(struct invocation *invocation)
{
    struct acknowledge_state *state = invocation->state;
    const struct classic_receipt *receipt = &state->receipt;
    struct remoting_command *command = &invocation->request.kept.command;
    (void)snprintf(state->queue_id, sizeof(state->queue_id), "%" PRId32, receipt->queue_id);
    (void)snprintf(state->offset, sizeof(state->offset), "%" PRId64, state->committed);
    command->code = REQUEST_UPDATE_CONSUMER_OFFSET;
    command->body = SPAN_ABSENT;
    command->ext_fields.n = 0;
    (void)ext_fields_add(&command->ext_fields, SPAN("consumerGroup"), receipt->group);
    (void)ext_fields_add(&command->ext_fields, SPAN("topic"), receipt->topic);
    (void)ext_fields_add(&command->ext_fields, SPAN("queueId"), span_of(state->queue_id));
    (void)ext_fields_add(&command->ext_fields, SPAN("commitOffset"), span_of(state->offset));
    offset_send(invocation);
}

static void acknowledge(struct invocation *invocation)
{
    struct acknowledge_state *state = invocation->state;
    switch (classic_acknowledge(invocation->invoker->classic, &state->receipt, &state->committed)) {
    case CLASSIC_NOT_HERE:
        fail_not_here(invocation);
        return;
    case CLASSIC_TAKEN:
        answer_success(invocation, SPAN_ABSENT);
        return;
    case CLASSIC_MOVED:
        state->is_committing = true;
        offset_update(invocation);
        return;
    }
}

static void change_invisible_time(struct invocation *invocation)
{
    const struct acknowledge_state *state = invocation->state;
    const struct invoker *invoker = invocation->invoker;
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    int64_t invisible_ms = (int64_t)invoker->config->consume.invisible_time_ms;
    struct span given = ext_fields_text(fields, "invisibleTime");
    if (!span_is_absent(given) && !ext_value_parse_i64(given, 0, INT32_MAX, &invisible_ms)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "invisibleTime is '%.*s': milliseconds from 0 on are accepted",
            (int)(given.n < 32 ? given.n : 32), given.data);
    } else if (!classic_delay(invoker->classic, &state->receipt,
                   clock_after(invoker->loop->now_ms, (uint64_t)invisible_ms))) {
        fail_not_here(invocation);
    } else {
        answer_success(invocation, invocation->sidecar.receipt);
    }
}

static void acknowledge_on_response(struct invocation *invocation,
    struct remoting_command *response, const struct command_source *source)
{
    struct acknowledge_state *state = invocation->state;
    if (response->code == RESPONSE_SUCCESS) {
        state->is_committing = classic_stored(
            invocation->invoker->classic, &state->receipt, state->committed, &state->committed);
        if (state->is_committing) {
            offset_update(invocation);
            return;
        }
    }
    invocation_answer(invocation, response, source->owner);
}

static const struct invocation_steps acknowledge_steps = {
    .on_route = offset_send,
    .on_response = acknowledge_on_response,
    .on_failure = invocation_fail_report,
    .on_end = acknowledge_on_end,
};

void complete_classic_receipt_start(
    struct invocation *invocation, const struct classic_receipt *receipt)
{
    struct failure_report report;
    if (!invocation->role->may_everything &&
        !permission_to_consume(invocation->role, receipt->topic, receipt->group, &report)) {
        invocation_fail_report(invocation, &report);
        return;
    }
    struct acknowledge_state *state = calloc(1, sizeof(*state));
    if (!state) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    state->receipt = *receipt;
    invocation->state = state;
    invocation->steps = &acknowledge_steps;
    if (invocation->code == REQUEST_ACK_MESSAGE) {
        acknowledge(invocation);
    } else {
        change_invisible_time(invocation);
    }
}
