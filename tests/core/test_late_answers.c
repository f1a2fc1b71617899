/*
 * The pending table and the deadline wheel together, as a connection uses them: answers that come
 * before, with and after the deadlines of their requests, by the hundred thousand, with a manual
 * clock.
 */
#include "daemon/core/deadline_wheel.h"
#include "daemon/core/pending_table.h"

#include <stdlib.h>

#include "tests/support/run_suite.h"

#define BROKER      UINT64_C(7)
#define N_REQUESTS  100000
#define N_EACH_MS   20 /* requests begun: pending and quarantined ones together fit the table */
#define TIMEOUT_MS  1000
#define ANSWER_MS   (2 * TIMEOUT_MS)
#define DURATION_MS (N_REQUESTS / N_EACH_MS + ANSWER_MS + DEADLINE_SLOT_MS)
#define START_MS    UINT64_C(1000000)
#define NO_REQUEST  UINT32_MAX

struct waiting {
    struct deadline deadline;
    int32_t opaque;
    uint32_t next_answer; /* of those that come in the same millisecond */
    unsigned n_answered;
    unsigned n_timed_out;
};

static struct pending_table table;
static struct deadline_wheel wheel;
static struct waiting *requests;
static uint32_t first_answer[DURATION_MS];
static uint32_t seed = 1;

static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static void on_deadline(struct deadline *deadline, uint64_t now_ms)
{
    struct waiting *request = (struct waiting *)(void *)deadline;
    assert_often(now_ms >= deadline->at_ms && now_ms - deadline->at_ms <= DEADLINE_SLOT_MS);
    request->n_timed_out++;
    pending_table_abandon(&table, request->opaque, now_ms);
}

static void begin(uint32_t i, uint64_t now_ms, uint32_t delay_ms)
{
    struct waiting *request = &requests[i];
    deadline_init(&request->deadline, on_deadline);
    assert_often(pending_table_put(&table, BROKER, (struct pending_request *)(void *)request,
                     now_ms, &request->opaque) == 0);
    deadline_set(&wheel, &request->deadline, now_ms + TIMEOUT_MS);
    uint32_t *first = &first_answer[now_ms - START_MS + delay_ms];
    request->next_answer = *first;
    *first = i;
}

/* The answer to a request: its own caller gets it, or nobody. */
static void answer(struct waiting *request, size_t *n_late)
{
    struct pending_request *taken = NULL;
    enum pending_take take = pending_table_take(&table, BROKER, request->opaque, &taken);
    if (take == PENDING_TAKEN) {
        assert_often(taken == (struct pending_request *)(void *)request);
        deadline_clear(&wheel, &request->deadline);
        request->n_answered++;
    } else {
        assert_often(take == PENDING_LATE);
        assert_often(request->n_timed_out == 1);
        (*n_late)++;
    }
}

/* Each request is answered delay() after it began. */
static void run(uint16_t first_generation, uint32_t (*delay)(void))
{
    size_t n_late = 0;
    size_t n_answered = 0;
    size_t n_timed_out = 0;
    requests = calloc(N_REQUESTS, sizeof(*requests));
    ck_assert_ptr_nonnull(requests);
    pending_table_init(&table, PENDING_TABLE_CAPACITY_MAX, first_generation);
    deadline_wheel_init(&wheel, START_MS);
    for (size_t i = 0; i < DURATION_MS; i++) {
        first_answer[i] = NO_REQUEST;
    }
    uint32_t n_begun = 0;
    for (uint64_t ms = 0; ms < DURATION_MS; ms++) {
        for (size_t i = 0; i < N_EACH_MS && n_begun < N_REQUESTS; i++) {
            begin(n_begun, START_MS + ms, delay());
            n_begun++;
        }
        /* What came is handed out before deadlines are looked at, or the other way round. */
        if (draw(2) == 0) {
            (void)deadline_wheel_expire(&wheel, START_MS + ms);
        }
        for (uint32_t i = first_answer[ms]; i != NO_REQUEST; i = requests[i].next_answer) {
            answer(&requests[i], &n_late);
        }
        (void)deadline_wheel_expire(&wheel, START_MS + ms);
    }
    for (size_t i = 0; i < N_REQUESTS; i++) {
        assert_often(requests[i].n_answered + requests[i].n_timed_out == 1);
        n_answered += requests[i].n_answered;
        n_timed_out += requests[i].n_timed_out;
    }
    ck_assert_uint_eq(n_answered + n_timed_out, N_REQUESTS);
    ck_assert_uint_eq(n_late, n_timed_out);
    ck_assert_uint_gt(n_answered, N_REQUESTS / 4);
    ck_assert_uint_gt(n_timed_out, N_REQUESTS / 4);
    ck_assert_uint_eq(table.n_pending, 0);
    ck_assert_uint_eq(wheel.n, 0);
    pending_table_deinit(&table);
    free(requests);
}

static uint32_t up_to_twice_the_timeout(void)
{
    return draw(ANSWER_MS);
}

/* Between the timeout and the slot of the wheel in which it is noticed. */
static uint32_t about_the_timeout(void)
{
    return TIMEOUT_MS - 1 + draw(DEADLINE_SLOT_MS + 1);
}

START_TEST(
    a_hundred_thousand_answers_up_to_twice_the_deadline_late_reach_their_own_callers_or_nobody)
{
    run(0, up_to_twice_the_timeout);
}
END_TEST

START_TEST(the_same_where_opaques_go_below_zero)
{
    run(0x7fff, up_to_twice_the_timeout);
}
END_TEST

START_TEST(a_hundred_thousand_answers_in_the_moment_of_their_deadline_have_one_outcome_each)
{
    run(0xffff, about_the_timeout);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core/late_answers");
    TCase *tcase = tcase_create("late_answers");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase,
        a_hundred_thousand_answers_up_to_twice_the_deadline_late_reach_their_own_callers_or_nobody);
    tcase_add_test(tcase, the_same_where_opaques_go_below_zero);
    tcase_add_test(
        tcase, a_hundred_thousand_answers_in_the_moment_of_their_deadline_have_one_outcome_each);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
