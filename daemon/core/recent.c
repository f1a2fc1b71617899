#include "daemon/core/recent.h"

void recent_sample(struct recent *recent, const struct stats *stats, uint64_t late_us)
{
    size_t at = recent->n % RECENT_SAMPLES;
    recent->samples[at] = *stats;
    recent->late_us[at] = late_us;
    recent->n++;
}

/* Where none was taken yet all zero is right: nothing was counted before the start. */
const struct stats *recent_oldest(const struct recent *recent)
{
    return &recent->samples[recent->n < RECENT_SAMPLES ? 0 : recent->n % RECENT_SAMPLES];
}

uint64_t recent_late_us(const struct recent *recent)
{
    uint64_t late_us = 0;
    for (size_t i = 0; i < RECENT_SAMPLES; i++) {
        late_us = recent->late_us[i] > late_us ? recent->late_us[i] : late_us;
    }
    return late_us;
}
