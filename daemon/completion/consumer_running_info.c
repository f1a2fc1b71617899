#include "daemon/completion/consumer_running_info.h"

#include "protocol/code.h"

#include <stdlib.h>

/* MQVersion's name of REMOTING_VERSION. */
#define CLIENT_VERSION "V5_3_3"

static const char *text_of(const json_t *row, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : otherwise;
}

bool consumer_running_info_answer(
    struct upstream *upstream, int32_t broker_opaque, const json_t *consumer)
{
    if (!consumer) {
        return false;
    }
    json_t *subscriptions = json_object_get(consumer, "subscriptionDataSet");
    json_t *info = json_pack("{s:{}, s:{}, s:{s:s, s:s, s:s}, s:{}, s:O?}", "mqPopTable", "mqTable",
        "properties", "PROP_CLIENT_VERSION", CLIENT_VERSION, "PROP_CONSUME_TYPE",
        text_of(consumer, "consumeType", "CONSUME_ACTIVELY"), "PROP_CONSUMEORDERLY", "false",
        "statusTable", "subscriptionSet", subscriptions);
    char *text = info ? json_dumps(info, JSON_COMPACT) : NULL;
    json_decref(info);
    if (!text) {
        return false;
    }
    struct remoting_command answer = {
        .code = RESPONSE_SUCCESS,
        .version = REMOTING_VERSION,
        .opaque = broker_opaque,
        .language = LANGUAGE_CPP,
        .body = span_of(text),
    };
    upstream_answer(upstream, &answer, NULL);
    free(text);
    return true;
}
