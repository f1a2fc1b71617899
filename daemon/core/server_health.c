#include "daemon/core/server_health.h"

#include "daemon/core/clock.h"

#include <assert.h>

/* The share of a call in the decaying latency, and the silence before it that gives it all. */
#define CALL_SHARE        0.1
#define CALL_SHARE_GAP_MS 1000
/* What a call counts at most: this many times the latency so far; from nearly 0 it has to rise. */
#define CALL_LIMIT_FACTOR   3.0
#define CALL_LIMIT_LEAST_MS 4.0

static const char *const reason_names[] = {
    [SERVER_CHOICE_ONLY] = "only",
    [SERVER_CHOICE_FIRST] = "first",
    [SERVER_CHOICE_STAYS] = "stays",
    [SERVER_CHOICE_MEASURED] = "measured",
    [SERVER_CHOICE_FASTER] = "faster",
    [SERVER_CHOICE_FAILED] = "current-failed",
    [SERVER_CHOICE_UNUSABLE] = "current-unusable",
    [SERVER_CHOICE_NONE_USABLE] = "none-usable",
};

const char *server_choice_reason_name(enum server_choice_reason reason)
{
    return reason_names[reason];
}

/* --- health --- */

/* Half of it after every half-life, in a straight line between. */
static double errors_now(const struct server_health *health, uint64_t now_ms)
{
    uint64_t age_ms = clock_until(health->failed_ms, now_ms);
    uint64_t n_halves = age_ms / SERVER_ERROR_HALF_LIFE_MS;
    if (n_halves >= 64) {
        return 0;
    }
    double rest = (double)(age_ms % SERVER_ERROR_HALF_LIFE_MS) / SERVER_ERROR_HALF_LIFE_MS;
    return health->errors / (double)(UINT64_C(1) << n_halves) * (1 - rest / 2);
}

static double latency_of(const struct server_health *health)
{
    return health->is_measured ? health->latency_ms : SERVER_UNMEASURED_MS;
}

void server_health_succeed(struct server_health *health, uint64_t now_ms, uint64_t latency_us)
{
    double call_ms = (double)latency_us / 1000;
    if (!health->is_measured) {
        health->latency_ms = call_ms;
    } else {
        double limit_ms = health->latency_ms * CALL_LIMIT_FACTOR;
        if (limit_ms < CALL_LIMIT_LEAST_MS) {
            limit_ms = CALL_LIMIT_LEAST_MS;
        }
        if (call_ms > limit_ms) {
            call_ms = limit_ms;
        }
        uint64_t gap_ms = clock_until(health->measured_ms, now_ms);
        double share = CALL_SHARE;
        if (gap_ms < CALL_SHARE_GAP_MS) {
            share *= (double)gap_ms / CALL_SHARE_GAP_MS;
        }
        health->latency_ms += share * (call_ms - health->latency_ms);
    }
    health->measured_ms = now_ms;
    health->n_successes++;
    health->is_measured = true;
    health->is_failing = false;
}

void server_health_fail(struct server_health *health, uint64_t now_ms)
{
    double errors = errors_now(health, now_ms) + 1;
    health->errors = errors < SERVER_ERRORS_MAX ? errors : SERVER_ERRORS_MAX;
    health->failed_ms = now_ms;
    health->n_failures++;
    health->is_failing = true;
}

double server_health_score(const struct server_health *health, uint64_t now_ms)
{
    return latency_of(health) + SERVER_ERROR_MS * errors_now(health, now_ms);
}

/* --- choice --- */

static bool is_better_by_enough(double other_ms, double current_ms)
{
    return current_ms > other_ms * SERVER_BETTER_FACTOR && current_ms - other_ms > SERVER_BETTER_MS;
}

/*
 * The usable server with the best score apart from current, n when there is none. Where current
 * works, one that was never measured is left to the probe.
 */
static size_t best_other(const struct server_health *servers, size_t n, size_t current,
    const bool *usable, uint64_t now_ms)
{
    bool current_works = usable[current] && !servers[current].is_failing;
    size_t best = n;
    double best_ms = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == current || !usable[i] || (current_works && !servers[i].is_measured)) {
            continue;
        }
        double score_ms = server_health_score(&servers[i], now_ms);
        if (best == n || score_ms < best_ms) {
            best = i;
            best_ms = score_ms;
        }
    }
    return best;
}

static enum server_choice_reason reason_to_leave(
    const struct server_health *current, const struct server_health *other)
{
    if (current->is_measured && other->is_measured &&
        is_better_by_enough(other->latency_ms, current->latency_ms)) {
        return SERVER_CHOICE_FASTER;
    }
    return current->n_failures > 0 ? SERVER_CHOICE_FAILED : SERVER_CHOICE_MEASURED;
}

size_t server_choose(const struct server_health *servers, size_t n, size_t current,
    const bool *usable, uint64_t now_ms, enum server_choice_reason *ret_reason)
{
    assert(current < n);
    if (n == 1) {
        *ret_reason = SERVER_CHOICE_ONLY;
        return current;
    }
    size_t other = best_other(servers, n, current, usable, now_ms);
    if (!usable[current]) {
        *ret_reason = other < n ? SERVER_CHOICE_UNUSABLE : SERVER_CHOICE_NONE_USABLE;
        return other < n ? other : current;
    }
    if (other < n && is_better_by_enough(server_health_score(&servers[other], now_ms),
                         server_health_score(&servers[current], now_ms))) {
        *ret_reason = reason_to_leave(&servers[current], &servers[other]);
        return other;
    }
    *ret_reason = servers[current].is_measured ? SERVER_CHOICE_STAYS : SERVER_CHOICE_FIRST;
    return current;
}

void server_order(const struct server_health *servers, size_t n, size_t choice, const bool *usable,
    uint64_t now_ms, size_t *ret_order)
{
    assert(choice < n);
    ret_order[0] = choice;
    size_t n_ordered = 1;
    for (size_t i = 0; i < n; i++) {
        if (i == choice) {
            continue;
        }
        /* Nameservers are few: each is moved up to its place. */
        double score_ms = server_health_score(&servers[i], now_ms);
        size_t at = n_ordered++;
        while (at > 1) {
            size_t before = ret_order[at - 1];
            bool is_ahead = usable[i] == usable[before]
                                ? score_ms < server_health_score(&servers[before], now_ms)
                                : usable[i];
            if (!is_ahead) {
                break;
            }
            ret_order[at] = before;
            at--;
        }
        ret_order[at] = i;
    }
}
