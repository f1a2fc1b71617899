/*
 * Event ring
 *
 * What happened lately, for an operator who comes after it: connections that came and went, addresses
 * out of use, routes that were lost, callers that were refused or cut off, failures that callers were
 * told, commands of operators. The last EVENT_RING_SIZE are kept. Of one kind EVENTS_PER_SECOND are
 * noted at most, so that what a peer can repeat at will does not push everything else out; what was
 * left out, and what later ones have overwritten, is counted.
 *
 * Plain data; both clocks are handed in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_RING_SIZE    512
#define EVENTS_PER_SECOND  20
#define EVENT_SUBJECT_SIZE 128
#define EVENT_CAUSE_SIZE   256

enum event_kind {
    /* of connections: RocketMQ's words */
    EVENT_CONNECTED,
    EVENT_DISCONNECTED, /* closed by the other side, or by us on purpose */
    EVENT_EXCEPTION,    /* could not be made, broke, or was given up */
    EVENT_IDLE,         /* closed because nobody used it */
    /* of all else */
    EVENT_OUT_OF_USE, /* an address that cannot be used: its backoff has begun */
    EVENT_IN_USE,     /* it can be used again */
    EVENT_ROUTE_LOST, /* the nameservers knew a topic, and do not any more */
    EVENT_NAMESERVERS_SILENT,
    EVENT_NAMESERVERS_ANSWER,
    EVENT_HEALTH,  /* healthy, degraded or down */
    EVENT_FAILURE, /* told to a caller */
    EVENT_SESSION, /* a caller was refused or cut off */
    EVENT_COMMAND, /* an operator's */
    EVENT_DRAIN,
};
#define EVENT_KINDS 14

struct noted_event {
    uint64_t id; /* from 1 on, without gaps */
    int64_t wall_ms;
    enum event_kind kind;
    bool is_error;
    uint64_t connection; /* 0: it is not about one */
    char subject[EVENT_SUBJECT_SIZE];
    char cause[EVENT_CAUSE_SIZE]; /* "" = there is none */
};

struct event_budget {
    uint64_t second;
    unsigned n;
};

struct event_ring {
    struct noted_event *events;
    uint64_t n;          /* noted so far: the id of the last one */
    uint64_t n_left_out; /* of those that were too many */
    struct event_budget budgets[EVENT_KINDS];
};

/* 0 or -ENOMEM. */
int event_ring_init(struct event_ring *ring);
void event_ring_deinit(struct event_ring *ring);
/*
 * event->id is given here. False: too many of this kind in this
 * second, and it was counted.
 */
bool event_ring_add(struct event_ring *ring, const struct noted_event *event, uint64_t now_ms);
/* NULL where it was overwritten, or has not been noted yet. */
const struct noted_event *event_ring_get(const struct event_ring *ring, uint64_t id);
/* The id of the oldest that is kept; one more than the last where there is none. */
uint64_t event_ring_first(const struct event_ring *ring);

/* One word in capitals. */
const char *event_kind_name(enum event_kind kind);
/* Whether everybody may know of it; what else there is names callers. */
bool event_kind_is_public(enum event_kind kind);
