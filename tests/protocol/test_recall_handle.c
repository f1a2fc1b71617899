#include "protocol/recall_handle.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base64.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

/* What a broker 5.5.0 answered to a send with TIMER_DELAY_SEC. */
#define HANDLE                                                                                     \
    "djEgUS05Njc2LTEgYnJva2VyLWEgMTc5NTQzOTY2NDAwMSA3RjAwMDAwMTAwMDEwMDAwMDAwMDAwMDAwMDAwMDA3Nw=="

/* So far a beginning has no UNIQ_KEY yet: 34 bytes, in base64. */
#define UNIQ_KEY_AT 46

START_TEST(a_handle_names_its_topic_and_its_broker)
{
    struct recall_handle handle;
    ck_assert(recall_handle_decode(SPAN(HANDLE), &handle));
    ck_assert(span_equals_text(handle.topic, "Q-9676-1"));
    ck_assert(span_equals_text(handle.broker_name, "broker-a"));
}
END_TEST

START_TEST(the_alphabet_is_the_one_for_urls)
{
    /* "v1 T b\xc3\xbe\xc3\xbf 1 k>?": printf ... | base64 | tr '+/' '-_' */
    struct recall_handle handle;
    ck_assert(recall_handle_decode(SPAN("djEgVCBiw77DvyAxIGs-Pw=="), &handle));
    ck_assert(span_equals_text(handle.broker_name, "b\xc3\xbe\xc3\xbf"));
}
END_TEST

START_TEST(what_is_no_handle_is_refused)
{
    static const char *const contents[] = { "", "v1", "v1 T b 1", "v1 T b 1 k x", "v2 T b 1 k",
        "v1  b 1 k", "v1 T  1 k", " v1 T b 1 k", "v1 T b 1 k ", "v1 T b\xff 1 k" };
    struct recall_handle handle;
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        char *text = base64_encode(span_of(contents[i]));
        ck_assert_msg(!recall_handle_decode(span_of(text), &handle), "%s", contents[i]);
        free(text);
    }
    ck_assert(!recall_handle_decode(SPAN("xx"), &handle));
    ck_assert(!recall_handle_decode(SPAN("!!!!"), &handle));
    ck_assert(!recall_handle_decode(SPAN_ABSENT, &handle));
}
END_TEST

START_TEST(cut_or_endless_text_is_refused)
{
    struct recall_handle handle;
    const size_t n = strlen(HANDLE);
    for (size_t cut = 0; cut < UNIQ_KEY_AT; cut++) {
        char *copy = (char *)golden_copy((const uint8_t *)HANDLE, cut);
        ck_assert(!recall_handle_decode((struct span){ copy, cut }, &handle));
        free(copy);
    }
    ck_assert(recall_handle_decode((struct span){ HANDLE, n }, &handle));
    char endless[4 * RECALL_HANDLE_MAX];
    memset(endless, 'A', sizeof(endless));
    ck_assert(!recall_handle_decode((struct span){ endless, sizeof(endless) }, &handle));
}
END_TEST

int main(void)
{
    TCase *handle = tcase_create("handle");
    tcase_add_test(handle, a_handle_names_its_topic_and_its_broker);
    tcase_add_test(handle, the_alphabet_is_the_one_for_urls);
    tcase_add_test(handle, what_is_no_handle_is_refused);
    tcase_add_test(handle, cut_or_endless_text_is_refused);
    Suite *suite = suite_create("recall_handle");
    suite_add_tcase(suite, handle);
    return run_suite(suite);
}
