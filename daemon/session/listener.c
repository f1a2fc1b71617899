#include "daemon/session/listener.h"

#include "config/value.h"
#include "daemon/loop/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define LISTENER_BACKLOG 1024
/* Connections accepted before the loop looks at anything else again. */
#define LISTENER_BATCH    64
#define LISTENER_QUIET_MS 10000

struct listener {
    struct loop *loop;
    struct session_list *sessions;
    struct session_entrance *entrance;
    struct sockaddr_un address;
    dev_t device;
    ino_t inode;
    bool was_handed_over; /* by the daemon before this one */
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

/* That is over when the next one can be accepted. */
static void listener_starve(struct listener *listener, const char *why)
{
    listener->entrance->is_starved = true;
    listener_pause(listener, why);
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
        if (listener->entrance->n >=
            listener->entrance->config->max_sessions + LISTENER_SURPLUS_MAX) {
            listener_pause(listener, "max_sessions is reached");
            return;
        }
        int session_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (session_fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                listener_starve(listener, strerror(errno));
            }
            return;
        }
        if (session_open(listener->sessions, listener->entrance, session_fd) < 0) {
            listener_starve(listener, strerror(ENOMEM));
            return;
        }
        listener->entrance->is_starved = false;
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

/* --- the socket file --- */

/*
 * The directory of a socket may be one that only its callers see, such as a container's: it is made
 * where it is missing, and never removed, because who has mounted it keeps the one that was there.
 */
static bool directory_make(const char *path, char *problem, size_t problem_size)
{
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
    (void)snprintf(directory, sizeof(directory), "%.*s", (int)(strrchr(path, '/') - path), path);
    struct stat status;
    if (directory[0] == '\0' || stat(directory, &status) == 0) {
        return true;
    }
    /* The mode of a socket says who may use it; whatever the umask is, they have to get there. */
    if (mkdir(directory, 0755) == 0 && chmod(directory, 0755) == 0) {
        return true;
    }
    (void)snprintf(problem, problem_size, "cannot make the directory %s: %s%s", directory,
        strerror(errno), errno == ENOENT ? " (make the one above it)" : "");
    return false;
}

bool listener_path_is_free(
    const struct sockaddr_un *address, const char *setting, char *problem, size_t problem_size)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0) {
        return true;
    }
    if (!S_ISSOCK(status.st_mode)) {
        (void)snprintf(problem, problem_size,
            "%s exists and is no socket: move it away, or set %s to another path",
            address->sun_path, setting);
        return false;
    }
    if (is_listened_on(address)) {
        (void)snprintf(problem, problem_size,
            "another process listens on %s: stop it, or give this instance a socket of its own "
            "(%s)",
            address->sun_path, setting);
        return false;
    }
    return true;
}

static bool mode_set(const struct listener *listener, const char *path, const char *section,
    char *problem, size_t problem_size)
{
    const struct config_listener *config = listener->entrance->config;
    struct value_reason reason;
    gid_t gid;
    if (config->socket_group[0]) {
        if (!value_read_system_group(config->socket_group, &gid, &reason)) {
            (void)snprintf(problem, problem_size, "%s socket_group = %s: %s", section,
                config->socket_group, reason.text);
            return false;
        }
        if (chown(path, (uid_t)-1, gid) < 0) {
            (void)snprintf(problem, problem_size, "cannot give %s to group %s: %s", config->socket,
                config->socket_group, strerror(errno));
            return false;
        }
    }
    if (chmod(path, config->socket_mode) < 0) {
        (void)snprintf(problem, problem_size, "cannot set the mode of %s: %s", config->socket,
            strerror(errno));
        return false;
    }
    return true;
}

/*
 * The name that the socket has until mode and group are right and it is listened on: PATH.PID, cut
 * where that is too long. False where the directory leaves no room for it.
 */
static bool first_name(const char *path, struct sockaddr_un *ret_address)
{
    char suffix[16];
    int n_suffix = snprintf(suffix, sizeof(suffix), ".%d", (int)getpid());
    size_t room = sizeof(ret_address->sun_path) - 1 - (size_t)n_suffix;
    size_t n = strlen(path) < room ? strlen(path) : room;
    ret_address->sun_family = AF_UNIX;
    (void)snprintf(
        ret_address->sun_path, sizeof(ret_address->sun_path), "%.*s%s", (int)n, path, suffix);
    return n > (size_t)(strrchr(path, '/') - path);
}

/* Takes the place at the path, whether there is nothing or a socket that nobody listens on. */
static bool path_take(struct listener *listener, const char *first, const char *section,
    char *problem, size_t problem_size)
{
    const char *path = listener->address.sun_path;
    struct stat status;
    if (lstat(first, &status) == 0) {
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
    }
    char setting[CONFIG_LISTENER_TEXT_SIZE + 16];
    (void)snprintf(setting, sizeof(setting), "%s socket", section);
    if (!listener_path_is_free(&listener->address, setting, problem, problem_size)) {
        return false;
    }
    if (rename(first, path) < 0) {
        (void)snprintf(problem, problem_size, "cannot listen on %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

/*
 * The socket that the service manager listens on at the path and has handed over, or -1. It was made
 * with a mode and group of its own, and stays when this process ends: callers who connect meanwhile
 * wait in the kernel's queue for the next one.
 */
static int given_socket(const char *path)
{
    int n = sd_listen_fds(0);
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
        if (sd_is_socket_unix(fd, SOCK_STREAM, 1, path, 0) > 0 &&
            evutil_make_socket_nonblocking(fd) == 0) {
            return fd;
        }
    }
    return -1;
}

/* Nobody meets the socket before its mode and group are what was asked for: it moves in complete. */
static bool listener_bind(struct listener *listener, char *problem, size_t problem_size)
{
    const char *path = listener->address.sun_path;
    char section[CONFIG_LISTENER_TEXT_SIZE];
    struct sockaddr_un first;
    (void)config_listener_text(listener->entrance->config, section);
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0) {
        (void)snprintf(problem, problem_size, "cannot make a Unix socket: %s", strerror(errno));
        return false;
    }
    if (!first_name(path, &first)) {
        (void)snprintf(problem, problem_size,
            "the directory of %s has too long a name: a shorter one is accepted in %s socket", path,
            section);
        return false;
    }
    if (!directory_make(path, problem, problem_size)) {
        return false;
    }
    (void)unlink(first.sun_path); /* of a process that had our number, and ended in between */
    mode_t mask = umask(0177);
    int r = bind(listener->fd, (const struct sockaddr *)&first, sizeof(first));
    int error = errno;
    (void)umask(mask);
    if (r < 0) {
        (void)snprintf(problem, problem_size, "cannot listen on %s: %s (%s socket)", path,
            strerror(error), section);
        return false;
    }
    bool is_there = mode_set(listener, first.sun_path, section, problem, problem_size);
    if (is_there && listen(listener->fd, LISTENER_BACKLOG) < 0) {
        (void)snprintf(problem, problem_size, "cannot listen on %s: %s", path, strerror(errno));
        is_there = false;
    }
    is_there = is_there && path_take(listener, first.sun_path, section, problem, problem_size);
    if (!is_there) {
        (void)unlink(first.sun_path);
    }
    return is_there;
}

/* The one of the daemon before this one, where its file is still there; -1: none. */
static int handed_over_socket(struct listener *listener, char *problem, size_t problem_size)
{
    const char *path = listener->address.sun_path;
    char section[CONFIG_LISTENER_TEXT_SIZE];
    struct stat status;
    int fd = handover_take_listener(path);
    if (fd < 0 || lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode) ||
        evutil_make_socket_nonblocking(fd) < 0) {
        return -1;
    }
    (void)config_listener_text(listener->entrance->config, section);
    if (!mode_set(listener, path, section, problem, problem_size)) {
        return -1;
    }
    listener->was_handed_over = true;
    return fd;
}

void listener_own(struct listener *listener)
{
    struct stat status;
    if (listener->was_handed_over && lstat(listener->address.sun_path, &status) == 0) {
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
    }
}

void listener_hand_over(struct listener *listener, struct handover *handover)
{
    (void)event_del(&listener->event);
    if (listener->inode != 0 &&
        handover_listener(handover, listener->address.sun_path, listener->fd)) {
        listener->inode = 0;
    }
}

struct listener *listener_new(struct loop *loop, struct session_list *sessions,
    struct session_entrance *entrance, char *problem, size_t problem_size)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        (void)snprintf(problem, problem_size, "out of memory");
        return NULL;
    }
    listener->loop = loop;
    listener->sessions = sessions;
    listener->entrance = entrance;
    listener->fd = -1;
    listener->address.sun_family = AF_UNIX;
    (void)snprintf(listener->address.sun_path, sizeof(listener->address.sun_path), "%s",
        listener->entrance->config->socket);
    deadline_init(&listener->resume, on_resume);
    listener->fd = given_socket(listener->address.sun_path);
    if (listener->fd < 0) {
        listener->fd = handed_over_socket(listener, problem, problem_size);
    }
    if (listener->fd < 0 && !listener_bind(listener, problem, problem_size)) {
        return listener_free(listener);
    }
    (void)event_assign(
        &listener->event, loop->base, listener->fd, EV_READ | EV_PERSIST, on_connection, listener);
    if (event_add(&listener->event, NULL) < 0) {
        (void)snprintf(problem, problem_size, "out of memory");
        return listener_free(listener);
    }
    entrance->listening_fd = listener->fd;
    entrance->on_left = on_session_left;
    entrance->on_left_context = listener;
    return listener;
}

struct listener *listener_free(struct listener *listener)
{
    if (!listener) {
        return NULL;
    }
    if (event_initialized(&listener->event)) {
        (void)event_del(&listener->event);
        listener->entrance->on_left = NULL;
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
