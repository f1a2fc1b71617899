/*
 * Upstream
 *
 * One TCP connection to a broker or nameserver, and the requests in flight on it. It writes
 * requests under upstream opaques from the pending table, takes responses back out of it, and
 * answers what a broker asks of a client (nothing is registered here yet:
 * REQUEST_CODE_NOT_SUPPORTED). A connection is what its socket says: end of file, reset or a frame
 * that cannot be decoded makes it dead at once, and everything in flight on it fails at once. A
 * request whose deadline passes only loses its slot; the shared socket lives on.
 *
 *     CONNECTING -> READY -> CLOSED(cause)         reconnecting is the pool's business, with a new upstream
 *
 * Whoever invokes owns its struct pending_request, whose states are
 *
 *     IDLE -> WAITING (for its address to be connected) -> IN_FLIGHT -> IDLE
 *
 * and which ends in exactly one of on_response, on_sent (oneway) and on_failure, or in
 * pending_request_cancel().
 */
#pragma once

#include "daemon/core/failure.h"
#include "daemon/core/pending_table.h"
#include "daemon/core/stats.h"
#include "daemon/wiring/kept_command.h"
#include "daemon/wiring/transport.h"
#include "protocol/remoting_command.h"

#include <sys/queue.h>
#include <sys/socket.h>

struct upstream;
struct upstream_address; /* upstream_pool.h */
struct pending_request;

struct pending_request_handler {
    /*
     * The response, valid until this returns; its body lies in source. The request is IDLE again.
     */
    void (*on_response)(struct pending_request *request, struct remoting_command *response,
        const struct command_source *source);
    /* A oneway request was given to the connection. */
    void (*on_sent)(struct pending_request *request);
    void (*on_failure)(struct pending_request *request, const struct failure_report *report);
};

enum pending_request_state {
    REQUEST_IDLE,
    REQUEST_WAITING,
    REQUEST_IN_FLIGHT,
};

struct pending_request {
    const struct pending_request_handler *handler;
    enum pending_request_state state;
    bool is_oneway;
    /* told of the first failed attempt to connect: its owner has somewhere else to go */
    bool fails_fast;
    struct upstream_address *address; /* WAITING, IN_FLIGHT: where it goes */
    struct upstream *upstream;        /* IN_FLIGHT */
    int32_t upstream_opaque;          /* IN_FLIGHT */
    uint64_t stream_start;            /* IN_FLIGHT: the byte of the connection at which it begins */
    uint64_t sent_ms;
    uint64_t deadline_ms; /* of this attempt */
    struct deadline deadline;
    struct kept_command kept; /* WAITING: what to send; deinitialised by who owns the request */
    TAILQ_ENTRY(pending_request) link; /* WAITING: the address's; IN_FLIGHT: the upstream's */
};
TAILQ_HEAD(pending_request_list, pending_request);

enum upstream_state {
    UPSTREAM_CONNECTING,
    UPSTREAM_READY,
    UPSTREAM_CLOSED,
};

/* Shared by all upstreams; owned by the daemon. */
struct upstream_context {
    struct loop *loop;
    struct memory *memory;
    struct pending_table *pending;
    struct stats *stats;
    uint64_t next_upstream_id;
    size_t buffer_limit; /* limits.upstream_buffer */
    uint64_t connect_timeout_ms;
    uint64_t keepalive_idle_ms;
    uint64_t tcp_user_timeout_ms;
    struct remoting_command response; /* the one that is being handed out, with its fields */
    struct ext_field response_fields[EXT_FIELDS_MAX];
};

struct upstream_owner {
    void (*on_ready)(struct upstream *upstream);
    /*
     * It is closed and frees itself after this turn; its requests in flight are told after this
     * returns.
     */
    void (*on_closed)(struct upstream *upstream, bool was_ready, const char *cause);
};

struct upstream {
    struct transport transport;
    struct upstream_context *context;
    const struct upstream_owner *owner;
    struct upstream_address *address;
    uint64_t id;
    enum upstream_state state;
    char *name; /* host:port as the pool knows it, for causes and the log */
    struct deadline connect_deadline;
    struct pending_request_list in_flight;
    size_t n_in_flight;
    bool has_answered; /* a frame came that could be decoded */
    uint64_t used_ms;
    struct loop_reapable reapable;
};

/*
 * Begins to connect. NULL: *ret_error is the errno. Its end is told by on_ready or on_closed, never
 * before this returns.
 */
struct upstream *upstream_new(struct upstream_context *context, const struct upstream_owner *owner,
    struct upstream_address *address, const char *name, const struct sockaddr *socket_address,
    socklen_t socket_address_size, int *ret_error);
/* Closes; everything in flight fails with connection-lost and this cause. */
void upstream_close(struct upstream *upstream, const char *cause);

/*
 * Gives a request to a READY upstream. command's opaque, flag, language and version are set for the
 * way; the caller's stay. 0: IN_FLIGHT (or, oneway, sent and IDLE: on_sent is not called).
 * Otherwise report says why, and nothing was written.
 */
int upstream_send(struct upstream *upstream, struct pending_request *request,
    const struct remoting_command *command, struct frame_buffer *body_owner,
    struct failure_report *report);

void pending_request_init(
    struct pending_request *request, const struct pending_request_handler *handler);
/*
 * Takes the request out of wherever it waits, without telling anybody. Its response, should it
 * come, is late.
 */
void pending_request_cancel(struct upstream_context *context, struct pending_request *request);
/* Whether a byte of it may have reached the other side. */
bool pending_request_was_sent(const struct pending_request *request);
