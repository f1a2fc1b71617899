#include "protocol/utf8.h"

#include <jansson.h>

#include "tests/support/run_suite.h"

static void assert_judged_as_by_jansson(const unsigned char *bytes, size_t n)
{
    struct span text = { (const char *)bytes, n };
    json_t *string = json_stringn(text.data, text.n);
    /* An assertion of Check costs more than what is tested here. */
    if (utf8_is_valid(text) != (string != NULL)) {
        ck_abort_msg(
            "%02x %02x %02x %02x, the first %zu", bytes[0], bytes[1], bytes[2], bytes[3], n);
    }
    json_decref(string);
}

START_TEST(bytes_are_judged_as_by_jansson)
{
    /* Every pair of first bytes; behind them the bounds of what may follow. */
    static const unsigned char edges[] = { 0x41, 0x7F, 0x80, 0xBF, 0xC0 };
    const size_t n_edges = sizeof(edges);
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        unsigned char bytes[4] = { (unsigned char)(pair >> 8), (unsigned char)pair };
        assert_judged_as_by_jansson(bytes, 1);
        assert_judged_as_by_jansson(bytes, 2);
        if (bytes[0] < 0xE0) {
            continue;
        }
        for (size_t i = 0; i < n_edges * n_edges; i++) {
            bytes[2] = edges[i / n_edges];
            bytes[3] = edges[i % n_edges];
            assert_judged_as_by_jansson(bytes, 3);
            assert_judged_as_by_jansson(bytes, 4);
        }
    }
}
END_TEST

START_TEST(every_character_is_encoded_as_one_that_is_valid_and_decoded_as_itself)
{
    size_t n_characters = 0;
    for (uint32_t character = 1; character <= 0x10FFFF; character++) {
        if (character >= 0xD800 && character <= 0xDFFF) {
            continue;
        }
        char bytes[4];
        size_t n = utf8_character_encode(character, bytes);
        if (utf8_character_size(bytes, n) != n ||
            (n > 1 && utf8_character_size(bytes, n - 1) != 0) ||
            utf8_character_decode(bytes, n) != character) {
            ck_abort_msg("U+%04X", character);
        }
        n_characters++;
    }
    ck_assert_uint_eq(n_characters, 0x10FFFF - 0x800);

    static const struct span examples[] = { SPAN("A"), SPAN("\xC2\x80"), SPAN("\xE2\x82\xAC"),
        SPAN("\xF0\x9F\x98\x80") };
    static const uint32_t characters[] = { 'A', 0x80, 0x20AC, 0x1F600 };
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        char bytes[4];
        size_t n = utf8_character_encode(characters[i], bytes);
        ck_assert(span_equals((struct span){ bytes, n }, examples[i]));
    }
}
END_TEST

START_TEST(text_is_cut_between_characters)
{
    static const struct {
        struct span text;
        size_t size_max;
        size_t n;
    } cases[] = {
        { SPAN("ab"), 5, 2 },
        { SPAN("ab"), 1, 1 },
        { SPAN("ab"), 0, 0 },
        { SPAN("a\xC3\xA9"), 2, 1 },
        { SPAN("a\xC3\xA9"), 3, 3 },
        { SPAN("\xE2\x82\xAC!"), 2, 0 },
        { SPAN("\xE2\x82\xAC!"), 3, 3 },
        { SPAN("\xF0\x9F\x98\x80!"), 3, 0 },
        { SPAN("\xF0\x9F\x98\x80!"), 4, 4 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span cut = utf8_cut(cases[i].text, cases[i].size_max);
        ck_assert_ptr_eq(cut.data, cases[i].text.data);
        ck_assert_msg(cut.n == cases[i].n, "case %zu: %zu bytes", i, cut.n);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("utf8");
    TCase *tcase = tcase_create("utf8");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, bytes_are_judged_as_by_jansson);
    tcase_add_test(tcase, every_character_is_encoded_as_one_that_is_valid_and_decoded_as_itself);
    tcase_add_test(tcase, text_is_cut_between_characters);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
