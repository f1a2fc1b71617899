/*
 * Request
 *
 * The requests of the callers: frames that are built once, as a producer's SEND_MESSAGE_V2 looks on
 * the wire (about 250 bytes of JSON header), with an opaque of ten digits, so that a later request
 * only overwrites opaque and token in place: the generator shall cost next to nothing beside what it
 * measures. And the check of an answer.
 */
#pragma once

#include "tests/bench/frame_reader.h"

/* Opaques run from here to INT32_MAX: always ten digits. A multiple of 4096. */
#define REQUEST_OPAQUE_FIRST 1000001536u

struct request_shape {
    enum frame_form form;
    int code;
    size_t body_n;            /* at least TOKEN_SIZE */
    const char *sidecar_addr; /* NULL: where it goes is left to the daemon */
    const char *topic;
    bool is_bare; /* nothing but the topic: the daemon adds the rest */
};

struct request_frame {
    uint8_t *data;
    size_t size;
    size_t opaque_at;
    size_t body_at;
    enum frame_form form;
};

/* The size of such a frame. */
size_t request_size(const struct request_shape *shape);
/* Builds the frame in (data, request_size()). */
void request_init(struct request_frame *frame, const struct request_shape *shape, uint8_t *data);
/* Makes it the request with this opaque and this token. */
void request_renew(struct request_frame *frame, uint32_t opaque, const struct token *token);

/* Where the callers of one connection found an answer's fields the last time. */
struct answer_hints {
    size_t opaque;
    size_t code;
};

/*
 * The opaque of an answer of success. An answer that tells of a failure, or is none, ends the
 * program with its header.
 */
uint32_t answer_opaque(const struct frame *frame, struct answer_hints *hints);
/* Whether the answer's body begins, and where there is room for two ends, with the token. */
bool answer_has_token(const struct frame *frame, const struct token *token);
