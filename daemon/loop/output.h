/*
 * Output
 *
 * The bytes that wait to be written to one connection: a list of chunks. Small things (heads, small
 * bodies) are encoded into blocks of OUTPUT_BLOCK_SIZE; a large body is not copied but referred to,
 * in the frame buffer it was read into. One writev() a turn takes as many chunks as the kernel will
 * have; TLS takes them record by record (tls_stream.h).
 *
 * Owns its blocks and its references to frame buffers. Knows no socket but the descriptor it is
 * given to write to.
 */
#pragma once

#include "daemon/loop/memory.h"
#include "protocol/remoting_command.h"

#include <stddef.h>
#include <stdint.h>

/* From this size on a body that lies in a frame buffer is referred to instead of copied. */
#define OUTPUT_REFER_SIZE 4096

struct output_chunk {
    struct output_chunk *next;
    struct frame_buffer *frame; /* NULL: a block with its bytes in `block` */
    unsigned n_references;      /* of a block: the output's, and one of each who keeps its bytes */
    const uint8_t *data;
    size_t start, end; /* what is still to be written: data[start..end) */
    uint8_t block[];
};

struct output {
    struct memory *memory;
    struct output_chunk *first, *last;
    size_t size; /* bytes to be written */
};

void output_init(struct output *output, struct memory *memory);
void output_deinit(struct output *output);

/*
 * Room for n bytes in one piece, to be filled by the caller at once; they count as output from here
 * on. NULL without memory. limits.total_memory is not asked: what must be answered is answered, and
 * who takes requests in checks it.
 */
uint8_t *output_reserve(struct output *output, size_t n);
/* The last n bytes that output_reserve() gave are not needed after all. */
void output_give_back(struct output *output, size_t n);
/*
 * Appends the head of a command, for which remoting_command_head_room() said that so much room does,
 * and in one piece with it the bytes `behind`, which may be none. Where they lie; NULL without
 * memory. *ret_size: of the piece; may be NULL.
 */
uint8_t *output_append_head(struct output *output, const struct remoting_command *command,
    enum serialize_type serialize_type, size_t head_room, struct span behind, size_t *ret_size);
/*
 * The block that the last output_reserve() gave room in, with a reference: its bytes stay after
 * they were written, so that a request can be repeated. NULL where the room is in no block.
 */
struct output_chunk *output_keep_last(struct output *output);
void output_block_unref(struct memory *memory, struct output_chunk *block);
/*
 * Appends bytes: by reference where they lie in `owner` (may be NULL) and are many, else by copy. 0
 * or -ENOMEM.
 */
int output_append(struct output *output, const void *data, size_t n, struct frame_buffer *owner);

enum output_status {
    OUTPUT_EMPTY,   /* everything is written */
    OUTPUT_BLOCKED, /* the socket takes no more for now */
    OUTPUT_FAILED,  /* errno says why */
};
enum output_status output_write(struct output *output, int fd);
/*
 * The first bytes in one piece, n of them or all that there are: where they lie, or gathered in
 * room. output_consume() then takes from the front what was written of them.
 */
size_t output_first(const struct output *output, uint8_t *room, size_t n, const uint8_t **ret_data);
void output_consume(struct output *output, size_t n);
