/* The connections: counted, tried out and closed. */
#include "daemon/admin/admin.h"

#include "daemon/loop/log.h"

#include <inttypes.h>
#include <stdio.h>

/* --- what they are like --- */

/* Connections of one address, or of all. */
struct connection_counts {
    size_t n_total;
    size_t n_ready;
    size_t n_active;
    size_t n_idle; /* ready, and nothing is in flight */
    size_t max;    /* 0: no limit */
};

static void counts_set(json_t *row, const struct connection_counts *counts)
{
    json_object_set_new(row, "total", admin_json_count(counts->n_total));
    json_object_set_new(row, "active", admin_json_count(counts->n_active));
    json_object_set_new(row, "idle", admin_json_count(counts->n_idle));
    json_object_set_new(row, "healthy", admin_json_count(counts->n_ready));
    json_object_set_new(row, "max_connections", admin_json_count(counts->max));
    json_object_set_new(row, "utilization",
        json_real(counts->max > 0 ? (double)counts->n_total / (double)counts->max : 0.0));
}

static void stats_set(json_t *row, const struct address_stats *stats)
{
    double error_rate = stats->requests > 0 ? (double)stats->errors / (double)stats->requests : 0.0;
    json_object_set_new(row, "error_rate", json_real(error_rate));
    json_object_set_new(row, "total_requests", admin_json_count(stats->requests));
    json_object_set_new(row, "total_errors", admin_json_count(stats->errors));
    json_object_set_new(row, "total_connects", admin_json_count(stats->connects));
    json_object_set_new(row, "total_connect_failures", admin_json_count(stats->connect_failures));
    json_t *latencies = json_object();
    json_object_set_new(
        latencies, "p50", admin_json_count(latency_quantile_us(&stats->latency, 500)));
    json_object_set_new(
        latencies, "p99", admin_json_count(latency_quantile_us(&stats->latency, 990)));
    json_object_set_new(latencies, "max", admin_json_count(stats->latency.max_us));
    json_object_set_new(row, "latencies", latencies);
}

static const char *upstream_word(const struct upstream *upstream)
{
    switch (upstream->state) {
    case UPSTREAM_CONNECTING:
        return "connecting";
    case UPSTREAM_READY:
        return upstream == upstream->address->connecting ? "probing" : "ready";
    case UPSTREAM_DRAINING:
        return "draining";
    case UPSTREAM_CLOSED:
        return "closed";
    }
    return "?";
}

static const char *address_word(const struct upstream_address *address)
{
    if (address->n_ready > 0) {
        return "ready";
    }
    switch (address->attempt) {
    case ATTEMPT_NONE:
        break;
    case ATTEMPT_RESOLVING:
        return "resolving";
    case ATTEMPT_CONNECTING:
        return "connecting";
    case ATTEMPT_PROBING:
        return "probing";
    case ATTEMPT_NO_ROOM:
        return "no room";
    }
    return address->backoff.n_failures > 0 ? "backing off" : "idle";
}

static json_t *connections_json(
    const struct upstream_address *address, struct connection_counts *counts)
{
    json_t *connections = json_array();
    const struct upstream *upstream;
    TAILQ_FOREACH (upstream, &address->upstreams, link) {
        bool is_active = upstream->n_in_flight > 0;
        counts->n_total++;
        counts->n_active += is_active;
        counts->n_idle += !is_active && upstream->state == UPSTREAM_READY;
        json_t *row = json_object();
        json_object_set_new(row, "id", admin_json_count(upstream->id));
        json_object_set_new(row, "state", json_string(upstream_word(upstream)));
        json_object_set_new(row, "inFlight", admin_json_count(upstream->n_in_flight));
        json_array_append_new(connections, row);
    }
    counts->n_ready = address->n_ready;
    return connections;
}

static json_t *backoff_json(const struct upstream_address *address, uint64_t now_ms)
{
    json_t *backoff = json_object();
    uint64_t next_ms = upstream_address_next_attempt_ms(address);
    json_object_set_new(backoff, "failures", admin_json_count(address->backoff.n_failures));
    json_object_set_new(
        backoff, "nextAttemptMillis", admin_json_count(clock_until(now_ms, next_ms)));
    json_object_set_new(
        backoff, "cause", admin_json_text(address->cause[0] ? address->cause : NULL));
    return backoff;
}

struct pool_walk {
    const struct invoker *invoker;
    json_t *rows;
    struct connection_counts counts;
};

static const char *class_word(enum pool_class class)
{
    switch (class) {
    case POOL_NORMAL:
        return "normal";
    case POOL_LONG_POLL:
        return "long poll";
    case POOL_CONTROL:
        return "control";
    }
    return "?";
}

static void on_address(void *context, const struct upstream_address *address)
{
    struct pool_walk *walk = context;
    struct connection_counts counts = {
        .max = address->class == POOL_CONTROL
                   ? 1
                   : upstream_pool_connections_per_address(walk->invoker->pool),
    };
    size_t n_waiting = 0;
    const struct pending_request *request;
    TAILQ_FOREACH (request, &address->waiting, link) {
        n_waiting++;
    }
    json_t *row = json_object();
    json_object_set_new(row, "addr", admin_json_text(upstream_address_name(address)));
    json_object_set_new(row, "class", json_string(class_word(address->class)));
    json_object_set_new(
        row, "state", json_string(address_word(address->alias ? address->alias : address)));
    json_object_set_new(row, "alias",
        admin_json_text(address->alias ? upstream_address_name(address->alias) : NULL));
    json_object_set_new(row, "waiting", admin_json_count(n_waiting));
    json_object_set_new(row, "connections", connections_json(address, &counts));
    json_object_set_new(row, "backoff", backoff_json(address, walk->invoker->loop->now_ms));
    counts_set(row, &counts);
    stats_set(row, &address->stats);
    json_array_append_new(walk->rows, row);
    walk->counts.n_idle += counts.n_idle;
}

void admin_get_pool_stats(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    const struct upstream_pool *pool = invocation->invoker->pool;
    struct upstream_pool_report report;
    upstream_pool_report(pool, &report);
    struct pool_walk walk = {
        .invoker = invocation->invoker,
        .rows = json_array(),
        .counts = {
            .n_total = report.n_total,
            .n_ready = report.n_ready,
            .n_active = report.n_active,
            .max = report.max_connections,
        },
    };
    upstream_pool_each(pool, on_address, &walk);
    json_t *body = json_object();
    counts_set(body, &walk.counts);
    stats_set(body, &report.totals);
    json_object_set_new(body, "addresses", walk.rows);
    admin_answer_json(invocation, body);
}

/* --- whether one answers --- */

static void answer_reachable(struct invocation *invocation, json_t *rtt, const char *cause)
{
    json_t *body = json_object();
    json_object_set_new(body, "addr", admin_json_text(invocation->address));
    json_object_set_new(body, "reachable", json_boolean(!cause));
    json_object_set_new(body, "rttMicros", rtt);
    json_object_set_new(body, "cause", admin_json_text(cause));
    admin_answer_json(invocation, body);
}

/* Whatever it answers: it is there. */
static void reachable_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    (void)response;
    (void)source;
    answer_reachable(
        invocation, admin_json_count(loop_clock_us() - invocation->request.sent_us), NULL);
}

static void reachable_on_failure(struct invocation *invocation, const struct failure_report *report)
{
    switch (report->failure) {
    case FAILURE_TIMEOUT:
    case FAILURE_UNREACHABLE:
    case FAILURE_CONNECTION_LOST:
        answer_reachable(invocation, json_null(), report->cause);
        return;
    case FAILURE_NO_REPLY:
    case FAILURE_NO_NAMESERVER:
    case FAILURE_NO_ROUTE:
    case FAILURE_NO_BROKER:
    case FAILURE_OVERLOADED:
    case FAILURE_UNSUPPORTED:
    case FAILURE_DRAINING:
    case FAILURE_FORBIDDEN:
    case FAILURE_INVALID:
        invocation_fail_report(invocation, report);
        return;
    }
}

static void reachable_ask(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    struct invoker *invoker = invocation->invoker;
    struct span address = ext_fields_text(&command->ext_fields, "addr");
    const char *current = nameservers_current(invoker->nameservers);
    if (span_equals_text(address, "nameserver") && !current) {
        invocation_fail(invocation, FAILURE_NO_NAMESERVER, false, NAMESERVER_NONE);
        return;
    }
    if (span_equals_text(address, "nameserver")) {
        address = span_of(current);
    }
    if (!forward_may_address(invocation, address, "addr", command, source)) {
        return;
    }
    /* What is kept is the caller's command, and not what goes out. */
    char name[ADDRESS_TEXT_MAX];
    (void)snprintf(name, sizeof(name), "%.*s", SPAN_ARGS(address));
    kept_command_deinit(&invocation->request.kept);
    struct ext_field field;
    struct remoting_command probe;
    upstream_probe_command(&probe, &field);
    /*
     * The first failed attempt is the answer, unless it would be an old one: where the address is
     * in its backoff the next attempt is waited for.
     */
    bool fails_fast = upstream_pool_is_usable(invoker->pool, span_of(name), POOL_NORMAL);
    invocation_send(invocation, span_of(name), &probe, &(struct command_source){ 0 },
        invocation->deadline_ms, fails_fast);
}

static void reachable_on_route(struct invocation *invocation)
{
    const struct command_source source = invocation_kept_source(invocation);
    reachable_ask(invocation, &invocation->request.kept.command, &source);
}

static const struct invocation_steps reachable_steps = {
    .on_route = reachable_on_route,
    .on_response = reachable_on_response,
    .on_failure = reachable_on_failure,
};

void admin_is_address_reachable(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source)
{
    invocation->steps = &reachable_steps;
    reachable_ask(invocation, command, source);
}

/* --- closing --- */

json_t *admin_drain_address(struct invoker *invoker, struct span address, const char *cause)
{
    size_t n = upstream_pool_drain_address(invoker->pool, address, cause);
    json_t *row = json_object();
    json_object_set_new(row, "addr", json_stringn(address.data, address.n));
    json_object_set_new(row, "connections", admin_json_count(n));
    return row;
}

/* The addresses of the pool, each once. */
static void address_collect(void *context, const struct upstream_address *address)
{
    json_t *names = context;
    if (address->class != POOL_CONTROL && !address->alias) {
        json_object_set_new(names, upstream_address_name(address), json_null());
    }
}

static json_t *reconnect(struct invoker *invoker, struct span address)
{
    size_t n = upstream_pool_reconnect(invoker->pool, address, "made anew on request (RECONNECT)");
    return json_pack("{s:o, s:o}", "addr", json_stringn(address.data, address.n), "connections",
        admin_json_count(n));
}

/* Without a body: all of them. */
void admin_reconnect(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    struct invoker *invoker = invocation->invoker;
    struct admin_addresses addresses = { .n = 0 };
    if (!span_is_empty(command->body) &&
        !admin_addresses_read(invocation, command->body, &addresses)) {
        return;
    }
    json_t *rows = json_array();
    for (size_t i = 0; i < addresses.n; i++) {
        json_array_append_new(rows, reconnect(invoker, addresses.items[i]));
    }
    if (addresses.n == 0) {
        const char *name;
        json_t *value, *names = json_object();
        upstream_pool_each(invoker->pool, address_collect, names);
        json_object_foreach(names, name, value)
        {
            json_array_append_new(rows, reconnect(invoker, span_of(name)));
        }
        json_decref(names);
    }
    char text[SESSION_TEXT_SIZE];
    log_info("%s RECONNECT n=%zu", session_text(invocation->session, text), json_array_size(rows));
    admin_answer_json(invocation, json_pack("{s:o}", "reconnected", rows));
    admin_addresses_deinit(&addresses);
}

void admin_close_clients(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    struct admin_addresses addresses;
    if (!admin_addresses_read(invocation, command->body, &addresses)) {
        return;
    }
    json_t *closed = json_array();
    for (size_t i = 0; i < addresses.n; i++) {
        json_array_append_new(closed, admin_drain_address(invocation->invoker, addresses.items[i],
                                          "closed on request (CLOSE_CLIENTS)"));
    }
    char text[SESSION_TEXT_SIZE];
    log_info("%s CLOSE_CLIENTS n=%zu", session_text(invocation->session, text), addresses.n);
    admin_answer_json(invocation, json_pack("{s:o}", "closed", closed));
    admin_addresses_deinit(&addresses);
}
