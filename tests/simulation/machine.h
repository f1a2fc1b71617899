/*
 * Machine
 *
 * What the simulated daemon takes for its kernel: a clock that stands still until nobody has
 * anything to do, chance that comes from a seed, and a network of socket pairs. The functions of the
 * C library that the daemon asks for these things are defined in machine.c and found before the C
 * library's own; the daemon itself is the one of every day, and runs in the only thread.
 *
 *     epoll_wait     the daemon sleeps: the world acts (world.h), and time passes when nothing else
 *                    can happen any more
 *     connect        one end of a socket pair, whose other end a simulated server has; until that
 *                    one accepts, the pair is full and so not writable
 *     recv, sendmsg  take and give less than they could, or are interrupted
 *     accept4        fails now and then, as without descriptors
 *
 * Unix sockets are the kernel's own: all that happens on them happens at once, and in this thread's
 * order. So a seed is a history, and the same seed the same history.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MACHINE_NEVER_US UINT64_MAX
#define MACHINE_MS       1000u

/* From here on everything is decided by the seed. */
void machine_begin(uint64_t seed);
/* Nothing is done to the daemon's calls any more but what the clock and the network need. */
void machine_calm(void);

uint64_t machine_now_us(void);
/* The whole process was stopped for so long. */
void machine_stop_for(uint64_t us);

/* From 0 up to n - 1; n is at least 1. */
uint32_t chance_below(uint32_t n);
bool chance_one_in(uint32_t n);

/* Connections that the daemon has accepted since the beginning, in the order in which they came. */
uint64_t machine_n_accepted(void);
/* When it was last refused one for want of descriptors; 0. */
uint64_t machine_accept_failed_us(void);

/* What a life that is over may not have added to: bytes of the heap, 0 where no sanitizer counts them; */
size_t machine_heap_size(void);
/* and descriptors. */
size_t machine_n_descriptors(void);

/* --- the world's own descriptors --- */

struct machine_watch {
    int fd; /* -1: none */
    void (*on_ready)(struct machine_watch *watch, uint32_t events);
};

/* on_ready is called when it is readable or was closed; without is_reading for the latter only. */
void machine_watch_add(struct machine_watch *watch, int fd, bool is_reading,
    void (*on_ready)(struct machine_watch *watch, uint32_t events));
void machine_watch_change(struct machine_watch *watch, bool is_reading);
/* Closes the descriptor. */
void machine_watch_close(struct machine_watch *watch);
/* Hands out what is ready. */
void machine_watches_turn(void);

/* --- the network --- */

/*
 * fd, a socket that the daemon is connecting, becomes one end of a pair; the other one is returned.
 * It is not writable before machine_connected().
 */
int machine_connect_pair(int fd);
/* What becomes of it: error is 0 or what SO_ERROR will say. */
void machine_connected(int world_fd, int daemon_fd, int error);
