#include "daemon/core/fault_tolerance.h"

#include "daemon/core/clock.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

struct fault_row {
    char *broker_name;
    uint64_t until_ms;
    UT_hash_handle hh;
};

struct fault_tolerance {
    struct fault_row *rows;
};

/* latencyMax and notAvailableDuration of MQFaultStrategy.java, without the rows that are 0. */
static const struct {
    uint64_t latency_ms;
    uint64_t duration_ms;
} fault_table[] = {
    { 550, 2000 },
    { 1800, 5000 },
    { 3000, 6000 },
    { 5000, 10000 },
    { 15000, 30000 },
};

struct fault_tolerance *fault_tolerance_new(void)
{
    return calloc(1, sizeof(struct fault_tolerance));
}

static void row_free(struct fault_tolerance *tolerance, struct fault_row *row)
{
    HASH_DEL(tolerance->rows, row);
    free(row->broker_name);
    free(row);
}

struct fault_tolerance *fault_tolerance_free(struct fault_tolerance *tolerance)
{
    while (tolerance && tolerance->rows) {
        row_free(tolerance, tolerance->rows);
    }
    free(tolerance);
    return NULL;
}

uint64_t fault_tolerance_duration_ms(uint64_t latency_ms)
{
    for (size_t i = sizeof(fault_table) / sizeof(fault_table[0]); i > 0; i--) {
        if (latency_ms >= fault_table[i - 1].latency_ms) {
            return fault_table[i - 1].duration_ms;
        }
    }
    return 0;
}

static void rows_forget(struct fault_tolerance *tolerance, uint64_t now_ms)
{
    struct fault_row *row, *next;
    HASH_ITER (hh, tolerance->rows, row, next) {
        if (row->until_ms <= now_ms) {
            row_free(tolerance, row);
        }
    }
}

static struct fault_row *row_find(struct fault_tolerance *tolerance, struct span broker_name)
{
    struct fault_row *row;
    HASH_FIND(hh, tolerance->rows, broker_name.data, broker_name.n, row);
    return row;
}

/* NULL without memory, or where too many are out already. */
static struct fault_row *row_new(
    struct fault_tolerance *tolerance, struct span broker_name, uint64_t now_ms)
{
    if (HASH_COUNT(tolerance->rows) >= FAULT_ROWS_MAX) {
        rows_forget(tolerance, now_ms);
    }
    if (HASH_COUNT(tolerance->rows) >= FAULT_ROWS_MAX) {
        return NULL;
    }
    struct fault_row *row = calloc(1, sizeof(*row));
    if (!row || !(row->broker_name = strndup(broker_name.data, broker_name.n))) {
        free(row);
        return NULL;
    }
    HASH_ADD_KEYPTR(hh, tolerance->rows, row->broker_name, broker_name.n, row);
    if (!row->hh.tbl) {
        free(row->broker_name);
        free(row);
        return NULL;
    }
    return row;
}

void fault_tolerance_note(struct fault_tolerance *tolerance, struct span broker_name,
    enum fault_outcome outcome, uint64_t latency_ms, uint64_t now_ms)
{
    bool counts_as_refused = outcome == FAULT_REFUSED ||
                             (outcome == FAULT_SILENT && latency_ms >= fault_table[0].latency_ms);
    uint64_t duration_ms = fault_tolerance_duration_ms(
        counts_as_refused && latency_ms < FAULT_REFUSED_MS ? FAULT_REFUSED_MS : latency_ms);
    if (duration_ms == 0) {
        return;
    }
    struct fault_row *row = row_find(tolerance, broker_name);
    if (!row) {
        row = row_new(tolerance, broker_name, now_ms);
    }
    uint64_t until_ms = clock_after(now_ms, duration_ms);
    if (row && until_ms > row->until_ms) {
        row->until_ms = until_ms;
    }
}

bool fault_tolerance_is_available(
    struct fault_tolerance *tolerance, struct span broker_name, uint64_t now_ms)
{
    /* All is well: nobody is hashed. */
    struct fault_row *row = tolerance->rows ? row_find(tolerance, broker_name) : NULL;
    if (row && row->until_ms <= now_ms) {
        row_free(tolerance, row);
        row = NULL;
    }
    return row == NULL;
}

size_t fault_tolerance_n_rows(const struct fault_tolerance *tolerance)
{
    return HASH_COUNT(tolerance->rows);
}
