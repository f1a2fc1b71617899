/*
 * Mutates inputs that are frames, frame by frame: a header, a body or the order of frames changes,
 * and the lengths are made right again. Else nearly every change would end the input at its first
 * length. Every fourth change is libFuzzer's own, of any byte.
 */
#include "protocol/frame.h"
#include "tests/fuzz/target.h"

#include <stdbool.h>
#include <string.h>

#define FRAMES_MAX 64

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t capacity);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed);

struct placed_frame {
    size_t at;
    size_t size;
};

enum change {
    CHANGE_HEADER,
    CHANGE_HEADER_AGAIN, /* twice as often: most of what is decided is there */
    CHANGE_BODY,
    CHANGE_FORM,
    CHANGE_DOUBLE,
    CHANGE_REMOVE,
    CHANGE_SWAP,
    N_CHANGES,
};

static size_t frames_find(uint8_t *data, size_t n, struct placed_frame frames[FRAMES_MAX])
{
    size_t n_frames = 0;
    size_t at = frames_at;
    size_t size;
    while (n_frames < FRAMES_MAX && at < n &&
           frame_measure(data + at, n - at, FRAME_SIZE_MAX, &size) == FRAME_COMPLETE) {
        frames[n_frames++] = (struct placed_frame){ at, size };
        at += size;
    }
    return n_frames;
}

/* Puts n_new bytes in the place of n_old; the new size of it all. */
static size_t replace(
    uint8_t *data, size_t n, size_t at, size_t n_old, const uint8_t *with, size_t n_new)
{
    memmove(data + at + n_new, data + at + n_old, n - at - n_old);
    memcpy(data + at, with, n_new);
    return n - n_old + n_new;
}

/* A header or a body becomes another one. */
static size_t change_part(
    uint8_t *data, size_t n, size_t capacity, struct placed_frame frame, bool is_header)
{
    size_t room = capacity - n;
    uint8_t *copy = malloc(frame.size + room + 1);
    if (!copy) {
        return n;
    }
    struct frame_parts parts;
    frame_split(data + frame.at, frame.size, &parts);
    size_t header_size = parts.header_size;
    size_t body_size = parts.body_size;
    uint8_t *part = copy + FRAME_PREFIX_SIZE;
    if (is_header) {
        memcpy(part, parts.header, header_size);
        header_size = LLVMFuzzerMutate(part, header_size, header_size + room);
        memcpy(part + header_size, parts.body, body_size);
    } else {
        memcpy(part, parts.header, header_size);
        memcpy(part + header_size, parts.body, body_size);
        body_size = LLVMFuzzerMutate(part + header_size, body_size, body_size + room);
    }
    frame_encode_prefix(copy, parts.serialize_type, header_size, body_size);
    n = replace(data, n, frame.at, frame.size, copy, FRAME_PREFIX_SIZE + header_size + body_size);
    free(copy);
    return n;
}

/* The frame twice, or behind the one that follows it. */
static size_t change_order(uint8_t *data, size_t n, size_t capacity, struct placed_frame frame,
    struct placed_frame next, bool is_doubled)
{
    uint8_t *copy = malloc(frame.size);
    if (!copy || (is_doubled && n + frame.size > capacity)) {
        free(copy);
        return n;
    }
    memcpy(copy, data + frame.at, frame.size);
    if (!is_doubled) {
        n = replace(data, n, frame.at, frame.size, copy, 0);
    }
    n = replace(
        data, n, is_doubled ? frame.at : next.at + next.size - frame.size, 0, copy, frame.size);
    free(copy);
    return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed)
{
    struct placed_frame frames[FRAMES_MAX];
    size_t n_frames = frames_find(data, n, frames);
    if (n > capacity) {
        return LLVMFuzzerMutate(data, capacity, capacity); /* a crossover has made it too large */
    }
    if (n_frames == 0 || seed % 4 == 0) {
        return LLVMFuzzerMutate(data, n, capacity);
    }
    size_t i = seed / 4 % n_frames;
    struct placed_frame next = frames[i + 1 < n_frames ? i + 1 : i];
    switch ((enum change)(seed / 1024 % N_CHANGES)) {
    case CHANGE_HEADER:
    case CHANGE_HEADER_AGAIN:
        return change_part(data, n, capacity, frames[i], true);
    case CHANGE_BODY:
        return change_part(data, n, capacity, frames[i], false);
    case CHANGE_FORM:
        data[frames[i].at + 4] ^= 1;
        return n;
    case CHANGE_DOUBLE:
        return change_order(data, n, capacity, frames[i], next, true);
    case CHANGE_REMOVE:
        return replace(data, n, frames[i].at, frames[i].size, data, 0);
    case CHANGE_SWAP:
        return change_order(data, n, capacity, frames[i], next, false);
    case N_CHANGES:
        break;
    }
    return n;
}
