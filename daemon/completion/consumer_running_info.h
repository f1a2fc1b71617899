/*
 * Consumer running info
 *
 * The answer to GET_CONSUMER_RUNNING_INFO (307), for administrators' tools that ask after a member
 * of a consumer group, where the member does not answer itself: what the daemon knows of it, which
 * is what its heartbeat says (ConsumerRunningInfo.java).
 */
#pragma once

#include "daemon/upstream/upstream.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* consumer is its row of consumerDataSet. False: there is none, and nothing was answered. */
bool consumer_running_info_answer(
    struct upstream *upstream, int32_t broker_opaque, const json_t *consumer);
