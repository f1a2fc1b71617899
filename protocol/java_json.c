#include "protocol/java_json.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The index behind the string that begins at `at` with its quote; n when it does not end. */
static size_t skip_string(const char *data, size_t n, size_t at)
{
    for (at++; at < n; at++) {
        if (data[at] == '\\') {
            at++;
        } else if (data[at] == '"') {
            return at + 1;
        }
    }
    return n;
}

/* The index behind the integer at `at`, or `at` when there is none. */
static size_t skip_integer(const char *data, size_t n, size_t at)
{
    size_t end = at < n && data[at] == '-' ? at + 1 : at;
    if (end == n || !is_digit(data[end])) {
        return at;
    }
    while (end < n && is_digit(data[end])) {
        end++;
    }
    return end;
}

static bool is_before_colon(const char *data, size_t n, size_t at)
{
    while (at < n && is_space(data[at])) {
        at++;
    }
    return at < n && data[at] == ':';
}

struct output {
    char *dst; /* NULL: only count */
    size_t n;
};

static void output_add(struct output *output, const char *data, size_t n)
{
    if (output->dst && n > 0) {
        memcpy(output->dst + output->n, data, n);
    }
    output->n += n;
}

/*
 * One pass serves for the size and for the text. What stands behind '{' or ',' and before ':' is a
 * key, in an object: no array has a ':' behind its elements, so there is no need to remember what
 * is open.
 */
static size_t quote(const char *data, size_t n, char *dst)
{
    struct output output = { .dst = dst };
    bool key_expected = false;
    for (size_t at = 0; at < n;) {
        size_t begin = at;
        if (data[at] == '"') {
            at = skip_string(data, n, at);
            key_expected = false;
        } else if (key_expected && (at = skip_integer(data, n, at)) > begin) {
            size_t n_quotes = is_before_colon(data, n, at) ? 1 : 0;
            output_add(&output, "\"", n_quotes);
            output_add(&output, data + begin, at - begin);
            output_add(&output, "\"", n_quotes);
            key_expected = false;
            continue;
        } else {
            key_expected =
                data[at] == '{' || data[at] == ',' || (key_expected && is_space(data[at]));
            at++;
        }
        output_add(&output, data + begin, at - begin);
    }
    return output.n;
}

size_t java_json_quoted_size(const char *data, size_t n)
{
    return quote(data, n, NULL);
}

void java_json_quote(const char *data, size_t n, char *dst)
{
    (void)quote(data, n, dst);
}
