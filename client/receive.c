#include "client/receive.h"

#include "client/command.h"
#include "protocol/code.h"

struct remotingclient_request *receive_request_new(const struct receive_source *source, int64_t n)
{
    struct remotingclient_request *request = remotingclient_request_new(REQUEST_POP_MESSAGE);
    remotingclient_request_add(request, "topic", source->topic);
    remotingclient_request_add(request, "consumerGroup", source->group);
    remotingclient_request_add_number(request, "maxMsgNums", n);
    remotingclient_request_add_number(request, "pollTime", source->wait_ms);
    remotingclient_request_add(request, "expType", source->expression_type);
    remotingclient_request_add(request, "exp", source->expression);
    remotingclient_request_add(request, "sidecar.answerFormat", "json");
    if (source->invisible_ms >= 0) {
        remotingclient_request_add_number(request, "invisibleTime", source->invisible_ms);
    }
    if (source->max_reconsume >= 0) {
        remotingclient_request_add_number(request, "sidecar.maxReconsume", source->max_reconsume);
    }
    return request;
}

static bool is_made_here(const struct remotingclient_answer *answer, const char *error)
{
    return span_equals_text(answer_field(answer, "sidecar.error"), error);
}

bool receive_is_nothing(const struct remotingclient_answer *answer)
{
    const int32_t code = remotingclient_answer_code(answer);
    return span_is_absent(answer_field(answer, "sidecar.error")) &&
           (code == RESPONSE_POLLING_TIMEOUT || code == RESPONSE_PULL_NOT_FOUND ||
               code == RESPONSE_POLLING_FULL);
}

bool receive_may_pass(const struct remotingclient_answer *answer)
{
    static const char *const passing[] = { "timeout", "unreachable", "connection-lost",
        "no-nameserver", "no-broker", "overloaded" };
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        if (is_made_here(answer, passing[i])) {
            return true;
        }
    }
    return false;
}

bool receive_daemon_stops(const struct remotingclient_answer *answer)
{
    return is_made_here(answer, "draining");
}

bool receive_may_pass_later(const struct remotingclient_answer *answer)
{
    return receive_may_pass(answer) || receive_daemon_stops(answer);
}
