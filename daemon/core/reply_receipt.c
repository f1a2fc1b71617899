#include "daemon/core/reply_receipt.h"

#include "protocol/message.h"

#include <inttypes.h>

#define VERSION  "q1"
#define N_FIELDS 5

static bool is_valid(const struct reply_receipt *receipt)
{
    return receipt_text_is_name(receipt->cluster) &&
           receipt_text_is_word(receipt->correlation_id) &&
           receipt_text_is_word(receipt->client_id) && receipt->ttl_ms >= 0;
}

bool reply_receipt_from_request(struct span properties, struct reply_receipt *ret_receipt)
{
    struct reply_receipt receipt = {
        .cluster = message_property(properties, SPAN(PROPERTY_CLUSTER)),
        .correlation_id = message_property(properties, SPAN(PROPERTY_CORRELATION_ID)),
        .client_id = message_property(properties, SPAN(PROPERTY_REPLY_TO_CLIENT)),
    };
    /* Whoever wrote a time to live that is none still waits. */
    (void)receipt_text_number(
        message_property(properties, SPAN(PROPERTY_TTL)), INT64_MAX, &receipt.ttl_ms);
    if (!is_valid(&receipt)) {
        return false;
    }
    *ret_receipt = receipt;
    return true;
}

size_t reply_receipt_encode(const struct reply_receipt *receipt, char *dst, size_t dst_size)
{
    return receipt_text_write(dst, dst_size, VERSION "~%.*s~%.*s~%.*s~%" PRId64,
        SPAN_ARGS(receipt->cluster), SPAN_ARGS(receipt->correlation_id),
        SPAN_ARGS(receipt->client_id), receipt->ttl_ms);
}

bool reply_receipt_decode(struct span text, struct reply_receipt *ret_receipt)
{
    struct span fields[N_FIELDS];
    if (text.n >= RECEIPT_TEXT_MAX ||
        !receipt_text_split(text, RECEIPT_TEXT_SEPARATOR, fields, N_FIELDS) ||
        !span_equals(fields[0], SPAN(VERSION))) {
        return false;
    }
    struct reply_receipt receipt = {
        .cluster = fields[1],
        .correlation_id = fields[2],
        .client_id = fields[3],
    };
    if (!receipt_text_number(fields[4], INT64_MAX, &receipt.ttl_ms) || !is_valid(&receipt)) {
        return false;
    }
    *ret_receipt = receipt;
    return true;
}

size_t reply_receipt_topic(const struct reply_receipt *receipt, char *dst, size_t dst_size)
{
    return receipt_text_write(dst, dst_size, "%.*s_REPLY_TOPIC", SPAN_ARGS(receipt->cluster));
}
