/*
 * Hand-over
 *
 * A planned restart that callers do not notice. When the daemon drains, and the service manager keeps
 * descriptors for the next daemon (service.h), it is given the listening sockets that were made here
 * and the connections of callers. A caller is handed over at the boundary of a frame: as soon as
 * nothing of it is in flight, unwritten or read in part. Nothing is read from it before that but the
 * rest of a frame that has begun, so that what it sends meanwhile lies in its socket, for the next
 * daemon. Nothing else is handed over: its place in the pool, its receipts and its role are the next
 * daemon's own business.
 *
 * Callers that the daemon speaks for (processors, groups, net events: session->is_bound) are not
 * handed over: they have to say again who they are. Neither are those that take longer than
 * drain.timeout over a frame or an answer, nor those for which there is no room (FDSTORE). They see
 * the end of the connection.
 *
 * A descriptor's name says what it is, "v1.caller.PATH" or "v1.listener.PATH" with the path of the
 * listener's socket. What has another version, or a path that is not listened on any more, is closed
 * by who starts: its caller sees the end of the connection. Paths with a colon or beyond ASCII fit
 * no name (sd_pid_notify_with_fds(3)): nothing of such a listener is handed over.
 */
#pragma once

#include "daemon/loop/service.h"
#include "daemon/session/session.h"

struct handover {
    struct service *service;
    struct session_list *sessions;
    bool is_on;
    struct deadline look; /* for callers that went while nothing is read from them */
    bool looks;           /* in this turn */
};

void handover_init(
    struct handover *handover, struct service *service, struct session_list *sessions);
void handover_deinit(struct handover *handover);
/* The daemon drains; false where the service manager keeps nothing. */
bool handover_begin(struct handover *handover);
/* After every turn of a drain: hands over who has come so far. */
void handover_callers(struct handover *handover);
/* The listening socket, which the manager then has, too. False: it has not. */
bool handover_listener(struct handover *handover, const char *path, int fd);

/* At the start: the listening socket of this path that was handed over, or -1. */
int handover_take_listener(const char *path);
/* At the start, when listeners are there: opens sessions for callers that were handed over. */
void handover_take_callers(struct handover *handover);
