#include "client/command.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

static void print_help(const struct command *command)
{
    if (command->name) {
        fputs(command->help, stdout);
        return;
    }
    /* The help of all: its first part, every command, and the rest. */
    const char *rest = strchr(command->help, COMMANDS_HERE);
    printf("%.*s", (int)(rest - command->help), command->help);
    for (size_t i = 0; i < n_commands; i++) {
        printf("  %-29s %s\n", commands[i]->synopsis, commands[i]->summary);
    }
    fputs(rest + 1, stdout);
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

const struct option global_options[] = { GLOBAL_OPTIONS, { 0 } };

#define SHORT_OPTIONS_SIZE 32

int command_next_option(struct invocation *invocation)
{
    const struct command *command = invocation->command;
    /* What is missing a value is told apart; in front of a command options end at its name. */
    char short_options[SHORT_OPTIONS_SIZE];
    (void)snprintf(short_options, sizeof(short_options), "%s:%s", command->name ? "" : "+",
        command->short_options ? command->short_options : "");
    opterr = 0;
    for (;;) {
        const int option =
            getopt_long(invocation->argc, invocation->argv, short_options, command->options, NULL);
        switch (option) {
        case OPTION_SOCKET:
            invocation->socket_path = optarg;
            break;
        case OPTION_JSON:
            invocation->json = true;
            break;
        case OPTION_HELP:
            print_help(invocation->command);
            exit(output_flush() ? EXIT_CODE_SUCCESS : EXIT_CODE_BROKER);
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

int64_t option_time_ms(const struct invocation *invocation, const char *option, const char *text)
{
    static const char *const formats[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d" };
    int64_t time_ms;
    if (ext_value_parse_i64(span_of(text), 0, INT64_MAX, &time_ms)) {
        return time_ms;
    }
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm broken_down = { .tm_isdst = -1 };
        const char *end = strptime(text, formats[i], &broken_down);
        if (end && (*end == '\0' || strcmp(end, "Z") == 0)) {
            const time_t time_s = *end == 'Z' ? timegm(&broken_down) : mktime(&broken_down);
            if (time_s >= 0) {
                return (int64_t)time_s * 1000;
            }
        }
    }
    usage_error(invocation,
        "%s '%s' is no time: 2026-01-31T14:30:00 (Z at its end: UTC), 2026-01-31, or "
        "milliseconds since 1970",
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

int32_t option_request_code(const struct invocation *invocation, const char *text)
{
    int32_t code;
    if (!request_code_from_text(span_of(text), &code)) {
        usage_error(
            invocation, "'%s' is no request code: a number or a name like SEND_MESSAGE", text);
    }
    return code;
}

const char *add_pair(const struct invocation *invocation, struct remotingclient_request *request,
    const char *prefix, const char *what, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        usage_error(invocation, "'%s' is no %s", text, what);
    }
    char *name = NULL;
    if (asprintf(&name, "%s%.*s", prefix, (int)(equals - text), text) < 0) {
        usage_error(invocation, "there is no memory for %s", text);
    }
    remotingclient_request_add(request, name, equals + 1);
    free(name);
    return equals + 1;
}

struct span answer_field(const struct remotingclient_answer *answer, const char *name)
{
    return span_of(remotingclient_answer_field(answer, name));
}

struct span answer_body(const struct remotingclient_answer *answer)
{
    size_t n;
    const char *body = remotingclient_answer_body(answer, &n);
    return (struct span){ body, n };
}

void print_answer_body(const struct remotingclient_answer *answer)
{
    output_text(stdout, answer_body(answer), OUTPUT_LINES);
    fputc('\n', stdout);
}

/* A membership that was given after the login is not in force before the next one. */
static void report_forbidden(const char *path, int error)
{
    struct stat status;
    fprintf(stderr, "remotingctl: %s may not be opened (%s). ", path, strerror(error));
    if (stat(path, &status) < 0) {
        fputs("A directory on the way to it is closed to this user.\n", stderr);
        return;
    }
    const struct group *group = getgrgid(status.st_gid);
    /* Nobody is to become a member of root, and there may be a group without a name. */
    if (!(status.st_mode & S_IWGRP) || status.st_gid == 0 || !group) {
        fputs("[listener] socket_mode and socket_group in remotingd.ini say who may.\n", stderr);
        return;
    }
    fprintf(stderr, "Members of the group %s may. To become one: sudo usermod -aG %s ",
        group->gr_name, group->gr_name);
    const struct passwd *user = getpwuid(geteuid());
    fprintf(stderr, "%s, then log in again.\n", user ? user->pw_name : "USER");
}

enum exit_code command_connect(
    const struct invocation *invocation, struct remotingclient **ret_client)
{
    const int r = remotingclient_new(invocation->socket_path, ret_client);
    if (r == 0) {
        return EXIT_CODE_SUCCESS;
    }
    if (r == -EACCES || r == -EPERM) {
        report_forbidden(invocation->socket_path, -r);
    } else {
        fprintf(stderr,
            "remotingctl: no daemon listens at %s (%s). Is remotingd running? Another socket: "
            "--socket PATH or REMOTINGD_SOCKET.\n",
            invocation->socket_path, strerror(-r));
    }
    return EXIT_CODE_NO_DAEMON;
}

void command_check_request(
    const struct invocation *invocation, struct remotingclient_request *request)
{
    const char *problem = remotingclient_request_problem(request);
    if (problem) {
        usage_error(invocation, "%s", problem);
    }
}

enum exit_code command_invoke_request(const struct invocation *invocation,
    struct remotingclient *client, struct remotingclient_request *request,
    struct remotingclient_answer **ret_answer)
{
    const int r = remotingclient_call(client, request, ret_answer);
    return r < 0 ? command_report_broken(invocation, client, r) : EXIT_CODE_SUCCESS;
}

enum exit_code command_call(const struct invocation *invocation,
    struct remotingclient_request *request, struct remotingclient_answer **ret_answer)
{
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_invoke_request(invocation, client, request, ret_answer);
    }
    return exit_code == EXIT_CODE_SUCCESS ? command_judge(*ret_answer) : exit_code;
}

enum exit_code command_read_object(const struct remotingclient_answer *answer, json_t **ret_object)
{
    const struct span body = answer_body(answer);
    json_t *object = json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        fprintf(
            stderr, "remotingctl: the body of the answer is no JSON object (%zu bytes).\n", body.n);
        return EXIT_CODE_NO_DAEMON;
    }
    *ret_object = object;
    return EXIT_CODE_SUCCESS;
}

enum exit_code command_ask(
    const struct invocation *invocation, struct remotingclient_request *request, json_t **ret_body)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    CLEANUP(json_decref) json_t *body = NULL;
    enum exit_code exit_code = command_call(invocation, request, &answer);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_read_object(answer, &body);
    }
    if (exit_code == EXIT_CODE_SUCCESS && invocation->json) {
        print_answer_body(answer);
    } else if (exit_code == EXIT_CODE_SUCCESS) {
        *ret_body = TAKE(body);
    }
    return exit_code;
}

char *request_set_addresses(struct remotingclient_request *request, char *const *addresses, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++) {
        json_array_append_new(array, json_text(span_of(addresses[i])));
    }
    char *text = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    remotingclient_request_set_body(request, text, text ? strlen(text) : 0);
    return text;
}

enum exit_code command_ask_route(const struct invocation *invocation, struct remotingclient *client,
    const char *topic, int64_t timeout_ms, struct remotingclient_answer **ret_answer)
{
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request =
        remotingclient_request_new(REQUEST_GET_ROUTEINFO_BY_TOPIC);
    remotingclient_request_add(request, "topic", topic);
    if (timeout_ms >= 0) {
        remotingclient_request_add_number(request, "sidecar.timeoutMillis", timeout_ms);
    }
    return command_invoke_request(invocation, client, request, ret_answer);
}

enum exit_code command_read_route(
    const struct remotingclient_answer *answer, struct topic_route **ret_route)
{
    static const struct topic_route_limits limits = {
        .max_brokers = 10000,
        .max_queues = 1000000,
    };
    const struct span body = answer_body(answer);
    if (topic_route_decode(body.data, body.n, &limits, ret_route) != TOPIC_ROUTE_OK) {
        fprintf(stderr, "remotingctl: the answer is no TopicRouteData (%zu bytes).\n", body.n);
        return EXIT_CODE_NO_DAEMON;
    }
    return EXIT_CODE_SUCCESS;
}

enum exit_code command_read_messages(const struct invocation *invocation,
    const struct remotingclient_answer *answer, struct remotingclient_messages **ret_messages)
{
    const int r = remotingclient_messages_new(answer, ret_messages);
    if (r == 0) {
        return EXIT_CODE_SUCCESS;
    }
    fprintf(stderr, "remotingctl: what %s answered is no JSON array of messages (%s).\n",
        invocation->socket_path, strerror(-r));
    return EXIT_CODE_NO_DAEMON;
}

bool print_messages_json(const struct remotingclient_answer *answer)
{
    const struct span body = answer_body(answer);
    json_t *rows = json_loadb(body.data, body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!rows) {
        fputs("remotingctl: out of memory.\n", stderr);
        return false;
    }
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        output_json(json_incref(row));
    }
    json_decref(rows);
    return true;
}

enum exit_code command_report_broken(
    const struct invocation *invocation, const struct remotingclient *client, int error)
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
            remotingclient_problem(client));
        break;
    default:
        fprintf(stderr, "remotingctl: the connection to %s failed (%s).\n", path, strerror(-error));
    }
    return EXIT_CODE_NO_DAEMON;
}

/* The words in brackets: who failed and what that means for a repetition. */
static void print_failure_made_here(
    const struct remotingclient_answer *answer, const struct remotingclient_failure *failure)
{
    const struct span sent = answer_field(answer, "sidecar.sent");
    output_text(stderr, span_of(failure->error), OUTPUT_ONE_LINE);
    if (!span_is_empty(sent)) {
        fputs(", sent: ", stderr);
        output_text(stderr, sent, OUTPUT_ONE_LINE);
    }
    if (failure->retry_after_ms >= 0) {
        fprintf(stderr, ", retry after: %" PRId64 " ms", failure->retry_after_ms);
    }
}

enum exit_code command_report_failure(
    const struct remotingclient_answer *answer, const char *prefix)
{
    struct remotingclient_failure failure = { .remark = "" };
    const struct span address = answer_field(answer, "sidecar.addr");
    (void)remotingclient_answer_failure(answer, &failure);

    fprintf(stderr, "%sfailed: ", prefix);
    output_text(stderr, span_of(failure.remark), OUTPUT_ONE_LINE);
    fputs(" (", stderr);
    if (failure.error) {
        print_failure_made_here(answer, &failure);
        fputs(")\n", stderr);
        return EXIT_CODE_DAEMON;
    }
    const char *name = response_code_name(failure.code);
    fprintf(stderr, "code %d%s%s", failure.code, name ? " " : "", name ? name : "");
    if (!span_is_empty(address)) {
        fputs(" from ", stderr);
        output_text(stderr, address, OUTPUT_ONE_LINE);
    }
    fputs(")\n", stderr);
    return EXIT_CODE_BROKER;
}

enum exit_code command_judge(const struct remotingclient_answer *answer)
{
    return remotingclient_answer_code(answer) == RESPONSE_SUCCESS
               ? EXIT_CODE_SUCCESS
               : command_report_failure(answer, "");
}
