/*
 * Classic
 *
 * Receiving from brokers that have no POP (before 5.0), by the classic road: the daemon locks the
 * queues of a topic at such a broker in its own name, pulls from them, hands the messages out for
 * their invisible time and keeps the offset up to which all are acknowledged (core/classic_queue.h).
 * The broker stores that offset with each acknowledgement that moves it.
 *
 *     share    one group's queues of one topic at one broker. Asked by one caller at a time.
 *     ask      [members, lock, every CLASSIC_LOCK_MS] -> the next queue that is locked
 *              -> [its offset] -> pull -> messages | the next queue ... -> nothing
 *
 * What differs from POP: who locks a queue has it, so that of several daemons in a group the first
 * one gets the messages, until nobody has asked it for 60 s (locks live so long at brokers); nothing
 * goes to a retry or dead-letter topic, a message that is not acknowledged comes again as it is;
 * after a restart all comes again from the stored offset on. A group with classic members of its own
 * is refused: they do not look at locks, and would get every message as well.
 */
#pragma once

#include "daemon/core/classic_queue.h"
#include "daemon/core/classic_receipt.h"
#include "daemon/upstream/upstream_pool.h"

#define CLASSIC_LOCK_MS      20000
#define CLASSIC_LOCK_LIFE_MS 60000
/* Shares that are remembered, and queues of one. */
#define CLASSIC_SHARES_MAX 1024
#define CLASSIC_QUEUES_MAX 256
/* Of the commands that are sent here. */
#define CLASSIC_FIELDS 12

struct classic;
struct classic_share;

struct classic *classic_new(
    struct upstream_context *context, struct upstream_pool *pool, const char *client_id);
/* Nobody asks any more. */
struct classic *classic_free(struct classic *classic);

enum classic_step {
    CLASSIC_IDLE,
    CLASSIC_MEMBERS,
    CLASSIC_LOCK,
    CLASSIC_OFFSET,
    CLASSIC_START,
    CLASSIC_PULL,
};

/* One caller's question for messages. Owned by who asks, as are the spans. */
struct classic_ask {
    struct span topic, group, broker_name, address;
    struct span expression_type, expression;
    size_t max_messages;
    size_t n_queues; /* of the topic at the broker */
    bool starts_at_end;
    uint64_t invisible_ms;
    uint64_t deadline_ms;
    /*
     * The answer to a PULL with messages: whoever gives them to a caller calls classic_hand_out()
     * before it returns.
     */
    void (*on_found)(struct classic_ask *ask, struct remoting_command *response);
    void (*on_nothing)(struct classic_ask *ask);
    void (*on_failure)(struct classic_ask *ask, const struct failure_report *report);
    /* this module's */
    struct classic *classic;
    struct classic_share *share; /* NULL: nothing is under way */
    enum classic_step step;
    size_t queue;
    size_t n_seen;
    int64_t offset;      /* that is pulled */
    int64_t next_offset; /* where the broker says that it goes on */
    bool is_again;       /* it was handed out before */
    char *lock_body;
    char texts[3][24];
    struct ext_field fields[CLASSIC_FIELDS];
    struct pending_request request;
};

void classic_ask_init(struct classic_ask *ask);
/* One of the three callbacks follows, perhaps before this returns. */
void classic_ask_start(struct classic *classic, struct classic_ask *ask);
void classic_ask_cancel(struct classic_ask *ask);
/*
 * In on_found: the messages of the body are the caller's for their invisible time, those before this
 * offset (-1: all of them).
 */
void classic_hand_out(struct classic_ask *ask, struct span body, int64_t end_offset);

enum classic_acknowledged {
    CLASSIC_NOT_HERE, /* this daemon has not handed it out, or has lost the queue since */
    CLASSIC_TAKEN,
    CLASSIC_MOVED, /* and the broker is to store *ret_committed: a commit of the queue begins */
};
/*
 * Commits of a queue are sent one at a time, for a broker may work on two in any order and would keep
 * the older one. Whoever begins one goes on until classic_stored() says that it is done, or ends it;
 * acknowledgements that come meanwhile are taken, and go along.
 */
enum classic_acknowledged classic_acknowledge(
    struct classic *classic, const struct classic_receipt *receipt, int64_t *ret_committed);
/* The broker has stored this offset. True: *ret_committed is to be stored now; else it is done. */
bool classic_stored(struct classic *classic, const struct classic_receipt *receipt, int64_t stored,
    int64_t *ret_committed);
/* It could not be told. The next acknowledgement that moves the offset begins anew. */
void classic_commit_end(struct classic *classic, const struct classic_receipt *receipt);
/* False: CLASSIC_NOT_HERE. */
bool classic_delay(
    struct classic *classic, const struct classic_receipt *receipt, uint64_t visible_at_ms);
