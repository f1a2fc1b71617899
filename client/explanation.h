/*
 * Explanation
 *
 * What can be found out about a topic, its groups and one message, as one JSON object: the answers
 * of nameservers, brokers and the daemon beside each other, and what follows from them. Everything
 * is asked with a bound, and what nobody answers (a role may forbid it, a broker may be away) is in
 * "notKnown" with the reason; nothing of it fails the whole. No group, message or offset is touched.
 *
 *     topic, group, message         as asked for, or null
 *     nameservers                   addr, isCurrent, isAvailable, knows (null: not known),
 *                                   isDifferent (from the one whose route is told), reason
 *     route                         from ("nameserver", "daemon" or null), state and ageMillis of
 *                                   the one that the daemon keeps
 *     brokers                       name, addr, perm, readQueues, writeQueues, state, reachable,
 *                                   rttMicros, isPassedOver, isInRoute, isSentTo,
 *                                   cause
 *     queues                        brokerName, queueId, minOffset, maxOffset, consumerOffset, lag
 *     groups                        group, isPaused, members, lag, inRetry, deadLetters, message
 *                                   (what became of it: waiting, in-retry, dead-letter, handed-out)
 *     copies                        of the message, in its topic, in retry topics, in dead letters
 *     findings                      cause, text, command; the likeliest first
 *     notKnown                      what, reason
 */
#pragma once

#include "client/command.h"

#include <jansson.h>

struct explanation {
    const struct invocation *invocation;
    struct remotingclient *client;
    const char *topic;   /* NULL: the message's */
    const char *group;   /* NULL: those that brokers know */
    const char *message; /* NULL: none */
    int64_t timeout_ms;
    json_t *report;
    struct topic_route *route; /* NULL: no nameserver told one */
    size_t n_requests;
    enum exit_code exit_code; /* why it was broken off */
};

/*
 * Asks everything. Other results than EXIT_CODE_SUCCESS (no daemon, or a message without a topic)
 * are told.
 */
enum exit_code explanation_make(struct explanation *explanation);
void explanation_deinit(struct explanation *explanation);

/* For its parts: the row of a queue, made where there is none yet. */
json_t *explanation_queue(
    const struct explanation *explanation, struct span broker_name, int64_t queue_id);
/* The next broker from *at on that is not known to be away, or NULL. */
const char *explanation_reachable_broker(const struct explanation *explanation, size_t *at);
