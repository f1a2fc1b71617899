/*
 * Stored messages: a walk stays within its bytes and ends, bodies are decompressed within their
 * limit, and the JSON of it all is JSON whose receipts can be read.
 */
#include "protocol/message.h"

#include "daemon/core/message_json.h"
#include "daemon/core/receipt.h"
#include "tests/fuzz/target.h"

#include <jansson.h>
#include <string.h>

#define BODY_LIMIT 65536

static void promise_within(struct span part, const uint8_t *data, size_t n, const char *what)
{
    if (part.n > 0) {
        const uint8_t *begin = (const uint8_t *)part.data;
        promise(begin >= data && begin + part.n <= data + n, "%s lies elsewhere", what);
    }
}

static void try_properties(struct span properties)
{
    size_t at = 0;
    struct span name, value;
    while (message_properties_next(properties, &at, &name, &value)) {
        promise(name.n > 0 && at <= properties.n, "a property without a name");
        promise_within(name, (const uint8_t *)properties.data, properties.n, "a name");
        promise_within(value, (const uint8_t *)properties.data, properties.n, "a value");
        promise(!span_is_absent(message_property(properties, name)), "%.*s is not found",
            SPAN_ARGS(name));
    }
}

static void try_inner(struct span batch)
{
    size_t at = 0;
    size_t before = 0;
    struct message_inner inner;
    while (message_inner_next(batch, &at, &inner)) {
        promise(at > before && at <= batch.n, "the walk is at %zu after %zu", at, before);
        promise_within(inner.body, (const uint8_t *)batch.data, batch.n, "an inner body");
        promise_within(inner.properties, (const uint8_t *)batch.data, batch.n, "inner properties");
        try_properties(inner.properties);
        before = at;
    }
}

/* What we compress is what we read. */
static void try_compression(struct span body)
{
    static const enum message_compression ways[] = { MESSAGE_COMPRESSION_LZ4,
        MESSAGE_COMPRESSION_ZSTD, MESSAGE_COMPRESSION_ZLIB };
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        size_t bound = message_body_compress_bound(ways[i], body.n);
        char *packed = malloc(bound);
        promise(packed, "no memory");
        size_t size = message_body_compress(ways[i], body, packed);
        promise(size > 0 && size <= bound, "%zu bytes, bound %zu", size, bound);
        const struct message message = {
            .sys_flag = message_compression_sys_flag(ways[i]),
            .body = { packed, size },
        };
        char *again = NULL;
        size_t n = 0;
        promise(message_body_decompress(&message, BODY_LIMIT, &again, &n) == MESSAGE_BODY_OK,
            "way %zu", i);
        promise(span_equals((struct span){ again, n }, body), "another body");
        free(again);
        free(packed);
    }
}

static void try_body(const struct message *message)
{
    char *body = NULL;
    size_t size = 0;
    if ((message->sys_flag & MESSAGE_SYSFLAG_COMPRESSED) &&
        message_body_decompress(message, BODY_LIMIT, &body, &size) == MESSAGE_BODY_OK) {
        promise(size <= BODY_LIMIT, "%zu bytes", size);
        try_inner((struct span){ body, size });
        try_compression((struct span){ body, size });
        free(body);
    }
    try_inner(message->body);
}

static void try_message(const struct message *message, const uint8_t *data, size_t size)
{
    promise_within(message->body, data, size, "the body");
    promise_within(message->topic, data, size, "the topic");
    promise_within(message->properties, data, size, "the properties");
    char id[MESSAGE_OFFSET_ID_SIZE];
    message_offset_id(message, id);
    promise(strlen(id) == (message->store_host.is_v6 ? 56u : 32u), "%s", id);
    char host[MESSAGE_HOST_TEXT_SIZE];
    message_host_text(&message->born_host, host);
    promise(strchr(host, ':'), "%s", host);
    try_properties(message->properties);
    try_body(message);
}

static void walk(const uint8_t *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        struct message message;
        size_t size = 0;
        switch (message_decode(data + at, n - at, &message, &size)) {
        case MESSAGE_OK:
            promise(size == (size_t)message.total_size && size > 0 && size <= n - at, "%zu", size);
            try_message(&message, data + at, size);
            break;
        case MESSAGE_PARTIAL:
            promise(size == 0, "%zu bytes of %zu", size, n - at);
            return;
        case MESSAGE_MALFORMED:
            promise(size == 0 || (size >= 4 && size <= n - at), "%zu", size);
            if (size == 0) {
                return;
            }
            break;
        }
        at += size;
    }
}

static void promise_receipt(const json_t *row)
{
    const char *text = json_string_value(json_object_get(row, "receipt"));
    if (text) {
        struct receipt receipt;
        promise(receipt_decode(span_of(text), &receipt), "%s", text);
    }
}

static void try_json(const uint8_t *data, size_t n)
{
    const struct receipt_pop_info pop = {
        .start_offset_info = SPAN("0 0 0;1 0 0;2 0 0"),
        .msg_offset_info = SPAN("0 0 0,1,2,3;1 0 4,5"),
        .pop_time_ms = 1700000000000,
        .invisible_time_ms = 60000,
        .revive_queue_id = 3,
    };
    const struct message_json_source source = {
        .topic = SPAN("Topic"),
        .group = SPAN("Group"),
        .broker_name = SPAN("broker-a"),
        .pop = &pop,
        .max_decompressed = BODY_LIMIT,
    };
    struct message_json_counts counts;
    size_t size;
    char *text =
        message_json_from_body((struct span){ (const char *)data, n }, &source, &counts, &size);
    promise(text, "no memory");
    json_error_t error;
    json_t *array = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    promise(json_is_array(array), "%s: %.*s", error.text, (int)size, text);
    promise(json_array_size(array) == counts.n, "%zu of %zu", json_array_size(array), counts.n);
    for (size_t i = 0; i < counts.n; i++) {
        promise_receipt(json_array_get(array, i));
    }
    json_decref(array);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    walk(data, n);
    try_json(data, n);
    return 0;
}
