#include "daemon/wiring/listener.h"

#include "daemon/wiring/log.h"
#include "protocol/ext_fields.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTENER_BACKLOG 1024
/* Connections accepted before the loop looks at anything else again. */
#define LISTENER_BATCH    64
#define LISTENER_QUIET_MS 10000

struct listener {
    struct loop *loop;
    struct session_list *sessions;
    const struct config *config;
    struct sockaddr_un address;
    dev_t device;
    ino_t inode;
    int fd;
    struct event event;
    struct deadline resume;
    bool is_paused;
    uint64_t quiet_until_ms; /* a pause that follows a pause is not worth a line */
};

static void listener_pause(struct listener *listener, const char *why)
{
    if (!listener->is_paused) {
        uint64_t now_ms = listener->loop->now_ms;
        if (now_ms >= listener->quiet_until_ms) {
            log_warning("listener socket=%s paused: %s", listener->address.sun_path, why);
        }
        listener->quiet_until_ms = clock_after(now_ms, LISTENER_QUIET_MS);
        listener->is_paused = true;
        (void)event_del(&listener->event);
    }
    loop_deadline_set(
        listener->loop, &listener->resume, clock_after(listener->loop->now_ms, LISTENER_PAUSE_MS));
}

static void listener_resume(struct listener *listener)
{
    if (listener->is_paused) {
        listener->is_paused = false;
        loop_deadline_clear(listener->loop, &listener->resume);
        (void)event_add(&listener->event, NULL);
    }
}

static void on_resume(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    listener_resume(
        (struct listener *)(void *)((char *)deadline - offsetof(struct listener, resume)));
}

static void on_session_left(void *context)
{
    listener_resume(context);
}

static void on_connection(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct listener *listener = context;
    loop_wake(listener->loop);
    for (int i = 0; i < LISTENER_BATCH; i++) {
        if (listener->sessions->n >=
            listener->config->listener.max_sessions + LISTENER_SURPLUS_MAX) {
            listener_pause(listener, "listener.max_sessions is reached");
            return;
        }
        int session_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (session_fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                listener_pause(listener, strerror(errno));
            }
            return;
        }
        if (session_open(listener->sessions, session_fd) < 0) {
            listener_pause(listener, strerror(ENOMEM));
            return;
        }
    }
}

/* Whether somebody answers at the path. */
static bool is_listened_on(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    bool is_alive =
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN;
    (void)close(fd);
    return is_alive;
}

/* Removes what an earlier daemon left behind. */
static bool path_clear(const struct sockaddr_un *address, char *problem, size_t problem_size)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0) {
        return true;
    }
    if (!S_ISSOCK(status.st_mode)) {
        (void)snprintf(problem, problem_size,
            "%s exists and is no socket: move it away, or set [listener] socket to another path",
            address->sun_path);
        return false;
    }
    if (is_listened_on(address)) {
        (void)snprintf(problem, problem_size,
            "another process listens on %s: stop it, or give this instance a [listener] socket of "
            "its own",
            address->sun_path);
        return false;
    }
    (void)unlink(address->sun_path);
    return true;
}

/* A number need not be that of a group with a name. */
static bool group_find(const char *name, gid_t *ret_gid)
{
    const struct group *group = getgrnam(name);
    int64_t number;
    if (group) {
        *ret_gid = group->gr_gid;
        return true;
    }
    if (!ext_value_parse_i64(span_of(name), 0, (gid_t)-1 - INT64_C(1), &number)) {
        return false;
    }
    *ret_gid = (gid_t)number;
    return true;
}

static bool group_set(const struct config *config, char *problem, size_t problem_size)
{
    const char *name = config->listener.socket_group;
    if (!name || !name[0]) {
        return true;
    }
    gid_t gid;
    if (!group_find(name, &gid)) {
        (void)snprintf(problem, problem_size,
            "[listener] socket_group = %s: there is no such group on this host", name);
        return false;
    }
    if (chown(config->listener.socket, (uid_t)-1, gid) < 0) {
        (void)snprintf(problem, problem_size, "cannot give %s to group %s: %s",
            config->listener.socket, name, strerror(errno));
        return false;
    }
    return true;
}

static bool listener_bind(struct listener *listener, char *problem, size_t problem_size)
{
    const struct config *config = listener->config;
    const char *path = listener->address.sun_path;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0) {
        (void)snprintf(problem, problem_size, "cannot make a Unix socket: %s", strerror(errno));
        return false;
    }
    /* Nobody may connect before mode and group are what was asked for. */
    mode_t mask = umask(0177);
    int r =
        bind(listener->fd, (const struct sockaddr *)&listener->address, sizeof(listener->address));
    int error = errno;
    (void)umask(mask);
    if (r < 0) {
        (void)snprintf(problem, problem_size, "cannot listen on %s: %s%s", path, strerror(error),
            error == ENOENT ? " (its directory has to exist: make it, or set [listener] socket)"
                            : "");
        return false;
    }
    struct stat status;
    if (stat(path, &status) == 0) {
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
    }
    if (!group_set(config, problem, problem_size)) {
        return false;
    }
    if (chmod(path, config->listener.socket_mode) < 0 ||
        listen(listener->fd, LISTENER_BACKLOG) < 0) {
        (void)snprintf(problem, problem_size, "cannot listen on %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

struct listener *listener_new(struct loop *loop, struct session_list *sessions,
    const struct config *config, char *problem, size_t problem_size)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        (void)snprintf(problem, problem_size, "out of memory");
        return NULL;
    }
    listener->loop = loop;
    listener->sessions = sessions;
    listener->config = config;
    listener->fd = -1;
    listener->address.sun_family = AF_UNIX;
    (void)snprintf(listener->address.sun_path, sizeof(listener->address.sun_path), "%s",
        config->listener.socket);
    deadline_init(&listener->resume, on_resume);
    if (!path_clear(&listener->address, problem, problem_size) ||
        !listener_bind(listener, problem, problem_size)) {
        return listener_free(listener);
    }
    (void)event_assign(
        &listener->event, loop->base, listener->fd, EV_READ | EV_PERSIST, on_connection, listener);
    if (event_add(&listener->event, NULL) < 0) {
        (void)snprintf(problem, problem_size, "out of memory");
        return listener_free(listener);
    }
    sessions->on_left = on_session_left;
    sessions->on_left_context = listener;
    return listener;
}

struct listener *listener_free(struct listener *listener)
{
    if (!listener) {
        return NULL;
    }
    if (event_initialized(&listener->event)) {
        (void)event_del(&listener->event);
        listener->sessions->on_left = NULL;
    }
    loop_deadline_clear(listener->loop, &listener->resume);
    if (listener->fd >= 0) {
        (void)close(listener->fd);
    }
    /* Only the file that was made here: a successor may have its own at the same path by now. */
    struct stat status;
    if (listener->inode != 0 && lstat(listener->address.sun_path, &status) == 0 &&
        status.st_dev == listener->device && status.st_ino == listener->inode) {
        (void)unlink(listener->address.sun_path);
    }
    free(listener);
    return NULL;
}
