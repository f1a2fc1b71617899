/*
 * Messages as JSON
 *
 * What a caller gets with sidecar.answerFormat=json: the stored messages of a PULL, POP or VIEW
 * body as a JSON array, each
 *
 *     topic, body, encoding ("utf-8" or "base64"), properties {}, keys, tags, uniqKey,
 *     offsetMsgId, brokerName, queueId, queueOffset, bornTimestamp, storeTimestamp, bornHost,
 *     storeHost, reconsumeTimes, flag, sysFlag, receipt
 *
 * keys, tags, uniqKey, brokerName and receipt are there where they are known. Bodies are
 * decompressed within a limit. It is always valid UTF-8. A message that cannot be decoded comes as
 * { raw (base64), reason } with what is known of the rest.
 */
#pragma once

#include "daemon/core/receipt.h"
#include "protocol/span.h"

#include <stddef.h>

/*
 * What the answer may take: a frame, less its header. The messages that do not fit are left out and
 * counted.
 */
#define MESSAGE_JSON_SIZE_MAX (15 * 1024 * 1024)

/* Where the messages came from. NULL pop: no receipts are made. */
struct message_json_source {
    struct span topic; /* as asked for */
    struct span group;
    struct span broker_name;
    const struct receipt_pop_info *pop;
    size_t max_decompressed;
};

struct message_json_counts {
    size_t n;           /* in the array */
    size_t n_truncated; /* left out */
};

/* The text on the heap, to be freed by the caller; NULL without memory. */
char *message_json_from_body(struct span body, const struct message_json_source *source,
    struct message_json_counts *ret_counts, size_t *ret_size);
