/*
 * Control schedule
 *
 * What is to be said next on the control connection to one broker: a heartbeat at once after the
 * connection was made or lost (the heartbeat is what makes it anew), after what it says has changed,
 * and every CONTROL_INTERVAL_MS; an UNREGISTER_CLIENT for a group that was left. One at a time, for a
 * broker works on what comes together in any order, and an old heartbeat after an UNREGISTER would
 * bring the group back.
 *
 *     a heartbeat fails      the next one waits for the broker ("patient") as long as it takes, and
 *                            nobody waits for it: who is to be told, is told that the broker is away
 *     the broker refuses it  asked again with the next interval
 *     the connection is gone the broker has forgotten everything: heartbeats, and nothing to undo;
 *                            at once, but when it goes again within two intervals, after pauses
 *                            that double: some brokers take a heartbeat and close, again and again
 *
 * Everything that is wanted gets a number, so that who wanted it can see when it is done.
 */
#pragma once

#include "daemon/core/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DefaultMQPushConsumer's and DefaultMQProducer's heartbeatBrokerInterval. */
#define CONTROL_INTERVAL_MS 30000
/* Between two patient heartbeats that could not even wait, and the first pause after a loss. */
#define CONTROL_RETRY_MS 1000

enum control_step {
    CONTROL_NOTHING,
    CONTROL_BEAT,
    CONTROL_UNREGISTER, /* the first that waits */
};

enum control_result {
    CONTROL_TAKEN,
    CONTROL_REFUSED, /* it answered another code than 0 */
    CONTROL_FAILED,  /* no answer */
};

struct control_schedule {
    bool is_busy;       /* a request is on its way */
    bool is_patient;    /* the last heartbeat failed */
    bool is_registered; /* the broker has taken one on the connection that there is */
    bool was_lost;      /* the connection went while a request was on its way */
    bool has_lost;
    uint64_t lost_ms;  /* when the connection went last */
    uint64_t pause_ms; /* between that and the next heartbeat */
    uint64_t beat_at_ms;
    uint64_t wanted;            /* the number of the heartbeat that is wanted, */
    uint64_t begun;             /* of the one on its way, */
    uint64_t done;              /* and of the last one that ended */
    enum control_result result; /* of that one */
};

/* Nothing is wanted of it yet. */
void control_schedule_init(struct control_schedule *schedule);
/* A heartbeat, as soon as it can be; number is larger than those before. */
void control_schedule_want(struct control_schedule *schedule, uint64_t number, uint64_t now_ms);
/* There is nothing to say any more. */
void control_schedule_stop(struct control_schedule *schedule);
enum control_step control_schedule_next(
    const struct control_schedule *schedule, size_t n_unregisters, uint64_t now_ms);
/* When control_schedule_next() may say something else without anything having happened. */
uint64_t control_schedule_due_ms(const struct control_schedule *schedule);
void control_schedule_begin(struct control_schedule *schedule);
void control_schedule_end_beat(
    struct control_schedule *schedule, enum control_result result, uint64_t now_ms);
/* The heartbeat on its way was not sent, and says what is no longer true. */
void control_schedule_take_back(struct control_schedule *schedule);
void control_schedule_end_unregister(struct control_schedule *schedule);
/* The connection is gone. */
void control_schedule_lose(struct control_schedule *schedule, uint64_t now_ms);
/*
 * Whether the heartbeat of this number, or a later one, has ended, or waits for a broker that is
 * away.
 */
bool control_schedule_has_done(const struct control_schedule *schedule, uint64_t number);
