/*
 * Oneway
 *
 * Sends a command of the daemon's own to an address and forgets it: nobody is told what becomes of
 * it, so that it is right only for what does no harm where it is lost. It goes over a connection
 * that is there; where there is none it is given up.
 */
#pragma once

#include "daemon/core/receipt.h"
#include "daemon/upstream/upstream_pool.h"

void oneway_send(struct upstream_context *context, struct upstream_pool *pool, struct span address,
    enum pool_class class, const struct remoting_command *command);
/* An ACK_MESSAGE. */
void oneway_acknowledge(struct upstream_context *context, struct upstream_pool *pool,
    struct span address, enum pool_class class, const struct receipt *receipt);
