#include "tests/simulation/machine.h"

#include "tests/fuzz/target.h"
#include "tests/simulation/world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS_MAX   1024
#define READY_MAX         64
#define JUNK_SIZE         1024
#define SMALL_BUFFER      4096
#define LARGE_BUFFER      212992
#define WALL_CLOCK_S      1700000000 /* that of the world at its beginning */
#define PROCESS_ID        4711
#define WAITS_MAX         20000 /* without any time passing: the daemon turns in circles */
#define PAUSE_USUAL_US    20000
#define PAUSE_LONG_US     2000000
#define PAUSE_LONG_ONE    40
#define SHORT_CALL_ONE    8
#define FAILED_CALL_ONE   200
#define FAILED_ACCEPT_ONE 40

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static struct {
    uint64_t now_us;
    uint64_t random_state;
    unsigned n_waits; /* since time passed */
    int epoll_fd;     /* of the world's descriptors */
    bool is_calm;
    uint64_t n_accepted;
    uint64_t accept_failed_us;
    int connect_errors[DESCRIPTORS_MAX]; /* what SO_ERROR says of a descriptor of the daemon's */
} machine = { .epoll_fd = -1 };

void machine_begin(uint64_t seed)
{
    machine.now_us = 3600 * (uint64_t)1000000;
    machine.random_state = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
    machine.n_waits = 0;
    machine.is_calm = false;
    machine.n_accepted = machine.accept_failed_us = 0;
    memset(machine.connect_errors, 0, sizeof(machine.connect_errors));
    if (machine.epoll_fd >= 0) {
        (void)close(machine.epoll_fd);
    }
    machine.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    promise(machine.epoll_fd >= 0, "%s", strerror(errno));
}

void machine_calm(void)
{
    machine.is_calm = true;
}

/* --- chance --- */

/* splitmix64 */
static uint64_t chance_next(void)
{
    uint64_t z = machine.random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t chance_below(uint32_t n)
{
    return (uint32_t)((chance_next() >> 32) * n >> 32);
}

bool chance_one_in(uint32_t n)
{
    return chance_below(n) == 0;
}

ssize_t getrandom(void *data, size_t n, unsigned flags)
{
    (void)flags;
    uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)chance_next();
    }
    return (ssize_t)n;
}

/* It stands in names that the daemon sends. */
pid_t getpid(void)
{
    return PROCESS_ID;
}

/* --- time --- */

uint64_t machine_now_us(void)
{
    return machine.now_us;
}

static void time_pass(uint64_t until_us)
{
    if (until_us > machine.now_us) {
        machine.now_us = until_us;
        machine.n_waits = 0;
    }
}

void machine_stop_for(uint64_t us)
{
    time_pass(machine.now_us + us);
}

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    ret_now->tv_sec = (time_t)(machine.now_us / 1000000);
    ret_now->tv_nsec = (long)(machine.now_us % 1000000 * 1000);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        ret_now->tv_sec += WALL_CLOCK_S;
    }
    return 0;
}

/* Nothing is ready: somebody acts, or time passes until something is due. */
static void idle(uint64_t until_us)
{
    if (chance_below(4) > 0 && world_step()) {
        return;
    }
    uint64_t next_us = world_next_us();
    if (next_us < until_us) {
        until_us = next_us;
    }
    if (!machine.is_calm) {
        uint32_t most_us = chance_one_in(PAUSE_LONG_ONE) ? PAUSE_LONG_US : PAUSE_USUAL_US;
        uint64_t pause_us = machine.now_us + 1 + chance_below(most_us);
        until_us = pause_us < until_us ? pause_us : until_us;
    }
    promise(until_us != MACHINE_NEVER_US, "nothing will ever happen again");
    time_pass(until_us);
}

int epoll_wait(int epoll_fd, struct epoll_event *events, int n_max, int timeout_ms)
{
    uint64_t until_us =
        timeout_ms < 0 ? MACHINE_NEVER_US : machine.now_us + (uint64_t)timeout_ms * MACHINE_MS;
    promise(++machine.n_waits < WAITS_MAX, "the daemon turns in circles");
    for (uint32_t i = machine.is_calm ? 0 : chance_below(3); i > 0; i--) {
        (void)world_step();
    }
    for (;;) {
        world_turn();
        /* Only who sleeps is interrupted. */
        if (timeout_ms != 0 && !machine.is_calm && chance_one_in(FAILED_CALL_ONE)) {
            errno = EINTR;
            return -1;
        }
        int n = (int)syscall(SYS_epoll_pwait, epoll_fd, events, n_max, 0, NULL, 8);
        if (n != 0 || machine.now_us >= until_us) {
            return n;
        }
        idle(until_us);
    }
}

/* --- calls that fall short --- */

static size_t shortened(size_t n)
{
    return n > 1 && !machine.is_calm && chance_one_in(SHORT_CALL_ONE)
               ? 1 + chance_below(n < 4096 ? (uint32_t)n - 1 : 4095)
               : n;
}

static bool is_interrupted(void)
{
    if (machine.is_calm || !chance_one_in(FAILED_CALL_ONE)) {
        return false;
    }
    errno = chance_one_in(2) ? EINTR : EAGAIN;
    return true;
}

ssize_t recv(int fd, void *data, size_t n, int flags)
{
    if (is_interrupted()) {
        return -1;
    }
    return syscall(SYS_recvfrom, fd, data, shortened(n), flags, NULL, NULL);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (is_interrupted()) {
        return -1;
    }
    struct iovec first = message->msg_iov[0];
    size_t n = shortened(first.iov_len);
    if (n == first.iov_len) {
        return syscall(SYS_sendmsg, fd, message, flags);
    }
    first.iov_len = n;
    const struct msghdr less = { .msg_iov = &first, .msg_iovlen = 1 };
    return syscall(SYS_sendmsg, fd, &less, flags);
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    if (!machine.is_calm && chance_one_in(FAILED_ACCEPT_ONE)) {
        errno = chance_one_in(2) ? ECONNABORTED : EMFILE;
        machine.accept_failed_us = errno == EMFILE ? machine.now_us : machine.accept_failed_us;
        return -1;
    }
    int accepted = (int)syscall(SYS_accept4, fd, address, size, flags);
    machine.n_accepted += accepted >= 0;
    return accepted;
}

uint64_t machine_n_accepted(void)
{
    return machine.n_accepted;
}

uint64_t machine_accept_failed_us(void)
{
    return machine.accept_failed_us;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    if (level == SOL_SOCKET && name == SO_ERROR && fd < DESCRIPTORS_MAX &&
        machine.connect_errors[fd] != 0) {
        *(int *)value = machine.connect_errors[fd];
        machine.connect_errors[fd] = 0;
        return 0;
    }
    return (int)syscall(SYS_getsockopt, fd, level, name, value, size);
}

/* --- the network --- */

static void buffer_size_set(int fd, int size)
{
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int machine_connect_pair(int fd)
{
    int pair[2];
    promise(fd < DESCRIPTORS_MAX, "descriptor %d", fd);
    promise(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0, "%s",
        strerror(errno));
    static const uint8_t junk[JUNK_SIZE];
    buffer_size_set(pair[0], SMALL_BUFFER);
    while (send(pair[0], junk, sizeof(junk), MSG_NOSIGNAL) > 0) {
    }
    promise(dup2(pair[0], fd) == fd, "%s", strerror(errno));
    (void)close(pair[0]);
    machine.connect_errors[fd] = 0;
    return pair[1];
}

void machine_connected(int world_fd, int daemon_fd, int error)
{
    uint8_t junk[JUNK_SIZE];
    machine.connect_errors[daemon_fd] = error;
    buffer_size_set(daemon_fd, chance_one_in(4) ? SMALL_BUFFER : LARGE_BUFFER);
    while (read(world_fd, junk, sizeof(junk)) > 0) {
    }
}

/* --- the world's descriptors --- */

void machine_watch_add(struct machine_watch *watch, int fd, bool is_reading,
    void (*on_ready)(struct machine_watch *watch, uint32_t events))
{
    *watch = (struct machine_watch){ .fd = fd, .on_ready = on_ready };
    struct epoll_event event = { .events = is_reading ? EPOLLIN : 0, .data = { .ptr = watch } };
    promise(epoll_ctl(machine.epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0, "%s", strerror(errno));
}

void machine_watch_change(struct machine_watch *watch, bool is_reading)
{
    struct epoll_event event = { .events = is_reading ? EPOLLIN : 0, .data = { .ptr = watch } };
    promise(
        epoll_ctl(machine.epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) == 0, "%s", strerror(errno));
}

void machine_watch_close(struct machine_watch *watch)
{
    if (watch->fd >= 0) {
        (void)close(watch->fd);
        watch->fd = -1;
    }
}

void machine_watches_turn(void)
{
    struct epoll_event events[READY_MAX];
    int n = (int)syscall(SYS_epoll_pwait, machine.epoll_fd, events, READY_MAX, 0, NULL, 8);
    for (int i = 0; i < n; i++) {
        struct machine_watch *watch = events[i].data.ptr;
        if (watch->fd >= 0) {
            watch->on_ready(watch, events[i].events);
        }
    }
}

/* The C library counts what it keeps for reuse as in use: only the sanitizer knows. */
size_t machine_heap_size(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : 0;
}

size_t machine_n_descriptors(void)
{
    size_t n = 0;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}
