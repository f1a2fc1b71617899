#include "daemon/core/role.h"

#include <stdio.h>
#include <string.h>

const struct role role_of_nobody = { .name = "" };

static bool names_anybody(const struct role *role)
{
    return role->has_every_user || role->n_users > 0 || role->n_groups > 0;
}

void role_table_init(struct role_table *table, uid_t own_uid)
{
    *table = (struct role_table){
        .user = { .name = "", .may_everything = true },
        .admin = { .name = "", .may_everything = true, .is_admin = true },
        .own_uid = own_uid,
    };
}

static void role_deinit(struct role *role)
{
    name_patterns_deinit(&role->send);
    name_patterns_deinit(&role->producer_groups);
    name_patterns_deinit(&role->consume);
    name_patterns_deinit(&role->consumer_groups);
}

void role_table_deinit(struct role_table *table)
{
    for (size_t i = 0; i < table->n; i++) {
        role_deinit(&table->roles[i]);
    }
    table->n = 0;
}

struct role *role_table_add(struct role_table *table, const char *name, struct role_texts send,
    struct role_texts producer_groups, struct role_texts consume, struct role_texts consumer_groups,
    bool is_admin)
{
    if (table->n == ROLES_MAX) {
        return NULL;
    }
    struct role *role = &table->roles[table->n];
    *role = (struct role){ .name = name, .is_admin = is_admin };
    if (name_patterns_init(&role->send, send.items, send.n) < 0 ||
        name_patterns_init(&role->producer_groups, producer_groups.items, producer_groups.n) < 0 ||
        name_patterns_init(&role->consume, consume.items, consume.n) < 0 ||
        name_patterns_init(&role->consumer_groups, consumer_groups.items, consumer_groups.n) < 0) {
        role_deinit(role);
        return NULL;
    }
    role->may_everything = role->send.is_all && role->producer_groups.is_all &&
                           role->consume.is_all && role->consumer_groups.is_all;
    table->n++;
    return role;
}

bool role_add_user(struct role *role, uid_t uid)
{
    if (role->n_users == ROLE_NAMED_MAX) {
        return false;
    }
    role->users[role->n_users++] = uid;
    return true;
}

bool role_add_group(struct role *role, gid_t gid)
{
    if (role->n_groups == ROLE_NAMED_MAX) {
        return false;
    }
    role->groups[role->n_groups++] = gid;
    return true;
}

const struct role *role_table_named(const struct role_table *table, const char *name)
{
    for (size_t i = 0; i < table->n; i++) {
        if (strcmp(table->roles[i].name, name) == 0) {
            return &table->roles[i];
        }
    }
    return NULL;
}

const struct role *role_table_successor(const struct role_table *table, const struct role *before)
{
    if (before->name[0]) {
        return role_table_named(table, before->name);
    }
    if (table->n > 0 || !before->may_everything) {
        return NULL;
    }
    return before->is_admin ? &table->admin : &table->user;
}

bool role_allows_all_of(const struct role *role, const struct role *before)
{
    return role->may_everything ||
           (!before->may_everything && name_patterns_include(&role->send, &before->send) &&
               name_patterns_include(&role->producer_groups, &before->producer_groups) &&
               name_patterns_include(&role->consume, &before->consume) &&
               name_patterns_include(&role->consumer_groups, &before->consumer_groups));
}

static bool is_somebody(const struct role_caller *caller)
{
    return caller->is_known && caller->uid != ROLE_ID_OVERFLOW && caller->uid != (uid_t)-1;
}

static bool names_group(const struct role *role, gid_t gid)
{
    for (size_t i = 0; i < role->n_groups; i++) {
        if (role->groups[i] == gid && gid != ROLE_ID_OVERFLOW && gid != (gid_t)-1) {
            return true;
        }
    }
    return false;
}

static bool names_caller(const struct role *role, const struct role_caller *caller)
{
    if (!is_somebody(caller)) {
        return false;
    }
    if (role->has_every_user || names_group(role, caller->gid)) {
        return true;
    }
    for (size_t i = 0; i < role->n_users; i++) {
        if (role->users[i] == caller->uid) {
            return true;
        }
    }
    for (size_t i = 0; i < caller->n_groups; i++) {
        if (names_group(role, caller->groups[i])) {
            return true;
        }
    }
    return false;
}

const struct role *role_table_find(const struct role_table *table, const struct role *of_listener,
    const struct role_caller *caller)
{
    if (of_listener) {
        return !names_anybody(of_listener) || names_caller(of_listener, caller) ? of_listener
                                                                                : NULL;
    }
    bool has_rules = false;
    for (size_t i = 0; i < table->n; i++) {
        if (names_caller(&table->roles[i], caller)) {
            return &table->roles[i];
        }
        has_rules = has_rules || names_anybody(&table->roles[i]);
    }
    if (has_rules) {
        return NULL;
    }
    bool is_admin = is_somebody(caller) && (caller->uid == 0 || caller->uid == table->own_uid);
    return is_admin ? &table->admin : &table->user;
}

void role_describe_refusal(
    const struct role *of_listener, const struct role_caller *caller, char *dst, size_t size)
{
    const char *name = of_listener ? of_listener->name : "NAME";
    if (!is_somebody(caller)) {
        (void)snprintf(dst, size,
            "this socket is for users of this host, and the caller's uid (%d) is none: users or "
            "groups of [role %s] can never name it, but a [listener] with a role for all its "
            "callers lets it in",
            (int)caller->uid, name);
    } else if (of_listener) {
        (void)snprintf(dst, size,
            "uid %u may not connect to this socket: users or groups of [role %s] would have to "
            "name it",
            caller->uid, name);
    } else {
        (void)snprintf(dst, size,
            "uid %u may not connect: users or groups of a [role NAME] would have to name it",
            caller->uid);
    }
}

void role_describe_admin(const struct role *role, char *dst, size_t size)
{
    if (role->name[0] == '\0') {
        (void)snprintf(dst, size, "which root and the daemon's own user have");
    } else {
        (void)snprintf(dst, size, "which \"admin = yes\" in [role %s] would give", role->name);
    }
}
