#include "daemon/core/classic_receipt.h"

#include <inttypes.h>

#define VERSION  "c1"
#define N_FIELDS 6

static bool is_valid(const struct classic_receipt *receipt)
{
    return receipt_text_is_name(receipt->topic) && receipt_text_is_name(receipt->group) &&
           receipt_text_is_word(receipt->broker_name) && receipt->queue_id >= 0 &&
           receipt->offset >= 0;
}

size_t classic_receipt_encode(const struct classic_receipt *receipt, char *dst, size_t dst_size)
{
    if (!is_valid(receipt)) {
        return 0;
    }
    return receipt_text_write(dst, dst_size, VERSION "~%.*s~%.*s~%.*s~%" PRId32 "~%" PRId64,
        SPAN_ARGS(receipt->topic), SPAN_ARGS(receipt->group), SPAN_ARGS(receipt->broker_name),
        receipt->queue_id, receipt->offset);
}

bool classic_receipt_decode(struct span text, struct classic_receipt *ret_receipt)
{
    struct span fields[N_FIELDS];
    int64_t queue_id;
    if (text.n >= RECEIPT_TEXT_MAX ||
        !receipt_text_split(text, RECEIPT_TEXT_SEPARATOR, fields, N_FIELDS) ||
        !span_equals(fields[0], SPAN(VERSION))) {
        return false;
    }
    struct classic_receipt receipt = {
        .topic = fields[1],
        .group = fields[2],
        .broker_name = fields[3],
    };
    if (!receipt_text_number(fields[4], INT32_MAX, &queue_id) ||
        !receipt_text_number(fields[5], INT64_MAX, &receipt.offset) || !is_valid(&receipt)) {
        return false;
    }
    receipt.queue_id = (int32_t)queue_id;
    *ret_receipt = receipt;
    return true;
}
