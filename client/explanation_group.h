/*
 * Explanation: one consumer group of the topic. Whether it is paused (consumeEnable), who is a
 * member, how far it is in each queue, and how much waits in its retry topics and dead letters;
 * where a message is explained, what became of it there.
 */
#pragma once

#include "client/explanation.h"

void explanation_add_group(struct explanation *explanation, const char *group);
