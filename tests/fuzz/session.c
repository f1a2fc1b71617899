/*
 * A whole session: any bytes of a caller. Every request that was fully read gets exactly one answer,
 * in its own header form, or the connection closes; there is no answer to what was not asked. The
 * first byte of an input says in what pieces the rest is written.
 */
#include "protocol/code.h"
#include "tests/fuzz/stage.h"
#include "tests/fuzz/target.h"

#include <string.h>

#define REQUESTS_MAX 4096

const size_t frames_at = 1;

struct request {
    int32_t opaque;
    enum serialize_type serialize_type;
    bool is_answered;
};

/* What the caller's bytes ask for, found without the daemon. */
struct expectation {
    struct request requests[REQUESTS_MAX];
    size_t n;
    bool may_close; /* something in it may end the session: answers may be missing */
};

static struct expectation expected;

static void expect_answer(int32_t opaque, enum serialize_type serialize_type)
{
    for (size_t i = 0; i < expected.n; i++) {
        /* Both may be in flight: that closes. */
        expected.may_close |= expected.requests[i].opaque == opaque;
    }
    promise(expected.n < REQUESTS_MAX, "more requests than are counted");
    expected.requests[expected.n++] =
        (struct request){ .opaque = opaque, .serialize_type = serialize_type };
}

static bool is_drain(const struct remoting_command *command)
{
    return command->code == SIDECAR_DRAIN ||
           span_equals_text(ext_fields_text(&command->ext_fields, "sidecar.code"), "30016");
}

/* False: the session ends here. */
static bool expect_frame(uint8_t *frame, size_t size)
{
    static struct ext_field storage[EXT_FIELDS_MAX];
    struct remoting_command command;
    enum serialize_type serialize_type;
    struct header_problem problem;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    enum header_status status =
        remoting_command_decode(&command, frame, size, &serialize_type, &problem);
    bool is_oneway = remoting_command_is_oneway(&command);
    bool is_response = status == HEADER_OK && remoting_command_is_response(&command);
    bool has_opaque = command.present & REMOTING_HAS_OPAQUE;
    expected.may_close |= is_drain(&command);
    if (status != HEADER_SYNTAX && (is_response || is_oneway)) {
        return true;
    }
    if (!is_oneway) {
        expect_answer(has_opaque ? command.opaque : 0, serialize_type);
    }
    return status != HEADER_SYNTAX && has_opaque;
}

/* The opaque of a frame that is none is told where its header can be read: one answer of any. */
static void expect_answers(const uint8_t *data, size_t n)
{
    expected.n = 0;
    expected.may_close = false;
    size_t at = 0;
    for (;;) {
        size_t size;
        enum frame_status status = frame_measure(data + at, n - at, STAGE_FRAME_MAX, &size);
        if (status == FRAME_PARTIAL) {
            return;
        }
        if (status != FRAME_COMPLETE) {
            expected.may_close = true;
            return;
        }
        uint8_t *frame = malloc(size);
        promise(frame, "no memory");
        memcpy(frame, data + at, size);
        bool goes_on = expect_frame(frame, size);
        free(frame);
        if (!goes_on) {
            expected.may_close = true;
            return;
        }
        at += size;
    }
}

/* An answer that nobody asked for is of the last frame, which was none, or there is a mistake. */
static void take_answer(
    const struct remoting_command *command, enum serialize_type serialize_type, size_t *n_strange)
{
    for (size_t i = 0; i < expected.n; i++) {
        struct request *request = &expected.requests[i];
        if (request->opaque == command->opaque && !request->is_answered &&
            request->serialize_type == serialize_type) {
            request->is_answered = true;
            return;
        }
    }
    promise(expected.may_close && ++*n_strange == 1, "an answer to %d that was not asked for",
        (int)command->opaque);
}

static void promise_answer(const struct remoting_command *command)
{
    struct span error = ext_fields_text(&command->ext_fields, "sidecar.error");
    struct span sent = ext_fields_text(&command->ext_fields, "sidecar.sent");
    promise(
        span_is_absent(error) || span_equals_text(sent, "no") || span_equals_text(sent, "maybe"),
        "%.*s does not say what was sent", SPAN_ARGS(error));
    promise(span_is_absent(error) || command->remark.n > 0, "%.*s has no remark", SPAN_ARGS(error));
}

static void check_answer(
    void *context, const struct remoting_command *answer, enum serialize_type serialize_type)
{
    size_t *n_strange = context;
    promise_answer(answer);
    take_answer(answer, serialize_type, n_strange);
}

static void check_answers(const struct stage_answers *answers)
{
    size_t n_strange = 0;
    stage_responses_each(answers, check_answer, &n_strange);
    for (size_t i = 0; i < expected.n && !expected.may_close; i++) {
        promise(
            expected.requests[i].is_answered, "no answer to %d", (int)expected.requests[i].opaque);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < frames_at || n > STAGE_FRAME_MAX) {
        return 0;
    }
    const struct stage_script script = {
        .caller = { (const char *)data + frames_at, n - frames_at },
        .piece = data[0],
    };
    struct stage_answers answers;
    expect_answers(data + frames_at, n - frames_at);
    stage_play(&script, &answers);
    check_answers(&answers);
    free(answers.data);
    return 0;
}
