/*
 * Upstream pool
 *
 * The connections to nameservers and brokers, by address (upstream_address.h says how one address
 * works) and class: long polls have connections of their own (POOL_LONG_POLL), so that a parked
 * poll and its large answer never stand before a send; and what a broker has to know a client by
 * goes over control connections (POOL_CONTROL), one for each address and identity.
 *
 * pool.max_connections is a hard limit over everything. Where somebody waits for a connection, an
 * attempt that nobody waits for makes room, else the idle connection that was unused for longest;
 * without one, addresses wait for room in turn, and callers within their deadlines. Without anybody
 * who waits a connection is made only where there is room. One that has something in flight is
 * never closed for idleness. Control
 * connections do not count, and stay until they are dropped: closing one would take its groups away
 * from the broker.
 */
#pragma once

#include "config/config.h"
#include "daemon/upstream/upstream_address.h"

#define POOL_ADDRESSES_MAX  4096 /* addresses that are remembered */
#define POOL_ADDRESSES_MANY 3072 /* from here on unused ones make room for others */

struct upstream_pool;

struct upstream_pool *upstream_pool_new(
    struct upstream_context *context, struct resolver *resolver, const struct config *config);
/*
 * Connections that are there beyond the new limits stay until they are idle; waits that have begun
 * keep the length that they had. The configuration is used until the next one comes.
 */
void upstream_pool_configure(struct upstream_pool *pool, const struct config *config);
struct upstream_pool *upstream_pool_free(struct upstream_pool *pool);

/*
 * Sends a request to host:port, at once or when it is connected. request->deadline_ms, is_oneway
 * and fails_fast are set by the caller. command is kept (with source) only where it has to wait; it
 * is then found in request->kept. A request whose kept command is the command itself is not kept
 * again. The handler may be called before this returns.
 */
void upstream_pool_invoke(struct upstream_pool *pool, struct span address, enum pool_class class,
    struct pending_request *request, const struct remoting_command *command,
    const struct command_source *source);

/* The same over the control connection of this identity. */
void upstream_pool_invoke_control(struct upstream_pool *pool, struct span address,
    uint64_t identity, struct pending_request *request, const struct remoting_command *command,
    const struct command_source *source);
/*
 * Closes the control connection of this identity; nothing of it is kept. The handlers of its
 * requests are told before this returns.
 */
void upstream_pool_drop_control(struct upstream_pool *pool, struct span address, uint64_t identity);
/* Whom to tell that a control connection which had been made is gone. */
void upstream_pool_watch_control(struct upstream_pool *pool,
    void (*on_lost)(void *context, uint64_t identity, struct span address), void *context);

/* False while the address is out of use. */
bool upstream_pool_is_usable(
    const struct upstream_pool *pool, struct span address, enum pool_class class);
/* The same for who would use it: where it is out of use that makes it wanted. */
bool upstream_pool_can_use(struct upstream_pool *pool, struct span address, enum pool_class class);
/* Contract of upstream_address_hurry(). */
void upstream_pool_hurry(struct upstream_pool *pool, struct span address, enum pool_class class);
/*
 * Connections for requests and long polls take no new requests and close when nothing is in flight; how many.
 * Attempts to make one go on only for who waits already. Control connections stay.
 */
size_t upstream_pool_drain_address(
    struct upstream_pool *pool, struct span address, const char *cause);
/*
 * The same, and new connections are tried for at once, also where the address is in its backoff.
 * Addresses that nobody has asked for stay alone.
 */
size_t upstream_pool_reconnect(struct upstream_pool *pool, struct span address, const char *cause);
/* Bytes of requests that were given to connections and not written yet. */
size_t upstream_pool_unwritten(const struct upstream_pool *pool);
/* Fails everything that waits, and closes every connection. */
void upstream_pool_close(struct upstream_pool *pool);

/* --- what can be seen --- */

struct upstream_pool_report {
    size_t n_total; /* connections that are not closed */
    size_t n_ready;
    size_t n_active; /* with something in flight */
    size_t max_connections;
    struct address_stats totals;
};
void upstream_pool_report(
    const struct upstream_pool *pool, struct upstream_pool_report *ret_report);
/* NULL where nobody has asked for it. To be read only. */
const struct upstream_address *upstream_pool_find(
    const struct upstream_pool *pool, struct span address, enum pool_class class);
/* Every address in turn, to be read only. */
void upstream_pool_each(const struct upstream_pool *pool,
    void (*visit)(void *context, const struct upstream_address *address), void *context);

/* --- for upstream_address.c --- */

struct upstream_context *upstream_pool_context(const struct upstream_pool *pool);
struct resolver *upstream_pool_resolver(const struct upstream_pool *pool);
/* destination.h */
bool upstream_pool_admits(
    const struct upstream_pool *pool, const char *name, const struct sockaddr *socket_address);
const struct backoff_limits *upstream_pool_backoff_limits(const struct upstream_pool *pool);
size_t upstream_pool_connections_per_address(const struct upstream_pool *pool);
bool upstream_pool_is_closed(const struct upstream_pool *pool);
/*
 * Another address of the same class with a connection to this socket address, or an attempt at it.
 */
struct upstream_address *upstream_pool_find_connected(const struct upstream_pool *pool,
    const struct upstream_address *asking, const struct sockaddr *socket_address, socklen_t size);
/* Whether one more connection may be made; for who waits another makes room where needed. */
bool upstream_pool_take_room(struct upstream_pool *pool, bool is_waited_for);
void upstream_pool_enter_room_queue(struct upstream_pool *pool, struct upstream_address *address);
void upstream_pool_leave_room_queue(struct upstream_pool *pool, struct upstream_address *address);
void upstream_pool_connection_made(const struct upstream_address *address);
/* state is the one before. */
void upstream_pool_connection_left(
    const struct upstream_address *address, enum upstream_state state);
void upstream_pool_connection_idle(struct upstream_pool *pool);
