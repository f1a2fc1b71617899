#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "client/output.h"
#include "protocol/code.h"

static const char help[] =
    "remotingctl ping [--count N]\n"
    "\n"
    "Asks the daemon for its versions (HELLO) and prints them with the time that took, in us.\n"
    "Brokers and nameservers are not asked.\n"
    "\n"
    "  --count N       ask N times, one after the other, and sum up; default 1\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl ping\n"
    "  remotingctl ping --count 1000 --socket /run/remotingd/remotingd.sock\n";

enum { OPTION_COUNT = OPTION_OWN };

struct round_trips {
    int64_t n;
    int64_t sum_us;
    int64_t min_us;
    int64_t max_us;
};

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void count_round_trip(struct round_trips *trips, int64_t us)
{
    trips->min_us = trips->n == 0 || us < trips->min_us ? us : trips->min_us;
    trips->max_us = us > trips->max_us ? us : trips->max_us;
    trips->sum_us += us;
    trips->n++;
}

static void print_version(struct span version)
{
    output_text(stdout, span_is_empty(version) ? SPAN("unknown") : version, OUTPUT_ONE_LINE);
}

static void print_hello(
    const struct invocation *invocation, const struct remotingclient_answer *answer, int64_t us)
{
    const struct span body = answer_body(answer);
    json_t *hello = json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES, NULL);
    const struct span protocol_version = json_object_text(hello, "protocolVersion");
    const struct span daemon_version = json_object_text(hello, "daemonVersion");
    if (invocation->json) {
        output_json(json_pack("{s:o, s:o, s:I}", "protocolVersion", json_text(protocol_version),
            "daemonVersion", json_text(daemon_version), "roundTripMicros", (json_int_t)us));
    } else {
        fputs("protocol ", stdout);
        print_version(protocol_version);
        fputs(", remotingd ", stdout);
        print_version(daemon_version);
        printf(": %" PRId64 " us\n", us);
    }
    json_decref(hello);
}

static enum exit_code ping_once(
    const struct invocation *invocation, struct remotingclient *client, struct round_trips *trips)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_HELLO);
    const int64_t start_us = now_us();
    enum exit_code exit_code = command_invoke_request(invocation, client, request, &answer);
    const int64_t us = now_us() - start_us;
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_judge(answer);
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        count_round_trip(trips, us);
        print_hello(invocation, answer, us);
    }
    return exit_code;
}

static enum exit_code run_ping(struct invocation *invocation)
{
    int64_t count = 1;
    while (command_next_option(invocation) == OPTION_COUNT) {
        count = option_count(invocation, "--count", optarg);
    }
    command_count_operands(invocation, 0, 0);

    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    enum exit_code exit_code = command_connect(invocation, &client);
    struct round_trips trips = { 0 };
    while (exit_code == EXIT_CODE_SUCCESS && trips.n < count) {
        exit_code = ping_once(invocation, client, &trips);
    }
    if (trips.n > 1 && !invocation->json) {
        printf("%" PRId64 " round trips: %" PRId64 " us at best, %" PRId64
               " us on average, %" PRId64 " us at worst\n",
            trips.n, trips.min_us, trips.sum_us / trips.n, trips.max_us);
    }
    return exit_code;
}

static const struct option ping_options[] = {
    GLOBAL_OPTIONS,
    { "count", required_argument, NULL, OPTION_COUNT },
    { 0 },
};

const struct command command_ping = {
    .name = "ping",
    .synopsis = "ping [--count N]",
    .summary = "is the daemon there, and how far away",
    .help = help,
    .options = ping_options,
    .run = run_ping,
};
