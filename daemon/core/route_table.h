/*
 * Route table
 *
 * What the nameservers said, and when: topic routes by topic, masters by broker name, and every
 * broker address that a route or cluster table of the last ten minutes named (a caller may name
 * those as sidecar.addr). Routes are kept when they are old: it is the asker who sees by
 * route_table_find() that a fresh one should be fetched, and serves the old one until it came. A
 * route that the nameservers deny all at once is kept for ROUTE_DOUBT_MS: a nameserver that was
 * started again knows no topic until every broker has told it of its own. At the limit on topics
 * the one that was unused for longest makes room.
 *
 * The table owns its entries and the routes in them. Pointers to entries, routes and addresses are
 * valid until the next call that changes the table: nobody keeps one over a turn of the loop.
 */
#pragma once

#include "daemon/core/clock.h"
#include "daemon/core/queue_selector.h"
#include "protocol/topic_route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTE_ADDRESS_KNOWN_MS (10 * 60 * 1000)
/*
 * Brokers tell the nameservers of themselves every 10 to 60 s (registerNameServerPeriod, and the
 * bounds that BrokerController.start() puts on it).
 */
#define ROUTE_DOUBT_MS (60 * 1000)
/*
 * The topic whose route tells where brokers create topics on first use
 * (TopicValidator.AUTO_CREATE_TOPIC_KEY_TOPIC).
 */
#define ROUTE_DEFAULT_TOPIC "TBW102"

enum route_entry_state {
    ROUTE_UNKNOWN, /* never asked, or what was known is no longer worth anything: ask and wait */
    ROUTE_FRESH,
    ROUTE_STALE,  /* usable, but ask in the background (unless nameservers denied it just now) */
    ROUTE_ABSENT, /* the nameservers know no such topic; asked less than negative_ttl ago */
};

struct route_entry {
    char *topic;
    struct topic_route *route; /* NULL: the topic does not exist */
    struct publish_queue *queues;
    size_t n_queues;
    uint8_t *worth; /* of each broker of the route, for queue_select(); filled by who selects */
    uint32_t turn;  /* of queue_select() */
    uint32_t receive_turn;
    uint64_t fetched_ms;
    uint64_t denied_ms;       /* since when the nameservers deny the route; 0: they do not */
    uint64_t denied_again_ms; /* and when they did so last */
    bool is_expired;          /* an answer showed it to be out of date */
    uint64_t used_ms;
    uint64_t sent_ms; /* a send asked for its queues; set by who selects. 0: never */
    bool is_lost;     /* there was a route, and then the nameservers knew none */
};

struct route_table_limits {
    size_t max_topics;
    uint64_t refresh_ms;
    uint64_t negative_ttl_ms;
};

struct route_table;

struct route_table *route_table_new(const struct route_table_limits *limits);
void route_table_set_limits(struct route_table *table, const struct route_table_limits *limits);
struct route_table *route_table_free(struct route_table *table);

/*
 * Whom to tell that a broker has another master than it had: the address of the one before, which is
 * no broker's master any more. The table may not be changed from there.
 */
void route_table_watch_masters(struct route_table *table,
    void (*on_moved)(void *context, const char *broker_name, const char *before), void *context);

/* *ret_entry is NULL for ROUTE_UNKNOWN. Notes the use. */
enum route_entry_state route_table_find(
    struct route_table *table, struct span topic, uint64_t now_ms, struct route_entry **ret_entry);
/* Takes the route over, also when it fails. 0 or -ENOMEM. */
int route_table_put(
    struct route_table *table, struct span topic, struct topic_route *route, uint64_t now_ms);

enum route_denial {
    ROUTE_DENIAL_ABSENT,  /* there was no route */
    ROUTE_DENIAL_LOST,    /* there was one: brokers denied it too, or it was denied for long */
    ROUTE_DENIAL_DOUBTED, /* there is one, and it is kept */
    ROUTE_DENIAL_NO_MEMORY,
};
/* The nameservers know no such topic. */
enum route_denial route_table_deny(struct route_table *table, struct span topic, uint64_t now_ms);
/* Whether a route is not what the nameservers say today, or may not be: ROUTE_STALE. */
bool route_table_is_old(
    const struct route_table *table, const struct route_entry *entry, uint64_t now_ms);
/*
 * Whether it is time to ask for a stale route: one that was denied is asked for again after
 * negative_ttl.
 */
bool route_table_is_due(
    const struct route_table *table, const struct route_entry *entry, uint64_t now_ms);
/*
 * The next look-up of this topic asks again: an answer showed the route, or its absence, to be out
 * of date.
 */
void route_table_expire(struct route_table *table, struct span topic);

/* Brokers and their addresses from a route or a cluster table, without a topic. 0 or -ENOMEM. */
int route_table_learn(struct route_table *table, const struct topic_route *route, uint64_t now_ms);
/*
 * The master of a broker name, or NULL; *ret_is_known tells a broker without a master from an
 * unknown name.
 */
const char *route_table_master(
    struct route_table *table, struct span broker_name, bool *ret_is_known);
/* The name of the broker whose master is at this address, or NULL. */
const char *route_table_broker_at(const struct route_table *table, struct span address);
/* Every master that a route or cluster table of the last ten minutes named. */
void route_table_each_master(struct route_table *table, uint64_t now_ms,
    void (*visit)(void *context, const char *address), void *context);
/* Every broker that a route or cluster table of the last ten minutes named; master may be NULL. */
void route_table_each_broker(const struct route_table *table, uint64_t now_ms,
    void (*visit)(void *context, const char *name, const char *master), void *context);
/* Every topic that was asked for, to be read only. */
void route_table_each_topic(const struct route_table *table,
    void (*visit)(void *context, const struct route_entry *entry), void *context);
bool route_table_knows_address(struct route_table *table, struct span address, uint64_t now_ms);
size_t route_table_n_topics(const struct route_table *table);
