#include "client/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/output.h"
#include "client/table.h"
#include "protocol/code.h"

static const char help[] =
    "remotingctl show WHAT\n"
    "\n"
    "Prints what the daemon knows about itself, as a table, or with --json as it said it: one "
    "line,\n"
    "for routes and sessions one for every 1,000 rows (client/PROTOCOL.md and client/schemas have\n"
    "the keys).\n"
    "\n"
    "  nameservers   the list: which one is current and why, which ones are not out of use,\n"
    "                and their health: score and latency (ms, lower is better), calls answered\n"
    "                and failed\n"
    "  brokers       masters that routes name: can they be used, why not, requests, p99 (us)\n"
    "  pools         the connections by address: their state, what is in flight and waits, "
    "requests\n"
    "                and errors so far, how long answers took (us), and why the last attempt "
    "failed\n"
    "  routes        topics: how old their route is, when it was used and sent by last, their\n"
    "                queues, and how many of those that can be written to are reachable\n"
    "  sessions      who is connected: process, user, group, unit; by which [listener], in which\n"
    "                [role]; for how long, what they asked, what was refused, and what is in\n"
    "                flight. Without the admin role: one's own\n"
    "  groups        producer groups that callers speak for, and members of consumer groups\n"
    "  stats         what it counts since its start, and what it holds now\n"
    "  memory        what it holds beside each limit, and the setting of the limit\n"
    "  config        every setting that is in force; needs the admin role. Secrets are in files "
    "of\n"
    "                their own, and never shown\n"
    "  hooks         what is added to every request: namespace, static fields, and whose key "
    "signs\n"
    "\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl show nameservers\n"
    "  remotingctl show pools --json | jq '.addresses[] | select(.state != \"ready\") | .addr'\n"
    "  remotingctl show sessions --json | jq '.sessions[] | select(.forbidden > 0)'\n"
    "  remotingctl show config --json | jq '.settings[] | select(.isDefault | not)'\n";

/* "yes (faster)": the current one, and why it is. */
static void add_current(struct table *table, bool is_current, struct span reason)
{
    char text[64];
    (void)snprintf(
        text, sizeof(text), span_is_empty(reason) ? "yes" : "yes (%.*s)", SPAN_ARGS(reason));
    table_add(table, is_current ? span_of(text) : SPAN_ABSENT);
}

static void print_nameservers(struct table *table, json_t *body)
{
    const struct span reason = json_object_text(body, "reason");
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "nameservers"), i, row)
    {
        table_add(table, json_object_text(row, "addr"));
        add_current(table, json_is_true(json_object_get(row, "isCurrent")), reason);
        table_add(
            table, json_is_true(json_object_get(row, "isAvailable")) ? SPAN("yes") : SPAN("no"));
        table_add_real(table, json_object_get(row, "score"));
        table_add_real(table, json_object_get(row, "latencyMillis"));
        table_add_number(table, json_object_number(row, "successes"));
        table_add_number(table, json_object_number(row, "failures"));
    }
}

/* Counts that an address and the whole pool have alike. */
static void add_counts(struct table *table, const json_t *row)
{
    const json_t *latencies = json_object_get(row, "latencies");
    table_add_number(table, json_object_number(row, "total"));
    table_add_number(table, json_object_number(row, "active"));
    table_add_number(table, json_object_number(row, "total_requests"));
    table_add_number(table, json_object_number(row, "total_errors"));
    table_add_number(table, json_object_number(latencies, "p50"));
    table_add_number(table, json_object_number(latencies, "p99"));
    table_add_number(table, json_object_number(latencies, "max"));
}

/* Without a wait the next attempt comes when somebody needs the address, which may be never. */
static void add_backoff(struct table *table, const json_t *backoff)
{
    const int64_t n_failures = json_object_number(backoff, "failures");
    const int64_t wait_ms = json_object_number(backoff, "nextAttemptMillis");
    char when[48] = "when it is needed";
    char *text = NULL;
    if (wait_ms > 0) {
        (void)snprintf(when, sizeof(when), "in %" PRId64 " ms", wait_ms);
    }
    if (n_failures > 0 &&
        asprintf(&text, "%.*s (%" PRId64 " failed, next attempt %s)",
            SPAN_ARGS(json_object_text(backoff, "cause")), n_failures, when) < 0) {
        text = NULL;
    }
    table_add(table, span_of(text));
    free(text);
}

static void print_pools(struct table *table, json_t *body)
{
    int64_t n_waiting = 0;
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "addresses"), i, row)
    {
        table_add(table, json_object_text(row, "addr"));
        table_add(table, json_object_text(row, "class"));
        table_add(table, json_object_text(row, "state"));
        table_add_number(table, json_object_number(row, "waiting"));
        n_waiting += json_object_number(row, "waiting");
        add_counts(table, row);
        add_backoff(table, json_object_get(row, "backoff"));
    }
    table_add(table, SPAN("all"));
    table_add(table, SPAN_ABSENT);
    table_add(table, SPAN_ABSENT);
    table_add_number(table, n_waiting);
    add_counts(table, body);
    table_add(table, SPAN_ABSENT);
}

/* Whatever a newer daemon counts is shown too; drain is the only object so far. */
static void add_values(struct table *table, const char *prefix, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char name[96];
        (void)snprintf(name, sizeof(name), "%s%s", prefix, key);
        if (json_is_integer(value)) {
            table_add(table, span_of(name));
            table_add_number(table, json_integer_value(value));
        } else if (json_is_string(value)) {
            table_add(table, span_of(name));
            table_add(table, span_of(json_string_value(value)));
        } else if (json_is_object(value) && !*prefix) {
            const size_t n = strlen(name);
            (void)snprintf(name + n, sizeof(name) - n, ".");
            add_values(table, name, value);
        }
    }
}

static void add_pairs(struct table *table, const char *hook, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        table_add(table, span_of(hook));
        table_add(table, span_of(key));
        table_add(table, span_of(json_string_value(value)));
    }
}

static void print_hooks(struct table *table, json_t *body)
{
    size_t i, j;
    json_t *hook, *row;
    json_array_foreach(json_object_get(body, "hooks"), i, hook)
    {
        const char *name = json_string_value(json_object_get(hook, "name"));
        const char *namespace = json_string_value(json_object_get(hook, "namespace"));
        if (namespace) {
            table_add(table, span_of(name));
            table_add(table, span_of("ns"));
            table_add(table, span_of(namespace));
        }
        add_pairs(table, name, json_object_get(hook, "fields"));
        json_array_foreach(json_object_get(hook, "credentials"), j, row)
        {
            table_add(table, span_of(name));
            table_add(table, span_of(json_string_value(json_object_get(row, "name"))));
            table_add(table, span_of(json_string_value(json_object_get(row, "accessKey"))));
        }
    }
}

/* "3s", "5min", "2h", "4d": in the largest unit that there is one of. */
static void add_age(struct table *table, int64_t age_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = { { "d", 86400000 }, { "h", 3600000 }, { "min", 60000 }, { "s", 1000 } };
    char text[32];
    size_t i = 0;
    while (i < 3 && age_ms < units[i].ms) {
        i++;
    }
    (void)snprintf(text, sizeof(text), "%" PRId64 "%s", age_ms / units[i].ms, units[i].name);
    table_add(table, span_of(text));
}

static void print_sessions(struct table *table, json_t *body)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "sessions"), i, row)
    {
        table_add_number(table, json_object_number(row, "session"));
        table_add_number(table, json_object_number(row, "pid"));
        table_add_integer(table, json_object_get(row, "uid"));
        table_add_integer(table, json_object_get(row, "gid"));
        table_add(table, json_object_text(row, "unit"));
        table_add(table, json_object_text(row, "listener"));
        table_add(table, json_object_text(row, "role"));
        table_add(table, json_is_true(json_object_get(row, "isAdmin")) ? SPAN("yes") : SPAN_ABSENT);
        table_add(table, json_object_text(row, "state"));
        add_age(table, json_object_number(row, "ageMillis"));
        table_add_number(table, json_object_number(row, "requests"));
        table_add_number(table, json_object_number(row, "forbidden"));
        table_add_number(table, json_object_number(row, "inFlight"));
        table_add_number(table, json_object_number(row, "longPolls"));
    }
}

static void print_brokers(struct table *table, json_t *body)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "brokers"), i, row)
    {
        table_add(table, json_object_text(row, "name"));
        table_add(table, json_object_text(row, "addr"));
        table_add(table, json_object_text(row, "state"));
        table_add_number(table, json_object_number(row, "connections"));
        table_add_number(table, json_object_number(row, "requests"));
        table_add_number(table, json_object_number(row, "errors"));
        table_add_number(table, json_object_number(row, "p99Micros"));
        table_add(table, json_object_text(row, "cause"));
    }
}

/* "broker-a, broker-b" */
static void add_names(struct table *table, const json_t *names)
{
    char text[96] = "";
    size_t n = 0, i;
    const json_t *name;
    json_array_foreach(names, i, name)
    {
        if (n < sizeof(text)) {
            n += (size_t)snprintf(
                text + n, sizeof(text) - n, "%s%s", i > 0 ? ", " : "", json_string_value(name));
        }
    }
    table_add(table, span_of(text));
}

static void print_routes(struct table *table, json_t *body)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "routes"), i, row)
    {
        const json_t *sent = json_object_get(row, "sentMillis");
        table_add(table, json_object_text(row, "topic"));
        table_add(table, json_object_text(row, "state"));
        table_add_number(table, json_object_number(row, "readQueues"));
        table_add_number(table, json_object_number(row, "writeQueues"));
        table_add_number(table, json_object_number(row, "reachableQueues"));
        add_age(table, json_object_number(row, "ageMillis"));
        add_age(table, json_object_number(row, "usedMillis"));
        if (json_is_integer(sent)) {
            add_age(table, json_integer_value(sent));
        } else {
            table_add(table, SPAN_ABSENT);
        }
        add_names(table, json_object_get(row, "brokers"));
    }
}

static void print_groups(struct table *table, json_t *body)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "producers"), i, row)
    {
        table_add(table, json_object_text(row, "group"));
        table_add(table, SPAN("producer"));
        table_add_number(table, json_object_number(row, "callers"));
        table_add(table, SPAN_ABSENT);
        table_add(table, json_object_text(body, "clientId"));
    }
    json_array_foreach(json_object_get(body, "consumers"), i, row)
    {
        table_add(table, json_object_text(row, "group"));
        table_add(table, SPAN("consumer"));
        table_add_number(table, 1);
        table_add_number(table, json_object_number(row, "session"));
        table_add(table, json_object_text(row, "clientId"));
    }
}

static void print_config(struct table *table, json_t *body)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "settings"), i, row)
    {
        const bool is_default = json_is_true(json_object_get(row, "isDefault"));
        table_add(table, json_object_text(row, "section"));
        table_add(table, json_object_text(row, "key"));
        table_add(table, json_object_text(row, "value"));
        table_add(table, is_default ? SPAN_ABSENT : SPAN("yes"));
    }
}

static void print_memory(struct table *table, json_t *body)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(body, "memory"), i, row)
    {
        table_add(table, json_object_text(row, "what"));
        table_add_number(table, json_object_number(row, "used"));
        table_add_integer(table, json_object_get(row, "limit"));
        table_add(table, json_object_text(row, "setting"));
    }
}

static void print_stats(struct table *table, json_t *body)
{
    add_values(table, "", body);
}

static const struct table_column nameserver_columns[] = {
    { "NAMESERVER", false },
    { "CURRENT", false },
    { "AVAILABLE", false },
    { "SCORE", true },
    { "LATENCY", true },
    { "ANSWERED", true },
    { "FAILED", true },
};

static const struct table_column pool_columns[] = {
    { "ADDRESS", false },
    { "CLASS", false },
    { "STATE", false },
    { "WAITING", true },
    { "CONNECTIONS", true },
    { "ACTIVE", true },
    { "REQUESTS", true },
    { "ERRORS", true },
    { "P50", true },
    { "P99", true },
    { "MAX", true },
    { "LAST FAILURE", false },
};

static const struct table_column hook_columns[] = {
    { "HOOK", false },
    { "NAME", false },
    { "VALUE", false },
};

static const struct table_column session_columns[] = {
    { "SESSION", true },
    { "PID", true },
    { "UID", true },
    { "GID", true },
    { "UNIT", false },
    { "LISTENER", false },
    { "ROLE", false },
    { "ADMIN", false },
    { "STATE", false },
    { "AGE", true },
    { "REQUESTS", true },
    { "FORBIDDEN", true },
    { "IN FLIGHT", true },
    { "LONG POLLS", true },
};

static const struct table_column broker_columns[] = {
    { "BROKER", false },
    { "ADDRESS", false },
    { "STATE", false },
    { "CONNECTIONS", true },
    { "REQUESTS", true },
    { "ERRORS", true },
    { "P99", true },
    { "CAUSE", false },
};

static const struct table_column route_columns[] = {
    { "TOPIC", false },
    { "STATE", false },
    { "READ", true },
    { "WRITE", true },
    { "REACHABLE", true },
    { "AGE", true },
    { "USED", true },
    { "SENT", true },
    { "BROKERS", false },
};

static const struct table_column group_columns[] = {
    { "GROUP", false },
    { "KIND", false },
    { "CALLERS", true },
    { "SESSION", true },
    { "CLIENT", false },
};

static const struct table_column config_columns[] = {
    { "SECTION", false },
    { "KEY", false },
    { "VALUE", false },
    { "CHANGED", false },
};

static const struct table_column memory_columns[] = {
    { "WHAT", false },
    { "USED", true },
    { "LIMIT", true },
    { "SETTING", false },
};

static const struct table_column stats_columns[] = {
    { "NAME", false },
    { "VALUE", true },
};

struct view {
    const char *name;
    int32_t code;
    const struct table_column *columns;
    size_t n_columns;
    void (*fill)(struct table *table, json_t *body);
};

#define COLUMNS(columns) (columns), sizeof(columns) / sizeof((columns)[0])

static const struct view views[] = {
    { "nameservers", SIDECAR_GET_NAMESRV_LIST, COLUMNS(nameserver_columns), print_nameservers },
    { "brokers", SIDECAR_GET_BROKERS, COLUMNS(broker_columns), print_brokers },
    { "pools", SIDECAR_GET_POOL_STATS, COLUMNS(pool_columns), print_pools },
    { "routes", SIDECAR_GET_ROUTES, COLUMNS(route_columns), print_routes },
    { "sessions", SIDECAR_GET_SESSIONS, COLUMNS(session_columns), print_sessions },
    { "groups", SIDECAR_GET_GROUPS, COLUMNS(group_columns), print_groups },
    { "stats", SIDECAR_GET_STATS, COLUMNS(stats_columns), print_stats },
    { "memory", SIDECAR_GET_MEMORY, COLUMNS(memory_columns), print_memory },
    { "config", SIDECAR_GET_CONFIG, COLUMNS(config_columns), print_config },
    { "hooks", SIDECAR_GET_RPC_HOOKS, COLUMNS(hook_columns), print_hooks },
};

/* The names of the views. */
static const char *const show_words[] = { "nameservers", "brokers", "pools", "routes", "sessions",
    "groups", "stats", "memory", "config", "hooks", NULL };
_Static_assert(sizeof(show_words) / sizeof(show_words[0]) - 1 == sizeof(views) / sizeof(views[0]),
    "a view has no word");

static const struct view *find_view(const struct invocation *invocation, const char *name)
{
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++) {
        if (strcmp(views[i].name, name) == 0) {
            return &views[i];
        }
    }
    usage_error(invocation,
        "'%s' cannot be shown: nameservers, brokers, pools, routes, sessions, groups, stats, "
        "memory, "
        "config, hooks",
        name);
}

/* Adds what the answer says to the table, or prints it as it came. *ret_next: 0, or where to go on. */
static enum exit_code take_answer(const struct invocation *invocation, const struct view *view,
    const struct remotingclient_answer *answer, struct table *table, int64_t *ret_next)
{
    CLEANUP(json_decref) json_t *body = NULL;
    const enum exit_code exit_code = command_read_object(answer, &body);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (invocation->json) {
        print_answer_body(answer);
    } else {
        view->fill(table, body);
    }
    *ret_next = json_object_number(body, "next");
    return EXIT_CODE_SUCCESS;
}

/* Asks until there is no more, which nearly always is once. */
static enum exit_code ask(
    struct invocation *invocation, const struct view *view, struct table *table)
{
    enum exit_code exit_code = EXIT_CODE_SUCCESS;
    int64_t after = 0;
    do {
        CLEANUP(remotingclient_request_free)
        struct remotingclient_request *request = remotingclient_request_new(view->code);
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
        if (after > 0) {
            remotingclient_request_add_number(request, "after", after);
        }
        const int64_t before = after;
        after = 0;
        exit_code = command_call(invocation, request, &answer);
        if (exit_code == EXIT_CODE_SUCCESS) {
            exit_code = take_answer(invocation, view, answer, table, &after);
        }
        after = after > before ? after : 0; /* forwards, whatever the daemon says */
    } while (exit_code == EXIT_CODE_SUCCESS && after > 0);
    return exit_code;
}

static enum exit_code run_show(struct invocation *invocation)
{
    (void)command_next_option(invocation);
    command_count_operands(invocation, 1, 1);
    const struct view *view = find_view(invocation, invocation->argv[optind]);
    struct table table;
    table_init(&table, view->columns, view->n_columns);
    enum exit_code exit_code = ask(invocation, view, &table);
    if (exit_code == EXIT_CODE_SUCCESS && !invocation->json && !table_print(&table)) {
        exit_code = EXIT_CODE_BROKER;
    }
    table_deinit(&table);
    return exit_code;
}

const struct command command_show = {
    .name = "show",
    .synopsis = "show WHAT",
    .summary = "what the daemon knows about itself",
    .help = help,
    .options = global_options,
    .words = show_words,
    .run = run_show,
};
