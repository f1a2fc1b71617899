/*
 * Interrupt
 *
 * SIGINT and SIGTERM as a question. The first of them makes the program end what it does in good
 * order; a second one ends it at once. They are blocked from a look at the answer to the end of the
 * wait that follows it, and come in during the wait alone: so none is lost in between.
 *
 *     interrupt_block(true);
 *     if (!interrupt_came()) { wait with the signal mask interrupt_wait_mask() }
 *     interrupt_block(false);
 */
#pragma once

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* From now on. */
void interrupt_catch(void);
bool interrupt_came(void);
void interrupt_block(bool block);
const sigset_t *interrupt_wait_mask(void);
/*
 * poll(2), with timeout_ms below 0 for ever: what it gives, or -EINTR for an interrupt, also one
 * that came before.
 */
int interrupt_poll(struct pollfd *fds, nfds_t n, int64_t timeout_ms);
/* Whether there is input to be read; waits for it, but for what comes after an interrupt. */
bool interrupt_input_comes(int fd);
