/*
 * start: how long a daemon takes from exec to its first answer
 *
 *     start SOCKET HOST:PORT COMMAND...
 *
 * Executes COMMAND, connects to SOCKET as soon as somebody listens there, sends one request for
 * HOST:PORT (sidecar.addr), and prints one JSON object: microseconds from just before exec until the
 * connection, and until the answer. The command is then ended with SIGTERM.
 */
#include "tests/bench/endpoint.h"
#include "tests/bench/request.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BODY_N      128
#define RETRY_NS    20000
#define PATIENCE_MS 10000

static pid_t child;

static double now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void on_exit_end_child(void)
{
    if (child > 0) {
        (void)kill(child, SIGTERM);
        (void)waitpid(child, NULL, 0);
    }
}

static pid_t execute(char **command)
{
    pid_t pid = fork();
    if (pid < 0) {
        err(1, "fork");
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        execv(command[0], command);
        _exit(127);
    }
    return pid;
}

static int connect_as_soon_as_possible(const char *path)
{
    static const struct timespec pause = { .tv_nsec = RETRY_NS };
    int fd;
    double end = now_us() + PATIENCE_MS * 1e3;
    while ((fd = endpoint_try_connect(path)) < 0) {
        if (now_us() > end || waitpid(child, NULL, WNOHANG) != 0) {
            errx(1, "the command ended, or did not listen at %s within %d ms", path, PATIENCE_MS);
        }
        nanosleep(&pause, NULL);
    }
    return fd;
}

static void await_answer(int fd, const struct token *token)
{
    static uint8_t buffer[FRAME_READER_HEAD_MAX];
    struct frame_reader reader = { 0 };
    struct answer_hints hints = { 0 };
    struct frame frame;
    for (;;) {
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        if (poll(&wait, 1, PATIENCE_MS) <= 0) {
            errx(1, "no answer within %d ms", PATIENCE_MS);
        }
        ssize_t n_read = recv(fd, buffer, sizeof buffer, 0);
        if (n_read <= 0) {
            errx(1, "the connection ended before the answer");
        }
        const uint8_t *data = buffer;
        size_t n = (size_t)n_read;
        if (frame_reader_next(&reader, &data, &n, &frame)) {
            if (answer_opaque(&frame, &hints) != token->opaque ||
                !answer_has_token(&frame, token)) {
                errx(1, "the answer is another request's");
            }
            return;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        errx(2, "usage: start SOCKET HOST:PORT COMMAND...");
    }
    struct request_shape shape = {
        .code = 310,
        .body_n = BODY_N,
        .sidecar_addr = argv[2],
        .topic = "bench",
    };
    struct request_frame request;
    uint8_t *data = malloc(request_size(&shape));
    if (!data) {
        errx(1, "out of memory");
    }
    struct token token = token_of((uint32_t)getpid(), 0, REQUEST_OPAQUE_FIRST);
    request_init(&request, &shape, data);
    request_renew(&request, token.opaque, &token);
    (void)prctl(PR_SET_TIMERSLACK, 1ul);
    (void)unlink(argv[1]);
    atexit(on_exit_end_child);

    double begun = now_us();
    child = execute(argv + 3);
    int fd = connect_as_soon_as_possible(argv[1]);
    double connected = now_us();
    if (send(fd, request.data, request.size, MSG_NOSIGNAL) != (ssize_t)request.size) {
        err(1, "send");
    }
    await_answer(fd, &token);
    printf(
        "{\"connected_us\": %.0f, \"answered_us\": %.0f}\n", connected - begun, now_us() - begun);
    free(data);
    return 0;
}
