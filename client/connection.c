#include "client/connection.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_S  5
#define REQUEST_TIMEOUT_MS 3000 /* the daemon's, for a request that names none */
#define POLL_SLACK_MS      5000 /* what the daemon adds to a poll time */
#define ANSWER_SLACK_MS    5000 /* what we add to the daemon's deadline */
#define TIMEOUT_MAX_MS     (24 * 3600 * 1000)
#define BUFFER_SIZE        65536u
#define NEVER_MS           UINT64_MAX

struct in_flight {
    int32_t opaque;
    uint64_t token;
    uint64_t deadline_ms;
};

struct connection {
    int fd;
    uint32_t next_opaque;
    struct in_flight in_flight[CONNECTION_IN_FLIGHT_MAX];
    size_t n_in_flight;
    uint8_t *data; /* read ahead; grows up to one frame of the largest size */
    size_t n;
    size_t capacity;
    const sigset_t *wait_mask;
    char problem[256];
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct answer *answer_free(struct answer *answer)
{
    if (answer) {
        free(answer->frame);
        free(answer);
    }
    return NULL;
}

static int connect_socket(const char *socket_path, int *ret_fd)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(socket_path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, socket_path);

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    /* A full backlog makes connect() wait, for as long as the socket's sending timeout says. */
    const struct timeval timeout = { .tv_sec = CONNECT_TIMEOUT_S };
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        const int error = errno == EAGAIN ? ETIMEDOUT : errno;
        close(fd);
        return -error;
    }
    *ret_fd = fd;
    return 0;
}

int connection_new(const char *socket_path, struct connection **ret_connection)
{
    CLEANUP(connection_free) struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection) {
        return -ENOMEM;
    }
    connection->fd = -1;
    connection->capacity = BUFFER_SIZE;
    connection->data = malloc(connection->capacity);
    if (!connection->data) {
        return -ENOMEM;
    }
    /*
     * A connection may be one that somebody kept between runs: old answers must not look like ours.
     */
    if (getrandom(&connection->next_opaque, sizeof(connection->next_opaque), 0) < 0) {
        return -errno;
    }
    const int r = connect_socket(socket_path, &connection->fd);
    if (r < 0) {
        return r;
    }
    *ret_connection = TAKE(connection);
    return 0;
}

struct connection *connection_free(struct connection *connection)
{
    if (connection) {
        if (connection->fd >= 0) {
            close(connection->fd);
        }
        free(connection->data);
        free(connection);
    }
    return NULL;
}

uint64_t connection_wait_ms(const struct ext_fields *ext_fields)
{
    int64_t timeout_ms;
    if (ext_value_parse_i64(
            ext_fields_text(ext_fields, "sidecar.timeoutMillis"), 0, TIMEOUT_MAX_MS, &timeout_ms)) {
        return (uint64_t)timeout_ms + ANSWER_SLACK_MS;
    }
    if (ext_value_parse_i64(
            ext_fields_text(ext_fields, "pollTime"), 0, TIMEOUT_MAX_MS, &timeout_ms) ||
        ext_value_parse_i64(
            ext_fields_text(ext_fields, "suspendTimeoutMillis"), 0, TIMEOUT_MAX_MS, &timeout_ms)) {
        return (uint64_t)timeout_ms + POLL_SLACK_MS + ANSWER_SLACK_MS;
    }
    return REQUEST_TIMEOUT_MS + ANSWER_SLACK_MS;
}

static uint64_t next_deadline(const struct connection *connection)
{
    uint64_t deadline_ms = NEVER_MS;
    for (size_t i = 0; i < connection->n_in_flight; i++) {
        if (connection->in_flight[i].deadline_ms < deadline_ms) {
            deadline_ms = connection->in_flight[i].deadline_ms;
        }
    }
    return deadline_ms;
}

/*
 * Waits for events on the socket or for other_fd to become readable; revents of both are in `fds`.
 */
static int wait_until(struct connection *connection, struct pollfd fds[2], uint64_t deadline_ms)
{
    for (;;) {
        const uint64_t now = now_ms();
        const uint64_t left_ms = deadline_ms > now ? deadline_ms - now : 0;
        const struct timespec left = {
            .tv_sec = (time_t)(left_ms / 1000),
            .tv_nsec = (long)(left_ms % 1000) * 1000000,
        };
        const int n = ppoll(fds, 2, deadline_ms == NEVER_MS ? NULL : &left, connection->wait_mask);
        if (n > 0) {
            return 0;
        }
        if (n == 0 && left_ms == 0) {
            return -ETIMEDOUT;
        }
        if (n < 0 && (errno != EINTR || connection->wait_mask)) {
            return -errno;
        }
    }
}

int connection_wait(struct connection *connection, int other_fd, bool *ret_other_ready)
{
    size_t size;
    if (frame_measure(connection->data, connection->n, FRAME_SIZE_MAX, &size) != FRAME_PARTIAL) {
        /* It was read ahead while a request was written: the socket has nothing more to say. */
        *ret_other_ready = false;
        return 0;
    }
    struct pollfd fds[2] = {
        { .fd = connection->fd, .events = POLLIN },
        { .fd = other_fd, .events = POLLIN },
    };
    const int r = wait_until(connection, fds, next_deadline(connection));
    if (r < 0) {
        return r;
    }
    *ret_other_ready = fds[1].revents != 0;
    return 0;
}

/* Reads what is there. -EAGAIN when there is nothing, or no room before a frame is taken out. */
static int read_ahead(struct connection *connection)
{
    if (connection->n == connection->capacity) {
        return -EAGAIN;
    }
    const ssize_t n = recv(connection->fd, connection->data + connection->n,
        connection->capacity - connection->n, MSG_DONTWAIT);
    if (n < 0) {
        return -errno;
    }
    if (n == 0) {
        return -ECONNRESET;
    }
    connection->n += (size_t)n;
    return 0;
}

/*
 * Writes both parts. Answers are read meanwhile, as far as there is room, so that a daemon that
 * wants to write before it reads on is not waited for in vain.
 */
static int write_parts(struct connection *connection, struct iovec parts[2], uint64_t deadline_ms)
{
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
        const ssize_t written = sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written < 0 && errno != EAGAIN && errno != EINTR) {
            return errno == EPIPE ? -ECONNRESET : -errno;
        }
        if (written < 0) {
            const bool has_room = connection->n < connection->capacity;
            struct pollfd fds[2] = {
                { .fd = connection->fd, .events = (short)(POLLOUT | (has_room ? POLLIN : 0)) },
                { .fd = -1 },
            };
            int r = wait_until(connection, fds, deadline_ms);
            if (r == 0 && (fds[0].revents & POLLIN)) {
                r = read_ahead(connection);
            }
            if (r < 0 && r != -EAGAIN && r != -EINTR) {
                return r;
            }
            continue;
        }
        size_t left = (size_t)written;
        for (size_t i = 0; i < 2 && left > 0; i++) {
            const size_t n = left < parts[i].iov_len ? left : parts[i].iov_len;
            parts[i].iov_base = (uint8_t *)parts[i].iov_base + n;
            parts[i].iov_len -= n;
            left -= n;
        }
    }
    return 0;
}

int connection_send(struct connection *connection, struct remoting_command *command,
    enum serialize_type serialize_type, uint64_t token)
{
    const bool is_oneway = remoting_command_is_oneway(command);
    assert(is_oneway || connection->n_in_flight < CONNECTION_IN_FLIGHT_MAX);

    command->opaque = (int32_t)connection->next_opaque;
    const size_t head_size = remoting_command_encoded_head_size(command, serialize_type);
    if (head_size == 0 || head_size > FRAME_SIZE_MAX ||
        command->body.n > FRAME_SIZE_MAX - head_size) {
        return -EMSGSIZE;
    }
    uint8_t *head = malloc(head_size);
    if (!head) {
        return -ENOMEM;
    }
    remoting_command_encode_head(command, serialize_type, head);
    connection->next_opaque++;

    const uint64_t deadline_ms = now_ms() + connection_wait_ms(&command->ext_fields);
    struct iovec parts[2] = {
        { .iov_base = head, .iov_len = head_size },
        { .iov_base = (void *)(uintptr_t)command->body.data, .iov_len = command->body.n },
    };
    int r = write_parts(connection, parts, deadline_ms);
    free(head);
    if (is_oneway) {
        return r;
    }
    if (r == -ECONNRESET) {
        /*
         * Before a daemon closes a connection it answers what it can: that answer is still to be
         * read.
         */
        r = 0;
    }
    if (r == 0) {
        connection->in_flight[connection->n_in_flight++] = (struct in_flight){
            .opaque = command->opaque,
            .token = token,
            .deadline_ms = deadline_ms,
        };
    }
    return r;
}

size_t connection_n_in_flight(const struct connection *connection)
{
    return connection->n_in_flight;
}

static bool in_flight_take(struct connection *connection, int32_t opaque, uint64_t *ret_token)
{
    for (size_t i = 0; i < connection->n_in_flight; i++) {
        if (connection->in_flight[i].opaque == opaque) {
            *ret_token = connection->in_flight[i].token;
            connection->in_flight[i] = connection->in_flight[--connection->n_in_flight];
            return true;
        }
    }
    return false;
}

/*
 * The size of the frame at the start of what was read. -EAGAIN when it is not all there: then there
 * is room for it.
 */
static int measure_frame(struct connection *connection, size_t *ret_size)
{
    size_t size = 0;
    switch (frame_measure(connection->data, connection->n, FRAME_SIZE_MAX, &size)) {
    case FRAME_COMPLETE:
        *ret_size = size;
        return 0;
    case FRAME_PARTIAL:
        if (size > connection->capacity) {
            uint8_t *data = realloc(connection->data, size);
            if (!data) {
                return -ENOMEM;
            }
            connection->data = data;
            connection->capacity = size;
        }
        return -EAGAIN;
    case FRAME_TOO_LARGE:
    case FRAME_MALFORMED:
        break;
    }
    frame_describe_problem(connection->data, connection->n, FRAME_SIZE_MAX, connection->problem,
        sizeof(connection->problem));
    return -EBADMSG;
}

/* Takes one frame out of what was read, whatever it is. */
static int take_frame(struct connection *connection, struct answer **ret_answer)
{
    size_t size = 0;
    const int r = measure_frame(connection, &size);
    if (r < 0) {
        return r;
    }
    CLEANUP(answer_free) struct answer *answer = calloc(1, sizeof(*answer));
    if (!answer) {
        return -ENOMEM;
    }
    answer->frame = malloc(size);
    if (!answer->frame) {
        return -ENOMEM;
    }
    memcpy(answer->frame, connection->data, size);
    connection->n -= size;
    memmove(connection->data, connection->data + size, connection->n);

    enum serialize_type serialize_type;
    struct header_problem problem = { .text = "" };
    remoting_command_init(&answer->command, answer->fields, EXT_FIELDS_MAX);
    if (remoting_command_decode(&answer->command, answer->frame, size, &serialize_type, &problem) !=
        HEADER_OK) {
        snprintf(connection->problem, sizeof(connection->problem), "%s", problem.text);
        return -EBADMSG;
    }
    *ret_answer = TAKE(answer);
    return 0;
}

int connection_receive_ready(struct connection *connection, struct answer **ret_answer)
{
    for (;;) {
        CLEANUP(answer_free) struct answer *answer = NULL;
        int r = take_frame(connection, &answer);
        if (r == 0) {
            if (remoting_command_is_response(&answer->command) &&
                in_flight_take(connection, answer->command.opaque, &answer->token)) {
                *ret_answer = TAKE(answer);
                return 0;
            }
            continue;
        }
        if (r == -EAGAIN) {
            r = read_ahead(connection);
        }
        if (r < 0 && r != -EINTR) {
            return r;
        }
    }
}

int connection_receive(struct connection *connection, struct answer **ret_answer)
{
    assert(connection->n_in_flight > 0);
    for (;;) {
        int r = connection_receive_ready(connection, ret_answer);
        if (r == -EAGAIN) {
            bool other_ready;
            r = connection_wait(connection, -1, &other_ready);
            if (r == 0) {
                continue;
            }
        }
        return r;
    }
}

int connection_receive_request(struct connection *connection, struct answer **ret_request)
{
    assert(connection->n_in_flight == 0);
    for (;;) {
        CLEANUP(answer_free) struct answer *request = NULL;
        int r = take_frame(connection, &request);
        if (r == 0 && !remoting_command_is_response(&request->command)) {
            *ret_request = TAKE(request);
            return 0;
        }
        if (r == -EAGAIN) {
            r = read_ahead(connection);
        }
        if (r == -EAGAIN) {
            bool other_ready;
            r = connection_wait(connection, -1, &other_ready);
        }
        if (r < 0) {
            return r;
        }
    }
}

int connection_invoke(struct connection *connection, struct remoting_command *command,
    enum serialize_type serialize_type, struct answer **ret_answer)
{
    assert(connection->n_in_flight == 0);
    const int r = connection_send(connection, command, serialize_type, 0);
    if (r < 0) {
        return r;
    }
    return connection_receive(connection, ret_answer);
}

void connection_set_wait_mask(struct connection *connection, const sigset_t *mask)
{
    connection->wait_mask = mask;
}

const char *connection_problem(const struct connection *connection)
{
    return connection->problem;
}
