/*
 * World
 *
 * Who plays with the daemon while it sleeps: callers (sim_caller.h) and servers (sim_server.h). A
 * step is one act of one of them, drawn by chance; a turn is what follows by itself: somebody reads
 * what has come, and answers that are due are given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* In machine.c's epoll_wait(). */
void world_turn(void);
/* False: the play is over and there is nothing left to draw. */
bool world_step(void);
/* When something is due by itself; MACHINE_NEVER_US. */
uint64_t world_next_us(void);
