/*
 * remotingclient
 *
 * Talks to remotingd, the RocketMQ sidecar of this host: requests go out over its Unix socket,
 * answers come back in any order and are recognised by their opaque. What the fields mean is the
 * daemon's promise (PROTOCOL.md); the library frames, matches and decodes. It has no threads, no
 * globals and no event loop, never prints, never exits, and leaves signals and the locale alone. A
 * client belongs to one thread at a time; different clients are independent.
 *
 *     struct remotingclient *client;
 *     struct remotingclient_answer *answer;
 *     struct remotingclient_failure failure;
 *     if (remotingclient_new(NULL, &client) < 0) ...
 *     if (remotingclient_send_message(client, "orders", "hello", 5, NULL, &answer) < 0) ...
 *     if (remotingclient_answer_failure(answer, &failure)) {
 *         fprintf(stderr, "not sent: %s\n", failure.remark);
 *     }
 *     answer = remotingclient_answer_free(answer);
 *
 * Results. Functions that can fail give 0 or a negative errno, and write their ret_ parameters on
 * success only:
 *
 *     -ETIMEDOUT    no answer within the daemon's own deadline for the request and 5 s
 *     -ECONNRESET   the daemon closed the connection
 *     -EBADMSG      what came cannot be understood; remotingclient_problem() says why
 *     -EMSGSIZE     the request does not fit a frame, which holds at most 16 MiB
 *     -EINVAL       the request cannot be sent; remotingclient_request_problem() says why
 *     -EAGAIN       nothing there yet; or too much is under way: take answers first
 *     -ENODATA      waiting for an answer that nothing in flight will bring
 *     -EINTR        a signal that the wait mask lets through came in
 *     -ENOMEM       no memory
 *
 * After one of the first three the connection is of no more use: what had come before it can still
 * be taken, then every call gives it again; free the client and make another one. Whether a request
 * without an answer was carried out is then not known. All else changes nothing. That a broker or
 * the daemon said no is no error of a function but an answer: remotingclient_answer_failure().
 *
 * Texts that come out of answers and messages end with a zero and live as long as their owner.
 * NULL stands for what is absent. Every free function takes NULL and gives NULL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/select.h> /* sigset_t, in strict C too */

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define REMOTINGCLIENT_SOCKET "/run/remotingd/remotingd.sock"

/* The request codes that most programs need; any other number of RocketMQ's will do. */
enum remotingclient_code {
    REMOTINGCLIENT_SEND = 10,
    REMOTINGCLIENT_PULL = 11,
    REMOTINGCLIENT_POP = 200050,
    REMOTINGCLIENT_ACK = 200051,
    REMOTINGCLIENT_CHANGE_INVISIBLE = 200053,
};

struct remotingclient;
struct remotingclient_request;
struct remotingclient_answer;
struct remotingclient_messages;

/* Of the library, as in "0.1.0". */
const char *remotingclient_version(void);

/* --- The connection --- */

/*
 * Where a client without a path connects to: the environment's REMOTINGD_SOCKET where that is set,
 * else REMOTINGCLIENT_SOCKET.
 */
const char *remotingclient_default_socket(void);
/*
 * Connects; NULL is the default socket. A daemon that is slow to accept is waited for, at most 5 s;
 * without one it is -ENOENT or -ECONNREFUSED.
 */
int remotingclient_new(const char *socket_path, struct remotingclient **ret_client);
struct remotingclient *remotingclient_free(struct remotingclient *client);
/* One sentence about the last -EBADMSG. */
const char *remotingclient_problem(const struct remotingclient *client);

/* --- Requests --- */

/*
 * A request under construction; it can be sent any number of times. Names and values are copied,
 * the body is not: it must stay where it is until the request is freed or has another body. What
 * cannot be added (a 257th field, no memory) is remembered, so that the calls need not be asked one
 * by one; NULL as a request counts as no memory.
 */
struct remotingclient_request *remotingclient_request_new(int32_t code);
struct remotingclient_request *remotingclient_request_free(struct remotingclient_request *request);
/* An ext field; a NULL value adds nothing. */
void remotingclient_request_add(
    struct remotingclient_request *request, const char *name, const char *value);
void remotingclient_request_add_number(
    struct remotingclient_request *request, const char *name, int64_t value);
/* A name and a value that need not end with a zero. */
void remotingclient_request_add_sized(struct remotingclient_request *request, const char *name,
    size_t n_name, const char *value, size_t n_value);
/* The field "property.NAME": a property of the message that is sent. */
void remotingclient_request_add_property(
    struct remotingclient_request *request, const char *name, const char *value);
/* Takes a field out again, so that the request can be used for another message. */
void remotingclient_request_remove(struct remotingclient_request *request, const char *name);
void remotingclient_request_set_body(
    struct remotingclient_request *request, const void *body, size_t n);
/* A oneway request is never answered, not even when it fails. */
void remotingclient_request_set_oneway(struct remotingclient_request *request, bool is_oneway);
/* The header in RocketMQ's binary form instead of JSON; the answer comes in the same form. */
void remotingclient_request_set_binary(struct remotingclient_request *request, bool is_binary);
/*
 * NULL, or why the request cannot be sent: too many fields, a field given twice, no memory. Valid
 * until the request changes.
 */
const char *remotingclient_request_problem(struct remotingclient_request *request);

/* --- Waiting: calls that block --- */

/*
 * Sends a request and waits for its answer; answers to others that come meanwhile are kept for the
 * functions below. Not for oneway requests (-EINVAL).
 */
int remotingclient_call(struct remotingclient *client, struct remotingclient_request *request,
    struct remotingclient_answer **ret_answer);
/*
 * Writes a request; its answer is received later. The token is the caller's own and comes back with
 * the answer; ret_opaque may be NULL. At most REMOTINGCLIENT_IN_FLIGHT_MAX requests are in flight:
 * one more is -EAGAIN.
 */
#define REMOTINGCLIENT_IN_FLIGHT_MAX 1024
int remotingclient_send(struct remotingclient *client, struct remotingclient_request *request,
    uint64_t token, int32_t *ret_opaque);
/* The next answer to anything in flight. */
int remotingclient_receive(
    struct remotingclient *client, struct remotingclient_answer **ret_answer);
/* The answer to that request; others are kept. */
int remotingclient_receive_opaque(
    struct remotingclient *client, int32_t opaque, struct remotingclient_answer **ret_answer);
/* Requests that were sent and whose answers were not received yet. */
size_t remotingclient_n_in_flight(const struct remotingclient *client);
/*
 * From now on the daemon's own requests (net events) are handed out like answers, and
 * remotingclient_receive() waits for them without a bound. Those that came before the last answer
 * that was taken are dropped. Of those that come while something else is waited for 256 are kept.
 */
void remotingclient_accept_requests(struct remotingclient *client);
/*
 * While a mask is set (not NULL; it must outlive its use), it is the signal mask of every wait, and
 * a signal ends the wait with -EINTR. A caller blocks its signals, asks its flag and waits: nothing
 * is lost in between.
 */
void remotingclient_set_wait_mask(struct remotingclient *client, const sigset_t *mask);

/* --- Polling: calls that never block --- */

/*
 * For programs with a loop of their own: wait for the descriptor, step, take what is there.
 *
 *     struct pollfd fd = { remotingclient_fd(client), remotingclient_events(client), 0 };
 *     poll(&fd, 1, remotingclient_timeout_ms(client));
 *     remotingclient_step(client);
 *     while ((r = remotingclient_take(client, &answer)) == 0) ...
 *     if (r != -EAGAIN) ...                                     the connection is of no more use
 */
int remotingclient_fd(const struct remotingclient *client);
/* POLLIN, and POLLOUT while something waits to be written. Changes with every call below. */
short remotingclient_events(const struct remotingclient *client);
/* For poll(): until the next deadline; 0 when there is something to take, -1 when never. */
int remotingclient_timeout_ms(const struct remotingclient *client);
/*
 * As remotingclient_send(), but what the socket does not take at once is copied and written by
 * later steps. With 16 MiB waiting to be written no other is taken: -EAGAIN.
 */
int remotingclient_submit(struct remotingclient *client, struct remotingclient_request *request,
    uint64_t token, int32_t *ret_opaque);
/* Writes and reads what is possible now. Failures also come out of remotingclient_take(). */
int remotingclient_step(struct remotingclient *client);
/* The next answer that is complete, or -EAGAIN. */
int remotingclient_take(struct remotingclient *client, struct remotingclient_answer **ret_answer);

/* --- Answers --- */

struct remotingclient_answer *remotingclient_answer_free(struct remotingclient_answer *answer);
/* 0 is success; others are RocketMQ's. Of a request of the daemon: its request code. */
int32_t remotingclient_answer_code(const struct remotingclient_answer *answer);
int32_t remotingclient_answer_opaque(const struct remotingclient_answer *answer);
uint64_t remotingclient_answer_token(const struct remotingclient_answer *answer);
/* A request of the daemon, and no answer; see remotingclient_accept_requests(). */
bool remotingclient_answer_is_request(const struct remotingclient_answer *answer);
const char *remotingclient_answer_remark(const struct remotingclient_answer *answer);
/* The value of an ext field. */
const char *remotingclient_answer_field(
    const struct remotingclient_answer *answer, const char *name);
/* The body, with a zero behind it; ret_n may be NULL. Never NULL itself. */
const char *remotingclient_answer_body(const struct remotingclient_answer *answer, size_t *ret_n);

struct remotingclient_text {
    const char *data;
    size_t n;
};
/* The i-th ext field, with sizes; false behind the last one. */
bool remotingclient_answer_field_at(const struct remotingclient_answer *answer, size_t i,
    struct remotingclient_text *ret_name, struct remotingclient_text *ret_value);

enum remotingclient_sent {
    REMOTINGCLIENT_SENT_UNTOLD, /* the broker answered: see the code */
    REMOTINGCLIENT_SENT_NO,     /* safe to repeat */
    REMOTINGCLIENT_SENT_MAYBE,  /* it was written, the outcome is unknown */
};

/* Why a request failed. The texts live as long as the answer. */
struct remotingclient_failure {
    int32_t code;
    const char *error;  /* the word of a failure made by the daemon, as "timeout"; NULL: the
                           broker's or nameserver's own answer */
    const char *remark; /* one sentence; never NULL */
    enum remotingclient_sent sent;
    int64_t retry_after_ms; /* when to come back; -1: not told */
    const char *request_id; /* finds it in the daemon's log, or NULL */
};

/* False for an answer of code 0 (and for requests of the daemon). */
bool remotingclient_answer_failure(
    const struct remotingclient_answer *answer, struct remotingclient_failure *ret_failure);
/*
 * Whether the answer to a SEND says that the message is stored: also codes 10, 11 and 12 do, which
 * warn that a disk or a replica lags. Sending it again would double it.
 */
bool remotingclient_answer_is_stored(const struct remotingclient_answer *answer);

/* --- Messages --- */

/*
 * Sends one message and waits for the answer. properties: name, value, name, value, ..., NULL; or
 * NULL for none. "KEYS" and "TAGS" are among them, "__SHARDINGKEY" keeps the order of a key where
 * each answer is waited for.
 */
int remotingclient_send_message(struct remotingclient *client, const char *topic, const void *body,
    size_t n, const char *const *properties, struct remotingclient_answer **ret_answer);
/*
 * Takes up to max (1 to 32) messages for a consumer group, waiting up to poll_time_ms for the first
 * one. Those that are not acknowledged come again.
 */
int remotingclient_receive_messages(struct remotingclient *client, const char *topic,
    const char *group, int max, int64_t poll_time_ms, struct remotingclient_answer **ret_answer);
/* Acknowledges one. Code 0 means that it was accepted, not that the receipt was still good. */
int remotingclient_acknowledge(
    struct remotingclient *client, const char *receipt, struct remotingclient_answer **ret_answer);

struct remotingclient_message {
    const char *topic;
    const char *body; /* with a zero behind it; NULL: it could not be decoded */
    size_t n_body;
    const char *reason; /* why not */
    const char *tags;
    const char *keys;
    const char *uniq_key;
    const char *broker_name;
    int32_t queue_id;
    int64_t queue_offset;
    int64_t born_timestamp_ms;
    int32_t reconsume_times;
    const char *receipt; /* of POP; NULL for PULL */
};

/*
 * The messages of an answer to a request with sidecar.answerFormat=json; none for one whose code is
 * not 0. -EBADMSG where the body is no such JSON: the connection goes on. They do not need the
 * answer any more.
 */
int remotingclient_messages_new(
    const struct remotingclient_answer *answer, struct remotingclient_messages **ret_messages);
struct remotingclient_messages *remotingclient_messages_free(
    struct remotingclient_messages *messages);
size_t remotingclient_messages_count(const struct remotingclient_messages *messages);
/* i is below the count. */
const struct remotingclient_message *remotingclient_messages_get(
    const struct remotingclient_messages *messages, size_t i);
/* The value of a property of the i-th message. */
const char *remotingclient_messages_property(
    const struct remotingclient_messages *messages, size_t i, const char *name);
/*
 * The property of the i-th message behind the one named `after` (NULL: the first one), with sizes;
 * false behind the last one, and behind one that it has not got.
 */
bool remotingclient_messages_next_property(const struct remotingclient_messages *messages, size_t i,
    const char *after, struct remotingclient_text *ret_name, struct remotingclient_text *ret_value);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
