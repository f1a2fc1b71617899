#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "client/output.h"
#include "client/table.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"
#include "protocol/utf8.h"

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
#define BATCH_MAX     32 /* what brokers give at most for one PULL, by default */
#define PREVIEW_SIZE  60
/* The subscription comes with the request: no heartbeat, no waiting and no commit of an offset. */
#define PULL_SYSFLAG_SUBSCRIPTION 4
#define GROUP_OF_TOOLS            "TOOLS_CONSUMER"

struct peek_run {
    const struct invocation *invocation;
    struct remotingclient *client;
    const char *topic;
    const char *broker;
    const char *group;
    int64_t queue_id;
    int64_t offset; /* the next one */
    int64_t count;
    int64_t timeout_ms; /* -1: the daemon's */
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
            run->broker = optarg;
            break;
        case OPTION_QUEUE:
            run->queue_id = parse_number(invocation, "--queue", optarg, INT32_MAX);
            break;
        case OPTION_OFFSET:
            run->offset = parse_number(invocation, "--offset", optarg, INT64_MAX);
            break;
        case 'n':
            run->count = option_count(invocation, "--count", optarg);
            break;
        case OPTION_GROUP:
            run->group = optarg;
            break;
        case OPTION_TIMEOUT:
            run->timeout_ms = option_duration_ms(invocation, "--timeout", optarg);
            break;
        }
    }
    command_count_operands(invocation, 1, 1);
    run->topic = invocation->argv[optind];
    if (!run->broker || run->queue_id < 0) {
        usage_error(invocation, "%s is missing: a queue is one of a broker",
            run->broker ? "--queue N" : "--broker BROKER");
    }
}

static enum exit_code pull(struct peek_run *run, struct remotingclient_answer **ret_answer)
{
    const int64_t left = run->count - run->n_shown;
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(REQUEST_PULL_MESSAGE);
    remotingclient_request_add(request, "sidecar.broker", run->broker);
    remotingclient_request_add(request, "sidecar.answerFormat", "json");
    remotingclient_request_add(request, "consumerGroup", run->group);
    remotingclient_request_add(request, "topic", run->topic);
    remotingclient_request_add_number(request, "queueId", run->queue_id);
    remotingclient_request_add_number(request, "queueOffset", run->offset);
    remotingclient_request_add_number(request, "maxMsgNums", left < BATCH_MAX ? left : BATCH_MAX);
    remotingclient_request_add_number(request, "sysFlag", PULL_SYSFLAG_SUBSCRIPTION);
    remotingclient_request_add(request, "commitOffset", "0");
    remotingclient_request_add(request, "suspendTimeoutMillis", "0");
    remotingclient_request_add(request, "subscription", "*");
    remotingclient_request_add(request, "expressionType", "TAG");
    remotingclient_request_add(request, "subVersion", "0");
    if (run->timeout_ms >= 0) {
        remotingclient_request_add_number(request, "sidecar.timeoutMillis", run->timeout_ms);
    }
    return command_invoke_request(run->invocation, run->client, request, ret_answer);
}

/* Local time, to the millisecond. */
static void add_time(struct table *table, int64_t time_ms)
{
    const time_t time_s = (time_t)(time_ms / 1000);
    char text[40];
    struct tm broken_down;
    if (time_ms <= 0 || !localtime_r(&time_s, &broken_down)) {
        table_add(table, SPAN_ABSENT);
        return;
    }
    const size_t n = strftime(text, sizeof(text), "%F %T", &broken_down);
    (void)snprintf(text + n, sizeof(text) - n, ".%03d", (int)(time_ms % 1000));
    table_add(table, span_of(text));
}

/* The beginning of a body, without half a character at its end. */
static struct span preview_of(const struct remotingclient_message *message)
{
    if (!message->body) {
        return span_of(message->reason);
    }
    return utf8_cut((struct span){ message->body, message->n_body }, PREVIEW_SIZE);
}

static void add_row(struct table *table, const struct remotingclient_message *message)
{
    table_add_number(table, message->queue_offset);
    add_time(table, message->born_timestamp_ms);
    table_add(table, span_of(message->tags));
    table_add(table, span_of(message->keys));
    table_add_number(table, (int64_t)message->n_body);
    table_add(table, preview_of(message));
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

/*
 * Moves to where the broker says that the next message is. False when that is not further on: the
 * end of the queue, or an offset behind it.
 */
static bool advance(struct peek_run *run, const struct remotingclient_answer *answer)
{
    int64_t next;
    if (!ext_value_parse_i64(answer_field(answer, "nextBeginOffset"), 0, INT64_MAX, &next) ||
        next <= run->offset) {
        return false;
    }
    run->offset = next;
    return true;
}

static enum exit_code peek_all(struct peek_run *run)
{
    while (run->n_shown < run->count) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        enum exit_code exit_code = pull(run, &answer);
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
        switch (remotingclient_answer_code(answer)) {
        case RESPONSE_SUCCESS:
            exit_code = show(run, answer);
            break;
        case RESPONSE_PULL_NOT_FOUND:
        case RESPONSE_PULL_RETRY_IMMEDIATELY:
        case RESPONSE_PULL_OFFSET_MOVED:
            break;
        default:
            exit_code = command_judge(answer);
        }
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
        if (!advance(run, answer)) {
            break;
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
        .group = GROUP_OF_TOOLS,
        .queue_id = -1,
        .count = DEFAULT_COUNT,
        .timeout_ms = -1,
    };
    read_options(invocation, &run);
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    const enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    run.client = client;
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
