/*
 * JSON text
 *
 * Which bytes mean themselves in a JSON string, read or written: printable ASCII but the quote and
 * the backslash. All others are special: they end a string, are escaped or have to be, or begin a
 * character of UTF-8. Headers are mostly such text, and it is looked at sixteen bytes at a time
 * (SSE2, or two words elsewhere): decoder and encoder spend their time here, and so this is inline.
 */
#pragma once

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define JSON_TEXT_BLOCK 16u

/*
 * The highest bit of every byte that is special. Bits above the lowest one may be wrong, as carries
 * run upwards.
 */
static inline uint64_t json_text_special_bytes(uint64_t word)
{
    const uint64_t every_byte = 0x0101010101010101u;
    uint64_t quotes = word ^ every_byte * '"';
    uint64_t backslashes = word ^ every_byte * '\\';
    uint64_t zeros =
        ((quotes - every_byte) & ~quotes) | ((backslashes - every_byte) & ~backslashes);
    uint64_t low = (word - every_byte * 0x20) & ~word;
    uint64_t high = word | (word + every_byte);
    return (zeros | low | high) & every_byte * 0x80;
}

/* How many of the eight bytes from data are not special, before the first that is. */
static inline size_t json_text_plain_of_word(const char *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    uint64_t special = json_text_special_bytes(le64toh(word));
    return special ? (size_t)__builtin_ctzll(special) / 8 : sizeof(word);
}

/* The same of the JSON_TEXT_BLOCK bytes from data. */
static inline size_t json_text_plain_of_block(const char *data)
{
#ifdef __SSE2__
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)data);
    /* Compared as signed numbers: what is above 0x7f is below the space, too. */
    __m128i outside = _mm_or_si128(
        _mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
    __m128i marks = _mm_or_si128(
        _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    unsigned special = (unsigned)_mm_movemask_epi8(_mm_or_si128(outside, marks));
    return (size_t)__builtin_ctz(special | 1u << JSON_TEXT_BLOCK);
#else
    size_t n = json_text_plain_of_word(data);
    return n < 8 ? n : 8 + json_text_plain_of_word(data + 8);
#endif
}

/* The same of n bytes. */
static inline size_t json_text_plain_size(const char *data, size_t n)
{
    size_t at = 0;
    for (; n - at >= JSON_TEXT_BLOCK; at += JSON_TEXT_BLOCK) {
        size_t n_plain = json_text_plain_of_block(data + at);
        if (n_plain < JSON_TEXT_BLOCK) {
            return at + n_plain;
        }
    }
    if (at > 0 && at < n) {
        /* The last block once more: the bytes of it before `at` are known to be plain. */
        return n - JSON_TEXT_BLOCK + json_text_plain_of_block(data + n - JSON_TEXT_BLOCK);
    }
    if (n - at >= 8) {
        size_t n_plain = json_text_plain_of_word(data + at);
        return n_plain < 8 ? n_plain : n - 8 + json_text_plain_of_word(data + n - 8);
    }
    while (at < n && data[at] >= ' ' && data[at] <= '~' && data[at] != '"' && data[at] != '\\') {
        at++;
    }
    return at;
}
