/* The RPC hooks: what they are, and taking out those that may be. Secrets are never told. */
#include "daemon/admin/admin.h"

#include "daemon/loop/log.h"

#include <inttypes.h>
#include <string.h>

static json_t *static_fields_json(const struct rpc_hooks *hooks)
{
    json_t *fields = json_object();
    for (size_t i = 0; i < hooks->n_static_fields; i++) {
        const char *field = hooks->static_fields[i];
        const char *equals = strchr(field, '=');
        json_object_setn_new(fields, field, (size_t)(equals - field), admin_json_text(equals + 1));
    }
    return fields;
}

static json_t *credentials_json(const struct rpc_hooks *hooks)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < hooks->n_credentials; i++) {
        const struct acl_credentials *credentials = &hooks->credentials[i];
        json_t *addresses = json_array();
        for (size_t j = 0; j < credentials->n_targets; j++) {
            json_array_append_new(addresses, admin_json_text(credentials->targets[j]));
        }
        json_array_append_new(rows,
            json_pack("{s:o,s:o,s:o}", "name", admin_json_text(credentials->name), "accessKey",
                admin_json_text(credentials->access_key), "addresses", addresses));
    }
    return rows;
}

/* In the order in which they run. */
static json_t *hooks_json(const struct rpc_hooks *hooks)
{
    json_t *rows = json_array();
    if (!hooks->is_cleared && hooks->namespace && hooks->namespace[0]) {
        json_array_append_new(rows, json_pack("{s:s,s:o}", "name", "namespace", "namespace",
                                        admin_json_text(hooks->namespace)));
    }
    if (!hooks->is_cleared && hooks->n_static_fields > 0) {
        json_array_append_new(rows,
            json_pack("{s:s,s:o}", "name", "static_fields", "fields", static_fields_json(hooks)));
    }
    if (hooks->n_credentials > 0) {
        json_array_append_new(
            rows, json_pack("{s:s,s:o}", "name", "acl", "credentials", credentials_json(hooks)));
    }
    return json_pack("{s:o,s:b}", "hooks", rows, "cleared", hooks->is_cleared);
}

void admin_get_rpc_hooks(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    admin_answer_json(invocation, hooks_json(&invocation->invoker->upstreams->hooks));
}

void admin_clear_rpc_hooks(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    struct rpc_hooks *hooks = &invocation->invoker->upstreams->hooks;
    char text[SESSION_TEXT_SIZE];
    log_info("%s CLEAR_RPC_HOOKS", session_text(invocation->session, text));
    hooks->is_cleared = true;
    admin_answer_json(invocation, hooks_json(hooks));
}
