#include "daemon/core/event_ring.h"

#include <errno.h>
#include <stdlib.h>

struct kind_row {
    const char *name;
    bool is_public;
};

static const struct kind_row kinds[] = {
    [EVENT_CONNECTED] = { "CONNECTED", true },
    [EVENT_DISCONNECTED] = { "DISCONNECTED", true },
    [EVENT_EXCEPTION] = { "EXCEPTION", true },
    [EVENT_IDLE] = { "IDLE", true },
    [EVENT_OUT_OF_USE] = { "OUT_OF_USE", true },
    [EVENT_IN_USE] = { "IN_USE", true },
    [EVENT_ROUTE_LOST] = { "ROUTE_LOST", false },
    [EVENT_NAMESERVERS_SILENT] = { "NAMESERVERS_SILENT", true },
    [EVENT_NAMESERVERS_ANSWER] = { "NAMESERVERS_ANSWER", true },
    [EVENT_HEALTH] = { "HEALTH", true },
    [EVENT_FAILURE] = { "FAILURE", false },
    [EVENT_SESSION] = { "SESSION", false },
    [EVENT_COMMAND] = { "COMMAND", false },
    [EVENT_DRAIN] = { "DRAIN", true },
};
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == EVENT_KINDS, "a kind has no row");

int event_ring_init(struct event_ring *ring)
{
    *ring = (struct event_ring){ .events = calloc(EVENT_RING_SIZE, sizeof(struct noted_event)) };
    return ring->events ? 0 : -ENOMEM;
}

void event_ring_deinit(struct event_ring *ring)
{
    free(ring->events);
    ring->events = NULL;
}

static bool budget_take(struct event_budget *budget, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;
    if (second != budget->second) {
        *budget = (struct event_budget){ .second = second };
    }
    return budget->n++ < EVENTS_PER_SECOND;
}

bool event_ring_add(struct event_ring *ring, const struct noted_event *event, uint64_t now_ms)
{
    if (!budget_take(&ring->budgets[event->kind], now_ms)) {
        ring->n_left_out++;
        return false;
    }
    struct noted_event *kept = &ring->events[ring->n % EVENT_RING_SIZE];
    *kept = *event;
    kept->id = ++ring->n;
    return true;
}

uint64_t event_ring_first(const struct event_ring *ring)
{
    return ring->n > EVENT_RING_SIZE ? ring->n - EVENT_RING_SIZE + 1 : 1;
}

const struct noted_event *event_ring_get(const struct event_ring *ring, uint64_t id)
{
    if (id < event_ring_first(ring) || id > ring->n) {
        return NULL;
    }
    return &ring->events[(id - 1) % EVENT_RING_SIZE];
}

const char *event_kind_name(enum event_kind kind)
{
    return kinds[kind].name;
}

bool event_kind_is_public(enum event_kind kind)
{
    return kinds[kind].is_public;
}
