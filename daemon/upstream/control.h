/*
 * Control
 *
 * Control connections: one to each broker for each identity, over which a broker is told which
 * groups the identity speaks for, and calls it back. Brokers know a client by its connection: two
 * members of a group on one connection overwrite each other, and what closes takes its groups with
 * it. So these are never shared with anything else, and never closed while there is something to say.
 *
 * An identity is told what its heartbeats say; this module says it to every master of the cluster
 * table, and to addresses that were named beside those, when core/control_schedule.h says that it is
 * due. A broker that is away hears it as soon as it is connected again. What the groups are, and who
 * is in them, is identity.h's business.
 *
 * The masters are looked up anew every CONTROL_REFRESH_MS while there is an identity with something
 * to say. A broker that no table has named for ten minutes is let go.
 */
#pragma once

#include "daemon/core/failure.h"
#include "daemon/upstream/routes.h"
#include "daemon/upstream/upstream_pool.h"

#include <sys/queue.h>

#define CONTROL_REFRESH_MS 30000
/* Groups that may wait to be unregistered at one broker. */
#define CONTROL_UNREGISTERS_MAX 4096

struct control;
struct control_identity;

/* Somebody who waits until brokers have heard something. Owned by who waits. */
struct control_waiter {
    TAILQ_ENTRY(control_waiter) link;
    struct control_identity *identity; /* NULL: not waiting */
    void (*on_done)(struct control_waiter *waiter);
    void *context;                  /* of who waits */
    char address[ADDRESS_TEXT_MAX]; /* one broker, or empty: all */
    uint64_t said;                  /* the heartbeat that is to be heard, */
    uint64_t number;                /* and the last group to be unregistered */
    /* the outcome */
    size_t n_brokers;
    size_t n_taken;               /* of them, that have answered 0 */
    int32_t code;                 /* of a broker that answered another code; 0: none did */
    struct failure_report report; /* its remark, or what happened to one that did not answer */
};

struct control *control_new(
    struct upstream_context *context, struct upstream_pool *pool, struct routes *routes);
/* All identities are gone. */
struct control *control_free(struct control *control);
/* How many requests are on their way or wait for their turn; a drain waits for them. */
size_t control_n_busy(const struct control *control);

/* id is the pool's word for it, and may not come again; client_id is copied. NULL without memory. */
struct control_identity *control_identity_new(
    struct control *control, uint64_t id, const char *client_id);
/* Closes its connections. Who still waits is forgotten. NULL is fine; always returns NULL. */
struct control_identity *control_identity_free(struct control_identity *identity);
/*
 * What its heartbeats say from now on, and to all brokers at once. Takes the text over; NULL says
 * that there is nothing to say: when the last group is unregistered its connections are closed. 0 or
 * -ENOMEM (nothing changed).
 */
int control_identity_say(struct control_identity *identity, char *body);
/* What its heartbeats say, until it says something else; absent where that is nothing. */
struct span control_identity_said(const struct control_identity *identity);
/* Brokers that know the group are told that it is gone. The heartbeats do not name it any more. */
void control_identity_unregister(
    struct control_identity *identity, struct span group, bool is_consumer);
/*
 * Another address than those of the masters is one of its brokers, too. 0 or -ENOMEM.
 */
int control_identity_name(struct control_identity *identity, struct span address);
/*
 * Waits until the brokers (or the one at address) have heard what was last said and unregistered, or
 * cannot now. on_done is never called before this returns.
 */
void control_wait(
    struct control_identity *identity, struct span address, struct control_waiter *waiter);
void control_waiter_cancel(struct control_waiter *waiter);
