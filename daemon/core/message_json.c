#include "daemon/core/message_json.h"

#include "daemon/core/classic_receipt.h"
#include "daemon/core/reply_receipt.h"
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

/* The body of a message as it is shown. */
struct content {
    struct span body;
    const char *reason; /* NULL, or why it is shown raw */
    char *owned;        /* what body lies in after decompression, to be freed */
};

/*
 * What little compressed data becomes is believed up to MESSAGE_JSON_FREE_SIZE, beyond that up to a
 * ratio: a small message must not cost what a large one does.
 */
static size_t decompressed_limit(
    const struct message *message, const struct message_json_source *source)
{
    size_t by_ratio = message->body.n < SIZE_MAX / MESSAGE_JSON_RATIO_MAX
                          ? message->body.n * MESSAGE_JSON_RATIO_MAX
                          : SIZE_MAX;
    size_t limit = by_ratio < MESSAGE_JSON_FREE_SIZE ? MESSAGE_JSON_FREE_SIZE : by_ratio;
    return limit < source->max_decompressed ? limit : source->max_decompressed;
}

static struct content content_open(
    const struct message *message, const struct message_json_source *source)
{
    struct content content = { .body = message->body };
    if (!(message->sys_flag & MESSAGE_SYSFLAG_COMPRESSED)) {
        return content;
    }
    size_t limit = decompressed_limit(message, source);
    size_t size = 0;
    switch (message_body_decompress(message, limit, &content.owned, &size)) {
    case MESSAGE_BODY_OK:
        content.body = (struct span){ content.owned, size };
        break;
    case MESSAGE_BODY_CORRUPT:
        content.reason = "the compressed body is corrupt";
        break;
    case MESSAGE_BODY_TOO_LARGE:
        content.reason = limit < source->max_decompressed
                             ? "the body becomes more than 200 times as large"
                             : "the body is larger than limits.max_decompressed";
        break;
    case MESSAGE_BODY_UNKNOWN_COMPRESSION:
        content.reason = "the body is compressed in a way that is not known";
        break;
    case MESSAGE_BODY_NO_MEMORY:
        content.reason = "no memory to decompress the body";
        break;
    }
    return content;
}

static void set_content(json_t *object, const struct content *content)
{
    if (content->reason) {
        set_raw(object, content->body, content->reason);
    } else {
        set_body(object, content->body);
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

static void set_classic_receipt(
    json_t *object, const struct message *message, const struct message_json_source *source)
{
    const struct classic_receipt receipt = {
        .topic = source->topic,
        .group = source->group,
        .broker_name = source->broker_name,
        .queue_id = message->queue_id,
        .offset = message->queue_offset,
    };
    char text[RECEIPT_TEXT_MAX];
    if (classic_receipt_encode(&receipt, text, sizeof(text)) > 0) {
        set_text(object, "receipt", span_of(text));
    } else {
        set_reason(object, "the broker's name cannot be in a receipt");
    }
}

static void set_reply_receipt(json_t *object, const struct message *message)
{
    struct reply_receipt receipt;
    char text[RECEIPT_TEXT_MAX];
    if (reply_receipt_from_request(message->properties, &receipt) &&
        reply_receipt_encode(&receipt, text, sizeof(text)) > 0) {
        set_text(object, "replyReceipt", span_of(text));
    }
}

/* stored: the message itself, or the one it stood in, which is what a receipt acknowledges. */
static json_t *message_to_json(const struct message *message, const struct content *content,
    const struct message *stored, const struct message_json_source *source)
{
    json_t *object = json_object();
    if (!object) {
        return NULL;
    }
    char id[MESSAGE_OFFSET_ID_SIZE];
    message_offset_id(message, id);
    bool is_asked_for = !span_is_empty(source->topic);
    set_text(object, "topic", is_asked_for ? source->topic : message->topic);
    set_content(object, content);
    set_properties(object, message);
    set_reply_receipt(object, message);
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
    set_integer(object, "reconsumeTimes",
        source->pop ? receipt_pop_reconsume_times(source->pop, stored) : message->reconsume_times);
    set_integer(object, "flag", message->flag);
    set_integer(object, "sysFlag", message->sys_flag);
    if (source->pop) {
        set_receipt(object, stored, source);
    } else if (source->is_classic) {
        set_classic_receipt(object, stored, source);
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

/* What becomes the answer. */
struct message_json {
    struct text text;
    const struct message_json_source *source;
    struct message_json_counts counts;
    int64_t next_offset; /* behind the last message of this body that is in the array, or -1 */
};

/*
 * Appends the object, which it takes over, if it fits, and otherwise leaves *ret_fits false. False
 * without memory.
 */
static bool array_append(struct message_json *array, json_t *taken, bool *ret_fits)
{
    CLEANUP(json_free) json_t *object = taken;
    char *dump = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (!dump) {
        return false;
    }
    struct text *text = &array->text;
    size_t n = strlen(dump);
    *ret_fits = text->n + n + 2 <= MESSAGE_JSON_SIZE_MAX;
    bool is_fine =
        !*ret_fits || ((text->n == 1 || text_append(text, ",", 1)) && text_append(text, dump, n));
    free(dump);
    return is_fine;
}

/* One message whole; where it is the first, and too large for any answer, without its body. */
static bool append_message(struct message_json *array, const struct message *message,
    const struct content *content, bool *ret_fits)
{
    if (!array_append(array, message_to_json(message, content, message, array->source), ret_fits)) {
        return false;
    }
    if (!*ret_fits && array->counts.n == 0) {
        struct content cut = { .body = message->body, .reason = "the message fits no answer" };
        cut.body.n = cut.body.n < RAW_MAX ? cut.body.n : RAW_MAX;
        if (!array_append(
                array, message_to_json(message, &cut, message, array->source), ret_fits)) {
            return false;
        }
    }
    array->counts.n += *ret_fits;
    return true;
}

static bool is_inner_batch(const struct message *message)
{
    const int32_t flags = MESSAGE_SYSFLAG_INNER_BATCH | MESSAGE_SYSFLAG_NEED_UNWRAP;
    return (message->sys_flag & flags) == flags;
}

/*
 * The messages of an inner batch, all or none: they have one receipt. *ret_n is how many there were;
 * *ret_is_whole whether they are what it holds, to its end.
 */
static bool append_inner(struct message_json *array, const struct message *stored,
    struct span batch, bool *ret_fits, size_t *ret_n, bool *ret_is_whole)
{
    struct message_inner inner;
    size_t at = 0;
    bool is_fine = true;
    *ret_fits = true;
    *ret_n = 0;
    while (is_fine && *ret_fits && array->counts.n + *ret_n < MESSAGE_JSON_COUNT_MAX &&
           message_inner_next(batch, &at, &inner)) {
        struct message message = *stored;
        message.flag = inner.flag;
        message.properties = inner.properties;
        /* Whatever offset a broker writes: as Java's long beyond the last one. */
        message.queue_offset = (int64_t)((uint64_t)stored->queue_offset + *ret_n);
        const struct content content = { .body = inner.body };
        is_fine = array_append(
            array, message_to_json(&message, &content, stored, array->source), ret_fits);
        *ret_n += 1;
    }
    *ret_is_whole = at == batch.n && *ret_n > 0;
    if (array->counts.n + *ret_n >= MESSAGE_JSON_COUNT_MAX && at < batch.n) {
        *ret_fits = false;
    }
    return is_fine;
}

static bool append_stored(struct message_json *array, const struct message *message, bool *ret_fits)
{
    struct content content = content_open(message, array->source);
    bool is_fine = true;
    bool is_done = false;
    size_t n_queued = 1;
    if (is_inner_batch(message) && !content.reason) {
        size_t before = array->text.n;
        size_t n;
        bool is_whole;
        is_fine = append_inner(array, message, content.body, ret_fits, &n, &is_whole);
        is_done = *ret_fits ? is_whole : array->counts.n > 0;
        if (is_done && *ret_fits) {
            array->counts.n += n;
            n_queued = n;
        } else {
            array->text.n = before;
        }
        content.reason = *ret_fits ? "the inner batch is corrupt"
                                   : "the messages of the inner batch fit no answer";
    }
    if (is_fine && !is_done) {
        is_fine = append_message(array, message, &content, ret_fits);
    }
    if (is_fine && *ret_fits) {
        array->next_offset = (int64_t)((uint64_t)message->queue_offset + n_queued);
    }
    free(content.owned);
    return is_fine;
}

/*
 * Appends what stands at the start of (data, n); *ret_size is how far to walk on. False without
 * memory.
 */
static bool append_next(
    struct message_json *array, const uint8_t *data, size_t n, bool *ret_fits, size_t *ret_size)
{
    struct message message;
    size_t size = 0;
    enum message_status status = message_decode(data, n, &message, &size);
    *ret_size = size > 0 ? size : n;
    if (status == MESSAGE_OK) {
        return append_stored(array, &message, ret_fits);
    }
    json_t *raw = raw_to_json((struct span){ (const char *)data, *ret_size },
        status == MESSAGE_PARTIAL ? "the message is cut off" : "this is no stored message");
    bool is_fine = array_append(array, raw, ret_fits);
    array->counts.n += is_fine && *ret_fits;
    return is_fine;
}

/* The message at the start of (data, n) is left out; *ret_size is how far to walk on. */
static void leave_out(struct message_json *array, const uint8_t *data, size_t n, size_t *ret_size)
{
    const struct message_json_source *source = array->source;
    struct message_json_counts *counts = &array->counts;
    struct message message;
    struct receipt receipt;
    size_t size = 0;
    bool is_message = message_decode(data, n, &message, &size) == MESSAGE_OK;
    bool is_first = counts->n_truncated++ == 0;
    if (is_first && !is_message) {
        counts->left_out_offset = array->next_offset;
    } else if (is_message && counts->left_out_offset < 0) {
        counts->left_out_offset = message.queue_offset;
    }
    if (is_message && source->on_left_out && source->pop &&
        receipt_from_pop(
            source->pop, &message, source->topic, source->group, source->broker_name, &receipt)) {
        source->on_left_out(source->context, &receipt);
    }
    *ret_size = size > 0 ? size : n;
}

struct message_json *message_json_new(void)
{
    struct message_json *json = calloc(1, sizeof(*json));
    if (json && !text_append(&json->text, "[", 1)) {
        free(json);
        return NULL;
    }
    if (json) {
        json->counts.left_out_offset = -1;
    }
    return json;
}

bool message_json_append(
    struct message_json *json, struct span body, const struct message_json_source *source)
{
    struct message_json_counts *counts = &json->counts;
    json->source = source;
    json->next_offset = -1;
    bool is_fine = true;
    size_t size = 0;
    for (size_t at = 0; is_fine && at < body.n; at += size) {
        const uint8_t *data = (const uint8_t *)body.data + at;
        bool fits = false;
        /* What stands behind one that does not fit is left out too: their order stays. */
        if (counts->n_truncated == 0 && counts->n < MESSAGE_JSON_COUNT_MAX) {
            is_fine = append_next(json, data, body.n - at, &fits, &size);
        }
        if (is_fine && !fits) {
            leave_out(json, data, body.n - at, &size);
        }
    }
    json->source = NULL;
    return is_fine;
}

char *message_json_end(struct message_json *json, bool is_fine,
    struct message_json_counts *ret_counts, size_t *ret_size)
{
    char *text = NULL;
    if (json && is_fine && text_append(&json->text, "]", 1)) {
        text = json->text.data;
        *ret_counts = json->counts;
        *ret_size = json->text.n;
    } else if (json) {
        free(json->text.data);
    }
    free(json);
    return text;
}

char *message_json_from_body(struct span body, const struct message_json_source *source,
    struct message_json_counts *ret_counts, size_t *ret_size)
{
    struct message_json *json = message_json_new();
    bool is_fine = json && message_json_append(json, body, source);
    return message_json_end(json, is_fine, ret_counts, ret_size);
}

char *message_json_from_reply(
    const struct message *message, const struct message_json_source *source, size_t *ret_size)
{
    static const char *const of_a_queue[] = { "offsetMsgId", "queueId", "queueOffset" };
    struct message_json *json = message_json_new();
    struct message_json_counts counts;
    struct content content = content_open(message, source);
    json_t *object = message_to_json(message, &content, message, source);
    free(content.owned);
    for (size_t i = 0; i < sizeof(of_a_queue) / sizeof(of_a_queue[0]); i++) {
        json_object_del(object, of_a_queue[i]);
    }
    bool fits = false;
    if (!json) {
        json_decref(object);
        return NULL;
    }
    bool is_fine = array_append(json, object, &fits) && fits;
    return message_json_end(json, is_fine, &counts, ret_size);
}
