/*
 * RocketMQ names
 *
 * What topics and groups may be called: ^[%|a-zA-Z0-9_-]+$ (Validators.java, TopicValidator.java).
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>

/* The longest that any broker takes. */
#define ROCKETMQ_NAME_MAX 255

/* Not empty, and not longer than max. */
bool rocketmq_name_is_valid(struct span name, size_t max);
