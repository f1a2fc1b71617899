/*
 * Loop
 *
 * The one thread's turn: wait for sockets, run what they bring, then deadlines, then one write for
 * every connection that got output, then the reaper. Everything that waits hangs in here; nothing
 * else touches libevent's loop.
 *
 *     event_base_loop(ONCE) -> deadline_wheel_expire -> flush dirty connections, reap -> again
 *
 * Where the daemon itself is late, what the sockets hold goes before the deadlines that passed.
 *
 * A callback never frees the object it was called for: it closes it and hands it to loop_reap(),
 * which frees it after this turn, when no frame up the stack still holds it.
 */
#pragma once

#include "daemon/core/deadline_wheel.h"
#include "daemon/core/latency.h"
#include "daemon/loop/memory.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What one read can take: one buffer for all connections, since it is empty again before the next
 * one reads.
 */
#define LOOP_RECEIVE_SIZE (256 * 1024)

/* So late a deadline is the daemon's own doing, and for so long it reads before it looks at them. */
#define LOOP_LATE_MS     100
#define LOOP_CATCH_UP_MS 100

struct loop_dirty {
    struct loop_dirty *next;
    bool is_dirty;
    void (*on_flush)(struct loop_dirty *dirty);
};

struct loop_reapable {
    struct loop_reapable *next;
    void (*on_reap)(struct loop_reapable *reapable);
};

struct loop {
    struct event_base *base;
    struct event tick;
    uint64_t tick_at_ms;    /* what the tick timer is set to; NEVER_MS when it is not */
    uint64_t now_ms;        /* of this turn */
    uint64_t now_us;        /* the same moment, for measuring */
    bool has_woken;         /* a callback of a socket or signal has run */
    uint64_t turn_began_us; /* its first callback; 0: none has run */
    uint64_t late_us;     /* the worst since loop_take_late_us(): a turn's callbacks, a deadline */
    struct latency turns; /* how long the callbacks of a turn took */
    struct deadline_wheel deadlines;
    struct loop_dirty *dirty;
    struct loop_reapable *reapable;
    bool is_stopping;
    uint64_t random_state[2];
    uint8_t *receive_buffer;
    void (*on_turn)(void *context); /* at the end of every turn, when all is written */
    void *on_turn_context;
};

/* The monotonic clock. */
uint64_t loop_clock_ms(void);
/* The same in microseconds, for measuring. */
uint64_t loop_clock_us(void);

int loop_init(struct loop *loop);
void loop_deinit(struct loop *loop);
/* Until loop_stop(). */
void loop_run(struct loop *loop);
/* Outside loop_run(): writes what is to be written and frees what is to be freed. */
void loop_finish(struct loop *loop);
void loop_stop(struct loop *loop);

/* Its on_flush is called at the end of this turn, once. */
void loop_mark_dirty(struct loop *loop, struct loop_dirty *dirty);
void loop_forget_dirty(struct loop *loop, struct loop_dirty *dirty);
void loop_reap(struct loop *loop, struct loop_reapable *reapable,
    void (*on_reap)(struct loop_reapable *reapable));

void loop_deadline_set(struct loop *loop, struct deadline *deadline, uint64_t at_ms);
void loop_deadline_clear(struct loop *loop, struct deadline *deadline);
/*
 * For how long, at worst, something that was due has waited for the loop since the last call: other
 * callbacks of its turn, or a deadline that was seen late.
 */
uint64_t loop_take_late_us(struct loop *loop);
/* Chance, not secrecy. */
uint32_t loop_random(struct loop *loop);
/* Every libevent callback begins with this: now_ms and now_us become the time of its wake-up. */
void loop_wake(struct loop *loop);
