/*
 * Bytes
 *
 * A bounded big-endian reader and writer over memory of the caller. The first access beyond the end
 * sets `failed`; from then on reads give zero, writes do nothing, and the position stays. Code
 * reads a whole structure in a straight line and asks bytes_*_failed() once. Neither owns memory.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes_reader {
    const uint8_t *data;
    size_t n;
    size_t at;
    bool failed;
};

struct bytes_writer {
    uint8_t *data;
    size_t n;
    size_t at;
    bool failed;
};

void bytes_reader_init(struct bytes_reader *reader, const void *data, size_t n);
uint8_t bytes_read_u8(struct bytes_reader *reader);
int16_t bytes_read_i16(struct bytes_reader *reader);
int32_t bytes_read_i32(struct bytes_reader *reader);
uint32_t bytes_read_u32(struct bytes_reader *reader);
int64_t bytes_read_i64(struct bytes_reader *reader);
/* The next n bytes as a span into the input; absent once failed. */
struct span bytes_read_span(struct bytes_reader *reader, size_t n);
void bytes_skip(struct bytes_reader *reader, size_t n);
/* 0 once failed. */
size_t bytes_left(const struct bytes_reader *reader);
bool bytes_reader_failed(const struct bytes_reader *reader);
/* For a caller that saw a value that cannot be: everything after it fails too. */
void bytes_reader_fail(struct bytes_reader *reader);

void bytes_writer_init(struct bytes_writer *writer, void *data, size_t n);
void bytes_write_u8(struct bytes_writer *writer, uint8_t value);
void bytes_write_i16(struct bytes_writer *writer, int16_t value);
void bytes_write_i32(struct bytes_writer *writer, int32_t value);
void bytes_write_u32(struct bytes_writer *writer, uint32_t value);
void bytes_write_i64(struct bytes_writer *writer, int64_t value);
void bytes_write(struct bytes_writer *writer, const void *data, size_t n);
bool bytes_writer_failed(const struct bytes_writer *writer);
