#include "protocol/base64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(struct span data)
{
    char *text = malloc((data.n + 2) / 3 * 4 + 1);
    if (!text) {
        return NULL;
    }
    const uint8_t *bytes = (const uint8_t *)data.data;
    char *at = text;
    for (size_t i = 0; i < data.n; i += 3) {
        const size_t n = data.n - i < 3 ? data.n - i : 3;
        const uint32_t group = (uint32_t)bytes[i] << 16 |
                               (n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                               (n > 2 ? bytes[i + 2] : 0);
        *at++ = alphabet[group >> 18];
        *at++ = alphabet[group >> 12 & 63];
        *at++ = n > 1 ? alphabet[group >> 6 & 63] : '=';
        *at++ = n > 2 ? alphabet[group & 63] : '=';
    }
    *at = '\0';
    return text;
}

int base64_decode(struct span text, char **ret_data, size_t *ret_n)
{
    if (text.n % 4 != 0) {
        return -EINVAL;
    }
    size_t n_padding = 0;
    while (n_padding < 2 && n_padding < text.n && text.data[text.n - 1 - n_padding] == '=') {
        n_padding++;
    }
    char *data = malloc(text.n / 4 * 3 + 1);
    if (!data) {
        return -ENOMEM;
    }
    size_t n = 0;
    uint32_t group = 0;
    for (size_t i = 0; i < text.n; i++) {
        const bool is_padding = i >= text.n - n_padding;
        const char *found = is_padding ? alphabet : memchr(alphabet, text.data[i], 64);
        if (!found) {
            free(data);
            return -EINVAL;
        }
        group = group << 6 | (uint32_t)(found - alphabet);
        if (i % 4 == 3) {
            data[n++] = (char)(group >> 16 & 255);
            data[n++] = (char)(group >> 8 & 255);
            data[n++] = (char)(group & 255);
            group = 0;
        }
    }
    n -= n_padding;
    data[n] = '\0';
    *ret_data = data;
    *ret_n = n;
    return 0;
}
