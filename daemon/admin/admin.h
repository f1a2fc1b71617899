/*
 * Admin
 *
 * Answers the sidecar codes (30000 to 30999): what the daemon says about itself, and what it can be
 * told to do. admin.c finds the command by its code in one table, which says who may give it; the
 * commands are in admin.c and the admin_*.c.
 * Each is answered with a JSON object (client/PROTOCOL.md, "Control commands"), whose keys may be
 * added to, never changed.
 */
#pragma once

#include "daemon/completion/invoke.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

void admin_answer(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* Whether the code is answered while the daemon drains, when everything else is refused. */
bool admin_serves_drain(int32_t code);

/* --- for the commands --- */

/* Answers code 0 with this body. Takes over the reference; NULL is "out of memory". */
void admin_answer_json(struct invocation *invocation, json_t *body);
/* Answers `invalid` with this cause, and a body that says more. The same otherwise. */
void admin_refuse_json(struct invocation *invocation, const char *cause, json_t *body);
/* A JSON string; what is not UTF-8 in the text is escaped. null for NULL. */
json_t *admin_json_text(const char *text);
/* null for "", which is no name. */
json_t *admin_json_name(const char *name);
json_t *admin_json_count(uint64_t value);

/* The memory that the process has, in bytes; 0 where that cannot be seen. */
uint64_t admin_resident_bytes(void);
/* Descriptors in use. */
size_t admin_open_files(void);
/* How the drain goes: {state, inFlightAtStart, millisLeft}. */
json_t *admin_drain_json(const struct invoker *invoker);

/* Addresses of a request's body; the texts belong to `array`. */
struct admin_addresses {
    json_t *array;
    struct span items[CONFIG_ADDRESSES_MAX];
    size_t n;
};
/*
 * Reads a JSON array of 1 to CONFIG_ADDRESSES_MAX different addresses (host:port). False: the
 * invocation has failed. Otherwise *ret_addresses is to be given to admin_addresses_deinit().
 */
bool admin_addresses_read(
    struct invocation *invocation, struct span body, struct admin_addresses *ret_addresses);
void admin_addresses_deinit(struct admin_addresses *addresses);
/*
 * Drains the connections to an address and tells how many there were, as a row of an answer.
 */
json_t *admin_drain_address(struct invoker *invoker, struct span address, const char *cause);

/* admin_nameserver.c */
void admin_get_namesrv_list(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_get_available_namesrv_list(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source);
void admin_update_namesrv_list(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source);
/* admin_hooks.c */
void admin_get_rpc_hooks(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_clear_rpc_hooks(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* admin_processor.c */
void admin_register_processor(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_unregister_processor(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source);
/* admin_reload.c */
void admin_reload(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* admin_session.c */
/*
 * The ext field `after`, behind which to go on; 0, the beginning, where it is absent. False: the
 * invocation has failed.
 */
bool admin_after_read(
    struct invocation *invocation, const struct remoting_command *command, uint64_t *ret_after);
void admin_kill_session(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_get_sessions(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* admin_tap.c */
void admin_tap(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* admin_status.c */
void admin_get_status(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_get_brokers(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* admin_events.c */
void admin_get_events(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* admin_routes.c */
void admin_get_routes(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_get_groups(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* admin_config.c */
void admin_get_config(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_get_memory(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_set_log_level(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* admin_pool.c */
void admin_reconnect(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_is_address_reachable(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source);
void admin_close_clients(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void admin_get_pool_stats(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
