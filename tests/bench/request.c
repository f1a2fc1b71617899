#include "tests/bench/request.h"

#include <err.h>
#include <stdio.h>
#include <string.h>

#define PREFIX_SIZE   8u
#define HEADER_MAX    1024u
#define VERSION       479
#define LANGUAGE_CPP  1
#define OPAQUE_DIGITS 10u

/* The ext fields of SEND_MESSAGE_V2 with their real lengths; `b` is the topic. */
static const char *const fields[][2] = {
    { "a", "bench_producers" },
    { "c", "TBW102" },
    { "d", "4" },
    { "e", "0" },
    { "f", "0" },
    { "g", "1795401242924" },
    { "i", "UNIQ_KEY\x01"
           "7F00000100012A139E5D000000000001\x02" },
};

/* How many of `fields` the header has. */
static size_t n_fields(const struct request_shape *shape)
{
    return shape->is_bare ? 0 : sizeof fields / sizeof fields[0];
}

/* A text of the JSON header: the control characters of `properties` are escaped. */
static size_t put_text(char *out, const char *text)
{
    size_t n = 0;
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20) {
            n += (size_t)sprintf(out + n, "\\u%04x", (unsigned)*text);
        } else {
            out[n++] = *text;
        }
    }
    return n;
}

static size_t put_json_field(char *out, const char *key, const char *value)
{
    size_t n = (size_t)sprintf(out, "\"%s\":\"", key);
    n += put_text(out + n, value);
    return n + (size_t)sprintf(out + n, "\",");
}

static size_t put_json(char *out, const struct request_shape *shape, size_t *ret_opaque_at)
{
    size_t n = (size_t)sprintf(out, "{\"code\":%d,\"extFields\":{", shape->code);
    n += put_json_field(out + n, "b", shape->topic);
    if (shape->sidecar_addr) {
        n += put_json_field(out + n, "sidecar.addr", shape->sidecar_addr);
    }
    for (size_t i = 0; i < n_fields(shape); i++) {
        n += put_json_field(out + n, fields[i][0], fields[i][1]);
    }
    n--; /* the last comma */
    n += (size_t)sprintf(out + n, "},\"flag\":0,\"language\":\"CPP\",\"opaque\":");
    *ret_opaque_at = n;
    return n + (size_t)sprintf(out + n, "%u,\"version\":%d}", REQUEST_OPAQUE_FIRST, VERSION);
}

static size_t put_u16(uint8_t *out, size_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return 2;
}

static size_t put_binary_field(uint8_t *out, const char *key, const char *value)
{
    size_t n = put_u16(out, strlen(key));
    n += (size_t)sprintf((char *)out + n, "%s", key);
    frame_put_u32(out + n, (uint32_t)strlen(value));
    n += 4;
    return n + (size_t)sprintf((char *)out + n, "%s", value);
}

/* i16 code | u8 language | i16 version | i32 opaque | i32 flag | i32 remark length | i32 ext length, ext */
static size_t put_binary(uint8_t *out, const struct request_shape *shape, size_t *ret_opaque_at)
{
    size_t n = put_u16(out, (size_t)shape->code);
    out[n++] = LANGUAGE_CPP;
    n += put_u16(out + n, VERSION);
    *ret_opaque_at = n;
    memset(out + n, 0, 12);
    n += 12;
    size_t ext_at = n;
    n += 4;
    n += put_binary_field(out + n, "b", shape->topic);
    if (shape->sidecar_addr) {
        n += put_binary_field(out + n, "sidecar.addr", shape->sidecar_addr);
    }
    for (size_t i = 0; i < n_fields(shape); i++) {
        n += put_binary_field(out + n, fields[i][0], fields[i][1]);
    }
    frame_put_u32(out + ext_at, (uint32_t)(n - ext_at - 4));
    return n;
}

static size_t put_header(uint8_t *out, const struct request_shape *shape, size_t *ret_opaque_at)
{
    if (strlen(shape->topic) > 127 || (shape->sidecar_addr && strlen(shape->sidecar_addr) > 127)) {
        errx(2, "a topic or an address of more than 127 bytes");
    }
    return shape->form == FRAME_JSON ? put_json((char *)out, shape, ret_opaque_at)
                                     : put_binary(out, shape, ret_opaque_at);
}

size_t request_size(const struct request_shape *shape)
{
    uint8_t header[HEADER_MAX];
    size_t opaque_at;
    return PREFIX_SIZE + put_header(header, shape, &opaque_at) + shape->body_n;
}

void request_init(struct request_frame *frame, const struct request_shape *shape, uint8_t *data)
{
    uint8_t header[HEADER_MAX];
    size_t n = put_header(header, shape, &frame->opaque_at);
    frame->data = data;
    frame->form = shape->form;
    frame->opaque_at += PREFIX_SIZE;
    frame->body_at = PREFIX_SIZE + n;
    frame->size = frame->body_at + shape->body_n;
    frame_put_u32(data, (uint32_t)(4 + n + shape->body_n));
    frame_put_u32(data + 4, (uint32_t)shape->form << 24 | (uint32_t)n);
    memcpy(data + PREFIX_SIZE, header, n);
    memset(data + frame->body_at, 'x', shape->body_n);
}

void request_renew(struct request_frame *frame, uint32_t opaque, const struct token *token)
{
    uint8_t *out = frame->data + frame->opaque_at;
    if (frame->form == FRAME_JSON) {
        uint32_t rest = opaque;
        for (size_t i = OPAQUE_DIGITS; i-- > 0; rest /= 10) {
            out[i] = (uint8_t)('0' + rest % 10);
        }
    } else {
        frame_put_u32(out, opaque);
    }
    memcpy(frame->data + frame->body_at, token, TOKEN_SIZE);
    if (frame->size - frame->body_at >= 2 * TOKEN_SIZE) {
        memcpy(frame->data + frame->size - TOKEN_SIZE, token, TOKEN_SIZE);
    }
}

static void answer_refuse(const struct frame *frame)
{
    errx(1, "not an answer of success: %.*s", (int)frame->header_n, (const char *)frame->header);
}

uint32_t answer_opaque(const struct frame *frame, struct answer_hints *hints)
{
    if (frame->form == FRAME_ROCKETMQ) {
        if (frame->header_n < 21 || frame->header[0] != 0 || frame->header[1] != 0) {
            answer_refuse(frame);
        }
        return frame_u32(frame->header + 5);
    }
    const uint8_t *end = frame->header + frame->header_n;
    const uint8_t *code = frame_json_value(frame, "\"code\":", &hints->code);
    const uint8_t *opaque = frame_json_value(frame, "\"opaque\":", &hints->opaque);
    if (!code || !opaque || frame_json_number(code, end) != 0) {
        answer_refuse(frame);
    }
    return (uint32_t)frame_json_number(opaque, end);
}

bool answer_has_token(const struct frame *frame, const struct token *token)
{
    return frame->body_n >= TOKEN_SIZE && memcmp(frame->body_first, token, TOKEN_SIZE) == 0 &&
           (frame->body_n < 2 * TOKEN_SIZE || memcmp(frame->body_last, token, TOKEN_SIZE) == 0);
}
