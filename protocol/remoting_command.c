#include "protocol/remoting_command.h"

#include "protocol/header_json.h"
#include "protocol/header_rocketmq.h"

#include <stdio.h>

/* To here it is cheaper to have a bound of a head's size than to count it. */
#define HEAD_ROOM_MAX 4096u

#define LANGUAGE_TEXT(text)                                                                        \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const struct span language_names[] = {
    [LANGUAGE_JAVA] = LANGUAGE_TEXT("JAVA"),
    [LANGUAGE_CPP] = LANGUAGE_TEXT("CPP"),
    [LANGUAGE_DOTNET] = LANGUAGE_TEXT("DOTNET"),
    [LANGUAGE_PYTHON] = LANGUAGE_TEXT("PYTHON"),
    [LANGUAGE_DELPHI] = LANGUAGE_TEXT("DELPHI"),
    [LANGUAGE_ERLANG] = LANGUAGE_TEXT("ERLANG"),
    [LANGUAGE_RUBY] = LANGUAGE_TEXT("RUBY"),
    [LANGUAGE_OTHER] = LANGUAGE_TEXT("OTHER"),
    [LANGUAGE_HTTP] = LANGUAGE_TEXT("HTTP"),
    [LANGUAGE_GO] = LANGUAGE_TEXT("GO"),
    [LANGUAGE_PHP] = LANGUAGE_TEXT("PHP"),
    [LANGUAGE_OMS] = LANGUAGE_TEXT("OMS"),
    [LANGUAGE_RUST] = LANGUAGE_TEXT("RUST"),
    [LANGUAGE_NODE_JS] = LANGUAGE_TEXT("NODE_JS"),
};

#define N_LANGUAGES (sizeof(language_names) / sizeof(language_names[0]))

/* Of the input no more gets into remarks and logs than a few printable characters. */
struct excerpt {
    char text[44];
};

static struct excerpt make_excerpt(struct span input)
{
    struct excerpt excerpt = { "" };
    size_t room = sizeof(excerpt.text) - sizeof("...");
    size_t n = input.n < room ? input.n : room;
    for (size_t i = 0; i < n; i++) {
        char byte = input.data[i];
        excerpt.text[i] = byte;
        if (byte < ' ' || byte > '~') {
            excerpt.text[i] = '?';
        }
    }
    memcpy(excerpt.text + n, n < input.n ? "..." : "", n < input.n ? sizeof("...") : 1);
    return excerpt;
}

void header_problem_set(
    struct header_problem *problem, struct span where, struct span seen, const char *accepted)
{
    (void)snprintf(problem->text, sizeof(problem->text), "%s: saw %s; accepted: %s",
        make_excerpt(where).text, make_excerpt(seen).text, accepted);
}

void remoting_command_init(
    struct remoting_command *command, struct ext_field *storage, size_t capacity)
{
    *command = (struct remoting_command){ .language = LANGUAGE_JAVA };
    ext_fields_init(&command->ext_fields, storage, capacity);
}

enum header_status remoting_command_decode(struct remoting_command *command, uint8_t *frame,
    size_t size, enum serialize_type *ret_serialize_type, struct header_problem *ret_problem)
{
    struct frame_parts parts;
    frame_split(frame, size, &parts);
    *ret_serialize_type = parts.serialize_type;
    command->body = (struct span){ (const char *)parts.body, parts.body_size };
    enum header_status status = HEADER_SYNTAX;
    switch (parts.serialize_type) {
    case SERIALIZE_JSON:
        status = header_json_decode(command, (char *)parts.header, parts.header_size, ret_problem);
        break;
    case SERIALIZE_ROCKETMQ:
        status = header_rocketmq_decode(command, parts.header, parts.header_size, ret_problem);
        break;
    }
    if (status != HEADER_OK) {
        /* What was read of them may still be escaped, or half of what was sent. */
        command->remark = SPAN_ABSENT;
        command->has_ext_fields = false;
        command->ext_fields.n = 0;
    }
    return status;
}

size_t remoting_command_encoded_head_size(
    const struct remoting_command *command, enum serialize_type serialize_type)
{
    size_t size = 0;
    switch (serialize_type) {
    case SERIALIZE_JSON:
        size = header_json_encoded_size(command);
        break;
    case SERIALIZE_ROCKETMQ:
        size = header_rocketmq_encoded_size(command);
        break;
    }
    return size == 0 || size > FRAME_HEADER_LENGTH_MAX ? 0 : FRAME_PREFIX_SIZE + size;
}

size_t remoting_command_head_room(
    const struct remoting_command *command, enum serialize_type serialize_type)
{
    if (serialize_type == SERIALIZE_JSON) {
        size_t room = FRAME_PREFIX_SIZE + header_json_encoded_size_max(command);
        if (room <= HEAD_ROOM_MAX && command->body.n <= FRAME_SIZE_MAX - HEAD_ROOM_MAX) {
            return room;
        }
    }
    size_t size = remoting_command_encoded_head_size(command, serialize_type);
    return size == 0 || size > FRAME_SIZE_MAX || command->body.n > FRAME_SIZE_MAX - size ? 0 : size;
}

size_t remoting_command_encode_head(
    const struct remoting_command *command, enum serialize_type serialize_type, uint8_t *dst)
{
    uint8_t *header = dst + FRAME_PREFIX_SIZE;
    size_t size = 0;
    switch (serialize_type) {
    case SERIALIZE_JSON:
        size = header_json_encode(command, (char *)header);
        break;
    case SERIALIZE_ROCKETMQ:
        size = header_rocketmq_encode(command, header);
        break;
    }
    frame_encode_prefix(dst, serialize_type, size, command->body.n);
    return FRAME_PREFIX_SIZE + size;
}

/* An empty body lies at the very end of its frame, and moves too. */
static void rebase_span(struct span *span, uintptr_t from, size_t n, const char *to)
{
    uintptr_t at = (uintptr_t)span->data;
    if (span->data && at >= from && at - from <= n && span->n <= n - (at - from)) {
        span->data = to + (at - from);
    }
}

void remoting_command_rebase(
    struct remoting_command *command, const void *from, size_t n, const void *to)
{
    uintptr_t start = (uintptr_t)from;
    rebase_span(&command->remark, start, n, to);
    rebase_span(&command->body, start, n, to);
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        rebase_span(&command->ext_fields.fields[i].key, start, n, to);
        rebase_span(&command->ext_fields.fields[i].value, start, n, to);
    }
}

struct span language_name(enum language language)
{
    return language_names[language < N_LANGUAGES ? language : LANGUAGE_OTHER];
}

enum language language_from_name(struct span name)
{
    for (size_t i = 0; i < N_LANGUAGES; i++) {
        if (span_equals(name, language_names[i])) {
            return (enum language)i;
        }
    }
    return LANGUAGE_UNKNOWN;
}

enum language language_from_number(int64_t number)
{
    return number >= 0 && number < (int64_t)N_LANGUAGES ? (enum language)number : LANGUAGE_UNKNOWN;
}
