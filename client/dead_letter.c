#include "client/dead_letter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/output.h"
#include "protocol/code.h"

/*
 * MessageConst.java: what brokers and clients write themselves. A request message is none any more:
 * who asked has stopped waiting.
 */
static const char *const written_by_rocketmq[] = {
    "WAIT",
    "DELAY",
    "RETRY_TOPIC",
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "PGROUP",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "ORIGIN_MESSAGE_ID",
    "ORIGIN_GROUP",
    "TRANSFER_FLAG",
    "CORRECTION_FLAG",
    "MQ2_FLAG",
    "RECONSUME_TIME",
    "MSG_REGION",
    "TRACE_ON",
    "EXTEND_UNIQ_INFO",
    "MAX_RECONSUME_TIMES",
    "CONSUME_START_TIME",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TRANSACTION_CHECK_TIMES",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "__transactionId__",
    "1ST_POP_TIME",
    "BORN_HOST",
    "BORN_TIMESTAMP",
    "CLUSTER",
    "MSG_TYPE",
    "CORRELATION_ID",
    "REPLY_TO_CLIENT",
    "TTL",
    "ARRIVE_TIME",
    "PUSH_REPLY_TIME",
    "FORWARD_QUEUE_ID",
    "__CRC32#",
    PROPERTY_REQUEUED_FROM,
    /* The daemon's, which writes them anew where it stamps messages. */
    "SENDER_UID",
    "SENDER_UNIT",
};
static const char *const families_of_rocketmq[] = { "POP_CK", "INNER_", "TIMER_", "DLQ_ORIGIN_" };

static bool is_of_rocketmq(const char *name)
{
    for (size_t i = 0; i < sizeof(written_by_rocketmq) / sizeof(written_by_rocketmq[0]); i++) {
        if (strcmp(name, written_by_rocketmq[i]) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof(families_of_rocketmq) / sizeof(families_of_rocketmq[0]); i++) {
        if (span_starts_with(span_of(name), span_of(families_of_rocketmq[i]))) {
            return true;
        }
    }
    return false;
}

static struct span property_of(const struct dead_letter *letter, const char *name)
{
    return json_object_text(json_object_get(letter->row, "properties"), name);
}

/* Keys stand one behind the other, with spaces between. */
static bool has_key(struct span keys, const char *key)
{
    const size_t n_key = strlen(key);
    for (size_t at = 0; at < keys.n;) {
        const char *space = memchr(keys.data + at, ' ', keys.n - at);
        const size_t n = space ? (size_t)(space - keys.data) - at : keys.n - at;
        if (n == n_key && memcmp(keys.data + at, key, n) == 0) {
            return true;
        }
        at += n + 1;
    }
    return false;
}

static bool has_id(const struct dead_letter *letter, const char *id)
{
    return span_equals_text(dead_letter_id(letter), id) ||
           span_equals_text(json_object_text(letter->row, "uniqKey"), id) ||
           span_equals_text(property_of(letter, "ORIGIN_MESSAGE_ID"), id);
}

bool dead_letter_filter_is_empty(const struct dead_letter_filter *filter)
{
    return !filter->key && !filter->tag && !filter->id && filter->since_ms < 0 &&
           filter->until_ms < 0;
}

bool dead_letter_matches(const struct dead_letter *letter, const struct dead_letter_filter *filter)
{
    const int64_t time_ms = dead_letter_time_ms(letter);
    return (!filter->key || has_key(json_object_text(letter->row, "keys"), filter->key)) &&
           (!filter->tag || span_equals_text(json_object_text(letter->row, "tags"), filter->tag)) &&
           (!filter->id || has_id(letter, filter->id)) &&
           (filter->since_ms < 0 || time_ms >= filter->since_ms) &&
           (filter->until_ms < 0 || time_ms < filter->until_ms);
}

int64_t dead_letter_time_ms(const struct dead_letter *letter)
{
    return json_object_number(letter->row, "storeTimestamp");
}

struct span dead_letter_id(const struct dead_letter *letter)
{
    return json_object_text(letter->row, "offsetMsgId");
}

struct span dead_letter_topic(const struct dead_letter *letter, const char *group)
{
    struct span topic = property_of(letter, "RETRY_TOPIC");
    if (span_is_empty(topic)) {
        topic = property_of(letter, "DLQ_ORIGIN_TOPIC");
    }
    /* A receiver's (POP) retry topic has the topic's name behind the group's and a _ or +. */
    const struct span prefix = SPAN("%RETRY%");
    const size_t n_group = strlen(group);
    if (!span_starts_with(topic, prefix)) {
        return topic;
    }
    const struct span rest = { topic.data + prefix.n, topic.n - prefix.n };
    const bool is_of_topic = span_starts_with(rest, span_of(group)) && rest.n > n_group + 1 &&
                             (rest.data[n_group] == '_' || rest.data[n_group] == '+');
    return is_of_topic ? (struct span){ rest.data + n_group + 1, rest.n - n_group - 1 }
                       : SPAN_ABSENT;
}

/* Without memory the request is NULL from then on. */
static void add_property(
    struct remotingclient_request **request, const char *name, struct span value)
{
    char *field = NULL;
    const int n = asprintf(&field, "property.%s", name);
    if (n < 0) {
        *request = remotingclient_request_free(*request);
        return;
    }
    remotingclient_request_add_sized(*request, field, (size_t)n, value.data, value.n);
    free(field);
}

struct remotingclient_request *dead_letter_send_new(
    const struct dead_letter *letter, struct span topic)
{
    json_t *properties = json_object_get(letter->row, "properties");
    struct remotingclient_request *request = remotingclient_request_new(REQUEST_SEND_MESSAGE);
    remotingclient_request_add_sized(request, "topic", strlen("topic"), topic.data, topic.n);
    remotingclient_request_add_number(request, "flag", json_object_number(letter->row, "flag"));
    const char *name;
    json_t *value;
    json_object_foreach(properties, name, value)
    {
        if (!is_of_rocketmq(name)) {
            add_property(&request, name, json_object_text(properties, name));
        }
    }
    add_property(&request, PROPERTY_REQUEUED_FROM, dead_letter_id(letter));
    remotingclient_request_set_body(request, letter->message->body, letter->message->n_body);
    return request;
}
