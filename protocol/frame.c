#include "protocol/frame.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>

#define LENGTH_SIZE 4u

/* The numbers in the first eight bytes, as far as they are there. */
struct prefix {
    uint32_t length;
    uint8_t serialize_type;
    uint32_t header_length;
};

/* Of every frame several times: not by a struct bytes_reader. */
static inline uint32_t read_u32(const uint8_t *data)
{
    uint32_t value;
    memcpy(&value, data, sizeof(value));
    return be32toh(value);
}

static inline void write_u32(uint8_t *dst, uint32_t value)
{
    uint32_t big = htobe32(value);
    memcpy(dst, &big, sizeof(big));
}

static inline struct prefix read_prefix(const uint8_t *data, size_t n)
{
    uint32_t length = n >= LENGTH_SIZE ? read_u32(data) : 0;
    uint32_t header_word = n >= FRAME_PREFIX_SIZE ? read_u32(data + LENGTH_SIZE) : 0;
    return (struct prefix){
        .length = length,
        .serialize_type = (uint8_t)(header_word >> 24),
        .header_length = header_word & FRAME_HEADER_LENGTH_MAX,
    };
}

static bool is_serialize_type(uint8_t type)
{
    return type == SERIALIZE_JSON || type == SERIALIZE_ROCKETMQ;
}

enum frame_status frame_measure(const uint8_t *data, size_t n, size_t size_limit, size_t *ret_size)
{
    if (n < LENGTH_SIZE) {
        *ret_size = LENGTH_SIZE;
        return FRAME_PARTIAL;
    }
    struct prefix prefix = read_prefix(data, n);
    if ((uint64_t)prefix.length + LENGTH_SIZE > size_limit) {
        return FRAME_TOO_LARGE;
    }
    if (prefix.length < FRAME_PREFIX_SIZE - LENGTH_SIZE) {
        return FRAME_MALFORMED;
    }
    size_t size = LENGTH_SIZE + (size_t)prefix.length;
    if (n < FRAME_PREFIX_SIZE) {
        *ret_size = size;
        return FRAME_PARTIAL;
    }
    if (!is_serialize_type(prefix.serialize_type) ||
        prefix.header_length > size - FRAME_PREFIX_SIZE) {
        return FRAME_MALFORMED;
    }
    *ret_size = size;
    return n < size ? FRAME_PARTIAL : FRAME_COMPLETE;
}

void frame_describe_problem(
    const uint8_t *data, size_t n, size_t size_limit, char *ret_text, size_t text_size)
{
    struct prefix prefix = read_prefix(data, n);
    size_t size = 0;
    switch (frame_measure(data, n, size_limit, &size)) {
    case FRAME_COMPLETE:
    case FRAME_PARTIAL:
        (void)snprintf(ret_text, text_size, "nothing is wrong with the frame");
        return;
    case FRAME_TOO_LARGE:
        (void)snprintf(ret_text, text_size, "frame length: saw %u; accepted: at most %zu",
            prefix.length, size_limit < LENGTH_SIZE ? 0 : size_limit - LENGTH_SIZE);
        return;
    case FRAME_MALFORMED:
        break;
    }
    if (prefix.length < FRAME_PREFIX_SIZE - LENGTH_SIZE) {
        (void)snprintf(ret_text, text_size, "frame length: saw %u; accepted: at least %u",
            prefix.length, FRAME_PREFIX_SIZE - LENGTH_SIZE);
    } else if (!is_serialize_type(prefix.serialize_type)) {
        (void)snprintf(ret_text, text_size,
            "serialize type: saw %u; accepted: 0 (JSON) or 1 (ROCKETMQ)",
            (unsigned)prefix.serialize_type);
    } else {
        (void)snprintf(ret_text, text_size,
            "header length: saw %u; accepted: at most %u in a frame of length %u",
            prefix.header_length, prefix.length - (FRAME_PREFIX_SIZE - LENGTH_SIZE), prefix.length);
    }
}

void frame_split(uint8_t *data, size_t size, struct frame_parts *ret_parts)
{
    assert(size >= FRAME_PREFIX_SIZE);
    struct prefix prefix = read_prefix(data, size);
    assert(prefix.header_length <= size - FRAME_PREFIX_SIZE);
    uint8_t *header = data + FRAME_PREFIX_SIZE;
    *ret_parts = (struct frame_parts){
        .serialize_type = (enum serialize_type)prefix.serialize_type,
        .header = header,
        .header_size = prefix.header_length,
        .body = header + prefix.header_length,
        .body_size = size - FRAME_PREFIX_SIZE - prefix.header_length,
    };
}

void frame_encode_prefix(
    uint8_t *dst, enum serialize_type serialize_type, size_t header_size, size_t body_size)
{
    assert(header_size <= FRAME_HEADER_LENGTH_MAX);
    assert(body_size <= UINT32_MAX - LENGTH_SIZE - header_size);
    write_u32(dst, (uint32_t)(LENGTH_SIZE + header_size + body_size));
    write_u32(dst + LENGTH_SIZE, (uint32_t)serialize_type << 24 | (uint32_t)header_size);
}
