/*
 * Backoff
 *
 * When an address may be tried again after connecting to it failed: exponential with full jitter,
 * from `initial` doubling to `max`; the cap is `max_wanted` while callers wait for the address. The
 * draw is kept as a fraction of the span, so that the same failure gives an earlier moment once
 * somebody wants the address. A success forgets everything.
 *
 * Plain data; chance and time are handed in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct backoff_limits {
    uint64_t initial_ms;
    uint64_t max_ms;
    uint64_t max_wanted_ms;
};

struct backoff {
    unsigned n_failures; /* in a row */
    uint64_t failed_at_ms;
    uint32_t draw; /* of 2^32: the fraction of the span to wait */
};

void backoff_fail(struct backoff *backoff, uint64_t now_ms, uint32_t draw);
void backoff_succeed(struct backoff *backoff);
/* 0 where nothing failed. */
uint64_t backoff_next_attempt_ms(
    const struct backoff *backoff, const struct backoff_limits *limits, bool is_wanted);
