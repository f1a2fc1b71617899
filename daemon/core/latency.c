#include "daemon/core/latency.h"

#include <assert.h>

/*
 * A value is counted in units of 4 us. Below 16 units each unit is a bucket; above, a bucket is
 * told by the power of two and the four bits that follow its highest.
 */
#define UNIT_BITS 2
#define STEP_BITS 4
#define STEPS     (1u << STEP_BITS)
#define UNITS_MAX (1u << 23)
#define BEYOND    (LATENCY_BUCKETS - 1)

static_assert(
    (23 - STEP_BITS + 1) * STEPS == BEYOND, "the last bucket is the one beyond the units");

static size_t bucket_of(uint64_t value_us)
{
    uint64_t units = value_us >> UNIT_BITS;
    if (units >= UNITS_MAX) {
        return BEYOND;
    }
    if (units < STEPS) {
        return (size_t)units;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(units) - STEP_BITS;
    return shift * STEPS + (size_t)(units >> shift);
}

/* The greatest value that lies in a bucket before the last. */
static uint64_t bucket_last_us(size_t bucket)
{
    size_t shift = bucket < STEPS ? 0 : bucket / STEPS - 1;
    uint64_t units = (uint64_t)(bucket - shift * STEPS) << shift;
    return ((units + (UINT64_C(1) << shift)) << UNIT_BITS) - 1;
}

void latency_add(struct latency *latency, uint64_t value_us)
{
    latency->n++;
    latency->sum_us += value_us;
    latency->buckets[bucket_of(value_us)]++;
    if (value_us > latency->max_us) {
        latency->max_us = value_us;
    }
}

void latency_merge(struct latency *latency, const struct latency *from)
{
    latency->n += from->n;
    latency->sum_us += from->sum_us;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        latency->buckets[i] += from->buckets[i];
    }
    if (from->max_us > latency->max_us) {
        latency->max_us = from->max_us;
    }
}

uint64_t latency_quantile_us(const struct latency *latency, unsigned per_mille)
{
    assert(per_mille <= 1000);
    /* Rounded up, without the product overflowing. */
    uint64_t rank = latency->n / 1000 * per_mille + (latency->n % 1000 * per_mille + 999) / 1000;
    uint64_t n_seen = 0;
    for (size_t i = 0; i < BEYOND; i++) {
        n_seen += latency->buckets[i];
        if (n_seen > 0 && n_seen >= rank) {
            uint64_t last_us = bucket_last_us(i);
            return last_us < latency->max_us ? last_us : latency->max_us;
        }
    }
    return latency->max_us;
}

uint64_t latency_count_below(const struct latency *latency, uint64_t bound_us)
{
    uint64_t n = 0;
    for (size_t i = 0; i < BEYOND && bucket_last_us(i) < bound_us; i++) {
        n += latency->buckets[i];
    }
    return n;
}
