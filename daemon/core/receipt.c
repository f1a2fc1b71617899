#include "daemon/core/receipt.h"

#include "daemon/core/receipt_text.h"

#include <inttypes.h>
#include <stdio.h>

#define RECEIPT_VERSION   "r2"
#define RECEIPT_N_FIELDS  12
#define RECEIPT_VERSION_1 "r1" /* without the last field */

/* ExtraInfoUtil.java */
#define POP_CK_SEPARATOR ' '
#define POP_CK_N_FIELDS  8

/* ExtraInfoUtil.java: before the queue id in the key of a message in orderCountInfo */
#define ORDER_COUNT_OFFSET_PREFIX "qo"

/* MixAll.RETRY_GROUP_TOPIC_PREFIX, KeyBuilder.POP_RETRY_SEPARATOR_V1 and _V2 */
#define RETRY_TOPIC_PREFIX "%RETRY%"
#define RETRY_SEPARATOR_V1 '_'
#define RETRY_SEPARATOR_V2 '+'

/*
 * What stands behind broker, queue and offset in a receipt, and before and after them in extraInfo.
 */
struct number_fields {
    struct span queue_id;
    struct span queue_offset;
    struct span ck_queue_offset;
    struct span pop_time;
    struct span invisible_time;
    struct span revive_queue_id;
    struct span retry;
};

static bool parse_numbers(const struct number_fields *fields, struct receipt *receipt)
{
    int64_t queue_id;
    int64_t revive_queue_id;
    int64_t retry;
    if (!receipt_text_number(fields->queue_id, INT32_MAX, &queue_id) ||
        !receipt_text_number(fields->queue_offset, INT64_MAX, &receipt->queue_offset) ||
        !receipt_text_number(fields->ck_queue_offset, INT64_MAX, &receipt->ck_queue_offset) ||
        !receipt_text_number(fields->pop_time, INT64_MAX, &receipt->pop_time_ms) ||
        !receipt_text_number(fields->invisible_time, INT64_MAX, &receipt->invisible_time_ms) ||
        !receipt_text_number(fields->revive_queue_id, INT32_MAX, &revive_queue_id) ||
        !receipt_text_number(fields->retry, RECEIPT_RETRY_V2, &retry)) {
        return false;
    }
    receipt->queue_id = (int32_t)queue_id;
    receipt->revive_queue_id = (int32_t)revive_queue_id;
    receipt->retry = (enum receipt_retry)retry;
    return true;
}

static bool are_numbers_valid(const struct receipt *receipt)
{
    return receipt->queue_id >= 0 && receipt->queue_offset >= 0 && receipt->ck_queue_offset >= 0 &&
           receipt->pop_time_ms >= 0 && receipt->invisible_time_ms >= 0 &&
           receipt->revive_queue_id >= 0 && receipt->physical_offset >= RECEIPT_NO_PHYSICAL_OFFSET;
}

static bool is_valid(const struct receipt *receipt)
{
    return receipt_text_is_name(receipt->topic) && receipt_text_is_name(receipt->group) &&
           receipt_text_is_word(receipt->broker_name) && are_numbers_valid(receipt);
}

/* The fields of POP_CK, if it is the message's own. */
static bool read_pop_ck(struct span pop_ck, const struct message *message, struct span broker_name,
    struct receipt *receipt)
{
    struct span fields[POP_CK_N_FIELDS];
    if (!receipt_text_split(pop_ck, POP_CK_SEPARATOR, fields, POP_CK_N_FIELDS)) {
        return false;
    }
    const struct number_fields numbers = {
        .ck_queue_offset = fields[0],
        .pop_time = fields[1],
        .invisible_time = fields[2],
        .revive_queue_id = fields[3],
        .retry = fields[4],
        .queue_id = fields[6],
        .queue_offset = fields[7],
    };
    return span_equals(fields[5], broker_name) && parse_numbers(&numbers, receipt) &&
           receipt->queue_id == message->queue_id && receipt->queue_offset == message->queue_offset;
}

static bool is_retry_topic(struct span name, struct span group, char separator, struct span topic)
{
    const struct span prefix = SPAN(RETRY_TOPIC_PREFIX);
    if (name.n != prefix.n + group.n + 1 + topic.n || !span_starts_with(name, prefix)) {
        return false;
    }
    const char *at = name.data + prefix.n;
    return span_equals((struct span){ at, group.n }, group) && at[group.n] == separator &&
           span_equals((struct span){ at + group.n + 1, topic.n }, topic);
}

static enum receipt_retry find_retry(struct span name, struct span group, struct span topic)
{
    if (is_retry_topic(name, group, RETRY_SEPARATOR_V1, topic)) {
        return RECEIPT_RETRY_V1;
    }
    if (is_retry_topic(name, group, RETRY_SEPARATOR_V2, topic)) {
        return RECEIPT_RETRY_V2;
    }
    return RECEIPT_NORMAL;
}

/* The third field of the entry "retry queueId ..." of an offset info, or SPAN_ABSENT. */
static struct span find_offsets(struct span info, enum receipt_retry retry, int32_t queue_id)
{
    while (!span_is_absent(info)) {
        struct span fields[3];
        int64_t entry_retry;
        int64_t entry_queue_id;
        if (receipt_text_split(receipt_text_next(&info, ';'), ' ', fields, 3) &&
            receipt_text_number(fields[0], RECEIPT_RETRY_V2, &entry_retry) &&
            receipt_text_number(fields[1], INT32_MAX, &entry_queue_id) &&
            entry_retry == (int64_t)retry && entry_queue_id == queue_id) {
            return fields[2];
        }
    }
    return SPAN_ABSENT;
}

static bool has_offset(struct span offsets, int64_t offset)
{
    while (!span_is_absent(offsets)) {
        int64_t each;
        if (receipt_text_number(receipt_text_next(&offsets, ','), INT64_MAX, &each) &&
            each == offset) {
            return true;
        }
    }
    return false;
}

/*
 * Brokers mark what lies in any retry topic, also for who asked for that topic itself (where classic
 * consumers find what was sent back): its messages lie where they were asked for.
 */
static bool is_asked_for_as_retry_topic(struct span topic)
{
    return span_starts_with(topic, SPAN(RETRY_TOPIC_PREFIX));
}

static enum receipt_retry find_mark(const struct receipt *receipt)
{
    if (!is_asked_for_as_retry_topic(receipt->topic)) {
        return receipt->retry;
    }
    return memchr(receipt->topic.data, RETRY_SEPARATOR_V2, receipt->topic.n) ? RECEIPT_RETRY_V2
                                                                             : RECEIPT_RETRY_V1;
}

static bool read_offset_infos(
    const struct receipt_pop_info *info, const struct message *message, struct receipt *receipt)
{
    receipt->retry = find_retry(message->topic, receipt->group, receipt->topic);
    receipt->queue_id = message->queue_id;
    receipt->queue_offset = message->queue_offset;
    receipt->pop_time_ms = info->pop_time_ms;
    receipt->invisible_time_ms = info->invisible_time_ms;
    receipt->revive_queue_id = info->revive_queue_id;
    enum receipt_retry mark = find_mark(receipt);
    struct span start = find_offsets(info->start_offset_info, mark, receipt->queue_id);
    if (span_is_absent(start) && is_asked_for_as_retry_topic(receipt->topic)) {
        mark = RECEIPT_NORMAL; /* so brokers before 5.2 (measured with 5.1.4) */
        start = find_offsets(info->start_offset_info, mark, receipt->queue_id);
    }
    if (!receipt_text_number(start, INT64_MAX, &receipt->ck_queue_offset)) {
        return false;
    }
    return span_is_empty(info->msg_offset_info) ||
           has_offset(
               find_offsets(info->msg_offset_info, mark, receipt->queue_id), receipt->queue_offset);
}

bool receipt_pop_info_read(const struct ext_fields *fields, struct receipt_pop_info *ret_info)
{
    int64_t revive_queue_id;
    ret_info->start_offset_info = ext_fields_text(fields, "startOffsetInfo");
    ret_info->msg_offset_info = ext_fields_text(fields, "msgOffsetInfo");
    ret_info->order_count_info = ext_fields_text(fields, "orderCountInfo");
    if (!ext_value_parse_i64(
            ext_fields_text(fields, "popTime"), 0, INT64_MAX, &ret_info->pop_time_ms) ||
        !ext_value_parse_i64(
            ext_fields_text(fields, "invisibleTime"), 0, INT64_MAX, &ret_info->invisible_time_ms) ||
        !ext_value_parse_i64(
            ext_fields_text(fields, "reviveQid"), INT32_MIN, INT32_MAX, &revive_queue_id)) {
        return false;
    }
    ret_info->revive_queue_id = (int32_t)revive_queue_id;
    return true;
}

bool receipt_from_pop(const struct receipt_pop_info *info, const struct message *message,
    struct span topic, struct span group, struct span broker_name, struct receipt *ret_receipt)
{
    struct receipt receipt = {
        .topic = topic,
        .group = group,
        .broker_name = broker_name,
        .physical_offset = message->physical_offset,
    };
    struct span pop_ck = message_property(message->properties, SPAN(PROPERTY_POP_CK));
    if ((!read_pop_ck(pop_ck, message, broker_name, &receipt) &&
            !read_offset_infos(info, message, &receipt)) ||
        !is_valid(&receipt)) {
        return false;
    }
    if (is_asked_for_as_retry_topic(topic)) {
        receipt.retry = RECEIPT_NORMAL;
    }
    *ret_receipt = receipt;
    return true;
}

/* The count of the entry "retry KEY count" of orderCountInfo, or -1. */
static int64_t find_order_count(struct span info, const char *key)
{
    while (!span_is_absent(info)) {
        struct span fields[3];
        int64_t count;
        if (receipt_text_split(receipt_text_next(&info, ';'), ' ', fields, 3) &&
            span_equals(fields[0], SPAN("0")) && span_equals_text(fields[1], key) &&
            receipt_text_number(fields[2], INT32_MAX, &count)) {
            return count;
        }
    }
    return -1;
}

int32_t receipt_pop_reconsume_times(
    const struct receipt_pop_info *info, const struct message *message)
{
    char key[64];
    (void)snprintf(key, sizeof(key), ORDER_COUNT_OFFSET_PREFIX "%" PRId32 "%%%" PRId64,
        message->queue_id, message->queue_offset);
    int64_t count = find_order_count(info->order_count_info, key);
    if (count < 0) {
        (void)snprintf(key, sizeof(key), "%" PRId32, message->queue_id);
        count = find_order_count(info->order_count_info, key);
    }
    return count > 0 ? (int32_t)count : message->reconsume_times;
}

size_t receipt_encode(const struct receipt *receipt, char *dst, size_t dst_size)
{
    if (!is_valid(receipt)) {
        return 0;
    }
    bool is_version_1 = receipt->physical_offset == RECEIPT_NO_PHYSICAL_OFFSET;
    char physical[24] = "";
    if (!is_version_1) {
        (void)snprintf(physical, sizeof(physical), "~%" PRId64, receipt->physical_offset);
    }
    return receipt_text_write(dst, dst_size,
        "%s~%.*s~%.*s~%.*s~%" PRId32 "~%" PRId64 "~%" PRId64 "~%" PRId64 "~%" PRId64 "~%" PRId32
        "~%d%s",
        is_version_1 ? RECEIPT_VERSION_1 : RECEIPT_VERSION, SPAN_ARGS(receipt->topic),
        SPAN_ARGS(receipt->group), SPAN_ARGS(receipt->broker_name), receipt->queue_id,
        receipt->queue_offset, receipt->ck_queue_offset, receipt->pop_time_ms,
        receipt->invisible_time_ms, receipt->revive_queue_id, (int)receipt->retry, physical);
}

bool receipt_decode(struct span text, struct receipt *ret_receipt)
{
    struct span fields[RECEIPT_N_FIELDS];
    bool is_version_1 = span_starts_with(text, SPAN(RECEIPT_VERSION_1));
    size_t n = is_version_1 ? RECEIPT_N_FIELDS - 1 : RECEIPT_N_FIELDS;
    if (text.n >= RECEIPT_TEXT_MAX ||
        !receipt_text_split(text, RECEIPT_TEXT_SEPARATOR, fields, n) ||
        !span_equals(fields[0], is_version_1 ? SPAN(RECEIPT_VERSION_1) : SPAN(RECEIPT_VERSION))) {
        return false;
    }
    struct receipt receipt = {
        .physical_offset = RECEIPT_NO_PHYSICAL_OFFSET,
        .topic = fields[1],
        .group = fields[2],
        .broker_name = fields[3],
    };
    const struct number_fields numbers = {
        .queue_id = fields[4],
        .queue_offset = fields[5],
        .ck_queue_offset = fields[6],
        .pop_time = fields[7],
        .invisible_time = fields[8],
        .revive_queue_id = fields[9],
        .retry = fields[10],
    };
    bool is_fine = is_version_1 || receipt_text_number(fields[RECEIPT_N_FIELDS - 1], INT64_MAX,
                                       &receipt.physical_offset);
    if (!is_fine || !parse_numbers(&numbers, &receipt) || !is_valid(&receipt)) {
        return false;
    }
    *ret_receipt = receipt;
    return true;
}

size_t receipt_extra_info(const struct receipt *receipt, char *dst, size_t dst_size)
{
    if (!is_valid(receipt)) {
        return 0;
    }
    return receipt_text_write(dst, dst_size,
        "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId32 " %d %.*s %" PRId32 " %" PRId64,
        receipt->ck_queue_offset, receipt->pop_time_ms, receipt->invisible_time_ms,
        receipt->revive_queue_id, (int)receipt->retry, SPAN_ARGS(receipt->broker_name),
        receipt->queue_id, receipt->queue_offset);
}

size_t receipt_real_topic(const struct receipt *receipt, char *dst, size_t dst_size)
{
    if (!is_valid(receipt)) {
        return 0;
    }
    switch (receipt->retry) {
    case RECEIPT_NORMAL:
        return receipt_text_write(dst, dst_size, "%.*s", SPAN_ARGS(receipt->topic));
    case RECEIPT_RETRY_V1:
    case RECEIPT_RETRY_V2:
        return receipt_text_write(dst, dst_size, "%s%.*s%c%.*s", RETRY_TOPIC_PREFIX,
            SPAN_ARGS(receipt->group),
            receipt->retry == RECEIPT_RETRY_V1 ? RETRY_SEPARATOR_V1 : RETRY_SEPARATOR_V2,
            SPAN_ARGS(receipt->topic));
    }
    return 0;
}

size_t receipt_command_fields(
    const struct receipt *receipt, struct ext_fields *fields, char *texts, size_t texts_size)
{
    const char *end = texts + texts_size;
    struct span info = { texts, receipt_extra_info(receipt, texts, texts_size) };
    char *at = texts + info.n;
    struct span topic = { at, receipt_real_topic(receipt, at, (size_t)(end - at)) };
    at += topic.n;
    struct span queue_id = { at,
        receipt_text_write(at, (size_t)(end - at), "%" PRId32, receipt->queue_id) };
    at += queue_id.n;
    struct span offset = { at,
        receipt_text_write(at, (size_t)(end - at), "%" PRId64, receipt->queue_offset) };
    at += offset.n;
    bool is_fine = info.n > 0 && topic.n > 0 && queue_id.n > 0 && offset.n > 0 &&
                   ext_fields_add(fields, SPAN("bname"), receipt->broker_name) &&
                   ext_fields_add(fields, SPAN("consumerGroup"), receipt->group) &&
                   ext_fields_add(fields, SPAN("topic"), topic) &&
                   ext_fields_add(fields, SPAN("queueId"), queue_id) &&
                   ext_fields_add(fields, SPAN("offset"), offset) &&
                   ext_fields_add(fields, SPAN("extraInfo"), info);
    return is_fine ? (size_t)(at - texts) : 0;
}

bool receipt_send_back_fields(
    const struct receipt *receipt, struct ext_fields *fields, char *text, size_t text_size)
{
    struct span offset = { text,
        receipt_text_write(text, text_size, "%" PRId64, receipt->physical_offset) };
    return receipt->physical_offset != RECEIPT_NO_PHYSICAL_OFFSET && offset.n > 0 &&
           ext_fields_add(fields, SPAN("bname"), receipt->broker_name) &&
           ext_fields_add(fields, SPAN("group"), receipt->group) &&
           /* Brokers count dead letters by it, and fail without it. */
           ext_fields_add(fields, SPAN("originTopic"), receipt->topic) &&
           ext_fields_add(fields, SPAN("offset"), offset);
}
