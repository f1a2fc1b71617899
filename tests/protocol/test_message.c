#include "protocol/message.h"

#include <limits.h>
#include <lz4frame.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "protocol/bytes.h"
#include "protocol/frame.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

/* The messages of a golden frame's body. */
struct golden_body {
    struct golden *golden;
    const struct golden_frame *frame;
    const uint8_t *data;
    size_t n;
};

static struct golden_body body_of(const char *file)
{
    struct golden_body body = { .golden = golden_load() };
    body.frame = golden_find(body.golden, file);
    struct frame_parts parts;
    frame_split(body.frame->data, body.frame->size, &parts);
    body.data = parts.body;
    body.n = parts.body_size;
    return body;
}

static const char *ext_field(const struct golden_body *body, const char *key)
{
    const char *value =
        json_string_value(json_object_get(json_object_get(body->frame->row, "extFields"), key));
    ck_assert_msg(value != NULL, "%s has no ext field %s", body->frame->file, key);
    return value;
}

static struct message decode_ok(const uint8_t *data, size_t n, size_t *ret_size)
{
    struct message message;
    ck_assert_int_eq(message_decode(data, n, &message, ret_size), MESSAGE_OK);
    ck_assert_uint_eq(*ret_size, (size_t)message.total_size);
    return message;
}

static void assert_span(struct span span, const char *text)
{
    ck_assert_msg(
        span_equals_text(span, text), "\"%.*s\" instead of \"%s\"", SPAN_ARGS(span), text);
}

static void assert_property(const struct message *message, const char *name, const char *value)
{
    assert_span(message_property(message->properties, span_of(name)), value);
}

/* Java's CRC: UtilAll.crc32() clears the sign bit. */
static int32_t java_crc(struct span body)
{
    return (int32_t)(crc32(0, (const Bytef *)body.data, (uInt)body.n) & 0x7fffffff);
}

static const char *const golden_bodies[] = {
    "pull_message_found.json.response.bin",
    "pull_message_found-2.json.response.bin",
    "pull_message_tag.json.response.bin",
    "pull_message_suspend_woken.json.response.bin",
    "query_message.json.response.bin",
    "pop_message_first.json.response.bin",
    "pop_message_redelivered.json.response.bin",
    "pop_message_order.json.response.bin",
    "acl_pop_signed.json.response.bin",
    "srvbin_pop_message_poll_timeout.binary.response.bin",
    "check_transaction_state.json.broker-request.bin",
    "consume_message_directly.json.broker-request.bin",
    "java_pull_message.json.response.bin",
    "java_pull_message-2.json.response.bin",
    "java_pop_message.json.response.bin",
    "java_check_transaction_state_oneway.json.broker-request.bin",
};

/*
 * Nothing is known of these messages but that they are real: the CRC tells that body, sizes and
 * offsets were found.
 */
START_TEST(body_of_real_messages_is_walked_to_its_end)
{
    struct golden_body body = body_of(golden_bodies[_i]);
    ck_assert_uint_gt(body.n, 0);
    for (size_t at = 0, size; at < body.n; at += size) {
        struct message message = decode_ok(body.data + at, body.n - at, &size);
        ck_assert_int_eq(message.magic, MESSAGE_MAGIC_V1);
        ck_assert_int_eq(message.body_crc, java_crc(message.body));
        ck_assert(!message.born_host.is_v6);
        ck_assert_int_eq(message.store_host.port, 20911);
        ck_assert_uint_gt(message_property(message.properties, SPAN(PROPERTY_UNIQ_KEY)).n, 0);
    }
    golden_free(body.golden);
}
END_TEST

START_TEST(real_message_cut_at_any_byte_is_partial)
{
    struct golden_body body = body_of(golden_bodies[_i]);
    size_t total_size;
    (void)decode_ok(body.data, body.n, &total_size);
    for (size_t n = 0; n < total_size; n++) {
        uint8_t *copy = golden_copy(body.data, n);
        struct message message;
        size_t size = 4711;
        ck_assert_int_eq(message_decode(copy, n, &message, &size), MESSAGE_PARTIAL);
        ck_assert_uint_eq(size, 0);
        free(copy);
    }
    golden_free(body.golden);
}
END_TEST

START_TEST(pulled_messages_are_those_that_were_sent)
{
    struct golden_body body = body_of("pull_message_found.json.response.bin");
    const char *const bodies[] = { "v1 body json", "v2 body json", "v2 with n", "b0", "b1", "b2",
        "oneway json" };
    int64_t queue_offset = 0;
    for (size_t at = 0, size; at < body.n; at += size, queue_offset++) {
        struct message message = decode_ok(body.data + at, body.n - at, &size);
        ck_assert_int_lt(queue_offset, 7);
        assert_span(message.body, bodies[queue_offset]);
        assert_span(message.topic, "Golden-json");
        ck_assert_int_eq(message.queue_offset, queue_offset);
        ck_assert_int_eq(message.queue_id, 0);
        ck_assert_int_eq(message.reconsume_times, 0);
    }
    char next[32];
    (void)snprintf(next, sizeof(next), "%lld", (long long)queue_offset);
    ck_assert_str_eq(next, ext_field(&body, "nextBeginOffset"));
    golden_free(body.golden);
}
END_TEST

static const char *const golden_checks[] = {
    "check_transaction_state.json.broker-request.bin",
    "check_transaction_state-2.json.broker-request.bin",
    "srvbin_check_transaction_state.binary.broker-request.bin",
    "java_check_transaction_state_oneway.json.broker-request.bin",
};

/* The header of CHECK_TRANSACTION_STATE says what its message must be. */
START_TEST(transaction_check_carries_the_message_that_its_header_names)
{
    struct golden_body body = body_of(golden_checks[_i]);
    size_t size;
    struct message message = decode_ok(body.data, body.n, &size);
    ck_assert_uint_eq(size, body.n);
    char number[32];
    (void)snprintf(number, sizeof(number), "%lld", (long long)message.physical_offset);
    ck_assert_str_eq(number, ext_field(&body, "commitLogOffset"));
    (void)snprintf(number, sizeof(number), "%lld", (long long)message.queue_offset);
    ck_assert_str_eq(number, ext_field(&body, "tranStateTableOffset"));
    char id[MESSAGE_OFFSET_ID_SIZE];
    message_offset_id(&message, id);
    ck_assert_str_eq(id, ext_field(&body, "offsetMsgId"));
    assert_property(&message, PROPERTY_UNIQ_KEY, ext_field(&body, "msgId"));
    assert_property(&message, "TRAN_MSG", "true");
    golden_free(body.golden);
}
END_TEST

START_TEST(redelivered_message_counts_and_carries_its_receipt)
{
    struct golden_body body = body_of("pop_message_redelivered.json.response.bin");
    size_t size;
    struct message message = decode_ok(body.data, body.n, &size);
    assert_span(message.topic, "GoldenPop");
    assert_span(message.body, "pop body 2");
    ck_assert_int_eq(message.reconsume_times, 1);
    char pop_ck[64]; /* from the answer's own header: one message, retry 1, queue 0, offset 1 */
    (void)snprintf(pop_ck, sizeof(pop_ck), "1 %s %s %s 1 broker-a 0 1", ext_field(&body, "popTime"),
        ext_field(&body, "invisibleTime"), ext_field(&body, "reviveQid"));
    assert_property(&message, PROPERTY_POP_CK, pop_ck);
    assert_property(&message, PROPERTY_TAGS, "t0");
    assert_property(&message, PROPERTY_KEYS, "pk2");
    golden_free(body.golden);
}
END_TEST

/*
 * A message by hand. What is left out is ordinary; what is added to a length makes it a lie, to
 * totalSize padding.
 */
struct parts {
    int32_t magic;
    int32_t sys_flag;
    const char *body;
    const char *topic;
    const char *properties;
    int32_t total_size_added;
    int32_t body_length_added;
    int32_t topic_length_added;
    int32_t properties_length_added;
};

static void write_host(struct bytes_writer *writer, bool is_v6, uint8_t first, int32_t port)
{
    uint8_t ip[16] = { first, [3] = 1, [15] = 1 };
    if (is_v6) {
        ip[3] = 0;
    }
    bytes_write(writer, ip, is_v6 ? 16 : 4);
    bytes_write_i32(writer, port);
}

static void write_head(struct bytes_writer *writer, int32_t magic, int32_t sys_flag)
{
    bytes_write_i32(writer, 0); /* written over when the size is known */
    bytes_write_i32(writer, magic);
    bytes_write_i32(writer, 907060870); /* of "hello", by UtilAll.crc32() */
    bytes_write_i32(writer, 3);
    bytes_write_i32(writer, -5);
    bytes_write_i64(writer, 0x0102030405060708);
    bytes_write_i64(writer, 4096);
    bytes_write_i32(writer, sys_flag);
    bytes_write_i64(writer, 1700000000001);
    write_host(writer, sys_flag & 0x10, 192, 4711);
    bytes_write_i64(writer, 1700000000002);
    write_host(writer, sys_flag & 0x20, 10, 10911);
    bytes_write_i32(writer, 7);
    bytes_write_i64(writer, -9);
}

/* The size of the message at dst, padding included. */
static size_t build(const struct parts *parts, uint8_t *dst, size_t dst_size)
{
    int32_t magic = parts->magic ? parts->magic : MESSAGE_MAGIC_V1;
    struct span body = span_of(parts->body ? parts->body : "hello");
    struct span topic = span_of(parts->topic ? parts->topic : "T");
    struct span properties = span_of(parts->properties ? parts->properties : "KEYS\001k\002");
    int32_t topic_length = (int32_t)topic.n + parts->topic_length_added;

    struct bytes_writer writer;
    memset(dst, 0xAA, dst_size);
    bytes_writer_init(&writer, dst, dst_size);
    write_head(&writer, magic, parts->sys_flag);
    bytes_write_i32(&writer, (int32_t)body.n + parts->body_length_added);
    bytes_write(&writer, body.data, body.n);
    if (magic == MESSAGE_MAGIC_V2) {
        bytes_write_i16(&writer, (int16_t)topic_length);
    } else {
        bytes_write_u8(&writer, (uint8_t)topic_length);
    }
    bytes_write(&writer, topic.data, topic.n);
    bytes_write_i16(&writer, (int16_t)((int32_t)properties.n + parts->properties_length_added));
    bytes_write(&writer, properties.data, properties.n);
    ck_assert(!bytes_writer_failed(&writer));

    int32_t total_size = (int32_t)writer.at + parts->total_size_added;
    bytes_writer_init(&writer, dst, dst_size);
    bytes_write_i32(&writer, total_size);
    return (size_t)total_size;
}

START_TEST(every_field_is_where_the_layout_says)
{
    uint8_t data[512];
    const struct parts parts = { 0 };
    size_t n = build(&parts, data, sizeof(data));
    ck_assert_uint_eq(n, 88 + 5 + 1 + 1 + 2 + 7); /* with IPv4 hosts the body stands at 88 */
    size_t size;
    struct message message = decode_ok(data, n, &size);
    ck_assert_uint_eq(size, n);
    ck_assert_int_eq(message.magic, MESSAGE_MAGIC_V1);
    ck_assert_int_eq(message.body_crc, java_crc(message.body));
    ck_assert_int_eq(message.queue_id, 3);
    ck_assert_int_eq(message.flag, -5);
    ck_assert_int_eq(message.queue_offset, 0x0102030405060708);
    ck_assert_int_eq(message.physical_offset, 4096);
    ck_assert_int_eq(message.sys_flag, 0);
    ck_assert_int_eq(message.born_timestamp_ms, 1700000000001);
    ck_assert_int_eq(message.store_timestamp_ms, 1700000000002);
    ck_assert_int_eq(message.reconsume_times, 7);
    ck_assert_int_eq(message.prepared_transaction_offset, -9);
    assert_span(message.body, "hello");
    assert_span(message.topic, "T");
    assert_property(&message, PROPERTY_KEYS, "k");
}
END_TEST

/* 10.0.0.1:10911 and offset 4096. */
START_TEST(offset_id_is_that_of_java)
{
    uint8_t data[512];
    char id[MESSAGE_OFFSET_ID_SIZE];
    size_t size;
    const struct parts v4 = { 0 };
    struct message message = decode_ok(data, build(&v4, data, sizeof(data)), &size);
    message_offset_id(&message, id);
    ck_assert_str_eq(id, "0A00000100002A9F0000000000001000");
    const struct parts v6 = { .sys_flag = 0x20 };
    message = decode_ok(data, build(&v6, data, sizeof(data)), &size);
    message_offset_id(&message, id);
    ck_assert_str_eq(id, "0A00000000000000000000000000000100002A9F0000000000001000");
}
END_TEST

/*
 * Every combination of the two versions, the hosts and the flags that say something about the body
 * only.
 */
START_TEST(hosts_and_versions_are_independent)
{
    const bool born_v6 = _i & 1;
    const bool store_v6 = _i & 2;
    const int32_t other_flags[] = { 0, 0x1 | 0x2 | 0xC | 0x40 | 0x80 | 0x700 };
    const struct parts parts = { .magic = _i & 4 ? MESSAGE_MAGIC_V2 : MESSAGE_MAGIC_V1,
        .sys_flag = (born_v6 ? 0x10 : 0) | (store_v6 ? 0x20 : 0) | other_flags[_i >> 3] };
    uint8_t data[512];
    size_t n = build(&parts, data, sizeof(data));
    size_t size;
    struct message message = decode_ok(data, n, &size);
    ck_assert_int_eq(message.magic, parts.magic);
    ck_assert_int_eq(message.sys_flag, parts.sys_flag);
    char text[MESSAGE_HOST_TEXT_SIZE];
    message_host_text(&message.born_host, text);
    ck_assert_str_eq(text, born_v6 ? "[c000::1]:4711" : "192.0.0.1:4711");
    message_host_text(&message.store_host, text);
    ck_assert_str_eq(text, store_v6 ? "[a00::1]:10911" : "10.0.0.1:10911");
    ck_assert_int_eq(message.store_timestamp_ms, 1700000000002);
    assert_span(message.body, "hello");
    assert_span(message.topic, "T");
    assert_property(&message, PROPERTY_KEYS, "k");
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *copy = golden_copy(data, cut);
        ck_assert_int_eq(message_decode(copy, cut, &message, &size), MESSAGE_PARTIAL);
        free(copy);
    }
}
END_TEST

START_TEST(message_whose_parts_do_not_fit_is_malformed_and_the_walk_goes_on)
{
    uint8_t data[512];
    const struct parts parts = { 0 };
    size_t n = build(&parts, data, sizeof(data));
    for (size_t total_size = 4; total_size < n; total_size++) {
        uint8_t *copy = golden_copy(data, total_size);
        struct bytes_writer writer;
        bytes_writer_init(&writer, copy, 4);
        bytes_write_i32(&writer, (int32_t)total_size);
        struct message message = { .queue_id = 4711 };
        size_t size = 0;
        ck_assert_int_eq(message_decode(copy, total_size, &message, &size), MESSAGE_MALFORMED);
        ck_assert_uint_eq(size, total_size);
        ck_assert_int_eq(message.queue_id, 4711);
        free(copy);
    }
}
END_TEST

START_TEST(padding_is_walked_over)
{
    uint8_t data[512];
    const struct parts parts = { .total_size_added = 13 };
    size_t n = build(&parts, data, sizeof(data));
    size_t size;
    struct message message = decode_ok(data, n + 20, &size);
    ck_assert_uint_eq(size, n);
    assert_span(message.properties, "KEYS\001k\002");
}
END_TEST

START_TEST(total_size_that_cannot_be_ends_the_walk)
{
    const int32_t sizes[] = { 0, 1, 3, -1, INT32_MIN };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t data[128] = { 0 };
        struct bytes_writer writer;
        bytes_writer_init(&writer, data, sizeof(data));
        bytes_write_i32(&writer, sizes[i]);
        struct message message;
        size_t size = 4711;
        ck_assert_int_eq(message_decode(data, sizeof(data), &message, &size), MESSAGE_MALFORMED);
        ck_assert_uint_eq(size, 0);
    }
}
END_TEST

struct malformed_case {
    const char *name;
    struct parts parts;
};

static const struct malformed_case malformed[] = {
    { "the blank at the end of a file", { .magic = (int32_t)0xCBD43194 } },
    { "no magic", { .magic = 1 } },
    { "a body of -1 bytes", { .body_length_added = -6 } },
    { "a body beyond the message", { .body_length_added = 1 + 1 + 2 + 7 + 1 } },
    { "the largest body", { .body_length_added = INT32_MAX - 5 } },
    { "a topic beyond the message", { .topic_length_added = 254 } },
    { "a topic of -1 bytes", { .magic = MESSAGE_MAGIC_V2, .topic_length_added = -2 } },
    { "properties of -1 bytes", { .properties_length_added = -8 } },
    { "properties beyond the message", { .properties_length_added = 1 } },
    { "the smallest properties", { .properties_length_added = INT16_MIN - 7 } },
};

START_TEST(lengths_and_magics_that_cannot_be_are_malformed)
{
    uint8_t data[512];
    size_t n = build(&malformed[_i].parts, data, sizeof(data));
    uint8_t *copy = golden_copy(data, n);
    struct message message;
    size_t size;
    ck_assert_msg(
        message_decode(copy, n, &message, &size) == MESSAGE_MALFORMED, "%s", malformed[_i].name);
    ck_assert_uint_eq(size, n);
    free(copy);
}
END_TEST

START_TEST(v2_topic_may_be_longer_than_255)
{
    char topic[301] = { 0 };
    memset(topic, 'x', 300);
    const struct parts parts = { .magic = MESSAGE_MAGIC_V2, .topic = topic };
    uint8_t data[512];
    size_t size;
    struct message message = decode_ok(data, build(&parts, data, sizeof(data)), &size);
    assert_span(message.topic, topic);
}
END_TEST

/* With 0x40 and 0x80 the body is one of SEND_BATCH_MESSAGE: it is handed out as it stands. */
START_TEST(inner_batch_comes_as_its_body)
{
    const struct parts parts = { .sys_flag =
                                     MESSAGE_SYSFLAG_INNER_BATCH | MESSAGE_SYSFLAG_NEED_UNWRAP,
        .properties = "INNER_NUM\0012\002INNER_BASE\00140\002" };
    uint8_t data[512];
    size_t size;
    struct message message = decode_ok(data, build(&parts, data, sizeof(data)), &size);
    ck_assert_int_eq(message.sys_flag, 0xC0);
    assert_span(message.body, "hello");
    assert_property(&message, "INNER_NUM", "2");
    assert_property(&message, "INNER_BASE", "40");
}
END_TEST

/* One message of a SEND_BATCH body: totalSize, three numbers, body, properties. */
static void write_inner(
    struct bytes_writer *writer, int32_t flag, const char *body, const char *properties)
{
    bytes_write_i32(writer, (int32_t)(22 + strlen(body) + strlen(properties)));
    bytes_write_i32(writer, 0);
    bytes_write_i32(writer, 0);
    bytes_write_i32(writer, flag);
    bytes_write_i32(writer, (int32_t)strlen(body));
    bytes_write(writer, body, strlen(body));
    bytes_write_i16(writer, (int16_t)strlen(properties));
    bytes_write(writer, properties, strlen(properties));
}

/* Two messages in data; the bytes written. */
static size_t build_inner(uint8_t *data, size_t n)
{
    struct bytes_writer writer;
    bytes_writer_init(&writer, data, n);
    write_inner(&writer, 7, "first", "a\001b\002");
    write_inner(&writer, 0, "", "");
    ck_assert(!bytes_writer_failed(&writer));
    return writer.at;
}

START_TEST(inner_batch_is_walked_to_its_end)
{
    uint8_t data[128];
    const struct span batch = { (const char *)data, build_inner(data, sizeof(data)) };
    size_t at = 0;
    struct message_inner inner;
    ck_assert(message_inner_next(batch, &at, &inner));
    ck_assert_uint_eq(at, 31);
    ck_assert_int_eq(inner.flag, 7);
    assert_span(inner.body, "first");
    assert_span(inner.properties, "a\001b\002");
    ck_assert(message_inner_next(batch, &at, &inner));
    ck_assert_int_eq(inner.flag, 0);
    assert_span(inner.body, "");
    assert_span(inner.properties, "");
    ck_assert_uint_eq(at, batch.n);
    ck_assert(!message_inner_next(batch, &at, &inner));
}
END_TEST

START_TEST(inner_batch_cut_at_any_byte_ends_before_its_end)
{
    uint8_t data[128];
    const size_t n = build_inner(data, sizeof(data));
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *copy = golden_copy(data, cut);
        const struct span batch = { (const char *)copy, cut };
        size_t at = 0;
        struct message_inner inner;
        while (message_inner_next(batch, &at, &inner)) {
        }
        ck_assert_uint_eq(at, cut < 31 ? 0 : 31);
        free(copy);
    }
}
END_TEST

START_TEST(inner_message_whose_parts_do_not_fit_ends_the_walk)
{
    /* Where a byte of a length stands, and what it becomes: sizes that run over, or are negative. */
    static const struct {
        size_t at;
        uint8_t value;
    } changes[] = { { 0, 0x80 }, { 3, 3 }, { 3, 21 }, { 3, 255 }, { 16, 0x80 }, { 19, 10 },
        { 25, 0x80 }, { 26, 5 } };
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint8_t data[128];
        const struct span batch = { (const char *)data, build_inner(data, sizeof(data)) };
        data[changes[i].at] = changes[i].value;
        size_t at = 0;
        struct message_inner inner;
        ck_assert_msg(!message_inner_next(batch, &at, &inner), "change %zu", i);
        ck_assert_uint_eq(at, 0);
    }
}
END_TEST

struct properties_case {
    const char *name;
    const char *properties;
    const char *walked; /* name=value; of each */
};

static const struct properties_case properties_cases[] = {
    { "none", "", "" },
    { "one", "a\001b\002", "a=b;" },
    { "the last without its end", "a\001b\002c\001d", "a=b;c=d;" },
    { "an empty value", "a\001\002c\001d\002", "a=;c=d;" },
    { "an empty value at the end", "a\001", "a=;" },
    { "a pair without a name", "\001b\002c\001d\002", "c=d;" },
    { "a pair without a separator", "ab\002c\001d\002", "c=d;" },
    { "nothing between ends", "\002\002a\001b\002\002", "a=b;" },
    { "a separator in a value", "a\001b\001c\002", "a=b\001c;" },
    { "only a name", "abc", "" },
};

START_TEST(properties_are_walked_in_order)
{
    const struct properties_case *c = &properties_cases[_i];
    size_t n = strlen(c->properties);
    uint8_t *copy = golden_copy((const uint8_t *)c->properties, n);
    const struct span properties = { (const char *)copy, n };
    char walked[128] = "";
    struct span name;
    struct span value;
    for (size_t at = 0; message_properties_next(properties, &at, &name, &value);) {
        size_t length = strlen(walked);
        (void)snprintf(walked + length, sizeof(walked) - length, "%.*s=%.*s;", SPAN_ARGS(name),
            SPAN_ARGS(value));
    }
    ck_assert_msg(strcmp(walked, c->walked) == 0, "%s: \"%s\"", c->name, walked);
    free(copy);
}
END_TEST

START_TEST(last_of_several_properties_with_one_name_counts)
{
    const struct span properties = SPAN("a\001b\002aa\001x\002a\001c\002");
    assert_span(message_property(properties, SPAN("a")), "c");
    ck_assert(span_is_absent(message_property(properties, SPAN("b"))));
    ck_assert(span_is_absent(message_property(properties, SPAN(""))));
    ck_assert(span_is_absent(message_property(SPAN_ABSENT, SPAN("a"))));
}
END_TEST

/* Compressed bodies: what the libraries themselves make of a text. */
struct blob {
    char *data;
    size_t n;
};

static struct blob blob_of(size_t capacity)
{
    struct blob blob = { malloc(capacity), capacity };
    ck_assert_ptr_nonnull(blob.data);
    return blob;
}

/* Text that compresses, but not to nothing. */
static struct blob text_of(size_t n)
{
    struct blob text = blob_of(n + 1);
    text.n = n;
    uint32_t random = 1;
    for (size_t i = 0; i < n; i++) {
        random = random * 1103515245 + 12345;
        text.data[i] = (char)('a' + (random >> 16) % 16);
    }
    return text;
}

static struct blob compress_zlib(struct blob text)
{
    uLongf n = compressBound(text.n);
    struct blob blob = blob_of(n);
    ck_assert_int_eq(compress2((Bytef *)blob.data, &n, (const Bytef *)text.data, text.n, 5), Z_OK);
    blob.n = n;
    return blob;
}

/* As Java's LZ4FrameOutputStream: blocks of 4 MiB, each by itself. */
static struct blob compress_lz4(struct blob text)
{
    const LZ4F_preferences_t java = {
        .frameInfo = { .blockSizeID = LZ4F_max4MB, .blockMode = LZ4F_blockIndependent },
    };
    struct blob blob = blob_of(LZ4F_compressFrameBound(text.n, &java));
    blob.n = LZ4F_compressFrame(blob.data, blob.n, text.data, text.n, &java);
    ck_assert(!LZ4F_isError(blob.n));
    return blob;
}

static struct blob compress_zstd(struct blob text)
{
    struct blob blob = blob_of(ZSTD_compressBound(text.n));
    blob.n = ZSTD_compress(blob.data, blob.n, text.data, text.n, 5);
    ck_assert(!ZSTD_isError(blob.n));
    return blob;
}

struct compression {
    const char *name;
    int32_t sys_flag;
    struct blob (*compress)(struct blob text);
};

static const struct compression compressions[] = {
    { "zlib of old senders", 0x001, compress_zlib },
    { "LZ4", 0x101, compress_lz4 },
    { "zstd", 0x201, compress_zstd },
    { "zlib", 0x301, compress_zlib },
};

static enum message_body_status decompress(
    int32_t sys_flag, struct blob compressed, size_t size_limit, struct blob *ret_body)
{
    char *copy = (char *)golden_copy((const uint8_t *)compressed.data, compressed.n);
    const struct message message = { .sys_flag = sys_flag, .body = { copy, compressed.n } };
    enum message_body_status status =
        message_body_decompress(&message, size_limit, &ret_body->data, &ret_body->n);
    free(copy);
    return status;
}

static const size_t text_sizes[] = { 0, 1, 2, 1023, 1024, 1025, 4097, 70000, 300000, 5000000 };

START_TEST(compressed_body_comes_back_when_it_just_fits)
{
    const struct compression *c = &compressions[_i];
    for (size_t i = 0; i < sizeof(text_sizes) / sizeof(text_sizes[0]); i++) {
        struct blob text = text_of(text_sizes[i]);
        struct blob compressed = c->compress(text);
        const size_t limits[] = { text.n, text.n + 1, 16777216, SIZE_MAX };
        for (size_t j = 0; j < sizeof(limits) / sizeof(limits[0]); j++) {
            struct blob body = { 0 };
            ck_assert_msg(decompress(c->sys_flag, compressed, limits[j], &body) == MESSAGE_BODY_OK,
                "%s, %zu bytes, limit %zu", c->name, text.n, limits[j]);
            ck_assert_ptr_nonnull(body.data);
            ck_assert_uint_eq(body.n, text.n);
            ck_assert(memcmp(body.data, text.data, text.n) == 0);
            free(body.data);
        }
        free(compressed.data);
        free(text.data);
    }
}
END_TEST

/* Java's numbers (CompressionType.java), and the libraries' own bytes at Java's level. */
START_TEST(body_is_compressed_as_the_libraries_do_at_level_5)
{
    static const enum message_compression ways[] = { MESSAGE_COMPRESSION_LZ4,
        MESSAGE_COMPRESSION_ZSTD, MESSAGE_COMPRESSION_ZLIB };
    const struct compression *c = &compressions[_i + 1];
    ck_assert_int_eq(message_compression_sys_flag(ways[_i]), c->sys_flag);
    for (size_t i = 0; i < sizeof(text_sizes) / sizeof(text_sizes[0]); i++) {
        struct blob text = text_of(text_sizes[i]);
        struct blob expected = c->compress(text);
        struct blob packed = blob_of(message_body_compress_bound(ways[_i], text.n));
        packed.n = message_body_compress(ways[_i], (struct span){ text.data, text.n }, packed.data);
        ck_assert_uint_eq(packed.n, expected.n);
        ck_assert(memcmp(packed.data, expected.data, expected.n) == 0);
        free(packed.data);
        free(expected.data);
        free(text.data);
    }
}
END_TEST

START_TEST(compressed_body_one_byte_beyond_the_limit_is_too_large)
{
    const struct compression *c = &compressions[_i];
    for (size_t i = 1; i < sizeof(text_sizes) / sizeof(text_sizes[0]); i++) {
        struct blob text = text_of(text_sizes[i]);
        struct blob compressed = c->compress(text);
        struct blob body = { 0 };
        ck_assert_int_eq(
            decompress(c->sys_flag, compressed, text.n - 1, &body), MESSAGE_BODY_TOO_LARGE);
        ck_assert_int_eq(decompress(c->sys_flag, compressed, 0, &body), MESSAGE_BODY_TOO_LARGE);
        ck_assert_ptr_null(body.data);
        free(compressed.data);
        free(text.data);
    }
}
END_TEST

START_TEST(bomb_ends_at_the_limit)
{
    const struct compression *c = &compressions[_i];
    struct blob zeros = { calloc(1, 64 << 20), 64 << 20 };
    ck_assert_ptr_nonnull(zeros.data);
    struct blob compressed = c->compress(zeros);
    struct blob body = { 0 };
    ck_assert_uint_lt(compressed.n, zeros.n / 200);
    ck_assert_int_eq(decompress(c->sys_flag, compressed, 100000, &body), MESSAGE_BODY_TOO_LARGE);
    ck_assert_int_eq(decompress(c->sys_flag, compressed, zeros.n, &body), MESSAGE_BODY_OK);
    ck_assert_uint_eq(body.n, zeros.n);
    free(body.data);
    free(compressed.data);
    free(zeros.data);
}
END_TEST

START_TEST(compressed_body_cut_at_any_byte_is_corrupt)
{
    const struct compression *c = &compressions[_i];
    struct blob text = text_of(3000);
    struct blob compressed = c->compress(text);
    for (size_t n = 0; n < compressed.n; n++) {
        struct blob body = { 0 };
        struct blob cut = { compressed.data, n };
        ck_assert_msg(decompress(c->sys_flag, cut, 1 << 20, &body) == MESSAGE_BODY_CORRUPT,
            "%s, %zu of %zu bytes", c->name, n, compressed.n);
        ck_assert_ptr_null(body.data);
    }
    free(compressed.data);
    free(text.data);
}
END_TEST

/* Any of the answers may come, as long as it comes, and within the limit. */
START_TEST(compressed_body_with_a_changed_byte_stays_within_the_limit)
{
    const struct compression *c = &compressions[_i];
    struct blob text = text_of(2000);
    struct blob compressed = c->compress(text);
    size_t n_refused = 0;
    for (size_t at = 0; at < compressed.n; at++) {
        for (int bit = 0; bit < 8; bit++) {
            compressed.data[at] = (char)(compressed.data[at] ^ (1 << bit));
            struct blob body = { 0 };
            enum message_body_status status = decompress(c->sys_flag, compressed, 2000, &body);
            ck_assert_uint_le(body.n, 2000);
            n_refused += status != MESSAGE_BODY_OK;
            free(body.data);
            compressed.data[at] = (char)(compressed.data[at] ^ (1 << bit));
        }
    }
    ck_assert_uint_gt(n_refused, 0);
    free(compressed.data);
    free(text.data);
}
END_TEST

START_TEST(text_that_is_not_compressed_is_corrupt)
{
    struct blob body = { 0 };
    char text[] = "hello, this is no compressed body at all";
    struct blob plain = { text, sizeof(text) };
    ck_assert_int_eq(
        decompress(compressions[_i].sys_flag, plain, 1000, &body), MESSAGE_BODY_CORRUPT);
    ck_assert_ptr_null(body.data);
}
END_TEST

/* Java's LZ4FrameInputStream: "Dependent block stream is unsupported (BLOCK_INDEPENDENCE ...)". */
START_TEST(blocks_of_lz4_stand_alone_for_java)
{
    struct blob text = text_of(300000);
    struct blob compressed = blob_of(message_body_compress_bound(MESSAGE_COMPRESSION_LZ4, text.n));
    size_t n = message_body_compress(
        MESSAGE_COMPRESSION_LZ4, (struct span){ text.data, text.n }, compressed.data);
    ck_assert_uint_gt(n, 0);
    LZ4F_dctx *context;
    ck_assert(!LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)));
    LZ4F_frameInfo_t info;
    ck_assert(!LZ4F_isError(LZ4F_getFrameInfo(context, &info, compressed.data, &n)));
    ck_assert_int_eq((int)info.blockMode, (int)LZ4F_blockIndependent);
    (void)LZ4F_freeDecompressionContext(context);
    free(compressed.data);
    free(text.data);
}
END_TEST

START_TEST(unknown_compression_is_named_as_such)
{
    struct blob body = { 0 };
    struct blob text = text_of(10);
    for (int32_t type = 4; type <= 7; type++) {
        ck_assert_int_eq(
            decompress(0x1 | type << 8, text, 1000, &body), MESSAGE_BODY_UNKNOWN_COMPRESSION);
    }
    ck_assert_ptr_null(body.data);
    free(text.data);
}
END_TEST

/*
 * Java's LZ4 and zstd streams read on into a second frame, its Inflater leaves everything behind
 * the stream alone.
 */
START_TEST(bytes_behind_a_stream_are_taken_as_java_takes_them)
{
    const struct compression *c = &compressions[_i];
    struct blob text = text_of(5000);
    struct blob compressed = c->compress(text);
    struct blob twice = blob_of(2 * compressed.n);
    memcpy(twice.data, compressed.data, compressed.n);
    memcpy(twice.data + compressed.n, compressed.data, compressed.n);
    struct blob body = { 0 };
    ck_assert_int_eq(decompress(c->sys_flag, twice, 1 << 20, &body), MESSAGE_BODY_OK);
    ck_assert_uint_eq(body.n, c->compress == compress_zlib ? text.n : 2 * text.n);
    ck_assert_mem_eq(body.data + body.n - text.n, text.data, text.n);
    free(body.data);
    free(twice.data);
    free(compressed.data);
    free(text.data);
}
END_TEST

/*
 * RFC 8878: magic, a descriptor without content size, and a window descriptor of 2^27 bytes
 * (exponent 17).
 */
START_TEST(zstd_window_far_beyond_the_limit_is_refused)
{
    char header[] = { '\x28', '\xb5', '\x2f', '\xfd', '\x00', (char)(17 << 3), 0, 0 };
    struct blob frame = { header, sizeof(header) };
    struct blob body = { 0 };
    ck_assert_int_eq(decompress(0x201, frame, 16 << 20, &body), MESSAGE_BODY_TOO_LARGE);
    ck_assert_int_eq(decompress(0x201, frame, 128 << 20, &body), MESSAGE_BODY_CORRUPT);
    header[5] = (char)(13 << 3); /* 8 MiB, what every decoder has to take */
    ck_assert_int_eq(decompress(0x201, frame, 1000, &body), MESSAGE_BODY_CORRUPT);
    ck_assert_ptr_null(body.data);
}
END_TEST

/* The message with the tag "big" is over 4096 bytes, so the Java client compressed it. */
START_TEST(body_that_java_compressed_is_decompressed)
{
    struct golden_body body = body_of("java_pull_message-2.json.response.bin");
    size_t size;
    struct message message = decode_ok(body.data, body.n, &size);
    ck_assert_int_eq(message.sys_flag, 0x301);
    assert_property(&message, PROPERTY_TAGS, "big");
    char *text;
    size_t n;
    ck_assert_int_eq(message_body_decompress(&message, 1 << 20, &text, &n), MESSAGE_BODY_OK);
    ck_assert_uint_gt(n, 4096);
    uLongf oracle_n = 1 << 20;
    char *oracle = malloc(oracle_n);
    ck_assert_ptr_nonnull(oracle);
    ck_assert_int_eq(
        uncompress((Bytef *)oracle, &oracle_n, (const Bytef *)message.body.data, message.body.n),
        Z_OK);
    ck_assert_uint_eq(n, oracle_n);
    ck_assert_mem_eq(text, oracle, n);
    free(oracle);
    free(text);
    golden_free(body.golden);
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

static TCase *golden_tests(void)
{
    TCase *tests = tcase_create("golden");
    tcase_add_loop_test(tests, body_of_real_messages_is_walked_to_its_end, 0, N(golden_bodies));
    tcase_add_loop_test(tests, real_message_cut_at_any_byte_is_partial, 0, N(golden_bodies));
    tcase_add_test(tests, pulled_messages_are_those_that_were_sent);
    tcase_add_loop_test(
        tests, transaction_check_carries_the_message_that_its_header_names, 0, N(golden_checks));
    tcase_add_test(tests, redelivered_message_counts_and_carries_its_receipt);
    return tests;
}

static TCase *layout_tests(void)
{
    TCase *tests = tcase_create("layout");
    tcase_add_test(tests, every_field_is_where_the_layout_says);
    tcase_add_test(tests, offset_id_is_that_of_java);
    tcase_add_loop_test(tests, hosts_and_versions_are_independent, 0, 16);
    tcase_add_test(tests, message_whose_parts_do_not_fit_is_malformed_and_the_walk_goes_on);
    tcase_add_test(tests, padding_is_walked_over);
    tcase_add_test(tests, total_size_that_cannot_be_ends_the_walk);
    tcase_add_loop_test(tests, lengths_and_magics_that_cannot_be_are_malformed, 0, N(malformed));
    tcase_add_test(tests, v2_topic_may_be_longer_than_255);
    tcase_add_test(tests, inner_batch_comes_as_its_body);
    tcase_add_test(tests, inner_batch_is_walked_to_its_end);
    tcase_add_test(tests, inner_batch_cut_at_any_byte_ends_before_its_end);
    tcase_add_test(tests, inner_message_whose_parts_do_not_fit_ends_the_walk);
    tcase_add_loop_test(tests, properties_are_walked_in_order, 0, N(properties_cases));
    tcase_add_test(tests, last_of_several_properties_with_one_name_counts);
    return tests;
}

START_TEST(an_offset_id_says_where_the_message_lies)
{
    static const struct {
        const char *id;
        const char *host; /* NULL: it is none */
        int64_t offset;
    } cases[] = {
        { "7F000001000058B5000000000000027C", "127.0.0.1:22709", 636 },
        { "7f000001000058b5000000000000027c", "127.0.0.1:22709", 636 },
        { "000000000000000000000000000000010000FFFF7FFFFFFFFFFFFFFF", "[::1]:65535", INT64_MAX },
        { "7F000001000058B5000000000000027", NULL, 0 },
        { "7F000001000058B5000000000000027C0", NULL, 0 },
        { "7F000001000058B5000000000000027G", NULL, 0 },
        { "7F000001000058B50000000000000 7C", NULL, 0 },
        { "7F00000100000000000000000000027C", NULL, 0 }, /* port 0 */
        { "7F00000100010000000000000000027C", NULL, 0 }, /* port 65536 */
        { "7F000001000058B5FFFFFFFFFFFFFFFF", NULL, 0 }, /* before the beginning */
        { "7F0000010001788E2C1E0E1C2A4B0003", NULL, 0 }, /* a UNIQ_KEY */
        { "", NULL, 0 },
        { NULL, NULL, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct message_host host;
        int64_t offset;
        char text[MESSAGE_HOST_TEXT_SIZE];
        ck_assert_int_eq(
            message_offset_id_read(span_of(cases[i].id), &host, &offset), cases[i].host != NULL);
        if (cases[i].host) {
            message_host_text(&host, text);
            ck_assert_str_eq(text, cases[i].host);
            ck_assert_int_eq(offset, cases[i].offset);
        }
    }
}
END_TEST

static TCase *body_tests(void)
{
    TCase *tests = tcase_create("body");
    tcase_set_timeout(tests, 60);
    const int n = N(compressions);
    tcase_add_loop_test(tests, compressed_body_comes_back_when_it_just_fits, 0, n);
    tcase_add_loop_test(tests, body_is_compressed_as_the_libraries_do_at_level_5, 0, n - 1);
    tcase_add_loop_test(tests, compressed_body_one_byte_beyond_the_limit_is_too_large, 0, n);
    tcase_add_loop_test(tests, bomb_ends_at_the_limit, 0, n);
    tcase_add_loop_test(tests, compressed_body_cut_at_any_byte_is_corrupt, 0, n);
    tcase_add_loop_test(tests, compressed_body_with_a_changed_byte_stays_within_the_limit, 0, n);
    tcase_add_loop_test(tests, text_that_is_not_compressed_is_corrupt, 0, n);
    tcase_add_test(tests, blocks_of_lz4_stand_alone_for_java);
    tcase_add_test(tests, an_offset_id_says_where_the_message_lies);
    tcase_add_test(tests, unknown_compression_is_named_as_such);
    tcase_add_loop_test(tests, bytes_behind_a_stream_are_taken_as_java_takes_them, 0, n);
    tcase_add_test(tests, zstd_window_far_beyond_the_limit_is_refused);
    tcase_add_test(tests, body_that_java_compressed_is_decompressed);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("message");
    suite_add_tcase(suite, golden_tests());
    suite_add_tcase(suite, layout_tests());
    suite_add_tcase(suite, body_tests());
    return run_suite(suite);
}
