/*
 * Frame reader
 *
 * Cuts the bytes of a connection into remoting frames for the stub and the callers, which look at
 * the header and at both ends of the body only: a frame that is wholly in the bytes at hand is not
 * copied, of others no more than the header and the ends of the body are kept, so that a body of
 * 1 MiB costs its reader nothing but the recv.
 */
#pragma once

#include "tests/bench/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_READER_HEAD_MAX 4096u

enum frame_form {
    FRAME_JSON = 0,
    FRAME_ROCKETMQ = 1,
};

/* One frame; what it points to is valid until the next call or recv. */
struct frame {
    enum frame_form form;
    const uint8_t *header;
    size_t header_n;
    size_t body_n;
    const uint8_t *body_first; /* TOKEN_SIZE bytes, or all when the body has fewer */
    const uint8_t *body_last;  /* the last TOKEN_SIZE bytes, where it has twice as many */
};

struct frame_reader {
    size_t n;    /* bytes in head */
    size_t need; /* how many bytes of the frame head has to hold; 0: none is begun */
    size_t size; /* of the whole frame, once known */
    size_t skip; /* bytes of the body still to come behind head */
    uint8_t last[TOKEN_SIZE];
    uint8_t head[FRAME_READER_HEAD_MAX];
};

/* A big-endian number. */
static inline uint32_t frame_u32(const uint8_t *data)
{
    uint32_t value;
    __builtin_memcpy(&value, data, sizeof value);
    return __builtin_bswap32(value);
}

static inline void frame_put_u32(uint8_t *data, uint32_t value)
{
    value = __builtin_bswap32(value);
    __builtin_memcpy(data, &value, sizeof value);
}

/*
 * Takes bytes off the front of (*data, *n) and says whether they completed a frame. False means that
 * all were taken. Bytes that are no frame, or a header larger than a benchmark's, end the program.
 */
bool frame_reader_next(
    struct frame_reader *reader, const uint8_t **data, size_t *n, struct frame *ret_frame);

/*
 * The text behind `key` ("\"opaque\":") in a JSON header, NULL when it is not there. *hint is where
 * it was found the last time: headers of one connection look alike, so that nothing is searched.
 */
const uint8_t *frame_json_value(const struct frame *frame, const char *key, size_t *hint);
/* The number at `text`, which ends before `end`. */
int32_t frame_json_number(const uint8_t *text, const uint8_t *end);
