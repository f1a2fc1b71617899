/*
 * Lease
 *
 * The time for which nobody else sees the message of a job (job.h): how it is extended while the
 * command runs, and what the broker is told at the end, as long as it lasts. A lease sends nothing
 * itself: it makes the requests that are due (job->ask_due_ms), one at a time, and reads their
 * answers. Each extension brings a new receipt, by which alone the message can be settled from then
 * on; where it is not known whether one was granted, the message may come twice, and that is told
 * once.
 */
#pragma once

#include "client/job.h"

/* Of all messages of a worker. */
struct lease_terms {
    int64_t lease_ms;
    int64_t retry_delay_ms; /* of the first time; doubled by each further one */
    bool is_hurried;        /* what fails is not tried again */
};

/* The message came, or its lease was extended, at that time. */
void lease_begin(struct job *job, const struct lease_terms *terms, uint64_t since_ms);
/* It ended while the command ran. */
void lease_lose(struct job *job);
/* The job is to be settled so, from now on. */
void lease_settle(struct job *job, enum job_verdict verdict);
/* The same for JOB_LATER: the more often it came, the later it comes again. */
void lease_give_back(struct job *job, const struct lease_terms *terms);

/* Asks for an extension or, of a job that is settled, tells the broker its verdict. */
struct remotingclient_request *lease_request_new(
    const struct job *job, const struct lease_terms *terms);
/* That was sent. */
void lease_on_asked(struct job *job, uint64_t now_ms);
/* No answer will come. */
void lease_on_daemon_lost(struct job *job, uint64_t now_ms);

enum lease_outcome {
    LEASE_GOES_ON,
    LEASE_SETTLED,   /* the broker has taken the verdict: nothing is left to do */
    LEASE_ABANDONED, /* it has not, and is not asked again: the message comes again */
};
enum lease_outcome lease_on_answer(struct job *job, const struct lease_terms *terms,
    const struct remotingclient_answer *answer, uint64_t now_ms);
