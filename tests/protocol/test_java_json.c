#include "protocol/java_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/frame.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

struct quote_case {
    const char *name;
    const char *text;
    const char *quoted;
};

static const struct quote_case cases[] = {
    { "one key", "{0:\"a\"}", "{\"0\":\"a\"}" },
    { "several keys", "{0:\"a\",12:\"b\",-7:3}", "{\"0\":\"a\",\"12\":\"b\",\"-7\":3}" },
    { "space around", "{ 0 : 1 ,\n\t12\r: 2 }", "{ \"0\" : 1 ,\n\t\"12\"\r: 2 }" },
    { "keys inside of values", "{\"x\":{0:{1:[{2:3}]}}}", "{\"x\":{\"0\":{\"1\":[{\"2\":3}]}}}" },
    { "behind a string", "{\"a\":\"b\",1:2}", "{\"a\":\"b\",\"1\":2}" },
    { "behind a string with escapes", "{\"a\":\"\\\\\\\"\",1:2}", "{\"a\":\"\\\\\\\"\",\"1\":2}" },
    { "what looks like a key in a string", "{\"a\":\"{0:1,2:3\"}", "{\"a\":\"{0:1,2:3\"}" },
    { "and behind an escaped quote", "{\"a\":\"\\\"{0:1\"}", "{\"a\":\"\\\"{0:1\"}" },
    { "numbers in an array", "[1,2,-3]", "[1,2,-3]" },
    { "numbers as values", "{\"a\":1,\"b\":-2}", "{\"a\":1,\"b\":-2}" },
    { "an object as a key", "{{\"queueId\":1}:5}", "{{\"queueId\":1}:5}" },
    { "a key that is no integer", "{a:1,1.5:2,1e3:4}", "{a:1,1.5:2,1e3:4}" },
    { "a lone minus", "{-:1}", "{-:1}" },
    { "a number where no key can be", "0:1", "0:1" },
    { "a string without an end", "{0:\"a,1:2", "{\"0\":\"a,1:2" },
    { "a string that ends in a backslash", "{0:\"\\", "{\"0\":\"\\" },
    { "a number at the end", "{12", "{12" },
    { "a minus at the end", "{-", "{-" },
    { "empty", "", "" },
};

/* Quotes a copy that ends where its memory ends, so that a read behind it is seen. To be freed. */
static char *quote(const char *text, size_t n, size_t *ret_size)
{
    char *copy = (char *)golden_copy((const uint8_t *)text, n);
    size_t size = java_json_quoted_size(copy, n);
    char *quoted = malloc(size + 1);
    ck_assert_ptr_nonnull(quoted);
    memset(quoted, '#', size + 1);
    java_json_quote(copy, n, quoted);
    ck_assert_int_eq(quoted[size], '#');
    free(copy);
    *ret_size = size;
    return quoted;
}

START_TEST(integer_keys_are_quoted_and_nothing_else_changes)
{
    const struct quote_case *c = &cases[_i];
    size_t size;
    char *quoted = quote(c->text, strlen(c->text), &size);
    ck_assert_msg(size == strlen(c->quoted) && memcmp(quoted, c->quoted, size) == 0,
        "%s: \"%.*s\" instead of \"%s\"", c->name, (int)size, quoted, c->quoted);
    free(quoted);
}
END_TEST

START_TEST(text_cut_anywhere_is_still_quoted_without_reading_on)
{
    const struct quote_case *c = &cases[_i];
    for (size_t n = 0; n <= strlen(c->text); n++) {
        size_t size;
        char *quoted = quote(c->text, n, &size);
        ck_assert_uint_ge(size, n);
        ck_assert_uint_le(size, 3 * n);
        free(quoted);
    }
}
END_TEST

/* Every text that jansson takes as it stands is left as it stands. */
START_TEST(strict_json_is_not_changed)
{
    const char *texts[] = {
        "{}",
        "[]",
        "{\"0\":\"127.0.0.1:10911\",\"1\":[0,1,-2,{\"3\":4}]}",
        "[1 , 2 , {\"a\" : [ -1 , 2.5e3 ] , \"b\" : null }, true, false]",
        "{\"a\":\"\\u0000\\\\\",\"\":\"{1:2,3:4}\\\"{5:6}\"}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *json = json_loads(texts[i], JSON_ALLOW_NUL, NULL);
        ck_assert_msg(json != NULL, "%s", texts[i]);
        json_decref(json);
        size_t size;
        char *quoted = quote(texts[i], strlen(texts[i]), &size);
        ck_assert_uint_eq(size, strlen(texts[i]));
        ck_assert_mem_eq(quoted, texts[i], size);
        free(quoted);
    }
}
END_TEST

static struct frame_parts body_of(const struct golden *golden, const char *file)
{
    const struct golden_frame *frame = golden_find(golden, file);
    struct frame_parts parts;
    frame_split(frame->data, frame->size, &parts);
    ck_assert_uint_eq(parts.body_size, (size_t)golden_integer(frame, "bodyLength"));
    return parts;
}

static void assert_quoted_body_is(const char *file, const char *expected_text)
{
    struct golden *golden = golden_load();
    struct frame_parts parts = body_of(golden, file);
    size_t size;
    char *quoted = quote((const char *)parts.body, parts.body_size, &size);
    ck_assert_uint_gt(size, parts.body_size);
    json_t *actual = json_loadb(quoted, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *expected = json_loads(expected_text, 0, NULL);
    ck_assert_ptr_nonnull(actual);
    ck_assert_ptr_nonnull(expected);
    ck_assert(json_equal(actual, expected));
    json_decref(expected);
    json_decref(actual);
    free(quoted);
    golden_free(golden);
}

START_TEST(route_for_an_old_client_becomes_json)
{
    assert_quoted_body_is("get_routeinfo_by_topic_oldversion.json.response.bin",
        "{\"brokerDatas\": [{\"brokerAddrs\": {\"0\": \"127.0.0.1:20911\"},"
        " \"brokerName\": \"broker-a\", \"cluster\": \"LabCluster\", \"enableActingMaster\": "
        "false}],"
        " \"filterServerTable\": {},"
        " \"queueDatas\": [{\"brokerName\": \"broker-a\", \"perm\": 6, \"readQueueNums\": 2,"
        " \"topicSysFlag\": 0, \"writeQueueNums\": 2}]}");
}
END_TEST

START_TEST(cluster_info_becomes_json)
{
    assert_quoted_body_is("get_broker_cluster_info.json.response.bin",
        "{\"brokerAddrTable\":"
        " {\"broker-a\": {\"brokerAddrs\": {\"0\": \"127.0.0.1:20911\"},"
        " \"brokerName\": \"broker-a\", \"cluster\": \"LabCluster\", \"enableActingMaster\": "
        "false},"
        " \"broker-b\": {\"brokerAddrs\": {\"0\": \"127.0.0.1:20931\"},"
        " \"brokerName\": \"broker-b\", \"cluster\": \"LabCluster\", \"enableActingMaster\": "
        "false}},"
        " \"clusterAddrTable\": {\"LabCluster\": [\"broker-b\", \"broker-a\"]}}");
}
END_TEST

START_TEST(golden_bodies_that_are_json_are_not_changed)
{
    struct golden *golden = golden_load();
    size_t n_strict = 0;
    for (size_t i = 0; i < golden->n; i++) {
        struct frame_parts parts = body_of(golden, golden->frames[i].file);
        const char *body = (const char *)parts.body;
        json_t *json = json_loadb(body, parts.body_size, 0, NULL);
        if (json) {
            n_strict++;
            ck_assert_uint_eq(java_json_quoted_size(body, parts.body_size), parts.body_size);
            json_decref(json);
        }
    }
    ck_assert_uint_gt(n_strict, 10);
    golden_free(golden);
}
END_TEST

START_TEST(golden_body_cut_anywhere_is_not_read_beyond)
{
    struct golden *golden = golden_load();
    struct frame_parts parts = body_of(golden, "get_broker_cluster_info.json.response.bin");
    for (size_t n = 0; n < parts.body_size; n++) {
        size_t size;
        char *quoted = quote((const char *)parts.body, n, &size);
        ck_assert_uint_le(size, n + 4); /* two keys */
        free(quoted);
    }
    golden_free(golden);
}
END_TEST

#define N_CASES (int)(sizeof(cases) / sizeof(cases[0]))

int main(void)
{
    TCase *quoting = tcase_create("quoting");
    tcase_add_loop_test(quoting, integer_keys_are_quoted_and_nothing_else_changes, 0, N_CASES);
    tcase_add_loop_test(quoting, text_cut_anywhere_is_still_quoted_without_reading_on, 0, N_CASES);
    tcase_add_test(quoting, strict_json_is_not_changed);
    tcase_add_test(quoting, route_for_an_old_client_becomes_json);
    tcase_add_test(quoting, cluster_info_becomes_json);
    tcase_add_test(quoting, golden_bodies_that_are_json_are_not_changed);
    tcase_add_test(quoting, golden_body_cut_anywhere_is_not_read_beyond);

    Suite *suite = suite_create("java_json");
    suite_add_tcase(suite, quoting);
    return run_suite(suite);
}
