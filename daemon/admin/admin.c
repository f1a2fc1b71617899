#include "daemon/admin/admin.h"

#include "daemon/loop/log.h"
#include "protocol/code.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Raised with every visible addition to the local protocol. */
#define PROTOCOL_VERSION "1.0"

/* --- bodies --- */

json_t *admin_json_text(const char *text)
{
    if (!text) {
        return json_null();
    }
    json_t *value = json_string(text);
    if (!value) {
        char quoted[LOG_QUOTE_SIZE];
        value = json_string(log_quote(text, strlen(text), quoted));
    }
    return value;
}

json_t *admin_json_name(const char *name)
{
    return *name ? json_string(name) : json_null();
}

json_t *admin_json_count(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* What is given is the answer's code and remark, and fields beside the body. */
static void answer_with(struct invocation *invocation, struct remoting_command answer, json_t *body,
    const struct ext_field *given, size_t n_given)
{
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(body);
    if (!text) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    struct ext_field fields[2];
    answer.version = REMOTING_VERSION;
    answer.language = LANGUAGE_CPP;
    answer.has_ext_fields = n_given > 0;
    answer.body = span_of(text);
    ext_fields_init(&answer.ext_fields, fields, sizeof(fields) / sizeof(fields[0]));
    for (size_t i = 0; i < n_given; i++) {
        (void)ext_fields_add(&answer.ext_fields, given[i].key, given[i].value);
    }
    invocation_answer(invocation, &answer, NULL);
    free(text);
}

void admin_answer_json(struct invocation *invocation, json_t *body)
{
    const struct remoting_command answer = { .code = RESPONSE_SUCCESS };
    answer_with(invocation, answer, body, NULL, 0);
}

void admin_refuse_json(struct invocation *invocation, const char *cause, json_t *body)
{
    const struct ext_field fields[] = {
        { SPAN("sidecar.error"), span_of(failure_name(FAILURE_INVALID)) },
        { SPAN("sidecar.sent"), SPAN("no") },
    };
    const struct remoting_command answer = {
        .code = failure_code(FAILURE_INVALID),
        .remark = span_of(cause),
    };
    invocation->invoker->stats->failures++;
    invocation->invoker->stats->failures_by[FAILURE_INVALID]++;
    answer_with(invocation, answer, body, fields, sizeof(fields) / sizeof(fields[0]));
}

/* False: problem names what is wrong with the item. */
static bool address_add(
    struct admin_addresses *addresses, const json_t *item, char *problem, size_t n)
{
    struct span text = { json_string_value(item), json_string_length(item) };
    struct span host;
    uint16_t port;
    if (!text.data || !address_parse(text, &host, &port)) {
        (void)snprintf(problem, n, "item %zu of the body is no address: host:port is accepted",
            addresses->n + 1);
        return false;
    }
    for (size_t i = 0; i < addresses->n; i++) {
        if (span_equals(text, addresses->items[i])) {
            (void)snprintf(problem, n, "%.*s is named twice: different addresses are accepted",
                SPAN_ARGS(text));
            return false;
        }
    }
    addresses->items[addresses->n++] = text;
    return true;
}

bool admin_addresses_read(
    struct invocation *invocation, struct span body, struct admin_addresses *ret_addresses)
{
    struct admin_addresses addresses = { .n = 0 };
    char problem[ADDRESS_TEXT_MAX + 64] = "";
    addresses.array = json_loadb(body.data ? body.data : "", body.n, 0, NULL);
    size_t n = json_array_size(addresses.array);
    if (!json_is_array(addresses.array) || n == 0 || n > CONFIG_ADDRESSES_MAX) {
        (void)snprintf(problem, sizeof(problem),
            "the body has to be a JSON array of 1 to %d addresses", CONFIG_ADDRESSES_MAX);
    }
    for (size_t i = 0; i < n && !problem[0]; i++) {
        (void)address_add(&addresses, json_array_get(addresses.array, i), problem, sizeof(problem));
    }
    if (problem[0]) {
        json_decref(addresses.array);
        invocation_fail(invocation, FAILURE_INVALID, false,
            "%s, as in [\"10.0.0.7:9876\",\"10.0.0.8:9876\"]", problem);
        return false;
    }
    *ret_addresses = addresses;
    return true;
}

void admin_addresses_deinit(struct admin_addresses *addresses)
{
    json_decref(addresses->array);
}

/* --- commands --- */

static json_t *limits_json(const struct config *config)
{
    json_t *limits = json_object();
    json_object_set_new(limits, "maxFrame", json_integer((json_int_t)config->limits.max_frame));
    json_object_set_new(limits, "maxInFlightPerSession",
        json_integer((json_int_t)config->limits.max_in_flight_per_session));
    json_object_set_new(limits, "maxLongPollsPerSession",
        json_integer((json_int_t)config->limits.max_long_polls_per_session));
    json_object_set_new(
        limits, "maxTimeoutMillis", json_integer((json_int_t)config->limits.max_timeout_ms));
    json_object_set_new(limits, "maxExtFields", json_integer(EXT_FIELDS_MAX));
    return limits;
}

/* HELLO: what a caller may want to know before it begins. */
static void hello(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    const struct session *session = invocation->session;
    json_t *body = json_object();
    json_object_set_new(body, "protocolVersion", json_string(PROTOCOL_VERSION));
    json_object_set_new(body, "daemonVersion", json_string(REMOTINGD_VERSION));
    json_object_set_new(body, "features",
        json_pack("[s, s, s, s, s, s, s, s, s, s, s, s, s]", "send", "receive", "receipts",
            "answerFormat=json", "nameservers", "pool", "netEvents", "stats", "drain", "heartbeat",
            "processors", "reload", "tap"));
    json_object_set_new(body, "limits", limits_json(invocation->invoker->config));
    json_object_set_new(body, "roles",
        session->role->is_admin ? json_pack("[s, s]", "user", "admin") : json_pack("[s]", "user"));
    json_object_set_new(body, "role", admin_json_name(session->role->name));
    json_object_set_new(body, "listener", admin_json_name(session->entrance->config->name));
    const struct ext_field fields[] = {
        { SPAN("protocolVersion"), SPAN(PROTOCOL_VERSION) },
        { SPAN("daemonVersion"), SPAN(REMOTINGD_VERSION) },
    };
    const struct remoting_command answer = { .code = RESPONSE_SUCCESS };
    answer_with(invocation, answer, body, fields, sizeof(fields) / sizeof(fields[0]));
}

static void subscribe_net_events(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source)
{
    (void)source;
    struct session *session = invocation->session;
    bool wants_all = span_equals(ext_fields_text(&command->ext_fields, "all"), SPAN("true"));
    bool takes_events = session->state == SESSION_OPEN;
    if (takes_events &&
        net_event_subscribe(invocation->invoker->upstreams->events, &session->net_events,
            &session->transport, invocation->serialize_type) < 0) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    session->is_bound = true;
    if (takes_events) {
        session->net_events->wants_all = wants_all;
        session->net_events->is_admin = session->role->is_admin;
    }
    json_t *names = json_array();
    for (unsigned kind = 0; kind <= (wants_all ? EVENT_KINDS - 1 : EVENT_IDLE); kind++) {
        if (session->role->is_admin || event_kind_is_public((enum event_kind)kind)) {
            json_array_append_new(names, json_string(event_kind_name((enum event_kind)kind)));
        }
    }
    admin_answer_json(invocation, json_pack("{s:o}", "events", names));
}

json_t *admin_drain_json(const struct invoker *invoker)
{
    const struct drain *drain = invoker->drain;
    uint64_t now_ms = invoker->loop->now_ms;
    json_t *seen = json_pack("{s:s}", "state", drain_state_name(drain->state));
    if (drain->state != DRAIN_RUNNING) {
        json_object_set_new(seen, "inFlightAtStart", admin_json_count(drain->n_at_start));
        json_object_set_new(
            seen, "millisLeft", admin_json_count(clock_until(now_ms, drain->deadline_ms)));
    }
    return seen;
}

static void get_stats(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    const struct invoker *invoker = invocation->invoker;
    const struct stats *stats = invoker->stats;
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        { "sessionsAccepted", stats->sessions_accepted },
        { "sessionsRefused", stats->sessions_refused },
        { "sessionsForbidden", stats->sessions_forbidden },
        { "sessionsHandedOver", stats->sessions_handed_over },
        { "requests", stats->requests },
        { "requestsOneway", stats->requests_oneway },
        { "requestsInvalid", stats->requests_invalid },
        { "requestsOverloaded", stats->requests_overloaded },
        { "requestsForbidden", stats->requests_forbidden },
        { "answers", stats->answers },
        { "failures", stats->failures },
        { "onewayWritten", stats->oneway_written },
        { "onewayFailed", stats->oneway_failed },
        { "callerResponsesDropped", stats->caller_responses_dropped },
        { "answersWithoutCaller", stats->answers_without_caller },
        { "lateResponses", stats->late_responses },
        { "unknownResponses", stats->unknown_responses },
        { "brokerRequestsRefused", stats->broker_requests_refused },
        { "brokerRequestsDropped", stats->broker_requests_dropped },
        { "brokerRequestsDelivered", stats->broker_requests_delivered },
        { "brokerRequestsAnswered", stats->broker_requests_answered },
        { "brokerRequestsFailed", stats->broker_requests_failed },
        { "upstreamConnects", stats->upstream_connects },
        { "upstreamConnectFailures", stats->upstream_connect_failures },
        { "upstreamLosses", stats->upstream_losses },
        { "brokerAnswersDropped", stats->broker_answers_dropped },
        { "logLinesDropped", log_dropped() },
        { "replies", stats->replies },
        { "repliesLate", stats->replies_late },
        { "popOrphaned", stats->pop_orphaned },
        { "popFiltered", stats->pop_filtered },
        { "popDeadLettered", stats->pop_dead_lettered },
        { "retries", stats->retries },
        { "reloads", stats->reloads },
        { "reloadsFailed", stats->reloads_failed },
        /* What is now; this request does not count itself. */
        { "inFlight", invoker->n_in_flight - 1 },
        { "sessions", invocation->session->sessions->n },
        { "memoryUsed", invoker->memory->used },
        { "memoryLimit", invoker->memory->limit },
    };
    json_t *body = json_object();
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        json_object_set_new(body, counters[i].name, admin_json_count(counters[i].value));
    }
    json_object_set_new(body, "lastReloadFailed", json_boolean(stats->last_reload_failed));
    json_object_set_new(body, "drain", admin_drain_json(invoker));
    admin_answer_json(invocation, body);
}

/* Answered before the drain begins, so that it is no request that the drain waits for. */
static void drain(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    struct invoker *invoker = invocation->invoker;
    char text[SESSION_TEXT_SIZE];
    log_info("%s DRAIN", session_text(invocation->session, text));
    json_t *body = json_object();
    json_object_set_new(body, "inFlight", admin_json_count(invoker->n_in_flight - 1));
    json_object_set_new(body, "timeoutMillis", admin_json_count(invoker->config->drain.timeout_ms));
    admin_answer_json(invocation, body);
    invoker->on_drain(invoker->daemon);
}

/* --- the table --- */

struct admin_command {
    int32_t code;
    bool needs_admin;
    bool serves_drain;
    bool only_looks; /* needs_admin, and changes nothing */
    void (*answer)(struct invocation *invocation, const struct remoting_command *command,
        const struct command_source *source);
};

static const struct admin_command commands[] = {
    { SIDECAR_HELLO, false, false, false, hello },
    { SIDECAR_GET_NAMESRV_LIST, false, true, false, admin_get_namesrv_list },
    { SIDECAR_UPDATE_NAMESRV_LIST, true, false, false, admin_update_namesrv_list },
    { SIDECAR_GET_AVAILABLE_NAMESRV_LIST, false, true, false, admin_get_available_namesrv_list },
    { SIDECAR_IS_ADDRESS_REACHABLE, false, false, false, admin_is_address_reachable },
    { SIDECAR_CLOSE_CLIENTS, true, false, false, admin_close_clients },
    { SIDECAR_GET_POOL_STATS, false, true, false, admin_get_pool_stats },
    { SIDECAR_REGISTER_PROCESSOR, false, false, false, admin_register_processor },
    { SIDECAR_UNREGISTER_PROCESSOR, false, false, false, admin_unregister_processor },
    { SIDECAR_SUBSCRIBE_NET_EVENTS, false, false, false, subscribe_net_events },
    { SIDECAR_GET_RPC_HOOKS, false, true, false, admin_get_rpc_hooks },
    { SIDECAR_CLEAR_RPC_HOOKS, true, false, false, admin_clear_rpc_hooks },
    { SIDECAR_GET_STATS, false, true, false, get_stats },
    { SIDECAR_GET_SESSIONS, false, true, false, admin_get_sessions },
    { SIDECAR_RELOAD, true, false, false, admin_reload },
    { SIDECAR_DRAIN, true, true, false, drain },
    { SIDECAR_GET_ROUTES, false, true, false, admin_get_routes },
    { SIDECAR_GET_GROUPS, false, true, false, admin_get_groups },
    { SIDECAR_GET_CONFIG, true, true, true, admin_get_config },
    { SIDECAR_GET_MEMORY, false, true, false, admin_get_memory },
    { SIDECAR_KILL_SESSION, true, true, false, admin_kill_session },
    { SIDECAR_SET_LOG_LEVEL, true, true, false, admin_set_log_level },
    { SIDECAR_RECONNECT, true, false, false, admin_reconnect },
    { SIDECAR_TAP, false, false, false, admin_tap },
    { SIDECAR_GET_EVENTS, false, true, false, admin_get_events },
    { SIDECAR_GET_STATUS, false, true, false, admin_get_status },
    { SIDECAR_GET_BROKERS, false, true, false, admin_get_brokers },
};

static const struct admin_command *command_find(int32_t code)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].code == code) {
            return &commands[i];
        }
    }
    return NULL;
}

bool admin_serves_drain(int32_t code)
{
    const struct admin_command *found = command_find(code);
    return found && found->serves_drain;
}

void admin_answer(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    const struct admin_command *found = command_find(invocation->code);
    const char *name = request_code_name(invocation->code);
    if (!found) {
        invocation_fail(invocation, FAILURE_UNSUPPORTED, false,
            "this version of remotingd does not serve code %d (%s)", (int)invocation->code,
            name ? name : "unused");
    } else if (invocation->is_oneway) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "%s was sent oneway: the daemon's own commands are answered", name);
    } else if (found->needs_admin && !invocation->role->is_admin) {
        invocation_fail_for_admin(invocation);
    } else {
        if (found->needs_admin && !found->only_looks) {
            char text[SESSION_TEXT_SIZE];
            net_event_note(invocation->invoker->upstreams->events, EVENT_COMMAND, false, name, "%s",
                session_text(invocation->session, text));
        }
        found->answer(invocation, command, source);
    }
}
