/*
 * Control commands and what callers send in bodies of JSON: heartbeats, lists of addresses, of
 * receipts, of messages. An input is text:
 *
 *     CODE
 *     field=value          any number of these
 *                          an empty line
 *     body
 *
 * Whatever it says, the daemon answers it once, and its own answers are JSON.
 */
#include "protocol/code.h"
#include "protocol/heartbeat.h"
#include "protocol/utf8.h"
#include "tests/fuzz/stage.h"
#include "tests/fuzz/target.h"

#include <string.h>

#define FIELDS_MAX   16
#define OPAQUE       7
#define PROBLEM_SIZE 256

struct control_input {
    struct remoting_command command;
    struct ext_field storage[FIELDS_MAX];
};

/* What may stand in a JSON header; the encoder is not asked to judge. */
static bool is_text(struct span span)
{
    return utf8_is_valid(span) && (span.n == 0 || !memchr(span.data, '\0', span.n));
}

static struct span line_take(struct span *rest)
{
    const char *end = rest->n > 0 ? memchr(rest->data, '\n', rest->n) : NULL;
    struct span line = { rest->data, end ? (size_t)(end - rest->data) : rest->n };
    size_t n_taken = line.n + (end ? 1 : 0);
    *rest = (struct span){ rest->data + n_taken, rest->n - n_taken };
    return line;
}

static void field_add(struct ext_fields *fields, struct span line)
{
    const char *equals = memchr(line.data, '=', line.n);
    if (equals && is_text(line)) {
        size_t n = (size_t)(equals - line.data);
        (void)ext_fields_set(
            fields, (struct span){ line.data, n }, (struct span){ equals + 1, line.n - n - 1 });
    }
}

/* False: no number in front. */
static bool input_read(struct span text, struct control_input *ret_input)
{
    struct remoting_command *command = &ret_input->command;
    remoting_command_init(command, ret_input->storage, FIELDS_MAX);
    int64_t code;
    if (!ext_value_parse_i64(line_take(&text), 0, INT32_MAX, &code)) {
        return false;
    }
    command->code = (int32_t)code;
    command->opaque = OPAQUE;
    command->version = REMOTING_VERSION;
    command->has_ext_fields = true;
    for (struct span line = line_take(&text); line.n > 0; line = line_take(&text)) {
        field_add(&command->ext_fields, line);
    }
    command->body = text;
    return true;
}

static void try_heartbeat(struct span body)
{
    struct heartbeat heartbeat;
    char problem[PROBLEM_SIZE] = "";
    if (!heartbeat_decode(body, &heartbeat, problem, sizeof(problem))) {
        promise(problem[0] != '\0', "no word about it");
        return;
    }
    promise(heartbeat.client_id.n > 0, "no client id");
    for (size_t i = 0; i < heartbeat_n_producers(&heartbeat); i++) {
        promise(!span_is_absent(heartbeat_producer(&heartbeat, i)), "producer %zu", i);
    }
    for (size_t i = 0; i < heartbeat_n_consumers(&heartbeat); i++) {
        promise(!span_is_absent(heartbeat_consumer(&heartbeat, i)), "consumer %zu", i);
    }
    heartbeat_deinit(&heartbeat);
}

/* The daemon's own; sidecar.code says another one. */
static bool is_own(const struct remoting_command *command)
{
    return command->code >= SIDECAR_CODE_FIRST && command->code <= SIDECAR_CODE_LAST &&
           span_is_absent(ext_fields_text(&command->ext_fields, "sidecar.code"));
}

struct check {
    const struct remoting_command *command;
    size_t n; /* answers so far */
};

static void check_answer(
    void *context, const struct remoting_command *answer, enum serialize_type serialize_type)
{
    (void)serialize_type;
    struct check *check = context;
    promise(answer->opaque == OPAQUE, "an answer to %d", (int)answer->opaque);
    check->n++;
    if (is_own(check->command)) {
        stage_promise_json(answer);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct control_input input;
    if (!input_read((struct span){ (const char *)data, n }, &input)) {
        return 0;
    }
    const struct remoting_command *command = &input.command;
    try_heartbeat(command->body);
    size_t head_size = remoting_command_encoded_head_size(command, SERIALIZE_JSON);
    size_t size = head_size + command->body.n;
    if (size > STAGE_FRAME_MAX) {
        return 0;
    }
    uint8_t *frame = malloc(size);
    promise(frame, "no memory");
    remoting_command_encode_head(command, SERIALIZE_JSON, frame);
    if (command->body.n > 0) {
        memcpy(frame + head_size, command->body.data, command->body.n);
    }
    const struct stage_script script = { .caller = { (const char *)frame, size }, .n_awaited = 1 };
    struct stage_answers answers;
    stage_play(&script, &answers);
    struct check check = { .command = command };
    stage_responses_each(&answers, check_answer, &check);
    promise(check.n == 1, "%zu answers to %d", check.n, (int)command->code);
    free(answers.data);
    free(frame);
    return 0;
}
