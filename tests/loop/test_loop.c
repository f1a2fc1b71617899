#include "daemon/loop/loop.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/run_suite.h"

static struct loop loop;
static char story[256]; /* what was called, a letter each */

static void note(char letter)
{
    size_t n = strlen(story);
    ck_assert_uint_lt(n + 1, sizeof(story));
    story[n] = letter;
    story[n + 1] = '\0';
}

/* Something that is flushed, reaped and has a deadline. */
struct thing {
    struct loop_dirty dirty; /* first */
    struct loop_reapable reapable;
    struct deadline deadline;
    char letter;
    struct thing *marks;   /* marked dirty when this is flushed */
    struct thing *forgets; /* forgotten then */
    struct thing *reaps;   /* handed to the reaper when this is reaped */
};

static void on_flush(struct loop_dirty *dirty)
{
    struct thing *thing = (struct thing *)(void *)dirty;
    ck_assert(!dirty->is_dirty);
    note(thing->letter);
    if (thing->marks) {
        loop_mark_dirty(&loop, &thing->marks->dirty);
        thing->marks = NULL;
    }
    if (thing->forgets) {
        loop_forget_dirty(&loop, &thing->forgets->dirty);
    }
}

static void on_reap(struct loop_reapable *reapable)
{
    struct thing *thing =
        (struct thing *)(void *)((char *)reapable - offsetof(struct thing, reapable));
    note((char)(thing->letter - 'a' + 'A'));
    if (thing->reaps) {
        loop_reap(&loop, &thing->reaps->reapable, on_reap);
    }
}

static void on_turn(void *context)
{
    (void)context;
    note('.');
    loop_stop(&loop);
}

static void begin(void)
{
    ck_assert_int_eq(loop_init(&loop), 0);
    loop.on_turn = on_turn;
    story[0] = '\0';
}

static struct thing thing_of(char letter)
{
    return (struct thing){ .letter = letter, .dirty.on_flush = on_flush };
}

START_TEST(dirty_one_is_flushed_once_however_often_it_is_marked)
{
    struct thing a = thing_of('a');
    begin();
    loop_mark_dirty(&loop, &a.dirty);
    loop_mark_dirty(&loop, &a.dirty);
    loop_finish(&loop);
    ck_assert_str_eq(story, "a");
    loop_finish(&loop);
    ck_assert_str_eq(story, "a");
    loop_mark_dirty(&loop, &a.dirty);
    loop_finish(&loop);
    ck_assert_str_eq(story, "aa");
    loop_deinit(&loop);
}
END_TEST

START_TEST(all_dirty_ones_are_flushed)
{
    struct thing things[26];
    begin();
    for (size_t i = 0; i < 26; i++) {
        things[i] = thing_of((char)('a' + i));
        loop_mark_dirty(&loop, &things[i].dirty);
    }
    loop_finish(&loop);
    ck_assert_uint_eq(strlen(story), 26);
    for (char letter = 'a'; letter <= 'z'; letter++) {
        ck_assert_ptr_nonnull(strchr(story, letter));
    }
    loop_deinit(&loop);
}
END_TEST

START_TEST(flush_may_mark_others_and_itself)
{
    struct thing a = thing_of('a');
    struct thing b = thing_of('b');
    begin();
    a.marks = &b;
    b.marks = &b;
    loop_mark_dirty(&loop, &a.dirty);
    loop_finish(&loop);
    ck_assert_str_eq(story, "abb");
    loop_deinit(&loop);
}
END_TEST

START_TEST(forgotten_one_is_not_flushed_wherever_it_stands)
{
    for (size_t forgotten = 0; forgotten < 3; forgotten++) {
        struct thing things[] = { thing_of('a'), thing_of('b'), thing_of('c') };
        begin();
        for (size_t i = 0; i < 3; i++) {
            loop_mark_dirty(&loop, &things[i].dirty);
        }
        loop_forget_dirty(&loop, &things[forgotten].dirty);
        loop_forget_dirty(&loop, &things[forgotten].dirty);
        loop_finish(&loop);
        ck_assert_uint_eq(strlen(story), 2);
        ck_assert_ptr_null(strchr(story, things[forgotten].letter));
        loop_mark_dirty(&loop, &things[forgotten].dirty); /* it may come again */
        loop_finish(&loop);
        ck_assert_ptr_nonnull(strchr(story, things[forgotten].letter));
        loop_deinit(&loop);
    }
}
END_TEST

START_TEST(flush_may_forget_another_that_is_due)
{
    struct thing a = thing_of('a');
    struct thing b = thing_of('b');
    begin();
    a.forgets = &b;
    b.forgets = &a;
    loop_mark_dirty(&loop, &a.dirty);
    loop_mark_dirty(&loop, &b.dirty);
    loop_finish(&loop);
    ck_assert_uint_eq(strlen(story), 1);
    loop_deinit(&loop);
}
END_TEST

static struct thing *marked_by_reap;

static void on_reap_that_marks(struct loop_reapable *reapable)
{
    on_reap(reapable);
    loop_mark_dirty(&loop, &marked_by_reap->dirty);
}

/* What is reaped may have had answers to give. */
START_TEST(what_the_reaper_marks_is_flushed_too)
{
    struct thing a = thing_of('a');
    struct thing b = thing_of('b');
    begin();
    marked_by_reap = &b;
    loop_reap(&loop, &a.reapable, on_reap_that_marks);
    loop_finish(&loop);
    ck_assert_str_eq(story, "Ab");
    loop_deinit(&loop);
}
END_TEST

START_TEST(reaper_comes_behind_the_flush_and_takes_what_is_handed_over_meanwhile)
{
    struct thing a = thing_of('a');
    struct thing b = thing_of('b');
    begin();
    a.reaps = &b;
    loop_reap(&loop, &a.reapable, on_reap);
    loop_mark_dirty(&loop, &b.dirty);
    loop_finish(&loop);
    ck_assert_str_eq(story, "bAB");
    loop_finish(&loop);
    ck_assert_str_eq(story, "bAB");
    loop_deinit(&loop);
}
END_TEST

static void on_deadline(struct deadline *deadline, uint64_t now_ms)
{
    struct thing *thing =
        (struct thing *)(void *)((char *)deadline - offsetof(struct thing, deadline));
    ck_assert_uint_ge(now_ms, deadline->at_ms);
    ck_assert_uint_eq(now_ms, loop.now_ms);
    note('!');
    loop_mark_dirty(&loop, &thing->dirty);
    loop_reap(&loop, &thing->reapable, on_reap);
}

START_TEST(turn_goes_from_deadlines_to_flushes_to_the_reaper_to_its_end)
{
    struct thing a = thing_of('a');
    begin();
    deadline_init(&a.deadline, on_deadline);
    loop_deadline_set(&loop, &a.deadline, loop.now_ms);
    while (!strchr(story, '!')) {
        loop_run(&loop); /* woken by the timer alone */
    }
    ck_assert_str_eq(strchr(story, '!'), "!aA.");
    loop_deinit(&loop);
}
END_TEST

START_TEST(cleared_deadline_does_not_wake_anybody)
{
    struct thing a = thing_of('a');
    struct thing b = thing_of('b');
    begin();
    deadline_init(&a.deadline, on_deadline);
    deadline_init(&b.deadline, on_deadline);
    loop_deadline_set(&loop, &a.deadline, loop.now_ms);
    loop_deadline_set(&loop, &b.deadline, loop.now_ms + 1);
    loop_deadline_clear(&loop, &a.deadline);
    while (!strchr(story, '!')) {
        loop_run(&loop);
    }
    ck_assert_str_eq(strchr(story, '!'), "!bB.");
    loop_deinit(&loop);
}
END_TEST

/* Chance is not tested, but that it is no constant and uses all its bits. */
START_TEST(random_numbers_use_every_bit)
{
    begin();
    uint32_t ones = 0;
    uint32_t zeros = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t random = loop_random(&loop);
        ones |= random;
        zeros |= ~random;
    }
    ck_assert_uint_eq(ones, UINT32_MAX);
    ck_assert_uint_eq(zeros, UINT32_MAX);
    loop_deinit(&loop);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("loop");
    tcase_add_test(tests, dirty_one_is_flushed_once_however_often_it_is_marked);
    tcase_add_test(tests, all_dirty_ones_are_flushed);
    tcase_add_test(tests, flush_may_mark_others_and_itself);
    tcase_add_test(tests, forgotten_one_is_not_flushed_wherever_it_stands);
    tcase_add_test(tests, flush_may_forget_another_that_is_due);
    tcase_add_test(tests, what_the_reaper_marks_is_flushed_too);
    tcase_add_test(tests, reaper_comes_behind_the_flush_and_takes_what_is_handed_over_meanwhile);
    tcase_add_test(tests, turn_goes_from_deadlines_to_flushes_to_the_reaper_to_its_end);
    tcase_add_test(tests, cleared_deadline_does_not_wake_anybody);
    tcase_add_test(tests, random_numbers_use_every_bit);
    Suite *suite = suite_create("loop");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
