#include "daemon/upstream/upstream_address.h"

#include "daemon/loop/log.h"
#include "daemon/upstream/upstream_pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void attempt_start(struct upstream_address *address);
static void attempt_next(struct upstream_address *address);
static void attempt_failed(struct upstream_address *address, const char *cause);

static struct upstream_context *context_of(const struct upstream_address *address)
{
    return upstream_pool_context(address->pool);
}

static uint64_t now_of(const struct upstream_address *address)
{
    return context_of(address)->loop->now_ms;
}

const char *upstream_address_name(const struct upstream_address *address)
{
    return address->key + 1 + (address->class == POOL_CONTROL ? ADDRESS_IDENTITY_SIZE : 0);
}

/* Every change of the attempt's state is here. */
static void attempt_enter(struct upstream_address *address, enum address_attempt attempt)
{
    loop_deadline_clear(context_of(address)->loop, &address->attempt_due);
    if (address->query) {
        resolver_cancel(address->query);
        address->query = NULL;
    }
    if (address->attempt == ATTEMPT_NO_ROOM && attempt != ATTEMPT_NO_ROOM) {
        upstream_pool_leave_room_queue(address->pool, address);
    }
    if (attempt == ATTEMPT_NO_ROOM && address->attempt != ATTEMPT_NO_ROOM) {
        upstream_pool_enter_room_queue(address->pool, address);
    }
    address->is_hurried = false;
    address->attempt = attempt;
}

bool upstream_address_is_wanted(const struct upstream_address *address)
{
    return !TAILQ_EMPTY(&address->waiting) || now_of(address) - address->wanted_ms < POOL_WANTED_MS;
}

uint64_t upstream_address_next_attempt_ms(const struct upstream_address *address)
{
    const struct backoff_limits *limits = upstream_pool_backoff_limits(address->pool);
    uint64_t next_ms =
        backoff_next_attempt_ms(&address->backoff, limits, upstream_address_is_wanted(address));
    uint64_t hurried_ms = clock_after(address->backoff.failed_at_ms, limits->initial_ms);
    return address->is_hurried && hurried_ms < next_ms ? hurried_ms : next_ms;
}

/* Nothing is connected, and the last attempt failed. */
static bool is_backing_off(const struct upstream_address *address)
{
    return address->backoff.n_failures > 0 && address->n_ready == 0 &&
           address->attempt == ATTEMPT_NONE;
}

static struct upstream *ready_least_busy(const struct upstream_address *address)
{
    struct upstream *least = NULL;
    struct upstream *upstream;
    TAILQ_FOREACH (upstream, &address->upstreams, link) {
        bool is_candidate = upstream->state == UPSTREAM_READY && upstream != address->connecting;
        if (is_candidate && (!least || upstream->n_in_flight < least->n_in_flight)) {
            least = upstream;
        }
    }
    return least;
}

/* --- requests that wait --- */

void upstream_address_forget_waiting(struct pending_request *request)
{
    struct upstream_address *address = request->address;
    TAILQ_REMOVE(&address->waiting, request, link);
    loop_deadline_clear(context_of(address)->loop, &request->deadline);
    request->state = REQUEST_IDLE;
    request->address = NULL;
    if (address->attempt == ATTEMPT_NO_ROOM && TAILQ_EMPTY(&address->waiting)) {
        /* No connection that somebody uses is closed to make room for nobody. */
        attempt_enter(address, ATTEMPT_NONE);
    }
}

static void request_fail(struct upstream_address *address, struct pending_request *request,
    const struct failure_report *report)
{
    address->stats.requests++;
    address->stats.errors++;
    request->handler->on_failure(request, report);
}

static void unreachable_report(
    const struct upstream_address *address, struct failure_report *report)
{
    uint64_t wait_ms = clock_until(now_of(address), upstream_address_next_attempt_ms(address));
    if (address->attempt == ATTEMPT_NO_ROOM) {
        failure_set(report, FAILURE_OVERLOADED, false,
            "no connection to %s: pool.max_connections is reached and none of them is idle",
            upstream_address_name(address));
    } else if (is_backing_off(address)) {
        failure_set(report, FAILURE_UNREACHABLE, false,
            "cannot connect to %s: %s; attempt %u failed, the next one is due in %" PRIu64 " ms",
            upstream_address_name(address), address->cause, address->backoff.n_failures, wait_ms);
    } else {
        failure_set(report, FAILURE_UNREACHABLE, false,
            "no connection to %s before the deadline%s%s", upstream_address_name(address),
            address->cause[0] ? "; the last attempt failed: " : "", address->cause);
    }
}

bool upstream_address_is_too_late(
    const struct upstream_address *address, uint64_t deadline_ms, struct failure_report *report)
{
    if (!is_backing_off(address) || upstream_address_next_attempt_ms(address) < deadline_ms) {
        return false;
    }
    unreachable_report(address, report);
    return true;
}

static void on_waiting_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct pending_request *request =
        (struct pending_request *)(void *)((char *)deadline -
                                           offsetof(struct pending_request, deadline));
    struct upstream_address *address = request->address;
    struct failure_report report;
    unreachable_report(address, &report);
    upstream_address_forget_waiting(request);
    request_fail(address, request, &report);
}

static int waiting_add(struct upstream_address *address, struct pending_request *request,
    const struct remoting_command *command, const struct command_source *source)
{
    struct upstream_context *context = context_of(address);
    if (command != &request->kept.command) {
        int r = kept_command_keep(&request->kept, context->memory, command, source, 0);
        if (r < 0) {
            return r;
        }
    }
    request->state = REQUEST_WAITING;
    request->address = address;
    request->sent_ms = context->loop->now_ms;
    request->deadline.on_deadline = on_waiting_deadline;
    loop_deadline_set(context->loop, &request->deadline, pending_request_waits_until_ms(request));
    TAILQ_INSERT_TAIL(&address->waiting, request, link);
    return 0;
}

/*
 * Everything that waits now goes its way again, and may come back to the end. Whoever is told may
 * take others away, so that each is taken from the list only when it is its turn.
 */
static void waiting_send(struct upstream_address *address)
{
    size_t n = 0;
    struct pending_request *request;
    TAILQ_FOREACH (request, &address->waiting, link) {
        n++;
    }
    for (; n > 0 && !TAILQ_EMPTY(&address->waiting); n--) {
        request = TAILQ_FIRST(&address->waiting);
        upstream_address_forget_waiting(request);
        const struct command_source source = kept_command_source(&request->kept);
        upstream_address_invoke(address, request, &request->kept.command, &source);
    }
}

/* Who fails fast waits for an attempt that is made out of its turn, and for no other. */
static bool must_give_up(
    const struct upstream_address *address, const struct pending_request *request)
{
    return (request->fails_fast && !address->is_hurried) ||
           pending_request_waits_until_ms(request) <= upstream_address_next_attempt_ms(address);
}

/*
 * After a failed attempt: who cannot wait for the next one is told now. Those are brought to the
 * front first: whoever is told may add others, which go to the end, and take any away.
 */
static void waiting_give_up(struct upstream_address *address)
{
    struct pending_request *request, *next;
    for (request = TAILQ_FIRST(&address->waiting); request; request = next) {
        next = TAILQ_NEXT(request, link);
        if (must_give_up(address, request)) {
            TAILQ_REMOVE(&address->waiting, request, link);
            TAILQ_INSERT_HEAD(&address->waiting, request, link);
        }
    }
    while (is_backing_off(address) && !TAILQ_EMPTY(&address->waiting) &&
           must_give_up(address, TAILQ_FIRST(&address->waiting))) {
        struct failure_report report;
        unreachable_report(address, &report);
        request = TAILQ_FIRST(&address->waiting);
        upstream_address_forget_waiting(request);
        request_fail(address, request, &report);
    }
}

/* --- attempts --- */

static void on_attempt_due(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct upstream_address *address =
        (struct upstream_address *)(void *)((char *)deadline -
                                            offsetof(struct upstream_address, attempt_due));
    if (address->attempt == ATTEMPT_NONE && address->n_ready == 0 &&
        upstream_address_is_wanted(address)) {
        attempt_start(address);
    }
}

/*
 * An attempt that is not made for somebody who waits is made at the end of a turn: no handler runs
 * under who asked a question.
 */
static void attempt_plan(struct upstream_address *address)
{
    if (address->attempt != ATTEMPT_NONE || address->n_ready > 0) {
        return;
    }
    uint64_t at_ms = upstream_address_next_attempt_ms(address);
    if (TAILQ_EMPTY(&address->waiting) && at_ms < address->pause_until_ms) {
        at_ms = address->pause_until_ms;
    }
    loop_deadline_set(context_of(address)->loop, &address->attempt_due, at_ms);
}

/* Somebody waits for an address that is not connected: now, or as soon as the backoff allows. */
static void attempt_want(struct upstream_address *address)
{
    if (address->attempt == ATTEMPT_NONE && address->n_ready == 0 &&
        upstream_address_next_attempt_ms(address) <= now_of(address)) {
        attempt_start(address);
    } else {
        attempt_plan(address);
    }
}

/* There is no room for a connection that nobody waits for: later. Nothing failed. */
static void attempt_put_off(struct upstream_address *address)
{
    attempt_enter(address, ATTEMPT_NONE);
    address->pause_until_ms = clock_after(now_of(address), ADDRESS_PAUSE_MS);
    if (address->backoff.n_failures > 0) {
        attempt_plan(address);
    }
}

static void attempt_succeeded(struct upstream_address *address)
{
    address->connecting = NULL;
    address->n_ready++;
    address->must_probe = false;
    address->cause[0] = '\0';
    if (address->backoff.n_failures > 0) {
        net_event_note(context_of(address)->events, EVENT_IN_USE, false,
            upstream_address_name(address), "after %u attempts", address->backoff.n_failures);
    }
    backoff_succeed(&address->backoff);
    attempt_enter(address, ATTEMPT_NONE);
    waiting_send(address);
}

static void attempt_failed(struct upstream_address *address, const char *cause)
{
    struct upstream_context *context = context_of(address);
    if (cause != address->cause) {
        (void)snprintf(address->cause, sizeof(address->cause), "%s", cause);
    }
    attempt_enter(address, ATTEMPT_NONE);
    if (address->n_ready > 0) {
        /* It was one more for an address that works. */
        address->pause_until_ms = clock_after(context->loop->now_ms, ADDRESS_PAUSE_MS);
        return;
    }
    if (address->backoff.n_failures == 0) {
        net_event_note(context->events, EVENT_OUT_OF_USE, true, upstream_address_name(address),
            "%s", address->cause);
    }
    backoff_fail(&address->backoff, context->loop->now_ms, loop_random(context->loop));
    waiting_give_up(address);
    if (is_backing_off(address) && upstream_address_is_wanted(address) &&
        !upstream_pool_is_closed(address->pool)) {
        attempt_plan(address);
    }
}

/* --- what its connections tell --- */

static void on_ready(struct upstream *upstream)
{
    struct upstream_address *address = upstream->address;
    if (!address->must_probe) {
        attempt_succeeded(address);
        return;
    }
    attempt_enter(address, ATTEMPT_PROBING);
    struct failure_report report;
    if (upstream_probe(upstream, &report) < 0 && upstream->state != UPSTREAM_CLOSED) {
        upstream_close(upstream, UPSTREAM_END_ROOM, report.cause);
    }
}

static void on_probed(struct upstream *upstream, bool is_alive)
{
    struct upstream_address *address = upstream->address;
    if (is_alive) {
        if (upstream == address->connecting) {
            attempt_succeeded(address);
        }
        return;
    }
    char cause[ADDRESS_CAUSE_SIZE];
    (void)snprintf(cause, sizeof(cause),
        upstream == address->connecting
            ? "it takes connections, and does not answer a probe"
            : "silent through %u deadlines, and it does not answer a probe",
        upstream->n_silent);
    upstream_close(upstream, UPSTREAM_END_SILENT, cause);
}

static bool is_failure(enum upstream_end end)
{
    switch (end) {
    case UPSTREAM_END_PEER:
    case UPSTREAM_END_GARBAGE:
    case UPSTREAM_END_SILENT:
        return true;
    case UPSTREAM_END_DRAINED:
    case UPSTREAM_END_IDLE:
    case UPSTREAM_END_ROOM:
    case UPSTREAM_END_STOPPING:
        return false;
    }
    return false;
}

static void on_closed(
    struct upstream *upstream, enum upstream_state state, enum upstream_end end, const char *cause)
{
    struct upstream_address *address = upstream->address;
    TAILQ_REMOVE(&address->upstreams, upstream, link);
    upstream_pool_connection_left(address, state);
    if (upstream->has_answered) {
        address->n_unanswered = 0;
    }
    if (is_failure(end)) {
        (void)snprintf(address->cause, sizeof(address->cause), "%s", cause);
    }
    if (upstream == address->connecting) {
        address->connecting = NULL;
        if (address->attempt != ATTEMPT_NONE) {
            attempt_next(address);
        }
        return;
    }
    if (state == UPSTREAM_READY) {
        address->n_ready--;
    }
    if (end == UPSTREAM_END_SILENT) {
        address->must_probe = true;
    }
    if (address->attempt != ATTEMPT_NONE) {
        return; /* another one is on its way already */
    }
    if (end == UPSTREAM_END_SILENT) {
        attempt_failed(address, address->cause);
    } else if (!upstream->has_answered && upstream->n_in_flight > 0) {
        /* Somebody listens there, but no broker: it is tried again as if it had not accepted. */
        address->must_probe = upstream->transport.bytes_sent == 0; /* it took nothing: a refusal */
        address->backoff.n_failures = address->n_unanswered++;
        attempt_failed(address, address->cause);
    } else if (!TAILQ_EMPTY(&address->waiting)) {
        attempt_want(address);
    }
}

static void on_going_away(struct upstream *upstream)
{
    struct upstream_address *address = upstream->address;
    if (upstream == address->connecting) {
        /* That was the probe: the attempt fails when the connection closes. */
        (void)snprintf(
            address->cause, sizeof(address->cause), "it is stopping, and takes no requests");
    } else {
        address->n_ready--;
    }
}

static void on_repeat(struct upstream_address *address, struct pending_request *request,
    const struct failure_report *report)
{
    if (request->deadline_ms <= now_of(address) || upstream_pool_is_closed(address->pool)) {
        address->stats.errors++;
        request->handler->on_failure(request, report);
        return;
    }
    const struct command_source source = kept_command_source(&request->kept);
    upstream_address_invoke(address, request, &request->kept.command, &source);
}

static void on_idle(struct upstream *upstream)
{
    upstream_pool_connection_idle(upstream->address->pool);
}

static const struct upstream_owner upstream_owner = {
    .on_ready = on_ready,
    .on_closed = on_closed,
    .on_going_away = on_going_away,
    .on_repeat = on_repeat,
    .on_probed = on_probed,
    .on_idle = on_idle,
};

/* --- the attempt, step by step --- */

/* The resolved address is connected already under another name: that one's connections serve. */
static void alias_set(struct upstream_address *address, struct upstream_address *other)
{
    address->alias = other;
    address->must_probe = false;
    backoff_succeed(&address->backoff);
    attempt_enter(address, ATTEMPT_NONE);
    waiting_send(address);
}

/*
 * The alias for as long as it has a connection, or makes one. After that the name is resolved anew,
 * for it may have moved; what was learnt about the alias is known under this name, too.
 */
static struct upstream_address *alias_of(struct upstream_address *address)
{
    struct upstream_address *alias = address->alias;
    if (!alias || alias->n_ready > 0 || alias->attempt != ATTEMPT_NONE) {
        return alias;
    }
    address->alias = NULL;
    address->backoff = alias->backoff;
    address->must_probe = alias->must_probe;
    memcpy(address->cause, alias->cause, sizeof(address->cause));
    return NULL;
}

/* Connects to the next of the resolved addresses; with none left the attempt has failed. */
static void attempt_next(struct upstream_address *address)
{
    struct resolver_result *resolved = &address->resolved;
    while (address->next_resolved < resolved->n && !address->is_dropped &&
           !upstream_pool_is_closed(address->pool)) {
        size_t i = address->next_resolved;
        const struct sockaddr *socket_address = (const struct sockaddr *)&resolved->addresses[i];
        if (!upstream_pool_admits(address->pool, upstream_address_name(address), socket_address)) {
            (void)snprintf(address->cause, sizeof(address->cause),
                "[upstream] route_addresses does not admit it");
            address->next_resolved++;
            continue;
        }
        struct upstream_address *other = upstream_pool_find_connected(
            address->pool, address, socket_address, resolved->sizes[i]);
        if (other) {
            alias_set(address, other);
            return;
        }
        bool is_waited_for = !TAILQ_EMPTY(&address->waiting);
        if (address->class != POOL_CONTROL &&
            !upstream_pool_take_room(address->pool, is_waited_for)) {
            if (is_waited_for) {
                attempt_enter(address, ATTEMPT_NO_ROOM);
            } else {
                attempt_put_off(address);
            }
            return;
        }
        address->next_resolved++;
        int error;
        struct upstream *upstream = upstream_new(context_of(address), &upstream_owner, address,
            &address->stats, address->class == POOL_LONG_POLL, upstream_address_name(address),
            socket_address, resolved->sizes[i], &error);
        if (upstream) {
            TAILQ_INSERT_TAIL(&address->upstreams, upstream, link);
            upstream_pool_connection_made(address);
            address->connecting = upstream;
            attempt_enter(address, ATTEMPT_CONNECTING);
            return;
        }
        (void)snprintf(address->cause, sizeof(address->cause), "%s", strerror(error));
    }
    attempt_failed(address, address->cause);
}

void upstream_address_has_room(struct upstream_address *address)
{
    attempt_enter(address, ATTEMPT_CONNECTING);
    attempt_next(address);
}

static void on_resolved(void *context, const struct resolver_result *result)
{
    struct upstream_address *address = context;
    address->query = NULL;
    if (result->n == 0) {
        char cause[ADDRESS_CAUSE_SIZE];
        (void)snprintf(cause, sizeof(cause), "the name cannot be resolved: %s", result->error);
        char quoted[LOG_QUOTE_SIZE];
        log_info("upstream=%s RESOLVING -> CLOSED cause=%s", upstream_address_name(address),
            log_quote(cause, strlen(cause), quoted));
        attempt_failed(address, cause);
        return;
    }
    address->resolved = *result;
    address->next_resolved = 0;
    attempt_next(address);
}

static void attempt_start(struct upstream_address *address)
{
    attempt_enter(address, ATTEMPT_RESOLVING);
    address->next_resolved = 0;
    if (resolver_parse_literal(address->host, address->port, &address->resolved)) {
        attempt_next(address);
        return;
    }
    address->query = resolver_query(
        upstream_pool_resolver(address->pool), address->host, address->port, on_resolved, address);
    if (!address->query) {
        attempt_failed(address, strerror(ENOMEM));
    }
}

/* --- requests --- */

/* Sends on a READY upstream, and tells a oneway request's owner. */
static void send_now(struct upstream_address *address, struct upstream *upstream,
    struct pending_request *request, const struct remoting_command *command,
    const struct command_source *source)
{
    UNINITIALIZED struct failure_report report;
    struct frame_buffer *body_owner = source->body_owner ? source->body_owner : source->owner;
    if (upstream_send(upstream, request, command, body_owner, &report) < 0) {
        request_fail(address, request, &report);
    } else if (request->is_oneway) {
        request->handler->on_sent(request);
    }
}

/* One more connection where all are busy and the configuration allows it, in the background. */
static void grow(struct upstream_address *address, const struct upstream *least_busy)
{
    if (least_busy->n_in_flight > 0 && address->attempt == ATTEMPT_NONE &&
        address->class != POOL_CONTROL &&
        address->n_ready < upstream_pool_connections_per_address(address->pool) &&
        now_of(address) >= address->pause_until_ms) {
        attempt_start(address);
    }
}

void upstream_address_invoke(struct upstream_address *address, struct pending_request *request,
    const struct remoting_command *command, const struct command_source *source)
{
    address->wanted_ms = now_of(address);
    struct upstream_address *alias = alias_of(address);
    if (alias) {
        upstream_address_invoke(alias, request, command, source);
        return;
    }
    struct upstream *upstream = ready_least_busy(address);
    if (upstream) {
        grow(address, upstream);
        send_now(address, upstream, request, command, source);
        return;
    }
    struct failure_report report;
    if (is_backing_off(address) && must_give_up(address, request) &&
        upstream_address_next_attempt_ms(address) > now_of(address)) {
        attempt_plan(address);
        unreachable_report(address, &report);
        request_fail(address, request, &report);
        return;
    }
    if (waiting_add(address, request, command, source) < 0) {
        failure_set(&report, FAILURE_OVERLOADED, false,
            "no memory to keep the request until %s is connected (limits.total_memory)",
            upstream_address_name(address));
        request_fail(address, request, &report);
        return;
    }
    attempt_want(address); /* may end at once, and the request with it */
}

bool upstream_address_is_usable(const struct upstream_address *address)
{
    while (address->alias) {
        address = address->alias;
    }
    return address->n_ready > 0 || address->backoff.n_failures == 0;
}

void upstream_address_want(struct upstream_address *address)
{
    struct upstream_address *alias = alias_of(address);
    if (alias) {
        upstream_address_want(alias);
        return;
    }
    address->wanted_ms = now_of(address);
    attempt_plan(address);
}

void upstream_address_hurry(struct upstream_address *address)
{
    struct upstream_address *alias = alias_of(address);
    if (alias) {
        upstream_address_hurry(alias);
    } else if (is_backing_off(address)) {
        address->is_hurried = true;
    }
}

/* --- its life --- */

struct upstream_address *upstream_address_new(
    struct upstream_pool *pool, enum pool_class class, struct span host, uint16_t port)
{
    struct upstream_address *address = calloc(1, sizeof(*address));
    if (!address) {
        return NULL;
    }
    address->pool = pool;
    address->class = class;
    memcpy(address->host, host.data, host.n);
    address->port = port;
    TAILQ_INIT(&address->waiting);
    TAILQ_INIT(&address->upstreams);
    deadline_init(&address->attempt_due, on_attempt_due);
    return address;
}

void upstream_address_free(struct upstream_address *address)
{
    attempt_enter(address, ATTEMPT_NONE);
    free(address);
}

void upstream_address_give_way(
    struct upstream_address *address, enum upstream_end end, const char *cause)
{
    struct upstream *connecting = address->connecting;
    attempt_put_off(address);
    if (connecting) {
        upstream_close(connecting, end, cause);
    }
}

void upstream_address_drain(struct upstream_address *address, const char *cause)
{
    address->wanted_ms = 0;
    if (TAILQ_EMPTY(&address->waiting)) {
        upstream_address_give_way(address, UPSTREAM_END_DRAINED, cause);
        loop_deadline_clear(context_of(address)->loop, &address->attempt_due);
    }
    struct upstream *upstream = TAILQ_FIRST(&address->upstreams);
    while (upstream) {
        struct upstream *next = TAILQ_NEXT(upstream, link);
        if (upstream->state == UPSTREAM_READY && upstream != address->connecting) {
            address->n_ready--;
            upstream_drain(upstream, cause);
        }
        upstream = next;
    }
}

void upstream_address_stop(struct upstream_address *address, const char *cause)
{
    struct failure_report report;
    failure_set(&report, FAILURE_DRAINING, false, "%s", cause);
    while (!TAILQ_EMPTY(&address->waiting)) {
        struct pending_request *request = TAILQ_FIRST(&address->waiting);
        upstream_address_forget_waiting(request);
        request_fail(address, request, &report);
    }
    while (!TAILQ_EMPTY(&address->upstreams)) {
        upstream_close(TAILQ_FIRST(&address->upstreams), UPSTREAM_END_STOPPING, cause);
    }
    attempt_enter(address, ATTEMPT_NONE);
}
