#include "daemon/core/sidecar_fields.h"

#include <stdio.h>
#include <stdlib.h>

#include "protocol/utf8.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

#define MAX_TIMEOUT_MS 300000

struct taken {
    struct ext_field storage[16];
    struct ext_fields ext_fields;
    struct sidecar_fields fields;
    char problem[384];
    bool is_fine;
};

static struct taken taken;

static void begin(void)
{
    ext_fields_init(&taken.ext_fields, taken.storage, 16);
    memset(&taken.fields, 0xAA, sizeof(taken.fields)); /* everything is to be written */
    taken.problem[0] = '\0';
}

static void add(const char *key, const char *value)
{
    ck_assert(ext_fields_add(&taken.ext_fields, span_of(key), span_of(value)));
}

static bool take(void)
{
    taken.is_fine = sidecar_fields_take(
        &taken.ext_fields, MAX_TIMEOUT_MS, &taken.fields, taken.problem, sizeof(taken.problem));
    return taken.is_fine;
}

static bool take_one(const char *key, const char *value)
{
    begin();
    add(key, value);
    return take();
}

START_TEST(request_without_sidecar_fields_keeps_its_fields_and_gets_the_defaults)
{
    begin();
    add("topic", "T");
    add("sidecarless", "1");
    add("sidecar", "2");
    add("Sidecar.addr", "3");
    add("xsidecar.addr", "4");
    ck_assert(take());
    ck_assert_uint_eq(taken.ext_fields.n, 5);
    ck_assert(span_is_absent(taken.fields.addr));
    ck_assert(span_is_absent(taken.fields.broker));
    ck_assert(span_is_absent(taken.fields.topic));
    ck_assert(span_is_absent(taken.fields.receipt));
    ck_assert(span_is_absent(taken.fields.traceparent));
    ck_assert_uint_eq(taken.fields.timeout_ms, 0);
    ck_assert(!taken.fields.has_code);
    ck_assert_int_eq(taken.fields.retry, SIDECAR_RETRY_SAFE);
    ck_assert(!taken.fields.wants_json);
    ck_assert(span_is_absent(taken.fields.msg_id));
    ck_assert(!taken.fields.has_max_reconsume);
}
END_TEST

START_TEST(a_number_of_redeliveries_goes_from_none_to_what_brokers_can_count)
{
    ck_assert(take_one("sidecar.maxReconsume", "0"));
    ck_assert(taken.fields.has_max_reconsume);
    ck_assert_int_eq(taken.fields.max_reconsume, 0);
    ck_assert(take_one("sidecar.maxReconsume", "2147483647"));
    ck_assert_int_eq(taken.fields.max_reconsume, INT32_MAX);
    ck_assert(!take_one("sidecar.maxReconsume", "-1"));
    ck_assert(!take_one("sidecar.maxReconsume", "2147483648"));
    ck_assert(!take_one("sidecar.maxReconsume", "often"));
    ck_assert(take_one("sidecar.msgId", "AB"));
    ck_assert(span_equals_text(taken.fields.msg_id, "AB"));
    ck_assert(!take_one("sidecar.msgId", ""));
}
END_TEST

START_TEST(sidecar_fields_are_taken_out_and_the_rest_keeps_its_order)
{
    begin();
    add("sidecar.addr", "h:1");
    add("a", "1");
    add("sidecar.broker", "broker-a");
    add("sidecar.topic", "T");
    add("b", "2");
    add("sidecar.receipt", "r1~x");
    add("sidecar.traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    add("sidecar.timeoutMillis", "1500");
    add("sidecar.code", "200050");
    add("sidecar.retry", "at-least-once");
    add("sidecar.answerFormat", "json");
    add("c", "3");
    ck_assert(take());
    ck_assert_uint_eq(taken.ext_fields.n, 3);
    const char *const keys[] = { "a", "b", "c" };
    const char *const values[] = { "1", "2", "3" };
    for (size_t i = 0; i < 3; i++) {
        ck_assert(span_equals_text(taken.storage[i].key, keys[i]));
        ck_assert(span_equals_text(taken.storage[i].value, values[i]));
    }
    ck_assert(span_equals_text(taken.fields.addr, "h:1"));
    ck_assert(span_equals_text(taken.fields.broker, "broker-a"));
    ck_assert(span_equals_text(taken.fields.topic, "T"));
    ck_assert(span_equals_text(taken.fields.receipt, "r1~x"));
    ck_assert_uint_eq(taken.fields.traceparent.n, 55);
    ck_assert_uint_eq(taken.fields.timeout_ms, 1500);
    ck_assert(taken.fields.has_code);
    ck_assert_int_eq(taken.fields.code, 200050);
    ck_assert_int_eq(taken.fields.retry, SIDECAR_RETRY_AT_LEAST_ONCE);
    ck_assert(taken.fields.wants_json);
}
END_TEST

START_TEST(every_word_of_a_choice_has_its_meaning)
{
    ck_assert(take_one("sidecar.retry", "safe"));
    ck_assert_int_eq(taken.fields.retry, SIDECAR_RETRY_SAFE);
    ck_assert(take_one("sidecar.retry", "at-least-once"));
    ck_assert_int_eq(taken.fields.retry, SIDECAR_RETRY_AT_LEAST_ONCE);
    ck_assert(take_one("sidecar.retry", "no"));
    ck_assert_int_eq(taken.fields.retry, SIDECAR_RETRY_NO);
    ck_assert(take_one("sidecar.answerFormat", "json"));
    ck_assert(taken.fields.wants_json);
    ck_assert(take_one("sidecar.answerFormat", "native"));
    ck_assert(!taken.fields.wants_json);
}
END_TEST

START_TEST(timeout_goes_from_a_millisecond_to_the_limit)
{
    ck_assert(take_one("sidecar.timeoutMillis", "1"));
    ck_assert_uint_eq(taken.fields.timeout_ms, 1);
    ck_assert(take_one("sidecar.timeoutMillis", "300000"));
    ck_assert_uint_eq(taken.fields.timeout_ms, MAX_TIMEOUT_MS);
}
END_TEST

START_TEST(code_may_be_any_code)
{
    ck_assert(take_one("sidecar.code", "2147483647"));
    ck_assert_int_eq(taken.fields.code, INT32_MAX);
    ck_assert(take_one("sidecar.code", "0"));
    ck_assert(taken.fields.has_code);
    ck_assert_int_eq(taken.fields.code, 0);
}
END_TEST

struct refused_case {
    const char *key;
    const char *value;
    const char *accepted; /* what the problem has to say, besides key and value */
};

static const struct refused_case refused[] = {
    { "sidecar.timeoutMillis", "0", "300000" },
    { "sidecar.timeoutMillis", "-1", "300000" },
    { "sidecar.timeoutMillis", "300001", "300000" },
    { "sidecar.timeoutMillis", "99999999999999999999", "300000" },
    { "sidecar.timeoutMillis", "3s", "milliseconds" },
    { "sidecar.timeoutMillis", "1.5", "milliseconds" },
    { "sidecar.timeoutMillis", "", "milliseconds" },
    { "sidecar.code", "", "code" },
    { "sidecar.code", "POP_MESSAGE", "decimal" },
    { "sidecar.code", "2147483648", "code" },
    { "sidecar.retry", "", "at-least-once" },
    { "sidecar.retry", "Safe", "safe" },
    { "sidecar.retry", "yes", "no" },
    { "sidecar.answerFormat", "xml", "json" },
    { "sidecar.answerFormat", "JSON", "native" },
    { "sidecar.answerFormat", "", "json" },
    { "sidecar.addr", "", "value" },
    { "sidecar.broker", "", "value" },
    { "sidecar.topic", "", "value" },
    { "sidecar.receipt", "", "value" },
    { "sidecar.traceparent", "", "W3C" },
    { "sidecar.traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", "W3C" },
    { "sidecar.traceparent", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "W3C" },
    { "sidecar.bodyFormat", "xml", "json or native" },
};

START_TEST(value_that_makes_no_sense_is_named_with_what_is_accepted)
{
    const struct refused_case *c = &refused[_i];
    ck_assert_msg(!take_one(c->key, c->value), "%s=%s", c->key, c->value);
    ck_assert_msg(strstr(taken.problem, c->key) && strstr(taken.problem, c->value) &&
                      strstr(taken.problem, c->accepted),
        "%s=%s: \"%s\"", c->key, c->value, taken.problem);
}
END_TEST

static const char *const unknown[] = {
    "sidecar.",
    "sidecar.adr",
    "sidecar.Addr",
    "sidecar.addr.",
    "sidecar.sent",
    "sidecar.error",
    "sidecar.sidecar.addr",
};

START_TEST(unknown_field_is_named)
{
    ck_assert_msg(!take_one(unknown[_i], "x"), "%s", unknown[_i]);
    ck_assert_ptr_eq(strstr(taken.problem, unknown[_i]), taken.problem);
    ck_assert_ptr_nonnull(strstr(taken.problem, "sidecar.addr"));
}
END_TEST

START_TEST(one_bad_field_among_good_ones_is_enough)
{
    begin();
    add("sidecar.addr", "h:1");
    add("topic", "T");
    add("sidecar.retry", "maybe");
    add("sidecar.broker", "b");
    ck_assert(!take());
    ck_assert_ptr_nonnull(strstr(taken.problem, "sidecar.retry"));
}
END_TEST

/* The problem becomes a remark, and a remark that is cut inside a character is no JSON. */
START_TEST(problem_is_utf8_and_bounded_however_long_key_and_value_are)
{
    static const char *const characters[] = { "x", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x90\xa7" };
    char text[1024];
    for (size_t i = 0; i < 4; i++) {
        const size_t size = strlen(characters[i]);
        for (size_t before = 0; before < 4; before++) {
            size_t n = (size_t)snprintf(text, sizeof(text), "sidecar.%.*s", (int)before, "abc");
            while (n + size < 900) {
                memcpy(text + n, characters[i], size);
                n += size;
            }
            text[n] = '\0';
            ck_assert(!take_one(text, "x"));
            ck_assert(utf8_is_valid(span_of(taken.problem)));
            ck_assert_uint_gt(strlen(taken.problem), 60);
            ck_assert(!take_one("sidecar.retry", text));
            ck_assert(utf8_is_valid(span_of(taken.problem)));
            ck_assert_ptr_nonnull(strstr(taken.problem, "at-least-once"));
            for (size_t size_given = 1; size_given < 80; size_given++) {
                begin();
                add("sidecar.retry", text);
                char *exact = malloc(size_given);
                ck_assert(!sidecar_fields_take(
                    &taken.ext_fields, MAX_TIMEOUT_MS, &taken.fields, exact, size_given));
                ck_assert_uint_lt(strlen(exact), size_given);
                free(exact);
            }
        }
    }
}
END_TEST

START_TEST(values_are_not_read_beyond_their_end)
{
    static const char *const keys[] = { "sidecar.timeoutMillis", "sidecar.code", "sidecar.retry",
        "sidecar.answerFormat", "sidecar.addr", "sidecar." };
    static const char *const values[] = { "", "1", "safe", "json", "h:1" };
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 5; j++) {
            size_t n_key = strlen(keys[i]);
            size_t n_value = strlen(values[j]);
            char *key = (char *)golden_copy((const uint8_t *)keys[i], n_key);
            char *value = (char *)golden_copy((const uint8_t *)values[j], n_value);
            begin();
            ck_assert(ext_fields_add(
                &taken.ext_fields, (struct span){ key, n_key }, (struct span){ value, n_value }));
            ck_assert(take() == (taken.problem[0] == '\0'));
            free(key);
            free(value);
        }
    }
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *tests = tcase_create("sidecar_fields");
    tcase_add_test(tests, request_without_sidecar_fields_keeps_its_fields_and_gets_the_defaults);
    tcase_add_test(tests, sidecar_fields_are_taken_out_and_the_rest_keeps_its_order);
    tcase_add_test(tests, every_word_of_a_choice_has_its_meaning);
    tcase_add_test(tests, timeout_goes_from_a_millisecond_to_the_limit);
    tcase_add_test(tests, a_number_of_redeliveries_goes_from_none_to_what_brokers_can_count);
    tcase_add_test(tests, code_may_be_any_code);
    tcase_add_loop_test(
        tests, value_that_makes_no_sense_is_named_with_what_is_accepted, 0, N(refused));
    tcase_add_loop_test(tests, unknown_field_is_named, 0, N(unknown));
    tcase_add_test(tests, one_bad_field_among_good_ones_is_enough);
    tcase_add_test(tests, problem_is_utf8_and_bounded_however_long_key_and_value_are);
    tcase_add_test(tests, values_are_not_read_beyond_their_end);
    Suite *suite = suite_create("sidecar_fields");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
