/*
 * JSON memory
 *
 * Has jansson, and nothing else, run out of memory. Not for long input: where the buffer of its
 * parser cannot grow, 2.14 goes on as if it had.
 */
#pragma once

#include <stddef.h>

/* The next n allocations are good, those after them fail. */
void json_memory_limit(size_t n);
void json_memory_unlimit(void);
