#include "daemon/core/uniq_key.h"

#include <string.h>

#include "tests/support/run_suite.h"

static const uint8_t ip[4] = { 10, 0, 171, 254 };

/* ip | pid | classloader hash | ms since the month began | counter */
START_TEST(key_is_its_fields_in_upper_case_hex)
{
    struct uniq_key_maker maker;
    uniq_key_init(&maker, ip, 0x1a2b, 0xdeadbeef);
    char key[UNIQ_KEY_SIZE];
    uniq_key_make(&maker, 0x0fedcba9, key);
    ck_assert_uint_eq(strlen(key), 32);
    ck_assert_int_eq(strncmp(key, "0A00ABFE", 8), 0);
    ck_assert_int_eq(strncmp(key + 8, "1A2B", 4), 0);
    ck_assert_int_eq(strncmp(key + 12, "DEADBEEF", 8), 0);
    ck_assert_int_eq(strncmp(key + 20, "0FEDCBA9", 8), 0);
    ck_assert_uint_eq(strspn(key + 28, "0123456789ABCDEF"), 4);
}
END_TEST

START_TEST(small_numbers_keep_their_zeros)
{
    struct uniq_key_maker maker;
    uniq_key_init(&maker, (const uint8_t[4]){ 0, 1, 2, 3 }, 7, 0);
    char key[UNIQ_KEY_SIZE];
    uniq_key_make(&maker, 5, key);
    ck_assert_str_eq(key, "00010203"
                          "0007"
                          "00000000"
                          "00000005"
                          "0000");
}
END_TEST

START_TEST(pid_beyond_16_bits_is_cut)
{
    struct uniq_key_maker maker;
    uniq_key_init(&maker, ip, 0x12345678, 0);
    char key[UNIQ_KEY_SIZE];
    uniq_key_make(&maker, 0, key);
    ck_assert_int_eq(strncmp(key + 8, "5678", 4), 0);
}
END_TEST

START_TEST(last_millisecond_of_the_longest_month_has_room)
{
    struct uniq_key_maker maker;
    uniq_key_init(&maker, ip, 1, 0);
    char key[UNIQ_KEY_SIZE];
    uniq_key_make(&maker, 31u * 24 * 3600 * 1000 - 1, key);
    ck_assert_int_eq(strncmp(key + 20, "9FA523FF", 8), 0);
}
END_TEST

static unsigned counter_of(const char *key)
{
    unsigned counter = 0;
    for (const char *at = key + 28; *at; at++) {
        counter = counter * 16 + (unsigned)(*at <= '9' ? *at - '0' : *at - 'A' + 10);
    }
    return counter;
}

START_TEST(keys_of_one_millisecond_differ_in_their_counter_until_it_went_round)
{
    struct uniq_key_maker maker;
    uniq_key_init(&maker, ip, 1, 0x12345678);
    char first[UNIQ_KEY_SIZE];
    uniq_key_make(&maker, 9, first);
    for (unsigned i = 1; i <= 65536; i++) {
        char key[UNIQ_KEY_SIZE];
        uniq_key_make(&maker, 9, key);
        assert_often(strlen(key) == 32 && strncmp(key, first, 28) == 0);
        assert_often(counter_of(key) == (counter_of(first) + i) % 65536);
    }
}
END_TEST

START_TEST(makers_with_one_address_and_one_pid_differ_by_their_draw)
{
    struct uniq_key_maker a;
    struct uniq_key_maker b;
    uniq_key_init(&a, ip, 1, 1);
    uniq_key_init(&b, ip, 1, 2);
    char key_a[UNIQ_KEY_SIZE];
    char key_b[UNIQ_KEY_SIZE];
    uniq_key_make(&a, 9, key_a);
    uniq_key_make(&b, 9, key_b);
    ck_assert_str_ne(key_a, key_b);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("uniq_key");
    tcase_add_test(tests, key_is_its_fields_in_upper_case_hex);
    tcase_add_test(tests, small_numbers_keep_their_zeros);
    tcase_add_test(tests, pid_beyond_16_bits_is_cut);
    tcase_add_test(tests, last_millisecond_of_the_longest_month_has_room);
    tcase_add_test(tests, keys_of_one_millisecond_differ_in_their_counter_until_it_went_round);
    tcase_add_test(tests, makers_with_one_address_and_one_pid_differ_by_their_draw);
    Suite *suite = suite_create("uniq_key");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
