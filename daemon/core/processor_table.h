/*
 * Processor table
 *
 * Which callers want which requests of brokers: by request code and group, or by code for every
 * group. Several callers of one code and group take turns; who registered for every group is asked
 * where nobody did for this one. The table knows callers by number, and owns the names.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum processor_add {
    PROCESSOR_ADDED,
    PROCESSOR_THERE_ALREADY,
    PROCESSOR_TABLE_FULL_HERE, /* limits.max_processors_per_session */
    PROCESSOR_NO_MEMORY,
};

struct processor_table;

struct processor_table *processor_table_new(size_t max_per_session);
/* Who registered for more already stays registered. */
void processor_table_set_limit(struct processor_table *table, size_t max_per_session);
struct processor_table *processor_table_free(struct processor_table *table);

/* An empty group means every group. */
enum processor_add processor_table_add(
    struct processor_table *table, uint64_t session_id, int32_t code, struct span group);
/* False: it was not there. */
bool processor_table_remove(
    struct processor_table *table, uint64_t session_id, int32_t code, struct span group);
void processor_table_remove_session(struct processor_table *table, uint64_t session_id);

/*
 * The caller whose turn it is among those that can take it, or preferred_id where that is one of
 * them (0: nobody is). 0: there is none. *ret_is_registered tells nobody from nobody who can.
 */
uint64_t processor_table_choose(struct processor_table *table, int32_t code, struct span group,
    uint64_t preferred_id, bool (*can_take)(void *context, uint64_t session_id), void *context,
    bool *ret_is_registered);
