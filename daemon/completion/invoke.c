#include "daemon/completion/invoke.h"

#include "daemon/completion/send.h"
#include "daemon/core/fair_share.h"
#include "daemon/core/permission.h"
#include "daemon/admin/admin.h"
#include "daemon/loop/log.h"
#include "protocol/code.h"
#include "protocol/java_json.h"
#include "protocol/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPAQUE_BUCKETS 16384 /* a power of two */
/* Kept for reuse: 240 KiB. */
#define INVOCATIONS_KEPT 256
/* A topic (255 with its retry prefix), a broker name, an address. */
#define WAY_NAME_MAX      (ADDRESS_TEXT_MAX - 1)
#define FAILURE_LINE_SIZE (SESSION_TEXT_SIZE + LOG_QUOTE_SIZE + 256)

/* --- the table of client opaques --- */

/*
 * Callers count their opaques up: those of one caller that are in flight are neighbours in the table,
 * in few lines of the CPU's caches. Those of others begin elsewhere, and who counts in large steps is
 * spread by the upper bits.
 */
static struct invocation **opaque_bucket(
    struct invoker *invoker, const struct session *session, int32_t client_opaque)
{
    uint32_t opaque = (uint32_t)client_opaque;
    uint64_t from = ((session->id << 32) + opaque / OPAQUE_BUCKETS) * UINT64_C(0x9E3779B97F4A7C15);
    return &invoker->opaques[((from >> 50) + opaque) % OPAQUE_BUCKETS];
}

bool invoke_opaque_is_in_flight(
    struct invoker *invoker, const struct session *session, int32_t client_opaque)
{
    const struct invocation *invocation = *opaque_bucket(invoker, session, client_opaque);
    for (; invocation; invocation = invocation->opaque_next) {
        if (invocation->session == session && invocation->client_opaque == client_opaque) {
            return true;
        }
    }
    return false;
}

static void opaque_remove(struct invocation *invocation)
{
    struct invocation **at =
        opaque_bucket(invocation->invoker, invocation->session, invocation->client_opaque);
    while (*at != invocation) {
        at = &(*at)->opaque_next;
    }
    *at = invocation->opaque_next;
}

/* --- the life of an invocation --- */

static void on_request_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source);
static void on_request_sent(struct pending_request *request);
static void on_request_failure(
    struct pending_request *request, const struct failure_report *report);
static void on_request_deadline(struct pending_request *request);
static void on_waited(struct route_waiter *waiter, const struct failure_report *report);
static void on_wait_deadline(struct deadline *deadline, uint64_t now_ms);

static const struct pending_request_handler request_handler = {
    .on_response = on_request_response,
    .on_sent = on_request_sent,
    .on_failure = on_request_failure,
    .on_deadline = on_request_deadline,
};

/* Before its way is known nothing can happen to it but its end. */
static const struct invocation_steps unrouted_steps = { 0 };

int invoker_init(struct invoker *invoker)
{
    TAILQ_INIT(&invoker->invocations);
    taps_init(&invoker->taps);
    free_list_init(&invoker->free_invocations, sizeof(struct invocation), INVOCATIONS_KEPT);
    invoker->opaques = calloc(OPAQUE_BUCKETS, sizeof(struct invocation *));
    invoker->fault_tolerance = fault_tolerance_new();
    return invoker->opaques && invoker->fault_tolerance ? 0 : -1;
}

void invoker_deinit(struct invoker *invoker)
{
    assert(invoker->n_in_flight == 0);
    free_list_deinit(&invoker->free_invocations);
    free(invoker->opaques);
    invoker->opaques = NULL;
    invoker->fault_tolerance = fault_tolerance_free(invoker->fault_tolerance);
}

static struct invocation *invocation_new(struct invoker *invoker, struct session *session,
    const struct remoting_command *command, enum serialize_type serialize_type, size_t size)
{
    struct invocation *invocation = free_list_take(&invoker->free_invocations);
    if (!invocation) {
        return NULL;
    }
    invocation->trace[0] = '\0';
    memset(invocation, 0, offsetof(struct invocation, request));
    invocation->address[0] = '\0';
    invocation->invoker = invoker;
    invocation->id = ++invoker->next_id;
    invocation->session_id = session->id;
    invocation->role = session->role;
    invocation->client_opaque = command->opaque;
    invocation->code = command->code;
    invocation->serialize_type = serialize_type;
    invocation->is_oneway = remoting_command_is_oneway(command);
    invocation->started_ms = invoker->loop->now_ms;
    invocation->steps = &unrouted_steps;
    invocation->waiter.on_fetched = on_waited;
    deadline_init(&invocation->deadline, on_wait_deadline);
    pending_request_init(&invocation->request, &request_handler);
    invocation->request.is_oneway = invocation->is_oneway;
    invocation->request.session_id = session->id;
    TAILQ_INSERT_TAIL(&invoker->invocations, invocation, link);
    invocation->size = (uint32_t)size;
    invoker->n_in_flight++;
    if (invocation->is_oneway) {
        invoker->n_oneway++;
        invoker->oneway_bytes += size;
    } else {
        struct invocation **bucket = opaque_bucket(invoker, session, command->opaque);
        invocation->session = session;
        invocation->opaque_next = *bucket;
        *bucket = invocation;
        TAILQ_INSERT_TAIL(&session->invocations, invocation, session_link);
        session->request_bytes += size;
        invoker->n_busy_sessions += session->n_in_flight++ == 0;
    }
    return invocation;
}

static void on_invocation_reap(struct loop_reapable *reapable)
{
    struct invocation *invocation =
        (struct invocation *)(void *)((char *)reapable - offsetof(struct invocation, reapable));
    free(invocation->call);
    free_list_give(&invocation->invoker->free_invocations, invocation);
}

static void session_leave(struct invocation *invocation)
{
    struct session *session = invocation->session;
    if (!session) {
        return;
    }
    opaque_remove(invocation);
    TAILQ_REMOVE(&session->invocations, invocation, session_link);
    session->request_bytes -= invocation->size;
    invocation->invoker->n_busy_sessions -= --session->n_in_flight == 0;
    if (invocation->is_long_poll) {
        session->n_long_polls--;
    }
    if (invocation->is_acknowledgement) {
        session->n_acknowledgements--;
    }
    invocation->session = NULL;
    session_invocation_left(session);
}

static void invocation_end_as(struct invocation *invocation, enum drain_outcome outcome)
{
    struct invoker *invoker = invocation->invoker;
    assert(!invocation->is_ended);
    invocation->is_ended = true;
    drain_count(invoker->drain, invocation->id, outcome);
    if (invocation->tap_record) {
        tap_ended(invocation);
    }
    if (invocation->steps->on_end) {
        invocation->steps->on_end(invocation);
    }
    session_leave(invocation);
    loop_deadline_clear(invoker->loop, &invocation->deadline);
    route_waiter_cancel(&invocation->waiter);
    if (invocation->call) {
        nameserver_call_cancel(&invocation->call->call);
    }
    pending_request_cancel(invoker->upstreams, &invocation->request);
    kept_command_deinit(&invocation->request.kept);
    TAILQ_REMOVE(&invoker->invocations, invocation, link);
    invoker->n_in_flight--;
    if (invocation->is_oneway) {
        invoker->n_oneway--;
        invoker->oneway_bytes -= invocation->size;
    }
    loop_reap(invoker->loop, &invocation->reapable, on_invocation_reap);
}

void invocation_end(struct invocation *invocation)
{
    invocation_end_as(invocation, DRAIN_COMPLETED);
}

void invocation_state_free(struct invocation *invocation)
{
    free(invocation->state);
    invocation->state = NULL;
}

void invocation_answer(struct invocation *invocation, struct remoting_command *response,
    struct frame_buffer *body_owner)
{
    if (invocation->tap_record) {
        tap_answered(invocation, response);
    }
    if (invocation->session) {
        response->opaque = invocation->client_opaque;
        session_answer(invocation->session, response, invocation->serialize_type, body_owner);
    }
    /* The session may have ended over its answer, and the invocation with it. */
    if (!invocation->is_ended) {
        invocation_end_as(invocation, DRAIN_COMPLETED);
    }
}

void invocation_answer_rows(struct invocation *invocation, const json_t *rows)
{
    char *text = rows ? json_dumps(rows, JSON_COMPACT) : NULL;
    if (!text) {
        invocation_fail(invocation, FAILURE_OVERLOADED, true, "out of memory");
        return;
    }
    struct remoting_command answer = {
        .code = RESPONSE_SUCCESS,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .body = span_of(text),
    };
    invocation_answer(invocation, &answer, NULL);
    free(text);
}

/*
 * A few lines a second: neither a broken cluster nor a caller that goes on trying may fill the log,
 * and the one does not keep the other out of it. The rest is counted.
 */
static void failure_log(struct invocation *invocation, const struct failure_report *report)
{
    struct invoker *invoker = invocation->invoker;
    net_event_note(invoker->upstreams->events, EVENT_FAILURE, true, failure_name(report->failure),
        "request=%" PRIu64 " session=%" PRIu64 " code=%d: %s", invocation->id,
        invocation->session_id, (int)invocation->code, report->cause);
    struct session_list *sessions = invoker->sessions;
    bool is_refusal = report->failure == FAILURE_FORBIDDEN;
    struct log_budget *budget =
        is_refusal ? &sessions->refusals : &invoker->failures_logged[report->failure];
    if (!log_budget_take(budget, invoker->loop->now_ms,
            is_refusal ? "refusals" : failure_name(report->failure))) {
        return;
    }
    /* Oneway requests do not know their session, which may be gone; looking for it takes a while. */
    const struct session *session = session_list_find(sessions, invocation->session_id);
    const char *name = request_code_name(invocation->code);
    char line[FAILURE_LINE_SIZE], caller[SESSION_TEXT_SIZE], quoted[LOG_QUOTE_SIZE];
    (void)snprintf(caller, sizeof(caller), "session=%" PRIu64, invocation->session_id);
    (void)snprintf(line, sizeof(line),
        "request=%" PRIu64 " %s code=%d name=%s error=%s sent=%s oneway=%d%s%s cause=%s",
        invocation->id, session ? session_text(session, caller) : caller, (int)invocation->code,
        name ? name : "?", failure_name(report->failure), report->maybe_sent ? "maybe" : "no",
        invocation->is_oneway, invocation->trace[0] ? " trace=" : "", invocation->trace,
        log_quote(report->cause, strlen(report->cause), quoted));
    if (is_refusal) {
        log_warning("audit %s", line);
    } else {
        log_info("%s", line);
    }
}

void invocation_fail_report(struct invocation *invocation, const struct failure_report *last)
{
    struct stats *stats = invocation->invoker->stats;
    struct failure_report report = *last;
    report.maybe_sent = last->maybe_sent || invocation->maybe_sent;
    failure_log(invocation, &report);
    if (invocation->tap_record) {
        tap_failed(invocation, &report);
    }
    if (report.failure == FAILURE_OVERLOADED) {
        stats->requests_overloaded++;
    } else if (report.failure == FAILURE_INVALID) {
        stats->requests_invalid++;
    } else if (report.failure == FAILURE_FORBIDDEN) {
        stats->requests_forbidden++;
        if (invocation->session) {
            invocation->session->n_forbidden++;
        }
    }
    if (invocation->is_oneway) {
        stats->oneway_failed++;
    } else if (invocation->session) {
        session_answer_failure(invocation->session, invocation->client_opaque,
            invocation->serialize_type, &report, invocation->id, invocation->uniq_key);
    }
    if (!invocation->is_ended) {
        invocation_end_as(
            invocation, report.failure == FAILURE_DRAINING ? DRAIN_ABORTED : DRAIN_FAILED);
    }
}

void invocation_fail(
    struct invocation *invocation, enum failure failure, bool maybe_sent, const char *format, ...)
{
    struct failure_report report;
    va_list arguments;
    va_start(arguments, format);
    failure_set_va(&report, failure, maybe_sent, format, arguments);
    va_end(arguments);
    invocation_fail_report(invocation, &report);
}

void invocation_fail_for_admin(struct invocation *invocation)
{
    const char *name = request_code_name(invocation->code);
    char hint[CONFIG_NAME_SIZE + 64];
    role_describe_admin(invocation->role, hint, sizeof(hint));
    invocation_fail(invocation, FAILURE_FORBIDDEN, false, "code %d (%s) needs the admin role, %s",
        (int)invocation->code, name ? name : "unnamed", hint);
}

void invoker_roles_changed(struct invoker *invoker, const struct role_table *roles)
{
    struct invocation *invocation;
    TAILQ_FOREACH (invocation, &invoker->invocations, link) {
        const struct session *session =
            invocation->session ? invocation->session
                                : session_list_find(invoker->sessions, invocation->session_id);
        const struct role *role =
            session ? session->role : role_table_successor(roles, invocation->role);
        invocation->role = role ? role : &role_of_nobody;
    }
}

void invoke_session_gone(struct invoker *invoker, struct session *session)
{
    while (!TAILQ_EMPTY(&session->invocations)) {
        invoker->stats->answers_without_caller++;
        invocation_end_as(TAILQ_FIRST(&session->invocations), DRAIN_LEFT);
    }
}

void invoker_abort(struct invoker *invoker)
{
    while (!TAILQ_EMPTY(&invoker->invocations)) {
        struct invocation *invocation = TAILQ_FIRST(&invoker->invocations);
        invocation_fail(invocation, FAILURE_DRAINING,
            pending_request_was_sent(&invocation->request) ||
                (invocation->call && pending_request_was_sent(&invocation->call->call.request)),
            "the daemon stopped before the answer came");
    }
}

/* --- keeping and waiting --- */

static void span_rebase(struct span *span, const void *from, size_t n, const void *to)
{
    uintptr_t offset = (uintptr_t)span->data - (uintptr_t)from;
    if (span->data && offset < n) {
        span->data = (const char *)to + offset;
    }
}

bool invocation_keep(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    struct kept_command *kept = &invocation->request.kept;
    if (kept_command_is_kept(kept)) {
        return true;
    }
    if (kept_command_keep(
            kept, invocation->invoker->memory, command, source, INVOCATION_SPARE_FIELDS) < 0) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "no memory to keep the request (limits.total_memory)");
        return false;
    }
    if (kept->frame && kept->frame != source->owner) {
        struct span *spans[] = {
            &invocation->name,
            &invocation->sidecar.addr,
            &invocation->sidecar.broker,
            &invocation->sidecar.topic,
            &invocation->sidecar.receipt,
            &invocation->sidecar.traceparent,
            &invocation->sidecar.msg_id,
        };
        for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
            span_rebase(spans[i], source->frame, source->size, kept->frame->data);
        }
    }
    return true;
}

struct command_source invocation_kept_source(const struct invocation *invocation)
{
    return kept_command_source(&invocation->request.kept);
}

void invocation_field_default(struct invocation *invocation, struct span key, struct span value)
{
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    if (span_is_absent(ext_fields_get(fields, key))) {
        (void)ext_fields_add(fields, key, value);
    }
}

bool invocation_field_from_receipt(
    struct invocation *invocation, struct span key, struct span value)
{
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct span given = ext_fields_get(fields, key);
    if (span_is_absent(given)) {
        (void)ext_fields_add(fields, key, value);
        return true;
    }
    if (span_equals(given, value)) {
        return true;
    }
    struct span shown = utf8_cut(given, 64);
    invocation_fail(invocation, FAILURE_INVALID, false,
        "%.*s is '%.*s', but what was given back says '%.*s': leave it out", SPAN_ARGS(key),
        SPAN_ARGS(shown), SPAN_ARGS(value));
    return false;
}

void invocation_wait_route(struct invocation *invocation, struct span topic)
{
    struct invoker *invoker = invocation->invoker;
    invocation->has_waited = true;
    loop_deadline_set(invoker->loop, &invocation->deadline, invocation->deadline_ms);
    if (span_is_empty(topic)) {
        routes_wait_cluster(invoker->routes, invocation->deadline_ms, &invocation->waiter);
    } else {
        routes_wait_topic(invoker->routes, topic, invocation->deadline_ms, &invocation->waiter);
    }
}

static void on_waited(struct route_waiter *waiter, const struct failure_report *report)
{
    struct invocation *invocation =
        (struct invocation *)(void *)((char *)waiter - offsetof(struct invocation, waiter));
    loop_deadline_clear(invocation->invoker->loop, &invocation->deadline);
    if (report) {
        invocation_fail_report(invocation, report);
    } else {
        invocation->steps->on_route(invocation);
    }
}

static void on_wait_deadline(struct deadline *deadline, uint64_t now_ms)
{
    struct invocation *invocation =
        (struct invocation *)(void *)((char *)deadline - offsetof(struct invocation, deadline));
    const char *current = nameservers_current(invocation->invoker->nameservers);
    invocation_fail(invocation, FAILURE_TIMEOUT, false,
        "the nameserver %s gave no route within %" PRIu64 " ms", current ? current : "(none)",
        now_ms - invocation->started_ms);
}

struct route_entry *invocation_route(
    struct invocation *invocation, struct span topic, bool with_default)
{
    struct routes *routes = invocation->invoker->routes;
    struct route_entry *entry;
    switch (routes_find(routes, topic, &entry)) {
    case ROUTE_FRESH:
    case ROUTE_STALE:
        return entry;
    case ROUTE_UNKNOWN:
        if (!invocation->has_waited) {
            invocation_wait_route(invocation, topic);
            return NULL;
        }
        break;
    case ROUTE_ABSENT:
        break;
    }
    if (with_default) {
        switch (routes_find(routes, SPAN(ROUTE_DEFAULT_TOPIC), &entry)) {
        case ROUTE_FRESH:
        case ROUTE_STALE:
            return entry;
        case ROUTE_UNKNOWN:
            invocation_wait_route(invocation, SPAN(ROUTE_DEFAULT_TOPIC));
            return NULL;
        case ROUTE_ABSENT:
            break;
        }
    }
    invocation_fail(invocation, FAILURE_NO_ROUTE, false, "the nameservers know no topic %.*s%s",
        SPAN_ARGS(topic), with_default ? ", and brokers do not create topics on first use" : "");
    return NULL;
}

bool invocation_broker(
    struct invocation *invocation, struct span broker_name, const char **ret_address)
{
    struct routes *routes = invocation->invoker->routes;
    bool is_known;
    const char *address = route_table_master(routes_table(routes), broker_name, &is_known);
    if (address) {
        *ret_address = address;
        return true;
    }
    if (!invocation->has_waited && !routes_cluster_is_fresh(routes)) {
        invocation_wait_route(invocation, SPAN_ABSENT);
        return false;
    }
    invocation_fail(invocation, FAILURE_NO_BROKER, false,
        is_known ? "broker %.*s has no master at present" : "the nameservers know no broker %.*s",
        SPAN_ARGS(broker_name));
    return false;
}

/* --- sending on --- */

void invocation_send_kept(struct invocation *invocation, struct span address)
{
    const struct command_source source = invocation_kept_source(invocation);
    invocation_send(invocation, address, &invocation->request.kept.command, &source,
        invocation->deadline_ms, false);
}

void invocation_send_to_broker(struct invocation *invocation, struct span broker_name)
{
    const char *address;
    if (invocation_broker(invocation, broker_name, &address)) {
        invocation_send_kept(invocation, span_of(address));
    }
}

void invocation_send(struct invocation *invocation, struct span address,
    const struct remoting_command *command, const struct command_source *source,
    uint64_t deadline_ms, bool fails_fast)
{
    size_t n =
        address.n < sizeof(invocation->address) ? address.n : sizeof(invocation->address) - 1;
    memcpy(invocation->address, address.data, n);
    invocation->address[n] = '\0';
    invocation->request.deadline_ms = deadline_ms;
    invocation->request.fails_fast = fails_fast;
    upstream_pool_invoke(invocation->invoker->pool, address,
        router_is_long_poll(invocation->code) ? POOL_LONG_POLL : POOL_NORMAL, &invocation->request,
        command, source);
}

void response_filter(struct remoting_command *response, const struct command_source *source,
    bool (*is_wanted)(void *context, const struct message *message), void *context)
{
    /* A body is the end of its frame. */
    uint8_t *body = source->frame + (source->size - response->body.n);
    response->body.n = message_filter_body(body, response->body.n, is_wanted, context);
}

static struct invocation *invocation_of_request(struct pending_request *request)
{
    return (struct invocation *)(void *)((char *)request - offsetof(struct invocation, request));
}

static void on_request_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    struct invocation *invocation = invocation_of_request(request);
    invocation->steps->on_response(invocation, response, source);
}

static void on_request_sent(struct pending_request *request)
{
    struct invocation *invocation = invocation_of_request(request);
    if (invocation->steps->on_sent && !invocation->is_oneway) {
        invocation->steps->on_sent(invocation);
    } else {
        invocation_end(invocation);
    }
}

static void on_request_failure(struct pending_request *request, const struct failure_report *report)
{
    struct invocation *invocation = invocation_of_request(request);
    invocation->maybe_sent = invocation->maybe_sent || report->maybe_sent;
    invocation->steps->on_failure(invocation, report);
}

static void on_request_deadline(struct pending_request *request)
{
    struct invocation *invocation = invocation_of_request(request);
    if (invocation->steps->on_deadline) {
        invocation->steps->on_deadline(invocation);
    }
}

/* Answers that a caller could not parse: nameservers leave the quotes of numeric keys out. */
static void answer_with_valid_json(
    struct invocation *invocation, struct remoting_command *response, struct frame_buffer *owner)
{
    struct invoker *invoker = invocation->invoker;
    struct frame_buffer *quoted = NULL;
    size_t size = java_json_quoted_size(response->body.data, response->body.n);
    if (size != response->body.n) {
        quoted = frame_buffer_new(invoker->memory, size);
        if (!quoted) {
            invocation_fail(invocation, FAILURE_OVERLOADED, false,
                "no memory for the nameserver's answer (limits.total_memory)");
            return;
        }
        java_json_quote(response->body.data, response->body.n, (char *)quoted->data);
        response->body = (struct span){ (const char *)quoted->data, size };
        owner = quoted;
    }
    const struct remoting_command *request = &invocation->call->call.request.kept.command;
    routes_learn(invoker->routes, invocation->code, ext_fields_text(&request->ext_fields, "topic"),
        response->body);
    invocation_answer(invocation, response, owner);
    frame_buffer_unref(quoted);
}

static struct invocation *invocation_of_call(struct nameserver_call *call)
{
    return (
        (struct invocation_call *)(void *)((char *)call - offsetof(struct invocation_call, call)))
        ->invocation;
}

static void on_nameserver_response(struct nameserver_call *call, struct remoting_command *response,
    const struct command_source *source)
{
    struct invocation *invocation = invocation_of_call(call);
    if (invocation->is_oneway) {
        invocation_end(invocation);
    } else if (response->code == RESPONSE_SUCCESS && response->body.n > 0 &&
               (invocation->code == REQUEST_GET_ROUTEINFO_BY_TOPIC ||
                   invocation->code == REQUEST_GET_BROKER_CLUSTER_INFO)) {
        answer_with_valid_json(invocation, response, source->owner);
    } else {
        invocation_answer(invocation, response, source->owner);
    }
}

static void on_nameserver_failure(struct nameserver_call *call, const struct failure_report *report)
{
    struct invocation *invocation = invocation_of_call(call);
    invocation_fail_report(invocation, report);
}

static const struct nameserver_call_handler nameserver_handler = {
    .on_response = on_nameserver_response,
    .on_failure = on_nameserver_failure,
};

/* --- admission and dispatch --- */

/*
 * How long the command may take where the caller does not say: long polls their poll time and some.
 */
static uint64_t default_timeout_ms(
    const struct invoker *invoker, int32_t code, const struct ext_fields *ext_fields)
{
    const struct config *config = invoker->config;
    int64_t poll_ms = -1;
    if (code == REQUEST_POP_MESSAGE || code == REQUEST_NOTIFICATION) {
        poll_ms = (int64_t)config->consume.poll_time_ms;
        (void)ext_value_parse_i64(ext_fields_text(ext_fields, "pollTime"), 0, INT32_MAX, &poll_ms);
    } else if (code == REQUEST_PULL_MESSAGE || code == REQUEST_LITE_PULL_MESSAGE) {
        int64_t sys_flag = PULL_SYSFLAG_SUSPEND; /* where it is to be completed */
        (void)ext_value_parse_i64(ext_fields_text(ext_fields, "sysFlag"), 0, INT32_MAX, &sys_flag);
        if (sys_flag & PULL_SYSFLAG_SUSPEND) {
            (void)ext_value_parse_i64(
                ext_fields_text(ext_fields, "suspendTimeoutMillis"), 0, INT32_MAX, &poll_ms);
        }
    }
    uint64_t timeout_ms =
        poll_ms < 0 ? config->upstream.request_timeout_ms : (uint64_t)poll_ms + LONG_POLL_GRACE_MS;
    return timeout_ms < config->limits.max_timeout_ms ? timeout_ms : config->limits.max_timeout_ms;
}

/* Who holds as much as it may must still be able to give some of it back. */
static bool is_acknowledgement(int32_t code)
{
    return code == REQUEST_ACK_MESSAGE || code == REQUEST_BATCH_ACK_MESSAGE;
}

/*
 * Of what all callers share. False when the invocation was refused, and has ended. Oneway requests
 * have no caller any more: all of them together are held as by one.
 */
static bool has_share(struct invocation *invocation, const struct session *session)
{
    const struct invoker *invoker = invocation->invoker;
    const struct memory *memory = invoker->memory;
    bool is_oneway = invocation->is_oneway;
    size_t limit = invoker->config->limits.max_in_flight;
    size_t used = invoker->n_in_flight - 1; /* it is among them already */
    size_t own = (is_oneway ? invoker->n_oneway : session->n_in_flight) - 1;
    size_t own_bytes =
        (is_oneway ? invoker->oneway_bytes : session->request_bytes) - invocation->size;
    size_t n_others = invoker->n_busy_sessions + (invoker->n_oneway > 0) - 1;
    if (used >= limit && admin_serves_drain(invocation->code)) {
        /* What shows a full daemon, and drains it, is answered at once and takes nobody's place. */
        return true;
    } else if (used >= limit) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "%zu requests are in flight (limits.max_in_flight)", limit);
    } else if (!memory_has_room(memory, 0)) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "%zu bytes are in use (limits.total_memory)", memory->used);
    } else if (invocation->is_acknowledgement) {
        return true;
    } else if (!fair_share_admits(used, limit, own, n_others)) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "%zu requests are in flight, and the %zu of this connection are its share of "
            "limits.max_in_flight (%zu)",
            used, own, limit);
    } else if (!fair_share_admits(memory->used, memory->limit, own_bytes, n_others)) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "%zu bytes are in use, and the requests of this connection have their share of "
            "limits.total_memory (%zu)",
            memory->used, memory->limit);
    } else {
        return true;
    }
    return false;
}

/* False when the invocation was refused, and has ended. */
static bool invocation_admit(struct invocation *invocation, struct session *session)
{
    struct invoker *invoker = invocation->invoker;
    const struct config *config = invoker->config;
    invocation->is_long_poll = !invocation->is_oneway && router_is_long_poll(invocation->code);
    if (invocation->is_long_poll) {
        session->n_long_polls++;
    }
    invocation->is_acknowledgement = !invocation->is_oneway && is_acknowledgement(invocation->code);
    if (invocation->is_acknowledgement) {
        session->n_acknowledgements++;
    }
    if (invoker->drain->state != DRAIN_RUNNING && !session_is_served_to_its_end(session) &&
        !admin_serves_drain(invocation->code)) {
        invocation_fail(invocation, FAILURE_DRAINING, false, "the daemon is stopping");
    } else if (invocation->is_long_poll &&
               session->n_long_polls > config->limits.max_long_polls_per_session) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "%u long polls are in flight on this connection (limits.max_long_polls_per_session)",
            config->limits.max_long_polls_per_session);
    } else if (!invocation->is_oneway && !invocation->is_long_poll &&
               !invocation->is_acknowledgement &&
               session->n_in_flight - session->n_long_polls - session->n_acknowledgements >
                   config->limits.max_in_flight_per_session) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false,
            "%u requests are in flight on this connection (limits.max_in_flight_per_session)",
            config->limits.max_in_flight_per_session);
    } else {
        return has_share(invocation, session);
    }
    return false;
}

static bool sidecar_fields_read(struct invocation *invocation, struct remoting_command *command)
{
    UNINITIALIZED char problem[FAILURE_CAUSE_SIZE];
    uint64_t max_timeout_ms = invocation->invoker->config->limits.max_timeout_ms;
    if (!sidecar_fields_take(
            &command->ext_fields, max_timeout_ms, &invocation->sidecar, problem, sizeof(problem))) {
        invocation_fail(invocation, FAILURE_INVALID, false, "%s", problem);
        return false;
    }
    struct span trace = invocation->sidecar.traceparent;
    if (!span_is_empty(trace)) {
        (void)snprintf(invocation->trace, sizeof(invocation->trace), "%.*s", SPAN_ARGS(trace));
    }
    if (command->code == SIDECAR_HELLO && invocation->sidecar.has_code) {
        invocation->code = command->code = invocation->sidecar.code;
    }
    return true;
}

/* Completion would have to add a field, and the caller signed those it gave. */
static bool is_signed(const struct remoting_command *command)
{
    return !span_is_empty(ext_fields_text(&command->ext_fields, "Signature"));
}

static bool is_pull(int32_t code)
{
    return code == REQUEST_PULL_MESSAGE || code == REQUEST_LITE_PULL_MESSAGE;
}

/* Commands with steps of their own: the command is kept, then the steps begin. */
static void start_kept(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source, void (*start)(struct invocation *invocation))
{
    if (is_signed(command)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "a signed command (Signature) cannot be completed: write it fully and add "
            "sidecar.addr");
    } else if (invocation_keep(invocation, command, source)) {
        start(invocation);
    }
}

static bool name_is_valid(struct invocation *invocation)
{
    if (invocation->name.n <= WAY_NAME_MAX) {
        return true;
    }
    invocation_fail(invocation, FAILURE_INVALID, false,
        "the topic, broker name or address has %zu characters, at most %d are accepted",
        invocation->name.n, WAY_NAME_MAX);
    return false;
}

/*
 * A command that passes through, by address or by broker. Long polls are parked for long: they are
 * kept here, since what was written for them is not (upstream.c), and they are to be repeated as
 * well. So is what asks for JSON: its broker's name stands in it.
 */
static void dispatch_forward(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source,
    void (*forward)(struct invocation *invocation, const struct remoting_command *command,
        const struct command_source *source))
{
    if (!invocation->is_long_poll && !invocation->sidecar.wants_json) {
        forward(invocation, command, source);
    } else if (invocation_keep(invocation, command, source)) {
        const struct command_source kept = invocation_kept_source(invocation);
        forward(invocation, &invocation->request.kept.command, &kept);
    }
}

static void dispatch_to_nameserver(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source)
{
    struct invocation_call *call = calloc(1, sizeof(*call));
    if (!call) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    call->invocation = invocation;
    invocation->call = call;
    nameserver_call_start(&call->call, invocation->invoker->nameservers, &nameserver_handler,
        command, source, router_is_read(command->code), invocation->deadline_ms);
}

static bool is_send(int32_t code)
{
    return code == REQUEST_SEND_MESSAGE || code == REQUEST_SEND_MESSAGE_V2 ||
           code == REQUEST_SEND_BATCH_MESSAGE || code == REQUEST_SEND_REPLY_MESSAGE ||
           code == REQUEST_SEND_REPLY_MESSAGE_V2;
}

static void (*start_by_receipt(int32_t code))(struct invocation *invocation)
{
    switch (code) {
    case REQUEST_END_TRANSACTION:
        return complete_transaction_start;
    case REQUEST_SEND_REPLY_MESSAGE:
    case REQUEST_SEND_REPLY_MESSAGE_V2:
        return complete_send_start;
    case REQUEST_CONSUMER_SEND_MSG_BACK:
        return complete_send_back_start;
    default:
        return complete_receipt_start;
    }
}

static void dispatch(struct invocation *invocation, const struct route_answer *answer,
    const struct remoting_command *command, const struct command_source *source)
{
    invocation->name = answer->name;
    if (!name_is_valid(invocation)) {
        return;
    }
    switch (answer->target) {
    case ROUTE_TO_DAEMON:
        admin_answer(invocation, command, source);
        return;
    case ROUTE_TO_ADDRESS:
        if (invocation->invoker->config->send.stamp_sender && is_send(command->code) &&
            send_is_forged(command)) {
            invocation_fail(invocation, FAILURE_INVALID, false, SENDER_STAMP_REFUSAL);
            return;
        }
        dispatch_forward(invocation, command, source, forward_to_address);
        return;
    case ROUTE_TO_NAMESERVER:
        dispatch_to_nameserver(invocation, command, source);
        return;
    case ROUTE_TO_BROKER:
        if (is_send(command->code)) {
            start_kept(invocation, command, source, complete_send_start);
        } else if (command->code == REQUEST_POP_MESSAGE) {
            start_kept(invocation, command, source, complete_receive_start);
        } else if (is_pull(command->code) && !is_signed(command)) {
            start_kept(invocation, command, source, complete_pull_at_broker_start);
        } else {
            dispatch_forward(invocation, command, source, forward_to_broker);
        }
        return;
    case ROUTE_TO_QUEUE:
        start_kept(invocation, command, source, complete_send_start);
        return;
    case ROUTE_TO_RECEIVE:
        start_kept(invocation, command, source, complete_receive_start);
        return;
    case ROUTE_TO_RECEIPT:
        start_kept(invocation, command, source, start_by_receipt(command->code));
        return;
    case ROUTE_TO_MESSAGE:
        start_kept(invocation, command, source, complete_message_start);
        return;
    case ROUTE_TO_HANDLE:
        start_kept(invocation, command, source, complete_recall_start);
        return;
    case ROUTE_TO_ALL_MASTERS:
        start_kept(invocation, command, source, complete_query_start);
        return;
    case ROUTE_TO_ALL_QUEUES:
        start_kept(invocation, command, source, complete_offsets_start);
        return;
    case ROUTE_TO_RECEIPTS:
        start_kept(invocation, command, source, complete_batch_ack_start);
        return;
    case ROUTE_TO_ONE_MASTER:
        if (is_pull(command->code) && !is_signed(command)) {
            start_kept(invocation, command, source, complete_pull_at_master_start);
        } else if (invocation_keep(invocation, command, source)) {
            forward_to_one_master(invocation);
        }
        return;
    case ROUTE_TO_ANY_MASTER:
        if (invocation_keep(invocation, command, source)) {
            forward_to_any_master(invocation);
        }
        return;
    case ROUTE_TO_CONTROL:
        start_kept(invocation, command, source, complete_heartbeat_start);
        return;
    case ROUTE_IS_FORBIDDEN:
        invocation_fail_for_admin(invocation);
        return;
    case ROUTE_IS_INVALID:
        invocation_fail(invocation, FAILURE_INVALID, false, "%s", answer->reason);
        return;
    }
}

/* Commands whose completion asks what the receipt allows; any other one is asked about here. */
static bool is_permitted_by_receipt(int32_t code)
{
    return code == REQUEST_ACK_MESSAGE || code == REQUEST_CHANGE_MESSAGE_INVISIBLETIME ||
           code == REQUEST_CONSUMER_SEND_MSG_BACK || code == REQUEST_END_TRANSACTION ||
           code == REQUEST_SEND_REPLY_MESSAGE || code == REQUEST_SEND_REPLY_MESSAGE_V2;
}

/*
 * Whether a role that may not everything may give this command. What names its topics and groups in
 * a receipt or a heartbeat is asked about where that is read.
 */
static bool is_permitted(struct invocation *invocation, const struct route_answer *answer,
    const struct remoting_command *command)
{
    switch (answer->target) {
    case ROUTE_TO_DAEMON:
    case ROUTE_TO_RECEIPTS:
    case ROUTE_TO_HANDLE:
    case ROUTE_TO_CONTROL:
    case ROUTE_IS_FORBIDDEN:
    case ROUTE_IS_INVALID:
        return true;
    case ROUTE_TO_RECEIPT:
        if (is_permitted_by_receipt(command->code)) {
            return true;
        }
        break;
    case ROUTE_TO_ADDRESS:
    case ROUTE_TO_NAMESERVER:
    case ROUTE_TO_BROKER:
    case ROUTE_TO_QUEUE:
    case ROUTE_TO_RECEIVE:
    case ROUTE_TO_MESSAGE:
    case ROUTE_TO_ALL_MASTERS:
    case ROUTE_TO_ALL_QUEUES:
    case ROUTE_TO_ONE_MASTER:
    case ROUTE_TO_ANY_MASTER:
        break;
    }
    struct failure_report report;
    if (permission_to_command(
            invocation->role, command->code, &command->ext_fields, command->body, &report)) {
        return true;
    }
    invocation_fail_report(invocation, &report);
    return false;
}

void invoke_request(struct invoker *invoker, struct session *session,
    struct remoting_command *command, enum serialize_type serialize_type,
    const struct command_source *source)
{
    bool is_oneway = remoting_command_is_oneway(command);
    if (is_oneway) {
        invoker->stats->requests_oneway++;
    } else if (invoke_opaque_is_in_flight(invoker, session, command->opaque)) {
        log_warning("session=%" PRIu64 " opaque=%d is in flight already", session->id,
            (int)command->opaque);
        session_end(session, SESSION_END_OPAQUE);
        return;
    }
    struct invocation *invocation =
        invocation_new(invoker, session, command, serialize_type, source->size);
    if (!invocation) {
        session_end(session, SESSION_END_MEMORY);
        return;
    }
    if (invoker->taps.n > 0) {
        tap_begin(invocation, session, command);
    }
    if (!sidecar_fields_read(invocation, command) || !invocation_admit(invocation, session)) {
        return;
    }
    if (is_oneway && command->code == REQUEST_POP_MESSAGE) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "a oneway POP_MESSAGE would hide messages that nobody gets: send it as a request");
        return;
    }
    uint64_t timeout_ms = invocation->sidecar.timeout_ms
                              ? invocation->sidecar.timeout_ms
                              : default_timeout_ms(invoker, command->code, &command->ext_fields);
    invocation->deadline_ms = clock_after(invocation->started_ms, timeout_ms);
    const struct route_question question = {
        .code = command->code,
        .ext_fields = &command->ext_fields,
        .addr = invocation->sidecar.addr,
        .broker = invocation->sidecar.broker,
        .topic = invocation->sidecar.topic,
        .receipt = invocation->sidecar.receipt,
        .msg_id = invocation->sidecar.msg_id,
        .is_admin = session->role->is_admin,
    };
    UNINITIALIZED struct route_answer answer;
    router_decide(&question, &answer);
    if (!session->role->may_everything && !is_permitted(invocation, &answer, command)) {
        return;
    }
    dispatch(invocation, &answer, command, source);
}
