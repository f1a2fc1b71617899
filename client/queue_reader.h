/*
 * Queue reader
 *
 * Reads one queue of a topic by offset, a few messages at a time. It takes nothing from anybody: no
 * offset of any group moves. Beside it what people see of a message that was read.
 */
#pragma once

#include "client/command.h"

/* A group that every broker has, for who reads in nobody's name. */
#define GROUP_OF_TOOLS "TOOLS_CONSUMER"

struct queue_reader {
    const struct invocation *invocation;
    struct remotingclient *client;
    const char *topic;
    const char *broker;
    const char *group; /* in whose name it reads, where brokers check permissions */
    int64_t queue_id;
    int64_t offset;     /* the next one */
    int64_t timeout_ms; /* -1: the daemon's */
};

/* The PULL itself, of at most max messages. */
struct remotingclient_request *queue_reader_request_new(
    const struct queue_reader *reader, int64_t max);
/*
 * Asks for at most max messages from the offset on, and moves it behind what came. The answer has
 * messages where its code is 0; other answers that are none of the ways to say "nothing here" are
 * failures, and told. *ret_goes_on is false at the end of the queue.
 */
enum exit_code queue_reader_next(struct queue_reader *reader, int64_t max,
    struct remotingclient_answer **ret_answer, bool *ret_goes_on);

/* The beginning of a body, without half a character at its end; or why there is none. */
struct span message_preview(const struct remotingclient_message *message);
