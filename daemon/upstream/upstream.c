#include "daemon/upstream/upstream.h"

#include "daemon/loop/log.h"
#include "daemon/upstream/upstream_address.h"
#include "protocol/code.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* From this part of limits.upstream_buffer on it is noted whose bytes wait. */
#define SHARES_FROM 8
/* Of limits.total_memory, this part stays free of what is kept only to be repeated. */
#define KEPT_MEMORY_PART 2

static const char *upstream_state_name(enum upstream_state state)
{
    switch (state) {
    case UPSTREAM_CONNECTING:
        return "CONNECTING";
    case UPSTREAM_READY:
        return "READY";
    case UPSTREAM_DRAINING:
        return "DRAINING";
    case UPSTREAM_CLOSED:
        return "CLOSED";
    }
    return "?";
}

static struct upstream *upstream_of(struct transport *transport)
{
    return (struct upstream *)(void *)((char *)transport - offsetof(struct upstream, transport));
}

static enum event_kind event_of_end(enum upstream_end end)
{
    switch (end) {
    case UPSTREAM_END_PEER:
    case UPSTREAM_END_DRAINED:
    case UPSTREAM_END_ROOM:
    case UPSTREAM_END_STOPPING:
        return EVENT_DISCONNECTED;
    case UPSTREAM_END_GARBAGE:
    case UPSTREAM_END_SILENT:
        return EVENT_EXCEPTION;
    case UPSTREAM_END_IDLE:
        return EVENT_IDLE;
    }
    return EVENT_EXCEPTION;
}

/* Every change of state is here, counted, logged and told to who subscribed. */
static void upstream_enter(
    struct upstream *upstream, enum upstream_state state, enum upstream_end end, const char *cause)
{
    struct upstream_context *context = upstream->context;
    bool was_connected = upstream->state != UPSTREAM_CONNECTING;
    char quoted[LOG_QUOTE_SIZE];
    log_info("upstream=%s id=%" PRIu64 " %s -> %s%s%s", upstream->name, upstream->id,
        upstream_state_name(upstream->state), upstream_state_name(state), cause ? " cause=" : "",
        cause ? log_quote(cause, strlen(cause), quoted) : "");
    upstream->state = state;
    switch (state) {
    case UPSTREAM_CONNECTING:
    case UPSTREAM_DRAINING:
        return;
    case UPSTREAM_READY:
        context->stats->upstream_connects++;
        upstream->address_stats->connects++;
        loop_deadline_clear(context->loop, &upstream->connect_deadline);
        net_event_publish(context->events, EVENT_CONNECTED, upstream->name, upstream->id, cause);
        return;
    case UPSTREAM_CLOSED:
        loop_deadline_clear(context->loop, &upstream->connect_deadline);
        context->stats->upstream_bytes_received += upstream->transport.bytes_received;
        context->stats->upstream_bytes_sent += upstream->transport.bytes_sent;
        if (was_connected) {
            context->stats->upstream_losses += end == UPSTREAM_END_PEER ||
                                               end == UPSTREAM_END_GARBAGE ||
                                               end == UPSTREAM_END_SILENT;
        } else {
            context->stats->upstream_connect_failures++;
            upstream->address_stats->connect_failures++;
        }
        net_event_publish(context->events, was_connected ? event_of_end(end) : EVENT_EXCEPTION,
            upstream->name, upstream->id, cause);
        return;
    }
}

static void on_reap(struct loop_reapable *reapable)
{
    struct upstream *upstream =
        (struct upstream *)(void *)((char *)reapable - offsetof(struct upstream, reapable));
    share_ledger_free(upstream->shares);
    free(upstream->name);
    free(upstream);
}

bool upstream_is_idle(const struct upstream *upstream)
{
    return upstream->n_in_flight == 0 && upstream->transport.output.size == 0;
}

/* Takes an in-flight request out of the upstream's list. Its slot is the caller's business. */
static void in_flight_remove(struct upstream *upstream, struct pending_request *request)
{
    TAILQ_REMOVE(&upstream->in_flight, request, link);
    upstream->n_in_flight--;
    loop_deadline_clear(upstream->context->loop, &request->deadline);
    written_frame_deinit(&request->written, upstream->context->memory);
    request->state = REQUEST_IDLE;
    request->upstream = NULL;
    request->address = NULL;
}

/*
 * Closes what drains, and tells who waits for room. Oneway requests are in flight no more and may
 * still wait to be written: then it is called again when they are.
 */
static void in_flight_left(struct upstream *upstream)
{
    if (!upstream_is_idle(upstream)) {
        return;
    }
    if (upstream->state == UPSTREAM_DRAINING) {
        upstream_close(upstream, UPSTREAM_END_DRAINED, upstream->drain_cause);
    } else if (upstream->state == UPSTREAM_READY) {
        upstream->owner->on_idle(upstream);
    }
}

/*
 * What was not executed goes on elsewhere where its bytes are still there; else its owner is told.
 */
static void in_flight_repeat(
    struct upstream *upstream, struct pending_request *request, const struct failure_report *report)
{
    struct upstream_address *address = upstream->address;
    bool can_repeat = !request->fails_fast && request != &upstream->probe &&
                      pending_request_restore(request, upstream->context->memory) == 0;
    in_flight_remove(upstream, request);
    if (can_repeat) {
        upstream->owner->on_repeat(address, request, report);
    } else {
        upstream->address_stats->errors++;
        request->handler->on_failure(request, report);
    }
}

static void in_flight_fail(struct upstream *upstream, const char *cause)
{
    while (!TAILQ_EMPTY(&upstream->in_flight)) {
        struct pending_request *request = TAILQ_FIRST(&upstream->in_flight);
        bool was_sent = pending_request_was_sent(request);
        struct failure_report report;
        failure_set(&report, FAILURE_CONNECTION_LOST, was_sent,
            "the connection to %s broke while the request was on it: %s", upstream->name, cause);
        struct pending_request *taken;
        (void)pending_table_take(
            upstream->context->pending, upstream->id, request->upstream_opaque, &taken);
        if (was_sent) {
            upstream->address_stats->errors++;
            in_flight_remove(upstream, request);
            request->handler->on_failure(request, &report);
        } else {
            in_flight_repeat(upstream, request, &report);
        }
    }
}

void upstream_close(struct upstream *upstream, enum upstream_end end, const char *cause)
{
    if (upstream->state == UPSTREAM_CLOSED) {
        return;
    }
    enum upstream_state state = upstream->state;
    upstream_enter(upstream, UPSTREAM_CLOSED, end, cause);
    /* Nobody can be told. Some of them may have been written, with others still behind them. */
    upstream->context->stats->oneway_failed += upstream->n_oneway_unwritten;
    upstream->n_oneway_unwritten = 0;
    upstream->owner->on_closed(upstream, state, end, cause);
    upstream->context->broker_requests->on_closed(
        upstream->context->broker_requests_context, upstream);
    in_flight_fail(upstream, cause);
    transport_close(&upstream->transport);
    pending_table_forget_upstream(upstream->context->pending, upstream->id);
    loop_reap(upstream->context->loop, &upstream->reapable, on_reap);
}

static void drain_begin(struct upstream *upstream, const char *cause)
{
    (void)snprintf(upstream->drain_cause, sizeof(upstream->drain_cause), "%s", cause);
    upstream_enter(upstream, UPSTREAM_DRAINING, UPSTREAM_END_DRAINED, cause);
}

void upstream_drain(struct upstream *upstream, const char *cause)
{
    if (upstream->state != UPSTREAM_READY) {
        return;
    }
    drain_begin(upstream, cause);
    if (upstream_is_idle(upstream)) {
        upstream_close(upstream, UPSTREAM_END_DRAINED, cause);
    }
}

static void on_connected(struct transport *transport, int error)
{
    struct upstream *upstream = upstream_of(transport);
    if (error != 0) {
        upstream_close(upstream, UPSTREAM_END_PEER, transport_error_text(transport, error));
        return;
    }
    if (transport->tls) {
        log_debug("upstream=%s id=%" PRIu64 " tls=%s cipher=%s resumed=%s", upstream->name,
            upstream->id, SSL_get_version(transport->tls->ssl),
            SSL_get_cipher_name(transport->tls->ssl),
            tls_stream_was_resumed(transport->tls) ? "yes" : "no");
    }
    upstream_enter(upstream, UPSTREAM_READY, UPSTREAM_END_PEER, NULL);
    upstream->owner->on_ready(upstream);
}

static void on_connect_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct upstream *upstream =
        (struct upstream *)(void *)((char *)deadline - offsetof(struct upstream, connect_deadline));
    char cause[TLS_CAUSE_SIZE];
    (void)snprintf(cause, sizeof(cause), "no %s within connect_timeout (%" PRIu64 " ms)%s",
        upstream->transport.is_in_handshake ? "TLS handshake" : "connection",
        upstream->context->connect_timeout_ms,
        upstream->transport.is_in_handshake ? ", though it is connected: does it speak TLS?" : "");
    upstream_close(upstream, UPSTREAM_END_PEER, cause);
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

void upstream_answer(
    struct upstream *upstream, struct remoting_command *answer, struct frame_buffer *body_owner)
{
    answer->flag = REMOTING_FLAG_RESPONSE;
    if (answer->version < REMOTING_VERSION) {
        answer->version = REMOTING_VERSION;
    }
    struct output *output = &upstream->transport.output;
    size_t head_room = remoting_command_head_room(answer, SERIALIZE_JSON);
    if (upstream->state == UPSTREAM_CLOSED || head_room == 0) {
        return;
    }
    if (output->size >= upstream->context->buffer_limit) {
        /* It asks and does not read. Callers' requests are on the connection: it is not closed. */
        upstream->context->stats->broker_answers_dropped++;
        log_debug("upstream=%s id=%" PRIu64 " does not read: an answer to it is dropped",
            upstream->name, upstream->id);
        return;
    }
    if (!output_append_head(output, answer, SERIALIZE_JSON, head_room, SPAN_ABSENT, NULL)) {
        return;
    }
    if (output_append(output, answer->body.data, answer->body.n, body_owner) < 0) {
        upstream_close(upstream, UPSTREAM_END_GARBAGE, "out of memory within a frame");
        return;
    }
    transport_flush_later(&upstream->transport);
}

/*
 * The broker is about to stop and did not execute the request: the connection drains, and the
 * request is repeated once, on a connection made anew.
 */
static void going_away(struct upstream *upstream, struct pending_request *request)
{
    if (upstream->state == UPSTREAM_READY) {
        drain_begin(upstream, "it said GO_AWAY");
        upstream->owner->on_going_away(upstream);
    }
    struct failure_report report;
    failure_set(&report, FAILURE_UNREACHABLE, false,
        "%s is stopping and takes no requests (GO_AWAY)", upstream->name);
    if (request->was_repeated) {
        in_flight_remove(upstream, request);
        upstream->address_stats->errors++;
        request->handler->on_failure(request, &report);
        return;
    }
    request->was_repeated = true;
    in_flight_repeat(upstream, request, &report);
}

static void response_take(struct upstream *upstream, struct remoting_command *response,
    const struct command_source *source)
{
    struct upstream_context *context = upstream->context;
    struct pending_request *request;
    switch (pending_table_take(context->pending, upstream->id, response->opaque, &request)) {
    case PENDING_TAKEN:
        if (response->code == RESPONSE_GO_AWAY) {
            going_away(upstream, request);
        } else {
            latency_add(
                &upstream->address_stats->latency, context->loop->now_us - request->sent_us);
            in_flight_remove(upstream, request);
            rpc_hooks_after(&context->hooks, response, upstream->name, request->signature);
            request->handler->on_response(request, response, source);
        }
        in_flight_left(upstream);
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
    UNINITIALIZED struct header_problem problem;
    enum header_status status =
        remoting_command_decode(command, frame, size, &serialize_type, &problem);
    if (status != HEADER_OK) {
        char cause[sizeof(problem.text) + 64];
        (void)snprintf(
            cause, sizeof(cause), "it sent a frame that cannot be decoded: %s", problem.text);
        upstream_close(upstream, UPSTREAM_END_GARBAGE, cause);
        return;
    }
    upstream->has_answered = true;
    const struct command_source source = { .frame = frame, .size = size, .owner = owner };
    if (!remoting_command_is_response(command)) {
        context->broker_requests->on_request(
            context->broker_requests_context, upstream, command, &source);
        return;
    }
    response_take(upstream, command, &source);
}

static void on_bad_frame(struct transport *transport, uint8_t *data, size_t n)
{
    char problem[128];
    frame_describe_problem(data, n, transport->frame_limit, problem, sizeof(problem));
    char cause[sizeof(problem) + 64];
    (void)snprintf(cause, sizeof(cause), "it sent what is no frame: %s", problem);
    upstream_close(upstream_of(transport), UPSTREAM_END_GARBAGE, cause);
}

static void on_end(struct transport *transport, enum transport_end end, int error)
{
    const char *cause = NULL;
    switch (end) {
    case TRANSPORT_END_OF_FILE:
    case TRANSPORT_ERROR:
        cause = transport_error_text(transport, error);
        break;
    case TRANSPORT_NO_MEMORY:
        cause = "no memory for its answer";
        break;
    }
    upstream_close(upstream_of(transport), UPSTREAM_END_PEER, cause);
}

static void on_written(struct transport *transport)
{
    struct upstream *upstream = upstream_of(transport);
    if (upstream->n_oneway_unwritten > 0 && transport->bytes_sent >= upstream->oneway_end) {
        upstream->context->stats->oneway_written += upstream->n_oneway_unwritten;
        upstream->n_oneway_unwritten = 0;
    }
    if (upstream->shares) {
        share_ledger_release(upstream->shares, transport->bytes_sent);
        if (share_ledger_is_empty(upstream->shares)) {
            upstream->shares = share_ledger_free(upstream->shares);
        }
    }
    in_flight_left(upstream);
}

static const struct transport_handler upstream_transport_handler = {
    .on_frame = on_frame,
    .on_bad_frame = on_bad_frame,
    .on_end = on_end,
    .on_written = on_written,
    .on_connected = on_connected,
};

/* --- silence --- */

static void on_probe_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    (void)response;
    (void)source;
    struct upstream *upstream =
        (struct upstream *)(void *)((char *)request - offsetof(struct upstream, probe));
    upstream->n_silent = 0;
    upstream->owner->on_probed(upstream, true);
}

/* Bytes are no silence: the answer may be on its way, behind a large one. */
static void on_probe_failure(struct pending_request *request, const struct failure_report *report)
{
    struct upstream *upstream =
        (struct upstream *)(void *)((char *)request - offsetof(struct upstream, probe));
    if (upstream->state != UPSTREAM_CLOSED && report->failure == FAILURE_TIMEOUT) {
        upstream->owner->on_probed(upstream, upstream->transport.received_ms > request->sent_ms);
    }
}

static const struct pending_request_handler probe_handler = {
    .on_response = on_probe_response,
    .on_failure = on_probe_failure,
};

/* A question for a route: nameservers answer it, and brokers say that they do not know the code. */
void upstream_probe_command(struct remoting_command *command, struct ext_field *field)
{
    *command = (struct remoting_command){
        .code = REQUEST_GET_ROUTEINFO_BY_TOPIC,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
    };
    ext_fields_init(&command->ext_fields, field, 1);
    (void)ext_fields_add(&command->ext_fields, SPAN("topic"), SPAN("TBW102"));
}

int upstream_probe(struct upstream *upstream, struct failure_report *report)
{
    if (upstream->probe.state != REQUEST_IDLE) {
        return 0;
    }
    if (upstream->transport.output.size >= upstream->context->buffer_limit) {
        upstream->owner->on_probed(upstream, false); /* it does not even read */
        return 0;
    }
    struct remoting_command command;
    upstream_probe_command(&command, &upstream->probe_field);
    upstream->probe.deadline_ms = clock_after(upstream->context->loop->now_ms, UPSTREAM_PROBE_MS);
    return upstream_send(upstream, &upstream->probe, &command, NULL, report);
}

/* A deadline passed on a connection that lives as far as its socket says. */
static void silence_count(struct upstream *upstream, uint64_t sent_ms)
{
    struct upstream_context *context = upstream->context;
    uint64_t received_ms = upstream->transport.received_ms;
    if (received_ms != upstream->silent_received_ms) {
        upstream->silent_received_ms = received_ms;
        upstream->n_silent = 0;
    }
    if (received_ms > sent_ms) {
        return;
    }
    upstream->n_silent++;
    if (upstream->state == UPSTREAM_READY && upstream->n_silent >= context->breaker_failures &&
        context->loop->now_ms - received_ms >= UPSTREAM_SILENCE_MIN_MS) {
        struct failure_report report;
        (void)upstream_probe(upstream, &report); /* or with the next deadline that passes */
    }
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
    uint64_t sent_ms = request->sent_ms;
    bool is_probe = request == &upstream->probe;
    if (request->handler->on_deadline) {
        request->handler->on_deadline(request);
    }
    if (request->state == REQUEST_IN_FLIGHT) {
        pending_table_abandon(upstream->context->pending, request->upstream_opaque, now_ms);
        in_flight_remove(upstream, request);
    }
    upstream->address_stats->errors++;
    request->handler->on_failure(request, &report);
    if (!is_probe) {
        silence_count(upstream, sent_ms);
    }
    in_flight_left(upstream);
}

static bool secure(struct upstream *upstream, int fd)
{
    struct tls_stream *stream =
        tls_stream_new(upstream->context->tls, upstream->address->host, upstream->name, fd);
    if (stream) {
        transport_secure(&upstream->transport, stream);
    }
    return stream != NULL;
}

struct upstream *upstream_new(struct upstream_context *context, const struct upstream_owner *owner,
    struct upstream_address *address, struct address_stats *address_stats, bool is_long_poll,
    const char *name, const struct sockaddr *socket_address, socklen_t socket_address_size,
    int *ret_error)
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
    upstream->address_stats = address_stats;
    upstream->is_long_poll = is_long_poll;
    memcpy(&upstream->peer, socket_address, socket_address_size);
    upstream->peer_size = socket_address_size;
    upstream->name = name_copy;
    upstream->id = ++context->next_upstream_id;
    upstream->state = UPSTREAM_CONNECTING;
    upstream->used_ms = context->loop->now_ms;
    TAILQ_INIT(&upstream->in_flight);
    deadline_init(&upstream->connect_deadline, on_connect_deadline);
    pending_request_init(&upstream->probe, &probe_handler);
    if (transport_open(&upstream->transport, context->loop, context->memory,
            &upstream_transport_handler, fd, FRAME_SIZE_MAX, true) < 0) {
        fd = -1;
        *ret_error = ENOMEM;
        goto fail;
    }
    if (context->tls && !secure(upstream, fd)) {
        transport_close(&upstream->transport);
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

/*
 * The command as it goes upstream: always JSON, a version that brokers treat as new, the caller's
 * language. A body is copied at most once: behind its head where both fit a block, else it is
 * referred to where it lies, or copied into a buffer of its own. Notes in *written what was
 * written.
 */
static int command_write(struct upstream *upstream, const struct remoting_command *command,
    int32_t upstream_opaque, bool is_oneway, struct frame_buffer *body_owner,
    struct written_frame *written)
{
    struct remoting_command upstream_command = *command;
    upstream_command.opaque = upstream_opaque;
    upstream_command.flag = is_oneway ? REMOTING_FLAG_ONEWAY : 0;
    upstream_command.has_ext_fields = true;
    if (upstream_command.version < REMOTING_VERSION) {
        upstream_command.version = REMOTING_VERSION;
    }
    size_t head_room = remoting_command_head_room(&upstream_command, SERIALIZE_JSON);
    struct span body = command->body;
    if (head_room == 0) {
        return -EMSGSIZE;
    }
    struct memory *memory = upstream->context->memory;
    bool refers = body_owner && body.n >= OUTPUT_REFER_SIZE;
    CLEANUP(frame_buffer_unref) struct frame_buffer *copy = NULL;
    if (!refers && head_room + body.n > OUTPUT_BLOCK_SIZE) {
        copy = frame_buffer_new(memory, body.n > OUTPUT_REFER_SIZE ? body.n : OUTPUT_REFER_SIZE);
        if (!copy) {
            return -ENOMEM;
        }
        memcpy(copy->data, body.data, body.n);
        body.data = (const char *)copy->data;
        body_owner = copy;
        refers = body.n >= OUTPUT_REFER_SIZE;
    }
    struct output *output = &upstream->transport.output;
    struct span together = refers || head_room + body.n > OUTPUT_BLOCK_SIZE ? SPAN_ABSENT : body;
    size_t size;
    uint8_t *data =
        output_append_head(output, &upstream_command, SERIALIZE_JSON, head_room, together, &size);
    if (!data) {
        return -ENOMEM;
    }
    if (!is_oneway) {
        written->block = output_keep_last(output);
        written->data = data;
        written->size = size;
    }
    if (together.n == body.n) {
        return 0;
    }
    if (written->block) {
        /* Also where it is copied behind the head: it may be cut by the end of the block. */
        written->body = body;
        written->body_owner = frame_buffer_ref(body_owner);
    }
    return output_append(output, body.data, body.n, refers ? body_owner : NULL);
}

/* Few bytes wait for nearly all brokers nearly always: whose they are is not noted. */
static bool has_backlog(const struct upstream *upstream)
{
    return upstream->transport.output.size >= upstream->context->buffer_limit / SHARES_FROM;
}

/* Whether a request for this session may be added to what waits. */
static bool has_share(
    const struct upstream *upstream, uint64_t session_id, struct failure_report *report)
{
    size_t limit = upstream->context->buffer_limit;
    size_t size = upstream->transport.output.size;
    size_t n_others = 0;
    size_t own = upstream->shares ? share_ledger_of(upstream->shares, session_id, &n_others) : 0;
    if (fair_share_admits(size, limit, own, n_others)) {
        return true;
    }
    if (size >= limit) {
        failure_set(report, FAILURE_OVERLOADED, false,
            "%s does not read: %zu bytes wait for it, limits.upstream_buffer is %zu",
            upstream->name, size, limit);
    } else {
        failure_set(report, FAILURE_OVERLOADED, false,
            "%s does not read: %zu bytes wait for it, %zu of them are this caller's share of "
            "limits.upstream_buffer (%zu)",
            upstream->name, size, own, limit);
    }
    return false;
}

static void share_note(struct upstream *upstream, uint64_t session_id, uint64_t start)
{
    if (!upstream->shares) {
        upstream->shares = share_ledger_new();
    }
    uint64_t end = upstream->transport.bytes_sent + upstream->transport.output.size;
    if (upstream->shares) {
        share_ledger_note(upstream->shares, session_id, (size_t)(end - start), end);
    }
}

int upstream_send(struct upstream *upstream, struct pending_request *request,
    const struct remoting_command *command, struct frame_buffer *body_owner,
    struct failure_report *report)
{
    struct upstream_context *context = upstream->context;
    uint64_t now_ms = context->loop->now_ms;
    struct output *output = &upstream->transport.output;
    if (has_backlog(upstream) && !has_share(upstream, request->session_id, report)) {
        return -ENOBUFS;
    }
    command = rpc_hooks_before(&context->hooks, command, upstream->name, &request->signature);
    if (!command) {
        failure_set(report, FAILURE_OVERLOADED, false, "out of memory");
        return -ENOMEM;
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
    /*
     * Long polls are parked for long: their blocks would pile up. Who sends them keeps them. Any
     * slow request may hold a whole block: where half of the memory is used they hold none.
     */
    bool keeps = !request->is_oneway && !kept_command_is_kept(&request->kept) &&
                 !upstream->is_long_poll &&
                 memory_has_room(context->memory, context->memory->limit / KEPT_MEMORY_PART);
    int r = command_write(
        upstream, command, upstream_opaque, request->is_oneway, body_owner, &request->written);
    if (r == 0 && !keeps) {
        written_frame_deinit(&request->written, context->memory);
    }
    if (r < 0) {
        written_frame_deinit(&request->written, context->memory);
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
                upstream_close(upstream, UPSTREAM_END_GARBAGE, "out of memory within a frame");
            }
        }
        return r;
    }
    if (has_backlog(upstream)) {
        share_note(upstream, request->session_id, stream_start);
    }
    transport_flush_later(&upstream->transport);
    upstream->used_ms = now_ms;
    upstream->address_stats->requests++;
    if (request->is_oneway) {
        upstream->n_oneway_unwritten++;
        upstream->oneway_end = upstream->transport.bytes_sent + output->size;
        return 0;
    }
    request->state = REQUEST_IN_FLIGHT;
    request->address = upstream->address;
    request->upstream = upstream;
    request->upstream_opaque = upstream_opaque;
    request->stream_start = stream_start;
    request->sent_ms = now_ms;
    request->sent_us = context->loop->now_us;
    request->deadline.on_deadline = on_request_deadline;
    loop_deadline_set(context->loop, &request->deadline, request->deadline_ms);
    TAILQ_INSERT_TAIL(&upstream->in_flight, request, link);
    upstream->n_in_flight++;
    return 0;
}

void pending_request_cancel(struct upstream_context *context, struct pending_request *request)
{
    switch (request->state) {
    case REQUEST_IDLE:
        return;
    case REQUEST_WAITING:
        upstream_address_forget_waiting(request);
        return;
    case REQUEST_IN_FLIGHT:
        break;
    }
    struct upstream *upstream = request->upstream;
    pending_table_abandon(context->pending, request->upstream_opaque, context->loop->now_ms);
    in_flight_remove(upstream, request);
    in_flight_left(upstream);
}

void pending_request_move(
    struct upstream_context *context, struct pending_request *from, struct pending_request *to)
{
    struct upstream *upstream = from->upstream;
    to->address = from->address;
    to->upstream = upstream;
    to->upstream_opaque = from->upstream_opaque;
    to->stream_start = from->stream_start;
    to->sent_ms = from->sent_ms;
    to->sent_us = from->sent_us;
    to->was_repeated = from->was_repeated;
    to->deadline.on_deadline = on_request_deadline;
    pending_table_replace(context->pending, from->upstream_opaque, to);
    in_flight_remove(upstream, from);
    to->state = REQUEST_IN_FLIGHT;
    TAILQ_INSERT_TAIL(&upstream->in_flight, to, link);
    upstream->n_in_flight++;
    loop_deadline_set(context->loop, &to->deadline, to->deadline_ms);
}
