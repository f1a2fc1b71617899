#include "daemon/core/transaction_receipt.h"

#include "protocol/frame.h"
#include "protocol/remoting_command.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

#include <stdlib.h>
#include <string.h>

/* What a real broker asked about a half message of a Java producer (bytes of the 5.5.0 broker). */
struct check {
    uint8_t *frame;
    struct ext_field fields[32];
    struct remoting_command command;
    struct message message;
};

static void check_load(struct check *check, const char *file)
{
    struct golden *golden = golden_load();
    const struct golden_frame *frame = golden_find(golden, file);
    size_t size = frame->size;
    enum serialize_type serialize_type;
    struct header_problem problem;
    check->frame = golden_copy_frame(frame);
    golden_free(golden);
    remoting_command_init(&check->command, check->fields, 32);
    ck_assert_int_eq(
        remoting_command_decode(&check->command, check->frame, size, &serialize_type, &problem),
        HEADER_OK);
    ck_assert_int_eq(message_decode((const uint8_t *)check->command.body.data,
                         check->command.body.n, &check->message, &size),
        MESSAGE_OK);
}

/* What Java answers to such a check: java_end_transaction frames have the same fields. */
START_TEST(a_check_becomes_a_receipt_with_the_offsets_of_the_check)
{
    struct check check;
    check_load(&check, "java_check_transaction_state_oneway.json.broker-request.bin");
    struct transaction_receipt receipt;
    ck_assert(transaction_receipt_from_check(
        &check.command.ext_fields, &check.message, SPAN("another"), &receipt));
    char text[RECEIPT_TEXT_MAX];
    ck_assert_uint_gt(transaction_receipt_encode(&receipt, text, sizeof(text)), 0);
    ck_assert_str_eq(text, "t1~JavaTopicJSON~JavaTx~broker-a~2~5064~"
                           "FD00000000000000000000000000000204864E0E2F2A71C6B88F0000~"
                           "FD00000000000000000000000000000204864E0E2F2A71C6B88F0000~1");
    free(check.frame);
}
END_TEST

START_TEST(a_check_that_lacks_something_becomes_none)
{
    static const char *const needed[] = { "tranStateTableOffset", "commitLogOffset", "bname" };
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        struct check check;
        struct transaction_receipt receipt;
        check_load(&check, "check_transaction_state.json.broker-request.bin");
        ck_assert(ext_fields_remove(&check.command.ext_fields, span_of(needed[i])));
        ck_assert_msg(!transaction_receipt_from_check(
                          &check.command.ext_fields, &check.message, SPAN_ABSENT, &receipt),
            "%s", needed[i]);
        free(check.frame);
    }
}
END_TEST

START_TEST(a_broker_that_does_not_say_its_name_is_the_one_that_asks)
{
    struct check check;
    struct transaction_receipt receipt;
    check_load(&check, "check_transaction_state.json.broker-request.bin");
    ck_assert(ext_fields_remove(&check.command.ext_fields, SPAN("bname")));
    ck_assert(transaction_receipt_from_check(
        &check.command.ext_fields, &check.message, SPAN("broker-b"), &receipt));
    ck_assert(span_equals_text(receipt.broker_name, "broker-b"));
    free(check.frame);
}
END_TEST

static bool from_send(const char *msg_id, const char *queue_offset, const char *group,
    struct transaction_receipt *ret_receipt)
{
    struct ext_field fields[4];
    struct ext_fields answer;
    ext_fields_init(&answer, fields, 4);
    ext_fields_add(&answer, SPAN("msgId"), span_of(msg_id));
    ext_fields_add(&answer, SPAN("queueOffset"), span_of(queue_offset));
    return transaction_receipt_from_send(
        &answer, SPAN("T"), span_of(group), SPAN("broker-a"), SPAN("KEY"), ret_receipt);
}

START_TEST(the_last_eight_bytes_of_the_offset_id_are_the_commit_log_offset)
{
    struct transaction_receipt receipt;
    char text[RECEIPT_TEXT_MAX];
    ck_assert(from_send("7F000001000051AF0000000000000E64", "1", "P", &receipt));
    ck_assert_int_eq(receipt.commit_log_offset, 3684);
    transaction_receipt_encode(&receipt, text, sizeof(text));
    ck_assert_str_eq(text, "t1~T~P~broker-a~1~3684~KEY~KEY~0");
    /* A store host with an IPv6 address. */
    ck_assert(
        from_send("00000000000000000000000000000001000051AF00000000000011C0", "0", "P", &receipt));
    ck_assert_int_eq(receipt.commit_log_offset, 4544);
}
END_TEST

START_TEST(an_answer_that_is_none_to_a_half_message_becomes_none)
{
    struct transaction_receipt receipt;
    ck_assert(!from_send("", "1", "P", &receipt));
    ck_assert(!from_send("0000000000000E64", "1", "P", &receipt));
    ck_assert(!from_send("7F000001000051AF00000000000Z0E64", "1", "P", &receipt));
    ck_assert(!from_send("7F000001000051AF8000000000000E64", "1", "P", &receipt));
    ck_assert(!from_send("7F000001000051AF0000000000000E64", "-1", "P", &receipt));
    ck_assert(!from_send("7F000001000051AF0000000000000E64", "", "P", &receipt));
    ck_assert(!from_send("7F000001000051AF0000000000000E64", "1", "P~", &receipt));
}
END_TEST

START_TEST(what_is_decoded_is_what_was_encoded)
{
    struct transaction_receipt receipt, again;
    char text[RECEIPT_TEXT_MAX], second[RECEIPT_TEXT_MAX];
    ck_assert(from_send("7F000001000051AF0000000000000E64", "9223372036854775807", "P", &receipt));
    receipt.is_from_check = true;
    size_t n = transaction_receipt_encode(&receipt, text, sizeof(text));
    ck_assert(transaction_receipt_decode((struct span){ text, n }, &again));
    ck_assert_int_eq(again.table_offset, INT64_MAX);
    ck_assert(again.is_from_check);
    transaction_receipt_encode(&again, second, sizeof(second));
    ck_assert_str_eq(second, text);
}
END_TEST

START_TEST(nothing_else_is_decoded)
{
    static const char *const texts[] = { "", "t1", "t1~T~P~b~1~2~K~K", "t1~T~P~b~1~2~K~K~2",
        "t1~T~P~b~1~2~K~K~1~", "t2~T~P~b~1~2~K~K~1", "t1~~P~b~1~2~K~K~1", "t1~T~P~b~01~2~K~K~1",
        "t1~T~P~b~-1~2~K~K~1", "t1~T~P~b~1~2~~K~1", "t1~T~P~b~1~2~K K~K~1",
        "t1~T~P~b~1~9223372036854775808~K~K~1", "r1~T~P~b~1~2~3~4~5~6~0" };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct transaction_receipt receipt;
        ck_assert_msg(!transaction_receipt_decode(span_of(texts[i]), &receipt), "%s", texts[i]);
    }
    struct transaction_receipt receipt;
    ck_assert(transaction_receipt_decode(SPAN("t1~T~P~b~1~2~K~K~1"), &receipt));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("transaction_receipt");
    tcase_add_test(tests, a_check_becomes_a_receipt_with_the_offsets_of_the_check);
    tcase_add_test(tests, a_check_that_lacks_something_becomes_none);
    tcase_add_test(tests, a_broker_that_does_not_say_its_name_is_the_one_that_asks);
    tcase_add_test(tests, the_last_eight_bytes_of_the_offset_id_are_the_commit_log_offset);
    tcase_add_test(tests, an_answer_that_is_none_to_a_half_message_becomes_none);
    tcase_add_test(tests, what_is_decoded_is_what_was_encoded);
    tcase_add_test(tests, nothing_else_is_decoded);
    Suite *suite = suite_create("transaction_receipt");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
