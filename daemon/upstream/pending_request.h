/*
 * Pending request
 *
 * One request on its way to one address, from the moment it is invoked to its response
 * (RocketMQ's ResponseFuture). Whoever invokes owns the struct; its states are
 *
 *     IDLE -> WAITING (for its address to be connected) -> IN_FLIGHT -> IDLE
 *
 * and it ends in exactly one of on_response, on_sent (oneway) and on_failure, or in
 * pending_request_cancel().
 *
 * While it is in flight the bytes that were written for it are kept where they were written: in
 * their output block, and a large body in its frame buffer. Nothing is copied for that, and a
 * request that a broker refused because it is going away, or that the connection broke under
 * before its first byte went, can be repeated.
 */
#pragma once

#include "daemon/core/deadline_wheel.h"
#include "daemon/core/failure.h"
#include "daemon/core/rpc_hooks.h"
#include "daemon/upstream/kept_command.h"
#include "daemon/loop/output.h"
#include "protocol/remoting_command.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct upstream;
struct upstream_address;
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
    /*
     * Its deadline is over while it is IN_FLIGHT; on_failure follows. Who still wants what comes
     * late moves it now. May be NULL.
     */
    void (*on_deadline)(struct pending_request *request);
};

enum pending_request_state {
    REQUEST_IDLE,
    REQUEST_WAITING,
    REQUEST_IN_FLIGHT,
};

/* The frame as it was written: head and, where it is not in body_owner, the body behind it. */
struct written_frame {
    struct output_chunk *block; /* NULL: nothing is kept */
    uint8_t *data;
    size_t size;
    struct span body; /* in body_owner */
    struct frame_buffer *body_owner;
};

struct pending_request {
    const struct pending_request_handler *handler;
    enum pending_request_state state;
    bool is_oneway;
    /* the session that it is for, which has a share of the buffer; 0: the daemon's own */
    uint64_t session_id;
    /* told of the first failed attempt to connect: its owner has somewhere else to go */
    bool fails_fast;
    enum rpc_signature signature;
    bool was_repeated;                /* once, after GO_AWAY; not twice */
    struct upstream_address *address; /* WAITING, IN_FLIGHT: where it goes */
    struct upstream *upstream;        /* IN_FLIGHT */
    int32_t upstream_opaque;          /* IN_FLIGHT */
    uint64_t stream_start;            /* IN_FLIGHT: the byte of the connection at which it begins */
    struct written_frame written;     /* IN_FLIGHT */
    uint64_t sent_ms;
    uint64_t sent_us;
    uint64_t deadline_ms; /* of this attempt */
    /* WAITING: an earlier end, for who has somewhere else to go; 0: deadline_ms */
    uint64_t unsent_deadline_ms;
    struct deadline deadline;
    struct kept_command kept; /* WAITING: what to send; deinitialised by who owns the request */
    TAILQ_ENTRY(pending_request) link; /* WAITING: the address's; IN_FLIGHT: the upstream's */
};
TAILQ_HEAD(pending_request_list, pending_request);

void pending_request_init(
    struct pending_request *request, const struct pending_request_handler *handler);
/* Until when it waits for a connection. */
uint64_t pending_request_waits_until_ms(const struct pending_request *request);
/* Whether a byte of it may have reached the other side. */
bool pending_request_was_sent(const struct pending_request *request);
/* upstream_pool.c: takes the request out of wherever it waits, without telling anybody. */
struct upstream_context;
void pending_request_cancel(struct upstream_context *context, struct pending_request *request);
/*
 * upstream.c: `to`, which is initialised and has its own handler and deadline_ms, takes the place of
 * `from`, which is IN_FLIGHT and becomes IDLE. What was kept of it is not moved: it is not repeated.
 */
void pending_request_move(
    struct upstream_context *context, struct pending_request *from, struct pending_request *to);

void written_frame_deinit(struct written_frame *written, struct memory *memory);
/*
 * Makes sure that request->kept holds the command, out of the bytes that were written where it does
 * not yet. 0; -ENODATA where they were not kept; -ENOMEM.
 */
int pending_request_restore(struct pending_request *request, struct memory *memory);
