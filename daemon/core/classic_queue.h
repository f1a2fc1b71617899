/*
 * Classic queue
 *
 * How far a group is with one queue of a broker without POP, which knows only one number: the offset
 * from which on everything is still to be consumed. What was handed out lies between that and the
 * next offset to be pulled, each message with the time at which it is seen again; an acknowledgement
 * takes it out, and the offset moves to the first that is left. Offsets in which nothing was handed
 * out (a filter left them out) hold nothing up. Time is handed in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Messages of one queue that may be out at once. */
#define CLASSIC_WINDOW 256

struct classic_entry {
    int64_t offset;
    uint64_t visible_at_ms;
};

struct classic_queue {
    int64_t next;
    struct classic_entry *entries; /* by offset; room for CLASSIC_WINDOW */
    size_t n;
};

/* False without memory. */
bool classic_queue_init(struct classic_queue *queue, int64_t offset);
void classic_queue_deinit(struct classic_queue *queue);
/* From here on everything is still to be consumed: what the broker is to know. */
int64_t classic_queue_committed(const struct classic_queue *queue);
/* How many more may be handed out. */
size_t classic_queue_room(const struct classic_queue *queue);
/* The first message whose time has come again. */
bool classic_queue_expired(const struct classic_queue *queue, uint64_t now_ms, int64_t *ret_offset);
/* A message went to a caller, for the first time or again. There is room, or it is out already. */
void classic_queue_hand_out(struct classic_queue *queue, int64_t offset, uint64_t visible_at_ms);
/* Everything before this offset was pulled. */
void classic_queue_advance(struct classic_queue *queue, int64_t next);
/* True: the committed offset has moved. One that is not out moves nothing. */
bool classic_queue_acknowledge(struct classic_queue *queue, int64_t offset);
/* Another time for a message that is out. False: it is not. */
bool classic_queue_delay(struct classic_queue *queue, int64_t offset, uint64_t visible_at_ms);
