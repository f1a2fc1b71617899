#include "daemon/core/server_health.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/run_suite.h"

#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)
#define PROBE_MS  (30 * SECOND_MS)

static const bool all_usable[] = { true, true, true, true };

static struct server_health measured(double latency_ms)
{
    struct server_health health = { 0 };
    server_health_succeed(&health, 0, (uint64_t)(latency_ms * 1000));
    return health;
}

static void assert_choice(const struct server_health *servers, size_t n, size_t current,
    const bool *usable, uint64_t now_ms, size_t expected, enum server_choice_reason expected_reason)
{
    enum server_choice_reason reason;
    size_t choice = server_choose(servers, n, current, usable, now_ms, &reason);
    ck_assert_str_eq(server_choice_reason_name(reason), server_choice_reason_name(expected_reason));
    ck_assert_uint_eq(choice, expected);
}

/* --- score --- */

START_TEST(first_call_is_the_latency)
{
    struct server_health health = measured(3.5);
    ck_assert(health.is_measured);
    ck_assert_double_eq(server_health_score(&health, 0), 3.5);
    ck_assert_double_eq(server_health_score(&health, HOUR_MS), 3.5);
}
END_TEST

START_TEST(latency_moves_by_a_tenth_of_the_difference)
{
    struct server_health health = measured(8);
    server_health_succeed(&health, 1000, 18000);
    ck_assert_double_eq_tol(health.latency_ms, 9, 1e-9);
    server_health_succeed(&health, 61000, 4000);
    ck_assert_double_eq_tol(health.latency_ms, 8.5, 1e-9);
}
END_TEST

START_TEST(latency_comes_to_that_of_the_calls)
{
    struct server_health health = measured(50);
    for (uint64_t i = 1; i <= 100; i++) {
        server_health_succeed(&health, i * SECOND_MS, 2000);
    }
    ck_assert_double_eq_tol(health.latency_ms, 2, 0.01);
    for (uint64_t i = 101; i <= 200; i++) {
        server_health_succeed(&health, i * SECOND_MS, 50000);
    }
    ck_assert_double_eq_tol(health.latency_ms, 50, 0.01);
}
END_TEST

START_TEST(hundred_calls_delayed_by_one_pause_count_once)
{
    struct server_health health = measured(5);
    server_health_succeed(&health, 1000, 20000);
    double after_one_ms = health.latency_ms;
    for (int i = 0; i < 99; i++) {
        server_health_succeed(&health, 1000, 20000);
    }
    ck_assert_double_eq(health.latency_ms, after_one_ms);
}
END_TEST

START_TEST(calls_in_close_order_count_by_the_time_they_span)
{
    struct server_health health = measured(8);
    for (uint64_t now_ms = 1; now_ms <= 1000; now_ms++) {
        server_health_succeed(&health, now_ms, 18000);
    }
    /* A thousand in a second move it about as far as one call does that had the second alone. */
    ck_assert_double_eq_tol(health.latency_ms, 9, 0.1);
}
END_TEST

START_TEST(one_call_however_slow_moves_it_by_a_fifth_at_most)
{
    struct server_health health = measured(5);
    server_health_succeed(&health, HOUR_MS, UINT64_MAX);
    ck_assert_double_gt(health.latency_ms, 5);
    ck_assert_double_le(health.latency_ms, 6 + 1e-9);
}
END_TEST

START_TEST(latency_of_nothing_can_rise)
{
    struct server_health health = measured(0);
    for (uint64_t i = 1; i <= 100; i++) {
        server_health_succeed(&health, i * SECOND_MS, 80000);
    }
    ck_assert_double_gt(health.latency_ms, 70);
}
END_TEST

START_TEST(error_fades_by_half_in_every_half_life)
{
    struct server_health health = measured(1);
    server_health_fail(&health, 5000);
    ck_assert_double_eq(server_health_score(&health, 5000), 1 + SERVER_ERROR_MS);
    double expected = SERVER_ERROR_MS;
    double last_ms = 1 + SERVER_ERROR_MS;
    for (uint64_t i = 1; i <= 20; i++) {
        expected /= 2;
        for (uint64_t step = 1; step <= 10; step++) {
            uint64_t now_ms = 5000 + ((i - 1) * 10 + step) * SERVER_ERROR_HALF_LIFE_MS / 10;
            ck_assert_double_lt(server_health_score(&health, now_ms), last_ms);
            last_ms = server_health_score(&health, now_ms);
        }
        ck_assert_double_eq_tol(last_ms, 1 + expected, 1e-9);
    }
    ck_assert_double_eq(server_health_score(&health, UINT64_MAX), 1);
}
END_TEST

START_TEST(errors_add_up_to_a_limit)
{
    struct server_health health = measured(1);
    server_health_fail(&health, 0);
    server_health_fail(&health, SERVER_ERROR_HALF_LIFE_MS);
    ck_assert_double_eq(
        server_health_score(&health, SERVER_ERROR_HALF_LIFE_MS), 1 + 1.5 * SERVER_ERROR_MS);
    for (int i = 0; i < 100000; i++) {
        server_health_fail(&health, HOUR_MS);
    }
    ck_assert_double_eq(
        server_health_score(&health, HOUR_MS), 1 + SERVER_ERRORS_MAX * SERVER_ERROR_MS);
    ck_assert_uint_eq(health.n_failures, 100002);
}
END_TEST

START_TEST(calls_are_counted_and_the_last_one_is_known)
{
    struct server_health health = { 0 };
    server_health_fail(&health, 10);
    ck_assert(health.is_failing && !health.is_measured);
    server_health_succeed(&health, 20, 1000);
    ck_assert(!health.is_failing && health.is_measured);
    server_health_fail(&health, 30);
    ck_assert(health.is_failing && health.is_measured);
    ck_assert_uint_eq(health.n_successes, 1);
    ck_assert_uint_eq(health.n_failures, 2);
    ck_assert_uint_eq(health.measured_ms, 20);
    ck_assert_uint_eq(health.failed_ms, 30);
}
END_TEST

/* --- choice --- */

START_TEST(only_one_is_chosen_whatever_its_health)
{
    struct server_health server = { 0 };
    const bool none_usable[] = { false };
    assert_choice(&server, 1, 0, all_usable, 0, 0, SERVER_CHOICE_ONLY);
    server_health_fail(&server, 0);
    assert_choice(&server, 1, 0, none_usable, 0, 0, SERVER_CHOICE_ONLY);
}
END_TEST

START_TEST(one_drawn_at_start_stays_while_none_is_measured)
{
    const struct server_health servers[3] = { 0 };
    for (size_t current = 0; current < 3; current++) {
        assert_choice(servers, 3, current, all_usable, 0, current, SERVER_CHOICE_FIRST);
    }
}
END_TEST

START_TEST(one_that_answered_goes_before_one_that_did_not_yet)
{
    const struct server_health servers[] = { { 0 }, { 0 }, measured(2) };
    assert_choice(servers, 3, 0, all_usable, 0, 2, SERVER_CHOICE_MEASURED);
}
END_TEST

START_TEST(unmeasured_one_never_takes_the_place_of_one_that_works)
{
    const struct server_health servers[] = { measured(2900), { 0 } };
    assert_choice(servers, 2, 0, all_usable, 0, 0, SERVER_CHOICE_STAYS);
}
END_TEST

START_TEST(unmeasured_one_is_tried_where_the_current_one_failed)
{
    struct server_health servers[] = { measured(1), { 0 } };
    server_health_fail(&servers[0], 0);
    assert_choice(servers, 2, 0, all_usable, 0, 1, SERVER_CHOICE_FAILED);
    /* Also a slow one is left for its failure: the other is not known to be faster. */
    servers[0] = measured(500);
    server_health_fail(&servers[0], 0);
    assert_choice(servers, 2, 0, all_usable, 0, 1, SERVER_CHOICE_FAILED);
    servers[0] = (struct server_health){ 0 };
    server_health_fail(&servers[0], 0);
    assert_choice(servers, 2, 0, all_usable, 0, 1, SERVER_CHOICE_FAILED);
}
END_TEST

START_TEST(one_that_failed_is_left_at_once)
{
    struct server_health servers[] = { measured(1), measured(20), measured(15) };
    server_health_fail(&servers[0], 0);
    assert_choice(servers, 3, 0, all_usable, 0, 2, SERVER_CHOICE_FAILED);
}
END_TEST

START_TEST(one_that_failed_stays_where_the_others_failed_as_much)
{
    struct server_health servers[] = { measured(1), measured(1) };
    server_health_fail(&servers[0], 0);
    server_health_fail(&servers[1], 0);
    assert_choice(servers, 2, 0, all_usable, 0, 0, SERVER_CHOICE_STAYS);
    assert_choice(servers, 2, 1, all_usable, 0, 1, SERVER_CHOICE_STAYS);
}
END_TEST

START_TEST(unusable_one_is_left_for_any_usable_one)
{
    struct server_health servers[] = { measured(1), measured(500), { 0 } };
    const bool usable[] = { false, true, false };
    server_health_fail(&servers[1], 0);
    assert_choice(servers, 3, 0, usable, 0, 1, SERVER_CHOICE_UNUSABLE);
    const bool only_unmeasured[] = { false, false, true };
    assert_choice(servers, 3, 0, only_unmeasured, 0, 2, SERVER_CHOICE_UNUSABLE);
}
END_TEST

START_TEST(one_is_chosen_also_where_none_is_usable)
{
    const struct server_health servers[] = { measured(50), measured(1) };
    const bool usable[] = { false, false };
    assert_choice(servers, 2, 0, usable, 0, 0, SERVER_CHOICE_NONE_USABLE);
}
END_TEST

START_TEST(unusable_one_is_not_chosen_however_fast)
{
    const struct server_health servers[] = { measured(50), measured(1) };
    const bool usable[] = { true, false };
    assert_choice(servers, 2, 0, usable, 0, 0, SERVER_CHOICE_STAYS);
}
END_TEST

static const struct margin_case {
    double current_ms, other_ms;
    bool is_left;
} margins[] = {
    { 10, 10, false },
    { 10, 5, false },
    { 10.1, 5, true },
    { 10, 4, true },
    { 3, 1, false },
    { 3.1, 1, true },
    { 1, 0.1, false },
    { 2900, 1500, false },
    { 2900, 1400, true },
};

START_TEST(other_one_has_to_be_better_by_a_factor_and_a_margin)
{
    const struct margin_case *c = &margins[_i];
    const struct server_health servers[] = { measured(c->current_ms), measured(c->other_ms) };
    assert_choice(servers, 2, 0, all_usable, 0, c->is_left ? 1 : 0,
        c->is_left ? SERVER_CHOICE_FASTER : SERVER_CHOICE_STAYS);
}
END_TEST

START_TEST(every_reason_has_a_word_of_its_own)
{
    for (int i = SERVER_CHOICE_ONLY; i <= SERVER_CHOICE_NONE_USABLE; i++) {
        const char *name = server_choice_reason_name((enum server_choice_reason)i);
        ck_assert_ptr_nonnull(name);
        for (int j = SERVER_CHOICE_ONLY; j < i; j++) {
            ck_assert_str_ne(name, server_choice_reason_name((enum server_choice_reason)j));
        }
    }
}
END_TEST

/* --- order --- */

START_TEST(order_is_the_choice_then_by_score_then_the_unusable_ones)
{
    struct server_health servers[7] = { measured(30), measured(1), measured(2), measured(20) };
    servers[4] = measured(1);
    server_health_fail(&servers[4], 0);
    servers[6] = measured(1.5);
    const bool usable[] = { true, false, true, true, true, true, false };
    const size_t expected[] = { 3, 2, 0, 5, 4, 1, 6 };
    size_t order[7];
    server_order(servers, 7, 3, usable, 0, order);
    ck_assert_mem_eq(order, expected, sizeof(expected));
}
END_TEST

START_TEST(order_names_every_server_once)
{
    unsigned short state[3] = { 1, 2, 3 };
    for (int round = 0; round < 2000; round++) {
        struct server_health servers[8];
        bool usable[8];
        size_t n = 1 + (size_t)nrand48(state) % 8;
        for (size_t i = 0; i < n; i++) {
            servers[i] = measured(erand48(state) * 100);
            usable[i] = nrand48(state) % 3 != 0;
        }
        size_t choice = (size_t)nrand48(state) % n;
        size_t order[8];
        server_order(servers, n, choice, usable, 0, order);
        ck_assert_uint_eq(order[0], choice);
        unsigned seen = 0;
        for (size_t i = 0; i < n; i++) {
            seen |= 1u << order[i];
            if (i >= 2) {
                ck_assert(usable[order[i - 1]] || !usable[order[i]]);
                ck_assert(usable[order[i - 1]] != usable[order[i]] ||
                          servers[order[i - 1]].latency_ms <= servers[order[i]].latency_ms);
            }
        }
        ck_assert_uint_eq(seen, (1u << n) - 1);
    }
}
END_TEST

/* --- simulated hours --- */

/* Two nameservers, calls to the current one and a probe of each in every 30 s. */
struct simulation {
    struct server_health servers[2];
    uint64_t typical_us[2];
    bool is_silent[2];
    size_t current;
    size_t n_switches;
    enum server_choice_reason reason; /* of the last switch */
    uint64_t now_ms;
    uint64_t probe_ms; /* the next one */
    unsigned short state[3];
};

static struct simulation simulation(uint64_t a_us, uint64_t b_us, unsigned short seed)
{
    return (struct simulation){ .typical_us = { a_us, b_us }, .state = { seed, 2, 3 } };
}

/* Most calls take 0.7 to 1.3 times what is typical; one in a hundred a pause of 20 to 200 ms. */
static void simulation_call(struct simulation *s, size_t server)
{
    if (s->is_silent[server]) {
        server_health_fail(&s->servers[server], s->now_ms);
    } else {
        double latency_us = (double)s->typical_us[server] * (0.7 + 0.6 * erand48(s->state));
        if (nrand48(s->state) % 100 == 0) {
            latency_us += 20000 + 180000 * erand48(s->state);
        }
        server_health_succeed(&s->servers[server], s->now_ms, (uint64_t)latency_us);
    }
    enum server_choice_reason reason;
    size_t choice = server_choose(s->servers, 2, s->current, all_usable, s->now_ms, &reason);
    if (choice != s->current) {
        s->current = choice;
        s->n_switches++;
        s->reason = reason;
    }
}

/* Calls at random moments, mean_gap_ms apart on average; 0: probes only. */
static void simulation_run(struct simulation *s, uint64_t duration_ms, uint64_t mean_gap_ms)
{
    uint64_t end_ms = s->now_ms + duration_ms;
    uint64_t call_ms = mean_gap_ms > 0 ? s->now_ms : UINT64_MAX;
    while (s->now_ms < end_ms) {
        if (call_ms < s->probe_ms) {
            s->now_ms = call_ms;
            simulation_call(s, s->current);
            call_ms += (uint64_t)(erand48(s->state) * 2 * (double)mean_gap_ms);
        } else {
            s->now_ms = s->probe_ms;
            simulation_call(s, 0);
            simulation_call(s, 1);
            s->probe_ms += PROBE_MS;
        }
    }
}

static const uint64_t gaps_ms[] = { 0, 20, 1000, 10000 };

START_TEST(equal_ones_never_take_turns)
{
    for (unsigned short seed = 1; seed <= 5; seed++) {
        const uint64_t typical_us[] = { 200, 1000, 10000, 100000 };
        for (int i = 0; i < 4; i++) {
            struct simulation s = simulation(typical_us[i], typical_us[i], seed);
            simulation_run(&s, MINUTE_MS, gaps_ms[_i]);
            s.n_switches = 0; /* of the first minute: one may be measured by a pause at first */
            simulation_run(&s, 6 * HOUR_MS, gaps_ms[_i]);
            ck_assert_uint_eq(s.n_switches, 0);
        }
    }
}
END_TEST

START_TEST(slow_one_is_left_soon_and_returned_to_when_it_has_recovered)
{
    struct simulation s = simulation(3000, 3000, 7);
    simulation_run(&s, HOUR_MS, 1000);
    size_t slow = s.current;
    s.n_switches = 0;
    s.typical_us[slow] = 30000;
    uint64_t n_before = s.servers[slow].n_successes;
    simulation_run(&s, 10 * MINUTE_MS, 1000);
    ck_assert_uint_eq(s.n_switches, 1);
    ck_assert_uint_eq(s.current, 1 - slow);
    ck_assert_str_eq(server_choice_reason_name(s.reason), "faster");
    /* The 20 probes of ten minutes, and the calls of some seconds. */
    ck_assert_uint_le(s.servers[slow].n_successes - n_before, 20 + 10);

    /* It recovers: nothing is gained by going back. */
    s.typical_us[slow] = 3000;
    simulation_run(&s, HOUR_MS, 1000);
    ck_assert_uint_eq(s.n_switches, 1);

    /* The other one becomes slow, too; the first was not better before it had recovered. */
    s.typical_us[1 - slow] = 30000;
    simulation_run(&s, 10 * MINUTE_MS, 1000);
    ck_assert_uint_eq(s.n_switches, 2);
    ck_assert_uint_eq(s.current, slow);
}
END_TEST

START_TEST(slow_one_is_not_returned_to_while_it_is_slow)
{
    struct simulation s = simulation(3000, 30000, 8);
    simulation_run(&s, 10 * MINUTE_MS, 1000);
    ck_assert_uint_eq(s.current, 0);
    s.typical_us[0] = 30000;
    s.n_switches = 0;
    simulation_run(&s, HOUR_MS, 1000);
    ck_assert_uint_eq(s.n_switches, 0);
    s.typical_us[1] = 3000;
    uint64_t before_ms = s.now_ms;
    while (s.n_switches == 0) {
        simulation_run(&s, SECOND_MS, 1000);
        ck_assert_uint_lt(s.now_ms - before_ms, 15 * MINUTE_MS);
    }
    ck_assert_double_lt(s.servers[1].latency_ms * SERVER_BETTER_FACTOR, s.servers[0].latency_ms);
    ck_assert_uint_gt(s.now_ms - before_ms, PROBE_MS);
}
END_TEST

START_TEST(slow_one_is_left_after_a_few_probes_where_nobody_calls)
{
    struct simulation s = simulation(3000, 3000, 9);
    simulation_run(&s, HOUR_MS, 0);
    size_t slow = s.current;
    s.typical_us[slow] = 30000;
    simulation_run(&s, 5 * PROBE_MS, 0);
    ck_assert_uint_eq(s.current, 1 - slow);
}
END_TEST

START_TEST(silent_one_is_left_with_the_first_call_that_failed)
{
    struct simulation s = simulation(1000, 1000, 10);
    simulation_run(&s, HOUR_MS, 1000);
    size_t silent = s.current;
    s.n_switches = 0;
    s.is_silent[silent] = true;
    simulation_call(&s, silent);
    ck_assert_uint_eq(s.current, 1 - silent);
    ck_assert_str_eq(server_choice_reason_name(s.reason), "current-failed");
    simulation_run(&s, HOUR_MS, 1000);
    ck_assert_uint_eq(s.n_switches, 1);
}
END_TEST

START_TEST(fast_one_is_returned_to_when_its_error_has_faded)
{
    struct simulation s = simulation(1000, 40000, 11);
    simulation_run(&s, HOUR_MS, 1000);
    ck_assert_uint_eq(s.current, 0);
    s.is_silent[0] = true;
    simulation_call(&s, 0);
    s.is_silent[0] = false;
    ck_assert_uint_eq(s.current, 1);
    simulation_run(&s, 2 * SERVER_ERROR_HALF_LIFE_MS, 1000);
    ck_assert_uint_eq(s.current, 1);
    simulation_run(&s, 10 * SERVER_ERROR_HALF_LIFE_MS, 1000);
    ck_assert_uint_eq(s.current, 0);
    ck_assert_str_eq(server_choice_reason_name(s.reason), "faster");
}
END_TEST

START_TEST(dead_one_drawn_at_start_costs_one_call)
{
    struct simulation s = simulation(1000, 1000, 12);
    s.is_silent[0] = true;
    s.probe_ms = PROBE_MS;
    simulation_run(&s, HOUR_MS, 1000);
    ck_assert_uint_eq(s.current, 1);
    ck_assert_uint_eq(s.n_switches, 1);
    /* All failures but the first are of probes. */
    ck_assert_uint_le(s.servers[0].n_failures, 1 + HOUR_MS / PROBE_MS);
    ck_assert_uint_eq(s.servers[1].n_failures, 0);
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *score = tcase_create("score");
    tcase_add_test(score, first_call_is_the_latency);
    tcase_add_test(score, latency_moves_by_a_tenth_of_the_difference);
    tcase_add_test(score, latency_comes_to_that_of_the_calls);
    tcase_add_test(score, hundred_calls_delayed_by_one_pause_count_once);
    tcase_add_test(score, calls_in_close_order_count_by_the_time_they_span);
    tcase_add_test(score, one_call_however_slow_moves_it_by_a_fifth_at_most);
    tcase_add_test(score, latency_of_nothing_can_rise);
    tcase_add_test(score, error_fades_by_half_in_every_half_life);
    tcase_add_test(score, errors_add_up_to_a_limit);
    tcase_add_test(score, calls_are_counted_and_the_last_one_is_known);

    TCase *choice = tcase_create("choice");
    tcase_add_test(choice, only_one_is_chosen_whatever_its_health);
    tcase_add_test(choice, one_drawn_at_start_stays_while_none_is_measured);
    tcase_add_test(choice, one_that_answered_goes_before_one_that_did_not_yet);
    tcase_add_test(choice, unmeasured_one_never_takes_the_place_of_one_that_works);
    tcase_add_test(choice, unmeasured_one_is_tried_where_the_current_one_failed);
    tcase_add_test(choice, one_that_failed_is_left_at_once);
    tcase_add_test(choice, one_that_failed_stays_where_the_others_failed_as_much);
    tcase_add_test(choice, unusable_one_is_left_for_any_usable_one);
    tcase_add_test(choice, one_is_chosen_also_where_none_is_usable);
    tcase_add_test(choice, unusable_one_is_not_chosen_however_fast);
    tcase_add_loop_test(choice, other_one_has_to_be_better_by_a_factor_and_a_margin, 0, N(margins));
    tcase_add_test(choice, every_reason_has_a_word_of_its_own);
    tcase_add_test(choice, order_is_the_choice_then_by_score_then_the_unusable_ones);
    tcase_add_test(choice, order_names_every_server_once);

    TCase *hours = tcase_create("hours");
    tcase_set_timeout(hours, 60);
    tcase_add_loop_test(hours, equal_ones_never_take_turns, 0, N(gaps_ms));
    tcase_add_test(hours, slow_one_is_left_soon_and_returned_to_when_it_has_recovered);
    tcase_add_test(hours, slow_one_is_not_returned_to_while_it_is_slow);
    tcase_add_test(hours, slow_one_is_left_after_a_few_probes_where_nobody_calls);
    tcase_add_test(hours, silent_one_is_left_with_the_first_call_that_failed);
    tcase_add_test(hours, fast_one_is_returned_to_when_its_error_has_faded);
    tcase_add_test(hours, dead_one_drawn_at_start_costs_one_call);

    Suite *suite = suite_create("server_health");
    suite_add_tcase(suite, score);
    suite_add_tcase(suite, choice);
    suite_add_tcase(suite, hours);
    return run_suite(suite);
}
