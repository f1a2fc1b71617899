/* The daemon at work, again and again: rates, what is in flight, its connections. */
#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "client/output.h"
#include "client/table.h"
#include "protocol/code.h"

static const char help[] =
    "remotingctl top [--interval DURATION] [--count N]\n"
    "\n"
    "Shows what the daemon does, every second until it is interrupted: its state, requests and\n"
    "failures a second, what is in flight, and a row for each address with its connections.\n"
    "Times are of answers since the start, in us.\n"
    "\n"
    "  --interval DURATION   how often; default: 1s\n"
    "  --count N             end after so many pictures\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl top\n"
    "  remotingctl top --interval 10s --count 6 --json > minute.jsonl\n";

enum {
    OPTION_INTERVAL = OPTION_OWN,
    OPTION_COUNT,
};

/* What the daemon said at one moment. */
struct picture {
    json_t *status;
    json_t *pools;
    struct timespec at;
};

static void picture_deinit(struct picture *picture)
{
    json_decref(picture->status);
    json_decref(picture->pools);
}

static enum exit_code ask(const struct invocation *invocation, struct remotingclient *client,
    int32_t code, json_t **ret_body)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(code);
    enum exit_code exit_code = command_invoke_request(invocation, client, request, &answer);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_judge(answer);
    }
    return exit_code == EXIT_CODE_SUCCESS ? command_read_object(answer, ret_body) : exit_code;
}

static enum exit_code take(
    const struct invocation *invocation, struct remotingclient *client, struct picture *picture)
{
    *picture = (struct picture){ .status = NULL };
    clock_gettime(CLOCK_MONOTONIC, &picture->at);
    const enum exit_code exit_code = ask(invocation, client, SIDECAR_GET_STATUS, &picture->status);
    return exit_code == EXIT_CODE_SUCCESS
               ? ask(invocation, client, SIDECAR_GET_POOL_STATS, &picture->pools)
               : exit_code;
}

static double seconds_between(const struct picture *before, const struct picture *now)
{
    const double s = (double)(now->at.tv_sec - before->at.tv_sec) +
                     (double)(now->at.tv_nsec - before->at.tv_nsec) / 1e9;
    return s > 0.001 ? s : 0.001;
}

static double rate(const json_t *before, const json_t *now, const char *key, double seconds)
{
    return (double)(json_object_number(now, key) - json_object_number(before, key)) / seconds;
}

/* The row of the picture before; NULL where there was none. */
static const json_t *row_before(const struct picture *before, const json_t *row)
{
    size_t i;
    const json_t *candidate;
    json_array_foreach(json_object_get(before->pools, "addresses"), i, candidate)
    {
        if (json_equal(json_object_get(candidate, "addr"), json_object_get(row, "addr")) &&
            json_equal(json_object_get(candidate, "class"), json_object_get(row, "class"))) {
            return candidate;
        }
    }
    return NULL;
}

static bool print_addresses(const struct picture *before, const struct picture *now, double seconds)
{
    static const struct table_column columns[] = {
        { "ADDRESS", false },
        { "CLASS", false },
        { "STATE", false },
        { "CONNECTIONS", true },
        { "ACTIVE", true },
        { "WAITING", true },
        { "REQUESTS/S", true },
        { "ERRORS/S", true },
        { "P99", true },
    };
    struct table table;
    size_t i;
    const json_t *row;
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(json_object_get(now->pools, "addresses"), i, row)
    {
        const json_t *old = row_before(before, row);
        table_add(&table, json_object_text(row, "addr"));
        table_add(&table, json_object_text(row, "class"));
        table_add(&table, json_object_text(row, "state"));
        table_add_number(&table, json_object_number(row, "total"));
        table_add_number(&table, json_object_number(row, "active"));
        table_add_number(&table, json_object_number(row, "waiting"));
        table_add_number(&table, (int64_t)rate(old, row, "total_requests", seconds));
        table_add_number(&table, (int64_t)rate(old, row, "total_errors", seconds));
        table_add_number(&table, json_object_number(json_object_get(row, "latencies"), "p99"));
    }
    const bool is_printed = table_print(&table);
    table_deinit(&table);
    return is_printed;
}

static enum exit_code draw(
    const struct invocation *invocation, const struct picture *before, const struct picture *now)
{
    const double seconds = seconds_between(before, now);
    const json_t *requests = json_object_get(now->status, "requests");
    const double n_requests =
        rate(json_object_get(before->status, "requests"), requests, "total", seconds);
    const double n_failures = rate(json_object_get(before->status, "failures"),
        json_object_get(now->status, "failures"), "total", seconds);
    if (invocation->json) {
        output_json(json_pack("{s:f, s:f, s:O, s:O}", "requestsPerSecond", n_requests,
            "failuresPerSecond", n_failures, "status", now->status, "pools", now->pools));
        return output_flush() ? EXIT_CODE_SUCCESS : EXIT_CODE_BROKER;
    }
    if (isatty(STDOUT_FILENO)) {
        fputs("\x1b[H\x1b[2J", stdout);
    }
    fputs("remotingd: ", stdout);
    output_text(stdout, json_object_text(now->status, "state"), OUTPUT_ONE_LINE);
    if (json_is_string(json_object_get(now->status, "reason"))) {
        fputs(", ", stdout);
        output_text(stdout, json_object_text(now->status, "reason"), OUTPUT_ONE_LINE);
    }
    printf("\n%.0f requests/s, %.0f failures/s, %" PRId64 " in flight, %" PRId64
           " callers, late %" PRId64 " ms\n\n",
        n_requests, n_failures, json_object_number(requests, "inFlight"),
        json_object_number(json_object_get(now->status, "sessions"), "total"),
        json_object_number(now->status, "lateMillis"));
    const bool is_printed = print_addresses(before, now, seconds);
    fputs(isatty(STDOUT_FILENO) ? "" : "\n", stdout);
    return is_printed && output_flush() ? EXIT_CODE_SUCCESS : EXIT_CODE_BROKER;
}

static enum exit_code run_top(struct invocation *invocation)
{
    int64_t interval_ms = 1000;
    int64_t n_left = -1;
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        if (option == OPTION_INTERVAL) {
            interval_ms = option_duration_ms(invocation, "--interval", optarg);
        } else {
            n_left = option_count(invocation, "--count", optarg);
        }
    }
    command_count_operands(invocation, 0, 0);
    const struct timespec pause = {
        .tv_sec = interval_ms / 1000,
        .tv_nsec = interval_ms % 1000 * 1000000,
    };
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    struct picture before = { .status = NULL };
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = take(invocation, client, &before);
    }
    while (exit_code == EXIT_CODE_SUCCESS && n_left != 0) {
        struct picture now;
        nanosleep(&pause, NULL);
        exit_code = take(invocation, client, &now);
        if (exit_code == EXIT_CODE_SUCCESS) {
            exit_code = draw(invocation, &before, &now);
        }
        picture_deinit(&before);
        before = now;
        n_left -= n_left > 0;
    }
    picture_deinit(&before);
    return exit_code;
}

static const struct option top_options[] = {
    GLOBAL_OPTIONS,
    { "interval", required_argument, NULL, OPTION_INTERVAL },
    { "count", required_argument, NULL, OPTION_COUNT },
    { 0 },
};

const struct command command_top = {
    .name = "top",
    .synopsis = "top",
    .summary = "what it does, again and again",
    .help = help,
    .options = top_options,
    .run = run_top,
};
