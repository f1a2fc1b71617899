/*
 * The connection: a socket, bytes that were read ahead, bytes that could not be written yet, what is
 * in flight, and answers that were met while another one was wanted. Both ways of use are one:
 * remotingclient_step() moves bytes and never waits, remotingclient_take() takes frames out; calls
 * that block do these two and wait in between.
 */
#include "client/remotingclient.h"

#include <errno.h>
#include <limits.h>
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

#include "client/library/answer.h"
#include "client/library/request.h"
#include "protocol/code.h"

#define CONNECT_TIMEOUT_S  5
#define REQUEST_TIMEOUT_MS 3000  /* the daemon's, for a request that names none */
#define POLL_TIME_MS       15000 /* the daemon's, for a POP that names none */
#define POLL_SLACK_MS      5000  /* what the daemon adds to a poll time */
#define ANSWER_SLACK_MS    5000  /* what we add to the daemon's deadline */
#define TIMEOUT_MAX_MS     (24 * 3600 * 1000)
#define BUFFER_SIZE        65536u
#define REQUESTS_KEPT_MAX  256
#define NEVER_MS           UINT64_MAX

struct in_flight {
    int32_t opaque;
    uint64_t token;
    uint64_t deadline_ms;
};

/* Bytes from `at` to `n` are meant. */
struct buffer {
    uint8_t *data;
    size_t at;
    size_t n;
    size_t capacity;
};

STAILQ_HEAD(answer_list, remotingclient_answer);

struct remotingclient {
    int fd;
    int failure; /* what the connection ended by; told when all that came before was taken */
    uint32_t next_opaque;
    struct in_flight *in_flight;
    size_t n_in_flight;
    size_t in_flight_capacity;
    struct buffer in;         /* grows up to one frame of the largest size */
    struct buffer out;        /* what the socket did not take yet */
    uint64_t out_deadline_ms; /* of the last request in `out` */
    bool is_write_closed;     /* the daemon reads no more, but its answers are still to be read */
    bool accepts_requests;
    struct answer_list kept;
    size_t n_answers_kept;
    size_t n_requests_kept;
    const sigset_t *wait_mask;
    char problem[256];
};

DEFINE_CLEANUP(struct remotingclient *, remotingclient_free)

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *remotingclient_version(void)
{
    return REMOTINGD_VERSION;
}

const char *remotingclient_default_socket(void)
{
    const char *path = getenv("REMOTINGD_SOCKET");
    return path && *path ? path : REMOTINGCLIENT_SOCKET;
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

int remotingclient_new(const char *socket_path, struct remotingclient **ret_client)
{
    CLEANUP(remotingclient_free) struct remotingclient *client = calloc(1, sizeof(*client));
    if (!client) {
        return -ENOMEM;
    }
    client->fd = -1;
    STAILQ_INIT(&client->kept);
    client->in.capacity = BUFFER_SIZE;
    client->in.data = malloc(client->in.capacity);
    if (!client->in.data) {
        return -ENOMEM;
    }
    /*
     * A connection may be one that somebody kept between runs: old answers must not look like ours.
     */
    if (getrandom(&client->next_opaque, sizeof(client->next_opaque), 0) < 0) {
        return -errno;
    }
    const int r =
        connect_socket(socket_path ? socket_path : remotingclient_default_socket(), &client->fd);
    if (r < 0) {
        return r;
    }
    *ret_client = TAKE(client);
    return 0;
}

struct remotingclient *remotingclient_free(struct remotingclient *client)
{
    if (client) {
        if (client->fd >= 0) {
            close(client->fd);
        }
        while (!STAILQ_EMPTY(&client->kept)) {
            struct remotingclient_answer *answer = STAILQ_FIRST(&client->kept);
            STAILQ_REMOVE_HEAD(&client->kept, kept);
            remotingclient_answer_free(answer);
        }
        free(client->in_flight);
        free(client->in.data);
        free(client->out.data);
        free(client);
    }
    return NULL;
}

const char *remotingclient_problem(const struct remotingclient *client)
{
    return client->problem;
}

size_t remotingclient_n_in_flight(const struct remotingclient *client)
{
    return client->n_in_flight + client->n_answers_kept;
}

void remotingclient_accept_requests(struct remotingclient *client)
{
    client->accepts_requests = true;
}

void remotingclient_set_wait_mask(struct remotingclient *client, const sigset_t *mask)
{
    client->wait_mask = mask;
}

int remotingclient_fd(const struct remotingclient *client)
{
    return client->fd;
}

/* Only the first failure counts: those behind it follow from it. */
static int client_fail(struct remotingclient *client, int failure)
{
    if (client->failure == 0) {
        client->failure = failure;
    }
    return client->failure;
}

/* --- Deadlines --- */

/* Whether the daemon has a poll time for it where the caller gives none. */
static bool polls_by_default(const struct remoting_command *command)
{
    int64_t code = command->code;
    (void)ext_value_parse_i64(
        ext_fields_text(&command->ext_fields, "sidecar.code"), INT32_MIN, INT32_MAX, &code);
    return code == REQUEST_POP_MESSAGE || code == REQUEST_NOTIFICATION;
}

/* The deadline that the daemon gives a request, and some time more. */
static uint64_t answer_wait_ms(const struct remoting_command *command)
{
    const struct ext_fields *fields = &command->ext_fields;
    int64_t timeout_ms;
    if (ext_value_parse_i64(
            ext_fields_text(fields, "sidecar.timeoutMillis"), 0, TIMEOUT_MAX_MS, &timeout_ms)) {
        return (uint64_t)timeout_ms + ANSWER_SLACK_MS;
    }
    if (ext_value_parse_i64(ext_fields_text(fields, "pollTime"), 0, TIMEOUT_MAX_MS, &timeout_ms) ||
        ext_value_parse_i64(
            ext_fields_text(fields, "suspendTimeoutMillis"), 0, TIMEOUT_MAX_MS, &timeout_ms)) {
        return (uint64_t)timeout_ms + POLL_SLACK_MS + ANSWER_SLACK_MS;
    }
    if (polls_by_default(command)) {
        return POLL_TIME_MS + POLL_SLACK_MS + ANSWER_SLACK_MS;
    }
    return REQUEST_TIMEOUT_MS + ANSWER_SLACK_MS;
}

static bool has_output(const struct remotingclient *client)
{
    return client->out.at < client->out.n;
}

static uint64_t next_deadline(const struct remotingclient *client)
{
    uint64_t deadline_ms = has_output(client) ? client->out_deadline_ms : NEVER_MS;
    for (size_t i = 0; i < client->n_in_flight; i++) {
        if (client->in_flight[i].deadline_ms < deadline_ms) {
            deadline_ms = client->in_flight[i].deadline_ms;
        }
    }
    return deadline_ms;
}

/* --- Reading --- */

static const uint8_t *unread(const struct buffer *buffer, size_t *ret_n)
{
    *ret_n = buffer->n - buffer->at;
    return buffer->data + buffer->at;
}

/* Anything that take_frame() would not answer with "not yet". */
static bool has_frame(const struct remotingclient *client)
{
    size_t n;
    size_t size;
    const uint8_t *data = unread(&client->in, &n);
    return frame_measure(data, n, FRAME_SIZE_MAX, &size) != FRAME_PARTIAL;
}

static void buffer_compact(struct buffer *buffer)
{
    buffer->n -= buffer->at;
    memmove(buffer->data, buffer->data + buffer->at, buffer->n);
    buffer->at = 0;
}

/* A frame that is not all there grows the buffer to its size; one that is must be taken first. */
static bool has_room(const struct remotingclient *client)
{
    const struct buffer *in = &client->in;
    return in->at > 0 || in->n < in->capacity || !has_frame(client);
}

static int reserve_input(struct buffer *in)
{
    if (in->at > 0) {
        buffer_compact(in);
    }
    size_t size = 0;
    if (in->n < in->capacity) {
        return 0;
    }
    if (frame_measure(in->data, in->n, FRAME_SIZE_MAX, &size) != FRAME_PARTIAL) {
        return -EAGAIN;
    }
    uint8_t *larger = realloc(in->data, size);
    if (!larger) {
        return -ENOMEM;
    }
    in->data = larger;
    in->capacity = size;
    return 0;
}

/* Reads what is there. -EAGAIN when there is nothing, or no room before a frame is taken out. */
static int read_ahead(struct remotingclient *client)
{
    struct buffer *in = &client->in;
    const int r = reserve_input(in);
    if (r < 0) {
        return r;
    }
    const ssize_t n = recv(client->fd, in->data + in->n, in->capacity - in->n, MSG_DONTWAIT);
    if (n < 0) {
        return errno == EINTR ? -EAGAIN : -errno;
    }
    if (n == 0) {
        return -ECONNRESET;
    }
    in->n += (size_t)n;
    return 0;
}

/* The size of the frame at the start of what was read. -EAGAIN when it is not all there. */
static int measure_frame(struct remotingclient *client, size_t *ret_size)
{
    size_t n;
    const uint8_t *data = unread(&client->in, &n);
    size_t size = 0;
    switch (frame_measure(data, n, FRAME_SIZE_MAX, &size)) {
    case FRAME_COMPLETE:
        *ret_size = size;
        return 0;
    case FRAME_PARTIAL:
        return client->failure < 0 ? client->failure : -EAGAIN;
    case FRAME_TOO_LARGE:
    case FRAME_MALFORMED:
        break;
    }
    frame_describe_problem(data, n, FRAME_SIZE_MAX, client->problem, sizeof(client->problem));
    return client_fail(client, -EBADMSG);
}

/* Takes one frame out of what was read, whatever it is. */
static int take_frame(struct remotingclient *client, struct remotingclient_answer **ret_answer)
{
    size_t size = 0;
    int r = measure_frame(client, &size);
    if (r < 0) {
        return r;
    }
    struct header_problem problem = { .text = "" };
    r = answer_new(client->in.data + client->in.at, size, &problem, ret_answer);
    if (r == -EBADMSG) {
        (void)snprintf(client->problem, sizeof(client->problem), "%s", problem.text);
        return client_fail(client, r);
    }
    if (r == 0) {
        client->in.at += size;
    }
    return r;
}

static bool in_flight_take(struct remotingclient *client, int32_t opaque, uint64_t *ret_token)
{
    for (size_t i = 0; i < client->n_in_flight; i++) {
        if (client->in_flight[i].opaque == opaque) {
            *ret_token = client->in_flight[i].token;
            client->in_flight[i] = client->in_flight[--client->n_in_flight];
            return true;
        }
    }
    return false;
}

/* The next frame that is wanted; all others are dropped. */
static int take_wanted(struct remotingclient *client, struct remotingclient_answer **ret_answer)
{
    for (;;) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        const int r = take_frame(client, &answer);
        if (r < 0) {
            return r;
        }
        const bool is_wanted = remotingclient_answer_is_request(answer)
                                   ? client->accepts_requests
                                   : in_flight_take(client, answer->command.opaque, &answer->token);
        if (is_wanted) {
            *ret_answer = TAKE(answer);
            return 0;
        }
    }
}

/* Keeps an answer for later. Answers are bounded by what was in flight; requests are not. */
static void keep(struct remotingclient *client, struct remotingclient_answer *answer)
{
    if (remotingclient_answer_is_request(answer)) {
        if (client->n_requests_kept == REQUESTS_KEPT_MAX) {
            remotingclient_answer_free(answer);
            return;
        }
        client->n_requests_kept++;
    } else {
        client->n_answers_kept++;
    }
    STAILQ_INSERT_TAIL(&client->kept, answer, kept);
}

static struct remotingclient_answer *unkeep(
    struct remotingclient *client, struct remotingclient_answer *answer)
{
    STAILQ_REMOVE(&client->kept, answer, remotingclient_answer, kept);
    if (remotingclient_answer_is_request(answer)) {
        client->n_requests_kept--;
    } else {
        client->n_answers_kept--;
    }
    return answer;
}

int remotingclient_take(struct remotingclient *client, struct remotingclient_answer **ret_answer)
{
    if (!STAILQ_EMPTY(&client->kept)) {
        *ret_answer = unkeep(client, STAILQ_FIRST(&client->kept));
        return 0;
    }
    return take_wanted(client, ret_answer);
}

/* --- Writing --- */

/*
 * Writes what the socket takes of both parts, which are moved on. A daemon that reads no more may
 * have answered before it closed: that is still to be read, so this is no failure yet.
 */
static int write_parts(struct remotingclient *client, struct iovec parts[2])
{
    while (parts[0].iov_len + parts[1].iov_len > 0 && !client->is_write_closed) {
        const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
        const ssize_t written = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            client->is_write_closed = true;
            return 0;
        }
        if (written < 0 && errno != EINTR) {
            return errno == EAGAIN ? 0 : -errno;
        }
        size_t left = written < 0 ? 0 : (size_t)written;
        for (size_t i = 0; i < 2 && left > 0; i++) {
            const size_t n = left < parts[i].iov_len ? left : parts[i].iov_len;
            parts[i].iov_base = (uint8_t *)parts[i].iov_base + n;
            parts[i].iov_len -= n;
            left -= n;
        }
    }
    return 0;
}

static int write_output(struct remotingclient *client)
{
    struct buffer *out = &client->out;
    struct iovec parts[2] = { { .iov_base = out->data + out->at, .iov_len = out->n - out->at } };
    const int r = write_parts(client, parts);
    out->at = client->is_write_closed ? out->n : out->n - parts[0].iov_len;
    return r;
}

/* Makes room for n more bytes behind what waits to be written. */
static int reserve_output(struct remotingclient *client, size_t n)
{
    struct buffer *out = &client->out;
    if (out->at > 0) {
        buffer_compact(out);
    }
    if (n > out->capacity - out->n) {
        uint8_t *larger = realloc(out->data, out->n + n);
        if (!larger) {
            return -ENOMEM;
        }
        out->data = larger;
        out->capacity = out->n + n;
    }
    return 0;
}

static int reserve_in_flight(struct remotingclient *client)
{
    if (remotingclient_n_in_flight(client) >= REMOTINGCLIENT_IN_FLIGHT_MAX) {
        return -EAGAIN;
    }
    if (client->n_in_flight == client->in_flight_capacity) {
        const size_t capacity = client->in_flight_capacity > 0 ? 4 * client->in_flight_capacity : 4;
        struct in_flight *larger =
            realloc(client->in_flight, capacity * sizeof(*client->in_flight));
        if (!larger) {
            return -ENOMEM;
        }
        client->in_flight = larger;
        client->in_flight_capacity = capacity;
    }
    return 0;
}

/*
 * Writes head and body, and keeps what the socket does not take. The room for all of it is there
 * before the first byte goes: half a frame would be the end of the connection.
 */
static int output_add(
    struct remotingclient *client, uint8_t *head, size_t head_size, struct span body)
{
    struct iovec parts[2] = {
        { .iov_base = head, .iov_len = head_size },
        { .iov_base = (void *)(uintptr_t)body.data, .iov_len = body.n },
    };
    int r = reserve_output(client, head_size + body.n);
    if (r == 0 && !has_output(client)) {
        r = write_parts(client, parts);
    }
    if (r < 0 || client->is_write_closed) {
        return r;
    }
    for (size_t i = 0; i < 2; i++) {
        if (parts[i].iov_len > 0) {
            memcpy(client->out.data + client->out.n, parts[i].iov_base, parts[i].iov_len);
            client->out.n += parts[i].iov_len;
        }
    }
    return 0;
}

/* Why a request cannot be taken now or at all; 0 when it can be. */
static int check_request(struct remotingclient *client, struct remotingclient_request *request)
{
    if (!request) {
        return -ENOMEM;
    }
    if (remotingclient_request_problem(request)) {
        return -EINVAL;
    }
    const size_t head_size =
        remoting_command_encoded_head_size(&request->command, request->serialize_type);
    if (head_size == 0 || head_size > FRAME_SIZE_MAX ||
        request->command.body.n > FRAME_SIZE_MAX - head_size) {
        return -EMSGSIZE;
    }
    if (client->out.n - client->out.at >= FRAME_SIZE_MAX) {
        return -EAGAIN;
    }
    return client->failure;
}

int remotingclient_submit(struct remotingclient *client, struct remotingclient_request *request,
    uint64_t token, int32_t *ret_opaque)
{
    int r = check_request(client, request);
    if (r == 0) {
        r = reserve_in_flight(client);
    }
    if (r < 0) {
        return r;
    }
    struct remoting_command *command = &request->command;
    command->opaque = (int32_t)client->next_opaque;
    const size_t head_size = remoting_command_encoded_head_size(command, request->serialize_type);
    uint8_t *head = malloc(head_size);
    if (!head) {
        return -ENOMEM;
    }
    remoting_command_encode_head(command, request->serialize_type, head);
    r = output_add(client, head, head_size, command->body);
    free(head);
    if (r < 0) {
        return r == -ENOMEM ? r : client_fail(client, r);
    }
    client->next_opaque++;
    client->out_deadline_ms = now_ms() + answer_wait_ms(command);
    if (!remoting_command_is_oneway(command)) {
        client->in_flight[client->n_in_flight++] = (struct in_flight){
            .opaque = command->opaque,
            .token = token,
            .deadline_ms = client->out_deadline_ms,
        };
    }
    if (ret_opaque) {
        *ret_opaque = command->opaque;
    }
    return 0;
}

/* --- Steps and waits --- */

short remotingclient_events(const struct remotingclient *client)
{
    /* A full buffer waits for remotingclient_take(), not for more bytes. */
    return (short)((has_room(client) ? POLLIN : 0) | (has_output(client) ? POLLOUT : 0));
}

static int left_until(uint64_t deadline_ms)
{
    if (deadline_ms == NEVER_MS) {
        return -1;
    }
    const uint64_t now = now_ms();
    const uint64_t left_ms = deadline_ms > now ? deadline_ms - now : 0;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

int remotingclient_timeout_ms(const struct remotingclient *client)
{
    if (client->failure < 0 || !STAILQ_EMPTY(&client->kept) || has_frame(client)) {
        return 0;
    }
    return left_until(next_deadline(client));
}

int remotingclient_step(struct remotingclient *client)
{
    if (client->failure == 0) {
        int r = write_output(client);
        if (r == 0) {
            r = read_ahead(client);
        }
        if (r == -EAGAIN) {
            r = has_frame(client) || now_ms() < next_deadline(client) ? 0 : -ETIMEDOUT;
        }
        if (r == -ENOMEM) {
            return r;
        }
        if (r < 0) {
            (void)client_fail(client, r);
        }
    }
    return has_frame(client) ? 0 : client->failure;
}

/* Waits until there is something to read or to write, or the next deadline. */
static int wait_for_step(struct remotingclient *client)
{
    const int left_ms = has_frame(client) ? 0 : left_until(next_deadline(client));
    const struct timespec left = {
        .tv_sec = left_ms / 1000,
        .tv_nsec = (long)(left_ms % 1000) * 1000000,
    };
    struct pollfd fd = { .fd = client->fd, .events = remotingclient_events(client) };
    if (ppoll(&fd, 1, left_ms < 0 ? NULL : &left, client->wait_mask) < 0 &&
        (errno != EINTR || client->wait_mask)) {
        return -errno;
    }
    return 0;
}

/* A failure of the step comes out of the next look for a frame. */
static int wait_and_step(struct remotingclient *client)
{
    const int r = wait_for_step(client);
    if (r < 0) {
        return r;
    }
    return remotingclient_step(client) == -ENOMEM ? -ENOMEM : 0;
}

/*
 * Waits until all is written. Answers are taken in meanwhile: a daemon that wants to write before it
 * reads on is not waited for in vain.
 */
static int flush_output(struct remotingclient *client)
{
    int r = 0;
    while (r == 0 && has_output(client)) {
        r = wait_for_step(client);
        if (r == 0 || r == -EINTR) {
            /* A signal ends the waits for answers only. */
            r = remotingclient_step(client);
        }
        while (r == 0 && has_frame(client)) {
            struct remotingclient_answer *answer;
            r = take_wanted(client, &answer);
            if (r == 0) {
                keep(client, answer);
            }
        }
        r = r == -EAGAIN ? 0 : r;
    }
    return r;
}

int remotingclient_send(struct remotingclient *client, struct remotingclient_request *request,
    uint64_t token, int32_t *ret_opaque)
{
    int r = reserve_in_flight(client);
    if (r == 0) {
        r = flush_output(client);
    }
    if (r == 0) {
        r = remotingclient_submit(client, request, token, ret_opaque);
    }
    if (r == 0) {
        r = flush_output(client);
    }
    if (r == 0 && client->is_write_closed && remoting_command_is_oneway(&request->command)) {
        return client_fail(client, -ECONNRESET);
    }
    return r;
}

int remotingclient_receive(struct remotingclient *client, struct remotingclient_answer **ret_answer)
{
    for (;;) {
        int r = remotingclient_take(client, ret_answer);
        if (r != -EAGAIN) {
            return r;
        }
        if (client->n_in_flight == 0 && !client->accepts_requests) {
            return -ENODATA;
        }
        r = wait_and_step(client);
        if (r < 0) {
            return r;
        }
    }
}

static bool is_in_flight(const struct remotingclient *client, int32_t opaque)
{
    for (size_t i = 0; i < client->n_in_flight; i++) {
        if (client->in_flight[i].opaque == opaque) {
            return true;
        }
    }
    return false;
}

static bool is_answer_to(const struct remotingclient_answer *answer, int32_t opaque)
{
    return answer->command.opaque == opaque && !remotingclient_answer_is_request(answer);
}

int remotingclient_receive_opaque(
    struct remotingclient *client, int32_t opaque, struct remotingclient_answer **ret_answer)
{
    struct remotingclient_answer *answer;
    STAILQ_FOREACH (answer, &client->kept, kept) {
        if (is_answer_to(answer, opaque)) {
            *ret_answer = unkeep(client, answer);
            return 0;
        }
    }
    if (!is_in_flight(client, opaque)) {
        return -ENODATA;
    }
    for (;;) {
        int r = take_wanted(client, &answer);
        if (r == 0 && is_answer_to(answer, opaque)) {
            *ret_answer = answer;
            return 0;
        }
        if (r == 0) {
            keep(client, answer);
            continue;
        }
        if (r == -EAGAIN) {
            r = wait_and_step(client);
        }
        if (r < 0) {
            return r;
        }
    }
}

int remotingclient_call(struct remotingclient *client, struct remotingclient_request *request,
    struct remotingclient_answer **ret_answer)
{
    if (request && remoting_command_is_oneway(&request->command)) {
        return -EINVAL;
    }
    int32_t opaque = 0;
    const int r = remotingclient_send(client, request, 0, &opaque);
    return r < 0 ? r : remotingclient_receive_opaque(client, opaque, ret_answer);
}
