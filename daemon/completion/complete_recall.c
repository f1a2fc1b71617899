/* RECALL_MESSAGE by its handle alone: topic and broker stand in it. */
#include "daemon/completion/invoke.h"

#include "daemon/core/permission.h"
#include "protocol/recall_handle.h"

#include <stdlib.h>

static void recall_send(struct invocation *invocation)
{
    const struct recall_handle *handle = invocation->state;
    invocation_send_to_broker(invocation, handle->broker_name);
}

static void recall_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    invocation_answer(invocation, response, source->owner);
}

static const struct invocation_steps recall_steps = {
    .on_route = recall_send,
    .on_response = recall_on_response,
    .on_failure = invocation_fail_report,
    .on_end = invocation_state_free,
};

void complete_recall_start(struct invocation *invocation)
{
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct recall_handle *handle = calloc(1, sizeof(*handle));
    if (!handle) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    invocation->state = handle;
    invocation->steps = &recall_steps;
    if (!recall_handle_decode(ext_fields_text(fields, "recallHandle"), handle)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "recallHandle is no recall handle: give back the recallHandle of the answer to the "
            "delayed send, unchanged");
        return;
    }
    if (!invocation_field_from_receipt(invocation, SPAN("topic"), handle->topic)) {
        return;
    }
    invocation_field_default(invocation, SPAN("producerGroup"),
        span_of(invocation->invoker->config->send.producer_group));
    struct failure_report report;
    if (!invocation->role->may_everything &&
        !permission_to_send(
            invocation->role, handle->topic, ext_fields_text(fields, "producerGroup"), &report)) {
        invocation_fail_report(invocation, &report);
        return;
    }
    (void)ext_fields_set(
        &invocation->request.kept.command.ext_fields, SPAN("bname"), handle->broker_name);
    recall_send(invocation);
}
