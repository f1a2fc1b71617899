/*
 * Output
 *
 * What people and programs read. Bodies, remarks and names come from others: written to a terminal,
 * their control characters and everything that is not UTF-8 are escaped (\n, \x1b), so that a
 * message cannot move the cursor or retitle the window. Into files and pipes they go as they are.
 */
#pragma once

#include "protocol/span.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum output_shape {
    OUTPUT_ONE_LINE, /* line feeds and tabs are escaped too */
    OUTPUT_LINES,    /* they stay */
};

void output_text(FILE *stream, struct span text, enum output_shape shape);
/* One line of JSON on the standard output. Takes over the reference. */
void output_json(json_t *value);
/* Indented, without a line feed at the end. Borrows. */
void output_json_pretty(const json_t *value);

/* A JSON string of any bytes: what is not UTF-8 is escaped. null for what is absent. */
json_t *json_text(struct span text);
/* An integer where the text is one; otherwise as json_text(). */
json_t *json_number_or_text(struct span text);
/* A string of a JSON object, or SPAN_ABSENT where it has none of that name. */
struct span json_object_text(const json_t *object, const char *key);
/* An integer of a JSON object, or 0 where it has none of that name. */
int64_t json_object_number(const json_t *object, const char *key);

/* "2026-01-31T12:00:00.123Z", of ms since 1970. */
#define UTC_TEXT_SIZE 40
void utc_text(int64_t wall_ms, char dst[static UTC_TEXT_SIZE]);

enum output_colour {
    OUTPUT_GREEN,
    OUTPUT_YELLOW,
    OUTPUT_RED,
};
/*
 * A word of ours on the standard output, in colour where that is a terminal and NO_COLOR is not set.
 */
void output_word(const char *word, enum output_colour colour);

/*
 * Flushes the standard output; false when something could not be written (told on the standard
 * error).
 */
bool output_flush(void);
