#include "protocol/header_rocketmq.h"

#include "protocol/bytes.h"
#include "protocol/utf8.h"

#include <stdio.h>

#define FIXED_SIZE       21u
#define KEY_LENGTH_SIZE  2u
#define TEXT_LENGTH_SIZE 4u

/* A negative length is as wrong as one beyond the end. */
static struct span read_text(struct bytes_reader *reader, int32_t length)
{
    if (length < 0) {
        bytes_reader_fail(reader);
        return SPAN_ABSENT;
    }
    return bytes_read_span(reader, (size_t)length);
}

static enum header_status fail_syntax(
    const struct bytes_reader *reader, struct header_problem *problem)
{
    char where[40];
    (void)snprintf(where, sizeof(where), "binary header, byte %zu", reader->at);
    header_problem_set(problem, span_of(where), SPAN("a length that is wrong"),
        "21 fixed bytes, then lengths of 0 or more that fit and fill the header");
    return HEADER_SYNTAX;
}

static bool text_is_good(struct span where, struct span text, struct header_problem *problem)
{
    if (text.n > 0 && (memchr(text.data, '\0', text.n) || !utf8_is_valid(text))) {
        header_problem_set(
            problem, where, SPAN("bytes that are not text"), "UTF-8 without zero bytes");
        return false;
    }
    return true;
}

/* Goes on to the end even when a field is not good: a wrong length after it weighs more. */
static enum header_status decode_ext_fields(
    struct ext_fields *ext_fields, struct bytes_reader *reader, struct header_problem *problem)
{
    enum header_status status = HEADER_OK;
    while (bytes_left(reader) > 0) {
        struct span key = read_text(reader, bytes_read_i16(reader));
        struct span value = read_text(reader, bytes_read_i32(reader));
        if (bytes_reader_failed(reader)) {
            return fail_syntax(reader, problem);
        }
        if (status != HEADER_OK) {
            continue;
        }
        if (!text_is_good(SPAN("a key of extFields"), key, problem) ||
            !text_is_good(key, value, problem)) {
            status = HEADER_INVALID;
        } else if (!ext_fields_add(ext_fields, key, value)) {
            char accepted[32];
            (void)snprintf(accepted, sizeof(accepted), "at most %zu", ext_fields->capacity);
            header_problem_set(problem, SPAN("extFields"), SPAN("too many fields"), accepted);
            status = HEADER_INVALID;
        }
    }
    return status;
}

enum header_status header_rocketmq_decode(struct remoting_command *command, const uint8_t *data,
    size_t n, struct header_problem *ret_problem)
{
    struct bytes_reader reader;
    bytes_reader_init(&reader, data, n);
    int16_t code = bytes_read_i16(&reader);
    uint8_t language = bytes_read_u8(&reader);
    int16_t version = bytes_read_i16(&reader);
    int32_t opaque = bytes_read_i32(&reader);
    int32_t flag = bytes_read_i32(&reader);
    if (bytes_reader_failed(&reader)) {
        return fail_syntax(&reader, ret_problem);
    }
    command->code = code;
    command->language = language_from_number(language);
    command->version = version;
    command->opaque = opaque;
    command->flag = flag;
    command->present = REMOTING_HAS_CODE | REMOTING_HAS_FLAG | REMOTING_HAS_LANGUAGE |
                       REMOTING_HAS_OPAQUE | REMOTING_HAS_VERSION;

    struct span remark = read_text(&reader, bytes_read_i32(&reader));
    int32_t ext_length = bytes_read_i32(&reader);
    if (bytes_reader_failed(&reader) || ext_length < 0 ||
        (size_t)ext_length != bytes_left(&reader)) {
        return fail_syntax(&reader, ret_problem);
    }
    enum header_status status = decode_ext_fields(&command->ext_fields, &reader, ret_problem);
    if (status != HEADER_OK) {
        return status;
    }
    if (!text_is_good(SPAN("remark"), remark, ret_problem)) {
        return HEADER_INVALID;
    }
    ptrdiff_t duplicate = ext_fields_find_duplicate(&command->ext_fields);
    if (duplicate >= 0) {
        header_problem_set(
            ret_problem, command->ext_fields.fields[duplicate].key, SPAN("it twice"), "once");
        return HEADER_INVALID;
    }
    command->remark = span_is_empty(remark) ? SPAN_ABSENT : remark;
    command->has_ext_fields = ext_length > 0;
    return HEADER_OK;
}

/* Whether a field exists for who reads this form. */
static bool field_is_written(const struct ext_field *field)
{
    return !span_is_empty(field->key) && !span_is_empty(field->value);
}

static size_t encoded_ext_size(const struct ext_fields *ext_fields)
{
    size_t size = 0;
    for (size_t i = 0; i < ext_fields->n; i++) {
        const struct ext_field *field = &ext_fields->fields[i];
        if (field_is_written(field)) {
            size += KEY_LENGTH_SIZE + field->key.n + TEXT_LENGTH_SIZE + field->value.n;
        }
    }
    return size;
}

size_t header_rocketmq_encoded_size(const struct remoting_command *command)
{
    const struct ext_fields *ext_fields = &command->ext_fields;
    for (size_t i = 0; i < ext_fields->n; i++) {
        if (field_is_written(&ext_fields->fields[i]) && ext_fields->fields[i].key.n > INT16_MAX) {
            return 0;
        }
    }
    return FIXED_SIZE + command->remark.n + encoded_ext_size(ext_fields);
}

size_t header_rocketmq_encode(const struct remoting_command *command, uint8_t *dst)
{
    const struct ext_fields *ext_fields = &command->ext_fields;
    size_t ext_size = encoded_ext_size(ext_fields);
    struct bytes_writer writer;
    bytes_writer_init(&writer, dst, FIXED_SIZE + command->remark.n + ext_size);
    bytes_write_i16(&writer, (int16_t)command->code);
    bytes_write_u8(&writer,
        (uint8_t)(command->language == LANGUAGE_UNKNOWN ? LANGUAGE_OTHER : command->language));
    bytes_write_i16(&writer, (int16_t)command->version);
    bytes_write_i32(&writer, command->opaque);
    bytes_write_i32(&writer, command->flag);
    bytes_write_u32(&writer, (uint32_t)command->remark.n);
    bytes_write(&writer, command->remark.data, command->remark.n);
    bytes_write_u32(&writer, (uint32_t)ext_size);
    for (size_t i = 0; i < ext_fields->n; i++) {
        const struct ext_field *field = &ext_fields->fields[i];
        if (field_is_written(field)) {
            bytes_write_i16(&writer, (int16_t)field->key.n);
            bytes_write(&writer, field->key.data, field->key.n);
            bytes_write_u32(&writer, (uint32_t)field->value.n);
            bytes_write(&writer, field->value.data, field->value.n);
        }
    }
    return writer.at;
}
