/*
 * Net event
 *
 * What happens, for whoever wants to know: noted in a ring for those who ask later
 * (core/event_ring.h), and told to those who listen. A session that subscribed
 * (SUBSCRIBE_NET_EVENTS, 30009) gets what happens to connections, and with all=true what else its
 * role may see, each as a oneway request of that code with the ext fields event, addr, connection
 * and cause. A subscriber that does not read loses events, and nothing
 * else: the next one it gets says in `dropped` how many it lost.
 *
 * A subscription belongs to its session, which has to give it up when it ends.
 */
#pragma once

#include "daemon/core/event_ring.h"
#include "daemon/loop/transport.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Bytes that may wait for a subscriber before it loses events. */
#define NET_EVENT_BUFFER (64 * 1024)

struct net_event_subscription {
    TAILQ_ENTRY(net_event_subscription) link;
    struct transport *transport;
    enum serialize_type serialize_type;
    bool wants_all;     /* not only what happens to connections */
    bool is_admin;      /* and what names callers, too */
    uint64_t n_dropped; /* since the last one that was written */
};

struct net_events {
    TAILQ_HEAD(, net_event_subscription) subscriptions;
    struct event_ring ring;
};

/* 0 or -ENOMEM. */
int net_events_init(struct net_events *events);
/* Nobody listens any more. Again is fine. */
void net_events_deinit(struct net_events *events);
/*
 * Makes *subscription, or where there is one already its header form the new one. 0 or -ENOMEM.
 */
int net_event_subscribe(struct net_events *events, struct net_event_subscription **subscription,
    struct transport *transport, enum serialize_type serialize_type);
/* NULL is fine; always returns NULL. */
struct net_event_subscription *net_event_unsubscribe(
    struct net_events *events, struct net_event_subscription *subscription);
/* Of a connection. cause may be NULL. */
void net_event_publish(struct net_events *events, enum event_kind kind, const char *address,
    uint64_t upstream_id, const char *cause);
/* Of anything else. subject and the cause's text are cut where they do not fit. */
__attribute__((format(printf, 5, 6))) void net_event_note(struct net_events *events,
    enum event_kind kind, bool is_error, const char *subject, const char *cause, ...);
/*
 * Writes a request of ours for somebody who may read it or not. Where NET_EVENT_BUFFER bytes wait for
 * it already, or there is no memory, it is dropped and counted; the next one that is written says so
 * in the field `dropped`, for which the command has room.
 */
void net_event_write(struct transport *transport, enum serialize_type serialize_type,
    struct remoting_command *command, uint64_t *n_dropped);
