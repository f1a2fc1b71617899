#include "daemon/core/send_batch.h"

#include "daemon/core/send_property.h"
#include "daemon/core/sender_stamp.h"
#include "protocol/base64.h"
#include "protocol/bytes.h"
#include "protocol/json_values.h"
#include "protocol/message.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* totalSize, magic, bodyCRC, flag and bodyLength; behind the body propertiesLength. */
#define MESSAGE_HEAD_SIZE  (5 * sizeof(int32_t))
#define MESSAGE_FIXED_SIZE (MESSAGE_HEAD_SIZE + sizeof(int16_t))

struct batch_message {
    struct span body; /* in the JSON, or in decoded */
    char *decoded;    /* from base64 */
    char *properties;
    size_t n_properties;
};

struct send_batch {
    json_t *root;
    struct batch_message *messages;
    size_t n;
    char *uniq_keys;
    size_t n_uniq_keys;
};

struct parsing {
    const struct send_batch_rules *rules;
    size_t index; /* of the message, for the problem */
    size_t size;
    char *problem;
    size_t problem_size;
};

__attribute__((format(printf, 2, 3))) static enum send_batch_status refuse(
    struct parsing *parsing, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)snprintf(parsing->problem, parsing->problem_size, "message %zu of the batch: %s",
        parsing->index, text);
    return SEND_BATCH_INVALID;
}

static struct span string_span(const json_t *string)
{
    return (struct span){ json_string_value(string), json_string_length(string) };
}

/* The text of a property's value; numbers and switches are taken as their text, as ext fields are. */
static bool value_text(const json_t *value, char *number, size_t number_size, struct span *ret_text)
{
    if (json_is_string(value)) {
        *ret_text = string_span(value);
    } else if (json_is_integer(value)) {
        (void)snprintf(number, number_size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        *ret_text = span_of(number);
    } else if (json_is_boolean(value)) {
        *ret_text = json_is_true(value) ? SPAN("true") : SPAN("false");
    } else {
        return false;
    }
    return true;
}

static enum send_batch_status property_check(
    struct parsing *parsing, const char *key, const json_t *value, size_t *size)
{
    char number[32];
    char problem[224];
    struct span text;
    struct span name = span_of(key);
    if (!value_text(value, number, sizeof(number), &text)) {
        return refuse(parsing, "the property %.64s is not a string", key);
    }
    if (send_property_is_delay(name)) {
        return refuse(parsing, "%s: what is delayed cannot be sent in a batch", key);
    }
    if (!send_property_is_valid(name, text, problem, sizeof(problem))) {
        return refuse(parsing, "%s", problem);
    }
    *size += send_property_size(name, text);
    return SEND_BATCH_OK;
}

static void property_default(struct batch_message *message, struct span name, struct span value)
{
    struct span properties = { message->properties, message->n_properties };
    if (span_is_absent(message_property(properties, name))) {
        message->n_properties +=
            send_property_write(message->properties + message->n_properties, name, value);
    }
}

static enum send_batch_status properties_take(
    struct parsing *parsing, json_t *object, struct batch_message *message)
{
    const char *key;
    json_t *value;
    char text[32];
    struct span traceparent = parsing->rules->traceparent;
    /* What is added below. */
    size_t size = 160 + traceparent.n + parsing->rules->tracestate.n + parsing->rules->stamp.n;
    if (object && !json_is_object(object)) {
        return refuse(parsing, "properties is not an object of strings");
    }
    json_object_foreach(object, key, value)
    {
        enum send_batch_status status = property_check(parsing, key, value, &size);
        if (status != SEND_BATCH_OK) {
            return status;
        }
    }
    message->properties = malloc(size);
    if (!message->properties) {
        return SEND_BATCH_NO_MEMORY;
    }
    json_object_foreach(object, key, value)
    {
        struct span each;
        (void)value_text(value, text, sizeof(text), &each);
        message->n_properties +=
            send_property_write(message->properties + message->n_properties, span_of(key), each);
    }
    if (parsing->rules->is_stamped &&
        sender_stamp_is_given((struct span){ message->properties, message->n_properties })) {
        return refuse(parsing, SENDER_STAMP_REFUSAL);
    }
    if (!span_is_empty(parsing->rules->stamp)) {
        memcpy(message->properties + message->n_properties, parsing->rules->stamp.data,
            parsing->rules->stamp.n);
        message->n_properties += parsing->rules->stamp.n;
    }
    if (!span_is_empty(traceparent)) {
        property_default(message, SPAN("traceparent"), traceparent);
        property_default(message, SPAN("tracestate"), parsing->rules->tracestate);
    }
    char uniq_key[UNIQ_KEY_SIZE];
    uniq_key_make(parsing->rules->uniq_keys, parsing->rules->since_month_began_ms, uniq_key);
    property_default(message, SPAN(PROPERTY_WAIT_STORE_OK), SPAN("true"));
    property_default(message, SPAN(PROPERTY_UNIQ_KEY), span_of(uniq_key));
    if (message->n_properties > MESSAGE_PROPERTIES_MAX) {
        return refuse(parsing, "the properties take %zu bytes, RocketMQ stores at most %d",
            message->n_properties, MESSAGE_PROPERTIES_MAX);
    }
    return SEND_BATCH_OK;
}

static enum send_batch_status body_take(
    struct parsing *parsing, const json_t *object, struct batch_message *message)
{
    const json_t *body = json_object_get(object, "body");
    const json_t *encoding = json_object_get(object, "encoding");
    const char *name = encoding ? json_string_value(encoding) : "utf-8";
    if (!json_is_string(body) || json_string_length(body) == 0) {
        return refuse(parsing, "body is a string that is not empty");
    }
    message->body = string_span(body);
    if (name && strcmp(name, "base64") == 0) {
        size_t n;
        int r = base64_decode(message->body, &message->decoded, &n);
        if (r == -ENOMEM) {
            return SEND_BATCH_NO_MEMORY;
        }
        if (r < 0) {
            return refuse(parsing, "body is not base64");
        }
        message->body = (struct span){ message->decoded, n };
    } else if (!name || strcmp(name, "utf-8") != 0) {
        return refuse(parsing, "encoding is utf-8 (the default) or base64");
    }
    return SEND_BATCH_OK;
}

static enum send_batch_status message_take(
    struct parsing *parsing, json_t *object, struct batch_message *message)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        return refuse(parsing, "it is not an object {body, encoding, properties}");
    }
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "body") != 0 && strcmp(key, "encoding") != 0 &&
            strcmp(key, "properties") != 0) {
            return refuse(parsing, "'%.64s' is none of body, encoding and properties", key);
        }
    }
    enum send_batch_status status = body_take(parsing, object, message);
    if (status == SEND_BATCH_OK) {
        status = properties_take(parsing, json_object_get(object, "properties"), message);
    }
    if (status != SEND_BATCH_OK) {
        return status;
    }
    parsing->size += MESSAGE_FIXED_SIZE + message->body.n + message->n_properties;
    if (parsing->size > parsing->rules->max_size) {
        return refuse(parsing, "with it the batch takes %zu bytes, send.max_message_size is %zu",
            parsing->size, parsing->rules->max_size);
    }
    return SEND_BATCH_OK;
}

static struct span property_of(const struct batch_message *message, struct span name)
{
    return message_property((struct span){ message->properties, message->n_properties }, name);
}

/* What all of them must have in common with the first. */
static enum send_batch_status rest_check(struct parsing *parsing, const struct send_batch *batch)
{
    for (size_t i = 1; i < batch->n; i++) {
        parsing->index = i;
        if (!span_equals(property_of(&batch->messages[i], SPAN(PROPERTY_WAIT_STORE_OK)),
                property_of(&batch->messages[0], SPAN(PROPERTY_WAIT_STORE_OK)))) {
            return refuse(parsing, "WAIT is not what it is in the first message");
        }
        if (!span_equals(property_of(&batch->messages[i], SPAN(PROPERTY_SHARDING_KEY)),
                property_of(&batch->messages[0], SPAN(PROPERTY_SHARDING_KEY)))) {
            return refuse(parsing, "its sharding key is not that of the first message: a batch is "
                                   "stored in one queue");
        }
    }
    return SEND_BATCH_OK;
}

static enum send_batch_status keys_join(struct send_batch *batch)
{
    size_t size = 0;
    for (size_t i = 0; i < batch->n; i++) {
        size += property_of(&batch->messages[i], SPAN(PROPERTY_UNIQ_KEY)).n + 1;
    }
    batch->uniq_keys = malloc(size);
    if (!batch->uniq_keys) {
        return SEND_BATCH_NO_MEMORY;
    }
    char *at = batch->uniq_keys;
    for (size_t i = 0; i < batch->n; i++) {
        struct span key = property_of(&batch->messages[i], SPAN(PROPERTY_UNIQ_KEY));
        if (i > 0) {
            *at++ = ',';
        }
        memcpy(at, key.data, key.n);
        at += key.n;
    }
    batch->n_uniq_keys = (size_t)(at - batch->uniq_keys);
    return SEND_BATCH_OK;
}

static enum send_batch_status messages_take(struct parsing *parsing, struct send_batch *batch)
{
    size_t n = json_array_size(batch->root);
    batch->messages = calloc(n, sizeof(*batch->messages));
    if (!batch->messages) {
        return SEND_BATCH_NO_MEMORY;
    }
    for (size_t i = 0; i < n; i++) {
        parsing->index = i;
        batch->n = i + 1;
        enum send_batch_status status =
            message_take(parsing, json_array_get(batch->root, i), &batch->messages[i]);
        if (status != SEND_BATCH_OK) {
            return status;
        }
    }
    enum send_batch_status status = rest_check(parsing, batch);
    return status == SEND_BATCH_OK ? keys_join(batch) : status;
}

enum send_batch_status send_batch_parse(struct span json, const struct send_batch_rules *rules,
    struct send_batch **ret_batch, char *problem, size_t problem_size)
{
    struct parsing parsing = {
        .rules = rules,
        .problem = problem,
        .problem_size = problem_size,
    };
    if (json_values_count(json) > SEND_BATCH_VALUES_MAX) {
        (void)snprintf(
            problem, problem_size, "the batch has more than %d JSON values", SEND_BATCH_VALUES_MAX);
        return SEND_BATCH_INVALID;
    }
    CLEANUP(send_batch_free) struct send_batch *batch = calloc(1, sizeof(*batch));
    if (!batch) {
        return SEND_BATCH_NO_MEMORY;
    }
    json_error_t error;
    batch->root = json_loadb(json.data, json.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json_is_array(batch->root) || json_array_size(batch->root) == 0) {
        (void)snprintf(problem, problem_size,
            "the body is not a JSON array of messages {body, encoding, properties}%s%s",
            batch->root ? "" : ": ", batch->root ? "" : error.text);
        return SEND_BATCH_INVALID;
    }
    enum send_batch_status status = messages_take(&parsing, batch);
    if (status == SEND_BATCH_OK) {
        *ret_batch = TAKE(batch);
    }
    return status;
}

struct send_batch *send_batch_free(struct send_batch *batch)
{
    if (!batch) {
        return NULL;
    }
    for (size_t i = 0; i < batch->n; i++) {
        free(batch->messages[i].decoded);
        free(batch->messages[i].properties);
    }
    free(batch->messages);
    free(batch->uniq_keys);
    json_decref(batch->root);
    free(batch);
    return NULL;
}

static size_t message_size(const struct batch_message *message)
{
    return MESSAGE_FIXED_SIZE + message->body.n + message->n_properties;
}

size_t send_batch_encoded_size(const struct send_batch *batch)
{
    size_t size = 0;
    for (size_t i = 0; i < batch->n; i++) {
        size += message_size(&batch->messages[i]);
    }
    return size;
}

void send_batch_encode(const struct send_batch *batch, char *dst)
{
    struct bytes_writer writer;
    bytes_writer_init(&writer, dst, send_batch_encoded_size(batch));
    for (size_t i = 0; i < batch->n; i++) {
        const struct batch_message *message = &batch->messages[i];
        bytes_write_i32(&writer, (int32_t)message_size(message));
        bytes_write_i32(&writer, 0);
        bytes_write_i32(&writer, 0);
        bytes_write_i32(&writer, 0);
        bytes_write_i32(&writer, (int32_t)message->body.n);
        bytes_write(&writer, message->body.data, message->body.n);
        bytes_write_i16(&writer, (int16_t)message->n_properties);
        bytes_write(&writer, message->properties, message->n_properties);
    }
}

struct span send_batch_uniq_keys(const struct send_batch *batch)
{
    return (struct span){ batch->uniq_keys, batch->n_uniq_keys };
}

struct span send_batch_sharding_key(const struct send_batch *batch)
{
    return property_of(&batch->messages[0], SPAN(PROPERTY_SHARDING_KEY));
}

bool send_batch_is_well_formed(struct span body, char *problem, size_t problem_size)
{
    if (body.n == 0) {
        (void)snprintf(problem, problem_size, "the batch is empty: at least one message is needed");
        return false;
    }
    struct bytes_reader reader;
    bytes_reader_init(&reader, body.data, body.n);
    for (size_t i = 0, at = 0; at < body.n; i++) {
        int32_t total_size = bytes_read_i32(&reader);
        bytes_skip(&reader, MESSAGE_HEAD_SIZE - 2 * sizeof(int32_t));
        int32_t n_body = bytes_read_i32(&reader);
        struct span text = bytes_read_span(&reader, n_body > 0 ? (size_t)n_body : 0);
        int16_t n_properties = bytes_read_i16(&reader);
        bytes_skip(&reader, n_properties > 0 ? (size_t)n_properties : 0);
        size_t n = MESSAGE_FIXED_SIZE + text.n + (n_properties > 0 ? (size_t)n_properties : 0);
        if (bytes_reader_failed(&reader) || n_body <= 0 || n_properties < 0 || total_size < 0 ||
            (size_t)total_size != n) {
            (void)snprintf(problem, problem_size,
                "message %zu of the batch, at byte %zu, is not what SEND_BATCH_MESSAGE takes: i32 "
                "totalSize, magic, bodyCRC, flag, bodyLength, body, i16 propertiesLength, "
                "properties (or send sidecar.bodyFormat=json)",
                i, at);
            return false;
        }
        at += n;
    }
    return true;
}

/* The message at *at of a well-formed body: what is in front of its properties' length, and those. */
static void message_split(
    struct span body, size_t *at, struct span *ret_front, struct span *ret_properties)
{
    struct bytes_reader reader;
    bytes_reader_init(&reader, body.data + *at, body.n - *at);
    bytes_skip(&reader, MESSAGE_HEAD_SIZE - sizeof(int32_t));
    size_t n_body = (size_t)bytes_read_i32(&reader);
    bytes_skip(&reader, n_body);
    size_t n_properties = (size_t)bytes_read_i16(&reader);
    const char *start = body.data + *at;
    *ret_front = (struct span){ start, MESSAGE_HEAD_SIZE + n_body };
    *ret_properties = (struct span){ start + MESSAGE_FIXED_SIZE + n_body, n_properties };
    *at += MESSAGE_FIXED_SIZE + n_body + n_properties;
}

bool send_batch_has_stamp(struct span body)
{
    struct span front, properties;
    for (size_t at = 0; at < body.n;) {
        message_split(body, &at, &front, &properties);
        if (sender_stamp_is_given(properties)) {
            return true;
        }
    }
    return false;
}

/* Properties may do without the end of the last one. */
static bool lacks_end(struct span properties)
{
    return properties.n > 0 && properties.data[properties.n - 1] != MESSAGE_PROPERTY_VALUE_END;
}

size_t send_batch_stamped_size(struct span body, struct span stamp)
{
    struct span front, properties;
    size_t size = body.n;
    for (size_t at = 0; at < body.n;) {
        message_split(body, &at, &front, &properties);
        size_t n_added = lacks_end(properties) + stamp.n;
        if (properties.n + n_added > MESSAGE_PROPERTIES_MAX) {
            return 0;
        }
        size += n_added;
    }
    return size;
}

void send_batch_stamp(struct span body, struct span stamp, char *dst)
{
    static const char end = MESSAGE_PROPERTY_VALUE_END;
    struct bytes_writer writer;
    bytes_writer_init(&writer, dst, send_batch_stamped_size(body, stamp));
    struct span front, properties;
    for (size_t at = 0; at < body.n;) {
        message_split(body, &at, &front, &properties);
        size_t n = properties.n + lacks_end(properties) + stamp.n;
        bytes_write_i32(&writer, (int32_t)(front.n + sizeof(int16_t) + n));
        bytes_write(&writer, front.data + sizeof(int32_t), front.n - sizeof(int32_t));
        bytes_write_i16(&writer, (int16_t)n);
        bytes_write(&writer, properties.data, properties.n);
        bytes_write(&writer, &end, lacks_end(properties));
        bytes_write(&writer, stamp.data, stamp.n);
    }
}
