/*
 * POP release
 *
 * Takes over a POP_MESSAGE that is at its broker when its caller goes or its deadline is over. The
 * messages that still come would be invisible to everybody for their whole invisible time: each is
 * given back with CHANGE_MESSAGE_INVISIBLETIME and a short time, and counted. So is one that does not
 * fit its answer, and those of an answer for which a caller that does not read has no room.
 *
 * A POP that its caller addressed itself (sidecar.addr) is taken over where a route names the broker
 * at that address.
 *
 * So many are taken over at a time and each waits so long; what is beyond that comes again after its
 * invisible time. Giving back is oneway, on the connection that brought the messages: what is lost
 * on the way comes again later, too. Owned by the daemon; empty when the pool is closed.
 */
#pragma once

#include "daemon/core/receipt.h"
#include "daemon/upstream/upstream_pool.h"

#include <sys/queue.h>

#define POP_RELEASES_MAX 1024
/* Longer than a broker that lives takes to answer a POP with pollTime 0. */
#define POP_RELEASE_WAIT_MS 10000
/* When a message that was given back is visible again. Brokers look every second. */
#define POP_RELEASE_INVISIBLE_TEXT "1000"

struct pop_release;

struct pop_releases {
    struct upstream_context *context;
    struct upstream_pool *pool;
    size_t n;
};

/*
 * request is IN_FLIGHT and becomes IDLE; where there are too many, or no memory, it stays as it is.
 * The texts are copied.
 */
void pop_release_take(struct pop_releases *releases, struct pending_request *request,
    struct span address, struct span broker_name, struct span topic, struct span group);
/* Gives all the messages of an answer to a POP back. */
void pop_release_answer(struct pop_releases *releases, const struct remoting_command *response,
    struct span address, struct span broker_name, struct span topic, struct span group);
/* Gives one message back, on a connection to the address that brought it. */
void pop_release_message(
    struct pop_releases *releases, struct span address, const struct receipt *receipt);
