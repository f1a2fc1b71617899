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
    const char *body;
    const char *body_file;
    bool binary;
    bool raw;
};

static void read_options(
    struct invocation *invocation, struct request *request, struct invoke_options *options)
{
    static const struct option long_options[] = {
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
    int option;
    while ((option = command_next_option(invocation, ":", long_options)) != -1) {
        switch (option) {
        case OPTION_ADDR:
            request_add(request, "sidecar.addr", span_of(optarg));
            break;
        case OPTION_BROKER:
            request_add(request, "sidecar.broker", span_of(optarg));
            break;
        case OPTION_BODY:
            options->body = optarg;
            break;
        case OPTION_BODY_FILE:
            options->body_file = optarg;
            break;
        case OPTION_TIMEOUT:
            request_add_number(request, "sidecar.timeoutMillis",
                option_duration_ms(invocation, "--timeout", optarg));
            break;
        case OPTION_ONEWAY:
            request->command.flag |= REMOTING_FLAG_ONEWAY;
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

static void read_operands(const struct invocation *invocation, struct request *request, bool binary)
{
    command_count_operands(invocation, 1, 1 + EXT_FIELDS_MAX);
    const char *code = invocation->argv[optind];
    if (!request_code_from_text(span_of(code), &request->command.code)) {
        usage_error(
            invocation, "'%s' is no request code: a number or a name like SEND_MESSAGE", code);
    }
    for (int i = optind + 1; i < invocation->argc; i++) {
        struct span key;
        struct span value;
        split_pair(invocation, "ext field: KEY=VALUE", invocation->argv[i], &key, &value);
        if (binary && span_is_empty(value)) {
            usage_error(
                invocation, "the binary header has no empty values: '%s'", invocation->argv[i]);
        }
        request_add_prefixed(request, "", key, value);
    }
    if (binary && (request->command.code > INT16_MAX || request->command.code < INT16_MIN)) {
        /* The binary header has 16 bits of code. */
        request_add_number(request, "sidecar.code", request->command.code);
        request->command.code = SIDECAR_CODE_FIRST;
    }
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

static void print_for_people(const struct remoting_command *command)
{
    const char *name = response_code_name(command->code);
    printf("code: %d%s%s\n", command->code, name ? " " : "", name ? name : "");
    if (!span_is_absent(command->remark)) {
        fputs("remark: ", stdout);
        output_text(stdout, command->remark, OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        const struct ext_field *field = &command->ext_fields.fields[i];
        fputs("  ", stdout);
        output_text(stdout, field->key, OUTPUT_ONE_LINE);
        fputs(" = ", stdout);
        output_text(stdout, field->value, OUTPUT_ONE_LINE);
        fputc('\n', stdout);
    }
    if (!span_is_empty(command->body)) {
        fputc('\n', stdout);
        print_body(command->body);
    }
}

static void print_json(const struct remoting_command *command)
{
    json_t *ext_fields = json_object();
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        const struct ext_field *field = &command->ext_fields.fields[i];
        json_t *key = json_text(field->key);
        json_object_set_new(ext_fields, json_string_value(key), json_text(field->value));
        json_decref(key);
    }
    const char *name = response_code_name(command->code);
    json_t *json = json_pack("{s:i, s:s?, s:o, s:o}", "code", command->code, "name", name, "remark",
        json_text(command->remark), "extFields", ext_fields);
    if (!span_is_empty(command->body)) {
        json_t *body = parse_body(command->body);
        if (body) {
            json_object_set_new(json, "body", body);
        } else if (is_text(command->body)) {
            json_object_set_new(json, "body", json_text(command->body));
        } else {
            CLEANUP(free) char *base64 = base64_encode(command->body);
            json_object_set_new(json, "bodyBase64", json_text(span_of(base64)));
        }
    }
    output_json(json);
}

static enum exit_code print_answer(const struct invocation *invocation,
    const struct invoke_options *options, const struct answer *answer)
{
    const struct remoting_command *command = &answer->command;
    if (options->raw) {
        fwrite(command->body.data ? command->body.data : "", 1, command->body.n, stdout);
    } else if (invocation->json) {
        print_json(command);
    } else {
        print_for_people(command);
    }
    return command_judge(answer);
}

static enum exit_code invoke(const struct invocation *invocation,
    const struct invoke_options *options, struct request *request)
{
    CLEANUP(connection_free) struct connection *connection = NULL;
    const enum exit_code exit_code = command_connect(invocation, &connection);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    const enum serialize_type serialize_type =
        options->binary ? SERIALIZE_ROCKETMQ : SERIALIZE_JSON;
    const bool is_oneway = remoting_command_is_oneway(&request->command);
    CLEANUP(answer_free) struct answer *answer = NULL;
    const int r = is_oneway
                      ? connection_send(connection, &request->command, serialize_type, 0)
                      : connection_invoke(connection, &request->command, serialize_type, &answer);
    if (r < 0) {
        return command_report_broken(invocation, connection, r);
    }
    if (!is_oneway) {
        return print_answer(invocation, options, answer);
    }
    if (!invocation->json && !options->raw) {
        puts("written; a oneway command has no answer");
    }
    return EXIT_CODE_SUCCESS;
}

static enum exit_code run_invoke(struct invocation *invocation)
{
    struct invoke_options options = { 0 };
    struct request request;
    request_init(&request, 0);
    read_options(invocation, &request, &options);
    read_operands(invocation, &request, options.binary);
    command_check_request(invocation, &request);
    CLEANUP(free) char *owned = NULL;
    request.command.body = read_body(invocation, &options, &owned);
    const enum exit_code exit_code = invoke(invocation, &options, &request);
    request_deinit(&request);
    return exit_code;
}

const struct command command_invoke = {
    .name = "invoke",
    .synopsis = "invoke CODE [KEY=VALUE ...]",
    .help = help,
    .run = run_invoke,
};
