#include "daemon/completion/fan_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_reap(struct loop_reapable *reapable)
{
    struct fan_out *fan_out =
        (struct fan_out *)(void *)((char *)reapable - offsetof(struct fan_out, reapable));
    for (size_t i = 0; i < fan_out->n; i++) {
        free(fan_out->parts[i].broker_name);
        free(fan_out->parts[i].address);
    }
    json_decref(fan_out->rows);
    free(fan_out->texts);
    free(fan_out->parts);
    free(fan_out);
}

/* Who calls may stand on one of the requests: their memory stays until the end of the turn. */
void fan_out_on_end(struct invocation *invocation)
{
    struct fan_out *fan_out = invocation->state;
    struct invoker *invoker = invocation->invoker;
    if (!fan_out) {
        return;
    }
    for (size_t i = 0; i < fan_out->n; i++) {
        struct fan_out_part *part = &fan_out->parts[i];
        pending_request_cancel(invoker->upstreams, &part->request);
        kept_command_deinit(&part->request.kept);
        part->frame = frame_buffer_unref(part->frame);
    }
    invoker->n_in_flight -= fan_out->n_room;
    invocation->state = NULL;
    loop_reap(invoker->loop, &fan_out->reapable, on_reap);
}

static void part_over(struct fan_out *fan_out)
{
    if (--fan_out->n_left == 0) {
        fan_out->steps->on_all(fan_out);
    }
}

static struct fan_out_part *part_of(struct pending_request *request)
{
    return (
        struct fan_out_part *)(void *)((char *)request - offsetof(struct fan_out_part, request));
}

static void on_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    struct fan_out_part *part = part_of(request);
    part->fan_out->steps->on_response(part, response, source);
    part_over(part->fan_out);
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    struct fan_out_part *part = part_of(request);
    part->fan_out->steps->on_failure(part, report);
    part_over(part->fan_out);
}

static const struct pending_request_handler handler = {
    .on_response = on_response,
    .on_failure = on_failure,
};

struct fan_out *fan_out_new(
    struct invocation *invocation, size_t n, const struct fan_out_steps *steps)
{
    struct invoker *invoker = invocation->invoker;
    if (invoker->n_in_flight + n > invoker->config->limits.max_in_flight) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "%zu requests to brokers and %zu in flight are too many (limits.max_in_flight)", n,
            invoker->n_in_flight);
        return NULL;
    }
    struct fan_out *fan_out = calloc(1, sizeof(*fan_out));
    struct fan_out_part *parts = calloc(n, sizeof(*parts));
    if (!fan_out || !parts) {
        free(fan_out);
        free(parts);
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return NULL;
    }
    fan_out->invocation = invocation;
    fan_out->steps = steps;
    fan_out->parts = parts;
    fan_out->n_room = n;
    invoker->n_in_flight += n;
    invocation->state = fan_out;
    return fan_out;
}

bool fan_out_add(
    struct fan_out *fan_out, const char *broker_name, const char *address, int32_t queue_id)
{
    struct fan_out_part *part = &fan_out->parts[fan_out->n++];
    part->fan_out = fan_out;
    part->queue_id = queue_id;
    (void)snprintf(part->queue_text, sizeof(part->queue_text), "%" PRId32, queue_id);
    pending_request_init(&part->request, &handler);
    part->request.session_id = fan_out->invocation->session_id;
    part->broker_name = strdup(broker_name);
    part->address = strdup(address);
    if (part->broker_name && part->address) {
        return true;
    }
    invocation_fail(fan_out->invocation, FAILURE_OVERLOADED, false, "out of memory");
    return false;
}

void fan_out_send(struct fan_out *fan_out)
{
    struct invocation *invocation = fan_out->invocation;
    struct remoting_command *command = &invocation->request.kept.command;
    const struct command_source source = invocation_kept_source(invocation);
    /* What fails at once must not answer before the last one was sent. */
    fan_out->n_left = fan_out->n + 1;
    for (size_t i = 0; i < fan_out->n; i++) {
        struct fan_out_part *part = &fan_out->parts[i];
        (void)ext_fields_set(&command->ext_fields, SPAN("bname"), span_of(part->broker_name));
        if (part->queue_id >= 0) {
            (void)ext_fields_set(&command->ext_fields, SPAN("queueId"), span_of(part->queue_text));
        }
        part->request.deadline_ms = invocation->deadline_ms;
        upstream_pool_invoke(invocation->invoker->pool, span_of(part->address), POOL_NORMAL,
            &part->request, command, &source);
    }
    part_over(fan_out);
}
