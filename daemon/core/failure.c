#include "daemon/core/failure.h"

#include "protocol/code.h"
#include "protocol/utf8.h"

#include <stdio.h>

struct failure_row {
    const char *name;
    int32_t code;
};

static const struct failure_row failure_rows[] = {
    [FAILURE_TIMEOUT] = { "timeout", RESPONSE_ACCESS_BROKER_TIMEOUT },
    [FAILURE_NO_REPLY] = { "timeout", RESPONSE_REQUEST_TIMEOUT_EXCEPTION },
    [FAILURE_UNREACHABLE] = { "unreachable", RESPONSE_CONNECT_BROKER_EXCEPTION },
    [FAILURE_CONNECTION_LOST] = { "connection-lost", RESPONSE_CONNECTION_LOST },
    [FAILURE_NO_NAMESERVER] = { "no-nameserver", RESPONSE_NO_NAME_SERVER_EXCEPTION },
    [FAILURE_NO_ROUTE] = { "no-route", RESPONSE_NOT_FOUND_TOPIC_EXCEPTION },
    [FAILURE_NO_BROKER] = { "no-broker", RESPONSE_BROKER_NOT_EXIST_EXCEPTION },
    [FAILURE_OVERLOADED] = { "overloaded", RESPONSE_SYSTEM_BUSY },
    [FAILURE_UNSUPPORTED] = { "unsupported", RESPONSE_REQUEST_CODE_NOT_SUPPORTED },
    [FAILURE_DRAINING] = { "draining", RESPONSE_SYSTEM_BUSY },
    [FAILURE_FORBIDDEN] = { "forbidden", RESPONSE_NO_PERMISSION },
    [FAILURE_INVALID] = { "invalid", RESPONSE_MESSAGE_ILLEGAL },
};

const char *failure_name(enum failure failure)
{
    return failure_rows[failure].name;
}

int32_t failure_code(enum failure failure)
{
    return failure_rows[failure].code;
}

void failure_set_va(struct failure_report *report, enum failure failure, bool maybe_sent,
    const char *format, va_list arguments)
{
    report->failure = failure;
    report->maybe_sent = maybe_sent;
    /* One byte more than is kept shows whether the last character is whole. */
    char cause[FAILURE_CAUSE_SIZE + 1];
    (void)vsnprintf(cause, sizeof(cause), format, arguments);
    struct span kept = utf8_cut(span_of(cause), FAILURE_CAUSE_SIZE - 1);
    memcpy(report->cause, kept.data, kept.n);
    report->cause[kept.n] = '\0';
}

void failure_set(
    struct failure_report *report, enum failure failure, bool maybe_sent, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    failure_set_va(report, failure, maybe_sent, format, arguments);
    va_end(arguments);
}
