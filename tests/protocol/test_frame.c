#include "protocol/frame.h"

#include <stdbool.h>
#include <stdlib.h>

#include "tests/support/run_suite.h"

/* As the two words stand on the wire: length, then serialize type and header length. */
struct frame_case {
    const char *name;
    uint32_t length;
    uint32_t header_word;
    size_t n; /* how many bytes are there; beyond the eighth they are zero */
    enum frame_status status;
    size_t size;         /* what is told when nothing is wrong */
    const char *problem; /* a part of the sentence when something is */
};

static const struct frame_case cases[] = {
    { "no bytes", 0, 0, 0, FRAME_PARTIAL, 4, NULL },
    { "three bytes", 16, 0, 3, FRAME_PARTIAL, 4, NULL },
    { "length only", 16, 0, 4, FRAME_PARTIAL, 20, NULL },
    { "seven bytes do not judge the header word", 16, 0xFF000000, 7, FRAME_PARTIAL, 20, NULL },
    { "header word only", 16, 12, 8, FRAME_PARTIAL, 20, NULL },
    { "all but one byte", 16, 12, 19, FRAME_PARTIAL, 20, NULL },
    { "all bytes", 16, 12, 20, FRAME_COMPLETE, 20, NULL },
    { "more than a frame", 16, 12, 100, FRAME_COMPLETE, 20, NULL },
    { "binary header", 16, 1u << 24 | 12, 20, FRAME_COMPLETE, 20, NULL },
    { "smallest frame", 4, 0, 8, FRAME_COMPLETE, 8, NULL },
    { "length 4 before its header word", 4, 0, 4, FRAME_PARTIAL, 8, NULL },
    { "header length 0", 16, 0, 20, FRAME_COMPLETE, 20, NULL },
    { "greatest length", 16777212, 12, 8, FRAME_PARTIAL, FRAME_SIZE_MAX, NULL },
    { "greatest header", 16777212, 16777208, 8, FRAME_PARTIAL, FRAME_SIZE_MAX, NULL },

    { "length 0", 0, 0, 4, FRAME_MALFORMED, 0, "saw 0; accepted: at least 4" },
    { "length 3", 3, 0, 8, FRAME_MALFORMED, 0, "saw 3; accepted: at least 4" },
    { "length one beyond", 16777213, 12, 4, FRAME_TOO_LARGE, 0,
        "saw 16777213; accepted: at most 16777212" },
    { "length 16 MiB", 16777216, 12, 4, FRAME_TOO_LARGE, 0, "at most 16777212" },
    { "greatest signed length", 0x7fffffff, 12, 4, FRAME_TOO_LARGE, 0, "at most 16777212" },
    { "least negative length", 0x80000000, 12, 4, FRAME_TOO_LARGE, 0, "saw 2147483648" },
    { "length -1", 0xffffffff, 12, 4, FRAME_TOO_LARGE, 0, "saw 4294967295" },
    { "length that wraps to 0", 0xfffffffc, 12, 8, FRAME_TOO_LARGE, 0, "saw 4294967292" },
    { "header fills the frame", 16, 12, 8, FRAME_PARTIAL, 20, NULL },
    { "header one beyond the frame", 16, 13, 8, FRAME_MALFORMED, 0,
        "header length: saw 13; accepted: at most 12" },
    { "greatest header length", 16, 0x00ffffff, 8, FRAME_MALFORMED, 0, "saw 16777215" },
    { "header in the smallest frame", 4, 1, 8, FRAME_MALFORMED, 0, "at most 0" },
    { "serialize type 2", 16, 2u << 24 | 12, 8, FRAME_MALFORMED, 0,
        "serialize type: saw 2; accepted: 0 (JSON) or 1 (ROCKETMQ)" },
    { "serialize type 7", 16, 7u << 24 | 12, 20, FRAME_MALFORMED, 0, "saw 7" },
    { "serialize type 255", 16, 255u << 24 | 12, 8, FRAME_MALFORMED, 0, "saw 255" },
    { "GET / HTTP", 0x47455420, 0x2f204854, 10, FRAME_TOO_LARGE, 0, "saw 1195725856" },
};

static void write_u32(uint8_t *dst, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        dst[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

START_TEST(frame_is_measured_by_its_first_eight_bytes)
{
    const struct frame_case *row = &cases[_i];
    uint8_t words[128] = { 0 };
    write_u32(words, row->length);
    write_u32(words + 4, row->header_word);
    uint8_t *data = malloc(row->n);
    memcpy(data, words, row->n);
    size_t size = 4711;
    enum frame_status status = frame_measure(data, row->n, FRAME_SIZE_MAX, &size);
    ck_assert_msg(status == row->status, "%s", row->name);
    bool is_wrong = status == FRAME_TOO_LARGE || status == FRAME_MALFORMED;
    ck_assert_uint_eq(size, is_wrong ? 4711 : row->size);
    if (is_wrong) {
        char text[160];
        frame_describe_problem(data, row->n, FRAME_SIZE_MAX, text, sizeof(text));
        ck_assert_msg(strstr(text, row->problem), "%s: %s", row->name, text);
    }
    free(data);
}
END_TEST

START_TEST(limit_counts_the_whole_frame)
{
    static const uint8_t data[] = { 0, 0, 0, 16, 0, 0, 0, 12 };
    size_t size = 0;
    ck_assert_int_eq((int)frame_measure(data, 8, 20, &size), (int)FRAME_PARTIAL);
    ck_assert_int_eq((int)frame_measure(data, 8, 19, &size), (int)FRAME_TOO_LARGE);
    char text[160];
    frame_describe_problem(data, 8, 19, text, sizeof(text));
    ck_assert_str_eq(text, "frame length: saw 16; accepted: at most 15");
}
END_TEST

START_TEST(description_fits_the_room_that_it_is_given)
{
    static const uint8_t data[] = { 0, 0, 0, 16, 7, 0, 0, 12 };
    char text[12];
    memset(text, 'x', sizeof(text));
    frame_describe_problem(data, sizeof(data), FRAME_SIZE_MAX, text, sizeof(text) - 1);
    ck_assert_uint_eq(strlen(text), sizeof(text) - 2);
    ck_assert_int_eq(text[sizeof(text) - 1], 'x');
}
END_TEST

START_TEST(split_gives_header_and_body_of_what_was_encoded)
{
    uint8_t data[8 + 3 + 2] = { 0 };
    frame_encode_prefix(data, SERIALIZE_ROCKETMQ, 3, 2);
    ck_assert_mem_eq(data, ((uint8_t[]){ 0, 0, 0, 9, 1, 0, 0, 3 }), 8);
    struct frame_parts parts;
    frame_split(data, sizeof(data), &parts);
    ck_assert_int_eq((int)parts.serialize_type, (int)SERIALIZE_ROCKETMQ);
    ck_assert_ptr_eq(parts.header, data + 8);
    ck_assert_uint_eq(parts.header_size, 3);
    ck_assert_ptr_eq(parts.body, data + 11);
    ck_assert_uint_eq(parts.body_size, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame");
    TCase *tcase = tcase_create("frame");
    tcase_add_loop_test(tcase, frame_is_measured_by_its_first_eight_bytes, 0,
        (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tcase, limit_counts_the_whole_frame);
    tcase_add_test(tcase, description_fits_the_room_that_it_is_given);
    tcase_add_test(tcase, split_gives_header_and_body_of_what_was_encoded);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
