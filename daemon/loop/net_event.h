/*
 * Net event
 *
 * What happens to connections, for whoever wants to know. A session that subscribed
 * (SUBSCRIBE_NET_EVENTS, 30009) gets each as a oneway request of that code with the ext fields
 * event, addr, connection and cause. A subscriber that does not read loses events, and nothing
 * else: the next one it gets says in `dropped` how many it lost.
 *
 * A subscription belongs to its session, which has to give it up when it ends.
 */
#pragma once

#include "daemon/loop/transport.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Bytes that may wait for a subscriber before it loses events. */
#define NET_EVENT_BUFFER (64 * 1024)

enum net_event {
    NET_EVENT_CONNECTED,
    NET_EVENT_DISCONNECTED, /* closed by the other side, or by us on purpose */
    NET_EVENT_EXCEPTION,    /* could not be made, broke, or was given up */
    NET_EVENT_IDLE,         /* closed because nobody used it */
};

struct net_event_subscription {
    TAILQ_ENTRY(net_event_subscription) link;
    struct transport *transport;
    enum serialize_type serialize_type;
    uint64_t n_dropped; /* since the last one that was written */
};

struct net_events {
    TAILQ_HEAD(, net_event_subscription) subscriptions;
};

/* RocketMQ's word for it. */
const char *net_event_name(enum net_event event);

void net_events_init(struct net_events *events);
/*
 * Makes *subscription, or where there is one already its header form the new one. 0 or -ENOMEM.
 */
int net_event_subscribe(struct net_events *events, struct net_event_subscription **subscription,
    struct transport *transport, enum serialize_type serialize_type);
/* NULL is fine; always returns NULL. */
struct net_event_subscription *net_event_unsubscribe(
    struct net_events *events, struct net_event_subscription *subscription);
void net_event_publish(struct net_events *events, enum net_event event, const char *address,
    uint64_t upstream_id, const char *cause);
