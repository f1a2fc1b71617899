#include "daemon/loop/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/run_suite.h"

#define PLENTY (64u << 20)

static struct memory memory;
static struct output output;
static int fds[2];         /* what is written to the first is read from the second */
static uint32_t n_written; /* the stream is the bytes of pattern_at() */

static uint8_t pattern_at(size_t i)
{
    return (uint8_t)(i * 131 + (i >> 8) * 7 + (i >> 16));
}

static void begin(void)
{
    memory_init(&memory, PLENTY);
    output_init(&output, &memory);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    n_written = 0;
}

static void end(void)
{
    output_deinit(&output);
    ck_assert_uint_eq(output.size, 0);
    ck_assert_uint_eq(memory.used, 0);
    memory_deinit(&memory);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void fill(uint8_t *data, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        data[i] = pattern_at(from + i);
    }
}

/* The next n bytes of the pattern, by copy. */
static void append_copied(size_t n)
{
    uint8_t *data = malloc(n + 1);
    fill(data, n_written, n);
    ck_assert_int_eq(output_append(&output, data, n, NULL), 0);
    free(data);
    n_written += (uint32_t)n;
}

/* The next n bytes of the pattern in a frame buffer, of which a reference is returned. */
static struct frame_buffer *append_framed(size_t n)
{
    struct frame_buffer *frame = frame_buffer_new(&memory, n + 10);
    ck_assert_ptr_nonnull(frame);
    fill(frame->data + 10, n_written, n);
    ck_assert_int_eq(output_append(&output, frame->data + 10, n, frame), 0);
    n_written += (uint32_t)n;
    return frame;
}

/* Reads at most n bytes, which have to go on with the pattern. */
static size_t read_some(size_t from, size_t n)
{
    static uint8_t data[1 << 16];
    ssize_t got = recv(fds[1], data, n < sizeof(data) ? n : sizeof(data), 0);
    if (got < 0) {
        ck_assert_int_eq(errno, EAGAIN);
        return 0;
    }
    for (size_t i = 0; i < (size_t)got; i++) {
        assert_often(data[i] == pattern_at(from + i));
    }
    return (size_t)got;
}

/* Writes and reads by turns until everything is through, the reader n bytes at a time. */
static unsigned write_all(size_t n_a_time)
{
    size_t n_read = 0;
    unsigned n_blocked = 0;
    enum output_status status;
    do {
        status = output_write(&output, fds[0]);
        assert_often(status != OUTPUT_FAILED);
        assert_often((status == OUTPUT_EMPTY) == (output.size == 0));
        n_blocked += status == OUTPUT_BLOCKED;
        n_read += read_some(n_read, n_a_time);
    } while (status == OUTPUT_BLOCKED);
    for (size_t n = 1; n > 0; n_read += n) {
        n = read_some(n_read, n_a_time);
    }
    ck_assert_uint_eq(n_read, n_written);
    return n_blocked;
}

START_TEST(a_free_list_hands_out_again_what_it_was_given_up_to_its_length)
{
    struct free_list list;
    void *taken[3];
    free_list_init(&list, 40, 2);
    for (size_t i = 0; i < 3; i++) {
        taken[i] = free_list_take(&list);
        memset(taken[i], 0xFF, 40);
    }
    for (size_t i = 0; i < 3; i++) {
        free_list_give(&list, taken[i]); /* the third goes back to the allocator */
    }
    ck_assert_uint_eq(list.n, 2);
    ck_assert_ptr_eq(free_list_take(&list), taken[1]);
    ck_assert_ptr_eq(free_list_take(&list), taken[0]);
    memset(taken[0], 0, 40);
    memset(taken[1], 0, 40);
    ck_assert_uint_eq(list.n, 0);
    free_list_give(&list, taken[0]);
    free_list_give(&list, taken[1]);
    free_list_deinit(&list);
    ck_assert_ptr_null(list.first);
}
END_TEST

START_TEST(nothing_to_write_is_written)
{
    begin();
    ck_assert_int_eq(output_write(&output, fds[0]), OUTPUT_EMPTY);
    append_copied(0);
    ck_assert_uint_eq(output.size, 0);
    ck_assert_int_eq(output_write(&output, fds[0]), OUTPUT_EMPTY);
    end();
}
END_TEST

START_TEST(small_pieces_share_blocks_and_arrive_in_order)
{
    begin();
    size_t sum = 0;
    for (size_t i = 0; i < 300; i++) {
        append_copied(i);
        sum += i;
        assert_often(output.size == sum);
    }
    ck_assert_uint_le(memory.used, (sum / OUTPUT_BLOCK_SIZE + 1) * OUTPUT_BLOCK_SIZE);
    ck_assert_uint_eq(write_all(1 << 16), 0);
    ck_assert_uint_eq(memory.used, 0);
    end();
}
END_TEST

START_TEST(reserved_room_is_in_one_piece)
{
    const size_t sizes[] = { 1, OUTPUT_BLOCK_SIZE - 10, 9, 10, 1, OUTPUT_BLOCK_SIZE,
        OUTPUT_BLOCK_SIZE + 1, 100000, 5 };
    begin();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *room = output_reserve(&output, sizes[i]);
        ck_assert_ptr_nonnull(room);
        fill(room, n_written, sizes[i]);
        n_written += (uint32_t)sizes[i];
        ck_assert_uint_eq(output.size, n_written);
    }
    (void)write_all(1 << 16);
    end();
}
END_TEST

START_TEST(room_that_is_given_back_is_not_written)
{
    begin();
    for (size_t n = 0; n < 3000; n++) {
        uint8_t *room = output_reserve(&output, n + 500);
        ck_assert_ptr_nonnull(room);
        fill(room, n_written, n);
        output_give_back(&output, 500);
        n_written += (uint32_t)n;
        assert_often(output.size == n_written);
    }
    (void)write_all(1 << 16);
    end();
}
END_TEST

/* limits.total_memory is for who takes requests in: what must be answered is answered. */
START_TEST(room_is_given_although_the_limit_is_reached)
{
    begin();
    memory.limit = 0;
    const size_t sizes[] = { 10, OUTPUT_BLOCK_SIZE, OUTPUT_BLOCK_SIZE + 1, 200000 };
    for (size_t i = 0; i < 4; i++) {
        uint8_t *room = output_reserve(&output, sizes[i]);
        ck_assert_msg(room != NULL, "%zu", sizes[i]);
        fill(room, n_written, sizes[i]);
        n_written += (uint32_t)sizes[i];
    }
    append_copied(100000);
    ck_assert_uint_ge(memory.used, n_written);
    (void)write_all(1 << 16);
    end();
}
END_TEST

START_TEST(large_body_is_referred_to_and_a_small_one_copied)
{
    begin();
    struct frame_buffer *small = append_framed(OUTPUT_REFER_SIZE - 1);
    ck_assert_uint_eq(small->n_references, 1);
    memset(small->data, 0, small->capacity); /* the copy does not care */
    frame_buffer_unref(small);
    struct frame_buffer *large = append_framed(OUTPUT_REFER_SIZE);
    ck_assert_uint_eq(large->n_references, 2);
    ck_assert_ptr_eq(output.last->data, large->data + 10);
    frame_buffer_unref(large); /* the output has one of its own */
    append_copied(100);
    (void)write_all(1 << 16);
    ck_assert_uint_eq(memory.used, 0);
    end();
}
END_TEST

START_TEST(body_is_released_when_its_last_byte_is_written_and_not_before)
{
    begin();
    struct frame_buffer *frame = append_framed(4 << 20);
    ck_assert_int_eq(output_write(&output, fds[0]), OUTPUT_BLOCKED);
    ck_assert_uint_gt(output.size, 0);
    ck_assert_uint_lt(output.size, 4 << 20);
    ck_assert_uint_eq(frame->n_references, 2);
    ck_assert_uint_gt(write_all(1 << 16), 0);
    ck_assert_uint_eq(frame->n_references, 1);
    frame_buffer_unref(frame);
    end();
}
END_TEST

START_TEST(one_body_may_be_written_to_many)
{
    struct output others[3];
    begin();
    struct frame_buffer *frame = append_framed(10000);
    for (size_t i = 0; i < 3; i++) {
        output_init(&others[i], &memory);
        ck_assert_int_eq(output_append(&others[i], frame->data, 10000, frame), 0);
    }
    ck_assert_uint_eq(frame->n_references, 5);
    for (size_t i = 0; i < 3; i++) {
        output_deinit(&others[i]);
    }
    ck_assert_uint_eq(frame->n_references, 2);
    frame_buffer_unref(frame);
    (void)write_all(1 << 16);
    end();
}
END_TEST

/* A kernel that has room for very little; heads, small and large bodies, hundreds of chunks. */
START_TEST(short_writes_go_on_where_they_ended)
{
    const size_t steps[] = { 1000, 4096, 65536 };
    for (size_t step = 0; step < 3; step++) {
        begin();
        const int size = 1;
        ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        for (size_t i = 0; i < 200; i++) {
            append_copied(i * 13 % 700);
            frame_buffer_unref(append_framed(OUTPUT_REFER_SIZE - 50 + i * 97 % 3000));
        }
        ck_assert_uint_gt(write_all(steps[step]), 10);
        ck_assert_uint_eq(memory.used, 0);
        end();
    }
}
END_TEST

START_TEST(output_may_grow_while_it_is_blocked)
{
    begin();
    frame_buffer_unref(append_framed(1 << 20));
    ck_assert_int_eq(output_write(&output, fds[0]), OUTPUT_BLOCKED);
    append_copied(100);
    frame_buffer_unref(append_framed(10000));
    (void)write_all(1 << 16);
    end();
}
END_TEST

START_TEST(output_that_is_dropped_gives_everything_back)
{
    begin();
    for (size_t i = 0; i < 100; i++) {
        append_copied(1000);
        frame_buffer_unref(append_framed(10000));
    }
    (void)output_write(&output, fds[0]);
    end();
}
END_TEST

START_TEST(write_to_a_peer_that_is_gone_fails_without_a_signal)
{
    begin();
    append_copied(100);
    (void)close(fds[1]);
    fds[1] = -1;
    ck_assert_int_eq(output_write(&output, fds[0]), OUTPUT_FAILED);
    ck_assert_int_eq(errno, EPIPE);
    end();
}
END_TEST

START_TEST(free_blocks_are_kept_for_reuse_up_to_their_limit)
{
    begin();
    append_copied((OUTPUT_BLOCKS_KEPT + 50) * (size_t)OUTPUT_BLOCK_SIZE);
    output_deinit(&output);
    ck_assert_uint_eq(memory.blocks.n, OUTPUT_BLOCKS_KEPT);
    ck_assert_uint_eq(memory.used, 0);
    append_copied(1);
    ck_assert_uint_eq(memory.blocks.n, OUTPUT_BLOCKS_KEPT - 1);
    end();
}
END_TEST

START_TEST(frame_buffers_stay_within_the_limit)
{
    memory_init(&memory, 1000);
    struct frame_buffer *first = frame_buffer_new(&memory, 600);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(frame_buffer_new(&memory, 401));
    ck_assert_ptr_null(frame_buffer_new(&memory, SIZE_MAX));
    ck_assert(memory_has_room(&memory, 400));
    struct frame_buffer *second = frame_buffer_new(&memory, 400);
    ck_assert_ptr_nonnull(second);
    ck_assert(!memory_has_room(&memory, 1));
    ck_assert_ptr_eq(frame_buffer_ref(first), first);
    ck_assert_ptr_null(frame_buffer_unref(first));
    ck_assert_uint_eq(memory.used, 1000);
    ck_assert_ptr_null(frame_buffer_unref(first));
    ck_assert_uint_eq(memory.used, 400);
    ck_assert_ptr_null(frame_buffer_unref(second));
    ck_assert_ptr_null(frame_buffer_unref(NULL));
    memory_deinit(&memory);
    ck_assert_uint_eq(memory.used, 0);
}
END_TEST

START_TEST(large_frame_buffers_are_kept_for_frames_of_their_size)
{
    memory_init(&memory, SIZE_MAX);
    struct frame_buffer *first = frame_buffer_new(&memory, 70000);
    struct frame_buffer *second = frame_buffer_new(&memory, 70000);
    struct frame_buffer *other = frame_buffer_new(&memory, 200000);
    ck_assert(first && second && other);
    memset(first->data, 1, 70000);
    struct frame_buffer *given[] = { first, other, second };
    for (size_t i = 0; i < 3; i++) {
        (void)frame_buffer_unref(given[i]);
    }
    ck_assert_uint_eq(memory.used, 0);
    ck_assert_ptr_eq(frame_buffer_new(&memory, 70100), second);
    ck_assert_uint_eq(memory.used, 70100);
    memset(second->data, 2, 70100);
    ck_assert_ptr_eq(frame_buffer_new(&memory, 199999), other);
    (void)frame_buffer_unref(second);
    (void)frame_buffer_unref(other);

    memory_settle(&memory);
    ck_assert_uint_eq(memory.n_kept, 3);
    memory_settle(&memory);
    ck_assert_uint_eq(memory.n_kept, 0);
    memory_deinit(&memory);
}
END_TEST

START_TEST(large_frame_buffers_are_kept_up_to_their_limits)
{
    memory_init(&memory, SIZE_MAX);
    struct frame_buffer *buffers[FRAME_BUFFERS_KEPT + 8];
    const size_t sizes[] = { FRAME_BUFFER_LARGE, 1 << 20 };
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < FRAME_BUFFERS_KEPT + 8; i++) {
            buffers[i] = frame_buffer_new(&memory, sizes[round]);
            ck_assert_ptr_nonnull(buffers[i]);
        }
        for (size_t i = 0; i < FRAME_BUFFERS_KEPT + 8; i++) {
            (void)frame_buffer_unref(buffers[i]);
        }
        ck_assert_uint_le(memory.n_kept, FRAME_BUFFERS_KEPT);
        ck_assert_uint_le(memory.kept_size, FRAME_BUFFERS_KEPT_SIZE);
        memory_settle(&memory);
        memory_settle(&memory);
        ck_assert_uint_eq(memory.kept_size, 0);
    }
    memory_deinit(&memory);
}
END_TEST

START_TEST(oldest_large_frame_buffer_makes_room_for_the_one_that_was_used_last)
{
    memory_init(&memory, SIZE_MAX);
    struct frame_buffer *buffers[FRAME_BUFFERS_KEPT_SIZE >> 20];
    const size_t n = sizeof(buffers) / sizeof(buffers[0]);
    for (size_t i = 0; i < n; i++) {
        buffers[i] = frame_buffer_new(&memory, 1 << 20);
        ck_assert_ptr_nonnull(buffers[i]);
    }
    struct frame_buffer *last = frame_buffer_new(&memory, 70000);
    ck_assert_ptr_nonnull(last);
    for (size_t i = 0; i < n; i++) {
        (void)frame_buffer_unref(buffers[i]);
    }
    ck_assert_uint_eq(memory.n_kept, n);
    (void)frame_buffer_unref(last);
    ck_assert_uint_eq(memory.n_kept, n);
    ck_assert_uint_le(memory.kept_size, FRAME_BUFFERS_KEPT_SIZE);
    ck_assert_ptr_eq(frame_buffer_new(&memory, 70000), last);
    (void)frame_buffer_unref(last);
    memory_deinit(&memory);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("output");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, nothing_to_write_is_written);
    tcase_add_test(tests, small_pieces_share_blocks_and_arrive_in_order);
    tcase_add_test(tests, reserved_room_is_in_one_piece);
    tcase_add_test(tests, room_that_is_given_back_is_not_written);
    tcase_add_test(tests, room_is_given_although_the_limit_is_reached);
    tcase_add_test(tests, large_body_is_referred_to_and_a_small_one_copied);
    tcase_add_test(tests, body_is_released_when_its_last_byte_is_written_and_not_before);
    tcase_add_test(tests, one_body_may_be_written_to_many);
    tcase_add_test(tests, short_writes_go_on_where_they_ended);
    tcase_add_test(tests, output_may_grow_while_it_is_blocked);
    tcase_add_test(tests, output_that_is_dropped_gives_everything_back);
    tcase_add_test(tests, write_to_a_peer_that_is_gone_fails_without_a_signal);
    tcase_add_test(tests, free_blocks_are_kept_for_reuse_up_to_their_limit);
    tcase_add_test(tests, a_free_list_hands_out_again_what_it_was_given_up_to_its_length);
    tcase_add_test(tests, frame_buffers_stay_within_the_limit);
    tcase_add_test(tests, large_frame_buffers_are_kept_for_frames_of_their_size);
    tcase_add_test(tests, large_frame_buffers_are_kept_up_to_their_limits);
    tcase_add_test(tests, oldest_large_frame_buffer_makes_room_for_the_one_that_was_used_last);
    Suite *suite = suite_create("output");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
