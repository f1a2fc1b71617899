/*
 * Frame
 *
 * Where a frame of the remoting protocol begins and ends, and where its header ends and its body
 * begins:
 *
 *     u32 length (of what follows) | u32 serializeType << 24 | headerLength | header | body          big-endian
 *
 * Java's decoder (Netty's LengthFieldBasedFrameDecoder(16777216, 0, 4, 0, 4)) compares length + 4
 * with its maximum, so the largest legal length is 16777212. A broker closes the whole connection
 * on a frame it cannot take, so nothing that this module refuses may ever be passed on.
 *
 * It looks at no more than the first eight bytes, never allocates and never keeps anything.
 */
#pragma once

#include "protocol/span.h"

#include <stddef.h>
#include <stdint.h>

/* The whole frame, its length word included. */
#define FRAME_SIZE_MAX 16777216u
/* The length word and the header word. */
#define FRAME_PREFIX_SIZE       8u
#define FRAME_HEADER_LENGTH_MAX 0x00FFFFFFu

enum serialize_type {
    SERIALIZE_JSON = 0,
    SERIALIZE_ROCKETMQ = 1,
};

enum frame_status {
    FRAME_COMPLETE,
    FRAME_PARTIAL,
    FRAME_TOO_LARGE, /* length beyond the limit, or negative */
    FRAME_MALFORMED, /* length < 4, header length beyond the frame, unknown serialize type */
};

/*
 * Measures the frame at the start of (data, n). size_limit counts the whole frame and is at most
 * FRAME_SIZE_MAX. FRAME_COMPLETE: *ret_size is the size of the frame. FRAME_PARTIAL: *ret_size is
 * the size that the frame will have once that is known (n >= 4), else 4: wait for at least so much.
 * The header word is judged as soon as eight bytes are there. Otherwise *ret_size is not written.
 */
enum frame_status frame_measure(const uint8_t *data, size_t n, size_t size_limit, size_t *ret_size);

/*
 * What frame_measure() found wrong (FRAME_TOO_LARGE, FRAME_MALFORMED), as a sentence for people
 * into (text, text_size): the number seen and what is accepted.
 */
void frame_describe_problem(
    const uint8_t *data, size_t n, size_t size_limit, char *ret_text, size_t text_size);

/*
 * The parts of a complete frame. The header is mutable because the JSON decoder unescapes in place.
 */
struct frame_parts {
    enum serialize_type serialize_type;
    uint8_t *header;
    size_t header_size;
    uint8_t *body;
    size_t body_size;
};

/* (data, size) is a frame that frame_measure() called FRAME_COMPLETE. */
void frame_split(uint8_t *data, size_t size, struct frame_parts *ret_parts);

/* Writes the eight bytes before a header. */
void frame_encode_prefix(
    uint8_t *dst, enum serialize_type serialize_type, size_t header_size, size_t body_size);
