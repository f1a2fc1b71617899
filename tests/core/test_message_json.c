#include "daemon/core/message_json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "protocol/base64.h"
#include "protocol/bytes.h"
#include "protocol/ext_fields.h"
#include "protocol/frame.h"
#include "protocol/message.h"
#include "protocol/utf8.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

#define MAX_DECOMPRESSED (1 << 20)

static const struct message_json_source plain_source = { .max_decompressed = MAX_DECOMPRESSED };

/* The array that every body has to become, read by jansson as a caller would. */
static json_t *array_of(const uint8_t *data, size_t n, const struct message_json_source *source)
{
    char *copy = (char *)golden_copy(data, n);
    struct message_json_counts counts = { 4711, 4711 };
    size_t size = 0;
    char *text = message_json_from_body((struct span){ copy, n }, source, &counts, &size);
    free(copy);
    ck_assert_ptr_nonnull(text);
    assert_often(utf8_is_valid((struct span){ text, size }));
    json_error_t error;
    json_t *array = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!array) {
        ck_abort_msg("%s: %.*s", error.text, size < 2000 ? (int)size : 2000, text);
    }
    free(text);
    assert_often(json_array_size(array) == counts.n && counts.n_truncated == 0);
    return array;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    ck_assert_msg(text != NULL, "no text for %s", key);
    return text;
}

static void assert_text(const json_t *object, const char *key, const char *expected)
{
    ck_assert_str_eq(text_of(object, key), expected);
}

static void assert_integer(const json_t *object, const char *key, json_int_t expected)
{
    const json_t *number = json_object_get(object, key);
    ck_assert_msg(json_is_integer(number), "no integer for %s", key);
    ck_assert_int_eq(json_integer_value(number), expected);
}

static void assert_absent(const json_t *object, const char *key)
{
    ck_assert_msg(json_object_get(object, key) == NULL, "%s is there", key);
}

/* Text in base64 that is these bytes. */
static void assert_base64(const json_t *object, const char *key, struct span expected)
{
    char *data;
    size_t n;
    ck_assert_int_eq(base64_decode(span_of(text_of(object, key)), &data, &n), 0);
    ck_assert(span_equals((struct span){ data, n }, expected));
    free(data);
}

static struct frame_parts body_of(const struct golden_frame *frame)
{
    struct frame_parts parts;
    frame_split(frame->data, frame->size, &parts);
    return parts;
}

/* What was sent before these answers were recorded. */
START_TEST(pulled_messages_are_those_that_were_sent)
{
    struct golden *golden = golden_load();
    struct frame_parts parts = body_of(golden_find(golden, "pull_message_found.json.response.bin"));
    json_t *array = array_of(parts.body, parts.body_size, &plain_source);
    const char *const bodies[] = { "v1 body json", "v2 body json", "v2 with n", "b0", "b1", "b2",
        "oneway json" };
    ck_assert_uint_eq(json_array_size(array), 7);
    for (size_t i = 0; i < 7; i++) {
        const json_t *message = json_array_get(array, i);
        assert_text(message, "body", bodies[i]);
        assert_text(message, "encoding", "utf-8");
        assert_integer(message, "queueOffset", (json_int_t)i);
        const json_t *properties = json_object_get(message, "properties");
        ck_assert(json_is_object(properties));
        ck_assert_str_eq(text_of(properties, "UNIQ_KEY"), text_of(message, "uniqKey"));
        assert_absent(message, "receipt");
        assert_absent(message, "brokerName");
        assert_absent(message, "raw");
        assert_absent(message, "reason");
        ck_assert_uint_eq(strlen(text_of(message, "offsetMsgId")), 32);
    }
    json_decref(array);
    golden_free(golden);
}
END_TEST

static int64_t ext_number(const struct golden_frame *frame, const char *key)
{
    int64_t number;
    const char *text = text_of(json_object_get(frame->row, "extFields"), key);
    ck_assert(ext_value_parse_i64(span_of(text), INT64_MIN, INT64_MAX, &number));
    return number;
}

struct pop_case {
    const char *request;
    const char *response;
    const char *ack;
};

static const struct pop_case pops[] = {
    { "java_pop_message.json.request.bin", "java_pop_message.json.response.bin",
        "java_ack_message.json.request.bin" },
    { "pop_message_first.json.request.bin", "pop_message_first.json.response.bin",
        "ack_message_again.json.request.bin" },
    { "pop_message_order.json.request.bin", "pop_message_order.json.response.bin",
        "ack_message_order.json.request.bin" },
};

/* One of the receipts is the one that was acknowledged: its extraInfo is the recorded one. */
START_TEST(popped_messages_have_the_receipts_that_acknowledge_them)
{
    struct golden *golden = golden_load();
    const struct golden_frame *asked = golden_find(golden, pops[_i].request);
    const struct golden_frame *popped = golden_find(golden, pops[_i].response);
    const struct golden_frame *ack = golden_find(golden, pops[_i].ack);
    const json_t *fields = json_object_get(popped->row, "extFields");
    const struct receipt_pop_info info = {
        .start_offset_info = span_of(text_of(fields, "startOffsetInfo")),
        .msg_offset_info = span_of(text_of(fields, "msgOffsetInfo")),
        .pop_time_ms = ext_number(popped, "popTime"),
        .invisible_time_ms = ext_number(popped, "invisibleTime"),
        .revive_queue_id = (int32_t)ext_number(popped, "reviveQid"),
    };
    const char *topic = text_of(json_object_get(asked->row, "extFields"), "topic");
    const struct message_json_source source = {
        .topic = span_of(topic),
        .group = span_of(text_of(json_object_get(asked->row, "extFields"), "consumerGroup")),
        .broker_name = SPAN("broker-a"),
        .pop = &info,
        .max_decompressed = MAX_DECOMPRESSED,
    };
    struct frame_parts parts = body_of(popped);
    json_t *array = array_of(parts.body, parts.body_size, &source);
    ck_assert_uint_gt(json_array_size(array), 0);
    unsigned n_acknowledged = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *message = json_array_get(array, i);
        assert_text(message, "topic", topic);
        assert_text(message, "brokerName", "broker-a");
        assert_absent(message, "reason");
        struct receipt receipt;
        ck_assert(receipt_decode(span_of(text_of(message, "receipt")), &receipt));
        char extra_info[RECEIPT_TEXT_MAX];
        ck_assert_uint_gt(receipt_extra_info(&receipt, extra_info, sizeof(extra_info)), 0);
        const char *expected = text_of(json_object_get(ack->row, "extFields"), "extraInfo");
        n_acknowledged += strcmp(extra_info, expected) == 0;
    }
    ck_assert_uint_eq(n_acknowledged, 1);
    json_decref(array);
    golden_free(golden);
}
END_TEST

START_TEST(popped_message_that_the_answer_does_not_name_says_so)
{
    struct golden *golden = golden_load();
    const struct receipt_pop_info info = { .start_offset_info = SPAN("") };
    const struct message_json_source source = {
        .topic = SPAN("T"),
        .group = SPAN("G"),
        .broker_name = SPAN("broker-a"),
        .pop = &info,
        .max_decompressed = MAX_DECOMPRESSED,
    };
    struct frame_parts parts = body_of(golden_find(golden, "pop_message_first.json.response.bin"));
    json_t *array = array_of(parts.body, parts.body_size, &source);
    const json_t *message = json_array_get(array, 0);
    assert_absent(message, "receipt");
    ck_assert_ptr_nonnull(strstr(text_of(message, "reason"), "acknowledge"));
    ck_assert_ptr_nonnull(json_object_get(message, "body"));
    json_decref(array);
    golden_free(golden);
}
END_TEST

/* Over 4096 bytes, all of them zero, so that Java's producer compressed it: no text. */
START_TEST(body_that_java_compressed_comes_decompressed)
{
    struct golden *golden = golden_load();
    struct frame_parts parts =
        body_of(golden_find(golden, "java_pull_message-2.json.response.bin"));
    json_t *array = array_of(parts.body, parts.body_size, &plain_source);
    const json_t *message = json_array_get(array, 0);
    assert_text(message, "tags", "big");
    assert_text(message, "encoding", "base64");
    assert_integer(message, "sysFlag", 0x301);
    struct message stored;
    size_t size;
    ck_assert_int_eq(message_decode(parts.body, parts.body_size, &stored, &size), MESSAGE_OK);
    static char expected[MAX_DECOMPRESSED];
    uLongf n = sizeof(expected);
    ck_assert_int_eq(
        uncompress((Bytef *)expected, &n, (const Bytef *)stored.body.data, stored.body.n), Z_OK);
    ck_assert_uint_gt(n, 4096);
    assert_base64(message, "body", (struct span){ expected, n });
    json_decref(array);
    golden_free(golden);
}
END_TEST

START_TEST(every_recorded_body_is_an_array_cut_at_any_byte)
{
    struct golden *golden = golden_load();
    size_t n_bodies = 0;
    for (size_t i = 0; i < golden->n; i++) {
        if (!strstr(golden->frames[i].file, "p_message_") &&
            !strstr(golden->frames[i].file, "pull_message_")) {
            continue;
        }
        struct frame_parts parts = body_of(&golden->frames[i]);
        n_bodies += parts.body_size > 0;
        for (size_t n = 0; n <= parts.body_size; n++) {
            json_t *array = array_of(parts.body, n, &plain_source);
            /* The piece that is left over is shown raw, unless the cut is between two messages. */
            const json_t *last = json_array_get(array, json_array_size(array) - 1);
            assert_often(n == 0 ? !last : last && json_is_object(last));
            if (n > 0 && n < 4) {
                assert_base64(last, "raw", (struct span){ (const char *)parts.body, n });
            }
            json_decref(array);
        }
    }
    ck_assert_uint_ge(n_bodies, 10);
    golden_free(golden);
}
END_TEST

/* A message by hand, in the layout of MessageDecoder.java. */
struct parts {
    int32_t sys_flag;
    struct span topic, body, properties;
};

static size_t build(const struct parts *parts, uint8_t *dst, size_t dst_size)
{
    static const uint8_t born_host[] = { 192, 0, 2, 7 };
    static const uint8_t store_host[] = { 10, 0, 0, 1 };
    struct bytes_writer writer;
    bytes_writer_init(&writer, dst, dst_size);
    bytes_write_i32(
        &writer, (int32_t)(88 + parts->body.n + 1 + parts->topic.n + 2 + parts->properties.n));
    bytes_write_i32(&writer, MESSAGE_MAGIC_V1);
    bytes_write_i32(&writer, 0);
    bytes_write_i32(&writer, 3);
    bytes_write_i32(&writer, -5);
    bytes_write_i64(&writer, 12);
    bytes_write_i64(&writer, 4096);
    bytes_write_i32(&writer, parts->sys_flag);
    bytes_write_i64(&writer, 1700000000001);
    bytes_write(&writer, born_host, 4);
    bytes_write_i32(&writer, 4711);
    bytes_write_i64(&writer, 1700000000002);
    bytes_write(&writer, store_host, 4);
    bytes_write_i32(&writer, 10911);
    bytes_write_i32(&writer, 7);
    bytes_write_i64(&writer, 0);
    bytes_write_i32(&writer, (int32_t)parts->body.n);
    bytes_write(&writer, parts->body.data, parts->body.n);
    bytes_write_u8(&writer, (uint8_t)parts->topic.n);
    bytes_write(&writer, parts->topic.data, parts->topic.n);
    bytes_write_i16(&writer, (int16_t)parts->properties.n);
    bytes_write(&writer, parts->properties.data, parts->properties.n);
    ck_assert(!bytes_writer_failed(&writer));
    return writer.at;
}

static uint8_t built[1 << 17];

/* The only message of the array; to be given back with its array. */
static const json_t *built_message(
    const struct parts *parts, const struct message_json_source *source, json_t **ret_array)
{
    *ret_array = array_of(built, build(parts, built, sizeof(built)), source);
    ck_assert_uint_eq(json_array_size(*ret_array), 1);
    return json_array_get(*ret_array, 0);
}

START_TEST(every_field_is_where_the_header_says)
{
    const struct parts parts = { .topic = SPAN("T"),
        .body = SPAN("hello"),
        .properties = SPAN("KEYS\001k1 k2\002TAGS\001t\002UNIQ_KEY\001u\002own\001\002") };
    json_t *array;
    const json_t *message = built_message(&parts, &plain_source, &array);
    assert_text(message, "topic", "T");
    assert_text(message, "body", "hello");
    assert_text(message, "encoding", "utf-8");
    assert_text(message, "keys", "k1 k2");
    assert_text(message, "tags", "t");
    assert_text(message, "uniqKey", "u");
    assert_text(message, "offsetMsgId", "0A00000100002A9F0000000000001000");
    assert_integer(message, "queueId", 3);
    assert_integer(message, "queueOffset", 12);
    assert_integer(message, "bornTimestamp", 1700000000001);
    assert_integer(message, "storeTimestamp", 1700000000002);
    assert_text(message, "bornHost", "192.0.2.7:4711");
    assert_text(message, "storeHost", "10.0.0.1:10911");
    assert_integer(message, "reconsumeTimes", 7);
    assert_integer(message, "flag", -5);
    assert_integer(message, "sysFlag", 0);
    const json_t *properties = json_object_get(message, "properties");
    ck_assert_uint_eq(json_object_size(properties), 4);
    assert_text(properties, "KEYS", "k1 k2");
    assert_text(properties, "own", "");
    json_decref(array);
}
END_TEST

START_TEST(what_is_not_known_is_left_out)
{
    const struct parts parts = { .topic = SPAN("T"), .body = SPAN("") };
    json_t *array;
    const json_t *message = built_message(&parts, &plain_source, &array);
    assert_text(message, "body", "");
    const char *const keys[] = { "keys", "tags", "uniqKey", "brokerName", "receipt", "raw",
        "reason" };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        assert_absent(message, keys[i]);
    }
    ck_assert_uint_eq(json_object_size(json_object_get(message, "properties")), 0);
    json_decref(array);
}
END_TEST

START_TEST(topic_is_the_one_that_was_asked_for)
{
    const struct parts parts = { .topic = SPAN("%RETRY%G_T"), .body = SPAN("x") };
    struct message_json_source source = plain_source;
    source.topic = SPAN("T");
    source.broker_name = SPAN("broker-a");
    json_t *array;
    const json_t *message = built_message(&parts, &source, &array);
    assert_text(message, "topic", "T");
    assert_text(message, "brokerName", "broker-a");
    json_decref(array);
}
END_TEST

START_TEST(text_of_every_kind_comes_as_it_is)
{
    const struct parts parts = { .topic = SPAN("T"),
        .body = SPAN("\"\\/\b\f\n\r\t\001\x1f\x7f <\xc3\xa9\xe2\x80\xa8\xf0\x9f\x90\xa7>") };
    json_t *array;
    const json_t *message = built_message(&parts, &plain_source, &array);
    assert_text(message, "encoding", "utf-8");
    assert_text(message, "body", parts.body.data);
    json_decref(array);
}
END_TEST

static const struct span binaries[] = {
    { "\xff", 1 },
    { "\0", 1 },
    { "text\0text", 9 },
    { "cut \xe4\xb8", 6 },
    { "overlong \xc0\x80", 11 },
    { "surrogate \xed\xa0\x80", 13 },
    { "beyond \xf4\x90\x80\x80", 11 },
    { "\xef\xbb\xbf\x80", 4 },
};

START_TEST(body_that_is_no_text_comes_in_base64)
{
    const struct parts parts = { .topic = SPAN("T"), .body = binaries[_i] };
    json_t *array;
    const json_t *message = built_message(&parts, &plain_source, &array);
    assert_text(message, "encoding", "base64");
    assert_base64(message, "body", binaries[_i]);
    assert_absent(message, "reason");
    json_decref(array);
}
END_TEST

static struct span deflated(struct span text)
{
    static char data[1 << 16];
    uLongf n = sizeof(data);
    ck_assert_int_eq(compress((Bytef *)data, &n, (const Bytef *)text.data, text.n), Z_OK);
    return (struct span){ data, n };
}

START_TEST(compressed_body_comes_as_its_text_or_in_base64)
{
    struct parts parts = {
        .sys_flag = 0x301, .topic = SPAN("T"), .body = deflated(SPAN("hello hello hello hello"))
    };
    json_t *array;
    const json_t *message = built_message(&parts, &plain_source, &array);
    assert_text(message, "encoding", "utf-8");
    assert_text(message, "body", "hello hello hello hello");
    json_decref(array);
    parts.body = deflated(SPAN("\xff\xff\xff\xff\xff\xff"));
    message = built_message(&parts, &plain_source, &array);
    assert_text(message, "encoding", "base64");
    assert_base64(message, "body", SPAN("\xff\xff\xff\xff\xff\xff"));
    json_decref(array);
}
END_TEST

START_TEST(body_that_cannot_be_decompressed_comes_raw_with_a_reason)
{
    static char zeros[30000];
    const struct parts cases[] = {
        { .sys_flag = 0x301, .topic = SPAN("T"), .body = SPAN("this is not zlib") },
        { .sys_flag = 0x301, .topic = SPAN("T"), .body = SPAN("") },
        { .sys_flag = 0x701, .topic = SPAN("T"), .body = SPAN("who knows") },
        { .sys_flag = 0x301, .topic = SPAN("T"), .body = deflated((struct span){ zeros, 30000 }) },
        { .sys_flag = 0xC0, .topic = SPAN("T"), .body = SPAN("an inner batch") },
    };
    const char *const reasons[] = { "corrupt", "corrupt", "not known", "max_decompressed",
        "inner batch" };
    const struct message_json_source source = { .max_decompressed = 29999 };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *array;
        const json_t *message = built_message(&cases[i], &source, &array);
        assert_base64(message, "raw", cases[i].body);
        ck_assert_msg(strstr(text_of(message, "reason"), reasons[i]) != NULL, "%s",
            text_of(message, "reason"));
        assert_absent(message, "body");
        assert_absent(message, "encoding");
        assert_text(message, "topic", "T"); /* what is known of the rest */
        assert_integer(message, "queueOffset", 12);
        json_decref(array);
    }
}
END_TEST

/* Two messages of 23 bytes: totalSize, magic, crc, flag, bodyLength, body, propertiesLength. */
static const char two_inner[] = "\0\0\0\x17\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1a\0\0"
                                "\0\0\0\x17\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1b\0\0";

START_TEST(offsets_of_an_inner_batch_follow_its_own_also_beyond_the_last_one)
{
    const struct parts parts = {
        .sys_flag = 0xC0, .topic = SPAN("T"), .body = { two_inner, sizeof(two_inner) - 1 }
    };
    size_t n = build(&parts, built, sizeof(built));
    memset(built + 20, 0xff, 8); /* the queueOffset: the greatest there is */
    built[20] = 0x7f;
    json_t *array = array_of(built, n, &plain_source);
    ck_assert_uint_eq(json_array_size(array), 2);
    assert_text(json_array_get(array, 0), "body", "a");
    assert_integer(json_array_get(array, 0), "queueOffset", INT64_MAX);
    assert_text(json_array_get(array, 1), "body", "b");
    assert_integer(json_array_get(array, 1), "queueOffset", INT64_MIN); /* as Java's long */
    json_decref(array);
}
END_TEST

static const struct span bad_properties[] = {
    { "good\001g\002bad\001\xff\002", 14 },
    { "good\001g\002\xc3\001v\002", 11 },
    { "good\001g\002bad\001a\0b\002", 15 },
    { "good\001g\002b\0d\001v\002", 13 },
    { "good\001g\002TAGS\001\xed\xa0\x80\002", 16 },
};

START_TEST(property_that_is_no_text_is_left_out_and_said_so)
{
    const struct parts parts = {
        .topic = SPAN("T"), .body = SPAN("hello"), .properties = bad_properties[_i]
    };
    json_t *array;
    const json_t *message = built_message(&parts, &plain_source, &array);
    const json_t *properties = json_object_get(message, "properties");
    ck_assert_uint_eq(json_object_size(properties), 1);
    assert_text(properties, "good", "g");
    assert_absent(message, "tags");
    ck_assert_ptr_nonnull(strstr(text_of(message, "reason"), "property"));
    assert_text(message, "body", "hello");
    json_decref(array);
}
END_TEST

START_TEST(last_of_several_properties_with_one_name_counts)
{
    const struct parts parts = {
        .topic = SPAN("T"), .body = SPAN(""), .properties = SPAN("TAGS\001a\002TAGS\001b\002")
    };
    json_t *array;
    const json_t *message = built_message(&parts, &plain_source, &array);
    assert_text(message, "tags", "b");
    assert_text(json_object_get(message, "properties"), "TAGS", "b");
    json_decref(array);
}
END_TEST

START_TEST(topic_that_is_no_text_is_left_out)
{
    const struct parts parts = { .topic = SPAN("T\xff"), .body = SPAN("hello") };
    json_t *array;
    const json_t *message = built_message(&parts, &plain_source, &array);
    assert_absent(message, "topic");
    assert_text(message, "body", "hello");
    json_decref(array);
}
END_TEST

START_TEST(message_behind_a_bad_one_is_still_shown)
{
    const struct parts parts = { .topic = SPAN("T"), .body = SPAN("hello") };
    size_t n = build(&parts, built, sizeof(built));
    built[4] ^= 1; /* its magic */
    n += build(&parts, built + n, sizeof(built) - n);
    json_t *array = array_of(built, n, &plain_source);
    ck_assert_uint_eq(json_array_size(array), 2);
    assert_base64(json_array_get(array, 0), "raw", (struct span){ (const char *)built, n / 2 });
    ck_assert_str_ne(text_of(json_array_get(array, 0), "reason"), "");
    assert_text(json_array_get(array, 1), "body", "hello");
    json_decref(array);
}
END_TEST

START_TEST(no_body_is_an_empty_array)
{
    json_t *array = array_of(built, 0, &plain_source);
    ck_assert_uint_eq(json_array_size(array), 0);
    json_decref(array);
}
END_TEST

/* Whatever a broker sends is an array of objects: a changed byte anywhere, and chance alone. */
START_TEST(changed_messages_are_still_valid_json)
{
    const struct parts parts = { .sys_flag = 0x301,
        .topic = SPAN("T"),
        .body = deflated(SPAN("hello hello hello")),
        .properties = SPAN("KEYS\001k\002TAGS\001t\002") };
    size_t n = build(&parts, built, sizeof(built));
    n += build(&parts, built + n, sizeof(built) - n);
    for (size_t at = 0; at < n; at++) {
        uint8_t before = built[at];
        static const uint8_t values[] = { 0, 1, 2, 0x7f, 0x80, 0xc3, 0xff };
        for (size_t i = 0; i < sizeof(values); i++) {
            built[at] = values[i];
            json_t *array = array_of(built, n, &plain_source);
            assert_often(json_array_size(array) >= 1);
            json_decref(array);
        }
        built[at] = before;
    }
    uint32_t random = 42;
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < 200; i++) {
            random = random * 1664525 + 1013904223;
            built[i] = i < 3 ? 0 : (uint8_t)(random >> 24);
        }
        json_t *array = array_of(built, 200, &plain_source);
        assert_often(json_array_size(array) >= 1);
        json_decref(array);
    }
}
END_TEST

/* A message with this queue offset, or what is none where it is negative; its size. */
static size_t piece_write(uint8_t *dst, size_t dst_size, int64_t offset)
{
    const struct parts parts = { .topic = SPAN("T"), .body = SPAN("x") };
    size_t n = build(&parts, dst, dst_size);
    struct bytes_writer writer;
    bytes_writer_init(&writer, dst + 20, 8); /* queueOffset */
    bytes_write_i64(&writer, offset);
    dst[4] ^= offset < 0 ? 0xFF : 0; /* the magic */
    return n;
}

/*
 * Where to go on behind as many as fit by their number, with the offsets from 0 on or all of them
 * no messages, and these two that are left out.
 */
static int64_t left_out_offset_of(bool are_messages, int64_t first_left_out, int64_t second)
{
    enum { PIECE_MAX = 128, N_PIECES = MESSAGE_JSON_COUNT_MAX + 2 };
    uint8_t *data = malloc((size_t)N_PIECES * PIECE_MAX);
    size_t at = 0;
    for (int64_t i = 0; i < MESSAGE_JSON_COUNT_MAX; i++) {
        at += piece_write(data + at, PIECE_MAX, are_messages ? i : -1);
    }
    at += piece_write(data + at, PIECE_MAX, first_left_out);
    at += piece_write(data + at, PIECE_MAX, second);
    struct message_json_counts counts;
    size_t size;
    char *text = message_json_from_body(
        (struct span){ (const char *)data, at }, &plain_source, &counts, &size);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(counts.n, MESSAGE_JSON_COUNT_MAX);
    ck_assert_uint_eq(counts.n_truncated, 2);
    free(text);
    free(data);
    return counts.left_out_offset;
}

START_TEST(a_pull_goes_on_at_what_was_left_out_whatever_that_is)
{
    ck_assert_int_eq(left_out_offset_of(true, 9000, 9001), 9000);
    ck_assert_int_eq(left_out_offset_of(true, -1, 9001), MESSAGE_JSON_COUNT_MAX);
    ck_assert_int_eq(left_out_offset_of(false, -1, 12), 12);
    ck_assert_int_eq(left_out_offset_of(false, -1, -1), -1);
}
END_TEST

START_TEST(messages_that_do_not_fit_an_answer_are_left_out_and_counted)
{
    const size_t n_body = 100000;
    char *body = malloc(n_body);
    memset(body, 'x', n_body);
    const struct parts parts = { .topic = SPAN("T"), .body = { body, n_body } };
    const size_t n_message = build(&parts, built, sizeof(built));
    const size_t n_messages = 200; /* 20 MB */
    char *data = malloc(n_messages * n_message);
    for (size_t i = 0; i < n_messages; i++) {
        memcpy(data + i * n_message, built, n_message);
    }
    struct message_json_counts counts;
    size_t size;
    char *text = message_json_from_body(
        (struct span){ data, n_messages * n_message }, &plain_source, &counts, &size);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_le(size, MESSAGE_JSON_SIZE_MAX);
    ck_assert_uint_gt(size, MESSAGE_JSON_SIZE_MAX - n_message - 1000);
    ck_assert_uint_eq(counts.n + counts.n_truncated, n_messages);
    json_t *array = json_loadb(text, size, 0, NULL);
    ck_assert_uint_eq(json_array_size(array), counts.n);
    json_decref(array);
    free(text);
    free(data);
    free(body);
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

START_TEST(several_bodies_become_one_array_each_with_its_broker)
{
    struct golden *golden = golden_load();
    struct frame_parts parts = body_of(golden_find(golden, "pull_message_found.json.response.bin"));
    const struct span body = { (const char *)parts.body, parts.body_size };
    const char *const names[] = { "broker-a", "broker-b" };
    struct message_json *json = message_json_new();
    for (size_t i = 0; i < 2; i++) {
        const struct message_json_source source = {
            .broker_name = span_of(names[i]),
            .max_decompressed = MAX_DECOMPRESSED,
        };
        ck_assert(message_json_append(json, body, &source));
        ck_assert(message_json_append(json, SPAN_ABSENT, &source));
    }
    struct message_json_counts counts;
    size_t size;
    char *text = message_json_end(json, true, &counts, &size);
    json_t *array = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_uint_eq(json_array_size(array), 14);
    ck_assert_uint_eq(counts.n, 14);
    for (size_t i = 0; i < 14; i++) {
        assert_text(json_array_get(array, i), "brokerName", names[i / 7]);
    }
    json_decref(array);
    free(text);
    ck_assert_ptr_null(message_json_end(message_json_new(), false, &counts, &size));
    golden_free(golden);
}
END_TEST

int main(void)
{
    TCase *golden = tcase_create("golden");
    tcase_set_timeout(golden, 60);
    tcase_add_test(golden, several_bodies_become_one_array_each_with_its_broker);
    tcase_add_test(golden, pulled_messages_are_those_that_were_sent);
    tcase_add_loop_test(
        golden, popped_messages_have_the_receipts_that_acknowledge_them, 0, N(pops));
    tcase_add_test(golden, popped_message_that_the_answer_does_not_name_says_so);
    tcase_add_test(golden, body_that_java_compressed_comes_decompressed);
    tcase_add_test(golden, every_recorded_body_is_an_array_cut_at_any_byte);
    TCase *by_hand = tcase_create("by hand");
    tcase_set_timeout(by_hand, 60);
    tcase_add_test(by_hand, every_field_is_where_the_header_says);
    tcase_add_test(by_hand, what_is_not_known_is_left_out);
    tcase_add_test(by_hand, topic_is_the_one_that_was_asked_for);
    tcase_add_test(by_hand, text_of_every_kind_comes_as_it_is);
    tcase_add_loop_test(by_hand, body_that_is_no_text_comes_in_base64, 0, N(binaries));
    tcase_add_test(by_hand, compressed_body_comes_as_its_text_or_in_base64);
    tcase_add_test(by_hand, body_that_cannot_be_decompressed_comes_raw_with_a_reason);
    tcase_add_test(by_hand, offsets_of_an_inner_batch_follow_its_own_also_beyond_the_last_one);
    tcase_add_loop_test(
        by_hand, property_that_is_no_text_is_left_out_and_said_so, 0, N(bad_properties));
    tcase_add_test(by_hand, last_of_several_properties_with_one_name_counts);
    tcase_add_test(by_hand, topic_that_is_no_text_is_left_out);
    tcase_add_test(by_hand, message_behind_a_bad_one_is_still_shown);
    tcase_add_test(by_hand, no_body_is_an_empty_array);
    tcase_add_test(by_hand, changed_messages_are_still_valid_json);
    tcase_add_test(by_hand, a_pull_goes_on_at_what_was_left_out_whatever_that_is);
    tcase_add_test(by_hand, messages_that_do_not_fit_an_answer_are_left_out_and_counted);
    Suite *suite = suite_create("message_json");
    suite_add_tcase(suite, golden);
    suite_add_tcase(suite, by_hand);
    return run_suite(suite);
}
