#include "daemon/core/deadline_wheel.h"

#include <assert.h>

static void list_init(struct deadline *head)
{
    head->prev = head->next = head;
}

static bool list_is_empty(const struct deadline *head)
{
    return head->next == head;
}

static void list_append(struct deadline *head, struct deadline *deadline)
{
    deadline->prev = head->prev;
    deadline->next = head;
    head->prev->next = deadline;
    head->prev = deadline;
}

static void list_unlink(struct deadline *deadline)
{
    deadline->prev->next = deadline->next;
    deadline->next->prev = deadline->prev;
    deadline->prev = deadline->next = NULL;
}

static size_t slot_of(uint64_t tick)
{
    return tick % DEADLINE_SLOTS;
}

void deadline_wheel_init(struct deadline_wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct deadline_wheel){ .tick = now_ms / DEADLINE_SLOT_MS };
    for (size_t i = 0; i < DEADLINE_SLOTS; i++) {
        list_init(&wheel->slots[i]);
    }
}

void deadline_init(
    struct deadline *deadline, void (*on_deadline)(struct deadline *deadline, uint64_t now_ms))
{
    *deadline = (struct deadline){ .at_ms = NEVER_MS, .on_deadline = on_deadline };
}

bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->next != NULL;
}

void deadline_set(struct deadline_wheel *wheel, struct deadline *deadline, uint64_t at_ms)
{
    deadline_clear(wheel, deadline);
    deadline->at_ms = at_ms;
    if (at_ms == NEVER_MS) {
        return;
    }
    uint64_t tick = at_ms / DEADLINE_SLOT_MS;
    if (tick < wheel->tick) {
        tick = wheel->tick;
    }
    if (wheel->n == 0 || tick < wheel->earliest) {
        wheel->earliest = tick;
    }
    size_t slot = slot_of(tick);
    list_append(&wheel->slots[slot], deadline);
    wheel->occupied[slot / 64] |= UINT64_C(1) << (slot % 64);
    deadline->is_in_wheel = true;
    wheel->n++;
}

void deadline_clear(struct deadline_wheel *wheel, struct deadline *deadline)
{
    if (!deadline_is_set(deadline)) {
        return;
    }
    struct deadline *neighbour = deadline->next;
    list_unlink(deadline);
    if (!deadline->is_in_wheel) {
        return;
    }
    deadline->is_in_wheel = false;
    wheel->n--;
    if (list_is_empty(neighbour)) {
        /* Only the head is left, and heads lie in the array. */
        size_t slot = (size_t)(neighbour - wheel->slots);
        wheel->occupied[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    }
}

/* Moves what is due from one slot to the list of expired ones. */
static void slot_collect(
    struct deadline_wheel *wheel, size_t slot, uint64_t now_ms, struct deadline *expired)
{
    struct deadline *head = &wheel->slots[slot];
    struct deadline *next;
    for (struct deadline *deadline = head->next; deadline != head; deadline = next) {
        next = deadline->next;
        if (deadline->at_ms <= now_ms) {
            deadline_clear(wheel, deadline);
            list_append(expired, deadline);
        }
    }
}

size_t deadline_wheel_expire(struct deadline_wheel *wheel, uint64_t now_ms)
{
    struct deadline expired;
    list_init(&expired);

    uint64_t now_tick = now_ms / DEADLINE_SLOT_MS;
    if (now_tick < wheel->tick) {
        return 0;
    }
    uint64_t n_slots = now_tick - wheel->tick + 1;
    if (n_slots > DEADLINE_SLOTS) {
        n_slots = DEADLINE_SLOTS;
    }
    uint64_t first = now_tick + 1 - n_slots;
    if (first < wheel->earliest) {
        first = wheel->earliest;
    }
    for (uint64_t tick = first; tick <= now_tick && wheel->n > 0; tick++) {
        size_t slot = slot_of(tick);
        if (wheel->occupied[slot / 64] & UINT64_C(1) << (slot % 64)) {
            slot_collect(wheel, slot, now_ms, &expired);
        }
    }
    /* The slot of now is looked at again: it may hold what is due a few milliseconds on. */
    wheel->tick = now_tick;

    size_t n = 0;
    while (!list_is_empty(&expired)) {
        struct deadline *deadline = expired.next;
        list_unlink(deadline);
        n++;
        deadline->on_deadline(deadline, now_ms);
    }
    return n;
}

uint64_t deadline_wheel_next(struct deadline_wheel *wheel)
{
    if (wheel->n == 0) {
        return NEVER_MS;
    }
    /* What is more than a turn away lies in a slot of this one, too. */
    if (wheel->earliest < wheel->tick || wheel->earliest - wheel->tick >= DEADLINE_SLOTS) {
        wheel->earliest = wheel->tick;
    }
    /* Word by word, the first one twice: from its slot on, and at the end all of it. */
    for (uint64_t i = 0;;) {
        assert(i < DEADLINE_SLOTS);
        uint64_t tick = wheel->earliest + i;
        size_t slot = slot_of(tick);
        uint64_t word = wheel->occupied[slot / 64] >> (slot % 64);
        if (word) {
            wheel->earliest = tick + (uint64_t)__builtin_ctzll(word);
            return (wheel->earliest + 1) * DEADLINE_SLOT_MS;
        }
        i += 64 - slot % 64;
    }
}
