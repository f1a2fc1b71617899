/*
 * Rules
 *
 * What the configuration says in names, files and patterns, made ready to be used: the roles of
 * callers with the numbers of their users and groups, and the RPC hooks with their keys. Made at the
 * start and anew for every reload, so that users, groups and keys that changed count. Texts stay the
 * configuration's, which has to outlive what was made of it.
 *
 * 0, or a negative errno with a problem that names the section; then nothing is left to give back.
 */
#pragma once

#include "config/config.h"
#include "daemon/core/role.h"
#include "daemon/core/rpc_hooks.h"

#include <stddef.h>

/* shared_producer_group, which every role may name, has to outlive the roles, too. */
int rules_make_roles(struct role_table *roles, const struct config *config,
    const char *shared_producer_group, char *problem, size_t problem_size);
int rules_make_hooks(
    struct rpc_hooks *hooks, const struct config *config, char *problem, size_t problem_size);
