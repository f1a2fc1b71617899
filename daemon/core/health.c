#include "daemon/core/health.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define DESCRIBE(reason, ...) (void)snprintf(reason, HEALTH_REASON_SIZE, __VA_ARGS__)

/* --- down --- */

static bool is_draining(const struct health_facts *facts)
{
    return facts->is_draining;
}

static void draining_describe(const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason, "draining: new requests are refused, %zu are in flight", facts->n_in_flight);
}

static bool is_not_configured(const struct health_facts *facts)
{
    return facts->n_nameservers == 0;
}

static void not_configured_describe(
    const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    (void)facts;
    DESCRIBE(reason,
        "no nameserver is configured: name them in [nameserver] addresses of the configuration "
        "(/etc/remotingd/remotingd.ini) and have it read again");
}

static bool knows_nothing(const struct health_facts *facts)
{
    return facts->no_nameserver_answers && facts->n_routes == 0;
}

static void knows_nothing_describe(
    const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason, "no nameserver of %zu answers, and no route is known (%s: %s)",
        facts->n_nameservers, facts->nameserver_out ? facts->nameserver_out : "?",
        facts->nameserver_cause ? facts->nameserver_cause : "no answer");
}

static bool has_no_broker(const struct health_facts *facts)
{
    return facts->n_brokers > 0 && facts->n_brokers_out == facts->n_brokers;
}

static void brokers_describe(const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason, "%zu of %zu brokers cannot be used (%s: %s)", facts->n_brokers_out,
        facts->n_brokers, facts->broker_out ? facts->broker_out : "?",
        facts->broker_cause ? facts->broker_cause : "?");
}

/* --- degraded --- */

static bool has_silent_nameservers(const struct health_facts *facts)
{
    return facts->no_nameserver_answers && facts->n_routes > 0;
}

static void silent_nameservers_describe(
    const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason, "no nameserver of %zu answers: the %zu known routes are served (%s: %s)",
        facts->n_nameservers, facts->n_routes, facts->nameserver_out ? facts->nameserver_out : "?",
        facts->nameserver_cause ? facts->nameserver_cause : "no answer");
}

static bool has_stuck_topic(const struct health_facts *facts)
{
    return facts->n_topics_stuck > 0;
}

static void stuck_topic_describe(const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason, "topic %s is in use and has no queue that takes messages%s",
        facts->topic_stuck ? facts->topic_stuck : "?",
        facts->n_topics_stuck > 1 ? " (others, too)" : "");
}

static bool has_few_brokers(const struct health_facts *facts)
{
    return facts->n_brokers_out > 0 && 2 * facts->n_brokers_out >= facts->n_brokers &&
           facts->n_brokers_out < facts->n_brokers;
}

static bool has_full_listener(const struct health_facts *facts)
{
    return facts->full_socket != NULL;
}

static void full_listener_describe(
    const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(
        reason, "the listener %s has max_sessions callers: others are refused", facts->full_socket);
}

static bool has_stopped_listener(const struct health_facts *facts)
{
    return facts->stopped_socket != NULL;
}

static void stopped_listener_describe(
    const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason, "the listener %s cannot accept callers: open files or memory are used up",
        facts->stopped_socket);
}

static bool has_no_memory(const struct health_facts *facts)
{
    return facts->memory_used >= facts->memory_limit - facts->memory_limit / 10;
}

static void no_memory_describe(const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason, "%zu of %zu bytes of limits.total_memory are used", facts->memory_used,
        facts->memory_limit);
}

static bool has_too_many_in_flight(const struct health_facts *facts)
{
    return facts->n_in_flight >= facts->n_in_flight_max;
}

static void too_many_in_flight_describe(
    const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(
        reason, "%zu requests are in flight: limits.max_in_flight is reached", facts->n_in_flight);
}

static bool has_failed_reload(const struct health_facts *facts)
{
    return facts->last_reload_failed;
}

static void failed_reload_describe(
    const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    (void)facts;
    DESCRIBE(reason, "the last reload failed: the configuration before it is in force");
}

static bool is_overloaded(const struct health_facts *facts)
{
    return facts->n_overloaded >= HEALTH_FAILURES_MIN &&
           facts->n_overloaded >= facts->n_requests / 100;
}

static void overloaded_describe(const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason,
        "%" PRIu64 " of %" PRIu64 " requests of the last minute met a limit (overloaded)",
        facts->n_overloaded, facts->n_requests);
}

static bool is_failing(const struct health_facts *facts)
{
    return facts->n_undelivered >= HEALTH_FAILURES_MIN &&
           facts->n_undelivered >= facts->n_requests / 2;
}

static void failing_describe(const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(reason,
        "%" PRIu64 " of %" PRIu64 " requests of the last minute were not delivered (mostly: %s)",
        facts->n_undelivered, facts->n_requests,
        facts->undelivered_cause ? facts->undelivered_cause : "?");
}

static bool is_late(const struct health_facts *facts)
{
    return facts->late_ms >= HEALTH_LATE_MS;
}

static void late_describe(const struct health_facts *facts, char reason[HEALTH_REASON_SIZE])
{
    DESCRIBE(
        reason, "the daemon stood still for %" PRIu64 " ms within the last minute", facts->late_ms);
}

const struct health_condition health_conditions[] = {
    { "draining", HEALTH_DOWN, "The daemon is stopping and takes no new requests.",
        "remotingctl show sessions", is_draining, draining_describe },
    { "not-configured", HEALTH_DOWN, "No nameserver is configured.", "remotingctl reload --wait",
        is_not_configured, not_configured_describe },
    { "nothing-known", HEALTH_DOWN, "No nameserver answers, and no route is kept.",
        "remotingctl show nameservers", knows_nothing, knows_nothing_describe },
    { "no-broker", HEALTH_DOWN, "Every known broker is out of use.", "remotingctl show brokers",
        has_no_broker, brokers_describe },
    { "no-nameserver-answers", HEALTH_DEGRADED, "No nameserver answers; kept routes are served.",
        "remotingctl show nameservers", has_silent_nameservers, silent_nameservers_describe },
    { "topic-without-queue", HEALTH_DEGRADED,
        "A topic in use has no writable queue that can be reached.", "remotingctl show routes",
        has_stuck_topic, stuck_topic_describe },
    { "brokers-out", HEALTH_DEGRADED, "Half of the known brokers or more are out of use.",
        "remotingctl show brokers", has_few_brokers, brokers_describe },
    { "listener-full", HEALTH_DEGRADED, "A listener has max_sessions callers.",
        "remotingctl show sessions", has_full_listener, full_listener_describe },
    { "listener-stopped", HEALTH_DEGRADED,
        "A listener cannot accept callers: open files or memory are used up.",
        "remotingctl show memory", has_stopped_listener, stopped_listener_describe },
    { "memory-full", HEALTH_DEGRADED, "Nine tenths of limits.total_memory are used.",
        "remotingctl show memory", has_no_memory, no_memory_describe },
    { "in-flight-full", HEALTH_DEGRADED, "limits.max_in_flight requests are in flight.",
        "remotingctl show sessions", has_too_many_in_flight, too_many_in_flight_describe },
    { "reload-failed", HEALTH_DEGRADED,
        "The last reload failed: the configuration before it is in force.",
        "remotingctl reload --wait", has_failed_reload, failed_reload_describe },
    { "overloaded", HEALTH_DEGRADED,
        "In the last minute one request of a hundred, and at least ten, met a limit.",
        "remotingctl errors", is_overloaded, overloaded_describe },
    { "failing", HEALTH_DEGRADED,
        "In the last minute half of the requests, and at least ten, were not delivered.",
        "remotingctl errors", is_failing, failing_describe },
    { "late", HEALTH_DEGRADED, "In the last minute the daemon stood still for a second.",
        "remotingctl top", is_late, late_describe },
};

const size_t n_health_conditions = sizeof(health_conditions) / sizeof(health_conditions[0]);
_Static_assert(sizeof(health_conditions) / sizeof(health_conditions[0]) <= HEALTH_CONDITIONS_MAX,
    "HEALTH_CONDITIONS_MAX is too small");

size_t health_examine(const struct health_facts *facts, const struct health_condition **ret_found)
{
    size_t n = 0;
    for (size_t i = 0; i < n_health_conditions; i++) {
        if (health_conditions[i].holds(facts)) {
            ret_found[n++] = &health_conditions[i];
        }
    }
    return n;
}

enum health_state health_state_of(const struct health_condition *const *found, size_t n)
{
    return n > 0 ? found[0]->state : HEALTH_HEALTHY;
}

const char *health_state_name(enum health_state state)
{
    switch (state) {
    case HEALTH_HEALTHY:
        return "healthy";
    case HEALTH_DEGRADED:
        return "degraded";
    case HEALTH_DOWN:
        return "down";
    }
    return "?";
}
