#include "daemon/core/classic_queue.h"

#include "daemon/core/classic_receipt.h"
#include "tests/support/run_suite.h"

#include <string.h>

#define NOW_MS UINT64_C(1000000)

static struct classic_queue queue;

static void make(void)
{
    ck_assert(classic_queue_init(&queue, 100));
}

static void drop(void)
{
    classic_queue_deinit(&queue);
}

static void hand_out(int64_t first, int64_t last)
{
    for (int64_t offset = first; offset <= last; offset++) {
        classic_queue_hand_out(&queue, offset, NOW_MS + 1000);
    }
}

START_TEST(the_committed_offset_is_the_first_that_is_still_out)
{
    ck_assert_int_eq(classic_queue_committed(&queue), 100);
    hand_out(100, 104);
    ck_assert_int_eq(queue.next, 105);
    ck_assert(!classic_queue_acknowledge(&queue, 101));
    ck_assert(!classic_queue_acknowledge(&queue, 103));
    ck_assert_int_eq(classic_queue_committed(&queue), 100);
    ck_assert(classic_queue_acknowledge(&queue, 100));
    ck_assert_int_eq(classic_queue_committed(&queue), 102);
    ck_assert(classic_queue_acknowledge(&queue, 102));
    ck_assert_int_eq(classic_queue_committed(&queue), 104);
    ck_assert(classic_queue_acknowledge(&queue, 104));
    ck_assert_int_eq(classic_queue_committed(&queue), 105);
}
END_TEST

START_TEST(what_is_not_out_moves_nothing)
{
    hand_out(100, 101);
    ck_assert(!classic_queue_acknowledge(&queue, 99));
    ck_assert(!classic_queue_acknowledge(&queue, 102));
    ck_assert(classic_queue_acknowledge(&queue, 100));
    ck_assert(!classic_queue_acknowledge(&queue, 100));
    ck_assert_int_eq(classic_queue_committed(&queue), 101);
}
END_TEST

START_TEST(what_a_filter_leaves_out_holds_nothing_up)
{
    hand_out(102, 102);
    classic_queue_advance(&queue, 110);
    ck_assert_int_eq(classic_queue_committed(&queue), 102);
    ck_assert(classic_queue_acknowledge(&queue, 102));
    ck_assert_int_eq(classic_queue_committed(&queue), 110);
    classic_queue_advance(&queue, 105);
    ck_assert_int_eq(queue.next, 110);
}
END_TEST

START_TEST(a_message_comes_again_when_its_time_is_over_and_not_before)
{
    int64_t offset;
    hand_out(100, 102);
    ck_assert(!classic_queue_expired(&queue, NOW_MS + 999, &offset));
    ck_assert(classic_queue_delay(&queue, 100, NOW_MS + 5000));
    ck_assert(classic_queue_expired(&queue, NOW_MS + 1000, &offset));
    ck_assert_int_eq(offset, 101);
    classic_queue_hand_out(&queue, 101, NOW_MS + 3000);
    ck_assert_uint_eq(queue.n, 3);
    ck_assert(classic_queue_expired(&queue, NOW_MS + 1000, &offset));
    ck_assert_int_eq(offset, 102);
    ck_assert(!classic_queue_delay(&queue, 103, NOW_MS));
}
END_TEST

START_TEST(there_is_room_for_a_window_in_any_order)
{
    for (int64_t i = CLASSIC_WINDOW; i > 0; i--) {
        ck_assert_uint_eq(classic_queue_room(&queue), (size_t)i);
        classic_queue_hand_out(&queue, 100 + i, NOW_MS);
    }
    ck_assert_uint_eq(classic_queue_room(&queue), 0);
    for (size_t i = 1; i < queue.n; i++) {
        ck_assert_int_lt(queue.entries[i - 1].offset, queue.entries[i].offset);
    }
    classic_queue_hand_out(&queue, 101, NOW_MS + 1);
    ck_assert_uint_eq(queue.n, CLASSIC_WINDOW);
}
END_TEST

START_TEST(a_receipt_comes_back_as_it_was)
{
    const struct classic_receipt receipt = {
        .topic = SPAN("T"),
        .group = SPAN("G"),
        .broker_name = SPAN("broker-a"),
        .queue_id = 3,
        .offset = 4711,
    };
    char text[RECEIPT_TEXT_MAX];
    ck_assert_uint_gt(classic_receipt_encode(&receipt, text, sizeof(text)), 0);
    ck_assert_str_eq(text, "c1~T~G~broker-a~3~4711");
    struct classic_receipt decoded;
    ck_assert(classic_receipt_decode(span_of(text), &decoded));
    ck_assert(span_equals(decoded.topic, receipt.topic));
    ck_assert(span_equals(decoded.group, receipt.group));
    ck_assert(span_equals(decoded.broker_name, receipt.broker_name));
    ck_assert_int_eq(decoded.queue_id, 3);
    ck_assert_int_eq(decoded.offset, 4711);
}
END_TEST

static const char *const no_receipts[] = {
    "",
    "c1",
    "c1~T~G~B~0",
    "c1~T~G~B~0~1~2",
    "c2~T~G~B~0~1",
    "c1~T x~G~B~0~1",
    "c1~T~G~~0~1",
    "c1~T~G~B~-1~1",
    "c1~T~G~B~0~01",
    "c1~T~G~B~2147483648~1",
    "r1~T~G~B~0~0~0~0~0~0~0",
};

START_TEST(what_is_no_receipt_is_refused)
{
    struct classic_receipt receipt;
    ck_assert(!classic_receipt_decode(span_of(no_receipts[_i]), &receipt));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("classic_queue");
    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, the_committed_offset_is_the_first_that_is_still_out);
    tcase_add_test(tests, what_is_not_out_moves_nothing);
    tcase_add_test(tests, what_a_filter_leaves_out_holds_nothing_up);
    tcase_add_test(tests, a_message_comes_again_when_its_time_is_over_and_not_before);
    tcase_add_test(tests, there_is_room_for_a_window_in_any_order);
    tcase_add_test(tests, a_receipt_comes_back_as_it_was);
    tcase_add_loop_test(tests, what_is_no_receipt_is_refused, 0,
        (int)(sizeof(no_receipts) / sizeof(no_receipts[0])));
    Suite *suite = suite_create("classic_queue");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
