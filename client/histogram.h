/*
 * Histogram
 *
 * Counts of durations in nanoseconds, in the manner of HdrHistogram: every power of two is cut into
 * 128 equal parts, so that a value is known to better than 1 %, from a nanosecond to an hour, in a
 * fixed block of memory; recording is a shift and an increment.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_PARTS  128u
#define HISTOGRAM_POWERS 36u

struct histogram {
    uint64_t n;
    uint64_t max;
    uint64_t counts[HISTOGRAM_POWERS * HISTOGRAM_PARTS];
};

static inline unsigned histogram_index(uint64_t value)
{
    if (value < HISTOGRAM_PARTS) {
        return (unsigned)value;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - 7u;
    unsigned index = (shift + 1u) * HISTOGRAM_PARTS + (unsigned)(value >> shift) - HISTOGRAM_PARTS;
    unsigned last = HISTOGRAM_POWERS * HISTOGRAM_PARTS - 1u;
    return index < last ? index : last;
}

static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->n++;
    histogram->counts[histogram_index(value)]++;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

/* The value that `percent` of the records do not exceed; 0 when there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);
