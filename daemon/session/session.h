/*
 * Session
 *
 * One connection of a local caller. It reads frames, decodes their headers, hands requests to the
 * invoker and writes the answers, each in the header form of its request. What is wrong with a
 * frame is told where the opaque can be read; a frame that cannot be framed ends this session and
 * nothing else.
 *
 *     OPEN -> HALF_CLOSED      the caller has shut its side down, and still gets its answers
 *          -> CLOSING(reason)  no more is read; what is in the output is written, then
 *          -> CLOSED(reason)
 *
 * A large request that finds no memory is answered `overloaded` as soon as its header is here; the
 * rest of its frame is thrown away as it comes.
 *
 * Back-pressure: above session_buffer bytes of unwritten answers nothing more is read from the
 * caller until half of them are written. What it has in flight is still answered, with `overloaded`
 * in place of a large body once its answers take a quarter of total_memory. A caller that takes
 * longer than header_timeout over one frame, or does not read for write_timeout while answers wait
 * for it, is cut off. Net events are no answers: nobody waits until they are read, and a subscriber
 * that does not read only loses some.
 *
 * A session knows who its caller is and has one role, from the moment it was accepted until its end.
 * A caller without a role, or beyond max_sessions of its listener, is turned away: its first request
 * is answered with the reason, and that is it.
 */
#pragma once

#include "config/config.h"
#include "daemon/core/failure.h"
#include "daemon/core/role.h"
#include "daemon/core/stats.h"
#include "daemon/session/peer.h"
#include "daemon/loop/log.h"
#include "daemon/loop/net_event.h"
#include "daemon/loop/transport.h"
#include "protocol/remoting_command.h"

#include <sys/queue.h>
#include <sys/types.h>

/* Callers without a role that are listened to at the same time, until they were told so. */
#define SESSION_FORBIDDEN_MAX 64
/* The longest session_text() with its zero. */
#define SESSION_TEXT_SIZE (PEER_TEXT_SIZE + 2 * CONFIG_NAME_SIZE + 64)

struct invocation;
struct invoker;
struct tap;
TAILQ_HEAD(invocation_list, invocation);

enum session_state {
    SESSION_OPEN,
    SESSION_HALF_CLOSED,
    SESSION_CLOSING,
    SESSION_CLOSED,
};

/* Why a session ends: one word of the log each. */
enum session_end {
    SESSION_END_CALLER,   /* it closed its end */
    SESSION_END_ERROR,    /* the socket failed */
    SESSION_END_PROTOCOL, /* a frame that is none */
    SESSION_END_OPAQUE,   /* an opaque that was still in flight */
    SESSION_END_HEADER_TIMEOUT,
    SESSION_END_WRITE_TIMEOUT,
    SESSION_END_MEMORY,
    SESSION_END_SURPLUS,   /* more than max_sessions */
    SESSION_END_FORBIDDEN, /* it has no role */
    SESSION_END_DRAIN,
    SESSION_END_HANDED_OVER, /* to the next daemon */
    SESSION_END_KILLED,      /* an operator ended it */
};

struct session {
    TAILQ_ENTRY(session) link;
    struct transport transport;
    struct session_list *sessions;
    uint64_t id;
    struct session_entrance *entrance; /* the listener that it came by */
    struct peer peer;
    const struct role *role; /* NULL: it has none, and is turned away */
    uint64_t opened_ms;
    enum session_state state;
    enum session_end end;
    /* in flight; the invoker's, listed here so that they end with the session */
    struct invocation_list invocations;
    unsigned n_in_flight;
    unsigned n_long_polls;
    unsigned n_acknowledgements;
    bool is_turned_away;  /* it has no role, or is beyond max_sessions */
    bool is_bound;        /* the daemon speaks for it: it has processors, groups or events */
    size_t request_bytes; /* of the frames of what is in flight */
    uint64_t n_requests;
    uint64_t n_forbidden;
    struct deadline frame_deadline;
    struct deadline write_deadline;
    uint64_t answers_end; /* the byte of the connection after the last answer */
    struct net_event_subscription *net_events; /* NULL: it has not subscribed */
    struct tap *tap;                           /* NULL: it watches no requests */
    struct loop_reapable reapable;
};
TAILQ_HEAD(session_tailq, session);

/* What a listener's sessions have in common, and their number. */
struct session_entrance {
    const struct config_listener *config;
    const struct role *role; /* of all who come by it; NULL: by who they are */
    size_t n;
    size_t n_forbidden; /* of them, without a role */
    bool is_starved;    /* nobody can be accepted: no open files, or no memory */
    int listening_fd;
    bool hands_over; /* the daemon drains, and callers go to the next one (handover.h) */
    void (*on_left)(void *context); /* a session is gone: there is room for another */
    void *on_left_context;
};

/* All sessions; owned by the daemon. */
struct session_list {
    struct session_tailq list; /* the oldest first */
    size_t n;
    uint64_t next_id;
    struct loop *loop;
    struct memory *memory;
    struct stats *stats;
    struct invoker *invoker;
    struct config *config;
    const struct role_table *roles;
    struct session_entrance entrances[CONFIG_NAMED_MAX + 1]; /* config_listener()'s order */
    size_t n_entrances;
    struct log_budget refusals;      /* of the log: a line each, so many a second */
    struct remoting_command request; /* the one that is being read, with its fields */
    struct ext_field request_fields[EXT_FIELDS_MAX];
};

/* The roles that listeners name are in the table. */
void session_list_init(struct session_list *sessions, struct loop *loop, struct memory *memory,
    struct stats *stats, struct invoker *invoker, struct config *config,
    const struct role_table *roles);
/*
 * The configuration has changed, listeners aside: their number and order are the same. Sessions keep
 * the roles that they had, of the old table, until they are judged anew.
 */
void session_list_configure(
    struct session_list *sessions, struct config *config, const struct role_table *roles);
/*
 * Gives every session, and what it has in flight, the role that its caller would get now. One
 * without a role is turned away as if it had just connected: it hears nothing of brokers any more,
 * and its next request is answered with the reason.
 */
void session_list_judge_again(struct session_list *sessions);
/* Bytes up to the last answer that are not written yet, over all sessions. */
size_t session_list_unwritten(const struct session_list *sessions);
void session_list_close(struct session_list *sessions);

/* Takes the connected socket over, also when it fails. */
int session_open(struct session_list *sessions, struct session_entrance *entrance, int fd);
/* NULL when it is gone. */
struct session *session_list_find(const struct session_list *sessions, uint64_t id);
/*
 * Whether the one may be told of the other: with the admin role all, else one's own, which are those
 * of one's user by the same listener; users without a number here are many, so that nothing is theirs
 * but the connection that asks.
 */
bool session_may_see(const struct session *asking, const struct session *session);
/*
 * Who it is, for the log: "session=42 pid=12 uid=33 gid=33 unit=shop.service listener=web role=shop",
 * without what is not known or has no name. Returns dst.
 */
const char *session_text(const struct session *session, char dst[static SESSION_TEXT_SIZE]);

/*
 * Writes an answer in this header form; command->opaque is the client's, the response flag is set
 * here. The body is referred to in body_owner where that is worth it. An answer that does not fit a
 * frame or the caller's share of the memory becomes `overloaded`. A session without memory for its
 * answer is closed.
 */
void session_answer(struct session *session, struct remoting_command *command,
    enum serialize_type serialize_type, struct frame_buffer *body_owner);
/* Whether an answer with so large a body would be given now; otherwise report says why not. */
bool session_takes(const struct session *session, size_t body_size, struct failure_report *report);
/* Writes a failure made here. request_id may be 0; uniq_key absent. */
void session_answer_failure(struct session *session, int32_t client_opaque,
    enum serialize_type serialize_type, const struct failure_report *report, uint64_t request_id,
    struct span uniq_key);
/*
 * Writes a request of a broker's, with the opaque and the flag that it has. Answers may be behind it
 * for as long as the caller reads: it counts as one of them. False: it does not fit a frame in this
 * header form, or there was no memory, and the session has ended.
 */
bool session_request(struct session *session, const struct remoting_command *command,
    enum serialize_type serialize_type, struct frame_buffer *body_owner);
/*
 * While the sessions are handed over: reads no more from this one than the rest of a frame that has
 * begun. True: nothing of it is here any more, so that it can go. looks: now and then, whether a
 * caller that still waits for answers is there at all.
 */
bool session_comes_to_rest(struct session *session, bool looks);
/* Whether what it still asks is answered, although the daemon drains. */
bool session_is_served_to_its_end(const struct session *session);
/* Another process has its connection. */
void session_handed_over(struct session *session);
/* Ends the session after what is in its output. */
void session_end(struct session *session, enum session_end end);
/* An answer was given: a caller that has shut its side down may be done. */
void session_invocation_left(struct session *session);
