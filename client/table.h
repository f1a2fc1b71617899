/*
 * Table
 *
 * Rows of text for people, under headings, each column as wide as its widest cell. Cells are copied
 * and come row by row; the table prints itself once, when all are there.
 */
#pragma once

#include "protocol/span.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_column {
    const char *name;
    bool is_right; /* numbers */
};

struct table {
    const struct table_column *columns;
    size_t n_columns;
    char **cells;
    size_t n_cells;
    size_t capacity;
    bool is_short; /* no memory for a cell */
};

/* The columns outlive the table. */
void table_init(struct table *table, const struct table_column *columns, size_t n_columns);
void table_deinit(struct table *table);
/* The next cell; what is absent or empty is shown as "-". */
void table_add(struct table *table, struct span text);
void table_add_number(struct table *table, int64_t number);
/* What is no JSON integer, such as null for what cannot be seen, is "-". */
void table_add_integer(struct table *table, const json_t *number);
/* With one digit behind the point; anything but a JSON number is "-". */
void table_add_real(struct table *table, const json_t *number);
/* Since 1970, shown as local time to the millisecond; what is not positive is "-". */
void table_add_time(struct table *table, int64_t time_ms);
/* On the standard output. False: memory was short (told on the standard error). */
bool table_print(const struct table *table);
