#include "daemon/core/log_fields.h"

#include <string.h>

#define KEY_CHARACTERS "abcdefghijklmnopqrstuvwxyz_"

/* Behind the closing quote, or the end of the text. */
static const char *quoted_end(const char *text)
{
    while (*text && *text != '"') {
        text += text[0] == '\\' && text[1] ? 2 : 1;
    }
    return text;
}

bool log_fields_next(const char **at, struct span *ret_key, struct span *ret_value)
{
    const char *word = *at;
    while (*word) {
        word += strspn(word, " ");
        size_t n_key = strspn(word, KEY_CHARACTERS);
        const char *value = word + n_key + 1;
        if (n_key == 0 || word[n_key] != '=') {
            word += strcspn(word, " ");
            continue;
        }
        bool is_quoted = *value == '"';
        value += is_quoted;
        const char *end = is_quoted ? quoted_end(value) : value + strcspn(value, " ");
        *ret_key = (struct span){ word, n_key };
        *ret_value = (struct span){ value, (size_t)(end - value) };
        *at = end + (is_quoted && *end == '"');
        return true;
    }
    *at = word;
    return false;
}
