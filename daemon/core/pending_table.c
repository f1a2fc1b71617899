#include "daemon/core/pending_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define PENDING_NO_SLOT     UINT32_MAX
#define PENDING_ONEWAY_SLOT 65535u
/* Few slots would make a busy daemon run through the generations of each quickly. */
#define PENDING_SLOTS_AT_FIRST 1024

static uint16_t slot_of(int32_t upstream_opaque)
{
    return (uint16_t)((uint32_t)upstream_opaque & 0xFFFFu);
}

static uint16_t generation_of(int32_t upstream_opaque)
{
    return (uint16_t)((uint32_t)upstream_opaque >> 16);
}

static void list_append(struct pending_table *table, struct pending_slot_list *list, uint32_t index)
{
    struct pending_slot *slot = &table->slots[index];
    slot->prev = list->last;
    slot->next = PENDING_NO_SLOT;
    if (list->last == PENDING_NO_SLOT) {
        list->first = index;
    } else {
        table->slots[list->last].next = index;
    }
    list->last = index;
    list->n++;
}

static void list_remove(struct pending_table *table, struct pending_slot_list *list, uint32_t index)
{
    struct pending_slot *slot = &table->slots[index];
    if (slot->prev == PENDING_NO_SLOT) {
        list->first = slot->next;
    } else {
        table->slots[slot->prev].next = slot->next;
    }
    if (slot->next == PENDING_NO_SLOT) {
        list->last = slot->prev;
    } else {
        table->slots[slot->next].prev = slot->prev;
    }
    list->n--;
}

static void slot_release(struct pending_table *table, uint32_t index)
{
    struct pending_slot *slot = &table->slots[index];
    slot->state = PENDING_SLOT_FREE;
    slot->request = NULL;
    slot->generation++;
    list_append(table, &table->free_slots, index);
}

static void quarantine_release(struct pending_table *table, uint32_t index)
{
    list_remove(table, &table->quarantined, index);
    slot_release(table, index);
}

static void quarantine_expire(struct pending_table *table, uint64_t now_ms)
{
    while (table->quarantined.n > 0) {
        uint32_t index = table->quarantined.first;
        uint64_t since_ms = (uint64_t)table->slots[index].since_s * 1000;
        if (now_ms < clock_after(since_ms, PENDING_QUARANTINE_MS)) {
            return;
        }
        quarantine_release(table, index);
    }
}

void pending_table_init(struct pending_table *table, size_t capacity, uint16_t first_generation)
{
    assert(capacity > 0 && capacity <= PENDING_TABLE_CAPACITY_MAX);
    *table = (struct pending_table){
        .capacity = capacity,
        .first_generation = first_generation,
        .free_slots = { PENDING_NO_SLOT, PENDING_NO_SLOT, 0 },
        .quarantined = { PENDING_NO_SLOT, PENDING_NO_SLOT, 0 },
    };
}

void pending_table_deinit(struct pending_table *table)
{
    assert(table->n_pending == 0);
    free(table->slots);
    table->slots = NULL;
    table->n_slots = 0;
}

static int table_grow(struct pending_table *table)
{
    size_t n_slots = table->n_slots == 0 ? PENDING_SLOTS_AT_FIRST : table->n_slots * 2;
    if (n_slots > table->capacity) {
        n_slots = table->capacity;
    }
    if (n_slots == table->n_slots) {
        return -ENOBUFS;
    }
    struct pending_slot *slots = realloc(table->slots, n_slots * sizeof(*slots));
    if (!slots) {
        return -ENOMEM;
    }
    size_t n_before = table->n_slots;
    table->slots = slots;
    table->n_slots = n_slots;
    for (size_t i = n_before; i < n_slots; i++) {
        slots[i] = (struct pending_slot){ .generation = table->first_generation };
        list_append(table, &table->free_slots, (uint32_t)i);
    }
    return 0;
}

int pending_table_put(struct pending_table *table, uint64_t upstream_id,
    struct pending_request *request, uint64_t now_ms, int32_t *ret_upstream_opaque)
{
    quarantine_expire(table, now_ms);
    if (table->free_slots.n == 0) {
        int r = table_grow(table);
        if (r < 0 && table->quarantined.n == 0) {
            return r;
        }
        if (r < 0) {
            quarantine_release(table, table->quarantined.first);
        }
    }
    uint32_t index = table->free_slots.first;
    list_remove(table, &table->free_slots, index);
    struct pending_slot *slot = &table->slots[index];
    slot->state = PENDING_SLOT_PENDING;
    slot->upstream_id = upstream_id;
    slot->request = request;
    table->n_pending++;
    *ret_upstream_opaque = (int32_t)((uint32_t)slot->generation << 16 | index);
    return 0;
}

enum pending_take pending_table_take(struct pending_table *table, uint64_t upstream_id,
    int32_t upstream_opaque, struct pending_request **ret_request)
{
    uint32_t index = slot_of(upstream_opaque);
    if (index >= table->n_slots) {
        return PENDING_UNKNOWN;
    }
    struct pending_slot *slot = &table->slots[index];
    if (slot->upstream_id != upstream_id || slot->generation != generation_of(upstream_opaque)) {
        return PENDING_UNKNOWN;
    }
    switch ((enum pending_slot_state)slot->state) {
    case PENDING_SLOT_FREE:
        return PENDING_UNKNOWN;
    case PENDING_SLOT_QUARANTINED:
        quarantine_release(table, index);
        return PENDING_LATE;
    case PENDING_SLOT_PENDING:
        break;
    }
    *ret_request = slot->request;
    table->n_pending--;
    slot_release(table, index);
    return PENDING_TAKEN;
}

void pending_table_replace(
    struct pending_table *table, int32_t upstream_opaque, struct pending_request *request)
{
    struct pending_slot *slot = &table->slots[slot_of(upstream_opaque)];
    assert(slot->state == PENDING_SLOT_PENDING);
    slot->request = request;
}

void pending_table_abandon(struct pending_table *table, int32_t upstream_opaque, uint64_t now_ms)
{
    uint32_t index = slot_of(upstream_opaque);
    assert(index < table->n_slots);
    struct pending_slot *slot = &table->slots[index];
    assert(
        slot->state == PENDING_SLOT_PENDING && slot->generation == generation_of(upstream_opaque));
    slot->state = PENDING_SLOT_QUARANTINED;
    slot->request = NULL;
    /* Rounded up: a quarantine may be longer than its time, never shorter. */
    slot->since_s = (uint32_t)((now_ms + 999) / 1000);
    table->n_pending--;
    list_append(table, &table->quarantined, index);
}

void pending_table_forget_upstream(struct pending_table *table, uint64_t upstream_id)
{
    uint32_t next;
    for (uint32_t index = table->quarantined.first; index != PENDING_NO_SLOT; index = next) {
        next = table->slots[index].next;
        if (table->slots[index].upstream_id == upstream_id) {
            quarantine_release(table, index);
        }
    }
}

int32_t pending_table_oneway_opaque(struct pending_table *table)
{
    return (int32_t)((uint32_t)table->first_generation << 16 | PENDING_ONEWAY_SLOT);
}
