/*
 * Memory
 *
 * The bytes of frames on their way through the daemon: output blocks, taken from a free list so
 * that a busy loop never returns a page to the allocator between two turns, and frame buffers,
 * which hold one frame and are shared by reference (the connection that read it, a request that may
 * be repeated, the output that writes it). Everything is counted against limits.total_memory;
 * whoever is refused answers `overloaded`.
 *
 * Large frame buffers are kept for reuse, too: the allocator would give each back to the kernel, and
 * the pages of the next one would have to be zeroed and mapped again, which takes longer than the
 * frame itself. memory_settle(), called now and then, gives back what nobody has used since.
 *
 * A large frame buffer leaves an eighth of the limit free: where large frames have filled the rest,
 * small requests still find room.
 *
 * A free list is for any objects of one size that come and go with every request. What lies in it
 * is poisoned where the address sanitizer is in, as freed memory would be.
 */
#pragma once

#include "protocol/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_BLOCK_SIZE 16384
/* Blocks kept for reuse: 4 MiB. More go back to the allocator. */
#define OUTPUT_BLOCKS_KEPT 256

struct free_list {
    size_t object_size; /* at least a pointer's */
    size_t n_max;       /* beyond them objects go back to the allocator */
    size_t n;
    struct free_object *first;
};

/* Frame buffers from this size on are kept, so many of them and of so many bytes. */
#define FRAME_BUFFER_LARGE      (32 * 1024)
#define FRAME_BUFFERS_KEPT      32
#define FRAME_BUFFERS_KEPT_SIZE (16 * 1024 * 1024)

struct memory {
    size_t used;
    size_t limit;
    struct frame_buffer *kept[FRAME_BUFFERS_KEPT];
    size_t n_kept;
    size_t kept_size;        /* bytes of them all */
    bool has_used_kept;      /* since memory_settle() */
    struct free_list blocks; /* struct output_chunk, with their bytes */
};

void free_list_init(struct free_list *list, size_t object_size, size_t n_max);
/* What was taken is given back or freed elsewhere. */
void free_list_deinit(struct free_list *list);
/* Not zeroed. NULL without memory. */
void *free_list_take(struct free_list *list);
void free_list_give(struct free_list *list, void *object);

struct frame_buffer {
    unsigned n_references;
    size_t capacity;
    size_t allocated; /* bytes of data: capacity, rounded up where it is large */
    struct memory *memory;
    uint8_t data[];
};

void memory_init(struct memory *memory, size_t limit);
/* Everything must have been given back. */
void memory_deinit(struct memory *memory);
/* Gives back what is kept of large buffers where none was used since the last call. */
void memory_settle(struct memory *memory);
/* Whether n more bytes would fit. */
bool memory_has_room(const struct memory *memory, size_t n);

/* With one reference. NULL at the limit, which is lower for large ones, or without memory. */
struct frame_buffer *frame_buffer_new(struct memory *memory, size_t capacity);
/* The same beyond the limit, for answers: their requests were let in below it. */
struct frame_buffer *frame_buffer_new_beyond(struct memory *memory, size_t capacity);
struct frame_buffer *frame_buffer_ref(struct frame_buffer *buffer);
/* NULL is fine; always returns NULL. */
struct frame_buffer *frame_buffer_unref(struct frame_buffer *buffer);
DEFINE_CLEANUP(struct frame_buffer *, frame_buffer_unref)
