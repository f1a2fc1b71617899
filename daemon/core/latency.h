/*
 * Latency
 *
 * How long what succeeded took: a histogram in microseconds of a fixed size, from which quantiles
 * are read. It only ever grows.
 *
 * Buckets are 4 us wide below 64 us, and from there to 33 s a sixteenth of their power of two, so
 * that a quantile is never below the true one and at most 6.25 % (below 64 us: 3 us) above it.
 * Longer ones (polls) share the last bucket, of which only the maximum is known.
 *
 * Plain data; all zero is the empty histogram.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LATENCY_BUCKETS 321

struct latency {
    uint64_t n;
    uint64_t max_us;
    uint64_t sum_us;
    uint64_t buckets[LATENCY_BUCKETS];
};

void latency_add(struct latency *latency, uint64_t value_us);
/* Adds what from has seen. */
void latency_merge(struct latency *latency, const struct latency *from);
/*
 * The value that per_mille of all values (500: half of them, 990: p99) do not exceed; the maximum
 * for 1000, 0 where nothing was added.
 */
uint64_t latency_quantile_us(const struct latency *latency, unsigned per_mille);
/*
 * How many values were below bound_us: exact where the bound is 64 us times a power of two, up to
 * 33 s; otherwise what shares its bucket is left out.
 */
uint64_t latency_count_below(const struct latency *latency, uint64_t bound_us);
