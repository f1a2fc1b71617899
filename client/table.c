#include "client/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/output.h"

/* A longer cell does not push the others of its column away. */
#define WIDTH_MAX 64

void table_init(struct table *table, const struct table_column *columns, size_t n_columns)
{
    *table = (struct table){ .columns = columns, .n_columns = n_columns };
}

void table_deinit(struct table *table)
{
    while (table->n_cells > 0) {
        free(table->cells[--table->n_cells]);
    }
    free(table->cells);
}

void table_add(struct table *table, struct span text)
{
    if (table->n_cells == table->capacity) {
        const size_t capacity = table->capacity > 0 ? 2 * table->capacity : 64;
        char **cells = realloc(table->cells, capacity * sizeof(*cells));
        if (!cells) {
            table->is_short = true;
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    char *cell = span_is_empty(text) ? strdup("-") : strndup(text.data, text.n);
    if (!cell) {
        table->is_short = true;
        return;
    }
    table->cells[table->n_cells++] = cell;
}

void table_add_number(struct table *table, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    table_add(table, span_of(text));
}

void table_add_integer(struct table *table, const json_t *number)
{
    if (json_is_integer(number)) {
        table_add_number(table, json_integer_value(number));
    } else {
        table_add(table, SPAN_ABSENT);
    }
}

void table_add_real(struct table *table, const json_t *number)
{
    char text[32] = "";
    if (json_is_number(number)) {
        (void)snprintf(text, sizeof(text), "%.1f", json_number_value(number));
    }
    table_add(table, span_of(text));
}

void table_add_time(struct table *table, int64_t time_ms)
{
    const time_t time_s = (time_t)(time_ms / 1000);
    char text[40];
    struct tm broken_down;
    if (time_ms <= 0 || !localtime_r(&time_s, &broken_down)) {
        table_add(table, SPAN_ABSENT);
        return;
    }
    const size_t n = strftime(text, sizeof(text), "%F %T", &broken_down);
    (void)snprintf(text + n, sizeof(text) - n, ".%03d", (int)(time_ms % 1000));
    table_add(table, span_of(text));
}

static int width_of(const char *text)
{
    return (int)strnlen(text, WIDTH_MAX);
}

static int column_width(const struct table *table, size_t column)
{
    int width = width_of(table->columns[column].name);
    for (size_t i = column; i < table->n_cells; i += table->n_columns) {
        const int n = width_of(table->cells[i]);
        width = n > width ? n : width;
    }
    return width;
}

/* Pads by bytes: names of RocketMQ are ASCII. Nothing follows the last column. */
static void print_cell(const struct table *table, size_t column, int width, const char *text)
{
    const bool is_last = column + 1 == table->n_columns;
    const int padding = width - width_of(text);
    if (table->columns[column].is_right) {
        printf("%*s", padding, "");
    }
    output_text(stdout, span_of(text), OUTPUT_ONE_LINE);
    if (is_last) {
        fputc('\n', stdout);
    } else {
        printf("%*s", table->columns[column].is_right ? 2 : padding + 2, "");
    }
}

bool table_print(const struct table *table)
{
    if (table->is_short) {
        fputs("remotingctl: out of memory.\n", stderr);
        return false;
    }
    int *widths = calloc(table->n_columns, sizeof(*widths));
    if (!widths) {
        fputs("remotingctl: out of memory.\n", stderr);
        return false;
    }
    for (size_t column = 0; column < table->n_columns; column++) {
        widths[column] = column_width(table, column);
    }
    for (size_t column = 0; column < table->n_columns; column++) {
        print_cell(table, column, widths[column], table->columns[column].name);
    }
    for (size_t i = 0; i < table->n_cells; i++) {
        const size_t column = i % table->n_columns;
        print_cell(table, column, widths[column], table->cells[i]);
    }
    free(widths);
    return true;
}
