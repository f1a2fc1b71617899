/*
 * Transaction receipt
 *
 * What END_TRANSACTION needs to know about a half message, in one text without spaces or quotes:
 *
 *     t1~TOPIC~GROUP~BROKER~TABLEOFFSET~COMMITLOGOFFSET~MSGID~TRANSACTIONID~CHECK
 *
 * It comes from the answer to the half message (CHECK 0), or from a broker's question about the
 * transaction (CHECK 1): then the offsets are those of the question, which differ from the first
 * ones, because the broker writes the half message anew every time it asks. Callers treat the text
 * as opaque.
 */
#pragma once

#include "daemon/core/receipt_text.h"
#include "protocol/ext_fields.h"
#include "protocol/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transaction_receipt {
    struct span topic;
    struct span group;
    struct span broker_name;
    struct span msg_id; /* the UNIQ_KEY */
    struct span transaction_id;
    int64_t table_offset;
    int64_t commit_log_offset;
    bool is_from_check;
};

/*
 * From the answer to a half message: its msgId is the offset id, whose last eight bytes are the
 * commit log offset. False where a field is missing. The receipt points into the arguments.
 */
bool transaction_receipt_from_send(const struct ext_fields *answer, struct span topic,
    struct span group, struct span broker_name, struct span uniq_key,
    struct transaction_receipt *ret_receipt);
/*
 * From the ext fields of CHECK_TRANSACTION_STATE and the message in its body. broker_name is whose
 * connection it came on: brokers before 5.0 do not say it in the question.
 */
bool transaction_receipt_from_check(const struct ext_fields *check, const struct message *message,
    struct span broker_name, struct transaction_receipt *ret_receipt);

/* The text, zero-terminated; its length, or 0 when a part cannot be in a receipt. */
size_t transaction_receipt_encode(
    const struct transaction_receipt *receipt, char *dst, size_t dst_size);
/* Spans into text. False for anything that the encoder cannot have written. */
bool transaction_receipt_decode(struct span text, struct transaction_receipt *ret_receipt);
