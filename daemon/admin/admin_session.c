/*
 * GET_SESSIONS and KILL_SESSION: who is connected, by which listener, in which role, what they are
 * at; and ending one.
 */
#include "daemon/admin/admin.h"

#include "daemon/loop/log.h"

#include <inttypes.h>
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

static json_t *session_json(const struct session *asking, const struct session *session)
{
    const struct peer *peer = &session->peer;
    uint64_t now_ms = session->sessions->loop->now_ms;
    json_t *row = json_object();
    json_object_set_new(row, "session", admin_json_count(session->id));
    json_object_set_new(row, "pid", json_integer(peer->pid));
    json_object_set_new(row, "uid", peer->is_known ? json_integer(peer->uid) : json_null());
    json_object_set_new(row, "gid", peer->is_known ? json_integer(peer->gid) : json_null());
    json_object_set_new(row, "unit", admin_json_text(peer->unit));
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

bool admin_after_read(
    struct invocation *invocation, const struct remoting_command *command, uint64_t *ret_after)
{
    struct span text = ext_fields_text(&command->ext_fields, "after");
    int64_t after = 0;
    if (!span_is_absent(text) && !ext_value_parse_i64(text, 0, INT64_MAX, &after)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "after is none: the `next` of the answer before is accepted");
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
    if (!admin_after_read(invocation, command, &after)) {
        json_decref(rows);
        return;
    }
    TAILQ_FOREACH (session, &asking->sessions->list, link) {
        if (session->id <= after || !session_may_see(asking, session)) {
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

/* Its answers that are written already still reach it; nothing more does. */
void admin_kill_session(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    int64_t id = 0;
    struct span text = ext_fields_text(&command->ext_fields, "session");
    if (!ext_value_parse_i64(text, 1, INT64_MAX, &id)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "session is no number: one of GET_SESSIONS is accepted");
        return;
    }
    struct session *session = session_list_find(invocation->session->sessions, (uint64_t)id);
    if (!session || session == invocation->session) {
        invocation_fail(invocation, FAILURE_INVALID, false, "session %" PRId64 " %s", id,
            session ? "is the one that asks" : "is not connected");
        return;
    }
    char killer[SESSION_TEXT_SIZE], killed[SESSION_TEXT_SIZE];
    log_info(
        "%s KILL_SESSION killed=%" PRIu64, session_text(invocation->session, killer), session->id);
    json_t *body = json_pack("{s:o, s:o}", "session", admin_json_count(session->id), "caller",
        admin_json_text(session_text(session, killed)));
    session_end(session, SESSION_END_KILLED);
    admin_answer_json(invocation, body);
}
