/*
 * Reply
 *
 * The replies to request messages that callers wait for, by correlation id: a broker pushes them
 * (PUSH_REPLY_MESSAGE_TO_CLIENT, 326) over the daemon's own control connections, whose clientId the
 * request named, and the first one goes to the call that waits. Who waits owns the waiter; what
 * becomes of a reply that nobody waits for is processor.h's business.
 */
#pragma once

#include "protocol/remoting_command.h"

#include <stdbool.h>
#include <uthash.h>

#define REPLY_CORRELATION_ID_SIZE 33 /* with the zero at its end */

struct reply_waiter {
    UT_hash_handle hh;
    bool is_waiting;
    char correlation_id[REPLY_CORRELATION_ID_SIZE]; /* as long as there is room, and drawn */
    /* The push as it came; valid during the call. It waits no more. */
    void (*on_reply)(struct reply_waiter *waiter, const struct remoting_command *push);
};

struct replies {
    struct reply_waiter *waiters;
};

/* False without memory. */
bool reply_wait(struct replies *replies, struct reply_waiter *waiter);
/* Not waiting is fine. */
void reply_waiter_cancel(struct replies *replies, struct reply_waiter *waiter);
/* True: somebody waited for it, and was told. */
bool replies_take(struct replies *replies, const struct remoting_command *push);
