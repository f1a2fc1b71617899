#include "client/interrupt.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

static volatile sig_atomic_t is_interrupted;
static sigset_t wait_mask;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    is_interrupted = 1;
}

void interrupt_catch(void)
{
    const struct sigaction action = {
        .sa_handler = on_interrupt,
        .sa_flags = (int)SA_RESETHAND | SA_RESTART,
    };
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigprocmask(SIG_SETMASK, NULL, &wait_mask);
}

bool interrupt_came(void)
{
    return is_interrupted;
}

void interrupt_block(bool block)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    (void)sigprocmask(block ? SIG_BLOCK : SIG_UNBLOCK, &signals, NULL);
}

const sigset_t *interrupt_wait_mask(void)
{
    return &wait_mask;
}

int interrupt_poll(struct pollfd *fds, nfds_t n, int64_t timeout_ms)
{
    const struct timespec timeout = {
        .tv_sec = (time_t)(timeout_ms / 1000),
        .tv_nsec = (long)(timeout_ms % 1000) * 1000000,
    };
    int r = -EINTR;
    interrupt_block(true);
    while (!is_interrupted && r == -EINTR) {
        r = ppoll(fds, n, timeout_ms < 0 ? NULL : &timeout, &wait_mask);
        r = r < 0 ? -errno : r;
    }
    interrupt_block(false);
    return r;
}

bool interrupt_input_comes(int fd)
{
    struct pollfd input = { .fd = fd, .events = POLLIN };
    return interrupt_poll(&input, 1, -1) != -EINTR || poll(&input, 1, 0) > 0;
}
