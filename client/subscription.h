/*
 * Subscription
 *
 * Requests that the daemon sends of its own accord to who asked for them (events, taps), one after
 * the other.
 */
#pragma once

#include "client/command.h"

/*
 * Connects, and sends the request that asks for them; they come from its answer on. Says what went
 * wrong; *ret_client is freed by the caller, whatever is returned.
 */
enum exit_code subscription_open(const struct invocation *invocation,
    struct remotingclient_request *request, struct remotingclient **ret_client);
/* Waits for the next one of this code, and passes over others; says what went wrong. */
enum exit_code subscription_next(const struct invocation *invocation, struct remotingclient *client,
    int32_t code, struct remotingclient_answer **ret_request);
