/*
 * Send
 *
 * What the parts of a SEND share: complete_send.c fills what the caller left out and writes the
 * answer; send_body.c compresses and makes batches; send_attempt.c chooses the queue, and another one
 * where an attempt failed; send_request.c waits for the reply to a request message.
 *
 * An attempt is repeated, at most send.retries times and inside the one deadline, where the message
 * was surely not stored, or with sidecar.retry=at-least-once also where that is unknown. Where there
 * is somewhere else to go an attempt gets its share of what is left of the deadline: with
 * at-least-once the whole of it, with `safe` only the time in which nothing was written yet. What
 * shows that the route is out of date (the topic is not there, sending is forbidden there, nobody
 * listens) has the route asked for once, and the next attempt goes by the answer, or by the old
 * route where no nameserver answers in time. A sharding key or a queue of the caller's is never
 * moved: it is tried again at its broker, wherever that is now.
 */
#pragma once

#include "daemon/core/receipt_text.h"
#include "daemon/core/reply_receipt.h"
#include "daemon/core/send_property.h"
#include "daemon/core/sender_stamp.h"
#include "daemon/core/uniq_key.h"
#include "daemon/completion/invoke.h"

#define SEND_TRACESTATE_SIZE 32

/* The names of a field in SEND_MESSAGE and in its V2 form (SendMessageRequestHeaderV2.java). */
struct send_names {
    struct span producer_group, topic, default_topic, default_topic_queue_nums, queue_id, sys_flag,
        born_timestamp, flag, properties, reconsume_times, unit_mode, batch, broker_name;
};

struct send_request;

struct send_state {
    struct invocation *invocation;
    const struct send_names *names;
    struct span topic;
    char *properties;
    char *batch_texts; /* unique keys and the sharding key of a batch */
    char uniq_key[UNIQ_KEY_SIZE];
    char born_timestamp[24];
    char queue_id_text[16];
    char sys_flag_text[16];
    char receipt[RECEIPT_TEXT_MAX]; /* of a half message */
    struct reply_receipt reply;     /* what a reply answers, from sidecar.receipt */
    char reply_topic[RECEIPT_TEXT_MAX];
    char ttl_text[24];
    struct send_request *request; /* NULL: it is no request message */
    char attempts_text[16];
    char broker_name[256]; /* of the last attempt, "" before the first */
    bool has_queue_id;     /* the caller chose the queue */
    bool has_sys_flag;     /* the caller wrote it: the body is not touched */
    struct span sharding_key;
    unsigned n_attempts;
    size_t n_masters;         /* of the route: with one there is nowhere else to go */
    struct span fixed_broker; /* sidecar.broker or bname */
    bool has_refreshed;       /* its route was asked for because of an attempt: not twice */
    struct route_waiter refresh;
    struct deadline refresh_deadline;
};

/*
 * send_body.c; false: the invocation failed. Compresses from send.compress_over on, as Java's client
 * does, unless the caller wrote the sysFlag itself.
 */
bool send_body_compress(struct invocation *invocation);
bool send_body_is_small(struct invocation *invocation);
/* Makes the batch of a JSON body, or checks that a body is one; sets uniq_key and sharding_key. */
bool send_body_batch(struct invocation *invocation);

/* The first attempt, and invocation_steps.on_route: it was waiting for a route. */
void send_attempt(struct invocation *invocation);
/* True: another attempt, or the wait for it, has begun (or its failure has ended all). */
bool send_repeats_response(struct invocation *invocation, const struct remoting_command *response);
/* invocation_steps.on_failure: another attempt, or the end. */
void send_on_failure(struct invocation *invocation, const struct failure_report *report);
/* Ends what waits. */
void send_attempts_end(struct send_state *state);

/*
 * The value of the property tracestate (W3C) beside a traceparent: by the request id that it names a
 * message is found in the log of the daemon that sent it.
 */
struct span send_tracestate(const struct invocation *invocation, char text[SEND_TRACESTATE_SIZE]);
/*
 * Who sent it, where messages are stamped (send.stamp_sender): nothing where that is off. It is asked
 * while the caller's session is there, in the turn in which the request came.
 */
void send_stamp(const struct invocation *invocation, struct sender_stamp *ret_stamp);
/*
 * send_body.c. Whether a SEND that goes as it stands has a stamp of the caller's own; a body that is no
 * batch has none.
 */
bool send_is_forged(const struct remoting_command *command);

/* What every answer to a SEND tells: brokerName, sidecar.addr, sidecar.attempts, sidecar.uniqKey. */
void send_answer_fields(struct invocation *invocation, struct ext_fields *fields);

/* send_request.c. Makes state->request; false: the invocation failed. */
bool send_request_complete(struct invocation *invocation, struct send_state *state);
/* Appends what the reply is found by at *at; false: the invocation failed. */
bool send_request_properties(
    struct invocation *invocation, struct send_request *request, char *properties, size_t *at);
/* Waits until brokers know where the reply goes; then send_attempt(). */
void send_request_start(struct invocation *invocation);
/* The message is stored: the deadline is the reply's now. */
void send_request_wait(struct invocation *invocation);
void send_request_end(struct send_state *state);
