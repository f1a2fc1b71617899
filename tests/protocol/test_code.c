#include "protocol/code.h"

#include <stdlib.h>

#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

struct named_code {
    int32_t code;
    const char *name;
};

static const struct named_code requests[] = {
    { 10, "SEND_MESSAGE" },
    { 11, "PULL_MESSAGE" },
    { 12, "QUERY_MESSAGE" },
    { 14, "QUERY_CONSUMER_OFFSET" },
    { 15, "UPDATE_CONSUMER_OFFSET" },
    { 17, "UPDATE_AND_CREATE_TOPIC" },
    { 25, "UPDATE_BROKER_CONFIG" },
    { 29, "SEARCH_OFFSET_BY_TIMESTAMP" },
    { 30, "GET_MAX_OFFSET" },
    { 31, "GET_MIN_OFFSET" },
    { 32, "GET_EARLIEST_MSG_STORETIME" },
    { 33, "VIEW_MESSAGE_BY_ID" },
    { 34, "HEART_BEAT" },
    { 35, "UNREGISTER_CLIENT" },
    { 36, "CONSUMER_SEND_MSG_BACK" },
    { 37, "END_TRANSACTION" },
    { 38, "GET_CONSUMER_LIST_BY_GROUP" },
    { 39, "CHECK_TRANSACTION_STATE" },
    { 40, "NOTIFY_CONSUMER_IDS_CHANGED" },
    { 41, "LOCK_BATCH_MQ" },
    { 42, "UNLOCK_BATCH_MQ" },
    { 46, "CHECK_CLIENT_CONFIG" },
    { 105, "GET_ROUTEINFO_BY_TOPIC" },
    { 106, "GET_BROKER_CLUSTER_INFO" },
    { 202, "GET_TOPIC_STATS_INFO" },
    { 203, "GET_CONSUMER_CONNECTION_LIST" },
    { 206, "GET_ALL_TOPIC_LIST_FROM_NAMESERVER" },
    { 208, "GET_CONSUME_STATS" },
    { 216, "DELETE_TOPIC_IN_NAMESRV" },
    { 220, "RESET_CONSUMER_CLIENT_OFFSET" },
    { 221, "GET_CONSUMER_STATUS_FROM_CLIENT" },
    { 222, "INVOKE_BROKER_TO_RESET_OFFSET" },
    { 307, "GET_CONSUMER_RUNNING_INFO" },
    { 309, "CONSUME_MESSAGE_DIRECTLY" },
    { 310, "SEND_MESSAGE_V2" },
    { 318, "UPDATE_NAMESRV_CONFIG" },
    { 320, "SEND_BATCH_MESSAGE" },
    { 324, "SEND_REPLY_MESSAGE" },
    { 325, "SEND_REPLY_MESSAGE_V2" },
    { 326, "PUSH_REPLY_MESSAGE_TO_CLIENT" },
    { 361, "LITE_PULL_MESSAGE" },
    { 370, "RECALL_MESSAGE" },
    { 400, "QUERY_ASSIGNMENT" },
    { 401, "SET_MESSAGE_REQUEST_MODE" },
    { 3001, "AUTH_CREATE_USER" },
    { 3006, "AUTH_CREATE_ACL" },
    { 30000, "HELLO" },
    { 30001, "GET_NAMESRV_LIST" },
    { 30007, "REGISTER_PROCESSOR" },
    { 30009, "SUBSCRIBE_NET_EVENTS" },
    { 30023, "TAP" },
    { 30024, "GET_STATUS" },
    { 30025, "GET_BROKERS" },
    { 30026, "GET_MEMORY" },
    { 30027, "GET_EVENTS" },
    { 200050, "POP_MESSAGE" },
    { 200051, "ACK_MESSAGE" },
    { 200053, "CHANGE_MESSAGE_INVISIBLETIME" },
    { 200054, "NOTIFICATION" },
    { 200151, "BATCH_ACK_MESSAGE" },
};

static const struct named_code responses[] = {
    { 0, "SUCCESS" },
    { 1, "SYSTEM_ERROR" },
    { 2, "SYSTEM_BUSY" },
    { 3, "REQUEST_CODE_NOT_SUPPORTED" },
    { 10, "FLUSH_DISK_TIMEOUT" },
    { 11, "SLAVE_NOT_AVAILABLE" },
    { 12, "FLUSH_SLAVE_TIMEOUT" },
    { 13, "MESSAGE_ILLEGAL" },
    { 14, "SERVICE_NOT_AVAILABLE" },
    { 15, "VERSION_NOT_SUPPORTED" },
    { 16, "NO_PERMISSION" },
    { 17, "TOPIC_NOT_EXIST" },
    { 19, "PULL_NOT_FOUND" },
    { 20, "PULL_RETRY_IMMEDIATELY" },
    { 21, "PULL_OFFSET_MOVED" },
    { 22, "QUERY_NOT_FOUND" },
    { 23, "SUBSCRIPTION_PARSE_FAILED" },
    { 24, "SUBSCRIPTION_NOT_EXIST" },
    { 25, "SUBSCRIPTION_NOT_LATEST" },
    { 26, "SUBSCRIPTION_GROUP_NOT_EXIST" },
    { 29, "INVALID_PARAMETER" },
    { 204, "NO_BUYER_ID" },
    { 205, "NOT_IN_CURRENT_UNIT" },
    { 208, "NO_MESSAGE" },
    { 209, "POLLING_FULL" },
    { 210, "POLLING_TIMEOUT" },
    { 215, "FLOW_CONTROL" },
    { 501, "NOT_LEADER_FOR_QUEUE" },
    { 604, "ILLEGAL_OPERATION" },
    { 1500, "GO_AWAY" },
    { 10001, "CONNECT_BROKER_EXCEPTION" },
    { 10002, "ACCESS_BROKER_TIMEOUT" },
    { 10003, "BROKER_NOT_EXIST_EXCEPTION" },
    { 10004, "NO_NAME_SERVER_EXCEPTION" },
    { 10005, "NOT_FOUND_TOPIC_EXCEPTION" },
    { 10006, "REQUEST_TIMEOUT_EXCEPTION" },
    { 10100, "CONNECTION_LOST" },
};

START_TEST(request_has_the_name_of_the_documentation)
{
    ck_assert_pstr_eq(request_code_name(requests[_i].code), requests[_i].name);
}
END_TEST

START_TEST(response_has_the_name_of_the_documentation)
{
    ck_assert_pstr_eq(response_code_name(responses[_i].code), responses[_i].name);
}
END_TEST

START_TEST(numbers_without_a_name_have_none)
{
    const int32_t codes[] = { INT32_MIN, -1, 0, 9, 16, 9999, 29999, 30099, 30999, 200152,
        INT32_MAX };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        ck_assert_ptr_null(request_code_name(codes[i]));
    }
    ck_assert_ptr_null(response_code_name(-1000));
    ck_assert_ptr_null(response_code_name(5));
    ck_assert_ptr_null(response_code_name(INT32_MAX));
}
END_TEST

START_TEST(every_name_finds_its_number_again)
{
    size_t n_names = 0;
    for (int32_t code = 0; code < 300000; code++) {
        const char *name = request_code_name(code);
        if (name) {
            int32_t found;
            ck_assert_msg(request_code_from_text(span_of(name), &found), "%s", name);
            ck_assert_msg(found == code, "%s is %d, not %d", name, found, code);
            n_names++;
        }
    }
    /*
     * 169 in RequestCode.java 5.5.0, 24 in the local protocol: one that is out of order is not
     * found by its number.
     */
    ck_assert_uint_eq(n_names, 169 + 28);
}
END_TEST

struct text_case {
    const char *text;
    int32_t code; /* -1: refused */
};

static const struct text_case texts[] = {
    { "SEND_MESSAGE_V2", 310 },
    { "send_message_v2", 310 },
    { "send-message-v2", 310 },
    { "Hello", 30000 },
    { "pop-Message", 200050 },
    { "10", 10 },
    { "4711", 4711 },
    { "0", 0 },
    { "2147483647", INT32_MAX },
    { "2147483648", -1 },
    { "-1", -1 },
    { "", -1 },
    { "-", -1 },
    { "SEND_MESSAG", -1 },
    { "SEND_MESSAGE_", -1 },
    { "SEND MESSAGE", -1 },
    { " HELLO", -1 },
    { "10 ", -1 },
    { "0x10", -1 },
    { "NO_SUCH_REQUEST", -1 },
};

START_TEST(text_is_a_name_in_any_case_or_a_number)
{
    int32_t code = -1;
    bool found = request_code_from_text(span_of(texts[_i].text), &code);
    ck_assert_msg(found == (texts[_i].code >= 0), "\"%s\"", texts[_i].text);
    ck_assert_int_eq(code, texts[_i].code);
}
END_TEST

START_TEST(absent_text_is_no_code)
{
    int32_t code = 7;
    ck_assert(!request_code_from_text(SPAN_ABSENT, &code));
    ck_assert_int_eq(code, 7);
}
END_TEST

/* 9999 was sent to see what a broker says to a code that nobody knows. */
START_TEST(every_code_of_the_golden_frames_has_a_name)
{
    struct golden *golden = golden_load();
    size_t n_named = 0;
    for (size_t i = 0; i < golden->n; i++) {
        const struct golden_frame *frame = &golden->frames[i];
        int32_t code = (int32_t)golden_integer(frame, "code");
        bool is_request = strstr(golden_text(frame, "kind"), "request");
        const char *name = is_request ? request_code_name(code) : response_code_name(code);
        ck_assert_msg(name || (is_request && code == 9999), "%s: %d", frame->file, code);
        n_named += name ? 1 : 0;
    }
    ck_assert_uint_gt(n_named, 400);
    golden_free(golden);
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *names = tcase_create("names");
    tcase_add_loop_test(names, request_has_the_name_of_the_documentation, 0, N(requests));
    tcase_add_loop_test(names, response_has_the_name_of_the_documentation, 0, N(responses));
    tcase_add_test(names, numbers_without_a_name_have_none);
    tcase_add_test(names, every_name_finds_its_number_again);
    tcase_add_loop_test(names, text_is_a_name_in_any_case_or_a_number, 0, N(texts));
    tcase_add_test(names, absent_text_is_no_code);
    tcase_add_test(names, every_code_of_the_golden_frames_has_a_name);

    Suite *suite = suite_create("code");
    suite_add_tcase(suite, names);
    return run_suite(suite);
}
