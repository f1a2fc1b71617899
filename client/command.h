/*
 * Command
 *
 * What the commands of remotingctl share: how one is described, how it reads its options, how it
 * reaches the daemon, and how an answer or a failure becomes a sentence and an exit code. Options
 * may stand anywhere behind the command's name.
 */
#pragma once

#include "client/remotingclient.h"
#include "protocol/cleanup.h"
#include "protocol/span.h"
#include "protocol/topic_route.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Promised to scripts by --help. */
enum exit_code {
    EXIT_CODE_SUCCESS = 0,
    EXIT_CODE_BROKER =
        1, /* the broker or nameserver answered with an error; the output cannot be written */
    EXIT_CODE_USAGE = 2,
    EXIT_CODE_DAEMON =
        3, /* the daemon refused or could not deliver: the answer carries sidecar.error */
    EXIT_CODE_NOTHING = 4,   /* no messages */
    EXIT_CODE_NO_DAEMON = 5, /* no daemon, no answer, or one that cannot be understood */
    EXIT_CODE_ROLLED_BACK = 6,
    EXIT_CODE_UNDECIDED = 7,
    EXIT_CODE_COMMAND = 8,     /* the command of a worker cannot be run */
    EXIT_CODE_UNDELIVERED = 9, /* messages were not delivered, and are in a file */
    EXIT_CODE_UNKNOWN = 10,    /* so they are, and of some it is not known whether they arrived */
};

DEFINE_CLEANUP(json_t *, json_decref)
DEFINE_CLEANUP(struct remotingclient *, remotingclient_free)
DEFINE_CLEANUP(struct remotingclient_request *, remotingclient_request_free)
DEFINE_CLEANUP(struct remotingclient_answer *, remotingclient_answer_free)
DEFINE_CLEANUP(struct remotingclient_messages *, remotingclient_messages_free)

/* Requests that a command has in flight at once, at most. */
#define IN_FLIGHT_MAX 64

/* Stands in the help of all commands where they are listed. */
#define COMMANDS_HERE '\f'

struct invocation;

/*
 * One command, as data: its run() takes the options that `options` names and no others, and help,
 * usage errors and whatever else lists commands read the same row.
 */
struct command {
    const char *name;
    const char *synopsis;
    const char *summary; /* what it does, in a few words */
    const char *help;
    const struct option *options; /* the global ones first */
    const char *short_options;    /* as getopt(3) has them; NULL: none */
    const char *const *words;     /* what its first operand may be; NULL: anything */
    enum exit_code (*run)(struct invocation *invocation);
};

/* Every command, in the order of the help. */
extern const struct command *const commands[];
extern const size_t n_commands;
/* NULL when there is none of this name. */
const struct command *command_find(const char *name);

extern const struct command command_status;
extern const struct command command_health;
extern const struct command command_errors;
extern const struct command command_top;
extern const struct command command_reconnect;
extern const struct command command_kill_session;
extern const struct command command_log_level;
extern const struct command command_send;
extern const struct command command_receive;
extern const struct command command_peek;
extern const struct command command_offsets;
extern const struct command command_dlq;
extern const struct command command_explain;
extern const struct command command_bench;
extern const struct command command_route;
extern const struct command command_invoke;
extern const struct command command_ping;
extern const struct command command_show;
extern const struct command command_reachable;
extern const struct command command_close;
extern const struct command command_nameservers;
extern const struct command command_events;
extern const struct command command_drain;
extern const struct command command_tap;
extern const struct command command_reload;

/* One run of remotingctl. */
struct invocation {
    const struct command *command; /* one without a name before the name was read */
    int argc;                      /* argv[0] is the command's name */
    char **argv;
    const char *socket_path;
    bool json;
};

/*
 * Options that every command takes: the first rows of its table. Own options are characters, or
 * numbers from OPTION_OWN.
 */
enum {
    OPTION_SOCKET = 256,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_OWN,
};
/* Of a command without options of its own. */
extern const struct option global_options[];
#define GLOBAL_OPTIONS                                                                             \
    { "socket", required_argument, NULL, OPTION_SOCKET },                                          \
        { "json", no_argument, NULL, OPTION_JSON }, { "help", no_argument, NULL, OPTION_HELP },    \
    {                                                                                              \
        "version", no_argument, NULL, OPTION_VERSION                                               \
    }

/*
 * The next option of the command's own, or -1 after the last one: then argv[optind] is the first
 * operand. Global options are taken in here; --help and --version end the program, and so do wrong
 * options.
 */
int command_next_option(struct invocation *invocation);
/* The number of operands; ends the program when there are fewer or more than that. */
int command_count_operands(const struct invocation *invocation, int min, int max);
/* Says what is wrong and where help is, and ends the program with EXIT_CODE_USAGE. */
_Noreturn void usage_error(const struct invocation *invocation, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * "500ms", "5s", "2min", "1h" or "0", in ms. Anything else is a usage error that names the option.
 */
int64_t option_duration_ms(
    const struct invocation *invocation, const char *option, const char *text);
/*
 * "2026-01-31T14:30:00" (Z at its end: UTC, else local), "2026-01-31" or milliseconds since 1970,
 * in ms since 1970.
 */
int64_t option_time_ms(const struct invocation *invocation, const char *option, const char *text);
int64_t option_count(const struct invocation *invocation, const char *option, const char *text);
/* A number, or the name of a request code. */
int32_t option_request_code(const struct invocation *invocation, const char *text);
/*
 * Adds "NAME=VALUE", cut at the first '=', as the field PREFIX NAME, and gives its value. Without
 * one, or without a name, it is a usage error that says what it is.
 */
const char *add_pair(const struct invocation *invocation, struct remotingclient_request *request,
    const char *prefix, const char *what, const char *text);

/* A field of an answer, absent where it has none of that name; and its body. */
struct span answer_field(const struct remotingclient_answer *answer, const char *name);
struct span answer_body(const struct remotingclient_answer *answer);
/* The body, as it came, as one line of output. */
void print_answer_body(const struct remotingclient_answer *answer);

/* Connects, or says why not. */
enum exit_code command_connect(
    const struct invocation *invocation, struct remotingclient **ret_client);
/*
 * A request that cannot be sent (a field given twice) is a usage error; asked before anything is
 * sent.
 */
void command_check_request(
    const struct invocation *invocation, struct remotingclient_request *request);
/* Sends the request and waits; says what went wrong before an answer was there. */
enum exit_code command_invoke_request(const struct invocation *invocation,
    struct remotingclient *client, struct remotingclient_request *request,
    struct remotingclient_answer **ret_answer);
/* Connects, invokes the request and judges the answer: EXIT_CODE_SUCCESS is an answer of code 0. */
enum exit_code command_call(const struct invocation *invocation,
    struct remotingclient_request *request, struct remotingclient_answer **ret_answer);
/*
 * The body of an answer, which the daemon promises to be a JSON object. EXIT_CODE_NO_DAEMON where it
 * is none, and that is told.
 */
enum exit_code command_read_object(const struct remotingclient_answer *answer, json_t **ret_object);
/*
 * The same for commands that people steer with: *ret_body is what they are told, NULL where --json
 * has printed it all.
 */
enum exit_code command_ask(
    const struct invocation *invocation, struct remotingclient_request *request, json_t **ret_body);
/* The addresses as a JSON array: what is returned is the body, to be freed after the request. */
char *request_set_addresses(struct remotingclient_request *request, char *const *addresses, int n);
/* Asks for the topic's route; timeout_ms -1 is the daemon's. The answer is not judged yet. */
enum exit_code command_ask_route(const struct invocation *invocation, struct remotingclient *client,
    const char *topic, int64_t timeout_ms, struct remotingclient_answer **ret_answer);
/*
 * The body of an answer to GET_ROUTEINFO_BY_TOPIC. EXIT_CODE_NO_DAEMON where it is none, and that is
 * told.
 */
enum exit_code command_read_route(
    const struct remotingclient_answer *answer, struct topic_route **ret_route);
/*
 * The messages of an answer to a request with sidecar.answerFormat=json. EXIT_CODE_NO_DAEMON where
 * they cannot be read, and that is told.
 */
enum exit_code command_read_messages(const struct invocation *invocation,
    const struct remotingclient_answer *answer, struct remotingclient_messages **ret_messages);
/*
 * The same messages as the daemon gave them, one JSON object a line. False: memory was short (told
 * on the standard error).
 */
bool print_messages_json(const struct remotingclient_answer *answer);
/* What a negative errno of the library means, in words. */
enum exit_code command_report_broken(
    const struct invocation *invocation, const struct remotingclient *client, int error);
/*
 * What a code other than 0 means: "failed: REMARK (unreachable, sent: no)". The prefix may name the
 * line of the input.
 */
enum exit_code command_report_failure(
    const struct remotingclient_answer *answer, const char *prefix);
/* EXIT_CODE_SUCCESS for code 0, else as command_report_failure(). */
enum exit_code command_judge(const struct remotingclient_answer *answer);
