/*
 * Transaction
 *
 * A half message whose fate a shell command decides: while it runs, the broker's questions are answered
 * with "not known yet", and its exit code commits, rolls back, or leaves it undecided, so that the
 * broker asks the group again later. Each question brings a new receipt, by which alone the
 * transaction can be decided from then on (the broker writes the half message anew).
 */
#pragma once

#include "client/command.h"

/* sysexits.h, EX_TEMPFAIL: the command does not know yet. */
#define TRANSACTION_EXIT_UNDECIDED 75

/* The caller speaks for the group from now on: brokers ask it. Before the half message is sent. */
enum exit_code transaction_register(
    const struct invocation *invocation, struct remotingclient *client, const char *group);
/*
 * Runs the command after the half message was stored, and has the broker told, over this connection
 * or, where the daemon has closed it meanwhile, over another one. EXIT_CODE_SUCCESS: committed.
 */
enum exit_code transaction_decide(const struct invocation *invocation,
    struct remotingclient *client, const struct remotingclient_answer *half, const char *command);
