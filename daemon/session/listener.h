/*
 * Listener
 *
 * One of the Unix sockets that callers connect to. A socket file that nobody listens on any more is
 * replaced; one that somebody listens on is not touched. The socket is made under another name
 * beside its own (PATH.PID, which is what ss shows) and moves in when its mode and group are right
 * and it is listened on: whoever sees the path sees it so. A missing directory is made.
 *
 * One that the daemon before this one handed over (handover.h) is taken over at the same path.
 *
 * A socket that the service manager listens on at the same path (systemd's .socket unit) is taken
 * over instead as it is, mode and group included, and its file is left alone at the end.
 *
 * Beyond max_sessions a caller's first request is answered `overloaded`; with LISTENER_SURPLUS_MAX
 * of those, and when descriptors run out, accepting pauses and connections wait in the kernel's
 * queue; it goes on when a session of this listener left, or after LISTENER_PAUSE_MS.
 */
#pragma once

#include "config/config.h"
#include "daemon/session/handover.h"
#include "daemon/session/session.h"

#include <sys/un.h>

#define LISTENER_SURPLUS_MAX 64
#define LISTENER_PAUSE_MS    200

struct listener;

/*
 * Whether there is nothing at the path of a socket, or one that an earlier daemon left behind.
 * Otherwise problem says what is there; setting, as "[listener] socket", is what may name another.
 */
bool listener_path_is_free(
    const struct sockaddr_un *address, const char *setting, char *problem, size_t problem_size);

/* On failure NULL, and problem says in words what is wrong and what to do. */
struct listener *listener_new(struct loop *loop, struct session_list *sessions,
    struct session_entrance *entrance, char *problem, size_t problem_size);
/*
 * The daemon has started: a socket that was handed over is its own from now on, and its file goes
 * with it. Before that a start that fails leaves both to the next one.
 */
void listener_own(struct listener *listener);
/*
 * Gives the next daemon its socket, unless the service manager listens on it anyway: the file stays.
 */
void listener_hand_over(struct listener *listener, struct handover *handover);
/* Closes it and removes the socket file, unless it was handed over. */
struct listener *listener_free(struct listener *listener);
