#include "client/shell.h"

#include <signal.h>
#include <spawn.h>
#include <unistd.h>

static int set_attributes(posix_spawnattr_t *attributes, bool has_own_group)
{
    sigset_t all;
    sigset_t none;
    sigfillset(&all);
    sigemptyset(&none);
    int r = posix_spawnattr_setsigdefault(attributes, &all);
    if (r == 0) {
        r = posix_spawnattr_setsigmask(attributes, &none);
    }
    const int flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                      (has_own_group ? POSIX_SPAWN_SETPGROUP : 0);
    return r == 0 ? posix_spawnattr_setflags(attributes, (short)flags) : r;
}

int shell_start(const struct shell_command *command, pid_t *ret_pid)
{
    /* Without the -- a command that begins with a dash would be an option of the shell's. */
    char *const arguments[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "--" },
        (char *)command->text, NULL };
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int r = posix_spawnattr_init(&attributes);
    if (r != 0) {
        return -r;
    }
    r = posix_spawn_file_actions_init(&actions);
    if (r == 0) {
        r = set_attributes(&attributes, command->has_own_group);
        if (r == 0 && command->stdin_fd >= 0) {
            r = posix_spawn_file_actions_adddup2(&actions, command->stdin_fd, STDIN_FILENO);
        }
        if (r == 0) {
            r = posix_spawn(
                ret_pid, "/bin/sh", &actions, &attributes, arguments, command->environment);
        }
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    (void)posix_spawnattr_destroy(&attributes);
    return -r;
}
