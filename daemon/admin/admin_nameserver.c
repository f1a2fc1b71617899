/* The list of nameservers: shown and replaced. */
#include "daemon/admin/admin.h"

#include "daemon/loop/log.h"

#include <inttypes.h>

/* Health as it is known from calls: score and latency in milliseconds, lower is better. */
static json_t *nameserver_json(const struct nameserver_view *view)
{
    const struct server_health *health = view->health;
    json_t *row = json_object();
    json_object_set_new(row, "addr", json_string(view->address));
    json_object_set_new(row, "isCurrent", json_boolean(view->is_current));
    json_object_set_new(row, "isAvailable", json_boolean(view->is_usable));
    json_object_set_new(row, "score", json_real(view->score_ms));
    json_object_set_new(
        row, "latencyMillis", health->is_measured ? json_real(health->latency_ms) : json_null());
    json_object_set_new(row, "successes", json_integer((json_int_t)health->n_successes));
    json_object_set_new(row, "failures", json_integer((json_int_t)health->n_failures));
    json_object_set_new(row, "isFailing", json_boolean(health->is_failing));
    return row;
}

static json_t *nameservers_json(struct invoker *invoker, bool only_available)
{
    json_t *rows = json_array();
    size_t n = nameservers_count(invoker->nameservers);
    for (size_t i = 0; i < n; i++) {
        struct nameserver_view view;
        nameservers_view(invoker->nameservers, i, &view);
        if (!only_available || view.is_usable) {
            json_array_append_new(rows, nameserver_json(&view));
        }
    }
    return rows;
}

void admin_get_namesrv_list(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    const struct nameservers *nameservers = invocation->invoker->nameservers;
    admin_answer_json(invocation,
        json_pack("{s:o, s:s, s:b}", "nameservers", nameservers_json(invocation->invoker, false),
            "reason", nameservers_choice_reason(nameservers), "degraded",
            nameservers_are_degraded(nameservers)));
}

void admin_get_available_namesrv_list(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source)
{
    (void)command;
    (void)source;
    admin_answer_json(
        invocation, json_pack("{s:o}", "nameservers", nameservers_json(invocation->invoker, true)));
}

/* The addresses that are about to leave the list, as JSON strings. */
static json_t *leaving_json(
    const struct nameservers *nameservers, const struct admin_addresses *addresses)
{
    json_t *rows = json_array();
    const char *leaving[CONFIG_ADDRESSES_MAX];
    size_t n = nameservers_leaving(nameservers, addresses->items, addresses->n, leaving);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(rows, json_string(leaving[i]));
    }
    return rows;
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
        char text[SESSION_TEXT_SIZE];
        log_info("%s UPDATE_NAMESRV_LIST n=%zu removed=%zu current=%s",
            session_text(invocation->session, text), addresses.n, json_array_size(leaving),
            nameservers_current(invoker->nameservers));
        admin_answer_json(invocation, json_pack("{s:o, s:o}", "nameservers",
                                          nameservers_json(invoker, false), "removed", removed));
    }
    json_decref(leaving);
    admin_addresses_deinit(&addresses);
}
