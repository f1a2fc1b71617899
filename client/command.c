#include "client/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/output.h"
#include "protocol/code.h"
#include "protocol/ext_fields.h"

void usage_error(const struct invocation *invocation, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("remotingctl: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (invocation->command->name) {
        fprintf(stderr, ". See remotingctl %s --help.\n", invocation->command->name);
    } else {
        fputs(". See remotingctl --help.\n", stderr);
    }
    exit(EXIT_CODE_USAGE);
}

_Noreturn static void print_and_exit(const char *text)
{
    fputs(text, stdout);
    exit(output_flush() ? EXIT_CODE_SUCCESS : EXIT_CODE_BROKER);
}

/* getopt_long() has moved past the offender, except inside a group of short options. */
_Noreturn static void refuse_option(const struct invocation *invocation, int option)
{
    const char *seen = invocation->argv[optind > 0 ? optind - 1 : 0];
    if (option == ':') {
        usage_error(invocation, "'%s' needs a value", seen);
    }
    if (optopt > 0 && optopt < 256) {
        usage_error(invocation, "there is no option '-%c'", optopt);
    }
    if (optopt != 0) {
        usage_error(invocation, "'%s': this option takes no value", seen);
    }
    usage_error(invocation, "'%s' is no option, or short for several", seen);
}

int command_next_option(
    struct invocation *invocation, const char *short_options, const struct option *long_options)
{
    opterr = 0;
    for (;;) {
        const int option =
            getopt_long(invocation->argc, invocation->argv, short_options, long_options, NULL);
        switch (option) {
        case OPTION_SOCKET:
            invocation->socket_path = optarg;
            break;
        case OPTION_JSON:
            invocation->json = true;
            break;
        case OPTION_HELP:
            print_and_exit(invocation->command->help);
        case OPTION_VERSION:
            print_and_exit("remotingctl " PROJECT_VERSION "\n");
        case ':':
        case '?':
            refuse_option(invocation, option);
        default:
            return option;
        }
    }
}

int command_count_operands(const struct invocation *invocation, int min, int max)
{
    const int n = invocation->argc - optind;
    if (n < min) {
        usage_error(invocation, "something is missing: %s", invocation->command->synopsis);
    }
    if (n > max) {
        usage_error(invocation, "'%s' is too much (words with spaces need quotes): %s",
            invocation->argv[optind + max], invocation->command->synopsis);
    }
    return n;
}

int64_t option_duration_ms(
    const struct invocation *invocation, const char *option, const char *text)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "min", 60000 }, { "h", 3600000 } };

    const struct span number = { text, strspn(text, "0123456789") };
    const char *unit = text + number.n;
    int64_t value;
    if (ext_value_parse_i64(number, 0, INT32_MAX, &value)) {
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (strcmp(unit, units[i].name) == 0 && value <= INT32_MAX / units[i].ms) {
                return value * units[i].ms;
            }
        }
        if (value == 0 && *unit == '\0') {
            return 0;
        }
    }
    usage_error(invocation,
        "%s '%s' is no duration: a number and its unit, up to 24 days, as in 500ms, 5s, 2min",
        option, text);
}

int64_t option_count(const struct invocation *invocation, const char *option, const char *text)
{
    int64_t value;
    if (!ext_value_parse_i64(span_of(text), 1, INT32_MAX, &value)) {
        usage_error(invocation, "%s '%s' is no count: a number from 1 on", option, text);
    }
    return value;
}

void split_pair(const struct invocation *invocation, const char *what, const char *text,
    struct span *ret_name, struct span *ret_value)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        usage_error(invocation, "'%s' is no %s", text, what);
    }
    *ret_name = (struct span){ text, (size_t)(equals - text) };
    *ret_value = span_of(equals + 1);
}

enum exit_code command_connect(
    const struct invocation *invocation, struct connection **ret_connection)
{
    const int r = connection_new(invocation->socket_path, ret_connection);
    if (r == 0) {
        return EXIT_CODE_SUCCESS;
    }
    if (r == -EACCES || r == -EPERM) {
        fprintf(stderr,
            "remotingctl: %s may not be opened (%s). Is this user in the socket's group?\n",
            invocation->socket_path, strerror(-r));
    } else {
        fprintf(stderr,
            "remotingctl: no daemon listens at %s (%s). Is remotingd running? Another socket: "
            "--socket PATH or REMOTINGD_SOCKET.\n",
            invocation->socket_path, strerror(-r));
    }
    return EXIT_CODE_NO_DAEMON;
}

void command_check_request(const struct invocation *invocation, struct request *request)
{
    const char *problem = request_problem(request);
    if (problem) {
        usage_error(invocation, "%s", problem);
    }
}

enum exit_code command_invoke_request(const struct invocation *invocation,
    struct connection *connection, struct request *request, struct answer **ret_answer)
{
    const int r = connection_invoke(connection, &request->command, SERIALIZE_JSON, ret_answer);
    return r < 0 ? command_report_broken(invocation, connection, r) : EXIT_CODE_SUCCESS;
}

enum exit_code command_call(
    const struct invocation *invocation, struct request *request, struct answer **ret_answer)
{
    CLEANUP(connection_free) struct connection *connection = NULL;
    enum exit_code exit_code = command_connect(invocation, &connection);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_invoke_request(invocation, connection, request, ret_answer);
    }
    return exit_code == EXIT_CODE_SUCCESS ? command_judge(*ret_answer) : exit_code;
}

enum exit_code command_read_object(const struct answer *answer, json_t **ret_object)
{
    const struct span body = answer->command.body;
    json_t *object = json_loadb(body.data ? body.data : "", body.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        fprintf(
            stderr, "remotingctl: the body of the answer is no JSON object (%zu bytes).\n", body.n);
        return EXIT_CODE_NO_DAEMON;
    }
    *ret_object = object;
    return EXIT_CODE_SUCCESS;
}

enum exit_code command_report_broken(
    const struct invocation *invocation, const struct connection *connection, int error)
{
    const char *path = invocation->socket_path;
    switch (-error) {
    case EMSGSIZE:
        fprintf(
            stderr, "remotingctl: the command does not fit a frame, which holds at most 16 MiB.\n");
        return EXIT_CODE_USAGE;
    case ETIMEDOUT:
        fprintf(stderr,
            "remotingctl: the daemon at %s did not answer, 5 s after its deadline for this "
            "command. "
            "Where upstream.request_timeout is longer than 3 s, say --timeout.\n",
            path);
        break;
    case ECONNRESET:
        fprintf(stderr, "remotingctl: the daemon at %s closed the connection without an answer.\n",
            path);
        break;
    case EBADMSG:
        fprintf(stderr, "remotingctl: what answers at %s cannot be understood: %s\n", path,
            connection_problem(connection));
        break;
    default:
        fprintf(stderr, "remotingctl: the connection to %s failed (%s).\n", path, strerror(-error));
    }
    return EXIT_CODE_NO_DAEMON;
}

/* The words in brackets: who failed and what that means for a repetition. */
static void print_failure_made_here(const struct ext_fields *ext_fields, struct span error)
{
    const struct span sent = ext_fields_text(ext_fields, "sidecar.sent");
    const struct span retry_after = ext_fields_text(ext_fields, "sidecar.retryAfterMillis");
    output_text(stderr, error, OUTPUT_ONE_LINE);
    if (!span_is_empty(sent)) {
        fputs(", sent: ", stderr);
        output_text(stderr, sent, OUTPUT_ONE_LINE);
    }
    if (!span_is_empty(retry_after)) {
        fputs(", retry after: ", stderr);
        output_text(stderr, retry_after, OUTPUT_ONE_LINE);
        fputs(" ms", stderr);
    }
}

enum exit_code command_report_failure(const struct answer *answer, const char *prefix)
{
    const struct remoting_command *command = &answer->command;
    const struct span error = ext_fields_text(&command->ext_fields, "sidecar.error");
    const struct span address = ext_fields_text(&command->ext_fields, "sidecar.addr");

    fprintf(stderr, "%sfailed: ", prefix);
    output_text(stderr, span_is_empty(command->remark) ? SPAN("(no remark)") : command->remark,
        OUTPUT_ONE_LINE);
    fputs(" (", stderr);
    if (!span_is_absent(error)) {
        print_failure_made_here(&command->ext_fields, error);
        fputs(")\n", stderr);
        return EXIT_CODE_DAEMON;
    }
    const char *name = response_code_name(command->code);
    fprintf(stderr, "code %d%s%s", command->code, name ? " " : "", name ? name : "");
    if (!span_is_empty(address)) {
        fputs(" from ", stderr);
        output_text(stderr, address, OUTPUT_ONE_LINE);
    }
    fputs(")\n", stderr);
    return EXIT_CODE_BROKER;
}

enum exit_code command_judge(const struct answer *answer)
{
    return answer->command.code == RESPONSE_SUCCESS ? EXIT_CODE_SUCCESS
                                                    : command_report_failure(answer, "");
}
