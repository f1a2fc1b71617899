/*
 * Stats
 *
 * What the daemon counts, monotonic from its start. Plain numbers that belong to one thread;
 * whoever sees something happen adds to them. Nothing that is dropped is dropped uncounted.
 */
#pragma once

#include "daemon/core/failure.h"

#include <stdbool.h>
#include <stdint.h>

struct stats {
    uint64_t sessions_accepted;
    uint64_t sessions_refused;     /* max_sessions was reached */
    uint64_t sessions_forbidden;   /* the caller has no role */
    uint64_t sessions_handed_over; /* to the next daemon */
    uint64_t requests;             /* fully read from callers, oneway ones included */
    uint64_t requests_oneway;
    uint64_t requests_invalid;
    uint64_t requests_overloaded;
    uint64_t requests_forbidden;       /* by the caller's role, or for want of one */
    uint64_t answers;                  /* written towards callers, failures made here included */
    uint64_t failures;                 /* of them, made here */
    uint64_t failures_by[FAILURES];    /* of them, by their cause (enum failure) */
    uint64_t oneway_written;           /* to the socket of a connection */
    uint64_t oneway_failed;            /* nobody can be told */
    uint64_t caller_responses_dropped; /* response frames of callers that answer nothing */
    uint64_t answers_without_caller;   /* the caller went before its answer came */
    uint64_t late_responses;           /* came after the deadline of their request */
    uint64_t unknown_responses;        /* answer nothing that was asked on that connection */
    /* broker requests that nobody registered for, answered code 3 */
    uint64_t broker_requests_refused;
    uint64_t broker_requests_dropped;   /* oneway ones that nobody could take */
    uint64_t broker_requests_delivered; /* to callers that registered, oneway ones included */
    uint64_t broker_requests_answered;  /* of them, by the caller */
    uint64_t broker_requests_failed;    /* not in time, the caller went, or it had too many */
    uint64_t broker_answers_dropped;    /* to a broker that does not read */
    uint64_t replies;                   /* to request messages, given to who waited */
    uint64_t replies_late;              /* nobody waited for them any more */
    uint64_t upstream_connects;
    uint64_t upstream_connect_failures;
    uint64_t upstream_losses; /* connections that broke */
    /* messages of POPs whose caller had gone, made visible again */
    uint64_t pop_orphaned;
    /* messages that a POP brought for the hash of their tag only, acknowledged */
    uint64_t pop_filtered;
    uint64_t pop_dead_lettered; /* moved to the dead-letter topic (sidecar.maxReconsume) */
    /* of connections that are closed; those that are open have their own */
    uint64_t session_bytes_received;
    uint64_t session_bytes_sent;
    uint64_t upstream_bytes_received;
    uint64_t upstream_bytes_sent;
    uint64_t retries;        /* attempts after the first, of one request */
    uint64_t reloads;        /* that took the new configuration */
    uint64_t reloads_failed; /* that left everything as it was */
    bool last_reload_failed;
};
