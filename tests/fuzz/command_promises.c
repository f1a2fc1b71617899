#include "tests/fuzz/command_promises.h"

#include "tests/fuzz/target.h"

#include <jansson.h>
#include <string.h>

static struct ext_field storage[EXT_FIELDS_MAX];

/* As the binary form says a text: absent where it is empty. */
static struct span as_said(struct span text, enum serialize_type serialize_type)
{
    return serialize_type == SERIALIZE_ROCKETMQ && text.n == 0 ? SPAN_ABSENT : text;
}

static void promise_equal_texts(struct span a, struct span b, const char *what)
{
    promise(span_equals(a, b) && span_is_absent(a) == span_is_absent(b), "%s: '%.*s' and '%.*s'",
        what, SPAN_ARGS(a), SPAN_ARGS(b));
}

static void promise_equal_numbers(const struct remoting_command *command,
    const struct remoting_command *again, enum serialize_type serialize_type)
{
    bool is_short = serialize_type == SERIALIZE_ROCKETMQ;
    int32_t code = is_short ? (int16_t)command->code : command->code;
    int32_t version = is_short ? (int16_t)command->version : command->version;
    enum language language =
        command->language == LANGUAGE_UNKNOWN ? LANGUAGE_OTHER : command->language;
    promise(again->code == code, "code %d", (int)again->code);
    promise(again->version == version, "version %d", (int)again->version);
    promise(again->flag == command->flag, "flag %d", (int)again->flag);
    promise(again->opaque == command->opaque, "opaque %d", (int)again->opaque);
    promise(
        again->language == language, "language %.*s", SPAN_ARGS(language_name(again->language)));
}

static void promise_equal_fields(const struct ext_fields *fields, const struct ext_fields *again,
    enum serialize_type serialize_type)
{
    size_t n = 0;
    for (size_t i = 0; i < fields->n; i++) {
        const struct ext_field *field = &fields->fields[i];
        bool is_lost = serialize_type == SERIALIZE_ROCKETMQ &&
                       (span_is_empty(field->key) || span_is_empty(field->value));
        if (!is_lost) {
            promise(n < again->n, "%zu of %zu fields came back", again->n, fields->n);
            promise_equal_texts(again->fields[n].key, field->key, "a key");
            promise_equal_texts(again->fields[n].value, field->value, "a value");
            n++;
        }
    }
    promise(n == again->n, "%zu fields came back, not %zu", again->n, n);
}

static void promise_jansson_reads(const uint8_t *frame)
{
    size_t header_size = (size_t)frame[5] << 16 | (size_t)frame[6] << 8 | frame[7];
    json_error_t error;
    json_t *header = json_loadb(
        (const char *)frame + FRAME_PREFIX_SIZE, header_size, JSON_REJECT_DUPLICATES, &error);
    promise(json_is_object(header), "%s: %.*s", error.text, (int)header_size,
        (const char *)frame + FRAME_PREFIX_SIZE);
    json_decref(header);
}

static void promise_form(const struct remoting_command *command, enum serialize_type serialize_type)
{
    size_t head_size = remoting_command_encoded_head_size(command, serialize_type);
    if (head_size == 0) {
        promise(serialize_type == SERIALIZE_ROCKETMQ, "JSON cannot say it");
        return;
    }
    size_t size = head_size + command->body.n;
    uint8_t *frame = malloc(size);
    promise(frame, "no memory");
    remoting_command_encode_head(command, serialize_type, frame);
    if (command->body.n > 0) {
        memcpy(frame + head_size, command->body.data, command->body.n);
    }
    size_t measured = 0;
    promise(
        frame_measure(frame, size, FRAME_SIZE_MAX, &measured) == FRAME_COMPLETE && measured == size,
        "%zu bytes are no frame", size);
    if (serialize_type == SERIALIZE_JSON) {
        promise_jansson_reads(frame);
    }
    struct remoting_command again;
    enum serialize_type its_type;
    struct header_problem problem = { "" };
    remoting_command_init(&again, storage, EXT_FIELDS_MAX);
    promise(remoting_command_decode(&again, frame, size, &its_type, &problem) == HEADER_OK &&
                its_type == serialize_type,
        "%s", problem.text);
    promise_equal_numbers(command, &again, serialize_type);
    promise_equal_texts(again.remark, as_said(command->remark, serialize_type), "the remark");
    promise_equal_fields(&command->ext_fields, &again.ext_fields, serialize_type);
    promise(span_equals(again.body, command->body), "the body");
    free(frame);
}

void promise_command(const struct remoting_command *command)
{
    promise_form(command, SERIALIZE_JSON);
    promise_form(command, SERIALIZE_ROCKETMQ);
}

void promise_problem(const struct header_problem *problem)
{
    promise(strstr(problem->text, "; accepted: "), "%s", problem->text);
    for (const char *at = problem->text; *at != '\0'; at++) {
        promise(*at >= ' ' && *at <= '~', "%s", problem->text);
    }
}
