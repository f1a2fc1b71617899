/*
 * Base64
 *
 * RFC 4648, section 4, with padding: bodies that are not UTF-8 travel so inside JSON. Results are
 * on the heap, end with a zero that is not counted, and are freed by the caller.
 */
#pragma once

#include "protocol/span.h"

#include <stdint.h>

/* NULL when there is no memory. */
char *base64_encode(struct span data);
/* 0, -EINVAL when the text is not base64, -ENOMEM. */
int base64_decode(struct span text, char **ret_data, size_t *ret_n);
