#include "daemon/loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

uint64_t loop_clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t loop_clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The timer only ends the wait: deadlines are looked at after every turn. */
static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct loop *loop = context;
    loop->tick_at_ms = NEVER_MS;
}

static void now_read(struct loop *loop)
{
    loop->now_us = loop_clock_us();
    loop->now_ms = loop->now_us / 1000;
}

int loop_init(struct loop *loop)
{
    *loop = (struct loop){ .tick_at_ms = NEVER_MS };
    now_read(loop);
    deadline_wheel_init(&loop->deadlines, loop->now_ms);
    if (getrandom(loop->random_state, sizeof(loop->random_state), 0) !=
        (ssize_t)sizeof(loop->random_state)) {
        loop->random_state[0] = loop->now_ms;
    }
    loop->random_state[1] |= 1;
    loop->receive_buffer = malloc(LOOP_RECEIVE_SIZE);
    loop->base = event_base_new();
    if (!loop->receive_buffer || !loop->base ||
        event_assign(&loop->tick, loop->base, -1, 0, on_tick, loop) < 0) {
        loop_deinit(loop);
        return -ENOMEM;
    }
    return 0;
}

void loop_deinit(struct loop *loop)
{
    if (loop->base) {
        if (event_initialized(&loop->tick)) {
            (void)event_del(&loop->tick);
        }
        event_base_free(loop->base);
        loop->base = NULL;
    }
    free(loop->receive_buffer);
    loop->receive_buffer = NULL;
    assert(!loop->dirty && !loop->reapable);
}

static void tick_arm(struct loop *loop)
{
    uint64_t at_ms = deadline_wheel_next(&loop->deadlines);
    if (at_ms >= loop->tick_at_ms) {
        return;
    }
    uint64_t wait_ms = clock_until(loop->now_ms, at_ms);
    struct timeval wait = {
        .tv_sec = (time_t)(wait_ms / 1000),
        .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000),
    };
    if (event_add(&loop->tick, &wait) == 0) {
        loop->tick_at_ms = at_ms;
    }
}

static void flush_dirty(struct loop *loop)
{
    while (loop->dirty) {
        struct loop_dirty *dirty = loop->dirty;
        loop->dirty = dirty->next;
        dirty->is_dirty = false;
        dirty->on_flush(dirty);
    }
}

static void reap(struct loop *loop)
{
    while (loop->reapable) {
        struct loop_reapable *reapable = loop->reapable;
        loop->reapable = reapable->next;
        reapable->on_reap(reapable);
    }
}

/* Writing may end a connection, and what is reaped may have answers to write (resolver.h). */
static void settle(struct loop *loop)
{
    while (loop->dirty || loop->reapable) {
        flush_dirty(loop);
        reap(loop);
    }
}

static void late_note(struct loop *loop, uint64_t late_us)
{
    if (late_us > loop->late_us) {
        loop->late_us = late_us;
    }
}

uint64_t loop_take_late_us(struct loop *loop)
{
    uint64_t late_us = loop->late_us;
    loop->late_us = 0;
    return late_us;
}

static void turn_end(struct loop *loop)
{
    now_read(loop);
    if (loop->turn_began_us > 0) {
        uint64_t took_us = loop->now_us - loop->turn_began_us;
        latency_add(&loop->turns, took_us);
        late_note(loop, took_us);
        loop->turn_began_us = 0;
    }
    (void)deadline_wheel_expire(&loop->deadlines, loop->now_ms);
    /* What on_turn does may be written, too, before the loop waits again. */
    do {
        settle(loop);
        if (loop->on_turn) {
            loop->on_turn(loop->on_turn_context);
        }
    } while (loop->dirty || loop->reapable);
}

/*
 * After the whole process was stopped, or had no processor for long, deadlines are over whose
 * answers wait in the sockets. What is there already is read first, for a moment: a peer that sends
 * without end must not put the deadlines off.
 */
static void catch_up(struct loop *loop)
{
    uint64_t began_ms = loop_clock_ms();
    uint64_t late_ms = clock_until(deadline_wheel_next(&loop->deadlines), began_ms);
    if (late_ms < LOOP_LATE_MS) {
        return;
    }
    late_note(loop, late_ms * 1000);
    do {
        settle(loop);
        loop->has_woken = false;
        (void)event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    } while (loop->has_woken && !loop->is_stopping &&
             clock_until(began_ms, loop_clock_ms()) < LOOP_CATCH_UP_MS);
}

void loop_run(struct loop *loop)
{
    loop->is_stopping = false;
    while (!loop->is_stopping) {
        tick_arm(loop);
        (void)event_base_loop(loop->base, EVLOOP_ONCE);
        catch_up(loop);
        turn_end(loop);
    }
}

void loop_finish(struct loop *loop)
{
    settle(loop);
}

void loop_stop(struct loop *loop)
{
    loop->is_stopping = true;
}

void loop_mark_dirty(struct loop *loop, struct loop_dirty *dirty)
{
    if (!dirty->is_dirty) {
        dirty->is_dirty = true;
        dirty->next = loop->dirty;
        loop->dirty = dirty;
    }
}

void loop_forget_dirty(struct loop *loop, struct loop_dirty *dirty)
{
    if (!dirty->is_dirty) {
        return;
    }
    for (struct loop_dirty **at = &loop->dirty; *at; at = &(*at)->next) {
        if (*at == dirty) {
            *at = dirty->next;
            dirty->is_dirty = false;
            return;
        }
    }
}

void loop_reap(struct loop *loop, struct loop_reapable *reapable,
    void (*on_reap)(struct loop_reapable *reapable))
{
    reapable->on_reap = on_reap;
    reapable->next = loop->reapable;
    loop->reapable = reapable;
}

void loop_deadline_set(struct loop *loop, struct deadline *deadline, uint64_t at_ms)
{
    deadline_set(&loop->deadlines, deadline, at_ms);
}

void loop_deadline_clear(struct loop *loop, struct deadline *deadline)
{
    deadline_clear(&loop->deadlines, deadline);
}

/* xorshift128+: short and good enough for jitter. */
uint32_t loop_random(struct loop *loop)
{
    uint64_t a = loop->random_state[0];
    uint64_t b = loop->random_state[1];
    loop->random_state[0] = b;
    a ^= a << 23;
    loop->random_state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return (uint32_t)((loop->random_state[1] + b) >> 32);
}

void loop_wake(struct loop *loop)
{
    loop->has_woken = true;
    now_read(loop);
    if (loop->turn_began_us == 0) {
        loop->turn_began_us = loop->now_us;
    }
}
