/* Commands that tell the daemon what to do with its connections, and when to stop. */
#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/output.h"
#include "client/table.h"
#include "protocol/code.h"

/* As many as the daemon takes in one list, and as many as can be in flight. */
#define ADDRESSES_MAX IN_FLIGHT_MAX

static const char reachable_help[] =
    "remotingctl reachable ADDR ...\n"
    "\n"
    "Has the daemon ask each address (HOST:PORT of a nameserver or broker that it may talk to, or\n"
    "the word nameserver) something cheap, and prints how long the answer took, in us, or why "
    "there\n"
    "was none. The exit code is 3 if an address is not reachable.\n"
    "\n"
    "  --timeout DURATION   the daemon's deadline; default: its upstream.request_timeout\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl reachable 10.0.0.7:10911 10.0.0.8:10911\n"
    "  remotingctl reachable nameserver --timeout 500ms && echo there\n";

static const char close_help[] =
    "remotingctl close ADDR ...\n"
    "\n"
    "Has the daemon give up its connections to these addresses (HOST:PORT): they take no new\n"
    "requests, and close when what is in flight on them is answered. The next request makes a new\n"
    "one. Prints how many there were. Needs the admin role.\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl close 10.0.0.7:10911\n"
    "  remotingctl close 10.0.0.7:10911 10.0.0.8:10911 --json | jq .closed\n";

static const char nameservers_help[] =
    "remotingctl nameservers set ADDR ...\n"
    "\n"
    "Replaces the daemon's list of nameservers by these (HOST:PORT), until it is started anew.\n"
    "Connections to those that are gone from the list close when what is in flight on them is\n"
    "answered. Prints the list. Needs the admin role.\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl nameservers set 10.0.0.1:9876 10.0.0.2:9876\n"
    "  remotingctl show nameservers\n";

static const char drain_help[] =
    "remotingctl drain\n"
    "\n"
    "Stops the daemon as SIGTERM does: it takes no new callers and no new requests, and ends when\n"
    "what is in flight is answered, or after its drain.timeout. Does not wait for that. Needs the\n"
    "admin role.\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl drain\n"
    "  remotingctl drain --json | jq .inFlight\n";

/* --- reachable --- */

enum { OPTION_TIMEOUT = OPTION_OWN };

static enum exit_code send_questions(const struct invocation *invocation,
    struct remotingclient *client, char *const *addresses, size_t n, int64_t timeout_ms)
{
    for (size_t i = 0; i < n; i++) {
        CLEANUP(remotingclient_request_free)
        struct remotingclient_request *request =
            remotingclient_request_new(SIDECAR_IS_ADDRESS_REACHABLE);
        remotingclient_request_add(request, "addr", addresses[i]);
        if (timeout_ms >= 0) {
            remotingclient_request_add_number(request, "sidecar.timeoutMillis", timeout_ms);
        }
        command_check_request(invocation, request);
        const int r = remotingclient_send(client, request, i, NULL);
        if (r < 0) {
            return command_report_broken(invocation, client, r);
        }
    }
    return EXIT_CODE_SUCCESS;
}

/* Adds the answer about one address to the table, or prints it as it came. */
static enum exit_code take_answer(const struct invocation *invocation,
    const struct remotingclient_answer *answer, const char *address, struct table *table)
{
    if (remotingclient_answer_code(answer) != RESPONSE_SUCCESS) {
        char prefix[320];
        (void)snprintf(prefix, sizeof(prefix), "%s: ", address);
        return command_report_failure(answer, prefix);
    }
    CLEANUP(json_decref) json_t *body = NULL;
    const enum exit_code exit_code = command_read_object(answer, &body);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    const bool is_reachable = json_is_true(json_object_get(body, "reachable"));
    if (invocation->json) {
        print_answer_body(answer);
    } else {
        table_add(table, json_object_text(body, "addr"));
        table_add(table, is_reachable ? SPAN("yes") : SPAN("no"));
        table_add_integer(table, json_object_get(body, "rttMicros"));
        table_add(table, json_object_text(body, "cause"));
    }
    return is_reachable ? EXIT_CODE_SUCCESS : EXIT_CODE_DAEMON;
}

static enum exit_code print_answers(const struct invocation *invocation,
    struct remotingclient_answer *const *answers, char *const *addresses, size_t n)
{
    static const struct table_column columns[] = {
        { "ADDRESS", false },
        { "REACHABLE", false },
        { "RTT", true },
        { "CAUSE", false },
    };
    struct table table;
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    enum exit_code exit_code = EXIT_CODE_SUCCESS;
    for (size_t i = 0; i < n; i++) {
        const enum exit_code judged = take_answer(invocation, answers[i], addresses[i], &table);
        exit_code = exit_code == EXIT_CODE_SUCCESS ? judged : exit_code;
    }
    if (table.n_cells > 0 && !table_print(&table)) {
        exit_code = EXIT_CODE_BROKER;
    }
    table_deinit(&table);
    return exit_code;
}

static enum exit_code run_reachable(struct invocation *invocation)
{
    int64_t timeout_ms = -1;
    while (command_next_option(invocation) == OPTION_TIMEOUT) {
        timeout_ms = option_duration_ms(invocation, "--timeout", optarg);
    }
    const size_t n = (size_t)command_count_operands(invocation, 1, ADDRESSES_MAX);
    char *const *addresses = invocation->argv + optind;

    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    struct remotingclient_answer *answers[ADDRESSES_MAX] = { NULL };
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = send_questions(invocation, client, addresses, n, timeout_ms);
    }
    for (size_t i = 0; i < n && exit_code == EXIT_CODE_SUCCESS; i++) {
        struct remotingclient_answer *answer;
        const int r = remotingclient_receive(client, &answer);
        if (r < 0) {
            exit_code = command_report_broken(invocation, client, r);
        } else {
            answers[remotingclient_answer_token(answer)] = answer;
        }
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = print_answers(invocation, answers, addresses, n);
    }
    for (size_t i = 0; i < n; i++) {
        remotingclient_answer_free(answers[i]);
    }
    return exit_code;
}

static const struct option reachable_options[] = {
    GLOBAL_OPTIONS,
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { 0 },
};

const struct command command_reachable = {
    .name = "reachable",
    .synopsis = "reachable ADDR ...",
    .summary = "do nameservers and brokers answer it",
    .help = reachable_help,
    .options = reachable_options,
    .run = run_reachable,
};

/* --- the others: one request, one answer --- */

/* Sends the command; *ret_body is what people are told, NULL where --json has printed it all. */
static enum exit_code control(const struct invocation *invocation, int32_t code,
    char *const *addresses, int n, json_t **ret_body)
{
    char *text = NULL;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(code);
    if (n > 0) {
        text = request_set_addresses(request, addresses, n);
    }
    const enum exit_code exit_code = command_ask(invocation, request, ret_body);
    free(text);
    return exit_code;
}

/* "ADDR  N connections", for each row of a list of the answer. */
static void print_closed(const json_t *rows)
{
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        const json_int_t n = json_integer_value(json_object_get(row, "connections"));
        output_text(stdout, json_object_text(row, "addr"), OUTPUT_ONE_LINE);
        printf("  %" JSON_INTEGER_FORMAT " connection%s\n", n, n == 1 ? "" : "s");
    }
}

static enum exit_code run_close(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    const int n = command_count_operands(invocation, 1, ADDRESSES_MAX);
    CLEANUP(json_decref) json_t *body = NULL;
    const enum exit_code exit_code =
        control(invocation, SIDECAR_CLOSE_CLIENTS, invocation->argv + optind, n, &body);
    print_closed(json_object_get(body, "closed"));
    return exit_code;
}

const struct command command_close = {
    .name = "close",
    .synopsis = "close ADDR ...",
    .summary = "drain its connections to them, then close them",
    .help = close_help,
    .options = global_options,
    .run = run_close,
};

static enum exit_code run_nameservers(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    const int n = command_count_operands(invocation, 2, 1 + ADDRESSES_MAX);
    if (strcmp(invocation->argv[optind], "set") != 0) {
        usage_error(invocation, "'%s' cannot be done to nameservers: set ADDR ...",
            invocation->argv[optind]);
    }
    CLEANUP(json_decref) json_t *body = NULL;
    const enum exit_code exit_code = control(
        invocation, SIDECAR_UPDATE_NAMESRV_LIST, invocation->argv + optind + 1, n - 1, &body);
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "nameservers"), i, row)
    {
        output_text(stdout, json_object_text(row, "addr"), OUTPUT_ONE_LINE);
        puts(json_is_true(json_object_get(row, "isCurrent")) ? "  current" : "");
    }
    json_array_foreach(json_object_get(body, "removed"), i, row)
    {
        fputs("removed ", stdout);
        output_text(stdout, json_object_text(row, "addr"), OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
    return exit_code;
}

static const char *const nameservers_words[] = { "set", NULL };

const struct command command_nameservers = {
    .name = "nameservers",
    .synopsis = "nameservers set ADDR ...",
    .summary = "replace its list of nameservers",
    .help = nameservers_help,
    .options = global_options,
    .words = nameservers_words,
    .run = run_nameservers,
};

static enum exit_code run_drain(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    command_count_operands(invocation, 0, 0);
    CLEANUP(json_decref) json_t *body = NULL;
    const enum exit_code exit_code = control(invocation, SIDECAR_DRAIN, NULL, 0, &body);
    if (body) {
        printf("draining: %" JSON_INTEGER_FORMAT " in flight, at most %" JSON_INTEGER_FORMAT
               " ms\n",
            json_integer_value(json_object_get(body, "inFlight")),
            json_integer_value(json_object_get(body, "timeoutMillis")));
    }
    return exit_code;
}

const struct command command_drain = {
    .name = "drain",
    .synopsis = "drain",
    .summary = "stop it when all that is in flight is answered",
    .help = drain_help,
    .options = global_options,
    .run = run_drain,
};
