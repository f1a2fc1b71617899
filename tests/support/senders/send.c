/* Sends what the standard input says: send SOCKET TOPIC NAME (see README.md) */
#include <remotingclient.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MAX_BYTES    100000
#define PATTERN_MAX_BYTES 256

static void check(struct remotingclient *client, int r)
{
    if (r < 0) {
        fprintf(stderr, "%s %s\n", strerror(-r), client ? remotingclient_problem(client) : "");
        exit(EXIT_FAILURE);
    }
}

static char *column(char **at)
{
    char *text = strsep(at, "\t\n");
    if (!text) {
        fputs("a line has five columns\n", stderr);
        exit(EXIT_FAILURE);
    }
    return text;
}

/* The bytes that the digits stand for, repeated. */
static void fill(char *body, size_t n, const char *digits)
{
    char pattern[PATTERN_MAX_BYTES];
    size_t n_pattern = 0;
    unsigned byte;
    while (n_pattern < sizeof(pattern) && sscanf(digits + 2 * n_pattern, "%2x", &byte) == 1) {
        pattern[n_pattern++] = (char)byte;
    }
    for (size_t i = 0; i < n && n_pattern > 0; i++) {
        body[i] = pattern[i % n_pattern];
    }
}

static const char *told(const struct remotingclient_answer *answer, const char *name)
{
    const char *value = remotingclient_answer_field(answer, name);
    return value ? value : "-";
}

static void send_line(
    struct remotingclient *client, const char *topic, const char *name, char *line)
{
    static char body[SIZE_MAX_BYTES];
    const char *number = column(&line);
    const size_t n = strtoul(column(&line), NULL, 10);
    const char *key = column(&line), *pattern = column(&line), *note = column(&line);
    if (n > sizeof(body)) {
        fprintf(stderr, "message %s is larger than %zu bytes\n", number, sizeof(body));
        exit(EXIT_FAILURE);
    }
    fill(body, n, pattern);
    const char *properties[] = { "KEYS", number, "sender", name, "note", note,
        strcmp(key, "-") == 0 ? NULL : "__SHARDINGKEY", key, NULL };
    struct remotingclient_answer *answer;
    check(client, remotingclient_send_message(client, topic, body, n, properties, &answer));
    printf("%s\t%d\t%s\t%s\t%s\n", number, remotingclient_answer_code(answer),
        told(answer, "sidecar.error"), told(answer, "sidecar.sent"),
        told(answer, "sidecar.uniqKey"));
    fflush(stdout);
    remotingclient_answer_free(answer);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s SOCKET TOPIC NAME\n", argv[0]);
        return 2;
    }
    struct remotingclient *client;
    check(NULL, remotingclient_new(argv[1], &client));
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0) {
        send_line(client, argv[2], argv[3], line);
    }
    free(line);
    remotingclient_free(client);
}
