/*
 * Dead letter
 *
 * A message of the topic %DLQ% and a consumer group's name, and what it tells of the one that it
 * was: its topic, and what a SEND needs so that this topic gets it again. The new one keeps body,
 * flag, UNIQ_KEY, and every property that its sender may have given; what RocketMQ wrote stays
 * behind. The property REQUEUED_FROM names the dead letter (its offsetMsgId), so that whoever finds
 * the new one by its UNIQ_KEY knows that this dead letter was sent again.
 */
#pragma once

#include "client/command.h"

#define PROPERTY_REQUEUED_FROM "REQUEUED_FROM"

/* Both live as long as the answer's messages. */
struct dead_letter {
    const struct remotingclient_message *message;
    const json_t *row; /* the same as the daemon's JSON */
};

struct dead_letter_filter {
    const char *key; /* one of KEYS; NULL: any, as in all of these */
    const char *tag;
    const char *id;   /* its own offset id, the first message's, or the UNIQ_KEY */
    int64_t since_ms; /* when it became a dead letter; -1: ever */
    int64_t until_ms; /* before that; -1: ever */
};

bool dead_letter_filter_is_empty(const struct dead_letter_filter *filter);
bool dead_letter_matches(const struct dead_letter *letter, const struct dead_letter_filter *filter);
/* When it became a dead letter. */
int64_t dead_letter_time_ms(const struct dead_letter *letter);
/* offsetMsgId: where it lies. */
struct span dead_letter_id(const struct dead_letter *letter);
/* The topic that it was sent to, without the retry topics of the group; absent where not known. */
struct span dead_letter_topic(const struct dead_letter *letter, const char *group);
/*
 * Sends it to the topic. The body is the message's, which has to stay until the request is freed.
 * There is one: message->body is not NULL.
 */
struct remotingclient_request *dead_letter_send_new(
    const struct dead_letter *letter, struct span topic);
