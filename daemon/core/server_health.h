/*
 * Server health
 *
 * How well each of several equal servers (the nameservers) does, learned from calls to it and from
 * nothing else, and the choice among them. A server has a score in milliseconds, lower is better:
 * its decaying latency, and SERVER_ERROR_MS for every recent failure, which fades to half in every
 * SERVER_ERROR_HALF_LIFE_MS.
 *
 * The latency moves by a tenth of the difference at most, and less where the call before it is
 * younger than a second: a pause that delays a hundred calls at once counts once. A call counts as
 * three times the latency known so far at most, so that it takes four slow ones in a row to double
 * it: a server that became slow is left after a few calls or probes, and one slow call moves nobody.
 * (With an eighth and four times, equal servers that pause at every hundredth call changed places
 * once in ten simulated hours; with these not once in a thousand.)
 *
 * The current server is kept until it cannot be used, or another has a better score by
 * SERVER_BETTER_FACTOR and by SERVER_BETTER_MS: two servers that are equal never take turns, and one
 * that was left has to become better than its successor by as much. A server that was never measured
 * is not tried with a caller's request while the current one works: a probe measures it.
 *
 * Plain data; time is handed in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVER_ERROR_HALF_LIFE_MS 30000
#define SERVER_ERROR_MS           1000.0
#define SERVER_ERRORS_MAX         8.0 /* as many recent failures as count */
#define SERVER_UNMEASURED_MS      100.0
#define SERVER_BETTER_FACTOR      2.0
#define SERVER_BETTER_MS          2.0

/* All zero: nothing is known yet. */
struct server_health {
    double latency_ms;    /* decaying; 0 until it is measured */
    uint64_t measured_ms; /* when the last call succeeded */
    double errors;        /* recent failures, as they were at failed_ms */
    uint64_t failed_ms;   /* when the last call failed */
    uint64_t n_successes;
    uint64_t n_failures;
    bool is_measured; /* a call succeeded once */
    bool is_failing;  /* the last call failed */
};

/* An answer came, whatever its response code. A probe counts as a call. */
void server_health_succeed(struct server_health *health, uint64_t now_ms, uint64_t latency_us);
/* No answer came: unreachable, lost or timed out. */
void server_health_fail(struct server_health *health, uint64_t now_ms);
/*
 * In milliseconds, lower is better. SERVER_UNMEASURED_MS stands in for a latency that was never
 * measured.
 */
double server_health_score(const struct server_health *health, uint64_t now_ms);

enum server_choice_reason {
    SERVER_CHOICE_ONLY,        /* there is no other */
    SERVER_CHOICE_FIRST,       /* the current one, which nobody has measured yet */
    SERVER_CHOICE_STAYS,       /* the current one: no other is better by enough */
    SERVER_CHOICE_MEASURED,    /* another: it has answered, the current one not yet */
    SERVER_CHOICE_FASTER,      /* another: its latency is better by enough */
    SERVER_CHOICE_FAILED,      /* another: calls to the current one failed */
    SERVER_CHOICE_UNUSABLE,    /* another: the current one cannot be used */
    SERVER_CHOICE_NONE_USABLE, /* the current one, for want of any that can be used */
};

/* One word for logs and answers. */
const char *server_choice_reason_name(enum server_choice_reason reason);

/*
 * Which server to use from now on. usable[i] is false where the connection to a server is in its
 * backoff. current < n; at start it is drawn, so that not every daemon begins with the first one.
 * The reason speaks of this choice: whoever shows why a server became the current one keeps the
 * reason of the moment when the result was not current.
 */
size_t server_choose(const struct server_health *servers, size_t n, size_t current,
    const bool *usable, uint64_t now_ms, enum server_choice_reason *ret_reason);

/*
 * In which order one call tries them, n indexes in ret_order: choice, then the other usable ones by
 * their scores, then those that cannot be used, by theirs. choice < n.
 */
void server_order(const struct server_health *servers, size_t n, size_t choice, const bool *usable,
    uint64_t now_ms, size_t *ret_order);
