#include "client/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/base64.h"
#include "client/input.h"
#include "client/output.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"
#include "protocol/utf8.h"

DEFINE_CLEANUP(char *, free)

static const char help[] =
    "remotingctl invoke CODE [KEY=VALUE ...]\n"
    "\n"
    "Sends any command and prints its whole answer: code, remark, ext fields, body. CODE is a\n"
    "number, or a name of RocketMQ's RequestCode or of the daemon's own codes. KEY=VALUE are ext\n"
    "fields.\n"
    "\n"
    "  --addr HOST:PORT|nameserver   send it there, as it stands (sidecar.addr)\n"
    "  --broker NAME                 send it to that broker (sidecar.broker)\n"
    "  --body TEXT                   the body\n"
    "  --body-file FILE              the body from a file; - is the standard input\n"
    "  --timeout DURATION            the daemon's deadline (sidecar.timeoutMillis)\n"
    "  --oneway                      wait for no answer\n"
    "  --binary                      use the ROCKETMQ form of the header\n"
    "  --raw                         print the bytes of the answer's body and nothing else\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl invoke GET_BROKER_CLUSTER_INFO --addr nameserver\n"
    "  remotingctl invoke GET_MAX_OFFSET topic=orders queueId=0 --broker broker-a\n"
    "  remotingctl invoke 10 topic=orders property.KEYS=order-17 --body 'hello, world'\n"
    "  remotingctl invoke GET_POOL_STATS --json | jq .body\n";

enum {
    OPTION_ADDR = OPTION_OWN,
    OPTION_BROKER,
    OPTION_BODY,
    OPTION_BODY_FILE,
    OPTION_TIMEOUT,
    OPTION_ONEWAY,
    OPTION_BINARY,
    OPTION_RAW,
};

struct invoke_options {
    const char *addr;
    const char *broker;
    const char *body;
    const char *body_file;
    int64_t timeout_ms; /* -1: the daemon's */
    bool oneway;
    bool binary;
    bool raw;
};

static void read_options(struct invocation *invocation, struct invoke_options *options)
{
    int option;
    while ((option = command_next_option(invocation)) != -1) {
        switch (option) {
        case OPTION_ADDR:
            options->addr = optarg;
            break;
        case OPTION_BROKER:
            options->broker = optarg;
            break;
        case OPTION_BODY:
            options->body = optarg;
            break;
        case OPTION_BODY_FILE:
            options->body_file = optarg;
            break;
        case OPTION_TIMEOUT:
            options->timeout_ms = option_duration_ms(invocation, "--timeout", optarg);
            break;
        case OPTION_ONEWAY:
            options->oneway = true;
            break;
        case OPTION_BINARY:
            options->binary = true;
            break;
        case OPTION_RAW:
            options->raw = true;
            break;
        }
    }
    if (options->body && options->body_file) {
        usage_error(invocation, "--body and --body-file exclude each other");
    }
}

/* The request that options and operands say, but for its body. */
static struct remotingclient_request *build_request(
    const struct invocation *invocation, const struct invoke_options *options)
{
    command_count_operands(invocation, 1, 1 + EXT_FIELDS_MAX);
    const char *text = invocation->argv[optind];
    const int32_t code = option_request_code(invocation, text);
    /* The binary header has 16 bits of code. */
    const bool is_wide = options->binary && (code > INT16_MAX || code < INT16_MIN);
    struct remotingclient_request *request =
        remotingclient_request_new(is_wide ? SIDECAR_CODE_FIRST : code);
    remotingclient_request_set_binary(request, options->binary);
    remotingclient_request_set_oneway(request, options->oneway);
    remotingclient_request_add(request, "sidecar.addr", options->addr);
    remotingclient_request_add(request, "sidecar.broker", options->broker);
    if (options->timeout_ms >= 0) {
        remotingclient_request_add_number(request, "sidecar.timeoutMillis", options->timeout_ms);
    }
    for (int i = optind + 1; i < invocation->argc; i++) {
        const char *pair = invocation->argv[i];
        const char *value = add_pair(invocation, request, "", "ext field: KEY=VALUE", pair);
        if (options->binary && !*value) {
            usage_error(invocation, "the binary header has no empty values: '%s'", pair);
        }
    }
    if (is_wide) {
        remotingclient_request_add_number(request, "sidecar.code", code);
    }
    return request;
}

/* *ret_owned is what the body's text is to be freed by; NULL for an argument. */
static struct span read_body(
    const struct invocation *invocation, const struct invoke_options *options, char **ret_owned)
{
    if (!options->body_file) {
        return span_of(options->body);
    }
    const bool is_stdin = strcmp(options->body_file, "-") == 0;
    const int fd = is_stdin ? STDIN_FILENO : open(options->body_file, O_RDONLY | O_CLOEXEC);
    struct span body = SPAN_ABSENT;
    const int r = fd < 0 ? -errno : input_read_all(fd, ret_owned, &body.n);
    if (r < 0) {
        usage_error(
            invocation, "cannot read the body from '%s' (%s)", options->body_file, strerror(-r));
    }
    if (!is_stdin) {
        close(fd);
    }
    body.data = *ret_owned;
    return body;
}

static bool is_text(struct span body)
{
    return utf8_is_valid(body) && !(body.n > 0 && memchr(body.data, '\0', body.n));
}

/*
 * The body as JSON where it is an object or an array, else NULL: a lone number or word is shown as
 * it came.
 */
static json_t *parse_body(struct span body)
{
    return span_is_empty(body)
               ? NULL
               : json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
}

static void print_body(struct span body)
{
    json_t *json = parse_body(body);
    if (json) {
        output_json_pretty(json);
    } else if (is_text(body)) {
        output_text(stdout, body, OUTPUT_LINES);
    } else {
        printf("(%zu bytes that are no text: --raw prints them, --json as base64)", body.n);
    }
    fputc('\n', stdout);
    json_decref(json);
}

static void print_for_people(const struct remotingclient_answer *answer)
{
    const int32_t code = remotingclient_answer_code(answer);
    const char *code_name = response_code_name(code);
    printf("code: %d%s%s\n", code, code_name ? " " : "", code_name ? code_name : "");
    if (remotingclient_answer_remark(answer)) {
        fputs("remark: ", stdout);
        output_text(stdout, span_of(remotingclient_answer_remark(answer)), OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
    struct remotingclient_text name;
    struct remotingclient_text value;
    for (size_t i = 0; remotingclient_answer_field_at(answer, i, &name, &value); i++) {
        fputs("  ", stdout);
        output_text(stdout, (struct span){ name.data, name.n }, OUTPUT_ONE_LINE);
        fputs(" = ", stdout);
        output_text(stdout, (struct span){ value.data, value.n }, OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
    if (!span_is_empty(answer_body(answer))) {
        fputc('\n', stdout);
        print_body(answer_body(answer));
    }
}

static void add_body(json_t *json, struct span body)
{
    json_t *parsed = parse_body(body);
    if (parsed) {
        json_object_set_new(json, "body", parsed);
    } else if (is_text(body)) {
        json_object_set_new(json, "body", json_text(body));
    } else {
        CLEANUP(free) char *base64 = base64_encode(body);
        json_object_set_new(json, "bodyBase64", json_text(span_of(base64)));
    }
}

static void print_json(const struct remotingclient_answer *answer)
{
    json_t *ext_fields = json_object();
    struct remotingclient_text name;
    struct remotingclient_text value;
    for (size_t i = 0; remotingclient_answer_field_at(answer, i, &name, &value); i++) {
        json_t *key = json_text((struct span){ name.data, name.n });
        json_object_set_new(
            ext_fields, json_string_value(key), json_text((struct span){ value.data, value.n }));
        json_decref(key);
    }
    const int32_t code = remotingclient_answer_code(answer);
    json_t *json =
        json_pack("{s:i, s:s?, s:o, s:o}", "code", code, "name", response_code_name(code), "remark",
            json_text(span_of(remotingclient_answer_remark(answer))), "extFields", ext_fields);
    if (!span_is_empty(answer_body(answer))) {
        add_body(json, answer_body(answer));
    }
    output_json(json);
}

static enum exit_code print_answer(const struct invocation *invocation,
    const struct invoke_options *options, const struct remotingclient_answer *answer)
{
    if (options->raw) {
        const struct span body = answer_body(answer);
        fwrite(body.data, 1, body.n, stdout);
    } else if (invocation->json) {
        print_json(answer);
    } else {
        print_for_people(answer);
    }
    return command_judge(answer);
}

static enum exit_code send_oneway(const struct invocation *invocation,
    const struct invoke_options *options, struct remotingclient *client,
    struct remotingclient_request *request)
{
    const int r = remotingclient_send(client, request, 0, NULL);
    if (r < 0) {
        return command_report_broken(invocation, client, r);
    }
    if (!invocation->json && !options->raw) {
        puts("written; a oneway command has no answer");
    }
    return EXIT_CODE_SUCCESS;
}

static enum exit_code invoke(const struct invocation *invocation,
    const struct invoke_options *options, struct remotingclient_request *request)
{
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (options->oneway) {
        return send_oneway(invocation, options, client, request);
    }
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    exit_code = command_invoke_request(invocation, client, request, &answer);
    return exit_code == EXIT_CODE_SUCCESS ? print_answer(invocation, options, answer) : exit_code;
}

static enum exit_code run_invoke(struct invocation *invocation)
{
    struct invoke_options options = { .timeout_ms = -1 };
    read_options(invocation, &options);
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = build_request(invocation, &options);
    command_check_request(invocation, request);
    CLEANUP(free) char *owned = NULL;
    const struct span body = read_body(invocation, &options, &owned);
    remotingclient_request_set_body(request, body.data, body.n);
    return invoke(invocation, &options, request);
}

static const struct option invoke_options[] = {
    GLOBAL_OPTIONS,
    { "addr", required_argument, NULL, OPTION_ADDR },
    { "broker", required_argument, NULL, OPTION_BROKER },
    { "body", required_argument, NULL, OPTION_BODY },
    { "body-file", required_argument, NULL, OPTION_BODY_FILE },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { "oneway", no_argument, NULL, OPTION_ONEWAY },
    { "binary", no_argument, NULL, OPTION_BINARY },
    { "raw", no_argument, NULL, OPTION_RAW },
    { 0 },
};

const struct command command_invoke = {
    .name = "invoke",
    .synopsis = "invoke CODE [KEY=VALUE ...]",
    .summary = "any command of RocketMQ or of the daemon",
    .help = help,
    .options = invoke_options,
    .run = run_invoke,
};
