#include "client/output.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "protocol/cleanup.h"
#include "protocol/ext_fields.h"
#include "protocol/utf8.h"

DEFINE_CLEANUP(char *, free)

/*
 * The size of the character at `at` that may be shown as it is, or 0: its first byte must be
 * escaped.
 */
static size_t plain_size(struct span text, size_t at, enum output_shape shape)
{
    const uint8_t *bytes = (const uint8_t *)text.data + at;
    const size_t size = utf8_character_size(text.data + at, text.n - at);
    if (size == 1 && (bytes[0] == '\n' || bytes[0] == '\t')) {
        return shape == OUTPUT_LINES ? 1 : 0;
    }
    const bool is_c0 = size == 1 && (bytes[0] < 0x20 || bytes[0] == 0x7F);
    const bool is_c1 = size == 2 && bytes[0] == 0xC2 && bytes[1] < 0xA0;
    return is_c0 || is_c1 ? 0 : size;
}

static bool is_plain(struct span text, enum output_shape shape)
{
    for (size_t at = 0; at < text.n;) {
        const size_t size = plain_size(text, at, shape);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return true;
}

static void write_escaped(FILE *stream, struct span text, enum output_shape shape)
{
    for (size_t at = 0; at < text.n;) {
        const size_t size = plain_size(text, at, shape);
        if (size > 0) {
            fwrite(text.data + at, 1, size, stream);
            at += size;
            continue;
        }
        const uint8_t byte = (uint8_t)text.data[at++];
        switch (byte) {
        case '\n':
            fputs("\\n", stream);
            break;
        case '\t':
            fputs("\\t", stream);
            break;
        case '\r':
            fputs("\\r", stream);
            break;
        default:
            fprintf(stream, "\\x%02x", (unsigned)byte);
        }
    }
}

void output_text(FILE *stream, struct span text, enum output_shape shape)
{
    if (is_plain(text, shape) || !isatty(fileno(stream))) {
        fwrite(text.data ? text.data : "", 1, text.n, stream);
    } else {
        write_escaped(stream, text, shape);
    }
}

static void write_json(const json_t *value, size_t flags)
{
    CLEANUP(free) char *text = json_dumps(value, flags);
    if (!text) {
        fputs("null", stdout);
        return;
    }
    /*
     * JSON escapes control characters below 32 only; the others matter to a terminal and to nobody
     * else.
     */
    if (!is_plain(span_of(text), OUTPUT_LINES) && isatty(STDOUT_FILENO)) {
        free(text);
        text = json_dumps(value, flags | JSON_ENSURE_ASCII);
    }
    output_text(stdout, span_of(text), OUTPUT_LINES);
}

void output_json(json_t *value)
{
    write_json(value, JSON_COMPACT);
    fputc('\n', stdout);
    json_decref(value);
}

void output_json_pretty(const json_t *value)
{
    write_json(value, JSON_INDENT(2));
}

json_t *json_text(struct span text)
{
    if (span_is_absent(text)) {
        return json_null();
    }
    json_t *value = json_stringn(text.data, text.n);
    if (value) {
        return value;
    }
    char *escaped = NULL;
    size_t n = 0;
    FILE *stream = open_memstream(&escaped, &n);
    if (!stream) {
        return json_null();
    }
    write_escaped(stream, text, OUTPUT_LINES);
    fclose(stream);
    value = json_stringn(escaped, n);
    free(escaped);
    return value;
}

json_t *json_number_or_text(struct span text)
{
    int64_t number;
    if (ext_value_parse_i64(text, INT64_MIN, INT64_MAX, &number)) {
        return json_integer(number);
    }
    return json_text(text);
}

struct span json_object_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        return SPAN_ABSENT;
    }
    return (struct span){ json_string_value(value), json_string_length(value) };
}

int64_t json_object_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

void utc_text(int64_t wall_ms, char dst[static UTC_TEXT_SIZE])
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc = { 0 };
    gmtime_r(&seconds, &utc);
    const size_t n = strftime(dst, UTC_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(dst + n, UTC_TEXT_SIZE - n, ".%03dZ", (int)(wall_ms % 1000));
}

void output_word(const char *word, enum output_colour colour)
{
    static const char *const starts[] = {
        [OUTPUT_GREEN] = "\x1b[32m",
        [OUTPUT_YELLOW] = "\x1b[33m",
        [OUTPUT_RED] = "\x1b[31m",
    };
    const char *no_colour = getenv("NO_COLOR");
    const bool has_colour = isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
    printf("%s%s%s", has_colour ? starts[colour] : "", word, has_colour ? "\x1b[0m" : "");
}

bool output_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return true;
    }
    fprintf(stderr, "remotingctl: cannot write to the standard output (%m).\n");
    return false;
}
