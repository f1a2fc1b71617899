#include "daemon/loop/transport.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/run_suite.h"

#define PLENTY     (64u << 20)
#define FRAMES_MAX 4096
#define NO_FRAME   SIZE_MAX

/* What the handler saw, and what the test wants of it. */
static struct {
    struct loop loop;
    struct memory memory;
    struct transport transport;
    int fd; /* the peer's */
    struct {
        size_t size;
        uint32_t sum; /* of the bytes */
        bool was_owned;
    } frames[FRAMES_MAX];
    size_t n_frames;
    size_t pause_after; /* so many frames, from then on every one */
    size_t close_after;
    bool keeps; /* references to the frames that have an owner */
    struct frame_buffer *kept[FRAMES_MAX];
    size_t n_kept;
    bool goes_on_without_room;
    unsigned n_no_room;
    size_t n_no_room_bytes; /* that had come */
    uint32_t no_room_sum;
    unsigned n_bad, n_ends, n_reads, n_writes, n_connects;
    uint8_t bad[64];
    size_t n_bad_bytes;
    enum transport_end end;
    int error;
} t;

static uint32_t sum_of(const uint8_t *data, size_t n)
{
    uint32_t sum = 17;
    for (size_t i = 0; i < n; i++) {
        sum = sum * 31 + data[i];
    }
    return sum;
}

static void on_frame(
    struct transport *transport, uint8_t *frame, size_t size, struct frame_buffer *owner)
{
    ck_assert_ptr_eq(transport, &t.transport);
    assert_often(t.n_frames < FRAMES_MAX);
    assert_often(!owner || (frame >= owner->data && frame + size <= owner->data + owner->capacity));
    t.frames[t.n_frames].size = size;
    t.frames[t.n_frames].sum = sum_of(frame, size);
    t.frames[t.n_frames].was_owned = owner != NULL;
    t.n_frames++;
    if (t.keeps && owner) {
        t.kept[t.n_kept++] = frame_buffer_ref(owner);
    }
    memset(frame, 0xEE, t.keeps ? 0 : size); /* its bytes may be overwritten */
    if (t.n_frames >= t.pause_after) {
        transport_pause(transport);
    }
    if (t.n_frames >= t.close_after) {
        transport_close(transport);
    }
}

static bool on_no_room(struct transport *transport, uint8_t *data, size_t n)
{
    (void)transport;
    t.n_no_room++;
    t.n_no_room_bytes = n;
    t.no_room_sum = sum_of(data, n);
    return t.goes_on_without_room;
}

static void on_bad_frame(struct transport *transport, uint8_t *data, size_t n)
{
    t.n_bad++;
    t.n_bad_bytes = n < sizeof(t.bad) ? n : sizeof(t.bad);
    memcpy(t.bad, data, t.n_bad_bytes);
    transport_close(transport);
}

static void on_end(struct transport *transport, enum transport_end end, int error)
{
    t.n_ends++;
    t.end = end;
    t.error = error;
    if (end != TRANSPORT_END_OF_FILE) {
        transport_close(transport);
    }
}

static void on_read(struct transport *transport)
{
    ck_assert(transport_is_open(transport));
    t.n_reads++;
}

static void on_written(struct transport *transport)
{
    ck_assert(transport_is_open(transport));
    t.n_writes++;
}

static void on_connected(struct transport *transport, int error)
{
    (void)transport;
    ck_assert_int_eq(error, 0);
    t.n_connects++;
}

static const struct transport_handler handler = {
    .on_frame = on_frame,
    .on_no_room = on_no_room,
    .on_bad_frame = on_bad_frame,
    .on_end = on_end,
    .on_read = on_read,
    .on_written = on_written,
    .on_connected = on_connected,
};

static void stop_after_this_turn(void *context)
{
    loop_stop(context);
}

/* One turn: for when something is known to happen, because it waits. */
static void turn(void)
{
    loop_run(&t.loop);
}

static void begin_loop(void)
{
    memset(&t, 0, sizeof(t));
    ck_assert_int_eq(loop_init(&t.loop), 0);
    t.loop.on_turn = stop_after_this_turn;
    t.loop.on_turn_context = &t.loop;
    memory_init(&t.memory, PLENTY);
}

/* A transport at one end of a new pair of sockets, and nothing seen yet. */
static void open_pair(size_t frame_limit, bool is_connecting)
{
    int fds[2];
    assert_often(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    t.fd = fds[1];
    t.n_frames = t.n_kept = 0;
    t.pause_after = t.close_after = NO_FRAME;
    t.n_bad = t.n_ends = t.n_reads = t.n_writes = 0;
    assert_often(transport_open(&t.transport, &t.loop, &t.memory, &handler, fds[0], frame_limit,
                     is_connecting) == 0);
}

static void close_pair(void)
{
    transport_close(&t.transport);
    transport_close(&t.transport); /* it may be called twice */
    assert_often(!transport_is_open(&t.transport));
    while (t.n_kept > 0) {
        t.n_kept--;
        frame_buffer_unref(t.kept[t.n_kept]);
    }
    if (t.fd >= 0) {
        (void)close(t.fd);
    }
    assert_often(t.memory.used == 0);
}

static void end_loop(void)
{
    ck_assert_uint_eq(t.memory.used, 0);
    memory_deinit(&t.memory);
    loop_deinit(&t.loop);
}

static void begin(void)
{
    begin_loop();
    open_pair(FRAME_SIZE_MAX, false);
}

static void end(void)
{
    close_pair();
    end_loop();
}

/* Reads everything that has come, as long as the transport reads. */
static void read_all(void)
{
    while (transport_is_open(&t.transport) && !t.transport.is_paused && !t.transport.is_ended) {
        struct pollfd readable = { .fd = t.transport.fd, .events = POLLIN };
        if (poll(&readable, 1, 0) <= 0) {
            return;
        }
        turn();
    }
}

/* Writes what the socket takes at once; what it has no room for is read in between. */
static void peer_sends(const uint8_t *data, size_t n)
{
    while (n > 0) {
        ssize_t written = send(t.fd, data, n, MSG_NOSIGNAL);
        if (written < 0) {
            ck_assert_int_eq(errno, EAGAIN);
            read_all();
            continue;
        }
        data += written;
        n -= (size_t)written;
    }
}

/* A frame of a size, its header empty; the seed makes its bytes. */
static void frame_write(uint8_t *dst, size_t size, uint8_t seed)
{
    frame_encode_prefix(dst, SERIALIZE_JSON, 0, size - FRAME_PREFIX_SIZE);
    for (size_t i = FRAME_PREFIX_SIZE; i < size; i++) {
        dst[i] = (uint8_t)(seed + i * 7 + (i >> 8));
    }
}

/* A stream of frames, and the frames that it has to be cut into. */
struct stream {
    uint8_t *data;
    size_t n;
    size_t sizes[FRAMES_MAX];
    uint32_t sums[FRAMES_MAX];
    size_t n_frames;
};

static struct stream stream_new(const size_t *sizes, size_t n_frames)
{
    struct stream stream = { .n_frames = n_frames };
    for (size_t i = 0; i < n_frames; i++) {
        stream.n += sizes[i];
    }
    stream.data = malloc(stream.n);
    uint8_t *at = stream.data;
    for (size_t i = 0; i < n_frames; i++) {
        frame_write(at, sizes[i], (uint8_t)i);
        stream.sizes[i] = sizes[i];
        stream.sums[i] = sum_of(at, sizes[i]);
        at += sizes[i];
    }
    return stream;
}

static void assert_frames(const struct stream *stream, size_t n_frames)
{
    if (t.n_frames != n_frames) {
        ck_abort_msg("%zu frames instead of %zu", t.n_frames, n_frames);
    }
    for (size_t i = 0; i < n_frames; i++) {
        assert_often(t.frames[i].size == stream->sizes[i] && t.frames[i].sum == stream->sums[i]);
    }
}

/* The smallest; one byte of body; one that fits the first held buffer; one that does not. */
static const size_t some_sizes[] = { 8, 9, 100, 8, 511, 512, 513, 1300 };
#define N_SOME (sizeof(some_sizes) / sizeof(some_sizes[0]))

START_TEST(frames_cut_at_any_byte_are_put_together)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    begin_loop();
    for (size_t cut = 0; cut <= stream.n; cut++) {
        open_pair(FRAME_SIZE_MAX, false);
        peer_sends(stream.data, cut);
        read_all();
        peer_sends(stream.data + cut, stream.n - cut);
        read_all();
        assert_frames(&stream, N_SOME);
        assert_often(!transport_has_partial_frame(&t.transport));
        close_pair();
    }
    end_loop();
    free(stream.data);
}
END_TEST

START_TEST(frames_cut_twice_are_put_together)
{
    const size_t sizes[] = { 8, 13, 8, 20 };
    struct stream stream = stream_new(sizes, 4);
    begin_loop();
    for (size_t first = 0; first <= stream.n; first++) {
        for (size_t second = first; second <= stream.n; second++) {
            open_pair(FRAME_SIZE_MAX, false);
            peer_sends(stream.data, first);
            read_all();
            peer_sends(stream.data + first, second - first);
            read_all();
            peer_sends(stream.data + second, stream.n - second);
            read_all();
            assert_frames(&stream, 4);
            close_pair();
        }
    }
    end_loop();
    free(stream.data);
}
END_TEST

START_TEST(frames_may_come_byte_by_byte)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    begin();
    size_t n_complete = 0;
    size_t next_end = stream.sizes[0];
    for (size_t i = 0; i < stream.n; i++) {
        peer_sends(stream.data + i, 1);
        read_all();
        if (i + 1 == next_end) {
            n_complete++;
            next_end += n_complete < N_SOME ? stream.sizes[n_complete] : 0;
        }
        assert_often(t.n_frames == n_complete);
        size_t start_of_next = next_end - (n_complete < N_SOME ? stream.sizes[n_complete] : 0);
        assert_often(transport_has_partial_frame(&t.transport) == (i + 1 > start_of_next));
    }
    assert_frames(&stream, N_SOME);
    ck_assert_uint_eq(t.n_reads, stream.n);
    end();
    free(stream.data);
}
END_TEST

START_TEST(frames_of_one_write_come_in_one_read)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    begin();
    peer_sends(stream.data, stream.n);
    turn();
    assert_frames(&stream, N_SOME);
    ck_assert_uint_eq(t.n_reads, 1);
    ck_assert_uint_eq(t.transport.received_ms <= t.loop.now_ms, true);
    for (size_t i = 0; i < N_SOME; i++) {
        ck_assert(!t.frames[i].was_owned); /* they lie in the shared buffer */
    }
    ck_assert_uint_eq(t.memory.used, 0);
    end();
    free(stream.data);
}
END_TEST

/* Around the sizes at which the held buffer grows and the shared buffer ends. */
static const size_t large_sizes[] = { TRANSPORT_TRUST_SIZE - 1, TRANSPORT_TRUST_SIZE,
    TRANSPORT_TRUST_SIZE + 1, LOOP_RECEIVE_SIZE - 1, LOOP_RECEIVE_SIZE, LOOP_RECEIVE_SIZE + 1,
    1 << 20, FRAME_SIZE_MAX };

START_TEST(large_frame_comes_in_a_buffer_that_can_be_kept)
{
    const size_t sizes[] = { 50, large_sizes[_i], 60, large_sizes[_i], 70 };
    struct stream stream = stream_new(sizes, 5);
    begin();
    t.keeps = true;
    peer_sends(stream.data, stream.n);
    read_all();
    assert_frames(&stream, 5);
    for (size_t i = 0; i < t.n_kept; i++) {
        ck_assert_uint_eq(t.kept[i]->n_references, 1);
    }
    if (large_sizes[_i] > LOOP_RECEIVE_SIZE) {
        ck_assert(t.frames[1].was_owned && t.frames[3].was_owned);
        ck_assert_uint_ge(t.memory.used, 2 * large_sizes[_i]);
    }
    end();
    free(stream.data);
}
END_TEST

START_TEST(large_frames_that_follow_each_other_come_in_buffers_of_their_own)
{
    const size_t sizes[] = { 40000, 40000, 40000, 90000, 50, 60, 1 << 20, 1 << 20, 100000, 70 };
    const size_t n = sizeof(sizes) / sizeof(sizes[0]);
    struct stream stream = stream_new(sizes, n);
    begin();
    t.keeps = true;
    for (size_t i = 0, at = 0; i < n; at += sizes[i++]) {
        peer_sends(stream.data + at, sizes[i]);
        read_all();
    }
    peer_sends(stream.data, stream.n);
    read_all();
    ck_assert_uint_eq(t.n_frames, 2 * n);
    assert_often(t.frames[1].was_owned && t.frames[2].was_owned && t.frames[7].was_owned);
    for (size_t i = 0; i < 2 * n; i++) {
        assert_often(t.frames[i].size == sizes[i % n] && t.frames[i].sum == stream.sums[i % n]);
    }
    end();
    free(stream.data);
}
END_TEST

/* As a Unix socket gives them, whose buffer is smaller than they are. */
START_TEST(large_frame_behind_another_is_read_into_its_buffer_from_its_first_piece_on)
{
    const size_t sizes[] = { 1 << 20, 1 << 20 };
    struct stream stream = stream_new(sizes, 2);
    begin();
    peer_sends(stream.data, sizes[0]);
    read_all();
    peer_sends(stream.data + sizes[0], TRANSPORT_TRUST_SIZE);
    read_all();
    const struct frame_buffer *held = t.transport.held;
    ck_assert_ptr_nonnull(held);
    ck_assert_uint_eq(held->capacity, sizes[1]);
    /* What is copied into its buffer is no frame that was expected. */
    ck_assert_uint_eq(t.transport.last_size, sizes[0]);
    peer_sends(stream.data + sizes[0] + TRANSPORT_TRUST_SIZE, sizes[1] - TRANSPORT_TRUST_SIZE);
    read_all();
    assert_frames(&stream, 2);
    end();
    free(stream.data);
}
END_TEST

/* A megabyte between small frames, in pieces of every kind of size. */
START_TEST(megabyte_in_pieces_is_one_frame)
{
    const size_t sizes[] = { 50, 1 << 20, 60 };
    const size_t pieces[] = { 997, 4096, 65535, 65536, 65537, 262144, 500000 };
    struct stream stream = stream_new(sizes, 3);
    begin_loop();
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        open_pair(FRAME_SIZE_MAX, false);
        for (size_t at = 0; at < stream.n; at += pieces[i]) {
            size_t left = stream.n - at;
            peer_sends(stream.data + at, left < pieces[i] ? left : pieces[i]);
            read_all();
        }
        assert_frames(&stream, 3);
        close_pair();
    }
    end_loop();
    free(stream.data);
}
END_TEST

START_TEST(memory_for_a_frame_is_not_taken_because_it_is_announced)
{
    uint8_t prefix[FRAME_PREFIX_SIZE];
    frame_encode_prefix(prefix, SERIALIZE_JSON, 0, FRAME_SIZE_MAX - FRAME_PREFIX_SIZE);
    begin();
    for (size_t i = 0; i < sizeof(prefix); i++) {
        peer_sends(prefix + i, 1);
        read_all();
        ck_assert_uint_le(t.memory.used, TRANSPORT_TRUST_SIZE);
    }
    static uint8_t bytes[TRANSPORT_TRUST_SIZE - FRAME_PREFIX_SIZE - 1];
    peer_sends(bytes, sizeof(bytes));
    read_all();
    ck_assert_uint_le(t.memory.used, TRANSPORT_TRUST_SIZE);
    ck_assert_uint_eq(t.n_ends, 0);
    peer_sends(bytes, 2);
    read_all();
    ck_assert_uint_eq(t.memory.used, FRAME_SIZE_MAX);
    end();
}
END_TEST

START_TEST(frame_that_does_not_fit_the_memory_ends_the_transport)
{
    uint8_t prefix[FRAME_PREFIX_SIZE];
    frame_encode_prefix(prefix, SERIALIZE_JSON, 0, 1000);
    begin();
    t.memory.limit = 1000;
    peer_sends(prefix, sizeof(prefix));
    read_all();
    ck_assert_uint_eq(t.n_ends, 1);
    ck_assert_int_eq(t.end, TRANSPORT_NO_MEMORY);
    ck_assert_uint_eq(t.n_frames, 0);
    end();
}
END_TEST

/* A frame that finds no memory, cut anywhere, and behind it one that does. */
START_TEST(frame_without_memory_is_thrown_away_and_the_next_one_is_read)
{
    const size_t sizes[] = { 100000, 300 };
    struct stream stream = stream_new(sizes, 2);
    const size_t cuts[] = { 8, 9, 200, 600, 40000, 65535, 65536, 70000, 99999 };
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        begin();
        t.goes_on_without_room = true;
        t.memory.limit = 80000;
        peer_sends(stream.data, cuts[i]);
        read_all();
        ck_assert(transport_has_partial_frame(&t.transport));
        peer_sends(stream.data + cuts[i], stream.n - cuts[i]);
        read_all();
        ck_assert_uint_eq(t.n_ends, 0);
        ck_assert_uint_eq(t.n_no_room, 1);
        ck_assert_uint_ge(t.n_no_room_bytes, 8);
        ck_assert_uint_eq(t.no_room_sum, sum_of(stream.data, t.n_no_room_bytes));
        ck_assert_uint_eq(t.n_frames, 1);
        ck_assert_uint_eq(t.frames[0].size, 300);
        ck_assert_uint_eq(t.frames[0].sum, sum_of(stream.data + 100000, 300));
        ck_assert(!transport_has_partial_frame(&t.transport));
        end();
    }
    free(stream.data);
}
END_TEST

START_TEST(answer_is_taken_although_the_limit_is_reached)
{
    const size_t sizes[] = { 100, 1 << 20 };
    struct stream stream = stream_new(sizes, 2);
    begin();
    t.memory.limit = 0;
    t.transport.reads_answers = true;
    peer_sends(stream.data, 3);
    read_all();
    peer_sends(stream.data + 3, stream.n - 3);
    read_all();
    assert_frames(&stream, 2);
    end();
    free(stream.data);
}
END_TEST

START_TEST(frame_that_outgrows_the_memory_ends_the_transport)
{
    uint8_t data[600];
    frame_write(data, sizeof(data), 0);
    begin();
    t.memory.limit = 900; /* room for the first buffer, not for the whole frame beside it */
    frame_encode_prefix(data, SERIALIZE_JSON, 0, 2000);
    peer_sends(data, 3);
    read_all();
    ck_assert_uint_eq(t.n_ends, 0);
    peer_sends(data + 3, sizeof(data) - 3);
    read_all();
    ck_assert_uint_eq(t.n_ends, 1);
    ck_assert_int_eq(t.end, TRANSPORT_NO_MEMORY);
    end();
}
END_TEST

START_TEST(pause_in_the_middle_of_a_read_holds_the_rest_back)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    for (size_t pause_after = 1; pause_after <= N_SOME; pause_after++) {
        begin();
        t.pause_after = pause_after;
        peer_sends(stream.data, stream.n);
        turn();
        assert_frames(&stream, pause_after);
        t.pause_after = NO_FRAME;
        ck_assert_uint_eq(t.n_reads, 1);
        transport_resume(&t.transport);
        assert_frames(&stream, N_SOME);
        ck_assert_uint_eq(t.n_reads, 2); /* a resumption counts as one */
        ck_assert_uint_eq(t.memory.used, 0);
        peer_sends(stream.data, stream.n);
        read_all();
        ck_assert_uint_eq(t.n_frames, 2 * N_SOME);
        end();
    }
    free(stream.data);
}
END_TEST

START_TEST(every_frame_may_pause_again)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    begin_loop();
    for (size_t cut = 1; cut < stream.n; cut += 3) {
        open_pair(FRAME_SIZE_MAX, false);
        t.pause_after = 1;
        peer_sends(stream.data, cut); /* the rest of a cut frame comes behind the pauses */
        size_t n_sent = cut;
        while (t.n_frames < N_SOME) {
            size_t n_before = t.n_frames;
            read_all();
            transport_resume(&t.transport);
            assert_often(t.n_frames <= n_before + 2); /* one read, one resumed */
            if (t.n_frames == n_before && n_sent < stream.n) {
                peer_sends(stream.data + n_sent, stream.n - n_sent);
                n_sent = stream.n;
            }
        }
        assert_frames(&stream, N_SOME);
        close_pair();
    }
    end_loop();
    free(stream.data);
}
END_TEST

START_TEST(nothing_is_read_while_paused)
{
    struct stream stream = stream_new(some_sizes, 3);
    begin();
    transport_pause(&t.transport);
    peer_sends(stream.data, stream.n);
    ck_assert_int_eq(event_base_loop(t.loop.base, EVLOOP_NONBLOCK), 1); /* nothing to wait for */
    ck_assert_uint_eq(t.n_reads, 0);
    transport_resume(&t.transport);
    ck_assert_uint_eq(t.n_frames, 0);
    read_all();
    assert_frames(&stream, 3);
    end();
    free(stream.data);
}
END_TEST

START_TEST(backlog_of_a_pause_goes_with_the_transport)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    begin();
    t.pause_after = 2;
    peer_sends(stream.data, stream.n - 1);
    turn();
    ck_assert_uint_gt(t.memory.used, 0);
    end();
    free(stream.data);
}
END_TEST

START_TEST(pause_behind_a_large_frame_keeps_what_was_read_with_its_end)
{
    const size_t sizes[] = { 1 << 20, 300, 400 };
    struct stream stream = stream_new(sizes, 3);
    begin();
    t.pause_after = 1;
    size_t almost = (1 << 20) - 100;
    peer_sends(stream.data, almost);
    read_all();
    peer_sends(stream.data + almost, stream.n - almost);
    read_all();
    assert_frames(&stream, 1);
    t.pause_after = NO_FRAME;
    transport_resume(&t.transport);
    read_all();
    assert_frames(&stream, 3);
    end();
    free(stream.data);
}
END_TEST

START_TEST(transport_may_be_closed_by_any_frame)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    begin_loop();
    for (size_t close_after = 1; close_after <= N_SOME; close_after++) {
        for (size_t cut = 0; cut <= stream.n; cut += 5) {
            open_pair(FRAME_SIZE_MAX, false);
            t.close_after = close_after;
            peer_sends(stream.data, cut);
            read_all();
            if (transport_is_open(&t.transport)) {
                peer_sends(stream.data + cut, stream.n - cut);
                read_all();
            }
            assert_frames(&stream, close_after);
            assert_often(t.n_ends == 0);
            close_pair();
        }
    }
    end_loop();
    free(stream.data);
}
END_TEST

START_TEST(end_of_file_comes_once_behind_the_last_frame)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    begin();
    peer_sends(stream.data, stream.n);
    (void)close(t.fd);
    t.fd = -1;
    read_all();
    assert_frames(&stream, N_SOME);
    ck_assert_uint_eq(t.n_ends, 1);
    ck_assert_int_eq(t.end, TRANSPORT_END_OF_FILE);
    ck_assert_int_eq(t.error, 0);
    ck_assert(transport_is_open(&t.transport));
    ck_assert_int_eq(event_base_loop(t.loop.base, EVLOOP_NONBLOCK), 1); /* it reads no more */
    end();
    free(stream.data);
}
END_TEST

START_TEST(end_of_file_inside_a_frame_leaves_a_partial_one)
{
    struct stream stream = stream_new(some_sizes, 3);
    begin_loop();
    for (size_t n = 1; n < stream.sizes[0]; n++) {
        open_pair(FRAME_SIZE_MAX, false);
        peer_sends(stream.data, n);
        (void)shutdown(t.fd, SHUT_WR);
        read_all();
        ck_assert_uint_eq(t.n_ends, 1);
        ck_assert_uint_eq(t.n_frames, 0);
        ck_assert(transport_has_partial_frame(&t.transport));
        close_pair();
    }
    end_loop();
    free(stream.data);
}
END_TEST

START_TEST(what_is_answered_behind_the_end_of_file_is_written)
{
    begin();
    (void)shutdown(t.fd, SHUT_WR);
    read_all();
    ck_assert_int_eq(t.end, TRANSPORT_END_OF_FILE);
    ck_assert_int_eq(output_append(&t.transport.output, "bye", 3, NULL), 0);
    transport_flush_later(&t.transport);
    loop_finish(&t.loop);
    char text[8];
    ck_assert_int_eq(recv(t.fd, text, sizeof(text), 0), 3);
    ck_assert_mem_eq(text, "bye", 3);
    ck_assert_uint_eq(t.transport.bytes_sent, 3);
    end();
}
END_TEST

struct bad_case {
    const char *name;
    uint8_t data[12];
    size_t judged_at; /* so many bytes are needed to see it */
};

static const struct bad_case bads[] = {
    { "a length beyond the limit", { 0, 0, 4, 0, 0, 0, 0, 0 }, 4 },
    { "a negative length", { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 }, 4 },
    { "a length without room for the header word", { 0, 0, 0, 3, 0, 0, 0, 0 }, 4 },
    { "an unknown serialize type", { 0, 0, 0, 8, 2, 0, 0, 0 }, 8 },
    { "a header beyond the frame", { 0, 0, 0, 8, 0, 0, 0, 5 }, 8 },
    { "the beginning of an HTTP request", { 'G', 'E', 'T', ' ', '/', ' ', 'H', 'T' }, 4 },
};

/* Behind good frames and cut anywhere. What comes behind it is not looked at. */
START_TEST(bad_frame_is_seen_as_soon_as_it_can_be)
{
    const struct bad_case *c = &bads[_i];
    const size_t sizes[] = { 100, 30 };
    struct stream stream = stream_new(sizes, 2);
    uint8_t data[130 + 12 + 100];
    memcpy(data, stream.data, 130);
    memcpy(data + 130, c->data, 12);
    frame_write(data + 142, 100, 1);
    begin_loop();
    for (size_t cut = 1; cut <= sizeof(data); cut++) {
        open_pair(1024, false);
        peer_sends(data, cut);
        read_all();
        assert_often(t.n_bad == (cut >= 130 + c->judged_at));
        if (t.n_bad == 0) {
            peer_sends(data + cut, sizeof(data) - cut);
            read_all();
        }
        assert_often(t.n_bad == 1 && t.n_ends == 0);
        assert_often(t.n_bad_bytes >= c->judged_at);
        assert_often(memcmp(t.bad, c->data, c->judged_at) == 0);
        assert_frames(&stream, 2);
        close_pair();
    }
    end_loop();
    free(stream.data);
}
END_TEST

static void peer_reads(struct stream *received, size_t n_most)
{
    ssize_t n = recv(t.fd, received->data + received->n, n_most, 0);
    if (n > 0) {
        received->n += (size_t)n;
    } else {
        ck_assert_int_eq(errno, EAGAIN);
    }
}

START_TEST(blocked_peer_gets_the_rest_when_it_reads)
{
    const size_t sizes[] = { 10, 3000, 2 << 20, 5000, 17, 1 << 20, 9 };
    struct stream stream = stream_new(sizes, 7);
    struct stream received = { .data = malloc(stream.n + 1) };
    begin();
    size_t at = 0;
    for (size_t i = 0; i < 7; at += sizes[i], i++) {
        struct frame_buffer *frame = frame_buffer_new(&t.memory, sizes[i]);
        memcpy(frame->data, stream.data + at, sizes[i]);
        ck_assert_int_eq(output_append(&t.transport.output, frame->data, sizes[i], frame), 0);
        frame_buffer_unref(frame);
        transport_flush_later(&t.transport);
    }
    ck_assert_uint_eq(t.n_writes, 0); /* later, and once for all of it */
    loop_finish(&t.loop);
    ck_assert_uint_eq(t.n_writes, 1);
    ck_assert(t.transport.is_blocked);
    /* Flushing again while it is blocked does not even try. */
    transport_flush_later(&t.transport);
    loop_finish(&t.loop);
    ck_assert_uint_eq(t.n_writes, 1);
    while (received.n < stream.n) {
        peer_reads(&received, 100000);
        struct pollfd writable = { .fd = t.transport.fd, .events = POLLOUT };
        if (t.transport.is_blocked && poll(&writable, 1, 0) > 0) {
            turn();
        }
    }
    ck_assert(!t.transport.is_blocked);
    ck_assert_uint_eq(received.n, stream.n);
    ck_assert_mem_eq(received.data, stream.data, stream.n);
    ck_assert_uint_eq(t.transport.bytes_sent, stream.n);
    ck_assert_uint_eq(t.transport.output.size, 0);
    ck_assert_uint_eq(t.memory.used, 0);
    end();
    free(stream.data);
    free(received.data);
}
END_TEST

START_TEST(blocked_transport_goes_on_reading)
{
    struct stream stream = stream_new(some_sizes, N_SOME);
    begin();
    uint8_t *room = output_reserve(&t.transport.output, 4 << 20);
    ck_assert_ptr_nonnull(room);
    memset(room, 1, 4 << 20);
    transport_flush_later(&t.transport);
    loop_finish(&t.loop);
    ck_assert(t.transport.is_blocked);
    peer_sends(stream.data, stream.n);
    read_all();
    assert_frames(&stream, N_SOME);
    end();
    free(stream.data);
}
END_TEST

START_TEST(output_is_dropped_with_the_transport)
{
    begin();
    uint8_t *room = output_reserve(&t.transport.output, 100);
    memset(room, 1, 100);
    transport_flush_later(&t.transport);
    transport_close(&t.transport);
    loop_finish(&t.loop); /* it is no longer in the list of who wants to write */
    ck_assert_uint_eq(t.n_writes, 0);
    end();
}
END_TEST

START_TEST(write_to_a_peer_that_is_gone_ends_the_transport)
{
    begin();
    (void)close(t.fd);
    t.fd = -1;
    ck_assert_int_eq(output_append(&t.transport.output, "hello", 5, NULL), 0);
    transport_flush_later(&t.transport);
    loop_finish(&t.loop);
    ck_assert_uint_eq(t.n_ends, 1);
    ck_assert_int_eq(t.end, TRANSPORT_ERROR);
    ck_assert_int_eq(t.error, EPIPE);
    ck_assert_uint_eq(t.n_writes, 0);
    end();
}
END_TEST

START_TEST(connecting_transport_neither_reads_nor_writes_before_it_is_connected)
{
    struct stream stream = stream_new(some_sizes, 2);
    begin_loop();
    open_pair(FRAME_SIZE_MAX, true);
    peer_sends(stream.data, stream.n);
    ck_assert_int_eq(output_append(&t.transport.output, "hello", 5, NULL), 0);
    transport_flush_later(&t.transport);
    loop_finish(&t.loop);
    ck_assert_uint_eq(t.n_writes, 0);
    turn();
    ck_assert_uint_eq(t.n_connects, 1);
    ck_assert_uint_eq(t.n_frames, 0);
    transport_flush_later(&t.transport);
    loop_finish(&t.loop);
    ck_assert_uint_eq(t.n_writes, 1);
    read_all();
    assert_frames(&stream, 2);
    end();
    free(stream.data);
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

static TCase *frame_tests(void)
{
    TCase *tests = tcase_create("frames");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, frames_cut_at_any_byte_are_put_together);
    tcase_add_test(tests, frames_cut_twice_are_put_together);
    tcase_add_test(tests, frames_may_come_byte_by_byte);
    tcase_add_test(tests, frames_of_one_write_come_in_one_read);
    tcase_add_loop_test(tests, large_frame_comes_in_a_buffer_that_can_be_kept, 0, N(large_sizes));
    tcase_add_test(tests, large_frames_that_follow_each_other_come_in_buffers_of_their_own);
    tcase_add_test(
        tests, large_frame_behind_another_is_read_into_its_buffer_from_its_first_piece_on);
    tcase_add_test(tests, megabyte_in_pieces_is_one_frame);
    tcase_add_test(tests, memory_for_a_frame_is_not_taken_because_it_is_announced);
    tcase_add_test(tests, frame_that_does_not_fit_the_memory_ends_the_transport);
    tcase_add_test(tests, frame_without_memory_is_thrown_away_and_the_next_one_is_read);
    tcase_add_test(tests, answer_is_taken_although_the_limit_is_reached);
    tcase_add_test(tests, frame_that_outgrows_the_memory_ends_the_transport);
    tcase_add_loop_test(tests, bad_frame_is_seen_as_soon_as_it_can_be, 0, N(bads));
    return tests;
}

static TCase *pause_tests(void)
{
    TCase *tests = tcase_create("pause");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, pause_in_the_middle_of_a_read_holds_the_rest_back);
    tcase_add_test(tests, every_frame_may_pause_again);
    tcase_add_test(tests, nothing_is_read_while_paused);
    tcase_add_test(tests, backlog_of_a_pause_goes_with_the_transport);
    tcase_add_test(tests, pause_behind_a_large_frame_keeps_what_was_read_with_its_end);
    return tests;
}

static TCase *end_tests(void)
{
    TCase *tests = tcase_create("end");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, transport_may_be_closed_by_any_frame);
    tcase_add_test(tests, end_of_file_comes_once_behind_the_last_frame);
    tcase_add_test(tests, end_of_file_inside_a_frame_leaves_a_partial_one);
    tcase_add_test(tests, what_is_answered_behind_the_end_of_file_is_written);
    return tests;
}

static TCase *output_tests(void)
{
    TCase *tests = tcase_create("output");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, blocked_peer_gets_the_rest_when_it_reads);
    tcase_add_test(tests, blocked_transport_goes_on_reading);
    tcase_add_test(tests, output_is_dropped_with_the_transport);
    tcase_add_test(tests, write_to_a_peer_that_is_gone_ends_the_transport);
    tcase_add_test(tests, connecting_transport_neither_reads_nor_writes_before_it_is_connected);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("transport");
    suite_add_tcase(suite, frame_tests());
    suite_add_tcase(suite, pause_tests());
    suite_add_tcase(suite, end_tests());
    suite_add_tcase(suite, output_tests());
    return run_suite(suite);
}
