/*
 * The body of a SEND, where it is not passed on as it came: compressed, or a batch out of the JSON
 * that the caller wrote. The new one lies in a frame buffer of its own, which the kept command owns.
 */
#include "daemon/completion/send.h"

#include "daemon/core/send_batch.h"
#include "daemon/loop/wall_clock.h"
#include "protocol/code.h"
#include "protocol/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_TOPIC_PREFIX SPAN("%RETRY%")

static void body_replace(struct invocation *invocation, struct frame_buffer *taken, size_t n)
{
    struct kept_command *kept = &invocation->request.kept;
    frame_buffer_unref(kept->body_owner);
    kept->body_owner = taken;
    kept->command.body = (struct span){ (const char *)taken->data, n };
}

static struct frame_buffer *buffer_new(struct invocation *invocation, size_t capacity)
{
    struct frame_buffer *buffer = frame_buffer_new(invocation->invoker->memory, capacity);
    if (!buffer) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "no memory for the body of the message (limits.total_memory)");
    }
    return buffer;
}

static enum message_compression compression_of(const struct config *config)
{
    switch (config->send.compress_type) {
    case CONFIG_COMPRESS_LZ4:
        return MESSAGE_COMPRESSION_LZ4;
    case CONFIG_COMPRESS_ZSTD:
        return MESSAGE_COMPRESSION_ZSTD;
    case CONFIG_COMPRESS_ZLIB:
        break;
    }
    return MESSAGE_COMPRESSION_ZLIB;
}

bool send_body_compress(struct invocation *invocation)
{
    struct send_state *state = invocation->state;
    const struct config *config = invocation->invoker->config;
    struct remoting_command *command = &invocation->request.kept.command;
    if (state->has_sys_flag || config->send.compress_over == 0 ||
        command->body.n < config->send.compress_over) {
        return true;
    }
    enum message_compression compression = compression_of(config);
    struct frame_buffer *buffer =
        buffer_new(invocation, message_body_compress_bound(compression, command->body.n));
    if (!buffer) {
        return false;
    }
    size_t n = message_body_compress(compression, command->body, (char *)buffer->data);
    if (n == 0) {
        /* It goes as it is, as in Java. */
        frame_buffer_unref(buffer);
        return true;
    }
    body_replace(invocation, buffer, n);
    int64_t sys_flag = 0;
    (void)ext_value_parse_i64(
        ext_fields_get(&command->ext_fields, state->names->sys_flag), 0, INT32_MAX, &sys_flag);
    (void)snprintf(state->sys_flag_text, sizeof(state->sys_flag_text), "%" PRId64,
        sys_flag | message_compression_sys_flag(compression));
    (void)ext_fields_set(
        &command->ext_fields, state->names->sys_flag, span_of(state->sys_flag_text));
    return true;
}

bool send_body_is_small(struct invocation *invocation)
{
    size_t n = invocation->request.kept.command.body.n;
    size_t max = invocation->invoker->config->send.max_message_size;
    /* JSON is more than what it stands for: what comes out of it is measured. */
    if (n <= max || invocation->sidecar.has_json_body) {
        return true;
    }
    invocation_fail(invocation, FAILURE_INVALID, false,
        "the body has %zu bytes, send.max_message_size is %zu", n, max);
    return false;
}

/* Java's rules that are about the request and not about its messages. */
static bool batch_may_be(struct invocation *invocation, const struct send_state *state)
{
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    const char *problem = NULL;
    if (span_starts_with(state->topic, RETRY_TOPIC_PREFIX)) {
        problem = "a batch cannot be sent to a retry topic";
    } else if (!span_is_empty(invocation->sidecar.traceparent) &&
               !invocation->sidecar.has_json_body) {
        problem = "sidecar.traceparent needs sidecar.bodyFormat=json with a batch";
    }
    for (size_t i = 0; i < fields->n && !problem; i++) {
        if (span_starts_with(fields->fields[i].key, SPAN("property."))) {
            problem = "property.NAME is of one message: those of a batch have their own properties";
        }
    }
    if (problem) {
        invocation_fail(invocation, FAILURE_INVALID, false, "%s", problem);
    }
    return !problem;
}

static bool batch_take(struct invocation *invocation, const struct send_batch *batch)
{
    struct send_state *state = invocation->state;
    size_t n = send_batch_encoded_size(batch);
    struct span keys = send_batch_uniq_keys(batch);
    struct span sharding_key = send_batch_sharding_key(batch);
    state->batch_texts = malloc(keys.n + sharding_key.n + 1);
    if (!state->batch_texts) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return false;
    }
    struct frame_buffer *buffer = buffer_new(invocation, n);
    if (!buffer) {
        return false;
    }
    send_batch_encode(batch, (char *)buffer->data);
    body_replace(invocation, buffer, n);
    memcpy(state->batch_texts, keys.data, keys.n);
    invocation->uniq_key = (struct span){ state->batch_texts, keys.n };
    if (!span_is_empty(sharding_key)) {
        memcpy(state->batch_texts + keys.n, sharding_key.data, sharding_key.n);
        state->sharding_key = (struct span){ state->batch_texts + keys.n, sharding_key.n };
    }
    return true;
}

void send_stamp(const struct invocation *invocation, struct sender_stamp *ret_stamp)
{
    const struct invoker *invoker = invocation->invoker;
    ret_stamp->n = 0;
    if (!invoker->config->send.stamp_sender) {
        return;
    }
    /* Oneway requests do not know their session. */
    const struct session *session =
        invocation->session ? invocation->session
                            : session_list_find(invoker->sessions, invocation->session_id);
    if (session) {
        const struct peer *peer = &session->peer;
        sender_stamp_init(ret_stamp, peer->is_known, peer->uid, peer->unit);
    }
}

bool send_is_forged(const struct remoting_command *command)
{
    const struct ext_fields *fields = &command->ext_fields;
    char problem[FAILURE_CAUSE_SIZE];
    return sender_stamp_is_given(ext_fields_text(fields, "properties")) ||
           sender_stamp_is_given(ext_fields_text(fields, "i")) ||
           (command->code == REQUEST_SEND_BATCH_MESSAGE &&
               send_batch_is_well_formed(command->body, problem, sizeof(problem)) &&
               send_batch_has_stamp(command->body));
}

/* The caller's own batch, with the stamp in each message. */
static bool batch_stamp(struct invocation *invocation)
{
    struct span body = invocation->request.kept.command.body;
    if (!invocation->invoker->config->send.stamp_sender) {
        return true;
    }
    if (send_batch_has_stamp(body)) {
        invocation_fail(invocation, FAILURE_INVALID, false, SENDER_STAMP_REFUSAL);
        return false;
    }
    struct sender_stamp stamp;
    send_stamp(invocation, &stamp);
    size_t n = send_batch_stamped_size(body, sender_stamp_text(&stamp));
    if (n == 0) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "with SENDER_UID and SENDER_UNIT the properties of a message of the batch take more "
            "than %d bytes",
            MESSAGE_PROPERTIES_MAX);
        return false;
    }
    struct frame_buffer *buffer = buffer_new(invocation, n);
    if (!buffer) {
        return false;
    }
    send_batch_stamp(body, sender_stamp_text(&stamp), (char *)buffer->data);
    body_replace(invocation, buffer, n);
    return true;
}

static bool batch_from_json(struct invocation *invocation)
{
    struct invoker *invoker = invocation->invoker;
    char problem[FAILURE_CAUSE_SIZE];
    char tracestate[SEND_TRACESTATE_SIZE];
    CLEANUP(send_batch_free) struct send_batch *batch = NULL;
    struct sender_stamp stamp;
    send_stamp(invocation, &stamp);
    const struct send_batch_rules rules = {
        .max_size = invoker->config->send.max_message_size,
        .uniq_keys = &invoker->uniq_keys,
        .since_month_began_ms = wall_clock_since_month_began_ms(&invoker->month, wall_clock_ms()),
        .traceparent = invocation->sidecar.traceparent,
        .tracestate = send_tracestate(invocation, tracestate),
        .is_stamped = invoker->config->send.stamp_sender,
        .stamp = sender_stamp_text(&stamp),
    };
    switch (send_batch_parse(
        invocation->request.kept.command.body, &rules, &batch, problem, sizeof(problem))) {
    case SEND_BATCH_OK:
        return batch_take(invocation, batch);
    case SEND_BATCH_INVALID:
        invocation_fail(invocation, FAILURE_INVALID, false, "%s", problem);
        return false;
    case SEND_BATCH_NO_MEMORY:
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return false;
    }
    return false;
}

bool send_body_batch(struct invocation *invocation)
{
    char problem[FAILURE_CAUSE_SIZE];
    if (!batch_may_be(invocation, invocation->state)) {
        return false;
    }
    if (invocation->sidecar.has_json_body) {
        return batch_from_json(invocation);
    }
    if (!send_batch_is_well_formed(
            invocation->request.kept.command.body, problem, sizeof(problem))) {
        invocation_fail(invocation, FAILURE_INVALID, false, "%s", problem);
        return false;
    }
    return batch_stamp(invocation);
}
