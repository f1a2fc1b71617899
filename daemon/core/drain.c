#include "daemon/core/drain.h"

#include "daemon/core/clock.h"

void drain_request(
    struct drain *drain, uint64_t now_ms, uint64_t timeout_ms, size_t n_in_flight, uint64_t last_id)
{
    switch (drain->state) {
    case DRAIN_RUNNING:
        drain->state = DRAIN_DRAINING;
        drain->deadline_ms = clock_after(now_ms, timeout_ms);
        drain->n_at_start = n_in_flight;
        drain->last_id = last_id;
        return;
    case DRAIN_DRAINING:
        drain->state = DRAIN_EXPIRED;
        return;
    case DRAIN_DRAINED:
    case DRAIN_EXPIRED:
        return;
    }
}

void drain_count(struct drain *drain, uint64_t id, enum drain_outcome outcome)
{
    if (drain->state != DRAIN_RUNNING && id <= drain->last_id) {
        drain->n_ended[outcome]++;
    }
}

void drain_advance(struct drain *drain, uint64_t now_ms, size_t n_in_flight, size_t unwritten)
{
    if (drain->state != DRAIN_DRAINING) {
        return;
    }
    if (n_in_flight == 0 && unwritten == 0) {
        drain->state = DRAIN_DRAINED;
    } else if (now_ms >= drain->deadline_ms) {
        drain->state = DRAIN_EXPIRED;
    }
}

bool drain_is_over(const struct drain *drain)
{
    return drain->state == DRAIN_DRAINED || drain->state == DRAIN_EXPIRED;
}

const char *drain_state_name(enum drain_state state)
{
    switch (state) {
    case DRAIN_RUNNING:
        return "RUNNING";
    case DRAIN_DRAINING:
        return "DRAINING";
    case DRAIN_DRAINED:
        return "DRAINED";
    case DRAIN_EXPIRED:
        return "EXPIRED";
    }
    return "?";
}
