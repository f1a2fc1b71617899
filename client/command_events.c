#include "client/command.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "client/output.h"
#include "protocol/code.h"

static const char help[] =
    "remotingctl events [--follow]\n"
    "\n"
    "Waits for something to happen to the daemon's connections to nameservers and brokers, and\n"
    "prints it: when (UTC), the event, the address, the number of the connection as in the\n"
    "daemon's log, and the cause.\n"
    "\n"
    "  CONNECTED      it was made\n"
    "  DISCONNECTED   it was closed, by the other side or on purpose\n"
    "  EXCEPTION      it could not be made, broke, or was given up\n"
    "  IDLE           it was closed because nobody used it\n"
    "\n"
    "Who does not read fast enough loses events; the next one says how many.\n"
    "\n"
    "  --follow        go on until interrupted; default: end after the first one\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl events --follow\n"
    "  remotingctl events --follow --json | jq -r 'select(.event != \"IDLE\") | .addr'\n";

enum { OPTION_FOLLOW = OPTION_OWN };

/* "2026-01-31T12:00:00.123Z" */
static void write_time(char *text, size_t size)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    const size_t n = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + n, size - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

static void print_event(
    const struct invocation *invocation, const struct remotingclient_answer *request)
{
    char now[40];
    write_time(now, sizeof(now));
    const struct span event = answer_field(request, "event");
    const struct span addr = answer_field(request, "addr");
    const struct span connection = answer_field(request, "connection");
    const struct span cause = answer_field(request, "cause");
    const struct span dropped = answer_field(request, "dropped");
    if (invocation->json) {
        output_json(json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "time", now, "event",
            json_text(event), "addr", json_text(addr), "connection",
            json_number_or_text(connection), "cause", json_text(cause), "dropped",
            span_is_empty(dropped) ? json_integer(0) : json_number_or_text(dropped)));
        return;
    }
    if (!span_is_empty(dropped)) {
        fputs("# ", stdout);
        output_text(stdout, dropped, OUTPUT_ONE_LINE);
        fputs(" events before this one were lost\n", stdout);
    }
    printf("%s  %-12.*s  ", now, SPAN_ARGS(event));
    output_text(stdout, addr, OUTPUT_ONE_LINE);
    fputs("  ", stdout);
    output_text(stdout, connection, OUTPUT_ONE_LINE);
    if (!span_is_empty(cause)) {
        fputs("  ", stdout);
        output_text(stdout, cause, OUTPUT_ONE_LINE);
    }
    fputc('\n', stdout);
}

static enum exit_code follow(
    const struct invocation *invocation, struct remotingclient *client, bool goes_on)
{
    do {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *request = NULL;
        const int r = remotingclient_receive(client, &request);
        if (r == -ECONNRESET) {
            fprintf(stderr, "remotingctl: the daemon at %s closed the connection.\n",
                invocation->socket_path);
            return EXIT_CODE_NO_DAEMON;
        }
        if (r < 0) {
            return command_report_broken(invocation, client, r);
        }
        if (remotingclient_answer_code(request) != SIDECAR_SUBSCRIBE_NET_EVENTS) {
            continue;
        }
        print_event(invocation, request);
        if (!output_flush()) {
            return EXIT_CODE_BROKER;
        }
    } while (goes_on);
    return EXIT_CODE_SUCCESS;
}

static enum exit_code run_events(struct invocation *invocation)
{
    bool goes_on = false;
    while (command_next_option(invocation) == OPTION_FOLLOW) {
        goes_on = true;
    }
    command_count_operands(invocation, 0, 0);

    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request =
        remotingclient_request_new(SIDECAR_SUBSCRIBE_NET_EVENTS);
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_invoke_request(invocation, client, request, &answer);
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_judge(answer);
    }
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    /* Events come from the answer on. */
    remotingclient_accept_requests(client);
    return follow(invocation, client, goes_on);
}

static const struct option events_options[] = {
    GLOBAL_OPTIONS,
    { "follow", no_argument, NULL, OPTION_FOLLOW },
    { 0 },
};

const struct command command_events = {
    .name = "events",
    .synopsis = "events [--follow]",
    .summary = "what happens to its connections, as it happens",
    .help = help,
    .options = events_options,
    .run = run_events,
};
