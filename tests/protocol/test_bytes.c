#include "protocol/bytes.h"

#include <stdlib.h>

#include "tests/support/run_suite.h"

START_TEST(numbers_are_read_big_endian_and_signed_where_named_so)
{
    static const uint8_t data[] = { 0xFE, 0xFF, 0xFE, 0x80, 0x00, 0x00, 0x01, 0xFF, 0xFF, 0xFF,
        0xFE, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02 };
    struct bytes_reader reader;
    bytes_reader_init(&reader, data, sizeof(data));
    ck_assert_uint_eq(bytes_read_u8(&reader), 0xFE);
    ck_assert_int_eq(bytes_read_i16(&reader), -2);
    ck_assert_int_eq(bytes_read_i32(&reader), INT32_MIN + 1);
    ck_assert_uint_eq(bytes_read_u32(&reader), 0xFFFFFFFEu);
    ck_assert_int_eq(bytes_read_i64(&reader), INT64_MIN + 2);
    ck_assert_uint_eq(bytes_left(&reader), 0);
    ck_assert(!bytes_reader_failed(&reader));
}
END_TEST

START_TEST(span_points_into_the_input)
{
    static const uint8_t data[] = { 'a', 'b', 'c', 'd' };
    struct bytes_reader reader;
    bytes_reader_init(&reader, data, sizeof(data));
    bytes_skip(&reader, 1);
    struct span span = bytes_read_span(&reader, 2);
    ck_assert_ptr_eq(span.data, &data[1]);
    ck_assert_uint_eq(span.n, 2);
    ck_assert_uint_eq(bytes_left(&reader), 1);
    span = bytes_read_span(&reader, 0);
    ck_assert_ptr_nonnull(span.data);
    ck_assert(!bytes_reader_failed(&reader));
}
END_TEST

START_TEST(read_beyond_the_end_fails_for_good_and_gives_zero)
{
    uint8_t *data = malloc(3);
    ck_assert_ptr_nonnull(data);
    data[0] = data[1] = data[2] = 0xFF;
    struct bytes_reader reader;
    bytes_reader_init(&reader, data, 3);
    ck_assert_uint_eq(bytes_read_u8(&reader), 0xFF);
    ck_assert_int_eq(bytes_read_i32(&reader), 0);
    ck_assert(bytes_reader_failed(&reader));
    ck_assert_uint_eq(reader.at, 1);
    ck_assert_uint_eq(bytes_left(&reader), 0);
    ck_assert_uint_eq(bytes_read_u8(&reader), 0);
    ck_assert_int_eq(bytes_read_i16(&reader), 0);
    ck_assert_int_eq(bytes_read_i64(&reader), 0);
    ck_assert(span_is_absent(bytes_read_span(&reader, 1)));
    bytes_skip(&reader, 0);
    ck_assert(bytes_reader_failed(&reader));
    free(data);
}
END_TEST

START_TEST(length_that_would_wrap_fails)
{
    static const uint8_t data[] = { 1, 2 };
    struct bytes_reader reader;
    bytes_reader_init(&reader, data, sizeof(data));
    bytes_skip(&reader, 1);
    ck_assert(span_is_absent(bytes_read_span(&reader, SIZE_MAX)));
    ck_assert(bytes_reader_failed(&reader));
}
END_TEST

START_TEST(reader_that_is_told_to_fail_has_failed)
{
    static const uint8_t data[] = { 1, 2 };
    struct bytes_reader reader;
    bytes_reader_init(&reader, data, sizeof(data));
    bytes_reader_fail(&reader);
    ck_assert(bytes_reader_failed(&reader));
    ck_assert_uint_eq(bytes_read_u8(&reader), 0);
}
END_TEST

START_TEST(numbers_are_written_big_endian)
{
    static const uint8_t expected[] = { 0xFE, 0xFF, 0xFE, 0x80, 0x00, 0x00, 0x01, 0xFF, 0xFF, 0xFF,
        0xFE, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 'a', 'b' };
    uint8_t data[sizeof(expected)];
    struct bytes_writer writer;
    bytes_writer_init(&writer, data, sizeof(data));
    bytes_write_u8(&writer, 0xFE);
    bytes_write_i16(&writer, -2);
    bytes_write_i32(&writer, INT32_MIN + 1);
    bytes_write_u32(&writer, 0xFFFFFFFEu);
    bytes_write_i64(&writer, INT64_MIN + 2);
    bytes_write(&writer, "ab", 2);
    bytes_write(&writer, NULL, 0);
    ck_assert(!bytes_writer_failed(&writer));
    ck_assert_uint_eq(writer.at, sizeof(expected));
    ck_assert_mem_eq(data, expected, sizeof(expected));
}
END_TEST

START_TEST(write_beyond_the_end_fails_for_good_and_writes_nothing)
{
    uint8_t data[3] = { 7, 7, 7 };
    struct bytes_writer writer;
    bytes_writer_init(&writer, data, sizeof(data));
    bytes_write_u8(&writer, 1);
    bytes_write_u32(&writer, 0);
    ck_assert(bytes_writer_failed(&writer));
    bytes_write_u8(&writer, 2);
    ck_assert_uint_eq(writer.at, 1);
    ck_assert_mem_eq(data, ((uint8_t[]){ 1, 7, 7 }), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bytes");
    TCase *tcase = tcase_create("bytes");
    tcase_add_test(tcase, numbers_are_read_big_endian_and_signed_where_named_so);
    tcase_add_test(tcase, span_points_into_the_input);
    tcase_add_test(tcase, read_beyond_the_end_fails_for_good_and_gives_zero);
    tcase_add_test(tcase, length_that_would_wrap_fails);
    tcase_add_test(tcase, reader_that_is_told_to_fail_has_failed);
    tcase_add_test(tcase, numbers_are_written_big_endian);
    tcase_add_test(tcase, write_beyond_the_end_fails_for_good_and_writes_nothing);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
