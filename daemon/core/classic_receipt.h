/*
 * Classic receipt
 *
 * What acknowledges a message of a broker without POP, in one text without spaces or quotes:
 *
 *     c1~TOPIC~GROUP~BROKER~QUEUE~OFFSET
 *
 * It is good for the daemon that handed the message out (classic_queue.h), as long as that runs and
 * has the queue. Callers treat the text as opaque.
 */
#pragma once

#include "daemon/core/receipt_text.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct classic_receipt {
    struct span topic;
    struct span group;
    struct span broker_name;
    int32_t queue_id;
    int64_t offset;
};

/* The text, zero-terminated; its length, or 0 when a part cannot be in a receipt. */
size_t classic_receipt_encode(const struct classic_receipt *receipt, char *dst, size_t dst_size);
/* Spans into text. False for anything that the encoder cannot have written. */
bool classic_receipt_decode(struct span text, struct classic_receipt *ret_receipt);
