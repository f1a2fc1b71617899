#include "daemon/session/handover.h"

#include "daemon/loop/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define VERSION   "v1."
#define CALLER    VERSION "caller."
#define LISTENER  VERSION "listener."
#define NAME_SIZE 128 /* the longest of them and a path of 107 bytes */
#define LOOK_MS   500

static bool fits_name(const char *path)
{
    for (const char *c = path; *c; c++) {
        if (*c <= ' ' || *c > '~' || *c == ':') {
            return false;
        }
    }
    return true;
}

static void name_make(char name[static NAME_SIZE], const char *what, const char *path)
{
    (void)snprintf(name, NAME_SIZE, "%s%s", what, path);
}

/* --- giving --- */

static void on_look(struct deadline *deadline, uint64_t now_ms)
{
    struct handover *handover =
        (struct handover *)(void *)((char *)deadline - offsetof(struct handover, look));
    /* The turn that this makes ends with handover_callers(). */
    handover->looks = true;
    loop_deadline_set(handover->sessions->loop, deadline, clock_after(now_ms, LOOK_MS));
}

void handover_init(
    struct handover *handover, struct service *service, struct session_list *sessions)
{
    *handover = (struct handover){ .service = service, .sessions = sessions };
    deadline_init(&handover->look, on_look);
}

void handover_deinit(struct handover *handover)
{
    if (handover->sessions) {
        loop_deadline_clear(handover->sessions->loop, &handover->look);
    }
}

bool handover_begin(struct handover *handover)
{
    struct session_list *sessions = handover->sessions;
    bool is_first = !handover->is_on;
    handover->is_on = service_room(handover->service) > 0;
    if (handover->is_on && is_first) {
        on_look(&handover->look, sessions->loop->now_ms);
        for (size_t i = 0; i < sessions->n_entrances; i++) {
            sessions->entrances[i].hands_over = fits_name(sessions->entrances[i].config->socket);
        }
    }
    return handover->is_on;
}

bool handover_listener(struct handover *handover, const char *path, int fd)
{
    char name[NAME_SIZE];
    if (!handover->is_on || service_room(handover->service) == 0 || !fits_name(path)) {
        return false;
    }
    name_make(name, LISTENER, path);
    return service_store(handover->service, name, &fd, 1);
}

/* Callers of one listener that go in one message. */
struct batch {
    struct session *sessions[SERVICE_STORE_MAX];
    int fds[SERVICE_STORE_MAX];
    size_t n;
};

static void batch_send(struct handover *handover, const char *path, struct batch *batch)
{
    char name[NAME_SIZE];
    name_make(name, CALLER, path);
    if (batch->n > 0 && service_store(handover->service, name, batch->fds, batch->n)) {
        for (size_t i = 0; i < batch->n; i++) {
            session_handed_over(batch->sessions[i]);
        }
    }
    batch->n = 0;
}

/* Where there is no more room, callers that still ask hear that the daemon is stopping. */
static void entrance_hand_over(struct handover *handover, struct session_entrance *entrance)
{
    struct batch batch = { .n = 0 };
    const char *path = entrance->config->socket;
    struct session *next;
    for (struct session *session = TAILQ_FIRST(&handover->sessions->list); session;
         session = next) {
        next = TAILQ_NEXT(session, link);
        if (session->entrance != entrance || batch.n == service_room(handover->service) ||
            !session_comes_to_rest(session, handover->looks)) {
            continue;
        }
        batch.sessions[batch.n] = session;
        batch.fds[batch.n++] = session->transport.fd;
        if (batch.n == SERVICE_STORE_MAX) {
            batch_send(handover, path, &batch);
        }
    }
    batch_send(handover, path, &batch);
    entrance->hands_over = service_room(handover->service) > 0;
}

void handover_callers(struct handover *handover)
{
    struct session_list *sessions = handover->sessions;
    for (size_t i = 0; i < sessions->n_entrances && handover->is_on; i++) {
        struct session_entrance *entrance = &sessions->entrances[i];
        if (entrance->hands_over && entrance->n > 0) {
            entrance_hand_over(handover, entrance);
        }
    }
    handover->looks = false;
}

/* --- taking --- */

/* What was handed over, by the names that it had. The names are to be given to given_deinit(). */
struct given {
    char **names;
    size_t n;
};

static struct given given_find(void)
{
    struct given given = { .names = NULL };
    int n = sd_listen_fds_with_names(0, &given.names);
    given.n = n > 0 ? (size_t)n : 0;
    return given;
}

static int given_fd(size_t i)
{
    return SD_LISTEN_FDS_START + (int)i;
}

static void given_deinit(struct given *given)
{
    for (size_t i = 0; i < given->n; i++) {
        free(given->names[i]);
    }
    free(given->names);
}

int handover_take_listener(const char *path)
{
    char name[NAME_SIZE];
    struct given given = given_find();
    int fd = -1;
    name_make(name, LISTENER, path);
    for (size_t i = 0; i < given.n && fd < 0; i++) {
        if (strcmp(given.names[i], name) == 0 &&
            sd_is_socket_unix(given_fd(i), SOCK_STREAM, 1, NULL, 0) > 0) {
            fd = given_fd(i);
        }
    }
    given_deinit(&given);
    return fd;
}

static struct session_entrance *entrance_find(struct session_list *sessions, const char *path)
{
    for (size_t i = 0; i < sessions->n_entrances; i++) {
        if (strcmp(sessions->entrances[i].config->socket, path) == 0) {
            return &sessions->entrances[i];
        }
    }
    return NULL;
}

/* True: it has become a session's. Otherwise it is closed. */
static bool caller_take(struct session_list *sessions, const char *name, int fd)
{
    size_t n = strlen(CALLER);
    struct session_entrance *entrance =
        strncmp(name, CALLER, n) == 0 ? entrance_find(sessions, name + n) : NULL;
    if (!entrance || sd_is_socket_unix(fd, SOCK_STREAM, 0, NULL, 0) <= 0 ||
        evutil_make_socket_nonblocking(fd) < 0) {
        (void)close(fd);
        return false;
    }
    return session_open(sessions, entrance, fd) == 0;
}

static bool is_listener_in_use(struct session_list *sessions, const char *name, int fd)
{
    size_t n = strlen(LISTENER);
    const struct session_entrance *entrance =
        strncmp(name, LISTENER, n) == 0 ? entrance_find(sessions, name + n) : NULL;
    return entrance && entrance->listening_fd == fd;
}

/*
 * A version of names is the letter v and a number; what has none was not handed over here: the
 * sockets of a .socket unit.
 */
static bool is_handed_over(const char *name)
{
    size_t n_digits = name[0] == 'v' ? strspn(name + 1, "0123456789") : 0;
    return n_digits > 0 && name[1 + n_digits] == '.';
}

void handover_take_callers(struct handover *handover)
{
    struct given given = given_find();
    size_t n_taken = 0, n_closed = 0;
    for (size_t i = 0; i < given.n; i++) {
        const char *name = given.names[i];
        if (!is_handed_over(name)) {
            continue;
        }
        /* The manager holds it, too: without this the caller would not see when it is closed. */
        if (i == 0 || strcmp(given.names[i - 1], name) != 0) {
            service_forget(handover->service, name);
        }
        if (is_listener_in_use(handover->sessions, name, given_fd(i))) {
            continue;
        }
        bool is_taken = caller_take(handover->sessions, name, given_fd(i));
        n_taken += is_taken;
        n_closed += !is_taken;
    }
    if (n_taken + n_closed > 0) {
        log_info("handover taken=%zu closed=%zu", n_taken, n_closed);
    }
    given_deinit(&given);
}
