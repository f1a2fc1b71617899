#include "daemon/core/pending_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/run_suite.h"

#define BROKER    UINT64_C(7)
#define OTHER     UINT64_C(8)
#define START_MS  UINT64_C(1000000)
#define MINUTE_MS 60000

/* The table hands requests back and looks at none: addresses of bytes will do. */
static char requests[PENDING_TABLE_CAPACITY_MAX];

static struct pending_request *request_at(size_t i)
{
    return (struct pending_request *)(void *)&requests[i];
}

static struct pending_table table;

static int32_t put(uint64_t upstream_id, size_t i, uint64_t now_ms)
{
    int32_t opaque;
    assert_often(pending_table_put(&table, upstream_id, request_at(i), now_ms, &opaque) == 0);
    return opaque;
}

static void assert_full(uint64_t now_ms)
{
    int32_t opaque = 4711;
    assert_often(pending_table_put(&table, BROKER, request_at(0), now_ms, &opaque) == -ENOBUFS);
    assert_often(opaque == 4711);
}

static void assert_taken(uint64_t upstream_id, int32_t opaque, size_t i)
{
    struct pending_request *request = NULL;
    assert_often(pending_table_take(&table, upstream_id, opaque, &request) == PENDING_TAKEN);
    assert_often(request == request_at(i));
}

static void assert_not_taken(enum pending_take expected, uint64_t upstream_id, int32_t opaque)
{
    struct pending_request *untouched = request_at(99);
    struct pending_request *request = untouched;
    assert_often(pending_table_take(&table, upstream_id, opaque, &request) == expected);
    assert_often(request == untouched);
}

START_TEST(response_takes_its_request_once)
{
    pending_table_init(&table, 10, 0);
    int32_t opaque = put(BROKER, 3, START_MS);
    ck_assert_uint_eq(table.n_pending, 1);
    assert_taken(BROKER, opaque, 3);
    ck_assert_uint_eq(table.n_pending, 0);
    assert_not_taken(PENDING_UNKNOWN, BROKER, opaque);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(opaque_is_generation_and_slot)
{
    pending_table_init(&table, 3, 0x1234);
    ck_assert_int_eq(put(BROKER, 0, START_MS), 0x12340000);
    ck_assert_int_eq(put(BROKER, 1, START_MS), 0x12340001);
    ck_assert_int_eq(put(BROKER, 2, START_MS), 0x12340002);
    assert_taken(BROKER, 0x12340001, 1);
    ck_assert_int_eq(put(BROKER, 1, START_MS), 0x12350001);
    assert_taken(BROKER, 0x12350001, 1);
    assert_taken(BROKER, 0x12340000, 0);
    assert_taken(BROKER, 0x12340002, 2);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(slots_are_reused_in_the_order_in_which_they_became_free)
{
    pending_table_init(&table, 5, 0);
    int32_t opaques[5];
    for (size_t i = 0; i < 5; i++) {
        opaques[i] = put(BROKER, i, START_MS);
    }
    const size_t order[] = { 3, 0, 4, 1, 2 };
    for (size_t i = 0; i < 5; i++) {
        assert_taken(BROKER, opaques[order[i]], order[i]);
    }
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(put(BROKER, i, START_MS), 1 << 16 | (int32_t)order[i]);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_taken(BROKER, 1 << 16 | (int32_t)order[i], i);
    }
    pending_table_deinit(&table);
}
END_TEST

START_TEST(response_on_another_connection_takes_nothing)
{
    pending_table_init(&table, 10, 0);
    int32_t opaque = put(BROKER, 1, START_MS);
    assert_not_taken(PENDING_UNKNOWN, OTHER, opaque);
    assert_taken(BROKER, opaque, 1);
    opaque = put(BROKER, 1, START_MS);
    pending_table_abandon(&table, opaque, START_MS);
    assert_not_taken(PENDING_UNKNOWN, OTHER, opaque);
    assert_not_taken(PENDING_LATE, BROKER, opaque);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(response_of_another_generation_takes_nothing)
{
    pending_table_init(&table, 1, 5);
    int32_t opaque = put(BROKER, 1, START_MS);
    assert_not_taken(PENDING_UNKNOWN, BROKER, opaque + 0x10000);
    assert_not_taken(PENDING_UNKNOWN, BROKER, opaque - 0x10000);
    assert_taken(BROKER, opaque, 1);
    int32_t again = put(BROKER, 2, START_MS);
    assert_not_taken(PENDING_UNKNOWN, BROKER, opaque);
    assert_taken(BROKER, again, 2);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(opaque_that_was_never_handed_out_is_unknown)
{
    const int32_t opaques[] = { 0, 1, 10, 65534, 65535, -1, INT32_MAX, INT32_MIN };
    pending_table_init(&table, 10, 0);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(opaques) / sizeof(opaques[0]); i++) {
            assert_not_taken(PENDING_UNKNOWN, BROKER, opaques[i]);
        }
        /* Then with slots, of which the first is free again and another was used. */
        if (round == 0) {
            assert_taken(BROKER, put(BROKER, 0, START_MS), 0);
        }
    }
    assert_not_taken(PENDING_UNKNOWN, 0, 1); /* a slot that never had an upstream */
    pending_table_deinit(&table);
}
END_TEST

START_TEST(late_response_is_late_once_and_frees_the_slot)
{
    pending_table_init(&table, 2, 0);
    int32_t opaque = put(BROKER, 1, START_MS);
    pending_table_abandon(&table, opaque, START_MS);
    ck_assert_uint_eq(table.n_pending, 0);
    int32_t other = put(BROKER, 2, START_MS); /* not the slot in quarantine */
    ck_assert_int_eq(other, 1);
    assert_not_taken(PENDING_LATE, BROKER, opaque);
    assert_not_taken(PENDING_UNKNOWN, BROKER, opaque);
    ck_assert_int_eq(put(BROKER, 3, START_MS), opaque + 0x10000);
    assert_full(START_MS);
    assert_taken(BROKER, opaque + 0x10000, 3);
    assert_taken(BROKER, other, 2);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(full_table_takes_the_slot_that_is_in_quarantine_for_longest)
{
    pending_table_init(&table, 3, 0);
    int32_t opaques[3];
    for (size_t i = 0; i < 3; i++) {
        opaques[i] = put(BROKER, i, START_MS);
    }
    pending_table_abandon(&table, opaques[2], START_MS);
    pending_table_abandon(&table, opaques[0], START_MS + 1000);
    int32_t third = put(OTHER, 4, START_MS + 2000);
    ck_assert_int_eq(third, opaques[2] + 0x10000);
    assert_not_taken(PENDING_UNKNOWN, BROKER, opaques[2]); /* its answer finds nothing now */
    int32_t first = put(OTHER, 5, START_MS + 2000);
    ck_assert_int_eq(first, opaques[0] + 0x10000);
    assert_full(START_MS + 2000);
    assert_taken(BROKER, opaques[1], 1);
    assert_taken(OTHER, third, 4);
    assert_taken(OTHER, first, 5);
    pending_table_deinit(&table);
}
END_TEST

/* Whatever millisecond of its second the request was abandoned in. */
START_TEST(quarantine_lasts_two_minutes_and_at_most_a_second_more)
{
    for (uint64_t start_ms = START_MS; start_ms < START_MS + 2000; start_ms += 13) {
        pending_table_init(&table, 2, 0);
        pending_table_abandon(&table, put(BROKER, 1, start_ms), start_ms);
        int32_t opaque = put(BROKER, 2, start_ms + 2 * MINUTE_MS - 1);
        assert_often(opaque == 1 && table.quarantined.n == 1);
        assert_taken(BROKER, opaque, 2);
        opaque = put(BROKER, 2, start_ms + 2 * MINUTE_MS + 1000);
        assert_often(opaque == 0x10001 && table.quarantined.n == 0);
        assert_taken(BROKER, opaque, 2);
        pending_table_deinit(&table);
    }
}
END_TEST

START_TEST(response_after_the_quarantine_is_unknown)
{
    pending_table_init(&table, 1, 0);
    int32_t opaque = put(BROKER, 1, START_MS);
    pending_table_abandon(&table, opaque, START_MS);
    int32_t again = put(BROKER, 2, START_MS + 3 * MINUTE_MS);
    assert_not_taken(PENDING_UNKNOWN, BROKER, opaque);
    assert_taken(BROKER, again, 2);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(end_of_a_connection_frees_its_quarantined_slots_and_no_others)
{
    pending_table_init(&table, 5, 0);
    int32_t opaques[5];
    for (size_t i = 0; i < 5; i++) {
        opaques[i] = put(i % 2 ? OTHER : BROKER, i, START_MS);
    }
    for (size_t i = 0; i < 4; i++) {
        pending_table_abandon(&table, opaques[i], START_MS);
    }
    pending_table_forget_upstream(&table, BROKER); /* 0 and 2; 4 is pending still */
    assert_not_taken(PENDING_UNKNOWN, BROKER, opaques[0]);
    ck_assert_int_eq(put(OTHER, 0, START_MS), 0x10000);
    ck_assert_int_eq(put(OTHER, 2, START_MS), 0x10002);
    assert_not_taken(PENDING_LATE, OTHER, opaques[1]);
    assert_not_taken(PENDING_LATE, OTHER, opaques[3]);
    assert_taken(BROKER, opaques[4], 4);
    assert_taken(OTHER, 0x10000, 0);
    assert_taken(OTHER, 0x10002, 2);
    pending_table_deinit(&table);
}
END_TEST

static const size_t capacities[] = { 1, 2, 1023, 1024, 1025, 3000, PENDING_TABLE_CAPACITY_MAX };

START_TEST(table_takes_its_capacity_and_no_more)
{
    const size_t capacity = capacities[_i];
    static int32_t opaques[PENDING_TABLE_CAPACITY_MAX];
    static bool is_used[65536];
    memset(is_used, 0, sizeof(is_used));
    pending_table_init(&table, capacity, 3);
    for (size_t i = 0; i < capacity; i++) {
        opaques[i] = put(BROKER, i, START_MS);
        uint16_t slot = (uint16_t)((uint32_t)opaques[i] & 0xffff);
        assert_often(slot != 65535);
        assert_often(!is_used[slot]);
        is_used[slot] = true;
    }
    assert_full(START_MS);
    ck_assert_uint_eq(table.n_pending, capacity);
    for (size_t i = 0; i < capacity; i++) {
        assert_taken(BROKER, opaques[i], i);
    }
    ck_assert_uint_eq(table.n_pending, 0);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(requests_survive_the_growing_of_the_table)
{
    pending_table_init(&table, 5000, 0);
    int32_t abandoned = put(BROKER, 0, START_MS);
    int32_t kept = put(OTHER, 1, START_MS);
    pending_table_abandon(&table, abandoned, START_MS);
    static int32_t opaques[4998];
    for (size_t i = 0; i < 4998; i++) {
        opaques[i] = put(BROKER, i + 2, START_MS);
    }
    assert_not_taken(PENDING_LATE, BROKER, abandoned);
    assert_taken(OTHER, kept, 1);
    for (size_t i = 0; i < 4998; i++) {
        assert_taken(BROKER, opaques[i], i + 2);
    }
    pending_table_deinit(&table);
}
END_TEST

START_TEST(opaque_goes_below_zero_behind_the_largest_generation)
{
    pending_table_init(&table, 1, 0x7fff);
    int32_t positive = put(BROKER, 1, START_MS);
    ck_assert_int_eq(positive, 0x7fff0000);
    assert_taken(BROKER, positive, 1);
    int32_t negative = put(BROKER, 2, START_MS);
    ck_assert_int_eq(negative, INT32_MIN);
    assert_not_taken(PENDING_UNKNOWN, BROKER, positive);
    pending_table_abandon(&table, negative, START_MS);
    assert_not_taken(PENDING_LATE, BROKER, negative);
    int32_t next = put(BROKER, 3, START_MS);
    ck_assert_int_eq(next, INT32_MIN + 0x10000);
    assert_taken(BROKER, next, 3);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(generations_begin_again_behind_the_last)
{
    pending_table_init(&table, 1, 0xffff);
    int32_t last = put(BROKER, 1, START_MS);
    ck_assert_int_eq(last, -0x10000);
    assert_taken(BROKER, last, 1);
    int32_t first = put(BROKER, 2, START_MS);
    ck_assert_int_eq(first, 0);
    assert_not_taken(PENDING_UNKNOWN, BROKER, last);
    assert_taken(BROKER, first, 2);
    pending_table_deinit(&table);
}
END_TEST

START_TEST(response_to_a_oneway_request_matches_nothing)
{
    const uint16_t generations[] = { 0, 0x7fff, 0x8000, 0xffff };
    for (size_t i = 0; i < 4; i++) {
        pending_table_init(&table, PENDING_TABLE_CAPACITY_MAX, generations[i]);
        static int32_t opaques[PENDING_TABLE_CAPACITY_MAX];
        for (size_t j = 0; j < PENDING_TABLE_CAPACITY_MAX; j++) {
            opaques[j] = put(BROKER, j, START_MS);
            assert_often(opaques[j] != pending_table_oneway_opaque(&table));
        }
        assert_not_taken(PENDING_UNKNOWN, BROKER, pending_table_oneway_opaque(&table));
        for (size_t j = 0; j < PENDING_TABLE_CAPACITY_MAX; j++) {
            assert_taken(BROKER, opaques[j], j);
        }
        pending_table_deinit(&table);
    }
}
END_TEST

/*
 * The model: every opaque that was ever handed out, with its slot, and the slots that are free and
 * quarantined as plain queues. It knows beforehand what each call has to answer.
 */
#define MODEL_CAPACITY  24
#define MODEL_UPSTREAMS 4

enum model_state { MODEL_FREE, MODEL_PENDING, MODEL_QUARANTINED };

struct model_slot {
    enum model_state state;
    uint16_t generation;
    uint64_t upstream_id;
    uint64_t since_ms;
};

static struct model_slot slots[MODEL_CAPACITY];

struct model_queue {
    unsigned slots[MODEL_CAPACITY];
    size_t n;
};

static struct model_queue free_queue, quarantine_queue;

static void queue_push(struct model_queue *queue, unsigned slot)
{
    queue->slots[queue->n++] = slot;
}

static void queue_remove(struct model_queue *queue, size_t at)
{
    queue->n--;
    for (; at < queue->n; at++) {
        queue->slots[at] = queue->slots[at + 1];
    }
}

static void model_release(unsigned slot)
{
    slots[slot].state = MODEL_FREE;
    slots[slot].generation++;
    queue_push(&free_queue, slot);
}

static void model_leave_quarantine(size_t at)
{
    unsigned slot = quarantine_queue.slots[at];
    queue_remove(&quarantine_queue, at);
    model_release(slot);
}

static int32_t model_opaque(unsigned slot)
{
    return (int32_t)((uint32_t)slots[slot].generation << 16 | slot);
}

/* Times in the model are whole seconds, where the quarantine is exact. */
static void model_put(uint64_t upstream_id, uint64_t now_ms)
{
    while (quarantine_queue.n > 0 &&
           now_ms - slots[quarantine_queue.slots[0]].since_ms >= PENDING_QUARANTINE_MS) {
        model_leave_quarantine(0);
    }
    if (free_queue.n == 0 && quarantine_queue.n > 0) {
        model_leave_quarantine(0); /* there is need */
    }
    if (free_queue.n == 0) {
        assert_full(now_ms);
        return;
    }
    unsigned slot = free_queue.slots[0];
    queue_remove(&free_queue, 0);
    slots[slot].state = MODEL_PENDING;
    slots[slot].upstream_id = upstream_id;
    assert_often(put(upstream_id, slot, now_ms) == model_opaque(slot));
}

static void model_take(uint64_t upstream_id, unsigned slot, bool is_stale)
{
    int32_t opaque = (int32_t)((uint32_t)model_opaque(slot) - (is_stale ? 0x10000u : 0u));
    if (is_stale || slots[slot].upstream_id != upstream_id || slots[slot].state == MODEL_FREE) {
        assert_not_taken(PENDING_UNKNOWN, upstream_id, opaque);
    } else if (slots[slot].state == MODEL_PENDING) {
        assert_taken(upstream_id, opaque, slot);
        model_release(slot);
    } else {
        assert_not_taken(PENDING_LATE, upstream_id, opaque);
        for (size_t at = 0; at < quarantine_queue.n; at++) {
            if (quarantine_queue.slots[at] == slot) {
                model_leave_quarantine(at);
                return;
            }
        }
        ck_abort_msg("the model lost a slot");
    }
}

static void model_abandon(unsigned slot, uint64_t now_ms)
{
    if (slots[slot].state == MODEL_PENDING) {
        pending_table_abandon(&table, model_opaque(slot), now_ms);
        slots[slot].state = MODEL_QUARANTINED;
        slots[slot].since_ms = now_ms;
        queue_push(&quarantine_queue, slot);
    }
}

static void model_end_connection(uint64_t upstream_id)
{
    for (unsigned slot = 0; slot < MODEL_CAPACITY; slot++) {
        if (slots[slot].state == MODEL_PENDING && slots[slot].upstream_id == upstream_id) {
            model_take(upstream_id, slot, false);
        }
    }
    pending_table_forget_upstream(&table, upstream_id);
    for (size_t at = 0; at < quarantine_queue.n;) {
        if (slots[quarantine_queue.slots[at]].upstream_id == upstream_id) {
            model_leave_quarantine(at);
        } else {
            at++;
        }
    }
}

static void model_check(void)
{
    size_t n_pending = 0;
    for (unsigned slot = 0; slot < MODEL_CAPACITY; slot++) {
        n_pending += slots[slot].state == MODEL_PENDING;
    }
    assert_often(table.n_pending == n_pending);
    assert_often(n_pending + free_queue.n + quarantine_queue.n == MODEL_CAPACITY);
}

static uint32_t draw(uint32_t *random, uint32_t n)
{
    *random = *random * 1664525 + 1013904223;
    return (*random >> 8) % n;
}

START_TEST(table_does_what_the_plain_model_does)
{
    const uint16_t first_generation = _i == 0 ? 0x7fff : (uint16_t)(0xfff0 + _i);
    uint32_t random = (uint32_t)_i + 1;
    uint64_t now_ms = START_MS;
    pending_table_init(&table, MODEL_CAPACITY, first_generation);
    /* With CK_FORK=no the model still has what the last round left. */
    free_queue.n = 0;
    quarantine_queue.n = 0;
    for (unsigned slot = 0; slot < MODEL_CAPACITY; slot++) {
        slots[slot] = (struct model_slot){ .generation = first_generation };
        queue_push(&free_queue, slot);
    }
    for (int step = 0; step < 100000; step++) {
        uint64_t upstream_id = draw(&random, MODEL_UPSTREAMS) + 1;
        unsigned slot = draw(&random, MODEL_CAPACITY);
        uint32_t action = draw(&random, 100);
        if (action < 45) {
            model_put(upstream_id, now_ms);
        } else if (action < 60) {
            model_take(slots[slot].upstream_id, slot, false);
        } else if (action < 65) {
            model_take(upstream_id, slot, false);
        } else if (action < 70) {
            model_take(slots[slot].upstream_id, slot, true);
        } else if (action < 85) {
            model_abandon(slot, now_ms);
        } else if (action < 86) {
            model_end_connection(upstream_id);
        } else {
            now_ms += draw(&random, 20) * UINT64_C(1000);
        }
        model_check();
    }
    for (uint64_t upstream_id = 1; upstream_id <= MODEL_UPSTREAMS; upstream_id++) {
        model_end_connection(upstream_id);
    }
    ck_assert_uint_eq(free_queue.n, MODEL_CAPACITY);
    pending_table_deinit(&table);
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *take = tcase_create("take");
    tcase_add_test(take, response_takes_its_request_once);
    tcase_add_test(take, opaque_is_generation_and_slot);
    tcase_add_test(take, slots_are_reused_in_the_order_in_which_they_became_free);
    tcase_add_test(take, response_on_another_connection_takes_nothing);
    tcase_add_test(take, response_of_another_generation_takes_nothing);
    tcase_add_test(take, opaque_that_was_never_handed_out_is_unknown);
    tcase_add_test(take, opaque_goes_below_zero_behind_the_largest_generation);
    tcase_add_test(take, generations_begin_again_behind_the_last);
    TCase *quarantine = tcase_create("quarantine");
    tcase_add_test(quarantine, late_response_is_late_once_and_frees_the_slot);
    tcase_add_test(quarantine, full_table_takes_the_slot_that_is_in_quarantine_for_longest);
    tcase_add_test(quarantine, quarantine_lasts_two_minutes_and_at_most_a_second_more);
    tcase_add_test(quarantine, response_after_the_quarantine_is_unknown);
    tcase_add_test(quarantine, end_of_a_connection_frees_its_quarantined_slots_and_no_others);
    TCase *size = tcase_create("size");
    tcase_set_timeout(size, 60);
    tcase_add_loop_test(size, table_takes_its_capacity_and_no_more, 0, N(capacities));
    tcase_add_test(size, requests_survive_the_growing_of_the_table);
    tcase_add_test(size, response_to_a_oneway_request_matches_nothing);
    TCase *model = tcase_create("model");
    tcase_set_timeout(model, 60);
    tcase_add_loop_test(model, table_does_what_the_plain_model_does, 0, 6);
    Suite *suite = suite_create("pending_table");
    suite_add_tcase(suite, take);
    suite_add_tcase(suite, quarantine);
    suite_add_tcase(suite, size);
    suite_add_tcase(suite, model);
    return run_suite(suite);
}
