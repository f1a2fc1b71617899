/*
 * Header oracle
 *
 * What a JSON header means, told by jansson: it reads the text, and the rules of
 * protocol/header_json.h are looked up in its tree. The tests and the fuzzer compare the header
 * parser with it. Nothing is kept but the ext fields of the last command that was decoded here.
 */
#pragma once

#include "protocol/header_json.h"

#include <stddef.h>

#define HEADER_STATUSES 3

const char *header_status_name(enum header_status status);

/*
 * Decodes a copy whose end is the end of its memory, so that a read beyond is seen; the caller
 * frees it. The command is valid until the next one is decoded here.
 */
enum header_status header_oracle_decode(struct remoting_command *command, const char *data,
    size_t n, struct header_problem *ret_problem, char **ret_copy);

/* What is wrong with what was decoded of data, into text; empty when all is as the oracle says. */
enum header_status header_oracle_compare(const char *data, size_t n, char *text, size_t text_size);
