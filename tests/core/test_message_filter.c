#include "daemon/core/message_filter.h"

#include <stdlib.h>

#include "protocol/frame.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

static struct message message_with(const char *properties)
{
    return (struct message){ .properties = span_of(properties) };
}

START_TEST(only_expressions_of_tags_are_looked_at_again)
{
    static const struct {
        const char *expression, *type;
        bool has_tags;
    } cases[] = {
        { "a", "TAG", true },
        { "a || b", NULL, true },
        { " * ", "TAG", true }, /* a tag of that name, as Java reads it */
        { "*", "TAG", false },
        { NULL, NULL, false },
        { "", "TAG", false },
        { " || ", "TAG", false },
        { "a > 1", "SQL92", false },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(
            message_filter_has_tags(span_of(cases[i].expression), span_of(cases[i].type)),
            cases[i].has_tags);
    }
}
END_TEST

START_TEST(a_message_is_wanted_for_its_tag_and_not_for_the_hash_of_it)
{
    /* "Aa".hashCode() == "BB".hashCode() in Java. */
    static const struct {
        const char *expression, *properties;
        bool is_wanted;
    } cases[] = {
        { "Aa", "TAGS\1Aa\2", true },
        { "Aa", "TAGS\1BB\2", false },
        { "Aa||BB", "TAGS\1BB\2", true },
        { " cc ||\tBB ", "KEYS\1k\2TAGS\1BB\2", true },
        { "cc || B", "TAGS\1BB\2", false },
        { "BBB", "TAGS\1BB\2", false },
        { "Aa", "KEYS\1Aa\2", false }, /* no tag at all */
        { "Aa", "", false },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct message message = message_with(cases[i].properties);
        ck_assert_int_eq(
            message_filter_wants(span_of(cases[i].expression), &message), cases[i].is_wanted);
    }
}
END_TEST

START_TEST(an_inner_batch_passes_whatever_its_tag)
{
    struct message message = message_with("TAGS\1BB\2");
    message.sys_flag = MESSAGE_SYSFLAG_INNER_BATCH | MESSAGE_SYSFLAG_NEED_UNWRAP;
    ck_assert(message_filter_wants(SPAN("Aa"), &message));
}
END_TEST

START_TEST(a_key_is_one_of_the_words_of_keys)
{
    struct message message = message_with("KEYS\1order-1 order-22  x\2UNIQ_KEY\1order-3\2");
    ck_assert(message_filter_has_key(&message, SPAN("order-1")));
    ck_assert(message_filter_has_key(&message, SPAN("order-22")));
    ck_assert(message_filter_has_key(&message, SPAN("x")));
    ck_assert(!message_filter_has_key(&message, SPAN("order-2")));
    ck_assert(!message_filter_has_key(&message, SPAN("order-1 order-22")));
    ck_assert(!message_filter_has_key(&message, SPAN("order-3")));
    message = message_with("TAGS\1a\2");
    ck_assert(!message_filter_has_key(&message, SPAN("a")));
}
END_TEST

struct asked {
    int64_t wanted_offset;
    size_t n;
};

static bool is_at_offset(void *context, const struct message *message)
{
    struct asked *asked = context;
    asked->n++;
    return message->queue_offset == asked->wanted_offset;
}

static bool is_never(void *context, const struct message *message)
{
    (void)message;
    (*(size_t *)context)++;
    return false;
}

/* Seven messages with the offsets 0 to 6. */
START_TEST(a_body_keeps_the_messages_that_are_wanted_as_they_stand)
{
    struct golden *golden = golden_load();
    const struct golden_frame *frame = golden_find(golden, "pull_message_found.json.response.bin");
    struct frame_parts parts;
    frame_split(frame->data, frame->size, &parts);
    for (int64_t offset = 0; offset < 7; offset++) {
        uint8_t *data = golden_copy(parts.body, parts.body_size);
        struct asked asked = { .wanted_offset = offset };
        size_t left = message_filter_body(data, parts.body_size, is_at_offset, &asked);
        struct message message;
        size_t size;
        ck_assert_uint_eq(asked.n, 7);
        ck_assert_int_eq(message_decode(data, left, &message, &size), MESSAGE_OK);
        ck_assert_uint_eq(size, left);
        ck_assert_int_eq(message.queue_offset, offset);
        free(data);
    }
    golden_free(golden);
}
END_TEST

START_TEST(what_is_cut_off_or_no_message_stays)
{
    struct golden *golden = golden_load();
    const struct golden_frame *frame = golden_find(golden, "pull_message_found.json.response.bin");
    struct frame_parts parts;
    frame_split(frame->data, frame->size, &parts);
    for (size_t n = 0; n < parts.body_size; n++) {
        uint8_t *data = golden_copy(parts.body, n);
        size_t n_asked = 0;
        size_t n_whole = 0;
        size_t at = 0;
        struct message message;
        size_t size;
        while (at < n && message_decode(data + at, n - at, &message, &size) == MESSAGE_OK) {
            at += size;
            n_whole++;
        }
        size_t left = message_filter_body(data, n, is_never, &n_asked);
        assert_often(left == n - at && n_asked == n_whole);
        assert_often(memcmp(data, parts.body + at, left) == 0);
        free(data);
    }
    golden_free(golden);
}
END_TEST

int main(void)
{
    TCase *filter = tcase_create("filter");
    tcase_add_test(filter, only_expressions_of_tags_are_looked_at_again);
    tcase_add_test(filter, a_message_is_wanted_for_its_tag_and_not_for_the_hash_of_it);
    tcase_add_test(filter, an_inner_batch_passes_whatever_its_tag);
    tcase_add_test(filter, a_key_is_one_of_the_words_of_keys);
    tcase_add_test(filter, a_body_keeps_the_messages_that_are_wanted_as_they_stand);
    tcase_add_test(filter, what_is_cut_off_or_no_message_stays);
    Suite *suite = suite_create("message_filter");
    suite_add_tcase(suite, filter);
    return run_suite(suite);
}
