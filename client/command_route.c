#include "client/command.h"

#include <stdio.h>

#include "client/output.h"
#include "client/table.h"
#include "protocol/code.h"
#include "protocol/topic_route.h"

static const char help[] =
    "remotingctl route TOPIC\n"
    "\n"
    "Prints which brokers hold a topic, as a nameserver knows it: a line for each, with the\n"
    "address of its master, what it permits (R read, W write) and its numbers of queues.\n"
    "With --json the nameserver's answer (TopicRouteData).\n"
    "\n"
    "  --timeout DURATION   the daemon's deadline; default: its upstream.request_timeout\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl route orders\n"
    "  remotingctl route orders --json | jq '.queueDatas[].brokerName'\n";

enum { OPTION_TIMEOUT = OPTION_OWN };

static const char *cluster_of(const struct broker_data *broker)
{
    return broker && *broker->cluster ? broker->cluster : "-";
}

static const char *master_of(const struct broker_data *broker)
{
    const char *master = broker ? broker_data_master(broker) : NULL;
    return master ? master : "-";
}

static bool print_route(const struct topic_route *route)
{
    static const struct table_column columns[] = {
        { "BROKER", false },
        { "CLUSTER", false },
        { "MASTER", false },
        { "PERM", false },
        { "READ", true },
        { "WRITE", true },
    };
    struct table table;
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < route->n_queues; i++) {
        const struct queue_data *queue = &route->queues[i];
        const struct broker_data *broker =
            topic_route_find_broker(route, span_of(queue->broker_name));
        const char perm[] = {
            queue->perm & PERM_READ ? 'R' : '-',
            queue->perm & PERM_WRITE ? 'W' : '-',
        };
        table_add(&table, span_of(queue->broker_name));
        table_add(&table, span_of(cluster_of(broker)));
        table_add(&table, span_of(master_of(broker)));
        table_add(&table, (struct span){ perm, sizeof(perm) });
        table_add_number(&table, queue->read_queue_nums);
        table_add_number(&table, queue->write_queue_nums);
    }
    const bool is_printed = table_print(&table);
    table_deinit(&table);
    if (route->order_topic_conf) {
        fputs("ordered: ", stdout);
        output_text(stdout, span_of(route->order_topic_conf), OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
    return is_printed;
}

/* With --json the text goes out as it came, so nothing that a newer nameserver says is lost. */
static enum exit_code print_answer(
    const struct invocation *invocation, const struct remotingclient_answer *answer)
{
    CLEANUP(topic_route_free) struct topic_route *route = NULL;
    const enum exit_code exit_code = command_read_route(answer, &route);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (invocation->json) {
        print_answer_body(answer);
    } else if (!print_route(route)) {
        return EXIT_CODE_BROKER;
    }
    return EXIT_CODE_SUCCESS;
}

static enum exit_code run_route(struct invocation *invocation)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request =
        remotingclient_request_new(REQUEST_GET_ROUTEINFO_BY_TOPIC);
    while (command_next_option(invocation) == OPTION_TIMEOUT) {
        remotingclient_request_add_number(
            request, "sidecar.timeoutMillis", option_duration_ms(invocation, "--timeout", optarg));
    }
    command_count_operands(invocation, 1, 1);
    remotingclient_request_add(request, "topic", invocation->argv[optind]);
    command_check_request(invocation, request);

    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    const enum exit_code exit_code = command_call(invocation, request, &answer);
    return exit_code == EXIT_CODE_SUCCESS ? print_answer(invocation, answer) : exit_code;
}

static const struct option route_options[] = {
    GLOBAL_OPTIONS,
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { 0 },
};

const struct command command_route = {
    .name = "route",
    .synopsis = "route TOPIC",
    .summary = "which brokers hold a topic",
    .help = help,
    .options = route_options,
    .run = run_route,
};
