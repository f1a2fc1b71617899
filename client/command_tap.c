#include "client/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/output.h"
#include "client/subscription.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"

static const char help[] =
    "remotingctl tap\n"
    "\n"
    "Shows requests as they end, until it is interrupted: when (UTC), whose (the unit or the "
    "user,\n"
    "and the session), the command, topic and group, what became of it, after how long, and the\n"
    "address that it went to. With the admin role everybody's, else those of one's own user.\n"
    "Outcomes are answered (code 0), refused (another code of a broker), sent (oneway), left (the\n"
    "caller went first), or a word of sidecar.error.\n"
    "\n"
    "Callers never wait for it. Who does not read fast enough loses requests, and 5,000 a second\n"
    "are looked at; the next line says how many are missing.\n"
    "\n"
    "  --session N          only those of this session, as `remotingctl show sessions` numbers "
    "them\n"
    "  --code CODE          only this command: a number or a name\n"
    "  --topic TOPIC        only those that name this topic\n"
    "  --addr HOST:PORT     only what was sent there last\n"
    "  --outcome WORD       only what ended so; failed: neither answered nor sent\n"
    "  --bodies N           with the first N bytes of their bodies and of their answers', up to "
    "4096\n"
    "  -n, --count N        end after so many\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl tap --outcome failed\n"
    "  remotingctl tap --topic orders --bodies 200\n"
    "  remotingctl tap --code POP_MESSAGE --json | jq -r '[.unit, .micros] | @tsv'\n";

enum {
    OPTION_SESSION = OPTION_OWN,
    OPTION_CODE,
    OPTION_TOPIC,
    OPTION_ADDR,
    OPTION_OUTCOME,
    OPTION_BODIES,
};

struct tap_run {
    const struct invocation *invocation;
    struct remotingclient_request *request;
    bool wants_bodies;
    int64_t count; /* -1: no end */
};

static void add_count(struct tap_run *run, const char *option, const char *field, const char *text)
{
    remotingclient_request_add_number(
        run->request, field, option_count(run->invocation, option, text));
}

static void read_options(struct invocation *invocation, struct tap_run *run)
{
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        switch (option) {
        case OPTION_SESSION:
            add_count(run, "--session", "session", optarg);
            break;
        case OPTION_CODE:
            remotingclient_request_add_number(
                run->request, "code", option_request_code(invocation, optarg));
            break;
        case OPTION_TOPIC:
            remotingclient_request_add(run->request, "topic", optarg);
            break;
        case OPTION_ADDR:
            remotingclient_request_add(run->request, "addr", optarg);
            break;
        case OPTION_OUTCOME:
            remotingclient_request_add(run->request, "outcome", optarg);
            break;
        case OPTION_BODIES:
            add_count(run, "--bodies", "bodies", optarg);
            run->wants_bodies = true;
            break;
        case 'n':
            run->count = option_count(invocation, "--count", optarg);
            break;
        }
    }
    command_count_operands(invocation, 0, 0);
}

/* The shown part of the request's body, and what is behind it, of the answer's. */
static void split_bodies(
    const struct remotingclient_answer *line, struct span *ret_request, struct span *ret_answer)
{
    const struct span body = answer_body(line);
    int64_t n_request = 0;
    (void)ext_value_parse_i64(answer_field(line, "requestShown"), 0, (int64_t)body.n, &n_request);
    *ret_request = (struct span){ body.data, (size_t)n_request };
    *ret_answer = (struct span){ body.data + n_request, body.n - (size_t)n_request };
}

static void print_json(const struct tap_run *run, const struct remotingclient_answer *line)
{
    static const char *const texts[] = { "unit", "name", "topic", "group", "addr", "outcome",
        "remark" };
    static const char *const numbers[] = { "time", "request", "session", "uid", "pid", "code",
        "answerCode", "micros", "requestBytes", "answerBytes" };
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_object_set_new(object, texts[i], json_text(answer_field(line, texts[i])));
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        json_object_set_new(
            object, numbers[i], json_number_or_text(answer_field(line, numbers[i])));
    }
    const struct span dropped = answer_field(line, "dropped");
    json_object_set_new(
        object, "dropped", span_is_empty(dropped) ? json_integer(0) : json_number_or_text(dropped));
    struct span request = SPAN_ABSENT, answer = SPAN_ABSENT;
    if (run->wants_bodies) {
        split_bodies(line, &request, &answer);
    }
    json_object_set_new(object, "body", json_text(request));
    json_object_set_new(object, "answerBody", json_text(answer));
    output_json(object);
}

static void print_field(const char *before, struct span value)
{
    if (!span_is_empty(value)) {
        fputs(before, stdout);
        output_text(stdout, value, OUTPUT_ONE_LINE);
    }
}

static void print_line(const struct tap_run *run, const struct remotingclient_answer *line)
{
    const struct span dropped = answer_field(line, "dropped");
    const struct span unit = answer_field(line, "unit");
    const struct span outcome = answer_field(line, "outcome");
    const bool is_well =
        span_equals(outcome, SPAN("answered")) || span_equals(outcome, SPAN("sent"));
    int64_t time_ms = 0;
    char time[UTC_TEXT_SIZE];
    (void)ext_value_parse_i64(answer_field(line, "time"), 0, INT64_MAX, &time_ms);
    utc_text(time_ms, time);
    print_field("# missing: ", dropped);
    printf("%s%s", span_is_empty(dropped) ? "" : "\n", time);
    print_field(span_is_empty(unit) ? "  uid=" : "  ",
        span_is_empty(unit) ? answer_field(line, "uid") : unit);
    print_field(" session=", answer_field(line, "session"));
    const struct span name = answer_field(line, "name");
    print_field("  ", span_is_empty(name) ? answer_field(line, "code") : name);
    print_field(" topic=", answer_field(line, "topic"));
    print_field(" group=", answer_field(line, "group"));
    print_field("  ", outcome);
    print_field(is_well ? "" : " code=", is_well ? SPAN_ABSENT : answer_field(line, "answerCode"));
    print_field(" us=", answer_field(line, "micros"));
    print_field(" addr=", answer_field(line, "addr"));
    print_field("  ", answer_field(line, "remark"));
    fputc('\n', stdout);
    struct span request, answer;
    split_bodies(line, &request, &answer);
    if (run->wants_bodies) {
        print_field("  > ", request);
        fputs(span_is_empty(request) ? "" : "\n", stdout);
        print_field("  < ", answer);
        fputs(span_is_empty(answer) ? "" : "\n", stdout);
    }
}

static enum exit_code follow(const struct tap_run *run, struct remotingclient *client)
{
    for (int64_t n = 0; run->count < 0 || n < run->count; n++) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *line = NULL;
        const enum exit_code exit_code =
            subscription_next(run->invocation, client, SIDECAR_TAP, &line);
        if (exit_code != EXIT_CODE_SUCCESS) {
            return exit_code;
        }
        if (run->invocation->json) {
            print_json(run, line);
        } else {
            print_line(run, line);
        }
        if (!output_flush()) {
            return EXIT_CODE_BROKER;
        }
    }
    return EXIT_CODE_SUCCESS;
}

static enum exit_code run_tap(struct invocation *invocation)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_TAP);
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    struct tap_run run = { .invocation = invocation, .request = request, .count = -1 };
    read_options(invocation, &run);
    command_check_request(invocation, request);
    const enum exit_code exit_code = subscription_open(invocation, request, &client);
    return exit_code == EXIT_CODE_SUCCESS ? follow(&run, client) : exit_code;
}

static const struct option tap_options[] = {
    GLOBAL_OPTIONS,
    { "session", required_argument, NULL, OPTION_SESSION },
    { "code", required_argument, NULL, OPTION_CODE },
    { "topic", required_argument, NULL, OPTION_TOPIC },
    { "addr", required_argument, NULL, OPTION_ADDR },
    { "outcome", required_argument, NULL, OPTION_OUTCOME },
    { "bodies", required_argument, NULL, OPTION_BODIES },
    { "count", required_argument, NULL, 'n' },
    { 0 },
};

const struct command command_tap = {
    .name = "tap",
    .synopsis = "tap",
    .summary = "requests as they pass",
    .help = help,
    .options = tap_options,
    .short_options = "n:",
    .run = run_tap,
};
