/* How the daemon is: on one screen for people, and as an exit code for scripts. */
#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/output.h"
#include "protocol/code.h"

/* The exit codes of health. */
enum health_code {
    HEALTH_CODE_HEALTHY = 0,
    HEALTH_CODE_DEGRADED = 1,
    HEALTH_CODE_DOWN = 2,
};

static const char status_help[] =
    "remotingctl status\n"
    "\n"
    "Prints how the daemon is, on one screen: its state with the reason and the first command to\n"
    "type, nameservers, brokers, connections, callers, requests, failures by cause, memory.\n"
    "Numbers in brackets are of the last minute.\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl status\n"
    "  watch remotingctl status\n"
    "  remotingctl status --json | jq .failures.byCause\n";

static const char health_help[] =
    "remotingctl health\n"
    "\n"
    "Says whether the daemon is healthy, degraded or down, and where it is not, why, and the "
    "first\n"
    "command to type. OPERATING.md has the table of all reasons.\n"
    "\n"
    "Exit codes: 0 healthy, 1 degraded, 2 down, or there is no daemon.\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl health\n"
    "  remotingctl health > /dev/null || echo look\n";

static enum health_code health_code_of(struct span state)
{
    if (span_equals(state, SPAN("healthy"))) {
        return HEALTH_CODE_HEALTHY;
    }
    return span_equals(state, SPAN("degraded")) ? HEALTH_CODE_DEGRADED : HEALTH_CODE_DOWN;
}

static void print_state(const json_t *status)
{
    static const enum output_colour colours[] = {
        [HEALTH_CODE_HEALTHY] = OUTPUT_GREEN,
        [HEALTH_CODE_DEGRADED] = OUTPUT_YELLOW,
        [HEALTH_CODE_DOWN] = OUTPUT_RED,
    };
    static const char *const words[] = {
        [HEALTH_CODE_HEALTHY] = "healthy",
        [HEALTH_CODE_DEGRADED] = "degraded",
        [HEALTH_CODE_DOWN] = "down",
    };
    const enum health_code code = health_code_of(json_object_text(status, "state"));
    output_word(words[code], colours[code]);
}

/* Every reason, the worst first, each with what to type. */
static void print_conditions(const json_t *status, const char *indent)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(status, "conditions"), i, row)
    {
        fputs(indent, stdout);
        output_text(stdout, json_object_text(row, "reason"), OUTPUT_ONE_LINE);
        printf("\n%stry: ", indent);
        output_text(stdout, json_object_text(row, "command"), OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
}

/* "3d 4h", "5min 6s": the two largest units. */
static void print_duration(int64_t ms)
{
    const int64_t s = ms / 1000;
    if (s >= 86400) {
        printf("%" PRId64 "d %" PRId64 "h", s / 86400, s % 86400 / 3600);
    } else if (s >= 3600) {
        printf("%" PRId64 "h %" PRId64 "min", s / 3600, s % 3600 / 60);
    } else if (s >= 60) {
        printf("%" PRId64 "min %" PRId64 "s", s / 60, s % 60);
    } else {
        printf("%" PRId64 "s", s);
    }
}

static double mib(const json_t *object, const char *key)
{
    return (double)json_object_number(object, key) / (1024.0 * 1024.0);
}

static void print_nameservers(const json_t *nameservers)
{
    printf("nameservers  %" PRId64 " of %" PRId64 " usable",
        json_object_number(nameservers, "usable"), json_object_number(nameservers, "total"));
    if (json_is_string(json_object_get(nameservers, "current"))) {
        fputs(", current ", stdout);
        output_text(stdout, json_object_text(nameservers, "current"), OUTPUT_ONE_LINE);
    }
    fputc('\n', stdout);
}

static void print_brokers(const json_t *brokers)
{
    size_t i;
    const json_t *row;
    printf("brokers      %" PRId64 " known, %" PRId64 " connected, %" PRId64 " out of use\n",
        json_object_number(brokers, "total"), json_object_number(brokers, "connected"),
        json_object_number(brokers, "outOfUse"));
    json_array_foreach(json_object_get(brokers, "examples"), i, row)
    {
        fputs("             ", stdout);
        output_text(stdout, json_object_text(row, "name"), OUTPUT_ONE_LINE);
        fputc(' ', stdout);
        output_text(stdout, json_object_text(row, "addr"), OUTPUT_ONE_LINE);
        fputs(": ", stdout);
        output_text(stdout, json_object_text(row, "cause"), OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
}

static void print_failures(const json_t *failures)
{
    const char *separator = ": ";
    const char *cause;
    json_t *row;
    json_t *causes = json_object_get(failures, "byCause");
    printf("failures     %" PRId64 " (%" PRId64 ")", json_object_number(failures, "total"),
        json_object_number(failures, "lastMinute"));
    json_object_foreach(causes, cause, row)
    {
        if (json_object_number(row, "total") > 0) {
            printf("%s%s %" PRId64 " (%" PRId64 ")", separator, cause,
                json_object_number(row, "total"), json_object_number(row, "lastMinute"));
            separator = ", ";
        }
    }
    if (json_object_number(failures, "onewayFailed") > 0) {
        printf("; %" PRId64 " oneway", json_object_number(failures, "onewayFailed"));
    }
    fputc('\n', stdout);
}

static void print_counts(const json_t *status)
{
    const json_t *pools = json_object_get(status, "pools");
    const json_t *sessions = json_object_get(status, "sessions");
    const json_t *requests = json_object_get(status, "requests");
    const json_t *memory = json_object_get(status, "memory");
    printf("routes       %" PRId64 " topics\n", json_object_number(status, "routes"));
    printf("pools        %" PRId64 " connections, %" PRId64 " ready, %" PRId64 " active; %" PRId64
           " requests wait for one\n",
        json_object_number(pools, "connections"), json_object_number(pools, "ready"),
        json_object_number(pools, "active"), json_object_number(pools, "waiting"));
    printf("sessions     %" PRId64 " of %" PRId64 "; %" PRId64 " accepted, %" PRId64
           " refused, %" PRId64 " forbidden\n",
        json_object_number(sessions, "total"), json_object_number(sessions, "max"),
        json_object_number(sessions, "accepted"), json_object_number(sessions, "refused"),
        json_object_number(sessions, "forbidden"));
    printf("requests     %" PRId64 " (%" PRId64 "), %" PRId64 " in flight, %" PRId64
           " retries, %" PRId64 " late answers\n",
        json_object_number(requests, "total"), json_object_number(requests, "lastMinute"),
        json_object_number(requests, "inFlight"), json_object_number(requests, "retries"),
        json_object_number(requests, "lateResponses"));
    print_failures(json_object_get(status, "failures"));
    printf("memory       %.1f of %.1f MiB of buffers, %.1f MiB resident\n", mib(memory, "used"),
        mib(memory, "limit"), mib(memory, "resident"));
    printf("left out     %" PRId64 " lines of the log; %" PRId64
           " messages given back to brokers\n",
        json_object_number(status, "logLinesDropped"), json_object_number(status, "popOrphaned"));
    printf("late         %" PRId64 " ms at most in the last minute\n",
        json_object_number(status, "lateMillis"));
}

static void print_status(const json_t *status)
{
    fputs("remotingd ", stdout);
    output_text(stdout, json_object_text(status, "version"), OUTPUT_ONE_LINE);
    printf(", pid %" PRId64 ", up ", json_object_number(status, "pid"));
    print_duration(json_object_number(status, "uptimeMillis"));
    fputs(": ", stdout);
    print_state(status);
    fputc('\n', stdout);
    print_conditions(status, "  ");
    fputc('\n', stdout);
    print_nameservers(json_object_get(status, "nameservers"));
    print_brokers(json_object_get(status, "brokers"));
    print_counts(status);
}

static enum exit_code ask(const struct invocation *invocation, json_t **ret_status)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_GET_STATUS);
    const enum exit_code exit_code = command_call(invocation, request, &answer);
    return exit_code == EXIT_CODE_SUCCESS ? command_read_object(answer, ret_status) : exit_code;
}

static enum exit_code run_status(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    command_count_operands(invocation, 0, 0);
    CLEANUP(json_decref) json_t *status = NULL;
    const enum exit_code exit_code = ask(invocation, &status);
    if (exit_code == EXIT_CODE_SUCCESS && invocation->json) {
        output_json(json_incref(status));
    } else if (exit_code == EXIT_CODE_SUCCESS) {
        print_status(status);
    }
    return exit_code;
}

const struct command command_status = {
    .name = "status",
    .synopsis = "status",
    .summary = "how the daemon is, on one screen",
    .help = status_help,
    .options = global_options,
    .run = run_status,
};

/* What matters of the status, or of there being none. */
static json_t *health_json(const json_t *status)
{
    static const char *const keys[] = { "state", "reason", "command", "conditions" };
    if (!status) {
        return json_pack("{s:s, s:s, s:s, s:[]}", "state", "down", "reason",
            "there is no daemon, or it does not answer", "command", "systemctl status remotingd",
            "conditions");
    }
    json_t *health = json_object();
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        json_object_set(health, keys[i], json_object_get(status, keys[i]));
    }
    return health;
}

static enum exit_code run_health(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    command_count_operands(invocation, 0, 0);
    CLEANUP(json_decref) json_t *status = NULL;
    const enum exit_code exit_code = ask(invocation, &status);
    CLEANUP(json_decref)
    json_t *health = health_json(exit_code == EXIT_CODE_SUCCESS ? status : NULL);
    if (invocation->json) {
        output_json(json_incref(health));
    } else if (exit_code == EXIT_CODE_SUCCESS) {
        print_state(health);
        fputc('\n', stdout);
        print_conditions(health, "  ");
    } else {
        output_word("down", OUTPUT_RED);
        fputs("\n  try: systemctl status remotingd\n", stdout);
    }
    return (enum exit_code)health_code_of(json_object_text(health, "state"));
}

const struct command command_health = {
    .name = "health",
    .synopsis = "health",
    .summary = "healthy, degraded or down, as an exit code",
    .help = health_help,
    .options = global_options,
    .run = run_health,
};
