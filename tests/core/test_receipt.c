#include "daemon/core/receipt.h"

#include <stdio.h>
#include <stdlib.h>

#include "protocol/ext_fields.h"
#include "protocol/frame.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

static const char *ext_field(const struct golden_frame *frame, const char *key)
{
    const char *value =
        json_string_value(json_object_get(json_object_get(frame->row, "extFields"), key));
    ck_assert_msg(value != NULL, "%s has no ext field %s", frame->file, key);
    return value;
}

static int64_t ext_number(const struct golden_frame *frame, const char *key)
{
    int64_t number;
    ck_assert(ext_value_parse_i64(span_of(ext_field(frame, key)), INT64_MIN, INT64_MAX, &number));
    return number;
}

static struct receipt_pop_info info_of(const struct golden_frame *frame)
{
    return (struct receipt_pop_info){
        .start_offset_info = span_of(ext_field(frame, "startOffsetInfo")),
        .msg_offset_info = span_of(ext_field(frame, "msgOffsetInfo")),
        .pop_time_ms = ext_number(frame, "popTime"),
        .invisible_time_ms = ext_number(frame, "invisibleTime"),
        .revive_queue_id = (int32_t)ext_number(frame, "reviveQid"),
    };
}

/* The message of a POP answer at a queue and an offset; it points into the frame. */
static struct message find_message(
    const struct golden_frame *frame, int64_t queue_id, int64_t queue_offset)
{
    struct frame_parts parts;
    frame_split(frame->data, frame->size, &parts);
    size_t size;
    for (size_t at = 0; at < parts.body_size; at += size) {
        struct message message;
        ck_assert_int_eq(
            message_decode(parts.body + at, parts.body_size - at, &message, &size), MESSAGE_OK);
        if (message.queue_id == queue_id && message.queue_offset == queue_offset) {
            return message;
        }
    }
    ck_abort_msg("%s has no such message", frame->file);
}

struct ack_case {
    const char *pop_request;
    const char *pop_response;
    const char *ack_request; /* ACK or CHANGE_INVISIBLE: what RocketMQ's side made of the answer */
};

static const struct ack_case acks[] = {
    { "java_pop_message.json.request.bin", "java_pop_message.json.response.bin",
        "java_ack_message.json.request.bin" },
    { "pop_message_first.json.request.bin", "pop_message_first.json.response.bin",
        "ack_message_again.json.request.bin" },
    { "pop_message_first.json.request.bin", "pop_message_first.json.response.bin",
        "change_message_invisible_time.json.request.bin" },
    { "pop_message_order.json.request.bin", "pop_message_order.json.response.bin",
        "ack_message_order.json.request.bin" },
    { "srvbin_pop_message_order.json.request.bin", "srvbin_pop_message_order.binary.response.bin",
        "srvbin_ack_message_order.json.request.bin" },
};

START_TEST(receipt_of_a_popped_message_makes_the_extra_info_that_brokers_took)
{
    struct golden *golden = golden_load();
    const struct golden_frame *asked = golden_find(golden, acks[_i].pop_request);
    const struct golden_frame *popped = golden_find(golden, acks[_i].pop_response);
    const struct golden_frame *ack = golden_find(golden, acks[_i].ack_request);
    struct receipt_pop_info info = info_of(popped);
    struct message message =
        find_message(popped, ext_number(ack, "queueId"), ext_number(ack, "offset"));
    struct receipt receipt;
    ck_assert(receipt_from_pop(&info, &message, span_of(ext_field(asked, "topic")),
        span_of(ext_field(asked, "consumerGroup")), SPAN("broker-a"), &receipt));
    char text[RECEIPT_TEXT_MAX];
    ck_assert_uint_eq(
        receipt_extra_info(&receipt, text, sizeof(text)), strlen(ext_field(ack, "extraInfo")));
    ck_assert_str_eq(text, ext_field(ack, "extraInfo"));
    ck_assert_uint_gt(receipt_real_topic(&receipt, text, sizeof(text)), 0);
    ck_assert_str_eq(text, ext_field(ack, "topic"));
    golden_free(golden);
}
END_TEST

static const char *const redelivered[] = {
    "pop_message_redelivered.json.response.bin",
    "srvbin_pop_message_redelivered.binary.response.bin",
};

START_TEST(receipt_of_a_redelivered_message_is_its_pop_ck)
{
    struct golden *golden = golden_load();
    const struct golden_frame *popped = golden_find(golden, redelivered[_i]);
    struct message message = find_message(popped, 0, 1);
    const struct receipt_pop_info info = { .pop_time_ms = 1 }; /* not needed */
    struct receipt receipt;
    ck_assert(receipt_from_pop(
        &info, &message, SPAN("GoldenPop"), SPAN("GID-pop-fresh"), SPAN("broker-a"), &receipt));
    ck_assert_int_eq(receipt.retry, RECEIPT_RETRY_V1);
    char text[RECEIPT_TEXT_MAX];
    ck_assert_uint_gt(receipt_extra_info(&receipt, text, sizeof(text)), 0);
    ck_assert(span_equals_text(message_property(message.properties, SPAN("POP_CK")), text));
    ck_assert_uint_gt(receipt_real_topic(&receipt, text, sizeof(text)), 0);
    ck_assert_str_eq(text, "%RETRY%GID-pop-fresh_GoldenPop");
    golden_free(golden);
}
END_TEST

struct pop_case {
    const char *name;
    const char *start_offset_info;
    const char *msg_offset_info;
    const char *message_topic;
    const char *properties;
    const char *extra_info; /* NULL: refused */
};

/* The message lies in queue 3 at offset 12; topic T was asked for by group G at broker-a. */
static const struct pop_case pops[] = {
    { "normal", "0 3 10", "0 3 10,11,12", "T", "", "10 1700 60000 5 0 broker-a 3 12" },
    { "normal among others", "0 2 7;1 3 8;0 3 10;2 3 9", "0 2 7;0 3 12", "T", "",
        "10 1700 60000 5 0 broker-a 3 12" },
    { "retry v1", "0 3 10;1 3 8", "0 3 10;1 3 12", "%RETRY%G_T", "",
        "8 1700 60000 5 1 broker-a 3 12" },
    { "retry v2", "1 3 8;2 3 9", "1 3 8;2 3 12", "%RETRY%G+T", "",
        "9 1700 60000 5 2 broker-a 3 12" },
    { "no offsets told", "0 3 10", "", "T", "", "10 1700 60000 5 0 broker-a 3 12" },
    { "offsets absent", "0 3 10", NULL, "T", "", "10 1700 60000 5 0 broker-a 3 12" },
    { "a last semicolon", "0 3 10;", "0 3 12;", "T", "", "10 1700 60000 5 0 broker-a 3 12" },
    { "garbage among the entries", "x;;0 3;0 3 10", ";0 3 12", "T", "",
        "10 1700 60000 5 0 broker-a 3 12" },
    { "no start", "", "0 3 12", "T", "", NULL },
    { "start absent", NULL, "0 3 12", "T", "", NULL },
    { "start of another queue", "0 2 10", "0 3 12", "T", "", NULL },
    { "start of the retry topic only", "1 3 10", "0 3 12", "T", "", NULL },
    { "start of the normal topic only", "0 3 10", "1 3 12", "%RETRY%G_T", "", NULL },
    { "a start that is no number", "0 3 x", "0 3 12", "T", "", NULL },
    { "a negative start", "0 3 -1", "0 3 12", "T", "", NULL },
    { "another offset", "0 3 10", "0 3 10,11", "T", "", NULL },
    { "an offset that only begins alike", "0 3 10", "0 3 120,1,2", "T", "", NULL },
    { "offsets of another queue", "0 3 10", "0 2 12", "T", "", NULL },
    { "POP_CK", NULL, NULL, "T", "POP_CK\0018 1600 30000 4 1 broker-a 3 12\002",
        "8 1600 30000 4 1 broker-a 3 12" },
    { "POP_CK before the infos", "0 3 10", "0 3 12", "T",
        "A\001b\002POP_CK\0018 1600 30000 4 2 broker-a 3 12", "8 1600 30000 4 2 broker-a 3 12" },
    { "POP_CK of another offset", NULL, NULL, "T", "POP_CK\0018 1600 30000 4 1 broker-a 3 13\002",
        NULL },
    { "POP_CK of another queue", NULL, NULL, "T", "POP_CK\0018 1600 30000 4 1 broker-a 4 12\002",
        NULL },
    { "POP_CK of another broker", NULL, NULL, "T", "POP_CK\0018 1600 30000 4 1 broker-b 3 12\002",
        NULL },
    { "POP_CK with seven fields", NULL, NULL, "T", "POP_CK\0018 1600 30000 4 1 broker-a 3\002",
        NULL },
    { "POP_CK with nine fields", NULL, NULL, "T", "POP_CK\0018 1600 30000 4 1 broker-a 3 12 1\002",
        NULL },
    { "POP_CK with an unknown retry", NULL, NULL, "T",
        "POP_CK\0018 1600 30000 4 3 broker-a 3 12\002", NULL },
    { "a producer's POP_CK", "0 3 10", "0 3 12", "T", "POP_CK\001garbage\002",
        "10 1700 60000 5 0 broker-a 3 12" },
};

START_TEST(message_has_a_receipt_when_the_answer_names_it)
{
    const struct pop_case *c = &pops[_i];
    const struct receipt_pop_info info = {
        .start_offset_info = span_of(c->start_offset_info),
        .msg_offset_info = span_of(c->msg_offset_info),
        .pop_time_ms = 1700,
        .invisible_time_ms = 60000,
        .revive_queue_id = 5,
    };
    const struct message message = {
        .queue_id = 3,
        .queue_offset = 12,
        .topic = span_of(c->message_topic),
        .properties = span_of(c->properties),
    };
    struct receipt receipt;
    bool found =
        receipt_from_pop(&info, &message, SPAN("T"), SPAN("G"), SPAN("broker-a"), &receipt);
    ck_assert_msg(found == (c->extra_info != NULL), "%s", c->name);
    if (found) {
        char text[RECEIPT_TEXT_MAX];
        ck_assert_uint_gt(receipt_extra_info(&receipt, text, sizeof(text)), 0);
        ck_assert_msg(strcmp(text, c->extra_info) == 0, "%s: %s", c->name, text);
        ck_assert(span_equals_text(receipt.topic, "T"));
        ck_assert(span_equals_text(receipt.group, "G"));
    }
}
END_TEST

static struct receipt ordinary_receipt(void)
{
    return (struct receipt){
        .topic = SPAN("T"),
        .group = SPAN("GID-a%b|c_d"),
        .broker_name = SPAN("broker-a"),
        .queue_id = 3,
        .queue_offset = 12,
        .ck_queue_offset = 10,
        .pop_time_ms = 1700000000000,
        .invisible_time_ms = 60000,
        .revive_queue_id = 999,
        .retry = RECEIPT_RETRY_V2,
        .physical_offset = 4294967296,
    };
}

#define ORDINARY_TEXT "r2~T~GID-a%b|c_d~broker-a~3~12~10~1700000000000~60000~999~2~4294967296"

START_TEST(text_is_the_one_of_the_header)
{
    struct receipt receipt = ordinary_receipt();
    char text[RECEIPT_TEXT_MAX];
    ck_assert_uint_eq(receipt_encode(&receipt, text, sizeof(text)), strlen(ORDINARY_TEXT));
    ck_assert_str_eq(text, ORDINARY_TEXT);
}
END_TEST

/*
 * After CHANGE_MESSAGE_INVISIBLETIME: the golden ACK carries the three numbers that its answer
 * brought.
 */
START_TEST(renewed_receipt_makes_the_renewed_extra_info)
{
    struct golden *golden = golden_load();
    const struct golden_frame *changed =
        golden_find(golden, "srvbin_change_message_invisible_time.binary.response.bin");
    const struct golden_frame *ack =
        golden_find(golden, "srvbin_ack_message_after_change.json.request.bin");
    struct receipt receipt = ordinary_receipt();
    receipt.topic = span_of(ext_field(ack, "topic"));
    receipt.group = span_of(ext_field(ack, "consumerGroup"));
    receipt.queue_id = (int32_t)ext_number(ack, "queueId");
    receipt.queue_offset = ext_number(ack, "offset");
    receipt.ck_queue_offset = receipt.queue_offset; /* a changed message is a batch of its own */
    receipt.pop_time_ms = ext_number(changed, "popTime");
    receipt.invisible_time_ms = ext_number(changed, "invisibleTime");
    receipt.revive_queue_id = (int32_t)ext_number(changed, "reviveQid");
    receipt.retry = RECEIPT_NORMAL;
    char text[RECEIPT_TEXT_MAX];
    ck_assert_uint_gt(receipt_extra_info(&receipt, text, sizeof(text)), 0);
    ck_assert_str_eq(text, ext_field(ack, "extraInfo"));
    golden_free(golden);
}
END_TEST

static const char *const good_texts[] = {
    ORDINARY_TEXT,
    "r1~T~G~b~0~0~0~0~0~0~0",
    "r2~T~G~b~0~0~0~0~0~0~0~0",
    "r2~T~G~b~0~0~0~0~0~0~0~9223372036854775807",
    "r1~%RETRY%x~G~b.c/d:e~2147483647~9223372036854775807~1~2~3~4~1",
    "r1~T~G~b~0~0~9223372036854775807~9223372036854775807~9223372036854775807~2147483647~2",
    "r1~T~G~\xe5\xb8\x82~1~2~3~4~5~6~0",
};

START_TEST(decoded_text_is_encoded_to_itself)
{
    const char *good = good_texts[_i];
    char *copy = (char *)golden_copy((const uint8_t *)good, strlen(good));
    struct receipt receipt;
    ck_assert(receipt_decode((struct span){ copy, strlen(good) }, &receipt));
    char text[RECEIPT_TEXT_MAX];
    ck_assert_uint_eq(receipt_encode(&receipt, text, sizeof(text)), strlen(good));
    ck_assert_str_eq(text, good);
    free(copy);
}
END_TEST

START_TEST(decoded_fields_are_those_that_were_encoded)
{
    struct receipt receipt;
    ck_assert(receipt_decode(SPAN(ORDINARY_TEXT), &receipt));
    const struct receipt expected = ordinary_receipt();
    ck_assert(span_equals(receipt.topic, expected.topic));
    ck_assert(span_equals(receipt.group, expected.group));
    ck_assert(span_equals(receipt.broker_name, expected.broker_name));
    ck_assert_int_eq(receipt.queue_id, expected.queue_id);
    ck_assert_int_eq(receipt.queue_offset, expected.queue_offset);
    ck_assert_int_eq(receipt.ck_queue_offset, expected.ck_queue_offset);
    ck_assert_int_eq(receipt.pop_time_ms, expected.pop_time_ms);
    ck_assert_int_eq(receipt.invisible_time_ms, expected.invisible_time_ms);
    ck_assert_int_eq(receipt.revive_queue_id, expected.revive_queue_id);
    ck_assert_int_eq(receipt.retry, expected.retry);
    ck_assert_int_eq(receipt.physical_offset, expected.physical_offset);
}
END_TEST

/* As RocketMQ 5.5.0 answered a POP of a retry topic that classic consumers use. */
START_TEST(a_message_of_a_retry_topic_that_was_asked_for_lies_in_it)
{
    const struct receipt_pop_info info = {
        .start_offset_info = SPAN("1 0 0"),
        .msg_offset_info = SPAN("1 0 0"),
        .pop_time_ms = 1795439471672,
        .invisible_time_ms = 5000,
        .revive_queue_id = 1,
    };
    const struct message message = { .topic = SPAN("%RETRY%g") };
    struct receipt receipt;
    char topic[RECEIPT_TEXT_MAX];
    ck_assert(receipt_from_pop(&info, &message, SPAN("%RETRY%g"), SPAN("g"), SPAN("b"), &receipt));
    ck_assert_uint_gt(receipt_real_topic(&receipt, topic, sizeof(topic)), 0);
    ck_assert_str_eq(topic, "%RETRY%g");
}
END_TEST

START_TEST(a_receipt_of_version_1_has_no_physical_offset)
{
    struct receipt receipt;
    ck_assert(receipt_decode(SPAN("r1~T~G~b~1~2~3~4~5~6~0"), &receipt));
    ck_assert_int_eq(receipt.physical_offset, RECEIPT_NO_PHYSICAL_OFFSET);
}
END_TEST

/* As RocketMQ 5.5.0 wrote it when two messages of an ordered group came for the second time. */
START_TEST(an_ordered_answer_says_how_often_a_message_came)
{
    static const struct {
        const char *info;
        int32_t queue_id;
        int64_t queue_offset;
        int32_t times;
    } cases[] = {
        { "0 qo0%0 1;0 qo0%1 2;0 0 3", 0, 0, 1 },
        { "0 qo0%0 1;0 qo0%1 2;0 0 3", 0, 1, 2 },
        { "0 qo0%0 1;0 qo0%1 2;0 0 3", 0, 2, 3 }, /* its queue's */
        { "0 qo0%0 1;0 qo0%1 2;0 0 3", 1, 0, 7 }, /* the message's own */
        { "0 0 0", 0, 0, 7 },
        { "1 0 5", 0, 0, 7 },
        { "0 qo0%0 x;0 0", 0, 0, 7 },
        { "0 qo0%0 2147483648", 0, 0, 7 },
        { "", 0, 0, 7 },
        { NULL, 0, 0, 7 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct receipt_pop_info info = { .order_count_info = span_of(cases[i].info) };
        const struct message message = {
            .queue_id = cases[i].queue_id,
            .queue_offset = cases[i].queue_offset,
            .reconsume_times = 7,
        };
        ck_assert_int_eq(receipt_pop_reconsume_times(&info, &message), cases[i].times);
    }
}
END_TEST

static const char *const garbage[] = {
    "",
    "~",
    "~~~~~~~~~~",
    "r1",
    "garbage",
    "10 1700 60000 5 0 broker-a 3 12",
    "r2~T~G~b~0~0~0~0~0~0~0",
    "r2~T~G~b~0~0~0~0~0~0~0~-1",
    "r2~T~G~b~0~0~0~0~0~0~0~",
    "r2~T~G~b~0~0~0~0~0~0~0~0~0",
    "r3~T~G~b~0~0~0~0~0~0~0~0",
    "r11~T~G~b~0~0~0~0~0~0~0",
    "R1~T~G~b~0~0~0~0~0~0~0",
    " r1~T~G~b~0~0~0~0~0~0~0",
    "r1~T~G~b~0~0~0~0~0~0~0 ",
    "r1~T~G~b~0~0~0~0~0~0",
    "r1~T~G~b~0~0~0~0~0~0~",
    "r1~T~G~b~0~0~0~0~0~0~0~",
    "r1~T~G~b~0~0~0~0~0~0~0~0",
    "r1~~G~b~0~0~0~0~0~0~0",
    "r1~T~~b~0~0~0~0~0~0~0",
    "r1~T~G~~0~0~0~0~0~0~0",
    "r1~T T~G~b~0~0~0~0~0~0~0",
    "r1~T~G\n~b~0~0~0~0~0~0~0",
    "r1~T~G~b b~0~0~0~0~0~0~0",
    "r1~T~G~b\x7f~0~0~0~0~0~0~0",
    "r1~T~G~\"b~0~0~0~0~0~0~0",
    "r1~T~G~'b~0~0~0~0~0~0~0",
    "r1~T~G~b\\~0~0~0~0~0~0~0",
    "r1~T+~G~b~0~0~0~0~0~0~0",
    "r1~T~G~b~-1~0~0~0~0~0~0",
    "r1~T~G~b~-0~0~0~0~0~0~0",
    "r1~T~G~b~+1~0~0~0~0~0~0",
    "r1~T~G~b~00~0~0~0~0~0~0",
    "r1~T~G~b~01~0~0~0~0~0~0",
    "r1~T~G~b~1 ~0~0~0~0~0~0",
    "r1~T~G~b~0x1~0~0~0~0~0~0",
    "r1~T~G~b~~0~0~0~0~0~0",
    "r1~T~G~b~2147483648~0~0~0~0~0~0",
    "r1~T~G~b~0~9223372036854775808~0~0~0~0~0",
    "r1~T~G~b~0~0~-1~0~0~0~0",
    "r1~T~G~b~0~0~0~99999999999999999999~0~0~0",
    "r1~T~G~b~0~0~0~0~x~0~0",
    "r1~T~G~b~0~0~0~0~0~2147483648~0",
    "r1~T~G~b~0~0~0~0~0~0~3",
    "r1~T~G~b~0~0~0~0~0~0~-1",
};

START_TEST(text_that_was_never_encoded_is_refused)
{
    char *copy = (char *)golden_copy((const uint8_t *)garbage[_i], strlen(garbage[_i]));
    struct receipt receipt = { .queue_id = 4711 };
    ck_assert_msg(
        !receipt_decode((struct span){ copy, strlen(garbage[_i]) }, &receipt), "%s", garbage[_i]);
    ck_assert_int_eq(receipt.queue_id, 4711);
    free(copy);
}
END_TEST

/* A text that is accepted must be the one that encoding makes of it. */
static bool is_refused_or_comes_back(const char *data, size_t n)
{
    char *copy = (char *)golden_copy((const uint8_t *)data, n);
    struct receipt receipt;
    char text[RECEIPT_TEXT_MAX];
    bool is_right = true;
    if (receipt_decode((struct span){ copy, n }, &receipt)) {
        is_right = receipt_encode(&receipt, text, sizeof(text)) == n && memcmp(text, copy, n) == 0;
    }
    free(copy);
    return is_right;
}

START_TEST(mutilated_text_is_refused_or_a_receipt_of_its_own)
{
    const size_t n = strlen(ORDINARY_TEXT);
    char text[sizeof(ORDINARY_TEXT) + 1];
    for (size_t at = 0; at <= n; at++) {
        ck_assert(is_refused_or_comes_back(ORDINARY_TEXT, at));
        for (int byte = 0; byte < 256; byte++) {
            memcpy(text, ORDINARY_TEXT, n + 1);
            text[at] = (char)byte; /* changed, or behind the end */
            ck_assert_msg(
                is_refused_or_comes_back(text, at < n ? n : n + 1), "%d at %zu", byte, at);
            memmove(text + at + 1, &ORDINARY_TEXT[at], n - at); /* put in */
            ck_assert_msg(is_refused_or_comes_back(text, n + 1), "%d before %zu", byte, at);
        }
    }
}
END_TEST

START_TEST(random_text_is_refused_or_a_receipt_of_its_own)
{
    const char alphabet[] = "r1~~~~~TGb0127-+ \\\"";
    uint32_t random = 42;
    for (int round = 0; round < 200000; round++) {
        char text[48] = "r1~";
        size_t n = 3;
        for (; n < sizeof(text); n++) {
            random = random * 1664525 + 1013904223;
            if ((random >> 24) % 40 == 0) {
                break;
            }
            text[n] = alphabet[(random >> 16) % (sizeof(alphabet) - 1)];
        }
        ck_assert_msg(is_refused_or_comes_back(text, n), "%.*s", (int)n, text);
    }
}
END_TEST

START_TEST(result_that_does_not_fit_is_none)
{
    struct receipt receipt = ordinary_receipt();
    size_t (*const writers[])(const struct receipt *, char *, size_t) = { receipt_encode,
        receipt_extra_info, receipt_real_topic };
    for (size_t i = 0; i < 3; i++) {
        char text[RECEIPT_TEXT_MAX];
        size_t n = writers[i](&receipt, text, sizeof(text));
        ck_assert_uint_gt(n, 0);
        ck_assert_uint_eq(strlen(text), n);
        ck_assert_uint_eq(writers[i](&receipt, text, n + 1), n);
        for (size_t size = 0; size <= n; size++) {
            char *exact = (char *)golden_copy((const uint8_t *)text, size);
            ck_assert_uint_eq(writers[i](&receipt, exact, size), 0);
            free(exact);
        }
    }
}
END_TEST

START_TEST(names_that_cannot_be_in_a_receipt_get_none)
{
    const char *broker_names[] = { "", "a~b", "a b", "a\"b", "a\nb", "a\\b" };
    char text[RECEIPT_TEXT_MAX];
    for (size_t i = 0; i < sizeof(broker_names) / sizeof(broker_names[0]); i++) {
        struct receipt receipt = ordinary_receipt();
        receipt.broker_name = span_of(broker_names[i]);
        ck_assert_uint_eq(receipt_encode(&receipt, text, sizeof(text)), 0);
        ck_assert_uint_eq(receipt_extra_info(&receipt, text, sizeof(text)), 0);
        const struct receipt_pop_info info = { .start_offset_info = SPAN("0 0 0") };
        const struct message message = { .topic = SPAN("T") };
        ck_assert(!receipt_from_pop(
            &info, &message, SPAN("T"), SPAN("G"), receipt.broker_name, &receipt));
    }
    struct receipt receipt = ordinary_receipt();
    receipt.topic = SPAN("a~b");
    ck_assert_uint_eq(receipt_encode(&receipt, text, sizeof(text)), 0);
    ck_assert_uint_eq(receipt_real_topic(&receipt, text, sizeof(text)), 0);
    receipt = ordinary_receipt();
    receipt.group = SPAN_ABSENT;
    ck_assert_uint_eq(receipt_encode(&receipt, text, sizeof(text)), 0);
    receipt = ordinary_receipt();
    receipt.queue_id = -1;
    ck_assert_uint_eq(receipt_encode(&receipt, text, sizeof(text)), 0);
}
END_TEST

START_TEST(text_beyond_the_maximum_is_neither_written_nor_read)
{
    char name[RECEIPT_TEXT_MAX];
    memset(name, 'b', sizeof(name));
    const size_t rest = strlen("r2~T~G~~0~0~0~0~0~0~0~0");
    struct receipt receipt = { .topic = SPAN("T"), .group = SPAN("G") };
    char text[2 * RECEIPT_TEXT_MAX];
    receipt.broker_name = (struct span){ name, RECEIPT_TEXT_MAX - 1 - rest };
    ck_assert_uint_eq(receipt_encode(&receipt, text, sizeof(text)), RECEIPT_TEXT_MAX - 1);
    struct receipt decoded;
    ck_assert(receipt_decode(span_of(text), &decoded));
    receipt.broker_name.n++;
    ck_assert_uint_eq(receipt_encode(&receipt, text, sizeof(text)), 0);
    (void)snprintf(
        text, sizeof(text), "r2~T~G~%.*s~0~0~0~0~0~0~0~0", SPAN_ARGS(receipt.broker_name));
    ck_assert(!receipt_decode(span_of(text), &decoded));
}
END_TEST

START_TEST(real_topic_is_where_the_message_lies)
{
    const char *topics[] = { "T", "%RETRY%G_T", "%RETRY%G+T" };
    for (int retry = RECEIPT_NORMAL; retry <= RECEIPT_RETRY_V2; retry++) {
        const struct receipt receipt = { .topic = SPAN("T"),
            .group = SPAN("G"),
            .broker_name = SPAN("b"),
            .retry = (enum receipt_retry)retry };
        char text[RECEIPT_TEXT_MAX];
        ck_assert_uint_eq(receipt_real_topic(&receipt, text, sizeof(text)), strlen(topics[retry]));
        ck_assert_str_eq(text, topics[retry]);
    }
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *pop = tcase_create("pop");
    tcase_add_loop_test(
        pop, receipt_of_a_popped_message_makes_the_extra_info_that_brokers_took, 0, N(acks));
    tcase_add_loop_test(pop, receipt_of_a_redelivered_message_is_its_pop_ck, 0, N(redelivered));
    tcase_add_loop_test(pop, message_has_a_receipt_when_the_answer_names_it, 0, N(pops));
    tcase_add_test(pop, renewed_receipt_makes_the_renewed_extra_info);
    tcase_add_test(pop, a_message_of_a_retry_topic_that_was_asked_for_lies_in_it);
    tcase_add_test(pop, an_ordered_answer_says_how_often_a_message_came);
    tcase_add_test(pop, real_topic_is_where_the_message_lies);

    TCase *text = tcase_create("text");
    tcase_set_timeout(text, 60);
    tcase_add_test(text, text_is_the_one_of_the_header);
    tcase_add_loop_test(text, decoded_text_is_encoded_to_itself, 0, N(good_texts));
    tcase_add_test(text, decoded_fields_are_those_that_were_encoded);
    tcase_add_test(text, a_receipt_of_version_1_has_no_physical_offset);
    tcase_add_loop_test(text, text_that_was_never_encoded_is_refused, 0, N(garbage));
    tcase_add_test(text, mutilated_text_is_refused_or_a_receipt_of_its_own);
    tcase_add_test(text, random_text_is_refused_or_a_receipt_of_its_own);
    tcase_add_test(text, result_that_does_not_fit_is_none);
    tcase_add_test(text, names_that_cannot_be_in_a_receipt_get_none);
    tcase_add_test(text, text_beyond_the_maximum_is_neither_written_nor_read);

    Suite *suite = suite_create("receipt");
    suite_add_tcase(suite, pop);
    suite_add_tcase(suite, text);
    return run_suite(suite);
}
