/*
 * Drain
 *
 * How the daemon stops: no new connections, new requests refused, what is in flight answered until
 * the drain's own deadline.
 *
 *     RUNNING -> DRAINING -> DRAINED      everything was answered
 *                         -> EXPIRED      drain.timeout passed: what is left is answered `draining`
 *     a second signal while DRAINING ends at once: EXPIRED
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum drain_state {
    DRAIN_RUNNING,
    DRAIN_DRAINING,
    DRAIN_DRAINED,
    DRAIN_EXPIRED,
};

/* How a request that was in flight when the drain began ended. */
enum drain_outcome {
    DRAIN_COMPLETED, /* answered by who was asked; oneway: given to a connection */
    DRAIN_FAILED,    /* told a failure: its deadline passed, the connection broke, ... */
    DRAIN_ABORTED,   /* the drain ended first: told `draining` */
    DRAIN_LEFT,      /* its caller went */
};
#define DRAIN_OUTCOMES 4

struct drain {
    enum drain_state state;
    uint64_t deadline_ms;
    size_t n_at_start;
    uint64_t last_id; /* of the requests that count: those after it are refused */
    size_t n_ended[DRAIN_OUTCOMES];
};

/*
 * The first request to stop starts the drain, a second one ends it. last_id: the greatest id of a
 * request so far.
 */
void drain_request(struct drain *drain, uint64_t now_ms, uint64_t timeout_ms, size_t n_in_flight,
    uint64_t last_id);
/* A request ended: counted where it was in flight when the drain began. */
void drain_count(struct drain *drain, uint64_t id, enum drain_outcome outcome);
/*
 * Called after every turn while DRAINING. unwritten: bytes that wait to be written to callers and
 * brokers.
 */
void drain_advance(struct drain *drain, uint64_t now_ms, size_t n_in_flight, size_t unwritten);
bool drain_is_over(const struct drain *drain);
const char *drain_state_name(enum drain_state state);
