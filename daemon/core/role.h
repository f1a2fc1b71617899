/*
 * Role
 *
 * What a caller may do, and which caller has which role. A role comes from a [role NAME] of the
 * configuration; a caller gets one when it connects, and keeps it:
 *
 *     its [listener] names a role       that one; where the role names users or groups, only they
 *     some role names users or groups   the first one that names the caller
 *     no role does                      the built-in ones: whoever the socket's mode lets in may send
 *                                       and consume everything; root and the daemon's own user are
 *                                       administrators as well
 *
 * Whom none of this gives a role is turned away, root included. Users and groups are those of the
 * process when it connected (SO_PEERCRED, SO_PEERGROUPS). ROLE_ID_OVERFLOW is what the kernel says
 * for users and groups that have no number here: no rule means it, not even *, and it is never an
 * administrator by itself. Callers from containers are known by the socket that they were given.
 *
 * What a role may do is permission.h's. The texts of a rule have to outlive the table.
 */
#pragma once

#include "daemon/core/name_patterns.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ROLE_ID_OVERFLOW 65534
#define ROLES_MAX        16
#define ROLE_NAMED_MAX   64 /* users, and groups, of one role */

struct role {
    const char *name; /* "": a built-in one */
    uid_t users[ROLE_NAMED_MAX];
    size_t n_users;
    bool has_every_user; /* *; but the overflow's */
    gid_t groups[ROLE_NAMED_MAX];
    size_t n_groups;
    struct name_patterns send;
    struct name_patterns producer_groups;
    struct span shared_producer_group; /* every role may name it */
    struct name_patterns consume;
    struct name_patterns consumer_groups;
    bool is_admin;
    bool may_everything; /* of all topics and groups: nothing needs to be looked at */
};

/* Who has lost every role: it may nothing. */
extern const struct role role_of_nobody;

struct role_table {
    struct role user;  /* built in */
    struct role admin; /* built in */
    struct role roles[ROLES_MAX];
    size_t n;
    uid_t own_uid;
};

/* Who connected. */
struct role_caller {
    bool is_known; /* the kernel said so; otherwise nothing else counts */
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* supplementary ones */
    size_t n_groups;
};

/* The texts of a role's lists, as the configuration has them. */
struct role_texts {
    char *const *items;
    size_t n;
};

/* own_uid: the daemon's. */
void role_table_init(struct role_table *table, uid_t own_uid);
void role_table_deinit(struct role_table *table);

/* A further role, without users and groups so far; NULL when there are ROLES_MAX or no memory. */
struct role *role_table_add(struct role_table *table, const char *name, struct role_texts send,
    struct role_texts producer_groups, struct role_texts consume, struct role_texts consumer_groups,
    bool is_admin);
/* False when there are ROLE_NAMED_MAX. */
bool role_add_user(struct role *role, uid_t uid);
bool role_add_group(struct role *role, gid_t gid);

/* The role of this name, or NULL. */
const struct role *role_table_named(const struct role_table *table, const char *name);
/* What takes the place of a role of another table, for callers that are gone; NULL: nothing does. */
const struct role *role_table_successor(const struct role_table *table, const struct role *before);
/* Whether a role allows everything that another one (of a table before) did. */
bool role_allows_all_of(const struct role *role, const struct role *before);
/* of_listener is NULL where the listener names none. NULL: the caller is turned away. */
const struct role *role_table_find(const struct role_table *table, const struct role *of_listener,
    const struct role_caller *caller);
/* Why role_table_find() turned the caller away, and what would let it in: one sentence. */
void role_describe_refusal(
    const struct role *of_listener, const struct role_caller *caller, char *dst, size_t size);
/* What would give this role the admin role, as the end of a sentence. */
void role_describe_admin(const struct role *role, char *dst, size_t size);
