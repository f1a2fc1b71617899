/*
 * Connection
 *
 * One connection to remotingd over its Unix socket: requests go out, answers come back in any order
 * and are recognised by their opaque. It owns the socket, the bytes that were read ahead and the
 * list of what is in flight (at most CONNECTION_IN_FLIGHT_MAX requests). It discards what was not
 * asked for: answers to an opaque that is not in flight, and requests of the daemon unless
 * connection_receive_request() waits for one. It never prints and never exits, and only that
 * function waits without a bound.
 *
 * Failures are negative errno, with these meanings:
 *
 *     -ETIMEDOUT    no answer within the daemon's own deadline for the request and 5 s
 *     -ECONNRESET   the daemon closed the connection
 *     -EBADMSG      an answer cannot be understood; connection_problem() says why
 *     -EMSGSIZE     the request does not fit a frame
 *     -EINTR        a signal that the wait mask lets through came in
 *
 * After any of them but -EMSGSIZE and -EINTR the connection is of no more use.
 */
#pragma once

#include "protocol/cleanup.h"
#include "protocol/remoting_command.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONNECTION_IN_FLIGHT_MAX 64

struct connection;

/* An answer and the frame that it points into. */
struct answer {
    struct remoting_command command;
    uint64_t token; /* what connection_send() was given with the request */
    uint8_t *frame;
    struct ext_field fields[EXT_FIELDS_MAX];
};

struct answer *answer_free(struct answer *answer);
DEFINE_CLEANUP(struct answer *, answer_free)

/* Waits at most 5 s for a daemon that is slow to accept. */
int connection_new(const char *socket_path, struct connection **ret_connection);
struct connection *connection_free(struct connection *connection);
DEFINE_CLEANUP(struct connection *, connection_free)

/*
 * How long the answer to a request with these ext fields may take: the deadline that the daemon
 * gives it (sidecar.timeoutMillis; else 3 s, or the poll time and 5 s) and 5 s more.
 */
uint64_t connection_wait_ms(const struct ext_fields *ext_fields);

/*
 * Gives the command an opaque and writes it. The token comes back in the answer; oneway commands
 * have none. A connection with CONNECTION_IN_FLIGHT_MAX requests in flight takes no other
 * (asserted; connection_n_in_flight() tells).
 */
int connection_send(struct connection *connection, struct remoting_command *command,
    enum serialize_type serialize_type, uint64_t token);
size_t connection_n_in_flight(const struct connection *connection);

/* The next answer to anything in flight; at least one request is (asserted). */
int connection_receive(struct connection *connection, struct answer **ret_answer);
/* The same without waiting: -EAGAIN when there is none yet. */
int connection_receive_ready(struct connection *connection, struct answer **ret_answer);
/* Waits until an answer may be there, or other_fd (-1: none) can be read. */
int connection_wait(struct connection *connection, int other_fd, bool *ret_other_ready);

/*
 * The next request of the daemon (a net event), however long it takes; nothing of ours is in flight
 * (asserted).
 */
int connection_receive_request(struct connection *connection, struct answer **ret_request);

/* Sends a request and waits for its answer, with nothing else in flight (asserted). */
int connection_invoke(struct connection *connection, struct remoting_command *command,
    enum serialize_type serialize_type, struct answer **ret_answer);

/*
 * While a mask is set (not NULL; it must outlive its use), it is the signal mask of every wait, and
 * a signal ends the wait with -EINTR. A caller blocks its signals, asks its flag and waits: nothing
 * is lost in between.
 */
void connection_set_wait_mask(struct connection *connection, const sigset_t *mask);

/* One sentence about the last -EBADMSG. */
const char *connection_problem(const struct connection *connection);
