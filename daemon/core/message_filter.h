/*
 * Message filter
 *
 * Which of the messages that a broker found are really what was asked for. Brokers look at hashes:
 * of the tags of a subscription ("Aa" and "BB" have the same) and of the keys of a query. Java's
 * client therefore looks once more (PullAPIWrapper.java, DefaultMQPushConsumerImpl.java,
 * MQAdminImpl.java), and so does this. Expressions other than tags are the broker's alone.
 */
#pragma once

#include "protocol/message.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether a subscription names tags, so that messages have to be looked at: its expressionType is
 * TAG or not given, and it does not want everything ("*", or nothing at all).
 */
bool message_filter_has_tags(struct span expression, struct span expression_type);
/*
 * Whether the message has one of the tags of such an expression ("a || b"). An inner batch passes:
 * its tags are those of the messages in it.
 */
bool message_filter_wants(struct span expression, const struct message *message);
/* Whether the key is one of the message's KEYS, which spaces part. */
bool message_filter_has_key(const struct message *message, struct span key);

/*
 * Takes what is not wanted out of a body of stored messages, in place, and returns the bytes that
 * are left. is_wanted is asked once for each message in turn. What is no message, and all that
 * stands behind it, stays.
 */
size_t message_filter_body(uint8_t *data, size_t n,
    bool (*is_wanted)(void *context, const struct message *message), void *context);
