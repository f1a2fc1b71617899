#include "daemon/wiring/upstream_pool.h"

#include "daemon/wiring/log.h"
#include "protocol/address.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A failed allocation leaves the element out of the table. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define POOL_CAUSE_SIZE 192

enum address_state {
    ADDRESS_IDLE,
    ADDRESS_RESOLVING,
    ADDRESS_CONNECTING,
    ADDRESS_READY,
    ADDRESS_BACKING_OFF,
};

struct upstream_address {
    UT_hash_handle hh;
    struct upstream_pool *pool;
    char key[ADDRESS_TEXT_MAX + 1]; /* the class as one character, then host:port */
    char host[ADDRESS_HOST_MAX + 1];
    uint16_t port;
    enum address_state state;
    struct resolver_query *query;    /* RESOLVING */
    struct resolver_result resolved; /* CONNECTING: its addresses and which is next */
    size_t next_resolved;
    struct upstream *upstream; /* CONNECTING, READY */
    struct backoff backoff;
    struct deadline attempt; /* BACKING_OFF: when to try again */
    struct pending_request_list waiting;
    uint64_t wanted_ms;          /* when somebody last asked for it */
    char cause[POOL_CAUSE_SIZE]; /* of the last failure */
};

struct upstream_pool {
    struct upstream_context *context;
    struct resolver *resolver;
    struct backoff_limits backoff_limits;
    uint64_t max_idle_ms;
    uint64_t cleanup_interval_ms;
    struct deadline cleanup;
    struct upstream_address *addresses;
    size_t n_waiting;
    bool is_closed;
};

static void attempt_start(struct upstream_address *address);
static void attempt_next(struct upstream_address *address);
static void attempt_failed(struct upstream_address *address, const char *cause);

static const char *address_name(const struct upstream_address *address)
{
    return address->key + 1;
}

static uint64_t pool_now_ms(const struct upstream_pool *pool)
{
    return pool->context->loop->now_ms;
}

/* Every change of state is here. */
static void address_enter(struct upstream_address *address, enum address_state state)
{
    struct loop *loop = address->pool->context->loop;
    if (address->state == ADDRESS_BACKING_OFF) {
        loop_deadline_clear(loop, &address->attempt);
    }
    if (address->query) {
        resolver_cancel(address->query);
        address->query = NULL;
    }
    address->state = state;
}

static bool is_wanted(const struct upstream_address *address)
{
    return !TAILQ_EMPTY(&address->waiting) ||
           pool_now_ms(address->pool) - address->wanted_ms < POOL_WANTED_MS;
}

static uint64_t next_attempt_ms(const struct upstream_address *address, bool wanted)
{
    return backoff_next_attempt_ms(&address->backoff, &address->pool->backoff_limits, wanted);
}

/* --- requests that wait --- */

static void waiting_remove(struct pending_request *request)
{
    struct upstream_address *address = request->address;
    TAILQ_REMOVE(&address->waiting, request, link);
    address->pool->n_waiting--;
    loop_deadline_clear(address->pool->context->loop, &request->deadline);
    request->state = REQUEST_IDLE;
    request->address = NULL;
}

static void waiting_fail(struct pending_request *request, const struct failure_report *report)
{
    waiting_remove(request);
    request->handler->on_failure(request, report);
}

static void unreachable_report(
    const struct upstream_address *address, struct failure_report *report)
{
    uint64_t wait_ms = clock_until(pool_now_ms(address->pool), next_attempt_ms(address, true));
    if (address->state == ADDRESS_BACKING_OFF) {
        failure_set(report, FAILURE_UNREACHABLE, false,
            "cannot connect to %s: %s; attempt %u failed, the next one is due in %" PRIu64 " ms",
            address_name(address), address->cause, address->backoff.n_failures, wait_ms);
    } else {
        failure_set(report, FAILURE_UNREACHABLE, false,
            "no connection to %s before the deadline%s%s", address_name(address),
            address->cause[0] ? "; the last attempt failed: " : "", address->cause);
    }
}

static void on_waiting_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct pending_request *request =
        (struct pending_request *)(void *)((char *)deadline -
                                           offsetof(struct pending_request, deadline));
    struct failure_report report;
    unreachable_report(request->address, &report);
    waiting_fail(request, &report);
}

static int waiting_add(struct upstream_address *address, struct pending_request *request,
    const struct remoting_command *command, const struct command_source *source)
{
    struct upstream_pool *pool = address->pool;
    if (command != &request->kept.command) {
        int r = kept_command_keep(&request->kept, pool->context->memory, command, source, 0);
        if (r < 0) {
            return r;
        }
    }
    request->state = REQUEST_WAITING;
    request->address = address;
    request->sent_ms = pool_now_ms(pool);
    request->deadline.on_deadline = on_waiting_deadline;
    loop_deadline_set(pool->context->loop, &request->deadline, request->deadline_ms);
    TAILQ_INSERT_TAIL(&address->waiting, request, link);
    pool->n_waiting++;
    return 0;
}

/* Sends on the READY upstream, and tells a oneway request's owner. */
static void send_now(struct upstream_address *address, struct pending_request *request,
    const struct remoting_command *command, struct frame_buffer *body_owner)
{
    struct failure_report report;
    if (upstream_send(address->upstream, request, command, body_owner, &report) < 0) {
        request->handler->on_failure(request, &report);
    } else if (request->is_oneway) {
        request->handler->on_sent(request);
    }
}

static void waiting_send(struct upstream_address *address)
{
    while (address->state == ADDRESS_READY && !TAILQ_EMPTY(&address->waiting)) {
        struct pending_request *request = TAILQ_FIRST(&address->waiting);
        waiting_remove(request);
        send_now(address, request, &request->kept.command, request->kept.frame);
    }
}

static bool must_give_up(const struct pending_request *request, uint64_t next_ms)
{
    return request->fails_fast || request->deadline_ms <= next_ms;
}

/*
 * After a failed attempt: who cannot wait for the next one is told now. Those are brought to the
 * front first: whoever is told may add others, which go to the end, and take any away.
 */
static void waiting_give_up(struct upstream_address *address)
{
    uint64_t next_ms = next_attempt_ms(address, true);
    struct pending_request *request, *next;
    for (request = TAILQ_FIRST(&address->waiting); request; request = next) {
        next = TAILQ_NEXT(request, link);
        if (must_give_up(request, next_ms)) {
            TAILQ_REMOVE(&address->waiting, request, link);
            TAILQ_INSERT_HEAD(&address->waiting, request, link);
        }
    }
    while (address->state == ADDRESS_BACKING_OFF && !TAILQ_EMPTY(&address->waiting) &&
           must_give_up(TAILQ_FIRST(&address->waiting), next_ms)) {
        struct failure_report report;
        unreachable_report(address, &report);
        waiting_fail(TAILQ_FIRST(&address->waiting), &report);
    }
}

/* --- attempts --- */

static void on_attempt_due(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct upstream_address *address =
        (struct upstream_address *)(void *)((char *)deadline -
                                            offsetof(struct upstream_address, attempt));
    if (is_wanted(address)) {
        attempt_start(address);
    }
}

/*
 * Somebody wants an address that is not connected: an attempt now, or as soon as the backoff
 * allows.
 */
static void attempt_want(struct upstream_address *address)
{
    switch (address->state) {
    case ADDRESS_RESOLVING:
    case ADDRESS_CONNECTING:
    case ADDRESS_READY:
        return;
    case ADDRESS_IDLE:
    case ADDRESS_BACKING_OFF:
        break;
    }
    uint64_t next_ms = next_attempt_ms(address, true);
    if (next_ms <= pool_now_ms(address->pool)) {
        attempt_start(address);
    } else {
        loop_deadline_set(address->pool->context->loop, &address->attempt, next_ms);
    }
}

static void on_upstream_ready(struct upstream *upstream)
{
    struct upstream_address *address = upstream->address;
    backoff_succeed(&address->backoff);
    address->cause[0] = '\0';
    address_enter(address, ADDRESS_READY);
    waiting_send(address);
}

static void on_upstream_closed(struct upstream *upstream, bool was_ready, const char *cause)
{
    struct upstream_address *address = upstream->address;
    address->upstream = NULL;
    (void)snprintf(address->cause, sizeof(address->cause), "%s", cause);
    if (!was_ready) {
        attempt_next(address);
        return;
    }
    if (!upstream->has_answered && upstream->n_in_flight > 0) {
        /* Somebody listens there, but no broker: it is tried again as if it had not accepted. */
        attempt_failed(address, address->cause);
        return;
    }
    address_enter(address, ADDRESS_IDLE);
    if (!TAILQ_EMPTY(&address->waiting)) {
        attempt_want(address);
    }
}

static const struct upstream_owner upstream_owner = {
    .on_ready = on_upstream_ready,
    .on_closed = on_upstream_closed,
};

/* Connects to the next of the resolved addresses; with none left the attempt has failed. */
static void attempt_next(struct upstream_address *address)
{
    struct resolver_result *resolved = &address->resolved;
    while (address->next_resolved < resolved->n && !address->pool->is_closed) {
        size_t i = address->next_resolved++;
        int error;
        address->upstream =
            upstream_new(address->pool->context, &upstream_owner, address, address_name(address),
                (const struct sockaddr *)&resolved->addresses[i], resolved->sizes[i], &error);
        if (address->upstream) {
            address_enter(address, ADDRESS_CONNECTING);
            return;
        }
        (void)snprintf(address->cause, sizeof(address->cause), "%s", strerror(error));
    }
    attempt_failed(address, address->cause);
}

static void on_resolved(void *context, const struct resolver_result *result)
{
    struct upstream_address *address = context;
    address->query = NULL;
    if (result->n == 0) {
        char cause[POOL_CAUSE_SIZE];
        (void)snprintf(cause, sizeof(cause), "the name cannot be resolved: %s", result->error);
        attempt_failed(address, cause);
        return;
    }
    address->resolved = *result;
    address->next_resolved = 0;
    attempt_next(address);
}

static void attempt_start(struct upstream_address *address)
{
    address_enter(address, ADDRESS_RESOLVING);
    address->next_resolved = 0;
    if (resolver_parse_literal(address->host, address->port, &address->resolved)) {
        attempt_next(address);
        return;
    }
    address->query =
        resolver_query(address->pool->resolver, address->host, address->port, on_resolved, address);
    if (!address->query) {
        attempt_failed(address, strerror(ENOMEM));
    }
}

static void attempt_failed(struct upstream_address *address, const char *cause)
{
    struct upstream_pool *pool = address->pool;
    if (cause != address->cause) {
        (void)snprintf(address->cause, sizeof(address->cause), "%s", cause);
    }
    backoff_fail(&address->backoff, pool_now_ms(pool), loop_random(pool->context->loop));
    address_enter(address, ADDRESS_BACKING_OFF);
    waiting_give_up(address);
    if (address->state == ADDRESS_BACKING_OFF && is_wanted(address) && !pool->is_closed) {
        loop_deadline_set(pool->context->loop, &address->attempt, next_attempt_ms(address, true));
    }
}

/* --- addresses --- */

static void address_free(struct upstream_address *address)
{
    struct upstream_pool *pool = address->pool;
    address_enter(address, ADDRESS_IDLE);
    HASH_DEL(pool->addresses, address);
    free(address);
}

static bool address_is_forgettable(const struct upstream_address *address)
{
    return !address->upstream && !address->query && TAILQ_EMPTY(&address->waiting) &&
           !is_wanted(address);
}

static void addresses_forget(struct upstream_pool *pool)
{
    struct upstream_address *address, *next;
    HASH_ITER (hh, pool->addresses, address, next) {
        if (address_is_forgettable(address)) {
            address_free(address);
        }
    }
}

static size_t key_make(struct span name, enum pool_class class, char key[ADDRESS_TEXT_MAX + 1])
{
    if (name.n >= ADDRESS_TEXT_MAX) {
        return 0;
    }
    key[0] = class == POOL_LONG_POLL ? 'L' : 'N';
    memcpy(key + 1, name.data, name.n);
    key[name.n + 1] = '\0';
    return name.n + 1;
}

static struct upstream_address *address_find(
    struct upstream_pool *pool, struct span name, enum pool_class class)
{
    char key[ADDRESS_TEXT_MAX + 1];
    size_t n = key_make(name, class, key);
    struct upstream_address *address = NULL;
    if (n > 0) {
        HASH_FIND(hh, pool->addresses, key, n, address);
    }
    return address;
}

static int address_new(struct upstream_pool *pool, struct span name, enum pool_class class,
    struct upstream_address **ret_address, struct failure_report *report)
{
    struct span host;
    uint16_t port;
    if (!address_parse(name, &host, &port)) {
        failure_set(report, FAILURE_INVALID, false, "'%.*s' is no address: host:port is needed",
            (int)(name.n < 100 ? name.n : 100), name.data);
        return -EINVAL;
    }
    if (HASH_COUNT(pool->addresses) >= POOL_ADDRESSES_MAX) {
        addresses_forget(pool);
    }
    struct upstream_address *address = NULL;
    if (HASH_COUNT(pool->addresses) < POOL_ADDRESSES_MAX) {
        address = calloc(1, sizeof(*address));
    }
    if (!address) {
        failure_set(report, FAILURE_OVERLOADED, false,
            "%.*s would be one address more than the daemon can hold (%d)", SPAN_ARGS(name),
            POOL_ADDRESSES_MAX);
        return -ENOBUFS;
    }
    size_t key_size = key_make(name, class, address->key);
    address->pool = pool;
    memcpy(address->host, host.data, host.n);
    address->port = port;
    TAILQ_INIT(&address->waiting);
    deadline_init(&address->attempt, on_attempt_due);
    HASH_ADD_KEYPTR(hh, pool->addresses, address->key, key_size, address);
    if (!address->hh.tbl) {
        free(address);
        failure_set(report, FAILURE_OVERLOADED, false, "out of memory");
        return -ENOMEM;
    }
    *ret_address = address;
    return 0;
}

void upstream_pool_invoke(struct upstream_pool *pool, struct span name, enum pool_class class,
    struct pending_request *request, const struct remoting_command *command,
    const struct command_source *source)
{
    struct failure_report report;
    struct upstream_address *address = address_find(pool, name, class);
    if (!address && address_new(pool, name, class, &address, &report) < 0) {
        request->handler->on_failure(request, &report);
        return;
    }
    uint64_t now_ms = pool_now_ms(pool);
    address->wanted_ms = now_ms;
    if (address->state == ADDRESS_READY) {
        send_now(address, request, command, source->owner);
        return;
    }
    if (address->state == ADDRESS_BACKING_OFF) {
        attempt_want(address);
    }
    if (address->state == ADDRESS_BACKING_OFF &&
        must_give_up(request, next_attempt_ms(address, true))) {
        unreachable_report(address, &report);
        request->handler->on_failure(request, &report);
        return;
    }
    if (waiting_add(address, request, command, source) < 0) {
        failure_set(&report, FAILURE_OVERLOADED, false,
            "no memory to keep the request until %s is connected (limits.total_memory)",
            address_name(address));
        request->handler->on_failure(request, &report);
        return;
    }
    attempt_want(address);
}

bool upstream_pool_is_usable(struct upstream_pool *pool, struct span name, enum pool_class class)
{
    struct upstream_address *address = address_find(pool, name, class);
    if (!address || address->backoff.n_failures == 0) {
        return true;
    }
    address->wanted_ms = pool_now_ms(pool);
    attempt_want(address);
    return address->backoff.n_failures == 0;
}

size_t upstream_pool_n_waiting(const struct upstream_pool *pool)
{
    return pool->n_waiting;
}

size_t upstream_pool_unwritten(const struct upstream_pool *pool)
{
    size_t unwritten = 0;
    const struct upstream_address *address;
    for (address = pool->addresses; address; address = address->hh.next) {
        unwritten += address->upstream ? address->upstream->transport.output.size : 0;
    }
    return unwritten;
}

void pending_request_cancel(struct upstream_context *context, struct pending_request *request)
{
    switch (request->state) {
    case REQUEST_IDLE:
        return;
    case REQUEST_WAITING:
        waiting_remove(request);
        return;
    case REQUEST_IN_FLIGHT:
        pending_table_abandon(context->pending, request->upstream_opaque, context->loop->now_ms);
        TAILQ_REMOVE(&request->upstream->in_flight, request, link);
        request->upstream->n_in_flight--;
        loop_deadline_clear(context->loop, &request->deadline);
        request->state = REQUEST_IDLE;
        request->upstream = NULL;
        request->address = NULL;
        return;
    }
}

/* --- the pool --- */

static bool upstream_is_idle(const struct upstream_pool *pool, const struct upstream *upstream)
{
    return upstream->state == UPSTREAM_READY && upstream->n_in_flight == 0 &&
           upstream->transport.output.size == 0 &&
           pool_now_ms(pool) - upstream->used_ms >= pool->max_idle_ms;
}

static void on_cleanup(struct deadline *deadline, uint64_t now_ms)
{
    struct upstream_pool *pool =
        (struct upstream_pool *)(void *)((char *)deadline -
                                         offsetof(struct upstream_pool, cleanup));
    struct upstream_address *address, *next;
    HASH_ITER (hh, pool->addresses, address, next) {
        if (address->upstream && upstream_is_idle(pool, address->upstream)) {
            upstream_close(address->upstream, "unused for pool.max_idle");
        }
        if (address_is_forgettable(address)) {
            address_free(address);
        }
    }
    loop_deadline_set(
        pool->context->loop, &pool->cleanup, clock_after(now_ms, pool->cleanup_interval_ms));
}

struct upstream_pool *upstream_pool_new(
    struct upstream_context *context, struct resolver *resolver, const struct config *config)
{
    struct upstream_pool *pool = calloc(1, sizeof(*pool));
    if (!pool) {
        return NULL;
    }
    pool->context = context;
    pool->resolver = resolver;
    pool->backoff_limits = (struct backoff_limits){
        .initial_ms = config->backoff.initial_ms,
        .max_ms = config->backoff.max_ms,
        .max_wanted_ms = config->backoff.max_wanted_ms,
    };
    pool->max_idle_ms = config->pool.max_idle_ms;
    pool->cleanup_interval_ms = config->pool.cleanup_interval_ms;
    deadline_init(&pool->cleanup, on_cleanup);
    loop_deadline_set(context->loop, &pool->cleanup,
        clock_after(context->loop->now_ms, pool->cleanup_interval_ms));
    return pool;
}

void upstream_pool_close(struct upstream_pool *pool)
{
    pool->is_closed = true;
    struct upstream_address *address, *next;
    HASH_ITER (hh, pool->addresses, address, next) {
        struct failure_report report;
        failure_set(&report, FAILURE_DRAINING, false, "the daemon is stopping");
        while (!TAILQ_EMPTY(&address->waiting)) {
            waiting_fail(TAILQ_FIRST(&address->waiting), &report);
        }
        if (address->upstream) {
            upstream_close(address->upstream, "the daemon is stopping");
        }
        loop_deadline_clear(pool->context->loop, &address->attempt);
    }
}

struct upstream_pool *upstream_pool_free(struct upstream_pool *pool)
{
    if (!pool) {
        return NULL;
    }
    while (pool->addresses) {
        address_free(pool->addresses);
    }
    loop_deadline_clear(pool->context->loop, &pool->cleanup);
    free(pool);
    return NULL;
}
