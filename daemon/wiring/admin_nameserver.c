/* The list of nameservers: shown and replaced. */
#include "daemon/wiring/admin.h"

#include "daemon/wiring/log.h"

#include <inttypes.h>
#include <string.h>

static json_t *nameserver_json(struct invoker *invoker, const struct nameserver_report *nameserver)
{
    json_t *row = json_object();
    json_object_set_new(row, "addr", json_string(nameserver->address));
    json_object_set_new(row, "isCurrent", json_boolean(nameserver->is_current));
    json_object_set_new(row, "isAvailable",
        json_boolean(
            upstream_pool_is_usable(invoker->pool, span_of(nameserver->address), POOL_NORMAL)));
    return row;
}

static json_t *nameservers_json(struct invoker *invoker, bool only_available)
{
    json_t *rows = json_array();
    struct nameserver_report nameserver;
    for (size_t i = 0; nameservers_report(invoker->nameservers, i, &nameserver); i++) {
        json_t *row = nameserver_json(invoker, &nameserver);
        if (!only_available || json_is_true(json_object_get(row, "isAvailable"))) {
            json_array_append_new(rows, row);
        } else {
            json_decref(row);
        }
    }
    return rows;
}

void admin_get_namesrv_list(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    admin_answer_json(invocation,
        json_pack("{s:o}", "nameservers", nameservers_json(invocation->invoker, false)));
}

void admin_get_available_namesrv_list(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source)
{
    (void)command;
    (void)source;
    admin_answer_json(
        invocation, json_pack("{s:o}", "nameservers", nameservers_json(invocation->invoker, true)));
}

static bool is_listed(const struct admin_addresses *addresses, const char *address)
{
    for (size_t i = 0; i < addresses->n; i++) {
        if (span_equals_text(addresses->items[i], address)) {
            return true;
        }
    }
    return false;
}

/* The addresses that are about to leave the list, as JSON strings. */
static json_t *leaving_json(
    const struct nameservers *nameservers, const struct admin_addresses *addresses)
{
    json_t *leaving = json_array();
    struct nameserver_report nameserver;
    for (size_t i = 0; nameservers_report(nameservers, i, &nameserver); i++) {
        if (!is_listed(addresses, nameserver.address)) {
            json_array_append_new(leaving, json_string(nameserver.address));
        }
    }
    return leaving;
}

void admin_update_namesrv_list(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source)
{
    (void)source;
    struct invoker *invoker = invocation->invoker;
    struct admin_addresses addresses;
    if (!admin_addresses_read(invocation, command->body, &addresses)) {
        return;
    }
    json_t *leaving = leaving_json(invoker->nameservers, &addresses);
    if (nameservers_replace(invoker->nameservers, addresses.items, addresses.n) < 0) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
    } else {
        json_t *removed = json_array();
        size_t i;
        json_t *address;
        json_array_foreach(leaving, i, address)
        {
            json_array_append_new(
                removed, admin_drain_address(invoker, span_of(json_string_value(address)),
                             "it is no nameserver any more (UPDATE_NAMESRV_LIST)"));
        }
        log_info("session=%" PRIu64
                 " uid=%u pid=%d UPDATE_NAMESRV_LIST n=%zu removed=%zu current=%s",
            invocation->session_id, invocation->session->uid, (int)invocation->session->pid,
            addresses.n, json_array_size(leaving), nameservers_current(invoker->nameservers));
        admin_answer_json(invocation, json_pack("{s:o, s:o}", "nameservers",
                                          nameservers_json(invoker, false), "removed", removed));
    }
    json_decref(leaving);
    admin_addresses_deinit(&addresses);
}
