/*
 * Bodies of SEND_BATCH_MESSAGE: from JSON comes a batch with the bodies of the JSON, well-formed by
 * our own rule; and what that rule takes can be walked to its end, and stamped.
 */
#include "daemon/core/send_batch.h"

#include "daemon/core/sender_stamp.h"
#include "protocol/base64.h"
#include "protocol/message.h"
#include "tests/fuzz/target.h"

#include <jansson.h>
#include <string.h>

#define PROBLEM_SIZE 256
#define SIZE_LIMIT   65536

static size_t count_commas(struct span text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        n += text.data[i] == ',';
    }
    return n;
}

/* How many there are; that the walk ends at the end. */
static size_t walk(struct span body)
{
    size_t at = 0;
    size_t n = 0;
    struct message_inner inner;
    while (message_inner_next(body, &at, &inner)) {
        n++;
    }
    promise(at == body.n && n > 0, "%zu messages, ended at %zu of %zu", n, at, body.n);
    return n;
}

static void promise_body(struct span body, const json_t *row)
{
    const json_t *value = json_object_get(row, "body");
    const char *encoding = json_string_value(json_object_get(row, "encoding"));
    struct span text = { json_string_value(value), json_string_length(value) };
    if (encoding && strcmp(encoding, "base64") == 0) {
        char *bytes = NULL;
        size_t n = 0;
        promise(base64_decode(text, &bytes, &n) == 0, "%.*s is no base64", SPAN_ARGS(text));
        promise(span_equals(body, (struct span){ bytes, n }), "another body");
        free(bytes);
    } else {
        promise(span_equals(body, text), "another body");
    }
}

static void promise_bodies(struct span encoded, struct span json)
{
    json_t *array = json_loadb(json.data, json.n, JSON_REJECT_DUPLICATES, NULL);
    promise(json_array_size(array) == walk(encoded), "%zu rows", json_array_size(array));
    size_t at = 0;
    struct message_inner inner;
    for (size_t i = 0; message_inner_next(encoded, &at, &inner); i++) {
        promise_body(inner.body, json_array_get(array, i));
        promise(!span_is_empty(message_property(inner.properties, SPAN(PROPERTY_UNIQ_KEY))),
            "message %zu has no UNIQ_KEY", i);
    }
    json_decref(array);
}

static void promise_batch(const struct send_batch *batch, struct span json)
{
    size_t size = send_batch_encoded_size(batch);
    promise(size > 0 && size <= SIZE_LIMIT, "%zu bytes", size);
    char *encoded = malloc(size);
    promise(encoded, "no memory");
    send_batch_encode(batch, encoded);
    struct span body = { encoded, size };
    char problem[PROBLEM_SIZE] = "";
    promise(send_batch_is_well_formed(body, problem, sizeof(problem)), "%s", problem);
    promise_bodies(body, json);
    /* More where a key that the caller gave has a comma in it. */
    promise(count_commas(send_batch_uniq_keys(batch)) + 1 >= walk(body), "%.*s",
        SPAN_ARGS(send_batch_uniq_keys(batch)));
    free(encoded);
}

static void try_json(struct span json)
{
    static const uint8_t ip[4] = { 10, 0, 0, 9 };
    struct uniq_key_maker maker;
    uniq_key_init(&maker, ip, 42, 7);
    const struct send_batch_rules rules = { .max_size = SIZE_LIMIT, .uniq_keys = &maker };
    CLEANUP(send_batch_free) struct send_batch *batch = NULL;
    char problem[PROBLEM_SIZE] = "";
    switch (send_batch_parse(json, &rules, &batch, problem, sizeof(problem))) {
    case SEND_BATCH_OK:
        promise_batch(batch, json);
        break;
    case SEND_BATCH_INVALID:
        promise(problem[0] != '\0' && !batch, "no word about it");
        break;
    case SEND_BATCH_NO_MEMORY:
        promise(false, "no memory");
        break;
    }
}

/* What is stamped is the same messages, each with a stamp. */
static void try_stamp(struct span body)
{
    struct sender_stamp stamp;
    char problem[PROBLEM_SIZE] = "";
    sender_stamp_init(&stamp, true, 33, "shop.service");
    size_t size = send_batch_stamped_size(body, sender_stamp_text(&stamp));
    if (send_batch_has_stamp(body) || size == 0) {
        return;
    }
    char *stamped = malloc(size);
    promise(stamped, "no memory");
    send_batch_stamp(body, sender_stamp_text(&stamp), stamped);
    struct span after = { stamped, size };
    promise(send_batch_is_well_formed(after, problem, sizeof(problem)), "%s", problem);
    promise(walk(after) == walk(body), "%zu messages", walk(after));
    size_t at = 0, at_after = 0;
    struct message_inner inner, inner_after;
    while (message_inner_next(body, &at, &inner) &&
           message_inner_next(after, &at_after, &inner_after)) {
        promise(span_equals(inner.body, inner_after.body), "another body");
        promise(span_starts_with(inner_after.properties, inner.properties), "other properties");
        promise(sender_stamp_is_given(inner_after.properties), "no stamp");
        promise(
            span_equals(message_property(inner_after.properties, SPAN("SENDER_UID")), SPAN("33")),
            "another user");
    }
    free(stamped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span body = { (const char *)data, n };
    char problem[PROBLEM_SIZE] = "";
    if (send_batch_is_well_formed(body, problem, sizeof(problem))) {
        (void)walk(body);
        try_stamp(body);
    } else {
        promise(problem[0] != '\0', "no word about it");
    }
    try_json(body);
    return 0;
}
