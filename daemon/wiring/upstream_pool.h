/*
 * Upstream pool
 *
 * The connection for an address. However many callers want an address, one attempt to connect is
 * under way, in the background; they wait for it no longer than their own deadlines. An address
 * whose connects fail is out of use until one attempt succeeds: the next attempt waits by the
 * address's backoff, and who cannot wait so long is told at once.
 *
 *     address   IDLE -> RESOLVING -> CONNECTING -> READY        READY -> IDLE when the connection breaks
 *                       RESOLVING|CONNECTING -> BACKING_OFF -> RESOLVING
 *                       READY -> BACKING_OFF when it breaks with requests and never answered any
 *
 * An address is wanted while requests wait for it and for POOL_WANTED_MS after somebody asked for
 * it or passed it over as out of use; then the shorter cap backoff.max_wanted holds and attempts go
 * on without anybody waiting.
 *
 * Long polls have connections of their own (POOL_LONG_POLL), so that a parked poll and its large
 * answer never stand before a send. Names are resolved anew for every attempt; the addresses of a
 * name are tried one after the other.
 */
#pragma once

#include "config/config.h"
#include "daemon/core/backoff.h"
#include "daemon/wiring/resolver.h"
#include "daemon/wiring/upstream.h"

#define POOL_WANTED_MS     10000
#define POOL_ADDRESSES_MAX 4096 /* addresses that are remembered; idle ones make room */

enum pool_class {
    POOL_NORMAL,
    POOL_LONG_POLL,
};

struct upstream_pool;

struct upstream_pool *upstream_pool_new(
    struct upstream_context *context, struct resolver *resolver, const struct config *config);
struct upstream_pool *upstream_pool_free(struct upstream_pool *pool);

/*
 * Sends a request to host:port, at once or when it is connected. request->deadline_ms and is_oneway
 * are set by the caller. command is kept (with source) only where it has to wait; it is then found
 * in request->kept. A request whose kept command is the command itself is not kept again. The
 * handler may be called before this returns.
 */
void upstream_pool_invoke(struct upstream_pool *pool, struct span address, enum pool_class class,
    struct pending_request *request, const struct remoting_command *command,
    const struct command_source *source);

/* False while the address is out of use. Asking makes it wanted. */
bool upstream_pool_is_usable(
    struct upstream_pool *pool, struct span address, enum pool_class class);
size_t upstream_pool_n_waiting(const struct upstream_pool *pool);
/* Bytes of requests that were given to connections and not written yet. */
size_t upstream_pool_unwritten(const struct upstream_pool *pool);
/* Fails everything that waits, and closes every connection. */
void upstream_pool_close(struct upstream_pool *pool);
