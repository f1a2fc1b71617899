/*
 * A request message (sidecar.request=true): brokers push the reply to a clientId that they know by
 * its control connection, so that they must have heard of the daemon before the message goes. Then
 * the call waits until the reply comes, which may be before the answer to the send, or until its one
 * deadline. Properties as in DefaultMQProducerImpl.prepareSendRequest.
 */
#include "daemon/completion/send.h"

#include "daemon/core/message_json.h"
#include "daemon/completion/processor.h"
#include "protocol/address.h"
#include "protocol/code.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct send_request {
    struct invocation *invocation;
    struct control_waiter heard;
    struct reply_waiter reply;
    struct deadline deadline; /* while no request of its own is under way, which has one */
    char ttl_text[24];
};

static struct replies *replies_of(const struct invocation *invocation)
{
    return processors_replies(invocation->invoker->processors);
}

static struct send_request *request_of(const struct invocation *invocation)
{
    return ((const struct send_state *)invocation->state)->request;
}

/* --- the reply --- */

static int64_t number_of(const struct ext_fields *fields, const char *key)
{
    int64_t number = 0;
    (void)ext_value_parse_i64(ext_fields_get(fields, span_of(key)), 0, INT64_MAX, &number);
    return number;
}

static int32_t flags_of(const struct ext_fields *fields, const char *key)
{
    int64_t number = 0;
    (void)ext_value_parse_i64(ext_fields_get(fields, span_of(key)), INT32_MIN, INT32_MAX, &number);
    return (int32_t)number;
}

static void host_read(const struct ext_fields *fields, const char *key, struct message_host *host)
{
    struct span name;
    uint16_t port;
    char text[INET6_ADDRSTRLEN];
    if (!address_parse(ext_fields_get(fields, span_of(key)), &name, &port) ||
        name.n >= sizeof(text)) {
        return;
    }
    memcpy(text, name.data, name.n);
    text[name.n] = '\0';
    host->is_v6 = inet_pton(AF_INET6, text, host->ip) == 1;
    if (host->is_v6 || inet_pton(AF_INET, text, host->ip) == 1) {
        host->port = port;
    }
}

/* A push has as ext fields what a stored message has in its bytes (ReplyMessageRequestHeader). */
static void message_from_push(const struct remoting_command *push, struct message *message)
{
    const struct ext_fields *fields = &push->ext_fields;
    *message = (struct message){
        .flag = flags_of(fields, "flag"),
        .sys_flag = flags_of(fields, "sysFlag"),
        .reconsume_times = flags_of(fields, "reconsumeTimes"),
        .born_timestamp_ms = number_of(fields, "bornTimestamp"),
        .store_timestamp_ms = number_of(fields, "storeTimestamp"),
        .topic = ext_fields_text(fields, "topic"),
        .properties = ext_fields_text(fields, "properties"),
        .body = push->body,
    };
    host_read(fields, "bornHost", &message->born_host);
    host_read(fields, "storeHost", &message->store_host);
}

static void answer_json(struct invocation *invocation, const struct remoting_command *push,
    struct remoting_command *answer)
{
    const struct message_json_source source = {
        .max_decompressed = invocation->invoker->config->limits.max_decompressed,
    };
    struct message message;
    message_from_push(push, &message);
    size_t size;
    char *json = message_json_from_reply(&message, &source, &size);
    if (!json) {
        invocation_fail(
            invocation, FAILURE_OVERLOADED, true, "the reply came; no memory to decode it");
        return;
    }
    answer->body = (struct span){ json, size };
    invocation_answer(invocation, answer, NULL);
    free(json);
}

static void on_reply(struct reply_waiter *waiter, const struct remoting_command *push)
{
    struct send_request *request =
        (struct send_request *)(void *)((char *)waiter - offsetof(struct send_request, reply));
    struct invocation *invocation = request->invocation;
    struct ext_field fields[EXT_FIELDS_MAX];
    struct remoting_command answer = {
        .code = RESPONSE_SUCCESS,
        .version = push->version,
        .language = push->language,
        .has_ext_fields = true,
        .body = push->body,
    };
    ext_fields_init(&answer.ext_fields, fields, EXT_FIELDS_MAX);
    for (size_t i = 0; i < push->ext_fields.n; i++) {
        (void)ext_fields_add(
            &answer.ext_fields, push->ext_fields.fields[i].key, push->ext_fields.fields[i].value);
    }
    (void)ext_fields_remove_prefixed(&answer.ext_fields, SPAN("sidecar."));
    send_answer_fields(invocation, &answer.ext_fields);
    if (invocation->sidecar.wants_json) {
        answer_json(invocation, push, &answer);
    } else {
        invocation_answer(invocation, &answer, NULL);
    }
}

/* --- the wait --- */

static void on_deadline(struct deadline *deadline, uint64_t now_ms)
{
    const struct send_request *request =
        (struct send_request *)(void *)((char *)deadline - offsetof(struct send_request, deadline));
    struct invocation *invocation = request->invocation;
    uint64_t waited_ms = now_ms - invocation->started_ms;
    if (request->heard.identity) {
        invocation_fail(invocation, FAILURE_TIMEOUT, false,
            "no broker has heard within %" PRIu64 " ms where the reply is to go", waited_ms);
    } else {
        invocation_fail(invocation, FAILURE_NO_REPLY, true,
            "%s stored the request message, and no reply came within %" PRIu64 " ms",
            invocation->address, waited_ms);
    }
}

static void on_heard(struct control_waiter *waiter)
{
    struct invocation *invocation = waiter->context;
    struct send_request *request = request_of(invocation);
    loop_deadline_clear(invocation->invoker->loop, &request->deadline);
    if (waiter->n_taken > 0) {
        send_attempt(invocation);
    } else {
        waiter->report.maybe_sent = false; /* a heartbeat was, at most */
        invocation_fail_report(invocation, &waiter->report);
    }
}

bool send_request_complete(struct invocation *invocation, struct send_state *state)
{
    struct invoker *invoker = invocation->invoker;
    if (invocation->is_oneway || invocation->sidecar.is_half ||
        (invocation->code != REQUEST_SEND_MESSAGE && invocation->code != REQUEST_SEND_MESSAGE_V2)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.request: a request message is a message of its own, sent with code %d or %d, "
            "neither oneway nor half",
            REQUEST_SEND_MESSAGE, REQUEST_SEND_MESSAGE_V2);
        return false;
    }
    struct send_request *request = calloc(1, sizeof(*request));
    if (!request) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return false;
    }
    state->request = request;
    request->invocation = invocation;
    request->heard.on_done = on_heard;
    request->heard.context = invocation;
    request->reply.on_reply = on_reply;
    deadline_init(&request->deadline, on_deadline);
    for (size_t i = 0; i < REPLY_CORRELATION_ID_SIZE - 1; i += 8) {
        (void)snprintf(
            request->reply.correlation_id + i, 9, "%08" PRIx32, loop_random(invoker->loop));
    }
    (void)snprintf(request->ttl_text, sizeof(request->ttl_text), "%" PRIu64,
        clock_until(invoker->loop->now_ms, invocation->deadline_ms));
    return true;
}

bool send_request_properties(
    struct invocation *invocation, struct send_request *request, char *properties, size_t *at)
{
    const struct ext_field added[] = {
        { SPAN(PROPERTY_CORRELATION_ID), span_of(request->reply.correlation_id) },
        { SPAN(PROPERTY_REPLY_TO_CLIENT),
            span_of(identity_client_id(invocation->invoker->identity)) },
        { SPAN(PROPERTY_TTL), span_of(request->ttl_text) },
    };
    for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
        if (!span_is_absent(message_property((struct span){ properties, *at }, added[i].key))) {
            invocation_fail(invocation, FAILURE_INVALID, false,
                "property %.*s is given, but with sidecar.request=true the daemon writes it: leave "
                "it out",
                SPAN_ARGS(added[i].key));
            return false;
        }
        *at += send_property_write(properties + *at, added[i].key, added[i].value);
    }
    return true;
}

void send_request_start(struct invocation *invocation)
{
    struct invoker *invoker = invocation->invoker;
    struct send_request *request = request_of(invocation);
    struct failure_report report;
    if (identity_await_replies(invoker->identity, &report) < 0) {
        invocation_fail_report(invocation, &report);
    } else if (!reply_wait(replies_of(invocation), &request->reply)) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
    } else {
        loop_deadline_set(invoker->loop, &request->deadline, invocation->deadline_ms);
        control_wait(identity_own(invoker->identity), SPAN_ABSENT, &request->heard);
    }
}

void send_request_wait(struct invocation *invocation)
{
    loop_deadline_set(
        invocation->invoker->loop, &request_of(invocation)->deadline, invocation->deadline_ms);
}

void send_request_end(struct send_state *state)
{
    struct send_request *request = state->request;
    if (request) {
        struct invocation *invocation = request->invocation;
        control_waiter_cancel(&request->heard);
        reply_waiter_cancel(replies_of(invocation), &request->reply);
        loop_deadline_clear(invocation->invoker->loop, &request->deadline);
        free(request);
        state->request = NULL;
    }
}
