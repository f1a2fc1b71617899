#include "daemon/core/send_property.h"

#include "protocol/ext_fields.h"
#include "protocol/message.h"
#include "protocol/utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* So much of what a caller wrote is shown to it again. */
#define SHOWN_MAX 64
/* The greatest of messageDelayLevel's default: "1s 5s 10s ... 2h". Brokers take more for the last. */
#define DELAY_LEVEL_MAX 1000

/* MessageConst.java: what brokers and clients write themselves. */
static const char *const reserved_names[] = {
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "PGROUP",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "POP_CK",
    "1ST_POP_TIME",
    "CLUSTER",
    "INNER_NUM",
    "INNER_BASE",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "RETRY_TOPIC",
    "DLQ_ORIGIN_TOPIC",
    "DLQ_ORIGIN_MESSAGE_ID",
    "TRANSACTION_CHECK_TIMES",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TIMER_OUT_MS",
    "TIMER_ROLL_TIMES",
    "TIMER_DEQUEUE_MS",
    "TIMER_ENQUEUE_MS",
};

static const struct {
    const char *name;
    int64_t max;
} delay_names[] = {
    { PROPERTY_DELAY_LEVEL, DELAY_LEVEL_MAX },
    { PROPERTY_TIMER_DELAY_SEC, INT32_MAX },
    { PROPERTY_TIMER_DELAY_MS, INT64_MAX },
    { PROPERTY_TIMER_DELIVER_MS, INT64_MAX },
};
#define N_DELAY_NAMES (sizeof(delay_names) / sizeof(delay_names[0]))

static size_t delay_index(struct span name)
{
    size_t i = 0;
    while (i < N_DELAY_NAMES && !span_equals_text(name, delay_names[i].name)) {
        i++;
    }
    return i;
}

bool send_property_is_delay(struct span name)
{
    return delay_index(name) < N_DELAY_NAMES;
}

static const char *separator_in(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] == MESSAGE_PROPERTY_NAME_END ||
            text.data[i] == MESSAGE_PROPERTY_VALUE_END) {
            return text.data + i;
        }
    }
    return NULL;
}

bool send_property_is_valid(struct span name, struct span value, char *problem, size_t problem_size)
{
    struct span shown = utf8_cut(name, SHOWN_MAX);
    if (name.n == 0) {
        (void)snprintf(problem, problem_size, "a property has no name");
        return false;
    }
    const char *separator = separator_in(name) ? separator_in(name) : separator_in(value);
    if (separator) {
        (void)snprintf(problem, problem_size,
            "property.%.*s contains the byte %d: RocketMQ cannot store the bytes 1 and 2 in "
            "properties",
            SPAN_ARGS(shown), *separator);
        return false;
    }
    for (size_t i = 0; i < sizeof(reserved_names) / sizeof(reserved_names[0]); i++) {
        if (span_equals_text(name, reserved_names[i])) {
            (void)snprintf(problem, problem_size,
                "property.%.*s is written by RocketMQ itself: take another name", SPAN_ARGS(shown));
            return false;
        }
    }
    if (value.n == 0 && span_equals(name, SPAN(PROPERTY_UNIQ_KEY))) {
        (void)snprintf(problem, problem_size,
            "property." PROPERTY_UNIQ_KEY " is empty: without it the message is given one");
        return false;
    }
    size_t delay = delay_index(name);
    int64_t number;
    if (delay < N_DELAY_NAMES && !ext_value_parse_i64(value, 0, delay_names[delay].max, &number)) {
        struct span shown_value = utf8_cut(value, SHOWN_MAX);
        (void)snprintf(problem, problem_size,
            "property.%.*s is '%.*s': a number from 0 to %lld is accepted", SPAN_ARGS(shown),
            SPAN_ARGS(shown_value), (long long)delay_names[delay].max);
        return false;
    }
    return true;
}

size_t send_property_size(struct span name, struct span value)
{
    return name.n + value.n + 2;
}

size_t send_property_write(char *at, struct span name, struct span value)
{
    char *start = at;
    memcpy(at, name.data, name.n);
    at += name.n;
    *at++ = MESSAGE_PROPERTY_NAME_END;
    if (value.n > 0) {
        memcpy(at, value.data, value.n);
    }
    at += value.n;
    *at++ = MESSAGE_PROPERTY_VALUE_END;
    return (size_t)(at - start);
}
