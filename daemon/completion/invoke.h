/*
 * Invoke
 *
 * The act of sending a caller's request on and bringing its response back. An invocation is one
 * request of one caller from the moment it was read until its one answer: it has one deadline, one
 * way (decided by core/router), and ends in exactly one of invocation_answer(), invocation_fail()
 * and, for oneway requests and callers that went, invocation_end().
 *
 *     read -> admitted -> routed -> [waits for a route] -> [completed] -> upstream -> answered
 *
 * Who is let in where little is left, of limits.max_in_flight and limits.total_memory, is decided by
 * fair_share.h: callers that hold much leave room for those that hold nothing. Acknowledgements are
 * let in up to the limit.
 *
 * What only passes through is sent in the turn in which it came, out of the buffer it was read
 * into. What has to wait, or may have to be repeated, is kept (kept_command). The steps of commands
 * that the daemon completes are in the complete_*.c; they plug in by struct invocation_steps.
 */
#pragma once

#include "config/config.h"
#include "daemon/core/drain.h"
#include "daemon/core/fault_tolerance.h"
#include "daemon/core/message_filter.h"
#include "daemon/core/router.h"
#include "daemon/core/sidecar_fields.h"
#include "daemon/core/uniq_key.h"
#include "daemon/upstream/identity.h"
#include "daemon/upstream/nameserver.h"
#include "daemon/upstream/notification.h"
#include "daemon/completion/pop_discard.h"
#include "daemon/completion/pop_release.h"
#include "daemon/upstream/routes.h"
#include "daemon/completion/tap.h"
#include "daemon/session/session.h"
#include "daemon/upstream/upstream_pool.h"
#include "daemon/loop/wall_clock.h"
#include "protocol/address.h"

#include <assert.h>
#include <jansson.h>
#include <sys/queue.h>

/* A traceparent with its zero; what a version to come has behind is not logged. */
#define INVOCATION_TRACE_SIZE 56
/* Fields that completion may add to a kept command. */
#define INVOCATION_SPARE_FIELDS 24
static_assert(INVOCATION_SPARE_FIELDS <= RPC_HOOK_COMPLETED_FIELDS_MAX, "hooks have room for them");
/*
 * What a POP or suspended PULL may take longer than its poll time: brokers look at expired polls
 * every few seconds.
 */
#define LONG_POLL_GRACE_MS   5000
#define PULL_SYSFLAG_SUSPEND 0x2 /* PullSysFlag.java */

struct classic;
struct classic_receipt;
struct invocation;
struct monitor;
struct processors;

struct invocation_steps {
    /*
     * The route or cluster table it waited for has come, or cannot be had (then the invocation
     * fails without this).
     */
    void (*on_route)(struct invocation *invocation);
    /* The response to invocation->request. */
    void (*on_response)(struct invocation *invocation, struct remoting_command *response,
        const struct command_source *source);
    void (*on_failure)(struct invocation *invocation, const struct failure_report *report);
    /* A request that brokers do not answer was given to the connection. NULL: that is the end. */
    void (*on_sent)(struct invocation *invocation);
    /*
     * The request is at its broker and its deadline is over: on_failure follows. What still comes is
     * dropped unless the request is moved now (pending_request_move). May be NULL.
     */
    void (*on_deadline)(struct invocation *invocation);
    /* It ends: free what `state` holds. May be NULL. */
    void (*on_end)(struct invocation *invocation);
};

/* A call to a nameserver takes as much memory as all the rest, and most requests make none. */
struct invocation_call {
    struct invocation *invocation;
    struct nameserver_call call;
};

struct invocation {
    TAILQ_ENTRY(invocation) link;         /* of the invoker */
    TAILQ_ENTRY(invocation) session_link; /* of the session; oneway ones are in no session's list */
    struct invocation *opaque_next;       /* in the invoker's table of client opaques */
    struct invoker *invoker;
    struct session *session; /* NULL for oneway ones */
    const struct role *role; /* the session's */
    uint64_t id;
    uint64_t session_id; /* for the log */
    uint32_t size;       /* of its frame */
    int32_t client_opaque;
    int32_t code; /* after sidecar.code */
    enum serialize_type serialize_type;
    bool is_oneway;
    bool is_long_poll;
    bool is_acknowledgement; /* in flight beside limits.max_in_flight_per_session */
    bool has_waited;         /* for its route: not twice */
    bool maybe_sent;         /* an attempt before this one may have reached its broker */
    bool is_ended;
    uint64_t started_ms;
    uint64_t deadline_ms;
    /* set while it waits for a route; on the way the request has its own */
    struct deadline deadline;
    /*
     * The topic, broker name or address of its way. Like the spans of `sidecar` it points into the
     * request: what is not kept has no name any more once it was sent.
     */
    struct span name;
    const struct invocation_steps *steps;
    void *state;                  /* of the steps */
    struct invocation_call *call; /* NULL: it asks no nameserver */
    struct route_waiter waiter;
    struct span uniq_key; /* in state; told with failures */
    struct loop_reapable reapable;
    struct tap_record *tap_record; /* NULL: nobody watches it */
    /* From here on nothing is zeroed that is not initialised anyway. */
    struct pending_request request;
    struct sidecar_fields sidecar;
    /* where it was sent last; empty until then */
    char address[ADDRESS_TEXT_MAX];
    char trace[INVOCATION_TRACE_SIZE]; /* sidecar.traceparent, for the log; "" = none */
};

struct invoker {
    struct upstream_context *upstreams;
    struct upstream_pool *pool;
    struct nameservers *nameservers;
    struct routes *routes;
    struct notifications *notifications;
    struct pop_discards pop_discards;
    struct pop_releases pop_releases;
    struct classic *classic;
    struct identity *identity;
    struct processors *processors;
    struct session_list *sessions;
    struct fault_tolerance *fault_tolerance; /* of the brokers that sends go to */
    struct loop *loop;
    struct memory *memory;
    struct stats *stats;
    const struct config *config;
    struct drain *drain;
    struct daemon *daemon;
    struct monitor *monitor; /* monitor.h */
    /* Stops the daemon as SIGTERM does. */
    void (*on_drain)(struct daemon *daemon);
    /*
     * Reads the configuration again as SIGHUP does. True: it is in use, but for what ret_kept
     * describes. False: ret_problems says why everything stays as it was. Both are to be
     * deinitialised.
     */
    bool (*on_reload)(struct daemon *daemon, struct config_problems *ret_problems,
        struct config_problems *ret_kept);
    struct uniq_key_maker uniq_keys;
    struct wall_clock_month month;
    struct invocation_list invocations;
    struct taps taps;
    struct free_list free_invocations;
    size_t n_in_flight;
    size_t n_busy_sessions;      /* with something in flight */
    size_t n_oneway;             /* of those in flight */
    size_t oneway_bytes;         /* their frames */
    struct invocation **opaques; /* by session and client opaque */
    uint64_t next_id;
    uint64_t mix_quiet_until_ms;                 /* complete_receive.c */
    struct log_budget failures_logged[FAILURES]; /* refusals have the sessions' own */
};

int invoker_init(struct invoker *invoker);
/* Every invocation has ended. */
void invoker_deinit(struct invoker *invoker);
/* Answers everything in flight with `draining`. */
void invoker_abort(struct invoker *invoker);

/* A request that was fully read. The command and its ext fields may be changed. */
void invoke_request(struct invoker *invoker, struct session *session,
    struct remoting_command *command, enum serialize_type serialize_type,
    const struct command_source *source);
/* Sessions have other roles now: so has what they asked for. */
void invoker_roles_changed(struct invoker *invoker, const struct role_table *roles);
/* Whether a request with this opaque waits for its answer. */
bool invoke_opaque_is_in_flight(
    struct invoker *invoker, const struct session *session, int32_t client_opaque);
/* The caller went: its invocations end without an answer. */
void invoke_session_gone(struct invoker *invoker, struct session *session);

/* --- for the completions --- */

/* Ends it with this response; opaque and flag are set here. */
void invocation_answer(struct invocation *invocation, struct remoting_command *response,
    struct frame_buffer *body_owner);
/* Ends it with this JSON as the body of a success; NULL is "out of memory". */
void invocation_answer_rows(struct invocation *invocation, const json_t *rows);
/* These two tell the caller `maybe` also where only an earlier attempt may have been sent. */
void invocation_fail_report(struct invocation *invocation, const struct failure_report *last);
__attribute__((format(printf, 4, 5))) void invocation_fail(
    struct invocation *invocation, enum failure failure, bool maybe_sent, const char *format, ...);
/* It needs the admin role, and its caller has not got it. */
void invocation_fail_for_admin(struct invocation *invocation);
/* Ends it without an answer: a oneway request that is on its way. */
void invocation_end(struct invocation *invocation);

/*
 * Keeps the command in invocation->request.kept, with room for INVOCATION_SPARE_FIELDS more. False:
 * it has failed and ended.
 */
bool invocation_keep(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
/* Adds a field to the kept command unless the caller gave it. */
void invocation_field_default(struct invocation *invocation, struct span key, struct span value);
/*
 * The same with what a receipt, an id or a handle says. False: the caller gave it, and it says
 * something else; the invocation has failed.
 */
bool invocation_field_from_receipt(
    struct invocation *invocation, struct span key, struct span value);
/*
 * Waits for a route (topic) or for the cluster table (topic absent), then steps->on_route. The
 * command is kept already.
 */
void invocation_wait_route(struct invocation *invocation, struct span topic);
/* Sends on; steps->on_response or on_failure follows. deadline_ms is the attempt's. */
void invocation_send(struct invocation *invocation, struct span address,
    const struct remoting_command *command, const struct command_source *source,
    uint64_t deadline_ms, bool fails_fast);
/*
 * The usable route of a topic: NULL after it was waited for (steps->on_route follows) or the
 * invocation failed. with_default: where the topic does not exist, the route by which brokers
 * create it on first use.
 */
struct route_entry *invocation_route(
    struct invocation *invocation, struct span topic, bool with_default);
/*
 * The master of a broker name in *ret_address: false after it was waited for or the invocation
 * failed.
 */
bool invocation_broker(
    struct invocation *invocation, struct span broker_name, const char **ret_address);
/* Sends the kept command to the address, by the invocation's deadline. */
void invocation_send_kept(struct invocation *invocation, struct span address);
/* The same to the master of a broker; where it is not known as invocation_broker(). */
void invocation_send_to_broker(struct invocation *invocation, struct span broker_name);
/* The on_end of steps whose state is one allocation. */
void invocation_state_free(struct invocation *invocation);
/* Where the kept command lies. */
struct command_source invocation_kept_source(const struct invocation *invocation);

/*
 * Takes the stored messages that are not wanted out of the body of a response that has just come, in
 * place (message_filter.h).
 */
void response_filter(struct remoting_command *response, const struct command_source *source,
    bool (*is_wanted)(void *context, const struct message *message), void *context);

/* forward.c: the first two take a command that may not be kept yet. */
void forward_to_address(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void forward_to_broker(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source);
void forward_to_one_master(struct invocation *invocation);
void forward_to_any_master(struct invocation *invocation);
/* Answers with the response, its messages decoded where the caller wants that. */
void forward_answer(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source, struct span broker_name);
/* complete_*.c: it is kept. */
void complete_send_start(struct invocation *invocation);
void complete_receive_start(struct invocation *invocation);
void complete_pull_at_broker_start(struct invocation *invocation);
void complete_pull_at_master_start(struct invocation *invocation);
/* Takes out of a body what the subscription of a PULL that was completed does not ask for. */
void complete_pull_filter(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source);
void complete_receipt_start(struct invocation *invocation);
void complete_classic_receipt_start(
    struct invocation *invocation, const struct classic_receipt *receipt);
void complete_message_start(struct invocation *invocation);
void complete_send_back_start(struct invocation *invocation);
void complete_query_start(struct invocation *invocation);
void complete_offsets_start(struct invocation *invocation);
void complete_recall_start(struct invocation *invocation);
void complete_batch_ack_start(struct invocation *invocation);
void complete_heartbeat_start(struct invocation *invocation);
void complete_transaction_start(struct invocation *invocation);
/*
 * Whether callers may send their requests to this address (rule 2 of the local protocol). False: the
 * cluster table has to be asked first, and steps->on_route follows; or the invocation failed. field:
 * the ext field that names the address.
 */
bool forward_may_address(struct invocation *invocation, struct span address, const char *field,
    const struct remoting_command *command, const struct command_source *source);
