/*
 * Log fields
 *
 * Takes a line of the log apart again: the words of it that are key=value, as native fields of a
 * journal. A key is small letters and _, a value a word or a text in quotes (log_quote()), without
 * its quotes and with its escapes. What stands between is no field.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>

/* The next field behind *at, which is moved behind it. False: there is none. */
bool log_fields_next(const char **at, struct span *ret_key, struct span *ret_value);
