#include "daemon/http/http_stream.h"

#include <endian.h>
#include <errno.h>
#include <http_parser.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "protocol/code.h"

/* What a body is given room for before it has come. */
#define BODY_TRUST_SIZE (64 * 1024)
#define NUMBER_SIZE     24
/* When a message that was given back comes again, in ms: brokers look every second. */
#define NACK_DELAY_TEXT "1000"

enum http_state {
    HTTP_IN_HEAD, /* or between two requests */
    HTTP_IN_BODY,
    HTTP_BUSY, /* it is being answered */
    HTTP_LINGERING,
};

enum http_element {
    HTTP_NO_ELEMENT,
    HTTP_TARGET,
    HTTP_FIELD_NAME,
    HTTP_FIELD_VALUE,
};

/* Of a request whose head is not complete. Spans point into text. */
struct http_head {
    struct http_request request;
    enum http_element element; /* that the last bytes belong to */
    size_t n_text;
    char text[HTTP_HEAD_MAX];
};

struct http_stream {
    struct transport_dialect dialect;
    struct loop *loop;
    struct memory *memory;
    int fd;
    size_t frame_limit;
    uint64_t idle_timeout_ms;
    enum http_state state;
    struct deadline deadline; /* of silence, and of lingering */
    bool is_over;             /* it has passed */
    /* what is being read */
    http_parser parser;
    bool is_head_complete, is_complete;
    uint8_t last_byte;      /* of what is not body; 0: none */
    size_t n_head;          /* bytes of the head so far */
    const uint8_t *checked; /* during a call of the parser: up to here */
    struct frame_buffer *head;
    struct frame_buffer *frame; /* the command's head and the body as far as it has come */
    size_t n_frame;
    size_t n_command;             /* of them, before the body */
    struct frame_buffer *backlog; /* came with the request before it, from n_backlog_taken on */
    size_t n_backlog, n_backlog_taken;
    bool is_refused;
    struct http_refusal refusal;
    /* what is being answered */
    enum http_route route;
    bool is_kept;     /* another request may follow */
    bool is_for_head; /* HEAD: the answer has no body */
    struct output output;
    bool is_answered;  /* all of the answer is in output */
    size_t n_answered; /* bytes of the transport's output that it says */
    /* of a nack: its receipts, those that are asked for, and the rows of the answer */
    json_t *receipts, *rows;
    size_t n_asked, n_rows;
    char delay[NUMBER_SIZE], timeout[NUMBER_SIZE]; /* "": none given */
};

static struct http_stream *stream_of(struct transport_dialect *dialect)
{
    return (struct http_stream *)(void *)dialect;
}

static struct http_head *head_of(const struct http_stream *stream)
{
    return (struct http_head *)(void *)stream->head->data;
}

static void deadline_after(struct http_stream *stream, uint64_t ms)
{
    loop_deadline_set(stream->loop, &stream->deadline, clock_after(stream->loop->now_ms, ms));
}

/*
 * The first thing that is wrong with a request counts. Where it ends is not to be relied on any
 * more.
 */
#define REFUSE(stream, ...)                                                                        \
    do {                                                                                           \
        if (!(stream)->is_refused) {                                                               \
            (stream)->is_refused = true;                                                           \
            http_refuse(&(stream)->refusal, __VA_ARGS__);                                          \
        }                                                                                          \
        (stream)->is_kept = false;                                                                 \
    } while (0)

static void refuse_for_memory(struct http_stream *stream)
{
    REFUSE(stream, 503, FAILURE_OVERLOADED,
        "the request finds no memory: %zu bytes are in use (limits.total_memory)",
        stream->memory->used);
}

/* Ready for the next request. */
static void request_begin(struct http_stream *stream)
{
    http_parser_init(&stream->parser, HTTP_REQUEST);
    stream->parser.data = stream;
    stream->state = HTTP_IN_HEAD;
    stream->is_head_complete = stream->is_complete = false;
    stream->last_byte = 0;
    stream->n_head = stream->n_frame = stream->n_command = 0;
    stream->is_refused = stream->is_answered = stream->is_kept = stream->is_for_head = false;
    stream->n_answered = 0;
    stream->dialect.is_in_request = stream->dialect.is_full = false;
    stream->dialect.has_more = stream->backlog != NULL;
    deadline_after(stream, stream->idle_timeout_ms);
}

/* What is kept of a request goes. */
static void request_drop(struct http_stream *stream)
{
    stream->head = frame_buffer_unref(stream->head);
    stream->frame = frame_buffer_unref(stream->frame);
    json_decref(stream->receipts);
    json_decref(stream->rows);
    stream->receipts = stream->rows = NULL;
    stream->n_asked = stream->n_rows = 0;
}

/* --- answers --- */

/* False without memory. */
static bool answer_append(struct http_stream *stream, const struct http_answer *answer,
    struct span body, struct frame_buffer *body_owner)
{
    char head[HTTP_ANSWER_HEAD_SIZE];
    size_t n_head = http_answer_head(answer, body.n, head);
    if (stream->is_for_head) {
        body.n = 0;
    }
    return output_append(&stream->output, head, n_head, NULL) == 0 &&
           output_append(&stream->output, body.data, body.n, body_owner) == 0;
}

/* The body is JSON of our own: a line, for who looks at it. */
static bool answer_append_json(struct http_stream *stream, const struct http_answer *answer)
{
    char *text = json_dumps(answer->json, JSON_COMPACT);
    char *line = NULL;
    int n = text ? asprintf(&line, "%s\n", text) : -1;
    bool is_fine = n >= 0 && answer_append(stream, answer, (struct span){ line, (size_t)n }, NULL);
    free(text);
    free(n >= 0 ? line : NULL);
    return is_fine;
}

/* Takes the answer's json over. False without memory. */
static bool answer_give(
    struct http_stream *stream, struct http_answer *answer, struct frame_buffer *owner)
{
    answer->closes |= !stream->is_kept;
    stream->is_kept = !answer->closes;
    stream->is_answered = true;
    bool is_fine = answer->json ? answer_append_json(stream, answer)
                                : answer_append(stream, answer, answer->body, owner);
    json_decref(answer->json);
    return is_fine;
}

/*
 * Says what is wrong, and what becomes of the connection: where the end of the request is known and
 * has come it may be kept.
 */
static void refusal_give(struct http_stream *stream)
{
    struct http_answer answer;
    request_drop(stream);
    http_answer_refuse(&stream->refusal, &answer);
    stream->dialect.refused = stream->refusal.cause;
    stream->dialect.refused_as = stream->refusal.failure;
    stream->state = HTTP_BUSY;
    stream->is_kept = stream->is_kept && stream->is_complete;
    stream->dialect.is_full = stream->dialect.is_in_request = true;
    deadline_after(stream, stream->idle_timeout_ms);
    if (!answer_give(stream, &answer, NULL)) {
        stream->is_over = true;
    }
}

/* The answer is written. */
static void answer_end(struct http_stream *stream)
{
    request_drop(stream);
    if (stream->is_kept) {
        request_begin(stream);
        return;
    }
    stream->backlog = frame_buffer_unref(stream->backlog);
    stream->state = HTTP_LINGERING;
    stream->is_answered = false;
    stream->dialect.is_in_request = true;
    stream->dialect.is_full = stream->dialect.has_more = false;
    (void)shutdown(stream->fd, SHUT_WR);
    deadline_after(stream, HTTP_LINGER_MS);
}

/* The row of a nack's receipt; true where it was the last one. */
static bool nack_row_take(struct http_stream *stream, const struct remoting_command *command)
{
    size_t at = (size_t)command->opaque;
    const char *receipt = json_string_value(json_array_get(stream->receipts, at));
    if (receipt) {
        (void)json_array_set_new(stream->rows, at, http_nack_row(receipt, command));
        stream->n_rows++;
    }
    return stream->n_rows == json_array_size(stream->receipts);
}

/* The answer to what was asked. False: there is more to come, or it was none. */
static bool command_take(struct http_stream *stream, const struct remoting_command *command,
    struct http_answer *ret_answer)
{
    if (stream->state != HTTP_BUSY || stream->is_answered ||
        !remoting_command_is_response(command)) {
        return false;
    }
    if (stream->route != HTTP_NACK) {
        http_answer_make(stream->route, command, ret_answer);
        return true;
    }
    if (!nack_row_take(stream, command)) {
        return false;
    }
    *ret_answer = (struct http_answer){ .status = 200, .sent = "yes", .json = stream->rows };
    stream->rows = NULL;
    return true;
}

/* The first frame of the transport's output. False without memory. */
static bool frame_translate(struct http_stream *stream, struct output *output)
{
    struct ext_field fields[EXT_FIELDS_MAX];
    struct remoting_command command;
    struct http_answer answer;
    struct header_problem problem;
    enum serialize_type serialize_type;
    uint8_t prefix[4];
    const uint8_t *data;
    uint32_t n_rest;
    (void)output_first(output, prefix, sizeof(prefix), &data);
    memcpy(&n_rest, data, sizeof(n_rest));
    size_t size = be32toh(n_rest) + sizeof(n_rest);
    CLEANUP(frame_buffer_unref)
    struct frame_buffer *frame = frame_buffer_new_beyond(stream->memory, size);
    if (!frame) {
        return false;
    }
    (void)output_first(output, frame->data, size, &data);
    if (data != frame->data) {
        memcpy(frame->data, data, size);
    }
    remoting_command_init(&command, fields, EXT_FIELDS_MAX);
    if (remoting_command_decode(&command, frame->data, size, &serialize_type, &problem) !=
            HEADER_OK ||
        !command_take(stream, &command, &answer)) {
        output_consume(output, size);
        return true;
    }
    stream->n_answered = size;
    return answer_give(stream, &answer, frame);
}

static enum output_status http_write(struct transport_dialect *dialect, struct output *output)
{
    struct http_stream *stream = stream_of(dialect);
    for (;;) {
        if (stream->output.size > 0) {
            enum output_status status = output_write(&stream->output, stream->fd);
            if (status != OUTPUT_EMPTY) {
                return status;
            }
        }
        if (stream->is_answered) {
            output_consume(output, stream->n_answered);
            answer_end(stream);
        }
        if (output->size == 0) {
            return OUTPUT_EMPTY;
        }
        if (!frame_translate(stream, output)) {
            errno = ENOMEM;
            return OUTPUT_FAILED;
        }
    }
}

/* --- the bytes of a request --- */

/* What is not body: a line ends in CR LF, and there is one reading of it. */
static bool bytes_check(struct http_stream *stream, const uint8_t *end)
{
    for (const uint8_t *at = stream->checked; at < end; at++) {
        uint8_t last = stream->last_byte;
        if (*at == '\0') {
            REFUSE(stream, 400, FAILURE_INVALID, "a zero byte stands in the request");
        } else if ((*at == '\n') != (last == '\r')) {
            REFUSE(stream, 400, FAILURE_INVALID, "a line ends in %s; accepted: CR LF",
                *at == '\n' ? "LF alone" : "CR alone");
        } else if (last == '\n' && (*at == ' ' || *at == '\t')) {
            REFUSE(
                stream, 400, FAILURE_INVALID, "a line begins with a blank: fields are on one line");
        } else if (!stream->is_head_complete && ++stream->n_head > HTTP_HEAD_MAX) {
            REFUSE(stream, 431, FAILURE_INVALID, "the head has more than %d bytes", HTTP_HEAD_MAX);
        }
        stream->last_byte = *at;
    }
    stream->checked = end;
    return !stream->is_refused;
}

static int on_message_begin(http_parser *parser)
{
    struct http_stream *stream = parser->data;
    stream->head = frame_buffer_new(stream->memory, sizeof(struct http_head));
    if (!stream->head) {
        refuse_for_memory(stream);
        return -1;
    }
    struct http_head *head = head_of(stream);
    head->request.n_fields = head->n_text = 0;
    head->request.target = SPAN("");
    head->element = HTTP_NO_ELEMENT;
    stream->dialect.is_in_request = true;
    loop_deadline_clear(stream->loop, &stream->deadline);
    return 0;
}

/* Some more of a target, name or value, which may come in pieces. */
static int element_add(
    struct http_stream *stream, enum http_element element, const char *data, size_t n)
{
    struct http_head *head = head_of(stream);
    struct http_request *request = &head->request;
    bool begins = head->element != element;
    if (element == HTTP_FIELD_NAME && begins && request->n_fields++ == HTTP_FIELDS_MAX) {
        REFUSE(stream, 431, FAILURE_INVALID, "the head has more than %d fields", HTTP_FIELDS_MAX);
        return -1;
    }
    if (n > sizeof(head->text) - head->n_text) {
        REFUSE(stream, 431, FAILURE_INVALID, "the head has more than %d bytes", HTTP_HEAD_MAX);
        return -1;
    }
    struct span *span = &request->target;
    if (element != HTTP_TARGET) {
        struct http_field *field = &request->fields[request->n_fields - 1];
        span = element == HTTP_FIELD_NAME ? &field->name : &field->value;
    }
    if (element == HTTP_FIELD_NAME && begins) {
        request->fields[request->n_fields - 1].value = SPAN("");
    }
    char *room = head->text + head->n_text;
    if (begins) {
        *span = (struct span){ room, 0 };
    }
    memcpy(room, data, n);
    head->n_text += n;
    span->n += n;
    head->element = element;
    return 0;
}

static int on_target(http_parser *parser, const char *data, size_t n)
{
    return element_add(parser->data, HTTP_TARGET, data, n);
}

static int on_field_name(http_parser *parser, const char *data, size_t n)
{
    struct http_stream *stream = parser->data;
    if (stream->is_head_complete) {
        REFUSE(stream, 400, FAILURE_INVALID, "fields follow the body: those are not accepted");
        return -1;
    }
    return element_add(stream, HTTP_FIELD_NAME, data, n);
}

static int on_field_value(http_parser *parser, const char *data, size_t n)
{
    return element_add(parser->data, HTTP_FIELD_VALUE, data, n);
}

static int on_head_complete(http_parser *parser)
{
    http_parser_pause(parser, 1);
    return 0;
}

/* Room for n more bytes of a body. */
static bool frame_make_room(struct http_stream *stream, size_t n)
{
    struct frame_buffer *frame = stream->frame;
    size_t n_wanted = stream->n_frame + n;
    if (n_wanted <= frame->capacity) {
        return true;
    }
    size_t capacity = frame->capacity * 2 < n_wanted ? n_wanted : frame->capacity * 2;
    struct frame_buffer *larger = frame_buffer_new(stream->memory, capacity);
    if (!larger) {
        refuse_for_memory(stream);
        return false;
    }
    memcpy(larger->data, frame->data, stream->n_frame);
    frame_buffer_unref(frame);
    stream->frame = larger;
    return true;
}

static void refuse_body(struct http_stream *stream, uint64_t n)
{
    REFUSE(stream, 413, FAILURE_INVALID, "the body has %" PRIu64 "%s bytes; accepted: up to %d", n,
        stream->parser.flags & F_CHUNKED ? " or more" : "", HTTP_BODY_MAX);
}

static int on_body(http_parser *parser, const char *data, size_t n)
{
    struct http_stream *stream = parser->data;
    if (!bytes_check(stream, (const uint8_t *)data)) {
        return -1;
    }
    stream->checked = (const uint8_t *)data + n;
    stream->last_byte = 0;
    size_t n_body = stream->n_frame - stream->n_command + n;
    if (n_body > HTTP_BODY_MAX || stream->n_frame + n > stream->frame_limit) {
        refuse_body(stream, n_body);
        return -1;
    }
    if (!frame_make_room(stream, n)) {
        return -1;
    }
    memcpy(stream->frame->data + stream->n_frame, data, n);
    stream->n_frame += n;
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct http_stream *stream = parser->data;
    stream->is_complete = true;
    http_parser_pause(parser, 1);
    return 0;
}

/* --- the head of a request --- */

static bool is_named(const struct http_field *field, const char *name)
{
    return field->name.n == strlen(name) && strncasecmp(field->name.data, name, field->name.n) == 0;
}

static bool is_valued(const struct http_field *field, const char *value)
{
    return field->value.n == strlen(value) &&
           strncasecmp(field->value.data, value, field->value.n) == 0;
}

/* What HTTP itself says about a request. ret_expects: it waits for 100 before it sends its body. */
static void fields_check(struct http_stream *stream, bool *ret_expects)
{
    const struct http_request *request = &head_of(stream)->request;
    size_t n_hosts = 0, n_encodings = 0;
    for (size_t i = 0; i < request->n_fields; i++) {
        const struct http_field *field = &request->fields[i];
        n_hosts += is_named(field, "Host");
        if (memchr(field->name.data, ' ', field->name.n)) {
            REFUSE(stream, 400, FAILURE_INVALID, "a blank stands before the colon of a field");
        } else if (is_named(field, "Transfer-Encoding") &&
                   (!is_valued(field, "chunked") || n_encodings++ > 0)) {
            REFUSE(stream, 400, FAILURE_INVALID, "Transfer-Encoding: accepted is chunked, once");
        } else if (is_named(field, "Expect") && !is_valued(field, "100-continue")) {
            REFUSE(stream, 417, FAILURE_INVALID, "Expect: accepted is 100-continue");
        } else if (is_named(field, "Expect")) {
            *ret_expects = true;
        }
    }
    if (stream->parser.http_major != 1) {
        REFUSE(stream, 505, FAILURE_UNSUPPORTED, "accepted are HTTP/1.1 and HTTP/1.0");
    } else if (stream->parser.http_minor == 0 && n_encodings > 0) {
        REFUSE(stream, 400, FAILURE_INVALID, "Transfer-Encoding is none of HTTP/1.0");
    } else if (n_hosts > 1 || (n_hosts == 0 && stream->parser.http_minor > 0)) {
        REFUSE(stream, 400, FAILURE_INVALID, "Host stands %zu times; accepted: once", n_hosts);
    } else if (stream->parser.upgrade) {
        REFUSE(stream, 400, FAILURE_UNSUPPORTED,
            "no other protocol is spoken here (Upgrade, CONNECT)");
    }
}

static void number_keep(
    const struct http_call *call, const char *key, const char *otherwise, char dst[NUMBER_SIZE])
{
    struct span value = ext_fields_get(&call->command.ext_fields, span_of(key));
    (void)snprintf(dst, NUMBER_SIZE, "%.*s",
        (int)(span_is_absent(value) ? strlen(otherwise) : value.n),
        span_is_absent(value) ? otherwise : value.data);
}

/* What the body says becomes commands of its own. */
static bool takes_receipts(enum http_route route)
{
    return route == HTTP_ACK || route == HTTP_NACK;
}

/* The command's head with room for some of the body; that of receipts is a body alone. */
static void frame_begin(struct http_stream *stream, const struct http_call *call, uint64_t n_body)
{
    size_t n_command = 0;
    if (takes_receipts(call->route)) {
        number_keep(call, "invisibleTime", NACK_DELAY_TEXT, stream->delay);
        number_keep(call, "sidecar.timeoutMillis", "", stream->timeout);
    } else {
        n_command = remoting_command_encoded_head_size(&call->command, SERIALIZE_JSON);
    }
    if (n_body > HTTP_BODY_MAX || n_command + n_body > stream->frame_limit) {
        refuse_body(stream, n_body);
        return;
    }
    size_t n_room = n_body < BODY_TRUST_SIZE ? n_body : BODY_TRUST_SIZE;
    stream->frame = frame_buffer_new(stream->memory, n_command + n_room + 1);
    if (!stream->frame) {
        refuse_for_memory(stream);
        return;
    }
    if (n_command > 0) {
        (void)remoting_command_encode_head(&call->command, SERIALIZE_JSON, stream->frame->data);
    }
    stream->n_frame = stream->n_command = n_command;
}

static void call_begin(struct http_stream *stream, const struct http_request *request, bool expects)
{
    struct http_call call;
    const http_parser *parser = &stream->parser;
    bool is_chunked = parser->flags & F_CHUNKED;
    uint64_t n_body = parser->flags & F_CONTENTLENGTH ? parser->content_length : 0;
    if (!http_request_read(request, &call, &stream->refusal)) {
        stream->is_refused = true;
        stream->is_kept = stream->is_kept && !is_chunked && n_body == 0;
        return;
    }
    stream->route = call.route;
    if (!call.takes_body && (is_chunked || n_body > 0)) {
        REFUSE(stream, 400, FAILURE_INVALID, "there is a body; accepted here: none");
        return;
    }
    frame_begin(stream, &call, n_body);
    if (!stream->is_refused && expects && (is_chunked || n_body > 0) && parser->http_minor > 0) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (output_append(&stream->output, go_on, sizeof(go_on) - 1, NULL) < 0) {
            refuse_for_memory(stream);
        }
    }
}

/* The head is complete, and lies in one reading. */
static void head_take(struct http_stream *stream)
{
    struct http_request *request = &head_of(stream)->request;
    bool expects = false;
    stream->is_head_complete = true;
    stream->state = HTTP_IN_BODY;
    stream->is_kept = http_should_keep_alive(&stream->parser);
    stream->is_for_head = stream->parser.method == HTTP_HEAD;
    request->method = span_of(http_method_str((enum http_method)stream->parser.method));
    fields_check(stream, &expects);
    if (!stream->is_refused) {
        call_begin(stream, request, expects);
    }
    stream->head = frame_buffer_unref(stream->head);
}

/* --- requests --- */

/* The command of a frame that is made of receipts. */
static void command_init(const struct http_stream *stream, struct remoting_command *command,
    struct ext_field *fields, size_t n_fields, int32_t code)
{
    remoting_command_init(command, fields, n_fields);
    command->code = code;
    command->language = LANGUAGE_HTTP;
    command->version = REMOTING_VERSION;
    command->has_ext_fields = true;
    if (stream->timeout[0]) {
        (void)ext_fields_add(
            &command->ext_fields, SPAN("sidecar.timeoutMillis"), span_of(stream->timeout));
    }
}

/* NULL without memory. */
static struct frame_buffer *command_frame(
    struct http_stream *stream, const struct remoting_command *command, size_t *ret_size)
{
    size_t n_head = remoting_command_encoded_head_size(command, SERIALIZE_JSON);
    struct frame_buffer *frame = frame_buffer_new_beyond(stream->memory, n_head + command->body.n);
    if (frame) {
        (void)remoting_command_encode_head(command, SERIALIZE_JSON, frame->data);
        memcpy(frame->data + n_head, command->body.n ? command->body.data : "", command->body.n);
    }
    *ret_size = n_head + command->body.n;
    return frame;
}

/* All receipts of an ack go in one command. */
static void ack_begin(struct http_stream *stream)
{
    struct ext_field fields[1];
    struct remoting_command command;
    char *text = json_dumps(stream->receipts, JSON_COMPACT);
    command_init(stream, &command, fields, 1, REQUEST_BATCH_ACK_MESSAGE);
    command.body = span_of(text);
    stream->frame = text ? command_frame(stream, &command, &stream->n_frame) : NULL;
    free(text);
    json_decref(stream->receipts);
    stream->receipts = NULL;
    if (!stream->frame) {
        refuse_for_memory(stream);
    }
}

static void nack_begin(struct http_stream *stream)
{
    stream->rows = json_array();
    for (size_t i = 0; i < json_array_size(stream->receipts); i++) {
        (void)json_array_append_new(stream->rows, json_null());
    }
}

static void receipts_take(struct http_stream *stream)
{
    struct span body = { (const char *)stream->frame->data, stream->n_frame };
    stream->receipts = http_receipts_read(body, &stream->refusal);
    stream->frame = frame_buffer_unref(stream->frame);
    if (!stream->receipts) {
        stream->is_refused = true;
    } else if (stream->route == HTTP_ACK) {
        ack_begin(stream);
    } else {
        nack_begin(stream);
    }
}

static void request_complete(struct http_stream *stream)
{
    stream->state = HTTP_BUSY;
    stream->dialect.is_in_request = false;
    if (takes_receipts(stream->route)) {
        receipts_take(stream);
        return;
    }
    uint32_t n_rest = htobe32((uint32_t)(stream->n_frame - sizeof(n_rest)));
    memcpy(stream->frame->data, &n_rest, sizeof(n_rest));
}

static void parser_refuse(struct http_stream *stream, enum http_errno error)
{
    if (error == HPE_INVALID_METHOD) {
        REFUSE(
            stream, 405, FAILURE_UNSUPPORTED, "the method is unknown; accepted are GET and POST");
        stream->refusal.allow = stream->refusal.status == 405 ? "GET, POST" : NULL;
    }
    REFUSE(stream, 400, FAILURE_INVALID, "the request is no HTTP/1.1: %s",
        http_errno_description(error));
}

static const http_parser_settings parser_settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_target,
    .on_header_field = on_field_name,
    .on_header_value = on_field_value,
    .on_headers_complete = on_head_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

/* Takes (data, n) up to the end of the request; the bytes taken. */
static size_t bytes_take(struct http_stream *stream, const uint8_t *data, size_t n)
{
    size_t n_taken = 0;
    while (n_taken < n && !stream->is_complete && (!stream->is_refused || stream->is_kept)) {
        stream->checked = data + n_taken;
        size_t n_read = http_parser_execute(
            &stream->parser, &parser_settings, (const char *)data + n_taken, n - n_taken);
        n_taken += n_read;
        enum http_errno error = HTTP_PARSER_ERRNO(&stream->parser);
        (void)bytes_check(stream, data + n_taken);
        if (error != HPE_OK && error != HPE_PAUSED) {
            parser_refuse(stream, error);
        } else if (error == HPE_PAUSED) {
            http_parser_pause(&stream->parser, 0);
            if (!stream->is_refused && !stream->is_head_complete) {
                head_take(stream);
            }
        }
    }
    return n_taken;
}

/* What came with a request, and belongs to the next one. Without memory there will be none. */
static void backlog_keep(struct http_stream *stream, const uint8_t *data, size_t n)
{
    stream->backlog = frame_buffer_new(stream->memory, n);
    if (!stream->backlog) {
        stream->is_over = stream->dialect.has_more = true;
        return;
    }
    memcpy(stream->backlog->data, data, n);
    stream->n_backlog = n;
    stream->n_backlog_taken = 0;
}

static void bytes_receive(struct http_stream *stream, const uint8_t *data, size_t n)
{
    size_t n_taken = bytes_take(stream, data, n);
    if (stream->is_complete && !stream->is_refused) {
        request_complete(stream);
    }
    if (stream->is_refused) {
        refusal_give(stream);
    }
    if (n_taken < n && stream->state == HTTP_BUSY && stream->is_complete) {
        backlog_keep(stream, data + n_taken, n - n_taken);
    }
}

static void backlog_receive(struct http_stream *stream)
{
    CLEANUP(frame_buffer_unref) struct frame_buffer *backlog = stream->backlog;
    stream->backlog = NULL;
    stream->dialect.has_more = false;
    bytes_receive(stream, backlog->data + stream->n_backlog_taken,
        stream->n_backlog - stream->n_backlog_taken);
}

/* The frame of the next receipt of a nack. NULL without memory. */
static struct frame_buffer *nack_frame(struct http_stream *stream, size_t *ret_size)
{
    struct ext_field fields[3];
    struct remoting_command command;
    command_init(stream, &command, fields, 3, REQUEST_CHANGE_MESSAGE_INVISIBLETIME);
    command.opaque = (int32_t)stream->n_asked;
    const json_t *receipt = json_array_get(stream->receipts, stream->n_asked++);
    (void)ext_fields_add(&command.ext_fields, SPAN("sidecar.receipt"),
        (struct span){ json_string_value(receipt), json_string_length(receipt) });
    (void)ext_fields_add(&command.ext_fields, SPAN("invisibleTime"), span_of(stream->delay));
    return command_frame(stream, &command, ret_size);
}

/* What was asked for goes to the session. */
static enum dialect_read frame_hand_out(
    struct http_stream *stream, struct frame_buffer **ret_frame, size_t *ret_size)
{
    if (stream->n_asked < json_array_size(stream->receipts)) {
        *ret_frame = nack_frame(stream, ret_size);
        if (!*ret_frame) {
            errno = ENOMEM;
            return DIALECT_FAILED;
        }
        return DIALECT_FRAME;
    }
    if (!stream->frame || stream->state != HTTP_BUSY) {
        return DIALECT_NOTHING;
    }
    *ret_frame = stream->frame;
    *ret_size = stream->n_frame;
    stream->frame = NULL;
    return DIALECT_FRAME;
}

static enum dialect_read http_read(
    struct transport_dialect *dialect, struct frame_buffer **ret_frame, size_t *ret_size)
{
    struct http_stream *stream = stream_of(dialect);
    if (stream->is_over) {
        return DIALECT_END;
    }
    enum dialect_read status = frame_hand_out(stream, ret_frame, ret_size);
    if (status != DIALECT_NOTHING || dialect->is_full) {
        return status;
    }
    if (stream->backlog && stream->state == HTTP_IN_HEAD) {
        backlog_receive(stream);
        return frame_hand_out(stream, ret_frame, ret_size);
    }
    if (stream->backlog) {
        dialect->is_full = true;
        return DIALECT_NOTHING;
    }
    uint8_t *data = stream->loop->receive_buffer;
    ssize_t n = recv(stream->fd, data, LOOP_RECEIVE_SIZE, 0);
    if (n <= 0) {
        bool is_later = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
        return n == 0 ? DIALECT_END : is_later ? DIALECT_NOTHING : DIALECT_FAILED;
    }
    switch (stream->state) {
    case HTTP_IN_HEAD:
    case HTTP_IN_BODY:
        bytes_receive(stream, data, (size_t)n);
        return frame_hand_out(stream, ret_frame, ret_size);
    case HTTP_BUSY:
        backlog_keep(stream, data, (size_t)n);
        dialect->is_full = !stream->is_over;
        return DIALECT_NOTHING;
    case HTTP_LINGERING:
        return DIALECT_NOTHING;
    }
    return DIALECT_NOTHING;
}

static void on_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct http_stream *stream =
        (struct http_stream *)(void *)((char *)deadline - offsetof(struct http_stream, deadline));
    stream->is_over = stream->dialect.has_more = true;
    stream->dialect.is_full = false;
    transport_look_again(stream->dialect.transport);
}

static void http_free(struct transport_dialect *dialect)
{
    struct http_stream *stream = stream_of(dialect);
    loop_deadline_clear(stream->loop, &stream->deadline);
    request_drop(stream);
    stream->backlog = frame_buffer_unref(stream->backlog);
    output_deinit(&stream->output);
    free(stream);
}

struct transport_dialect *http_stream_new(
    struct loop *loop, struct memory *memory, int fd, size_t frame_limit, uint64_t idle_timeout_ms)
{
    static const struct transport_dialect_type type = {
        .read = http_read,
        .write = http_write,
        .free = http_free,
    };
    struct http_stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        return NULL;
    }
    stream->dialect.type = &type;
    stream->loop = loop;
    stream->memory = memory;
    stream->fd = fd;
    stream->frame_limit = frame_limit;
    stream->idle_timeout_ms = idle_timeout_ms;
    output_init(&stream->output, memory);
    deadline_init(&stream->deadline, on_deadline);
    request_begin(stream);
    return &stream->dialect;
}
