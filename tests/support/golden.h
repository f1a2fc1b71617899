/*
 * Golden
 *
 * The frames exchanged with Apache RocketMQ 5.5.0 (tests/protocol/golden) and what their index says
 * about them. Found through GOLDEN_DIR; a file that is missing or an index that cannot be read ends
 * the test at once, because a test that looks at no frames would pass.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct golden_frame {
    const json_t *row; /* in the index */
    const char *file;
    uint8_t *data;
    size_t size;
};

struct golden {
    json_t *index;
    struct golden_frame *frames;
    size_t n;
};

struct golden *golden_load(void);
struct golden *golden_free(struct golden *golden);

/* A column of the row; ends the test when it has none of that type. */
const char *golden_text(const struct golden_frame *frame, const char *column);
json_int_t golden_integer(const struct golden_frame *frame, const char *column);
/* The frame of a file name. */
const struct golden_frame *golden_find(const struct golden *golden, const char *file);

/* Whether Java wrote the bytes: what servers send, and what was relayed between Java and Java. */
bool golden_is_made_by_java(const struct golden_frame *frame);
bool golden_is_json(const struct golden_frame *frame);

/* A copy that ends where its allocation ends, so that a read beyond is seen. To be freed. */
uint8_t *golden_copy(const uint8_t *data, size_t n);
/* A copy of the frame to decode. To be freed. */
uint8_t *golden_copy_frame(const struct golden_frame *frame);
