#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/explanation.h"
#include "client/output.h"
#include "client/table.h"

static const char help[] =
    "remotingctl explain TOPIC|MSGID [GROUP]\n"
    "\n"
    "Explains on one screen what there is of a topic, or what became of a message: what each\n"
    "nameserver knows, the brokers and whether they are reachable, where a send would go, queues,\n"
    "groups with their lag, retries and dead letters; then what is wrong, the likeliest cause\n"
    "first, with the next command to type. Nothing is changed: no offset moves and nothing is\n"
    "taken. What nobody tells (a role may forbid it) is said at the end, with the reason.\n"
    "\n"
    "A MSGID is the id of a stored message (msgId, offsetMsgId), or with --topic a UNIQ_KEY. "
    "Without\n"
    "GROUP all groups that brokers know are looked at, eight at most; that needs the admin role.\n"
    "Brokers do not tell who holds a message whose invisible time is not over: it is handed out,\n"
    "as one that was acknowledged.\n"
    "\n"
    "  --topic TOPIC        the topic of the message\n"
    "  --timeout DURATION   the deadline of each question; default: 2s\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Exit codes: 0 nothing wrong was found, 1 something was, 2 wrong usage, 5 no daemon.\n"
    "\n"
    "Examples:\n"
    "  remotingctl explain orders\n"
    "  remotingctl explain orders billing\n"
    "  remotingctl explain 7F00000100002A9F0000000000000000 billing\n"
    "  remotingctl explain C000020201D5B7D68C8475A8DB2DB7D6 billing --topic orders\n"
    "  remotingctl explain orders --json | jq -r '.findings[0].cause'\n";

enum {
    OPTION_TOPIC = OPTION_OWN,
    OPTION_TIMEOUT,
};

#define DEFAULT_TIMEOUT_MS 2000
#define QUEUES_SHOWN       16

/* An offset id has 32 hex digits, or 56 with an IPv6 address; a UNIQ_KEY 32 or more. */
static bool is_message_id(const char *text)
{
    const size_t n = strlen(text);
    return (n == 32 || n == 40 || n == 56) && strspn(text, "0123456789ABCDEF") == n;
}

/* --- tables --- */

/* "yes", "no", or absent for what is not known. */
static void add_boolean(struct table *table, const json_t *value)
{
    table_add(table, !json_is_boolean(value) ? SPAN_ABSENT
                     : json_is_true(value)   ? SPAN("yes")
                                             : SPAN("no"));
}

static void fill_nameserver(struct table *table, const json_t *row)
{
    const json_t *knows = json_object_get(row, "knows");
    const bool is_different = json_is_true(json_object_get(row, "isDifferent"));
    table_add(table, json_object_text(row, "addr"));
    add_boolean(table, json_object_get(row, "isCurrent"));
    add_boolean(table, json_object_get(row, "isAvailable"));
    table_add(table, json_is_true(knows)    ? is_different ? SPAN("another route") : SPAN("a route")
                        : json_is_false(knows) ? SPAN("no such topic")
                                            : json_object_text(row, "reason"));
}

static void fill_broker(struct table *table, const json_t *row)
{
    const json_t *perm = json_object_get(row, "perm");
    const char letters[] = {
        json_integer_value(perm) & PERM_READ ? 'R' : '-',
        json_integer_value(perm) & PERM_WRITE ? 'W' : '-',
    };
    table_add(table, json_object_text(row, "name"));
    table_add(table, json_object_text(row, "addr"));
    table_add(
        table, json_is_integer(perm) ? (struct span){ letters, sizeof(letters) } : SPAN_ABSENT);
    table_add_integer(table, json_object_get(row, "readQueues"));
    table_add_integer(table, json_object_get(row, "writeQueues"));
    table_add(table, json_object_text(row, "state"));
    add_boolean(table, json_object_get(row, "reachable"));
    table_add_integer(table, json_object_get(row, "rttMicros"));
    add_boolean(table, json_object_get(row, "isSentTo"));
    table_add(table, json_object_text(row, "cause"));
}

static void fill_queue(struct table *table, const json_t *row)
{
    table_add(table, json_object_text(row, "brokerName"));
    table_add_integer(table, json_object_get(row, "queueId"));
    table_add_integer(table, json_object_get(row, "minOffset"));
    table_add_integer(table, json_object_get(row, "maxOffset"));
    table_add_integer(table, json_object_get(row, "consumerOffset"));
    table_add_integer(table, json_object_get(row, "lag"));
}

static void fill_group(struct table *table, const json_t *row)
{
    table_add(table, json_object_text(row, "group"));
    add_boolean(table, json_object_get(row, "isPaused"));
    table_add_integer(table, json_object_get(row, "members"));
    table_add_integer(table, json_object_get(row, "lag"));
    table_add_integer(table, json_object_get(row, "inRetry"));
    table_add_integer(table, json_object_get(row, "deadLetters"));
    table_add(table, json_object_text(row, "message"));
}

static void fill_copy(struct table *table, const json_t *row)
{
    table_add(table, json_object_text(row, "topic"));
    table_add(table, json_object_text(row, "brokerName"));
    table_add_integer(table, json_object_get(row, "queueId"));
    table_add_integer(table, json_object_get(row, "queueOffset"));
    table_add_time(table, json_object_number(row, "storeTimestamp"));
    table_add_time(table, json_object_number(row, "firstPopTimestamp"));
    table_add_integer(table, json_object_get(row, "reconsumeTimes"));
    table_add(table, json_object_text(row, "offsetMsgId"));
}

static const struct table_column nameserver_columns[] = {
    { "NAMESERVER", false },
    { "CURRENT", false },
    { "AVAILABLE", false },
    { "KNOWS", false },
};

static const struct table_column broker_columns[] = {
    { "BROKER", false },
    { "ADDRESS", false },
    { "PERM", false },
    { "READ", true },
    { "WRITE", true },
    { "STATE", false },
    { "REACHABLE", false },
    { "RTT", true },
    { "SENT TO", false },
    { "CAUSE", false },
};

static const struct table_column queue_columns[] = {
    { "BROKER", false },
    { "QUEUE", true },
    { "MIN", true },
    { "MAX", true },
    { "GROUP", true },
    { "LAG", true },
};

static const struct table_column group_columns[] = {
    { "GROUP", false },
    { "PAUSED", false },
    { "MEMBERS", true },
    { "LAG", true },
    { "RETRY", true },
    { "DEAD", true },
    { "MESSAGE", false },
};

static const struct table_column copy_columns[] = {
    { "COPY IN", false },
    { "BROKER", false },
    { "QUEUE", true },
    { "OFFSET", true },
    { "STORED", false },
    { "FIRST POPPED", false },
    { "TRIED", true },
    { "ID", false },
};

struct part {
    const char *key;
    const struct table_column *columns;
    size_t n_columns;
    void (*fill)(struct table *table, const json_t *row);
};

#define COLUMNS(columns) (columns), sizeof(columns) / sizeof((columns)[0])

static const struct part parts[] = {
    { "nameservers", COLUMNS(nameserver_columns), fill_nameserver },
    { "brokers", COLUMNS(broker_columns), fill_broker },
    { "queues", COLUMNS(queue_columns), fill_queue },
    { "groups", COLUMNS(group_columns), fill_group },
    { "copies", COLUMNS(copy_columns), fill_copy },
};

static bool print_part(const struct explanation *explanation, const struct part *part)
{
    const json_t *rows = json_object_get(explanation->report, part->key);
    if (json_array_size(rows) == 0) {
        return true;
    }
    struct table table;
    table_init(&table, part->columns, part->n_columns);
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (part->fill == fill_queue && i == QUEUES_SHOWN) {
            break;
        }
        part->fill(&table, row);
    }
    const bool is_printed = table_print(&table);
    table_deinit(&table);
    if (i < json_array_size(rows)) {
        printf("# %zu more queues: remotingctl offsets %s\n", json_array_size(rows) - i,
            explanation->topic);
    }
    fputc('\n', stdout);
    return is_printed;
}

/* --- sentences --- */

/* Which broker the next send goes to is nobody's choice but the turn's. */
static void print_choice(const struct explanation *explanation)
{
    size_t i, n_brokers = 0;
    int64_t n_queues = 0;
    const json_t *row;
    json_array_foreach(json_object_get(explanation->report, "brokers"), i, row)
    {
        if (json_is_true(json_object_get(row, "isSentTo"))) {
            n_brokers++;
            n_queues += json_object_number(row, "writeQueues");
        }
    }
    if (n_queues > 0) {
        printf("A send takes one of %" PRId64 " queues of %zu broker%s in turn, or by its sharding "
               "key.\n\n",
            n_queues, n_brokers, n_brokers == 1 ? "" : "s");
    }
}

static void print_line(const char *before, struct span text)
{
    fputs(before, stdout);
    output_text(stdout, text, OUTPUT_ONE_LINE);
    fputc('\n', stdout);
}

static void print_findings(const struct explanation *explanation)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(explanation->report, "notKnown"), i, row)
    {
        fputs("not known: ", stdout);
        output_text(stdout, json_object_text(row, "what"), OUTPUT_ONE_LINE);
        print_line(": ", json_object_text(row, "reason"));
    }
    json_array_foreach(json_object_get(explanation->report, "findings"), i, row)
    {
        output_word(i == 0 ? "likely cause: " : "also: ", i == 0 ? OUTPUT_RED : OUTPUT_YELLOW);
        output_text(stdout, json_object_text(row, "cause"), OUTPUT_ONE_LINE);
        print_line(": ", json_object_text(row, "text"));
        print_line("  ", json_object_text(row, "command"));
    }
    if (i == 0) {
        output_word("nothing wrong was found", OUTPUT_GREEN);
        fputc('\n', stdout);
    }
}

static enum exit_code print_explanation(const struct explanation *explanation)
{
    if (explanation->invocation->json) {
        output_json(json_incref(explanation->report));
    } else {
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            if (!print_part(explanation, &parts[i])) {
                return EXIT_CODE_BROKER;
            }
            if (parts[i].fill == fill_broker) {
                print_choice(explanation);
            }
        }
        print_findings(explanation);
    }
    return json_array_size(json_object_get(explanation->report, "findings")) > 0
               ? EXIT_CODE_BROKER
               : EXIT_CODE_SUCCESS;
}

/* --- the command --- */

static void read_options(struct invocation *invocation, struct explanation *explanation)
{
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        switch (option) {
        case OPTION_TOPIC:
            explanation->topic = optarg;
            break;
        case OPTION_TIMEOUT:
            explanation->timeout_ms = option_duration_ms(invocation, "--timeout", optarg);
            break;
        }
    }
    const int n = command_count_operands(invocation, 1, 2);
    const char *what = invocation->argv[optind];
    explanation->group = n == 2 ? invocation->argv[optind + 1] : NULL;
    if (explanation->topic || is_message_id(what)) {
        explanation->message = what;
    } else {
        explanation->topic = what;
    }
}

static enum exit_code run_explain(struct invocation *invocation)
{
    struct explanation explanation = {
        .invocation = invocation,
        .timeout_ms = DEFAULT_TIMEOUT_MS,
    };
    read_options(invocation, &explanation);
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        explanation.client = client;
        exit_code = explanation_make(&explanation);
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = print_explanation(&explanation);
    }
    explanation_deinit(&explanation);
    return exit_code;
}

static const struct option explain_options[] = {
    GLOBAL_OPTIONS,
    { "topic", required_argument, NULL, OPTION_TOPIC },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { 0 },
};

const struct command command_explain = {
    .name = "explain",
    .synopsis = "explain TOPIC|MSGID [GROUP]",
    .summary = "what is wrong with a topic or a message",
    .help = help,
    .options = explain_options,
    .run = run_explain,
};
