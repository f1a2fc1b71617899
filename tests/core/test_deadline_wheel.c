#include "daemon/core/deadline_wheel.h"

#include "tests/support/run_suite.h"

#define TURN_MS ((uint64_t)DEADLINE_SLOT_MS * DEADLINE_SLOTS)

static struct deadline_wheel wheel;

/* A deadline that remembers its calls. The deadline stands first: it is its timer. */
struct timer {
    struct deadline deadline;
    unsigned n_calls;
    uint64_t called_ms;
    struct timer *other; /* what its callback sets or clears */
    uint64_t other_at_ms;
};

static struct timer *note_call(struct deadline *deadline, uint64_t now_ms)
{
    struct timer *timer = (struct timer *)(void *)deadline;
    assert_often(!deadline_is_set(deadline));
    assert_often(deadline->at_ms <= now_ms);
    timer->n_calls++;
    timer->called_ms = now_ms;
    return timer;
}

static void on_call(struct deadline *deadline, uint64_t now_ms)
{
    (void)note_call(deadline, now_ms);
}

static void on_call_set_other(struct deadline *deadline, uint64_t now_ms)
{
    struct timer *timer = note_call(deadline, now_ms);
    deadline_set(&wheel, &timer->other->deadline, timer->other_at_ms);
}

static void on_call_clear_other(struct deadline *deadline, uint64_t now_ms)
{
    deadline_clear(&wheel, &note_call(deadline, now_ms)->other->deadline);
}

static void timer_start(struct timer *timer, uint64_t at_ms)
{
    *timer = (struct timer){ 0 };
    deadline_init(&timer->deadline, on_call);
    deadline_set(&wheel, &timer->deadline, at_ms);
}

START_TEST(deadline_is_called_in_its_millisecond_when_every_millisecond_is_looked_at)
{
    const uint64_t delays[] = { 0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 255, 256, 257, 1000 };
    for (uint64_t start_ms = 0; start_ms < 300; start_ms += start_ms < 10 ? 1 : 29) {
        for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
            struct timer timer;
            deadline_wheel_init(&wheel, start_ms);
            timer_start(&timer, start_ms + delays[i]);
            for (uint64_t now_ms = start_ms; timer.n_calls == 0; now_ms++) {
                size_t n = deadline_wheel_expire(&wheel, now_ms);
                assert_often(n == (now_ms == start_ms + delays[i]));
                assert_often(n == timer.n_calls);
            }
            assert_often(deadline_wheel_expire(&wheel, start_ms + 5000) == 0);
        }
    }
}
END_TEST

/* Delays of several turns, around every edge of slots, words of slots and turns. */
START_TEST(deadline_is_never_early_and_at_most_a_slot_late_when_next_is_obeyed)
{
    for (uint64_t n_turns = 0; n_turns <= 5; n_turns++) {
        for (uint64_t start_ms = 0; start_ms < 600; start_ms += 41) {
            for (uint64_t extra_ms = 0; extra_ms < 600; extra_ms += 7) {
                struct timer timer;
                uint64_t at_ms = start_ms + n_turns * TURN_MS + extra_ms;
                deadline_wheel_init(&wheel, start_ms);
                timer_start(&timer, at_ms);
                unsigned n_wakeups = 0;
                while (timer.n_calls == 0) {
                    (void)deadline_wheel_expire(&wheel, deadline_wheel_next(&wheel));
                    n_wakeups++;
                }
                assert_often(timer.called_ms >= at_ms);
                assert_often(timer.called_ms <= at_ms + DEADLINE_SLOT_MS);
                /* A deadline that is far away costs a wake-up or two a turn, no more. */
                assert_often(n_wakeups <= 2 * (n_turns + 1));
                assert_often(deadline_wheel_next(&wheel) == NEVER_MS);
            }
        }
    }
}
END_TEST

START_TEST(next_finds_the_only_deadline_from_every_slot)
{
    for (uint64_t start = 0; start < 130; start += start % 64 < 3 ? 1 : 15) {
        for (uint64_t away = 0; away < DEADLINE_SLOTS; away += away < 130 ? 1 : 61) {
            struct timer timer;
            deadline_wheel_init(&wheel, start * DEADLINE_SLOT_MS);
            timer_start(&timer, (start + away) * DEADLINE_SLOT_MS);
            assert_often(deadline_wheel_next(&wheel) == (start + away + 1) * DEADLINE_SLOT_MS);
        }
    }
}
END_TEST

START_TEST(wheel_that_slept_for_hours_calls_everything_that_is_due_once)
{
    static struct timer timers[1000];
    const uint64_t start_ms = 1234567;
    deadline_wheel_init(&wheel, start_ms);
    for (size_t i = 0; i < 1000; i++) {
        timer_start(&timers[i], start_ms + i * 3600);
    }
    const uint64_t now_ms = start_ms + 500 * 3600;
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, now_ms), 501);
    for (size_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(timers[i].n_calls, i <= 500);
        ck_assert(deadline_is_set(&timers[i].deadline) == (i > 500));
    }
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, now_ms), 0);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, start_ms + 1000 * 3600), 499);
    ck_assert_uint_eq(deadline_wheel_next(&wheel), NEVER_MS);
}
END_TEST

static unsigned n_ordered;
static uint64_t last_tick;

static void on_call_in_order(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    assert_often(deadline->at_ms / DEADLINE_SLOT_MS >= last_tick);
    last_tick = deadline->at_ms / DEADLINE_SLOT_MS;
    n_ordered++;
}

START_TEST(deadlines_of_one_turn_are_called_in_the_order_of_their_slots)
{
    static struct deadline deadlines[500];
    const uint64_t start_ms = 3 * TURN_MS + 999;
    deadline_wheel_init(&wheel, start_ms);
    uint32_t random = 7;
    for (size_t i = 0; i < 500; i++) {
        random = random * 1664525 + 1013904223;
        deadline_init(&deadlines[i], on_call_in_order);
        deadline_set(&wheel, &deadlines[i], start_ms + (random >> 8) % (TURN_MS - 10));
    }
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, start_ms + TURN_MS - 10), 500);
    ck_assert_uint_eq(n_ordered, 500);
}
END_TEST

START_TEST(cleared_deadline_is_not_called)
{
    struct timer timer;
    deadline_wheel_init(&wheel, 1000);
    timer_start(&timer, 2000);
    ck_assert(deadline_is_set(&timer.deadline));
    deadline_clear(&wheel, &timer.deadline);
    ck_assert(!deadline_is_set(&timer.deadline));
    ck_assert_uint_eq(deadline_wheel_next(&wheel), NEVER_MS);
    deadline_clear(&wheel, &timer.deadline); /* nothing to clear */
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 100000), 0);
    ck_assert_uint_eq(timer.n_calls, 0);
}
END_TEST

START_TEST(deadline_set_again_counts_from_its_last_setting)
{
    struct timer timer;
    deadline_wheel_init(&wheel, 1000);
    timer_start(&timer, 2000);
    deadline_set(&wheel, &timer.deadline, 5000);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 4999), 0);
    deadline_set(&wheel, &timer.deadline, 5001);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 5000), 0);
    deadline_set(&wheel, &timer.deadline, 4000);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 5000), 1);
    ck_assert_uint_eq(timer.n_calls, 1);
}
END_TEST

START_TEST(never_clears_and_is_never_called)
{
    struct timer timer;
    deadline_wheel_init(&wheel, 1000);
    timer_start(&timer, NEVER_MS);
    ck_assert(!deadline_is_set(&timer.deadline));
    deadline_set(&wheel, &timer.deadline, 2000);
    deadline_set(&wheel, &timer.deadline, NEVER_MS);
    ck_assert(!deadline_is_set(&timer.deadline));
    ck_assert_uint_eq(deadline_wheel_next(&wheel), NEVER_MS);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, NEVER_MS - 1), 0);
    ck_assert_uint_eq(timer.n_calls, 0);
}
END_TEST

START_TEST(last_moment_before_never_is_a_moment)
{
    struct timer timer;
    deadline_wheel_init(&wheel, 1000);
    timer_start(&timer, NEVER_MS - 1);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, NEVER_MS - 2), 0);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, NEVER_MS - 1), 1);
}
END_TEST

START_TEST(deadline_in_the_past_is_called_in_the_next_round)
{
    struct timer timer;
    deadline_wheel_init(&wheel, 100000);
    timer_start(&timer, 5);
    ck_assert_uint_le(deadline_wheel_next(&wheel), 100000 + DEADLINE_SLOT_MS);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 100000), 1);
    ck_assert_uint_eq(timer.called_ms, 100000);
}
END_TEST

START_TEST(clock_that_stands_still_or_goes_back_calls_nothing_twice)
{
    struct timer timer;
    deadline_wheel_init(&wheel, 100000);
    timer_start(&timer, 100100);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 50000), 0);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 100100), 1);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 100100), 0);
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 100000), 0);
}
END_TEST

START_TEST(callback_that_sets_itself_to_the_past_is_called_once_a_round)
{
    struct timer timer;
    deadline_wheel_init(&wheel, 1000);
    timer_start(&timer, 1500);
    timer.deadline.on_deadline = on_call_set_other;
    timer.other = &timer;
    timer.other_at_ms = 1000;
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_uint_eq(deadline_wheel_expire(&wheel, 2000), 1);
        ck_assert_uint_eq(timer.n_calls, i);
        ck_assert_uint_le(deadline_wheel_next(&wheel), 2000 + DEADLINE_SLOT_MS);
    }
}
END_TEST

START_TEST(callback_may_clear_a_deadline_that_is_due_in_the_same_round)
{
    struct timer first;
    struct timer second;
    deadline_wheel_init(&wheel, 1000);
    timer_start(&first, 1500);
    timer_start(&second, 1600);
    first.deadline.on_deadline = on_call_clear_other;
    first.other = &second;
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 2000), 1);
    ck_assert_uint_eq(second.n_calls, 0);
    ck_assert(!deadline_is_set(&second.deadline));
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 3000), 0);
}
END_TEST

START_TEST(callback_may_put_off_a_deadline_that_is_due_in_the_same_round)
{
    struct timer first;
    struct timer second;
    deadline_wheel_init(&wheel, 1000);
    timer_start(&first, 1500);
    timer_start(&second, 1600);
    first.deadline.on_deadline = on_call_set_other;
    first.other = &second;
    first.other_at_ms = 2500;
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 2000), 1);
    ck_assert_uint_eq(second.n_calls, 0);
    ck_assert(deadline_is_set(&second.deadline));
    ck_assert_uint_eq(deadline_wheel_expire(&wheel, 2500), 1);
    ck_assert_uint_eq(second.called_ms, 2500);
}
END_TEST

/*
 * The model: a list of times, looked at from end to end. Callbacks set and clear at random too, so
 * is_due says who still has to be called in this round.
 */
#define N_TIMERS 200

static struct {
    struct deadline deadlines[N_TIMERS];
    uint64_t at_ms[N_TIMERS];
    bool is_due[N_TIMERS];
    uint64_t now_ms;
    size_t n_called;
    uint64_t random;
} model;

static uint64_t draw(uint64_t n)
{
    model.random ^= model.random << 13;
    model.random ^= model.random >> 7;
    model.random ^= model.random << 17;
    return model.random % n;
}

static uint64_t draw_time(void)
{
    switch (draw(10)) {
    case 0:
        return NEVER_MS;
    case 1:
        return model.now_ms - draw(1000);
    case 2:
        return model.now_ms + draw(10 * TURN_MS);
    case 3: /* as far as one turn, to a few milliseconds */
        return model.now_ms + TURN_MS - 8 + draw(16);
    case 4:
        return model.now_ms + draw(2 * DEADLINE_SLOT_MS);
    default:
        return model.now_ms + draw(TURN_MS);
    }
}

static void change_one(void)
{
    size_t i = draw(N_TIMERS);
    model.is_due[i] = false;
    model.at_ms[i] = draw(4) == 0 ? NEVER_MS : draw_time();
    if (model.at_ms[i] == NEVER_MS && draw(2) == 0) {
        deadline_clear(&wheel, &model.deadlines[i]);
    } else {
        deadline_set(&wheel, &model.deadlines[i], model.at_ms[i]);
    }
    assert_often(deadline_is_set(&model.deadlines[i]) == (model.at_ms[i] != NEVER_MS));
}

static void on_model_call(struct deadline *deadline, uint64_t now_ms)
{
    size_t i = (size_t)(deadline - model.deadlines);
    assert_often(now_ms == model.now_ms);
    assert_often(model.is_due[i]);
    model.is_due[i] = false;
    model.at_ms[i] = NEVER_MS;
    model.n_called++;
    for (uint64_t n = draw(3); n > 0; n--) {
        change_one();
    }
}

static void model_round(uint64_t now_ms)
{
    model.now_ms = now_ms;
    model.n_called = 0;
    for (size_t i = 0; i < N_TIMERS; i++) {
        model.is_due[i] = model.at_ms[i] <= now_ms;
    }
    assert_often(deadline_wheel_expire(&wheel, now_ms) == model.n_called);
    for (size_t i = 0; i < N_TIMERS; i++) {
        assert_often(!model.is_due[i]);
    }
}

START_TEST(wheel_does_what_a_naive_list_does_over_days)
{
    model.random = 88172645463325252 + (uint64_t)_i;
    model.now_ms = 5000 + draw(1000000);
    const uint64_t start_ms = model.now_ms;
    deadline_wheel_init(&wheel, model.now_ms);
    for (size_t i = 0; i < N_TIMERS; i++) {
        deadline_init(&model.deadlines[i], on_model_call);
        model.at_ms[i] = NEVER_MS;
    }
    size_t n_called = 0;
    uint64_t next_ms = model.now_ms;
    for (int round = 0; round < 20000; round++) {
        uint64_t now_ms = draw(4) > 0 && next_ms != NEVER_MS ? next_ms
                          : draw(20) > 0                     ? model.now_ms + draw(50)
                                                             : model.now_ms + draw(3 * TURN_MS);
        model_round(now_ms);
        n_called += model.n_called;
        for (uint64_t n = draw(8); n > 0; n--) {
            change_one();
        }
        uint64_t earliest_ms = NEVER_MS;
        for (size_t i = 0; i < N_TIMERS; i++) {
            earliest_ms = model.at_ms[i] < earliest_ms ? model.at_ms[i] : earliest_ms;
        }
        next_ms = deadline_wheel_next(&wheel);
        if (earliest_ms == NEVER_MS) {
            assert_often(next_ms == NEVER_MS);
            continue;
        }
        /* Not too late; and later than now, or the loop would spin. */
        uint64_t due_ms = earliest_ms > now_ms ? earliest_ms : now_ms;
        assert_often(next_ms <= due_ms + DEADLINE_SLOT_MS);
        assert_often(next_ms > now_ms);
    }
    ck_assert_uint_gt(n_called, 20000);
    ck_assert_uint_gt(model.now_ms - start_ms, 3600 * 1000);
}
END_TEST

int main(void)
{
    TCase *time = tcase_create("time");
    tcase_set_timeout(time, 60);
    tcase_add_test(time, deadline_is_called_in_its_millisecond_when_every_millisecond_is_looked_at);
    tcase_add_test(time, deadline_is_never_early_and_at_most_a_slot_late_when_next_is_obeyed);
    tcase_add_test(time, next_finds_the_only_deadline_from_every_slot);
    tcase_add_test(time, wheel_that_slept_for_hours_calls_everything_that_is_due_once);
    tcase_add_test(time, deadlines_of_one_turn_are_called_in_the_order_of_their_slots);
    tcase_add_test(time, deadline_in_the_past_is_called_in_the_next_round);
    tcase_add_test(time, clock_that_stands_still_or_goes_back_calls_nothing_twice);
    tcase_add_test(time, last_moment_before_never_is_a_moment);
    TCase *change = tcase_create("change");
    tcase_add_test(change, cleared_deadline_is_not_called);
    tcase_add_test(change, deadline_set_again_counts_from_its_last_setting);
    tcase_add_test(change, never_clears_and_is_never_called);
    tcase_add_test(change, callback_that_sets_itself_to_the_past_is_called_once_a_round);
    tcase_add_test(change, callback_may_clear_a_deadline_that_is_due_in_the_same_round);
    tcase_add_test(change, callback_may_put_off_a_deadline_that_is_due_in_the_same_round);
    TCase *random = tcase_create("model");
    tcase_set_timeout(random, 60);
    tcase_add_loop_test(random, wheel_does_what_a_naive_list_does_over_days, 0, 5);
    Suite *suite = suite_create("deadline_wheel");
    suite_add_tcase(suite, time);
    suite_add_tcase(suite, change);
    suite_add_tcase(suite, random);
    return run_suite(suite);
}
