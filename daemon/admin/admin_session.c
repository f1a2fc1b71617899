/* GET_SESSIONS: who is connected, by which listener, in which role, and what they are at. */
#include "daemon/admin/admin.h"

#include <stdint.h>

/* Of one answer: so many rows take a quarter of a megabyte. `next` says where to go on. */
#define ROWS_MAX 1000

static const char *state_name(enum session_state state)
{
    switch (state) {
    case SESSION_OPEN:
        return "open";
    case SESSION_HALF_CLOSED:
        return "half closed";
    case SESSION_CLOSING:
        return "closing";
    case SESSION_CLOSED:
        return "closed";
    }
    return "?";
}

/*
 * One's own are those of one's user by the same listener; users without a number here are many, so
 * that nothing is theirs but the connection that asks.
 */
static bool may_see(const struct session *asking, const struct session *session)
{
    return asking->role->is_admin || session == asking ||
           (session->entrance == asking->entrance && asking->peer.is_known &&
               session->peer.is_known && session->peer.uid == asking->peer.uid &&
               asking->peer.uid != ROLE_ID_OVERFLOW);
}

static json_t *session_json(const struct session *asking, const struct session *session)
{
    const struct peer *peer = &session->peer;
    uint64_t now_ms = session->sessions->loop->now_ms;
    json_t *row = json_object();
    json_object_set_new(row, "session", admin_json_count(session->id));
    json_object_set_new(row, "pid", json_integer(peer->pid));
    json_object_set_new(row, "uid", peer->is_known ? json_integer(peer->uid) : json_null());
    json_object_set_new(row, "gid", peer->is_known ? json_integer(peer->gid) : json_null());
    json_object_set_new(row, "unit", admin_json_name(peer->unit ? peer->unit : ""));
    json_object_set_new(row, "listener", admin_json_name(session->entrance->config->name));
    json_object_set_new(row, "role", admin_json_name(session->role ? session->role->name : ""));
    json_object_set_new(row, "isAdmin", json_boolean(session->role && session->role->is_admin));
    json_object_set_new(row, "isTurnedAway", json_boolean(session->is_turned_away));
    json_object_set_new(row, "isAsking", json_boolean(session == asking));
    json_object_set_new(row, "state", json_string(state_name(session->state)));
    json_object_set_new(row, "ageMillis", admin_json_count(now_ms - session->opened_ms));
    json_object_set_new(row, "requests", admin_json_count(session->n_requests));
    json_object_set_new(row, "forbidden", admin_json_count(session->n_forbidden));
    json_object_set_new(row, "inFlight", admin_json_count(session->n_in_flight));
    json_object_set_new(row, "longPolls", admin_json_count(session->n_long_polls));
    json_object_set_new(row, "unwritten", admin_json_count(session->transport.output.size));
    return row;
}

/* The session behind which to go on; 0, the first, where the field is absent. */
static bool after_read(
    struct invocation *invocation, const struct remoting_command *command, uint64_t *ret_after)
{
    struct span text = ext_fields_text(&command->ext_fields, "after");
    int64_t after = 0;
    if (!span_is_absent(text) && !ext_value_parse_i64(text, 0, INT64_MAX, &after)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "after is no session: the `next` of the answer before is accepted");
        return false;
    }
    *ret_after = (uint64_t)after;
    return true;
}

void admin_get_sessions(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    const struct session *asking = invocation->session;
    const struct session *session;
    json_t *rows = json_array();
    json_t *next = json_null();
    uint64_t after, last = 0;
    if (!after_read(invocation, command, &after)) {
        json_decref(rows);
        return;
    }
    TAILQ_FOREACH (session, &asking->sessions->list, link) {
        if (session->id <= after || !may_see(asking, session)) {
            continue;
        }
        if (json_array_size(rows) == ROWS_MAX) {
            next = admin_json_count(last);
            break;
        }
        json_array_append_new(rows, session_json(asking, session));
        last = session->id;
    }
    admin_answer_json(invocation, json_pack("{s:o, s:o}", "sessions", rows, "next", next));
}
