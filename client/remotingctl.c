/*
 * remotingctl
 *
 * The command line of remotingd: finds the command and runs it. Exit codes are a promise to
 * scripts; --help lists them.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/command.h"
#include "client/completion.h"
#include "client/output.h"

const struct command *const commands[] = {
    &command_status,
    &command_health,
    &command_show,
    &command_errors,
    &command_events,
    &command_tap,
    &command_top,
    &command_send,
    &command_receive,
    &command_peek,
    &command_offsets,
    &command_dlq,
    &command_explain,
    &command_route,
    &command_bench,
    &command_invoke,
    &command_ping,
    &command_reachable,
    &command_close,
    &command_reconnect,
    &command_kill_session,
    &command_nameservers,
    &command_reload,
    &command_log_level,
    &command_drain,
};
const size_t n_commands = sizeof(commands) / sizeof(commands[0]);

static const char help[] =
    "remotingctl [OPTIONS] COMMAND ...\n"
    "\n"
    "Sends RocketMQ commands through remotingd, the daemon of this host, and shows and steers it.\n"
    "\n"
    "Commands (remotingctl COMMAND --help tells more):\n"
    "\f"
    "\n"
    "Options of every command, anywhere behind its name:\n"
    "  --socket PATH   the daemon's socket; default: $REMOTINGD_SOCKET, or\n"
    "                  " REMOTINGCLIENT_SOCKET "\n"
    "  --json          output for programs: one JSON value a line\n"
    "  --help          this text, or that of the command\n"
    "  --version       the version of remotingctl\n"
    "\n"
    "Exit codes:\n"
    "  0  success\n"
    "  1  the broker or nameserver answered with an error (or the output cannot be written)\n"
    "  2  wrong usage, or input that does not fit a frame\n"
    "  3  the daemon refused, or could not deliver; the message says whether it was sent\n"
    "     (reachable: an address is not)\n"
    "  4  no messages\n"
    "  5  no daemon at the socket, no answer from it, or none that can be understood\n"
    "     (receive --follow: the daemon stopped)\n"
    "  6  the command of send --transaction rolled the message back; 7 left it undecided\n"
    "  8  the command of receive --exec cannot be run\n"
    "  9  send: what was not delivered is in a file; 10 some of it may have been stored\n"
    "  health has its own: 0 healthy, 1 degraded, 2 down or not there\n"
    "\n"
    "Durations are a number and its unit: 500ms, 5s, 2min.\n"
    "\n"
    "Examples:\n"
    "  remotingctl status\n"
    "  remotingctl send orders 'hello, world' --key order-17\n"
    "  remotingctl receive orders billing --follow\n"
    "  remotingctl receive orders billing --exec ./book -j 4\n"
    "  remotingctl route orders\n"
    "  remotingctl invoke GET_MAX_OFFSET topic=orders queueId=0 --broker broker-a\n";

/* "send, receive, peek" */
static const char *command_names(void)
{
    static char names[512];
    size_t n = 0;
    for (size_t i = 0; i < n_commands && n < sizeof(names); i++) {
        n += (size_t)snprintf(
            names + n, sizeof(names) - n, "%s%s", i > 0 ? ", " : "", commands[i]->name);
    }
    return names;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < n_commands; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct command overall = { .help = help, .options = global_options };

    /*
     * A reader that went away ends us as it ends any filter, also under a parent that ignores
     * SIGPIPE.
     */
    signal(SIGPIPE, SIG_DFL);

    /* For the shells alone, and therefore not in the help. */
    if (argc > 1 && strcmp(argv[1], "--complete") == 0) {
        completion_print(argc - 2, argv + 2);
        return output_flush() ? EXIT_CODE_SUCCESS : EXIT_CODE_BROKER;
    }

    struct invocation invocation = {
        .command = &overall,
        .argc = argc,
        .argv = argv,
        .socket_path = remotingclient_default_socket(),
    };
    (void)command_next_option(&invocation);
    if (optind >= argc) {
        usage_error(&invocation, "a command is missing: %s", command_names());
    }
    invocation.argc -= optind;
    invocation.argv += optind;
    const struct command *found = command_find(invocation.argv[0]);
    if (!found) {
        usage_error(
            &invocation, "there is no command '%s': %s", invocation.argv[0], command_names());
    }
    invocation.command = found;
    optind = 0; /* glibc's getopt starts anew */

    const enum exit_code exit_code = invocation.command->run(&invocation);
    if (!output_flush() && exit_code == EXIT_CODE_SUCCESS) {
        return EXIT_CODE_BROKER;
    }
    return (int)exit_code;
}
