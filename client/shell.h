/*
 * Shell
 *
 * Starts the commands that users give: /bin/sh -c COMMAND. Whatever signals are blocked, ignored or
 * caught here, the command finds all of them at their defaults; of our descriptors it gets none but
 * the first three.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct shell_command {
    const char *text;
    char *const *environment;
    int stdin_fd; /* -1: ours */
    bool
        has_own_group; /* it leads a process group, by which it can be signalled with all it starts */
};

/* 0 or a negative errno: it was not started. */
int shell_start(const struct shell_command *command, pid_t *ret_pid);
