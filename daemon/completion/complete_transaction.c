/*
 * END_TRANSACTION from the receipt and commitOrRollback alone. It is sent synchronously, unlike
 * Java's: who decides wants to know that the broker took it. That nothing is decided yet is sent
 * oneway and answered here: brokers (EndTransactionProcessor) only write it to their log.
 */
#include "daemon/completion/invoke.h"

#include "daemon/core/permission.h"
#include "daemon/core/transaction_receipt.h"
#include "daemon/completion/processor.h"
#include "protocol/code.h"
#include "protocol/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* commitOrRollback: MessageSysFlag.java. */
#define DECISION_UNKNOWN  SPAN("0")
#define DECISION_COMMIT   SPAN("8")
#define DECISION_ROLLBACK SPAN("12")

struct transaction_state {
    struct transaction_receipt receipt;
    char table_offset[24];
    char commit_log_offset[24];
};

static struct span decision_of(const struct invocation *invocation)
{
    return ext_fields_text(&invocation->request.kept.command.ext_fields, "commitOrRollback");
}

static void transaction_send(struct invocation *invocation)
{
    const struct transaction_state *state = invocation->state;
    invocation_send_to_broker(invocation, state->receipt.broker_name);
}

static void transaction_on_response(struct invocation *invocation,
    struct remoting_command *response, const struct command_source *source)
{
    const struct transaction_state *state = invocation->state;
    if (response->code == RESPONSE_SUCCESS &&
        !span_equals(decision_of(invocation), DECISION_UNKNOWN)) {
        processors_forget_sender(invocation->invoker->processors, state->receipt.msg_id);
    }
    invocation_answer(invocation, response, source->owner);
}

static void transaction_on_sent(struct invocation *invocation)
{
    struct remoting_command answer = {
        .code = RESPONSE_SUCCESS,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .remark = SPAN("not decided yet: the broker asks again"),
    };
    invocation_answer(invocation, &answer, NULL);
}

static const struct invocation_steps transaction_steps = {
    .on_route = transaction_send,
    .on_response = transaction_on_response,
    .on_failure = invocation_fail_report,
    .on_sent = transaction_on_sent,
    .on_end = invocation_state_free,
};

static bool decision_is_valid(struct invocation *invocation)
{
    struct span decision = decision_of(invocation);
    if (span_equals(decision, DECISION_COMMIT) || span_equals(decision, DECISION_ROLLBACK) ||
        span_equals(decision, DECISION_UNKNOWN)) {
        return true;
    }
    struct span shown = utf8_cut(decision, 64);
    invocation_fail(invocation, FAILURE_INVALID, false,
        "commitOrRollback is '%.*s': 8 (commit), 12 (roll back) or 0 (not known yet) are accepted",
        SPAN_ARGS(shown));
    return false;
}

static bool transaction_fields_complete(
    struct invocation *invocation, struct transaction_state *state)
{
    const struct transaction_receipt *receipt = &state->receipt;
    (void)snprintf(
        state->table_offset, sizeof(state->table_offset), "%" PRId64, receipt->table_offset);
    (void)snprintf(state->commit_log_offset, sizeof(state->commit_log_offset), "%" PRId64,
        receipt->commit_log_offset);
    const struct ext_field fields[] = {
        { SPAN("topic"), receipt->topic },
        { SPAN("producerGroup"), receipt->group },
        { SPAN("tranStateTableOffset"), span_of(state->table_offset) },
        { SPAN("commitLogOffset"), span_of(state->commit_log_offset) },
        { SPAN("fromTransactionCheck"), receipt->is_from_check ? SPAN("true") : SPAN("false") },
        { SPAN("msgId"), receipt->msg_id },
        { SPAN("transactionId"), receipt->transaction_id },
        { SPAN("bname"), receipt->broker_name },
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!invocation_field_from_receipt(invocation, fields[i].key, fields[i].value)) {
            return false;
        }
    }
    return true;
}

void complete_transaction_start(struct invocation *invocation)
{
    struct transaction_state *state = calloc(1, sizeof(*state));
    if (!state) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    invocation->state = state;
    invocation->steps = &transaction_steps;
    if (!transaction_receipt_decode(invocation->sidecar.receipt, &state->receipt)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.receipt is no receipt of a half message: give back the text that came with "
            "its send, or with the broker's check, unchanged");
        return;
    }
    struct failure_report report;
    if (!invocation->role->may_everything &&
        !permission_to_send(
            invocation->role, state->receipt.topic, state->receipt.group, &report)) {
        invocation_fail_report(invocation, &report);
        return;
    }
    if (decision_is_valid(invocation) && transaction_fields_complete(invocation, state)) {
        invocation->request.is_oneway |= span_equals(decision_of(invocation), DECISION_UNKNOWN);
        transaction_send(invocation);
    }
}
