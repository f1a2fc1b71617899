#include "protocol/utf8.h"

static bool is_between(char byte, unsigned first, unsigned last)
{
    return (unsigned char)byte >= first && (unsigned char)byte <= last;
}

/*
 * Only the second byte has bounds that depend on the first: they shut out the longer forms of a
 * character that has a shorter one (E0, F0), the surrogates (ED) and what is beyond U+10FFFF (F4).
 */
size_t utf8_character_size(const char *data, size_t n)
{
    unsigned char lead = (unsigned char)data[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return n >= 2 && is_between(data[1], 0x80, 0xBF) ? 2 : 0;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        bool is_good =
            n >= 3 && is_between(data[1], lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF) &&
            is_between(data[2], 0x80, 0xBF);
        return is_good ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        bool is_good =
            n >= 4 && is_between(data[1], lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF) &&
            is_between(data[2], 0x80, 0xBF) && is_between(data[3], 0x80, 0xBF);
        return is_good ? 4 : 0;
    }
    return 0;
}

uint32_t utf8_character_decode(const char *data, size_t size)
{
    /* How many bits of the first byte say how many bytes there are, and not which character. */
    unsigned n_lead = size == 1 ? 1 : (unsigned)size + 1;
    uint32_t character = (unsigned char)data[0] & (0xFFu >> n_lead);
    for (size_t i = 1; i < size; i++) {
        character = character << 6 | ((unsigned char)data[i] & 0x3F);
    }
    return character;
}

bool utf8_is_valid(struct span text)
{
    for (size_t at = 0; at < text.n;) {
        size_t size = utf8_character_size(text.data + at, text.n - at);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return true;
}

struct span utf8_cut(struct span text, size_t size_max)
{
    if (text.n <= size_max) {
        return text;
    }
    size_t n = size_max;
    while (n > 0 && ((unsigned char)text.data[n] & 0xC0) == 0x80) {
        n--;
    }
    return (struct span){ text.data, n };
}

size_t utf8_character_encode(uint32_t character, char *dst)
{
    if (character < 0x80) {
        dst[0] = (char)character;
        return 1;
    }
    if (character < 0x800) {
        dst[0] = (char)(0xC0 | character >> 6);
        dst[1] = (char)(0x80 | (character & 0x3F));
        return 2;
    }
    if (character < 0x10000) {
        dst[0] = (char)(0xE0 | character >> 12);
        dst[1] = (char)(0x80 | (character >> 6 & 0x3F));
        dst[2] = (char)(0x80 | (character & 0x3F));
        return 3;
    }
    dst[0] = (char)(0xF0 | character >> 18);
    dst[1] = (char)(0x80 | (character >> 12 & 0x3F));
    dst[2] = (char)(0x80 | (character >> 6 & 0x3F));
    dst[3] = (char)(0x80 | (character & 0x3F));
    return 4;
}
