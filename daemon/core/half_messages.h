/*
 * Half messages
 *
 * Who sent which half message, so that a broker's question about its transaction goes to the caller
 * that can decide. The newest HALF_MESSAGES_MAX are remembered, first in, first out: one that was
 * forgotten, or whose sender is gone, is anybody's in its producer group. The table knows callers
 * by number and UNIQ_KEYs by what they say.
 */
#pragma once

#include "protocol/span.h"

#include <stdint.h>

#define HALF_MESSAGES_MAX 16384
/* Java's keys have 32 or 56 characters. A longer one is not remembered. */
#define HALF_MESSAGE_KEY_MAX 64

struct half_messages;

struct half_messages *half_messages_new(void);
struct half_messages *half_messages_free(struct half_messages *messages);
/* Again: the last sender counts. Without memory it is not remembered. */
void half_messages_add(struct half_messages *messages, struct span uniq_key, uint64_t session_id);
/* 0 where it is not known. */
uint64_t half_messages_sender(const struct half_messages *messages, struct span uniq_key);
/* It was decided. */
void half_messages_remove(struct half_messages *messages, struct span uniq_key);
