/*
 * POP discard
 *
 * What becomes of messages that a POP brought and its caller is not to see. One that has none of
 * the tags asked for, only the hash of one, is acknowledged: it is not for the group. One that the
 * group was given more often than it wants (sidecar.maxReconsume) goes to the group's dead-letter
 * topic with CONSUMER_SEND_MSG_BACK, for brokers never move a popped message there, and is
 * acknowledged when it is stored there.
 *
 * Acknowledging is oneway, on the connection that has just brought an answer: what is lost on the way
 * comes again and is discarded again. A message that cannot be moved comes again after its
 * invisible time. So many are moved at a time. Owned by the daemon; empty when the pool is closed.
 */
#pragma once

#include "daemon/core/receipt.h"
#include "daemon/upstream/upstream_pool.h"

#include <stddef.h>

#define POP_DEAD_LETTERS_MAX 1024

struct pop_discards {
    struct upstream_context *context;
    struct upstream_pool *pool;
    size_t n;               /* that are being moved */
    uint64_t logged_second; /* failures are logged once a second at most */
};

/* address: of the broker that brought the message. */
void pop_discard_acknowledge(
    struct pop_discards *discards, struct span address, const struct receipt *receipt);
/* Where there are too many, or no memory, nothing is done: the message comes again. */
void pop_discard_dead_letter(struct pop_discards *discards, struct span address,
    const struct receipt *receipt, uint64_t timeout_ms);
