#include "client/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "client/output.h"
#include "client/subscription.h"
#include "client/table.h"
#include "protocol/code.h"

static const char events_help[] =
    "remotingctl events [--follow]\n"
    "\n"
    "Waits for something to happen, and prints it: when (UTC), the event, the address or what "
    "else\n"
    "it is about, the number of the connection as in the daemon's log, and the cause.\n"
    "\n"
    "  CONNECTED      a connection was made\n"
    "  DISCONNECTED   it was closed, by the other side or on purpose\n"
    "  EXCEPTION      it could not be made, broke, or was given up\n"
    "  IDLE           it was closed because nobody used it\n"
    "  OUT_OF_USE, IN_USE                        an address whose backoff began, or ended\n"
    "  NAMESERVERS_SILENT, NAMESERVERS_ANSWER    none answers; one answers again\n"
    "  HEALTH, DRAIN                             the state of the daemon\n"
    "  ROUTE_LOST, FAILURE, SESSION, COMMAND     for the admin role: topics that are gone, what\n"
    "                 callers were told, callers refused or cut off, commands of operators\n"
    "\n"
    "Who does not read fast enough loses events; the next one says how many. What happened before\n"
    "is shown by remotingctl errors.\n"
    "\n"
    "  --follow        go on until interrupted; default: end after the first one\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl events --follow\n"
    "  remotingctl events --follow --json | jq -r 'select(.event != \"IDLE\") | .addr'\n";

static const char errors_help[] =
    "remotingctl errors [--all]\n"
    "\n"
    "Prints what went wrong lately: connections, addresses out of use, routes that were lost,\n"
    "callers refused or cut off, failures that callers were told. The daemon keeps the last 512\n"
    "events, and 20 of a kind in a second; the last line says how many there were besides.\n"
    "Without the admin role: what names no callers.\n"
    "\n"
    "  --all           what is no error, too\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl errors | tail\n"
    "  remotingctl errors --json | jq -r '.events[] | select(.event == \"FAILURE\") | .cause'\n";

enum {
    OPTION_FOLLOW = OPTION_OWN,
    OPTION_ALL,
};

static int64_t wall_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print_event(
    const struct invocation *invocation, const struct remotingclient_answer *request)
{
    char now[UTC_TEXT_SIZE];
    utc_text(wall_clock_ms(), now);
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
    if (!span_equals(connection, SPAN("0"))) {
        fputs("  ", stdout);
        output_text(stdout, connection, OUTPUT_ONE_LINE);
    }
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
        const enum exit_code exit_code =
            subscription_next(invocation, client, SIDECAR_SUBSCRIBE_NET_EVENTS, &request);
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
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
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request =
        remotingclient_request_new(SIDECAR_SUBSCRIBE_NET_EVENTS);
    remotingclient_request_add(request, "all", "true");
    const enum exit_code exit_code = subscription_open(invocation, request, &client);
    return exit_code == EXIT_CODE_SUCCESS ? follow(invocation, client, goes_on) : exit_code;
}

static const struct option events_options[] = {
    GLOBAL_OPTIONS,
    { "follow", no_argument, NULL, OPTION_FOLLOW },
    { 0 },
};

const struct command command_events = {
    .name = "events",
    .synopsis = "events [--follow]",
    .summary = "what happens, as it happens",
    .help = events_help,
    .options = events_options,
    .run = run_events,
};

/* --- what happened before --- */

static bool print_kept(const json_t *body)
{
    static const struct table_column columns[] = {
        { "TIME", false },
        { "EVENT", false },
        { "ABOUT", false },
        { "CAUSE", false },
    };
    struct table table;
    char time[UTC_TEXT_SIZE];
    size_t i;
    const json_t *row;
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(json_object_get(body, "events"), i, row)
    {
        utc_text(json_object_number(row, "timeMillis"), time);
        table_add(&table, span_of(time));
        table_add(&table, json_object_text(row, "event"));
        table_add(&table, json_object_text(row, "subject"));
        table_add(&table, json_object_text(row, "cause"));
    }
    const bool is_printed = table_print(&table);
    table_deinit(&table);
    const int64_t n_lost = json_integer_value(json_object_get(body, "overwritten")) +
                           json_integer_value(json_object_get(body, "leftOut"));
    if (n_lost > 0) {
        printf("# %" PRId64 " more events are not kept\n", n_lost);
    }
    return is_printed;
}

static enum exit_code run_errors(struct invocation *invocation)
{
    bool wants_all = false;
    while (command_next_option(invocation) == OPTION_ALL) {
        wants_all = true;
    }
    command_count_operands(invocation, 0, 0);
    CLEANUP(json_decref) json_t *body = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_GET_EVENTS);
    remotingclient_request_add(request, "errors", wants_all ? "false" : "true");
    const enum exit_code exit_code = command_ask(invocation, request, &body);
    return body && !print_kept(body) ? EXIT_CODE_BROKER : exit_code;
}

static const struct option errors_options[] = {
    GLOBAL_OPTIONS,
    { "all", no_argument, NULL, OPTION_ALL },
    { 0 },
};

const struct command command_errors = {
    .name = "errors",
    .synopsis = "errors [--all]",
    .summary = "what went wrong lately",
    .help = errors_help,
    .options = errors_options,
    .run = run_errors,
};
