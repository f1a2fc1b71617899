#include "daemon/admin/metrics.h"

#include "daemon/admin/admin.h"
#include "daemon/loop/log.h"

#include <string.h>
#include <sys/resource.h>

/* --- one number each --- */

static void one(struct openmetrics *metrics, enum openmetrics_kind kind, const char *name,
    const char *help, double value)
{
    openmetrics_family(metrics, kind, name, help);
    openmetrics_sample(metrics, NULL, NULL, value);
}

static void write_counters(struct openmetrics *metrics, const struct invoker *invoker)
{
    const struct stats *stats = invoker->stats;
    const struct {
        const char *name;
        const char *help;
        uint64_t value;
    } counters[] = {
        { "remotingd_requests", "Requests read from callers.", stats->requests },
        { "remotingd_requests_oneway", "Of them, oneway ones.", stats->requests_oneway },
        { "remotingd_answers", "Answers written to callers, failures included.", stats->answers },
        { "remotingd_oneway_failures", "Oneway requests that failed, which nobody was told.",
            stats->oneway_failed },
        { "remotingd_retries", "Attempts after the first of a request.", stats->retries },
        { "remotingd_late_responses", "Responses that came after the deadline of their request.",
            stats->late_responses },
        { "remotingd_unknown_responses", "Responses that answer nothing that was asked.",
            stats->unknown_responses },
        { "remotingd_answers_without_caller",
            "Requests whose caller went before their answer came.", stats->answers_without_caller },
        { "remotingd_caller_responses_dropped", "Response frames of callers that answer nothing.",
            stats->caller_responses_dropped },
        { "remotingd_broker_answers_dropped", "Answers to brokers that do not read.",
            stats->broker_answers_dropped },
        { "remotingd_replies", "Replies to request messages, in time.", stats->replies },
        { "remotingd_replies_late", "Replies that nobody waited for any more.",
            stats->replies_late },
        { "remotingd_sessions_accepted", "Callers that connected.", stats->sessions_accepted },
        { "remotingd_connects", "Connections made to brokers and nameservers.",
            stats->upstream_connects },
        { "remotingd_connect_failures", "Connections that could not be made.",
            stats->upstream_connect_failures },
        { "remotingd_connection_losses", "Connections that broke.", stats->upstream_losses },
        { "remotingd_config_reloads", "Reloads that took the new configuration.", stats->reloads },
        { "remotingd_config_reload_failures", "Reloads that left everything as it was.",
            stats->reloads_failed },
        { "remotingd_events_left_out", "Events that were too many of their kind in a second.",
            invoker->upstreams->events->ring.n_left_out },
        { "remotingd_log_lines_dropped", "Lines that were left out of the log.",
            log_lines_missing() },
    };
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        one(metrics, OPENMETRICS_COUNTER, counters[i].name, counters[i].help,
            (double)counters[i].value);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0) {
        return 0;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void write_gauges(
    struct openmetrics *metrics, const struct invoker *invoker, const struct health_facts *facts)
{
    struct rlimit files = { .rlim_cur = 0 };
    (void)getrlimit(RLIMIT_NOFILE, &files);
    const struct {
        const char *name;
        const char *help;
        double value;
    } gauges[] = {
        { "remotingd_start_time_seconds", "When callers could connect, since 1970.",
            (double)(wall_clock_ms() - (int64_t)monitor_uptime_ms(invoker->monitor)) / 1e3 },
        { "remotingd_requests_in_flight", "Requests that wait for their answer.",
            (double)invoker->n_in_flight },
        { "remotingd_requests_in_flight_limit", "limits.max_in_flight.",
            invoker->config->limits.max_in_flight },
        { "remotingd_buffer_bytes", "Bytes of frames on their way.",
            (double)invoker->memory->used },
        { "remotingd_buffer_limit_bytes", "limits.total_memory.", (double)invoker->memory->limit },
        { "remotingd_routes", "Topics whose route is kept.", (double)facts->n_routes },
        { "remotingd_topics_without_queue", "Topics in use without a writable queue.",
            (double)facts->n_topics_stuck },
        { "remotingd_brokers", "Known brokers that have a master.", (double)facts->n_brokers },
        { "remotingd_brokers_out_of_use", "Of them, those that cannot be connected to.",
            (double)facts->n_brokers_out },
        { "remotingd_nameservers_answer", "1 while any nameserver answers.",
            !facts->no_nameserver_answers },
        { "remotingd_late_seconds", "The longest that anything due waited in the last minute.",
            (double)facts->late_ms / 1e3 },
        { "remotingd_config_last_reload_successful", "0 after a reload that failed.",
            !facts->last_reload_failed },
        { "process_resident_memory_bytes", "Memory of the process.",
            (double)admin_resident_bytes() },
        { "process_open_fds", "Open files.", (double)admin_open_files() },
        { "process_max_fds", "The limit on open files.", (double)files.rlim_cur },
    };
    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
        one(metrics, OPENMETRICS_GAUGE, gauges[i].name, gauges[i].help, gauges[i].value);
    }
    one(metrics, OPENMETRICS_COUNTER, "process_cpu_seconds", "Processor time used.", cpu_seconds());
}

/* --- families with a label --- */

struct labelled {
    const char *value;
    uint64_t n;
};

static void write_labelled(struct openmetrics *metrics, enum openmetrics_kind kind,
    const char *name, const char *help, const char *label, const struct labelled *rows, size_t n)
{
    openmetrics_family(metrics, kind, name, help);
    for (size_t i = 0; i < n; i++) {
        openmetrics_sample(metrics, label, rows[i].value, (double)rows[i].n);
    }
}
#define ROWS(rows) (rows), sizeof(rows) / sizeof((rows)[0])

static void write_health(struct openmetrics *metrics, const struct health_report *report)
{
    openmetrics_family(metrics, OPENMETRICS_GAUGE, "remotingd_health_state",
        "1 for the state that the daemon is in.");
    for (enum health_state state = HEALTH_HEALTHY; state <= HEALTH_DOWN; state++) {
        openmetrics_sample(
            metrics, "state", health_state_name(state), report->state == state ? 1 : 0);
    }
    openmetrics_family(
        metrics, OPENMETRICS_GAUGE, "remotingd_health_condition", "1 while the condition holds.");
    for (size_t i = 0; i < n_health_conditions; i++) {
        bool holds = false;
        for (size_t j = 0; j < report->n_found; j++) {
            holds = holds || report->found[j] == &health_conditions[i];
        }
        openmetrics_sample(metrics, "condition", health_conditions[i].name, holds);
    }
}

/* Two failures may have one word; those stand side by side. */
static void write_failures(struct openmetrics *metrics, const struct stats *stats)
{
    openmetrics_family(metrics, OPENMETRICS_COUNTER, "remotingd_failures",
        "Failures that callers were told, by sidecar.error.");
    uint64_t n = 0;
    for (size_t i = 0; i < FAILURES; i++) {
        const char *name = failure_name((enum failure)i);
        n += stats->failures_by[i];
        if (i + 1 == FAILURES || strcmp(name, failure_name((enum failure)(i + 1))) != 0) {
            openmetrics_sample(metrics, "cause", name, (double)n);
            n = 0;
        }
    }
}

static void write_outcomes(struct openmetrics *metrics, const struct stats *stats)
{
    const struct labelled refused[] = {
        { "max_sessions", stats->sessions_refused },
        { "no_role", stats->sessions_forbidden },
    };
    const struct labelled asked[] = {
        { "delivered", stats->broker_requests_delivered },
        { "answered", stats->broker_requests_answered },
        { "failed", stats->broker_requests_failed },
        { "refused", stats->broker_requests_refused },
        { "dropped", stats->broker_requests_dropped },
    };
    const struct labelled popped[] = {
        { "orphaned", stats->pop_orphaned },
        { "filtered", stats->pop_filtered },
        { "dead_lettered", stats->pop_dead_lettered },
    };
    write_labelled(metrics, OPENMETRICS_COUNTER, "remotingd_sessions_refused",
        "Callers that were turned away.", "reason", ROWS(refused));
    write_labelled(metrics, OPENMETRICS_COUNTER, "remotingd_broker_requests",
        "Requests of brokers, by what became of them.", "outcome", ROWS(asked));
    write_labelled(metrics, OPENMETRICS_COUNTER, "remotingd_pop_messages",
        "Messages of POPs that no caller was given.", "outcome", ROWS(popped));
}

static void write_sessions(struct openmetrics *metrics, const struct invoker *invoker)
{
    const struct session_list *sessions = invoker->sessions;
    openmetrics_family(metrics, OPENMETRICS_GAUGE, "remotingd_sessions", "Callers connected.");
    for (size_t i = 0; i < sessions->n_entrances; i++) {
        const struct session_entrance *entrance = &sessions->entrances[i];
        openmetrics_sample(metrics, "listener", entrance->config->name, (double)entrance->n);
    }
    openmetrics_family(
        metrics, OPENMETRICS_GAUGE, "remotingd_sessions_limit", "max_sessions of the listener.");
    for (size_t i = 0; i < sessions->n_entrances; i++) {
        const struct session_entrance *entrance = &sessions->entrances[i];
        openmetrics_sample(
            metrics, "listener", entrance->config->name, entrance->config->max_sessions);
    }
}

static void write_pending(struct openmetrics *metrics, const struct pending_table *pending)
{
    const struct labelled slots[] = {
        { "pending", pending->n_pending },
        { "quarantined", pending->quarantined.n },
    };
    write_labelled(metrics, OPENMETRICS_GAUGE, "remotingd_opaques",
        "Upstream opaques in use: pending, or quarantined for a late answer.", "state",
        ROWS(slots));
}

/* --- connections --- */

static const char *const class_words[] = {
    [POOL_NORMAL] = "normal",
    [POOL_LONG_POLL] = "long_poll",
    [POOL_CONTROL] = "control",
};
#define CLASSES (sizeof(class_words) / sizeof(class_words[0]))

struct connections_walk {
    uint64_t n_in_state[UPSTREAM_CLOSED];
    uint64_t n_waiting;
    uint64_t unwritten;
    uint64_t bytes_received, bytes_sent;
    struct latency latency[CLASSES];
};

static void on_address(void *context, const struct upstream_address *address)
{
    struct connections_walk *walk = context;
    const struct upstream *upstream;
    const struct pending_request *request;
    TAILQ_FOREACH (upstream, &address->upstreams, link) {
        if (upstream->state < UPSTREAM_CLOSED) {
            walk->n_in_state[upstream->state]++;
        }
        walk->unwritten += upstream->transport.output.size;
        walk->bytes_received += upstream->transport.bytes_received;
        walk->bytes_sent += upstream->transport.bytes_sent;
    }
    TAILQ_FOREACH (request, &address->waiting, link) {
        walk->n_waiting++;
    }
    latency_merge(&walk->latency[address->class], &address->stats.latency);
}

static void write_bytes(
    struct openmetrics *metrics, const struct invoker *invoker, const struct connections_walk *walk)
{
    const struct stats *stats = invoker->stats;
    uint64_t received = stats->session_bytes_received;
    uint64_t sent = stats->session_bytes_sent;
    uint64_t unwritten = 0;
    const struct session *session;
    TAILQ_FOREACH (session, &invoker->sessions->list, link) {
        received += session->transport.bytes_received;
        sent += session->transport.bytes_sent;
        unwritten += session->transport.output.size;
    }
    const struct labelled received_rows[] = {
        { "caller", received },
        { "upstream", stats->upstream_bytes_received + walk->bytes_received },
    };
    const struct labelled sent_rows[] = {
        { "caller", sent },
        { "upstream", stats->upstream_bytes_sent + walk->bytes_sent },
    };
    const struct labelled unwritten_rows[] = {
        { "caller", unwritten },
        { "upstream", walk->unwritten },
    };
    write_labelled(metrics, OPENMETRICS_COUNTER, "remotingd_received_bytes",
        "Bytes read from callers, and from brokers and nameservers.", "side", ROWS(received_rows));
    write_labelled(metrics, OPENMETRICS_COUNTER, "remotingd_sent_bytes", "Bytes written to them.",
        "side", ROWS(sent_rows));
    write_labelled(metrics, OPENMETRICS_GAUGE, "remotingd_queued_bytes",
        "Bytes that wait to be written to them.", "side", ROWS(unwritten_rows));
}

static void write_connections(struct openmetrics *metrics, const struct invoker *invoker)
{
    struct connections_walk walk = { .n_waiting = 0 };
    upstream_pool_each(invoker->pool, on_address, &walk);
    const struct labelled states[] = {
        { "connecting", walk.n_in_state[UPSTREAM_CONNECTING] },
        { "ready", walk.n_in_state[UPSTREAM_READY] },
        { "draining", walk.n_in_state[UPSTREAM_DRAINING] },
    };
    write_labelled(metrics, OPENMETRICS_GAUGE, "remotingd_connections",
        "Connections to brokers and nameservers.", "state", ROWS(states));
    one(metrics, OPENMETRICS_GAUGE, "remotingd_waiting_requests",
        "Requests that wait for a connection.", (double)walk.n_waiting);
    write_bytes(metrics, invoker, &walk);
    openmetrics_family(metrics, OPENMETRICS_HISTOGRAM, "remotingd_response_seconds",
        "From a request to its response, at brokers and nameservers.");
    for (size_t class = 0; class < CLASSES; class ++) {
        openmetrics_histogram(metrics, "class", class_words[class], &walk.latency[class]);
    }
    openmetrics_family(metrics, OPENMETRICS_HISTOGRAM, "remotingd_turn_seconds",
        "What a turn of the loop took: others wait for so long.");
    openmetrics_histogram(metrics, NULL, NULL, &invoker->loop->turns);
}

/* --- brokers and nameservers --- */

struct broker_row {
    const char *name;
    uint64_t is_up;
    uint64_t n_requests;
    uint64_t n_errors;
};

struct brokers_walk {
    struct broker_row rows[METRICS_BROKERS_MAX + 1]; /* the last one is all others */
    size_t n;
};

static void on_broker(void *context, const struct monitor_broker *broker)
{
    struct brokers_walk *walk = context;
    bool has_own = walk->n < METRICS_BROKERS_MAX;
    struct broker_row *row = &walk->rows[has_own ? walk->n : METRICS_BROKERS_MAX];
    row->name = has_own ? broker->name : "others";
    row->is_up += broker->master && !broker->is_out;
    if (broker->address) {
        row->n_requests += broker->address->stats.requests;
        row->n_errors += broker->address->stats.errors;
    }
    walk->n++;
}

static void write_brokers(struct openmetrics *metrics, const struct invoker *invoker)
{
    struct brokers_walk walk = { .n = 0 };
    monitor_each_broker(invoker->monitor, on_broker, &walk);
    size_t n = walk.n < METRICS_BROKERS_MAX ? walk.n : METRICS_BROKERS_MAX;
    n += walk.n > METRICS_BROKERS_MAX;
    openmetrics_family(metrics, OPENMETRICS_GAUGE, "remotingd_broker_up",
        "1 while the broker has a master that is not out of use; of others their number.");
    for (size_t i = 0; i < n; i++) {
        openmetrics_sample(metrics, "broker", walk.rows[i].name, (double)walk.rows[i].is_up);
    }
    openmetrics_family(
        metrics, OPENMETRICS_COUNTER, "remotingd_broker_sent_requests", "Requests to the broker.");
    for (size_t i = 0; i < n; i++) {
        openmetrics_sample(metrics, "broker", walk.rows[i].name, (double)walk.rows[i].n_requests);
    }
    openmetrics_family(metrics, OPENMETRICS_COUNTER, "remotingd_broker_errors",
        "Of them, those that ended without a response.");
    for (size_t i = 0; i < n; i++) {
        openmetrics_sample(metrics, "broker", walk.rows[i].name, (double)walk.rows[i].n_errors);
    }
}

static void write_nameservers(struct openmetrics *metrics, const struct invoker *invoker)
{
    size_t n = nameservers_count(invoker->nameservers);
    openmetrics_family(metrics, OPENMETRICS_GAUGE, "remotingd_nameserver_up",
        "1 while the nameserver is not out of use and its last call was answered.");
    for (size_t i = 0; i < n && i < METRICS_NAMESERVERS_MAX; i++) {
        struct nameserver_view view;
        nameservers_view(invoker->nameservers, i, &view);
        openmetrics_sample(metrics, "nameserver", view.address, nameserver_view_answers(&view));
    }
}

void metrics_write(const struct invoker *invoker, enum openmetrics_form form, FILE *file)
{
    struct openmetrics metrics;
    struct health_report report;
    openmetrics_init(&metrics, form, file);
    monitor_examine(invoker->monitor, &report);
    openmetrics_family(
        &metrics, OPENMETRICS_GAUGE, "remotingd_build_info", "1; the version as a label.");
    openmetrics_sample(&metrics, "version", REMOTINGD_VERSION, 1);
    write_health(&metrics, &report);
    write_gauges(&metrics, invoker, &report.facts);
    write_counters(&metrics, invoker);
    write_failures(&metrics, invoker->stats);
    write_outcomes(&metrics, invoker->stats);
    write_sessions(&metrics, invoker);
    write_pending(&metrics, invoker->upstreams->pending);
    write_connections(&metrics, invoker);
    write_brokers(&metrics, invoker);
    write_nameservers(&metrics, invoker);
    openmetrics_end(&metrics);
}
