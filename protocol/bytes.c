#include "protocol/bytes.h"

#include <endian.h>

/* The next n bytes, or NULL once anything went beyond the end. */
static const uint8_t *reader_take(struct bytes_reader *reader, size_t n)
{
    if (reader->failed || n > reader->n - reader->at) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *taken = reader->data + reader->at;
    reader->at += n;
    return taken;
}

static uint8_t *writer_take(struct bytes_writer *writer, size_t n)
{
    if (writer->failed || n > writer->n - writer->at) {
        writer->failed = true;
        return NULL;
    }
    uint8_t *taken = writer->data + writer->at;
    writer->at += n;
    return taken;
}

void bytes_reader_init(struct bytes_reader *reader, const void *data, size_t n)
{
    *reader = (struct bytes_reader){ .data = data, .n = n };
}

uint8_t bytes_read_u8(struct bytes_reader *reader)
{
    const uint8_t *at = reader_take(reader, 1);
    return at ? *at : 0;
}

int16_t bytes_read_i16(struct bytes_reader *reader)
{
    uint16_t value = 0;
    const uint8_t *at = reader_take(reader, sizeof(value));
    if (at) {
        memcpy(&value, at, sizeof(value));
    }
    return (int16_t)be16toh(value);
}

uint32_t bytes_read_u32(struct bytes_reader *reader)
{
    uint32_t value = 0;
    const uint8_t *at = reader_take(reader, sizeof(value));
    if (at) {
        memcpy(&value, at, sizeof(value));
    }
    return be32toh(value);
}

int32_t bytes_read_i32(struct bytes_reader *reader)
{
    return (int32_t)bytes_read_u32(reader);
}

int64_t bytes_read_i64(struct bytes_reader *reader)
{
    uint64_t value = 0;
    const uint8_t *at = reader_take(reader, sizeof(value));
    if (at) {
        memcpy(&value, at, sizeof(value));
    }
    return (int64_t)be64toh(value);
}

struct span bytes_read_span(struct bytes_reader *reader, size_t n)
{
    const uint8_t *at = reader_take(reader, n);
    return at ? (struct span){ (const char *)at, n } : SPAN_ABSENT;
}

void bytes_skip(struct bytes_reader *reader, size_t n)
{
    (void)reader_take(reader, n);
}

size_t bytes_left(const struct bytes_reader *reader)
{
    return reader->failed ? 0 : reader->n - reader->at;
}

bool bytes_reader_failed(const struct bytes_reader *reader)
{
    return reader->failed;
}

void bytes_reader_fail(struct bytes_reader *reader)
{
    reader->failed = true;
}

void bytes_writer_init(struct bytes_writer *writer, void *data, size_t n)
{
    *writer = (struct bytes_writer){ .data = data, .n = n };
}

void bytes_write_u8(struct bytes_writer *writer, uint8_t value)
{
    bytes_write(writer, &value, sizeof(value));
}

void bytes_write_i16(struct bytes_writer *writer, int16_t value)
{
    uint16_t big = htobe16((uint16_t)value);
    bytes_write(writer, &big, sizeof(big));
}

void bytes_write_u32(struct bytes_writer *writer, uint32_t value)
{
    uint32_t big = htobe32(value);
    bytes_write(writer, &big, sizeof(big));
}

void bytes_write_i32(struct bytes_writer *writer, int32_t value)
{
    bytes_write_u32(writer, (uint32_t)value);
}

void bytes_write_i64(struct bytes_writer *writer, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);
    bytes_write(writer, &big, sizeof(big));
}

void bytes_write(struct bytes_writer *writer, const void *data, size_t n)
{
    uint8_t *at = writer_take(writer, n);
    if (at && n > 0) {
        memcpy(at, data, n);
    }
}

bool bytes_writer_failed(const struct bytes_writer *writer)
{
    return writer->failed;
}
