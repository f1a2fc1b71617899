/*
 * Group table
 *
 * The producer groups that local callers speak for, and who they are. To brokers the daemon is one
 * producer: its heartbeats carry the union of these groups, and a group leaves the union when the
 * last caller in it goes. A caller is in a group for one or more reasons, and stays in it until the
 * last of them is gone. The table knows callers by number, and owns the names.
 */
#pragma once

#include "protocol/rocketmq_name.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum group_reason {
    GROUP_BY_HEARTBEAT = 1 << 0,
    GROUP_BY_PROCESSOR = 1 << 1, /* it registered for the checks of the group's transactions */
    GROUP_BY_REPLIES = 1 << 2,   /* replies to request messages are to find the daemon */
};

enum group_join {
    GROUP_JOINED,
    GROUP_JOINED_FIRST,    /* the union has become larger */
    GROUP_TABLE_FULL,      /* limits.max_groups */
    GROUP_TABLE_FULL_HERE, /* limits.max_groups_per_session */
    GROUP_NO_MEMORY,
};

struct group_table;

struct group_table *group_table_new(size_t max_groups, size_t max_groups_per_session);
/* Who is in more groups already stays in them. */
void group_table_set_limits(
    struct group_table *table, size_t max_groups, size_t max_groups_per_session);
struct group_table *group_table_free(struct group_table *table);

enum group_join group_table_join(
    struct group_table *table, struct span group, uint64_t session_id, unsigned reasons);
/* True: nobody is in the group any more, and it is gone. */
bool group_table_leave(
    struct group_table *table, struct span group, uint64_t session_id, unsigned reasons);
/*
 * The caller leaves one of the groups it is in, wholly: its name in ret_group, zero-terminated.
 * False when it is in none. *ret_is_last tells whether the group is gone.
 */
bool group_table_leave_one(struct group_table *table, uint64_t session_id,
    char ret_group[ROCKETMQ_NAME_MAX + 1], bool *ret_is_last);

/* Every group, in the order in which they came, and how many callers are in it. */
void group_table_each(const struct group_table *table,
    void (*visit)(void *context, struct span group, size_t n_callers), void *context);
size_t group_table_n(const struct group_table *table);
/* The names, at most n of them, in the order in which the groups came; how many. */
size_t group_table_names(const struct group_table *table, struct span *names, size_t n);
