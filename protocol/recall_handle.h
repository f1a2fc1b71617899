/*
 * Recall handle
 *
 * By which a delayed message can be recalled (RECALL_MESSAGE): the recallHandle of the answer to its
 * send, base64url of "v1 topic broker deliverTime uniqKey" (RecallMessageHandle.java).
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>

#define RECALL_HANDLE_MAX 1024

struct recall_handle {
    struct span topic;
    struct span broker_name;
    char text[RECALL_HANDLE_MAX]; /* what the spans point into */
};

/* False when it is none. *ret_handle must not be moved afterwards. */
bool recall_handle_decode(struct span text, struct recall_handle *ret_handle);
