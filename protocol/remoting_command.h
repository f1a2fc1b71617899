/*
 * Remoting command
 *
 * The unit of RocketMQ's remoting protocol: a request or a response. This module ties the frame,
 * the two header forms and the ext fields together: a whole frame becomes a struct of numbers and
 * spans, and back.
 *
 * A decoded command points into the frame it came from: it is valid for as long as those bytes stay
 * where they are. remoting_command_rebase() follows them when they are copied elsewhere. Decoding
 * overwrites the escaped strings of a JSON header in place. Nothing here allocates on the way of a
 * well-formed frame with known header keys.
 */
#pragma once

#include "protocol/ext_fields.h"
#include "protocol/frame.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stdint.h>

#define REMOTING_FLAG_RESPONSE 0x1
#define REMOTING_FLAG_ONEWAY   0x2

/* MQVersion ordinal of 5.3.3: from 475 (5.3.1) on brokers say GO_AWAY (1500) before they stop. */
#define REMOTING_VERSION 479

/*
 * LanguageCode.java. The number is the byte of the binary header, the name the text of the JSON
 * header.
 */
enum language {
    LANGUAGE_JAVA = 0,
    LANGUAGE_CPP = 1,
    LANGUAGE_DOTNET = 2,
    LANGUAGE_PYTHON = 3,
    LANGUAGE_DELPHI = 4,
    LANGUAGE_ERLANG = 5,
    LANGUAGE_RUBY = 6,
    LANGUAGE_OTHER = 7,
    LANGUAGE_HTTP = 8,
    LANGUAGE_GO = 9,
    LANGUAGE_PHP = 10,
    LANGUAGE_OMS = 11,
    LANGUAGE_RUST = 12,
    LANGUAGE_NODE_JS = 13,
    LANGUAGE_UNKNOWN = 255, /* a name or number that Java does not know either; encoded as OTHER */
};

/*
 * Which keys a decoded header had: Java takes 0 (or JAVA) for what is absent, a caller of ours is
 * told.
 */
enum remoting_command_present {
    REMOTING_HAS_CODE = 1 << 0,
    REMOTING_HAS_FLAG = 1 << 1,
    REMOTING_HAS_LANGUAGE = 1 << 2,
    REMOTING_HAS_OPAQUE = 1 << 3,
    REMOTING_HAS_VERSION = 1 << 4,
};

struct remoting_command {
    int32_t code;
    int32_t version;
    int32_t opaque; /* signed, wraps; chosen by who asks */
    int32_t flag;
    enum language language;
    unsigned present;    /* enum remoting_command_present; set by decoders only */
    bool has_ext_fields; /* {} and absent differ when a Java header is encoded again */
    struct span remark;  /* absent and "" differ */
    struct ext_fields ext_fields;
    struct span body;
};

enum header_status {
    HEADER_OK,
    /*
     * well-formed, but a field cannot be what it is: the frame can be answered and the connection
     * goes on
     */
    HEADER_INVALID,
    HEADER_SYNTAX,    /* cannot be read: the connection must be closed */
    HEADER_NO_MEMORY, /* to read it with; the connection goes on */
};

/*
 * What was wrong with a header: "queueId: saw [1,2]; accepted: a string, ...". Printable ASCII, so
 * that it can go into remarks and logs as it is; it quotes at most some forty bytes of the input at
 * a time.
 */
struct header_problem {
    char text[160];
};

/*
 * For the decoders: where (a field, a place), what was seen there, what is accepted. The first two
 * may be input as it came.
 */
void header_problem_set(
    struct header_problem *problem, struct span where, struct span seen, const char *accepted);

/* Zeroes the command and gives it its array of ext fields. */
void remoting_command_init(
    struct remoting_command *command, struct ext_field *storage, size_t capacity);

static inline bool remoting_command_is_response(const struct remoting_command *command)
{
    return command->flag & REMOTING_FLAG_RESPONSE;
}

static inline bool remoting_command_is_oneway(const struct remoting_command *command)
{
    return command->flag & REMOTING_FLAG_ONEWAY;
}

/*
 * Decodes a complete frame (frame_measure() said so) into a command that remoting_command_init()
 * prepared. After HEADER_INVALID and HEADER_NO_MEMORY every number that was good is set, after
 * HEADER_SYNTAX those before the problem; `present` tells whether the opaque is among them (it is
 * not when it stood twice). Remark and ext fields are then absent. *ret_problem is written in these
 * cases only, *ret_serialize_type always.
 */
enum header_status remoting_command_decode(struct remoting_command *command, uint8_t *frame,
    size_t size, enum serialize_type *ret_serialize_type, struct header_problem *ret_problem);

/*
 * The eight bytes of prefix and the header; the body follows them. 0 when the header would not fit
 * its 24 bits, or the form cannot say it. The caller sees to it that head and body together stay
 * within FRAME_SIZE_MAX.
 */
size_t remoting_command_encoded_head_size(
    const struct remoting_command *command, enum serialize_type serialize_type);
/*
 * Room that the head fits in, quicker to know: its size, or somewhat more where it is small. 0
 * where remoting_command_encoded_head_size() says so, and where head and body would be more than
 * FRAME_SIZE_MAX.
 */
size_t remoting_command_head_room(
    const struct remoting_command *command, enum serialize_type serialize_type);
/*
 * Writes the head, and returns its size: what remoting_command_encoded_head_size() counts. The
 * frame's length includes command->body.n.
 */
size_t remoting_command_encode_head(
    const struct remoting_command *command, enum serialize_type serialize_type, uint8_t *dst);

/*
 * After the bytes at `from` (n of them) were copied to `to`: moves every span that points into
 * them.
 */
void remoting_command_rebase(
    struct remoting_command *command, const void *from, size_t n, const void *to);

/* "JAVA", "CPP", ...; LANGUAGE_UNKNOWN is "OTHER". */
struct span language_name(enum language language);
enum language language_from_name(struct span name);
enum language language_from_number(int64_t number);
