/*
 * Log
 *
 * One event, one line on standard error, key=value, the session or upstream first. Whoever decides
 * logs, once; everything below it only returns. Text that came from a peer or a caller goes through
 * log_quote(), so that nobody can forge a line.
 *
 * Requests come first: where standard error takes nothing at the moment (a pipe that nobody reads)
 * a line is dropped and counted, and a line says how many were once it takes some again.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/*
 * How many lines about one kind of event were written in this second. What a peer can repeat at will
 * must not fill the log, and is counted instead.
 */
struct log_budget {
    uint64_t second;
    unsigned n_logged;
    uint64_t n_left_out;
};

/*
 * Whether one more line may be written. The first one that may after some were left out is preceded
 * by a line with their number; what names them: "failures".
 */
bool log_budget_take(struct log_budget *budget, uint64_t now_ms, const char *what);

void log_set_level(enum log_level level);
/* Lines that standard error did not take, ever. */
uint64_t log_dropped(void);
enum log_level log_get_level(void);
const char *log_level_name(enum log_level level);
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The text in quotes, control characters and quotes escaped, cut where dst ends; returns dst. */
#define LOG_QUOTE_SIZE 256
const char *log_quote(const char *text, size_t n, char dst[LOG_QUOTE_SIZE]);
