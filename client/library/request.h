/*
 * Request
 *
 * What is inside a remotingclient_request: a remoting command under construction. Every field is one
 * block on the heap, its name, a zero, its value and a zero, to which the command's spans point.
 */
#pragma once

#include "client/remotingclient.h"
#include "protocol/remoting_command.h"

struct remotingclient_request {
    struct remoting_command command;
    enum serialize_type serialize_type;
    struct ext_field fields[EXT_FIELDS_MAX];
    const char *failure; /* of an addition */
    char problem[128];   /* remotingclient_request_problem() answers it */
};
