/*
 * The HTTP door: any bytes of a caller, given to it at once and then in pieces. Both ways the same
 * commands come out of it, none but those of its routes, and the same statuses go back; what goes
 * back is HTTP. The first byte of an input says how large the pieces are.
 */
#include "daemon/http/http_stream.h"

#include "protocol/code.h"
#include "protocol/utf8.h"
#include "tests/fuzz/target.h"

#include <errno.h>
#include <fcntl.h>
#include <http_parser.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_MAX    (32 * 1024)
#define FRAME_LIMIT  (1024 * 1024)
#define MEMORY_LIMIT (64 * 1024 * 1024)
#define IDLE_MS      3600000

/* What came of one play. */
struct outcome {
    uint8_t *frames; /* one behind the other */
    size_t n_frames;
    uint8_t *answers;
    size_t n_answers;
    size_t n_commands;
    unsigned statuses[INPUT_MAX];
    size_t n_statuses;
    size_t n_ok; /* 200 */
};

static struct loop loop;
static struct memory memory;
static struct outcome *playing;

static void append(uint8_t **bytes, size_t *n, const void *data, size_t n_data)
{
    *bytes = realloc(*bytes, *n + n_data + 1);
    promise(*bytes, "no memory");
    memcpy(*bytes + *n, data, n_data);
    *n += n_data;
}

static bool is_served(int32_t code)
{
    return code == REQUEST_SEND_MESSAGE || code == REQUEST_SEND_BATCH_MESSAGE ||
           code == REQUEST_POP_MESSAGE || code == REQUEST_BATCH_ACK_MESSAGE ||
           code == REQUEST_CHANGE_MESSAGE_INVISIBLETIME || code == REQUEST_GET_ROUTEINFO_BY_TOPIC ||
           code == SIDECAR_GET_STATUS;
}

/* Neither an address nor a code of its own can be told to the daemon by HTTP. */
static bool is_accepted_field(struct span key)
{
    return !span_starts_with(key, SPAN("sidecar.")) ||
           span_equals(key, SPAN("sidecar.timeoutMillis")) ||
           span_equals(key, SPAN("sidecar.traceparent")) ||
           span_equals(key, SPAN("sidecar.receipt")) ||
           span_equals(key, SPAN("sidecar.answerFormat")) ||
           span_equals(key, SPAN("sidecar.bodyFormat"));
}

static void promise_command(const struct remoting_command *command)
{
    promise(is_served(command->code), "code %d is none of a route", (int)command->code);
    promise(!remoting_command_is_response(command) && !remoting_command_is_oneway(command),
        "flag %d", (int)command->flag);
    promise(ext_fields_find_duplicate(&command->ext_fields) < 0, "a field stands twice");
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        const struct ext_field *field = &command->ext_fields.fields[i];
        promise(is_accepted_field(field->key), "field %.*s", SPAN_ARGS(field->key));
        promise(utf8_is_valid(field->key) && utf8_is_valid(field->value), "a field is no UTF-8");
    }
}

static void on_frame(
    struct transport *transport, uint8_t *frame, size_t size, struct frame_buffer *owner)
{
    static struct ext_field storage[EXT_FIELDS_MAX];
    struct remoting_command command;
    enum serialize_type serialize_type;
    struct header_problem problem = { "" };
    (void)owner;
    append(&playing->frames, &playing->n_frames, frame, size);
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    promise(remoting_command_decode(&command, frame, size, &serialize_type, &problem) == HEADER_OK,
        "%s", problem.text);
    promise_command(&command);
    playing->n_commands += command.code != REQUEST_CHANGE_MESSAGE_INVISIBLETIME;
    command.code = RESPONSE_SUCCESS;
    command.flag = REMOTING_FLAG_RESPONSE;
    command.remark = SPAN("well");
    command.body = SPAN("{\"state\":\"healthy\"}");
    size_t head_room = remoting_command_head_room(&command, SERIALIZE_JSON);
    promise(output_append_head(
                &transport->output, &command, SERIALIZE_JSON, head_room, command.body, NULL),
        "no memory");
    transport_flush_later(transport);
}

static void on_bad_frame(struct transport *transport, uint8_t *data, size_t n)
{
    (void)transport;
    (void)data;
    promise(false, "a frame of %zu bytes is none", n);
}

static void on_end(struct transport *transport, enum transport_end end, int error)
{
    promise(end != TRANSPORT_NO_MEMORY, "no memory");
    if (end == TRANSPORT_ERROR) {
        promise(error == EPIPE || error == ECONNRESET, "%s", strerror(error));
        transport_close(transport);
    }
}

static const struct transport_handler handler = {
    .on_frame = on_frame,
    .on_bad_frame = on_bad_frame,
    .on_end = on_end,
};

/* Until nothing more happens; what comes back is kept. */
static void settle(int fd)
{
    uint8_t data[4096];
    ssize_t n;
    do {
        loop.has_woken = false;
        (void)event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        loop_finish(&loop);
        n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
        if (n > 0) {
            append(&playing->answers, &playing->n_answers, data, (size_t)n);
        }
    } while (n > 0 || loop.has_woken);
}

static void play(const uint8_t *data, size_t n, size_t piece, struct outcome *outcome)
{
    int fds[2];
    struct transport transport;
    playing = outcome;
    *outcome = (struct outcome){ .n_frames = 0 };
    promise(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "%s",
        strerror(errno));
    promise(transport_open(&transport, &loop, &memory, &handler, fds[0], FRAME_LIMIT, false) == 0,
        "no memory");
    struct transport_dialect *dialect =
        http_stream_new(&loop, &memory, fds[0], FRAME_LIMIT, IDLE_MS);
    promise(dialect, "no memory");
    transport_speak(&transport, dialect);
    for (size_t at = 0; at < n; at += piece) {
        size_t n_piece = n - at < piece ? n - at : piece;
        (void)send(fds[1], data + at, n_piece, MSG_NOSIGNAL);
        settle(fds[1]);
    }
    (void)shutdown(fds[1], SHUT_WR);
    settle(fds[1]);
    transport_close(&transport);
    (void)close(fds[1]);
    promise(memory.used == 0, "%zu bytes are left", memory.used);
}

/* --- what came back --- */

static int on_status(http_parser *parser)
{
    struct outcome *outcome = parser->data;
    promise(outcome->n_statuses < INPUT_MAX, "too many answers");
    outcome->statuses[outcome->n_statuses++] = parser->status_code;
    outcome->n_ok += parser->status_code == 200;
    return 0;
}

/* That of HEAD has no body, whatever its head says: what is behind it cannot be told apart here. */
static bool has_head_request(const uint8_t *data, size_t n)
{
    return memmem(data, n, "HEAD", 4) != NULL;
}

static void answers_read(struct outcome *outcome)
{
    static const http_parser_settings settings = { .on_headers_complete = on_status };
    http_parser parser;
    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = outcome;
    size_t n_read = http_parser_execute(&parser, &settings,
        outcome->answers ? (const char *)outcome->answers : "", outcome->n_answers);
    promise(HTTP_PARSER_ERRNO(&parser) == HPE_OK && n_read == outcome->n_answers,
        "%s at %zu of the answers", http_errno_description(HTTP_PARSER_ERRNO(&parser)), n_read);
    promise(outcome->n_ok >= outcome->n_commands, "%zu answers to %zu commands", outcome->n_ok,
        outcome->n_commands);
}

static void open_once(void)
{
    if (!loop.base) {
        (void)signal(SIGPIPE, SIG_IGN);
        json_object_seed(1);
        promise(loop_init(&loop) == 0, "no loop");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct outcome whole, pieces;
    if (n < 2 || n > INPUT_MAX) {
        return 0;
    }
    open_once();
    memory_init(&memory, MEMORY_LIMIT);
    play(data + 1, n - 1, n, &whole);
    play(data + 1, n - 1, data[0] ? data[0] : 1, &pieces);
    promise(whole.n_frames == pieces.n_frames &&
                (whole.n_frames == 0 || memcmp(whole.frames, pieces.frames, whole.n_frames) == 0),
        "%zu bytes of frames at once, %zu in pieces of %u", whole.n_frames, pieces.n_frames,
        data[0]);
    if (!has_head_request(data, n)) {
        answers_read(&whole);
        answers_read(&pieces);
        promise(whole.n_statuses == pieces.n_statuses &&
                    memcmp(whole.statuses, pieces.statuses,
                        whole.n_statuses * sizeof(whole.statuses[0])) == 0,
            "%zu answers at once, %zu in pieces of %u", whole.n_statuses, pieces.n_statuses,
            data[0]);
    }
    memory_deinit(&memory);
    free(whole.frames);
    free(whole.answers);
    free(pieces.frames);
    free(pieces.answers);
    return 0;
}
