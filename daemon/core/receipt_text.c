#include "daemon/core/receipt_text.h"

#include "protocol/ext_fields.h"
#include "protocol/rocketmq_name.h"

#include <stdarg.h>
#include <stdio.h>

struct span receipt_text_next(struct span *rest, char separator)
{
    const char *end = rest->n > 0 ? memchr(rest->data, separator, rest->n) : NULL;
    struct span field = *rest;
    if (!end) {
        *rest = SPAN_ABSENT;
        return field;
    }
    field.n = (size_t)(end - rest->data);
    *rest = (struct span){ end + 1, rest->n - field.n - 1 };
    return field;
}

bool receipt_text_split(struct span text, char separator, struct span *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (span_is_absent(text)) {
            return false;
        }
        fields[i] = receipt_text_next(&text, separator);
    }
    return span_is_absent(text);
}

bool receipt_text_number(struct span text, int64_t max, int64_t *ret_number)
{
    if (text.n == 0 || text.data[0] < '0' || text.data[0] > '9' ||
        (text.data[0] == '0' && text.n > 1)) {
        return false;
    }
    return ext_value_parse_i64(text, 0, max, ret_number);
}

bool receipt_text_is_name(struct span text)
{
    return rocketmq_name_is_valid(text, RECEIPT_TEXT_MAX);
}

bool receipt_text_is_word(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == 0x7f || c == RECEIPT_TEXT_SEPARATOR || c == '"' || c == '\'' ||
            c == '\\') {
            return false;
        }
    }
    return text.n > 0;
}

size_t receipt_text_write(char *dst, size_t dst_size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(dst, dst_size, format, arguments);
    va_end(arguments);
    return n > 0 && n < RECEIPT_TEXT_MAX && (size_t)n < dst_size ? (size_t)n : 0;
}
