#include "daemon/core/message_filter.h"

#include <string.h>

#define TAGS_SEPARATOR "||"

/* As String.trim(): whatever is not above a space. */
static struct span trimmed(struct span text)
{
    while (text.n > 0 && (unsigned char)text.data[0] <= ' ') {
        text.data++;
        text.n--;
    }
    while (text.n > 0 && (unsigned char)text.data[text.n - 1] <= ' ') {
        text.n--;
    }
    return text;
}

/* Cuts the next tag off *rest. False at the end. */
static bool next_tag(struct span *rest, struct span *ret_tag)
{
    while (rest->n > 0) {
        const char *end = memmem(rest->data, rest->n, TAGS_SEPARATOR, strlen(TAGS_SEPARATOR));
        size_t n = end ? (size_t)(end - rest->data) : rest->n;
        size_t used = end ? n + strlen(TAGS_SEPARATOR) : n;
        *ret_tag = trimmed((struct span){ rest->data, n });
        *rest = (struct span){ rest->data + used, rest->n - used };
        if (ret_tag->n > 0) {
            return true;
        }
    }
    return false;
}

bool message_filter_has_tags(struct span expression, struct span expression_type)
{
    struct span rest = expression;
    struct span tag;
    bool is_by_tag = span_is_empty(expression_type) || span_equals(expression_type, SPAN("TAG"));
    return is_by_tag && !span_equals(expression, SPAN("*")) && next_tag(&rest, &tag);
}

bool message_filter_wants(struct span expression, const struct message *message)
{
    if (message->sys_flag & MESSAGE_SYSFLAG_INNER_BATCH) {
        return true;
    }
    struct span tags = message_property(message->properties, SPAN(PROPERTY_TAGS));
    struct span tag;
    while (!span_is_absent(tags) && next_tag(&expression, &tag)) {
        if (span_equals(tag, tags)) {
            return true;
        }
    }
    return false;
}

bool message_filter_has_key(const struct message *message, struct span key)
{
    struct span keys = message_property(message->properties, SPAN(PROPERTY_KEYS));
    while (keys.n > 0) {
        const char *end = memchr(keys.data, ' ', keys.n);
        size_t n = end ? (size_t)(end - keys.data) : keys.n;
        if (span_equals((struct span){ keys.data, n }, key)) {
            return true;
        }
        size_t used = end ? n + 1 : n;
        keys = (struct span){ keys.data + used, keys.n - used };
    }
    return false;
}

size_t message_filter_body(uint8_t *data, size_t n,
    bool (*is_wanted)(void *context, const struct message *message), void *context)
{
    size_t kept = 0;
    size_t at = 0;
    while (at < n) {
        struct message message;
        size_t size;
        enum message_status status = message_decode(data + at, n - at, &message, &size);
        if (size == 0) {
            size = n - at;
        }
        if (status != MESSAGE_OK || is_wanted(context, &message)) {
            memmove(data + kept, data + at, size);
            kept += size;
        }
        at += size;
    }
    return kept;
}
