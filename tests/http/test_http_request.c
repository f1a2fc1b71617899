#include "daemon/http/http_request.h"

#include <check.h>
#include <string.h>

#include "protocol/code.h"
#include "tests/support/run_suite.h"

#define N(array) (sizeof(array) / sizeof(*(array)))

static struct http_request request;
static struct http_call call;
static struct http_refusal refusal;

/* fields: "Name: value" each, up to a NULL. */
static bool reads(const char *method, const char *target, const char *const *fields)
{
    request = (struct http_request){ .method = span_of(method), .target = span_of(target) };
    for (; fields && *fields; fields++) {
        const char *colon = strstr(*fields, ": ");
        request.fields[request.n_fields++] = (struct http_field){
            .name = { *fields, (size_t)(colon - *fields) },
            .value = span_of(colon + 2),
        };
    }
    return http_request_read(&request, &call, &refusal);
}

static void has_field(const char *key, const char *value)
{
    struct span seen = ext_fields_get(&call.command.ext_fields, span_of(key));
    ck_assert_msg(span_equals_text(seen, value), "%s is %.*s", key, SPAN_ARGS(seen));
}

static const struct served_case {
    const char *method;
    const char *target;
    const char *fields[4];
    int32_t code;
    bool takes_body;
    const char *ext[8]; /* key, value, ... */
} served_cases[] = {
    { "POST", "/v1/topics/orders/messages", { NULL }, 10, true, { "topic", "orders" } },
    { "POST", "/v1/topics/%25RETRY%25a/messages", { NULL }, 10, true, { "topic", "%RETRY%a" } },
    { "POST", "/v1/topics/orders/messages",
        { "X-Mq-Tags: t", "x-MQ-keys: a b", "X-Mq-Sharding-Key: s" }, 10, true,
        { "property.TAGS", "t", "property.KEYS", "a b", "property.__SHARDINGKEY", "s" } },
    { "POST", "/v1/topics/orders/messages", { "X-Mq-Delay: 2min", "X-Mq-Timeout: 500ms" }, 10, true,
        { "property.TIMER_DELAY_MS", "120000", "sidecar.timeoutMillis", "500" } },
    { "POST", "/v1/topics/orders/messages", { "X-Mq-Property-a-B: c", "Accept: */*" }, 10, true,
        { "property.a-B", "c" } },
    { "POST", "/v1/topics/orders/messages:batch", { NULL }, 320, true,
        { "b", "orders", "sidecar.bodyFormat", "json" } },
    { "POST", "/v1/topics/orders/groups/billing/receive", { NULL }, 200050, false,
        { "topic", "orders", "consumerGroup", "billing", "sidecar.answerFormat", "json" } },
    { "POST", "/v1/topics/orders/groups/billing/receive?max=3&wait=2s&invisible=1h", { NULL },
        200050, false, { "maxMsgNums", "3", "pollTime", "2000", "invisibleTime", "3600000" } },
    { "POST", "/v1/ack", { NULL }, 200151, true, { NULL } },
    { "POST", "/v1/nack", { "X-Mq-Delay: 9s" }, 200053, true, { "invisibleTime", "9000" } },
    { "GET", "/v1/routes/orders", { NULL }, 105, false, { "topic", "orders" } },
    { "GET", "/v1/health", { NULL }, 30024, false, { NULL } },
};

START_TEST(a_request_of_a_route_becomes_its_command)
{
    const struct served_case *row = &served_cases[_i];
    ck_assert_msg(reads(row->method, row->target, row->fields), "%s", refusal.cause);
    ck_assert_int_eq(call.command.code, row->code);
    ck_assert(call.takes_body == row->takes_body);
    for (size_t i = 0; i < N(row->ext) && row->ext[i]; i += 2) {
        has_field(row->ext[i], row->ext[i + 1]);
    }
    ck_assert(call.command.language == LANGUAGE_HTTP);
}
END_TEST

static const struct refused_case {
    const char *method;
    const char *target;
    const char *fields[3];
    unsigned status;
    const char *words;
} refused_cases[] = {
    { "GET", "/", { NULL }, 404, "/v1/health" },
    { "GET", "", { NULL }, 404, "/v1/health" },
    { "GET", "*", { NULL }, 404, "/v1/health" },
    { "GET", "/v1/health/", { NULL }, 404, "/v1/health" },
    { "GET", "/v1/healthy", { NULL }, 404, "/v1/health" },
    { "GET", "http://a/v1/health", { NULL }, 404, "/v1/health" },
    { "GET", "/v1/topics/a/messages", { NULL }, 405, "POST" },
    { "POST", "/v1/health", { NULL }, 405, "GET" },
    { "post", "/v1/ack", { NULL }, 405, "POST" },
    { "POST", "/v1/topics//messages", { NULL }, 400, "letters" },
    { "POST", "/v1/topics/a%2Fb/messages", { NULL }, 400, "letters" },
    { "POST", "/v1/topics/a%00/messages", { NULL }, 400, "letters" },
    { "POST", "/v1/topics/a%/messages", { NULL }, 400, "%25" },
    { "POST", "/v1/topics/a%2/messages", { NULL }, 400, "%25" },
    { "POST", "/v1/topics/a%zz/messages", { NULL }, 400, "%25" },
    { "POST", "/v1/topics/a%RETRY%b/messages", { NULL }, 400, "%25" },
    { "POST", "/v1/topics/a/groups//receive", { NULL }, 400, "letters" },
    { "POST", "/v1/ack?", { "X-Mq-Tags: a" }, 400, "X-Mq-Timeout" },
    { "POST", "/v1/ack?a", { NULL }, 400, "none here" },
    { "POST", "/v1/topics/a/groups/b/receive?max", { NULL }, 400, "max: saw \"\"" },
    { "POST", "/v1/topics/a/groups/b/receive?max=0", { NULL }, 400, "1 to 32" },
    { "POST", "/v1/topics/a/groups/b/receive?max=+1", { NULL }, 400, "number" },
    { "POST", "/v1/topics/a/groups/b/receive?wait=1", { NULL }, 400, "ms, s, min, h" },
    { "POST", "/v1/topics/a/groups/b/receive?Max=1", { NULL }, 400, "max, wait and invisible" },
    { "POST", "/v1/topics/a/groups/b/receive?max=1&max=1", { NULL }, 400, "once" },
    { "POST", "/v1/topics/a/groups/b/receive?&", { NULL }, 400, "max, wait and invisible" },
    { "POST", "/v1/topics/a/messages", { "X-Mq-Delay: 99999999999999999999s" }, 400, "X-Mq-Delay" },
    { "POST", "/v1/topics/a/messages", { "X-Mq-Tags: \xff" }, 400, "UTF-8" },
    { "POST", "/v1/topics/a/messages", { "X-Mq-Sidecar.addr: a" }, 400, "X-Mq-Tags" },
    { "POST", "/v1/topics/a/messages", { "X-Mq-Tags: a", "X-MQ-TAGS: a" }, 400, "once" },
    { "POST", "/v1/topics/a/messages", { "X-Mq-Tags: a", "X-Mq-Property-TAGS: b" }, 400, "once" },
};

START_TEST(what_is_not_understood_is_refused_in_words)
{
    const struct refused_case *row = &refused_cases[_i];
    ck_assert_msg(!reads(row->method, row->target, row->fields), "it is served");
    ck_assert_uint_eq(refusal.status, row->status);
    ck_assert_msg(strstr(refusal.cause, row->words), "%s", refusal.cause);
    ck_assert(!refusal.allow == (row->status != 405));
}
END_TEST

START_TEST(a_refusal_quotes_little_and_nothing_that_is_not_printable)
{
    char target[4096] = "/v1/\x1b\n\xff";
    memset(target + strlen(target), 'x', sizeof(target) - 8);
    target[sizeof(target) - 1] = '\0';
    ck_assert(!reads("GET", target, NULL));
    for (const char *c = refusal.cause; *c; c++) {
        ck_assert(*c >= ' ' && *c <= '~');
    }
    ck_assert_uint_lt(strlen(refusal.cause), HTTP_CAUSE_SIZE);
}
END_TEST

static const struct receipts_case {
    const char *body;
    size_t n; /* 0: refused */
} receipts_cases[] = {
    { "[\"a\"]", 1 },
    { " [ \"a\" , \"b\" ] ", 2 },
    { "[{\"receipt\":\"a\",\"body\":\"x\",\"properties\":{\"k\":\"v\"}},\"b\"]", 2 },
    { "", 0 },
    { "[]", 0 },
    { "\"a\"", 0 },
    { "{\"receipt\":\"a\"}", 0 },
    { "[1]", 0 },
    { "[null]", 0 },
    { "[[\"a\"]]", 0 },
    { "[{}]", 0 },
    { "[{\"receipt\":1}]", 0 },
    { "[{\"receipt\":\"a\",\"receipt\":\"b\"}]", 0 },
    { "[\"a\"", 0 },
    { "[\"a\"] []", 0 },
    { "[\"\xff\"]", 0 },
};

START_TEST(receipts_are_texts_or_received_messages)
{
    const struct receipts_case *row = &receipts_cases[_i];
    json_t *receipts = http_receipts_read(span_of(row->body), &refusal);
    ck_assert_uint_eq(json_array_size(receipts), row->n);
    for (size_t i = 0; i < row->n; i++) {
        const char *expected[] = { "a", "b" };
        ck_assert_str_eq(json_string_value(json_array_get(receipts, i)), expected[i]);
    }
    ck_assert(receipts || (refusal.status == 400 && refusal.failure == FAILURE_INVALID));
    json_decref(receipts);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http/http_request");
    TCase *tcase = tcase_create("http_request");
    tcase_add_loop_test(tcase, a_request_of_a_route_becomes_its_command, 0, N(served_cases));
    tcase_add_loop_test(tcase, what_is_not_understood_is_refused_in_words, 0, N(refused_cases));
    tcase_add_test(tcase, a_refusal_quotes_little_and_nothing_that_is_not_printable);
    tcase_add_loop_test(tcase, receipts_are_texts_or_received_messages, 0, N(receipts_cases));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
