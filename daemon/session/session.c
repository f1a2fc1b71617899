#include "daemon/session/session.h"

#include "daemon/completion/invoke.h"
#include "daemon/http/http_stream.h"
#include "daemon/loop/log.h"
#include "daemon/completion/processor.h"
#include "protocol/header_json.h"
#include "protocol/header_rocketmq.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNED_AWAY_MS 1000 /* between two looks whether its last answer was given */
/*
 * When to come back after `overloaded`: long enough to matter, short enough to be worth waiting
 * for.
 */
#define RETRY_AFTER_MS "100"
/*
 * Of limits.total_memory the unwritten answers of one caller take one part in so many; where it is
 * used up, nothing beyond the one that is being written.
 */
#define ANSWERS_SHARE 4

static const char *session_end_name(enum session_end end)
{
    switch (end) {
    case SESSION_END_CALLER:
        return "caller";
    case SESSION_END_ERROR:
        return "error";
    case SESSION_END_PROTOCOL:
        return "protocol";
    case SESSION_END_OPAQUE:
        return "opaque-in-flight";
    case SESSION_END_HEADER_TIMEOUT:
        return "header-timeout";
    case SESSION_END_WRITE_TIMEOUT:
        return "write-timeout";
    case SESSION_END_MEMORY:
        return "memory";
    case SESSION_END_SURPLUS:
        return "max-sessions";
    case SESSION_END_FORBIDDEN:
        return "forbidden";
    case SESSION_END_DRAIN:
        return "drain";
    case SESSION_END_HANDED_OVER:
        return "handed-over";
    case SESSION_END_KILLED:
        return "killed";
    }
    return "?";
}

static struct session *session_of(struct transport *transport)
{
    return (struct session *)(void *)((char *)transport - offsetof(struct session, transport));
}

static void on_reap(struct loop_reapable *reapable)
{
    struct session *session =
        (struct session *)(void *)((char *)reapable - offsetof(struct session, reapable));
    peer_deinit(&session->peer);
    free(session);
}

const char *session_text(const struct session *session, char dst[static SESSION_TEXT_SIZE])
{
    char caller[PEER_TEXT_SIZE];
    const char *listener = session->entrance->config->name;
    const char *role = session->role ? session->role->name : "";
    (void)snprintf(dst, SESSION_TEXT_SIZE, "session=%" PRIu64 " %s%s%s%s%s", session->id,
        peer_text(&session->peer, caller), *listener ? " listener=" : "", listener,
        *role ? " role=" : "", role);
    return dst;
}

bool session_may_see(const struct session *asking, const struct session *session)
{
    return asking->role->is_admin || session == asking ||
           (session->entrance == asking->entrance && asking->peer.is_known &&
               session->peer.is_known && session->peer.uid == asking->peer.uid &&
               asking->peer.uid != ROLE_ID_OVERFLOW);
}

/* What a caller is beyond its requests: it hears nothing more, and speaks for nobody. */
static void session_resign(struct session *session)
{
    const struct invoker *invoker = session->sessions->invoker;
    session->net_events = net_event_unsubscribe(invoker->upstreams->events, session->net_events);
    session->tap = tap_stop(&session->sessions->invoker->taps, session->tap);
    processors_session_gone(invoker->processors, session);
    identity_session_gone(invoker->identity, session->id);
}

static void session_leave(struct session *session)
{
    struct session_list *sessions = session->sessions;
    session_resign(session);
    invoke_session_gone(sessions->invoker, session);
    loop_deadline_clear(sessions->loop, &session->frame_deadline);
    loop_deadline_clear(sessions->loop, &session->write_deadline);
    transport_close(&session->transport);
    TAILQ_REMOVE(&sessions->list, session, link);
    sessions->n--;
    struct session_entrance *entrance = session->entrance;
    entrance->n--;
    entrance->n_forbidden -= !session->role;
    loop_reap(sessions->loop, &session->reapable, on_reap);
    if (entrance->on_left) {
        entrance->on_left(entrance->on_left_context);
    }
}

/* Every change of state is here. */
static void session_enter(struct session *session, enum session_state state)
{
    if (session->state == SESSION_CLOSED) {
        return;
    }
    session->state = state;
    char text[SESSION_TEXT_SIZE];
    switch (state) {
    case SESSION_OPEN:
        log_debug("%s open", session_text(session, text));
        return;
    case SESSION_HALF_CLOSED:
        return;
    case SESSION_CLOSING:
        transport_pause(&session->transport);
        loop_deadline_clear(session->sessions->loop, &session->frame_deadline);
        loop_deadline_set(session->sessions->loop, &session->write_deadline,
            clock_after(session->sessions->loop->now_ms,
                session->sessions->config->limits.write_timeout_ms));
        session_resign(session);
        invoke_session_gone(session->sessions->invoker, session);
        transport_flush_later(&session->transport);
        return;
    case SESSION_CLOSED:
        session->sessions->stats->session_bytes_received += session->transport.bytes_received;
        session->sessions->stats->session_bytes_sent += session->transport.bytes_sent;
        log_debug("session=%" PRIu64 " closed reason=%s requests=%" PRIu64, session->id,
            session_end_name(session->end), session->n_requests);
        if (session->end != SESSION_END_CALLER && session->end != SESSION_END_DRAIN &&
            session->end != SESSION_END_HANDED_OVER) {
            net_event_note(session->sessions->invoker->upstreams->events, EVENT_SESSION, true,
                session_end_name(session->end), "%s", session_text(session, text));
        }
        session_leave(session);
        return;
    }
}

static void session_close(struct session *session, enum session_end end)
{
    if (session->state == SESSION_OPEN || session->state == SESSION_HALF_CLOSED) {
        session->end = end;
    }
    session_enter(session, SESSION_CLOSED);
}

void session_end(struct session *session, enum session_end end)
{
    switch (session->state) {
    case SESSION_OPEN:
    case SESSION_HALF_CLOSED:
        session->end = end;
        session_enter(session, SESSION_CLOSING);
        return;
    case SESSION_CLOSING:
    case SESSION_CLOSED:
        return;
    }
}

bool session_is_served_to_its_end(const struct session *session)
{
    return session->entrance->hands_over && !session->is_bound && !session->is_turned_away;
}

/* Whether the caller is gone altogether, and not only done with asking. */
static bool caller_is_gone(const struct session *session)
{
    struct pollfd poll_fd = { .fd = session->transport.fd, .events = POLLIN };
    return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR));
}

/* Nothing is read, so that nobody else would see it. */
static bool caller_went(struct session *session)
{
    if (TAILQ_EMPTY(&session->invocations) || !caller_is_gone(session)) {
        return false;
    }
    session_close(session, SESSION_END_CALLER);
    return true;
}

bool session_comes_to_rest(struct session *session, bool looks)
{
    return session->state == SESSION_OPEN && !session->is_turned_away && !session->is_bound &&
           transport_stop_at_frame(&session->transport) && !(looks && caller_went(session)) &&
           TAILQ_EMPTY(&session->invocations) && session->transport.output.size == 0;
}

void session_handed_over(struct session *session)
{
    session->sessions->stats->sessions_handed_over++;
    session_close(session, SESSION_END_HANDED_OVER);
}

/* --- answers --- */

/* Bytes that wait for the caller up to its last answer: events behind that do not count. */
static size_t answers_unwritten(const struct session *session)
{
    uint64_t bytes_sent = session->transport.bytes_sent;
    return session->answers_end > bytes_sent ? (size_t)(session->answers_end - bytes_sent) : 0;
}

/*
 * Whether the answer can be given as it is; otherwise report says why not. Answers wait for a
 * caller that does not read: with all the requests that it may have in flight they could take
 * everybody's memory.
 */
static bool answer_fits(const struct session *session, size_t head_room, size_t body_size,
    struct failure_report *report)
{
    size_t unwritten = session->transport.output.size;
    const struct memory *memory = session->sessions->memory;
    size_t share = memory_has_room(memory, 0) ? memory->limit / ANSWERS_SHARE : 0;
    if (head_room == 0) {
        failure_set(report, FAILURE_OVERLOADED, true,
            "the answer has %zu bytes of body and does not fit a frame in this header form",
            body_size);
    } else if (body_size >= OUTPUT_REFER_SIZE && unwritten > share) {
        failure_set(report, FAILURE_OVERLOADED, true,
            "%zu bytes of answers wait to be read by this caller, its share of "
            "limits.total_memory",
            unwritten);
    } else {
        return true;
    }
    return false;
}

bool session_takes(const struct session *session, size_t body_size, struct failure_report *report)
{
    return answer_fits(session, FRAME_PREFIX_SIZE, body_size, report);
}

/* False: the session is closed, for want of memory. */
static bool frame_write(struct session *session, const struct remoting_command *command,
    enum serialize_type serialize_type, size_t head_room, struct frame_buffer *body_owner)
{
    struct transport *transport = &session->transport;
    struct output *output = &transport->output;
    if (!output_append_head(output, command, serialize_type, head_room, SPAN_ABSENT, NULL) ||
        output_append(output, command->body.data, command->body.n, body_owner) < 0) {
        session_close(session, SESSION_END_MEMORY);
        return false;
    }
    session->answers_end = transport->bytes_sent + transport->output.size;
    transport_flush_later(transport);
    if (transport->output.size > session->sessions->config->limits.session_buffer) {
        transport_pause(transport);
    }
    return true;
}

/*
 * A value that is "" does not exist in the binary form, and neither does more than 16 bits of code.
 */
void session_answer(struct session *session, struct remoting_command *command,
    enum serialize_type serialize_type, struct frame_buffer *body_owner)
{
    if (session->state == SESSION_CLOSED) {
        return;
    }
    command->flag = REMOTING_FLAG_RESPONSE;
    size_t head_room = remoting_command_head_room(command, serialize_type);
    UNINITIALIZED struct failure_report report;
    if (!answer_fits(session, head_room, command->body.n, &report)) {
        session_answer_failure(session, command->opaque, serialize_type, &report, 0, SPAN_ABSENT);
        return;
    }
    if (frame_write(session, command, serialize_type, head_room, body_owner)) {
        session->sessions->stats->answers++;
    }
}

bool session_request(struct session *session, const struct remoting_command *command,
    enum serialize_type serialize_type, struct frame_buffer *body_owner)
{
    size_t head_room = remoting_command_head_room(command, serialize_type);
    return head_room > 0 && frame_write(session, command, serialize_type, head_room, body_owner);
}

void session_answer_failure(struct session *session, int32_t client_opaque,
    enum serialize_type serialize_type, const struct failure_report *report, uint64_t request_id,
    struct span uniq_key)
{
    char id_text[24];
    (void)snprintf(id_text, sizeof(id_text), "%" PRIu64, request_id);
    struct ext_field fields[5];
    struct remoting_command answer = {
        .code = failure_code(report->failure),
        .version = REMOTING_VERSION,
        .opaque = client_opaque,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
        .remark = span_of(report->cause),
    };
    ext_fields_init(&answer.ext_fields, fields, sizeof(fields) / sizeof(fields[0]));
    (void)ext_fields_add(
        &answer.ext_fields, SPAN("sidecar.error"), span_of(failure_name(report->failure)));
    (void)ext_fields_add(
        &answer.ext_fields, SPAN("sidecar.sent"), report->maybe_sent ? SPAN("maybe") : SPAN("no"));
    if (request_id != 0) {
        (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.requestId"), span_of(id_text));
    }
    if (report->failure == FAILURE_OVERLOADED) {
        (void)ext_fields_add(
            &answer.ext_fields, SPAN("sidecar.retryAfterMillis"), SPAN(RETRY_AFTER_MS));
    }
    if (!span_is_empty(uniq_key)) {
        (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.uniqKey"), uniq_key);
    }
    session->sessions->stats->failures++;
    session->sessions->stats->failures_by[report->failure]++;
    session_answer(session, &answer, serialize_type, NULL);
}

/* The request was not taken, and why. */
static void answer_refusal(struct session *session, int32_t client_opaque,
    enum serialize_type serialize_type, enum failure failure, const char *problem)
{
    struct failure_report report;
    failure_set(&report, failure, false, "%s", problem);
    session->sessions->stats->requests_invalid += failure == FAILURE_INVALID;
    session_answer_failure(session, client_opaque, serialize_type, &report, 0, SPAN_ABSENT);
}

/* --- requests --- */

static void protocol_end(struct session *session, const char *problem)
{
    char quoted[LOG_QUOTE_SIZE], text[SESSION_TEXT_SIZE];
    log_warning("%s protocol error problem=%s", session_text(session, text),
        log_quote(problem, strlen(problem), quoted));
    session_end(session, SESSION_END_PROTOCOL);
}

/*
 * A request that was understood as far as it is wrong. One without an opaque ends the session, and
 * is told under 0 only where no other request could take that for its answer.
 */
static void request_refuse(struct session *session, const struct remoting_command *command,
    enum serialize_type serialize_type, enum failure failure, const char *problem)
{
    bool has_opaque = command->present & REMOTING_HAS_OPAQUE;
    if (remoting_command_is_oneway(command)) {
        session->sessions->stats->oneway_failed++;
        return;
    }
    if (has_opaque || TAILQ_EMPTY(&session->invocations)) {
        answer_refusal(session, command->opaque, serialize_type, failure, problem);
    }
    if (!has_opaque) {
        protocol_end(session, problem);
    }
}

/* Why a caller is turned away. */
static void turned_away_describe(const struct session *session, struct failure_report *report)
{
    const struct session_entrance *entrance = session->entrance;
    const struct role_caller caller = {
        .is_known = session->peer.is_known,
        .uid = session->peer.uid,
    };
    if (session->role) {
        char section[CONFIG_LISTENER_TEXT_SIZE];
        failure_set(report, FAILURE_OVERLOADED, false,
            "%u callers are connected already (%s max_sessions)", entrance->config->max_sessions,
            config_listener_text(entrance->config, section));
    } else {
        *report = (struct failure_report){ .failure = FAILURE_FORBIDDEN };
        role_describe_refusal(entrance->role, &caller, report->cause, sizeof(report->cause));
    }
}

/* A caller that has no business here: told so in words, and closed. */
static void turn_away(struct session *session, const struct remoting_command *command,
    enum serialize_type serialize_type)
{
    struct stats *stats = session->sessions->stats;
    if (session->role) {
        stats->requests_overloaded++;
    } else {
        stats->requests_forbidden++;
    }
    if (remoting_command_is_oneway(command)) {
        stats->oneway_failed++;
    } else {
        struct failure_report report;
        turned_away_describe(session, &report);
        session_answer_failure(session, command->opaque, serialize_type, &report, 0, SPAN_ABSENT);
    }
    session_end(session, session->role ? SESSION_END_SURPLUS : SESSION_END_FORBIDDEN);
}

static void on_frame(
    struct transport *transport, uint8_t *frame, size_t size, struct frame_buffer *owner)
{
    struct session *session = session_of(transport);
    struct session_list *sessions = session->sessions;
    struct remoting_command *command = &sessions->request;
    remoting_command_init(command, sessions->request_fields, EXT_FIELDS_MAX);
    enum serialize_type serialize_type;
    UNINITIALIZED struct header_problem problem;
    enum header_status status =
        remoting_command_decode(command, frame, size, &serialize_type, &problem);
    bool has_opaque = command->present & REMOTING_HAS_OPAQUE;
    bool is_oneway = remoting_command_is_oneway(command);
    session->n_requests++;
    sessions->stats->requests++;
    if (!session->is_turned_away) {
        /* What follows it in the same read is another frame, with a time of its own. */
        loop_deadline_clear(sessions->loop, &session->frame_deadline);
    }
    switch (status) {
    case HEADER_OK:
        break;
    case HEADER_SYNTAX:
        if (has_opaque && !is_oneway) {
            answer_refusal(session, command->opaque, serialize_type, FAILURE_INVALID, problem.text);
        }
        protocol_end(session, problem.text);
        return;
    case HEADER_INVALID:
        request_refuse(session, command, serialize_type, FAILURE_INVALID, problem.text);
        return;
    case HEADER_NO_MEMORY:
        request_refuse(session, command, serialize_type, FAILURE_OVERLOADED, problem.text);
        return;
    }
    const struct command_source source = { .frame = frame, .size = size, .owner = owner };
    if (remoting_command_is_response(command)) {
        sessions->stats->caller_responses_dropped +=
            !processors_answer(sessions->invoker->processors, session, command, &source);
        return;
    }
    if (!has_opaque && !is_oneway) {
        request_refuse(session, command, serialize_type, FAILURE_INVALID,
            "the header has no opaque: a request needs code and opaque, both integers");
        return;
    }
    if (!(command->present & REMOTING_HAS_CODE)) {
        request_refuse(session, command, serialize_type, FAILURE_INVALID,
            "the header has no code: a request needs code and opaque, both integers");
        return;
    }
    if (session->is_turned_away) {
        turn_away(session, command, serialize_type);
        return;
    }
    invoke_request(sessions->invoker, session, command, serialize_type, &source);
}

/* A request of another language, as if it had been a frame: it was told already. */
static void on_refused(struct transport *transport, enum failure failure, const char *cause)
{
    struct session *session = session_of(transport);
    struct session_list *sessions = session->sessions;
    struct stats *stats = sessions->stats;
    char text[SESSION_TEXT_SIZE], quoted[LOG_QUOTE_SIZE];
    session->n_requests++;
    stats->requests++;
    stats->requests_invalid += failure != FAILURE_OVERLOADED;
    stats->requests_overloaded += failure == FAILURE_OVERLOADED;
    stats->answers++;
    stats->failures++;
    stats->failures_by[failure]++;
    if (log_budget_take(&sessions->refusals, sessions->loop->now_ms, "refusals")) {
        log_info("%s refused error=%s cause=%s", session_text(session, text), failure_name(failure),
            log_quote(cause, strlen(cause), quoted));
    }
}

/* The header of a frame that is not handed out, where it came whole and tells its opaque. */
static struct remoting_command *header_of_lost_frame(
    struct session *session, uint8_t *data, size_t n, enum serialize_type *ret_serialize_type)
{
    if (n < FRAME_PREFIX_SIZE || data[4] > SERIALIZE_ROCKETMQ) {
        return NULL;
    }
    size_t header_size = (size_t)data[5] << 16 | (size_t)data[6] << 8 | data[7];
    if (header_size > n - FRAME_PREFIX_SIZE) {
        return NULL;
    }
    struct remoting_command *command = &session->sessions->request;
    remoting_command_init(command, session->sessions->request_fields, EXT_FIELDS_MAX);
    struct header_problem problem;
    *ret_serialize_type = (enum serialize_type)data[4];
    if (*ret_serialize_type == SERIALIZE_JSON) {
        (void)header_json_decode(command, (char *)data + FRAME_PREFIX_SIZE, header_size, &problem);
    } else {
        (void)header_rocketmq_decode(command, data + FRAME_PREFIX_SIZE, header_size, &problem);
    }
    return command->present & REMOTING_HAS_OPAQUE ? command : NULL;
}

static void on_bad_frame(struct transport *transport, uint8_t *data, size_t n)
{
    struct session *session = session_of(transport);
    char problem[160];
    frame_describe_problem(data, n, transport->frame_limit, problem, sizeof(problem));
    enum serialize_type serialize_type;
    const struct remoting_command *command =
        header_of_lost_frame(session, data, n, &serialize_type);
    if (command && !remoting_command_is_oneway(command)) {
        answer_refusal(session, command->opaque, serialize_type, FAILURE_INVALID, problem);
    }
    protocol_end(session, problem);
}

/* Its caller is told, and may go on asking: other requests may find room. */
static bool on_no_room(struct transport *transport, uint8_t *data, size_t n)
{
    struct session *session = session_of(transport);
    struct session_list *sessions = session->sessions;
    struct stats *stats = sessions->stats;
    enum serialize_type serialize_type;
    const struct remoting_command *command =
        header_of_lost_frame(session, data, n, &serialize_type);
    bool is_request = command && !session->is_turned_away &&
                      !remoting_command_is_response(command) &&
                      (remoting_command_is_oneway(command) ||
                          !invoke_opaque_is_in_flight(sessions->invoker, session, command->opaque));
    if (!is_request) {
        return false;
    }
    session->n_requests++;
    stats->requests++;
    stats->requests_overloaded++;
    if (remoting_command_is_oneway(command)) {
        stats->requests_oneway++;
        stats->oneway_failed++;
        return true;
    }
    struct failure_report report;
    failure_set(&report, FAILURE_OVERLOADED, false,
        "the request finds no memory: %zu bytes are in use (limits.total_memory)",
        sessions->memory->used);
    session_answer_failure(session, command->opaque, serialize_type, &report, 0, SPAN_ABSENT);
    return session->state == SESSION_OPEN;
}

static void on_end(struct transport *transport, enum transport_end end, int error)
{
    (void)error;
    struct session *session = session_of(transport);
    switch (end) {
    case TRANSPORT_END_OF_FILE:
        loop_deadline_clear(session->sessions->loop, &session->frame_deadline);
        if (session->state != SESSION_OPEN || caller_is_gone(session)) {
            session_close(session, SESSION_END_CALLER);
            return;
        }
        session->end = SESSION_END_CALLER;
        session_enter(session, SESSION_HALF_CLOSED);
        session_invocation_left(session);
        return;
    case TRANSPORT_ERROR:
        session_close(session, SESSION_END_ERROR);
        return;
    case TRANSPORT_NO_MEMORY:
        log_warning("session=%" PRIu64 " a frame does not fit limits.total_memory", session->id);
        session_close(session, SESSION_END_MEMORY);
        return;
    }
}

void session_invocation_left(struct session *session)
{
    if (session->state == SESSION_HALF_CLOSED && TAILQ_EMPTY(&session->invocations)) {
        session_enter(session, SESSION_CLOSING);
    }
}

/* A frame that has begun must be complete within header_timeout. */
static void on_read(struct transport *transport)
{
    struct session *session = session_of(transport);
    struct loop *loop = session->sessions->loop;
    if (session->state != SESSION_OPEN) {
        return;
    }
    if (!transport_has_partial_frame(transport) && !session->is_turned_away) {
        loop_deadline_clear(loop, &session->frame_deadline);
    } else if (!deadline_is_set(&session->frame_deadline)) {
        loop_deadline_set(loop, &session->frame_deadline,
            clock_after(loop->now_ms, session->sessions->config->limits.header_timeout_ms));
    }
}

static void on_written(struct transport *transport)
{
    struct session *session = session_of(transport);
    struct session_list *sessions = session->sessions;
    size_t unwritten = transport->output.size;
    if (unwritten == 0) {
        loop_deadline_clear(sessions->loop, &session->write_deadline);
    } else {
        /*
         * Bytes were taken, or this is the first time that they were not: the time runs from here.
         */
        loop_deadline_set(sessions->loop, &session->write_deadline,
            clock_after(sessions->loop->now_ms, sessions->config->limits.write_timeout_ms));
    }
    if (session->state == SESSION_CLOSING) {
        if (unwritten == 0) {
            session_enter(session, SESSION_CLOSED);
        }
        return;
    }
    if (transport->is_paused && unwritten <= sessions->config->limits.session_buffer / 2) {
        /* While nothing was read, no time ran for the frame that had begun. */
        loop_deadline_clear(sessions->loop, &session->frame_deadline);
        transport_resume(transport);
    }
}

static const struct transport_handler session_transport_handler = {
    .on_frame = on_frame,
    .on_no_room = on_no_room,
    .on_bad_frame = on_bad_frame,
    .on_refused = on_refused,
    .on_end = on_end,
    .on_read = on_read,
    .on_written = on_written,
};

static void on_frame_deadline(struct deadline *deadline, uint64_t now_ms)
{
    struct session *session =
        (struct session *)(void *)((char *)deadline - offsetof(struct session, frame_deadline));
    if (session->transport.is_paused) {
        return; /* it is we who do not read */
    }
    if (!session->is_turned_away && !transport_has_partial_frame(&session->transport)) {
        return; /* it was no frame, and was answered otherwise (http_stream.h) */
    }
    if (session->is_turned_away && !TAILQ_EMPTY(&session->invocations)) {
        /* It lost its role, and still gets its answers. */
        loop_deadline_set(session->sessions->loop, deadline, clock_after(now_ms, TURNED_AWAY_MS));
        return;
    }
    char text[SESSION_TEXT_SIZE];
    log_warning("%s sent no whole frame in time", session_text(session, text));
    session_close(session, SESSION_END_HEADER_TIMEOUT);
}

static void on_write_deadline(struct deadline *deadline, uint64_t now_ms)
{
    struct session *session =
        (struct session *)(void *)((char *)deadline - offsetof(struct session, write_deadline));
    if (session->state != SESSION_CLOSING && answers_unwritten(session) == 0) {
        loop_deadline_set(session->sessions->loop, deadline,
            clock_after(now_ms, session->sessions->config->limits.write_timeout_ms));
        return; /* only events wait */
    }
    char text[SESSION_TEXT_SIZE];
    log_warning("%s does not read its answers, unwritten=%zu", session_text(session, text),
        session->transport.output.size);
    session_close(session, SESSION_END_WRITE_TIMEOUT);
}

/* --- all of them --- */

void session_list_configure(
    struct session_list *sessions, struct config *config, const struct role_table *roles)
{
    sessions->config = config;
    sessions->roles = roles;
    sessions->n_entrances = config_n_listeners(config);
    for (size_t i = 0; i < sessions->n_entrances; i++) {
        sessions->entrances[i].config = config_listener(config, i);
        sessions->entrances[i].role = role_table_named(roles, sessions->entrances[i].config->role);
    }
}

void session_list_init(struct session_list *sessions, struct loop *loop, struct memory *memory,
    struct stats *stats, struct invoker *invoker, struct config *config,
    const struct role_table *roles)
{
    *sessions = (struct session_list){
        .loop = loop,
        .memory = memory,
        .stats = stats,
        .invoker = invoker,
    };
    session_list_configure(sessions, config, roles);
    TAILQ_INIT(&sessions->list);
}

struct session *session_list_find(const struct session_list *sessions, uint64_t id)
{
    struct session *session;
    TAILQ_FOREACH (session, &sessions->list, link) {
        if (session->id == id) {
            return session;
        }
    }
    return NULL;
}

size_t session_list_unwritten(const struct session_list *sessions)
{
    size_t unwritten = 0;
    const struct session *session;
    TAILQ_FOREACH (session, &sessions->list, link) {
        /* A frame that has begun is waited for where its request will be answered. */
        bool is_awaited = session->state == SESSION_OPEN && session_is_served_to_its_end(session) &&
                          transport_has_partial_frame(&session->transport);
        unwritten += answers_unwritten(session) + is_awaited;
    }
    return unwritten;
}

void session_list_close(struct session_list *sessions)
{
    while (!TAILQ_EMPTY(&sessions->list)) {
        session_close(TAILQ_FIRST(&sessions->list), SESSION_END_DRAIN);
    }
}

/* A caller without a role. what: what it did, or what happened. */
static void session_forbid(struct session *session, const char *what)
{
    struct session_list *sessions = session->sessions;
    struct failure_report report;
    char text[SESSION_TEXT_SIZE], quoted[LOG_QUOTE_SIZE];
    session->entrance->n_forbidden++;
    sessions->stats->sessions_forbidden++;
    turned_away_describe(session, &report);
    if (log_budget_take(&sessions->refusals, sessions->loop->now_ms, "refusals")) {
        log_warning("audit %s %s error=forbidden cause=%s", session_text(session, text), what,
            log_quote(report.cause, strlen(report.cause), quoted));
    }
}

/* Whether it may go on; otherwise its first request is answered with the reason. */
static void session_judge(struct session *session)
{
    struct session_list *sessions = session->sessions;
    struct session_entrance *entrance = session->entrance;
    if (!session->role) {
        session_forbid(session, "connecting");
    } else if (entrance->n - entrance->n_forbidden <= entrance->config->max_sessions) {
        return;
    } else {
        sessions->stats->sessions_refused++;
    }
    session->is_turned_away = true;
    loop_deadline_set(sessions->loop, &session->frame_deadline,
        clock_after(sessions->loop->now_ms, sessions->config->limits.header_timeout_ms));
}

/* Opens its transport, in the language of the entrance. */
static int session_listen(struct session *session, int fd)
{
    struct session_list *sessions = session->sessions;
    const struct config_listener *config = session->entrance->config;
    size_t frame_limit = sessions->config->limits.max_frame;
    int r = transport_open(&session->transport, sessions->loop, sessions->memory,
        &session_transport_handler, fd, frame_limit, false);
    if (r < 0 || !config->speaks_http) {
        return r;
    }
    struct transport_dialect *dialect =
        http_stream_new(sessions->loop, sessions->memory, fd, frame_limit, config->idle_timeout_ms);
    if (!dialect) {
        transport_close(&session->transport);
        return -ENOMEM;
    }
    transport_speak(&session->transport, dialect);
    return 0;
}

int session_open(struct session_list *sessions, struct session_entrance *entrance, int fd)
{
    struct session *session = calloc(1, sizeof(*session));
    if (!session) {
        (void)close(fd);
        return -ENOMEM;
    }
    session->sessions = sessions;
    session->entrance = entrance;
    session->id = ++sessions->next_id;
    session->opened_ms = sessions->loop->now_ms;
    peer_read(fd, &session->peer);
    session->role = peer_role(fd, &session->peer, sessions->roles, entrance->role);
    TAILQ_INIT(&session->invocations);
    deadline_init(&session->frame_deadline, on_frame_deadline);
    deadline_init(&session->write_deadline, on_write_deadline);
    int r = session_listen(session, fd);
    if (r < 0) {
        peer_deinit(&session->peer);
        free(session);
        return r;
    }
    TAILQ_INSERT_TAIL(&sessions->list, session, link);
    sessions->n++;
    entrance->n++;
    sessions->stats->sessions_accepted++;
    session_enter(session, SESSION_OPEN);
    session_judge(session);
    if (entrance->n_forbidden > SESSION_FORBIDDEN_MAX && !session->role) {
        session_close(session, SESSION_END_FORBIDDEN);
    }
    return 0;
}

static void session_judge_again(struct session *session)
{
    struct session_list *sessions = session->sessions;
    const struct role *role =
        peer_role(session->transport.fd, &session->peer, sessions->roles, session->entrance->role);
    const struct role *before = session->role;
    bool was_forbidden = !before;
    session->role = role;
    if (role && session->net_events) {
        session->net_events->is_admin = role->is_admin;
    }
    if (role && was_forbidden) {
        struct session_entrance *entrance = session->entrance;
        entrance->n_forbidden--;
        session->is_turned_away =
            entrance->n - entrance->n_forbidden > entrance->config->max_sessions;
        if (!session->is_turned_away) {
            loop_deadline_clear(sessions->loop, &session->frame_deadline);
        }
    } else if (role && session->is_bound && !role_allows_all_of(role, before)) {
        /* Groups and processors that it may not have any more: it has to ask for each anew. */
        session_end(session, SESSION_END_FORBIDDEN);
    } else if (!role && !was_forbidden) {
        session_forbid(session, "after a reload");
        session_resign(session);
        session->is_turned_away = true;
        if (session->state == SESSION_OPEN) {
            loop_deadline_set(sessions->loop, &session->frame_deadline,
                clock_after(sessions->loop->now_ms, sessions->config->limits.header_timeout_ms));
        }
    }
}

void session_list_judge_again(struct session_list *sessions)
{
    struct session *session;
    TAILQ_FOREACH (session, &sessions->list, link) {
        session_judge_again(session);
    }
    invoker_roles_changed(sessions->invoker, sessions->roles);
}
