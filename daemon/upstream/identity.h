/*
 * Identity
 *
 * Who the daemon is for brokers. To them it is one client (its clientId is made at start) that
 * speaks for the union of the producer groups of its callers (core/group_table.h). A caller that
 * heartbeats a consumer group is a member of that group in its own right: it gets control
 * connections of its own, keeps the clientID it sent, and is heartbeated on for as long as its
 * connection here lives. When a caller goes, its groups go with it.
 *
 * What a member said is kept once, as the text of its heartbeats (control.h), which counts against
 * limits.total_memory.
 *
 * Members are told apart by connection at brokers, so that one caller is one member, with one
 * clientID. Who listens to what brokers ask back is processor.h's business.
 */
#pragma once

#include "config/config.h"
#include "daemon/core/group_table.h"
#include "daemon/upstream/control.h"
#include "protocol/heartbeat.h"

/* The daemon's own control connections; a session's have its id. */
#define IDENTITY_OWN 0

struct identity;

/* client_id is copied. NULL without memory. */
struct identity *identity_new(
    struct control *control, const struct config *config, const char *client_id);
void identity_configure(struct identity *identity, const struct config *config);
struct identity *identity_free(struct identity *identity);
const char *identity_client_id(const struct identity *identity);

/*
 * The session is in this producer group from now on. 0; otherwise report says why not. Where it is
 * the first, brokers are told; whoever wants to know when, waits.
 */
int identity_join(struct identity *identity, uint64_t session_id, struct span group,
    enum group_reason reason, struct failure_report *report);
/*
 * From now on brokers can push replies to the daemon's clientId, which they know by any group that
 * it speaks for: send.producer_group, that of those who say nothing. Again is fine; it stays, so that
 * callers that come and go cost brokers nothing. Otherwise as identity_join().
 */
int identity_await_replies(struct identity *identity, struct failure_report *report);
void identity_leave(
    struct identity *identity, uint64_t session_id, struct span group, enum group_reason reason);
/*
 * A HEART_BEAT of the session: it is in these producer groups, and a member of these consumer
 * groups. What it said before about others holds. 0; otherwise report says why not, and what was
 * taken before stays.
 */
int identity_heartbeat(struct identity *identity, uint64_t session_id,
    const struct heartbeat *heartbeat, struct failure_report *report);
/* An UNREGISTER_CLIENT of the session. Groups that it is not in are no mistake. */
void identity_unregister(struct identity *identity, uint64_t session_id, struct span producer_group,
    struct span consumer_group);
void identity_session_gone(struct identity *identity, uint64_t session_id);
/* The daemon stops: brokers are told that all groups are gone. Again is fine. */
void identity_drain(struct identity *identity);
/* Nothing is said to brokers any more, and the connections are closed. NULL is fine. */
void identity_stop(struct identity *identity);

/* --- what can be seen --- */

size_t identity_n_producers(const struct identity *identity);
size_t identity_n_members(const struct identity *identity);
void identity_each_producer(const struct identity *identity,
    void (*visit)(void *context, struct span group, size_t n_callers), void *context);
/* Every consumer group of every member. */
void identity_each_consumer(const struct identity *identity,
    void (*visit)(void *context, uint64_t session_id, const char *client_id, struct span group),
    void *context);

/* The member that the session is, or NULL. */
struct control_identity *identity_member(const struct identity *identity, uint64_t session_id);
struct control_identity *identity_own(const struct identity *identity);
/* Whether some session is a member of this consumer group. */
bool identity_has_consumer(const struct identity *identity, struct span group);
/* What a consumer said about itself in this group, a new reference, or NULL. */
json_t *identity_consumer(const struct identity *identity, uint64_t session_id, struct span group);
