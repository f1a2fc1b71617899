/* Answers the sidecar codes (30000 to 30999). */
#include "daemon/wiring/invoke.h"

#include "protocol/code.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Raised with every visible addition to the local protocol. */
#define PROTOCOL_VERSION "1.0"

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
static void answer_hello(struct invocation *invocation)
{
    const struct session *session = invocation->session;
    json_t *hello = json_object();
    json_object_set_new(hello, "protocolVersion", json_string(PROTOCOL_VERSION));
    json_object_set_new(hello, "daemonVersion", json_string(REMOTINGD_VERSION));
    json_object_set_new(hello, "features",
        json_pack("[s, s, s, s]", "send", "receive", "receipts", "answerFormat=json"));
    json_object_set_new(hello, "limits", limits_json(invocation->invoker->config));
    json_object_set_new(hello, "roles",
        session->is_admin ? json_pack("[s, s]", "user", "admin") : json_pack("[s]", "user"));
    char *body = json_dumps(hello, JSON_COMPACT);
    json_decref(hello);
    if (!body) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    struct ext_field fields[2];
    struct remoting_command answer = {
        .code = RESPONSE_SUCCESS,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
        .body = span_of(body),
    };
    ext_fields_init(&answer.ext_fields, fields, 2);
    (void)ext_fields_add(&answer.ext_fields, SPAN("protocolVersion"), SPAN(PROTOCOL_VERSION));
    (void)ext_fields_add(&answer.ext_fields, SPAN("daemonVersion"), SPAN(REMOTINGD_VERSION));
    invocation_answer(invocation, &answer, NULL);
    free(body);
}

void admin_answer(struct invocation *invocation)
{
    if (invocation->code == SIDECAR_HELLO && !invocation->is_oneway) {
        answer_hello(invocation);
        return;
    }
    const char *name = request_code_name(invocation->code);
    invocation_fail(invocation, FAILURE_UNSUPPORTED, false,
        "this version of remotingd does not serve code %d (%s)", (int)invocation->code,
        name ? name : "unused");
}
