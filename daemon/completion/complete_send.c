/*
 * SEND_MESSAGE, its V2 form and batches, from a topic and a body: fills what the caller left out,
 * chooses the queue, and goes to another broker where the message was surely not stored (or, with
 * sidecar.retry=at-least-once, also where that is unknown), all inside one deadline. Field names
 * and defaults are those of Java's DefaultMQProducerImpl.sendKernelImpl.
 */
#include "daemon/completion/send.h"

#include "daemon/core/permission.h"
#include "daemon/core/transaction_receipt.h"
#include "daemon/completion/processor.h"
#include "daemon/loop/wall_clock.h"
#include "protocol/code.h"
#include "protocol/message.h"
#include "protocol/rocketmq_name.h"
#include "protocol/utf8.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROPERTY_PREFIX SPAN("property.")
/*
 * Room for what is added to the properties, generously: UNIQ_KEY, WAIT, PGROUP, the name traceparent
 * and tracestate with their separators, who sent it, and what a request is to be answered by.
 */
#define PROPERTIES_ADDED_SIZE (448 + ROCKETMQ_NAME_MAX + RECEIPT_TEXT_MAX + SENDER_STAMP_SIZE)

static const struct send_names names_v1 = {
    .producer_group = { "producerGroup", 13 },
    .topic = { "topic", 5 },
    .default_topic = { "defaultTopic", 12 },
    .default_topic_queue_nums = { "defaultTopicQueueNums", 21 },
    .queue_id = { "queueId", 7 },
    .sys_flag = { "sysFlag", 7 },
    .born_timestamp = { "bornTimestamp", 13 },
    .flag = { "flag", 4 },
    .properties = { "properties", 10 },
    .reconsume_times = { "reconsumeTimes", 14 },
    .unit_mode = { "unitMode", 8 },
    .batch = { "batch", 5 },
    .broker_name = { "bname", 5 },
};

static const struct send_names names_v2 = {
    .producer_group = { "a", 1 },
    .topic = { "b", 1 },
    .default_topic = { "c", 1 },
    .default_topic_queue_nums = { "d", 1 },
    .queue_id = { "e", 1 },
    .sys_flag = { "f", 1 },
    .born_timestamp = { "g", 1 },
    .flag = { "h", 1 },
    .properties = { "i", 1 },
    .reconsume_times = { "j", 1 },
    .unit_mode = { "k", 1 },
    .batch = { "m", 1 },
    .broker_name = { "n", 1 },
};

static bool is_reply(int32_t code)
{
    return code == REQUEST_SEND_REPLY_MESSAGE || code == REQUEST_SEND_REPLY_MESSAGE_V2;
}

static void send_on_end(struct invocation *invocation)
{
    struct send_state *state = invocation->state;
    if (state) {
        send_attempts_end(state);
        send_request_end(state);
        free(state->properties);
        free(state->batch_texts);
        free(state);
        invocation->state = NULL;
        invocation->uniq_key = SPAN_ABSENT;
    }
}

/* --- what the caller left out --- */

/* One property.NAME field: checked against those already there, and appended at *at. */
static bool property_merge(
    struct invocation *invocation, char *properties, size_t *at, struct ext_field field)
{
    struct span name = { field.key.data + PROPERTY_PREFIX.n, field.key.n - PROPERTY_PREFIX.n };
    char problem[FAILURE_CAUSE_SIZE];
    if (!send_property_is_valid(name, field.value, problem, sizeof(problem))) {
        invocation_fail(invocation, FAILURE_INVALID, false, "%s", problem);
        return false;
    }
    if (!span_is_absent(message_property((struct span){ properties, *at }, name))) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "property %.*s is given twice: as property.%.*s and in the properties field",
            SPAN_ARGS(name), SPAN_ARGS(name));
        return false;
    }
    *at += send_property_write(properties + *at, name, field.value);
    return true;
}

static size_t properties_room(
    const struct ext_fields *fields, struct span given, struct span traceparent)
{
    size_t n = given.n + traceparent.n + PROPERTIES_ADDED_SIZE;
    for (size_t i = 0; i < fields->n; i++) {
        if (span_starts_with(fields->fields[i].key, PROPERTY_PREFIX)) {
            n += send_property_size(fields->fields[i].key, fields->fields[i].value);
        }
    }
    return n;
}

static bool properties_are_small(struct invocation *invocation, size_t n)
{
    if (n <= MESSAGE_PROPERTIES_MAX) {
        return true;
    }
    invocation_fail(invocation, FAILURE_INVALID, false,
        "the properties take %zu bytes, RocketMQ stores at most %d", n, MESSAGE_PROPERTIES_MAX);
    return false;
}

static void property_default(char *properties, size_t *at, struct span name, struct span value)
{
    if (span_is_absent(message_property((struct span){ properties, *at }, name))) {
        *at += send_property_write(properties + *at, name, value);
    }
}

struct span send_tracestate(const struct invocation *invocation, char text[SEND_TRACESTATE_SIZE])
{
    (void)snprintf(text, SEND_TRACESTATE_SIZE, "remotingd=%" PRIu64, invocation->id);
    return span_of(text);
}

/* sidecar.traceparent, and where it leads to here; a tracestate of the caller's stays. */
static bool trace_properties(struct invocation *invocation, char *properties, size_t *at)
{
    char text[SEND_TRACESTATE_SIZE];
    const struct ext_field traceparent = {
        .key = SPAN("property.traceparent"),
        .value = invocation->sidecar.traceparent,
    };
    if (span_is_empty(traceparent.value)) {
        return true;
    }
    if (!property_merge(invocation, properties, at, traceparent)) {
        return false;
    }
    property_default(properties, at, SPAN("tracestate"), send_tracestate(invocation, text));
    return true;
}

/* What makes a message a reply, as MessageUtil.createReplyMessage writes it. */
static bool reply_properties(struct invocation *invocation, struct send_state *state, size_t *at)
{
    const struct reply_receipt *reply = &state->reply;
    property_default(state->properties, at, SPAN(PROPERTY_MESSAGE_TYPE), SPAN("reply"));
    if (!span_is_empty(reply->client_id)) {
        property_default(
            state->properties, at, SPAN(PROPERTY_CORRELATION_ID), reply->correlation_id);
        property_default(state->properties, at, SPAN(PROPERTY_REPLY_TO_CLIENT), reply->client_id);
        property_default(state->properties, at, SPAN(PROPERTY_TTL), span_of(state->ttl_text));
    }
    const struct span written = { state->properties, *at };
    if (span_is_empty(message_property(written, SPAN(PROPERTY_CORRELATION_ID))) ||
        span_is_empty(message_property(written, SPAN(PROPERTY_REPLY_TO_CLIENT)))) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "a reply needs sidecar.receipt, the replyReceipt that came with its request, or "
            "property.CORRELATION_ID and property.REPLY_TO_CLIENT of the request");
        return false;
    }
    return true;
}

/* Who sent it, where messages are stamped. False: the caller gave that itself; it has failed. */
static bool stamp_write(struct invocation *invocation, struct send_state *state, size_t *at)
{
    if (!invocation->invoker->config->send.stamp_sender) {
        return true;
    }
    if (sender_stamp_is_given((struct span){ state->properties, *at })) {
        invocation_fail(invocation, FAILURE_INVALID, false, SENDER_STAMP_REFUSAL);
        return false;
    }
    struct sender_stamp stamp;
    send_stamp(invocation, &stamp);
    memcpy(state->properties + *at, stamp.text, stamp.n);
    *at += stamp.n;
    return true;
}

/*
 * The properties field: what the caller gave, its property.* fields, UNIQ_KEY and WAIT as Java adds
 * them.
 */
static bool properties_complete(struct invocation *invocation, struct send_state *state)
{
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct span given = ext_fields_get(fields, state->names->properties);
    /* Every merge walks over what is there already: it must not be many megabytes. */
    if (!properties_are_small(invocation, given.n)) {
        return false;
    }
    state->properties = malloc(properties_room(fields, given, invocation->sidecar.traceparent));
    if (!state->properties) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return false;
    }
    size_t at = 0;
    if (given.n > 0) {
        memcpy(state->properties, given.data, given.n);
        at = given.n;
        if (state->properties[at - 1] != MESSAGE_PROPERTY_VALUE_END) {
            state->properties[at++] = MESSAGE_PROPERTY_VALUE_END;
        }
    }
    for (size_t i = 0; i < fields->n; i++) {
        if (span_starts_with(fields->fields[i].key, PROPERTY_PREFIX) &&
            (!property_merge(invocation, state->properties, &at, fields->fields[i]) ||
                !properties_are_small(invocation, at))) {
            return false;
        }
    }
    (void)ext_fields_remove_prefixed(fields, PROPERTY_PREFIX);
    if (!trace_properties(invocation, state->properties, &at)) {
        return false;
    }
    if (!stamp_write(invocation, state, &at)) {
        return false;
    }
    struct invoker *invoker = invocation->invoker;
    uniq_key_make(&invoker->uniq_keys,
        wall_clock_since_month_began_ms(&invoker->month, wall_clock_ms()), state->uniq_key);
    property_default(state->properties, &at, SPAN(PROPERTY_UNIQ_KEY), span_of(state->uniq_key));
    property_default(state->properties, &at, SPAN(PROPERTY_WAIT_STORE_OK), SPAN("true"));
    if (invocation->sidecar.is_half) {
        property_default(state->properties, &at, SPAN(PROPERTY_TRANSACTION_PREPARED), SPAN("true"));
        property_default(state->properties, &at, SPAN(PROPERTY_PRODUCER_GROUP),
            ext_fields_get(fields, state->names->producer_group));
    }
    if (is_reply(invocation->code) && !reply_properties(invocation, state, &at)) {
        return false;
    }
    if (state->request &&
        !send_request_properties(invocation, state->request, state->properties, &at)) {
        return false;
    }
    if (!properties_are_small(invocation, at)) {
        return false;
    }
    struct span properties = { state->properties, at };
    (void)ext_fields_set(fields, state->names->properties, properties);
    invocation->uniq_key = message_property(properties, SPAN(PROPERTY_UNIQ_KEY));
    state->sharding_key = message_property(properties, SPAN(PROPERTY_SHARDING_KEY));
    return true;
}

/*
 * A half message: brokers ask the members of its producer group what became of it, so that the group
 * must be of those who know.
 */
static bool half_message_complete(struct invocation *invocation, struct send_state *state)
{
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct span group = ext_fields_get(fields, state->names->producer_group);
    const char *shared_group = invocation->invoker->config->send.producer_group;
    int64_t sys_flag = 0;
    if (invocation->is_oneway || invocation->code == REQUEST_SEND_BATCH_MESSAGE ||
        is_reply(invocation->code)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.transaction: a half message is a message of its own, and its send is "
            "answered");
    } else if (!rocketmq_name_is_valid(group, ROCKETMQ_NAME_MAX) ||
               span_equals_text(group, shared_group)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.transaction needs the field %.*s: a producer group of those who can decide "
            "about its transactions, and not the shared '%s'",
            SPAN_ARGS(state->names->producer_group), shared_group);
    } else {
        (void)ext_value_parse_i64(
            ext_fields_get(fields, state->names->sys_flag), 0, INT32_MAX, &sys_flag);
        (void)snprintf(state->sys_flag_text, sizeof(state->sys_flag_text), "%" PRId64,
            (sys_flag & ~(int64_t)MESSAGE_SYSFLAG_TRANSACTION) | MESSAGE_SYSFLAG_PREPARED);
        (void)ext_fields_set(fields, state->names->sys_flag, span_of(state->sys_flag_text));
        return true;
    }
    return false;
}

static bool fields_complete(struct invocation *invocation, struct send_state *state)
{
    const struct send_names *names = state->names;
    bool is_batch = invocation->code == REQUEST_SEND_BATCH_MESSAGE;
    if (!send_body_is_small(invocation)) {
        return false;
    }
    if (invocation->sidecar.is_half && !half_message_complete(invocation, state)) {
        return false;
    }
    if (invocation->sidecar.is_request && !send_request_complete(invocation, state)) {
        return false;
    }
    /* The messages of a batch carry their own properties in the body. */
    if (is_batch ? !send_body_batch(invocation)
                 : !properties_complete(invocation, state) || !send_body_compress(invocation)) {
        return false;
    }
    (void)snprintf(
        state->born_timestamp, sizeof(state->born_timestamp), "%" PRId64, wall_clock_ms());
    invocation_field_default(invocation, names->producer_group,
        span_of(invocation->invoker->config->send.producer_group));
    invocation_field_default(invocation, names->default_topic, SPAN(ROUTE_DEFAULT_TOPIC));
    invocation_field_default(invocation, names->default_topic_queue_nums, SPAN("4"));
    invocation_field_default(invocation, names->sys_flag, SPAN("0"));
    invocation_field_default(invocation, names->born_timestamp, span_of(state->born_timestamp));
    invocation_field_default(invocation, names->flag, SPAN("0"));
    invocation_field_default(invocation, names->reconsume_times, SPAN("0"));
    invocation_field_default(invocation, names->unit_mode, SPAN("false"));
    invocation_field_default(invocation, names->batch, is_batch ? SPAN("true") : SPAN("false"));
    return true;
}

/* --- the answer --- */

/* A half message was stored: its sender can decide about it, with the receipt. */
static void half_message_stored(
    struct invocation *invocation, struct send_state *state, struct ext_fields *answer)
{
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct transaction_receipt receipt;
    if (transaction_receipt_from_send(answer, state->topic,
            ext_fields_get(fields, state->names->producer_group), span_of(state->broker_name),
            invocation->uniq_key, &receipt) &&
        transaction_receipt_encode(&receipt, state->receipt, sizeof(state->receipt)) > 0) {
        (void)ext_fields_set(answer, SPAN("sidecar.receipt"), span_of(state->receipt));
    }
    processors_note_sender(
        invocation->invoker->processors, invocation->session, invocation->uniq_key);
}

/* The last three warn of a copy that is late (commands.md, response codes). */
static bool was_stored(const struct remoting_command *response)
{
    return response->code == RESPONSE_SUCCESS || response->code == RESPONSE_FLUSH_DISK_TIMEOUT ||
           response->code == RESPONSE_SLAVE_NOT_AVAILABLE ||
           response->code == RESPONSE_FLUSH_SLAVE_TIMEOUT;
}

void send_answer_fields(struct invocation *invocation, struct ext_fields *fields)
{
    struct send_state *state = invocation->state;
    (void)snprintf(state->attempts_text, sizeof(state->attempts_text), "%u", state->n_attempts);
    (void)ext_fields_set(fields, SPAN("brokerName"), span_of(state->broker_name));
    (void)ext_fields_set(fields, SPAN("sidecar.addr"), span_of(invocation->address));
    (void)ext_fields_set(fields, SPAN("sidecar.attempts"), span_of(state->attempts_text));
    if (!span_is_empty(invocation->uniq_key)) {
        (void)ext_fields_set(fields, SPAN("sidecar.uniqKey"), invocation->uniq_key);
    }
}

static void send_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    struct send_state *state = invocation->state;
    struct route_table *table = routes_table(invocation->invoker->routes);
    struct route_entry *entry;
    bool was_created = response->code == RESPONSE_SUCCESS &&
                       route_table_find(table, state->topic, invocation->invoker->loop->now_ms,
                           &entry) == ROUTE_ABSENT;
    if (was_created) {
        /* The broker has just created the topic: the next one asks again. */
        route_table_expire(table, state->topic);
    }
    if (send_repeats_response(invocation, response)) {
        return;
    }
    bool is_stored = was_stored(response);
    if (is_stored && state->request) {
        send_request_wait(invocation);
        return;
    }
    struct ext_fields *fields = &response->ext_fields;
    response->has_ext_fields = true;
    send_answer_fields(invocation, fields);
    if (is_stored && invocation->sidecar.is_half) {
        half_message_stored(invocation, state, fields);
    }
    invocation_answer(invocation, response, source->owner);
}

static const struct invocation_steps send_steps = {
    .on_route = send_attempt,
    .on_response = send_on_response,
    .on_failure = send_on_failure,
    .on_end = send_on_end,
};

/* The topic of a reply follows from what it answers. False: the invocation failed. */
static bool reply_complete(struct invocation *invocation, struct send_state *state)
{
    struct span receipt = invocation->sidecar.receipt;
    if (span_is_empty(receipt)) {
        return true;
    }
    if (!reply_receipt_decode(receipt, &state->reply) ||
        reply_receipt_topic(&state->reply, state->reply_topic, sizeof(state->reply_topic)) == 0) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.receipt is no receipt of a request message: give back the replyReceipt that "
            "came with it, unchanged");
        return false;
    }
    if (!invocation_field_from_receipt(
            invocation, state->names->topic, span_of(state->reply_topic))) {
        return false;
    }
    const struct remoting_command *command = &invocation->request.kept.command;
    struct failure_report report;
    if (!invocation->role->may_everything && !permission_to_command(invocation->role, command->code,
                                                 &command->ext_fields, command->body, &report)) {
        invocation_fail_report(invocation, &report);
        return false;
    }
    state->topic = span_of(state->reply_topic);
    (void)snprintf(state->ttl_text, sizeof(state->ttl_text), "%" PRId64, state->reply.ttl_ms);
    return true;
}

void complete_send_start(struct invocation *invocation)
{
    struct send_state *state = calloc(1, sizeof(*state));
    if (!state) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    bool has_v1_names =
        invocation->code == REQUEST_SEND_MESSAGE || invocation->code == REQUEST_SEND_REPLY_MESSAGE;
    state->names = has_v1_names ? &names_v1 : &names_v2;
    state->invocation = invocation;
    state->topic = ext_fields_get(fields, state->names->topic);
    state->has_queue_id = !span_is_empty(ext_fields_get(fields, state->names->queue_id));
    state->has_sys_flag = !span_is_empty(ext_fields_get(fields, state->names->sys_flag));
    state->fixed_broker = invocation->sidecar.broker;
    if (span_is_empty(state->fixed_broker)) {
        state->fixed_broker = ext_fields_text(fields, "bname");
    }
    if (span_is_empty(state->fixed_broker)) {
        /* The V2 form has a letter for it, as for the other fields. */
        state->fixed_broker = ext_fields_get(fields, state->names->broker_name);
    }
    invocation->state = state;
    invocation->steps = &send_steps;
    if (is_reply(invocation->code) && !reply_complete(invocation, state)) {
        return;
    }
    if (span_is_empty(state->topic)) {
        invocation_fail(invocation, FAILURE_INVALID, false, "code %d needs the ext field %.*s",
            (int)invocation->code, SPAN_ARGS(state->names->topic));
        return;
    }
    if (span_is_empty(invocation->request.kept.command.body)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "the message has no body: RocketMQ takes none that is empty");
        return;
    }
    if (invocation->sidecar.has_json_body && invocation->code != REQUEST_SEND_BATCH_MESSAGE) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "sidecar.bodyFormat=json is for batches (code %d)", REQUEST_SEND_BATCH_MESSAGE);
        return;
    }
    if (!fields_complete(invocation, state)) {
        return;
    }
    if (state->request) {
        send_request_start(invocation);
    } else {
        send_attempt(invocation);
    }
}
