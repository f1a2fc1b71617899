/*
 * Herd
 *
 * How many daemons come back to a broker at once: each loses its connection when the broker goes,
 * and tries again as daemon/core/backoff tells it, with the default settings and a manual clock,
 * until the broker is back. Told are the attempts after its return, every one of which succeeds.
 *
 *     herd [ROUNDS]       rounds of every row with other draws; the worst round counts
 *
 * Speaks TAP, with the table in its comments. The bounds: where nobody waits for the broker, no 100
 * ms holds more than a tenth of the attempts, and all are back within backoff.max; where somebody
 * waits, all are back within backoff.max_wanted. There the share is told and not bounded: waits
 * drawn from 0 to 2 s, of which many have passed, leave a tenth of them to the first 100 ms.
 */
#include "daemon/core/backoff.h"
#include "daemon/core/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define N_DAEMONS        3000
#define WINDOW_MS        100
#define ROUNDS_DEFAULT   20
#define ROUNDS_MAX       100000
#define SHARE_MAX        0.1
#define CONNECT_LEAST_MS 1 /* until an attempt is refused */
#define CONNECT_MOST_MS  5

/* The defaults of [backoff]. */
static const struct backoff_limits limits = {
    .initial_ms = 100,
    .max_ms = 30000,
    .max_wanted_ms = 2000,
};

struct row {
    const char *name;
    uint64_t away_ms;
    uint64_t wanted_ms; /* after the loss, the address is wanted so long */
    uint64_t back_within_ms;
    bool is_bounded; /* SHARE_MAX is promised */
};

static const struct row rows[] = {
    { "nobody waits", 20000, 0, 30000, true },
    { "nobody after 10 s", 20000, 10000, 30000, true },
    { "somebody waits", 20000, NEVER_MS, 2000, false },
    { "nobody waits", 1000, 0, 30000, false },
    { "nobody waits", 5000, 0, 30000, true },
    { "nobody waits", 60000, 0, 30000, true },
    { "nobody waits", 600000, 0, 30000, true },
};

struct result {
    double largest_share; /* of the attempts, in any 100 ms */
    uint64_t half_ms;
    uint64_t most_ms; /* 90 % */
    uint64_t all_ms;
    double n_attempts_away; /* of one daemon */
};

/* When one daemon is back, counted from the broker's return. It has lost its connection at 0. */
static uint64_t daemon_return_ms(
    const struct row *row, unsigned short state[3], uint64_t *n_attempts_away)
{
    struct backoff backoff = { 0 };
    uint64_t now_ms = 0;
    while (now_ms < row->away_ms) {
        (*n_attempts_away)++;
        now_ms +=
            CONNECT_LEAST_MS + (uint64_t)nrand48(state) % (CONNECT_MOST_MS - CONNECT_LEAST_MS + 1);
        backoff_fail(&backoff, now_ms, (uint32_t)jrand48(state));
        uint64_t next_ms = backoff_next_attempt_ms(&backoff, &limits, now_ms < row->wanted_ms);
        now_ms = next_ms > now_ms ? next_ms : now_ms;
    }
    return now_ms - row->away_ms;
}

static int compare_ms(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The most of the sorted moments that lie in one window, wherever it begins. */
static size_t largest_window(const uint64_t *moments_ms, size_t n)
{
    size_t largest = 0;
    size_t first = 0;
    for (size_t i = 0; i < n; i++) {
        while (moments_ms[i] - moments_ms[first] >= WINDOW_MS) {
            first++;
        }
        if (i - first + 1 > largest) {
            largest = i - first + 1;
        }
    }
    return largest;
}

static struct result row_run(const struct row *row, unsigned short state[3])
{
    static uint64_t returns_ms[N_DAEMONS];
    uint64_t n_attempts_away = 0;
    for (size_t i = 0; i < N_DAEMONS; i++) {
        returns_ms[i] = daemon_return_ms(row, state, &n_attempts_away);
    }
    qsort(returns_ms, N_DAEMONS, sizeof(returns_ms[0]), compare_ms);
    return (struct result){
        .largest_share = (double)largest_window(returns_ms, N_DAEMONS) / N_DAEMONS,
        .half_ms = returns_ms[N_DAEMONS / 2 - 1],
        .most_ms = returns_ms[N_DAEMONS * 9 / 10 - 1],
        .all_ms = returns_ms[N_DAEMONS - 1],
        .n_attempts_away = (double)n_attempts_away / N_DAEMONS,
    };
}

static void result_keep_worst(struct result *worst, const struct result *result)
{
    worst->largest_share =
        result->largest_share > worst->largest_share ? result->largest_share : worst->largest_share;
    worst->half_ms = result->half_ms > worst->half_ms ? result->half_ms : worst->half_ms;
    worst->most_ms = result->most_ms > worst->most_ms ? result->most_ms : worst->most_ms;
    worst->all_ms = result->all_ms > worst->all_ms ? result->all_ms : worst->all_ms;
    worst->n_attempts_away = result->n_attempts_away > worst->n_attempts_away
                                 ? result->n_attempts_away
                                 : worst->n_attempts_away;
}

static bool report(unsigned number, const char *what, const struct row *row, bool holds)
{
    printf("%sok %u - %s, away %" PRIu64 " s: %s\n", holds ? "" : "not ", number, row->name,
        row->away_ms / 1000, what);
    return holds;
}

int main(int argc, char **argv)
{
    long n_rounds = argc > 1 ? strtol(argv[1], NULL, 10) : ROUNDS_DEFAULT;
    if (argc > 2 || n_rounds < 1 || n_rounds > ROUNDS_MAX) {
        (void)fprintf(
            stderr, "usage: herd [ROUNDS]    1 to %d, %d without it\n", ROUNDS_MAX, ROUNDS_DEFAULT);
        return EXIT_FAILURE;
    }
    printf("# %d daemons, the worst of %ld rounds; back after the broker's return\n", N_DAEMONS,
        n_rounds);
    printf("#                    away  attempts  most in   50 %%    90 %%   100 %%\n");
    printf("#                          meanwhile 100 ms    back    back    back\n");
    unsigned short state[3] = { 1, 2, 3 };
    unsigned n_checks = 0;
    bool all_hold = true;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct result worst = { 0 };
        for (long round = 0; round < n_rounds; round++) {
            struct result result = row_run(row, state);
            result_keep_worst(&worst, &result);
        }
        printf("# %-17s %4" PRIu64 " s  %6.1f   %5.1f %%  %5.1f s %5.1f s %5.1f s\n", row->name,
            row->away_ms / 1000, worst.n_attempts_away, worst.largest_share * 100,
            (double)worst.half_ms / 1000, (double)worst.most_ms / 1000,
            (double)worst.all_ms / 1000);
        if (row->is_bounded) {
            all_hold &= report(++n_checks, "no 100 ms holds more than a tenth of the attempts", row,
                worst.largest_share <= SHARE_MAX);
        }
        /* An attempt that was under way when the broker came back may still be refused. */
        all_hold &= report(++n_checks, "all are back in time", row,
            worst.all_ms <= row->back_within_ms + CONNECT_MOST_MS);
    }
    printf("1..%u\n", n_checks);
    return all_hold ? EXIT_SUCCESS : EXIT_FAILURE;
}
