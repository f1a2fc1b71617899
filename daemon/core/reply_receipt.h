/*
 * Reply receipt
 *
 * What the reply to a request message needs to find its way back, in one text without spaces or
 * quotes:
 *
 *     q1~CLUSTER~CORRELATIONID~CLIENTID~TTL
 *
 * All of it stands in the properties of the request (MessageUtil.createReplyMessage of Java's
 * client): the cluster, whose brokers push replies of the topic CLUSTER_REPLY_TOPIC to the client
 * that asked, and how long that waits in ms, 0 where it does not say. Callers treat the text as
 * opaque.
 */
#pragma once

#include "daemon/core/receipt_text.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reply_receipt {
    struct span cluster;
    struct span correlation_id;
    struct span client_id;
    int64_t ttl_ms;
};

/*
 * From the properties of a message, into which it points. False where it asks for no reply, or a
 * part of it cannot be in a receipt.
 */
bool reply_receipt_from_request(struct span properties, struct reply_receipt *ret_receipt);
/* The text, zero-terminated; its length, or 0 when it does not fit. */
size_t reply_receipt_encode(const struct reply_receipt *receipt, char *dst, size_t dst_size);
/* Spans into text. False for anything that the encoder cannot have written. */
bool reply_receipt_decode(struct span text, struct reply_receipt *ret_receipt);
/* The topic of its replies, zero-terminated; its length, or 0 when it does not fit. */
size_t reply_receipt_topic(const struct reply_receipt *receipt, char *dst, size_t dst_size);
