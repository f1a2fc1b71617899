#include "daemon/core/control_schedule.h"

#include <assert.h>

void control_schedule_init(struct control_schedule *schedule)
{
    *schedule = (struct control_schedule){ .beat_at_ms = NEVER_MS };
}

void control_schedule_want(struct control_schedule *schedule, uint64_t number, uint64_t now_ms)
{
    schedule->wanted = number;
    schedule->beat_at_ms = now_ms;
}

void control_schedule_stop(struct control_schedule *schedule)
{
    schedule->beat_at_ms = NEVER_MS;
}

enum control_step control_schedule_next(
    const struct control_schedule *schedule, size_t n_unregisters, uint64_t now_ms)
{
    if (schedule->is_busy) {
        return CONTROL_NOTHING;
    }
    if (n_unregisters > 0) {
        return CONTROL_UNREGISTER;
    }
    return schedule->beat_at_ms <= now_ms ? CONTROL_BEAT : CONTROL_NOTHING;
}

uint64_t control_schedule_due_ms(const struct control_schedule *schedule)
{
    return schedule->is_busy ? NEVER_MS : schedule->beat_at_ms;
}

void control_schedule_begin(struct control_schedule *schedule)
{
    assert(!schedule->is_busy);
    schedule->is_busy = true;
    schedule->was_lost = false;
    schedule->begun = schedule->wanted;
}

void control_schedule_end_beat(
    struct control_schedule *schedule, enum control_result result, uint64_t now_ms)
{
    uint64_t pause_ms = CONTROL_INTERVAL_MS;
    schedule->is_busy = false;
    schedule->is_registered = result == CONTROL_TAKEN && !schedule->was_lost;
    if (result == CONTROL_FAILED) {
        pause_ms = schedule->is_patient ? CONTROL_RETRY_MS : 0;
    }
    schedule->is_patient = result == CONTROL_FAILED;
    schedule->done = schedule->begun;
    schedule->result = result;
    if (schedule->was_lost && !schedule->is_patient) {
        pause_ms = schedule->pause_ms;
    }
    if (schedule->wanted > schedule->begun && !schedule->is_patient) {
        pause_ms = 0;
    }
    if (schedule->beat_at_ms != NEVER_MS) {
        schedule->beat_at_ms = clock_after(now_ms, pause_ms);
    }
}

void control_schedule_take_back(struct control_schedule *schedule)
{
    schedule->is_busy = false;
}

void control_schedule_end_unregister(struct control_schedule *schedule)
{
    schedule->is_busy = false;
}

void control_schedule_lose(struct control_schedule *schedule, uint64_t now_ms)
{
    schedule->is_registered = false;
    schedule->was_lost = schedule->is_busy;
    if (!schedule->has_lost || now_ms - schedule->lost_ms >= 2 * CONTROL_INTERVAL_MS) {
        schedule->pause_ms = 0;
    } else if (schedule->pause_ms == 0) {
        schedule->pause_ms = CONTROL_RETRY_MS;
    } else if (schedule->pause_ms < CONTROL_INTERVAL_MS) {
        schedule->pause_ms *= 2;
    }
    schedule->has_lost = true;
    schedule->lost_ms = now_ms;
    if (schedule->beat_at_ms != NEVER_MS) {
        schedule->beat_at_ms = clock_after(now_ms, schedule->pause_ms);
    }
}

bool control_schedule_has_done(const struct control_schedule *schedule, uint64_t number)
{
    return schedule->done >= number || schedule->is_patient;
}
