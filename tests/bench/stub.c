/*
 * stub: a broker that answers at once
 *
 *     stub [--reply BYTES] [--batch N] [--route HOST:PORT] ENDPOINT...
 *
 * Listens on every ENDPOINT (host:port or a path), says "listening ENDPOINT" for each, and answers
 * each request with a small SEND_MESSAGE response of the same opaque, in the header form of the
 * request, one write per connection and turn. The body of an answer is BYTES long (by default 16)
 * and begins and ends with the request's token; a request whose body does not end as it begins
 * ends the stub. GET_ROUTEINFO_BY_TOPIC (105) is answered with a route to the first TCP endpoint, or to
 * HOST:PORT.
 *
 * With --batch it holds its answers until N requests have come: a daemon then meets the same
 * requests and answers in the same turns on every run. SIGTERM ends it.
 */
#include "tests/bench/endpoint.h"
#include "tests/bench/frame_reader.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE     (1u << 20)
#define N_EVENTS      512
#define HEADER_ROOM   512u
#define PREFIX_SIZE   8u
#define GET_ROUTEINFO 105

#define ANSWER_BEFORE                                                                              \
    "{\"code\":0,\"extFields\":{\"queueId\":\"0\",\"msgId\":\"7F000001000051AF0000000000000000\"," \
    "\"queueOffset\":\"0\",\"MSG_REGION\":\"DefaultRegion\",\"TRACE_ON\":\"true\"},\"flag\":1,"    \
    "\"language\":\"JAVA\",\"opaque\":"
#define ANSWER_AFTER ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}"

/* A connection, or a listener (is_listener), with the answers that are not written yet. */
struct connection {
    int fd;
    bool is_listener;
    bool is_dirty;   /* in `dirty` */
    bool is_waiting; /* for the socket to take more: nothing is read meanwhile */
    size_t opaque_hint;
    size_t code_hint;
    uint8_t *out;
    size_t out_at;
    size_t out_n;
    size_t out_capacity;
    struct connection *next_dirty;
    struct frame_reader reader;
};

static struct {
    int epoll_fd;
    size_t reply_n;
    size_t batch;
    size_t n_held;
    struct connection *dirty;
    char route[512];
    uint8_t read_buffer[READ_SIZE];
} stub = { .reply_n = TOKEN_SIZE, .batch = 1 };

static void watch(struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = connection };
    if (epoll_ctl(stub.epoll_fd, operation, connection->fd, &event) < 0) {
        err(1, "epoll_ctl");
    }
}

static void *must_have(void *memory)
{
    if (!memory) {
        errx(1, "out of memory");
    }
    return memory;
}

static void connection_end(struct connection *connection)
{
    for (struct connection **at = &stub.dirty; *at; at = &(*at)->next_dirty) {
        if (*at == connection) {
            *at = connection->next_dirty;
            break;
        }
    }
    close(connection->fd);
    free(connection->out);
    free(connection);
}

static void on_accept(const struct connection *listener)
{
    int fd;
    while ((fd = endpoint_accept(listener->fd)) >= 0) {
        struct connection *connection = must_have(calloc(1, sizeof *connection));
        connection->fd = fd;
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* Room for one more answer at the end of `out`. */
static uint8_t *connection_room(struct connection *connection, size_t n)
{
    if (connection->out_n + n > connection->out_capacity) {
        connection->out_capacity = 2 * (connection->out_n + n);
        connection->out = must_have(realloc(connection->out, connection->out_capacity));
    }
    return connection->out + connection->out_n;
}

static size_t put_bytes(uint8_t *out, const void *data, size_t n)
{
    memcpy(out, data, n);
    return n;
}

static size_t put_number(uint8_t *out, int32_t number)
{
    uint8_t digits[12];
    size_t n = sizeof digits;
    uint32_t rest = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    do {
        digits[--n] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0) {
        digits[--n] = '-';
    }
    return put_bytes(out, digits + n, sizeof digits - n);
}

static size_t put_header(uint8_t *out, enum frame_form form, int32_t opaque)
{
    if (form == FRAME_JSON) {
        size_t n = put_bytes(out, ANSWER_BEFORE, sizeof ANSWER_BEFORE - 1);
        n += put_number(out + n, opaque);
        return n + put_bytes(out + n, ANSWER_AFTER, sizeof ANSWER_AFTER - 1);
    }
    static const uint8_t after[] = "\x00\x00\x00\x01" /* flag: response */
                                   "\x00\x00\x00\x00" /* no remark */
                                   "\x00\x00\x00\x0e"
                                   "\x00\x07queueId\x00\x00\x00\x01"
                                   "0";
    memcpy(out, "\x00\x00\x00\x02\x01", 5); /* code 0, JAVA, version 513 */
    frame_put_u32(out + 5, (uint32_t)opaque);
    return 9 + put_bytes(out + 9, after, sizeof after - 1);
}

static size_t put_body(uint8_t *out, const struct frame *frame)
{
    memset(out, 'y', stub.reply_n);
    if (stub.reply_n >= TOKEN_SIZE && frame->body_n >= TOKEN_SIZE) {
        memcpy(out, frame->body_first, TOKEN_SIZE);
        memcpy(out + stub.reply_n - TOKEN_SIZE, frame->body_first, TOKEN_SIZE);
    }
    return stub.reply_n;
}

static void connection_answer(
    struct connection *connection, const struct frame *frame, int32_t code, int32_t opaque)
{
    bool is_route = code == GET_ROUTEINFO;
    size_t room = PREFIX_SIZE + HEADER_ROOM + (is_route ? sizeof stub.route : stub.reply_n);
    uint8_t *out = connection_room(connection, room);
    size_t header_n = put_header(out + PREFIX_SIZE, frame->form, opaque);
    uint8_t *body = out + PREFIX_SIZE + header_n;
    size_t body_n =
        is_route ? put_bytes(body, stub.route, strlen(stub.route)) : put_body(body, frame);
    frame_put_u32(out, (uint32_t)(4 + header_n + body_n));
    frame_put_u32(out + 4, (uint32_t)frame->form << 24 | (uint32_t)header_n);
    connection->out_n += PREFIX_SIZE + header_n + body_n;
    stub.n_held++;
    if (!connection->is_dirty) {
        connection->is_dirty = true;
        connection->next_dirty = stub.dirty;
        stub.dirty = connection;
    }
}

static void connection_take(struct connection *connection, const struct frame *frame)
{
    const uint8_t *end = frame->header + frame->header_n;
    int32_t code;
    int32_t opaque;
    if (frame->form == FRAME_JSON) {
        const uint8_t *opaque_at = frame_json_value(frame, "\"opaque\":", &connection->opaque_hint);
        const uint8_t *code_at = frame_json_value(frame, "\"code\":", &connection->code_hint);
        if (!opaque_at || !code_at) {
            errx(1, "no request: %.*s", (int)frame->header_n, (const char *)frame->header);
        }
        opaque = frame_json_number(opaque_at, end);
        code = frame_json_number(code_at, end);
    } else {
        if (frame->header_n < 21) {
            errx(1, "a binary header of %zu bytes", frame->header_n);
        }
        opaque = (int32_t)frame_u32(frame->header + 5);
        code = frame->header[0] << 8 | frame->header[1];
    }
    if (frame->body_n >= 2 * TOKEN_SIZE && code != GET_ROUTEINFO &&
        memcmp(frame->body_first, frame->body_last, TOKEN_SIZE) != 0) {
        errx(1, "a body that ends with another request's token");
    }
    connection_answer(connection, frame, code, opaque);
}

/* False when the connection is gone. */
static bool connection_flush(struct connection *connection)
{
    while (connection->out_at < connection->out_n) {
        ssize_t n = send(connection->fd, connection->out + connection->out_at,
            connection->out_n - connection->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!connection->is_waiting) {
                connection->is_waiting = true;
                watch(connection, EPOLL_CTL_MOD, EPOLLOUT);
            }
            return true;
        }
        if (n < 0) {
            connection_end(connection);
            return false;
        }
        connection->out_at += (size_t)n;
    }
    connection->out_at = 0;
    connection->out_n = 0;
    if (connection->is_waiting) {
        connection->is_waiting = false;
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    }
    return true;
}

static void flush_dirty(void)
{
    if (stub.n_held < stub.batch) {
        return;
    }
    stub.n_held = 0;
    while (stub.dirty) {
        struct connection *connection = stub.dirty;
        stub.dirty = connection->next_dirty;
        connection->next_dirty = NULL;
        connection->is_dirty = false;
        (void)connection_flush(connection);
    }
}

static void on_read(struct connection *connection)
{
    ssize_t n_read = recv(connection->fd, stub.read_buffer, sizeof stub.read_buffer, 0);
    if (n_read <= 0) {
        if (n_read == 0 || (errno != EAGAIN && errno != EINTR)) {
            connection_end(connection);
        }
        return;
    }
    const uint8_t *data = stub.read_buffer;
    size_t n = (size_t)n_read;
    struct frame frame;
    while (frame_reader_next(&connection->reader, &data, &n, &frame)) {
        connection_take(connection, &frame);
    }
    flush_dirty();
}

static void turn(void)
{
    static struct epoll_event events[N_EVENTS];
    int n = epoll_wait(stub.epoll_fd, events, N_EVENTS, -1);
    if (n < 0 && errno != EINTR) {
        err(1, "epoll_wait");
    }
    for (int i = 0; i < n; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->is_listener) {
            on_accept(connection);
        } else if (events[i].events & EPOLLOUT) {
            (void)connection_flush(connection);
        } else {
            on_read(connection);
        }
    }
}

static void make_route(const char *endpoint)
{
    snprintf(stub.route, sizeof stub.route,
        "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"%.100s\"},\"brokerName\":\"bench\","
        "\"cluster\":\"bench\"}],\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":"
        "\"bench\",\"perm\":6,\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4}]}",
        endpoint);
}

static void listen_on(const char *endpoint)
{
    struct connection *listener = must_have(calloc(1, sizeof *listener));
    listener->fd = endpoint_listen(endpoint);
    listener->is_listener = true;
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    int port = endpoint_port(listener->fd);
    char name[128];
    if (port > 0) {
        snprintf(
            name, sizeof name, "%.*s:%d", (int)(strrchr(endpoint, ':') - endpoint), endpoint, port);
        if (!*stub.route) {
            make_route(name);
        }
    } else {
        snprintf(name, sizeof name, "%s", endpoint);
    }
    printf("listening %s\n", name);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "reply", required_argument, NULL, 'r' },
        { "batch", required_argument, NULL, 'b' },
        { "route", required_argument, NULL, 'R' },
        { NULL, 0, NULL, 0 },
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (option) {
        case 'r':
            stub.reply_n = strtoul(optarg, NULL, 10);
            break;
        case 'b':
            stub.batch = strtoul(optarg, NULL, 10);
            break;
        case 'R':
            make_route(optarg);
            break;
        default:
            errx(2, "usage: stub [--reply BYTES] [--batch N] [--route HOST:PORT] ENDPOINT...");
        }
    }
    endpoint_raise_file_limit(1024);
    stub.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (stub.epoll_fd < 0 || optind == argc) {
        errx(2, "at least one ENDPOINT is needed");
    }
    for (int i = optind; i < argc; i++) {
        listen_on(argv[i]);
    }
    if (fflush(stdout) != 0) {
        err(1, "standard output");
    }
    for (;;) {
        turn();
    }
}
