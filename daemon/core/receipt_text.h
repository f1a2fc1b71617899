/*
 * Receipt text
 *
 * What receipts are written with: fields between separators, of which each has one spelling. A text
 * that holds a space, a quote or the separator cannot be a field.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECEIPT_TEXT_SEPARATOR '~'
/* No receipt, extraInfo or real topic is longer, its 0 included. */
#define RECEIPT_TEXT_MAX 1024

/*
 * Cuts the text before the separator off *rest, or takes all of it. The rest is absent when the
 * text was the last.
 */
struct span receipt_text_next(struct span *rest, char separator);
/* False unless there are exactly n fields. */
bool receipt_text_split(struct span text, char separator, struct span *fields, size_t n);
/* Only the spelling that we and Java write: no sign, no zeros in front. */
bool receipt_text_number(struct span text, int64_t max, int64_t *ret_number);
/* A topic or a group. */
bool receipt_text_is_name(struct span text);
/* A broker's name, an id: nearly anything that is one word. */
bool receipt_text_is_word(struct span text);
/* 0 when it does not fit, or has a length of no receipt. */
__attribute__((format(printf, 3, 4))) size_t receipt_text_write(
    char *dst, size_t dst_size, const char *format, ...);
