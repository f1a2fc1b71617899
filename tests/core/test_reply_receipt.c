#include "daemon/core/reply_receipt.h"

#include "protocol/remoting_command.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

#include <stdlib.h>
#include <string.h>

#define TEXT "q1~LabCluster~corr-1~reqclient@json~3000"

/* The properties of a reply that a real broker took name the same things as its request did. */
START_TEST(what_a_reply_needs_stands_in_the_properties_of_the_request)
{
    struct golden *golden = golden_load();
    const struct golden_frame *frame =
        golden_find(golden, "send_reply_message_v2.json.request.bin");
    size_t size = frame->size;
    uint8_t *bytes = golden_copy_frame(frame);
    golden_free(golden);
    struct ext_field fields[32];
    struct remoting_command command;
    enum serialize_type serialize_type;
    struct header_problem problem;
    remoting_command_init(&command, fields, 32);
    ck_assert_int_eq(
        remoting_command_decode(&command, bytes, size, &serialize_type, &problem), HEADER_OK);
    struct reply_receipt receipt;
    ck_assert(reply_receipt_from_request(ext_fields_text(&command.ext_fields, "i"), &receipt));
    char text[RECEIPT_TEXT_MAX];
    ck_assert_uint_eq(reply_receipt_encode(&receipt, text, sizeof(text)), strlen(TEXT));
    ck_assert_str_eq(text, TEXT);
    /* And the topic that the reply was sent to, MixAll.getReplyTopic. */
    ck_assert_uint_gt(reply_receipt_topic(&receipt, text, sizeof(text)), 0);
    ck_assert(span_equals_text(ext_fields_text(&command.ext_fields, "b"), text));
    free(bytes);
}
END_TEST

START_TEST(a_receipt_comes_back_as_it_was)
{
    struct reply_receipt receipt;
    ck_assert(reply_receipt_decode(SPAN(TEXT), &receipt));
    ck_assert(span_equals(receipt.cluster, SPAN("LabCluster")));
    ck_assert(span_equals(receipt.correlation_id, SPAN("corr-1")));
    ck_assert(span_equals(receipt.client_id, SPAN("reqclient@json")));
    ck_assert_int_eq(receipt.ttl_ms, 3000);
}
END_TEST

static const char *const no_requests[] = {
    "",
    "CLUSTER\x01"
    "C\x02",
    "CLUSTER\x01"
    "C\x02"
    "CORRELATION_ID\x01"
    "x\x02",
    "CORRELATION_ID\x01"
    "x\x02"
    "REPLY_TO_CLIENT\x01"
    "y\x02",
    "CLUSTER\x01"
    "C D\x02"
    "CORRELATION_ID\x01"
    "x\x02"
    "REPLY_TO_CLIENT\x01"
    "y\x02",
    "CLUSTER\x01"
    "C\x02"
    "CORRELATION_ID\x01"
    "x~1\x02"
    "REPLY_TO_CLIENT\x01"
    "y\x02",
    "CLUSTER\x01"
    "C\x02"
    "CORRELATION_ID\x01"
    "x\x02"
    "REPLY_TO_CLIENT\x01"
    "y z\x02",
};

START_TEST(a_message_that_asks_for_no_reply_has_none)
{
    struct reply_receipt receipt;
    ck_assert(!reply_receipt_from_request(span_of(no_requests[_i]), &receipt));
}
END_TEST

START_TEST(a_time_to_live_that_is_none_is_zero)
{
    struct reply_receipt receipt;
    ck_assert(reply_receipt_from_request(SPAN("CLUSTER\x01"
                                              "C\x02"
                                              "CORRELATION_ID\x01"
                                              "x\x02"
                                              "REPLY_TO_CLIENT\x01"
                                              "y\x02"
                                              "TTL\x01"
                                              "soon\x02"),
        &receipt));
    ck_assert_int_eq(receipt.ttl_ms, 0);
}
END_TEST

static const char *const no_receipts[] = {
    "",
    "q1",
    "q2~C~x~y~1",
    "q1~C~x~y",
    "q1~C~x~y~1~",
    "q1~C D~x~y~1",
    "q1~C~~y~1",
    "q1~C~x~y~-1",
    "q1~C~x~y~01",
    "r1~T~G~B~0~0~0~0~0~0~0",
};

START_TEST(what_is_no_receipt_is_refused)
{
    struct reply_receipt receipt;
    ck_assert(!reply_receipt_decode(span_of(no_receipts[_i]), &receipt));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reply_receipt");
    TCase *tcase = tcase_create("reply_receipt");
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, what_a_reply_needs_stands_in_the_properties_of_the_request);
    tcase_add_test(tcase, a_receipt_comes_back_as_it_was);
    tcase_add_loop_test(tcase, a_message_that_asks_for_no_reply_has_none, 0,
        (int)(sizeof(no_requests) / sizeof(no_requests[0])));
    tcase_add_test(tcase, a_time_to_live_that_is_none_is_zero);
    tcase_add_loop_test(tcase, what_is_no_receipt_is_refused, 0,
        (int)(sizeof(no_receipts) / sizeof(no_receipts[0])));
    return run_suite(suite);
}
