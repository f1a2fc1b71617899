/*
 * Monitor
 *
 * How the daemon is: it gathers the facts that core/health.h judges from the daemon's parts, takes a
 * sample of the counters every few seconds (core/recent.h), and tells it when the daemon has become
 * healthy, degraded or down. The service manager's status line, GET_STATUS and the metrics all ask
 * here, so that they use the same words.
 *
 * It looks and changes nothing. Looking takes a walk over the known brokers and topics, and is never
 * part of a request's way.
 */
#pragma once

#include "daemon/completion/invoke.h"
#include "daemon/core/health.h"
#include "daemon/core/recent.h"
#include "daemon/loop/service.h"

struct monitor;

/* Parts of the invoker that are not there yet are looked at only from monitor_start() on. */
struct monitor *monitor_new(struct invoker *invoker);
struct monitor *monitor_free(struct monitor *monitor);
/* Callers can connect. */
void monitor_start(struct monitor *monitor);

/* A broker that routes name, as it is for sends. */
struct monitor_broker {
    const char *name;
    const char *master;                     /* NULL: it has none */
    const struct upstream_address *address; /* of the pool; NULL: nobody has asked for it */
    bool is_out;                            /* connecting to it failed lately */
};
/* Every broker of the last ten minutes. What is visited is valid for the call. */
void monitor_each_broker(const struct monitor *monitor,
    void (*visit)(void *context, const struct monitor_broker *broker), void *context);

/* What was found. The texts that the facts point to are valid until the loop goes on. */
struct health_report {
    struct health_facts facts;
    enum health_state state;
    const struct health_condition *found[HEALTH_CONDITIONS_MAX]; /* the worst first */
    size_t n_found;
};
/* Why the state is what it is: the worst condition in words, "" where there is none. */
void health_report_reason(const struct health_report *report, char reason[HEALTH_REASON_SIZE]);
void monitor_examine(const struct monitor *monitor, struct health_report *ret_report);
/* The counters as they were a minute ago. */
const struct stats *monitor_minute_ago(const struct monitor *monitor);
uint64_t monitor_uptime_ms(const struct monitor *monitor);
/* The state, its reason and the numbers that matter, in one line. */
void monitor_describe(const struct monitor *monitor, char status[SERVICE_STATUS_SIZE]);
