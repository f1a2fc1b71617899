#include "daemon/http/http_request.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "config/value.h"
#include "protocol/code.h"
#include "protocol/json_values.h"
#include "protocol/rocketmq_name.h"
#include "protocol/utf8.h"

#define SHOWN_MAX       80 /* bytes of the request that a refusal quotes */
#define SEGMENTS_MAX    8
#define VALUE_TEXT_SIZE 32 /* a number of a query or header field with its zero */
#define DURATION_MAX_MS (UINT64_C(1000) * 3600 * 24 * 365)
#define RECEIVE_MAX     32 /* messages of one POP */
/* Of an ack or nack: a received message has some thirty and its properties. */
#define BODY_VALUES_MAX (HTTP_RECEIPTS_MAX * 64)
#define FIELD_PREFIX    SPAN("X-Mq-")
#define PROPERTY_PREFIX SPAN("X-Mq-Property-")

void http_refuse(
    struct http_refusal *refusal, unsigned status, enum failure failure, const char *format, ...)
{
    va_list arguments;
    *refusal = (struct http_refusal){ .status = status, .failure = failure };
    va_start(arguments, format);
    (void)vsnprintf(refusal->cause, sizeof(refusal->cause), format, arguments);
    va_end(arguments);
    /* It becomes a JSON text: what is quoted of a request may be anything. */
    for (char *c = refusal->cause; *c; c++) {
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
}

static void refuse_invalid(struct http_refusal *refusal, const char *what, struct span name,
    struct span seen, const char *sentence)
{
    http_refuse(refusal, 400, FAILURE_INVALID, "%s%.*s: saw \"%.*s\"; %s", what,
        (int)(name.n < SHOWN_MAX ? name.n : SHOWN_MAX), name.n ? name.data : "",
        (int)(seen.n < SHOWN_MAX ? seen.n : SHOWN_MAX), seen.n ? seen.data : "", sentence);
}

static bool span_equals_caseless(struct span a, struct span b)
{
    return a.n == b.n && strncasecmp(a.data, b.data, a.n) == 0;
}

static bool span_starts_caseless(struct span text, struct span prefix)
{
    return text.n >= prefix.n && strncasecmp(text.data, prefix.data, prefix.n) == 0;
}

/* --- what a call is made of --- */

/* Room in the call's own text; what a head can ask for has its place there. */
static char *call_room(struct http_call *call, size_t n)
{
    if (n > sizeof(call->text) - call->n_text) {
        return NULL;
    }
    char *room = call->text + call->n_text;
    call->n_text += n;
    return room;
}

static bool call_add(struct http_call *call, struct span key, struct span value)
{
    return ext_fields_add(&call->command.ext_fields, key, value);
}

static bool call_add_number(struct http_call *call, struct span key, uint64_t number)
{
    char *room = call_room(call, VALUE_TEXT_SIZE);
    if (!room) {
        return false;
    }
    (void)snprintf(room, VALUE_TEXT_SIZE, "%" PRIu64, number);
    return call_add(call, key, span_of(room));
}

/* A number with its unit, or without one for a count. */
static bool number_read(enum value_number kind, struct span text, struct value_range range,
    uint64_t *ret_number, struct value_reason *ret_reason)
{
    char zero_terminated[VALUE_TEXT_SIZE];
    /* What is longer is no number either, and a zero inside would hide what follows it. */
    bool is_short =
        text.n > 0 && text.n < sizeof(zero_terminated) && !memchr(text.data, '\0', text.n);
    (void)snprintf(zero_terminated, sizeof(zero_terminated), "%.*s", is_short ? (int)text.n : 1,
        is_short ? text.data : "?");
    return value_read_number(kind, zero_terminated, range, ret_number, ret_reason);
}

/* --- the path --- */

enum segment {
    SEGMENT_TOPIC,
    SEGMENT_GROUP,
};

static const struct route {
    enum http_route route;
    const char *method;
    const char *path; /* {topic} and {group} stand for names */
    int32_t code;
    bool takes_body;
} routes[] = {
    { HTTP_SEND, "POST", "/v1/topics/{topic}/messages", REQUEST_SEND_MESSAGE, true },
    { HTTP_SEND_BATCH, "POST", "/v1/topics/{topic}/messages:batch", REQUEST_SEND_BATCH_MESSAGE,
        true },
    { HTTP_RECEIVE, "POST", "/v1/topics/{topic}/groups/{group}/receive", REQUEST_POP_MESSAGE,
        false },
    { HTTP_ACK, "POST", "/v1/ack", REQUEST_BATCH_ACK_MESSAGE, true },
    { HTTP_NACK, "POST", "/v1/nack", REQUEST_CHANGE_MESSAGE_INVISIBLETIME, true },
    { HTTP_TOPIC_ROUTE, "GET", "/v1/routes/{topic}", REQUEST_GET_ROUTEINFO_BY_TOPIC, false },
    { HTTP_HEALTH, "GET", "/v1/health", SIDECAR_GET_STATUS, false },
};
#define N_ROUTES (sizeof(routes) / sizeof(*routes))

/* The segment at the front of a path that begins with a slash; it is taken off. */
static struct span segment_take(struct span *path)
{
    const char *begin = path->data + 1;
    const char *end = memchr(begin, '/', path->n - 1);
    struct span segment = { begin, end ? (size_t)(end - begin) : path->n - 1 };
    path->data += segment.n + 1;
    path->n -= segment.n + 1;
    return segment;
}

/* Whether the path is the route's; what stands for {topic} and {group} goes to ret_names. */
static bool path_matches(struct span path, const char *pattern, struct span ret_names[2])
{
    struct span expected = span_of(pattern);
    while (path.n > 0 && expected.n > 0 && path.data[0] == '/') {
        struct span seen = segment_take(&path);
        struct span wanted = segment_take(&expected);
        if (span_equals(wanted, SPAN("{topic}"))) {
            ret_names[SEGMENT_TOPIC] = seen;
        } else if (span_equals(wanted, SPAN("{group}"))) {
            ret_names[SEGMENT_GROUP] = seen;
        } else if (!span_equals(seen, wanted)) {
            return false;
        }
    }
    return path.n == 0 && expected.n == 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A name of the path without its percent signs: "%25RETRY%25billing". */
static bool name_decode(struct http_call *call, struct span text, const char *what,
    struct span *ret_name, struct http_refusal *refusal)
{
    char *room = call_room(call, text.n);
    size_t n = 0;
    bool is_escaped = true; /* every percent sign is one of an escape */
    for (size_t i = 0; room && i < text.n; i++) {
        room[n++] = text.data[i];
        if (text.data[i] == '%') {
            int high = i + 2 < text.n ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.n ? hex_digit(text.data[i + 2]) : -1;
            is_escaped = is_escaped && high >= 0 && low >= 0;
            room[n - 1] = (char)(high * 16 + low);
            i += 2;
        }
    }
    *ret_name = (struct span){ room, n };
    if (!room || !is_escaped || !rocketmq_name_is_valid(*ret_name, ROCKETMQ_NAME_MAX)) {
        refuse_invalid(refusal, what, SPAN(""), text,
            "accepted: letters, digits, - _ | and %25 for a percent sign");
        return false;
    }
    return true;
}

/* The methods of a path, for 405. */
static const char *path_allows(struct span path)
{
    struct span names[2];
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (path_matches(path, routes[i].path, names)) {
            return routes[i].method;
        }
    }
    return NULL;
}

static const struct route *route_find(const struct http_request *request, struct span path,
    struct span ret_names[2], struct http_refusal *refusal)
{
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (path_matches(path, routes[i].path, ret_names) &&
            span_equals_text(request->method, routes[i].method)) {
            return &routes[i];
        }
    }
    const char *allow = path_allows(path);
    if (allow) {
        http_refuse(refusal, 405, FAILURE_UNSUPPORTED, "%.*s: accepted here is %s",
            (int)(request->method.n < SHOWN_MAX ? request->method.n : SHOWN_MAX),
            request->method.data, allow);
        refusal->allow = allow;
        return NULL;
    }
    http_refuse(refusal, 404, FAILURE_UNSUPPORTED,
        "%.*s is nothing here; there are POST /v1/topics/T/messages and /messages:batch, "
        "/v1/topics/T/groups/G/receive, /v1/ack, /v1/nack, GET /v1/routes/T and /v1/health",
        (int)(path.n < SHOWN_MAX ? path.n : SHOWN_MAX), path.n ? path.data : "");
    return NULL;
}

/* --- the query --- */

static const struct parameter {
    const char *name;
    enum value_number kind;
    struct value_range range;
    const char *key;
} receive_parameters[] = {
    { "max", VALUE_COUNT, { 1, RECEIVE_MAX }, "maxMsgNums" },
    { "wait", VALUE_DURATION, { 0, DURATION_MAX_MS }, "pollTime" },
    { "invisible", VALUE_DURATION, { 1000, DURATION_MAX_MS }, "invisibleTime" },
};
#define N_PARAMETERS (sizeof(receive_parameters) / sizeof(*receive_parameters))

static bool parameter_read(
    struct http_call *call, struct span name, struct span value, struct http_refusal *refusal)
{
    for (size_t i = 0; call->route == HTTP_RECEIVE && i < N_PARAMETERS; i++) {
        const struct parameter *parameter = &receive_parameters[i];
        struct span key = span_of(parameter->key);
        struct value_reason reason;
        uint64_t number;
        if (!span_equals_text(name, parameter->name)) {
            continue;
        }
        if (!span_is_absent(ext_fields_get(&call->command.ext_fields, key))) {
            refuse_invalid(refusal, "query parameter ", name, value, "accepted: it once");
            return false;
        }
        if (!number_read(parameter->kind, value, parameter->range, &number, &reason)) {
            refuse_invalid(refusal, "query parameter ", name, value, reason.text);
            return false;
        }
        return call_add_number(call, key, number);
    }
    refuse_invalid(refusal, "query parameter ", name, value,
        call->route == HTTP_RECEIVE ? "accepted: max, wait and invisible" : "accepted: none here");
    return false;
}

static bool query_read(struct http_call *call, struct span query, struct http_refusal *refusal)
{
    while (query.n > 0) {
        const char *end = memchr(query.data, '&', query.n);
        struct span pair = { query.data, end ? (size_t)(end - query.data) : query.n };
        const char *sign = memchr(pair.data, '=', pair.n);
        size_t n_name = sign ? (size_t)(sign - pair.data) : pair.n;
        struct span name = { pair.data, n_name };
        struct span value = { pair.data + n_name + (sign != NULL),
            pair.n - n_name - (sign != NULL) };
        size_t n_taken = pair.n + (end != NULL);
        if (!parameter_read(call, name, value, refusal)) {
            return false;
        }
        query.data += n_taken;
        query.n -= n_taken;
    }
    return true;
}

/* --- header fields --- */

#define ON(route) (1u << (route))

static const struct meaning {
    const char *name;
    unsigned routes;
    bool is_duration; /* in milliseconds, or a text */
    const char *key;
} meanings[] = {
    { "X-Mq-Tags", ON(HTTP_SEND), false, "property.TAGS" },
    { "X-Mq-Keys", ON(HTTP_SEND), false, "property.KEYS" },
    { "X-Mq-Delay", ON(HTTP_SEND), true, "property.TIMER_DELAY_MS" },
    { "X-Mq-Delay", ON(HTTP_NACK), true, "invisibleTime" },
    { "X-Mq-Sharding-Key", ON(HTTP_SEND), false, "property.__SHARDINGKEY" },
    { "X-Mq-Timeout", ~0u, true, "sidecar.timeoutMillis" },
    { "traceparent", ON(HTTP_SEND), false, "sidecar.traceparent" },
};
#define N_MEANINGS (sizeof(meanings) / sizeof(*meanings))

static bool field_add(struct http_call *call, const struct http_field *field, struct span key,
    bool is_duration, struct http_refusal *refusal)
{
    struct value_reason reason;
    uint64_t number = 0;
    if (!span_is_absent(ext_fields_get(&call->command.ext_fields, key))) {
        refuse_invalid(refusal, "", field->name, field->value, "accepted: it once");
    } else if (is_duration && !number_read(VALUE_DURATION, field->value,
                                  (struct value_range){ 0, DURATION_MAX_MS }, &number, &reason)) {
        refuse_invalid(refusal, "", field->name, field->value, reason.text);
    } else if (!utf8_is_valid(field->value)) {
        refuse_invalid(refusal, "", field->name, field->value, "accepted: UTF-8");
    } else if (is_duration ? call_add_number(call, key, number)
                           : call_add(call, key, field->value)) {
        return true;
    } else {
        http_refuse(refusal, 431, FAILURE_INVALID, "there are more fields than a message can have");
    }
    return false;
}

/* X-Mq-Property-NAME of a send. */
static bool property_add(
    struct http_call *call, const struct http_field *field, struct http_refusal *refusal)
{
    struct span prefix = SPAN("property.");
    struct span name = { field->name.data + PROPERTY_PREFIX.n, field->name.n - PROPERTY_PREFIX.n };
    char *room = call_room(call, prefix.n + name.n);
    if (name.n == 0 || !room) {
        refuse_invalid(
            refusal, "", field->name, field->value, "accepted: X-Mq-Property- and a name");
        return false;
    }
    memcpy(room, prefix.data, prefix.n);
    memcpy(room + prefix.n, name.data, name.n);
    return field_add(call, field, (struct span){ room, prefix.n + name.n }, false, refusal);
}

static const char *fields_accepted(enum http_route route)
{
    switch (route) {
    case HTTP_SEND:
        return "accepted: X-Mq-Tags, X-Mq-Keys, X-Mq-Delay, X-Mq-Sharding-Key, X-Mq-Property-NAME "
               "and "
               "X-Mq-Timeout";
    case HTTP_SEND_BATCH:
        return "accepted: X-Mq-Timeout (properties stand in the array)";
    case HTTP_NACK:
        return "accepted: X-Mq-Delay and X-Mq-Timeout";
    case HTTP_RECEIVE:
    case HTTP_ACK:
    case HTTP_TOPIC_ROUTE:
    case HTTP_HEALTH:
        return "accepted: X-Mq-Timeout";
    }
    return "";
}

static bool field_read(
    struct http_call *call, const struct http_field *field, struct http_refusal *refusal)
{
    for (size_t i = 0; i < N_MEANINGS; i++) {
        const struct meaning *meaning = &meanings[i];
        if (span_equals_caseless(field->name, span_of(meaning->name)) &&
            (meaning->routes & ON(call->route))) {
            return field_add(call, field, span_of(meaning->key), meaning->is_duration, refusal);
        }
    }
    if (call->route == HTTP_SEND && span_starts_caseless(field->name, PROPERTY_PREFIX)) {
        return property_add(call, field, refusal);
    }
    if (span_starts_caseless(field->name, FIELD_PREFIX)) {
        refuse_invalid(refusal, "", field->name, field->value, fields_accepted(call->route));
        return false;
    }
    return true;
}

/* --- the whole of it --- */

/* What the command needs beyond what the caller says. */
static void call_complete(struct http_call *call, struct span topic, struct span group)
{
    struct ext_fields *fields = &call->command.ext_fields;
    if (!span_is_absent(topic)) {
        /* SEND_BATCH has RocketMQ's one-letter names. */
        (void)ext_fields_add(
            fields, call->route == HTTP_SEND_BATCH ? SPAN("b") : SPAN("topic"), topic);
    }
    if (!span_is_absent(group)) {
        (void)ext_fields_add(fields, SPAN("consumerGroup"), group);
    }
    if (call->route == HTTP_SEND_BATCH) {
        (void)ext_fields_add(fields, SPAN("sidecar.bodyFormat"), SPAN("json"));
    } else if (call->route == HTTP_RECEIVE) {
        (void)ext_fields_add(fields, SPAN("sidecar.answerFormat"), SPAN("json"));
    }
}

static void call_init(struct http_call *call, const struct route *route)
{
    call->route = route->route;
    call->takes_body = route->takes_body;
    call->n_text = 0;
    remoting_command_init(&call->command, call->ext_fields, EXT_FIELDS_MAX);
    call->command.code = route->code;
    call->command.language = LANGUAGE_HTTP;
    call->command.version = REMOTING_VERSION;
    call->command.has_ext_fields = true;
}

bool http_request_read(const struct http_request *request, struct http_call *ret_call,
    struct http_refusal *ret_refusal)
{
    struct span names[2] = { SPAN_ABSENT, SPAN_ABSENT };
    struct span path = request->target, query = SPAN_ABSENT;
    const char *mark = path.n > 0 ? memchr(path.data, '?', path.n) : NULL;
    if (mark) {
        query = (struct span){ mark + 1, path.n - (size_t)(mark - path.data) - 1 };
        path.n -= query.n + 1;
    }
    const struct route *route = route_find(request, path, names, ret_refusal);
    if (!route) {
        return false;
    }
    call_init(ret_call, route);
    struct span topic = SPAN_ABSENT, group = SPAN_ABSENT;
    if ((!span_is_absent(names[SEGMENT_TOPIC]) &&
            !name_decode(ret_call, names[SEGMENT_TOPIC], "topic", &topic, ret_refusal)) ||
        (!span_is_absent(names[SEGMENT_GROUP]) &&
            !name_decode(ret_call, names[SEGMENT_GROUP], "group", &group, ret_refusal))) {
        return false;
    }
    call_complete(ret_call, topic, group);
    if (!query_read(ret_call, query, ret_refusal)) {
        return false;
    }
    for (size_t i = 0; i < request->n_fields; i++) {
        if (!field_read(ret_call, &request->fields[i], ret_refusal)) {
            return false;
        }
    }
    return true;
}

/* Of a message as it was received, or the receipt itself; NULL: it is neither. */
static json_t *receipt_of(json_t *row)
{
    json_t *receipt = json_is_object(row) ? json_object_get(row, "receipt") : row;
    return json_is_string(receipt) ? receipt : NULL;
}

json_t *http_receipts_read(struct span body, struct http_refusal *ret_refusal)
{
    bool is_small = json_values_count(body) <= BODY_VALUES_MAX;
    json_t *rows =
        is_small ? json_loadb(body.n ? body.data : "", body.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    size_t n = json_is_array(rows) ? json_array_size(rows) : 0;
    json_t *receipts = n > 0 && n <= HTTP_RECEIPTS_MAX ? json_array() : NULL;
    for (size_t i = 0; receipts && i < n; i++) {
        if (json_array_append(receipts, receipt_of(json_array_get(rows, i))) < 0) {
            json_decref(receipts);
            receipts = NULL;
        }
    }
    json_decref(rows);
    if (!receipts) {
        http_refuse(ret_refusal, 400, FAILURE_INVALID,
            "the body is no JSON array of 1 to %d receipts, or of messages as they were received",
            HTTP_RECEIPTS_MAX);
    }
    return receipts;
}
