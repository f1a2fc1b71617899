#include "daemon/core/group_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

struct group {
    UT_hash_handle hh;
    size_t n_members;
    size_t name_size;
    char name[];
};

struct membership_key {
    uint64_t session_id;
    struct group *group;
};

/* One caller in one group. */
struct membership {
    UT_hash_handle hh;
    TAILQ_ENTRY(membership) link; /* of the caller */
    struct membership_key key;
    unsigned reasons;
};

struct group_caller {
    UT_hash_handle hh;
    uint64_t session_id;
    TAILQ_HEAD(, membership) memberships;
    size_t n_memberships;
};

struct group_table {
    struct group *groups;
    struct membership *memberships;
    struct group_caller *callers;
    size_t max_groups;
    size_t max_groups_per_session;
};

struct group_table *group_table_new(size_t max_groups, size_t max_groups_per_session)
{
    struct group_table *table = calloc(1, sizeof(*table));
    if (table) {
        table->max_groups = max_groups;
        table->max_groups_per_session = max_groups_per_session;
    }
    return table;
}

void group_table_set_limits(
    struct group_table *table, size_t max_groups, size_t max_groups_per_session)
{
    table->max_groups = max_groups;
    table->max_groups_per_session = max_groups_per_session;
}

struct group_table *group_table_free(struct group_table *table)
{
    if (table) {
        assert(!table->groups && !table->memberships && !table->callers);
        free(table);
    }
    return NULL;
}

static struct group *group_find(const struct group_table *table, struct span name)
{
    struct group *group;
    HASH_FIND(hh, table->groups, name.data, name.n, group);
    return group;
}

static struct group *group_new(struct group_table *table, struct span name)
{
    struct group *group = calloc(1, sizeof(*group) + name.n + 1);
    if (!group) {
        return NULL;
    }
    memcpy(group->name, name.data, name.n);
    group->name_size = name.n;
    HASH_ADD_KEYPTR(hh, table->groups, group->name, group->name_size, group);
    if (!group->hh.tbl) {
        free(group);
        return NULL;
    }
    return group;
}

/* Where nobody is in it any more. */
static bool group_forget(struct group_table *table, struct group *group)
{
    if (group->n_members > 0) {
        return false;
    }
    HASH_DEL(table->groups, group);
    free(group);
    return true;
}

static struct group_caller *caller_find(const struct group_table *table, uint64_t session_id)
{
    struct group_caller *caller;
    HASH_FIND(hh, table->callers, &session_id, sizeof(session_id), caller);
    return caller;
}

static struct group_caller *caller_new(struct group_table *table, uint64_t session_id)
{
    struct group_caller *caller = calloc(1, sizeof(*caller));
    if (!caller) {
        return NULL;
    }
    caller->session_id = session_id;
    TAILQ_INIT(&caller->memberships);
    HASH_ADD(hh, table->callers, session_id, sizeof(caller->session_id), caller);
    if (!caller->hh.tbl) {
        free(caller);
        return NULL;
    }
    return caller;
}

static void caller_forget(struct group_table *table, struct group_caller *caller)
{
    if (caller->n_memberships == 0) {
        HASH_DEL(table->callers, caller);
        free(caller);
    }
}

static struct membership *membership_find(
    const struct group_table *table, struct group *group, uint64_t session_id)
{
    const struct membership_key key = { .session_id = session_id, .group = group };
    struct membership *membership;
    HASH_FIND(hh, table->memberships, &key, sizeof(key), membership);
    return membership;
}

static bool membership_new(
    struct group_table *table, struct group *group, struct group_caller *caller, unsigned reasons)
{
    struct membership *membership = calloc(1, sizeof(*membership));
    if (!membership) {
        return false;
    }
    membership->key.session_id = caller->session_id;
    membership->key.group = group;
    membership->reasons = reasons;
    HASH_ADD(hh, table->memberships, key, sizeof(membership->key), membership);
    if (!membership->hh.tbl) {
        free(membership);
        return false;
    }
    TAILQ_INSERT_TAIL(&caller->memberships, membership, link);
    caller->n_memberships++;
    group->n_members++;
    return true;
}

/* True: nobody is in the group any more, and it is gone. */
static bool membership_end(struct group_table *table, struct membership *membership)
{
    struct group *group = membership->key.group;
    struct group_caller *caller = caller_find(table, membership->key.session_id);
    TAILQ_REMOVE(&caller->memberships, membership, link);
    caller->n_memberships--;
    caller_forget(table, caller);
    HASH_DEL(table->memberships, membership);
    free(membership);
    group->n_members--;
    return group_forget(table, group);
}

enum group_join group_table_join(
    struct group_table *table, struct span name, uint64_t session_id, unsigned reasons)
{
    struct group *group = group_find(table, name);
    struct membership *membership = group ? membership_find(table, group, session_id) : NULL;
    if (membership) {
        membership->reasons |= reasons;
        return GROUP_JOINED;
    }
    struct group_caller *caller = caller_find(table, session_id);
    if (!group && HASH_COUNT(table->groups) >= table->max_groups) {
        return GROUP_TABLE_FULL;
    }
    if ((caller ? caller->n_memberships : 0) >= table->max_groups_per_session) {
        return GROUP_TABLE_FULL_HERE;
    }
    bool is_first = !group;
    if (!group) {
        group = group_new(table, name);
    }
    if (!caller) {
        caller = caller_new(table, session_id);
    }
    if (group && caller && membership_new(table, group, caller, reasons)) {
        return is_first ? GROUP_JOINED_FIRST : GROUP_JOINED;
    }
    if (group) {
        (void)group_forget(table, group);
    }
    if (caller) {
        caller_forget(table, caller);
    }
    return GROUP_NO_MEMORY;
}

bool group_table_leave(
    struct group_table *table, struct span name, uint64_t session_id, unsigned reasons)
{
    struct group *group = group_find(table, name);
    struct membership *membership = group ? membership_find(table, group, session_id) : NULL;
    if (!membership) {
        return false;
    }
    membership->reasons &= ~reasons;
    return membership->reasons == 0 && membership_end(table, membership);
}

bool group_table_leave_one(struct group_table *table, uint64_t session_id,
    char ret_group[ROCKETMQ_NAME_MAX + 1], bool *ret_is_last)
{
    struct group_caller *caller = caller_find(table, session_id);
    if (!caller) {
        return false;
    }
    struct membership *membership = TAILQ_FIRST(&caller->memberships);
    const struct group *group = membership->key.group;
    memcpy(ret_group, group->name, group->name_size + 1);
    *ret_is_last = membership_end(table, membership);
    return true;
}

size_t group_table_n(const struct group_table *table)
{
    return HASH_COUNT(table->groups);
}

size_t group_table_names(const struct group_table *table, struct span *names, size_t n)
{
    size_t n_names = 0;
    const struct group *group;
    for (group = table->groups; group && n_names < n; group = group->hh.next) {
        names[n_names++] = (struct span){ group->name, group->name_size };
    }
    return n_names;
}

void group_table_each(const struct group_table *table,
    void (*visit)(void *context, struct span group, size_t n_callers), void *context)
{
    for (const struct group *group = table->groups; group; group = group->hh.next) {
        visit(context, (struct span){ group->name, group->name_size }, group->n_members);
    }
}
