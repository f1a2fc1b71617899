#include "tests/fuzz/stage.h"

#include "config/config.h"
#include "daemon/daemon.h"
#include "protocol/code.h"
#include "tests/fuzz/stage_broker.h"
#include "tests/fuzz/stage_frames.h"
#include "tests/fuzz/target.h"

#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_SIZE      64
#define ANSWERS_SIZE   (16 * 1024 * 1024)
#define READ_SIZE      65536
#define REQUEST_SIZE   256
#define PLAY_MAX_MS    30000
#define DRAIN_OPAQUE   1
#define SIDES_POLL_MAX (STAGE_BROKER_POLL_MAX + 2)

enum phase {
    PHASE_WRITING,
    PHASE_AWAITING, /* answers, with both sides open */
    PHASE_READING,  /* until the daemon closes */
    PHASE_STOPPING, /* the daemon was told to drain */
    PHASE_OVER,
};

/* What the peers' thread has. */
struct sides {
    const struct stage_script *script;
    struct stage_answers *answers;
    enum phase phase;
    int caller_fd, stopper_fd;
    size_t n_written;
    size_t n_seen; /* bytes of answers that were looked at */
    size_t n_answers;
};

static struct config *config;
static struct stage_broker broker;
static char directory[PATH_SIZE] = "";

/*
 * In the place of the C library's: an input may name any address, and none of them is to hear of
 * it.
 */
int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    static int (*real_connect)(int fd, const struct sockaddr *address, socklen_t size);
    const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)(const void *)address;
    bool is_ours =
        address->sa_family == AF_UNIX ||
        (address->sa_family == AF_INET && ipv4->sin_addr.s_addr == htonl(INADDR_LOOPBACK) &&
            (ipv4->sin_port == htons(broker.nameserver_port) ||
                ipv4->sin_port == htons(broker.broker_port)));
    if (!is_ours) {
        errno = ENETUNREACH;
        return -1;
    }
    if (!real_connect) {
        *(void **)&real_connect = dlsym(RTLD_NEXT, "connect");
    }
    return real_connect(fd, address, size);
}

/* --- the daemon --- */

static void on_exit_remove(void)
{
    (void)unlink(config->listener.sections[0].socket);
    (void)rmdir(directory);
}

static void config_make(void)
{
    char address[PATH_SIZE];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", broker.nameserver_port);
    struct config_problems problems;
    promise(config_load(NULL, address, &config, &problems) == 0, "no configuration");
    config_problems_deinit(&problems);
    free(config->listener.sections[0].socket);
    promise(asprintf(&config->listener.sections[0].socket, "%s/s", directory) > 0, "no memory");
    config->nameserver.probe_interval_ms = 60000;
    config->upstream.connect_timeout_ms = 50;
    config->upstream.request_timeout_ms = 50;
    config->backoff.initial_ms = 5;
    config->backoff.max_ms = 20;
    config->backoff.max_wanted_ms = 10;
    config->limits.max_frame = STAGE_FRAME_MAX;
    config->limits.max_in_flight = 64;
    config->limits.max_in_flight_per_session = 32;
    config->limits.max_long_polls_per_session = 8;
    config->limits.session_buffer = 16384;
    config->limits.max_timeout_ms = 60;
    config->limits.max_decompressed = STAGE_FRAME_MAX;
    config->consume.poll_time_ms = 20;
    config->drain.timeout_ms = 100;
    config->log.level = CONFIG_LOG_ERROR;
}

static void stage_open(void)
{
    if (directory[0]) {
        return;
    }
    json_object_seed(1);
    (void)setenv("REMOTINGD_FIRST_GENERATION", "1", 1);
    stage_broker_open(&broker);
    (void)snprintf(directory, sizeof(directory), "/tmp/remotingd-fuzz-XXXXXX");
    promise(mkdtemp(directory), "%s", strerror(errno));
    config_make();
    (void)atexit(on_exit_remove);
}

/* --- answers --- */

/* The next frame of a stream: false at its end. The command points into *ret_frame, to be freed. */
static bool answer_next(const struct stage_answers *answers, size_t *at,
    struct remoting_command *ret_command, enum serialize_type *ret_serialize_type,
    uint8_t **ret_frame)
{
    static struct ext_field storage[EXT_FIELDS_MAX];
    if (*at == answers->n) {
        return false;
    }
    size_t size = 0;
    promise(frame_measure(answers->data + *at, answers->n - *at, FRAME_SIZE_MAX, &size) ==
                FRAME_COMPLETE,
        "the daemon's stream ends within a frame, at %zu of %zu", *at, answers->n);
    uint8_t *frame = malloc(size);
    promise(frame, "no memory");
    memcpy(frame, answers->data + *at, size);
    struct header_problem problem = { "" };
    remoting_command_init(ret_command, storage, EXT_FIELDS_MAX);
    promise(remoting_command_decode(ret_command, frame, size, ret_serialize_type, &problem) ==
                HEADER_OK,
        "%s", problem.text);
    *at += size;
    *ret_frame = frame;
    return true;
}

void stage_responses_each(const struct stage_answers *answers,
    void (*visit)(
        void *context, const struct remoting_command *response, enum serialize_type serialize_type),
    void *context)
{
    size_t at = 0;
    struct remoting_command command;
    enum serialize_type serialize_type;
    uint8_t *frame;
    while (answer_next(answers, &at, &command, &serialize_type, &frame)) {
        if (remoting_command_is_response(&command)) {
            visit(context, &command, serialize_type);
        }
        free(frame);
    }
}

void stage_promise_json(const struct remoting_command *response)
{
    if (response->body.n > 0) {
        json_t *body =
            json_loadb(response->body.data, response->body.n, JSON_REJECT_DUPLICATES, NULL);
        promise(body, "%.*s", SPAN_ARGS(response->body));
        json_decref(body);
    }
}

/* --- the peers --- */

static int connect_to_daemon(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    (void)snprintf(
        address.sun_path, sizeof(address.sun_path), "%s", config->listener.sections[0].socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    promise(fd >= 0, "%s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void sides_enter(struct sides *sides, enum phase phase)
{
    sides->phase = phase;
    switch (phase) {
    case PHASE_WRITING:
    case PHASE_AWAITING:
        return;
    case PHASE_READING:
        (void)shutdown(sides->caller_fd, SHUT_WR);
        return;
    case PHASE_STOPPING: {
        uint8_t frame[REQUEST_SIZE];
        size_t size =
            stage_request(frame, sizeof(frame), SIDECAR_DRAIN, DRAIN_OPAQUE, 0, "", SPAN_ABSENT);
        (void)close(sides->caller_fd);
        sides->caller_fd = -1;
        sides->stopper_fd = connect_to_daemon();
        if (sides->stopper_fd < 0) {
            sides->phase = PHASE_OVER; /* it drains already */
        } else {
            (void)send(sides->stopper_fd, frame, size, MSG_NOSIGNAL);
        }
        return;
    }
    case PHASE_OVER:
        (void)close(sides->stopper_fd);
        return;
    }
}

/* A broker's request that came to the caller, as a processor answers it. */
static void answer_request(struct sides *sides, const struct remoting_command *request)
{
    uint8_t frame[REQUEST_SIZE];
    size_t size = stage_request(frame, sizeof(frame), RESPONSE_SUCCESS, request->opaque,
        REMOTING_FLAG_RESPONSE, "", SPAN("{}"));
    (void)send(sides->caller_fd, frame, size, MSG_NOSIGNAL);
}

/* Looks at the answers that are complete. */
static void answers_look(struct sides *sides)
{
    size_t size;
    const struct stage_answers *answers = sides->answers;
    while (sides->n_seen < answers->n &&
           frame_measure(answers->data + sides->n_seen, answers->n - sides->n_seen, FRAME_SIZE_MAX,
               &size) == FRAME_COMPLETE) {
        struct remoting_command command;
        enum serialize_type serialize_type;
        uint8_t *frame;
        (void)answer_next(answers, &sides->n_seen, &command, &serialize_type, &frame);
        if (remoting_command_is_response(&command)) {
            sides->n_answers++;
        } else if (!remoting_command_is_oneway(&command)) {
            answer_request(sides, &command);
        }
        free(frame);
    }
}

static void caller_read(struct sides *sides)
{
    struct stage_answers *answers = sides->answers;
    promise(answers->n + READ_SIZE <= ANSWERS_SIZE, "answers without end");
    answers->data = realloc(answers->data, answers->n + READ_SIZE);
    promise(answers->data, "no memory");
    ssize_t n = recv(sides->caller_fd, answers->data + answers->n, READ_SIZE, MSG_DONTWAIT);
    if (n > 0) {
        answers->n += (size_t)n;
    } else if (n == 0 || errno != EAGAIN) {
        sides_enter(sides, PHASE_STOPPING);
    }
}

/* How much of the script is written from `at` on in one piece. */
static size_t piece_size(const struct stage_script *script, size_t at)
{
    size_t left = script->caller.n - at;
    return script->piece > 0 && script->piece < left ? script->piece : left;
}

static void caller_write(struct sides *sides)
{
    const struct stage_script *script = sides->script;
    ssize_t n = send(sides->caller_fd, script->caller.data + sides->n_written,
        piece_size(script, sides->n_written), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        sides->n_written += (size_t)n;
    } else if (n < 0 && errno != EAGAIN) {
        sides->n_written = script->caller.n; /* closed: what it said can still be read */
    }
}

static void caller_turn(struct sides *sides, short events)
{
    if (sides->phase == PHASE_WRITING && (events & (POLLOUT | POLLERR | POLLHUP))) {
        caller_write(sides);
    }
    if (events & (POLLIN | POLLERR | POLLHUP)) {
        caller_read(sides);
    }
    if (sides->phase == PHASE_WRITING && sides->n_written == sides->script->caller.n) {
        sides_enter(sides, PHASE_AWAITING);
    }
    if (sides->phase == PHASE_AWAITING) {
        answers_look(sides);
        if (sides->n_answers >= sides->script->n_awaited) {
            sides_enter(sides, PHASE_READING);
        }
    }
}

static void stopper_turn(struct sides *sides)
{
    uint8_t ignored[READ_SIZE];
    if (recv(sides->stopper_fd, ignored, sizeof(ignored), 0) <= 0) {
        sides_enter(sides, PHASE_OVER);
    }
}

static void *sides_run(void *argument)
{
    struct sides *sides = argument;
    while (sides->phase != PHASE_OVER) {
        struct pollfd fds[SIDES_POLL_MAX];
        size_t n = stage_broker_poll(&broker, fds);
        short wanted = sides->phase == PHASE_WRITING ? POLLIN | POLLOUT : POLLIN;
        fds[n] = (struct pollfd){ .fd = sides->caller_fd, .events = wanted };
        fds[n + 1] = (struct pollfd){ .fd = sides->stopper_fd, .events = POLLIN };
        int n_ready = poll(fds, (nfds_t)n + 2, PLAY_MAX_MS);
        promise(n_ready != 0, "phase %d: nothing happens any more, %zu answers", (int)sides->phase,
            sides->n_answers);
        if (n_ready < 0) {
            continue; /* a signal */
        }
        stage_broker_turn(&broker, fds, n);
        if (fds[n].revents) {
            caller_turn(sides, fds[n].revents);
        } else if (fds[n + 1].revents) {
            stopper_turn(sides);
        }
    }
    return NULL;
}

void stage_play(const struct stage_script *script, struct stage_answers *ret_answers)
{
    stage_open();
    *ret_answers = (struct stage_answers){ 0 };
    stage_broker_begin(&broker, script->broker, script->is_nameserver_scripted);
    char problem[REQUEST_SIZE];
    struct daemon *daemon = daemon_new(config, problem, sizeof(problem));
    promise(daemon, "%s", problem);
    struct sides sides = {
        .script = script,
        .answers = ret_answers,
        .caller_fd = connect_to_daemon(),
        .stopper_fd = -1,
    };
    promise(sides.caller_fd >= 0, "%s", strerror(errno));
    pthread_t thread;
    promise(pthread_create(&thread, NULL, sides_run, &sides) == 0, "no thread");
    daemon_run(daemon);
    daemon = daemon_free(daemon);
    (void)pthread_join(thread, NULL);
    stage_broker_end(&broker);
}
