#include "daemon/core/half_messages.h"

#include "tests/support/run_suite.h"

#include <stdio.h>

START_TEST(the_sender_of_a_half_message_is_known_until_it_is_decided)
{
    struct half_messages *messages = half_messages_new();
    half_messages_add(messages, SPAN("KEY1"), 7);
    half_messages_add(messages, SPAN("KEY2"), 8);
    ck_assert_uint_eq(half_messages_sender(messages, SPAN("KEY1")), 7);
    ck_assert_uint_eq(half_messages_sender(messages, SPAN("KEY2")), 8);
    ck_assert_uint_eq(half_messages_sender(messages, SPAN("KEY3")), 0);
    half_messages_remove(messages, SPAN("KEY1"));
    ck_assert_uint_eq(half_messages_sender(messages, SPAN("KEY1")), 0);
    half_messages_free(messages);
}
END_TEST

START_TEST(the_last_sender_of_a_key_counts)
{
    struct half_messages *messages = half_messages_new();
    half_messages_add(messages, SPAN("KEY"), 7);
    half_messages_add(messages, SPAN("KEY"), 9);
    ck_assert_uint_eq(half_messages_sender(messages, SPAN("KEY")), 9);
    half_messages_free(messages);
}
END_TEST

START_TEST(the_oldest_makes_room)
{
    struct half_messages *messages = half_messages_new();
    char key[16];
    for (uint64_t i = 1; i <= HALF_MESSAGES_MAX + 10; i++) {
        (void)snprintf(key, sizeof(key), "K%u", (unsigned)i);
        half_messages_add(messages, span_of(key), i);
    }
    ck_assert_uint_eq(half_messages_sender(messages, SPAN("K10")), 0);
    ck_assert_uint_eq(half_messages_sender(messages, SPAN("K11")), 11);
    ck_assert_uint_eq(half_messages_sender(messages, span_of(key)), HALF_MESSAGES_MAX + 10);
    half_messages_free(messages);
}
END_TEST

START_TEST(a_key_that_is_none_is_not_remembered)
{
    struct half_messages *messages = half_messages_new();
    static const char longest[HALF_MESSAGE_KEY_MAX + 1] = "x";
    half_messages_add(messages, SPAN(""), 7);
    half_messages_add(messages, SPAN_ABSENT, 7);
    half_messages_add(messages, (struct span){ longest, sizeof(longest) }, 7);
    ck_assert_uint_eq(half_messages_sender(messages, SPAN("")), 0);
    ck_assert_uint_eq(half_messages_sender(messages, SPAN_ABSENT), 0);
    ck_assert_uint_eq(half_messages_sender(messages, (struct span){ longest, sizeof(longest) }), 0);
    half_messages_free(messages);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("half_messages");
    tcase_add_test(tests, the_sender_of_a_half_message_is_known_until_it_is_decided);
    tcase_add_test(tests, the_last_sender_of_a_key_counts);
    tcase_add_test(tests, the_oldest_makes_room);
    tcase_add_test(tests, a_key_that_is_none_is_not_remembered);
    Suite *suite = suite_create("half_messages");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
