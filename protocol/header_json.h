/*
 * JSON header
 *
 * Header <-> JSON, in one pass, with spans into the input and no allocation per field. Keys as Java
 * writes them, in Java's order: code, extFields, flag, language, opaque, remark,
 * serializeTypeCurrentRPC, version; null-valued ones are left out. Escapes are those of Java's
 * fastjson 1.2.83, so that a header made by Java comes out byte for byte as it went in.
 *
 * What is accepted is what jansson accepts with JSON_REJECT_DUPLICATES, and of that what means
 * something: an object; code, flag, opaque, version integers of 32 bits; language a name or an
 * ordinal; remark a string or null; extFields an object (or null) of strings, numbers, true and
 * false (taken as their text) and null (as absent). Arrays and objects as ext values are
 * HEADER_INVALID. So is a key that stands twice: the text can be read, but not what it means.
 * Unknown keys are ignored, whatever they hold.
 *
 * A header with an unknown key, a nested value, a null ext value or a real number that may overflow
 * is rare and is given to jansson as a whole to be judged, which makes this parser need neither
 * recursion nor a set of keys of its own. jansson takes some forty times the size of what it reads,
 * so such a header is held to HEADER_JSON_JUDGED_MAX bytes.
 *
 * The input is not touched before it was found to be JSON; then escaped strings are unescaped in
 * place.
 */
#pragma once

#include "protocol/remoting_command.h"

#define HEADER_JSON_JUDGED_MAX 262144u

enum header_status header_json_decode(
    struct remoting_command *command, char *data, size_t n, struct header_problem *ret_problem);

size_t header_json_encoded_size(const struct remoting_command *command);
/* Not less than that, and up to six times of it, without a look at any text. */
size_t header_json_encoded_size_max(const struct remoting_command *command);
/*
 * The bytes written, which header_json_encoded_size() counted. Strings are UTF-8, as the decoders
 * leave them; ext fields are written when there are any, or has_ext_fields.
 */
size_t header_json_encode(const struct remoting_command *command, char *dst);
