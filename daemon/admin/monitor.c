#include "daemon/admin/monitor.h"

#include "daemon/loop/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Addresses of brokers that are out, for telling whether a topic has another. */
#define BROKERS_OUT_MAX 64

struct monitor {
    struct invoker *invoker;
    struct recent recent;
    struct deadline sample;
    uint64_t started_ms;
    enum health_state state; /* as it was told last */
};

/* --- brokers --- */

struct broker_visit {
    const struct monitor *monitor;
    void (*visit)(void *context, const struct monitor_broker *broker);
    void *context;
};

static bool is_out(const struct upstream_address *address, uint64_t now_ms)
{
    return address && !upstream_address_is_usable(address) &&
           now_ms - address->backoff.failed_at_ms < HEALTH_LATELY_MS;
}

static void on_broker(void *context, const char *name, const char *master)
{
    const struct broker_visit *visit = context;
    const struct invoker *invoker = visit->monitor->invoker;
    struct monitor_broker broker = { .name = name, .master = master };
    if (master) {
        broker.address = upstream_pool_find(invoker->pool, span_of(master), POOL_NORMAL);
        broker.is_out = is_out(broker.address, invoker->loop->now_ms);
    }
    visit->visit(visit->context, &broker);
}

void monitor_each_broker(const struct monitor *monitor,
    void (*visit)(void *context, const struct monitor_broker *broker), void *context)
{
    struct broker_visit each = { .monitor = monitor, .visit = visit, .context = context };
    const struct invoker *invoker = monitor->invoker;
    route_table_each_broker(routes_table(invoker->routes), invoker->loop->now_ms, on_broker, &each);
}

/* --- facts --- */

struct brokers_out {
    struct health_facts *facts;
    const char *masters[BROKERS_OUT_MAX];
    size_t n;
    uint64_t now_ms;
};

static void count_broker(void *context, const struct monitor_broker *broker)
{
    struct brokers_out *out = context;
    struct health_facts *facts = out->facts;
    facts->n_brokers += broker->master != NULL;
    if (!broker->is_out) {
        return;
    }
    facts->n_brokers_out++;
    facts->broker_out = broker->master;
    facts->broker_cause = broker->address->cause;
    if (out->n < BROKERS_OUT_MAX) {
        out->masters[out->n++] = broker->master;
    }
}

static bool can_take(const struct brokers_out *out, const struct broker_data *broker)
{
    const char *master = broker_data_master(broker);
    bool takes = master != NULL;
    for (size_t i = 0; i < out->n && takes; i++) {
        takes = strcmp(out->masters[i], master) != 0;
    }
    return takes;
}

/* Whether a send that was asked for lately has nowhere to go. */
static bool is_stuck(const struct brokers_out *out, const struct route_entry *entry)
{
    if (!entry->route) {
        return entry->is_lost && out->now_ms - entry->used_ms < HEALTH_LATELY_MS;
    }
    if (entry->sent_ms == 0 || out->now_ms - entry->sent_ms >= HEALTH_LATELY_MS) {
        return false;
    }
    const struct publish_queue *last = NULL;
    for (size_t i = 0; i < entry->n_queues; i++) {
        const struct publish_queue *queue = &entry->queues[i];
        if ((!last || last->broker != queue->broker) &&
            can_take(out, &entry->route->brokers[queue->broker])) {
            return false;
        }
        last = queue;
    }
    return true;
}

static void count_topic(void *context, const struct route_entry *entry)
{
    struct brokers_out *out = context;
    struct health_facts *facts = out->facts;
    facts->n_routes += entry->route != NULL;
    if (is_stuck(out, entry)) {
        facts->n_topics_stuck++;
        facts->topic_stuck = entry->topic;
    }
}

static void nameserver_describe(
    const struct invoker *invoker, const char *name, struct health_facts *facts)
{
    const struct upstream_address *address =
        upstream_pool_find(invoker->pool, span_of(name), POOL_NORMAL);
    facts->nameserver_out = name;
    facts->nameserver_cause = address && address->cause[0] != '\0' ? address->cause : NULL;
}

static void facts_of_nameservers(const struct invoker *invoker, struct health_facts *facts)
{
    facts->n_nameservers = nameservers_count(invoker->nameservers);
    facts->no_nameserver_answers = nameservers_are_degraded(invoker->nameservers);
    for (size_t i = 0; i < facts->n_nameservers; i++) {
        struct nameserver_view view;
        nameservers_view(invoker->nameservers, i, &view);
        if (nameserver_view_answers(&view)) {
            facts->n_nameservers_usable++;
        } else {
            nameserver_describe(invoker, view.address, facts);
        }
    }
}

static void facts_of_listeners(const struct invoker *invoker, struct health_facts *facts)
{
    for (size_t i = 0; i < invoker->sessions->n_entrances; i++) {
        const struct session_entrance *entrance = &invoker->sessions->entrances[i];
        if (entrance->is_starved) {
            facts->stopped_socket = entrance->config->socket;
        } else if (entrance->n - entrance->n_forbidden >= entrance->config->max_sessions) {
            facts->full_socket = entrance->config->socket;
        }
    }
}

/* What was not delivered although nothing was wrong with it. */
static void facts_of_requests(
    const struct stats *now, const struct stats *then, struct health_facts *facts)
{
    static const enum failure undelivered[] = { FAILURE_TIMEOUT, FAILURE_UNREACHABLE,
        FAILURE_CONNECTION_LOST, FAILURE_NO_NAMESERVER, FAILURE_NO_BROKER };
    uint64_t most = 0;
    for (size_t i = 0; i < sizeof(undelivered) / sizeof(undelivered[0]); i++) {
        uint64_t n = now->failures_by[undelivered[i]] - then->failures_by[undelivered[i]];
        facts->n_undelivered += n;
        if (n > most) {
            most = n;
            facts->undelivered_cause = failure_name(undelivered[i]);
        }
    }
    facts->n_requests = now->requests - then->requests;
    facts->n_overloaded =
        now->failures_by[FAILURE_OVERLOADED] - then->failures_by[FAILURE_OVERLOADED];
}

void monitor_examine(const struct monitor *monitor, struct health_report *ret_report)
{
    const struct invoker *invoker = monitor->invoker;
    uint64_t late_us = recent_late_us(&monitor->recent);
    uint64_t late_now_us = invoker->loop->late_us;
    *ret_report = (struct health_report){
        .facts = {
            .is_draining = invoker->drain->state != DRAIN_RUNNING,
            .memory_used = invoker->memory->used,
            .memory_limit = invoker->memory->limit,
            .n_in_flight = invoker->n_in_flight,
            .last_reload_failed = invoker->stats->last_reload_failed,
            .n_in_flight_max = invoker->config->limits.max_in_flight,
            .late_ms = (late_us > late_now_us ? late_us : late_now_us) / 1000,
        },
    };
    struct health_facts *facts = &ret_report->facts;
    struct brokers_out out = { .facts = facts, .now_ms = invoker->loop->now_ms };
    facts_of_nameservers(invoker, facts);
    monitor_each_broker(monitor, count_broker, &out);
    route_table_each_topic(routes_table(invoker->routes), count_topic, &out);
    facts_of_listeners(invoker, facts);
    facts_of_requests(invoker->stats, monitor_minute_ago(monitor), facts);
    ret_report->n_found = health_examine(facts, ret_report->found);
    ret_report->state = health_state_of(ret_report->found, ret_report->n_found);
}

const struct stats *monitor_minute_ago(const struct monitor *monitor)
{
    return recent_oldest(&monitor->recent);
}

uint64_t monitor_uptime_ms(const struct monitor *monitor)
{
    return monitor->invoker->loop->now_ms - monitor->started_ms;
}

void health_report_reason(const struct health_report *report, char reason[HEALTH_REASON_SIZE])
{
    reason[0] = '\0';
    if (report->n_found > 0) {
        report->found[0]->describe(&report->facts, reason);
    }
}

void monitor_describe(const struct monitor *monitor, char status[SERVICE_STATUS_SIZE])
{
    struct health_report report;
    char reason[HEALTH_REASON_SIZE];
    monitor_examine(monitor, &report);
    const struct health_facts *facts = &report.facts;
    health_report_reason(&report, reason);
    (void)snprintf(status, SERVICE_STATUS_SIZE,
        "%s: %s%s%zu callers, %zu requests in flight, %zu of %zu nameservers usable",
        health_state_name(report.state), reason, *reason ? "; " : "", monitor->invoker->sessions->n,
        facts->n_in_flight, facts->n_nameservers_usable, facts->n_nameservers);
}

/* --- samples --- */

/* A change is told once, when a sample sees it. */
static void state_tell(struct monitor *monitor, const struct health_report *report)
{
    char reason[HEALTH_REASON_SIZE], quoted[LOG_QUOTE_SIZE];
    if (report->state == monitor->state) {
        return;
    }
    health_report_reason(report, reason);
    void (*tell)(const char *format, ...) =
        report->state == HEALTH_HEALTHY ? log_info : log_warning;
    tell("health %s -> %s%s%s reason=%s", health_state_name(monitor->state),
        health_state_name(report->state), report->n_found > 0 ? " condition=" : "",
        report->n_found > 0 ? report->found[0]->name : "",
        log_quote(reason, strlen(reason), quoted));
    net_event_note(monitor->invoker->upstreams->events, EVENT_HEALTH,
        report->state > monitor->state, health_state_name(report->state), "%s", reason);
    monitor->state = report->state;
}

static void on_sample(struct deadline *deadline, uint64_t now_ms)
{
    struct monitor *monitor =
        (struct monitor *)(void *)((char *)deadline - offsetof(struct monitor, sample));
    const struct invoker *invoker = monitor->invoker;
    struct health_report report;
    recent_sample(&monitor->recent, invoker->stats, loop_take_late_us(invoker->loop));
    monitor_examine(monitor, &report);
    state_tell(monitor, &report);
    loop_deadline_set(invoker->loop, &monitor->sample, now_ms + RECENT_SAMPLE_MS);
}

struct monitor *monitor_new(struct invoker *invoker)
{
    struct monitor *monitor = calloc(1, sizeof(*monitor));
    if (monitor) {
        monitor->invoker = invoker;
        deadline_init(&monitor->sample, on_sample);
    }
    return monitor;
}

struct monitor *monitor_free(struct monitor *monitor)
{
    if (monitor) {
        loop_deadline_clear(monitor->invoker->loop, &monitor->sample);
        free(monitor);
    }
    return NULL;
}

void monitor_start(struct monitor *monitor)
{
    struct loop *loop = monitor->invoker->loop;
    monitor->started_ms = loop->now_ms;
    recent_sample(&monitor->recent, monitor->invoker->stats, 0);
    loop_deadline_set(loop, &monitor->sample, loop->now_ms + RECENT_SAMPLE_MS);
}
