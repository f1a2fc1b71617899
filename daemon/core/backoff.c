#include "daemon/core/backoff.h"

void backoff_fail(struct backoff *backoff, uint64_t now_ms, uint32_t draw)
{
    backoff->n_failures++;
    backoff->failed_at_ms = now_ms;
    backoff->draw = draw;
}

void backoff_succeed(struct backoff *backoff)
{
    *backoff = (struct backoff){ 0 };
}

uint64_t backoff_next_attempt_ms(
    const struct backoff *backoff, const struct backoff_limits *limits, bool is_wanted)
{
    if (backoff->n_failures == 0) {
        return 0;
    }
    uint64_t cap_ms = limits->max_ms;
    if (is_wanted && limits->max_wanted_ms < cap_ms) {
        cap_ms = limits->max_wanted_ms;
    }
    uint64_t span_ms = limits->initial_ms;
    for (unsigned i = 1; i < backoff->n_failures && span_ms < cap_ms; i++) {
        span_ms *= 2;
    }
    if (span_ms > cap_ms) {
        span_ms = cap_ms;
    }
    return backoff->failed_at_ms + ((span_ms * backoff->draw) >> 32);
}
