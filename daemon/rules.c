#include "daemon/rules.h"

#include "config/value.h"
#include "daemon/loop/credential.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert(CONFIG_NAMED_MAX <= RPC_HOOK_CREDENTIALS_MAX &&
                   CONFIG_ADDRESSES_MAX <= RPC_HOOK_STATIC_FIELDS_MAX,
    "the hooks hold less than the configuration");

/* 0, or a negative errno: the problem begins with the section. */
static int credentials_add(
    struct rpc_hooks *hooks, const struct config_acl *acl, char *problem, size_t problem_size)
{
    struct credential secret_key = { .n = 0 };
    struct credential security_token = { .n = 0 };
    const struct acl_credentials given = {
        .name = acl->name,
        .access_key = acl->access_key,
        .targets = acl->addresses.items,
        .n_targets = acl->addresses.n,
    };
    int n = snprintf(problem, problem_size, "[acl %s] ", acl->name);
    char *rest = problem + n;
    size_t rest_size = problem_size - (size_t)n;
    int r = credential_read(&secret_key, acl->secret_key_file, rest, rest_size);
    if (r == 0 && acl->security_token_file[0]) {
        r = credential_read(&security_token, acl->security_token_file, rest, rest_size);
    }
    if (r == 0 && !rpc_hooks_add_credentials(hooks, &given, credential_span(&secret_key),
                      credential_span(&security_token))) {
        (void)snprintf(rest, rest_size, "out of memory");
        r = -ENOMEM;
    }
    credential_deinit(&secret_key);
    credential_deinit(&security_token);
    return r;
}

int rules_make_hooks(
    struct rpc_hooks *hooks, const struct config *config, char *problem, size_t problem_size)
{
    int r = 0;
    *hooks = (struct rpc_hooks){ .n_credentials = 0 };
    hooks->namespace = config->namespace.name;
    hooks->static_fields = config->hooks.static_fields.items;
    hooks->n_static_fields = config->hooks.static_fields.n;
    for (size_t i = 0; i < config->acl.n && r == 0; i++) {
        r = credentials_add(hooks, &config->acl.sections[i], problem, problem_size);
    }
    if (r < 0) {
        rpc_hooks_deinit(hooks);
    }
    return r;
}

_Static_assert(CONFIG_NAMED_MAX <= ROLES_MAX && CONFIG_ADDRESSES_MAX <= ROLE_NAMED_MAX &&
                   ROLE_ID_OVERFLOW == VALUE_ID_OVERFLOW,
    "the roles hold less than the configuration, or mean somebody else by nobody");

static struct role_texts role_texts_of(const struct config_list *list)
{
    return (struct role_texts){ list->items, list->n };
}

/* Users and groups were there when the configuration was read. */
static bool role_add_names(
    struct role *role, const struct config_role *config, struct value_reason *ret_reason)
{
    uid_t uid;
    gid_t gid;
    for (size_t i = 0; i < config->users.n; i++) {
        if (strcmp(config->users.items[i], "*") == 0) {
            role->has_every_user = true;
        } else if (!value_read_system_user(config->users.items[i], &uid, ret_reason)) {
            return false;
        } else {
            (void)role_add_user(role, uid);
        }
    }
    for (size_t i = 0; i < config->groups.n; i++) {
        if (!value_read_system_group(config->groups.items[i], &gid, ret_reason)) {
            return false;
        }
        (void)role_add_group(role, gid);
    }
    return true;
}

static int role_make(struct role_table *roles, const struct config_role *section,
    const char *shared_producer_group, char *problem, size_t problem_size)
{
    struct value_reason reason;
    struct role *role = role_table_add(roles, section->name, role_texts_of(&section->send),
        role_texts_of(&section->producer_groups), role_texts_of(&section->consume),
        role_texts_of(&section->consumer_groups), section->admin);
    if (!role) {
        (void)snprintf(problem, problem_size, "out of memory");
        return -ENOMEM;
    }
    role->shared_producer_group = span_of(shared_producer_group);
    if (!role_add_names(role, section, &reason)) {
        (void)snprintf(problem, problem_size, "[role %s] %s", section->name, reason.text);
        return -ENOENT;
    }
    return 0;
}

int rules_make_roles(struct role_table *roles, const struct config *config,
    const char *shared_producer_group, char *problem, size_t problem_size)
{
    int r = 0;
    role_table_init(roles, geteuid());
    for (size_t i = 0; i < config->role.n && r == 0; i++) {
        r = role_make(
            roles, &config->role.sections[i], shared_producer_group, problem, problem_size);
    }
    if (r < 0) {
        role_table_deinit(roles);
    }
    return r;
}
