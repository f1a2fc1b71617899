#include "daemon/wiring/memory.h"

#include "daemon/wiring/output.h"

#include <assert.h>
#include <stdlib.h>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, n)   ((void)(data), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(data, n) ((void)(data), (void)(n))
#endif

struct free_object {
    struct free_object *next;
};

void free_list_init(struct free_list *list, size_t object_size, size_t n_max)
{
    assert(object_size >= sizeof(struct free_object));
    *list = (struct free_list){ .object_size = object_size, .n_max = n_max };
}

void free_list_deinit(struct free_list *list)
{
    while (list->first) {
        free(free_list_take(list));
    }
}

void *free_list_take(struct free_list *list)
{
    struct free_object *object = list->first;
    if (!object) {
        return malloc(list->object_size);
    }
    ASAN_UNPOISON_MEMORY_REGION(object, list->object_size);
    list->first = object->next;
    list->n--;
    return object;
}

void free_list_give(struct free_list *list, void *given)
{
    if (list->n >= list->n_max) {
        free(given);
        return;
    }
    struct free_object *object = given;
    object->next = list->first;
    list->first = object;
    list->n++;
    ASAN_POISON_MEMORY_REGION(object, list->object_size);
}

void memory_init(struct memory *memory, size_t limit)
{
    *memory = (struct memory){ .limit = limit };
    free_list_init(
        &memory->blocks, sizeof(struct output_chunk) + OUTPUT_BLOCK_SIZE, OUTPUT_BLOCKS_KEPT);
}

void memory_deinit(struct memory *memory)
{
    free_list_deinit(&memory->blocks);
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
