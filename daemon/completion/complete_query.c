/*
 * QUERY_MESSAGE: messages by key, of all masters of the topic at once; the answers joined. And
 * VIEW_MESSAGE_BY_ID with a topic and either id of a message: its offset id, which names the broker
 * that has it, or its UNIQ_KEY, which all are asked for.
 *
 * Brokers find keys by their hash, so that what they found is looked at once more
 * (message_filter.h). A broker that fails does not take away what the others found; who finds
 * nothing anywhere is told so only where all of them have said it.
 */
#include "daemon/completion/fan_out.h"

#include "daemon/core/message_json.h"
#include "protocol/code.h"
#include "protocol/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* QueryMessageRequestHeader.java, MessageConst.java */
#define UNIQUE_KEY_QUERY "_UNIQUE_KEY_QUERY"
/* So many of each broker where the caller does not say; no broker gives more than 64. */
#define MAX_NUM_TEXT "32"
/* The end of time, of which Java's tools ask. */
#define END_TEXT         "9223372036854775807"
#define OFFSET_TEXT_SIZE 24

static const struct remoting_command *query_of(const struct fan_out_part *part)
{
    return &part->fan_out->invocation->request.kept.command;
}

/* --- what a broker brings --- */

static bool has_key(void *context, const struct message *message)
{
    const struct ext_fields *fields = &query_of(context)->ext_fields;
    struct span key = ext_fields_text(fields, "key");
    if (span_equals(ext_fields_text(fields, UNIQUE_KEY_QUERY), SPAN("true"))) {
        struct span uniq_key = message_property(message->properties, SPAN(PROPERTY_UNIQ_KEY));
        return span_equals(uniq_key, key);
    }
    return message_filter_has_key(message, key);
}

static void part_failed(struct fan_out_part *part, const struct failure_report *report)
{
    if (part->fan_out->failure.cause[0] == '\0') {
        part->fan_out->failure = *report;
    }
}

/* Keeps the body until the last broker has answered. */
static bool part_keep(
    struct fan_out_part *part, struct span body, const struct command_source *source)
{
    if (source->owner) {
        part->frame = frame_buffer_ref(source->owner);
        part->body = body;
        return true;
    }
    struct memory *memory = part->fan_out->invocation->invoker->memory;
    part->frame = frame_buffer_new(memory, body.n);
    if (part->frame) {
        memcpy(part->frame->data, body.data, body.n);
        part->body = (struct span){ (const char *)part->frame->data, body.n };
    }
    return part->frame != NULL;
}

static void part_on_response(struct fan_out_part *part, struct remoting_command *response,
    const struct command_source *source)
{
    struct failure_report report;
    bool is_query = query_of(part)->code == REQUEST_QUERY_MESSAGE;
    if (response->code == RESPONSE_SUCCESS) {
        if (is_query) {
            response_filter(response, source, has_key, part);
        }
        part->fan_out->n_answered++;
        if (response->body.n > 0 && !part_keep(part, response->body, source)) {
            failure_set(&report, FAILURE_OVERLOADED, false,
                "no memory for the messages of %s (limits.total_memory)", part->broker_name);
            part_failed(part, &report);
            part->fan_out->n_answered--;
        }
    } else if (response->code == RESPONSE_QUERY_NOT_FOUND) {
        part->fan_out->n_answered++;
    } else {
        failure_set(&report, FAILURE_NO_BROKER, false, "%s answered code %d: %.*s",
            part->broker_name, (int)response->code,
            (int)(response->remark.n < 128 ? response->remark.n : 128),
            response->remark.data ? response->remark.data : "");
        if (part->fan_out->failure.cause[0] == '\0') {
            part->fan_out->refused_code = response->code;
        }
        part_failed(part, &report);
    }
}

/* --- the answer --- */

/* Everything as JSON, on the heap, or NULL without memory. */
static char *json_of(
    const struct fan_out *fan_out, struct message_json_counts *ret_counts, size_t *ret_size)
{
    struct message_json *json = message_json_new();
    bool is_fine = json != NULL;
    for (size_t i = 0; i < fan_out->n && is_fine; i++) {
        const struct message_json_source source = {
            .broker_name = span_of(fan_out->parts[i].broker_name),
            .max_decompressed = fan_out->invocation->invoker->config->limits.max_decompressed,
        };
        is_fine = message_json_append(json, fan_out->parts[i].body, &source);
    }
    return message_json_end(json, is_fine, ret_counts, ret_size);
}

/* As brokers store them, whole messages up to what fits a frame. */
static char *native_of(
    const struct fan_out *fan_out, struct message_json_counts *ret_counts, size_t *ret_size)
{
    size_t size = 0;
    for (size_t i = 0; i < fan_out->n; i++) {
        size += fan_out->parts[i].body.n;
    }
    char *bodies = malloc(size + 1);
    size_t n = 0;
    *ret_counts = (struct message_json_counts){ 0 };
    for (size_t i = 0; bodies && i < fan_out->n; i++) {
        struct span body = fan_out->parts[i].body;
        struct message message;
        size_t each;
        for (size_t at = 0; at < body.n; at += each) {
            const uint8_t *data = (const uint8_t *)body.data + at;
            (void)message_decode(data, body.n - at, &message, &each);
            each = each > 0 ? each : body.n - at;
            if (ret_counts->n_truncated > 0 || n + each > MESSAGE_JSON_SIZE_MAX) {
                ret_counts->n_truncated++;
                continue;
            }
            memcpy(bodies + n, data, each);
            n += each;
        }
    }
    *ret_size = n;
    return bodies;
}

static void answer_found(struct fan_out *fan_out)
{
    struct invocation *invocation = fan_out->invocation;
    struct message_json_counts counts;
    size_t size;
    char *body = invocation->sidecar.wants_json ? json_of(fan_out, &counts, &size)
                                                : native_of(fan_out, &counts, &size);
    if (!body) {
        invocation_fail(
            invocation, FAILURE_OVERLOADED, true, "no memory to join the messages that were found");
        return;
    }
    char texts[3][24];
    (void)snprintf(texts[0], sizeof(texts[0]), "%zu", fan_out->n);
    (void)snprintf(texts[1], sizeof(texts[1]), "%zu", fan_out->n_answered);
    (void)snprintf(texts[2], sizeof(texts[2]), "%zu", counts.n_truncated);
    struct ext_field fields[3];
    struct remoting_command answer = {
        .code = RESPONSE_SUCCESS,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
        .body = { body, size },
    };
    if (fan_out->n_answered < fan_out->n) {
        answer.remark = span_of(fan_out->failure.cause);
    }
    ext_fields_init(&answer.ext_fields, fields, 3);
    (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.brokers"), span_of(texts[0]));
    (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.answered"), span_of(texts[1]));
    if (counts.n_truncated > 0) {
        (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.truncated"), span_of(texts[2]));
    }
    invocation_answer(invocation, &answer, NULL);
    free(body);
}

static void answer_nothing(struct fan_out *fan_out)
{
    struct invocation *invocation = fan_out->invocation;
    /* The state ends with the answer. */
    const struct failure_report report = fan_out->failure;
    bool is_certain = fan_out->n_answered == fan_out->n;
    if (!is_certain && fan_out->refused_code == 0) {
        invocation_fail_report(invocation, &report);
        return;
    }
    struct remoting_command answer = {
        .code = is_certain ? RESPONSE_QUERY_NOT_FOUND : fan_out->refused_code,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .remark = is_certain
                      ? SPAN("no broker of the topic has a message with this key in that time")
                      : span_of(report.cause),
    };
    invocation_answer(invocation, &answer, NULL);
}

static void on_all(struct fan_out *fan_out)
{
    bool is_found = false;
    for (size_t i = 0; i < fan_out->n; i++) {
        is_found = is_found || fan_out->parts[i].body.n > 0;
    }
    if (is_found) {
        answer_found(fan_out);
    } else {
        answer_nothing(fan_out);
    }
}

static const struct fan_out_steps query_parts = {
    .on_response = part_on_response,
    .on_failure = part_failed,
    .on_all = on_all,
};

/* --- the beginning --- */

/* The master that the offset id names, or NULL where the id is a UNIQ_KEY. */
static const struct broker_data *broker_of_id(
    const struct topic_route *route, struct span id, int64_t *ret_offset)
{
    struct message_host host;
    char address[MESSAGE_HOST_TEXT_SIZE];
    if (!message_offset_id_read(id, &host, ret_offset)) {
        return NULL;
    }
    message_host_text(&host, address);
    for (size_t i = 0; i < route->n_brokers; i++) {
        const char *master = broker_data_master(&route->brokers[i]);
        if (master && strcmp(master, address) == 0) {
            return &route->brokers[i];
        }
    }
    return NULL;
}

/* Makes the kept VIEW one of that broker's; or a query for the UNIQ_KEY, of all brokers. */
static bool id_complete(
    struct fan_out *fan_out, const struct topic_route *route, const struct broker_data **ret_broker)
{
    struct invocation *invocation = fan_out->invocation;
    struct remoting_command *command = &invocation->request.kept.command;
    int64_t offset;
    *ret_broker = broker_of_id(route, invocation->sidecar.msg_id, &offset);
    if (*ret_broker) {
        fan_out->texts = malloc(OFFSET_TEXT_SIZE);
        if (!fan_out->texts) {
            invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
            return false;
        }
        (void)snprintf(fan_out->texts, OFFSET_TEXT_SIZE, "%" PRId64, offset);
        (void)ext_fields_set(&command->ext_fields, SPAN("offset"), span_of(fan_out->texts));
        return true;
    }
    command->code = REQUEST_QUERY_MESSAGE;
    (void)ext_fields_set(&command->ext_fields, SPAN("key"), invocation->sidecar.msg_id);
    (void)ext_fields_set(&command->ext_fields, SPAN(UNIQUE_KEY_QUERY), SPAN("true"));
    return true;
}

static void query_on_route(struct invocation *invocation)
{
    struct route_entry *entry = invocation_route(invocation, invocation->name, false);
    if (!entry) {
        return;
    }
    const struct topic_route *route = entry->route;
    size_t n_most = route->n_brokers > 0 ? route->n_brokers : 1;
    if (n_most > FAN_OUT_MAX) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "topic %.*s lives on %zu brokers, more than %d: name one with sidecar.broker",
            SPAN_ARGS(invocation->name), n_most, FAN_OUT_MAX);
        return;
    }
    struct fan_out *fan_out = fan_out_new(invocation, n_most, &query_parts);
    const struct broker_data *only = NULL;
    if (!fan_out ||
        (!span_is_empty(invocation->sidecar.msg_id) && !id_complete(fan_out, route, &only))) {
        return;
    }
    for (size_t i = 0; i < route->n_brokers; i++) {
        const struct broker_data *broker = &route->brokers[i];
        const char *master = broker_data_master(broker);
        if (master && (!only || only == broker) &&
            !fan_out_add(fan_out, broker->broker_name, master, -1)) {
            return;
        }
    }
    if (fan_out->n == 0) {
        invocation_fail(invocation, FAILURE_NO_BROKER, false,
            "no broker of topic %.*s has a master at present", SPAN_ARGS(invocation->name));
        return;
    }
    invocation_field_default(invocation, SPAN("maxNum"), SPAN(MAX_NUM_TEXT));
    invocation_field_default(invocation, SPAN("beginTimestamp"), SPAN("0"));
    invocation_field_default(invocation, SPAN("endTimestamp"), SPAN(END_TEXT));
    fan_out_send(fan_out);
}

static const struct invocation_steps query_steps = {
    .on_route = query_on_route,
    .on_end = fan_out_on_end,
};

void complete_query_start(struct invocation *invocation)
{
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    invocation->steps = &query_steps;
    if (span_is_empty(invocation->sidecar.msg_id) &&
        span_is_empty(ext_fields_text(fields, "key"))) {
        invocation_fail(
            invocation, FAILURE_INVALID, false, "QUERY_MESSAGE needs the ext fields topic and key");
        return;
    }
    query_on_route(invocation);
}
