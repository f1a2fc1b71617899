#include "client/job.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/environment.h"
#include "client/output.h"
#include "client/shell.h"
#include "protocol/cleanup.h"

#define KILL_GRACE_MS 10000 /* from SIGTERM to SIGKILL */

#define PROPERTY_VARIABLE "MQ_PROPERTY_"

#define PLACE_SIZE 320 /* the name of a broker, and numbers */

struct job_batch {
    struct remotingclient_messages *messages;
    size_t n_users;
};

struct job_batch *job_batch_new(struct remotingclient_messages *messages)
{
    struct job_batch *batch = calloc(1, sizeof(*batch));
    if (!batch) {
        remotingclient_messages_free(messages);
        return NULL;
    }
    *batch = (struct job_batch){ .messages = messages, .n_users = 1 };
    return batch;
}

struct job_batch *job_batch_free(struct job_batch *batch)
{
    if (batch && --batch->n_users == 0) {
        remotingclient_messages_free(batch->messages);
        free(batch);
    }
    return NULL;
}

size_t job_batch_count(const struct job_batch *batch)
{
    return remotingclient_messages_count(batch->messages);
}

const struct remotingclient_message *job_batch_get(const struct job_batch *batch, size_t i)
{
    return remotingclient_messages_get(batch->messages, i);
}

static bool has_same_receipt(
    const struct remotingclient_message *a, const struct remotingclient_message *b)
{
    return a->receipt && b->receipt && strcmp(a->receipt, b->receipt) == 0;
}

size_t job_batch_group_end(const struct job_batch *batch, size_t i)
{
    size_t end = i + 1;
    while (end < job_batch_count(batch) &&
           has_same_receipt(job_batch_get(batch, i), job_batch_get(batch, end))) {
        end++;
    }
    return end;
}

static bool copy_text(char **text, const char *from)
{
    char *copy = strdup(from ? from : "");
    if (!copy) {
        return false;
    }
    free(*text);
    *text = copy;
    return true;
}

/* What the log calls it: its UNIQ_KEY or, sent by something that makes none, where it lies. */
static bool copy_message(struct job *job)
{
    const struct remotingclient_message *message = job_batch_get(job->batch, job->at);
    char place[PLACE_SIZE];
    (void)snprintf(place, sizeof(place), "%.255s queue %" PRId32 " offset %" PRId64,
        message->broker_name ? message->broker_name : "", message->queue_id, message->queue_offset);
    job->reconsume_times = message->reconsume_times;
    return copy_text(&job->message_id, message->uniq_key ? message->uniq_key : place);
}

bool job_take(struct job *job, struct job_batch *batch, size_t i, size_t end)
{
    batch->n_users++;
    *job = (struct job){
        .batch = batch,
        .at = i,
        .end = end,
        .signal_due_ms = JOB_NEVER_MS,
        .ask_due_ms = JOB_NEVER_MS,
    };
    if (copy_message(job) && copy_text(&job->receipt, job_batch_get(batch, i)->receipt)) {
        return true;
    }
    job_clear(job);
    return false;
}

void job_clear(struct job *job)
{
    (void)job_batch_free(job->batch);
    free(job->message_id);
    free(job->receipt);
    *job = (struct job){ .state = JOB_FREE };
}

bool job_renew(struct job *job, const char *receipt)
{
    return copy_text(&job->receipt, receipt);
}

/* --- what the command is given --- */

static bool is_name_byte(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte >= '0' && byte <= '9') || byte == '_';
}

/* False when the name is none of a variable's, and bytes of it had to be replaced. */
static bool write_variable_name(char *text, size_t size, struct remotingclient_text name)
{
    (void)snprintf(text, size, PROPERTY_VARIABLE "%.*s", (int)name.n, name.data);
    bool is_exact = true;
    for (char *at = text; *at; at++) {
        if (!is_name_byte(*at)) {
            *at = '_';
            is_exact = false;
        }
    }
    return is_exact;
}

/*
 * Two names may become the same variable: one that needs no replacement has it, else the first. So
 * those are set before the others.
 */
static void set_properties(struct environment *environment, const struct job *job, bool exact_names)
{
    char variable[sizeof(PROPERTY_VARIABLE) + INT16_MAX];
    struct remotingclient_text name = { NULL, 0 };
    struct remotingclient_text value;
    while (remotingclient_messages_next_property(
        job->batch->messages, job->at, name.data, &name, &value)) {
        if (write_variable_name(variable, sizeof(variable), name) != exact_names) {
            continue;
        }
        if (environment_has(environment, variable)) {
            environment->n_left_out++;
        } else {
            environment_set(environment, variable, (struct span){ value.data, value.n });
        }
    }
}

static void set_message(
    struct environment *environment, const struct job *job, const struct job_command *command)
{
    const struct remotingclient_message *message = job_batch_get(job->batch, job->at);
    environment_drop(environment, PROPERTY_VARIABLE);
    environment_set(environment, "MQ_TOPIC", span_of(message->topic));
    environment_set(environment, "MQ_GROUP", span_of(command->group));
    environment_set(environment, "MQ_MSG_ID", span_of(message->uniq_key));
    environment_set(environment, "MQ_KEYS", span_of(message->keys));
    environment_set(environment, "MQ_TAGS", span_of(message->tags));
    environment_set_number(environment, "MQ_RECONSUME_TIMES", message->reconsume_times);
    environment_set_number(environment, "MQ_BORN_TIMESTAMP", message->born_timestamp_ms);
    environment_set(environment, "MQ_BROKER", span_of(message->broker_name));
    environment_set_number(environment, "MQ_QUEUE_ID", message->queue_id);
    environment_set_number(environment, "MQ_QUEUE_OFFSET", message->queue_offset);
    const char *traceparent =
        remotingclient_messages_property(job->batch->messages, job->at, "traceparent");
    environment_set(environment, "TRACEPARENT", span_of(traceparent));
    /* There is room for the count, however many properties there are. */
    environment_set_number(environment, "MQ_LEFT_OUT", INT64_MAX);
    set_properties(environment, job, true);
    set_properties(environment, job, false);
    environment_set_number(environment, "MQ_LEFT_OUT", (long long)environment->n_left_out);
}

/* A file without a name: the command may read it, or not, without anybody waiting for it. */
static int body_open(const struct remotingclient_message *message)
{
    const int fd = memfd_create("message", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    for (size_t at = 0; at < message->n_body;) {
        const ssize_t n = write(fd, message->body + at, message->n_body - at);
        if (n < 0 && errno != EINTR) {
            const int error = errno;
            (void)close(fd);
            return -error;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

int job_start(struct job *job, const struct job_command *command, uint64_t now_ms)
{
    const struct remotingclient_message *message = job_batch_get(job->batch, job->at);
    const int fd = body_open(message);
    if (fd < 0) {
        return fd;
    }
    struct environment environment;
    int r = environment_init(&environment);
    if (r == 0) {
        set_message(&environment, job, command);
        const struct shell_command shell = {
            .text = command->text,
            .environment = environment.variables,
            .stdin_fd = fd,
            .has_own_group = true,
        };
        r = shell_start(&shell, &job->pid);
        environment_deinit(&environment);
    }
    (void)close(fd);
    if (r < 0) {
        return r;
    }
    job->has_exited = false;
    job->started_ms = now_ms;
    job->signal_due_ms =
        command->time_limit_ms > 0 ? now_ms + (uint64_t)command->time_limit_ms : JOB_NEVER_MS;
    if (job->at + 1 == job->end) {
        job->batch = job_batch_free(job->batch);
    }
    return 0;
}

/* --- how it ends --- */

void job_on_exit(struct job *job, int status)
{
    job->has_exited = true;
    job->status = status;
}

/* Of its group those are counted that are our children: orphans become so (see worker.c). */
static bool has_group(const struct job *job)
{
    siginfo_t info;
    return waitid(P_PGID, (id_t)job->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void job_signal(const struct job *job, int signal_number)
{
    /* As long as there is somebody in the group nobody else can have its number. */
    if (job->pid > 0 && has_group(job)) {
        (void)kill(-job->pid, signal_number);
    }
}

void job_tick(struct job *job, uint64_t now_ms)
{
    if (job->state != JOB_RUNNING || now_ms < job->signal_due_ms) {
        return;
    }
    job_signal(job, job->is_over_time ? SIGKILL : SIGTERM);
    job->signal_due_ms = job->is_over_time ? JOB_NEVER_MS : now_ms + KILL_GRACE_MS;
    job->is_over_time = true;
}

bool job_is_over(const struct job *job)
{
    return job->has_exited && !(job->is_over_time && has_group(job));
}

bool job_next(struct job *job)
{
    if (job->at + 1 >= job->end) {
        return false;
    }
    job->at++;
    (void)copy_message(job); /* without memory the log goes on with the id before */
    return true;
}

enum job_verdict job_judge(const struct job *job)
{
    if (job->is_over_time || !WIFEXITED(job->status)) {
        return JOB_LATER;
    }
    switch (WEXITSTATUS(job->status)) {
    case 0:
        return JOB_DONE;
    case JOB_EXIT_DEAD:
        return JOB_DEAD;
    case JOB_EXIT_NOT_EXECUTABLE:
    case JOB_EXIT_NOT_FOUND:
        return JOB_AT_ONCE;
    default:
        return JOB_LATER;
    }
}

bool job_has_failed(const struct job *job)
{
    const enum job_verdict verdict = job_judge(job);
    const bool is_meant = WIFEXITED(job->status) && WEXITSTATUS(job->status) == JOB_EXIT_LATER;
    return verdict == JOB_AT_ONCE || (verdict == JOB_LATER && (job->is_over_time || !is_meant));
}

void job_end_text(const struct job *job, uint64_t now_ms, char ret_text[JOB_END_TEXT_SIZE])
{
    const uint64_t took_ms = now_ms - job->started_ms;
    if (job->is_over_time) {
        (void)snprintf(ret_text, JOB_END_TEXT_SIZE,
            "was ended after %" PRIu64 " ms, by the time limit", took_ms);
    } else if (WIFSIGNALED(job->status)) {
        (void)snprintf(ret_text, JOB_END_TEXT_SIZE,
            "was killed by signal %d (%.20s) after %" PRIu64 " ms", WTERMSIG(job->status),
            strsignal(WTERMSIG(job->status)), took_ms);
    } else {
        (void)snprintf(ret_text, JOB_END_TEXT_SIZE, "exited with %d after %" PRIu64 " ms",
            WEXITSTATUS(job->status), took_ms);
    }
}

void job_begin_line(const struct job *job)
{
    /* Ids come from others, as bodies do. */
    fputs("remotingctl: message ", stderr);
    output_text(stderr, span_of(job->message_id), OUTPUT_ONE_LINE);
    if (job->reconsume_times > 0) {
        fprintf(stderr, " (given %" PRId32 " times before)", job->reconsume_times);
    }
    fputs(": ", stderr);
}

bool job_begin_doubt(struct job *job)
{
    const bool is_new = !job->is_doubt_told;
    job->is_doubt_told = true;
    if (is_new) {
        job_begin_line(job);
    }
    return is_new;
}
