#include "daemon/core/route_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

struct topic_row {
    struct route_entry entry;
    UT_hash_handle hh;
};

struct broker_row {
    char *name;
    char *master; /* NULL: the broker has none */
    uint64_t seen_ms;
    UT_hash_handle hh;
};

struct address_row {
    char *address;
    uint64_t seen_ms;
    UT_hash_handle hh;
};

struct route_table {
    struct route_table_limits limits;
    struct topic_row *topics;
    struct broker_row *brokers;
    struct address_row *addresses;
    void (*on_moved)(void *context, const char *broker_name, const char *before);
    void *on_moved_context;
};

/* Rows of brokers and addresses that no route named for this long make room. */
#define ROW_FORGET_MS (2 * (uint64_t)ROUTE_ADDRESS_KNOWN_MS)
/*
 * So many brokers and addresses are remembered at most: a nameserver that invents names must not
 * fill the memory.
 */
#define ROWS_MAX 20000

struct route_table *route_table_new(const struct route_table_limits *limits)
{
    struct route_table *table = calloc(1, sizeof(*table));
    if (table) {
        table->limits = *limits;
    }
    return table;
}

void route_table_watch_masters(struct route_table *table,
    void (*on_moved)(void *context, const char *broker_name, const char *before), void *context)
{
    table->on_moved = on_moved;
    table->on_moved_context = context;
}

static void topic_row_free(struct route_table *table, struct topic_row *row)
{
    HASH_DEL(table->topics, row);
    topic_route_free(row->entry.route);
    free(row->entry.queues);
    free(row->entry.worth);
    free(row->entry.topic);
    free(row);
}

static void broker_row_free(struct route_table *table, struct broker_row *row)
{
    HASH_DEL(table->brokers, row);
    free(row->name);
    free(row->master);
    free(row);
}

static void address_row_free(struct route_table *table, struct address_row *row)
{
    HASH_DEL(table->addresses, row);
    free(row->address);
    free(row);
}

void route_table_set_limits(struct route_table *table, const struct route_table_limits *limits)
{
    table->limits = *limits;
}

struct route_table *route_table_free(struct route_table *table)
{
    if (!table) {
        return NULL;
    }
    while (table->topics) {
        topic_row_free(table, table->topics);
    }
    while (table->brokers) {
        broker_row_free(table, table->brokers);
    }
    while (table->addresses) {
        address_row_free(table, table->addresses);
    }
    free(table);
    return NULL;
}

static struct topic_row *topic_row_find(struct route_table *table, struct span topic)
{
    struct topic_row *row;
    HASH_FIND(hh, table->topics, topic.data, topic.n, row);
    return row;
}

enum route_entry_state route_table_find(
    struct route_table *table, struct span topic, uint64_t now_ms, struct route_entry **ret_entry)
{
    *ret_entry = NULL;
    struct topic_row *row = topic_row_find(table, topic);
    if (!row) {
        return ROUTE_UNKNOWN;
    }
    row->entry.used_ms = now_ms;
    if (!row->entry.route) {
        uint64_t age_ms = now_ms - row->entry.fetched_ms;
        if (row->entry.is_expired || age_ms >= table->limits.negative_ttl_ms) {
            return ROUTE_UNKNOWN;
        }
        *ret_entry = &row->entry;
        return ROUTE_ABSENT;
    }
    *ret_entry = &row->entry;
    return route_table_is_old(table, &row->entry, now_ms) ? ROUTE_STALE : ROUTE_FRESH;
}

static void topics_make_room(struct route_table *table)
{
    while (HASH_COUNT(table->topics) >= table->limits.max_topics) {
        struct topic_row *oldest = table->topics;
        for (struct topic_row *row = table->topics; row; row = row->hh.next) {
            if (row->entry.used_ms < oldest->entry.used_ms) {
                oldest = row;
            }
        }
        topic_row_free(table, oldest);
    }
}

static struct topic_row *topic_row_new(
    struct route_table *table, struct span topic, uint64_t now_ms)
{
    topics_make_room(table);
    struct topic_row *row = calloc(1, sizeof(*row));
    if (!row) {
        return NULL;
    }
    row->entry.topic = strndup(topic.data, topic.n);
    if (!row->entry.topic) {
        free(row);
        return NULL;
    }
    row->entry.used_ms = now_ms;
    HASH_ADD_KEYPTR(hh, table->topics, row->entry.topic, topic.n, row);
    if (!row->hh.tbl) {
        free(row->entry.topic);
        free(row);
        return NULL;
    }
    return row;
}

/* The row of the topic, which is made where there is none; NULL without memory. */
static struct topic_row *topic_row_get(
    struct route_table *table, struct span topic, uint64_t now_ms)
{
    struct topic_row *row = topic_row_find(table, topic);
    if (!row) {
        row = topic_row_new(table, topic, now_ms);
        if (row) {
            /* Daemons that start together must not all begin with the same queue. */
            row->entry.turn = (uint32_t)now_ms;
        }
    }
    return row;
}

/* With NULL there is none any more. */
static void entry_set_route(struct route_entry *entry, struct topic_route *route,
    struct publish_queue *queues, size_t n_queues, uint8_t *worth, uint64_t now_ms)
{
    topic_route_free(entry->route);
    free(entry->queues);
    free(entry->worth);
    entry->route = route;
    entry->queues = queues;
    entry->n_queues = n_queues;
    entry->worth = worth;
    entry->fetched_ms = now_ms;
    entry->denied_ms = 0;
    entry->is_expired = false;
}

int route_table_put(
    struct route_table *table, struct span topic, struct topic_route *taken_route, uint64_t now_ms)
{
    CLEANUP(topic_route_free) struct topic_route *route = taken_route;
    struct publish_queue *queues = NULL;
    size_t n_queues = 0;
    uint8_t *worth = calloc(route->n_brokers > 0 ? route->n_brokers : 1, sizeof(*worth));
    if (!worth) {
        return -ENOMEM;
    }
    int32_t queue_nums_max =
        span_equals_text(topic, ROUTE_DEFAULT_TOPIC) ? DEFAULT_TOPIC_QUEUE_NUMS : 0;
    int r = publish_queues_from_route(route, queue_nums_max, &queues, &n_queues);
    if (r == 0) {
        r = route_table_learn(table, route, now_ms);
    }
    struct topic_row *row = r == 0 ? topic_row_get(table, topic, now_ms) : NULL;
    if (!row) {
        free(queues);
        free(worth);
        return -ENOMEM;
    }
    row->entry.is_lost = false;
    entry_set_route(&row->entry, TAKE(route), queues, n_queues, worth, now_ms);
    return 0;
}

enum route_denial route_table_deny(struct route_table *table, struct span topic, uint64_t now_ms)
{
    struct topic_row *row = topic_row_get(table, topic, now_ms);
    if (!row) {
        return ROUTE_DENIAL_NO_MEMORY;
    }
    struct route_entry *entry = &row->entry;
    bool had_route = entry->route != NULL;
    if (had_route && entry->denied_ms == 0) {
        entry->denied_ms = now_ms;
    }
    if (had_route && !entry->is_expired && now_ms - entry->denied_ms < ROUTE_DOUBT_MS) {
        entry->denied_again_ms = now_ms;
        return ROUTE_DENIAL_DOUBTED;
    }
    entry->is_lost = had_route || entry->is_lost;
    entry_set_route(entry, NULL, NULL, 0, NULL, now_ms);
    return had_route ? ROUTE_DENIAL_LOST : ROUTE_DENIAL_ABSENT;
}

bool route_table_is_old(
    const struct route_table *table, const struct route_entry *entry, uint64_t now_ms)
{
    return entry->is_expired || entry->denied_ms > 0 ||
           now_ms - entry->fetched_ms >= table->limits.refresh_ms;
}

bool route_table_is_due(
    const struct route_table *table, const struct route_entry *entry, uint64_t now_ms)
{
    return entry->is_expired || entry->denied_ms == 0 ||
           now_ms - entry->denied_again_ms >= table->limits.negative_ttl_ms;
}

void route_table_expire(struct route_table *table, struct span topic)
{
    struct topic_row *row = topic_row_find(table, topic);
    if (row) {
        row->entry.is_expired = true; /* a route is still there for who cannot wait */
    }
}

static void rows_forget(struct route_table *table, uint64_t now_ms)
{
    struct broker_row *broker, *next_broker;
    HASH_ITER (hh, table->brokers, broker, next_broker) {
        if (now_ms - broker->seen_ms >= ROW_FORGET_MS) {
            broker_row_free(table, broker);
        }
    }
    struct address_row *address, *next_address;
    HASH_ITER (hh, table->addresses, address, next_address) {
        if (now_ms - address->seen_ms >= ROW_FORGET_MS) {
            address_row_free(table, address);
        }
    }
}

static int learn_address(struct route_table *table, const char *address, uint64_t now_ms)
{
    struct address_row *row;
    HASH_FIND_STR(table->addresses, address, row);
    if (!row) {
        if (HASH_COUNT(table->addresses) >= ROWS_MAX) {
            rows_forget(table, now_ms);
        }
        if (HASH_COUNT(table->addresses) >= ROWS_MAX) {
            return 0;
        }
        row = calloc(1, sizeof(*row));
        if (!row || !(row->address = strdup(address))) {
            free(row);
            return -ENOMEM;
        }
        HASH_ADD_KEYPTR(hh, table->addresses, row->address, strlen(row->address), row);
        if (!row->hh.tbl) {
            free(row->address);
            free(row);
            return -ENOMEM;
        }
    }
    row->seen_ms = now_ms;
    return 0;
}

/* 0 or -ENOMEM. *ret_row is NULL where there are too many. */
static int broker_row_get(
    struct route_table *table, const char *name, uint64_t now_ms, struct broker_row **ret_row)
{
    struct broker_row *row;
    HASH_FIND_STR(table->brokers, name, row);
    *ret_row = row;
    if (row) {
        return 0;
    }
    if (HASH_COUNT(table->brokers) >= ROWS_MAX) {
        rows_forget(table, now_ms);
    }
    if (HASH_COUNT(table->brokers) >= ROWS_MAX) {
        return 0;
    }
    row = calloc(1, sizeof(*row));
    if (!row || !(row->name = strdup(name))) {
        free(row);
        return -ENOMEM;
    }
    HASH_ADD_KEYPTR(hh, table->brokers, row->name, strlen(row->name), row);
    if (!row->hh.tbl) {
        free(row->name);
        free(row);
        return -ENOMEM;
    }
    *ret_row = row;
    return 0;
}

static int learn_broker(
    struct route_table *table, const struct broker_data *broker, uint64_t now_ms)
{
    for (size_t i = 0; i < broker->n_addresses; i++) {
        int r = learn_address(table, broker->addresses[i].address, now_ms);
        if (r < 0) {
            return r;
        }
    }
    struct broker_row *row;
    int r = broker_row_get(table, broker->broker_name, now_ms, &row);
    if (r < 0 || !row) {
        return r;
    }
    row->seen_ms = now_ms;
    const char *address = broker_data_master(broker);
    if (address && row->master && strcmp(address, row->master) == 0) {
        return 0;
    }
    char *master = address ? strdup(address) : NULL;
    if (address && !master) {
        return -ENOMEM;
    }
    char *before = row->master;
    row->master = master;
    if (table->on_moved && master && before && !route_table_broker_at(table, span_of(before))) {
        table->on_moved(table->on_moved_context, row->name, before);
    }
    free(before);
    return 0;
}

int route_table_learn(struct route_table *table, const struct topic_route *route, uint64_t now_ms)
{
    for (size_t i = 0; i < route->n_brokers; i++) {
        int r = learn_broker(table, &route->brokers[i], now_ms);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

const char *route_table_master(
    struct route_table *table, struct span broker_name, bool *ret_is_known)
{
    struct broker_row *row;
    HASH_FIND(hh, table->brokers, broker_name.data, broker_name.n, row);
    *ret_is_known = row != NULL;
    return row ? row->master : NULL;
}

const char *route_table_broker_at(const struct route_table *table, struct span address)
{
    for (const struct broker_row *row = table->brokers; row; row = row->hh.next) {
        if (row->master && span_equals_text(address, row->master)) {
            return row->name;
        }
    }
    return NULL;
}

void route_table_each_master(struct route_table *table, uint64_t now_ms,
    void (*visit)(void *context, const char *address), void *context)
{
    for (const struct broker_row *row = table->brokers; row; row = row->hh.next) {
        if (row->master && now_ms - row->seen_ms < ROUTE_ADDRESS_KNOWN_MS) {
            visit(context, row->master);
        }
    }
}

void route_table_each_broker(const struct route_table *table, uint64_t now_ms,
    void (*visit)(void *context, const char *name, const char *master), void *context)
{
    for (const struct broker_row *row = table->brokers; row; row = row->hh.next) {
        if (now_ms - row->seen_ms < ROUTE_ADDRESS_KNOWN_MS) {
            visit(context, row->name, row->master);
        }
    }
}

void route_table_each_topic(const struct route_table *table,
    void (*visit)(void *context, const struct route_entry *entry), void *context)
{
    for (const struct topic_row *row = table->topics; row; row = row->hh.next) {
        visit(context, &row->entry);
    }
}

bool route_table_knows_address(struct route_table *table, struct span address, uint64_t now_ms)
{
    struct address_row *row;
    HASH_FIND(hh, table->addresses, address.data, address.n, row);
    return row && now_ms - row->seen_ms < ROUTE_ADDRESS_KNOWN_MS;
}

size_t route_table_n_topics(const struct route_table *table)
{
    return HASH_COUNT(table->topics);
}
