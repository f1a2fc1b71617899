/*
 * Daemon
 *
 * Everything put together, and its life: start, serve, drain, stop. SIGTERM and SIGINT start a
 * drain (no new connections, new requests refused, what is in flight answered or expired within
 * drain.timeout); a second one ends it at once.
 */
#pragma once

#include "config/config.h"

#include <stddef.h>

struct daemon;

/* NULL: problem says in words what is wrong and what to do. */
struct daemon *daemon_new(const struct config *config, char *problem, size_t problem_size);
/* Serves until it is told to stop. */
void daemon_run(struct daemon *daemon);
struct daemon *daemon_free(struct daemon *daemon);
