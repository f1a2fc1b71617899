#include "client/histogram.h"

#include <stddef.h>

/* The largest value that is counted there. */
static uint64_t histogram_value(unsigned index)
{
    if (index < HISTOGRAM_PARTS) {
        return index;
    }
    unsigned shift = index / HISTOGRAM_PARTS - 1u;
    uint64_t part = index % HISTOGRAM_PARTS + HISTOGRAM_PARTS;
    return ((part + 1) << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    uint64_t wanted = (uint64_t)((double)histogram->n * percent / 100.0 + 0.5);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_POWERS * HISTOGRAM_PARTS; i++) {
        seen += histogram->counts[i];
        if (seen > 0 && seen >= wanted) {
            uint64_t value = histogram_value(i);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return 0;
}
