#include "daemon/core/processor_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

struct processor {
    TAILQ_ENTRY(processor) slot_link;
    TAILQ_ENTRY(processor) caller_link;
    struct processor_slot *slot;
    struct processor_caller *caller;
};
TAILQ_HEAD(processor_list, processor);

/* A code and a group: whose turn it is stands first. */
struct processor_slot {
    UT_hash_handle hh;
    struct processor_list processors;
    size_t key_size;
    char key[]; /* the code's four bytes, then the group */
};

struct processor_caller {
    UT_hash_handle hh;
    uint64_t session_id;
    struct processor_list processors;
    size_t n;
};

struct processor_table {
    struct processor_slot *slots;
    struct processor_caller *callers;
    size_t max_per_session;
};

struct processor_table *processor_table_new(size_t max_per_session)
{
    struct processor_table *table = calloc(1, sizeof(*table));
    if (table) {
        table->max_per_session = max_per_session;
    }
    return table;
}

void processor_table_set_limit(struct processor_table *table, size_t max_per_session)
{
    table->max_per_session = max_per_session;
}

struct processor_table *processor_table_free(struct processor_table *table)
{
    if (table) {
        assert(!table->slots && !table->callers);
        free(table);
    }
    return NULL;
}

#define SLOT_KEY_MAX (sizeof(int32_t) + 256)

/* 0 for a group that is longer than any. */
static size_t key_make(int32_t code, struct span group, char key[SLOT_KEY_MAX])
{
    if (group.n > SLOT_KEY_MAX - sizeof(code)) {
        return 0;
    }
    memcpy(key, &code, sizeof(code));
    if (group.n > 0) {
        memcpy(key + sizeof(code), group.data, group.n);
    }
    return sizeof(code) + group.n;
}

static struct processor_slot *slot_find(
    const struct processor_table *table, int32_t code, struct span group)
{
    char key[SLOT_KEY_MAX];
    size_t key_size = key_make(code, group, key);
    struct processor_slot *slot;
    HASH_FIND(hh, table->slots, key, key_size, slot);
    return slot;
}

static struct processor_slot *slot_new(
    struct processor_table *table, int32_t code, struct span group)
{
    struct processor_slot *slot = calloc(1, sizeof(*slot) + SLOT_KEY_MAX);
    if (!slot) {
        return NULL;
    }
    TAILQ_INIT(&slot->processors);
    slot->key_size = key_make(code, group, slot->key);
    HASH_ADD_KEYPTR(hh, table->slots, slot->key, slot->key_size, slot);
    if (!slot->hh.tbl) {
        free(slot);
        return NULL;
    }
    return slot;
}

static void slot_forget(struct processor_table *table, struct processor_slot *slot)
{
    if (TAILQ_EMPTY(&slot->processors)) {
        HASH_DEL(table->slots, slot);
        free(slot);
    }
}

static struct processor_caller *caller_find(
    const struct processor_table *table, uint64_t session_id)
{
    struct processor_caller *caller;
    HASH_FIND(hh, table->callers, &session_id, sizeof(session_id), caller);
    return caller;
}

static struct processor_caller *caller_new(struct processor_table *table, uint64_t session_id)
{
    struct processor_caller *caller = calloc(1, sizeof(*caller));
    if (!caller) {
        return NULL;
    }
    caller->session_id = session_id;
    TAILQ_INIT(&caller->processors);
    HASH_ADD(hh, table->callers, session_id, sizeof(caller->session_id), caller);
    if (!caller->hh.tbl) {
        free(caller);
        return NULL;
    }
    return caller;
}

static void caller_forget(struct processor_table *table, struct processor_caller *caller)
{
    if (caller->n == 0) {
        HASH_DEL(table->callers, caller);
        free(caller);
    }
}

static struct processor *processor_find(
    const struct processor_table *table, uint64_t session_id, int32_t code, struct span group)
{
    const struct processor_slot *slot = slot_find(table, code, group);
    struct processor *processor = slot ? TAILQ_FIRST(&slot->processors) : NULL;
    while (processor && processor->caller->session_id != session_id) {
        processor = TAILQ_NEXT(processor, slot_link);
    }
    return processor;
}

static void processor_end(struct processor_table *table, struct processor *processor)
{
    struct processor_slot *slot = processor->slot;
    struct processor_caller *caller = processor->caller;
    TAILQ_REMOVE(&slot->processors, processor, slot_link);
    TAILQ_REMOVE(&caller->processors, processor, caller_link);
    caller->n--;
    free(processor);
    slot_forget(table, slot);
    caller_forget(table, caller);
}

enum processor_add processor_table_add(
    struct processor_table *table, uint64_t session_id, int32_t code, struct span group)
{
    if (processor_find(table, session_id, code, group)) {
        return PROCESSOR_THERE_ALREADY;
    }
    struct processor_caller *caller = caller_find(table, session_id);
    if ((caller ? caller->n : 0) >= table->max_per_session) {
        return PROCESSOR_TABLE_FULL_HERE;
    }
    struct processor_slot *slot = slot_find(table, code, group);
    slot = slot ? slot : slot_new(table, code, group);
    caller = caller ? caller : caller_new(table, session_id);
    struct processor *processor = slot && caller ? calloc(1, sizeof(*processor)) : NULL;
    if (!processor) {
        if (slot) {
            slot_forget(table, slot);
        }
        if (caller) {
            caller_forget(table, caller);
        }
        return PROCESSOR_NO_MEMORY;
    }
    processor->slot = slot;
    processor->caller = caller;
    TAILQ_INSERT_TAIL(&slot->processors, processor, slot_link);
    TAILQ_INSERT_TAIL(&caller->processors, processor, caller_link);
    caller->n++;
    return PROCESSOR_ADDED;
}

bool processor_table_remove(
    struct processor_table *table, uint64_t session_id, int32_t code, struct span group)
{
    struct processor *processor = processor_find(table, session_id, code, group);
    if (processor) {
        processor_end(table, processor);
    }
    return processor != NULL;
}

void processor_table_remove_session(struct processor_table *table, uint64_t session_id)
{
    struct processor_caller *caller;
    while ((caller = caller_find(table, session_id))) {
        processor_end(table, TAILQ_FIRST(&caller->processors));
    }
}

/* Who is chosen goes to the end. */
static uint64_t slot_choose(struct processor_slot *slot,
    bool (*can_take)(void *context, uint64_t session_id), void *context)
{
    struct processor *processor;
    TAILQ_FOREACH (processor, &slot->processors, slot_link) {
        uint64_t session_id = processor->caller->session_id;
        if (can_take(context, session_id)) {
            TAILQ_REMOVE(&slot->processors, processor, slot_link);
            TAILQ_INSERT_TAIL(&slot->processors, processor, slot_link);
            return session_id;
        }
    }
    return 0;
}

uint64_t processor_table_choose(struct processor_table *table, int32_t code, struct span group,
    uint64_t preferred_id, bool (*can_take)(void *context, uint64_t session_id), void *context,
    bool *ret_is_registered)
{
    const struct span groups[] = { group, SPAN_ABSENT };
    *ret_is_registered = false;
    for (size_t i = 0; preferred_id && i < 2; i++) {
        if (processor_find(table, preferred_id, code, groups[i]) &&
            can_take(context, preferred_id)) {
            *ret_is_registered = true;
            return preferred_id;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        struct processor_slot *slot = slot_find(table, code, groups[i]);
        uint64_t session_id = slot ? slot_choose(slot, can_take, context) : 0;
        *ret_is_registered = *ret_is_registered || slot;
        if (session_id) {
            return session_id;
        }
    }
    return 0;
}
