#include "daemon/wiring/upstream.h"

#include "daemon/wiring/log.h"
#include "protocol/code.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *upstream_state_name(enum upstream_state state)
{
    switch (state) {
    case UPSTREAM_CONNECTING:
        return "CONNECTING";
    case UPSTREAM_READY:
        return "READY";
    case UPSTREAM_CLOSED:
        return "CLOSED";
    }
    return "?";
}

static struct upstream *upstream_of(struct transport *transport)
{
    return (struct upstream *)(void *)((char *)transport - offsetof(struct upstream, transport));
}

/* Every change of state is here, counted and logged. */
static void upstream_enter(struct upstream *upstream, enum upstream_state state, const char *cause)
{
    bool was_ready = upstream->state == UPSTREAM_READY;
    char quoted[LOG_QUOTE_SIZE];
    log_info("upstream=%s id=%" PRIu64 " %s -> %s%s%s", upstream->name, upstream->id,
        upstream_state_name(upstream->state), upstream_state_name(state), cause ? " cause=" : "",
        cause ? log_quote(cause, strlen(cause), quoted) : "");
    upstream->state = state;
    switch (state) {
    case UPSTREAM_CONNECTING:
        break;
    case UPSTREAM_READY:
        upstream->context->stats->upstream_connects++;
        loop_deadline_clear(upstream->context->loop, &upstream->connect_deadline);
        break;
    case UPSTREAM_CLOSED:
        loop_deadline_clear(upstream->context->loop, &upstream->connect_deadline);
        if (was_ready) {
            upstream->context->stats->upstream_losses++;
        } else {
            upstream->context->stats->upstream_connect_failures++;
        }
        break;
    }
}

static void on_reap(struct loop_reapable *reapable)
{
    struct upstream *upstream =
        (struct upstream *)(void *)((char *)reapable - offsetof(struct upstream, reapable));
    free(upstream->name);
    free(upstream);
}

/* Takes an in-flight request out of the upstream's list. Its slot is the caller's business. */
static void in_flight_remove(struct upstream *upstream, struct pending_request *request)
{
    TAILQ_REMOVE(&upstream->in_flight, request, link);
    upstream->n_in_flight--;
    loop_deadline_clear(upstream->context->loop, &request->deadline);
    request->state = REQUEST_IDLE;
    request->upstream = NULL;
    request->address = NULL;
}

bool pending_request_was_sent(const struct pending_request *request)
{
    return request->state == REQUEST_IN_FLIGHT &&
           request->upstream->transport.bytes_sent > request->stream_start;
}

static void in_flight_fail(struct upstream *upstream, const char *cause)
{
    while (!TAILQ_EMPTY(&upstream->in_flight)) {
        struct pending_request *request = TAILQ_FIRST(&upstream->in_flight);
        struct failure_report report;
        failure_set(&report, FAILURE_CONNECTION_LOST, pending_request_was_sent(request),
            "the connection to %s broke while the request was on it: %s", upstream->name, cause);
        struct pending_request *taken;
        (void)pending_table_take(
            upstream->context->pending, upstream->id, request->upstream_opaque, &taken);
        in_flight_remove(upstream, request);
        request->handler->on_failure(request, &report);
    }
}

void upstream_close(struct upstream *upstream, const char *cause)
{
    if (upstream->state == UPSTREAM_CLOSED) {
        return;
    }
    bool was_ready = upstream->state == UPSTREAM_READY;
    upstream_enter(upstream, UPSTREAM_CLOSED, cause);
    upstream->owner->on_closed(upstream, was_ready, cause);
    in_flight_fail(upstream, cause);
    transport_close(&upstream->transport);
    pending_table_forget_upstream(upstream->context->pending, upstream->id);
    loop_reap(upstream->context->loop, &upstream->reapable, on_reap);
}

static void on_connected(struct transport *transport, int error)
{
    struct upstream *upstream = upstream_of(transport);
    if (error != 0) {
        upstream_close(upstream, strerror(error));
        return;
    }
    upstream_enter(upstream, UPSTREAM_READY, NULL);
    upstream->owner->on_ready(upstream);
}

static void on_connect_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct upstream *upstream =
        (struct upstream *)(void *)((char *)deadline - offsetof(struct upstream, connect_deadline));
    char cause[96];
    (void)snprintf(cause, sizeof(cause), "no connection within connect_timeout (%" PRIu64 " ms)",
        upstream->context->connect_timeout_ms);
    upstream_close(upstream, cause);
}

static void socket_options_set(const struct upstream_context *context, int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    int idle_s = (int)(context->keepalive_idle_ms / 1000);
    if (idle_s > 0) {
        int interval_s = 10;
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    }
    unsigned user_timeout_ms = (unsigned)context->tcp_user_timeout_ms;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
}

/* Answers what a broker asks of a client while nobody is registered for it. */
static void broker_request_refuse(struct upstream *upstream, const struct remoting_command *request)
{
    struct upstream_context *context = upstream->context;
    log_debug("upstream=%s id=%" PRIu64 " broker-request code=%d oneway=%d refused", upstream->name,
        upstream->id, (int)request->code, remoting_command_is_oneway(request));
    if (remoting_command_is_oneway(request)) {
        context->stats->broker_requests_dropped++;
        return;
    }
    context->stats->broker_requests_refused++;
    struct remoting_command answer = {
        .code = RESPONSE_REQUEST_CODE_NOT_SUPPORTED,
        .version = REMOTING_VERSION,
        .opaque = request->opaque,
        .flag = REMOTING_FLAG_RESPONSE,
        .language = LANGUAGE_CPP,
        .remark = SPAN("no caller of this remotingd handles this request code"),
    };
    uint8_t *room = output_reserve(
        &upstream->transport.output, remoting_command_encoded_head_size(&answer, SERIALIZE_JSON));
    if (room) {
        remoting_command_encode_head(&answer, SERIALIZE_JSON, room);
        transport_flush_later(&upstream->transport);
    }
}

static void response_take(struct upstream *upstream, struct remoting_command *response,
    const struct command_source *source)
{
    struct upstream_context *context = upstream->context;
    struct pending_request *request;
    switch (pending_table_take(context->pending, upstream->id, response->opaque, &request)) {
    case PENDING_TAKEN:
        in_flight_remove(upstream, request);
        request->handler->on_response(request, response, source);
        return;
    case PENDING_LATE:
        context->stats->late_responses++;
        return;
    case PENDING_UNKNOWN:
        context->stats->unknown_responses++;
        log_debug("upstream=%s id=%" PRIu64 " response opaque=%d answers nothing", upstream->name,
            upstream->id, (int)response->opaque);
        return;
    }
}

static void on_frame(
    struct transport *transport, uint8_t *frame, size_t size, struct frame_buffer *owner)
{
    struct upstream *upstream = upstream_of(transport);
    struct upstream_context *context = upstream->context;
    struct remoting_command *command = &context->response;
    remoting_command_init(command, context->response_fields, EXT_FIELDS_MAX);
    enum serialize_type serialize_type;
    struct header_problem problem;
    enum header_status status =
        remoting_command_decode(command, frame, size, &serialize_type, &problem);
    if (status != HEADER_OK) {
        char cause[sizeof(problem.text) + 64];
        (void)snprintf(
            cause, sizeof(cause), "it sent a frame that cannot be decoded: %s", problem.text);
        upstream_close(upstream, cause);
        return;
    }
    upstream->has_answered = true;
    if (!remoting_command_is_response(command)) {
        broker_request_refuse(upstream, command);
        return;
    }
    const struct command_source source = { .frame = frame, .size = size, .owner = owner };
    response_take(upstream, command, &source);
}

static void on_bad_frame(struct transport *transport, uint8_t *data, size_t n)
{
    char problem[128];
    frame_describe_problem(data, n, transport->frame_limit, problem, sizeof(problem));
    char cause[sizeof(problem) + 64];
    (void)snprintf(cause, sizeof(cause), "it sent what is no frame: %s", problem);
    upstream_close(upstream_of(transport), cause);
}

static void on_end(struct transport *transport, enum transport_end end, int error)
{
    const char *cause = "it closed the connection";
    switch (end) {
    case TRANSPORT_END_OF_FILE:
        break;
    case TRANSPORT_ERROR:
        cause = strerror(error);
        break;
    case TRANSPORT_NO_MEMORY:
        cause = "no memory for its answer";
        break;
    }
    upstream_close(upstream_of(transport), cause);
}

static const struct transport_handler upstream_transport_handler = {
    .on_frame = on_frame,
    .on_bad_frame = on_bad_frame,
    .on_end = on_end,
    .on_connected = on_connected,
};

struct upstream *upstream_new(struct upstream_context *context, const struct upstream_owner *owner,
    struct upstream_address *address, const char *name, const struct sockaddr *socket_address,
    socklen_t socket_address_size, int *ret_error)
{
    struct upstream *upstream = calloc(1, sizeof(*upstream));
    char *name_copy = strdup(name);
    int fd = socket(socket_address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!upstream || !name_copy || fd < 0) {
        *ret_error = fd < 0 ? errno : ENOMEM;
        goto fail;
    }
    socket_options_set(context, fd);
    if (connect(fd, socket_address, socket_address_size) < 0 && errno != EINPROGRESS) {
        *ret_error = errno;
        goto fail;
    }
    upstream->context = context;
    upstream->owner = owner;
    upstream->address = address;
    upstream->name = name_copy;
    upstream->id = ++context->next_upstream_id;
    upstream->state = UPSTREAM_CONNECTING;
    upstream->used_ms = context->loop->now_ms;
    TAILQ_INIT(&upstream->in_flight);
    deadline_init(&upstream->connect_deadline, on_connect_deadline);
    if (transport_open(&upstream->transport, context->loop, context->memory,
            &upstream_transport_handler, fd, FRAME_SIZE_MAX, true) < 0) {
        fd = -1;
        *ret_error = ENOMEM;
        goto fail;
    }
    /* A shared connection is not given up because some caller has filled the memory. */
    upstream->transport.reads_answers = true;
    loop_deadline_set(context->loop, &upstream->connect_deadline,
        clock_after(context->loop->now_ms, context->connect_timeout_ms));
    return upstream;
fail:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(name_copy);
    free(upstream);
    return NULL;
}

static void on_request_deadline(struct deadline *deadline, uint64_t now_ms)
{
    struct pending_request *request =
        (struct pending_request *)(void *)((char *)deadline -
                                           offsetof(struct pending_request, deadline));
    struct upstream *upstream = request->upstream;
    struct failure_report report;
    /* What is not written yet stays in the output of a connection that lives: it may still go. */
    failure_set(&report, FAILURE_TIMEOUT, true, "no answer from %s within %" PRIu64 " ms%s",
        upstream->name, now_ms - request->sent_ms,
        pending_request_was_sent(request) ? "" : " (it has taken nothing of the request so far)");
    pending_table_abandon(upstream->context->pending, request->upstream_opaque, now_ms);
    in_flight_remove(upstream, request);
    request->handler->on_failure(request, &report);
}

/*
 * The command as it goes upstream: always JSON, a version that brokers treat as new, the caller's
 * language.
 */
static int command_write(struct upstream *upstream, const struct remoting_command *command,
    int32_t upstream_opaque, bool is_oneway, struct frame_buffer *body_owner)
{
    struct remoting_command upstream_command = *command;
    upstream_command.opaque = upstream_opaque;
    upstream_command.flag = is_oneway ? REMOTING_FLAG_ONEWAY : 0;
    upstream_command.has_ext_fields = true;
    if (upstream_command.version < REMOTING_VERSION) {
        upstream_command.version = REMOTING_VERSION;
    }
    size_t head_size = remoting_command_encoded_head_size(&upstream_command, SERIALIZE_JSON);
    if (head_size == 0 || head_size + command->body.n > FRAME_SIZE_MAX) {
        return -EMSGSIZE;
    }
    struct output *output = &upstream->transport.output;
    uint8_t *room = output_reserve(output, head_size);
    if (!room) {
        return -ENOMEM;
    }
    remoting_command_encode_head(&upstream_command, SERIALIZE_JSON, room);
    return output_append(output, command->body.data, command->body.n, body_owner);
}

int upstream_send(struct upstream *upstream, struct pending_request *request,
    const struct remoting_command *command, struct frame_buffer *body_owner,
    struct failure_report *report)
{
    struct upstream_context *context = upstream->context;
    uint64_t now_ms = context->loop->now_ms;
    struct output *output = &upstream->transport.output;
    if (output->size >= context->buffer_limit) {
        failure_set(report, FAILURE_OVERLOADED, false,
            "%s does not read: %zu bytes wait for it, limits.upstream_buffer is %zu",
            upstream->name, output->size, context->buffer_limit);
        return -ENOBUFS;
    }
    int32_t upstream_opaque = pending_table_oneway_opaque(context->pending);
    if (!request->is_oneway) {
        int r =
            pending_table_put(context->pending, upstream->id, request, now_ms, &upstream_opaque);
        if (r < 0) {
            failure_set(report, FAILURE_OVERLOADED, false,
                "%zu requests wait for an answer, limits.max_in_flight is %zu",
                context->pending->n_pending, context->pending->capacity);
            return r;
        }
    }
    uint64_t stream_start = upstream->transport.bytes_sent + output->size;
    int r = command_write(upstream, command, upstream_opaque, request->is_oneway, body_owner);
    if (r < 0) {
        struct pending_request *taken;
        (void)pending_table_take(context->pending, upstream->id, upstream_opaque, &taken);
        if (r == -EMSGSIZE) {
            failure_set(report, FAILURE_INVALID, false,
                "with what the daemon adds the frame is larger than %u bytes", FRAME_SIZE_MAX);
        } else {
            failure_set(report, FAILURE_OVERLOADED, false, "out of memory");
            /*
             * The head may be in the output without its body: such a connection is of no use any
             * more.
             */
            if (upstream->transport.bytes_sent + output->size != stream_start) {
                upstream_close(upstream, "out of memory in the middle of a frame");
            }
        }
        return r;
    }
    transport_flush_later(&upstream->transport);
    upstream->used_ms = now_ms;
    if (request->is_oneway) {
        return 0;
    }
    request->state = REQUEST_IN_FLIGHT;
    request->address = upstream->address;
    request->upstream = upstream;
    request->upstream_opaque = upstream_opaque;
    request->stream_start = stream_start;
    request->sent_ms = now_ms;
    request->deadline.on_deadline = on_request_deadline;
    loop_deadline_set(context->loop, &request->deadline, request->deadline_ms);
    TAILQ_INSERT_TAIL(&upstream->in_flight, request, link);
    upstream->n_in_flight++;
    return 0;
}

void pending_request_init(
    struct pending_request *request, const struct pending_request_handler *handler)
{
    *request = (struct pending_request){ .handler = handler };
    deadline_init(&request->deadline, NULL);
}
