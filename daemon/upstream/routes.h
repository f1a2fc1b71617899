/*
 * Routes
 *
 * Keeps the route table filled: one request to the nameserver for a topic however many callers want
 * its route, refreshed in the background when it has become old, and the cluster table for brokers
 * and addresses that no route has named yet. Known routes are served while no nameserver answers.
 *
 * A question whose callers have all gone goes on, since its answer is good for the next one; there
 * is a limit to how many of those are under way (ROUTE_FETCHES_LEFT_MAX).
 */
#pragma once

#include "daemon/core/route_table.h"
#include "daemon/upstream/nameserver.h"

#include <sys/queue.h>

struct routes;
struct route_fetch;

/* Somebody who waits for a fetch. Owned by who waits. */
struct route_waiter {
    TAILQ_ENTRY(route_waiter) link;
    struct route_fetch *fetch; /* NULL: not waiting */
    /* report is NULL when the fetch ended well (the topic may still not exist): look again. */
    void (*on_fetched)(struct route_waiter *waiter, const struct failure_report *report);
};

struct routes *routes_new(
    struct upstream_context *context, struct nameservers *nameservers, const struct config *config);
/* What is kept stays, as far as the limits are larger. */
void routes_configure(struct routes *routes, const struct config *config);
/* Who still waits is forgotten. */
struct routes *routes_free(struct routes *routes);
struct route_table *routes_table(struct routes *routes);

/* What is known about a topic; starts a refresh in the background where that is old. */
enum route_entry_state routes_find(
    struct routes *routes, struct span topic, struct route_entry **ret_entry);
/*
 * Waits for a fetch of the topic's route, which is started unless one is under way. May call
 * on_fetched before it returns. deadline_ms, which the caller keeps, says whether it can be worth
 * waiting.
 */
void routes_wait_topic(
    struct routes *routes, struct span topic, uint64_t deadline_ms, struct route_waiter *waiter);
/* The same for the cluster table. */
void routes_wait_cluster(struct routes *routes, uint64_t deadline_ms, struct route_waiter *waiter);
/* Whether the cluster table is so young that asking again would tell nothing new. */
bool routes_cluster_is_fresh(const struct routes *routes);
void route_waiter_cancel(struct route_waiter *waiter);

/*
 * Learns from an answer of a nameserver that passes through to a caller. body is valid JSON
 * already.
 */
void routes_learn(struct routes *routes, int32_t code, struct span topic, struct span body);
