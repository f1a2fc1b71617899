/*
 * UTF-8
 *
 * What counts as UTF-8 in both header forms: the shortest form of U+0000 to U+10FFFF without the
 * surrogates (RFC 3629), which is what jansson and Java's strict decoders take.
 *
 * libjansson.a has a utf8_encode() of its own, which no name here may be: programs link both.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes (1 to 4) of the character at the start of (data, n), n > 0; 0 when there is none. */
size_t utf8_character_size(const char *data, size_t n);
bool utf8_is_valid(struct span text);
/* The character of these utf8_character_size() bytes. */
uint32_t utf8_character_decode(const char *data, size_t size);
/* The longest beginning of at most size_max bytes that does not end inside a character. */
struct span utf8_cut(struct span text, size_t size_max);
/* Writes a character that is not a surrogate; the bytes written (1 to 4). */
size_t utf8_character_encode(uint32_t character, char *dst);
