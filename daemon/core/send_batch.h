/*
 * Send batch
 *
 * The body of SEND_BATCH_MESSAGE (320), from a JSON array of messages:
 *
 *     [{"body": "text", "properties": {"KEYS": "order-17"}}, {"body": "AAEC", "encoding": "base64"}]
 *
 * and the check of one that a caller wrote itself. What it is (MessageDecoder.encodeMessage):
 *
 *     repeat { i32 totalSize | i32 magic 0 | i32 bodyCRC 0 | i32 flag 0 | i32 bodyLength, body
 *              | i16 propertiesLength, properties }
 *
 * Java's rules (MessageBatch.generateFromList) hold: no delays, one WAIT for all, and all of it no
 * larger than one message may be. Every message gets a UNIQ_KEY, and WAIT as Java's constructor
 * does. What belongs to one queue by its sharding key is not batched with what does not.
 *
 * A parsed batch owns its memory. Chance and time come with the maker of the keys.
 */
#pragma once

#include "daemon/core/uniq_key.h"
#include "protocol/cleanup.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values of the JSON: memory is taken for each before it is known what it is good for. */
#define SEND_BATCH_VALUES_MAX 100000

struct send_batch_rules {
    size_t max_size; /* of the body that comes out */
    struct uniq_key_maker *uniq_keys;
    uint32_t since_month_began_ms;
    struct span traceparent; /* stored with every message; absent: none */
    struct span tracestate;  /* beside it, where the message has none of its own */
    bool is_stamped;         /* what sender_stamp.h keeps for itself may not be given */
    struct span stamp;       /* stored with every message; empty: nothing is known */
};

enum send_batch_status {
    SEND_BATCH_OK,
    SEND_BATCH_INVALID, /* problem says why */
    SEND_BATCH_NO_MEMORY,
};

struct send_batch;

enum send_batch_status send_batch_parse(struct span json, const struct send_batch_rules *rules,
    struct send_batch **ret_batch, char *problem, size_t problem_size);
struct send_batch *send_batch_free(struct send_batch *batch);
DEFINE_CLEANUP(struct send_batch *, send_batch_free)

size_t send_batch_encoded_size(const struct send_batch *batch);
void send_batch_encode(const struct send_batch *batch, char *dst);
/* Of its messages, in their order, separated by commas. */
struct span send_batch_uniq_keys(const struct send_batch *batch);
/* The one that all have, or SPAN_ABSENT. */
struct span send_batch_sharding_key(const struct send_batch *batch);

/* Whether a body of the caller's own is one: the sizes fit, and it is not empty. */
bool send_batch_is_well_formed(struct span body, char *problem, size_t problem_size);
/* The next three are for a body that is well-formed. Whether a message in it has a stamp already. */
bool send_batch_has_stamp(struct span body);
/* With this stamp in each message. 0: the properties of one of them do not have the room. */
size_t send_batch_stamped_size(struct span body, struct span stamp);
void send_batch_stamp(struct span body, struct span stamp, char *dst);
