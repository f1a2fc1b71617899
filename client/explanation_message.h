/*
 * Explanation: one message. Where it was stored, and what became of it for a group, as far as
 * offsets and copies of it tell: brokers do not say who holds a message whose invisible time is
 * not over, and what was acknowledged leaves no trace but the group's offset.
 */
#pragma once

#include "client/explanation.h"

/* Topics besides its own where a message of a group may lie. */
enum aside_topic {
    ASIDE_RETRY_POP,    /* of receivers, for this topic */
    ASIDE_RETRY_POP_V2, /* the same by its newer name */
    ASIDE_RETRY,        /* of classic consumers, for all topics */
    ASIDE_DEAD_LETTERS,
    N_ASIDE_TOPICS,
};

/* On the heap; NULL without memory. */
char *explanation_aside_topic(
    const struct explanation *explanation, enum aside_topic kind, const char *group);

/*
 * Sets the topic of a message that is named by its offset id. False where there is none: that is
 * told, and exit_code says what it means.
 */
bool explanation_find_topic(struct explanation *explanation);
/* The copies in its topic. */
void explanation_find_message(struct explanation *explanation);
/* The copies that belong to the group; what became of it is the row's "message". */
void explanation_follow_message(struct explanation *explanation, json_t *row, const char *group);
