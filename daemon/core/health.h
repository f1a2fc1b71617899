/*
 * Health
 *
 * What healthy, degraded and down mean: one table of conditions over plain facts. A row has the word
 * for the condition, how bad it is, the sentence of the manual (OPERATING.md repeats the table, and a
 * test compares them) and the first command to type. The daemon is as bad as the worst condition that
 * holds, and healthy where none does.
 *
 * One broker of many that is away is no condition: sends go round it. Neither is a nameserver beside
 * one that answers. What callers do wrong (invalid, forbidden, a topic that never was) says nothing
 * about the daemon.
 *
 * "Lately" is within HEALTH_LATELY_MS. Plain data: nothing is remembered here, and no clock is read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEALTH_LATELY_MS      60000
#define HEALTH_REASON_SIZE    384
#define HEALTH_CONDITIONS_MAX 16
/* Fewer failures lately than this say nothing. */
#define HEALTH_FAILURES_MIN 10
/* So late, in ms, a turn of the loop keeps every caller waiting. */
#define HEALTH_LATE_MS 1000

enum health_state {
    HEALTH_HEALTHY,
    HEALTH_DEGRADED,
    HEALTH_DOWN,
};

struct health_facts {
    bool is_draining;
    size_t n_nameservers;
    size_t n_nameservers_usable; /* of them: not out of use, and the last call was answered */
    bool no_nameserver_answers;
    const char *nameserver_out;   /* the address of one that does not */
    const char *nameserver_cause; /* and why its last connection failed; NULL: it is silent */
    size_t n_routes;              /* topics whose route is kept */
    size_t n_brokers;
    size_t n_brokers_out;       /* of them, whose connections failed lately */
    const char *broker_out;     /* the address of one of those */
    const char *broker_cause;   /* and why it is out */
    size_t n_topics_stuck;      /* in use lately, and without a queue that takes messages */
    const char *topic_stuck;    /* the name of one of those */
    const char *full_socket;    /* of a listener with max_sessions callers; NULL: there is none */
    const char *stopped_socket; /* of a listener that cannot accept; NULL: there is none */
    size_t memory_used;
    size_t memory_limit;
    size_t n_in_flight;
    size_t n_in_flight_max;
    bool last_reload_failed;
    /* lately */
    uint64_t n_requests;
    uint64_t n_overloaded; /* of them */
    uint64_t
        n_undelivered; /* of them: timeout, unreachable, connection-lost, no-nameserver, no-broker */
    const char *undelivered_cause; /* the most frequent of these words */
    uint64_t late_ms;              /* the worst, deadlines seen late included */
};

struct health_condition {
    const char *name;
    enum health_state state;
    const char *sentence; /* when it holds */
    const char *command;  /* the first one to type */
    bool (*holds)(const struct health_facts *facts);
    /* Writes the reason: the condition with its names and numbers. */
    void (*describe)(const struct health_facts *facts, char reason[HEALTH_REASON_SIZE]);
};

/* The worst ones first. */
extern const struct health_condition health_conditions[];
extern const size_t n_health_conditions;

/*
 * The conditions that hold, the worst first, in ret_found (of HEALTH_CONDITIONS_MAX); how many.
 */
size_t health_examine(const struct health_facts *facts, const struct health_condition **ret_found);
/* Of what health_examine() found. */
enum health_state health_state_of(const struct health_condition *const *found, size_t n);
/* "healthy", "degraded" or "down". */
const char *health_state_name(enum health_state state);
