#include "protocol/recall_handle.h"

#include "protocol/base64.h"
#include "protocol/utf8.h"

#include <stdlib.h>
#include <string.h>

#define N_PARTS 5

/* RFC 4648, section 5, in the alphabet of section 4; 0 when the text is too long. */
static size_t plain_base64(struct span text, char *dst, size_t dst_size)
{
    if (text.n > dst_size) {
        return 0;
    }
    for (size_t i = 0; i < text.n; i++) {
        char c = text.data[i];
        dst[i] = c == '-' ? '+' : c == '_' ? '/' : c;
    }
    return text.n;
}

/* The words between single spaces; false unless there are N_PARTS that are not empty. */
static bool split(struct span text, struct span parts[N_PARTS])
{
    size_t n = 0;
    size_t start = 0;
    for (size_t i = 0; i <= text.n; i++) {
        if (i < text.n && text.data[i] != ' ') {
            continue;
        }
        if (n == N_PARTS || i == start) {
            return false;
        }
        parts[n++] = (struct span){ text.data + start, i - start };
        start = i + 1;
    }
    return n == N_PARTS;
}

bool recall_handle_decode(struct span text, struct recall_handle *ret_handle)
{
    char plain[RECALL_HANDLE_MAX];
    char *decoded = NULL;
    size_t n = 0;
    size_t plain_n = plain_base64(text, plain, sizeof(plain));
    if (plain_n == 0 || base64_decode((struct span){ plain, plain_n }, &decoded, &n) != 0) {
        return false;
    }
    memcpy(ret_handle->text, decoded, n);
    free(decoded);
    struct span parts[N_PARTS];
    struct span whole = { ret_handle->text, n };
    if (memchr(ret_handle->text, '\0', n) || !utf8_is_valid(whole) || !split(whole, parts) ||
        !span_equals(parts[0], SPAN("v1"))) {
        return false;
    }
    ret_handle->topic = parts[1];
    ret_handle->broker_name = parts[2];
    return true;
}
