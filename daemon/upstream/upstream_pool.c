#include "daemon/upstream/upstream_pool.h"

#include "daemon/upstream/destination.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Requests go to few addresses again and again, and their ports tell most of those apart. */
#define RECENT_ADDRESSES 16

struct upstream_pool {
    struct upstream_context *context;
    struct resolver *resolver;
    const struct config *config;
    struct backoff_limits backoff_limits;
    size_t connections_per_address;
    size_t max_connections; /* 0: no limit */
    uint64_t max_idle_ms;
    uint64_t cleanup_interval_ms;
    struct deadline cleanup;
    struct upstream_address *addresses;
    struct upstream_address *recent[RECENT_ADDRESSES]; /* found last; NULL: none */
    size_t n_connections;
    size_t n_control; /* of them */
    TAILQ_HEAD(, upstream_address) without_room;
    struct loop_dirty room;         /* at the end of the turn: who waits for room is looked at */
    struct loop_dirty many;         /* at the end of the turn: addresses make room for others */
    struct address_stats forgotten; /* totals of addresses that made room */
    bool is_closed;
    void (*on_control_lost)(void *context, uint64_t identity, struct span address);
    void *control_context;
};

struct upstream_context *upstream_pool_context(const struct upstream_pool *pool)
{
    return pool->context;
}

struct resolver *upstream_pool_resolver(const struct upstream_pool *pool)
{
    return pool->resolver;
}

bool upstream_pool_admits(
    const struct upstream_pool *pool, const char *name, const struct sockaddr *socket_address)
{
    return destination_is_admitted(pool->config, name, socket_address);
}

const struct backoff_limits *upstream_pool_backoff_limits(const struct upstream_pool *pool)
{
    return &pool->backoff_limits;
}

size_t upstream_pool_connections_per_address(const struct upstream_pool *pool)
{
    return pool->connections_per_address;
}

bool upstream_pool_is_closed(const struct upstream_pool *pool)
{
    return pool->is_closed;
}

static uint64_t now_of(const struct upstream_pool *pool)
{
    return pool->context->loop->now_ms;
}

/* --- room --- */

static struct upstream *longest_idle(const struct upstream_pool *pool)
{
    struct upstream *longest = NULL;
    for (struct upstream_address *address = pool->addresses; address; address = address->hh.next) {
        struct upstream *upstream;
        TAILQ_FOREACH (upstream, &address->upstreams, link) {
            bool is_idle = upstream->state == UPSTREAM_READY && upstream_is_idle(upstream) &&
                           upstream != address->connecting && address->class != POOL_CONTROL;
            if (is_idle && (!longest || upstream->used_ms < longest->used_ms)) {
                longest = upstream;
            }
        }
    }
    return longest;
}

static bool has_room(const struct upstream_pool *pool)
{
    return pool->max_connections == 0 ||
           pool->n_connections - pool->n_control < pool->max_connections;
}

/* An address whose attempt holds a connection that nobody waits for any more. */
static struct upstream_address *useless_attempt(const struct upstream_pool *pool)
{
    struct upstream_address *address = pool->addresses;
    while (address && !(address->class != POOL_CONTROL && address->connecting &&
                          TAILQ_EMPTY(&address->waiting))) {
        address = address->hh.next;
    }
    return address;
}

bool upstream_pool_take_room(struct upstream_pool *pool, bool is_waited_for)
{
    static const char cause[] = "makes room (pool.max_connections)";
    if (has_room(pool)) {
        return true;
    }
    if (!is_waited_for) {
        return false;
    }
    struct upstream_address *useless = useless_attempt(pool);
    struct upstream *idle = useless ? NULL : longest_idle(pool);
    if (useless) {
        upstream_address_give_way(useless, UPSTREAM_END_ROOM, cause);
    } else if (idle) {
        upstream_close(idle, UPSTREAM_END_ROOM, cause);
    }
    return has_room(pool);
}

static void on_room(struct loop_dirty *dirty)
{
    struct upstream_pool *pool =
        (struct upstream_pool *)(void *)((char *)dirty - offsetof(struct upstream_pool, room));
    while (!TAILQ_EMPTY(&pool->without_room) && !pool->is_closed &&
           upstream_pool_take_room(pool, true)) {
        upstream_address_has_room(TAILQ_FIRST(&pool->without_room));
    }
}

static void room_look_later(struct upstream_pool *pool)
{
    if (!TAILQ_EMPTY(&pool->without_room)) {
        loop_mark_dirty(pool->context->loop, &pool->room);
    }
}

void upstream_pool_enter_room_queue(struct upstream_pool *pool, struct upstream_address *address)
{
    TAILQ_INSERT_TAIL(&pool->without_room, address, room_link);
}

void upstream_pool_leave_room_queue(struct upstream_pool *pool, struct upstream_address *address)
{
    TAILQ_REMOVE(&pool->without_room, address, room_link);
}

void upstream_pool_connection_made(const struct upstream_address *address)
{
    address->pool->n_connections++;
    address->pool->n_control += address->class == POOL_CONTROL;
}

void upstream_pool_connection_left(
    const struct upstream_address *address, enum upstream_state state)
{
    struct upstream_pool *pool = address->pool;
    pool->n_connections--;
    room_look_later(pool);
    if (address->class != POOL_CONTROL) {
        return;
    }
    pool->n_control--;
    if (state != UPSTREAM_CONNECTING && !address->is_dropped && !pool->is_closed &&
        pool->on_control_lost) {
        pool->on_control_lost(
            pool->control_context, address->identity, span_of(upstream_address_name(address)));
    }
}

void upstream_pool_connection_idle(struct upstream_pool *pool)
{
    room_look_later(pool);
}

/* --- addresses --- */

static void address_stats_add(struct address_stats *sum, const struct address_stats *stats)
{
    sum->requests += stats->requests;
    sum->errors += stats->errors;
    sum->connects += stats->connects;
    sum->connect_failures += stats->connect_failures;
    latency_merge(&sum->latency, &stats->latency);
}

static void address_forget(struct upstream_pool *pool, struct upstream_address *address)
{
    for (struct upstream_address *other = pool->addresses; other; other = other->hh.next) {
        if (other->alias == address) {
            other->alias = NULL;
        }
    }
    address_stats_add(&pool->forgotten, &address->stats);
    for (size_t i = 0; i < RECENT_ADDRESSES; i++) {
        if (pool->recent[i] == address) {
            pool->recent[i] = NULL;
        }
    }
    HASH_DEL(pool->addresses, address);
    upstream_address_free(address);
}

static bool is_forgettable(const struct upstream_address *address)
{
    return TAILQ_EMPTY(&address->upstreams) && address->attempt == ATTEMPT_NONE &&
           TAILQ_EMPTY(&address->waiting) &&
           (address->is_dropped || !upstream_address_is_wanted(address));
}

/*
 * Where room for others gets short, for what an address is known for is worth keeping; and control
 * connections that were dropped, whose identity does not come again. At the end
 * of a turn, when no frame up the stack holds one: a connection that is being closed still tells
 * the requests on it, and they may go to an address that is new.
 */
static void on_many(struct loop_dirty *dirty)
{
    struct upstream_pool *pool =
        (struct upstream_pool *)(void *)((char *)dirty - offsetof(struct upstream_pool, many));
    bool are_many = HASH_COUNT(pool->addresses) >= POOL_ADDRESSES_MANY;
    struct upstream_address *address, *next;
    HASH_ITER (hh, pool->addresses, address, next) {
        if ((are_many || address->is_dropped) && is_forgettable(address)) {
            address_forget(pool, address);
        }
    }
}

static size_t key_make(
    struct span name, enum pool_class class, uint64_t identity, char key[ADDRESS_KEY_SIZE])
{
    if (name.n >= ADDRESS_TEXT_MAX) {
        return 0;
    }
    static const char letters[] = {
        [POOL_NORMAL] = 'N', [POOL_LONG_POLL] = 'L', [POOL_CONTROL] = 'C'
    };
    size_t n = 0;
    key[n++] = letters[class];
    if (class == POOL_CONTROL) {
        (void)snprintf(
            key + n, ADDRESS_IDENTITY_SIZE + 1, "%0*" PRIx64, ADDRESS_IDENTITY_SIZE, identity);
        n += ADDRESS_IDENTITY_SIZE;
    }
    memcpy(key + n, name.data, name.n);
    key[n + name.n] = '\0';
    return n + name.n;
}

static struct upstream_address *address_find_of(
    const struct upstream_pool *pool, struct span name, enum pool_class class, uint64_t identity)
{
    UNINITIALIZED char key[ADDRESS_KEY_SIZE];
    size_t n = key_make(name, class, identity, key);
    struct upstream_address *address = NULL;
    if (n > 0) {
        HASH_FIND(hh, pool->addresses, key, n, address);
    }
    return address;
}

static bool is_address_of(
    const struct upstream_address *address, struct span name, enum pool_class class)
{
    /* The key is a letter and the name. */
    return address->class == class && address->hh.keylen == name.n + 1 &&
           memcmp(address->key + 1, name.data, name.n) == 0;
}

/* address_find_of() for what is shared by all callers. */
static struct upstream_address *address_find_shared(
    struct upstream_pool *pool, struct span name, enum pool_class class)
{
    size_t place = name.n > 0 ? (unsigned char)name.data[name.n - 1] % RECENT_ADDRESSES : 0;
    struct upstream_address *recent = pool->recent[place];
    if (recent && is_address_of(recent, name, class)) {
        return recent;
    }
    struct upstream_address *address = address_find_of(pool, name, class, 0);
    if (address) {
        pool->recent[place] = address;
    }
    return address;
}

static struct upstream_address *address_find(
    const struct upstream_pool *pool, struct span name, enum pool_class class)
{
    return address_find_of(pool, name, class, 0);
}

static struct upstream_address *address_new(struct upstream_pool *pool, struct span name,
    enum pool_class class, uint64_t identity, struct failure_report *report)
{
    struct span host;
    uint16_t port;
    if (!address_parse(name, &host, &port)) {
        failure_set(report, FAILURE_INVALID, false, "'%.*s' is no address: host:port is needed",
            (int)(name.n < 100 ? name.n : 100), name.data);
        return NULL;
    }
    if (HASH_COUNT(pool->addresses) >= POOL_ADDRESSES_MANY) {
        loop_mark_dirty(pool->context->loop, &pool->many);
    }
    if (HASH_COUNT(pool->addresses) >= POOL_ADDRESSES_MAX) {
        failure_set(report, FAILURE_OVERLOADED, false,
            "%.*s would be one address more than the daemon can hold (%d)", SPAN_ARGS(name),
            POOL_ADDRESSES_MAX);
        return NULL;
    }
    struct upstream_address *address = upstream_address_new(pool, class, host, port);
    if (address) {
        size_t key_size = key_make(name, class, identity, address->key);
        address->identity = identity;
        HASH_ADD_KEYPTR(hh, pool->addresses, address->key, key_size, address);
        if (address->hh.tbl) {
            return address;
        }
        free(address);
    }
    failure_set(report, FAILURE_OVERLOADED, false, "out of memory");
    return NULL;
}

static bool is_same_socket_address(
    const struct upstream *upstream, const struct sockaddr *socket_address, socklen_t size)
{
    return upstream->peer_size == size && memcmp(&upstream->peer, socket_address, size) == 0;
}

struct upstream_address *upstream_pool_find_connected(const struct upstream_pool *pool,
    const struct upstream_address *asking, const struct sockaddr *socket_address, socklen_t size)
{
    if (pool->context->tls && tls_verifies_hosts(pool->context->tls)) {
        return NULL; /* it was another name that was proved there */
    }
    for (struct upstream_address *address = pool->addresses; address; address = address->hh.next) {
        if (address == asking || address->class != asking->class || address->alias ||
            asking->class == POOL_CONTROL) {
            continue;
        }
        struct upstream *upstream;
        TAILQ_FOREACH (upstream, &address->upstreams, link) {
            if (upstream->state != UPSTREAM_DRAINING &&
                is_same_socket_address(upstream, socket_address, size)) {
                return address;
            }
        }
    }
    return NULL;
}

static void invoke(struct upstream_pool *pool, struct span name, enum pool_class class,
    uint64_t identity, struct pending_request *request, const struct remoting_command *command,
    const struct command_source *source)
{
    UNINITIALIZED struct failure_report report;
    struct upstream_address *address = class == POOL_CONTROL
                                           ? address_find_of(pool, name, class, identity)
                                           : address_find_shared(pool, name, class);
    if (!address) {
        address = address_new(pool, name, class, identity, &report);
    }
    if (!address) {
        request->handler->on_failure(request, &report);
        return;
    }
    request->was_repeated = false;
    upstream_address_invoke(address, request, command, source);
}

void upstream_pool_invoke(struct upstream_pool *pool, struct span name, enum pool_class class,
    struct pending_request *request, const struct remoting_command *command,
    const struct command_source *source)
{
    invoke(pool, name, class, 0, request, command, source);
}

void upstream_pool_invoke_control(struct upstream_pool *pool, struct span name, uint64_t identity,
    struct pending_request *request, const struct remoting_command *command,
    const struct command_source *source)
{
    struct upstream_address *address = address_find_of(pool, name, POOL_CONTROL, identity);
    if (address) {
        address->is_dropped = false;
    }
    invoke(pool, name, POOL_CONTROL, identity, request, command, source);
}

void upstream_pool_drop_control(struct upstream_pool *pool, struct span name, uint64_t identity)
{
    struct upstream_address *address = address_find_of(pool, name, POOL_CONTROL, identity);
    if (address) {
        address->is_dropped = true;
        upstream_address_stop(address, "nobody here speaks to it any more");
        loop_mark_dirty(pool->context->loop, &pool->many);
    }
}

void upstream_pool_watch_control(struct upstream_pool *pool,
    void (*on_lost)(void *context, uint64_t identity, struct span address), void *context)
{
    pool->on_control_lost = on_lost;
    pool->control_context = context;
}

bool upstream_pool_is_usable(
    const struct upstream_pool *pool, struct span name, enum pool_class class)
{
    const struct upstream_address *address = address_find(pool, name, class);
    return !address || upstream_address_is_usable(address);
}

bool upstream_pool_can_use(struct upstream_pool *pool, struct span name, enum pool_class class)
{
    struct upstream_address *address = address_find(pool, name, class);
    if (!address || upstream_address_is_usable(address)) {
        return true;
    }
    upstream_address_want(address);
    return false;
}

void upstream_pool_hurry(struct upstream_pool *pool, struct span name, enum pool_class class)
{
    struct upstream_address *address = address_find(pool, name, class);
    if (address) {
        upstream_address_hurry(address);
    }
}

size_t upstream_pool_drain_address(struct upstream_pool *pool, struct span name, const char *cause)
{
    static const enum pool_class classes[] = { POOL_NORMAL, POOL_LONG_POLL };
    size_t n = 0;
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        struct upstream_address *address = address_find(pool, name, classes[i]);
        if (address && address->alias) {
            address = address->alias;
        }
        if (address) {
            n += address->n_ready;
            upstream_address_drain(address, cause);
        }
    }
    return n;
}

size_t upstream_pool_reconnect(struct upstream_pool *pool, struct span name, const char *cause)
{
    static const enum pool_class classes[] = { POOL_NORMAL, POOL_LONG_POLL };
    size_t n = upstream_pool_drain_address(pool, name, cause);
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        struct upstream_address *address = address_find(pool, name, classes[i]);
        if (address) {
            upstream_address_hurry(address);
            upstream_address_want(address);
        }
    }
    return n;
}

/* --- the pool --- */

static void idle_close(const struct upstream_pool *pool, struct upstream_address *address)
{
    struct upstream *upstream = TAILQ_FIRST(&address->upstreams);
    while (upstream) {
        struct upstream *next = TAILQ_NEXT(upstream, link);
        if (upstream->state == UPSTREAM_READY && upstream != address->connecting &&
            address->class != POOL_CONTROL && upstream_is_idle(upstream) &&
            now_of(pool) - upstream->used_ms >= pool->max_idle_ms) {
            upstream_close(upstream, UPSTREAM_END_IDLE, "unused for pool.max_idle");
        }
        upstream = next;
    }
}

static void on_cleanup(struct deadline *deadline, uint64_t now_ms)
{
    struct upstream_pool *pool =
        (struct upstream_pool *)(void *)((char *)deadline -
                                         offsetof(struct upstream_pool, cleanup));
    memory_settle(pool->context->memory);
    for (struct upstream_address *address = pool->addresses; address; address = address->hh.next) {
        idle_close(pool, address);
    }
    loop_deadline_set(
        pool->context->loop, &pool->cleanup, clock_after(now_ms, pool->cleanup_interval_ms));
}

void upstream_pool_configure(struct upstream_pool *pool, const struct config *config)
{
    pool->config = config;
    pool->backoff_limits = (struct backoff_limits){
        .initial_ms = config->backoff.initial_ms,
        .max_ms = config->backoff.max_ms,
        .max_wanted_ms = config->backoff.max_wanted_ms,
    };
    pool->connections_per_address = config->pool.connections_per_address;
    pool->max_connections = config->pool.max_connections;
    pool->max_idle_ms = config->pool.max_idle_ms;
    pool->cleanup_interval_ms = config->pool.cleanup_interval_ms;
    loop_deadline_set(pool->context->loop, &pool->cleanup,
        clock_after(pool->context->loop->now_ms, pool->cleanup_interval_ms));
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
    TAILQ_INIT(&pool->without_room);
    pool->room.on_flush = on_room;
    pool->many.on_flush = on_many;
    deadline_init(&pool->cleanup, on_cleanup);
    upstream_pool_configure(pool, config);
    return pool;
}

void upstream_pool_close(struct upstream_pool *pool)
{
    pool->is_closed = true;
    for (struct upstream_address *address = pool->addresses; address; address = address->hh.next) {
        upstream_address_stop(address, "the daemon is stopping");
    }
}

struct upstream_pool *upstream_pool_free(struct upstream_pool *pool)
{
    if (!pool) {
        return NULL;
    }
    while (pool->addresses) {
        address_forget(pool, pool->addresses);
    }
    loop_deadline_clear(pool->context->loop, &pool->cleanup);
    loop_forget_dirty(pool->context->loop, &pool->room);
    loop_forget_dirty(pool->context->loop, &pool->many);
    free(pool);
    return NULL;
}

size_t upstream_pool_unwritten(const struct upstream_pool *pool)
{
    size_t unwritten = 0;
    for (const struct upstream_address *address = pool->addresses; address;
         address = address->hh.next) {
        const struct upstream *upstream;
        TAILQ_FOREACH (upstream, &address->upstreams, link) {
            unwritten += upstream->transport.output.size;
        }
    }
    return unwritten;
}

void upstream_pool_report(const struct upstream_pool *pool, struct upstream_pool_report *ret_report)
{
    *ret_report = (struct upstream_pool_report){
        .n_total = pool->n_connections,
        .max_connections = pool->max_connections,
        .totals = pool->forgotten,
    };
    for (const struct upstream_address *address = pool->addresses; address;
         address = address->hh.next) {
        const struct upstream *upstream;
        ret_report->n_ready += address->n_ready;
        TAILQ_FOREACH (upstream, &address->upstreams, link) {
            ret_report->n_active += upstream->n_in_flight > 0;
        }
        address_stats_add(&ret_report->totals, &address->stats);
    }
}

const struct upstream_address *upstream_pool_find(
    const struct upstream_pool *pool, struct span name, enum pool_class class)
{
    return address_find(pool, name, class);
}

void upstream_pool_each(const struct upstream_pool *pool,
    void (*visit)(void *context, const struct upstream_address *address), void *context)
{
    for (const struct upstream_address *address = pool->addresses; address;
         address = address->hh.next) {
        visit(context, address);
    }
}
