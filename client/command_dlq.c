#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/dead_letter.h"
#include "client/dead_letter_queues.h"
#include "client/interrupt.h"
#include "client/output.h"
#include "client/queue_offset.h"
#include "client/queue_reader.h"
#include "client/requeue.h"
#include "client/table.h"
#include "protocol/code.h"

static const char help[] =
    "remotingctl dlq list|show|requeue|purge GROUP\n"
    "\n"
    "The dead letters of a consumer group: messages that it could not deal with, in the topic\n"
    "%DLQ%GROUP. RocketMQ deletes no single message, so a marker says what is done with: the\n"
    "offset of the group TOOLS_CONSUMER in each queue of that topic. What lies in front of it is\n"
    "shown with --all alone, until brokers delete it with its files.\n"
    "\n"
    "  list        a row each: since when it is one, its topic, how often it was tried, tag, "
    "keys,\n"
    "              id, size and how it begins\n"
    "  show        all of each; default: of the first one\n"
    "  requeue     sends them to their topic again, one after the other in the order of each\n"
    "              queue, and moves the marker. Every group of the topic gets them. Body, keys,\n"
    "              tag, the sender's properties and UNIQ_KEY stay; REQUEUED_FROM is added, by "
    "which\n"
    "              it is seen what was requeued before: that is passed over. The marker stops in\n"
    "              front of what filters leave out. Ends at the first failure; run again it goes\n"
    "              on there\n"
    "  purge       moves the marker behind them, and sends nothing; of the filters --until and -n\n"
    "\n"
    "  --key KEY, --tag TAG   only those with this key, this tag\n"
    "  --id ID                only the one with this id: its own, the first message's, or its\n"
    "                         UNIQ_KEY\n"
    "  --since TIME           only what became a dead letter then or later\n"
    "  --until TIME           and before then\n"
    "  -n, --count N          so many at most; default: list 100, show 1, the others all that\n"
    "                         there are at the start\n"
    "  --all                  from the oldest one on, not from the marker\n"
    "  --dry-run              requeue, purge: show what would be done, and change nothing\n"
    "  --to TOPIC             requeue: send to this topic\n"
    "  --again                requeue: also what was requeued before\n"
    "  --as GROUP             read in the name of this group, and its offset is the marker\n"
    "  --make-readable        where a broker lets the topic be written only (old ones make it\n"
    "                         so): change that; needs the admin role\n"
    "  --timeout DURATION     the daemon's deadline; default: its upstream.request_timeout\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "TIME is 2026-01-31T14:30:00 (with Z at its end UTC, else local), 2026-01-31, or milliseconds\n"
    "since 1970.\n"
    "\n"
    "Exit codes: 0 done, 1 a broker refused, or interrupted, 2 wrong usage, 3 the daemon refused\n"
    "or could not deliver, 4 there are none, 5 no daemon.\n"
    "\n"
    "Examples:\n"
    "  remotingctl dlq list billing\n"
    "  remotingctl dlq show billing --key order-17\n"
    "  remotingctl dlq requeue billing --since 2026-01-31 --dry-run\n"
    "  remotingctl dlq requeue billing\n"
    "  remotingctl dlq purge billing --until 2026-01-31T14:30:00Z\n";

enum {
    OPTION_KEY = OPTION_OWN,
    OPTION_TAG,
    OPTION_ID,
    OPTION_SINCE,
    OPTION_UNTIL,
    OPTION_ALL,
    OPTION_DRY_RUN,
    OPTION_TO,
    OPTION_AGAIN,
    OPTION_AS,
    OPTION_MAKE_READABLE,
    OPTION_TIMEOUT,
};

enum dlq_action {
    DLQ_LIST,
    DLQ_SHOW,
    DLQ_REQUEUE,
    DLQ_PURGE,
    N_DLQ_ACTIONS,
};

/* In the order of the actions. */
static const char *const dlq_words[N_DLQ_ACTIONS + 1] = { "list", "show", "requeue", "purge" };

#define LIST_COUNT 100

struct dlq_run {
    const struct invocation *invocation;
    enum dlq_action action;
    struct dead_letter_queues dead;
    struct requeue requeue;
    struct dead_letter_filter filter;
    int64_t count; /* -1: all */
    bool is_dry;
    bool shows_progress;
    bool has_left_out; /* in this queue: its marker may not move any more */
    struct table table;
    int64_t n_seen;
    int64_t n_matching;
};

/* --- options --- */

static enum dlq_action parse_action(const struct invocation *invocation, const char *text)
{
    for (size_t i = 0; i < N_DLQ_ACTIONS; i++) {
        if (strcmp(text, dlq_words[i]) == 0) {
            return (enum dlq_action)i;
        }
    }
    usage_error(invocation,
        "'%s' is nothing that is done to dead letters: list, show, requeue, purge", text);
}

static void check_options(const struct invocation *invocation, const struct dlq_run *run)
{
    const struct dead_letter_filter *filter = &run->filter;
    const bool changes = run->action == DLQ_REQUEUE || run->action == DLQ_PURGE;
    if (run->is_dry && !changes) {
        usage_error(invocation, "--dry-run is for requeue and purge: %s changes nothing",
            dlq_words[run->action]);
    }
    if ((run->requeue.to || run->requeue.again) && run->action != DLQ_REQUEUE) {
        usage_error(invocation, "%s is for requeue alone", run->requeue.to ? "--to" : "--again");
    }
    if (run->action == DLQ_PURGE &&
        (filter->key || filter->tag || filter->id || filter->since_ms >= 0)) {
        usage_error(invocation,
            "purge takes --until and -n alone: a marker cannot leave out what lies in front of it");
    }
    if (run->action == DLQ_PURGE && run->dead.wants_all) {
        usage_error(invocation, "--all is not for purge: it begins at the marker");
    }
}

static void read_options(struct invocation *invocation, struct dlq_run *run)
{
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        switch (option) {
        case OPTION_KEY:
            run->filter.key = optarg;
            break;
        case OPTION_TAG:
            run->filter.tag = optarg;
            break;
        case OPTION_ID:
            run->filter.id = optarg;
            break;
        case OPTION_SINCE:
            run->filter.since_ms = option_time_ms(invocation, "--since", optarg);
            break;
        case OPTION_UNTIL:
            run->filter.until_ms = option_time_ms(invocation, "--until", optarg);
            break;
        case 'n':
            run->count = option_count(invocation, "--count", optarg);
            break;
        case OPTION_ALL:
            run->dead.wants_all = true;
            break;
        case OPTION_DRY_RUN:
            run->is_dry = true;
            break;
        case OPTION_TO:
            run->requeue.to = optarg;
            break;
        case OPTION_AGAIN:
            run->requeue.again = true;
            break;
        case OPTION_AS:
            run->dead.reader = optarg;
            break;
        case OPTION_MAKE_READABLE:
            run->dead.make_readable = true;
            break;
        case OPTION_TIMEOUT:
            run->dead.timeout_ms = option_duration_ms(invocation, "--timeout", optarg);
            break;
        }
    }
    command_count_operands(invocation, 2, 2);
    run->action = parse_action(invocation, invocation->argv[optind]);
    run->dead.group = invocation->argv[optind + 1];
    check_options(invocation, run);
    if (run->count < 0 && run->action == DLQ_LIST) {
        run->count = LIST_COUNT;
    } else if (run->count < 0 && run->action == DLQ_SHOW) {
        run->count = 1;
    }
}

/* --- list, show --- */

static void add_row(struct dlq_run *run, const struct dead_letter *letter)
{
    const struct remotingclient_message *message = letter->message;
    table_add_time(&run->table, dead_letter_time_ms(letter));
    table_add(&run->table, dead_letter_topic(letter, run->dead.group));
    table_add_number(&run->table, message->reconsume_times);
    table_add(&run->table, span_of(message->tags));
    table_add(&run->table, span_of(message->keys));
    table_add(&run->table, dead_letter_id(letter));
    table_add_number(&run->table, (int64_t)message->n_body);
    table_add(&run->table, message_preview(message));
}

static void print_field(const char *name, struct span value)
{
    printf("%-18s", name);
    output_text(stdout, span_is_empty(value) ? SPAN("-") : value, OUTPUT_ONE_LINE);
    fputc('\n', stdout);
}

static void print_whole(const struct dlq_run *run, const struct dead_letter *letter)
{
    static const char *const texts[] = { "offsetMsgId", "uniqKey", "tags", "keys", "brokerName",
        "bornHost" };
    static const char *const numbers[] = { "queueId", "queueOffset", "bornTimestamp",
        "storeTimestamp", "reconsumeTimes", "flag" };
    print_field("topic", dead_letter_topic(letter, run->dead.group));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        print_field(texts[i], json_object_text(letter->row, texts[i]));
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        printf("%-18s%" PRId64 "\n", numbers[i], json_object_number(letter->row, numbers[i]));
    }
    json_t *properties = json_object_get(letter->row, "properties");
    const char *name;
    json_t *value;
    json_object_foreach(properties, name, value)
    {
        fputs("property.", stdout);
        output_text(stdout, span_of(name), OUTPUT_ONE_LINE);
        fputc('=', stdout);
        output_text(stdout, json_object_text(properties, name), OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
    const struct remotingclient_message *message = letter->message;
    fputc('\n', stdout);
    output_text(stdout,
        message->body ? (struct span){ message->body, message->n_body } : span_of(message->reason),
        OUTPUT_LINES);
    fputs("\n\n", stdout);
}

/* The daemon's object, and which topic it came from. */
static void print_json(const struct dlq_run *run, const struct dead_letter *letter)
{
    json_t *object = json_copy((json_t *)(uintptr_t)letter->row);
    json_object_set_new(
        object, "originTopic", json_text(dead_letter_topic(letter, run->dead.group)));
    output_json(object);
}

static void show_letter(struct dlq_run *run, const struct dead_letter *letter)
{
    if (run->invocation->json) {
        print_json(run, letter);
    } else if (run->action == DLQ_SHOW) {
        print_whole(run, letter);
    } else {
        add_row(run, letter);
    }
}

/* --- requeue --- */

static void show_progress(const struct dlq_run *run)
{
    if (run->shows_progress) {
        fprintf(stderr, "\r%" PRId64 " of %" PRId64 " looked at, %" PRId64 " requeued", run->n_seen,
            run->dead.n_letters, run->requeue.n_requeued);
    }
}

/* The marker goes along, up to the first one that a filter leaves out. */
static enum exit_code requeue_and_mark(
    struct dlq_run *run, struct dead_letter_queue *queue, const struct dead_letter *letter)
{
    const int64_t behind = letter->message->queue_offset + 1;
    enum exit_code exit_code = requeue_letter(&run->requeue, letter);
    if (exit_code == EXIT_CODE_SUCCESS) {
        show_progress(run);
    }
    if (exit_code == EXIT_CODE_SUCCESS && !run->has_left_out && behind > queue->marker) {
        exit_code = dead_letter_queues_move_marker(&run->dead, queue, behind);
    }
    return exit_code;
}

/* --- one after the other --- */

static bool is_enough(const struct dlq_run *run)
{
    return interrupt_came() || (run->count >= 0 && run->n_matching >= run->count);
}

static enum exit_code take_letter(
    struct dlq_run *run, struct dead_letter_queue *queue, const struct dead_letter *letter)
{
    run->n_seen++;
    if (!dead_letter_matches(letter, &run->filter)) {
        run->has_left_out = true;
        return EXIT_CODE_SUCCESS;
    }
    run->n_matching++;
    if (run->action == DLQ_REQUEUE && !run->is_dry) {
        return requeue_and_mark(run, queue, letter);
    }
    show_letter(run, letter);
    return EXIT_CODE_SUCCESS;
}

static enum exit_code take_letters(struct dlq_run *run, struct dead_letter_queue *queue,
    const struct remotingclient_answer *answer)
{
    CLEANUP(remotingclient_messages_free) struct remotingclient_messages *messages = NULL;
    enum exit_code exit_code = command_read_messages(run->invocation, answer, &messages);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    const struct span body = answer_body(answer);
    CLEANUP(json_decref)
    json_t *rows = json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const size_t n = remotingclient_messages_count(messages);
    for (size_t i = 0; i < n && exit_code == EXIT_CODE_SUCCESS && !is_enough(run); i++) {
        const struct dead_letter letter = {
            .message = remotingclient_messages_get(messages, i),
            .row = json_array_get(rows, i),
        };
        if (letter.message->queue_offset >= queue->end) {
            break;
        }
        exit_code = take_letter(run, queue, &letter);
    }
    return exit_code;
}

static enum exit_code walk_queue(struct dlq_run *run, struct dead_letter_queue *queue)
{
    struct queue_reader reader = {
        .invocation = run->invocation,
        .client = run->dead.client,
        .topic = run->dead.topic,
        .broker = queue->broker,
        .group = run->dead.reader,
        .queue_id = queue->queue_id,
        .offset = queue->begin,
        .timeout_ms = run->dead.timeout_ms,
    };
    bool goes_on = true;
    while (goes_on && reader.offset < queue->end && !is_enough(run)) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        enum exit_code exit_code =
            queue_reader_next(&reader, queue->end - reader.offset, &answer, &goes_on);
        if (exit_code == EXIT_CODE_SUCCESS &&
            remotingclient_answer_code(answer) == RESPONSE_SUCCESS) {
            exit_code = take_letters(run, queue, answer);
        }
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
    }
    return EXIT_CODE_SUCCESS;
}

static enum exit_code walk_all(struct dlq_run *run)
{
    static const struct table_column columns[] = {
        { "SINCE", false },
        { "TOPIC", false },
        { "TRIED", true },
        { "TAG", false },
        { "KEYS", false },
        { "ID", false },
        { "BYTES", true },
        { "BODY", false },
    };
    enum exit_code exit_code = EXIT_CODE_SUCCESS;
    table_init(&run->table, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < run->dead.n_queues && exit_code == EXIT_CODE_SUCCESS; i++) {
        run->has_left_out = false;
        exit_code = walk_queue(run, &run->dead.queues[i]);
    }
    if (run->table.n_cells > 0 && !table_print(&run->table)) {
        exit_code = EXIT_CODE_BROKER;
    }
    table_deinit(&run->table);
    return exit_code;
}

/* --- what is said at the end --- */

static enum exit_code end_looking(const struct dlq_run *run)
{
    if (run->n_matching == 0) {
        const bool is_filtered = !dead_letter_filter_is_empty(&run->filter);
        return dead_letter_queues_tell_none(
            &run->dead, is_filtered && run->n_seen > 0 ? " that the filters let through"
                        : run->dead.wants_all          ? ""
                                              : " that are not done with (--all shows others)");
    }
    if (!run->invocation->json && run->dead.n_letters > run->n_seen) {
        printf("# %" PRId64 " more were not looked at (-n N)\n", run->dead.n_letters - run->n_seen);
    }
    if (!run->invocation->json && run->is_dry) {
        printf("# %" PRId64 " would be requeued; nothing was changed\n", run->n_matching);
    }
    return EXIT_CODE_SUCCESS;
}

static enum exit_code end_requeue(const struct dlq_run *run, enum exit_code exit_code)
{
    const bool is_stopped = exit_code != EXIT_CODE_SUCCESS || interrupt_came();
    if (run->shows_progress) {
        fputc('\n', stderr);
    }
    if (!is_stopped && run->n_matching == 0) {
        return end_looking(run);
    }
    /* Programs have a line for each; people, and who is told of a failure, the sum. */
    FILE *stream = run->invocation->json ? stderr : stdout;
    fprintf(stream, "%" PRId64 " requeued", run->requeue.n_requeued);
    if (run->requeue.n_before > 0) {
        fprintf(stream, ", %" PRId64 " were before", run->requeue.n_before);
    }
    if (is_stopped) {
        fprintf(stream,
            "; stopped with %" PRId64 " still to look at: the same command goes on there",
            run->dead.n_letters - run->requeue.n_requeued - run->requeue.n_before);
    }
    fputc('\n', stream);
    return exit_code == EXIT_CODE_SUCCESS && interrupt_came() ? EXIT_CODE_BROKER : exit_code;
}

/* How far the marker goes in this queue. */
static enum exit_code purge_end(const struct dlq_run *run, const struct dead_letter_queue *queue,
    int64_t left, int64_t *ret_end)
{
    int64_t end = queue->end;
    if (run->filter.until_ms >= 0) {
        const struct queue_offset_question question = {
            .topic = run->dead.topic,
            .broker = queue->broker,
            .queue_id = queue->queue_id,
            .at_ms = run->filter.until_ms,
            .timeout_ms = run->dead.timeout_ms,
        };
        const enum exit_code exit_code =
            queue_offset_ask(run->invocation, run->dead.client, &question, QUEUE_OFFSET_AT, &end);
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
    }
    end = end < queue->end ? end : queue->end;
    end = end > queue->begin ? end : queue->begin;
    *ret_end = left >= 0 && end - queue->begin > left ? queue->begin + left : end;
    return EXIT_CODE_SUCCESS;
}

static enum exit_code purge(struct dlq_run *run)
{
    enum exit_code exit_code = EXIT_CODE_SUCCESS;
    int64_t n = 0;
    for (size_t i = 0; i < run->dead.n_queues && exit_code == EXIT_CODE_SUCCESS; i++) {
        struct dead_letter_queue *queue = &run->dead.queues[i];
        int64_t end = queue->begin;
        exit_code = purge_end(run, queue, run->count < 0 ? -1 : run->count - n, &end);
        if (exit_code == EXIT_CODE_SUCCESS && end > queue->begin && !run->is_dry) {
            exit_code = dead_letter_queues_move_marker(&run->dead, queue, end);
        }
        n += exit_code == EXIT_CODE_SUCCESS ? end - queue->begin : 0;
    }
    if (exit_code == EXIT_CODE_SUCCESS && n == 0) {
        return dead_letter_queues_tell_none(&run->dead, " to be purged");
    }
    if (run->invocation->json) {
        output_json(json_pack("{s:I, s:b}", "purged", n, "isDryRun", run->is_dry));
    } else if (run->is_dry) {
        printf("%" PRId64 " would be purged; nothing was changed\n", n);
    } else {
        printf("%" PRId64 " purged: shown with --all until brokers delete them\n", n);
    }
    return exit_code;
}

static enum exit_code run_action(struct dlq_run *run)
{
    enum exit_code exit_code = dead_letter_queues_find(&run->dead);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (run->action == DLQ_PURGE) {
        return purge(run);
    }
    const bool requeues = run->action == DLQ_REQUEUE && !run->is_dry;
    if (requeues) {
        run->shows_progress = isatty(STDERR_FILENO);
        interrupt_catch();
    }
    exit_code = walk_all(run);
    if (requeues) {
        return end_requeue(run, exit_code);
    }
    return exit_code == EXIT_CODE_SUCCESS ? end_looking(run) : exit_code;
}

static enum exit_code run_dlq(struct invocation *invocation)
{
    struct dlq_run run = {
        .invocation = invocation,
        .dead = {
            .invocation = invocation,
            .reader = GROUP_OF_TOOLS,
            .timeout_ms = -1,
        },
        .filter = { .since_ms = -1, .until_ms = -1 },
        .count = -1,
    };
    read_options(invocation, &run);
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        run.dead.client = client;
        run.requeue.dead = &run.dead;
        exit_code = run_action(&run);
        dead_letter_queues_deinit(&run.dead);
    }
    return exit_code;
}

static const struct option dlq_options[] = {
    GLOBAL_OPTIONS,
    { "key", required_argument, NULL, OPTION_KEY },
    { "tag", required_argument, NULL, OPTION_TAG },
    { "id", required_argument, NULL, OPTION_ID },
    { "since", required_argument, NULL, OPTION_SINCE },
    { "until", required_argument, NULL, OPTION_UNTIL },
    { "count", required_argument, NULL, 'n' },
    { "all", no_argument, NULL, OPTION_ALL },
    { "dry-run", no_argument, NULL, OPTION_DRY_RUN },
    { "to", required_argument, NULL, OPTION_TO },
    { "again", no_argument, NULL, OPTION_AGAIN },
    { "as", required_argument, NULL, OPTION_AS },
    { "make-readable", no_argument, NULL, OPTION_MAKE_READABLE },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { 0 },
};

const struct command command_dlq = {
    .name = "dlq",
    .synopsis = "dlq ACTION GROUP",
    .summary = "a group's dead letters: list, show, requeue, purge",
    .help = help,
    .options = dlq_options,
    .short_options = "n:",
    .words = dlq_words,
    .run = run_dlq,
};
