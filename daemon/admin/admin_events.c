/* GET_EVENTS: what happened lately. */
#include "daemon/admin/admin.h"

static json_t *event_json(const struct noted_event *event)
{
    json_t *row = json_object();
    json_object_set_new(row, "id", admin_json_count(event->id));
    json_object_set_new(row, "timeMillis", json_integer(event->wall_ms));
    json_object_set_new(row, "event", json_string(event_kind_name(event->kind)));
    json_object_set_new(row, "isError", json_boolean(event->is_error));
    json_object_set_new(row, "subject", admin_json_text(event->subject));
    json_object_set_new(row, "connection",
        event->connection > 0 ? admin_json_count(event->connection) : json_null());
    json_object_set_new(
        row, "cause", event->cause[0] ? admin_json_text(event->cause) : json_null());
    return row;
}

void admin_get_events(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    const struct event_ring *ring = &invocation->invoker->upstreams->events->ring;
    bool only_errors = span_equals(ext_fields_text(&command->ext_fields, "errors"), SPAN("true"));
    uint64_t after = 0;
    if (!admin_after_read(invocation, command, &after)) {
        return;
    }
    uint64_t first = event_ring_first(ring);
    json_t *rows = json_array();
    for (uint64_t id = after + 1 > first ? after + 1 : first; id <= ring->n; id++) {
        const struct noted_event *event = event_ring_get(ring, id);
        if ((invocation->role->is_admin || event_kind_is_public(event->kind)) &&
            (event->is_error || !only_errors)) {
            json_array_append_new(rows, event_json(event));
        }
    }
    admin_answer_json(
        invocation, json_pack("{s:o, s:o, s:o, s:o}", "events", rows, "last",
                        admin_json_count(ring->n), "overwritten", admin_json_count(first - 1),
                        "leftOut", admin_json_count(ring->n_left_out)));
}
