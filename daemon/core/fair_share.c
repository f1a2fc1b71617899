#include "daemon/core/fair_share.h"

#include <stdlib.h>

#define OWNER_BUCKETS 64 /* a power of two */
#define RUNS_MIN      64

struct share_owner {
    struct share_owner *next; /* of its bucket */
    uint64_t owner;
    size_t size;
};

/* Bytes that follow each other and have one owner. */
struct share_run {
    struct share_owner *owner;
    size_t size;
    uint64_t end;
};

struct share_ledger {
    struct share_owner *buckets[OWNER_BUCKETS];
    size_t n_owners;
    struct share_run *runs; /* a ring: the oldest is at `first` */
    size_t first, n_runs, capacity;
};

bool fair_share_admits(size_t used, size_t limit, size_t own, size_t n_others)
{
    size_t part = limit / FAIR_SHARE_PARTS;
    if (used >= limit) {
        return false;
    }
    if (used >= limit - part) {
        return own == 0 || own < part / (n_others + 1);
    }
    return own < part || n_others == 0;
}

struct share_ledger *share_ledger_new(void)
{
    return calloc(1, sizeof(struct share_ledger));
}

static struct share_owner **owner_at(struct share_ledger *ledger, uint64_t owner)
{
    struct share_owner **at = &ledger->buckets[owner & (OWNER_BUCKETS - 1)];
    while (*at && (*at)->owner != owner) {
        at = &(*at)->next;
    }
    return at;
}

static void owner_give_back(struct share_ledger *ledger, struct share_owner *owner, size_t size)
{
    owner->size -= size;
    if (owner->size == 0) {
        *owner_at(ledger, owner->owner) = owner->next;
        ledger->n_owners--;
        free(owner);
    }
}

static struct share_run *run_at(const struct share_ledger *ledger, size_t i)
{
    return &ledger->runs[(ledger->first + i) & (ledger->capacity - 1)];
}

/* Room for one more run. */
static bool runs_grow(struct share_ledger *ledger)
{
    if (ledger->n_runs < ledger->capacity) {
        return true;
    }
    size_t capacity = ledger->capacity == 0 ? RUNS_MIN : 2 * ledger->capacity;
    struct share_run *runs = malloc(capacity * sizeof(*runs));
    if (!runs) {
        return false;
    }
    for (size_t i = 0; i < ledger->n_runs; i++) {
        runs[i] = *run_at(ledger, i);
    }
    free(ledger->runs);
    ledger->runs = runs;
    ledger->first = 0;
    ledger->capacity = capacity;
    return true;
}

void share_ledger_note(struct share_ledger *ledger, uint64_t owner, size_t n, uint64_t end)
{
    if (n == 0) {
        return;
    }
    struct share_run *last = ledger->n_runs > 0 ? run_at(ledger, ledger->n_runs - 1) : NULL;
    if (last && last->owner->owner == owner) {
        last->owner->size += n;
        last->size += n;
        last->end = end;
        return;
    }
    if (!runs_grow(ledger)) {
        return;
    }
    struct share_owner **at = owner_at(ledger, owner);
    if (!*at) {
        struct share_owner *added = calloc(1, sizeof(*added));
        if (!added) {
            return;
        }
        added->owner = owner;
        *at = added;
        ledger->n_owners++;
    }
    (*at)->size += n;
    *run_at(ledger, ledger->n_runs++) = (struct share_run){ .owner = *at, .size = n, .end = end };
}

static void run_drop(struct share_ledger *ledger)
{
    struct share_run *run = run_at(ledger, 0);
    owner_give_back(ledger, run->owner, run->size);
    ledger->first = (ledger->first + 1) & (ledger->capacity - 1);
    ledger->n_runs--;
}

void share_ledger_release(struct share_ledger *ledger, uint64_t upto)
{
    while (ledger->n_runs > 0 && run_at(ledger, 0)->end <= upto) {
        run_drop(ledger);
    }
    if (ledger->n_runs == 0) {
        return;
    }
    /* A run grows while it is written: what is left of it is what lies behind the byte. */
    struct share_run *run = run_at(ledger, 0);
    size_t left = (size_t)(run->end - upto);
    if (left < run->size) {
        run->owner->size -= run->size - left;
        run->size = left;
    }
}

bool share_ledger_is_empty(const struct share_ledger *ledger)
{
    return ledger->n_runs == 0;
}

size_t share_ledger_of(const struct share_ledger *ledger, uint64_t owner, size_t *ret_n_others)
{
    const struct share_owner *found = ledger->buckets[owner & (OWNER_BUCKETS - 1)];
    while (found && found->owner != owner) {
        found = found->next;
    }
    *ret_n_others = ledger->n_owners - (found != NULL);
    return found ? found->size : 0;
}

struct share_ledger *share_ledger_free(struct share_ledger *ledger)
{
    if (!ledger) {
        return NULL;
    }
    while (ledger->n_runs > 0) {
        run_drop(ledger);
    }
    free(ledger->runs);
    free(ledger);
    return NULL;
}
