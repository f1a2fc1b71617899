#include "tests/bench/frame_reader.h"

#include <err.h>
#include <string.h>

#define PREFIX_SIZE 8u
#define SIZE_LIMIT  (16u << 20)

static size_t frame_size(const uint8_t *prefix)
{
    return (size_t)frame_u32(prefix) + 4u;
}

static size_t frame_header_n(const uint8_t *prefix)
{
    return frame_u32(prefix + 4) & 0xFFFFFFu;
}

static void frame_check(const uint8_t *prefix)
{
    size_t size = frame_size(prefix);
    size_t header_n = frame_header_n(prefix);
    if (size > SIZE_LIMIT || size < PREFIX_SIZE + header_n || prefix[4] > FRAME_ROCKETMQ) {
        errx(1, "no frame: length %u, header word %08x", frame_u32(prefix), frame_u32(prefix + 4));
    }
    if (PREFIX_SIZE + header_n + TOKEN_SIZE > FRAME_READER_HEAD_MAX) {
        errx(1, "a header of %zu bytes: %.200s", header_n, (const char *)prefix + PREFIX_SIZE);
    }
}

static void frame_fill(struct frame *frame, const uint8_t *head)
{
    frame->form = (enum frame_form)head[4];
    frame->header = head + PREFIX_SIZE;
    frame->header_n = frame_header_n(head);
    frame->body_n = frame_size(head) - PREFIX_SIZE - frame->header_n;
    frame->body_first = frame->header + frame->header_n;
}

/* Keeps the last TOKEN_SIZE bytes of what was skipped. */
static void reader_keep_last(struct frame_reader *reader, const uint8_t *data, size_t n)
{
    if (n >= TOKEN_SIZE) {
        memcpy(reader->last, data + n - TOKEN_SIZE, TOKEN_SIZE);
        return;
    }
    memmove(reader->last, reader->last + n, TOKEN_SIZE - n);
    memcpy(reader->last + TOKEN_SIZE - n, data, n);
}

static size_t reader_take(struct frame_reader *reader, const uint8_t *data, size_t n)
{
    if (reader->skip > 0) {
        size_t taken = reader->skip < n ? reader->skip : n;
        reader_keep_last(reader, data, taken);
        reader->skip -= taken;
        return taken;
    }
    if (reader->need == 0) {
        reader->need = PREFIX_SIZE;
    }
    size_t missing = reader->need - reader->n;
    size_t taken = missing < n ? missing : n;
    memcpy(reader->head + reader->n, data, taken);
    reader->n += taken;
    if (reader->n == PREFIX_SIZE && reader->need == PREFIX_SIZE) {
        frame_check(reader->head);
        reader->size = frame_size(reader->head);
        size_t wanted = PREFIX_SIZE + frame_header_n(reader->head) + TOKEN_SIZE;
        reader->need = reader->size < wanted ? reader->size : wanted;
    }
    if (reader->n == reader->need && reader->size > reader->need) {
        reader->skip = reader->size - reader->need;
        memcpy(reader->last, reader->head + reader->n - TOKEN_SIZE, TOKEN_SIZE);
    }
    return taken;
}

static bool reader_is_complete(const struct frame_reader *reader)
{
    return reader->size > 0 && reader->n == reader->need && reader->skip == 0;
}

static void reader_finish(struct frame_reader *reader, struct frame *ret_frame)
{
    frame_fill(ret_frame, reader->head);
    ret_frame->body_last = reader->last;
    reader->n = 0;
    reader->need = 0;
    reader->size = 0;
}

bool frame_reader_next(
    struct frame_reader *reader, const uint8_t **data, size_t *n, struct frame *ret_frame)
{
    if (reader->need == 0 && *n >= PREFIX_SIZE) {
        size_t size = frame_size(*data);
        if (*n >= size) {
            frame_check(*data);
            frame_fill(ret_frame, *data);
            ret_frame->body_last = *data + size - TOKEN_SIZE;
            *data += size;
            *n -= size;
            return true;
        }
    }
    while (*n > 0) {
        size_t taken = reader_take(reader, *data, *n);
        *data += taken;
        *n -= taken;
        if (reader_is_complete(reader)) {
            reader_finish(reader, ret_frame);
            return true;
        }
    }
    return false;
}

const uint8_t *frame_json_value(const struct frame *frame, const char *key, size_t *hint)
{
    size_t n = strlen(key);
    if (*hint + n < frame->header_n && memcmp(frame->header + *hint, key, n) == 0) {
        return frame->header + *hint + n;
    }
    const uint8_t *found = memmem(frame->header, frame->header_n, key, n);
    if (!found) {
        return NULL;
    }
    *hint = (size_t)(found - frame->header);
    return found + n;
}

int32_t frame_json_number(const uint8_t *text, const uint8_t *end)
{
    bool is_negative = text < end && *text == '-';
    uint32_t value = 0;
    for (text += is_negative; text < end && *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (uint32_t)(*text - '0');
    }
    return (int32_t)(is_negative ? 0u - value : value);
}
