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

struct drain {
    enum drain_state state;
    uint64_t deadline_ms;
    size_t n_at_start;
};

/* The first request to stop starts the drain, a second one ends it. */
void drain_request(struct drain *drain, uint64_t now_ms, uint64_t timeout_ms, size_t n_in_flight);
/*
 * Called after every turn while DRAINING. unwritten: bytes that wait to be written to callers and
 * brokers.
 */
void drain_advance(struct drain *drain, uint64_t now_ms, size_t n_in_flight, size_t unwritten);
bool drain_is_over(const struct drain *drain);
const char *drain_state_name(enum drain_state state);
