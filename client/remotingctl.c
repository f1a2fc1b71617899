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
#include "client/output.h"

static const struct command *const commands[] = {
    &command_send,
    &command_receive,
    &command_peek,
    &command_offsets,
    &command_route,
    &command_bench,
    &command_invoke,
    &command_ping,
    &command_show,
    &command_events,
    &command_reachable,
    &command_close,
    &command_nameservers,
    &command_reload,
    &command_drain,
};
#define COMMAND_NAMES                                                                              \
    "send, receive, peek, offsets, route, bench, invoke, ping, show, events, reachable, close, "   \
    "nameservers, reload, drain"
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char help[] =
    "remotingctl [OPTIONS] COMMAND ...\n"
    "\n"
    "Sends RocketMQ commands through remotingd, the daemon of this host.\n"
    "\n"
    "Commands (remotingctl COMMAND --help tells more):\n"
    "  send TOPIC [BODY]             send a message, or one for each line of the input\n"
    "  receive TOPIC GROUP           print messages, then acknowledge them\n"
    "  peek TOPIC                    show messages by offset, and take nothing\n"
    "  offsets TOPIC [GROUP]         where its queues begin and end, and a group's lag\n"
    "  route TOPIC                   which brokers hold a topic\n"
    "  bench send|receive TOPIC      how many messages a second, and how fast\n"
    "  invoke CODE [KEY=VALUE ...]   any command of RocketMQ or of the daemon\n"
    "  ping                          is the daemon there, and how far away\n"
    "  show WHAT                     the daemon's nameservers, pools, hooks or stats\n"
    "  events                        what happens to its connections, as it happens\n"
    "  reachable ADDR ...            do nameservers and brokers answer it\n"
    "  close ADDR ...                drain its connections to them, then close them\n"
    "  nameservers set ADDR ...      replace its list of nameservers\n"
    "  reload                        have it read its configuration again\n"
    "  drain                         stop it when all that is in flight is answered\n"
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
    "\n"
    "Durations are a number and its unit: 500ms, 5s, 2min.\n"
    "\n"
    "Examples:\n"
    "  remotingctl ping\n"
    "  remotingctl send orders 'hello, world' --key order-17\n"
    "  remotingctl receive orders billing --follow\n"
    "  remotingctl route orders\n"
    "  remotingctl invoke GET_MAX_OFFSET topic=orders queueId=0 --broker broker-a\n";

static const struct command *find_command(const struct invocation *invocation, const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    usage_error(invocation, "there is no command '%s': " COMMAND_NAMES, name);
}

int main(int argc, char **argv)
{
    static const struct command overall = { .help = help };
    static const struct option options[] = { GLOBAL_OPTIONS, { 0 } };

    /*
     * A reader that went away ends us as it ends any filter, also under a parent that ignores
     * SIGPIPE.
     */
    signal(SIGPIPE, SIG_DFL);

    struct invocation invocation = {
        .command = &overall,
        .argc = argc,
        .argv = argv,
        .socket_path = remotingclient_default_socket(),
    };
    (void)command_next_option(&invocation, "+:", options);
    if (optind >= argc) {
        usage_error(&invocation, "a command is missing: " COMMAND_NAMES);
    }
    invocation.argc -= optind;
    invocation.argv += optind;
    invocation.command = find_command(&invocation, invocation.argv[0]);
    optind = 0; /* glibc's getopt starts anew */

    const enum exit_code exit_code = invocation.command->run(&invocation);
    if (!output_flush() && exit_code == EXIT_CODE_SUCCESS) {
        return EXIT_CODE_BROKER;
    }
    return (int)exit_code;
}
