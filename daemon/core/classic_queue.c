#include "daemon/core/classic_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool classic_queue_init(struct classic_queue *queue, int64_t offset)
{
    *queue = (struct classic_queue){ .next = offset };
    queue->entries = calloc(CLASSIC_WINDOW, sizeof(*queue->entries));
    return queue->entries != NULL;
}

void classic_queue_deinit(struct classic_queue *queue)
{
    free(queue->entries);
    *queue = (struct classic_queue){ 0 };
}

int64_t classic_queue_committed(const struct classic_queue *queue)
{
    return queue->n > 0 ? queue->entries[0].offset : queue->next;
}

size_t classic_queue_room(const struct classic_queue *queue)
{
    return CLASSIC_WINDOW - queue->n;
}

bool classic_queue_expired(const struct classic_queue *queue, uint64_t now_ms, int64_t *ret_offset)
{
    for (size_t i = 0; i < queue->n; i++) {
        if (queue->entries[i].visible_at_ms <= now_ms) {
            *ret_offset = queue->entries[i].offset;
            return true;
        }
    }
    return false;
}

/* Where the offset is, or belongs. */
static size_t find(const struct classic_queue *queue, int64_t offset)
{
    size_t i = queue->n;
    while (i > 0 && queue->entries[i - 1].offset >= offset) {
        i--;
    }
    return i;
}

static bool is_at(const struct classic_queue *queue, size_t i, int64_t offset)
{
    return i < queue->n && queue->entries[i].offset == offset;
}

void classic_queue_hand_out(struct classic_queue *queue, int64_t offset, uint64_t visible_at_ms)
{
    size_t i = find(queue, offset);
    if (!is_at(queue, i, offset)) {
        assert(queue->n < CLASSIC_WINDOW);
        memmove(
            &queue->entries[i + 1], &queue->entries[i], (queue->n - i) * sizeof(queue->entries[0]));
        queue->entries[i].offset = offset;
        queue->n++;
    }
    queue->entries[i].visible_at_ms = visible_at_ms;
    classic_queue_advance(queue, offset + 1);
}

void classic_queue_advance(struct classic_queue *queue, int64_t next)
{
    if (next > queue->next) {
        queue->next = next;
    }
}

bool classic_queue_acknowledge(struct classic_queue *queue, int64_t offset)
{
    size_t i = find(queue, offset);
    if (!is_at(queue, i, offset)) {
        return false;
    }
    queue->n--;
    memmove(&queue->entries[i], &queue->entries[i + 1], (queue->n - i) * sizeof(queue->entries[0]));
    return i == 0;
}

bool classic_queue_delay(struct classic_queue *queue, int64_t offset, uint64_t visible_at_ms)
{
    size_t i = find(queue, offset);
    if (!is_at(queue, i, offset)) {
        return false;
    }
    queue->entries[i].visible_at_ms = visible_at_ms;
    return true;
}
