/*
 * Clock
 *
 * Time in the whole daemon is milliseconds of the monotonic clock in a uint64_t, handed in by
 * whoever calls. Nothing outside daemon/loop reads a clock.
 */
#pragma once

#include <stdint.h>

/* A moment that does not come. */
#define NEVER_MS UINT64_MAX

/* now + duration, NEVER_MS where that does not fit. */
static inline uint64_t clock_after(uint64_t now_ms, uint64_t duration_ms)
{
    return duration_ms >= NEVER_MS - now_ms ? NEVER_MS : now_ms + duration_ms;
}

/* How long until then; 0 when it has passed. */
static inline uint64_t clock_until(uint64_t now_ms, uint64_t then_ms)
{
    return then_ms > now_ms ? then_ms - now_ms : 0;
}
