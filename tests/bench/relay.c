/*
 * relay: the limit of what a hop over a local socket can do
 *
 *     relay LISTEN UPSTREAM          (host:port or a path, each)
 *
 * Moves bytes between each caller and a connection of its own to UPSTREAM, with epoll and one shared
 * buffer, and knows nothing of what it moves: a proxy that parses, multiplexes or limits has to do
 * this and more. Only when a socket does not take all bytes at once, they are kept and that
 * direction rests. SIGTERM ends it.
 */
#include "tests/bench/endpoint.h"

#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (256u << 10)
#define N_EVENTS  512

/* One socket of a pair, and the bytes that it has not taken yet. */
struct end {
    int fd;
    uint32_t events;
    struct end *other;
    struct pair *pair;
    uint8_t *kept;
    size_t kept_at;
    size_t kept_n;
};

struct pair {
    bool is_gone;
    struct end ends[2];
    struct pair *next_gone;
};

static int epoll_fd;
static int listener;
static const char *upstream;
static struct pair *gone; /* freed after the turn: an event may still name them */
static uint8_t buffer[READ_SIZE];

static void end_watch(struct end *end, uint32_t events)
{
    if (end->events == events) {
        return;
    }
    struct epoll_event event = { .events = events, .data.ptr = end };
    int operation = end->events == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(epoll_fd, operation, end->fd, &event) < 0) {
        err(1, "epoll_ctl");
    }
    end->events = events;
}

static void pair_end(struct pair *pair)
{
    if (pair->is_gone) {
        return;
    }
    pair->is_gone = true;
    close(pair->ends[0].fd);
    close(pair->ends[1].fd);
    pair->next_gone = gone;
    gone = pair;
}

static void reap(void)
{
    while (gone) {
        struct pair *pair = gone;
        gone = pair->next_gone;
        free(pair->ends[0].kept);
        free(pair->ends[1].kept);
        free(pair);
    }
}

static void on_accept(void)
{
    int fd;
    while ((fd = endpoint_accept(listener)) >= 0) {
        struct pair *pair = calloc(1, sizeof *pair);
        if (!pair) {
            errx(1, "out of memory");
        }
        for (int i = 0; i < 2; i++) {
            pair->ends[i].pair = pair;
            pair->ends[i].other = &pair->ends[1 - i];
            pair->ends[i].events = UINT32_MAX;
        }
        pair->ends[0].fd = fd;
        pair->ends[1].fd = endpoint_connect(upstream);
        end_watch(&pair->ends[0], EPOLLIN);
        end_watch(&pair->ends[1], EPOLLIN);
    }
}

static void end_keep(struct end *end, const uint8_t *data, size_t n)
{
    end->kept = realloc(end->kept, READ_SIZE);
    if (!end->kept) {
        errx(1, "out of memory");
    }
    memcpy(end->kept, data, n);
    end->kept_at = 0;
    end->kept_n = n;
    end_watch(end, end->events | EPOLLOUT);
    end_watch(end->other, end->other->events & ~(uint32_t)EPOLLIN);
}

static void on_read(struct end *end)
{
    ssize_t n = recv(end->fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        pair_end(end->pair);
        return;
    }
    ssize_t sent = send(end->other->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        pair_end(end->pair);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if (sent < n) {
        end_keep(end->other, buffer + sent, (size_t)(n - sent));
    }
}

static void on_writable(struct end *end)
{
    ssize_t n = send(end->fd, end->kept + end->kept_at, end->kept_n - end->kept_at, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        pair_end(end->pair);
        return;
    }
    end->kept_at += n < 0 ? 0 : (size_t)n;
    if (end->kept_at == end->kept_n) {
        end_watch(end, end->events & ~(uint32_t)EPOLLOUT);
        end_watch(end->other, end->other->events | EPOLLIN);
    }
}

static void on_event(struct end *end, uint32_t events)
{
    if (!end->pair->is_gone && (events & EPOLLOUT)) {
        on_writable(end);
    }
    if (!end->pair->is_gone && (events & EPOLLIN)) {
        on_read(end);
    } else if (!end->pair->is_gone && (events & (EPOLLHUP | EPOLLERR))) {
        pair_end(end->pair);
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event events[N_EVENTS];
    if (argc != 3) {
        errx(2, "usage: relay LISTEN UPSTREAM");
    }
    endpoint_raise_file_limit(1024);
    upstream = argv[2];
    listener = endpoint_listen(argv[1]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0) {
        err(1, "epoll");
    }
    printf("listening %s\n", argv[1]);
    if (fflush(stdout) != 0) {
        err(1, "standard output");
    }
    for (;;) {
        int n = epoll_wait(epoll_fd, events, N_EVENTS, -1);
        if (n < 0 && errno != EINTR) {
            err(1, "epoll_wait");
        }
        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr) {
                on_accept();
            } else {
                on_event(events[i].data.ptr, events[i].events);
            }
        }
        reap();
    }
}
