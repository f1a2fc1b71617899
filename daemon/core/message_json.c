#include "daemon/core/message_json.h"

#include "protocol/base64.h"
#include "protocol/cleanup.h"
#include "protocol/message.h"
#include "protocol/utf8.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* A raw piece that cannot even be walked over is shown up to so many bytes. */
#define RAW_MAX 65536

static inline void json_free(json_t *json)
{
    json_decref(json);
}
DEFINE_CLEANUP(json_t *, json_free)

/* The text that grows. */
struct text {
    char *data;
    size_t n;
    size_t capacity;
};

static bool text_append(struct text *text, const char *data, size_t n)
{
    if (text->capacity - text->n < n) {
        size_t capacity = (text->n + n) * 2;
        char *larger = realloc(text->data, capacity);
        if (!larger) {
            return false;
        }
        text->data = larger;
        text->capacity = capacity;
    }
    memcpy(text->data + text->n, data, n);
    text->n += n;
    return true;
}

/* Whether it is text that every JSON reader takes, as a value and as a key. */
static bool is_text(struct span span)
{
    return utf8_is_valid(span) && (span.n == 0 || !memchr(span.data, '\0', span.n));
}

/* NULL where it is no text. */
static json_t *json_text(struct span span)
{
    if (!is_text(span)) {
        return NULL;
    }
    return json_stringn_nocheck(span.data ? span.data : "", span.n);
}

static json_t *json_base64(struct span span)
{
    char *text = base64_encode(span);
    json_t *json = text ? json_string_nocheck(text) : NULL;
    free(text);
    return json;
}

static void set_text(json_t *object, const char *key, struct span value)
{
    if (!span_is_absent(value)) {
        json_object_set_new_nocheck(object, key, json_text(value));
    }
}

static void set_reason(json_t *object, const char *reason)
{
    json_object_set_new_nocheck(object, "reason", json_string_nocheck(reason));
}

static void set_body(json_t *object, struct span body)
{
    json_t *text = json_text(body);
    json_object_set_new_nocheck(object, "encoding", json_string_nocheck(text ? "utf-8" : "base64"));
    json_object_set_new_nocheck(object, "body", text ? text : json_base64(body));
}

static void set_raw(json_t *object, struct span raw, const char *reason)
{
    json_object_set_new_nocheck(object, "raw", json_base64(raw));
    set_reason(object, reason);
}

static void set_message_body(json_t *object, const struct message *message, size_t max_decompressed)
{
    if (message->sys_flag & MESSAGE_SYSFLAG_INNER_BATCH) {
        set_raw(object, message->body,
            "the body is an inner batch, which this version does not unwrap");
        return;
    }
    if (!(message->sys_flag & MESSAGE_SYSFLAG_COMPRESSED)) {
        set_body(object, message->body);
        return;
    }
    char *body = NULL;
    size_t size = 0;
    switch (message_body_decompress(message, max_decompressed, &body, &size)) {
    case MESSAGE_BODY_OK:
        set_body(object, (struct span){ body, size });
        free(body);
        return;
    case MESSAGE_BODY_CORRUPT:
        set_raw(object, message->body, "the compressed body is corrupt");
        return;
    case MESSAGE_BODY_TOO_LARGE:
        set_raw(object, message->body, "the body is larger than limits.max_decompressed");
        return;
    case MESSAGE_BODY_UNKNOWN_COMPRESSION:
        set_raw(object, message->body, "the body is compressed in a way that is not known");
        return;
    case MESSAGE_BODY_NO_MEMORY:
        set_raw(object, message->body, "no memory to decompress the body");
        return;
    }
}

static void set_properties(json_t *object, const struct message *message)
{
    json_t *properties = json_object();
    size_t at = 0;
    struct span name, value;
    while (message_properties_next(message->properties, &at, &name, &value)) {
        json_t *text = json_text(value);
        if (text && is_text(name)) {
            json_object_setn_new_nocheck(properties, name.data, name.n, text);
        } else {
            json_decref(text);
            set_reason(object, "a property is not UTF-8 or holds a zero, and left out");
        }
    }
    json_object_set_new_nocheck(object, "properties", properties);
    set_text(object, "keys", message_property(message->properties, SPAN(PROPERTY_KEYS)));
    set_text(object, "tags", message_property(message->properties, SPAN(PROPERTY_TAGS)));
    set_text(object, "uniqKey", message_property(message->properties, SPAN(PROPERTY_UNIQ_KEY)));
}

static void set_host(json_t *object, const char *key, const struct message_host *host)
{
    char text[MESSAGE_HOST_TEXT_SIZE];
    message_host_text(host, text);
    json_object_set_new_nocheck(object, key, json_string_nocheck(text));
}

static void set_integer(json_t *object, const char *key, int64_t value)
{
    json_object_set_new_nocheck(object, key, json_integer(value));
}

static void set_receipt(
    json_t *object, const struct message *message, const struct message_json_source *source)
{
    struct receipt receipt;
    char text[RECEIPT_TEXT_MAX];
    if (receipt_from_pop(
            source->pop, message, source->topic, source->group, source->broker_name, &receipt) &&
        receipt_encode(&receipt, text, sizeof(text)) > 0) {
        json_object_set_new_nocheck(object, "receipt", json_string_nocheck(text));
    } else {
        set_reason(object, "the broker's answer does not say how to acknowledge this message");
    }
}

static json_t *message_to_json(
    const struct message *message, const struct message_json_source *source)
{
    json_t *object = json_object();
    if (!object) {
        return NULL;
    }
    char id[MESSAGE_OFFSET_ID_SIZE];
    message_offset_id(message, id);
    bool is_asked_for = !span_is_empty(source->topic);
    set_text(object, "topic", is_asked_for ? source->topic : message->topic);
    set_message_body(object, message, source->max_decompressed);
    set_properties(object, message);
    json_object_set_new_nocheck(object, "offsetMsgId", json_string_nocheck(id));
    if (!span_is_empty(source->broker_name)) {
        set_text(object, "brokerName", source->broker_name);
    }
    set_integer(object, "queueId", message->queue_id);
    set_integer(object, "queueOffset", message->queue_offset);
    set_integer(object, "bornTimestamp", message->born_timestamp_ms);
    set_integer(object, "storeTimestamp", message->store_timestamp_ms);
    set_host(object, "bornHost", &message->born_host);
    set_host(object, "storeHost", &message->store_host);
    set_integer(object, "reconsumeTimes", message->reconsume_times);
    set_integer(object, "flag", message->flag);
    set_integer(object, "sysFlag", message->sys_flag);
    if (source->pop) {
        set_receipt(object, message, source);
    }
    return object;
}

static json_t *raw_to_json(struct span raw, const char *reason)
{
    json_t *object = json_object();
    if (object) {
        raw.n = raw.n < RAW_MAX ? raw.n : RAW_MAX;
        set_raw(object, raw, reason);
    }
    return object;
}

/* The next message of (data, n) as JSON; *ret_size is how far to walk on. */
static json_t *next_to_json(
    const uint8_t *data, size_t n, const struct message_json_source *source, size_t *ret_size)
{
    struct message message;
    size_t size = 0;
    switch (message_decode(data, n, &message, &size)) {
    case MESSAGE_OK:
        *ret_size = size;
        return message_to_json(&message, source);
    case MESSAGE_PARTIAL:
        *ret_size = n;
        return raw_to_json((struct span){ (const char *)data, n }, "the message is cut off");
    case MESSAGE_MALFORMED:
        *ret_size = size > 0 ? size : n;
        return raw_to_json(
            (struct span){ (const char *)data, *ret_size }, "this is no stored message");
    }
    return NULL;
}

/* The message at the start of (data, n) is left out; *ret_size is how far to walk on. */
static void leave_out(const uint8_t *data, size_t n, const struct message_json_source *source,
    struct message_json_counts *counts, size_t *ret_size)
{
    struct message message;
    struct receipt receipt;
    size_t size = 0;
    bool is_message = message_decode(data, n, &message, &size) == MESSAGE_OK;
    if (counts->n_truncated++ == 0) {
        counts->left_out_offset = is_message ? message.queue_offset : -1;
    }
    if (is_message && source->on_left_out && source->pop &&
        receipt_from_pop(
            source->pop, &message, source->topic, source->group, source->broker_name, &receipt)) {
        source->on_left_out(source->context, &receipt);
    }
    *ret_size = size > 0 ? size : n;
}

/*
 * Appends the message at the start of (data, n) if it fits, and otherwise leaves *ret_fits false.
 * False without memory.
 */
static bool append_next(struct text *text, const uint8_t *data, size_t n,
    const struct message_json_source *source, bool is_first, bool *ret_fits, size_t *ret_size)
{
    CLEANUP(json_free) json_t *object = next_to_json(data, n, source, ret_size);
    char *dump = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (!dump) {
        return false;
    }
    size_t dump_n = strlen(dump);
    *ret_fits = text->n + dump_n + 2 <= MESSAGE_JSON_SIZE_MAX;
    bool is_fine =
        !*ret_fits || ((is_first || text_append(text, ",", 1)) && text_append(text, dump, dump_n));
    free(dump);
    return is_fine;
}

char *message_json_from_body(struct span body, const struct message_json_source *source,
    struct message_json_counts *ret_counts, size_t *ret_size)
{
    struct text text = { 0 };
    struct message_json_counts counts = { .left_out_offset = -1 };
    bool is_fine = text_append(&text, "[", 1);
    size_t size;
    for (size_t at = 0; is_fine && at < body.n; at += size) {
        const uint8_t *data = (const uint8_t *)body.data + at;
        bool fits = counts.n < MESSAGE_JSON_COUNT_MAX;
        if (fits && counts.n_truncated == 0) {
            is_fine = append_next(&text, data, body.n - at, source, counts.n == 0, &fits, &size);
        }
        /* What stands behind one that does not fit is left out too: their order stays. */
        if (fits && counts.n_truncated == 0) {
            counts.n++;
        } else {
            leave_out(data, body.n - at, source, &counts, &size);
        }
    }
    if (!is_fine || !text_append(&text, "]", 1)) {
        free(text.data);
        return NULL;
    }
    *ret_counts = counts;
    *ret_size = text.n;
    return text.data;
}
