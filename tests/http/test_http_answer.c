#include "daemon/http/http_answer.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "protocol/code.h"
#include "tests/support/run_suite.h"

#define N(array) (sizeof(array) / sizeof(*(array)))

static struct ext_field storage[EXT_FIELDS_MAX];
static struct remoting_command command;
static struct http_answer answer;

static void begin(void)
{
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    command.flag = REMOTING_FLAG_RESPONSE;
}

static void add(const char *key, const char *value)
{
    ck_assert(ext_fields_add(&command.ext_fields, span_of(key), span_of(value)));
}

static const char *text_at(const char *key)
{
    return json_string_value(json_object_get(answer.json, key));
}

static const struct failure_case {
    const char *error;
    unsigned status;
} failure_cases[] = {
    { "timeout", 504 },
    { "unreachable", 502 },
    { "connection-lost", 502 },
    { "no-nameserver", 502 },
    { "no-broker", 502 },
    { "no-route", 404 },
    { "overloaded", 503 },
    { "draining", 503 },
    { "unsupported", 400 },
    { "forbidden", 403 },
    { "invalid", 400 },
    { "of-a-later-version", 502 },
};

START_TEST(a_failure_of_the_daemon_has_the_status_of_its_word)
{
    const struct failure_case *row = &failure_cases[_i];
    char head[HTTP_ANSWER_HEAD_SIZE];
    begin();
    command.code = 0; /* it is the word that tells, never the code */
    command.remark = SPAN("why");
    add("sidecar.error", row->error);
    add("sidecar.sent", "maybe");
    add("sidecar.uniqKey", "0A00");
    http_answer_make(HTTP_SEND, &command, &answer);
    ck_assert_uint_eq(answer.status, row->status);
    ck_assert_str_eq(answer.sent, "maybe");
    ck_assert_str_eq(text_at("error"), row->error);
    ck_assert_str_eq(text_at("remark"), "why");
    ck_assert_str_eq(text_at("msgId"), "0A00");
    ck_assert(answer.closes == (strcmp(row->error, "draining") == 0));
    ck_assert_uint_eq(http_answer_head(&answer, 7, head), strlen(head));
    ck_assert(!strstr(head, "\r\nRetry-After: ") == (row->status != 503));
    ck_assert_ptr_nonnull(strstr(head, "\r\nX-Mq-Msg-Id: 0A00\r\n"));
    ck_assert_ptr_nonnull(strstr(head, "\r\nX-Mq-Sent: maybe\r\n"));
    json_decref(answer.json);
}
END_TEST

static const struct refusal_case {
    int32_t code;
    unsigned status;
    const char *error;
    const char *sent;
} refusal_cases[] = {
    { RESPONSE_SYSTEM_ERROR, 502, "broker", "maybe" },
    { RESPONSE_SYSTEM_BUSY, 503, "overloaded", "no" },
    { RESPONSE_MESSAGE_ILLEGAL, 400, "invalid", "no" },
    { RESPONSE_SERVICE_NOT_AVAILABLE, 503, "overloaded", "no" },
    { RESPONSE_NO_PERMISSION, 403, "forbidden", "no" },
    { RESPONSE_TOPIC_NOT_EXIST, 404, "no-route", "no" },
    { RESPONSE_SUBSCRIPTION_GROUP_NOT_EXIST, 502, "broker", "no" },
};

START_TEST(a_broker_that_says_no_is_told_with_its_code)
{
    const struct refusal_case *row = &refusal_cases[_i];
    begin();
    command.code = row->code;
    http_answer_make(HTTP_SEND, &command, &answer);
    ck_assert_uint_eq(answer.status, row->status);
    ck_assert_str_eq(text_at("error"), row->error);
    ck_assert_str_eq(answer.sent, row->sent);
    ck_assert_int_eq(json_integer_value(json_object_get(answer.json, "code")), row->code);
    json_decref(answer.json);
}
END_TEST

START_TEST(what_is_stored_is_sent_whatever_else_the_broker_says)
{
    static const int32_t codes[] = { RESPONSE_SUCCESS, RESPONSE_FLUSH_DISK_TIMEOUT,
        RESPONSE_SLAVE_NOT_AVAILABLE, RESPONSE_FLUSH_SLAVE_TIMEOUT };
    begin();
    command.code = codes[_i];
    add("queueId", "3");
    add("queueOffset", "4294967296");
    http_answer_make(HTTP_SEND, &command, &answer);
    ck_assert_uint_eq(answer.status, 200);
    ck_assert_str_eq(answer.sent, "yes");
    ck_assert_int_eq(json_integer_value(json_object_get(answer.json, "queueOffset")), 4294967296);
    json_decref(answer.json);
}
END_TEST

START_TEST(an_id_that_would_end_its_line_stands_in_no_head)
{
    static const char *const ids[] = { "a\r\nX-Evil: b", "a b", "", "\xc3\xa9" };
    char head[HTTP_ANSWER_HEAD_SIZE];
    answer = (struct http_answer){ .status = 200, .sent = "yes", .msg_id = span_of(ids[_i]) };
    (void)http_answer_head(&answer, 0, head);
    ck_assert_ptr_null(strstr(head, "X-Mq-Msg-Id"));
    ck_assert_ptr_null(strstr(head, "Evil"));
    ck_assert_ptr_eq(strstr(head, "\r\n\r\n"), head + strlen(head) - 4);
}
END_TEST

START_TEST(the_longest_head_fits)
{
    static char id[4096];
    char head[HTTP_ANSWER_HEAD_SIZE];
    memset(id, 'x', sizeof(id));
    for (size_t n = 0; n < sizeof(id); n++) {
        answer = (struct http_answer){
            .status = 503,
            .sent = "maybe",
            .msg_id = { id, n },
            .allow = "GET, POST",
            .closes = true,
        };
        ck_assert_uint_eq(http_answer_head(&answer, SIZE_MAX, head), strlen(head));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http/http_answer");
    TCase *tcase = tcase_create("http_answer");
    tcase_add_loop_test(
        tcase, a_failure_of_the_daemon_has_the_status_of_its_word, 0, N(failure_cases));
    tcase_add_loop_test(tcase, a_broker_that_says_no_is_told_with_its_code, 0, N(refusal_cases));
    tcase_add_loop_test(tcase, what_is_stored_is_sent_whatever_else_the_broker_says, 0, 4);
    tcase_add_loop_test(tcase, an_id_that_would_end_its_line_stands_in_no_head, 0, 4);
    tcase_add_test(tcase, the_longest_head_fits);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
