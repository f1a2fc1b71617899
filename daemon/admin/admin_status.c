/* GET_STATUS and GET_BROKERS: how the daemon is, on one screen. */
#include "daemon/admin/admin.h"
#include "daemon/admin/monitor.h"
#include "daemon/loop/log.h"

#include <stdio.h>
#include <unistd.h>

/* Brokers out of use that the status names; GET_BROKERS has them all. */
#define STATUS_BROKERS_MAX 8

uint64_t admin_resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        /* NOLINTNEXTLINE(cert-err34-c): the kernel writes no number that does not fit */
        if (fscanf(file, "%*u %lu", &pages) != 1) {
            pages = 0;
        }
        (void)fclose(file);
    }
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* --- brokers --- */

static const char *broker_word(const struct monitor_broker *broker)
{
    if (!broker->master) {
        return "no master";
    }
    return broker->is_out ? "out of use" : broker->address ? "usable" : "not used";
}

static json_t *broker_json(const struct monitor_broker *broker)
{
    const struct upstream_address *address = broker->address;
    json_t *row = json_object();
    json_object_set_new(row, "name", admin_json_text(broker->name));
    json_object_set_new(row, "addr", admin_json_text(broker->master));
    json_object_set_new(row, "state", json_string(broker_word(broker)));
    json_object_set_new(row, "connections", admin_json_count(address ? address->n_ready : 0));
    json_object_set_new(row, "requests", admin_json_count(address ? address->stats.requests : 0));
    json_object_set_new(row, "errors", admin_json_count(address ? address->stats.errors : 0));
    json_object_set_new(row, "p99Micros",
        admin_json_count(address ? latency_quantile_us(&address->stats.latency, 990) : 0));
    json_object_set_new(
        row, "cause", admin_json_text(broker->is_out ? broker->address->cause : NULL));
    return row;
}

struct brokers_walk {
    const struct invoker *invoker;
    json_t *rows;
};

static void brokers_add(void *context, const struct monitor_broker *broker)
{
    const struct brokers_walk *walk = context;
    const struct invoker *invoker = walk->invoker;
    bool is_passed_over = invoker->config->send.latency_fault_tolerance &&
                          !fault_tolerance_is_available(
                              invoker->fault_tolerance, span_of(broker->name), loop_clock_ms());
    json_t *row = broker_json(broker);
    json_object_set_new(row, "isPassedOver", json_boolean(is_passed_over));
    json_array_append_new(walk->rows, row);
}

void admin_get_brokers(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    struct brokers_walk walk = { .invoker = invocation->invoker, .rows = json_array() };
    monitor_each_broker(invocation->invoker->monitor, brokers_add, &walk);
    admin_answer_json(invocation, json_pack("{s:o}", "brokers", walk.rows));
}

struct brokers_seen {
    size_t n;
    size_t n_connected;
    size_t n_out;
    json_t *out;
};

static void brokers_see(void *context, const struct monitor_broker *broker)
{
    struct brokers_seen *seen = context;
    seen->n++;
    seen->n_connected += broker->address && broker->address->n_ready > 0;
    seen->n_out += broker->is_out;
    if (broker->is_out && json_array_size(seen->out) < STATUS_BROKERS_MAX) {
        json_array_append_new(seen->out, broker_json(broker));
    }
}

/* --- the parts of the status --- */

static json_t *conditions_json(const struct health_report *report)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < report->n_found; i++) {
        const struct health_condition *condition = report->found[i];
        char reason[HEALTH_REASON_SIZE];
        condition->describe(&report->facts, reason);
        json_array_append_new(rows, json_pack("{s:s, s:s, s:o, s:s}", "condition", condition->name,
                                        "state", health_state_name(condition->state), "reason",
                                        admin_json_text(reason), "command", condition->command));
    }
    return rows;
}

static json_t *status_nameservers(const struct invoker *invoker, const struct health_facts *facts)
{
    return json_pack("{s:o, s:o, s:o, s:b}", "total", admin_json_count(facts->n_nameservers),
        "usable", admin_json_count(facts->n_nameservers_usable), "current",
        admin_json_text(nameservers_current(invoker->nameservers)), "answer",
        !facts->no_nameserver_answers && facts->n_nameservers > 0);
}

static json_t *status_brokers(const struct monitor *monitor)
{
    struct brokers_seen seen = { .out = json_array() };
    monitor_each_broker(monitor, brokers_see, &seen);
    return json_pack("{s:o, s:o, s:o, s:o}", "total", admin_json_count(seen.n), "connected",
        admin_json_count(seen.n_connected), "outOfUse", admin_json_count(seen.n_out), "examples",
        seen.out);
}

static void count_waiting(void *context, const struct upstream_address *address)
{
    size_t *n_waiting = context;
    const struct pending_request *request;
    TAILQ_FOREACH (request, &address->waiting, link) {
        (*n_waiting)++;
    }
}

static json_t *status_pools(const struct invoker *invoker)
{
    struct upstream_pool_report report;
    size_t n_waiting = 0;
    upstream_pool_report(invoker->pool, &report);
    upstream_pool_each(invoker->pool, count_waiting, &n_waiting);
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "connections", admin_json_count(report.n_total),
        "ready", admin_json_count(report.n_ready), "active", admin_json_count(report.n_active),
        "maxConnections", admin_json_count(report.max_connections), "waiting",
        admin_json_count(n_waiting));
}

static json_t *status_sessions(const struct invoker *invoker)
{
    uint64_t n_max = 0;
    for (size_t i = 0; i < invoker->sessions->n_entrances; i++) {
        n_max += invoker->sessions->entrances[i].config->max_sessions;
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "total", admin_json_count(invoker->sessions->n),
        "max", admin_json_count(n_max), "accepted",
        admin_json_count(invoker->stats->sessions_accepted), "refused",
        admin_json_count(invoker->stats->sessions_refused), "forbidden",
        admin_json_count(invoker->stats->sessions_forbidden));
}

/* This request does not count itself as one in flight. */
static json_t *status_requests(const struct invoker *invoker, const struct stats *then)
{
    const struct stats *now = invoker->stats;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "total", admin_json_count(now->requests),
        "lastMinute", admin_json_count(now->requests - then->requests), "inFlight",
        admin_json_count(invoker->n_in_flight - 1), "oneway",
        admin_json_count(now->requests_oneway), "retries", admin_json_count(now->retries),
        "lateResponses", admin_json_count(now->late_responses));
}

/* Two failures may have one word. */
static json_t *status_failures(const struct stats *now, const struct stats *then)
{
    json_t *causes = json_object();
    for (size_t i = 0; i < FAILURES; i++) {
        const char *name = failure_name((enum failure)i);
        const json_t *before = json_object_get(causes, name);
        json_int_t total = json_integer_value(json_object_get(before, "total"));
        json_int_t lately = json_integer_value(json_object_get(before, "lastMinute"));
        total += (json_int_t)now->failures_by[i];
        lately += (json_int_t)(now->failures_by[i] - then->failures_by[i]);
        json_object_set_new(
            causes, name, json_pack("{s:I, s:I}", "total", total, "lastMinute", lately));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "total", admin_json_count(now->failures), "lastMinute",
        admin_json_count(now->failures - then->failures), "onewayFailed",
        admin_json_count(now->oneway_failed), "byCause", causes);
}

static json_t *status_json(struct invocation *invocation)
{
    const struct invoker *invoker = invocation->invoker;
    const struct monitor *monitor = invoker->monitor;
    const struct stats *then = monitor_minute_ago(monitor);
    struct health_report report;
    monitor_examine(monitor, &report);
    json_t *conditions = conditions_json(&report);
    const json_t *worst = json_array_get(conditions, 0);
    json_t *body = json_object();
    json_object_set_new(body, "state", json_string(health_state_name(report.state)));
    json_object_set_new(
        body, "reason", admin_json_text(json_string_value(json_object_get(worst, "reason"))));
    json_object_set_new(
        body, "command", admin_json_text(json_string_value(json_object_get(worst, "command"))));
    json_object_set_new(body, "conditions", conditions);
    json_object_set_new(body, "version", json_string(REMOTINGD_VERSION));
    json_object_set_new(body, "pid", json_integer(getpid()));
    json_object_set_new(body, "uptimeMillis", admin_json_count(monitor_uptime_ms(monitor)));
    json_object_set_new(body, "nameservers", status_nameservers(invoker, &report.facts));
    json_object_set_new(body, "routes", admin_json_count(report.facts.n_routes));
    json_object_set_new(body, "brokers", status_brokers(monitor));
    json_object_set_new(body, "pools", status_pools(invoker));
    json_object_set_new(body, "sessions", status_sessions(invoker));
    json_object_set_new(body, "requests", status_requests(invoker, then));
    json_object_set_new(body, "failures", status_failures(invoker->stats, then));
    json_object_set_new(body, "memory",
        json_pack("{s:o, s:o, s:o}", "used", admin_json_count(invoker->memory->used), "limit",
            admin_json_count(invoker->memory->limit), "resident",
            admin_json_count(admin_resident_bytes())));
    json_object_set_new(body, "popOrphaned", admin_json_count(invoker->stats->pop_orphaned));
    json_object_set_new(body, "logLinesDropped", admin_json_count(log_dropped()));
    json_object_set_new(body, "lateMillis", admin_json_count(report.facts.late_ms));
    json_object_set_new(body, "reload",
        json_pack("{s:o, s:o, s:b}", "done", admin_json_count(invoker->stats->reloads), "failed",
            admin_json_count(invoker->stats->reloads_failed), "lastFailed",
            invoker->stats->last_reload_failed));
    json_object_set_new(body, "drain", admin_drain_json(invoker));
    return body;
}

void admin_get_status(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    admin_answer_json(invocation, status_json(invocation));
}
