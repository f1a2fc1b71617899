#include "protocol/base64.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

struct vector {
    struct span data;
    const char *text;
};

/* RFC 4648, section 10; then bytes for every character of the alphabet's two last. */
static const struct vector vectors[] = {
    { { "", 0 }, "" },
    { { "f", 1 }, "Zg==" },
    { { "fo", 2 }, "Zm8=" },
    { { "foo", 3 }, "Zm9v" },
    { { "foob", 4 }, "Zm9vYg==" },
    { { "fooba", 5 }, "Zm9vYmE=" },
    { { "foobar", 6 }, "Zm9vYmFy" },
    { { "\0", 1 }, "AA==" },
    { { "\0\0\0", 3 }, "AAAA" },
    { { "\xff\xff\xff", 3 }, "////" },
    { { "\xfb\xef\xbe", 3 }, "++++" },
};

static int decode(const char *text, size_t n, char **ret_data, size_t *ret_n)
{
    char *copy = (char *)golden_copy((const uint8_t *)text, n);
    int r = base64_decode((struct span){ copy, n }, ret_data, ret_n);
    free(copy);
    return r;
}

START_TEST(vectors_of_rfc_4648_are_encoded)
{
    const struct vector *vector = &vectors[_i];
    uint8_t *copy = golden_copy((const uint8_t *)vector->data.data, vector->data.n);
    char *text = base64_encode((struct span){ (const char *)copy, vector->data.n });
    ck_assert_str_eq(text, vector->text);
    free(text);
    free(copy);
}
END_TEST

START_TEST(vectors_of_rfc_4648_are_decoded)
{
    const struct vector *vector = &vectors[_i];
    char *data;
    size_t n;
    ck_assert_int_eq(decode(vector->text, strlen(vector->text), &data, &n), 0);
    ck_assert(span_equals((struct span){ data, n }, vector->data));
    ck_assert_int_eq(data[n], 0);
    free(data);
}
END_TEST

static const char *const bad[] = {
    "Z",
    "Zg",
    "Zg=",
    "Zm9",
    "Zm9vY",
    "=",
    "====",
    "Z===",
    "=Zg=",
    "Z=g=",
    "Zg==Zg==",
    "Zm8=Zm8=",
    "Zg= ",
    " Zg==",
    "Zg==\n",
    "Zm\n9",
    "Zm-v",
    "Zm_v",
    "Zm*v",
    "Zm\xc3\xb6",
    "\xff\xff\xff\xff",
};

START_TEST(what_is_no_base64_is_refused)
{
    char *data = NULL;
    size_t n = 4711;
    ck_assert_msg(decode(bad[_i], strlen(bad[_i]), &data, &n) == -EINVAL, "\"%s\"", bad[_i]);
    ck_assert_ptr_null(data);
    ck_assert_uint_eq(n, 4711);
}
END_TEST

START_TEST(zero_in_the_text_is_refused)
{
    char *data = NULL;
    size_t n;
    ck_assert_int_eq(decode("Zm\0v", 4, &data, &n), -EINVAL);
    ck_assert_int_eq(decode("\0\0\0\0", 4, &data, &n), -EINVAL);
    ck_assert_ptr_null(data);
}
END_TEST

START_TEST(absent_span_is_the_empty_text)
{
    char *text = base64_encode(SPAN_ABSENT);
    ck_assert_str_eq(text, "");
    free(text);
    char *data;
    size_t n;
    ck_assert_int_eq(base64_decode(SPAN_ABSENT, &data, &n), 0);
    ck_assert_uint_eq(n, 0);
    free(data);
}
END_TEST

START_TEST(bytes_of_every_length_come_back)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 167 + (i >> 8));
    }
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        uint8_t *copy = golden_copy(bytes, n);
        char *text = base64_encode((struct span){ (const char *)copy, n });
        ck_assert_uint_eq(strlen(text), (n + 2) / 3 * 4);
        char *data;
        size_t n_decoded;
        ck_assert_int_eq(decode(text, strlen(text), &data, &n_decoded), 0);
        ck_assert_uint_eq(n_decoded, n);
        ck_assert_mem_eq(data, bytes, n);
        free(data);
        free(text);
        free(copy);
    }
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *tests = tcase_create("base64");
    tcase_add_loop_test(tests, vectors_of_rfc_4648_are_encoded, 0, N(vectors));
    tcase_add_loop_test(tests, vectors_of_rfc_4648_are_decoded, 0, N(vectors));
    tcase_add_loop_test(tests, what_is_no_base64_is_refused, 0, N(bad));
    tcase_add_test(tests, zero_in_the_text_is_refused);
    tcase_add_test(tests, absent_span_is_the_empty_text);
    tcase_add_test(tests, bytes_of_every_length_come_back);
    Suite *suite = suite_create("base64");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
