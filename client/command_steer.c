/* Commands that steer the daemon while it runs: connections anew, a caller ended, the log's level. */
#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/output.h"
#include "protocol/code.h"

#define ADDRESSES_MAX IN_FLIGHT_MAX

static const char reconnect_help[] =
    "remotingctl reconnect [ADDR ...]\n"
    "\n"
    "Has the daemon make its connections to these addresses (HOST:PORT) anew, or all of them: the\n"
    "old ones take no new requests and close when what is in flight on them is answered, and new\n"
    "ones are tried for at once, also to addresses that wait in their backoff. Prints how many "
    "old\n"
    "ones there were. Connections that brokers know a client by stay. Needs the admin role.\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl reconnect\n"
    "  remotingctl reconnect 10.0.0.7:10911\n";

static const char kill_session_help[] =
    "remotingctl kill-session SESSION\n"
    "\n"
    "Has the daemon end the connection of a caller, by its number in remotingctl show sessions.\n"
    "What the caller has in flight is not answered any more. Needs the admin role.\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl kill-session 42\n";

static const char log_level_help[] =
    "remotingctl log-level error|warning|info|debug\n"
    "\n"
    "Sets the least weighty line that the daemon logs, until it is started anew. Prints the level\n"
    "before. Needs the admin role.\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl log-level debug\n"
    "  remotingctl log-level info\n";

static enum exit_code run_reconnect(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    const int n = command_count_operands(invocation, 0, ADDRESSES_MAX);
    char *text = NULL;
    size_t i;
    const json_t *row;
    CLEANUP(json_decref) json_t *body = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_RECONNECT);
    if (n > 0) {
        text = request_set_addresses(request, invocation->argv + optind, n);
    }
    const enum exit_code exit_code = command_ask(invocation, request, &body);
    free(text);
    json_array_foreach(json_object_get(body, "reconnected"), i, row)
    {
        output_text(stdout, json_object_text(row, "addr"), OUTPUT_ONE_LINE);
        printf("  %" JSON_INTEGER_FORMAT "\n",
            json_integer_value(json_object_get(row, "connections")));
    }
    return exit_code;
}

const struct command command_reconnect = {
    .name = "reconnect",
    .synopsis = "reconnect [ADDR ...]",
    .summary = "make its connections anew",
    .help = reconnect_help,
    .options = global_options,
    .run = run_reconnect,
};

static enum exit_code run_kill_session(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    command_count_operands(invocation, 1, 1);
    const int64_t session = option_count(invocation, "SESSION", invocation->argv[optind]);
    CLEANUP(json_decref) json_t *body = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_KILL_SESSION);
    remotingclient_request_add_number(request, "session", session);
    const enum exit_code exit_code = command_ask(invocation, request, &body);
    if (body) {
        fputs("ended: ", stdout);
        output_text(stdout, json_object_text(body, "caller"), OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
    return exit_code;
}

const struct command command_kill_session = {
    .name = "kill-session",
    .synopsis = "kill-session SESSION",
    .summary = "end a caller's connection",
    .help = kill_session_help,
    .options = global_options,
    .run = run_kill_session,
};

static const char *const log_levels[] = { "error", "warning", "info", "debug", NULL };

static enum exit_code run_log_level(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    command_count_operands(invocation, 1, 1);
    CLEANUP(json_decref) json_t *body = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_SET_LOG_LEVEL);
    remotingclient_request_add(request, "level", invocation->argv[optind]);
    const enum exit_code exit_code = command_ask(invocation, request, &body);
    if (body) {
        output_text(stdout, json_object_text(body, "level"), OUTPUT_ONE_LINE);
        fputs(" (was ", stdout);
        output_text(stdout, json_object_text(body, "before"), OUTPUT_ONE_LINE);
        fputs(")\n", stdout);
    }
    return exit_code;
}

const struct command command_log_level = {
    .name = "log-level",
    .synopsis = "log-level LEVEL",
    .summary = "what it logs: error, warning, info or debug",
    .help = log_level_help,
    .options = global_options,
    .words = log_levels,
    .run = run_log_level,
};
