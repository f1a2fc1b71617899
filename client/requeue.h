/*
 * Requeue
 *
 * Sends dead letters to the topic that they came from, one at a time. What the topic has of one
 * already, by REQUEUED_FROM, is not sent again; where that cannot be told nothing is sent either.
 */
#pragma once

#include "client/dead_letter.h"
#include "client/dead_letter_queues.h"

struct requeue {
    const struct dead_letter_queues *dead;
    const char *to; /* the topic; NULL: its own */
    bool again;     /* also what the topic has already */
    int64_t n_requeued;
    int64_t n_before; /* that the topic had already */
};

/*
 * EXIT_CODE_SUCCESS: the topic has it, and with --json that is printed. Otherwise nobody has sent it,
 * or its send failed: that is told.
 */
enum exit_code requeue_letter(struct requeue *requeue, const struct dead_letter *letter);
