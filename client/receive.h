/*
 * Receive
 *
 * What taking messages is to whoever does: the POP_MESSAGE that asks for them, and what an answer
 * without messages means.
 */
#pragma once

#include "client/remotingclient.h"

#include <stdbool.h>
#include <stdint.h>

#define RECEIVE_MAX      32   /* what a broker gives at most for one POP */
#define RECEIVE_PAUSE_MS 1000 /* between two questions when the answer was "nothing" at once */

/* Which messages, and for how long they are asked for and kept. */
struct receive_source {
    const char *topic;
    const char *group;
    const char *expression_type; /* with the expression; NULL: everything */
    const char *expression;
    int64_t wait_ms;
    int64_t invisible_ms;  /* -1: the daemon's */
    int64_t max_reconsume; /* what came again more often is a dead letter; -1: nothing is */
};

/* For up to n messages. */
struct remotingclient_request *receive_request_new(const struct receive_source *source, int64_t n);
/* The brokers have no message, and said so themselves. */
bool receive_is_nothing(const struct remotingclient_answer *answer);
/* A failure that ends by itself: who goes on receiving asks again. */
bool receive_may_pass(const struct remotingclient_answer *answer);
/* The daemon is about to end. */
bool receive_daemon_stops(const struct remotingclient_answer *answer);
/* Either of both: who outlives the daemon asks the next one. */
bool receive_may_pass_later(const struct remotingclient_answer *answer);
