/*
 * Upstream address
 *
 * One host:port in one class of the pool: its connections, the attempt to make another one, the
 * requests that wait for it, and what it is known for. However many callers want it, one attempt is
 * under way, in the background; they wait for it no longer than their own deadlines. At
 * pool.max_connections only what somebody waits for takes another connection's place: an attempt
 * that nobody waits for any more gives way, and one more connection to an address that has some is
 * put off.
 *
 *     attempt   NONE -> RESOLVING -> CONNECTING -> [PROBING] -> NONE     connected
 *                                 -> NO_ROOM -> CONNECTING               pool.max_connections
 *               RESOLVING|CONNECTING|PROBING -> NONE                     failed: the backoff runs
 *                                                                        put off: no room
 *
 * There is one way to be out of use: an address whose attempts fail, or whose connection stayed
 * silent through breaker.failures deadlines and a probe, is in its backoff until one attempt
 * succeeds; after silence, and where it refused us behind the handshake of TLS 1.3, it has to
 * answer a probe, too. It is wanted while requests wait for it and for POOL_WANTED_MS after
 * somebody asked for it or passed it over as out of use; then the shorter cap backoff.max_wanted
 * holds, and attempts go on without anybody waiting.
 *
 * Names are resolved anew for every attempt, and their addresses tried one after the other. Where
 * another name of the same class has a connection to the same socket address, that one is used
 * (`alias`): localhost:x and 127.0.0.1:x are one. Not so where each has to prove its own name by
 * TLS; and control connections are never shared so: brokers know a client by its connection, and
 * each speaks for one identity.
 *
 * Owned by the pool, whose business it alone is.
 */
#pragma once

#include "daemon/core/backoff.h"
#include "daemon/upstream/resolver.h"
#include "daemon/upstream/upstream.h"
#include "protocol/address.h"

#include <uthash.h>

#define POOL_WANTED_MS        10000
#define ADDRESS_CAUSE_SIZE    192
#define ADDRESS_IDENTITY_SIZE 16 /* hexadecimal digits */
#define ADDRESS_KEY_SIZE      (ADDRESS_TEXT_MAX + 1 + ADDRESS_IDENTITY_SIZE)
#define ADDRESS_PAUSE_MS      1000

enum pool_class {
    POOL_NORMAL,
    POOL_LONG_POLL,
    POOL_CONTROL, /* one connection for each identity (control.h) */
};

enum address_attempt {
    ATTEMPT_NONE,
    ATTEMPT_RESOLVING,
    ATTEMPT_CONNECTING,
    ATTEMPT_PROBING,
    ATTEMPT_NO_ROOM,
};

struct upstream_pool;

struct upstream_address {
    UT_hash_handle hh; /* of the pool, by key */
    struct upstream_pool *pool;
    enum pool_class class;
    uint64_t identity; /* POOL_CONTROL: whose connection it is */
    bool is_dropped;   /* POOL_CONTROL: nobody wants it any more */
    /* the class as one character, the identity of POOL_CONTROL, then host:port */
    char key[ADDRESS_KEY_SIZE];
    char host[ADDRESS_HOST_MAX + 1];
    uint16_t port;
    enum address_attempt attempt;
    struct resolver_query *query;    /* RESOLVING */
    struct resolver_result resolved; /* its addresses, and which is next */
    size_t next_resolved;
    struct upstream *connecting;    /* CONNECTING, PROBING; also in upstreams */
    struct upstream_list upstreams; /* all that are not closed */
    size_t n_ready;                 /* of them, that take requests */
    struct upstream_address *alias; /* whose connections are used instead; NULL: its own */
    struct backoff backoff;
    unsigned n_unanswered;   /* connections in a row that broke under requests, and answered none */
    bool must_probe;         /* the next connection serves once it has answered */
    uint64_t pause_until_ms; /* no attempt before at a connection that nobody waits for */
    bool is_hurried;         /* its next attempt is made out of its turn */
    struct deadline attempt_due;
    struct pending_request_list waiting;
    TAILQ_ENTRY(upstream_address) room_link; /* NO_ROOM: of the pool */
    uint64_t wanted_ms;
    char cause[ADDRESS_CAUSE_SIZE]; /* of the last failure */
    struct address_stats stats;
};

/* host and port are those of the key's text. NULL without memory. */
struct upstream_address *upstream_address_new(
    struct upstream_pool *pool, enum pool_class class, struct span host, uint16_t port);
/* Nothing may wait or be connected. */
void upstream_address_free(struct upstream_address *address);

const char *upstream_address_name(const struct upstream_address *address);
/* Contract of upstream_pool_invoke(). */
void upstream_address_invoke(struct upstream_address *address, struct pending_request *request,
    const struct remoting_command *command, const struct command_source *source);
/* False while it is out of use. */
bool upstream_address_is_usable(const struct upstream_address *address);
bool upstream_address_is_wanted(const struct upstream_address *address);
/* Makes it wanted. No attempt begins, and no handler is called, before this returns. */
void upstream_address_want(struct upstream_address *address);
/*
 * For who has nowhere else to go: an address that is in its backoff is tried out of its turn,
 * backoff.initial after its last failure, or with the next request where that has passed. Requests
 * that fail fast wait for that attempt, too.
 */
void upstream_address_hurry(struct upstream_address *address);
/*
 * Whether whoever waits until deadline_ms waits for nothing, for the next attempt is due only then
 * or later; report says so.
 */
bool upstream_address_is_too_late(
    const struct upstream_address *address, uint64_t deadline_ms, struct failure_report *report);
/* 0 where nothing failed. */
uint64_t upstream_address_next_attempt_ms(const struct upstream_address *address);
/* NO_ROOM: there is room now. */
void upstream_address_has_room(struct upstream_address *address);
/* Ends the attempt, which nobody waits for. */
void upstream_address_give_way(
    struct upstream_address *address, enum upstream_end end, const char *cause);
/*
 * Its connections take no new requests and close when nothing is in flight. It is wanted no more
 * but by requests that wait for it.
 */
void upstream_address_drain(struct upstream_address *address, const char *cause);
/* Fails what waits with this cause, and closes everything. */
void upstream_address_stop(struct upstream_address *address, const char *cause);
/* A request that waits for it leaves without a word. */
void upstream_address_forget_waiting(struct pending_request *request);
