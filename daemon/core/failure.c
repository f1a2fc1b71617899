#include "daemon/core/failure.h"

#include "protocol/code.h"
#include "protocol/utf8.h"

#include <stdio.h>
#include <string.h>

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
    char cause[FAILURE_CAUSE_SIZE];
    (void)vsnprintf(cause, sizeof(cause), format, arguments);
    struct span left = span_of(cause);
    size_t n = 0;
    /* What was cut, at the end or by a precision in the middle, may have left part of a character. */
    while (left.n > 0) {
        size_t size = utf8_character_size(left.data, left.n);
        memcpy(report->cause + n, left.data, size);
        n += size;
        size_t n_walked = size > 0 ? size : 1;
        left = (struct span){ left.data + n_walked, left.n - n_walked };
    }
    report->cause[n] = '\0';
}

void failure_set(
    struct failure_report *report, enum failure failure, bool maybe_sent, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    failure_set_va(report, failure, maybe_sent, format, arguments);
    va_end(arguments);
}
