/*
 * JSON values
 *
 * How many values a JSON text has, counted before it is parsed: a parser takes 50 bytes and more for
 * a value of two characters, so that who lets peers choose the text bounds these, too.
 */
#pragma once

#include "protocol/span.h"

/* At least as many as there are; more only where the text is no JSON. */
size_t json_values_count(struct span json);
