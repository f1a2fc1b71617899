#include "client/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/clock.h"
#include "client/interrupt.h"
#include "client/output.h"
#include "client/receive.h"
#include "client/worker.h"
#include "protocol/code.h"

static const char help[] =
    "remotingctl receive TOPIC GROUP\n"
    "\n"
    "Takes messages for a consumer group and prints each body as a line, or with --json each\n"
    "message as a JSON object with its properties, key, tag, id and receipt. What was printed\n"
    "is acknowledged; what was not comes back after its invisible time, to this or another\n"
    "consumer of the group. Messages can come twice.\n"
    "\n"
    "  -n, --max N            stop after N messages; default: what one request brings (up to 32)\n"
    "  --follow               go on until interrupted, also while brokers cannot be reached\n"
    "  --wait DURATION        wait so long for a message; default 5s; then the exit code is 4\n"
    "                         if none came at all\n"
    "  --tag TAG, --filter 'TAG || TAG'\n"
    "                         only messages with this tag, or one of these\n"
    "  --sql EXPRESSION       only messages whose properties satisfy it (SQL92; brokers need\n"
    "                         enablePropertyFilter). A group has one filter: what does not pass\n"
    "                         it is consumed unseen\n"
    "  --format FORMAT        text: a body a line (default); raw: bodies with nothing between\n"
    "                         them; json: as --json\n"
    "  --no-ack               acknowledge nothing: every message comes back\n"
    "  --invisible DURATION   how long nobody else sees a message that is not acknowledged yet;\n"
    "                         default: the daemon's consume.invisible_time\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "A daemon that stops (drains) ends --follow with exit code 5. Start it again when the daemon\n"
    "is back: what was not acknowledged comes again.\n"
    "\n"
    "A worker: with --exec nothing is printed, and each message is given to a command, which\n"
    "/bin/sh -c runs. It goes on until SIGTERM or SIGINT (or --max), also while brokers or the\n"
    "daemon are away.\n"
    "\n"
    "  --exec COMMAND         run it for each message, the body is its standard input\n"
    "  -j, --jobs N           up to N commands at once, 256 at most; default 1. No more messages\n"
    "                         are taken than can run at once\n"
    "  --time-limit DURATION  a command that takes longer gets SIGTERM, with all of its process\n"
    "                         group, 10 s later SIGKILL, and counts as failed\n"
    "  --invisible DURATION   with --exec 60s, and extended for as long as the command runs\n"
    "  --retry-delay DURATION what is given back comes again that much later; default 10s,\n"
    "                         doubled with each further time, up to 2h\n"
    "  --max-reconsume N      what came again N times and comes once more is a dead letter;\n"
    "                         default 16\n"
    "  --verbose              a line for every message; without it for those that fail\n"
    "\n"
    "The exit code of the command decides about its message:\n"
    "\n"
    "  0         done: it is acknowledged\n"
    "  75        not now (EX_TEMPFAIL): it is given back, and comes again after --retry-delay\n"
    "  65        never (EX_DATAERR): it goes to the group's dead letters (remotingctl dlq)\n"
    "  126, 127  the command cannot be run: the message is given back at once, nothing more is\n"
    "            taken, and the worker ends with 8 when what runs has finished\n"
    "  others    and death by a signal: failed, as 75\n"
    "\n"
    "The command finds in its environment MQ_TOPIC, MQ_GROUP, MQ_MSG_ID (the UNIQ_KEY), MQ_KEYS,\n"
    "MQ_TAGS, MQ_RECONSUME_TIMES (0 the first time), MQ_BORN_TIMESTAMP (ms), MQ_BROKER,\n"
    "MQ_QUEUE_ID, MQ_QUEUE_OFFSET, MQ_PROPERTY_NAME for each property, and TRACEPARENT where it "
    "has\n"
    "a property traceparent. What a message has not got is not set. In the name of a property all\n"
    "but letters, digits and _ becomes _; of two that become the same, one that was so from the\n"
    "start is set, else the first. A value with a NUL is left out, and so is what is more than "
    "1024\n"
    "variables or 128 KiB in all: MQ_LEFT_OUT counts them.\n"
    "\n"
    "The first SIGTERM or SIGINT lets what runs finish and takes nothing new; every further one\n"
    "is passed on to the commands. A command has a process group of its own. A message may come\n"
    "twice, as when the daemon is away for longer than its invisible time: the command has to "
    "bear\n"
    "that. The messages of an inner batch run one after the other, and come again together.\n"
    "\n"
    "Exit codes: 0 messages came (--follow, --exec: interrupted), 1 a broker refused or the\n"
    "output cannot be written, 2 wrong usage, 3 the daemon refused or could not deliver, also an\n"
    "acknowledgement, 4 no messages, 5 no daemon (--follow: it stopped), 8 the command of --exec\n"
    "cannot be run.\n"
    "\n"
    "Examples:\n"
    "  remotingctl receive orders billing\n"
    "  remotingctl receive orders billing -n 100 --wait 30s --json\n"
    "  remotingctl receive orders billing --filter 'paid || shipped'\n"
    "  remotingctl receive orders vip --sql \"amount > 100 AND region = 'eu'\"\n"
    "  remotingctl receive photos archive -n 1 --format raw > photo.jpg\n"
    "  remotingctl receive orders billing --follow | while read -r body; do echo \"$body\"; done\n"
    "  remotingctl receive orders billing --exec './book \"$MQ_MSG_ID\"' -j 4 --time-limit 5min\n";

enum {
    OPTION_FOLLOW = OPTION_OWN,
    OPTION_WAIT,
    OPTION_TAG,
    OPTION_FILTER,
    OPTION_SQL,
    OPTION_FORMAT,
    OPTION_NO_ACK,
    OPTION_INVISIBLE,
    OPTION_EXEC,
    OPTION_TIME_LIMIT,
    OPTION_RETRY_DELAY,
    OPTION_MAX_RECONSUME,
    OPTION_VERBOSE,
};

enum format {
    FORMAT_TEXT,
    FORMAT_RAW,
    FORMAT_JSON,
};

#define DEFAULT_WAIT_MS 5000
/* Of --exec. Who sees its messages come too early says --invisible; less is over before it is extended. */
#define DEFAULT_LEASE_MS       60000
#define MIN_LEASE_MS           1000
#define MIN_RETRY_DELAY_MS     1000
#define DEFAULT_RETRY_DELAY_MS 10000
#define DEFAULT_MAX_RECONSUME  16 /* as Java's consumers */

struct receive_run {
    const struct invocation *invocation;
    struct remotingclient *client;
    struct receive_source source;
    struct worker_options worker; /* where its command has a text */
    enum format format;
    int64_t max; /* 0: no limit */
    bool follow;
    bool acknowledge;
    bool has_worker_option; /* one that only --exec knows */
    bool daemon_stops;      /* it said so, or closed the connection */
    int64_t n_received;
    enum exit_code exit_code; /* of the first acknowledgement that failed */
};

static enum format parse_format(const struct invocation *invocation, const char *text)
{
    static const char *const names[] = { "text", "raw", "json" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum format)i;
        }
    }
    usage_error(invocation, "--format '%s' is none: text, raw, json", text);
}

static void set_filter(
    const struct invocation *invocation, struct receive_run *run, const char *type)
{
    if (run->source.expression) {
        usage_error(
            invocation, "--tag, --filter and --sql exclude each other: a group has one filter");
    }
    run->source.expression_type = type;
    run->source.expression = optarg;
}

static void read_worker_option(
    const struct invocation *invocation, struct receive_run *run, int option)
{
    struct worker_options *worker = &run->worker;
    run->has_worker_option |= option != OPTION_EXEC;
    switch (option) {
    case OPTION_EXEC:
        worker->command.text = optarg;
        break;
    case 'j':
        worker->n_places = option_count(invocation, "--jobs", optarg);
        break;
    case OPTION_TIME_LIMIT:
        worker->command.time_limit_ms = option_duration_ms(invocation, "--time-limit", optarg);
        break;
    case OPTION_RETRY_DELAY:
        worker->retry_delay_ms = option_duration_ms(invocation, "--retry-delay", optarg);
        if (worker->retry_delay_ms < MIN_RETRY_DELAY_MS) {
            usage_error(invocation, "--retry-delay is at least 1s");
        }
        break;
    case OPTION_MAX_RECONSUME:
        run->source.max_reconsume = option_count(invocation, "--max-reconsume", optarg);
        break;
    case OPTION_VERBOSE:
        worker->is_verbose = true;
        break;
    }
}

/* What --exec needs, and what has no meaning with it or without it. */
static void check_worker(struct receive_run *run)
{
    const struct invocation *invocation = run->invocation;
    struct worker_options *worker = &run->worker;
    if (!worker->command.text) {
        if (run->has_worker_option) {
            usage_error(invocation, "-j, --time-limit, --retry-delay, --max-reconsume and "
                                    "--verbose are for --exec");
        }
        return;
    }
    /* A service whose description lacks one of them: an empty command would acknowledge everything. */
    if (!*worker->command.text || !*run->source.topic || !*run->source.group) {
        usage_error(invocation, "--exec needs a COMMAND, a TOPIC and a GROUP, and one is empty");
    }
    if (run->format != FORMAT_TEXT || !run->acknowledge) {
        usage_error(invocation, "--exec prints no messages, and its command decides what is "
                                "acknowledged: not with --format, --json or --no-ack");
    }
    if (worker->n_places > WORKER_PLACES_MAX) {
        usage_error(invocation, "-j '%" PRId64 "' is too much: at most %d commands run at once",
            worker->n_places, WORKER_PLACES_MAX);
    }
    if (run->source.invisible_ms < 0) {
        run->source.invisible_ms = DEFAULT_LEASE_MS;
    }
    if (run->source.invisible_ms < MIN_LEASE_MS) {
        usage_error(invocation, "--invisible is at least 1s with --exec: it is extended meanwhile");
    }
    if (run->source.max_reconsume < 0) {
        run->source.max_reconsume = DEFAULT_MAX_RECONSUME;
    }
    worker->invocation = invocation;
    worker->source = run->source;
    worker->command.group = run->source.group;
    worker->max = run->max;
}

static void read_options(struct invocation *invocation, struct receive_run *run)
{
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        switch (option) {
        case 'n':
            run->max = option_count(invocation, "--max", optarg);
            break;
        case OPTION_FOLLOW:
            run->follow = true;
            break;
        case OPTION_WAIT:
            run->source.wait_ms = option_duration_ms(invocation, "--wait", optarg);
            break;
        case OPTION_TAG:
        case OPTION_FILTER:
            set_filter(invocation, run, "TAG");
            break;
        case OPTION_SQL:
            set_filter(invocation, run, "SQL92");
            break;
        case OPTION_FORMAT:
            run->format = parse_format(invocation, optarg);
            break;
        case OPTION_NO_ACK:
            run->acknowledge = false;
            break;
        case OPTION_INVISIBLE:
            run->source.invisible_ms = option_duration_ms(invocation, "--invisible", optarg);
            break;
        default:
            read_worker_option(invocation, run, option);
            break;
        }
    }
    if (invocation->json) {
        run->format = FORMAT_JSON;
    }
    command_count_operands(invocation, 2, 2);
    run->source.topic = invocation->argv[optind];
    run->source.group = invocation->argv[optind + 1];
    check_worker(run);
}

/* Sends one POP_MESSAGE and waits for its answer; an interrupt leaves *ret_answer NULL. */
static enum exit_code pop(struct receive_run *run, struct remotingclient_answer **ret_answer)
{
    int64_t n = RECEIVE_MAX;
    if (run->max > 0 && run->max - run->n_received < RECEIVE_MAX) {
        n = run->max - run->n_received;
    }
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = receive_request_new(&run->source, n);
    int r = -EINTR;
    interrupt_block(run->follow);
    if (!interrupt_came()) {
        remotingclient_set_wait_mask(run->client, run->follow ? interrupt_wait_mask() : NULL);
        r = remotingclient_call(run->client, request, ret_answer);
        remotingclient_set_wait_mask(run->client, NULL);
    }
    interrupt_block(false);
    run->daemon_stops = r == -ECONNRESET;
    return r == 0 || r == -EINTR ? EXIT_CODE_SUCCESS
                                 : command_report_broken(run->invocation, run->client, r);
}

static void report_undecodable(const struct remotingclient_message *message)
{
    fputs("a message", stderr);
    if (message->broker_name) {
        fputs(" from ", stderr);
        output_text(stderr, span_of(message->broker_name), OUTPUT_ONE_LINE);
    }
    fputs(" cannot be shown and is not acknowledged: ", stderr);
    output_text(stderr, span_of(message->reason), OUTPUT_ONE_LINE);
    fputs(". --json shows its bytes.\n", stderr);
}

static void print_body(enum format format, const struct remotingclient_message *message)
{
    if (!message->body) {
        report_undecodable(message);
        return;
    }
    output_text(stdout, (struct span){ message->body, message->n_body }, OUTPUT_LINES);
    if (format == FORMAT_TEXT) {
        fputc('\n', stdout);
    }
}

static enum exit_code send_ack(struct receive_run *run, const char *receipt)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(REQUEST_ACK_MESSAGE);
    remotingclient_request_add(request, "sidecar.receipt", receipt);
    const int r = remotingclient_send(run->client, request, 0, NULL);
    return r < 0 ? command_report_broken(run->invocation, run->client, r) : EXIT_CODE_SUCCESS;
}

static enum exit_code receive_acks(struct receive_run *run)
{
    while (remotingclient_n_in_flight(run->client) > 0) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        const int r = remotingclient_receive(run->client, &answer);
        if (r < 0) {
            return command_report_broken(run->invocation, run->client, r);
        }
        if (remotingclient_answer_code(answer) != RESPONSE_SUCCESS) {
            const enum exit_code exit_code = command_report_failure(answer, "acknowledgement ");
            run->exit_code = run->exit_code == EXIT_CODE_SUCCESS ? exit_code : run->exit_code;
        }
    }
    return EXIT_CODE_SUCCESS;
}

/* Acknowledges what was printed: as JSON every message, else those that have a body. */
static enum exit_code acknowledge(
    struct receive_run *run, const struct remotingclient_messages *messages)
{
    const size_t n = remotingclient_messages_count(messages);
    enum exit_code exit_code = EXIT_CODE_SUCCESS;
    for (size_t i = 0; i < n && exit_code == EXIT_CODE_SUCCESS; i++) {
        const struct remotingclient_message *message = remotingclient_messages_get(messages, i);
        if (!message->receipt || !(message->body || run->format == FORMAT_JSON)) {
            continue;
        }
        if (remotingclient_n_in_flight(run->client) == IN_FLIGHT_MAX) {
            exit_code = receive_acks(run);
        }
        if (exit_code == EXIT_CODE_SUCCESS) {
            exit_code = send_ack(run, message->receipt);
        }
    }
    return exit_code == EXIT_CODE_SUCCESS ? receive_acks(run) : exit_code;
}

/* Prints the messages of an answer, and acknowledges them once the output has them. */
static enum exit_code print_and_acknowledge(
    struct receive_run *run, const struct remotingclient_answer *answer)
{
    CLEANUP(remotingclient_messages_free) struct remotingclient_messages *messages = NULL;
    const enum exit_code exit_code = command_read_messages(run->invocation, answer, &messages);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    const size_t n = remotingclient_messages_count(messages);
    run->n_received += (int64_t)n;
    if (run->format == FORMAT_JSON && !print_messages_json(answer)) {
        return EXIT_CODE_BROKER;
    }
    for (size_t i = 0; i < n && run->format != FORMAT_JSON; i++) {
        print_body(run->format, remotingclient_messages_get(messages, i));
    }
    if (!output_flush()) {
        return EXIT_CODE_BROKER;
    }
    return run->acknowledge ? acknowledge(run, messages) : EXIT_CODE_SUCCESS;
}

/*
 * One request and what it brings. *ret_n is the number of messages; *ret_may_pass tells a failure
 * that is worth another try.
 */
static enum exit_code receive_batch(struct receive_run *run, int64_t *ret_n, bool *ret_may_pass)
{
    const int64_t n_before = run->n_received;
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    enum exit_code exit_code = pop(run, &answer);
    if (exit_code != EXIT_CODE_SUCCESS || !answer) {
        return exit_code;
    }
    if (receive_is_nothing(answer)) {
        return EXIT_CODE_SUCCESS;
    }
    exit_code = command_judge(answer);
    *ret_may_pass = receive_may_pass(answer);
    run->daemon_stops = receive_daemon_stops(answer);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = print_and_acknowledge(run, answer);
    }
    *ret_n = run->n_received - n_before;
    return exit_code;
}

/*
 * A broker that has no room for another waiting consumer says so at once: asking again at once
 * would help nobody.
 */
static void pause_following(uint64_t since_ms)
{
    if (clock_now_ms() - since_ms < RECEIVE_PAUSE_MS) {
        (void)interrupt_poll(NULL, 0, RECEIVE_PAUSE_MS);
    }
}

static enum exit_code receive_all(struct receive_run *run)
{
    while (!interrupt_came()) {
        const uint64_t start_ms = clock_now_ms();
        int64_t n = 0;
        bool passes = false;
        const enum exit_code exit_code = receive_batch(run, &n, &passes);
        if (run->follow && run->daemon_stops) {
            fputs("remotingctl: the daemon stopped, and the following with it. Start it again when "
                  "the daemon is back: what was not acknowledged comes again.\n",
                stderr);
            return EXIT_CODE_NO_DAEMON;
        }
        if (exit_code != EXIT_CODE_SUCCESS && !(run->follow && passes)) {
            return exit_code;
        }
        const bool is_enough = run->max > 0 ? run->n_received >= run->max : !run->follow;
        if (is_enough || (n == 0 && !run->follow)) {
            break;
        }
        if (n == 0) {
            pause_following(start_ms);
        }
    }
    if (run->exit_code != EXIT_CODE_SUCCESS) {
        return run->exit_code;
    }
    return run->n_received == 0 && !run->follow ? EXIT_CODE_NOTHING : EXIT_CODE_SUCCESS;
}

static enum exit_code run_receive(struct invocation *invocation)
{
    struct receive_run run = {
        .invocation = invocation,
        .source = { .wait_ms = DEFAULT_WAIT_MS, .invisible_ms = -1, .max_reconsume = -1 },
        .worker = { .n_places = 1, .retry_delay_ms = DEFAULT_RETRY_DELAY_MS },
        .acknowledge = true,
    };
    read_options(invocation, &run);
    if (run.worker.command.text) {
        return worker_run(&run.worker);
    }
    if (run.follow) {
        interrupt_catch();
    }
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    const enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    run.client = client;
    return receive_all(&run);
}

static const struct option receive_options[] = {
    GLOBAL_OPTIONS,
    { "max", required_argument, NULL, 'n' },
    { "follow", no_argument, NULL, OPTION_FOLLOW },
    { "wait", required_argument, NULL, OPTION_WAIT },
    { "tag", required_argument, NULL, OPTION_TAG },
    { "filter", required_argument, NULL, OPTION_FILTER },
    { "sql", required_argument, NULL, OPTION_SQL },
    { "format", required_argument, NULL, OPTION_FORMAT },
    { "no-ack", no_argument, NULL, OPTION_NO_ACK },
    { "invisible", required_argument, NULL, OPTION_INVISIBLE },
    { "exec", required_argument, NULL, OPTION_EXEC },
    { "jobs", required_argument, NULL, 'j' },
    { "time-limit", required_argument, NULL, OPTION_TIME_LIMIT },
    { "retry-delay", required_argument, NULL, OPTION_RETRY_DELAY },
    { "max-reconsume", required_argument, NULL, OPTION_MAX_RECONSUME },
    { "verbose", no_argument, NULL, OPTION_VERBOSE },
    { 0 },
};

const struct command command_receive = {
    .name = "receive",
    .synopsis = "receive TOPIC GROUP",
    .summary = "print messages, or have a command run for each",
    .help = help,
    .options = receive_options,
    .short_options = "j:n:",
    .run = run_receive,
};
