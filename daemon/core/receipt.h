/*
 * Receipt
 *
 * What a caller needs to acknowledge a message or to change its invisible time, in one text without
 * spaces or quotes:
 *
 *     r2~TOPIC~GROUP~BROKER~QUEUE~OFFSET~CKOFFSET~POPTIME~INVISIBLE~REVIVEQ~RETRY~PHYSICAL
 *
 * Callers treat it as opaque. PHYSICAL is where the message lies in its broker's commit log, by
 * which CONSUMER_SEND_MSG_BACK names it; r1 is the same without it and is read too. Topic and group
 * are made of what RocketMQ's names are made of (^[%|a-zA-Z0-9_-]+$). A broker may have nearly any
 * name, and one with '~', a space, a control character, a quote or a backslash gets no receipts:
 * '~' would not come back, a space breaks RocketMQ's own receipt. CKOFFSET to RETRY are that one
 * (extraInfo: "ckQueueOffset popTime invisibleTime reviveQid retryFlag brokerName queueId
 * msgQueueOffset", ExtraInfoUtil.java), from startOffsetInfo and msgOffsetInfo of the POP answer,
 * or from the property POP_CK that redelivered messages carry. Numbers are never negative and have
 * one spelling, so a receipt has one spelling too.
 *
 * POP_CK is a property like any other: a producer can write it as well. It is believed only when it
 * names the very queue and offset at which the message lies, and the broker that was asked.
 */
#pragma once

#include "daemon/core/receipt_text.h"
#include "protocol/ext_fields.h"
#include "protocol/message.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum receipt_retry {
    RECEIPT_NORMAL = 0,
    RECEIPT_RETRY_V1 = 1, /* the message lies in %RETRY%GROUP_TOPIC */
    RECEIPT_RETRY_V2 = 2, /* in %RETRY%GROUP+TOPIC */
};

struct receipt {
    struct span topic; /* what the caller asked for, also when the message lies in a retry topic */
    struct span group;
    struct span broker_name;
    int32_t queue_id;
    int64_t queue_offset;
    int64_t ck_queue_offset;
    int64_t pop_time_ms;
    int64_t invisible_time_ms;
    int32_t revive_queue_id;
    enum receipt_retry retry;
    int64_t physical_offset; /* RECEIPT_NO_PHYSICAL_OFFSET: a receipt of version 1 */
};
#define RECEIPT_NO_PHYSICAL_OFFSET (-1)

/* The ext fields of a POP answer that receipts are made of. */
struct receipt_pop_info {
    struct span start_offset_info; /* "retry queueId startOffset;..." */
    struct span msg_offset_info;   /* "retry queueId offset,offset;..." */
    struct span order_count_info;  /* "retry qoQUEUEID%OFFSET count;...", of ordered ones only */
    int64_t pop_time_ms;
    int64_t invisible_time_ms;
    int32_t revive_queue_id;
};

/* From the ext fields of a POP answer, into which it points. False where a number is none. */
bool receipt_pop_info_read(const struct ext_fields *fields, struct receipt_pop_info *ret_info);

/*
 * The receipt of one message of a POP answer. topic and group are what was asked for; the receipt
 * points into them, into broker_name and nowhere else. False when neither POP_CK nor the offset
 * infos name the message: it can then not be acknowledged, and is redelivered. Absent or empty
 * msgOffsetInfo is no objection.
 */
bool receipt_from_pop(const struct receipt_pop_info *info, const struct message *message,
    struct span topic, struct span group, struct span broker_name, struct receipt *ret_receipt);

/*
 * How often the group was given the message before. An ordered group is given the same stored
 * message again, so that only the answer knows.
 */
int32_t receipt_pop_reconsume_times(
    const struct receipt_pop_info *info, const struct message *message);

/*
 * The text, zero-terminated; its length, or 0 when it does not fit or a part cannot be in a
 * receipt.
 */
size_t receipt_encode(const struct receipt *receipt, char *dst, size_t dst_size);
/* Spans into text. False for anything that receipt_encode() cannot have written. */
bool receipt_decode(struct span text, struct receipt *ret_receipt);

/* RocketMQ's extraInfo, zero-terminated; its length, or 0 when it does not fit. */
size_t receipt_extra_info(const struct receipt *receipt, char *dst, size_t dst_size);
/*
 * The topic that the message really lies in (a retry topic for redelivered ones), zero-terminated;
 * its length, or 0.
 */
size_t receipt_real_topic(const struct receipt *receipt, char *dst, size_t dst_size);

/*
 * The ext fields by which a broker finds the message of an ACK or CHANGE_INVISIBLE: bname,
 * consumerGroup, topic, queueId, offset, extraInfo. They are added to fields; those that the receipt
 * has not as text are written to texts, which must outlive them. The bytes used of texts, or 0 when
 * they or the fields do not fit.
 */
#define RECEIPT_COMMAND_FIELDS 6
/* Enough for a receipt of n bytes: nothing in texts is longer than where it stands in the receipt. */
#define RECEIPT_COMMAND_TEXTS_MAX(n) (3 * (n) + 16)
size_t receipt_command_fields(
    const struct receipt *receipt, struct ext_fields *fields, char *texts, size_t texts_size);

/*
 * The ext fields of a CONSUMER_SEND_MSG_BACK but its delayLevel: bname, group, originTopic, offset.
 * offset is written to text, which must outlive them. False when something does not fit, or the
 * receipt has no physical offset.
 */
#define RECEIPT_SEND_BACK_FIELDS  4
#define RECEIPT_DEAD_LETTER_LEVEL "-1" /* any delayLevel below 0 */
bool receipt_send_back_fields(
    const struct receipt *receipt, struct ext_fields *fields, char *text, size_t text_size);
