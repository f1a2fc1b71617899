/*
 * Tap
 *
 * Requests of callers as they end, for whoever watches: a session that asked for it (TAP, 30023) gets
 * a oneway request of that code for each one that its filter lets through and that it may see: with
 * the admin role everybody's, else those of its own user and role by the same listener.
 * Their bodies begin with what the requests' and answers' bodies begin with, where that was asked
 * for.
 *
 * While nobody watches nothing is looked at, copied or computed. Watching is bounded: so many taps,
 * so many requests that are looked at in a second and remembered at a time, so many bytes that wait
 * for a watcher that does not read. Beyond that it loses requests, and the next one that it gets says
 * in `dropped` how many, those that its filter might have left out among them; callers never wait for
 * it.
 *
 * A tap belongs to its session, which has to give it up when it ends.
 */
#pragma once

#include "daemon/core/failure.h"
#include "protocol/address.h"
#include "protocol/remoting_command.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define TAPS_MAX              8
#define TAP_BODY_MAX          4096 /* bytes of a body that are shown */
#define TAP_RECORDS_MAX       1024 /* requests in flight that are remembered */
#define TAP_REQUESTS_A_SECOND 5000
#define TAP_TOPIC_MAX         255
#define TAP_OUTCOME_MAX       32

struct invocation;
struct session;
struct tap_record;

/* Empty and 0 let everything through. */
struct tap_filter {
    uint64_t session_id;
    int32_t code;
    char topic[TAP_TOPIC_MAX + 1];
    char address[ADDRESS_TEXT_MAX];
    /* a word of the outcome, or "failed": neither answered nor sent */
    char outcome[TAP_OUTCOME_MAX];
    uint32_t n_body; /* bytes of each body that are shown */
};

struct tap {
    TAILQ_ENTRY(tap) link;
    uint64_t id; /* requests remember by it who may see them */
    struct session *session;
    enum serialize_type serialize_type;
    struct tap_filter filter;
    uint64_t n_dropped; /* since the last one that was written */
};

struct taps {
    TAILQ_HEAD(, tap) list;
    size_t n;
    uint64_t next_id;
    size_t n_records;
    uint64_t second; /* of the requests below */
    unsigned n_in_second;
};

void taps_init(struct taps *taps);
/*
 * Makes *tap, or where there is one gives it this filter. 0; -EBUSY: there are TAPS_MAX; -ENOMEM.
 */
int tap_start(struct taps *taps, struct tap **tap, struct session *session,
    enum serialize_type serialize_type, const struct tap_filter *filter);
/* NULL is fine; always returns NULL. */
struct tap *tap_stop(struct taps *taps, struct tap *tap);
/* Whether a request can end so: the word of a filter. */
bool tap_outcome_is_known(struct span outcome);

/* --- for invoke.c, which asks for none of these while there is no tap --- */

/* A request has come. Where a tap may see it, it is remembered from here on. */
void tap_begin(struct invocation *invocation, const struct session *session,
    const struct remoting_command *command);
/* These three are for a request that is remembered. What it is answered, */
void tap_answered(struct invocation *invocation, const struct remoting_command *response);
/* or told: the last one counts. */
void tap_failed(struct invocation *invocation, const struct failure_report *report);
/* It has ended, and is told to those who watch. */
void tap_ended(struct invocation *invocation);
