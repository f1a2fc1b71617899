#include "client/subscription.h"

#include <errno.h>
#include <stdio.h>

enum exit_code subscription_open(const struct invocation *invocation,
    struct remotingclient_request *request, struct remotingclient **ret_client)
{
    CLEANUP(remotingclient_answer_free) struct remotingclient_answer *answer = NULL;
    enum exit_code exit_code = command_connect(invocation, ret_client);
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_invoke_request(invocation, *ret_client, request, &answer);
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        exit_code = command_judge(answer);
    }
    if (exit_code == EXIT_CODE_SUCCESS) {
        remotingclient_accept_requests(*ret_client);
    }
    return exit_code;
}

enum exit_code subscription_next(const struct invocation *invocation, struct remotingclient *client,
    int32_t code, struct remotingclient_answer **ret_request)
{
    for (;;) {
        CLEANUP(remotingclient_answer_free) struct remotingclient_answer *request = NULL;
        const int r = remotingclient_receive(client, &request);
        if (r == -ECONNRESET) {
            fprintf(stderr, "remotingctl: the daemon at %s closed the connection.\n",
                invocation->socket_path);
            return EXIT_CODE_NO_DAEMON;
        }
        if (r < 0) {
            return command_report_broken(invocation, client, r);
        }
        if (remotingclient_answer_code(request) == code) {
            *ret_request = TAKE(request);
            return EXIT_CODE_SUCCESS;
        }
    }
}
