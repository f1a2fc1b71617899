/*
 * Dead letter queues
 *
 * The queues of the topic %DLQ% and a consumer group's name, where they begin and end, and how far
 * each is done with: the marker, which is the offset of another group in it. RocketMQ deletes no
 * single message, so moving the marker is all that can be done to dead letters. The other group is
 * one that every broker has, and not the consumer group itself, whose lag would otherwise count dead
 * letters, and which may be paused.
 */
#pragma once

#include "client/command.h"

struct dead_letter_queue {
    const char *broker; /* the route's */
    int64_t queue_id;
    int64_t begin;  /* the marker, or the oldest one */
    int64_t end;    /* behind the last one that there was at the start */
    int64_t marker; /* -1: none */
};

struct dead_letter_queues {
    const struct invocation *invocation;
    struct remotingclient *client;
    const char *group;
    const char *reader; /* whose offset is the marker */
    int64_t timeout_ms; /* -1: the daemon's */
    bool wants_all;     /* they begin at the oldest one, not at the marker */
    bool make_readable; /* where a broker lets the topic be written only */
    char *topic;
    struct topic_route *route;
    struct dead_letter_queue *queues;
    size_t n_queues;
    int64_t n_letters; /* between begin and end of all */
};

/*
 * Finds them; the rest of the struct is given. EXIT_CODE_NOTHING where there is no such topic;
 * whatever else is wrong is told, and so is that.
 */
enum exit_code dead_letter_queues_find(struct dead_letter_queues *queues);
void dead_letter_queues_deinit(struct dead_letter_queues *queues);
/* What is in front of the offset is done with. */
enum exit_code dead_letter_queues_move_marker(
    const struct dead_letter_queues *queues, struct dead_letter_queue *queue, int64_t offset);
/* A request with the deadline of all of these. */
struct remotingclient_request *dead_letter_queues_request_new(
    const struct dead_letter_queues *queues, int32_t code);
/* Says "GROUP has no dead letters" and why; EXIT_CODE_NOTHING. */
enum exit_code dead_letter_queues_tell_none(
    const struct dead_letter_queues *queues, const char *why);
