#include "tests/bench/endpoint.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096

union endpoint_address {
    struct sockaddr any;
    struct sockaddr_in tcp;
    struct sockaddr_un local;
};

static socklen_t endpoint_parse(const char *endpoint, union endpoint_address *address)
{
    memset(address, 0, sizeof *address);
    if (strchr(endpoint, '/')) {
        address->local.sun_family = AF_UNIX;
        if (strlen(endpoint) >= sizeof address->local.sun_path) {
            errx(2, "%s is longer than the path of a Unix socket can be", endpoint);
        }
        strcpy(address->local.sun_path, endpoint);
        return sizeof address->local;
    }
    char host[64];
    const char *colon = strrchr(endpoint, ':');
    size_t n = colon ? (size_t)(colon - endpoint) : sizeof host;
    if (n >= sizeof host) {
        errx(2, "%s is neither host:port nor a path", endpoint);
    }
    memcpy(host, endpoint, n);
    host[n] = '\0';
    address->tcp.sin_family = AF_INET;
    address->tcp.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address->tcp.sin_addr) != 1) {
        errx(2, "%s: %s is not a numeric IPv4 address", endpoint, host);
    }
    return sizeof address->tcp;
}

static void endpoint_set_up(int fd, int family)
{
    int on = 1;
    if (family == AF_INET && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) {
        err(1, "TCP_NODELAY");
    }
}

int endpoint_listen(const char *endpoint)
{
    union endpoint_address address;
    socklen_t n = endpoint_parse(endpoint, &address);
    int on = 1;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err(1, "socket");
    }
    if (address.any.sa_family == AF_UNIX) {
        (void)unlink(address.local.sun_path);
    } else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) {
        err(1, "SO_REUSEADDR");
    }
    if (bind(fd, &address.any, n) < 0 || listen(fd, BACKLOG) < 0) {
        err(1, "%s", endpoint);
    }
    return fd;
}

int endpoint_port(int fd)
{
    union endpoint_address address;
    socklen_t n = sizeof address;
    if (getsockname(fd, &address.any, &n) < 0) {
        err(1, "getsockname");
    }
    return address.any.sa_family == AF_INET ? ntohs(address.tcp.sin_port) : 0;
}

int endpoint_accept(int listener)
{
    union endpoint_address address;
    socklen_t n = sizeof address;
    int fd = accept4(listener, &address.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
            return -1;
        }
        err(1, "accept4");
    }
    endpoint_set_up(fd, address.any.sa_family);
    return fd;
}

int endpoint_try_connect(const char *endpoint)
{
    union endpoint_address address;
    socklen_t n = endpoint_parse(endpoint, &address);
    /* Connecting blocks, so that a full backlog of a Unix socket is waited for. */
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err(1, "socket");
    }
    if (connect(fd, &address.any, n) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        err(1, "O_NONBLOCK");
    }
    endpoint_set_up(fd, address.any.sa_family);
    return fd;
}

int endpoint_connect(const char *endpoint)
{
    int fd = endpoint_try_connect(endpoint);
    if (fd < 0) {
        err(1, "connecting to %s", endpoint);
    }
    return fd;
}

void endpoint_raise_file_limit(unsigned long wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        err(1, "RLIMIT_NOFILE");
    }
    if (limit.rlim_max < wanted) {
        limit.rlim_max = wanted; /* only root may */
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        err(1, "%lu open files are needed", wanted);
    }
}
