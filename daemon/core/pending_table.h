/*
 * Pending table
 *
 * Every request sent upstream waits here, under its upstream opaque, until its response, its
 * deadline or the loss of its session or upstream takes it out again (RocketMQ's responseTable).
 * The table hands out the opaques:
 *
 *     upstream opaque = generation << 16 | slot      signed on the wire: the sign is the generation's
 *
 * A response is never matched by opaque alone: upstream id, slot and generation must agree. Slots
 * are reused first-in first-out. The slot of a request whose deadline passed on a living connection
 * stays in quarantine until the late response, the connection's end or two minutes: a hot slot
 * would otherwise run through its generations while an answer is under way. A full table takes
 * the slot that is in quarantine for longest, under its next generation: a silent broker must not
 * use up everybody's slots.
 *
 *     FREE -> PENDING -> FREE            taken by its response, or cancelled with its connection
 *                     -> QUARANTINED     abandoned: deadline or caller gone, the connection lives
 *     QUARANTINED -> FREE                late response, end of the connection, two minutes, need
 *
 * The table owns its slots, not the requests in them, and reads no clock. A slot costs 32 bytes;
 * the array doubles up to the capacity it was given.
 */
#pragma once

#include "daemon/core/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* slot 65535 is never handed out: oneway requests carry it */
#define PENDING_TABLE_CAPACITY_MAX 65535
#define PENDING_QUARANTINE_MS      120000

struct pending_request; /* daemon/upstream/pending_request.h */

enum pending_slot_state {
    PENDING_SLOT_FREE,
    PENDING_SLOT_PENDING,
    PENDING_SLOT_QUARANTINED,
};

struct pending_slot {
    uint64_t upstream_id;
    struct pending_request *request;
    /* of the list the slot is in (free or quarantined), PENDING_NO_SLOT at its ends */
    uint32_t prev, next;
    uint32_t since_s; /* quarantined since, in seconds */
    uint16_t generation;
    uint8_t state; /* enum pending_slot_state */
};

struct pending_slot_list {
    uint32_t first, last;
    size_t n;
};

struct pending_table {
    struct pending_slot *slots;
    size_t n_slots; /* allocated so far */
    size_t capacity;
    size_t n_pending;
    uint16_t first_generation;
    struct pending_slot_list free_slots;
    struct pending_slot_list quarantined; /* oldest first */
};

enum pending_take {
    PENDING_TAKEN,
    PENDING_LATE,    /* the request was abandoned before: drop the response and count it */
    PENDING_UNKNOWN, /* nothing asked for this on that connection: drop the response and count it */
};

/*
 * capacity is at most PENDING_TABLE_CAPACITY_MAX. Tests choose the first generation (0x7fff: the
 * sign bit comes next).
 */
void pending_table_init(struct pending_table *table, size_t capacity, uint16_t first_generation);
/* The table must be empty of pending requests. */
void pending_table_deinit(struct pending_table *table);

/* 0; -ENOBUFS when as many are pending as the capacity says; -ENOMEM. */
int pending_table_put(struct pending_table *table, uint64_t upstream_id,
    struct pending_request *request, uint64_t now_ms, int32_t *ret_upstream_opaque);
/*
 * The one way in which a response finds its request. *ret_request is written for PENDING_TAKEN
 * only.
 */
enum pending_take pending_table_take(struct pending_table *table, uint64_t upstream_id,
    int32_t upstream_opaque, struct pending_request **ret_request);
/* Another request waits for the response in place of the one that is pending under this opaque. */
void pending_table_replace(
    struct pending_table *table, int32_t upstream_opaque, struct pending_request *request);
/*
 * Its deadline passed or its caller went, while the connection lives: the slot goes into
 * quarantine.
 */
void pending_table_abandon(struct pending_table *table, int32_t upstream_opaque, uint64_t now_ms);
/*
 * The connection ended: its quarantined slots are free at once. Its pending ones have been taken
 * before.
 */
void pending_table_forget_upstream(struct pending_table *table, uint64_t upstream_id);

/* An opaque for a oneway request: no response to it can match anything. */
int32_t pending_table_oneway_opaque(struct pending_table *table);
