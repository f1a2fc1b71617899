/*
 * Span
 *
 * A piece of somebody else's text: (data, n), never terminated by a zero. A span owns nothing and
 * is valid for as long as the bytes it points into. data == NULL means absent; data != NULL with n
 * == 0 is the empty string.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *data;
    size_t n;
};

#define SPAN_ABSENT   ((struct span){ NULL, 0 })
#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })
/* For printf: "%.*s", SPAN_ARGS(span) */
#define SPAN_ARGS(span) (int)(span).n, (span).data ? (span).data : ""

static inline struct span span_of(const char *text)
{
    return (struct span){ text, text ? strlen(text) : 0 };
}

static inline bool span_is_absent(struct span span)
{
    return !span.data;
}

/* Absent and empty alike: what most callers mean by "not given". */
static inline bool span_is_empty(struct span span)
{
    return span.n == 0;
}

static inline bool span_equals(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

static inline bool span_equals_text(struct span span, const char *text)
{
    return span_equals(span, span_of(text));
}

/* Whether `part`, which is not empty, stands anywhere in it. */
static inline bool span_contains(struct span span, struct span part)
{
    return span.n >= part.n && memmem(span.data, span.n, part.data, part.n) != NULL;
}

static inline bool span_starts_with(struct span span, struct span prefix)
{
    return span.n >= prefix.n && (prefix.n == 0 || memcmp(span.data, prefix.data, prefix.n) == 0);
}
