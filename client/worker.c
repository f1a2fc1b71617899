#include "client/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/lease.h"
#include "client/output.h"
#include "protocol/code.h"

#define RECONNECT_MIN_MS 100
#define RECONNECT_MAX_MS 2000

/* The token of a request: the number of the job that it is about, from 1 on. */
#define TOKEN_POP 0

struct worker {
    const struct worker_options *options;
    struct job *jobs;
    size_t n_jobs;
    int signal_fd;

    struct remotingclient *client; /* NULL: the daemon is away */
    uint64_t reconnect_due_ms;
    uint64_t reconnect_pause_ms;

    bool is_asking; /* for messages */
    uint64_t asked_ms;
    uint64_t ask_due_ms;
    bool is_in_trouble; /* asking failed, and that was told */
    int64_t n_taken;

    struct lease_terms terms;
    bool is_stopping;
    enum exit_code exit_code;
    uint64_t n_settled[JOB_AT_ONCE + 1]; /* by verdict, as far as brokers accepted it */
    uint64_t n_failed;                   /* commands that ended as nobody meant them to */
};

static size_t count_jobs(const struct worker *worker, enum job_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < worker->n_jobs; i++) {
        n += worker->jobs[i].state == state;
    }
    return n;
}

static void stop(struct worker *worker, enum exit_code exit_code)
{
    worker->is_stopping = true;
    if (worker->exit_code == EXIT_CODE_SUCCESS) {
        worker->exit_code = exit_code;
    }
}

/* --- what is told --- */

static void say_end(const struct worker *worker, const struct job *job)
{
    char end[JOB_END_TEXT_SIZE];
    if (job->verdict == JOB_DONE && !worker->options->is_verbose) {
        return;
    }
    job_end_text(job, clock_now_ms(), end);
    job_begin_line(job);
    fprintf(stderr, "the command %s: ", end);
    switch (job->verdict) {
    case JOB_DONE:
        fputs("acknowledged.\n", stderr);
        break;
    case JOB_LATER:
        fprintf(stderr, "given back, it comes again in %" PRId64 " s.\n", job->delay_ms / 1000);
        break;
    case JOB_DEAD:
        fprintf(stderr, "it goes to the dead letters of %s.\n", worker->options->source.group);
        break;
    case JOB_AT_ONCE:
        fputs("given back at once.\n", stderr);
        break;
    }
}

/* --- the connection --- */

static void lose_client(struct worker *worker)
{
    worker->client = remotingclient_free(worker->client);
    worker->is_asking = false;
    worker->reconnect_pause_ms = RECONNECT_MIN_MS;
    worker->reconnect_due_ms = clock_now_ms() + RECONNECT_MIN_MS;
    fprintf(stderr,
        "remotingctl: the daemon at %s went away. %zu commands run on, and are settled when it is "
        "back.\n",
        worker->options->invocation->socket_path, count_jobs(worker, JOB_RUNNING));
    for (size_t i = 0; i < worker->n_jobs; i++) {
        lease_on_daemon_lost(&worker->jobs[i], clock_now_ms());
    }
}

static void reconnect(struct worker *worker, uint64_t now)
{
    if (remotingclient_new(worker->options->invocation->socket_path, &worker->client) == 0) {
        fputs("remotingctl: the daemon is back.\n", stderr);
        return;
    }
    worker->reconnect_due_ms = now + worker->reconnect_pause_ms;
    worker->reconnect_pause_ms *= 2;
    if (worker->reconnect_pause_ms > RECONNECT_MAX_MS) {
        worker->reconnect_pause_ms = RECONNECT_MAX_MS;
    }
}

/* False: it could not be sent, and the daemon is away now. */
static bool submit(struct worker *worker, struct remotingclient_request *request, uint64_t token)
{
    const bool is_sent = remotingclient_submit(worker->client, request, token, NULL) == 0;
    if (!is_sent) {
        lose_client(worker);
    }
    return is_sent;
}

static void ask(struct worker *worker, struct job *job, uint64_t now)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = lease_request_new(job, &worker->terms);
    if (submit(worker, request, (uint64_t)(job - worker->jobs) + 1)) {
        lease_on_asked(job, now);
    }
}

/* --- messages come --- */

static struct job *free_job(struct worker *worker)
{
    for (size_t i = 0; i < worker->n_jobs; i++) {
        if (worker->jobs[i].state == JOB_FREE) {
            return &worker->jobs[i];
        }
    }
    return NULL;
}

static void run(struct worker *worker, struct job *job)
{
    const struct remotingclient_message *message = job_batch_get(job->batch, job->at);
    if (worker->is_stopping) {
        lease_settle(job, JOB_AT_ONCE);
        return;
    }
    if (!message->body) {
        lease_give_back(job, &worker->terms);
        job_begin_line(job);
        fputs("it cannot be decoded and is given back: ", stderr);
        output_text(stderr, span_of(message->reason), OUTPUT_ONE_LINE);
        fputc('\n', stderr);
        return;
    }
    const int r = job_start(job, &worker->options->command, clock_now_ms());
    if (r == 0) {
        job->state = JOB_RUNNING;
        return;
    }
    lease_give_back(job, &worker->terms);
    job_begin_line(job);
    fprintf(stderr, "given back, the command cannot be started (%s).\n", strerror(-r));
}

static void take_group(struct worker *worker, struct job_batch *batch, size_t i, size_t end)
{
    struct job *job = free_job(worker);
    worker->n_taken += (int64_t)(end - i);
    if (!job_batch_get(batch, i)->receipt || !job || !job_take(job, batch, i, end)) {
        fputs(
            "remotingctl: a message comes again when its lease is over: there is no receipt or no "
            "memory for it.\n",
            stderr);
        return;
    }
    lease_begin(job, &worker->terms, clock_now_ms());
    run(worker, job);
}

static void take_messages(struct worker *worker, const struct remotingclient_answer *answer)
{
    struct remotingclient_messages *messages = NULL;
    const enum exit_code exit_code =
        command_read_messages(worker->options->invocation, answer, &messages);
    if (exit_code != EXIT_CODE_SUCCESS) {
        stop(worker, exit_code);
        return;
    }
    struct job_batch *batch = job_batch_new(messages);
    size_t end;
    for (size_t i = 0; batch && i < job_batch_count(batch); i = end) {
        end = job_batch_group_end(batch, i);
        take_group(worker, batch, i, end);
    }
    (void)job_batch_free(batch);
}

static void on_pop_answer(struct worker *worker, const struct remotingclient_answer *answer)
{
    worker->is_asking = false;
    worker->ask_due_ms = worker->asked_ms + RECEIVE_PAUSE_MS;
    if (receive_is_nothing(answer)) {
        worker->is_in_trouble = false;
        return;
    }
    if (remotingclient_answer_code(answer) == RESPONSE_SUCCESS) {
        worker->is_in_trouble = false;
        worker->ask_due_ms = 0;
        take_messages(worker, answer);
        return;
    }
    const bool passes = receive_may_pass_later(answer);
    if (!passes || !worker->is_in_trouble) {
        const enum exit_code exit_code = command_report_failure(
            answer, passes ? "remotingctl: to receive, which is tried again, "
                           : "remotingctl: to receive ");
        if (!passes) {
            stop(worker, exit_code);
        }
    }
    worker->is_in_trouble = true;
}

/* How many messages it would take now. */
static int64_t n_wanted(const struct worker *worker)
{
    if (worker->is_stopping || worker->is_asking) {
        return 0;
    }
    int64_t n = (int64_t)count_jobs(worker, JOB_FREE);
    const int64_t left = worker->options->max - worker->n_taken;
    if (worker->options->max > 0 && left < n) {
        n = left;
    }
    return n < RECEIVE_MAX ? n : RECEIVE_MAX;
}

static void ask_for_messages(struct worker *worker, uint64_t now)
{
    const int64_t n = n_wanted(worker);
    if (n <= 0 || now < worker->ask_due_ms) {
        return;
    }
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = receive_request_new(&worker->options->source, n);
    worker->asked_ms = now;
    worker->is_asking = submit(worker, request, TOKEN_POP);
}

/* --- what happens --- */

static void stop_consuming(struct worker *worker, const struct job *job)
{
    if (worker->exit_code != EXIT_CODE_COMMAND) {
        fprintf(stderr,
            "remotingctl: the command cannot be run, as the shell's exit code %d says (126: not "
            "executable, 127: not found). Nothing more is taken.\n",
            WEXITSTATUS(job->status));
    }
    stop(worker, EXIT_CODE_COMMAND);
}

static void end_command(struct worker *worker, struct job *job)
{
    const enum job_verdict verdict = job_judge(job);
    if (verdict == JOB_DONE && job_next(job)) {
        run(worker, job);
        return;
    }
    if (verdict == JOB_LATER) {
        lease_give_back(job, &worker->terms);
    } else {
        lease_settle(job, verdict);
    }
    worker->n_failed += job_has_failed(job);
    say_end(worker, job);
    if (verdict == JOB_AT_ONCE) {
        stop_consuming(worker, job);
    }
}

/* Without the daemon a lease ends, and with it what could be told of its message. */
static void give_up(struct job *job)
{
    job_begin_line(job);
    fputs("it comes again: the daemon did not come back before its lease was over.\n", stderr);
    job_clear(job);
}

static void advance_job(struct worker *worker, struct job *job, uint64_t now)
{
    job_tick(job, now);
    if (job->state == JOB_RUNNING && job_is_over(job)) {
        end_command(worker, job);
    }
    if (job->state == JOB_RUNNING && now >= job->lease_end_ms && job->asks == JOB_ASKS_NOTHING &&
        job->ask_due_ms != JOB_NEVER_MS) {
        lease_lose(job);
    }
    if (job->state == JOB_FREE || job->asks != JOB_ASKS_NOTHING) {
        return;
    }
    if (worker->client && now >= job->ask_due_ms) {
        ask(worker, job, now);
    } else if (!worker->client && job->state == JOB_SETTLING &&
               (now >= job->lease_end_ms || worker->terms.is_hurried)) {
        give_up(job);
    }
}

static void advance(struct worker *worker)
{
    const uint64_t now = clock_now_ms();
    if (!worker->client && now >= worker->reconnect_due_ms) {
        reconnect(worker, now);
    }
    for (size_t i = 0; i < worker->n_jobs; i++) {
        advance_job(worker, &worker->jobs[i], now);
    }
    if (worker->client) {
        ask_for_messages(worker, now);
    }
}

static void on_child(struct worker *worker)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < worker->n_jobs; i++) {
            struct job *job = &worker->jobs[i];
            if (job->state == JOB_RUNNING && job->pid == pid && !job->has_exited) {
                job_on_exit(job, status);
            }
        }
    }
}

static void on_stop_signal(struct worker *worker, int signal_number)
{
    const size_t n = count_jobs(worker, JOB_RUNNING);
    if (worker->is_stopping) {
        worker->terms.is_hurried = true;
        for (size_t i = 0; i < worker->n_jobs; i++) {
            if (worker->jobs[i].state == JOB_RUNNING) {
                job_signal(&worker->jobs[i], signal_number);
            }
        }
    } else if (n > 0) {
        fprintf(stderr,
            "remotingctl: nothing more is taken; %zu commands may finish. Another signal is passed "
            "on to them.\n",
            n);
    }
    worker->is_stopping = true;
}

static void read_signals(struct worker *worker)
{
    struct signalfd_siginfo info;
    while (read(worker->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            on_child(worker);
        } else {
            on_stop_signal(worker, (int)info.ssi_signo);
        }
    }
}

static void take_answer(struct worker *worker, const struct remotingclient_answer *answer)
{
    const uint64_t token = remotingclient_answer_token(answer);
    if (token == TOKEN_POP) {
        on_pop_answer(worker, answer);
        return;
    }
    struct job *job = &worker->jobs[token - 1];
    switch (lease_on_answer(job, &worker->terms, answer, clock_now_ms())) {
    case LEASE_GOES_ON:
        break;
    case LEASE_SETTLED:
        worker->n_settled[job->verdict]++;
        job_clear(job);
        break;
    case LEASE_ABANDONED:
        job_clear(job);
        break;
    }
}

static void take_answers(struct worker *worker)
{
    (void)remotingclient_step(worker->client);
    for (;;) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        const int r = remotingclient_take(worker->client, &answer);
        if (r < 0) {
            if (r != -EAGAIN) {
                lose_client(worker);
            }
            return;
        }
        take_answer(worker, answer);
    }
}

/* --- waiting --- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t job_due(const struct worker *worker, const struct job *job)
{
    const uint64_t ask_due = worker->client ? job->ask_due_ms : JOB_NEVER_MS;
    if (job->state == JOB_FREE) {
        return JOB_NEVER_MS;
    }
    if (job->asks != JOB_ASKS_NOTHING) {
        return job->signal_due_ms;
    }
    if (job->state == JOB_SETTLING) {
        return worker->client ? ask_due : job->lease_end_ms;
    }
    /* Who is not asked for a lease any more has none to lose. */
    const bool has_lease = job->ask_due_ms != JOB_NEVER_MS;
    return earlier(job->signal_due_ms, earlier(ask_due, has_lease ? job->lease_end_ms : ask_due));
}

static int wait_ms(const struct worker *worker)
{
    uint64_t due = worker->client ? JOB_NEVER_MS : worker->reconnect_due_ms;
    for (size_t i = 0; i < worker->n_jobs; i++) {
        due = earlier(due, job_due(worker, &worker->jobs[i]));
    }
    if (worker->client && n_wanted(worker) > 0) {
        due = earlier(due, worker->ask_due_ms);
    }
    const uint64_t now = clock_now_ms();
    const uint64_t wait = due > now ? due - now : 0;
    const int most = worker->client ? remotingclient_timeout_ms(worker->client) : -1;
    if (most >= 0 && wait > (uint64_t)most) {
        return most;
    }
    return wait > INT32_MAX ? -1 : (int)wait;
}

static void wait_for_anything(struct worker *worker)
{
    struct pollfd fds[2] = { { .fd = worker->signal_fd, .events = POLLIN }, { .fd = -1 } };
    if (worker->client) {
        fds[1].fd = remotingclient_fd(worker->client);
        fds[1].events = remotingclient_events(worker->client);
    }
    (void)poll(fds, 2, wait_ms(worker));
    read_signals(worker);
    if (worker->client) {
        take_answers(worker);
    }
}

static bool is_over(const struct worker *worker)
{
    const int64_t max = worker->options->max;
    return (worker->is_stopping || (max > 0 && worker->n_taken >= max)) &&
           count_jobs(worker, JOB_FREE) == worker->n_jobs;
}

/*
 * Signals come through a descriptor, so that none is lost between a look and a wait. Orphans of the
 * commands become our children: that is how a process group is known to be empty.
 */
static int open_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void report(const struct worker *worker)
{
    fprintf(stderr,
        "remotingctl: %" PRId64 " messages: %" PRIu64 " acknowledged, %" PRIu64
        " given back, %" PRIu64 " dead letters; %" PRIu64 " commands failed.\n",
        worker->n_taken, worker->n_settled[JOB_DONE],
        worker->n_settled[JOB_LATER] + worker->n_settled[JOB_AT_ONCE], worker->n_settled[JOB_DEAD],
        worker->n_failed);
}

enum exit_code worker_run(const struct worker_options *options)
{
    struct worker worker = {
        .options = options,
        .n_jobs = (size_t)options->n_places,
        .jobs = calloc((size_t)options->n_places, sizeof(*worker.jobs)),
        .signal_fd = open_signals(),
        .terms = {
            .lease_ms = options->source.invisible_ms,
            .retry_delay_ms = options->retry_delay_ms,
        },
    };
    enum exit_code exit_code = EXIT_CODE_NO_DAEMON;
    if (!worker.jobs || worker.signal_fd < 0) {
        fprintf(stderr, "remotingctl: the worker cannot start (%m).\n");
    } else {
        exit_code = command_connect(options->invocation, &worker.client);
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        while (!is_over(&worker)) {
            advance(&worker);
            wait_for_anything(&worker);
        }
        report(&worker);
        exit_code = worker.exit_code;
    }
    worker.client = remotingclient_free(worker.client);
    if (worker.signal_fd >= 0) {
        (void)close(worker.signal_fd);
    }
    free(worker.jobs);
    return exit_code;
}
