#include "daemon/core/failure.h"

#include "protocol/code.h"

#include <stdarg.h>
#include <stdio.h>

struct failure_row {
    const char *name;
    int32_t code;
};

static const struct failure_row failure_rows[] = {
    [FAILURE_TIMEOUT] = { "timeout", RESPONSE_ACCESS_BROKER_TIMEOUT },
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

void failure_set(
    struct failure_report *report, enum failure failure, bool maybe_sent, const char *format, ...)
{
    report->failure = failure;
    report->maybe_sent = maybe_sent;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(report->cause, sizeof(report->cause), format, arguments);
    va_end(arguments);
}
