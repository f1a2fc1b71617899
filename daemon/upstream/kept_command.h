/*
 * Kept command
 *
 * A command that has to outlive the turn it was read in: one that waits for a route or a
 * connection, or may be repeated. It owns its array of ext fields and references to the bytes that
 * its spans point into. A command that goes out in the turn in which it came is never kept.
 */
#pragma once

#include "daemon/loop/memory.h"
#include "protocol/remoting_command.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where the bytes of a command lie: a frame, perhaps in somebody's buffer, and where the body lies
 * in another buffer, that one. Spans that point elsewhere must outlive the kept command.
 */
struct command_source {
    uint8_t *frame;
    size_t size;
    /* NULL: the frame is gone when the callback returns, and keeping it copies it */
    struct frame_buffer *owner;
    struct frame_buffer *body_owner; /* NULL: the body lies in the frame */
};

struct kept_command {
    struct remoting_command command;
    struct frame_buffer *frame;
    struct frame_buffer *body_owner; /* NULL: the body lies in frame */
    struct ext_field *fields;        /* NULL: nothing is kept */
};

/*
 * Keeps command with room for n_spare more fields. 0; -ENOMEM also for limits.total_memory.
 */
int kept_command_keep(struct kept_command *kept, struct memory *memory,
    const struct remoting_command *command, const struct command_source *source, size_t n_spare);
bool kept_command_is_kept(const struct kept_command *kept);
/* The source of the kept command, to send it or to keep it again. */
struct command_source kept_command_source(const struct kept_command *kept);
void kept_command_deinit(struct kept_command *kept);
