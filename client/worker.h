/*
 * Worker
 *
 * Takes messages and has a command run for each (job.h), several at once, until it is told to stop.
 * It never takes more messages than it has places free, so that what it took runs at once. While a
 * command runs its message's lease, the time for which nobody else sees it, is extended; the end of
 * the command decides what the broker is told. A worker outlives the daemon: what runs goes on, and
 * what could not be told is told when the daemon is back, as long as the lease lasts.
 *
 * The first SIGTERM or SIGINT lets what runs finish and takes nothing new; every later one is
 * passed on to the commands, and nothing that fails is tried again from then on.
 */
#pragma once

#include "client/command.h"
#include "client/job.h"
#include "client/receive.h"

#define WORKER_PLACES_MAX 256

struct worker_options {
    const struct invocation *invocation;
    struct receive_source source;
    struct job_command command;
    int64_t n_places;
    int64_t max;            /* ends after so many messages; 0: no limit */
    int64_t retry_delay_ms; /* of the first time; doubled by each further one */
    bool is_verbose;
};

/* EXIT_CODE_SUCCESS: it was told to stop, or has had so many messages as it was to have. */
enum exit_code worker_run(const struct worker_options *options);
