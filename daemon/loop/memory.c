#include "daemon/loop/memory.h"

#include "daemon/loop/output.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, n)   ((void)(data), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(data, n) ((void)(data), (void)(n))
#endif

/* Frames of nearly the same size share buffers. */
#define LARGE_STEP (16 * 1024)
/* Of the limit, what large frame buffers leave free. */
#define SPARE_PART 8

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

static void kept_free(struct memory *memory)
{
    while (memory->n_kept > 0) {
        free(memory->kept[--memory->n_kept]);
    }
    memory->kept_size = 0;
}

void memory_settle(struct memory *memory)
{
    if (!memory->has_used_kept) {
        kept_free(memory);
    }
    memory->has_used_kept = false;
}

void memory_deinit(struct memory *memory)
{
    free_list_deinit(&memory->blocks);
    kept_free(memory);
    assert(memory->used == 0);
}

bool memory_has_room(const struct memory *memory, size_t n)
{
    return memory->used <= memory->limit && n <= memory->limit - memory->used;
}

struct frame_buffer *frame_buffer_new(struct memory *memory, size_t capacity)
{
    size_t spare = capacity < FRAME_BUFFER_LARGE ? 0 : memory->limit / SPARE_PART;
    if (!memory_has_room(memory, capacity) || !memory_has_room(memory, capacity + spare)) {
        return NULL;
    }
    return frame_buffer_new_beyond(memory, capacity);
}

/* NULL where none of that size is kept. The one that was given last is in the CPU's caches. */
static struct frame_buffer *kept_take(struct memory *memory, size_t allocated)
{
    for (size_t i = memory->n_kept; i > 0; i--) {
        struct frame_buffer *buffer = memory->kept[i - 1];
        if (buffer->allocated == allocated) {
            memory->n_kept--;
            memmove(&memory->kept[i - 1], &memory->kept[i],
                (memory->n_kept - (i - 1)) * sizeof(memory->kept[0]));
            memory->kept_size -= allocated;
            memory->has_used_kept = true;
            ASAN_UNPOISON_MEMORY_REGION(buffer->data, allocated);
            return buffer;
        }
    }
    return NULL;
}

static void kept_free_oldest(struct memory *memory)
{
    struct frame_buffer *oldest = memory->kept[0];
    memory->kept_size -= oldest->allocated;
    memory->n_kept--;
    memmove(&memory->kept[0], &memory->kept[1], memory->n_kept * sizeof(memory->kept[0]));
    free(oldest);
}

/* Where there is no room the oldest make it: what was used last has the size that is used next. */
static void kept_give(struct memory *memory, struct frame_buffer *buffer)
{
    if (buffer->allocated < FRAME_BUFFER_LARGE || buffer->allocated > FRAME_BUFFERS_KEPT_SIZE) {
        free(buffer);
        return;
    }
    while (memory->n_kept == FRAME_BUFFERS_KEPT ||
           buffer->allocated > FRAME_BUFFERS_KEPT_SIZE - memory->kept_size) {
        kept_free_oldest(memory);
    }
    memory->kept[memory->n_kept++] = buffer;
    memory->kept_size += buffer->allocated;
    ASAN_POISON_MEMORY_REGION(buffer->data, buffer->allocated);
}

struct frame_buffer *frame_buffer_new_beyond(struct memory *memory, size_t capacity)
{
    size_t allocated = capacity;
    struct frame_buffer *buffer = NULL;
    if (capacity >= FRAME_BUFFER_LARGE) {
        allocated = (capacity + LARGE_STEP - 1) / LARGE_STEP * LARGE_STEP;
        buffer = kept_take(memory, allocated);
    }
    if (!buffer) {
        buffer = malloc(sizeof(*buffer) + allocated);
    }
    if (!buffer) {
        return NULL;
    }
    buffer->n_references = 1;
    buffer->capacity = capacity;
    buffer->allocated = allocated;
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
        kept_give(buffer->memory, buffer);
    }
    return NULL;
}
