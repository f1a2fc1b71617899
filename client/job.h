/*
 * Job
 *
 * A message in the hands of a command: its processes, and what their end means. A job waits for
 * nothing and asks nobody; the worker (worker.h) does, and tells it the time and which child has
 * exited. Its lease (lease.h) is kept in it.
 *
 * The messages of an inner batch share one receipt: they are one job, whose command runs for one
 * after the other until one fails.
 *
 *     FREE --> RUNNING --> SETTLING --> FREE
 *      what cannot run ------^
 */
#pragma once

#include "client/remotingclient.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define JOB_NEVER_MS UINT64_MAX

/* sysexits.h: EX_TEMPFAIL and EX_DATAERR; and the shell's words for what it cannot execute. */
#define JOB_EXIT_LATER          75
#define JOB_EXIT_DEAD           65
#define JOB_EXIT_NOT_EXECUTABLE 126
#define JOB_EXIT_NOT_FOUND      127

enum job_state {
    JOB_FREE,
    JOB_RUNNING,
    JOB_SETTLING, /* the broker is told what became of it */
};

enum job_verdict {
    JOB_DONE,    /* acknowledged */
    JOB_LATER,   /* given back, with a delay */
    JOB_DEAD,    /* a dead letter */
    JOB_AT_ONCE, /* given back without a delay */
};

enum job_question {
    JOB_ASKS_NOTHING,
    JOB_ASKS_FOR_LEASE,
    JOB_ASKS_TO_SETTLE,
};

/* What an answer brought, as long as a job needs it. */
struct job_batch;
/* Takes the messages over; NULL without memory, they are freed then. The caller is its first user. */
struct job_batch *job_batch_new(struct remotingclient_messages *messages);
struct job_batch *job_batch_free(struct job_batch *batch);
/* Behind the last message from i on that has the receipt of the i-th. */
size_t job_batch_group_end(const struct job_batch *batch, size_t i);
/* The i-th message; i is below the count. */
const struct remotingclient_message *job_batch_get(const struct job_batch *batch, size_t i);
size_t job_batch_count(const struct job_batch *batch);

/* How the commands of all jobs run. */
struct job_command {
    const char *text;
    const char *group;
    int64_t time_limit_ms; /* 0: none */
};

struct job {
    enum job_state state;
    struct job_batch *batch; /* while a message of it is still to run */
    size_t at;               /* the message that runs, of those before `end` */
    size_t end;
    char *message_id;
    char *receipt; /* the newest */
    int32_t reconsume_times;

    pid_t pid; /* of the shell, and of its process group; 0: it never ran */
    bool has_exited;
    int status;
    bool is_over_time;
    uint64_t started_ms;
    uint64_t signal_due_ms; /* of the time limit */

    uint64_t lease_end_ms;
    uint64_t ask_due_ms; /* when the lease is extended, or settling tried */
    enum job_question asks;
    uint64_t asked_ms;
    bool is_doubt_told; /* that it may come twice */
    enum job_verdict verdict;
    int64_t delay_ms; /* of JOB_LATER */
};

/* Gives the messages from i up to end, of one receipt, to a job that is free. False: no memory. */
bool job_take(struct job *job, struct job_batch *batch, size_t i, size_t end);
/* Back to JOB_FREE, whatever it held. */
void job_clear(struct job *job);
/* The newest receipt; without memory the job keeps the old one, and it is false. */
bool job_renew(struct job *job, const char *receipt);

/* Starts the command for the message at `at`. 0 or a negative errno. */
int job_start(struct job *job, const struct job_command *command, uint64_t now_ms);
/* The shell has exited, with this wait status. */
void job_on_exit(struct job *job, int status);
/* Sends the signals of the time limit that are due. */
void job_tick(struct job *job, uint64_t now_ms);
/* To the whole process group. */
void job_signal(const struct job *job, int signal_number);
/*
 * Whether nothing of it runs any more: what the shell left behind in its group is waited for only
 * after the time limit, since a command may start what is to outlive it.
 */
bool job_is_over(const struct job *job);
/* Goes to the next message of the receipt; false when this was the last. */
bool job_next(struct job *job);

/* What the end of the command means. */
enum job_verdict job_judge(const struct job *job);
/* It ended as no command means to: with a code that says nothing, by a signal, by the time limit. */
bool job_has_failed(const struct job *job);
/* "exited with 3 after 120 ms" */
#define JOB_END_TEXT_SIZE 96
void job_end_text(const struct job *job, uint64_t now_ms, char ret_text[JOB_END_TEXT_SIZE]);

/* The beginning of a line about it on the standard error, which the caller ends. */
void job_begin_line(const struct job *job);
/* The same for the doubt whether it comes twice, which is told once: false if it was. */
bool job_begin_doubt(struct job *job);
