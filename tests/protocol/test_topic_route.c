#include "protocol/topic_route.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/frame.h"
#include "tests/support/golden.h"
#include "tests/support/json_memory.h"
#include "tests/support/run_suite.h"

static const struct topic_route_limits wide = { .max_brokers = 1000, .max_queues = 65536 };

static enum topic_route_status decode_text(const char *text, struct topic_route **ret_route)
{
    size_t n = strlen(text);
    char *copy = (char *)golden_copy((const uint8_t *)text, n);
    enum topic_route_status status = topic_route_decode(copy, n, &wide, ret_route);
    free(copy); /* a route points nowhere into its text */
    return status;
}

static struct topic_route *decode_golden(const char *file, bool is_cluster_info)
{
    struct golden *golden = golden_load();
    const struct golden_frame *frame = golden_find(golden, file);
    struct frame_parts parts;
    frame_split(frame->data, frame->size, &parts);
    const char *body = (const char *)parts.body;
    struct topic_route *route = NULL;
    enum topic_route_status status = is_cluster_info
                                         ? cluster_info_decode(body, parts.body_size, &wide, &route)
                                         : topic_route_decode(body, parts.body_size, &wide, &route);
    ck_assert_int_eq(status, TOPIC_ROUTE_OK);
    golden_free(golden);
    return route;
}

static const char *const golden_routes[] = {
    "get_routeinfo_by_topic.json.response.bin",
    "get_routeinfo_by_topic-2.json.response.bin",
    "get_routeinfo_by_topic_oldversion.json.response.bin",
    "get_routeinfo_by_topic_oldversion-2.json.response.bin",
    "srvbin_get_routeinfo_by_topic.binary.response.bin",
    "srvbin_get_routeinfo_standard_json.binary.response.bin",
};

/* The cluster of these frames had broker-a at 127.0.0.1:20911 and broker-b at 127.0.0.1:20931. */
START_TEST(route_of_a_real_nameserver_is_read_whatever_its_keys_look_like)
{
    struct topic_route *route = decode_golden(golden_routes[_i], false);
    ck_assert_uint_eq(route->n_brokers, 1);
    ck_assert_str_eq(route->brokers[0].broker_name, "broker-a");
    ck_assert_str_eq(route->brokers[0].cluster, "LabCluster");
    ck_assert_uint_eq(route->brokers[0].n_addresses, 1);
    ck_assert_int_eq(route->brokers[0].addresses[0].broker_id, BROKER_ID_MASTER);
    ck_assert_str_eq(route->brokers[0].addresses[0].address, "127.0.0.1:20911");
    ck_assert_uint_eq(route->n_queues, 1);
    ck_assert_str_eq(route->queues[0].broker_name, "broker-a");
    ck_assert_int_eq(route->queues[0].read_queue_nums, 2);
    ck_assert_int_eq(route->queues[0].write_queue_nums, 2);
    ck_assert_int_eq(route->queues[0].perm, PERM_READ | PERM_WRITE);
    ck_assert_int_eq(route->queues[0].topic_sys_flag, 0);
    ck_assert_ptr_null(route->order_topic_conf);
    ck_assert_ptr_null(topic_route_free(route));
}
END_TEST

START_TEST(cluster_info_of_a_real_nameserver_has_brokers_and_no_queues)
{
    struct topic_route *route = decode_golden("get_broker_cluster_info.json.response.bin", true);
    ck_assert_uint_eq(route->n_brokers, 2);
    ck_assert_uint_eq(route->n_queues, 0);
    const struct broker_data *a = topic_route_find_broker(route, SPAN("broker-a"));
    const struct broker_data *b = topic_route_find_broker(route, SPAN("broker-b"));
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_str_eq(broker_data_master(a), "127.0.0.1:20911");
    ck_assert_str_eq(broker_data_master(b), "127.0.0.1:20931");
    ck_assert_str_eq(b->cluster, "LabCluster");
    topic_route_free(route);
}
END_TEST

START_TEST(brokers_and_queues_are_sorted_and_found_by_their_whole_name)
{
    struct topic_route *route = NULL;
    ck_assert_int_eq(
        decode_text("{\"brokerDatas\":["
                    "{\"brokerName\":\"b2\",\"brokerAddrs\":{2:\"h:3\",0:\"h:1\",1:\"h:2\"}},"
                    "{\"brokerName\":\"b\",\"brokerAddrs\":{1:\"[fd00::1]:10911\"}},"
                    "{\"brokerName\":\"a\",\"brokerAddrs\":{}}],"
                    "\"queueDatas\":["
                    "{\"brokerName\":\"b2\",\"readQueueNums\":4,\"writeQueueNums\":8,\"perm\":6,"
                    "\"topicSysFlag\":3},"
                    "{\"brokerName\":\"b\",\"readQueueNums\":0,\"writeQueueNums\":0,\"perm\":0},"
                    "{\"brokerName\":\"a\",\"readQueueNums\":1,\"writeQueueNums\":0,\"perm\":4}],"
                    "\"orderTopicConf\":\"a:4;b:4\",\"zoneName\":\"z\",\"another\":[{}]}",
            &route),
        TOPIC_ROUTE_OK);
    ck_assert_uint_eq(route->n_brokers, 3);
    ck_assert_uint_eq(route->n_queues, 3);
    const char *names[] = { "a", "b", "b2" };
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(route->brokers[i].broker_name, names[i]);
        ck_assert_str_eq(route->queues[i].broker_name, names[i]);
        ck_assert_ptr_eq(topic_route_find_broker(route, span_of(names[i])), &route->brokers[i]);
    }
    const char *strangers[] = { "", "B", "b1", "b22", "c", "0" };
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        ck_assert_ptr_null(topic_route_find_broker(route, span_of(strangers[i])));
    }
    ck_assert_str_eq(broker_data_master(&route->brokers[2]), "h:1");
    ck_assert_str_eq(route->brokers[2].addresses[2].address, "h:3");
    ck_assert_int_eq(route->brokers[2].addresses[2].broker_id, 2);
    ck_assert_str_eq(route->brokers[1].cluster, "");
    ck_assert_str_eq(route->order_topic_conf, "a:4;b:4");
    ck_assert_int_eq(route->queues[2].read_queue_nums, 4);
    ck_assert_int_eq(route->queues[2].write_queue_nums, 8);
    ck_assert_int_eq(route->queues[2].topic_sys_flag, 3);
    ck_assert_int_eq(route->queues[0].topic_sys_flag, 0);
    topic_route_free(route);
}
END_TEST

START_TEST(broker_without_a_master_has_no_master)
{
    struct topic_route *route = NULL;
    ck_assert_int_eq(
        decode_text(
            "{\"brokerDatas\":[{\"brokerName\":\"a\",\"brokerAddrs\":{1:\"h:2\",-1:\"h:3\"}}],"
            "\"queueDatas\":[]}",
            &route),
        TOPIC_ROUTE_OK);
    ck_assert_uint_eq(route->brokers[0].n_addresses, 2);
    ck_assert_ptr_null(broker_data_master(&route->brokers[0]));
    topic_route_free(route);
}
END_TEST

struct text_case {
    const char *name;
    const char *text;
    enum topic_route_status status;
};

#define BROKER(rest)  "{\"brokerDatas\":[{" rest "}],\"queueDatas\":[]}"
#define ADDRESS(text) BROKER("\"brokerName\":\"a\",\"brokerAddrs\":{0:\"" text "\"}")
#define QUEUE(rest)   "{\"brokerDatas\":[],\"queueDatas\":[{" rest "}]}"
#define NUMBERS(r, w, p)                                                                           \
    QUEUE("\"brokerName\":\"a\",\"readQueueNums\":" r ",\"writeQueueNums\":" w ",\"perm\":" p)

static const struct text_case texts[] = {
    { "empty lists", "{\"brokerDatas\":[],\"queueDatas\":[]}", TOPIC_ROUTE_OK },
    { "null options", "{\"brokerDatas\":[],\"queueDatas\":[],\"orderTopicConf\":null}",
        TOPIC_ROUTE_OK },
    { "null cluster", BROKER("\"brokerName\":\"a\",\"brokerAddrs\":{},\"cluster\":null"),
        TOPIC_ROUTE_OK },
    { "no text", "", TOPIC_ROUTE_MALFORMED },
    { "no object", "[]", TOPIC_ROUTE_MALFORMED },
    { "null", "null", TOPIC_ROUTE_MALFORMED },
    { "something behind it", "{\"brokerDatas\":[],\"queueDatas\":[]}x", TOPIC_ROUTE_MALFORMED },
    { "a key twice", "{\"brokerDatas\":[],\"queueDatas\":[],\"queueDatas\":[]}",
        TOPIC_ROUTE_MALFORMED },
    { "no brokers", "{\"queueDatas\":[]}", TOPIC_ROUTE_MALFORMED },
    { "no queues", "{\"brokerDatas\":[]}", TOPIC_ROUTE_MALFORMED },
    { "brokers that are an object", "{\"brokerDatas\":{},\"queueDatas\":[]}",
        TOPIC_ROUTE_MALFORMED },
    { "queues that are a string", "{\"brokerDatas\":[],\"queueDatas\":\"\"}",
        TOPIC_ROUTE_MALFORMED },
    { "a broker that is a number", "{\"brokerDatas\":[1],\"queueDatas\":[]}",
        TOPIC_ROUTE_MALFORMED },
    { "a queue that is null", "{\"brokerDatas\":[],\"queueDatas\":[null]}", TOPIC_ROUTE_MALFORMED },
    { "order conf that is a number", "{\"brokerDatas\":[],\"queueDatas\":[],\"orderTopicConf\":1}",
        TOPIC_ROUTE_MALFORMED },
    { "no broker name", BROKER("\"brokerAddrs\":{}"), TOPIC_ROUTE_MALFORMED },
    { "an empty broker name", BROKER("\"brokerName\":\"\",\"brokerAddrs\":{}"),
        TOPIC_ROUTE_MALFORMED },
    { "a broker name that is a number", BROKER("\"brokerName\":1,\"brokerAddrs\":{}"),
        TOPIC_ROUTE_MALFORMED },
    { "a cluster that is a list", BROKER("\"brokerName\":\"a\",\"brokerAddrs\":{},\"cluster\":[]"),
        TOPIC_ROUTE_MALFORMED },
    { "no addresses", BROKER("\"brokerName\":\"a\""), TOPIC_ROUTE_MALFORMED },
    { "addresses that are a list", BROKER("\"brokerName\":\"a\",\"brokerAddrs\":[\"h:1\"]"),
        TOPIC_ROUTE_MALFORMED },
    { "a broker id that is a word", BROKER("\"brokerName\":\"a\",\"brokerAddrs\":{\"x\":\"h:1\"}"),
        TOPIC_ROUTE_MALFORMED },
    { "a broker id beyond a long",
        BROKER("\"brokerName\":\"a\",\"brokerAddrs\":{9223372036854775808:\"h:1\"}"),
        TOPIC_ROUTE_MALFORMED },
    { "a broker id in two spellings",
        BROKER("\"brokerName\":\"a\",\"brokerAddrs\":{0:\"h:1\",00:\"h:2\"}"),
        TOPIC_ROUTE_MALFORMED },
    { "an address that is a number", BROKER("\"brokerName\":\"a\",\"brokerAddrs\":{0:10911}"),
        TOPIC_ROUTE_MALFORMED },
    { "the same broker twice",
        "{\"brokerDatas\":[{\"brokerName\":\"a\",\"brokerAddrs\":{}},"
        "{\"brokerName\":\"b\",\"brokerAddrs\":{}},{\"brokerName\":\"a\",\"brokerAddrs\":{}}],"
        "\"queueDatas\":[]}",
        TOPIC_ROUTE_MALFORMED },
    { "the queues of a broker twice",
        "{\"brokerDatas\":[],\"queueDatas\":["
        "{\"brokerName\":\"a\",\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":6},"
        "{\"brokerName\":\"a\",\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":6}]}",
        TOPIC_ROUTE_MALFORMED },
    { "a host name", ADDRESS("broker-1.example.org:10911"), TOPIC_ROUTE_OK },
    { "port 1", ADDRESS("h:1"), TOPIC_ROUTE_OK },
    { "port 65535", ADDRESS("h:65535"), TOPIC_ROUTE_OK },
    { "IPv6", ADDRESS("[::1]:10911"), TOPIC_ROUTE_OK },
    { "IPv6 with a zone", ADDRESS("[fe80::1%eth0]:10911"), TOPIC_ROUTE_OK },
    { "port 0", ADDRESS("h:0"), TOPIC_ROUTE_MALFORMED },
    { "port 65536", ADDRESS("h:65536"), TOPIC_ROUTE_MALFORMED },
    { "a negative port", ADDRESS("h:-1"), TOPIC_ROUTE_MALFORMED },
    { "a port with a sign", ADDRESS("h:+1"), TOPIC_ROUTE_MALFORMED },
    { "a port that is a word", ADDRESS("h:http"), TOPIC_ROUTE_MALFORMED },
    { "no port", ADDRESS("h"), TOPIC_ROUTE_MALFORMED },
    { "an empty port", ADDRESS("h:"), TOPIC_ROUTE_MALFORMED },
    { "no host", ADDRESS(":10911"), TOPIC_ROUTE_MALFORMED },
    { "an empty address", ADDRESS(""), TOPIC_ROUTE_MALFORMED },
    { "IPv6 without brackets", ADDRESS("::1:10911"), TOPIC_ROUTE_MALFORMED },
    { "empty brackets", ADDRESS("[]:10911"), TOPIC_ROUTE_MALFORMED },
    { "half a bracket", ADDRESS("[::1:10911"), TOPIC_ROUTE_MALFORMED },
    { "a name in brackets", ADDRESS("[host]:10911"), TOPIC_ROUTE_MALFORMED },
    { "a space in the host", ADDRESS("a b:10911"), TOPIC_ROUTE_MALFORMED },
    { "a line break in the host", ADDRESS("a\\nb:10911"), TOPIC_ROUTE_MALFORMED },
    { "a path", ADDRESS("/run/x:10911"), TOPIC_ROUTE_MALFORMED },
    { "all permissions", NUMBERS("1", "1", "15"), TOPIC_ROUTE_OK },
    { "a permission too many", NUMBERS("1", "1", "16"), TOPIC_ROUTE_MALFORMED },
    { "a negative permission", NUMBERS("1", "1", "-1"), TOPIC_ROUTE_MALFORMED },
    { "a permission that is a string", NUMBERS("1", "1", "\"6\""), TOPIC_ROUTE_MALFORMED },
    { "negative read queues", NUMBERS("-1", "1", "6"), TOPIC_ROUTE_MALFORMED },
    { "negative write queues", NUMBERS("1", "-1", "6"), TOPIC_ROUTE_MALFORMED },
    { "half a queue", NUMBERS("1", "1.5", "6"), TOPIC_ROUTE_MALFORMED },
    { "queues beyond 32 bits", NUMBERS("4294967297", "1", "6"), TOPIC_ROUTE_MALFORMED },
    { "queues beyond the limit", NUMBERS("1", "2147483647", "6"), TOPIC_ROUTE_TOO_LARGE },
    { "no read queues", QUEUE("\"brokerName\":\"a\",\"writeQueueNums\":1,\"perm\":6"),
        TOPIC_ROUTE_MALFORMED },
    { "no permission", QUEUE("\"brokerName\":\"a\",\"readQueueNums\":1,\"writeQueueNums\":1"),
        TOPIC_ROUTE_MALFORMED },
    { "a sys flag that is true",
        QUEUE("\"brokerName\":\"a\",\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":6,"
              "\"topicSysFlag\":true"),
        TOPIC_ROUTE_MALFORMED },
    { "queues of nobody", QUEUE("\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":6"),
        TOPIC_ROUTE_MALFORMED },
};

START_TEST(answer_is_taken_whole_or_refused_whole)
{
    struct topic_route *route = NULL;
    enum topic_route_status status = decode_text(texts[_i].text, &route);
    ck_assert_msg(status == texts[_i].status, "%s: status %d", texts[_i].name, (int)status);
    ck_assert(!route == (status != TOPIC_ROUTE_OK));
    topic_route_free(route);
}
END_TEST

static const struct text_case cluster_texts[] = {
    { "no brokers", "{\"brokerAddrTable\":{}}", TOPIC_ROUTE_OK },
    { "no table", "{}", TOPIC_ROUTE_MALFORMED },
    { "a list", "{\"brokerAddrTable\":[]}", TOPIC_ROUTE_MALFORMED },
    { "another name inside",
        "{\"brokerAddrTable\":{\"a\":{\"brokerName\":\"b\",\"brokerAddrs\":{}}}}",
        TOPIC_ROUTE_MALFORMED },
    { "a bad broker", "{\"brokerAddrTable\":{\"a\":{\"brokerName\":\"a\",\"brokerAddrs\":{0:1}}}}",
        TOPIC_ROUTE_MALFORMED },
    { "a broker that is a string", "{\"brokerAddrTable\":{\"a\":\"a\"}}", TOPIC_ROUTE_MALFORMED },
};

START_TEST(cluster_info_is_taken_whole_or_refused_whole)
{
    const struct text_case *c = &cluster_texts[_i];
    struct topic_route *route = NULL;
    enum topic_route_status status = cluster_info_decode(c->text, strlen(c->text), &wide, &route);
    ck_assert_msg(status == c->status, "%s: status %d", c->name, (int)status);
    ck_assert(!route == (status != TOPIC_ROUTE_OK));
    topic_route_free(route);
}
END_TEST

/* A text that grows; to be freed. */
struct text {
    char *data;
    size_t n;
    size_t capacity;
};

static void __attribute__((format(printf, 2, 3)))
text_add(struct text *text, const char *format, ...)
{
    char piece[256];
    va_list arguments;
    va_start(arguments, format);
    size_t n = (size_t)vsnprintf(piece, sizeof(piece), format, arguments);
    va_end(arguments);
    if (text->n + n > text->capacity) {
        text->capacity = 2 * (text->n + n);
        text->data = realloc(text->data, text->capacity);
        ck_assert_ptr_nonnull(text->data);
    }
    memcpy(text->data + text->n, piece, n);
    text->n += n;
}

static struct text route_of(size_t n_brokers, size_t n_queues)
{
    struct text text = { 0 };
    text_add(&text, "{\"brokerDatas\":[");
    for (size_t i = 0; i < n_brokers; i++) {
        text_add(&text, "%s{\"brokerName\":\"b%zu\",\"brokerAddrs\":{0:\"h:1\"}}", i ? "," : "", i);
    }
    text_add(&text, "],\"queueDatas\":[");
    for (size_t i = 0; i < n_brokers; i++) {
        text_add(&text,
            "%s{\"brokerName\":\"b%zu\",\"perm\":6,\"readQueueNums\":%zu,\"writeQueueNums\":1}",
            i ? "," : "", i, n_queues);
    }
    text_add(&text, "]}");
    return text;
}

static enum topic_route_status decode_route_of(
    size_t n_brokers, size_t n_queues, const struct topic_route_limits *limits)
{
    struct text text = route_of(n_brokers, n_queues);
    struct topic_route *route = NULL;
    enum topic_route_status status = topic_route_decode(text.data, text.n, limits, &route);
    ck_assert(!route == (status != TOPIC_ROUTE_OK));
    topic_route_free(route);
    free(text.data);
    return status;
}

START_TEST(limits_hold_to_the_last_broker_and_queue)
{
    const struct topic_route_limits limits = { .max_brokers = 3, .max_queues = 12 };
    ck_assert_int_eq(decode_route_of(3, 4, &limits), TOPIC_ROUTE_OK);
    ck_assert_int_eq(decode_route_of(4, 1, &limits), TOPIC_ROUTE_TOO_LARGE);
    ck_assert_int_eq(decode_route_of(2, 7, &limits), TOPIC_ROUTE_TOO_LARGE);
    const struct topic_route_limits none = { SIZE_MAX, SIZE_MAX };
    ck_assert_int_eq(decode_route_of(4, 2147483647, &none), TOPIC_ROUTE_OK);
}
END_TEST

START_TEST(hundred_thousand_brokers_are_refused)
{
    ck_assert_int_eq(decode_route_of(100000, 1, &wide), TOPIC_ROUTE_TOO_LARGE);
    const struct topic_route_limits wider = { .max_brokers = 100000, .max_queues = 100000 };
    ck_assert_int_eq(decode_route_of(100000, 1, &wider), TOPIC_ROUTE_OK);
}
END_TEST

/* Sixteen million values of two characters would cost jansson a gigabyte. */
START_TEST(flood_of_small_values_is_refused_before_it_is_parsed)
{
    size_t n = 16 * 1024 * 1024;
    char *text = malloc(n);
    ck_assert_ptr_nonnull(text);
    memset(text, ',', n); /* no JSON at all: parsed, it would be malformed */
    struct topic_route *route = NULL;
    ck_assert_int_eq(topic_route_decode(text, n, &wide, &route), TOPIC_ROUTE_TOO_LARGE);
    ck_assert_int_eq(cluster_info_decode(text, n, &wide, &route), TOPIC_ROUTE_TOO_LARGE);
    ck_assert_int_eq(topic_route_decode(text, 1000, &wide, &route), TOPIC_ROUTE_MALFORMED);
    ck_assert_ptr_null(route);
    free(text);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
    for (size_t n = 1; n <= 500000; n *= 10) {
        struct text text = { 0 };
        text_add(&text, "{\"brokerDatas\":");
        for (size_t i = 0; i < n; i++) {
            text_add(&text, "[");
        }
        struct topic_route *route = NULL;
        ck_assert_int_eq(
            topic_route_decode(text.data, text.n, &wide, &route), TOPIC_ROUTE_MALFORMED);
        free(text.data);
    }
}
END_TEST

START_TEST(answer_cut_anywhere_is_malformed)
{
    struct text text = route_of(2, 1);
    for (size_t n = 0; n < text.n; n++) {
        char *copy = (char *)golden_copy((const uint8_t *)text.data, n);
        struct topic_route *route = NULL;
        ck_assert_int_eq(topic_route_decode(copy, n, &wide, &route), TOPIC_ROUTE_MALFORMED);
        ck_assert_ptr_null(route);
        free(copy);
    }
    free(text.data);
}
END_TEST

/* jansson's memory can be made to fail from outside; ours is left alone here. */
START_TEST(memory_that_runs_out_in_the_parser_refuses_the_whole_answer)
{
    struct text text = route_of(2, 1);
    enum topic_route_status status = TOPIC_ROUTE_NO_MEMORY;
    size_t n_no_memory = 0;
    for (size_t n = 0; status != TOPIC_ROUTE_OK; n++) {
        ck_assert_uint_lt(n, 1000);
        json_memory_limit(n);
        struct topic_route *route = NULL;
        status = topic_route_decode(text.data, text.n, &wide, &route);
        ck_assert(!route == (status != TOPIC_ROUTE_OK));
        ck_assert(n > 0 || status == TOPIC_ROUTE_NO_MEMORY);
        n_no_memory += status == TOPIC_ROUTE_NO_MEMORY;
        topic_route_free(route);
    }
    json_memory_unlimit();
    ck_assert_uint_gt(n_no_memory, 10);
    free(text.data);
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *answers = tcase_create("answers");
    tcase_add_loop_test(answers, route_of_a_real_nameserver_is_read_whatever_its_keys_look_like, 0,
        N(golden_routes));
    tcase_add_test(answers, cluster_info_of_a_real_nameserver_has_brokers_and_no_queues);
    tcase_add_test(answers, brokers_and_queues_are_sorted_and_found_by_their_whole_name);
    tcase_add_test(answers, broker_without_a_master_has_no_master);
    tcase_add_loop_test(answers, answer_is_taken_whole_or_refused_whole, 0, N(texts));
    tcase_add_loop_test(answers, cluster_info_is_taken_whole_or_refused_whole, 0, N(cluster_texts));

    TCase *hostile = tcase_create("hostile");
    tcase_set_timeout(hostile, 60);
    tcase_add_test(hostile, limits_hold_to_the_last_broker_and_queue);
    tcase_add_test(hostile, hundred_thousand_brokers_are_refused);
    tcase_add_test(hostile, flood_of_small_values_is_refused_before_it_is_parsed);
    tcase_add_test(hostile, deep_nesting_is_refused);
    tcase_add_test(hostile, answer_cut_anywhere_is_malformed);
    tcase_add_test(hostile, memory_that_runs_out_in_the_parser_refuses_the_whole_answer);

    Suite *suite = suite_create("topic_route");
    suite_add_tcase(suite, answers);
    suite_add_tcase(suite, hostile);
    return run_suite(suite);
}
