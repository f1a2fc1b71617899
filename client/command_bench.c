#include "client/command.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/histogram.h"
#include "client/output.h"
#include "protocol/code.h"

static const char help[] =
    "remotingctl bench send|receive TOPIC\n"
    "\n"
    "Loads the daemon and the brokers behind it, and tells messages a second, how long requests\n"
    "took (p50, p99, max) and what failed, by cause. send writes messages to TOPIC; receive takes\n"
    "and acknowledges what is there for a group of its own. An interrupt ends it early, with what\n"
    "was measured until then.\n"
    "\n"
    "  --callers N      connections to the daemon, up to 1000; default 4\n"
    "  --in-flight N    requests in flight on each, up to 1000; default 16. For receive up to 30:\n"
    "                   each of those takes up to 32 messages\n"
    "  --size BYTES     of a message's body; default 100\n"
    "  --count N        stop after N messages; those that could not be sent count, too\n"
    "  --seconds N      stop after N seconds; default 10, with --count 600\n"
    "  --group GROUP    the consumer group of receive; default remotingctl-bench\n"
    "  --timeout DURATION\n"
    "                   the daemon's deadline for each SEND and ACK; default: its\n"
    "                   upstream.request_timeout\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "The time of a receive is that of a request that brought messages, with its waiting for them.\n"
    "\n"
    "Exit codes: 0 nothing failed, 4 nothing failed and there was no message, 2 wrong usage,\n"
    "5 no daemon or it went away; else the first failure's: 1 a broker's, 3 the daemon's.\n"
    "\n"
    "Examples:\n"
    "  remotingctl bench send load-test --seconds 30 --callers 8 --size 1000\n"
    "  remotingctl bench send load-test --count 1 --callers 1 --in-flight 1 --json\n"
    "  remotingctl bench receive load-test --count 100000\n";

enum {
    OPTION_CALLERS = OPTION_OWN,
    OPTION_IN_FLIGHT,
    OPTION_SIZE,
    OPTION_COUNT,
    OPTION_SECONDS,
    OPTION_GROUP,
    OPTION_TIMEOUT,
};

#define CALLERS_MAX           1000
#define SEND_IN_FLIGHT_MAX    1000
#define RECEIVE_IN_FLIGHT_MAX 30
#define BATCH_MAX             32 /* what a broker gives at most for one POP */
#define POLL_TIME_MS          1000
#define TURN_MS               100 /* so often it looks at the clock and for an interrupt */
#define CAUSES_MAX            16
#define NS_PER_US             1000u

/* A token: when the request was sent, and how many messages it was to bring; 0 for an ACK. */
#define TOKEN_COUNT_BITS 6

struct cause {
    char name[48];
    uint64_t n;
};

struct caller {
    struct remotingclient *client;
    size_t n_open; /* SENDs or POPs without an answer */
};

struct bench_run {
    const struct invocation *invocation;
    bool receives;
    const char *topic;
    const char *group;
    struct remotingclient_request *request; /* the SEND, or the POP */
    char *body;
    int64_t size;
    int64_t in_flight;
    int64_t count; /* INT64_MAX: no limit */
    int64_t seconds;
    int64_t timeout_ms; /* -1: the daemon's */
    struct caller *callers;
    struct pollfd *fds;
    size_t n_callers;
    uint64_t start_us;
    uint64_t end_us;
    int64_t n_done;
    int64_t n_asked; /* messages that requests without an answer may add */
    uint64_t n_failed;
    struct cause causes[CAUSES_MAX]; /* the last one: all that had no room */
    size_t n_causes;
    enum exit_code exit_code; /* of the first failure */
    struct histogram latencies;
};

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    is_interrupted = 1;
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / NS_PER_US;
}

static int64_t option_count_up_to(
    const struct invocation *invocation, const char *option, const char *text, int64_t max)
{
    const int64_t value = option_count(invocation, option, text);
    if (value > max) {
        usage_error(invocation, "%s '%s' is too much: up to %" PRId64, option, text, max);
    }
    return value;
}

static void read_operands(struct invocation *invocation, struct bench_run *run)
{
    command_count_operands(invocation, 2, 2);
    const char *what = invocation->argv[optind];
    run->receives = strcmp(what, "receive") == 0;
    if (!run->receives && strcmp(what, "send") != 0) {
        usage_error(invocation, "'%s' cannot be measured: send, receive", what);
    }
    run->topic = invocation->argv[optind + 1];
    if (run->receives && run->in_flight > RECEIVE_IN_FLIGHT_MAX) {
        usage_error(invocation, "--in-flight is up to %d for receive", RECEIVE_IN_FLIGHT_MAX);
    }
}

static void read_options(struct invocation *invocation, struct bench_run *run)
{
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        switch (option) {
        case OPTION_CALLERS:
            run->n_callers =
                (size_t)option_count_up_to(invocation, "--callers", optarg, CALLERS_MAX);
            break;
        case OPTION_IN_FLIGHT:
            run->in_flight =
                option_count_up_to(invocation, "--in-flight", optarg, SEND_IN_FLIGHT_MAX);
            break;
        case OPTION_SIZE:
            run->size = option_count(invocation, "--size", optarg);
            break;
        case OPTION_COUNT:
            run->count = option_count(invocation, "--count", optarg);
            break;
        case OPTION_SECONDS:
            run->seconds = option_count(invocation, "--seconds", optarg);
            break;
        case OPTION_GROUP:
            run->group = optarg;
            break;
        case OPTION_TIMEOUT:
            run->timeout_ms = option_duration_ms(invocation, "--timeout", optarg);
            break;
        }
    }
    if (run->seconds == 0) {
        run->seconds = run->count == INT64_MAX ? 10 : 600;
    }
    read_operands(invocation, run);
}

static void count_failure(struct bench_run *run, const char *name, enum exit_code exit_code)
{
    size_t i = 0;
    while (i < run->n_causes && strcmp(run->causes[i].name, name) != 0) {
        i++;
    }
    if (i == run->n_causes && i < CAUSES_MAX) {
        run->n_causes++;
        (void)snprintf(run->causes[i].name, sizeof(run->causes[i].name), "%s",
            i + 1 == CAUSES_MAX ? "others" : name);
    }
    run->causes[i < CAUSES_MAX ? i : CAUSES_MAX - 1].n++;
    run->n_failed++;
    run->exit_code = run->exit_code == EXIT_CODE_SUCCESS ? exit_code : run->exit_code;
}

static void count_answered_failure(
    struct bench_run *run, const struct remotingclient_answer *answer)
{
    struct remotingclient_failure failure;
    char text[sizeof(run->causes[0].name)];
    if (!remotingclient_answer_failure(answer, &failure)) {
        return;
    }
    const char *name = failure.error ? failure.error : response_code_name(failure.code);
    (void)snprintf(text, sizeof(text), "code %" PRId32, failure.code);
    if (name) {
        (void)snprintf(text, sizeof(text), "%s", name);
    }
    count_failure(run, text, failure.error ? EXIT_CODE_DAEMON : EXIT_CODE_BROKER);
}

static void add_timeout(const struct bench_run *run, struct remotingclient_request *request)
{
    if (run->timeout_ms >= 0) {
        remotingclient_request_add_number(request, "sidecar.timeoutMillis", run->timeout_ms);
    }
}

static void make_request(struct bench_run *run)
{
    run->request =
        remotingclient_request_new(run->receives ? REQUEST_POP_MESSAGE : REQUEST_SEND_MESSAGE);
    remotingclient_request_add(run->request, "topic", run->topic);
    if (run->receives) {
        remotingclient_request_add(run->request, "consumerGroup", run->group);
        remotingclient_request_add(run->request, "sidecar.answerFormat", "json");
    } else {
        remotingclient_request_set_body(run->request, run->body, (size_t)run->size);
        add_timeout(run, run->request);
    }
}

/*
 * An ACK is sent for every message as it comes, and has to find room among the requests in flight
 * of its caller: a POP is sent only while there is room for the ACKs of all that are open.
 */
static bool has_room(const struct bench_run *run, const struct caller *caller)
{
    const size_t n_others = remotingclient_n_in_flight(caller->client) - caller->n_open;
    return (int64_t)caller->n_open < run->in_flight &&
           (!run->receives ||
               n_others + (caller->n_open + 1) * (BATCH_MAX + 1) <= REMOTINGCLIENT_IN_FLIGHT_MAX);
}

/* For a POP: how many messages, and how long it may wait for them. */
static void set_pop_fields(struct bench_run *run, int64_t n, uint64_t time_us)
{
    const int64_t left_ms = (int64_t)(run->end_us - time_us) / 1000;
    remotingclient_request_remove(run->request, "maxMsgNums");
    remotingclient_request_remove(run->request, "pollTime");
    remotingclient_request_add_number(run->request, "maxMsgNums", n);
    remotingclient_request_add_number(
        run->request, "pollTime", left_ms < POLL_TIME_MS ? left_ms : POLL_TIME_MS);
}

/*
 * How many messages may still be asked for. A message that could not be sent is one, too: nothing
 * ends a run against a broker that is away but this.
 */
static int64_t messages_left(const struct bench_run *run)
{
    const int64_t n_failed = run->receives ? 0 : (int64_t)run->n_failed;
    return run->count - run->n_done - n_failed - run->n_asked;
}

/* Sends what may be sent now. Only what breaks the connection is an error. */
static int fill(struct bench_run *run, struct caller *caller)
{
    const uint64_t time_us = now_us();
    while (!is_interrupted && time_us < run->end_us && has_room(run, caller)) {
        int64_t n = messages_left(run);
        const int64_t n_max = run->receives ? BATCH_MAX : 1;
        n = n < n_max ? n : n_max;
        if (n <= 0) {
            return 0;
        }
        if (run->receives) {
            set_pop_fields(run, n, time_us);
        }
        const uint64_t token = now_us() << TOKEN_COUNT_BITS | (uint64_t)n;
        const int r = remotingclient_submit(caller->client, run->request, token, NULL);
        if (r < 0) {
            return r == -EAGAIN ? 0 : r;
        }
        caller->n_open++;
        run->n_asked += n;
    }
    return 0;
}

static int acknowledge(const struct bench_run *run, struct caller *caller, const char *receipt)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(REQUEST_ACK_MESSAGE);
    remotingclient_request_add(request, "sidecar.receipt", receipt);
    add_timeout(run, request);
    return remotingclient_submit(caller->client, request, 0, NULL);
}

/* Counts the messages of a POP's answer, and acknowledges them. */
static int take_messages(struct bench_run *run, struct caller *caller,
    const struct remotingclient_answer *answer, size_t *ret_n)
{
    CLEANUP(remotingclient_messages_free) struct remotingclient_messages *messages = NULL;
    int r = remotingclient_messages_new(answer, &messages);
    if (r < 0) {
        return r;
    }
    const size_t n = remotingclient_messages_count(messages);
    for (size_t i = 0; i < n; i++) {
        const char *receipt = remotingclient_messages_get(messages, i)->receipt;
        r = receipt ? acknowledge(run, caller, receipt) : 0;
        if (r == -EAGAIN) {
            count_failure(run, "not acknowledged: no room", EXIT_CODE_NO_DAEMON);
        } else if (r < 0) {
            return r;
        }
    }
    *ret_n = n;
    return 0;
}

static bool is_nothing(const struct remotingclient_answer *answer)
{
    const int32_t code = remotingclient_answer_code(answer);
    return (code == RESPONSE_POLLING_TIMEOUT || code == RESPONSE_PULL_NOT_FOUND ||
               code == RESPONSE_POLLING_FULL) &&
           span_is_absent(answer_field(answer, "sidecar.error"));
}

static int take_answer(
    struct bench_run *run, struct caller *caller, const struct remotingclient_answer *answer)
{
    const uint64_t token = remotingclient_answer_token(answer);
    const bool is_stored = !run->receives && remotingclient_answer_is_stored(answer);
    size_t n = 1;
    if (token == 0) {
        count_answered_failure(run, answer);
        return 0;
    }
    caller->n_open--;
    run->n_asked -= (int64_t)(token & ((1u << TOKEN_COUNT_BITS) - 1));
    if (run->receives && remotingclient_answer_code(answer) == RESPONSE_SUCCESS) {
        const int r = take_messages(run, caller, answer, &n);
        if (r < 0) {
            return r;
        }
    } else if (!is_stored) {
        if (!run->receives || !is_nothing(answer)) {
            count_answered_failure(run, answer);
        }
        return 0;
    }
    run->n_done += (int64_t)n;
    if (n > 0) {
        histogram_record(&run->latencies, (now_us() - (token >> TOKEN_COUNT_BITS)) * NS_PER_US);
    }
    return 0;
}

static int take_answers(struct bench_run *run, struct caller *caller)
{
    (void)remotingclient_step(caller->client); /* what fails comes out behind the answers */
    for (;;) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        int r = remotingclient_take(caller->client, &answer);
        if (r == 0) {
            r = take_answer(run, caller, answer);
        }
        if (r < 0) {
            return r == -EAGAIN ? 0 : r;
        }
    }
}

/* One wait and what it brings. *ret_is_over when nothing is in flight and nothing may be sent. */
static int turn(struct bench_run *run, struct caller **ret_broken, bool *ret_is_over)
{
    size_t n_in_flight = 0;
    for (size_t i = 0; i < run->n_callers; i++) {
        struct caller *caller = &run->callers[i];
        const int r = fill(run, caller);
        if (r < 0) {
            *ret_broken = caller;
            return r;
        }
        n_in_flight += remotingclient_n_in_flight(caller->client);
        run->fds[i].fd = remotingclient_fd(caller->client);
        run->fds[i].events = remotingclient_events(caller->client);
        run->fds[i].revents = 0;
    }
    *ret_is_over = n_in_flight == 0;
    if (*ret_is_over) {
        return 0;
    }
    (void)poll(run->fds, run->n_callers, TURN_MS);
    for (size_t i = 0; i < run->n_callers; i++) {
        struct caller *caller = &run->callers[i];
        const bool is_due = remotingclient_timeout_ms(caller->client) == 0;
        const int r = run->fds[i].revents || is_due ? take_answers(run, caller) : 0;
        if (r < 0) {
            *ret_broken = caller;
            return r;
        }
    }
    return 0;
}

static double seconds_since(uint64_t start_us)
{
    return (double)(now_us() - start_us) / 1e6;
}

static uint64_t latency_us(const struct bench_run *run, double percent)
{
    return histogram_percentile(&run->latencies, percent) / NS_PER_US;
}

static void print_json(const struct bench_run *run, double seconds)
{
    json_t *failures = json_object();
    for (size_t i = 0; i < run->n_causes; i++) {
        json_object_set_new(
            failures, run->causes[i].name, json_integer((json_int_t)run->causes[i].n));
    }
    output_json(json_pack("{s:s, s:I, s:f, s:f, s:{s:I, s:I, s:I}, s:I, s:o}", "operation",
        run->receives ? "receive" : "send", "messages", (json_int_t)run->n_done, "seconds", seconds,
        "messagesPerSecond", (double)run->n_done / seconds, "latencyMicros", "p50",
        (json_int_t)latency_us(run, 50), "p99", (json_int_t)latency_us(run, 99), "max",
        (json_int_t)(run->latencies.max / NS_PER_US), "failed", (json_int_t)run->n_failed,
        "failures", failures));
}

static void print_text(const struct bench_run *run, double seconds)
{
    printf("%s %" PRId64 " messages in %.1f s: %.0f messages/s\n",
        run->receives ? "received" : "sent", run->n_done, seconds, (double)run->n_done / seconds);
    printf("latency: p50 %" PRIu64 " us, p99 %" PRIu64 " us, max %" PRIu64 " us\n",
        latency_us(run, 50), latency_us(run, 99), run->latencies.max / NS_PER_US);
    printf("failed: %" PRIu64 "\n", run->n_failed);
    for (size_t i = 0; i < run->n_causes; i++) {
        printf("  %" PRIu64 "  ", run->causes[i].n);
        output_text(stdout, span_of(run->causes[i].name), OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
}

static enum exit_code bench(struct bench_run *run)
{
    run->start_us = now_us();
    run->end_us = run->start_us + (uint64_t)run->seconds * 1000000;
    struct caller *broken = NULL;
    bool is_over = false;
    int r = 0;
    while (r == 0 && !is_over) {
        r = turn(run, &broken, &is_over);
    }
    const double seconds = seconds_since(run->start_us);
    if (r < 0) {
        run->exit_code = command_report_broken(run->invocation, broken->client, r);
    } else if (run->exit_code == EXIT_CODE_SUCCESS && run->n_done == 0) {
        run->exit_code = EXIT_CODE_NOTHING;
    }
    if (run->invocation->json) {
        print_json(run, seconds);
    } else {
        print_text(run, seconds);
    }
    return run->exit_code;
}

static void catch_interrupts(void)
{
    const struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static enum exit_code connect_and_bench(struct bench_run *run)
{
    run->callers = calloc(run->n_callers, sizeof(*run->callers));
    run->fds = calloc(run->n_callers, sizeof(*run->fds));
    run->body = malloc((size_t)run->size);
    if (!run->callers || !run->fds || !run->body) {
        fputs("remotingctl: out of memory.\n", stderr);
        return EXIT_CODE_BROKER;
    }
    memset(run->body, 'x', (size_t)run->size);
    make_request(run);
    command_check_request(run->invocation, run->request);
    for (size_t i = 0; i < run->n_callers; i++) {
        const enum exit_code exit_code = command_connect(run->invocation, &run->callers[i].client);
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
    }
    catch_interrupts();
    return bench(run);
}

static enum exit_code run_bench(struct invocation *invocation)
{
    static struct bench_run run; /* the histogram is large */
    run = (struct bench_run){
        .invocation = invocation,
        .group = "remotingctl-bench",
        .n_callers = 4,
        .in_flight = 16,
        .size = 100,
        .count = INT64_MAX,
        .timeout_ms = -1,
    };
    read_options(invocation, &run);
    const enum exit_code exit_code = connect_and_bench(&run);
    for (size_t i = 0; run.callers && i < run.n_callers; i++) {
        remotingclient_free(run.callers[i].client);
    }
    remotingclient_request_free(run.request);
    free(run.callers);
    free(run.fds);
    free(run.body);
    return exit_code;
}

static const struct option bench_options[] = {
    GLOBAL_OPTIONS,
    { "callers", required_argument, NULL, OPTION_CALLERS },
    { "in-flight", required_argument, NULL, OPTION_IN_FLIGHT },
    { "size", required_argument, NULL, OPTION_SIZE },
    { "count", required_argument, NULL, OPTION_COUNT },
    { "seconds", required_argument, NULL, OPTION_SECONDS },
    { "group", required_argument, NULL, OPTION_GROUP },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { 0 },
};

static const char *const directions[] = { "send", "receive", NULL };

const struct command command_bench = {
    .name = "bench",
    .synopsis = "bench send|receive TOPIC",
    .summary = "how many messages a second, and how fast",
    .help = help,
    .options = bench_options,
    .words = directions,
    .run = run_bench,
};
