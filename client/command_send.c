#include "client/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/delivery.h"
#include "client/input.h"
#include "client/interrupt.h"
#include "client/letter.h"
#include "client/output.h"
#include "client/sent.h"
#include "client/transaction.h"
#include "protocol/ext_fields.h"
#include "protocol/message.h"
#include "protocol/utf8.h"

DEFINE_CLEANUP(char *, free)

static const char help[] =
    "remotingctl send TOPIC [BODY]\n"
    "remotingctl send --from FILE\n"
    "\n"
    "Sends BODY as one message; without it the standard input is the message, or with --lines\n"
    "each of its lines is one. A BODY that begins with - stands behind --. Prints for each "
    "message\n"
    "its id, broker, queue and offset in the queue.\n"
    "\n"
    "  --file PATH            read PATH instead of the standard input (- is that)\n"
    "  --lines                one message a line, up to 64 on their way at once: their order in\n"
    "                         the queues is not that of the lines, nor is that of the output\n"
    "  --tag TAG              the message's tag, for consumers that filter\n"
    "  --key KEY              a key, by which it can be found; repeatable\n"
    "  --property NAME=VALUE  a property; repeatable\n"
    "  --delay DELAY          who consumes sees it that much later: a DURATION as in 90s (brokers\n"
    "                         take up to 3 days), or a level of RocketMQ's from 1 to 18\n"
    "  --sharding-key KEY     messages of one key go to one queue; with --lines each one waits\n"
    "                         for the answer to the one before, so that the order is kept\n"
    "  --oneway               wait for no answer, print nothing: failures stay unknown\n"
    "  --transaction COMMAND  nobody sees the message until 'sh -c COMMAND' has exited with 0.\n"
    "                         75, or death by a signal, leaves it undecided: the broker goes on\n"
    "                         asking the group. Any other exit code rolls it back. The command\n"
    "                         finds the message's id in REMOTINGCTL_UNIQ_KEY. Needs --group: "
    "those\n"
    "                         who can say what became of it, and nobody else\n"
    "  --group GROUP          the producer group; default: the daemon's\n"
    "  --timeout DURATION     the daemon's deadline; default: its upstream.request_timeout\n"
    "  --at-least-once        try again also what was perhaps stored: it may arrive twice, with\n"
    "                         the same UNIQ_KEY but where the daemon went away in between\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "With --lines a failed message does not stop the others; the exit code is the first\n"
    "failure's. A failure says \"sent: no\" when repeating it is safe, \"sent: maybe\" when not.\n"
    "\n"
    "For cron jobs, and whoever is not to lose a message: one message at a time is sent, and what\n"
    "fails and may pass is tried again, also while the daemon is not there. A message that was\n"
    "perhaps stored (sent: maybe) is tried again only with --at-least-once.\n"
    "\n"
    "  --retry-for DURATION   until nothing could be delivered for so long; default 0. Then no\n"
    "                         later message is tried either, so that none overtakes another\n"
    "  --undelivered FILE     what was not delivered is added to FILE, which is made with mode\n"
    "                         0600: a line of JSON for each message, with topic, group,\n"
    "                         properties, body (base64) and sent (no or maybe)\n"
    "  --from FILE            send what is in such a file; it needs no TOPIC, and without FILE\n"
    "                         there is nothing to do. What fails again stays in FILE, or goes to\n"
    "                         --undelivered FILE, which may be the same; what was perhaps\n"
    "                         stored is sent only with --at-least-once. Others may add to FILE\n"
    "                         meanwhile\n"
    "\n"
    "A message with a sharding key is not sent behind another one of which it is not known\n"
    "whether it was stored. Between runs --from FILE comes first, where the order matters. What\n"
    "a broker or the daemon refuses for good goes to FILE too, and the others go on. SIGINT and\n"
    "SIGTERM end the trying: what is left goes to FILE. A process that is killed leaves FILE as\n"
    "it was before --from, and what it had sent is then sent twice.\n"
    "\n"
    "Exit codes: 0 all stored (--oneway: handed to the daemon), 1 a broker refused, or FILE\n"
    "cannot be written, 2 wrong usage or input that does not fit a frame, 3 not delivered by the\n"
    "daemon, 5 no daemon. With --transaction: 0 committed, 6 rolled back, 7 undecided; 1, 3 and 5\n"
    "before the command ran: not sent, after it: the decision did not arrive, and the broker asks\n"
    "the group. With --undelivered or --from: 0 all delivered, 9 some or all are in FILE and none\n"
    "of them was stored, 10 of some of them that is not known.\n"
    "\n"
    "Examples:\n"
    "  remotingctl send orders 'hello, world'\n"
    "  remotingctl send orders --tag paid --key order-17 --property region=eu < order.json\n"
    "  remotingctl send reminders 'call back' --delay 90s\n"
    "  remotingctl send orders --lines --file orders.txt --sharding-key customer-7\n"
    "  remotingctl send orders 'order 17' --group billing-web1 --transaction './book 17'\n"
    "  report | remotingctl send reports --retry-for 10min --undelivered /var/spool/reports\n"
    "  */5 * * * *  remotingctl send --from /var/spool/reports --retry-for 4min   (crontab)\n"
    "  tail -f access.log | remotingctl send access --lines --json\n";

enum {
    OPTION_LINES = OPTION_OWN,
    OPTION_FILE,
    OPTION_TAG,
    OPTION_KEY,
    OPTION_PROPERTY,
    OPTION_DELAY,
    OPTION_SHARDING_KEY,
    OPTION_ONEWAY,
    OPTION_TRANSACTION,
    OPTION_GROUP,
    OPTION_TIMEOUT,
    OPTION_AT_LEAST_ONCE,
    OPTION_RETRY_FOR,
    OPTION_UNDELIVERED,
    OPTION_FROM,
};

#define DELAY_LEVEL_MAX 18 /* of a broker's default messageDelayLevel */

#define PROGRESS_INTERVAL_S 1

#define LINE_TOO_LONG_TEXT                                                                         \
    "line %" PRIu64 ": not sent: longer than a frame, which holds at most 16 MiB\n"

/*
 * What becomes of the messages. The token of a request is the number of its line, from 1 on; 0 for
 * a single message.
 */
struct send_run {
    const struct invocation *invocation;
    struct letter letter; /* every message but for its body */
    struct remotingclient_request
        *request; /* the same, where messages are not delivered one by one */
    struct remotingclient *client;
    const char *file;        /* NULL: the standard input */
    const char *transaction; /* the command that decides; NULL: it is no half message */
    struct delivery_options delivery;
    const char *from;  /* a file of letters */
    bool is_careful;   /* messages are delivered one by one */
    bool says_message; /* an option that says what a message is was given */
    bool by_lines;
    bool is_oneway;
    size_t in_flight_max;
    uint64_t n_lines;
    uint64_t n_sent;
    uint64_t n_failed;
    enum exit_code exit_code; /* of the first failure */
    bool shows_progress;
    time_t progress_at_s;
};

/* Java's producer, too, keeps the keys of a message in one property, with spaces between them. */
static void add_key(const struct invocation *invocation, char **keys, const char *key)
{
    char *joined = NULL;
    const int n = *keys ? asprintf(&joined, "%s %s", *keys, key) : asprintf(&joined, "%s", key);
    if (n < 0) {
        usage_error(invocation, "there is no memory for --key %s", key);
    }
    free(*keys);
    *keys = joined;
}

static void add_property(const struct send_run *run, struct span name, const char *value)
{
    json_t *properties = run->letter.properties;
    CLEANUP(free) char *key = strndup(name.data, name.n);
    if (key && json_object_get(properties, key)) {
        usage_error(run->invocation, "'property.%s' is given twice", key);
    }
    if (!key || json_object_set_new(properties, key, json_string(value)) < 0) {
        usage_error(run->invocation, "the property '%s' is not UTF-8, or too long", key ? key : "");
    }
}

static void add_pair_property(const struct send_run *run, const char *text)
{
    const size_t n_name = strcspn(text, "=");
    if (n_name == 0 || text[n_name] == '\0') {
        usage_error(run->invocation, "'%s' is no property: NAME=VALUE", text);
    }
    add_property(run, (struct span){ text, n_name }, text + n_name + 1);
}

static void add_delay(const struct send_run *run, const char *text)
{
    int64_t level;
    if (ext_value_parse_i64(span_of(text), 1, INT32_MAX, &level)) {
        if (level > DELAY_LEVEL_MAX) {
            usage_error(run->invocation,
                "--delay '%s' is no level: those are from 1 to 18. A duration has a unit, as in "
                "500ms, 5s, 2min",
                text);
        }
        add_property(run, SPAN(PROPERTY_DELAY_LEVEL), text);
        return;
    }
    char number[24];
    (void)snprintf(
        number, sizeof(number), "%" PRId64, option_duration_ms(run->invocation, "--delay", text));
    add_property(run, SPAN(PROPERTY_TIMER_DELAY_MS), number);
}

/* The options that become properties. */
static void add_option(struct send_run *run, int option)
{
    run->says_message = true;
    switch (option) {
    case OPTION_TAG:
        add_property(run, SPAN(PROPERTY_TAGS), optarg);
        break;
    case OPTION_PROPERTY:
        add_pair_property(run, optarg);
        break;
    case OPTION_DELAY:
        add_delay(run, optarg);
        break;
    case OPTION_SHARDING_KEY:
        run->in_flight_max = 1;
        add_property(run, SPAN(PROPERTY_SHARDING_KEY), optarg);
        break;
    }
}

/* The options of careful sending. False: it is none of them. */
static bool read_delivery_option(struct send_run *run, int option)
{
    const struct invocation *invocation = run->invocation;
    switch (option) {
    case OPTION_RETRY_FOR:
        run->delivery.retry_for_ms = option_duration_ms(invocation, "--retry-for", optarg);
        break;
    case OPTION_UNDELIVERED:
        run->delivery.undelivered_path = optarg;
        break;
    case OPTION_FROM:
        run->from = optarg;
        break;
    default:
        return false;
    }
    run->is_careful = true;
    return true;
}

static void read_option(struct send_run *run, int option)
{
    switch (option) {
    case OPTION_LINES:
        run->by_lines = true;
        break;
    case OPTION_FILE:
        run->file = optarg;
        break;
    case OPTION_ONEWAY:
        run->is_oneway = true;
        break;
    case OPTION_TRANSACTION:
        run->transaction = optarg;
        break;
    case OPTION_GROUP:
        run->says_message = true;
        run->letter.group = optarg;
        break;
    case OPTION_TIMEOUT:
        run->delivery.timeout_ms = option_duration_ms(run->invocation, "--timeout", optarg);
        break;
    case OPTION_AT_LEAST_ONCE:
        run->delivery.at_least_once = true;
        break;
    default:
        if (!read_delivery_option(run, option)) {
            add_option(run, option);
        }
        break;
    }
}

static void read_options(struct invocation *invocation, struct send_run *run)
{
    CLEANUP(free) char *keys = NULL;
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        if (option == OPTION_KEY) {
            run->says_message = true;
            add_key(invocation, &keys, optarg);
        } else {
            read_option(run, option);
        }
    }
    if (keys) {
        add_property(run, SPAN(PROPERTY_KEYS), keys);
    }
}

/* Where the messages come from: a descriptor. */
static int open_input(const struct send_run *run)
{
    if (!run->file || strcmp(run->file, "-") == 0) {
        return STDIN_FILENO;
    }
    const int fd = open(run->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        usage_error(run->invocation, "%s cannot be read (%s)", run->file, strerror(errno));
    }
    return fd;
}

static const char *input_name(const struct send_run *run)
{
    return run->file && strcmp(run->file, "-") != 0 ? run->file : "the standard input";
}

static void report_input(const struct send_run *run, int error)
{
    fprintf(stderr, "remotingctl: %s cannot be read (%s).\n", input_name(run), strerror(-error));
}

static void count_failure(struct send_run *run, enum exit_code exit_code)
{
    run->n_failed++;
    if (run->exit_code == EXIT_CODE_SUCCESS) {
        run->exit_code = exit_code;
    }
}

static void take_answer(struct send_run *run, const struct remotingclient_answer *answer)
{
    const uint64_t line = remotingclient_answer_token(answer);
    char prefix[40] = "";
    if (line > 0) {
        snprintf(prefix, sizeof(prefix), "line %" PRIu64 ": ", line);
    }
    sent_print(run->invocation, answer, line);
    if (remotingclient_answer_is_stored(answer)) {
        run->n_sent++;
    } else {
        count_failure(run, command_report_failure(answer, prefix));
    }
}

static void show_progress(struct send_run *run)
{
    const time_t now_s = time(NULL);
    if (run->shows_progress && now_s - run->progress_at_s >= PROGRESS_INTERVAL_S) {
        run->progress_at_s = now_s;
        fprintf(stderr, "\rsent %" PRIu64 ", failed %" PRIu64, run->n_sent, run->n_failed);
    }
}

/* Waits for answers, for the input, or for the time when an answer is overdue. */
static int wait_for_both(struct remotingclient *client, int input_fd, bool *ret_input_ready)
{
    struct pollfd fds[2] = {
        { .fd = remotingclient_fd(client), .events = remotingclient_events(client) },
        { .fd = input_fd, .events = POLLIN },
    };
    if (poll(fds, 2, remotingclient_timeout_ms(client)) < 0 && errno != EINTR) {
        return -errno;
    }
    *ret_input_ready = fds[1].revents != 0;
    (void)remotingclient_step(client); /* what fails comes out behind the answers before it */
    return 0;
}

/* Takes what has arrived; with `waits` at least one answer. */
static int take_answers(struct send_run *run, bool waits)
{
    for (;;) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        const int r = waits ? remotingclient_receive(run->client, &answer)
                            : remotingclient_take(run->client, &answer);
        if (r < 0) {
            return r == -EAGAIN ? 0 : r;
        }
        take_answer(run, answer);
        show_progress(run);
        waits = false;
    }
}

/* Sends one line. Only what breaks the connection is an error. */
static int send_line(struct send_run *run, struct span line, enum line_status status)
{
    run->n_lines++;
    int r = -EMSGSIZE;
    if (status == LINE_READY) {
        remotingclient_request_set_body(run->request, line.data, line.n);
        r = remotingclient_send(run->client, run->request, run->n_lines, NULL);
        run->n_sent += r == 0 && run->is_oneway;
    }
    if (r == -EMSGSIZE) {
        fprintf(stderr, LINE_TOO_LONG_TEXT, run->n_lines);
        count_failure(run, EXIT_CODE_USAGE);
        r = 0;
    }
    return r;
}

/*
 * Sends what lines there are, as long as there may be more in flight. *ret_status says why it
 * stopped.
 */
static int send_ready_lines(
    struct send_run *run, struct line_reader *reader, enum line_status *ret_status)
{
    *ret_status = LINE_READY;
    while (remotingclient_n_in_flight(run->client) < run->in_flight_max) {
        struct span line = SPAN_ABSENT;
        *ret_status = line_reader_next(reader, &line);
        if (*ret_status == LINE_PARTIAL || *ret_status == LINE_END) {
            return 0;
        }
        const int r = send_line(run, line, *ret_status);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* 0 when every line was read and answered. */
static int send_lines(struct send_run *run, struct line_reader *reader, int *ret_input_error)
{
    for (;;) {
        enum line_status status;
        int r = send_ready_lines(run, reader, &status);
        if (r < 0) {
            return r;
        }
        const bool is_full = remotingclient_n_in_flight(run->client) == run->in_flight_max;
        if (is_full || (status == LINE_END && remotingclient_n_in_flight(run->client) > 0)) {
            r = take_answers(run, true);
        } else if (status == LINE_END) {
            return 0;
        } else {
            /* The input may be slow: answers are printed while it is waited for. */
            (void)fflush(stdout);
            bool input_ready = false;
            r = wait_for_both(run->client, reader->fd, &input_ready);
            if (r == 0 && input_ready) {
                *ret_input_error = line_reader_fill(reader);
                reader->ended |= *ret_input_error < 0;
            }
            r = r < 0 ? r : take_answers(run, false);
        }
        if (r < 0) {
            return r;
        }
    }
}

static enum exit_code run_lines(struct send_run *run, int fd)
{
    struct line_reader reader;
    line_reader_init(&reader, fd);
    run->shows_progress = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
    run->progress_at_s = time(NULL);

    int input_error = 0;
    const int r = send_lines(run, &reader, &input_error);
    line_reader_deinit(&reader);
    if (run->shows_progress) {
        fputs("\r", stderr);
    }
    if (r < 0) {
        run->exit_code = command_report_broken(run->invocation, run->client, r);
    }
    if (input_error < 0) {
        report_input(run, input_error);
        run->exit_code = EXIT_CODE_USAGE;
    }
    fprintf(stderr, "sent %" PRIu64 ", failed %" PRIu64, run->n_sent, run->n_failed);
    if (run->n_lines > run->n_sent + run->n_failed) {
        fprintf(stderr, ", without an answer %" PRIu64, run->n_lines - run->n_sent - run->n_failed);
    }
    fputc('\n', stderr);
    return run->exit_code;
}

static enum exit_code send_body(struct send_run *run, struct span body)
{
    remotingclient_request_set_body(run->request, body.data, body.n);
    if (run->is_oneway) {
        const int r = remotingclient_send(run->client, run->request, 0, NULL);
        return r < 0 ? command_report_broken(run->invocation, run->client, r) : EXIT_CODE_SUCCESS;
    }
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    const enum exit_code exit_code =
        command_invoke_request(run->invocation, run->client, run->request, &answer);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    take_answer(run, answer);
    if (run->transaction && run->exit_code == EXIT_CODE_SUCCESS) {
        return transaction_decide(run->invocation, run->client, answer, run->transaction);
    }
    return run->exit_code;
}

/* All of the input; *ret_owned is to be freed. */
static struct span read_body(const struct send_run *run, int fd, char **ret_owned)
{
    size_t n;
    const int r = input_read_all(fd, ret_owned, &n);
    if (r < 0) {
        usage_error(run->invocation, "%s cannot be sent (%s)", input_name(run), strerror(-r));
    }
    return (struct span){ *ret_owned, n };
}

static enum exit_code run_one(struct send_run *run, const char *body, int fd)
{
    CLEANUP(free) char *owned = NULL;
    return send_body(run, body ? span_of(body) : read_body(run, fd, &owned));
}

static void check_transaction(const struct send_run *run)
{
    if (!run->transaction) {
        return;
    }
    if (run->by_lines || run->is_oneway) {
        usage_error(run->invocation,
            "--transaction is for one message that is answered: not with %s",
            run->by_lines ? "--lines" : "--oneway");
    }
    if (!run->letter.group) {
        usage_error(run->invocation,
            "--transaction needs --group: brokers ask its members what became of the message");
    }
}

/* What cannot be had together with careful sending, and what --from says itself. */
static void check_careful(const struct send_run *run)
{
    if (!run->is_careful) {
        return;
    }
    if (run->transaction || run->is_oneway) {
        usage_error(run->invocation,
            "--retry-for, --undelivered and --from wait for answers: not with %s",
            run->transaction ? "--transaction" : "--oneway");
    }
    if (run->from && (run->by_lines || run->file || run->says_message)) {
        usage_error(run->invocation, "--from FILE has whole messages: there is no option with it "
                                     "that says what one is");
    }
}

/* --- one by one --- */

static void deliver(struct send_run *run, struct delivery *delivery, struct span body)
{
    char prefix[40] = "";
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    struct letter letter = run->letter;
    /* A letter that fails gets a property more, and this one must not have it for the next. */
    letter.properties = json_copy(run->letter.properties);
    letter.body = body;
    if (run->by_lines) {
        (void)snprintf(prefix, sizeof(prefix), "line %" PRIu64 ": ", ++run->n_lines);
    }
    delivery_send(delivery, &letter, prefix, &answer);
    json_decref(letter.properties);
    if (answer) {
        sent_print(run->invocation, answer, run->n_lines);
    }
}

static void deliver_lines(struct send_run *run, struct delivery *delivery, int fd)
{
    struct line_reader reader;
    struct span line;
    enum line_status status;
    line_reader_init(&reader, fd);
    while ((status = line_reader_next(&reader, &line)) != LINE_END) {
        if (status == LINE_READY) {
            deliver(run, delivery, line);
        } else if (status == LINE_TOO_LONG) {
            fprintf(stderr, LINE_TOO_LONG_TEXT, ++run->n_lines);
            delivery_count_lost(delivery);
        } else if (!interrupt_input_comes(fd)) {
            reader.ended = true;
        } else {
            const int r = line_reader_fill(&reader);
            if (r < 0) {
                report_input(run, r);
                delivery_count_lost(delivery);
                reader.ended = true;
            }
        }
        (void)fflush(stdout);
    }
    line_reader_deinit(&reader);
}

static enum exit_code run_carefully(struct send_run *run, const char *body, int fd)
{
    struct delivery delivery;
    CLEANUP(free) char *owned = NULL;
    struct span whole = span_of(body);
    if (!body && !run->by_lines && !run->from) {
        whole = read_body(run, fd, &owned);
    }
    if (!delivery_init(&delivery, &run->delivery, run->from)) {
        delivery_deinit(&delivery);
        return delivery.exit_code;
    }
    if (run->from) {
        delivery_send_file(&delivery);
    } else if (run->by_lines) {
        deliver_lines(run, &delivery, fd);
    } else {
        deliver(run, &delivery, whole);
    }
    const enum exit_code exit_code = delivery_finish(&delivery);
    delivery_deinit(&delivery);
    return exit_code;
}

/* --- all at once --- */

static enum exit_code run_at_once(struct send_run *run, const char *body, int fd)
{
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    enum exit_code exit_code = command_connect(run->invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS && run->transaction) {
        exit_code = transaction_register(run->invocation, client, run->letter.group);
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        run->client = client;
        exit_code = run->by_lines ? run_lines(run, fd) : run_one(run, body, fd);
    }
    return exit_code;
}

static void complete_request(struct send_run *run)
{
    /* JSON has no room for it, be it the header's or the file's. */
    const struct span names[] = { span_of(run->letter.topic), span_of(run->letter.group) };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!utf8_is_valid(names[i])) {
            usage_error(run->invocation, "'%.*s' is not UTF-8", SPAN_ARGS(names[i]));
        }
    }
    run->request = letter_request_new(&run->letter);
    delivery_add_fields(&run->delivery, run->request);
    if (run->transaction) {
        remotingclient_request_add(run->request, "sidecar.transaction", "half");
    }
    remotingclient_request_set_oneway(run->request, run->is_oneway);
    command_check_request(run->invocation, run->request);
}

static enum exit_code run_send(struct invocation *invocation)
{
    CLEANUP(json_decref) json_t *properties = json_object();
    struct send_run run = {
        .invocation = invocation,
        .letter = { .properties = properties },
        .delivery = { .invocation = invocation, .timeout_ms = -1 },
        .in_flight_max = IN_FLIGHT_MAX,
    };
    read_options(invocation, &run);
    check_transaction(&run);
    check_careful(&run);
    const int n = command_count_operands(invocation, run.from ? 0 : 1, run.from ? 0 : 2);
    const char *body = n == 2 ? invocation->argv[optind + 1] : NULL;
    if (body && (run.by_lines || run.file)) {
        usage_error(invocation, "%s: there is no BODY with it",
            run.file ? "--file has the message" : "--lines reads the standard input");
    }
    if (!run.from) {
        run.letter.topic = invocation->argv[optind];
        complete_request(&run);
    }
    const int fd = open_input(&run);
    const enum exit_code exit_code =
        run.is_careful ? run_carefully(&run, body, fd) : run_at_once(&run, body, fd);
    if (fd != STDIN_FILENO) {
        (void)close(fd);
    }
    run.request = remotingclient_request_free(run.request);
    return exit_code;
}

static const struct option send_options[] = {
    GLOBAL_OPTIONS,
    { "lines", no_argument, NULL, OPTION_LINES },
    { "file", required_argument, NULL, OPTION_FILE },
    { "tag", required_argument, NULL, OPTION_TAG },
    { "key", required_argument, NULL, OPTION_KEY },
    { "property", required_argument, NULL, OPTION_PROPERTY },
    { "delay", required_argument, NULL, OPTION_DELAY },
    { "sharding-key", required_argument, NULL, OPTION_SHARDING_KEY },
    { "oneway", no_argument, NULL, OPTION_ONEWAY },
    { "transaction", required_argument, NULL, OPTION_TRANSACTION },
    { "group", required_argument, NULL, OPTION_GROUP },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { "at-least-once", no_argument, NULL, OPTION_AT_LEAST_ONCE },
    { "retry-for", required_argument, NULL, OPTION_RETRY_FOR },
    { "undelivered", required_argument, NULL, OPTION_UNDELIVERED },
    { "from", required_argument, NULL, OPTION_FROM },
    { 0 },
};

const struct command command_send = {
    .name = "send",
    .synopsis = "send TOPIC [BODY]",
    .summary = "send a message, or one for each line of the input",
    .help = help,
    .options = send_options,
    .run = run_send,
};
