#include "client/lease.h"

#include <stdio.h>

#include "client/command.h"
#include "client/receive.h"
#include "protocol/code.h"

#define ASK_AGAIN_MS       1000
#define RETRY_DELAY_MAX_MS ((int64_t)7200 * 1000)
#define AT_ONCE_MS         1000 /* the shortest that brokers keep exactly */
/* The lease is extended when so much of it is over: two more tries fit into the rest. */
#define LEASE_PART 3

void lease_begin(struct job *job, const struct lease_terms *terms, uint64_t since_ms)
{
    job->lease_end_ms = since_ms + (uint64_t)terms->lease_ms;
    job->ask_due_ms = since_ms + (uint64_t)terms->lease_ms / LEASE_PART;
}

void lease_lose(struct job *job)
{
    job->ask_due_ms = JOB_NEVER_MS;
    if (job_begin_doubt(job)) {
        fputs("its lease is over while the command runs: it may come twice.\n", stderr);
    }
}

void lease_settle(struct job *job, enum job_verdict verdict)
{
    job->state = JOB_SETTLING;
    job->signal_due_ms = JOB_NEVER_MS;
    job->verdict = verdict;
    job->ask_due_ms = 0;
}

void lease_give_back(struct job *job, const struct lease_terms *terms)
{
    int64_t delay_ms = terms->retry_delay_ms;
    for (int32_t i = 0; i < job->reconsume_times && delay_ms < RETRY_DELAY_MAX_MS; i++) {
        delay_ms *= 2;
    }
    job->delay_ms = delay_ms < RETRY_DELAY_MAX_MS ? delay_ms : RETRY_DELAY_MAX_MS;
    lease_settle(job, JOB_LATER);
}

/* --- requests --- */

static struct remotingclient_request *change_invisible_new(const struct job *job, int64_t time_ms)
{
    struct remotingclient_request *request =
        remotingclient_request_new(REQUEST_CHANGE_MESSAGE_INVISIBLETIME);
    remotingclient_request_add(request, "sidecar.receipt", job->receipt);
    remotingclient_request_add_number(request, "invisibleTime", time_ms);
    return request;
}

static struct remotingclient_request *settlement_new(const struct job *job)
{
    struct remotingclient_request *request = NULL;
    switch (job->verdict) {
    case JOB_DONE:
    case JOB_DEAD:
        /* The daemon acknowledges what it had made a dead letter. */
        request = remotingclient_request_new(
            job->verdict == JOB_DONE ? REQUEST_ACK_MESSAGE : REQUEST_CONSUMER_SEND_MSG_BACK);
        remotingclient_request_add(request, "sidecar.receipt", job->receipt);
        return request;
    case JOB_LATER:
        return change_invisible_new(job, job->delay_ms);
    case JOB_AT_ONCE:
        return change_invisible_new(job, AT_ONCE_MS);
    }
    return request;
}

struct remotingclient_request *lease_request_new(
    const struct job *job, const struct lease_terms *terms)
{
    return job->state == JOB_SETTLING ? settlement_new(job)
                                      : change_invisible_new(job, terms->lease_ms);
}

void lease_on_asked(struct job *job, uint64_t now_ms)
{
    job->asks = job->state == JOB_SETTLING ? JOB_ASKS_TO_SETTLE : JOB_ASKS_FOR_LEASE;
    job->asked_ms = now_ms;
}

/* --- answers --- */

void lease_on_daemon_lost(struct job *job, uint64_t now_ms)
{
    if (job->asks == JOB_ASKS_FOR_LEASE && job_begin_doubt(job)) {
        fputs("whether its lease was extended is not known: it may come twice.\n", stderr);
    }
    if (job->asks != JOB_ASKS_NOTHING) {
        job->asks = JOB_ASKS_NOTHING;
        job->ask_due_ms = now_ms;
    }
}

static void on_extension(struct job *job, const struct lease_terms *terms,
    const struct remotingclient_answer *answer, uint64_t now_ms)
{
    const char *receipt = remotingclient_answer_field(answer, "sidecar.receipt");
    if (remotingclient_answer_code(answer) == RESPONSE_SUCCESS && receipt &&
        job_renew(job, receipt)) {
        lease_begin(job, terms, job->asked_ms);
    } else {
        struct remotingclient_failure failure = { .remark = "" };
        (void)remotingclient_answer_failure(answer, &failure);
        const bool passes = receive_may_pass_later(answer);
        job->ask_due_ms = passes ? now_ms + ASK_AGAIN_MS : JOB_NEVER_MS;
        if ((!passes || failure.sent == REMOTINGCLIENT_SENT_MAYBE) && job_begin_doubt(job)) {
            (void)command_report_failure(answer, "it may come twice: to extend its lease ");
        }
    }
    if (job->state == JOB_SETTLING) {
        job->ask_due_ms = 0; /* this was waited for: it may have brought another receipt */
    }
}

static enum lease_outcome on_settlement(struct job *job, const struct lease_terms *terms,
    const struct remotingclient_answer *answer, uint64_t now_ms)
{
    static const char *const what[] = {
        [JOB_DONE] = "it may come again: to acknowledge it ",
        [JOB_LATER] = "it comes again when its lease is over: to give it back ",
        [JOB_DEAD] = "it is given back: to make it a dead letter ",
        [JOB_AT_ONCE] = "it comes again when its lease is over: to give it back ",
    };
    if (remotingclient_answer_code(answer) == RESPONSE_SUCCESS) {
        return LEASE_SETTLED;
    }
    if (receive_may_pass_later(answer) && !terms->is_hurried && now_ms < job->lease_end_ms) {
        job->ask_due_ms = now_ms + ASK_AGAIN_MS;
        return LEASE_GOES_ON;
    }
    job_begin_line(job);
    (void)command_report_failure(answer, what[job->verdict]);
    if (job->verdict != JOB_DEAD) {
        return LEASE_ABANDONED;
    }
    lease_give_back(job, terms);
    return LEASE_GOES_ON;
}

enum lease_outcome lease_on_answer(struct job *job, const struct lease_terms *terms,
    const struct remotingclient_answer *answer, uint64_t now_ms)
{
    const enum job_question asked = job->asks;
    job->asks = JOB_ASKS_NOTHING;
    if (asked == JOB_ASKS_TO_SETTLE) {
        return on_settlement(job, terms, answer, now_ms);
    }
    on_extension(job, terms, answer, now_ms);
    return LEASE_GOES_ON;
}
