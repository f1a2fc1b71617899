/* Sends a message, receives it, acknowledges it: hello SOCKET TOPIC GROUP
 *     cc hello.c $(pkg-config --cflags --libs remotingclient) -o hello */
#include <remotingclient.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(struct remotingclient *client, int r)
{
    if (r < 0) {
        fprintf(stderr, "%s %s\n", strerror(-r), client ? remotingclient_problem(client) : "");
        exit(EXIT_FAILURE);
    }
}

static struct remotingclient_answer *succeeded(struct remotingclient_answer *answer)
{
    struct remotingclient_failure failure;
    if (remotingclient_answer_failure(answer, &failure)) {
        fprintf(stderr, "code %d: %s\n", failure.code, failure.remark);
        exit(EXIT_FAILURE);
    }
    return answer;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s SOCKET TOPIC GROUP\n", argv[0]);
        return 2;
    }
    const char *topic = argv[2], *group = argv[3], *body = "hello from C";
    struct remotingclient *client = NULL;
    struct remotingclient_answer *answer;
    check(NULL, remotingclient_new(argv[1], &client));

    const char *properties[] = { "KEYS", "hello-1", NULL };
    check(client,
        remotingclient_send_message(client, topic, body, strlen(body), properties, &answer));
    printf("sent to %s queue %s offset %s\n",
        remotingclient_answer_field(succeeded(answer), "brokerName"),
        remotingclient_answer_field(answer, "queueId"),
        remotingclient_answer_field(answer, "queueOffset"));
    remotingclient_answer_free(answer);

    struct remotingclient_messages *messages;
    check(client, remotingclient_receive_messages(client, topic, group, 32, 15000, &answer));
    check(client, remotingclient_messages_new(succeeded(answer), &messages));
    remotingclient_answer_free(answer);
    for (size_t i = 0; i < remotingclient_messages_count(messages); i++) {
        const struct remotingclient_message *message = remotingclient_messages_get(messages, i);
        printf("received: %s\n", message->body ? message->body : message->reason);
        check(client, remotingclient_acknowledge(client, message->receipt, &answer));
        remotingclient_answer_free(succeeded(answer));
    }
    remotingclient_messages_free(messages);
    remotingclient_free(client);
}
