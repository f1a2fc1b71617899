/*
 * Heartbeat
 *
 * The body of HEART_BEAT (HeartbeatData.java): who a client is and which groups it speaks for.
 *
 *     {"clientID":"10.0.0.9@42#1","consumerDataSet":[{"groupName":"CG","consumeType":
 *     "CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"...",
 *     "subscriptionDataSet":[...],"unitMode":false}],"heartbeatFingerprint":0,
 *     "producerDataSet":[{"groupName":"PG"}],"withoutSub":false}
 *
 * What a consumer says about itself is kept as JSON and told as it was: brokers understand more of
 * it than we need to. A heartbeat of ours always says everything (no fingerprint), so that a broker
 * which was started anew knows all of it.
 */
#pragma once

#include "protocol/cleanup.h"
#include "protocol/span.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define HEARTBEAT_BODY_MAX (256 * 1024)
/* Of JSON: what is kept of a heartbeat must not be many times the text that is counted. */
#define HEARTBEAT_VALUES_MAX 16384

struct heartbeat {
    json_t *root;
    struct span client_id;
    const json_t *producers; /* arrays; NULL where there are none */
    const json_t *consumers;
    bool is_without_subscriptions; /* withoutSub: they are as the heartbeat before had them */
};

/*
 * False: problem is one sentence that names the field, what was seen and what is accepted. Its
 * spans are valid until heartbeat_deinit().
 */
bool heartbeat_decode(
    struct span body, struct heartbeat *ret_heartbeat, char *problem, size_t problem_size);
void heartbeat_deinit(struct heartbeat *heartbeat);

size_t heartbeat_n_producers(const struct heartbeat *heartbeat);
struct span heartbeat_producer(const struct heartbeat *heartbeat, size_t i);
size_t heartbeat_n_consumers(const struct heartbeat *heartbeat);
struct span heartbeat_consumer(const struct heartbeat *heartbeat, size_t i);
/* The groupName of a row of a producerDataSet or consumerDataSet, or SPAN_ABSENT. */
struct span heartbeat_group_name(const json_t *row);

/* The text on the heap, to be freed by the caller; NULL without memory. consumers may be NULL. */
char *heartbeat_encode(
    struct span client_id, const struct span *producers, size_t n_producers, json_t *consumers);
