#include "protocol/heartbeat.h"

#include "protocol/frame.h"
#include "protocol/rocketmq_name.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

#include <stdlib.h>
#include <string.h>

static bool decode(const char *text, struct heartbeat *ret_heartbeat, char problem[256])
{
    return heartbeat_decode(span_of(text), ret_heartbeat, problem, 256);
}

START_TEST(the_heartbeat_of_a_java_producer_is_read)
{
    struct golden *golden = golden_load();
    const struct golden_frame *frame = golden_find(golden, "java_heart_beat.json.request.bin");
    struct frame_parts parts;
    frame_split(frame->data, frame->size, &parts);
    struct heartbeat heartbeat;
    char problem[256];
    ck_assert(heartbeat_decode((struct span){ (const char *)parts.body, parts.body_size },
        &heartbeat, problem, sizeof(problem)));
    ck_assert(span_equals(heartbeat.client_id, SPAN("192.0.2.2@818#2099952050757")));
    ck_assert_uint_eq(heartbeat_n_producers(&heartbeat), 2);
    ck_assert(span_equals(heartbeat_producer(&heartbeat, 0), SPAN("CLIENT_INNER_PRODUCER")));
    ck_assert(span_equals(heartbeat_producer(&heartbeat, 1), SPAN("JavaProducer")));
    ck_assert_uint_eq(heartbeat_n_consumers(&heartbeat), 0);
    ck_assert(!heartbeat.is_without_subscriptions);
    heartbeat_deinit(&heartbeat);
    golden_free(golden);
}
END_TEST

START_TEST(the_heartbeat_of_a_consumer_is_read_and_told_again)
{
    struct golden *golden = golden_load();
    const struct golden_frame *frame = golden_find(golden, "heart_beat.json.request.bin");
    struct frame_parts parts;
    frame_split(frame->data, frame->size, &parts);
    struct heartbeat heartbeat;
    char problem[256];
    ck_assert(heartbeat_decode((struct span){ (const char *)parts.body, parts.body_size },
        &heartbeat, problem, sizeof(problem)));
    ck_assert_uint_eq(heartbeat_n_consumers(&heartbeat), 1);
    ck_assert(span_equals(heartbeat_consumer(&heartbeat, 0), SPAN("GID-golden-json")));
    const struct span producers[] = { SPAN("PyProducer") };
    json_t *consumers = json_object_get(heartbeat.root, "consumerDataSet");
    char *text = heartbeat_encode(heartbeat.client_id, producers, 1, consumers);
    json_t *told = json_loads(text, 0, NULL);
    ck_assert_msg(json_equal(told, heartbeat.root), "%s", text);
    json_decref(told);
    free(text);
    heartbeat_deinit(&heartbeat);
    golden_free(golden);
}
END_TEST

START_TEST(sets_may_be_absent)
{
    struct heartbeat heartbeat;
    char problem[256];
    ck_assert(decode(
        "{\"clientID\":\"a\",\"consumerDataSet\":null,\"withoutSub\":true}", &heartbeat, problem));
    ck_assert_uint_eq(heartbeat_n_producers(&heartbeat) + heartbeat_n_consumers(&heartbeat), 0);
    ck_assert(heartbeat.is_without_subscriptions);
    heartbeat_deinit(&heartbeat);
    char *text = heartbeat_encode(SPAN("a"), NULL, 0, NULL);
    ck_assert_str_eq(text, "{\"clientID\":\"a\",\"consumerDataSet\":[],\"heartbeatFingerprint\":0,"
                           "\"producerDataSet\":[],\"withoutSub\":false}");
    free(text);
}
END_TEST

static const struct {
    const char *text;
    const char *named;
} wrong[] = {
    { "", "JSON object" },
    { "[]", "JSON object" },
    { "{\"clientID\":\"a\"", "JSON object" },
    { "{\"clientID\":\"a\",\"clientID\":\"b\"}", "JSON object" },
    { "{}", "clientID" },
    { "{\"clientID\":7}", "clientID" },
    { "{\"clientID\":\"a\",\"producerDataSet\":{}}", "producerDataSet" },
    { "{\"clientID\":\"a\",\"producerDataSet\":[{\"groupName\":\"\"}]}", "groupName" },
    { "{\"clientID\":\"a\",\"producerDataSet\":[7]}", "groupName" },
    { "{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"a b\"}]}", "groupName 'a b'" },
};

START_TEST(what_is_wrong_is_named)
{
    struct heartbeat heartbeat;
    char problem[256];
    ck_assert_msg(!decode(wrong[_i].text, &heartbeat, problem), "%s", wrong[_i].text);
    ck_assert_msg(strstr(problem, wrong[_i].named), "%s: %s", wrong[_i].text, problem);
}
END_TEST

START_TEST(a_body_that_is_too_large_is_not_looked_at)
{
    char *text = calloc(1, HEARTBEAT_BODY_MAX + 1);
    struct heartbeat heartbeat;
    char problem[256];
    ck_assert(!heartbeat_decode(
        (struct span){ text, HEARTBEAT_BODY_MAX + 1 }, &heartbeat, problem, sizeof(problem)));
    ck_assert(strstr(problem, "262144"));
    free(text);
}
END_TEST

/* A parser takes 50 bytes and more for each of these values of two characters. */
START_TEST(a_body_of_many_small_values_is_not_parsed)
{
    const struct span start = SPAN("{\"clientID\":\"a\",\"more\":[0");
    char *text = malloc(start.n + 2 * (size_t)HEARTBEAT_VALUES_MAX + 2);
    memcpy(text, start.data, start.n);
    struct heartbeat heartbeat;
    char problem[256];
    /* The object, the id, the array and a number are there already; so are two keys. */
    for (size_t n = HEARTBEAT_VALUES_MAX - 10; n <= HEARTBEAT_VALUES_MAX; n += 10) {
        for (size_t i = 0; i < n; i++) {
            memcpy(text + start.n + 2 * i, ",0", 2);
        }
        memcpy(text + start.n + 2 * n, "]}", 2);
        const struct span body = { text, start.n + 2 * n + 2 };
        ck_assert_uint_le(body.n, HEARTBEAT_BODY_MAX);
        if (n < HEARTBEAT_VALUES_MAX) {
            ck_assert(heartbeat_decode(body, &heartbeat, problem, sizeof(problem)));
            heartbeat_deinit(&heartbeat);
        } else {
            ck_assert(!heartbeat_decode(body, &heartbeat, problem, sizeof(problem)));
            ck_assert_msg(strstr(problem, "16384"), "%s", problem);
        }
    }
    free(text);
}
END_TEST

START_TEST(names_are_what_brokers_accept)
{
    static const char longest[ROCKETMQ_NAME_MAX + 2] = { [0 ... ROCKETMQ_NAME_MAX] = 'x' };
    ck_assert(rocketmq_name_is_valid(SPAN("%RETRY%Group_1-a|B"), ROCKETMQ_NAME_MAX));
    ck_assert(rocketmq_name_is_valid((struct span){ longest, 255 }, ROCKETMQ_NAME_MAX));
    ck_assert(!rocketmq_name_is_valid((struct span){ longest, 256 }, ROCKETMQ_NAME_MAX));
    ck_assert(!rocketmq_name_is_valid(SPAN(""), ROCKETMQ_NAME_MAX));
    ck_assert(!rocketmq_name_is_valid(SPAN_ABSENT, ROCKETMQ_NAME_MAX));
    for (int c = 0; c < 256; c++) {
        char text[] = { 'a', (char)c };
        bool is_accepted = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || (c && strchr("%|_-", c));
        assert_often(
            rocketmq_name_is_valid((struct span){ text, 2 }, ROCKETMQ_NAME_MAX) == is_accepted);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("heartbeat");
    tcase_add_test(tests, the_heartbeat_of_a_java_producer_is_read);
    tcase_add_test(tests, the_heartbeat_of_a_consumer_is_read_and_told_again);
    tcase_add_test(tests, sets_may_be_absent);
    tcase_add_loop_test(tests, what_is_wrong_is_named, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(tests, a_body_that_is_too_large_is_not_looked_at);
    tcase_add_test(tests, a_body_of_many_small_values_is_not_parsed);
    tcase_add_test(tests, names_are_what_brokers_accept);
    Suite *suite = suite_create("heartbeat");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
