/*
 * Fan out
 *
 * One request of a caller that has to go to several brokers, or several times to one: all of it at
 * once, and one answer when the last part is over. A part is a request of its own; what becomes of
 * each is its completion's to note. The parts count as requests in flight
 * (limits.max_in_flight), and there are at most FAN_OUT_MAX.
 *
 * It is the state of its invocation, and ends with it: fan_out_on_end() is its on_end, which takes
 * back what is still under way.
 */
#pragma once

#include "daemon/completion/invoke.h"

#include <jansson.h>

#define FAN_OUT_MAX 1024

struct fan_out;

struct fan_out_part {
    struct pending_request request;
    struct fan_out *fan_out;
    char *broker_name;
    char *address;
    int32_t queue_id;
    char queue_text[12]; /* of queue_id */
    struct frame_buffer *frame;
    struct span body; /* in frame: what it brought, where its completion keeps it */
};

/* Each is called once for a part, in no order; on_all then, which ends the invocation. */
struct fan_out_steps {
    void (*on_response)(struct fan_out_part *part, struct remoting_command *response,
        const struct command_source *source);
    void (*on_failure)(struct fan_out_part *part, const struct failure_report *report);
    void (*on_all)(struct fan_out *fan_out);
};

struct fan_out {
    struct invocation *invocation;
    const struct fan_out_steps *steps;
    struct fan_out_part *parts;
    size_t n;
    size_t n_left; /* not over yet */
    size_t n_room;
    size_t n_answered;             /* parts that a broker answered; counted by the completion */
    struct failure_report failure; /* the first one of a part; set by the completion */
    int32_t refused_code;          /* where that was an answer of a broker: its code */
    json_t *rows;                  /* of the answer, where it is one of rows */
    char *texts;                   /* that the command points into; on the heap */
    struct loop_reapable reapable;
};

/*
 * For as many as n parts, which are added and then all sent. NULL: the invocation has failed.
 * Otherwise it is the invocation's state.
 */
struct fan_out *fan_out_new(
    struct invocation *invocation, size_t n, const struct fan_out_steps *steps);
/* False: the invocation has failed. */
bool fan_out_add(
    struct fan_out *fan_out, const char *broker_name, const char *address, int32_t queue_id);
/*
 * Sends the kept command to every part, with its bname and, where its queue id is not negative, its
 * queueId.
 */
void fan_out_send(struct fan_out *fan_out);
void fan_out_on_end(struct invocation *invocation);
