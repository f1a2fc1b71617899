#include "client/remotingclient.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/run_suite.h"

/* The test is the daemon: it accepts the client's connection and writes frames by hand. */
struct stage {
    char directory[64];
    char path[96];
    int listener;
    int daemon;
    struct remotingclient *client;
};

static void stage_init(struct stage *stage)
{
    strcpy(stage->directory, "/tmp/remotingclient-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(stage->directory));
    (void)snprintf(stage->path, sizeof(stage->path), "%s/socket", stage->directory);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", stage->path);
    stage->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(stage->listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(stage->listener, 1), 0);
    ck_assert_int_eq(remotingclient_new(stage->path, &stage->client), 0);
    stage->daemon = accept(stage->listener, NULL, NULL);
    ck_assert_int_ge(stage->daemon, 0);
}

static void stage_hang_up(struct stage *stage)
{
    close(stage->daemon);
    stage->daemon = -1;
}

static void stage_deinit(struct stage *stage)
{
    stage->client = remotingclient_free(stage->client);
    if (stage->daemon >= 0) {
        close(stage->daemon);
    }
    close(stage->listener);
    unlink(stage->path);
    rmdir(stage->directory);
}

/* A frame with a JSON header, as PROTOCOL.md draws it; to be freed. */
static uint8_t *make_frame(const char *header, const void *body, size_t n_body, size_t *ret_n)
{
    const size_t n_header = strlen(header);
    const uint32_t length = htobe32((uint32_t)(4 + n_header + n_body));
    const uint32_t word = htobe32((uint32_t)n_header);
    uint8_t *frame = malloc(8 + n_header + n_body);
    ck_assert_ptr_nonnull(frame);
    memcpy(frame, &length, 4);
    memcpy(frame + 4, &word, 4);
    memcpy(frame + 8, header, n_header);
    if (n_body > 0) {
        memcpy(frame + 8 + n_header, body, n_body);
    }
    *ret_n = 8 + n_header + n_body;
    return frame;
}

static uint8_t *make_answer(
    int32_t opaque, int32_t code, const char *more, const char *body, size_t *ret_n)
{
    char header[1024];
    (void)snprintf(header, sizeof(header), "{\"code\":%d,\"flag\":1,\"opaque\":%d%s}", code, opaque,
        more ? more : "");
    return make_frame(header, body, body ? strlen(body) : 0, ret_n);
}

static void write_all(int fd, const void *data, size_t n)
{
    size_t at = 0;
    while (at < n) {
        const ssize_t written = write(fd, (const uint8_t *)data + at, n - at);
        ck_assert_int_gt(written, 0);
        at += (size_t)written;
    }
}

static void answer(
    struct stage *stage, int32_t opaque, int32_t code, const char *more, const char *body)
{
    size_t n;
    uint8_t *frame = make_answer(opaque, code, more, body, &n);
    write_all(stage->daemon, frame, n);
    free(frame);
}

/* One frame of the client without its length word; to be freed. */
static uint8_t *read_frame(int fd, size_t *ret_n)
{
    uint32_t length;
    ck_assert_int_eq(recv(fd, &length, 4, MSG_WAITALL), 4);
    *ret_n = be32toh(length);
    uint8_t *frame = malloc(*ret_n + 1);
    ck_assert_ptr_nonnull(frame);
    ck_assert_int_eq(recv(fd, frame, *ret_n, MSG_WAITALL), (ssize_t)*ret_n);
    frame[*ret_n] = 0;
    return frame;
}

static struct remotingclient_request *make_request(void)
{
    struct remotingclient_request *request = remotingclient_request_new(REMOTINGCLIENT_SEND);
    remotingclient_request_add(request, "topic", "orders");
    remotingclient_request_set_body(request, "hello", 5);
    return request;
}

static int32_t submit(struct stage *stage, uint64_t token)
{
    int32_t opaque;
    struct remotingclient_request *request = make_request();
    ck_assert_int_eq(remotingclient_submit(stage->client, request, token, &opaque), 0);
    remotingclient_request_free(request);
    return opaque;
}

/* Steps until an answer is there or something failed; the bytes are on their way. */
static int step_and_take(struct stage *stage, struct remotingclient_answer **ret_answer)
{
    for (;;) {
        const int r = remotingclient_take(stage->client, ret_answer);
        if (r != -EAGAIN) {
            return r;
        }
        struct pollfd fd = {
            .fd = remotingclient_fd(stage->client),
            .events = remotingclient_events(stage->client),
        };
        ck_assert_int_eq(poll(&fd, 1, 10000), 1);
        (void)remotingclient_step(stage->client);
    }
}

static void take_token(struct stage *stage, uint64_t token)
{
    struct remotingclient_answer *seen;
    ck_assert_int_eq(step_and_take(stage, &seen), 0);
    ck_assert_uint_eq(remotingclient_answer_token(seen), token);
    remotingclient_answer_free(seen);
}

START_TEST(answers_come_in_any_order_and_are_found_by_their_opaque)
{
    struct stage stage;
    stage_init(&stage);
    int32_t opaques[3];
    for (uint64_t i = 0; i < 3; i++) {
        opaques[i] = submit(&stage, 10 + i);
    }
    answer(&stage, opaques[2], 0, NULL, NULL);
    answer(&stage, opaques[0], 0, NULL, NULL);
    answer(&stage, opaques[1], 0, NULL, NULL);

    struct remotingclient_answer *seen;
    ck_assert_int_eq(remotingclient_receive_opaque(stage.client, opaques[1], &seen), 0);
    ck_assert_uint_eq(remotingclient_answer_token(seen), 11);
    ck_assert_int_eq(remotingclient_answer_opaque(seen), opaques[1]);
    remotingclient_answer_free(seen);
    ck_assert_uint_eq(remotingclient_n_in_flight(stage.client), 2);
    ck_assert_int_eq(remotingclient_timeout_ms(stage.client), 0);

    ck_assert_int_eq(remotingclient_receive_opaque(stage.client, opaques[0], &seen), 0);
    ck_assert_uint_eq(remotingclient_answer_token(seen), 10);
    remotingclient_answer_free(seen);
    ck_assert_int_eq(remotingclient_receive(stage.client, &seen), 0);
    ck_assert_uint_eq(remotingclient_answer_token(seen), 12);
    remotingclient_answer_free(seen);
    ck_assert_uint_eq(remotingclient_n_in_flight(stage.client), 0);
    stage_deinit(&stage);
}
END_TEST

START_TEST(nothing_in_flight_is_not_waited_for)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_answer *seen;
    ck_assert_int_eq(remotingclient_receive(stage.client, &seen), -ENODATA);
    ck_assert_int_eq(remotingclient_receive_opaque(stage.client, 4711, &seen), -ENODATA);
    ck_assert_int_eq(remotingclient_take(stage.client, &seen), -EAGAIN);
    ck_assert_int_eq(remotingclient_timeout_ms(stage.client), -1);
    stage_deinit(&stage);
}
END_TEST

START_TEST(an_answer_may_be_cut_at_every_byte)
{
    struct stage stage;
    stage_init(&stage);
    const int32_t opaque = submit(&stage, 1);
    size_t n;
    uint8_t *frame = make_answer(opaque, 0, ",\"extFields\":{\"msgId\":\"A1\"}", "body", &n);
    struct remotingclient_answer *seen = NULL;
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(remotingclient_take(stage.client, &seen), -EAGAIN);
        write_all(stage.daemon, frame + i, 1);
        ck_assert_int_eq(remotingclient_step(stage.client), 0);
    }
    ck_assert_int_eq(remotingclient_take(stage.client, &seen), 0);
    ck_assert_str_eq(remotingclient_answer_field(seen, "msgId"), "A1");
    ck_assert_ptr_null(remotingclient_answer_field(seen, "queueId"));
    ck_assert_ptr_null(remotingclient_answer_remark(seen));
    ck_assert_str_eq(remotingclient_answer_body(seen, &n), "body");
    ck_assert_uint_eq(n, 4);
    remotingclient_answer_free(seen);
    free(frame);
    stage_deinit(&stage);
}
END_TEST

START_TEST(many_answers_in_one_piece_are_taken_one_by_one)
{
    struct stage stage;
    stage_init(&stage);
    for (uint64_t i = 0; i < 200; i++) {
        answer(&stage, submit(&stage, i), 0, NULL, "x");
    }
    for (uint64_t i = 0; i < 200; i++) {
        take_token(&stage, i);
    }
    stage_deinit(&stage);
}
END_TEST

START_TEST(what_the_socket_does_not_take_is_written_by_later_steps)
{
    struct stage stage;
    stage_init(&stage);
    const size_t n_body = 4 * 1024 * 1024;
    char *body = malloc(n_body);
    for (size_t i = 0; i < n_body; i++) {
        body[i] = (char)(i * 31);
    }
    struct remotingclient_request *request = make_request();
    remotingclient_request_set_body(request, body, n_body);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 7, NULL), 0);
    ck_assert(remotingclient_events(stage.client) & POLLOUT);
    char *copy = malloc(n_body);
    memcpy(copy, body, n_body);
    memset(body, 0, n_body); /* it was copied */

    uint8_t *seen = malloc(n_body + 4096);
    size_t n = 0;
    while (remotingclient_events(stage.client) & POLLOUT) {
        const ssize_t n_read = recv(stage.daemon, seen + n, n_body + 4096 - n, MSG_DONTWAIT);
        n += n_read > 0 ? (size_t)n_read : 0;
        ck_assert_int_eq(remotingclient_step(stage.client), 0);
    }
    uint32_t length;
    memcpy(&length, seen, 4);
    const size_t rest = be32toh(length) + 4 - n;
    ck_assert_int_eq(recv(stage.daemon, seen + n, rest, MSG_WAITALL), (ssize_t)rest);
    ck_assert_int_eq(memcmp(seen + n + rest - n_body, copy, n_body), 0);
    free(seen);
    free(copy);
    free(body);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

START_TEST(more_than_fits_is_refused_until_answers_are_taken)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_request *request = remotingclient_request_new(REMOTINGCLIENT_ACK);
    int32_t first = 0;
    for (uint64_t i = 0; i < REMOTINGCLIENT_IN_FLIGHT_MAX; i++) {
        ck_assert_int_eq(
            remotingclient_submit(stage.client, request, i, i == 0 ? &first : NULL), 0);
    }
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), -EAGAIN);
    ck_assert_int_eq(remotingclient_send(stage.client, request, 0, NULL), -EAGAIN);
    answer(&stage, first, 0, NULL, NULL);
    take_token(&stage, 0);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), 0);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

START_TEST(at_most_one_frame_too_much_waits_to_be_written)
{
    struct stage stage;
    stage_init(&stage);
    const size_t n_body = 10 * 1024 * 1024;
    struct remotingclient_request *request = make_request();
    char *body = calloc(1, n_body);
    remotingclient_request_set_body(request, body, n_body);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), 0);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), 0);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), -EAGAIN);
    ck_assert_uint_eq(remotingclient_n_in_flight(stage.client), 2);
    free(body);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

START_TEST(answers_that_came_before_the_end_are_still_taken)
{
    struct stage stage;
    stage_init(&stage);
    const int32_t first = submit(&stage, 1);
    (void)submit(&stage, 2);
    answer(&stage, first, 0, NULL, NULL);
    stage_hang_up(&stage);
    struct remotingclient_request *request = make_request();
    take_token(&stage, 1);

    struct remotingclient_answer *seen;
    ck_assert_int_eq(step_and_take(&stage, &seen), -ECONNRESET);
    ck_assert_int_eq(remotingclient_receive(stage.client, &seen), -ECONNRESET);
    ck_assert_int_eq(remotingclient_step(stage.client), -ECONNRESET);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), -ECONNRESET);
    ck_assert_int_eq(remotingclient_call(stage.client, request, &seen), -ECONNRESET);
    ck_assert_int_eq(remotingclient_timeout_ms(stage.client), 0);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_daemon_that_goes_away_inside_a_frame_is_a_lost_connection)
{
    struct stage stage;
    stage_init(&stage);
    const int32_t opaque = submit(&stage, 1);
    size_t n;
    uint8_t *frame = make_answer(opaque, 0, NULL, "body", &n);
    write_all(stage.daemon, frame, n - 1);
    stage_hang_up(&stage);
    struct remotingclient_answer *seen;
    ck_assert_int_eq(remotingclient_receive(stage.client, &seen), -ECONNRESET);
    free(frame);
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_oneway_request_to_nobody_is_told)
{
    struct stage stage;
    stage_init(&stage);
    stage_hang_up(&stage);
    struct remotingclient_request *request = make_request();
    remotingclient_request_set_oneway(request, true);
    ck_assert_int_eq(remotingclient_send(stage.client, request, 0, NULL), -ECONNRESET);
    ck_assert_uint_eq(remotingclient_n_in_flight(stage.client), 0);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

struct garbage {
    const char *data;
    size_t n;
    const char *problem; /* a part of the sentence */
};

static const struct garbage garbage[] = {
    { "\x01\x00\x00\x00\x00\x00\x00\x02{}", 10, "16777212" },
    { "\xff\xff\xff\xff\x00\x00\x00\x02{}", 10, "length" },
    { "\x00\x00\x00\x06\x07\x00\x00\x02{}", 10, "type" },
    { "\x00\x00\x00\x06\x00\x00\x00\xff{}", 10, "header" },
    { "\x00\x00\x00\x06\x00\x00\x00\x02}{", 10, "header" },
    { "HTTP/1.1 400 Bad Request", 24, "length" },
};

START_TEST(what_is_no_frame_is_said_in_a_sentence)
{
    struct stage stage;
    stage_init(&stage);
    (void)submit(&stage, 1);
    write_all(stage.daemon, garbage[_i].data, garbage[_i].n);
    struct remotingclient_answer *seen;
    ck_assert_int_eq(remotingclient_receive(stage.client, &seen), -EBADMSG);
    ck_assert_msg(strcasestr(remotingclient_problem(stage.client), garbage[_i].problem),
        "case %d: %s", _i, remotingclient_problem(stage.client));
    ck_assert_int_eq(remotingclient_receive(stage.client, &seen), -EBADMSG);
    stage_deinit(&stage);
}
END_TEST

START_TEST(what_nobody_asked_for_is_dropped)
{
    struct stage stage;
    stage_init(&stage);
    const int32_t opaque = submit(&stage, 5);
    size_t n;
    uint8_t *event = make_frame("{\"code\":30009,\"flag\":2,\"opaque\":1}", NULL, 0, &n);
    write_all(stage.daemon, event, n);
    answer(&stage, opaque + 1, 0, NULL, NULL);
    answer(&stage, opaque, 0, NULL, NULL);
    answer(&stage, opaque, 0, NULL, NULL);
    take_token(&stage, 5);
    struct remotingclient_answer *seen;
    ck_assert_int_eq(remotingclient_take(stage.client, &seen), -EAGAIN);
    free(event);
    stage_deinit(&stage);
}
END_TEST

START_TEST(requests_of_the_daemon_are_handed_out_once_accepted)
{
    struct stage stage;
    stage_init(&stage);
    remotingclient_accept_requests(stage.client);
    size_t n;
    uint8_t *event = make_frame(
        "{\"code\":30009,\"flag\":2,\"opaque\":1,\"extFields\":{\"event\":\"IDLE\"}}", NULL, 0, &n);
    uint8_t *events = malloc(300 * n);
    for (size_t i = 0; i < 300; i++) {
        memcpy(events + i * n, event, n);
    }
    write_all(stage.daemon, events, 300 * n);
    free(events);
    const int32_t opaque = submit(&stage, 5);
    answer(&stage, opaque, 0, NULL, NULL);
    struct remotingclient_answer *seen;
    ck_assert_int_eq(remotingclient_receive_opaque(stage.client, opaque, &seen), 0);
    ck_assert(!remotingclient_answer_is_request(seen));
    remotingclient_answer_free(seen);
    for (int i = 0; i < 256; i++) {
        ck_assert_int_eq(remotingclient_take(stage.client, &seen), 0);
        ck_assert(remotingclient_answer_is_request(seen));
        ck_assert_str_eq(remotingclient_answer_field(seen, "event"), "IDLE");
        remotingclient_answer_free(seen);
    }
    ck_assert_int_eq(remotingclient_take(stage.client, &seen), -EAGAIN);
    free(event);
    stage_deinit(&stage);
}
END_TEST

/* --- What blocks needs somebody else to answer --- */

struct thread {
    pthread_t thread;
    struct stage *stage;
    uint8_t *request; /* the last one */
    const char *more;
    const char *body;
    int32_t code;
};

static int32_t opaque_of(const uint8_t *frame)
{
    const char *at = strstr((const char *)frame + 4, "\"opaque\":");
    return at ? (int32_t)strtol(at + strlen("\"opaque\":"), NULL, 10) : 0;
}

static void *answer_one(void *argument)
{
    struct thread *thread = argument;
    size_t n;
    thread->request = read_frame(thread->stage->daemon, &n);
    answer(thread->stage, opaque_of(thread->request), thread->code, thread->more, thread->body);
    return NULL;
}

static void thread_start(struct thread *thread, void *(*function)(void *))
{
    ck_assert_int_eq(pthread_create(&thread->thread, NULL, function, thread), 0);
}

static void thread_join(struct thread *thread)
{
    ck_assert_int_eq(pthread_join(thread->thread, NULL), 0);
}

START_TEST(a_message_is_sent_with_its_properties)
{
    struct stage stage;
    stage_init(&stage);
    struct thread thread = { .stage = &stage, .more = ",\"extFields\":{\"queueId\":\"3\"}" };
    thread_start(&thread, answer_one);
    const char *const properties[] = { "KEYS", "k\"1", "TAGS", "paid", NULL };
    struct remotingclient_answer *seen;
    ck_assert_int_eq(
        remotingclient_send_message(stage.client, "orders", "hello", 5, properties, &seen), 0);
    thread_join(&thread);
    const char *header = (const char *)thread.request + 4;
    ck_assert_ptr_nonnull(strstr(header, "\"code\":10,"));
    ck_assert_ptr_nonnull(strstr(header, "\"topic\":\"orders\""));
    ck_assert_ptr_nonnull(strstr(header, "\"property.KEYS\":\"k\\\"1\""));
    ck_assert_ptr_nonnull(strstr(header, "\"property.TAGS\":\"paid\""));
    ck_assert_ptr_nonnull(strstr(header, "}hello"));
    ck_assert_str_eq(remotingclient_answer_field(seen, "queueId"), "3");
    ck_assert(remotingclient_answer_is_stored(seen));
    remotingclient_answer_free(seen);
    free(thread.request);
    stage_deinit(&stage);
}
END_TEST

START_TEST(messages_are_asked_for_and_acknowledged)
{
    struct stage stage;
    stage_init(&stage);
    struct thread thread = { .stage = &stage, .code = 210 };
    thread_start(&thread, answer_one);
    struct remotingclient_answer *seen;
    ck_assert_int_eq(
        remotingclient_receive_messages(stage.client, "orders", "billing", 7, 1500, &seen), 0);
    thread_join(&thread);
    const char *header = (const char *)thread.request + 4;
    ck_assert_ptr_nonnull(strstr(header, "\"consumerGroup\":\"billing\""));
    ck_assert_ptr_nonnull(strstr(header, "\"maxMsgNums\":\"7\""));
    ck_assert_ptr_nonnull(strstr(header, "\"pollTime\":\"1500\""));
    ck_assert_ptr_nonnull(strstr(header, "\"sidecar.answerFormat\":\"json\""));
    struct remotingclient_messages *messages;
    ck_assert_int_eq(remotingclient_messages_new(seen, &messages), 0);
    ck_assert_uint_eq(remotingclient_messages_count(messages), 0);
    remotingclient_messages_free(messages);
    remotingclient_answer_free(seen);
    free(thread.request);

    thread = (struct thread){ .stage = &stage };
    thread_start(&thread, answer_one);
    ck_assert_int_eq(remotingclient_acknowledge(stage.client, "1.r", &seen), 0);
    thread_join(&thread);
    ck_assert_ptr_nonnull(strstr((const char *)thread.request + 4, "\"sidecar.receipt\":\"1.r\""));
    ck_assert_int_eq(
        remotingclient_receive_messages(stage.client, "t", "g", 33, 0, &seen), -EINVAL);
    free(thread.request);
    remotingclient_answer_free(seen);
    stage_deinit(&stage);
}
END_TEST

#define LARGE ((size_t)3 * 1024 * 1024)

/* Answers two requests with 3 MiB each before it reads the third. */
static void *write_before_reading(void *argument)
{
    struct thread *thread = argument;
    char *body = malloc(LARGE + 1);
    memset(body, 'x', LARGE);
    body[LARGE] = '\0';
    int32_t opaques[2];
    for (size_t i = 0; i < 2; i++) {
        size_t n;
        uint8_t *request = read_frame(thread->stage->daemon, &n);
        opaques[i] = opaque_of(request);
        free(request);
    }
    for (size_t i = 0; i < 2; i++) {
        answer(thread->stage, opaques[i], 0, NULL, body);
    }
    free(body);
    return answer_one(thread);
}

START_TEST(a_daemon_that_writes_before_it_reads_is_not_waited_for_in_vain)
{
    struct stage stage;
    stage_init(&stage);
    struct thread thread = { .stage = &stage };
    thread_start(&thread, write_before_reading);
    (void)submit(&stage, 1);
    (void)submit(&stage, 2);
    struct remotingclient_request *request = make_request();
    char *body = calloc(1, LARGE);
    remotingclient_request_set_body(request, body, LARGE);
    ck_assert_int_eq(remotingclient_send(stage.client, request, 3, NULL), 0);
    for (uint64_t i = 1; i <= 3; i++) {
        struct remotingclient_answer *seen;
        size_t n;
        ck_assert_int_eq(remotingclient_receive(stage.client, &seen), 0);
        ck_assert_uint_eq(remotingclient_answer_token(seen), i);
        (void)remotingclient_answer_body(seen, &n);
        ck_assert_uint_eq(n, i < 3 ? LARGE : 0);
        remotingclient_answer_free(seen);
    }
    thread_join(&thread);
    free(thread.request);
    free(body);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

/* --- Failures --- */

static struct remotingclient_answer *answered(
    struct stage *stage, int32_t code, const char *more, const char *body)
{
    struct remotingclient_answer *seen;
    answer(stage, submit(stage, 0), code, more, body);
    ck_assert_int_eq(step_and_take(stage, &seen), 0);
    return seen;
}

START_TEST(a_failure_of_the_daemon_says_all_that_it_told)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_answer *seen = answered(&stage, 2,
        ",\"remark\":\"too much\",\"extFields\":{\"sidecar.error\":\"overloaded\","
        "\"sidecar.sent\":\"no\",\"sidecar.retryAfterMillis\":\"250\","
        "\"sidecar.requestId\":\"42-7\"}",
        NULL);
    struct remotingclient_failure failure;
    ck_assert(remotingclient_answer_failure(seen, &failure));
    ck_assert_int_eq(failure.code, 2);
    ck_assert_str_eq(failure.error, "overloaded");
    ck_assert_str_eq(failure.remark, "too much");
    ck_assert_int_eq(failure.sent, REMOTINGCLIENT_SENT_NO);
    ck_assert_int_eq(failure.retry_after_ms, 250);
    ck_assert_str_eq(failure.request_id, "42-7");
    remotingclient_answer_free(seen);

    seen = answered(&stage, 10002,
        ",\"extFields\":{\"sidecar.error\":\"timeout\",\"sidecar.sent\":\"maybe\"}", NULL);
    ck_assert(remotingclient_answer_failure(seen, &failure));
    ck_assert_int_eq(failure.sent, REMOTINGCLIENT_SENT_MAYBE);
    ck_assert_int_eq(failure.retry_after_ms, -1);
    ck_assert_ptr_nonnull(failure.remark);
    ck_assert_ptr_null(failure.request_id);
    remotingclient_answer_free(seen);
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_broker_that_says_no_is_no_failure_of_the_daemon)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_answer *seen =
        answered(&stage, 16, ",\"remark\":\"no permission\"", NULL);
    struct remotingclient_failure failure;
    ck_assert(remotingclient_answer_failure(seen, &failure));
    ck_assert_int_eq(failure.code, 16);
    ck_assert_ptr_null(failure.error);
    ck_assert_int_eq(failure.sent, REMOTINGCLIENT_SENT_UNTOLD);
    ck_assert(!remotingclient_answer_is_stored(seen));
    remotingclient_answer_free(seen);

    seen = answered(&stage, 0, NULL, NULL);
    ck_assert(!remotingclient_answer_failure(seen, &failure));
    remotingclient_answer_free(seen);
    stage_deinit(&stage);
}
END_TEST

START_TEST(warnings_of_a_broker_mean_that_the_message_is_stored)
{
    struct stage stage;
    stage_init(&stage);
    for (int32_t code = 9; code <= 13; code++) {
        struct remotingclient_answer *seen = answered(&stage, code, NULL, NULL);
        ck_assert_int_eq(remotingclient_answer_is_stored(seen), code >= 10 && code <= 12);
        remotingclient_answer_free(seen);
    }
    struct remotingclient_answer *seen =
        answered(&stage, 10, ",\"extFields\":{\"sidecar.error\":\"invalid\"}", NULL);
    ck_assert(!remotingclient_answer_is_stored(seen));
    remotingclient_answer_free(seen);
    stage_deinit(&stage);
}
END_TEST

/* --- Messages --- */

static const char three_messages[] =
    "[{\"topic\":\"orders\",\"body\":\"h\\u00e9llo\\u0000!\",\"encoding\":\"utf-8\","
    "\"properties\":{\"region\":\"eu\"},\"keys\":\"k1\",\"tags\":null,\"uniqKey\":\"U\","
    "\"brokerName\":\"broker-a\",\"queueId\":3,\"queueOffset\":4294967296,"
    "\"bornTimestamp\":1700000000000,\"reconsumeTimes\":2,\"receipt\":\"1.r\"},"
    "{\"topic\":\"orders\",\"body\":\"AAH/\",\"encoding\":\"base64\"},"
    "{\"topic\":\"orders\",\"raw\":\"AA==\",\"reason\":\"cut short\"},"
    "{\"topic\":\"orders\",\"body\":\"A\",\"encoding\":\"base64\"}]";

START_TEST(messages_are_structs)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_answer *seen = answered(&stage, 0, NULL, three_messages);
    struct remotingclient_messages *messages;
    ck_assert_int_eq(remotingclient_messages_new(seen, &messages), 0);
    remotingclient_answer_free(seen);
    ck_assert_uint_eq(remotingclient_messages_count(messages), 4);

    const struct remotingclient_message *message = remotingclient_messages_get(messages, 0);
    ck_assert_uint_eq(message->n_body, 8);
    ck_assert_int_eq(memcmp(message->body, "h\xc3\xa9llo\0!", 9), 0);
    ck_assert_str_eq(message->keys, "k1");
    ck_assert_ptr_null(message->tags);
    ck_assert_str_eq(message->uniq_key, "U");
    ck_assert_str_eq(message->broker_name, "broker-a");
    ck_assert_int_eq(message->queue_id, 3);
    ck_assert_int_eq(message->queue_offset, 4294967296);
    ck_assert_int_eq(message->born_timestamp_ms, 1700000000000);
    ck_assert_int_eq(message->reconsume_times, 2);
    ck_assert_str_eq(message->receipt, "1.r");
    ck_assert_str_eq(remotingclient_messages_property(messages, 0, "region"), "eu");
    ck_assert_ptr_null(remotingclient_messages_property(messages, 0, "colour"));
    ck_assert_ptr_null(remotingclient_messages_property(messages, 1, "region"));

    message = remotingclient_messages_get(messages, 1);
    ck_assert_uint_eq(message->n_body, 3);
    ck_assert_int_eq(memcmp(message->body, "\x00\x01\xff", 4), 0);
    ck_assert_ptr_null(message->reason);

    message = remotingclient_messages_get(messages, 2);
    ck_assert_ptr_null(message->body);
    ck_assert_str_eq(message->reason, "cut short");
    message = remotingclient_messages_get(messages, 3);
    ck_assert_ptr_null(message->body);
    ck_assert_ptr_nonnull(message->reason);
    remotingclient_messages_free(messages);
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_body_that_is_no_array_of_messages_is_refused)
{
    static const char *const bodies[] = { "", "{}", "[", "nonsense", "[{\"a\":1,\"a\":2}]" };
    struct stage stage;
    stage_init(&stage);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct remotingclient_answer *seen = answered(&stage, 0, NULL, bodies[i]);
        struct remotingclient_messages *messages;
        ck_assert_int_eq(remotingclient_messages_new(seen, &messages), -EBADMSG);
        remotingclient_answer_free(seen);
    }
    struct remotingclient_answer *seen = answered(&stage, 0, NULL, "[1, null, \"x\"]");
    struct remotingclient_messages *messages;
    ck_assert_int_eq(remotingclient_messages_new(seen, &messages), 0);
    ck_assert_uint_eq(remotingclient_messages_count(messages), 3);
    ck_assert_ptr_nonnull(remotingclient_messages_get(messages, 1)->reason);
    remotingclient_messages_free(messages);
    remotingclient_answer_free(seen);
    stage_deinit(&stage);
}
END_TEST

START_TEST(the_properties_of_a_message_are_gone_through_in_their_order)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_answer *seen = answered(&stage, 0, NULL,
        "[{\"properties\": {\"b\": \"1\", \"a\": 7, \"\": \"x\\u0000y\", \"c\": \"\"}}, {}]");
    struct remotingclient_messages *messages;
    struct remotingclient_text name;
    struct remotingclient_text value;
    ck_assert_int_eq(remotingclient_messages_new(seen, &messages), 0);
    remotingclient_answer_free(seen);

    ck_assert(remotingclient_messages_next_property(messages, 0, NULL, &name, &value));
    ck_assert_str_eq(name.data, "b");
    ck_assert_str_eq(value.data, "1");
    /* What is no string is no property. */
    ck_assert(remotingclient_messages_next_property(messages, 0, "b", &name, &value));
    ck_assert_uint_eq(name.n, 0);
    ck_assert_uint_eq(value.n, 3);
    ck_assert_mem_eq(value.data, "x\0y", 3);
    ck_assert(remotingclient_messages_next_property(messages, 0, "", &name, &value));
    ck_assert_str_eq(name.data, "c");
    ck_assert_uint_eq(value.n, 0);
    ck_assert(!remotingclient_messages_next_property(messages, 0, "c", &name, &value));
    ck_assert(!remotingclient_messages_next_property(messages, 0, "absent", &name, &value));
    ck_assert(!remotingclient_messages_next_property(messages, 1, NULL, &name, &value));
    remotingclient_messages_free(messages);
    stage_deinit(&stage);
}
END_TEST

/* --- Requests --- */

START_TEST(a_request_that_cannot_be_sent_says_why)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_request *request = make_request();
    remotingclient_request_add(request, "topic", "again");
    ck_assert_str_eq(remotingclient_request_problem(request), "'topic' is given twice");
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), -EINVAL);
    remotingclient_request_remove(request, "topic");
    ck_assert_ptr_null(remotingclient_request_problem(request));
    remotingclient_request_free(request);

    request = remotingclient_request_new(REMOTINGCLIENT_SEND);
    for (int i = 0; i <= 256; i++) {
        ck_assert_ptr_null(remotingclient_request_problem(request));
        char name[16];
        (void)snprintf(name, sizeof(name), "p%d", i);
        remotingclient_request_add_property(request, name, "v");
    }
    ck_assert_ptr_nonnull(strstr(remotingclient_request_problem(request), "256"));
    ck_assert_int_eq(remotingclient_send(stage.client, request, 0, NULL), -EINVAL);
    remotingclient_request_free(request);

    struct remotingclient_answer *seen;
    ck_assert_ptr_nonnull(remotingclient_request_problem(NULL));
    ck_assert_int_eq(remotingclient_call(stage.client, NULL, &seen), -ENOMEM);
    ck_assert_uint_eq(remotingclient_n_in_flight(stage.client), 0);
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_request_beyond_a_frame_is_refused_and_nothing_is_written)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_request *request = make_request();
    char *body = calloc(1, 16777216);
    remotingclient_request_set_body(request, body, 16777216);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), -EMSGSIZE);
    char byte;
    ck_assert_int_eq(recv(stage.daemon, &byte, 1, MSG_DONTWAIT), -1);
    free(body);
    remotingclient_request_free(request);
    take_token(&stage, (answer(&stage, submit(&stage, 9), 0, NULL, NULL), 9));
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_request_is_used_again_with_other_fields)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_request *request = make_request();
    for (int i = 0; i < 1000; i++) {
        remotingclient_request_remove(request, "property.KEYS");
        remotingclient_request_add_property(request, "KEYS", i % 2 ? "odd" : "even");
    }
    ck_assert_ptr_null(remotingclient_request_problem(request));
    remotingclient_request_add(request, "producerGroup", NULL);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), 0);
    size_t n;
    uint8_t *frame = read_frame(stage.daemon, &n);
    ck_assert_ptr_nonnull(strstr((const char *)frame + 4, "\"property.KEYS\":\"odd\""));
    ck_assert_ptr_null(strstr((const char *)frame + 4, "producerGroup"));
    free(frame);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_oneway_request_is_written_and_not_waited_for)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_request *request = make_request();
    remotingclient_request_set_oneway(request, true);
    struct remotingclient_answer *seen;
    ck_assert_int_eq(remotingclient_call(stage.client, request, &seen), -EINVAL);
    ck_assert_int_eq(remotingclient_send(stage.client, request, 0, NULL), 0);
    ck_assert_uint_eq(remotingclient_n_in_flight(stage.client), 0);
    size_t n;
    uint8_t *frame = read_frame(stage.daemon, &n);
    ck_assert_ptr_nonnull(strstr((const char *)frame + 4, "\"flag\":2"));
    free(frame);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

struct wait {
    const char *name;
    int64_t value;
    int expected_ms;
};

/* PROTOCOL.md: 3000 ms, or the poll time and 5 s; and 5 s of ours. */
static const struct wait waits[] = {
    { "queueId", 1, 8000 },
    { "sidecar.timeoutMillis", 100, 5100 },
    { "pollTime", 20000, 30000 },
    { "suspendTimeoutMillis", 1000, 11000 },
};

START_TEST(an_answer_is_waited_for_as_long_as_the_daemon_may_take)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_request *request = make_request();
    remotingclient_request_add_number(request, waits[_i].name, waits[_i].value);
    ck_assert_int_eq(remotingclient_submit(stage.client, request, 0, NULL), 0);
    const int left_ms = remotingclient_timeout_ms(stage.client);
    ck_assert_int_le(left_ms, waits[_i].expected_ms);
    ck_assert_int_gt(left_ms, waits[_i].expected_ms - 2000);
    remotingclient_request_free(request);
    stage_deinit(&stage);
}
END_TEST

/* consume.poll_time is 15 s, and the daemon has 5 s more; and 5 s of ours. */
START_TEST(a_pop_without_a_poll_time_is_waited_for_as_long_as_the_daemon_polls)
{
    struct stage stage;
    stage_init(&stage);
    struct remotingclient_request *request = remotingclient_request_new(REMOTINGCLIENT_POP);
    struct remotingclient_request *binary = remotingclient_request_new(30000);
    remotingclient_request_set_binary(binary, true);
    remotingclient_request_add_number(binary, "sidecar.code", REMOTINGCLIENT_POP);
    struct remotingclient_request *requests[] = { request, binary };
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(remotingclient_submit(stage.client, requests[i], 0, NULL), 0);
        const int left_ms = remotingclient_timeout_ms(stage.client);
        ck_assert_int_le(left_ms, 25000);
        ck_assert_int_gt(left_ms, 23000);
        remotingclient_request_free(requests[i]);
    }
    stage_deinit(&stage);
}
END_TEST

START_TEST(a_client_without_a_daemon_says_what_is_missing)
{
    struct remotingclient *client = NULL;
    char path[200];
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(remotingclient_new("/nonexistent/socket", &client), -ENOENT);
    ck_assert_int_eq(remotingclient_new(path, &client), -ENAMETOOLONG);
    ck_assert_int_eq(setenv("REMOTINGD_SOCKET", "/nonexistent/other", 1), 0);
    ck_assert_str_eq(remotingclient_default_socket(), "/nonexistent/other");
    ck_assert_int_eq(remotingclient_new(NULL, &client), -ENOENT);
    ck_assert_int_eq(setenv("REMOTINGD_SOCKET", "", 1), 0);
    ck_assert_str_eq(remotingclient_default_socket(), REMOTINGCLIENT_SOCKET);
    ck_assert_int_eq(unsetenv("REMOTINGD_SOCKET"), 0);
    ck_assert_ptr_null(client);
    ck_assert_ptr_null(remotingclient_free(NULL));
    ck_assert_ptr_null(remotingclient_answer_free(NULL));
    ck_assert_ptr_null(remotingclient_request_free(NULL));
    ck_assert_ptr_null(remotingclient_messages_free(NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("remotingclient");
    TCase *tcase = tcase_create("remotingclient");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, answers_come_in_any_order_and_are_found_by_their_opaque);
    tcase_add_test(tcase, nothing_in_flight_is_not_waited_for);
    tcase_add_test(tcase, an_answer_may_be_cut_at_every_byte);
    tcase_add_test(tcase, many_answers_in_one_piece_are_taken_one_by_one);
    tcase_add_test(tcase, what_the_socket_does_not_take_is_written_by_later_steps);
    tcase_add_test(tcase, more_than_fits_is_refused_until_answers_are_taken);
    tcase_add_test(tcase, at_most_one_frame_too_much_waits_to_be_written);
    tcase_add_test(tcase, answers_that_came_before_the_end_are_still_taken);
    tcase_add_test(tcase, a_daemon_that_goes_away_inside_a_frame_is_a_lost_connection);
    tcase_add_test(tcase, a_oneway_request_to_nobody_is_told);
    tcase_add_loop_test(tcase, what_is_no_frame_is_said_in_a_sentence, 0,
        (int)(sizeof(garbage) / sizeof(garbage[0])));
    tcase_add_test(tcase, what_nobody_asked_for_is_dropped);
    tcase_add_test(tcase, requests_of_the_daemon_are_handed_out_once_accepted);
    tcase_add_test(tcase, a_message_is_sent_with_its_properties);
    tcase_add_test(tcase, messages_are_asked_for_and_acknowledged);
    tcase_add_test(tcase, a_daemon_that_writes_before_it_reads_is_not_waited_for_in_vain);
    tcase_add_test(tcase, a_failure_of_the_daemon_says_all_that_it_told);
    tcase_add_test(tcase, a_broker_that_says_no_is_no_failure_of_the_daemon);
    tcase_add_test(tcase, warnings_of_a_broker_mean_that_the_message_is_stored);
    tcase_add_test(tcase, messages_are_structs);
    tcase_add_test(tcase, a_body_that_is_no_array_of_messages_is_refused);
    tcase_add_test(tcase, the_properties_of_a_message_are_gone_through_in_their_order);
    tcase_add_test(tcase, a_request_that_cannot_be_sent_says_why);
    tcase_add_test(tcase, a_request_beyond_a_frame_is_refused_and_nothing_is_written);
    tcase_add_test(tcase, a_request_is_used_again_with_other_fields);
    tcase_add_test(tcase, a_oneway_request_is_written_and_not_waited_for);
    tcase_add_loop_test(tcase, an_answer_is_waited_for_as_long_as_the_daemon_may_take, 0,
        (int)(sizeof(waits) / sizeof(waits[0])));
    tcase_add_test(tcase, a_pop_without_a_poll_time_is_waited_for_as_long_as_the_daemon_polls);
    tcase_add_test(tcase, a_client_without_a_daemon_says_what_is_missing);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
