#include "client/command.h"

#include "client/queue_reader.h"
#include "client/table.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"

static const char help[] =
    "remotingctl peek TOPIC --broker BROKER --queue N\n"
    "\n"
    "Shows messages of one queue by their offset: when each was sent, its tag, its keys and how "
    "its\n"
    "body begins; with --json all of each message. Takes nothing from anybody: no offset of any\n"
    "group moves, and consumers get the messages as if nobody had looked.\n"
    "\n"
    "  --broker BROKER      the broker's name, as `remotingctl route TOPIC` shows it\n"
    "  --queue N            the queue, from 0 on\n"
    "  --offset OFFSET      the first message; default, and where that is gone: the oldest one\n"
    "  -n, --count N        so many messages; default 10\n"
    "  --group GROUP        the group in whose name it reads, where brokers check permissions;\n"
    "                       default: TOOLS_CONSUMER, which every broker has\n"
    "  --timeout DURATION   the daemon's deadline; default: its upstream.request_timeout\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Exit codes: 0 messages were shown, 1 the broker refused (no such queue), 2 wrong usage, 3 "
    "the\n"
    "daemon refused or could not deliver, 4 no messages from that offset on, 5 no daemon.\n"
    "\n"
    "Examples:\n"
    "  remotingctl peek orders --broker broker-a --queue 0\n"
    "  remotingctl peek orders --broker broker-a --queue 3 --offset 4711 --count 1 --json\n"
    "  remotingctl offsets orders\n";

enum {
    OPTION_BROKER = OPTION_OWN,
    OPTION_QUEUE,
    OPTION_OFFSET,
    OPTION_GROUP,
    OPTION_TIMEOUT,
};

#define DEFAULT_COUNT 10

struct peek_run {
    const struct invocation *invocation;
    struct queue_reader reader;
    int64_t count;
    int64_t n_shown;
    struct table table;
};

static int64_t parse_number(
    const struct invocation *invocation, const char *option, const char *text, int64_t max)
{
    int64_t value;
    if (!ext_value_parse_i64(span_of(text), 0, max, &value)) {
        usage_error(invocation, "%s '%s' is none: a number from 0 on", option, text);
    }
    return value;
}

static void read_options(struct invocation *invocation, struct peek_run *run)
{
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        switch (option) {
        case OPTION_BROKER:
            run->reader.broker = optarg;
            break;
        case OPTION_QUEUE:
            run->reader.queue_id = parse_number(invocation, "--queue", optarg, INT32_MAX);
            break;
        case OPTION_OFFSET:
            run->reader.offset = parse_number(invocation, "--offset", optarg, INT64_MAX);
            break;
        case 'n':
            run->count = option_count(invocation, "--count", optarg);
            break;
        case OPTION_GROUP:
            run->reader.group = optarg;
            break;
        case OPTION_TIMEOUT:
            run->reader.timeout_ms = option_duration_ms(invocation, "--timeout", optarg);
            break;
        }
    }
    command_count_operands(invocation, 1, 1);
    run->reader.topic = invocation->argv[optind];
    if (!run->reader.broker || run->reader.queue_id < 0) {
        usage_error(invocation, "%s is missing: a queue is one of a broker",
            run->reader.broker ? "--queue N" : "--broker BROKER");
    }
}

static void add_row(struct table *table, const struct remotingclient_message *message)
{
    table_add_number(table, message->queue_offset);
    table_add_time(table, message->born_timestamp_ms);
    table_add(table, span_of(message->tags));
    table_add(table, span_of(message->keys));
    table_add_number(table, (int64_t)message->n_body);
    table_add(table, message_preview(message));
}

static enum exit_code show(struct peek_run *run, const struct remotingclient_answer *answer)
{
    CLEANUP(remotingclient_messages_free) struct remotingclient_messages *messages = NULL;
    const enum exit_code exit_code = command_read_messages(run->invocation, answer, &messages);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    const size_t n = remotingclient_messages_count(messages);
    run->n_shown += (int64_t)n;
    if (run->invocation->json) {
        return print_messages_json(answer) ? EXIT_CODE_SUCCESS : EXIT_CODE_BROKER;
    }
    for (size_t i = 0; i < n; i++) {
        add_row(&run->table, remotingclient_messages_get(messages, i));
    }
    return EXIT_CODE_SUCCESS;
}

static enum exit_code peek_all(struct peek_run *run)
{
    bool goes_on = true;
    while (goes_on && run->n_shown < run->count) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        enum exit_code exit_code =
            queue_reader_next(&run->reader, run->count - run->n_shown, &answer, &goes_on);
        if (exit_code == EXIT_CODE_SUCCESS &&
            remotingclient_answer_code(answer) == RESPONSE_SUCCESS) {
            exit_code = show(run, answer);
        }
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
    }
    return run->n_shown > 0 ? EXIT_CODE_SUCCESS : EXIT_CODE_NOTHING;
}

/* What was found before a failure is printed, too. */
static enum exit_code peek_and_print(struct peek_run *run)
{
    static const struct table_column columns[] = {
        { "OFFSET", true },
        { "SENT", false },
        { "TAG", false },
        { "KEYS", false },
        { "BYTES", true },
        { "BODY", false },
    };
    table_init(&run->table, columns, sizeof(columns) / sizeof(columns[0]));
    enum exit_code exit_code = peek_all(run);
    if (!run->invocation->json && run->n_shown > 0 && !table_print(&run->table)) {
        exit_code = EXIT_CODE_BROKER;
    }
    table_deinit(&run->table);
    return exit_code;
}

static enum exit_code run_peek(struct invocation *invocation)
{
    struct peek_run run = {
        .invocation = invocation,
        .reader = {
            .invocation = invocation,
            .group = GROUP_OF_TOOLS,
            .queue_id = -1,
            .timeout_ms = -1,
        },
        .count = DEFAULT_COUNT,
    };
    read_options(invocation, &run);
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    const enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    run.reader.client = client;
    return peek_and_print(&run);
}

static const struct option peek_options[] = {
    GLOBAL_OPTIONS,
    { "broker", required_argument, NULL, OPTION_BROKER },
    { "queue", required_argument, NULL, OPTION_QUEUE },
    { "offset", required_argument, NULL, OPTION_OFFSET },
    { "count", required_argument, NULL, 'n' },
    { "group", required_argument, NULL, OPTION_GROUP },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { 0 },
};

const struct command command_peek = {
    .name = "peek",
    .synopsis = "peek TOPIC",
    .summary = "show messages by offset, and take nothing",
    .help = help,
    .options = peek_options,
    .short_options = "n:",
    .run = run_peek,
};
