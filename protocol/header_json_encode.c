#include "protocol/header_json.h"

#include "protocol/json_text.h"

/*
 * The encoder of header_json.h. What a decoded field looked like is what would be written for it
 * wherever it held no special byte (ext_field_source()): a header that passes through is for the
 * most part copied, out of text that the decoder has looked at byte by byte.
 */

/*
 * Without dst it counts only, so that what is counted and what is written cannot differ. By value
 * to what is no inline function, so that it stays in registers.
 */
struct sink {
    char *dst;
    size_t n;
};

/* Inline with all that is short, so that the sizes of literals are known. */
__attribute__((always_inline)) static inline void put(struct sink *sink, const char *data, size_t n)
{
    if (sink->dst && n > 0) {
        memcpy(sink->dst + sink->n, data, n);
    }
    sink->n += n;
}

#define PUT_LITERAL(sink, literal) put((sink), (literal), sizeof(literal) - 1)

/* A division is the larger part of a digit, so digits come in pairs. */
static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
                                  "25262728293031323334353637383940414243444546474849"
                                  "50515253545556575859606162636465666768697071727374"
                                  "75767778798081828384858687888990919293949596979899";

static inline size_t digits_of(uint32_t number)
{
    static const uint32_t powers[] = { 0, 10, 100, 1000, 10000, 100000, 1000000, 10000000,
        100000000, 1000000000 };
    /* log10(2) is 1233 / 4096, or a little more: one too many at most. */
    unsigned bits = 32 - (unsigned)__builtin_clz(number | 1);
    unsigned guess = bits * 1233 >> 12;
    return guess + (number >= powers[guess]);
}

__attribute__((always_inline)) static inline void put_integer(struct sink *sink, int32_t number)
{
    if ((uint32_t)number < 10) {
        /* Most are: codes of answers, flags. */
        char digit = (char)('0' + number);
        put(sink, &digit, 1);
        return;
    }
    uint32_t rest = number < 0 ? 0 - (uint32_t)number : (uint32_t)number;
    if (number < 0) {
        PUT_LITERAL(sink, "-");
    }
    sink->n += digits_of(rest);
    if (!sink->dst) {
        return;
    }
    char *at = sink->dst + sink->n;
    for (; rest >= 100; rest /= 100) {
        at -= 2;
        memcpy(at, digit_pairs + 2 * (rest % 100), 2);
    }
    if (rest >= 10) {
        memcpy(at - 2, digit_pairs + 2 * rest, 2);
    } else {
        at[-1] = (char)('0' + rest);
    }
}

static inline void put_unicode_escape(struct sink *sink, unsigned character)
{
    static const char digits[] = "0123456789ABCDEF";
    const char escape[6] = { '\\', 'u', digits[character >> 12 & 15], digits[character >> 8 & 15],
        digits[character >> 4 & 15], digits[character & 15] };
    put(sink, escape, sizeof(escape));
}

/* The letter behind the backslash for bytes that have one; 0 for those that have none. */
static inline char escape_letter(unsigned char byte)
{
    static const char letters[' '] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
    };
    if (byte < ' ') {
        return letters[byte];
    }
    return byte == '"' || byte == '\\' ? (char)byte : '\0';
}

/*
 * Writes the byte at data, or the character that begins there where Java escapes it; the bytes
 * taken. Besides what JSON demands, Java escapes U+007F to U+009F and the line separators U+2028
 * and U+2029.
 */
static inline size_t put_special(struct sink *sink, const char *data, size_t n)
{
    unsigned char byte = (unsigned char)data[0];
    char letter = escape_letter(byte);
    if (letter) {
        put(sink, (const char[]){ '\\', letter }, 2);
        return 1;
    }
    if (byte < ' ' || byte == 0x7F) {
        put_unicode_escape(sink, byte);
        return 1;
    }
    if (byte == 0xC2 && n >= 2 && ((unsigned char)data[1] & 0xE0) == 0x80) {
        put_unicode_escape(sink, (unsigned char)data[1]);
        return 2;
    }
    if (n >= 3 && (memcmp(data, "\xE2\x80\xA8", 3) == 0 || memcmp(data, "\xE2\x80\xA9", 3) == 0)) {
        put_unicode_escape(sink, 0x2000u | ((unsigned char)data[2] & 0x3Fu));
        return 3;
    }
    put(sink, data, 1);
    return 1;
}

/* How far the sink is then. */
__attribute__((noinline)) static size_t put_escaped(struct sink sink, struct span text)
{
    for (size_t at = 0; at < text.n;) {
        size_t n_plain = json_text_plain_size(text.data + at, text.n - at);
        put(&sink, text.data + at, n_plain);
        at += n_plain;
        if (at < text.n) {
            at += put_special(&sink, text.data + at, text.n - at);
        }
    }
    return sink.n;
}

static inline void put_string(struct sink *sink, struct span text)
{
    PUT_LITERAL(sink, "\"");
    sink->n = put_escaped(*sink, text);
    PUT_LITERAL(sink, "\"");
}

/*
 * Fields that stand in the source as they are written, one behind the other, as one piece; the
 * index of the first that is not of it.
 */
static inline size_t put_as_in_source(
    struct sink *sink, const struct ext_fields *ext_fields, size_t first)
{
    const char *start = ext_field_source(&ext_fields->fields[first]);
    const char *end = start + ext_fields->fields[first].source_size;
    size_t i = first + 1;
    for (; i < ext_fields->n; i++) {
        const char *next = ext_field_source(&ext_fields->fields[i]);
        if (!next || next != end + 1 || *end != ',') {
            break;
        }
        end = next + ext_fields->fields[i].source_size;
    }
    put(sink, start, (size_t)(end - start));
    return i;
}

static inline void put_ext_fields(struct sink *sink, const struct ext_fields *ext_fields)
{
    PUT_LITERAL(sink, ",\"extFields\":{");
    for (size_t i = 0; i < ext_fields->n;) {
        if (i > 0) {
            PUT_LITERAL(sink, ",");
        }
        const struct ext_field *field = &ext_fields->fields[i];
        if (ext_field_source(field)) {
            i = put_as_in_source(sink, ext_fields, i);
            continue;
        }
        put_string(sink, field->key);
        PUT_LITERAL(sink, ":");
        put_string(sink, field->value);
        i++;
    }
    PUT_LITERAL(sink, "}");
}

__attribute__((always_inline)) static inline void put_header(
    struct sink *sink, const struct remoting_command *command)
{
    PUT_LITERAL(sink, "{\"code\":");
    put_integer(sink, command->code);
    if (command->has_ext_fields || command->ext_fields.n > 0) {
        put_ext_fields(sink, &command->ext_fields);
    }
    PUT_LITERAL(sink, ",\"flag\":");
    put_integer(sink, command->flag);
    PUT_LITERAL(sink, ",\"language\":\"");
    struct span language = language_name(command->language);
    put(sink, language.data, language.n);
    PUT_LITERAL(sink, "\",\"opaque\":");
    put_integer(sink, command->opaque);
    if (!span_is_absent(command->remark)) {
        PUT_LITERAL(sink, ",\"remark\":");
        put_string(sink, command->remark);
    }
    PUT_LITERAL(sink, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    put_integer(sink, command->version);
    PUT_LITERAL(sink, "}");
}

/* All that is no text of the command: keys, integers, the longest name of a language. */
#define FIXED_SIZE_MAX 192u
/* A byte is at most \u0000. */
#define ESCAPED_SIZE_MAX 6u

size_t header_json_encoded_size_max(const struct remoting_command *command)
{
    const struct ext_fields *ext_fields = &command->ext_fields;
    size_t n = FIXED_SIZE_MAX + ESCAPED_SIZE_MAX * command->remark.n +
               (sizeof("\"\":\"\",") - 1) * ext_fields->n;
    for (size_t i = 0; i < ext_fields->n; i++) {
        n += ESCAPED_SIZE_MAX * (ext_fields->fields[i].key.n + ext_fields->fields[i].value.n);
    }
    return n;
}

size_t header_json_encoded_size(const struct remoting_command *command)
{
    struct sink sink = { 0 };
    put_header(&sink, command);
    return sink.n;
}

size_t header_json_encode(const struct remoting_command *command, char *dst)
{
    struct sink sink = { .dst = dst };
    put_header(&sink, command);
    return sink.n;
}
