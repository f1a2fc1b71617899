#include "daemon/wiring/memory.h"

#include "daemon/wiring/output.h"

#include <assert.h>
#include <stdlib.h>

void memory_init(struct memory *memory, size_t limit)
{
    *memory = (struct memory){ .limit = limit };
}

void memory_deinit(struct memory *memory)
{
    while (memory->free_blocks) {
        struct output_chunk *block = memory->free_blocks;
        memory->free_blocks = block->next;
        free(block);
    }
    assert(memory->used == 0);
}

bool memory_has_room(const struct memory *memory, size_t n)
{
    return memory->used <= memory->limit && n <= memory->limit - memory->used;
}

struct frame_buffer *frame_buffer_new(struct memory *memory, size_t capacity)
{
    return memory_has_room(memory, capacity) ? frame_buffer_new_beyond(memory, capacity) : NULL;
}

struct frame_buffer *frame_buffer_new_beyond(struct memory *memory, size_t capacity)
{
    struct frame_buffer *buffer = malloc(sizeof(*buffer) + capacity);
    if (!buffer) {
        return NULL;
    }
    buffer->n_references = 1;
    buffer->capacity = capacity;
    buffer->memory = memory;
    memory->used += capacity;
    return buffer;
}

struct frame_buffer *frame_buffer_ref(struct frame_buffer *buffer)
{
    buffer->n_references++;
    return buffer;
}

struct frame_buffer *frame_buffer_unref(struct frame_buffer *buffer)
{
    if (buffer && --buffer->n_references == 0) {
        buffer->memory->used -= buffer->capacity;
        free(buffer);
    }
    return NULL;
}
