#include "client/transaction.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/environment.h"
#include "client/output.h"
#include "client/shell.h"
#include "protocol/code.h"

/* MessageSysFlag.java */
#define NOT_KNOWN_YET 0
#define COMMIT        8
#define ROLL_BACK     12

struct transaction {
    const struct invocation *invocation;
    struct remotingclient *client; /* NULL: it is of no use any more */
    const char *uniq_key;
    char *receipt; /* the newest */
};

enum exit_code transaction_register(
    const struct invocation *invocation, struct remotingclient *client, const char *group)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_REGISTER_PROCESSOR);
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    remotingclient_request_add_number(request, "codes", REQUEST_CHECK_TRANSACTION_STATE);
    remotingclient_request_add(request, "groups", group);
    command_check_request(invocation, request);
    remotingclient_accept_requests(client);
    const enum exit_code exit_code = command_invoke_request(invocation, client, request, &answer);
    return exit_code == EXIT_CODE_SUCCESS ? command_judge(answer) : exit_code;
}

static struct remotingclient_request *decision_new(
    const struct transaction *transaction, int decision)
{
    struct remotingclient_request *request = remotingclient_request_new(REQUEST_END_TRANSACTION);
    remotingclient_request_add(request, "sidecar.receipt", transaction->receipt);
    remotingclient_request_add_number(request, "commitOrRollback", decision);
    return request;
}

/* A question about this transaction: its receipt is the one from now on. */
static void take_question(
    struct transaction *transaction, const struct remotingclient_answer *question)
{
    const char *receipt = remotingclient_answer_field(question, "sidecar.receipt");
    if (remotingclient_answer_code(question) != REQUEST_CHECK_TRANSACTION_STATE || !receipt ||
        !span_equals_text(answer_field(question, "msgId"), transaction->uniq_key)) {
        return; /* another one of the group: the broker asks somebody else, or again */
    }
    char *copy = strdup(receipt);
    if (copy) {
        free(transaction->receipt);
        transaction->receipt = copy;
    }
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *answer = decision_new(transaction, NOT_KNOWN_YET);
    (void)remotingclient_send(transaction->client, answer, 0, NULL);
}

static void take_questions(struct transaction *transaction)
{
    (void)remotingclient_step(transaction->client);
    for (;;) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        const int r = remotingclient_take(transaction->client, &answer);
        if (r < 0) {
            if (r != -EAGAIN) {
                transaction->client = NULL; /* what is decided goes another way */
            }
            return;
        }
        if (remotingclient_answer_is_request(answer)) {
            take_question(transaction, answer);
        }
    }
}

/* 0 or a negative errno: it was not started. */
static int command_start(const struct transaction *transaction, const char *text, pid_t *ret_pid)
{
    struct environment environment;
    int r = environment_init(&environment);
    if (r < 0) {
        return r;
    }
    environment_set(&environment, "REMOTINGCTL_UNIQ_KEY", span_of(transaction->uniq_key));
    const struct shell_command command = {
        .text = text,
        .environment = environment.variables,
        .stdin_fd = -1,
    };
    r = shell_start(&command, ret_pid);
    environment_deinit(&environment);
    return r;
}

/* The wait status of the command, or a negative errno: it could not be waited for. */
static int command_wait(struct transaction *transaction, pid_t pid)
{
    int status = 0;
    const int pid_fd = pidfd_open(pid, 0);
    bool is_over = pid_fd < 0; /* without it nobody listens to questions meanwhile */
    while (!is_over) {
        struct pollfd fds[2] = { { .fd = pid_fd, .events = POLLIN }, { .fd = -1 } };
        int timeout_ms = -1;
        if (transaction->client) {
            fds[1].fd = remotingclient_fd(transaction->client);
            fds[1].events = remotingclient_events(transaction->client);
            timeout_ms = remotingclient_timeout_ms(transaction->client);
        }
        if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR) {
            break;
        }
        is_over = fds[0].revents != 0;
        if (transaction->client) {
            take_questions(transaction);
        }
    }
    if (pid_fd >= 0) {
        (void)close(pid_fd);
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return status;
}

static void say(const struct transaction *transaction, const char *outcome)
{
    if (transaction->invocation->json) {
        json_t *json = json_object();
        json_object_set_new(json, "uniqKey", json_text(span_of(transaction->uniq_key)));
        json_object_set_new(json, "transaction", json_string(outcome));
        output_json(json);
    } else {
        puts(outcome);
    }
}

static enum exit_code decision_send(struct transaction *transaction, int decision)
{
    CLEANUP(remotingclient_free) struct remotingclient *another = NULL;
    enum exit_code exit_code = EXIT_CODE_SUCCESS;
    if (!transaction->client) {
        exit_code = command_connect(transaction->invocation, &another);
        transaction->client = another;
    }
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = decision_new(transaction, decision);
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    exit_code =
        command_invoke_request(transaction->invocation, transaction->client, request, &answer);
    return exit_code == EXIT_CODE_SUCCESS ? command_judge(answer) : exit_code;
}

static enum exit_code finish(struct transaction *transaction, int status)
{
    const bool has_exited = status >= 0 && WIFEXITED(status);
    if (!has_exited || WEXITSTATUS(status) == TRANSACTION_EXIT_UNDECIDED) {
        say(transaction, "undecided");
        fputs("remotingctl: the command did not decide: brokers go on asking the group.\n", stderr);
        return EXIT_CODE_UNDECIDED;
    }
    const bool commits = WEXITSTATUS(status) == 0;
    const enum exit_code exit_code = decision_send(transaction, commits ? COMMIT : ROLL_BACK);
    if (exit_code != EXIT_CODE_SUCCESS) {
        fprintf(stderr,
            "remotingctl: to %s the transaction failed: brokers go on asking the group.\n",
            commits ? "commit" : "roll back");
        return exit_code;
    }
    say(transaction, commits ? "committed" : "rolled-back");
    return commits ? EXIT_CODE_SUCCESS : EXIT_CODE_ROLLED_BACK;
}

enum exit_code transaction_decide(const struct invocation *invocation,
    struct remotingclient *client, const struct remotingclient_answer *half, const char *command)
{
    const char *receipt = remotingclient_answer_field(half, "sidecar.receipt");
    const char *uniq_key = remotingclient_answer_field(half, "sidecar.uniqKey");
    struct transaction transaction = {
        .invocation = invocation,
        .client = client,
        .uniq_key = uniq_key ? uniq_key : "",
        .receipt = receipt ? strdup(receipt) : NULL,
    };
    if (!transaction.receipt) {
        fputs("remotingctl: the half message has no receipt: it stays undecided.\n", stderr);
        return EXIT_CODE_UNDECIDED;
    }
    (void)fflush(stdout); /* what it says comes before what the command says */
    pid_t pid;
    int status = command_start(&transaction, command, &pid);
    if (status == 0) {
        status = command_wait(&transaction, pid);
    }
    const enum exit_code exit_code = finish(&transaction, status);
    free(transaction.receipt);
    return exit_code;
}
