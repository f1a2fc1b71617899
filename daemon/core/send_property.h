/*
 * Send property
 *
 * What callers may write into the properties of a message: any name and value without the bytes 1
 * and 2, which RocketMQ separates them with, except names that only brokers and clients themselves
 * write (a message would be hidden, moved or delivered to nobody), and values of delays that no
 * broker could read: those are answered by brokers with an exception's text, or not at all.
 *
 * The properties that come out are `name 0x01 value 0x02` repeated (message.h).
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>

/* Which of the properties that delay a message it is, if any: a batch may have none of them. */
bool send_property_is_delay(struct span name);
/* False: problem is one sentence that names the property and what would be accepted. */
bool send_property_is_valid(
    struct span name, struct span value, char *problem, size_t problem_size);

size_t send_property_size(struct span name, struct span value);
/* Writes send_property_size() bytes; their number. */
size_t send_property_write(char *at, struct span name, struct span value);
