#include "protocol/header_json.h"
#include "protocol/header_rocketmq.h"
#include "protocol/remoting_command.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

#define N_GOLDEN 456

static struct golden *golden;
static struct ext_field storage[EXT_FIELDS_MAX];

static void load(void)
{
    golden = golden_load();
    ck_assert_uint_eq(golden->n, N_GOLDEN);
}

static void unload(void)
{
    golden = golden_free(golden);
}

static void assert_text(
    const struct golden_frame *frame, const char *name, struct span span, const json_t *expected)
{
    if (!json_is_string(expected)) {
        ck_assert_msg(span_is_absent(span), "%s: %s is there", frame->file, name);
        return;
    }
    struct span text = { json_string_value(expected), json_string_length(expected) };
    ck_assert_msg(!span_is_absent(span) && span_equals(span, text), "%s: %s is %.*s, not %.*s",
        frame->file, name, SPAN_ARGS(span), SPAN_ARGS(text));
}

static void assert_ext_fields(
    const struct golden_frame *frame, const struct remoting_command *command)
{
    json_t *expected = json_object_get(frame->row, "extFields");
    ck_assert_msg(json_is_object(expected), "%s: the index has no extFields", frame->file);
    ck_assert_uint_eq(command->ext_fields.n, json_object_size(expected));
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        struct ext_field field = command->ext_fields.fields[i];
        char *key = strndup(field.key.data, field.key.n);
        assert_text(frame, key, field.value, json_object_get(expected, key));
        free(key);
    }
    /* The index says {} also where the frame says nothing. */
    const void *named = memmem(frame->data, frame->size, "\"extFields\":", 12);
    bool has_ext_fields = golden_is_json(frame) ? named != NULL : json_object_size(expected) > 0;
    ck_assert_msg(command->has_ext_fields == has_ext_fields, "%s: {} or absent", frame->file);
}

/* Decodes the whole of a frame that must be good. */
static void decode(struct remoting_command *command, struct ext_field *fields, uint8_t *data,
    size_t size, enum serialize_type expected)
{
    struct header_problem problem;
    enum serialize_type serialize_type = SERIALIZE_JSON;
    remoting_command_init(command, fields, EXT_FIELDS_MAX);
    enum header_status status =
        remoting_command_decode(command, data, size, &serialize_type, &problem);
    ck_assert_msg(status == HEADER_OK, "%s", problem.text);
    ck_assert_int_eq((int)serialize_type, (int)expected);
}

static enum serialize_type type_of(const struct golden_frame *frame)
{
    return golden_is_json(frame) ? SERIALIZE_JSON : SERIALIZE_ROCKETMQ;
}

/* Head and body as they would be sent. To be freed. */
static uint8_t *encode(
    const struct remoting_command *command, enum serialize_type serialize_type, size_t *ret_size)
{
    size_t head_size = remoting_command_encoded_head_size(command, serialize_type);
    ck_assert_uint_gt(head_size, FRAME_PREFIX_SIZE);
    uint8_t *data = malloc(head_size + command->body.n);
    ck_assert_ptr_nonnull(data);
    remoting_command_encode_head(command, serialize_type, data);
    memcpy(data + head_size, command->body.data, command->body.n);
    *ret_size = head_size + command->body.n;
    return data;
}

static void assert_same_command(
    const char *file, const struct remoting_command *a, const struct remoting_command *b)
{
    ck_assert_msg(a->code == b->code && a->version == b->version && a->opaque == b->opaque &&
                      a->flag == b->flag && a->language == b->language &&
                      span_is_absent(a->remark) == span_is_absent(b->remark) &&
                      span_equals(a->remark, b->remark) && span_equals(a->body, b->body) &&
                      a->ext_fields.n == b->ext_fields.n,
        "%s came back different", file);
    for (size_t i = 0; i < a->ext_fields.n; i++) {
        const struct ext_field *field = &a->ext_fields.fields[i];
        const struct ext_field *other = &b->ext_fields.fields[i];
        ck_assert_msg(
            span_equals(field->key, other->key) && span_equals(field->value, other->value),
            "%s: ext field %zu came back different", file, i);
    }
}

START_TEST(every_frame_decodes_to_what_the_index_says)
{
    for (size_t i = 0; i < golden->n; i++) {
        const struct golden_frame *frame = &golden->frames[i];
        uint8_t *data = golden_copy_frame(frame);
        size_t size = 0;
        ck_assert_int_eq(
            (int)frame_measure(data, frame->size, FRAME_SIZE_MAX, &size), (int)FRAME_COMPLETE);
        ck_assert_uint_eq(size, frame->size);

        struct remoting_command command;
        decode(&command, storage, data, frame->size, type_of(frame));
        ck_assert_int_eq(command.code, golden_integer(frame, "code"));
        ck_assert_int_eq(command.opaque, golden_integer(frame, "opaque"));
        ck_assert_int_eq(command.flag, golden_integer(frame, "flag"));
        ck_assert_int_eq(command.version, golden_integer(frame, "version"));
        ck_assert(
            span_equals_text(language_name(command.language), golden_text(frame, "language")));
        ck_assert_uint_eq(command.present, REMOTING_HAS_CODE | REMOTING_HAS_FLAG |
                                               REMOTING_HAS_LANGUAGE | REMOTING_HAS_OPAQUE |
                                               REMOTING_HAS_VERSION);
        assert_text(frame, "remark", command.remark, json_object_get(frame->row, "remark"));
        assert_ext_fields(frame, &command);
        ck_assert_int_eq((json_int_t)command.body.n, golden_integer(frame, "bodyLength"));
        ck_assert_ptr_eq(command.body.data + command.body.n, (char *)data + frame->size);
        free(data);
    }
}
END_TEST

START_TEST(every_frame_made_by_java_encodes_back_byte_for_byte)
{
    size_t n_json = 0;
    size_t n_binary = 0;
    for (size_t i = 0; i < golden->n; i++) {
        const struct golden_frame *frame = &golden->frames[i];
        if (!golden_is_made_by_java(frame)) {
            continue;
        }
        uint8_t *data = golden_copy_frame(frame);
        struct remoting_command command;
        decode(&command, storage, data, frame->size, type_of(frame));
        size_t size = 0;
        uint8_t *again = encode(&command, type_of(frame), &size);
        ck_assert_msg(size == frame->size && memcmp(again, frame->data, size) == 0,
            "%s: %.*s\nbecame %.*s", frame->file, (int)frame->size - 8, frame->data + 8,
            (int)size - 8, again + 8);
        *(golden_is_json(frame) ? &n_json : &n_binary) += 1;
        free(again);
        free(data);
    }
    /* As counted in the index. */
    ck_assert_uint_eq(n_json, 162);
    ck_assert_uint_eq(n_binary, 102);
}
END_TEST

START_TEST(every_frame_survives_both_forms)
{
    size_t n_both = 0;
    struct ext_field other_storage[EXT_FIELDS_MAX];
    for (size_t i = 0; i < golden->n; i++) {
        const struct golden_frame *frame = &golden->frames[i];
        uint8_t *data = golden_copy_frame(frame);
        struct remoting_command command;
        struct remoting_command again;
        decode(&command, storage, data, frame->size, type_of(frame));
        size_t size = 0;
        uint8_t *json = encode(&command, SERIALIZE_JSON, &size);
        decode(&again, other_storage, json, size, SERIALIZE_JSON);
        assert_same_command(frame->file, &command, &again);
        free(json);

        /* The binary form cannot say more than 16 bits of code, empty values, an empty remark. */
        bool can_be_binary = command.code == (int16_t)command.code &&
                             (span_is_absent(command.remark) || command.remark.n > 0);
        for (size_t j = 0; j < command.ext_fields.n; j++) {
            can_be_binary = can_be_binary && command.ext_fields.fields[j].value.n > 0;
        }
        if (can_be_binary) {
            uint8_t *binary = encode(&command, SERIALIZE_ROCKETMQ, &size);
            decode(&again, other_storage, binary, size, SERIALIZE_ROCKETMQ);
            assert_same_command(frame->file, &command, &again);
            free(binary);
            n_both++;
        }
        free(data);
    }
    ck_assert_uint_gt(n_both, N_GOLDEN / 2);
}
END_TEST

START_TEST(every_proper_prefix_of_a_frame_is_partial)
{
    for (size_t i = 0; i < golden->n; i++) {
        const struct golden_frame *frame = &golden->frames[i];
        for (size_t n = 0; n < frame->size; n++) {
            uint8_t *cut = golden_copy(frame->data, n);
            size_t size = 0;
            enum frame_status status = frame_measure(cut, n, FRAME_SIZE_MAX, &size);
            if (status != FRAME_PARTIAL || size != (n < 4 ? 4 : frame->size)) {
                ck_abort_msg("%s cut at %zu", frame->file, n);
            }
            free(cut);
        }
    }
}
END_TEST

START_TEST(every_header_cut_anywhere_is_refused)
{
    for (size_t i = 0; i < golden->n; i++) {
        const struct golden_frame *frame = &golden->frames[i];
        struct frame_parts parts;
        frame_split(frame->data, frame->size, &parts);
        for (size_t n = 0; n < parts.header_size; n++) {
            uint8_t *cut = golden_copy(parts.header, n);
            struct remoting_command command;
            struct header_problem problem = { "" };
            remoting_command_init(&command, storage, EXT_FIELDS_MAX);
            enum header_status status = golden_is_json(frame)
                                            ? header_json_decode(&command, (char *)cut, n, &problem)
                                            : header_rocketmq_decode(&command, cut, n, &problem);
            if (status != HEADER_SYNTAX || problem.text[0] == '\0') {
                ck_abort_msg("%s cut at %zu", frame->file, n);
            }
            free(cut);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("golden");
    TCase *tcase = tcase_create("golden");
    tcase_add_checked_fixture(tcase, load, unload);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_frame_decodes_to_what_the_index_says);
    tcase_add_test(tcase, every_frame_made_by_java_encodes_back_byte_for_byte);
    tcase_add_test(tcase, every_frame_survives_both_forms);
    tcase_add_test(tcase, every_proper_prefix_of_a_frame_is_partial);
    tcase_add_test(tcase, every_header_cut_anywhere_is_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
