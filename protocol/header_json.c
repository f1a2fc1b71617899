#include "protocol/header_json.h"

#include "protocol/json_text.h"
#include "protocol/utf8.h"

#include <jansson.h>
#include <stdio.h>

/* The keys of a header, as bits of parser.seen; KEY_UNKNOWN is none. */
enum header_key {
    KEY_UNKNOWN = 0,
    KEY_CODE = 1 << 0,
    KEY_EXT_FIELDS = 1 << 1,
    KEY_FLAG = 1 << 2,
    KEY_LANGUAGE = 1 << 3,
    KEY_OPAQUE = 1 << 4,
    KEY_REMARK = 1 << 5,
    KEY_SERIALIZE_TYPE = 1 << 6,
    KEY_VERSION = 1 << 7,
};

/* "serializeTypeCurrentRPC" with every letter as \u0073: what is longer is no known name. */
#define NAME_ESCAPED_MAX (23 * 6)

/* Without exponent, a real number needs more digits than this to overflow a double. */
#define REAL_DIGITS_SAFE 300

enum value_kind {
    VALUE_STRING,
    VALUE_INTEGER,
    VALUE_REAL,
    VALUE_BOOLEAN,
    VALUE_NULL,
    VALUE_NESTED,
};

struct value {
    enum value_kind kind;
    struct span source; /* as it stands in the input, quotes included */
    struct span text;   /* the source; of a string what is between the quotes, still escaped */
    int64_t integer;
};

struct parser {
    struct remoting_command *command;
    struct header_problem *problem;
    const char *start;
    const char *at;
    const char *end;
    unsigned seen;
    bool is_invalid;     /* problem names the first field that cannot be what it is */
    bool must_be_judged; /* by jansson */
    bool saw_special;    /* in a string since the last ext field */
    bool saw_escape;     /* likewise */
    size_t escaped_from; /* the ext fields among which all escaped ones are */
    size_t escaped_to;
    bool has_similar_keys; /* two ext fields may have the same */
    bool has_runs;         /* it is long enough for runs, and ends with a brace */
};

/*
 * Strings
 */

/* Of what is no hex digit -1: every number made of it is negative. */
static const int8_t hex_values[256] = {
    [0 ... '0' - 1] = -1,
    ['0'] = 0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    ['9' + 1 ... 'A' - 1] = -1,
    ['A'] = 10,
    11,
    12,
    13,
    14,
    15,
    ['F' + 1 ... 'a' - 1] = -1,
    ['a'] = 10,
    11,
    12,
    13,
    14,
    15,
    ['f' + 1 ... 255] = -1,
};

static inline int hex_value(char digit)
{
    return hex_values[(unsigned char)digit];
}

/* The number written as four hex digits; 0 when it is not, as jansson refuses U+0000 anyway. */
static inline uint32_t read_hex4(const char *data, size_t n)
{
    if (n < 4) {
        return 0;
    }
    int number = hex_value(data[0]) * 0x1000 | hex_value(data[1]) * 0x100 |
                 hex_value(data[2]) * 0x10 | hex_value(data[3]);
    return number < 0 ? 0 : (uint32_t)number;
}

/* The character of a \u escape or of a pair; the bytes it took, 0 when jansson would refuse it. */
static inline size_t read_unicode_escape(const char *data, size_t n, uint32_t *ret_character)
{
    uint32_t first = read_hex4(data + 2, n - 2);
    if (first == 0 || (first >= 0xDC00 && first <= 0xDFFF)) {
        return 0;
    }
    if (first < 0xD800 || first > 0xDBFF) {
        *ret_character = first;
        return 6;
    }
    if (n < 12 || data[6] != '\\' || data[7] != 'u') {
        return 0;
    }
    uint32_t second = read_hex4(data + 8, n - 8);
    if (second < 0xDC00 || second > 0xDFFF) {
        return 0;
    }
    *ret_character = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    return 12;
}

/* The character of the escape at data[0] == '\\'; the bytes it took, or 0 when it is none. */
static inline size_t read_escape(const char *data, size_t n, uint32_t *ret_character)
{
    switch (n < 2 ? '\0' : data[1]) {
    case 'u':
        return read_unicode_escape(data, n, ret_character);
    case '"':
    case '\\':
    case '/':
        *ret_character = (uint32_t)data[1];
        return 2;
    case 'b':
        *ret_character = '\b';
        return 2;
    case 'f':
        *ret_character = '\f';
        return 2;
    case 'n':
        *ret_character = '\n';
        return 2;
    case 'r':
        *ret_character = '\r';
        return 2;
    case 't':
        *ret_character = '\t';
        return 2;
    default:
        return 0;
    }
}

/* What a good string means, into dst, which may be the text itself: it never becomes longer. */
static size_t unescape(struct span text, char *dst)
{
    size_t n = 0;
    for (size_t at = 0; at < text.n;) {
        const char *rest = text.data + at;
        const char *backslash = memchr(rest, '\\', text.n - at);
        size_t n_plain = backslash ? (size_t)(backslash - rest) : text.n - at;
        memmove(dst + n, rest, n_plain);
        n += n_plain;
        at += n_plain;
        if (backslash) {
            uint32_t character = 0;
            at += read_escape(text.data + at, text.n - at, &character);
            if (character < 0x80) {
                dst[n++] = (char)character;
            } else {
                n += utf8_character_encode(character, dst + n);
            }
        }
    }
    return n;
}

static bool has_escape(struct span text)
{
    return text.n > 0 && memchr(text.data, '\\', text.n);
}

/* data is the input, which the caller of the decoder gave to be written to. */
static void unescape_in_place(struct span *text)
{
    if (has_escape(*text)) {
        text->n = unescape(*text, (char *)text->data);
    }
}

/*
 * Parsing
 */

static size_t left(const struct parser *parser)
{
    return (size_t)(parser->end - parser->at);
}

__attribute__((cold, noinline)) static bool fail_syntax(struct parser *parser, const char *accepted)
{
    char where[48];
    (void)snprintf(
        where, sizeof(where), "JSON header, byte %zu", (size_t)(parser->at - parser->start));
    struct span seen = { parser->at, left(parser) < 8 ? left(parser) : 8 };
    header_problem_set(
        parser->problem, span_of(where), seen.n == 0 ? SPAN("the end") : seen, accepted);
    return false;
}

/* Parsing goes on, so that the opaque gets known and a syntax error can still be found. */
static void mark_invalid(
    struct parser *parser, struct span where, struct span seen, const char *accepted)
{
    if (!parser->is_invalid) {
        header_problem_set(parser->problem, where, seen, accepted);
        parser->is_invalid = true;
    }
}

static inline bool is_next(const struct parser *parser, char byte)
{
    return parser->at < parser->end && *parser->at == byte;
}

static inline void skip_blanks(struct parser *parser)
{
    if (parser->at<parser->end && * parser->at> ' ') {
        return;
    }
    while (is_next(parser, ' ') || is_next(parser, '\n') || is_next(parser, '\t') ||
           is_next(parser, '\r')) {
        parser->at++;
    }
}

static inline bool expect(struct parser *parser, char byte, const char *accepted)
{
    skip_blanks(parser);
    if (!is_next(parser, byte)) {
        return fail_syntax(parser, accepted);
    }
    parser->at++;
    return true;
}

/* A string that may be long, and of whatever characters. */
static bool parse_any_string(struct parser *parser, struct span *ret_text)
{
    const char *start = parser->at;
    for (;;) {
        parser->at += json_text_plain_size(parser->at, left(parser));
        if (parser->at == parser->end) {
            return fail_syntax(parser, "a closing quote");
        }
        size_t size = 0;
        uint32_t character = 0;
        if (*parser->at == '"') {
            *ret_text = (struct span){ start, (size_t)(parser->at - start) };
            parser->at++;
            return true;
        }
        parser->saw_special = true;
        if (*parser->at == '\\') {
            parser->saw_escape = true;
            size = read_escape(parser->at, left(parser), &character);
        } else if ((unsigned char)*parser->at >= ' ') {
            size = utf8_character_size(parser->at, left(parser));
        }
        if (size == 0) {
            return fail_syntax(parser, "UTF-8, escapes of JSON other than \\u0000");
        }
        parser->at += size;
    }
}

/* From behind the opening quote to behind the closing one. */
static inline bool parse_string(struct parser *parser, struct span *ret_text)
{
    if (left(parser) >= JSON_TEXT_BLOCK) {
        size_t n = json_text_plain_of_block(parser->at);
        if (n < JSON_TEXT_BLOCK && parser->at[n] == '"') {
            *ret_text = (struct span){ parser->at, n };
            parser->at += n + 1;
            return true;
        }
    }
    return parse_any_string(parser, ret_text);
}

static size_t skip_digits(struct parser *parser)
{
    const char *start = parser->at;
    while (parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9') {
        parser->at++;
    }
    return (size_t)(parser->at - start);
}

static bool parse_number(struct parser *parser, struct value *value)
{
    const char *start = parser->at;
    value->kind = VALUE_INTEGER;
    parser->at += *parser->at == '-';
    bool has_leading_zero = is_next(parser, '0');
    size_t n_digits = skip_digits(parser);
    if (n_digits == 0 || (has_leading_zero && n_digits > 1)) {
        return fail_syntax(parser, "a number without leading zeros");
    }
    if (is_next(parser, '.')) {
        value->kind = VALUE_REAL;
        parser->at++;
        if (skip_digits(parser) == 0) {
            return fail_syntax(parser, "a digit after the point");
        }
    }
    if (is_next(parser, 'e') || is_next(parser, 'E')) {
        value->kind = VALUE_REAL;
        parser->must_be_judged = true;
        parser->at++;
        parser->at += is_next(parser, '+') || is_next(parser, '-');
        if (skip_digits(parser) == 0) {
            return fail_syntax(parser, "a digit of the exponent");
        }
    }
    struct span text = { start, (size_t)(parser->at - start) };
    if (value->kind == VALUE_REAL) {
        parser->must_be_judged |= text.n > REAL_DIGITS_SAFE;
        return true;
    }
    if (!ext_value_parse_i64(text, INT64_MIN, INT64_MAX, &value->integer)) {
        parser->at = start;
        return fail_syntax(parser, "an integer of 64 bits");
    }
    return true;
}

static bool parse_word(struct parser *parser, struct span word)
{
    if (!span_starts_with((struct span){ parser->at, left(parser) }, word)) {
        return fail_syntax(parser, "a value");
    }
    parser->at += word.n;
    return true;
}

/* To the end of the string that begins here, for skip_nested(): jansson judges what is in it. */
static bool skip_string(struct parser *parser)
{
    parser->at++;
    for (;;) {
        parser->at += json_text_plain_size(parser->at, left(parser));
        size_t size = is_next(parser, '\\') ? 2 : 1;
        if (left(parser) < size) {
            return fail_syntax(parser, "a closing quote");
        }
        bool is_end = *parser->at == '"';
        parser->at += size;
        if (is_end) {
            return true;
        }
    }
}

/* Counts brackets of both kinds alike: whether they match is for jansson to say. */
static bool skip_nested(struct parser *parser)
{
    parser->must_be_judged = true;
    size_t depth = 0;
    do {
        if (is_next(parser, '"')) {
            if (!skip_string(parser)) {
                return false;
            }
            continue;
        }
        if (parser->at == parser->end) {
            return fail_syntax(parser, "a closing bracket");
        }
        char byte = *parser->at++;
        depth += byte == '{' || byte == '[';
        depth -= byte == '}' || byte == ']';
    } while (depth > 0);
    return true;
}

static bool parse_value_kind(struct parser *parser, struct value *value)
{
    switch (parser->at < parser->end ? *parser->at : '\0') {
    case '"':
        value->kind = VALUE_STRING;
        parser->at++;
        return parse_string(parser, &value->text);
    case 't':
        value->kind = VALUE_BOOLEAN;
        return parse_word(parser, SPAN("true"));
    case 'f':
        value->kind = VALUE_BOOLEAN;
        return parse_word(parser, SPAN("false"));
    case 'n':
        value->kind = VALUE_NULL;
        return parse_word(parser, SPAN("null"));
    case '{':
    case '[':
        value->kind = VALUE_NESTED;
        return skip_nested(parser);
    case '-':
    case '0' ... '9':
        return parse_number(parser, value);
    default:
        return fail_syntax(parser, "a value");
    }
}

static bool parse_value(struct parser *parser, struct value *value)
{
    const char *start = parser->at;
    if (!parse_value_kind(parser, value)) {
        return false;
    }
    value->source = (struct span){ start, (size_t)(parser->at - start) };
    if (value->kind == VALUE_STRING) {
        return true;
    }
    value->text = value->source;
    if (value->kind != VALUE_NESTED) {
        /* jansson 2.14 loses a zero byte that it looked at to see where a number or word ends. */
        parser->at += is_next(parser, '\0');
    }
    return true;
}

/* How a run of members ended (parse_object). */
enum run_end {
    RUN_STOPPED, /* before a member or something else that it does not like */
    RUN_CLOSED,  /* behind the brace that closes the object */
    RUN_FAILED,
};

/*
 * take_run takes what members it likes, each with the comma behind it and the blanks behind that, or
 * the closing brace; take_member is called for the one that it stopped before, behind its key. Inline,
 * so that they are no calls.
 */
__attribute__((always_inline)) static inline bool parse_object(struct parser *parser,
    enum run_end (*take_run)(struct parser *parser),
    bool (*take_member)(struct parser *parser, struct span key))
{
    if (!expect(parser, '{', "an object")) {
        return false;
    }
    skip_blanks(parser);
    if (is_next(parser, '}')) {
        parser->at++;
        return true;
    }
    for (;;) {
        switch (take_run(parser)) {
        case RUN_STOPPED:
            break;
        case RUN_CLOSED:
            return true;
        case RUN_FAILED:
            return false;
        }
        struct span key = SPAN_ABSENT;
        if (!expect(parser, '"', "a key in quotes") || !parse_string(parser, &key) ||
            !expect(parser, ':', "a colon")) {
            return false;
        }
        skip_blanks(parser);
        if (!take_member(parser, key)) {
            return false;
        }
        skip_blanks(parser);
        if (!is_next(parser, ',')) {
            return expect(parser, '}', "a comma or a closing brace");
        }
        parser->at++;
        skip_blanks(parser);
    }
}

/*
 * Runs are members as programs write them, read in a few registers. No byte that is read on its own
 * lies beyond the last of the header, a closing brace, at which every loop ends.
 */

static inline const char *skip_spaces(const char *at)
{
    while (*at == ' ') {
        at++;
    }
    return at;
}

/*
 * The header's fields
 */

static void note_escapes(struct parser *parser, size_t field)
{
    if (parser->escaped_to == 0) {
        parser->escaped_from = field;
    }
    parser->escaped_to = field + 1;
}

/* A string with escapes or more than ASCII in it, from its first character, as the value of a field. */
__attribute__((noinline)) static bool take_special_value(
    struct parser *parser, const char *at, struct ext_field *field)
{
    parser->at = at;
    if (!parse_any_string(parser, &field->value)) {
        return false;
    }
    field->source_size = 0;
    if (parser->saw_escape) {
        note_escapes(parser, (size_t)(field - parser->command->ext_fields.fields));
    }
    parser->saw_special = parser->saw_escape = false;
    return true;
}

/* From behind a key's quote to the quote of its value; NULL where there is more than a colon and spaces. */
__attribute__((noinline)) static const char *spaced_value(const char *at)
{
    at = skip_spaces(at);
    if (*at != ':') {
        return NULL;
    }
    at = skip_spaces(at + 1);
    return *at == '"' ? at : NULL;
}

/*
 * The fields of a header as programs write them: a short key of plain text, a string, and perhaps
 * spaces between them. It stops before the first that is otherwise.
 */
static inline enum run_end take_plain_ext_fields(struct parser *parser)
{
    struct ext_fields *ext_fields = &parser->command->ext_fields;
    struct ext_field *field = ext_fields->fields + ext_fields->n;
    const struct ext_field *fields_end = ext_fields->fields + ext_fields->capacity;
    struct ext_keys_seen keys = { 0 };
    bool has_similar_keys = false;
    const char *at = parser->at;
    const char *end = parser->has_runs ? parser->end : at;
    enum run_end run_end = RUN_STOPPED;
    while (field < fields_end && end - at > (ptrdiff_t)JSON_TEXT_BLOCK + 3 && *at == '"') {
        const char *key = at + 1;
        size_t key_n = json_text_plain_of_block(key);
        const char *value = key + key_n + 3;
        if (key_n == JSON_TEXT_BLOCK) {
            break;
        }
        if (memcmp(key + key_n, "\":\"", 3) != 0) {
            value = key[key_n] == '"' ? spaced_value(key + key_n + 1) : NULL;
            if (!value) {
                break;
            }
            value++;
        }
        size_t value_n = json_text_plain_size(value, (size_t)(end - value));
        field->key = (struct span){ key, key_n };
        field->value = (struct span){ value, value_n };
        field->source_size = (uint32_t)(key_n + value_n + 5);
        const char *behind = value + value_n + 1;
        if (end - behind < 1) {
            break;
        }
        if (behind[-1] != '"') {
            if (!take_special_value(parser, value, field)) {
                return RUN_FAILED;
            }
            behind = parser->at;
        }
        behind = skip_spaces(behind);
        if (*behind != ',' && *behind != '}') {
            break;
        }
        has_similar_keys |= ext_keys_see(&keys, field->key);
        field++;
        at = behind + 1;
        if (*behind == '}') {
            run_end = RUN_CLOSED;
            break;
        }
        at = skip_spaces(at);
    }
    parser->at = at;
    parser->has_similar_keys |= has_similar_keys;
    ext_fields->n = (size_t)(field - ext_fields->fields);
    return run_end;
}

__attribute__((cold, noinline)) static void mark_too_many(struct parser *parser)
{
    char accepted[32];
    (void)snprintf(accepted, sizeof(accepted), "at most %zu", parser->command->ext_fields.capacity);
    mark_invalid(parser, SPAN("extFields"), SPAN("too many fields"), accepted);
}

/* False when the array is full. */
static inline bool keep_ext_field(struct parser *parser, struct span key, struct span value)
{
    struct ext_fields *ext_fields = &parser->command->ext_fields;
    if (!ext_fields_add(ext_fields, key, value)) {
        mark_too_many(parser);
        return false;
    }
    parser->has_similar_keys = true; /* who knows: it may be escaped */
    if (parser->saw_escape) {
        note_escapes(parser, ext_fields->n - 1);
    }
    return true;
}

/* Numbers, true and false are taken as their text. */
static bool take_ext_value(struct parser *parser, struct span key)
{
    struct value value = { 0 };
    if (!parse_value(parser, &value)) {
        return false;
    }
    switch (value.kind) {
    case VALUE_STRING:
    case VALUE_INTEGER:
    case VALUE_REAL:
    case VALUE_BOOLEAN:
        (void)keep_ext_field(parser, key, value.text);
        break;
    case VALUE_NULL:
        /* Absent. The key is not kept, so only jansson can see whether it stands twice. */
        parser->must_be_judged = true;
        break;
    case VALUE_NESTED:
        mark_invalid(parser, key, value.source, "a string, number, true, false or null");
        break;
    }
    return true;
}

static inline bool take_ext_field(struct parser *parser, struct span key)
{
    bool is_taken;
    if (is_next(parser, '"')) {
        struct span text = SPAN_ABSENT;
        parser->at++;
        is_taken = parse_string(parser, &text);
        if (is_taken && keep_ext_field(parser, key, text) && !parser->saw_special) {
            struct ext_fields *ext_fields = &parser->command->ext_fields;
            size_t size = (size_t)(parser->at - (key.data - 1));
            ext_fields->fields[ext_fields->n - 1].source_size = (uint32_t)size;
        }
    } else {
        is_taken = take_ext_value(parser, key);
    }
    parser->saw_special = parser->saw_escape = false;
    return is_taken;
}

static enum header_key header_key_of_name(struct span name)
{
    switch (name.n) {
    case 4:
        return memcmp(name.data, "code", 4) == 0   ? KEY_CODE
               : memcmp(name.data, "flag", 4) == 0 ? KEY_FLAG
                                                   : KEY_UNKNOWN;
    case 6:
        return memcmp(name.data, "opaque", 6) == 0   ? KEY_OPAQUE
               : memcmp(name.data, "remark", 6) == 0 ? KEY_REMARK
                                                     : KEY_UNKNOWN;
    case 7:
        return memcmp(name.data, "version", 7) == 0 ? KEY_VERSION : KEY_UNKNOWN;
    case 8:
        return memcmp(name.data, "language", 8) == 0 ? KEY_LANGUAGE : KEY_UNKNOWN;
    case 9:
        return memcmp(name.data, "extFields", 9) == 0 ? KEY_EXT_FIELDS : KEY_UNKNOWN;
    case 23:
        return memcmp(name.data, "serializeTypeCurrentRPC", 23) == 0 ? KEY_SERIALIZE_TYPE
                                                                     : KEY_UNKNOWN;
    default:
        return KEY_UNKNOWN;
    }
}

/*
 * Names that are written with escapes are rare, and their buffer is zeroed by the compiler: not in
 * the way of others.
 */
__attribute__((cold, noinline)) static enum header_key header_key_of_escaped(struct span key)
{
    char buffer[NAME_ESCAPED_MAX];
    return key.n > sizeof(buffer)
               ? KEY_UNKNOWN
               : header_key_of_name((struct span){ buffer, unescape(key, buffer) });
}

__attribute__((cold, noinline)) static enum language language_of_escaped(struct span name)
{
    char buffer[NAME_ESCAPED_MAX];
    return name.n > sizeof(buffer)
               ? LANGUAGE_UNKNOWN
               : language_from_name((struct span){ buffer, unescape(name, buffer) });
}

/* No known name has a backslash, so what is found is found as it stands. */
static enum header_key find_header_key(struct span key)
{
    enum header_key found = header_key_of_name(key);
    return found == KEY_UNKNOWN && has_escape(key) ? header_key_of_escaped(key) : found;
}

static int32_t *integer_of_key(struct remoting_command *command, enum header_key key,
    enum remoting_command_present *ret_present)
{
    switch (key) {
    case KEY_CODE:
        *ret_present = REMOTING_HAS_CODE;
        return &command->code;
    case KEY_FLAG:
        *ret_present = REMOTING_HAS_FLAG;
        return &command->flag;
    case KEY_OPAQUE:
        *ret_present = REMOTING_HAS_OPAQUE;
        return &command->opaque;
    case KEY_VERSION:
        *ret_present = REMOTING_HAS_VERSION;
        return &command->version;
    case KEY_UNKNOWN:
    case KEY_EXT_FIELDS:
    case KEY_LANGUAGE:
    case KEY_REMARK:
    case KEY_SERIALIZE_TYPE:
        break;
    }
    return NULL;
}

static void take_integer(
    struct parser *parser, enum header_key key, struct span name, const struct value *value)
{
    if (value->kind != VALUE_INTEGER || value->integer < INT32_MIN || value->integer > INT32_MAX) {
        mark_invalid(parser, name, value->source, "an integer from -2147483648 to 2147483647");
        return;
    }
    enum remoting_command_present present;
    int32_t *integer = integer_of_key(parser->command, key, &present);
    if (integer) {
        *integer = (int32_t)value->integer;
        parser->command->present |= present;
    }
}

static void take_language(struct parser *parser, const struct value *value)
{
    if (value->kind == VALUE_INTEGER) {
        parser->command->language = language_from_number(value->integer);
    } else if (value->kind == VALUE_STRING) {
        parser->command->language = language_from_name(value->text);
        if (parser->command->language == LANGUAGE_UNKNOWN && has_escape(value->text)) {
            parser->command->language = language_of_escaped(value->text);
        }
    } else {
        mark_invalid(parser, SPAN("language"), value->source, "a name or its number");
        return;
    }
    parser->command->present |= REMOTING_HAS_LANGUAGE;
}

static void take_remark(struct parser *parser, const struct value *value)
{
    if (value->kind == VALUE_STRING) {
        parser->command->remark = value->text;
    } else if (value->kind != VALUE_NULL) {
        mark_invalid(parser, SPAN("remark"), value->source, "a string or null");
    }
}

static void take_value(
    struct parser *parser, enum header_key key, struct span name, const struct value *value)
{
    switch (key) {
    case KEY_CODE:
    case KEY_FLAG:
    case KEY_OPAQUE:
    case KEY_VERSION:
        take_integer(parser, key, name, value);
        break;
    case KEY_LANGUAGE:
        take_language(parser, value);
        break;
    case KEY_REMARK:
        take_remark(parser, value);
        break;
    case KEY_EXT_FIELDS:
        if (value->kind != VALUE_NULL) {
            mark_invalid(parser, name, value->source, "an object or null");
        }
        break;
    case KEY_SERIALIZE_TYPE:
        /* The frame says it, and is believed. */
        break;
    case KEY_UNKNOWN:
        parser->must_be_judged = true;
        break;
    }
}

/* How many of the eight characters from data are digits, before the first that is none. */
static inline size_t count_digits(uint64_t word)
{
    uint64_t values = word ^ 0x3030303030303030u;
    uint64_t others = ((values + 0x0606060606060606u) | values) & 0xF0F0F0F0F0F0F0F0u;
    return others ? (size_t)__builtin_ctzll(others) / 8 : sizeof(word);
}

/* The number of the first n characters, 1 to 8, which are digits: by pairs, by fours, all. */
static inline uint64_t read_digits(uint64_t word, size_t n)
{
    uint64_t values = (word ^ 0x3030303030303030u) << 8 * (8 - n);
    values = (values & 0x0F0F0F0F0F0F0F0Fu) * 2561 >> 8;
    values = (values & 0x00FF00FF00FF00FFu) * 6553601 >> 16;
    return (values & 0x0000FFFF0000FFFFu) * 42949672960001u >> 32;
}

/* The eight characters from data, or the fewer up to the end of a header that is longer. */
static inline uint64_t load_word(const char *data, const char *end)
{
    uint64_t word;
    size_t n = (size_t)(end - data);
    if (n >= sizeof(word)) {
        memcpy(&word, data, sizeof(word));
        return le64toh(word);
    }
    memcpy(&word, end - sizeof(word), sizeof(word));
    return le64toh(word) >> 8 * (sizeof(word) - n);
}

/*
 * The integer of a header as programs write it: no leading zeros, and a comma or the closing brace
 * behind. Where it ends; NULL where it is otherwise.
 */
static inline const char *read_plain_integer(const char *at, const char *end, int32_t *ret_integer)
{
    static const uint32_t powers[] = { 1, 10, 100 };
    bool is_negative = *at == '-';
    at += is_negative;
    uint64_t word = load_word(at, end);
    size_t n = count_digits(word);
    if (n == 0 || (*at == '0' && n > 1)) {
        return NULL;
    }
    uint64_t number = read_digits(word, n);
    at += n;
    if (n == sizeof(word)) {
        word = load_word(at, end);
        n = count_digits(word);
        if (n > 2) {
            return NULL;
        }
        number = n > 0 ? number * powers[n] + read_digits(word, n) : number;
        at += n;
    }
    if ((*at != ',' && *at != '}') || number > (uint64_t)INT32_MAX + is_negative) {
        return NULL;
    }
    *ret_integer = (int32_t)(is_negative ? -(int64_t)number : (int64_t)number);
    return at;
}

static inline bool parse_ext_fields(struct parser *parser)
{
    parser->command->has_ext_fields = true;
    parser->saw_special = parser->saw_escape = false;
    return parse_object(parser, take_plain_ext_fields, take_ext_field);
}

/* A key of a header as it stands between the brace or comma before it and its value. */
struct plain_key {
    enum header_key key;
    unsigned size;
    int32_t *integer; /* its value; NULL: that is none */
    enum remoting_command_present present;
};

#define PLAIN_KEY(name, its_key, ...)                                                              \
    (n > sizeof("\"" name "\":") - 1 &&                                                            \
                memcmp(at, "\"" name "\":", sizeof("\"" name "\":") - 1) == 0                      \
            ? (struct plain_key){ (its_key), sizeof("\"" name "\":") - 1, __VA_ARGS__ }            \
            : (struct plain_key){ KEY_UNKNOWN, 0, NULL, 0 })

static inline struct plain_key read_plain_key(
    struct remoting_command *command, const char *at, size_t n)
{
    switch (n > 1 ? at[1] : '\0') {
    case 'c':
        return PLAIN_KEY("code", KEY_CODE, &command->code, REMOTING_HAS_CODE);
    case 'e':
        return PLAIN_KEY("extFields", KEY_EXT_FIELDS, NULL, 0);
    case 'f':
        return PLAIN_KEY("flag", KEY_FLAG, &command->flag, REMOTING_HAS_FLAG);
    case 'l':
        return PLAIN_KEY("language", KEY_LANGUAGE, NULL, REMOTING_HAS_LANGUAGE);
    case 'o':
        return PLAIN_KEY("opaque", KEY_OPAQUE, &command->opaque, REMOTING_HAS_OPAQUE);
    case 's':
        return PLAIN_KEY("serializeTypeCurrentRPC", KEY_SERIALIZE_TYPE, NULL, 0);
    case 'v':
        return PLAIN_KEY("version", KEY_VERSION, &command->version, REMOTING_HAS_VERSION);
    default:
        return (struct plain_key){ KEY_UNKNOWN, 0, NULL, 0 };
    }
}

/* A short plain string with its quotes. Where it ends; NULL where it is otherwise. */
static inline const char *read_plain_name(const char *at, const char *end, struct span *ret_name)
{
    if (end - at < (ptrdiff_t)JSON_TEXT_BLOCK + 2 || *at != '"') {
        return NULL;
    }
    size_t n = json_text_plain_of_block(at + 1);
    if (n == JSON_TEXT_BLOCK || at[n + 1] != '"') {
        return NULL;
    }
    *ret_name = (struct span){ at + 1, n };
    return at + n + 2;
}

/* The value of a key other than extFields. Where it ends; NULL where it is not plain. */
static inline const char *read_plain_value(
    struct remoting_command *command, const struct plain_key *key, const char *at, const char *end)
{
    struct span name;
    const char *behind =
        key->integer ? read_plain_integer(at, end, key->integer) : read_plain_name(at, end, &name);
    if (!behind) {
        return NULL;
    }
    command->present |= key->present;
    if (key->key == KEY_LANGUAGE) {
        command->language = language_from_name(name);
    }
    return behind;
}

/* Behind a value that no comma follows at once. */
static enum run_end run_leave(struct parser *parser, const char *at)
{
    parser->at = at;
    skip_blanks(parser);
    if (!is_next(parser, ',')) {
        return expect(parser, '}', "a comma or a closing brace") ? RUN_CLOSED : RUN_FAILED;
    }
    parser->at++;
    skip_blanks(parser);
    return RUN_STOPPED;
}

/*
 * The members of a header as programs write them: each key once, and perhaps spaces between them. It
 * stops before the first that is otherwise.
 */
static inline enum run_end take_plain_members(struct parser *parser)
{
    const char *at = parser->at;
    const char *end = parser->has_runs ? parser->end : at;
    while (at < end && *at == '"') {
        const struct plain_key key = read_plain_key(parser->command, at, (size_t)(end - at));
        if (key.key == KEY_UNKNOWN || parser->seen & key.key) {
            break;
        }
        const char *value = skip_spaces(at + key.size);
        const char *behind;
        if (key.key != KEY_EXT_FIELDS) {
            behind = read_plain_value(parser->command, &key, value, end);
            if (!behind) {
                break;
            }
        } else if (*value == '{') {
            parser->at = value;
            if (!parse_ext_fields(parser)) {
                return RUN_FAILED;
            }
            behind = parser->at;
        } else {
            break;
        }
        parser->seen |= key.key;
        if (behind == end || *behind != ',') {
            return run_leave(parser, behind);
        }
        at = skip_spaces(behind + 1);
    }
    parser->at = at;
    return RUN_STOPPED;
}

static bool take_header_member(struct parser *parser, struct span name)
{
    enum header_key key = find_header_key(name);
    if (parser->seen & key) {
        mark_invalid(parser, name, SPAN("it twice"), "once");
        if (key == KEY_OPAQUE) {
            /* Whoever answered would have to guess. */
            parser->command->present &= ~(unsigned)REMOTING_HAS_OPAQUE;
        }
        key = KEY_UNKNOWN;
    }
    parser->seen |= key;
    if (key == KEY_EXT_FIELDS && is_next(parser, '{')) {
        return parse_ext_fields(parser);
    }
    struct value value = { 0 };
    if (!parse_value(parser, &value)) {
        return false;
    }
    take_value(parser, key, name, &value);
    return true;
}

static bool parse_header(struct parser *parser)
{
    if (!parse_object(parser, take_plain_members, take_header_member)) {
        return false;
    }
    skip_blanks(parser);
    return parser->at == parser->end || fail_syntax(parser, "nothing after the header");
}

/*
 * Decoding
 */

static bool loads(const struct parser *parser, size_t flags, json_error_t *ret_error)
{
    json_t *json =
        json_loadb(parser->start, (size_t)(parser->end - parser->start), flags, ret_error);
    json_decref(json);
    return json != NULL;
}

/* What jansson finds; HEADER_OK also where the parser has marked something as invalid. */
static enum header_status judge(struct parser *parser)
{
    size_t n = (size_t)(parser->end - parser->start);
    if (n > HEADER_JSON_JUDGED_MAX) {
        char seen[32];
        char accepted[80];
        (void)snprintf(seen, sizeof(seen), "%zu bytes", n);
        (void)snprintf(accepted, sizeof(accepted),
            "at most %u with unknown keys, nested or null values, exponents",
            HEADER_JSON_JUDGED_MAX);
        mark_invalid(parser, SPAN("JSON header"), span_of(seen), accepted);
        return HEADER_OK;
    }
    json_error_t error;
    if (loads(parser, JSON_REJECT_DUPLICATES, &error)) {
        return HEADER_OK;
    }
    if (json_error_code(&error) == json_error_duplicate_key) {
        const json_error_t first_error = error;
        if (loads(parser, 0, &error)) {
            mark_invalid(parser, SPAN("JSON header"), span_of(first_error.text), "each key once");
            return HEADER_OK;
        }
    }
    /* It has words for everything but that. */
    if (error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory) {
        header_problem_set(
            parser->problem, SPAN("JSON header"), SPAN("no memory left"), "it again, later");
        return HEADER_NO_MEMORY;
    }
    header_problem_set(parser->problem, SPAN("JSON header"), span_of(error.text), "JSON");
    return HEADER_SYNTAX;
}

static void unescape_strings(const struct parser *parser)
{
    unescape_in_place(&parser->command->remark);
    for (size_t i = parser->escaped_from; i < parser->escaped_to; i++) {
        unescape_in_place(&parser->command->ext_fields.fields[i].key);
        unescape_in_place(&parser->command->ext_fields.fields[i].value);
    }
}

enum header_status header_json_decode(
    struct remoting_command *command, char *data, size_t n, struct header_problem *ret_problem)
{
    struct parser parser = {
        .command = command,
        .problem = ret_problem,
        .start = data,
        .at = data,
        .end = data + n,
        .has_runs = n >= JSON_TEXT_BLOCK && data[n - 1] == '}',
    };
    if (!parse_header(&parser)) {
        return HEADER_SYNTAX;
    }
    enum header_status judged = parser.must_be_judged ? judge(&parser) : HEADER_OK;
    if (judged != HEADER_OK) {
        return judged;
    }
    if (parser.is_invalid) {
        return HEADER_INVALID;
    }
    unescape_strings(&parser);
    ptrdiff_t duplicate =
        parser.has_similar_keys ? ext_fields_find_duplicate(&command->ext_fields) : -1;
    if (duplicate >= 0) {
        mark_invalid(&parser, command->ext_fields.fields[duplicate].key, SPAN("it twice"), "once");
        return HEADER_INVALID;
    }
    return HEADER_OK;
}
