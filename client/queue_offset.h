/*
 * Queue offset
 *
 * The questions for one queue's offsets: where it begins, where it ends, where a group is in it and
 * what was stored first from some time on.
 */
#pragma once

#include "client/command.h"

enum queue_offset_kind {
    QUEUE_OFFSET_MIN,
    QUEUE_OFFSET_MAX,
    QUEUE_OFFSET_GROUP,
    QUEUE_OFFSET_AT,
    N_QUEUE_OFFSET_KINDS,
};

struct queue_offset_question {
    const char *topic;
    const char *broker;
    int64_t queue_id;
    const char *group;  /* of QUEUE_OFFSET_GROUP */
    int64_t at_ms;      /* of QUEUE_OFFSET_AT */
    int64_t timeout_ms; /* -1: the daemon's */
};

/* Its answer has the field "offset"; QUEUE_OFFSET_GROUP is answered 22 where there is none. */
struct remotingclient_request *queue_offset_request_new(
    const struct queue_offset_question *question, enum queue_offset_kind kind);
/* Asks and waits; -1 where a group has none. Other failures are told. */
enum exit_code queue_offset_ask(const struct invocation *invocation, struct remotingclient *client,
    const struct queue_offset_question *question, enum queue_offset_kind kind, int64_t *ret_offset);
