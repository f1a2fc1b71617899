#include "daemon/core/transaction_receipt.h"

#include <inttypes.h>

#define VERSION  "t1"
#define N_FIELDS 9
/* Hexadecimal digits of a commit log offset, at the end of an offset id. */
#define OFFSET_DIGITS 16

static bool is_valid(const struct transaction_receipt *receipt)
{
    return receipt_text_is_name(receipt->topic) && receipt_text_is_name(receipt->group) &&
           receipt_text_is_word(receipt->broker_name) && receipt_text_is_word(receipt->msg_id) &&
           receipt_text_is_word(receipt->transaction_id) && receipt->table_offset >= 0 &&
           receipt->commit_log_offset >= 0;
}

static bool hex_parse(struct span text, int64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.data[i];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'A' && c <= 'F') {
            digit = (unsigned)(c - 'A') + 10;
        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned)(c - 'a') + 10;
        } else {
            return false;
        }
        number = number << 4 | digit;
    }
    *ret_number = (int64_t)number;
    return number <= INT64_MAX;
}

bool transaction_receipt_from_send(const struct ext_fields *answer, struct span topic,
    struct span group, struct span broker_name, struct span uniq_key,
    struct transaction_receipt *ret_receipt)
{
    struct span offset_id = ext_fields_text(answer, "msgId");
    struct span transaction_id = ext_fields_text(answer, "transactionId");
    struct transaction_receipt receipt = {
        .topic = topic,
        .group = group,
        .broker_name = broker_name,
        .msg_id = uniq_key,
        .transaction_id = span_is_empty(transaction_id) ? uniq_key : transaction_id,
    };
    if (offset_id.n <= OFFSET_DIGITS || !receipt_text_number(ext_fields_text(answer, "queueOffset"),
                                            INT64_MAX, &receipt.table_offset)) {
        return false;
    }
    struct span offset = { offset_id.data + offset_id.n - OFFSET_DIGITS, OFFSET_DIGITS };
    if (!hex_parse(offset, &receipt.commit_log_offset) || !is_valid(&receipt)) {
        return false;
    }
    *ret_receipt = receipt;
    return true;
}

bool transaction_receipt_from_check(const struct ext_fields *check, const struct message *message,
    struct span broker_name, struct transaction_receipt *ret_receipt)
{
    struct span uniq_key = message_property(message->properties, SPAN(PROPERTY_UNIQ_KEY));
    struct span named = ext_fields_text(check, "bname");
    struct span msg_id = ext_fields_text(check, "msgId");
    struct span transaction_id = ext_fields_text(check, "transactionId");
    struct transaction_receipt receipt = {
        .topic = message->topic,
        .group = message_property(message->properties, SPAN(PROPERTY_PRODUCER_GROUP)),
        .broker_name = span_is_empty(named) ? broker_name : named,
        .msg_id = span_is_empty(uniq_key) ? msg_id : uniq_key,
        .is_from_check = true,
    };
    receipt.transaction_id = span_is_empty(transaction_id) ? receipt.msg_id : transaction_id;
    if (!receipt_text_number(
            ext_fields_text(check, "tranStateTableOffset"), INT64_MAX, &receipt.table_offset) ||
        !receipt_text_number(
            ext_fields_text(check, "commitLogOffset"), INT64_MAX, &receipt.commit_log_offset) ||
        !is_valid(&receipt)) {
        return false;
    }
    *ret_receipt = receipt;
    return true;
}

size_t transaction_receipt_encode(
    const struct transaction_receipt *receipt, char *dst, size_t dst_size)
{
    if (!is_valid(receipt)) {
        return 0;
    }
    return receipt_text_write(dst, dst_size,
        VERSION "~%.*s~%.*s~%.*s~%" PRId64 "~%" PRId64 "~%.*s~%.*s~%d", SPAN_ARGS(receipt->topic),
        SPAN_ARGS(receipt->group), SPAN_ARGS(receipt->broker_name), receipt->table_offset,
        receipt->commit_log_offset, SPAN_ARGS(receipt->msg_id), SPAN_ARGS(receipt->transaction_id),
        (int)receipt->is_from_check);
}

bool transaction_receipt_decode(struct span text, struct transaction_receipt *ret_receipt)
{
    struct span fields[N_FIELDS];
    int64_t is_from_check;
    if (text.n >= RECEIPT_TEXT_MAX ||
        !receipt_text_split(text, RECEIPT_TEXT_SEPARATOR, fields, N_FIELDS) ||
        !span_equals(fields[0], SPAN(VERSION))) {
        return false;
    }
    struct transaction_receipt receipt = {
        .topic = fields[1],
        .group = fields[2],
        .broker_name = fields[3],
        .msg_id = fields[6],
        .transaction_id = fields[7],
    };
    if (!receipt_text_number(fields[4], INT64_MAX, &receipt.table_offset) ||
        !receipt_text_number(fields[5], INT64_MAX, &receipt.commit_log_offset) ||
        !receipt_text_number(fields[8], 1, &is_from_check) || !is_valid(&receipt)) {
        return false;
    }
    receipt.is_from_check = is_from_check == 1;
    *ret_receipt = receipt;
    return true;
}
