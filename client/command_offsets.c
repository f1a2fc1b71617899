#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/output.h"
#include "client/queue_offset.h"
#include "client/table.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"
#include "protocol/topic_route.h"

static const char help[] =
    "remotingctl offsets TOPIC [GROUP]\n"
    "\n"
    "Prints a row for each queue of a topic: the offset of its oldest message (MIN) and the one\n"
    "that the next message will get (MAX). With GROUP also where this consumer group is, and its\n"
    "lag; - where the group has no offset yet. With --json an object for each queue.\n"
    "\n"
    "  --at TIME            also the offset of the first message stored at TIME or later\n"
    "  --timeout DURATION   the daemon's deadline; default: its upstream.request_timeout\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "TIME is 2026-01-31T14:30:00 (with Z at its end UTC, else local), 2026-01-31, or milliseconds\n"
    "since 1970.\n"
    "\n"
    "Exit codes: 0 all queues answered, 1 a broker or nameserver refused, 2 wrong usage, 3 the\n"
    "daemon refused or could not deliver, 4 the topic has no queue that can be read, 5 no daemon.\n"
    "What did not answer is shown as -, and told once for each broker.\n"
    "\n"
    "Examples:\n"
    "  remotingctl offsets orders\n"
    "  remotingctl offsets orders billing\n"
    "  remotingctl offsets orders --at 2026-01-31T14:30:00Z --json\n";

enum {
    OPTION_AT = OPTION_OWN,
    OPTION_TIMEOUT,
};

struct queue_row {
    size_t broker; /* index into the route's queue data */
    int32_t queue_id;
    int64_t offsets[N_QUEUE_OFFSET_KINDS]; /* -1: not known */
};

struct offsets_run {
    const struct invocation *invocation;
    struct remotingclient *client;
    const char *topic;
    const char *group; /* or NULL */
    int64_t at_ms;     /* -1: not asked */
    int64_t timeout_ms;
    struct topic_route *route;
    bool *is_told; /* of each broker's queue data: a failure was printed */
    struct queue_row *rows;
    size_t n_rows;
    enum exit_code exit_code; /* of the first failure */
};

static void read_options(struct invocation *invocation, struct offsets_run *run)
{
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        switch (option) {
        case OPTION_AT:
            run->at_ms = option_time_ms(invocation, "--at", optarg);
            break;
        case OPTION_TIMEOUT:
            run->timeout_ms = option_duration_ms(invocation, "--timeout", optarg);
            break;
        }
    }
    const int n = command_count_operands(invocation, 1, 2);
    run->topic = invocation->argv[optind];
    run->group = n == 2 ? invocation->argv[optind + 1] : NULL;
}

static bool is_asked(const struct offsets_run *run, enum queue_offset_kind kind)
{
    switch (kind) {
    case QUEUE_OFFSET_GROUP:
        return run->group != NULL;
    case QUEUE_OFFSET_AT:
        return run->at_ms >= 0;
    case QUEUE_OFFSET_MIN:
    case QUEUE_OFFSET_MAX:
    case N_QUEUE_OFFSET_KINDS:
        break;
    }
    return true;
}

static enum exit_code fetch_route(struct offsets_run *run)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    enum exit_code exit_code =
        command_ask_route(run->invocation, run->client, run->topic, run->timeout_ms, &answer);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_judge(answer);
    }
    return exit_code == EXIT_CODE_SUCCESS ? command_read_route(answer, &run->route) : exit_code;
}

/* A row for each queue that can be read. */
static enum exit_code make_rows(struct offsets_run *run)
{
    const struct topic_route *route = run->route;
    size_t n = 0;
    for (size_t i = 0; i < route->n_queues; i++) {
        n += route->queues[i].perm & PERM_READ ? (size_t)route->queues[i].read_queue_nums : 0;
    }
    if (n == 0) {
        return EXIT_CODE_NOTHING;
    }
    run->rows = calloc(n, sizeof(*run->rows));
    run->is_told = calloc(route->n_queues, sizeof(*run->is_told));
    if (!run->rows || !run->is_told) {
        fputs("remotingctl: out of memory.\n", stderr);
        return EXIT_CODE_BROKER;
    }
    for (size_t i = 0; i < route->n_queues; i++) {
        const struct queue_data *queue = &route->queues[i];
        for (int32_t id = 0; queue->perm & PERM_READ && id < queue->read_queue_nums; id++) {
            run->rows[run->n_rows++] = (struct queue_row){
                .broker = i,
                .queue_id = id,
                .offsets = { -1, -1, -1, -1 },
            };
        }
    }
    return EXIT_CODE_SUCCESS;
}

/* The token tells row and kind of the answer. */
static enum exit_code ask(struct offsets_run *run, size_t row, enum queue_offset_kind kind)
{
    const struct queue_row *queue = &run->rows[row];
    const struct queue_offset_question question = {
        .topic = run->topic,
        .broker = run->route->queues[queue->broker].broker_name,
        .queue_id = queue->queue_id,
        .group = run->group,
        .at_ms = run->at_ms,
        .timeout_ms = run->timeout_ms,
    };
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = queue_offset_request_new(&question, kind);
    const int r = remotingclient_send(
        run->client, request, row * N_QUEUE_OFFSET_KINDS + (uint64_t)kind, NULL);
    return r < 0 ? command_report_broken(run->invocation, run->client, r) : EXIT_CODE_SUCCESS;
}

static void tell_failure(struct offsets_run *run, const struct queue_row *row,
    const struct remotingclient_answer *answer)
{
    if (run->is_told[row->broker]) {
        return;
    }
    run->is_told[row->broker] = true;
    output_text(stderr, span_of(run->route->queues[row->broker].broker_name), OUTPUT_ONE_LINE);
    fprintf(stderr, " queue %" PRId32 ": ", row->queue_id);
    const enum exit_code exit_code = command_report_failure(answer, "");
    run->exit_code = run->exit_code == EXIT_CODE_SUCCESS ? exit_code : run->exit_code;
}

static void take_answer(struct offsets_run *run, const struct remotingclient_answer *answer)
{
    const uint64_t token = remotingclient_answer_token(answer);
    struct queue_row *row = &run->rows[token / N_QUEUE_OFFSET_KINDS];
    const enum queue_offset_kind kind = (enum queue_offset_kind)(token % N_QUEUE_OFFSET_KINDS);
    const int32_t code = remotingclient_answer_code(answer);
    if (code == RESPONSE_SUCCESS) {
        (void)ext_value_parse_i64(
            answer_field(answer, "offset"), 0, INT64_MAX, &row->offsets[kind]);
    } else if (kind != QUEUE_OFFSET_GROUP || code != RESPONSE_QUERY_NOT_FOUND) {
        tell_failure(run, row, answer);
    }
}

/* Takes answers until no more than n are missing. */
static enum exit_code take_answers(struct offsets_run *run, size_t n)
{
    while (remotingclient_n_in_flight(run->client) > n) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        const int r = remotingclient_receive(run->client, &answer);
        if (r < 0) {
            return command_report_broken(run->invocation, run->client, r);
        }
        take_answer(run, answer);
    }
    return EXIT_CODE_SUCCESS;
}

static enum exit_code ask_all(struct offsets_run *run)
{
    for (size_t row = 0; row < run->n_rows; row++) {
        for (unsigned kind = 0; kind < N_QUEUE_OFFSET_KINDS; kind++) {
            if (!is_asked(run, (enum queue_offset_kind)kind)) {
                continue;
            }
            enum exit_code exit_code = ask(run, row, (enum queue_offset_kind)kind);
            if (exit_code == EXIT_CODE_SUCCESS) {
                exit_code = take_answers(run, IN_FLIGHT_MAX - 1);
            }
            if (exit_code != EXIT_CODE_SUCCESS) {
                return exit_code;
            }
        }
    }
    return take_answers(run, 0);
}

/* -1 where one of the two is not known. */
static int64_t lag_of(const struct queue_row *row)
{
    const int64_t max = row->offsets[QUEUE_OFFSET_MAX];
    const int64_t group = row->offsets[QUEUE_OFFSET_GROUP];
    if (max < 0 || group < 0) {
        return -1;
    }
    return max > group ? max - group : 0;
}

static void print_json(const struct offsets_run *run)
{
    static const char *const names[N_QUEUE_OFFSET_KINDS] = { "minOffset", "maxOffset",
        "consumerOffset", "offsetAt" };
    for (size_t i = 0; i < run->n_rows; i++) {
        const struct queue_row *row = &run->rows[i];
        json_t *json = json_object();
        json_object_set_new(
            json, "brokerName", json_text(span_of(run->route->queues[row->broker].broker_name)));
        json_object_set_new(json, "queueId", json_integer(row->queue_id));
        for (unsigned kind = 0; kind < N_QUEUE_OFFSET_KINDS; kind++) {
            const int64_t offset = row->offsets[kind];
            if (is_asked(run, (enum queue_offset_kind)kind)) {
                json_object_set_new(
                    json, names[kind], offset < 0 ? json_null() : json_integer(offset));
            }
        }
        if (run->group) {
            const int64_t lag = lag_of(row);
            json_object_set_new(json, "lag", lag < 0 ? json_null() : json_integer(lag));
        }
        output_json(json);
    }
}

static void add_known(struct table *table, int64_t number)
{
    if (number < 0) {
        table_add(table, SPAN_ABSENT);
    } else {
        table_add_number(table, number);
    }
}

static bool print_table(const struct offsets_run *run)
{
    struct table_column columns[7] = {
        { "BROKER", false },
        { "QUEUE", true },
        { "MIN", true },
        { "MAX", true },
    };
    size_t n_columns = 4;
    if (run->group) {
        columns[n_columns++] = (struct table_column){ "GROUP", true };
        columns[n_columns++] = (struct table_column){ "LAG", true };
    }
    if (run->at_ms >= 0) {
        columns[n_columns++] = (struct table_column){ "AT", true };
    }
    struct table table;
    table_init(&table, columns, n_columns);
    for (size_t i = 0; i < run->n_rows; i++) {
        const struct queue_row *row = &run->rows[i];
        table_add(&table, span_of(run->route->queues[row->broker].broker_name));
        table_add_number(&table, row->queue_id);
        add_known(&table, row->offsets[QUEUE_OFFSET_MIN]);
        add_known(&table, row->offsets[QUEUE_OFFSET_MAX]);
        if (run->group) {
            add_known(&table, row->offsets[QUEUE_OFFSET_GROUP]);
            add_known(&table, lag_of(row));
        }
        if (run->at_ms >= 0) {
            add_known(&table, row->offsets[QUEUE_OFFSET_AT]);
        }
    }
    const bool is_printed = table_print(&table);
    table_deinit(&table);
    return is_printed;
}

static enum exit_code offsets(struct offsets_run *run)
{
    enum exit_code exit_code = fetch_route(run);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = make_rows(run);
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = ask_all(run);
    }
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (run->invocation->json) {
        print_json(run);
    } else if (!print_table(run)) {
        return EXIT_CODE_BROKER;
    }
    return run->exit_code;
}

static enum exit_code run_offsets(struct invocation *invocation)
{
    struct offsets_run run = { .invocation = invocation, .at_ms = -1, .timeout_ms = -1 };
    read_options(invocation, &run);
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        run.client = client;
        exit_code = offsets(&run);
    }
    topic_route_free(run.route);
    free(run.is_told);
    free(run.rows);
    return exit_code;
}

static const struct option offsets_options[] = {
    GLOBAL_OPTIONS,
    { "at", required_argument, NULL, OPTION_AT },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { 0 },
};

const struct command command_offsets = {
    .name = "offsets",
    .synopsis = "offsets TOPIC [GROUP]",
    .summary = "where its queues begin and end, and a group's lag",
    .help = help,
    .options = offsets_options,
    .run = run_offsets,
};
