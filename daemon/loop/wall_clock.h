/*
 * Wall clock
 *
 * The time of day, where RocketMQ wants it: bornTimestamp and the UNIQ_KEY. Nothing waits by it:
 * deadlines are on the monotonic clock (core/clock.h), which nobody sets.
 */
#pragma once

#include <stdint.h>

/* Milliseconds since 1970. */
int64_t wall_clock_ms(void);

/* Remembers where the month began, since finding that out reads the time zone. */
struct wall_clock_month {
    int64_t began_ms;
    int64_t ends_ms;
};

/* Milliseconds since the month began, in local time as Java counts them for its UNIQ_KEYs. */
uint32_t wall_clock_since_month_began_ms(struct wall_clock_month *month, int64_t wall_ms);
