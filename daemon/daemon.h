/*
 * Daemon
 *
 * Everything put together, and its life: start, serve, drain, stop. SIGTERM and SIGINT start a
 * drain (no new connections, new requests refused, what is in flight answered or expired within
 * drain.timeout); a second one ends it at once.
 *
 * SIGHUP and the command RELOAD read the configuration again, with its keys and certificates. It is
 * replaced as a whole or, where anything is wrong with it, not at all; what is in flight goes on.
 * Some settings are fixed while the daemon runs (setting.h): those stay, and that is said. What is
 * replaced is made anew here, every part that holds a setting is given the new one
 * (X_configure()), and callers are judged by the new roles. Reading is done in the loop: a reload
 * takes milliseconds, and users and groups are looked up as the host does it.
 */
#pragma once

#include "config/config.h"

#include <stddef.h>

struct daemon;

/* Where the configuration came from: what config_load() is called with again. */
struct daemon_source {
    const char *path;
    const char *namesrv_addr;
};

/*
 * NULL: problem says in words what is wrong and what to do. The config stays the caller's, has to
 * outlive the daemon, and is changed by it: limits that the process cannot have, and what a reload
 * swaps.
 */
struct daemon *daemon_new(struct config *config, char *problem, size_t problem_size);
/* What a reload reads; the texts have to outlive the daemon. Without it, that is the defaults. */
void daemon_set_source(struct daemon *daemon, const struct daemon_source *source);
/* Serves until it is told to stop. */
void daemon_run(struct daemon *daemon);
struct daemon *daemon_free(struct daemon *daemon);
