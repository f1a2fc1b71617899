/* Has the daemon read its configuration again, and says what became of that. */
#include "client/command.h"

#include <stdio.h>

#include "client/output.h"
#include "protocol/code.h"

static const char help[] =
    "remotingctl reload\n"
    "\n"
    "Has the daemon read its configuration again, with the keys and certificates that it names, "
    "and\n"
    "waits until that is in use. Where anything is wrong with it everything stays as it was: each\n"
    "problem is printed with its file and line, and the exit code is 3. What cannot change before\n"
    "the next start is printed, too. Needs the admin role.\n"
    "\n"
    "  --wait   waits until the new configuration is in use, which it does anyway\n"
    "  --socket, --json, --help, --version: see remotingctl --help\n"
    "\n"
    "Examples:\n"
    "  remotingctl reload\n"
    "  remotingctl reload --wait && echo the new configuration is in use\n"
    "  remotingctl reload --json | jq -r '.problems[]'\n";

enum { OPTION_WAIT = OPTION_OWN };

static const struct option options[] = {
    GLOBAL_OPTIONS,
    { "wait", no_argument, NULL, OPTION_WAIT },
    { 0 },
};

/* One text a line, behind the prefix. */
static void print_texts(FILE *stream, const char *prefix, const json_t *texts)
{
    size_t i;
    const json_t *text;
    json_array_foreach(texts, i, text)
    {
        fputs(prefix, stream);
        output_text(stream, (struct span){ json_string_value(text), json_string_length(text) },
            OUTPUT_ONE_LINE);
        fputc('\n', stream);
    }
}

/* A refusal for what is wrong with the file lists all of that; others have a remark alone. */
static enum exit_code report_refusal(
    const struct invocation *invocation, const struct remotingclient_answer *answer)
{
    CLEANUP(json_decref) json_t *body = NULL;
    if (answer_body(answer).n == 0) {
        return command_judge(answer);
    }
    const enum exit_code exit_code = command_read_object(answer, &body);
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    const json_int_t n_more = json_integer_value(json_object_get(body, "problemsLeftOut"));
    if (invocation->json) {
        print_answer_body(answer);
    } else {
        fputs("failed: the configuration is wrong, and everything stays as it was:\n", stderr);
        print_texts(stderr, "", json_object_get(body, "problems"));
    }
    if (!invocation->json && n_more > 0) {
        fprintf(stderr, "and %" JSON_INTEGER_FORMAT " more\n", n_more);
    }
    return EXIT_CODE_DAEMON;
}

static enum exit_code run(struct invocation *invocation)
{
    while (command_next_option(invocation) == OPTION_WAIT) {
    }
    command_count_operands(invocation, 0, 0);
    CLEANUP(remotingclient_request_free)
    struct remotingclient_request *request = remotingclient_request_new(SIDECAR_RELOAD);
    CLEANUP(remotingclient_free) struct remotingclient *client = NULL;
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    enum exit_code exit_code = command_connect(invocation, &client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_invoke_request(invocation, client, request, &answer);
    }
    if (exit_code != EXIT_CODE_SUCCESS) {
        return exit_code;
    }
    if (remotingclient_answer_code(answer) != RESPONSE_SUCCESS) {
        return report_refusal(invocation, answer);
    }
    CLEANUP(json_decref) json_t *body = NULL;
    exit_code = command_read_object(answer, &body);
    if (exit_code == EXIT_CODE_SUCCESS && invocation->json) {
        print_answer_body(answer);
    } else if (exit_code == EXIT_CODE_SUCCESS) {
        puts("reloaded");
        print_texts(stdout, "", json_object_get(body, "kept"));
    }
    return exit_code;
}

const struct command command_reload = {
    .name = "reload",
    .synopsis = "reload [--wait]",
    .summary = "have it read its configuration again",
    .help = help,
    .options = options,
    .run = run,
};
