/*
 * Upstream
 *
 * One TCP connection to a broker or nameserver, and the requests in flight on it. It writes
 * requests under upstream opaques from the pending table, takes responses back out of it, and hands
 * on what a broker asks of a client (processor.h). A connection is what its socket says: end of
 * file, reset or a frame that cannot be decoded makes it dead at once, and everything in flight on
 * it fails at once. A
 * request whose deadline passes only loses its slot; the shared socket lives on.
 *
 * With TLS (tls.h) the handshake is part of CONNECTING and of upstream.connect_timeout. A peer that
 * refuses our certificate behind the handshake has read no request: they count as not sent.
 *
 *     CONNECTING -> READY -> CLOSED(cause)                 reconnecting is its owner's business
 *                   READY -> DRAINING -> CLOSED(cause)     no new requests; what is in flight ends
 *
 * Up to limits.upstream_buffer bytes wait for a broker that does not read, and each session has its
 * share of them (fair_share.h): one that has filled most of it does not keep others out.
 *
 * A connection that stays silent through `breaker.failures` deadlines is asked something cheap;
 * when it does not answer that either, its owner replaces it.
 */
#pragma once

#include "daemon/core/failure.h"
#include "daemon/core/fair_share.h"
#include "daemon/core/latency.h"
#include "daemon/core/pending_table.h"
#include "daemon/core/stats.h"
#include "daemon/loop/net_event.h"
#include "daemon/upstream/pending_request.h"
#include "daemon/loop/transport.h"
#include "protocol/remoting_command.h"

#include <sys/queue.h>
#include <sys/socket.h>

/*
 * The least time of silence that counts, before a probe gets its own: a broker that collects garbage
 * is not dead.
 */
#define UPSTREAM_SILENCE_MIN_MS 500
/* How long the answer to a probe may take. */
#define UPSTREAM_PROBE_MS 1000
/* What is kept of the reason why one drains. */
#define UPSTREAM_CAUSE_SIZE 96

enum upstream_state {
    UPSTREAM_CONNECTING,
    UPSTREAM_READY,
    UPSTREAM_DRAINING,
    UPSTREAM_CLOSED,
};

/* Who deals with what brokers ask of a client. */
struct broker_request_handler {
    /* The request is valid until this returns; it may be changed. */
    void (*on_request)(void *context, struct upstream *upstream, struct remoting_command *request,
        const struct command_source *source);
    /* No answer can be given to it any more. */
    void (*on_closed)(void *context, const struct upstream *upstream);
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
    unsigned breaker_failures;
    struct net_events *events;
    struct tls *tls; /* NULL: plain text */
    struct rpc_hooks hooks;
    const struct broker_request_handler *broker_requests;
    void *broker_requests_context;
    struct remoting_command response; /* the one that is being handed out, with its fields */
    struct ext_field response_fields[EXT_FIELDS_MAX];
};

/* What is counted for an address, over all its connections. */
struct address_stats {
    uint64_t requests; /* given to it */
    uint64_t errors;   /* of them, that ended without a response */
    uint64_t connects;
    uint64_t connect_failures;
    struct latency latency; /* of responses, microseconds */
};

/* Why a connection ends. */
enum upstream_end {
    UPSTREAM_END_PEER,    /* it closed, broke, or could not be made */
    UPSTREAM_END_GARBAGE, /* it sent what cannot be decoded */
    UPSTREAM_END_SILENT,  /* it answers nothing */
    UPSTREAM_END_DRAINED, /* nothing is in flight any more */
    UPSTREAM_END_IDLE,    /* nobody used it */
    UPSTREAM_END_ROOM,    /* another connection needs its place, or a probe of it had none */
    UPSTREAM_END_STOPPING,
};

struct upstream_owner {
    void (*on_ready)(struct upstream *upstream);
    /*
     * It is closed and frees itself after this turn; its requests in flight are told after this
     * returns. state is the one before.
     */
    void (*on_closed)(struct upstream *upstream, enum upstream_state state, enum upstream_end end,
        const char *cause);
    /* The broker answered GO_AWAY: the connection is DRAINING now. */
    void (*on_going_away)(struct upstream *upstream);
    /*
     * This request was not executed here, and request->kept holds it: send it again, or tell its
     * owner with report. It is IDLE.
     */
    void (*on_repeat)(struct upstream_address *address, struct pending_request *request,
        const struct failure_report *report);
    /* The probe that upstream_probe() sent was answered, or was not. */
    void (*on_probed)(struct upstream *upstream, bool is_alive);
    /* Nothing is in flight any more. */
    void (*on_idle)(struct upstream *upstream);
};

struct upstream {
    struct transport transport;
    struct upstream_context *context;
    const struct upstream_owner *owner;
    struct upstream_address *address;
    struct address_stats *address_stats;
    bool is_long_poll;          /* of the pool's class for them */
    TAILQ_ENTRY(upstream) link; /* of its address */
    struct sockaddr_storage peer;
    socklen_t peer_size;
    uint64_t id;
    enum upstream_state state;
    char *name; /* host:port as the pool knows it, for causes and the log */
    struct deadline connect_deadline;
    struct pending_request_list in_flight;
    size_t n_in_flight;
    /* oneway requests that were given to it; counted as written when the last of them is */
    size_t n_oneway_unwritten;
    struct share_ledger *shares;           /* whose bytes wait; NULL while they are few */
    uint64_t oneway_end;                   /* the byte of the connection after the last of them */
    bool has_answered;                     /* a frame came that could be decoded */
    char drain_cause[UPSTREAM_CAUSE_SIZE]; /* DRAINING: why */
    uint64_t used_ms;
    unsigned n_silent;           /* deadlines in a row in which no byte came */
    uint64_t silent_received_ms; /* what transport.received_ms was when they were counted */
    struct pending_request probe;
    struct ext_field probe_field;
    struct loop_reapable reapable;
};
TAILQ_HEAD(upstream_list, upstream);

/*
 * Begins to connect. NULL: *ret_error is the errno. Its end is told by on_ready or on_closed, never
 * before this returns.
 */
struct upstream *upstream_new(struct upstream_context *context, const struct upstream_owner *owner,
    struct upstream_address *address, struct address_stats *address_stats, bool is_long_poll,
    const char *name, const struct sockaddr *socket_address, socklen_t socket_address_size,
    int *ret_error);
/*
 * Closes; what is in flight fails with connection-lost and this cause, or is repeated where not a
 * byte of it was written.
 */
void upstream_close(struct upstream *upstream, enum upstream_end end, const char *cause);
/* Takes no new requests; closes when nothing is in flight, with this cause. */
void upstream_drain(struct upstream *upstream, const char *cause);
/* A question that every nameserver and broker answers, cheaply; field is its ext field. */
void upstream_probe_command(struct remoting_command *command, struct ext_field *field);
/*
 * Asks it; on_probed follows unless the connection closes. Negative errno: the daemon's own limits
 * are in the way, as report says, and nothing was learnt.
 */
int upstream_probe(struct upstream *upstream, struct failure_report *report);
bool upstream_is_idle(const struct upstream *upstream);

/*
 * Gives a request to a READY upstream. command's opaque, flag, language and version are set for the
 * way; the caller's stay. 0: IN_FLIGHT (or, oneway, sent and IDLE: on_sent is not called).
 * Otherwise report says why, and nothing was written.
 */
int upstream_send(struct upstream *upstream, struct pending_request *request,
    const struct remoting_command *command, struct frame_buffer *body_owner,
    struct failure_report *report);
/*
 * Answers a request of the broker's: answer->opaque is the one that it chose, the flag is set here.
 * Without memory for the answer, or where limits.upstream_buffer bytes wait for a broker that does
 * not read, it is not given, and the broker's own deadline passes.
 */
void upstream_answer(
    struct upstream *upstream, struct remoting_command *answer, struct frame_buffer *body_owner);
