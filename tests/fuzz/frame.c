/*
 * Frames of either side: where they end is known from their first bytes and never changes as more
 * come; a whole one is decoded, and what was decoded can be said again.
 */
#include "protocol/frame.h"
#include "protocol/remoting_command.h"
#include "tests/fuzz/command_promises.h"
#include "tests/fuzz/target.h"

#include <string.h>

#define SMALL_LIMIT 64

const size_t frames_at = 0;

static struct ext_field storage[EXT_FIELDS_MAX];

static bool is_refused(enum frame_status status)
{
    return status == FRAME_TOO_LARGE || status == FRAME_MALFORMED;
}

static void promise_sentence(const uint8_t *data, size_t n, size_t limit)
{
    char text[160] = "";
    frame_describe_problem(data, n, limit, text, sizeof(text));
    promise(text[0] != '\0' && memchr(text, '\0', sizeof(text)), "no sentence");
}

/* The verdict of the first n bytes, held against those of fewer. */
static enum frame_status measure(const uint8_t *data, size_t n, size_t limit, size_t *ret_size)
{
    enum frame_status before = FRAME_PARTIAL;
    size_t size_before = 4;
    for (size_t cut = 0; cut <= n; cut = cut == 2 * FRAME_PREFIX_SIZE ? n : cut + 1) {
        size_t size = SIZE_MAX;
        enum frame_status status = frame_measure(data, cut, limit, &size);
        promise(before == FRAME_PARTIAL || status == before, "%zu bytes change the verdict", cut);
        if (is_refused(status)) {
            promise(size == SIZE_MAX, "a size of what is no frame");
            promise_sentence(data, cut, limit);
        } else {
            promise(size >= size_before && size <= limit, "%zu bytes after %zu", size, size_before);
            promise((status == FRAME_COMPLETE) == (cut >= size && cut >= FRAME_PREFIX_SIZE),
                "%zu of %zu bytes", cut, size);
            size_before = size;
        }
        before = status;
        if (cut == n) {
            break;
        }
    }
    *ret_size = size_before;
    return before;
}

/* A span of the command still says the same after its frame has moved. */
static void promise_rebase(struct remoting_command *command, const uint8_t *frame, size_t size)
{
    uint8_t *copy = malloc(size);
    promise(copy, "no memory");
    memcpy(copy, frame, size);
    struct remoting_command moved = *command;
    struct ext_field fields[EXT_FIELDS_MAX];
    memcpy(fields, storage, sizeof(fields));
    moved.ext_fields.fields = fields;
    remoting_command_rebase(&moved, frame, size, copy);
    promise(span_equals(moved.body, command->body), "the body");
    promise(span_equals(moved.remark, command->remark), "the remark");
    for (size_t i = 0; i < moved.ext_fields.n; i++) {
        promise(span_equals(fields[i].key, storage[i].key), "key %zu", i);
        promise(span_equals(fields[i].value, storage[i].value), "value %zu", i);
    }
    free(copy);
}

static void try_frame(const uint8_t *data, size_t size)
{
    uint8_t *frame = malloc(size);
    promise(frame, "no memory");
    memcpy(frame, data, size);
    struct remoting_command command;
    enum serialize_type serialize_type;
    struct header_problem problem = { "" };
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    switch (remoting_command_decode(&command, frame, size, &serialize_type, &problem)) {
    case HEADER_OK:
        promise_rebase(&command, frame, size);
        promise_command(&command);
        break;
    case HEADER_INVALID:
    case HEADER_SYNTAX:
    case HEADER_NO_MEMORY:
        promise_problem(&problem);
        promise(span_is_absent(command.remark) && command.ext_fields.n == 0,
            "text of a header that was refused");
        break;
    }
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t size;
    (void)measure(data, n, SMALL_LIMIT, &size);
    for (size_t at = 0; measure(data + at, n - at, FRAME_SIZE_MAX, &size) == FRAME_COMPLETE;
         at += size) {
        try_frame(data + at, size);
    }
    return 0;
}
