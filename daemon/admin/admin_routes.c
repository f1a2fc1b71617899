/* GET_ROUTES and GET_GROUPS: what is known of topics, and the groups that callers speak for. */
#include "daemon/admin/admin.h"

/* Of one answer; `next` says where to go on. */
#define ROWS_MAX 1000

/* --- routes --- */

struct routes_walk {
    const struct invocation *invocation;
    json_t *rows;
    uint64_t after;
    uint64_t n_seen;
    bool has_more;
};

/* Topics are named to those who may use them. */
static bool may_see(const struct role *role, struct span topic)
{
    return role->is_admin || role->may_everything || name_patterns_match(&role->send, topic) ||
           name_patterns_match(&role->consume, topic);
}

static const char *route_word(const struct invoker *invoker, const struct route_entry *entry)
{
    if (!entry->route) {
        return entry->is_lost ? "lost" : "absent";
    }
    const struct route_table *table = routes_table(invoker->routes);
    return route_table_is_old(table, entry, invoker->loop->now_ms) ? "stale" : "fresh";
}

static json_t *brokers_json(const struct route_entry *entry)
{
    json_t *names = json_array();
    for (size_t i = 0; entry->route && i < entry->route->n_brokers; i++) {
        json_array_append_new(names, admin_json_text(entry->route->brokers[i].broker_name));
    }
    return names;
}

/* Queues that can be written to now: their broker's connections work. */
static size_t queues_reachable(const struct invoker *invoker, const struct route_entry *entry)
{
    size_t n = 0, last = SIZE_MAX;
    bool is_usable = false;
    for (size_t i = 0; i < entry->n_queues; i++) {
        if (entry->queues[i].broker != last) {
            last = entry->queues[i].broker;
            const char *master = broker_data_master(&entry->route->brokers[last]);
            is_usable =
                master && upstream_pool_is_usable(invoker->pool, span_of(master), POOL_NORMAL);
        }
        n += is_usable;
    }
    return n;
}

static json_t *route_json(const struct invoker *invoker, const struct route_entry *entry)
{
    uint64_t now_ms = invoker->loop->now_ms;
    int64_t n_read = 0;
    for (size_t i = 0; entry->route && i < entry->route->n_queues; i++) {
        const struct queue_data *queues = &entry->route->queues[i];
        n_read += queues->perm & PERM_READ ? queues->read_queue_nums : 0;
    }
    json_t *row = json_object();
    json_object_set_new(row, "topic", admin_json_text(entry->topic));
    json_object_set_new(row, "state", json_string(route_word(invoker, entry)));
    json_object_set_new(row, "brokers", brokers_json(entry));
    json_object_set_new(row, "readQueues", json_integer(n_read));
    json_object_set_new(row, "writeQueues", admin_json_count(entry->n_queues));
    json_object_set_new(row, "reachableQueues", admin_json_count(queues_reachable(invoker, entry)));
    json_object_set_new(row, "ageMillis", admin_json_count(now_ms - entry->fetched_ms));
    json_object_set_new(row, "usedMillis", admin_json_count(now_ms - entry->used_ms));
    json_object_set_new(row, "sentMillis",
        entry->sent_ms > 0 ? admin_json_count(now_ms - entry->sent_ms) : json_null());
    return row;
}

static void on_topic(void *context, const struct route_entry *entry)
{
    struct routes_walk *walk = context;
    const struct invocation *invocation = walk->invocation;
    if (!may_see(invocation->role, span_of(entry->topic)) || walk->n_seen++ < walk->after) {
        return;
    }
    if (json_array_size(walk->rows) == ROWS_MAX) {
        walk->has_more = true;
        return;
    }
    json_array_append_new(walk->rows, route_json(invocation->invoker, entry));
}

void admin_get_routes(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    struct routes_walk walk = { .invocation = invocation };
    if (!admin_after_read(invocation, command, &walk.after)) {
        return;
    }
    walk.rows = json_array();
    route_table_each_topic(routes_table(invocation->invoker->routes), on_topic, &walk);
    json_t *next = walk.has_more ? admin_json_count(walk.after + ROWS_MAX) : json_null();
    admin_answer_json(invocation, json_pack("{s:o, s:o}", "routes", walk.rows, "next", next));
}

/* --- groups --- */

struct groups_walk {
    const struct invocation *invocation;
    json_t *producers;
    json_t *consumers;
    bool is_cut;
};

static bool may_name(const struct role *role, const struct name_patterns *groups, struct span group)
{
    return role->is_admin || role->may_everything || name_patterns_match(groups, group);
}

static void on_producer(void *context, struct span group, size_t n_callers)
{
    struct groups_walk *walk = context;
    const struct role *role = walk->invocation->role;
    if (!may_name(role, &role->producer_groups, group)) {
        return;
    }
    if (json_array_size(walk->producers) == ROWS_MAX) {
        walk->is_cut = true;
        return;
    }
    json_t *row = json_object();
    json_object_set_new(row, "group", json_stringn(group.data, group.n));
    json_object_set_new(row, "callers", admin_json_count(n_callers));
    json_array_append_new(walk->producers, row);
}

static void on_consumer(
    void *context, uint64_t session_id, const char *client_id, struct span group)
{
    struct groups_walk *walk = context;
    const struct role *role = walk->invocation->role;
    if (!may_name(role, &role->consumer_groups, group)) {
        return;
    }
    if (json_array_size(walk->consumers) == ROWS_MAX) {
        walk->is_cut = true;
        return;
    }
    json_t *row = json_object();
    json_object_set_new(row, "group", json_stringn(group.data, group.n));
    json_object_set_new(row, "session", admin_json_count(session_id));
    json_object_set_new(row, "clientId", admin_json_text(client_id));
    json_array_append_new(walk->consumers, row);
}

void admin_get_groups(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    const struct identity *identity = invocation->invoker->identity;
    struct groups_walk walk = {
        .invocation = invocation,
        .producers = json_array(),
        .consumers = json_array(),
    };
    identity_each_producer(identity, on_producer, &walk);
    identity_each_consumer(identity, on_consumer, &walk);
    admin_answer_json(invocation,
        json_pack("{s:o, s:o, s:o, s:b}", "clientId", admin_json_text(identity_client_id(identity)),
            "producers", walk.producers, "consumers", walk.consumers, "isCut", walk.is_cut));
}
