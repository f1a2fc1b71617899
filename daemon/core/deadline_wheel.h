/*
 * Deadline wheel
 *
 * Every moment that something waits for is a struct deadline in its owner, hung into one of the
 * wheel's slots by its time. Setting and clearing are a few pointer writes however many wait; a
 * slot spans DEADLINE_SLOT_MS, so a deadline is noticed at most that much late and never early. A
 * deadline further away than one turn of the wheel stays in its slot for another.
 *
 * The wheel owns no deadline and reads no clock. Whoever frees a deadline's owner clears it first.
 */
#pragma once

#include "daemon/core/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEADLINE_SLOT_MS 4
#define DEADLINE_SLOTS   4096 /* one turn is 16 s; a power of two and a multiple of 64 */

struct deadline {
    struct deadline *prev, *next; /* NULL: not set */
    uint64_t at_ms;
    bool is_in_wheel; /* false while it waits in a list of expired ones */
    void (*on_deadline)(struct deadline *deadline, uint64_t now_ms);
};

struct deadline_wheel {
    struct deadline slots[DEADLINE_SLOTS]; /* list heads */
    uint64_t occupied[DEADLINE_SLOTS / 64];
    uint64_t tick;     /* in slots: everything before it has been looked at */
    uint64_t earliest; /* in slots: where something is set, nothing is before it */
    size_t n;
};

void deadline_wheel_init(struct deadline_wheel *wheel, uint64_t now_ms);

void deadline_init(
    struct deadline *deadline, void (*on_deadline)(struct deadline *deadline, uint64_t now_ms));
bool deadline_is_set(const struct deadline *deadline);
/* Sets it, also when it was set before. NEVER_MS clears it. */
void deadline_set(struct deadline_wheel *wheel, struct deadline *deadline, uint64_t at_ms);
void deadline_clear(struct deadline_wheel *wheel, struct deadline *deadline);

/*
 * Calls on_deadline of everything that is due, in the order of its slots. A callback may set and
 * clear any deadline, its own and other due ones included; what it sets to a time that is past
 * already is called in the next round. The number called.
 */
size_t deadline_wheel_expire(struct deadline_wheel *wheel, uint64_t now_ms);

/*
 * When to call deadline_wheel_expire() next: no deadline is due more than a slot before. NEVER_MS
 * when none is set.
 */
uint64_t deadline_wheel_next(struct deadline_wheel *wheel);
