/*
 * Processor
 *
 * What brokers ask of a client, and who answers it. A caller that registered for a request code and
 * a group (REGISTER_PROCESSOR, 30007; core/processor_table.h) gets the broker's request on its own
 * connection, under an opaque of the daemon's, in the header form of its registration; its answer
 * goes back under the broker's opaque. Answers are matched by caller and opaque together.
 *
 *     39 CHECK_TRANSACTION_STATE         by the message's producer group; to the sender of its
 *                                        UNIQ_KEY where that is registered; with sidecar.receipt
 *     40, 220, 221, 307, 309             by consumer group; to the member on whose connection it came
 *     326 PUSH_REPLY_MESSAGE_TO_CLIENT   to the call that waits for it (reply.h), else to who
 *                                        registered
 *
 * A caller that does not answer within PROCESSOR_TIMEOUT_MS, or goes away, gets the broker
 * SYSTEM_ERROR; it waits for nobody else's answer meanwhile. Where nobody is registered, 40 and 307
 * are dealt with here, replies are counted as late and taken, as Java's client does (whoever
 * replied could only try in vain again), oneway requests are counted and dropped, and others are
 * answered REQUEST_CODE_NOT_SUPPORTED. A caller that does not read, or has max_broker_requests_per_session
 * of them to answer, is passed over.
 */
#pragma once

#include "config/config.h"
#include "daemon/core/stats.h"
#include "daemon/upstream/identity.h"
#include "daemon/session/reply.h"
#include "daemon/upstream/routes.h"
#include "daemon/session/session.h"
#include "daemon/upstream/upstream.h"

/* Brokers wait 10 s. */
#define PROCESSOR_TIMEOUT_MS 9000

struct processors;

/* context->broker_requests becomes this one's. NULL without memory. */
struct processors *processors_new(struct upstream_context *context, struct routes *routes,
    struct identity *identity, const struct config *config);
void processors_configure(struct processors *processors, const struct config *config);
struct processors *processors_free(struct processors *processors);

/*
 * The session gets requests of this code, for this group (empty: for any), in this header form.
 * 1; 0 where it did so already; otherwise report says why not.
 */
int processor_register(struct processors *processors, struct session *session, int32_t code,
    struct span group, enum serialize_type serialize_type, struct failure_report *report);
/* True: it was registered. */
bool processor_unregister(
    struct processors *processors, struct session *session, int32_t code, struct span group);
/* Where calls wait for the replies to their request messages. */
struct replies *processors_replies(struct processors *processors);
/* A response frame of a caller. False: it answers nothing. */
bool processors_answer(struct processors *processors, struct session *session,
    struct remoting_command *answer, const struct command_source *source);
/* This session has sent the half message of this UNIQ_KEY, and can decide about it. */
void processors_note_sender(
    struct processors *processors, const struct session *session, struct span uniq_key);
/* It was decided. */
void processors_forget_sender(struct processors *processors, struct span uniq_key);
void processors_session_gone(struct processors *processors, struct session *session);
