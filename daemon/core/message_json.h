/*
 * Messages as JSON
 *
 * What a caller gets with sidecar.answerFormat=json: the stored messages of a PULL, POP or VIEW
 * body as a JSON array, each
 *
 *     topic, body, encoding ("utf-8" or "base64"), properties {}, keys, tags, uniqKey,
 *     offsetMsgId, brokerName, queueId, queueOffset, bornTimestamp, storeTimestamp, bornHost,
 *     storeHost, reconsumeTimes, flag, sysFlag, receipt, replyReceipt
 *
 * keys, tags, uniqKey, brokerName and receipt are there where they are known, replyReceipt where the
 * message asks for a reply (reply_receipt.h). Bodies are
 * decompressed within a limit of size and one of ratio. An inner batch (what brokers store of a
 * batch in a topic whose queues are BatchCQ) becomes its messages, with the offsets that follow its
 * own and with one receipt: all of them are there, or none. It is always valid UTF-8. A message that
 * cannot be decoded, or fits no answer, comes as { raw (base64), reason } with what is known of the
 * rest.
 */
#pragma once

#include "daemon/core/receipt.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * What the answer may take: a frame, less its header; and what may be decoded in one turn of the
 * loop. The messages that do not fit are left out and counted.
 */
#define MESSAGE_JSON_SIZE_MAX  (15 * 1024 * 1024)
#define MESSAGE_JSON_COUNT_MAX 8192
/* So many times its size may a compressed body become, and 1 MiB in any case. */
#define MESSAGE_JSON_RATIO_MAX 200
#define MESSAGE_JSON_FREE_SIZE ((size_t)1024 * 1024)

/* Where the messages came from. NULL pop, and not classic: no receipts are made. */
struct message_json_source {
    struct span topic; /* as asked for */
    struct span group;
    struct span broker_name;
    const struct receipt_pop_info *pop;
    bool is_classic; /* the receipts are classic_receipt.h's */
    size_t max_decompressed;
    /* Told of each message that is left out and has a receipt. May be NULL. */
    void (*on_left_out)(void *context, const struct receipt *receipt);
    void *context;
};

struct message_json_counts {
    size_t n;           /* in the array */
    size_t n_truncated; /* left out: from the first one that does not fit on */
    /*
     * Where n_truncated > 0, the queue offset at which to go on: of the first one left out, or where
     * that is no message, behind the last one that is in the array, or of the first message behind.
     * -1: no message is there to say it.
     */
    int64_t left_out_offset;
};

/*
 * The array of several bodies, each with its source. The limits are of all together. end frees it,
 * and gives the text on the heap, to be freed by the caller; NULL without memory, or where is_fine
 * says that something failed before.
 */
struct message_json;
struct message_json *message_json_new(void);
/* False without memory: then there is only the end. */
bool message_json_append(
    struct message_json *json, struct span body, const struct message_json_source *source);
char *message_json_end(struct message_json *json, bool is_fine,
    struct message_json_counts *ret_counts, size_t *ret_size);
/* All of it for one body. */
char *message_json_from_body(struct span body, const struct message_json_source *source,
    struct message_json_counts *ret_counts, size_t *ret_size);
/*
 * The reply to a request message, which was pushed and lies in no queue: an array of one, which has no
 * offsetMsgId, queueId and queueOffset. The text on the heap; NULL without memory.
 */
char *message_json_from_reply(
    const struct message *message, const struct message_json_source *source, size_t *ret_size);
