/*
 * Recent
 *
 * What was counted lately: copies of the counters, taken every RECENT_SAMPLE_MS and kept for a
 * minute, so that "in the last minute" is a subtraction. Plain data; no clock is read.
 */
#pragma once

#include "daemon/core/stats.h"

#include <stddef.h>
#include <stdint.h>

#define RECENT_SAMPLE_MS 5000
#define RECENT_SAMPLES   12

struct recent {
    struct stats samples[RECENT_SAMPLES];
    uint64_t late_us[RECENT_SAMPLES]; /* the worst since the sample before */
    size_t n;                         /* taken so far */
};

/* late_us: the longest turn since the last call. */
void recent_sample(struct recent *recent, const struct stats *stats, uint64_t late_us);
/* The counters as they were a minute ago, or at the first sample. */
const struct stats *recent_oldest(const struct recent *recent);
/* The longest turn that the samples have seen. */
uint64_t recent_late_us(const struct recent *recent);
