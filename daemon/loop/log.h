/*
 * Log
 *
 * One event, one line, key=value, the session or upstream first: to the journal, with each key as a
 * field of its own (REMOTINGD_SESSION=42), where the service manager has connected standard error
 * with it, else to standard error. Whoever decides logs, once; everything below it only returns. Text
 * that came from a peer or a caller goes through log_quote(), so that nobody can forge a line.
 *
 * Requests come first, and nothing waits for the log: a line that cannot be written at once (a pipe
 * that nobody reads, a journal that is stopped) is dropped and counted, and a line says how many were
 * once it can. Of one kind (one format) LOG_LINES_PER_SECOND are written, and the rest is counted.
 * sd_journal_send() waits for a journal that is full or stopped; so its protocol is spoken here, a
 * datagram a line.
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

/* Of one format. How many were left out is told with the first one that is written again. */
#define LOG_LINES_PER_SECOND 100

enum log_target {
    LOG_TARGET_AUTO, /* the journal where standard error is connected with it */
    LOG_TARGET_JOURNAL,
    LOG_TARGET_STDERR,
};
void log_set_target(enum log_target target);

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
/* Lines that standard error or the journal did not take, ever. */
uint64_t log_dropped(void);
/* The same, and those that were too many of their kind. */
uint64_t log_lines_missing(void);
enum log_level log_get_level(void);
const char *log_level_name(enum log_level level);
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The text in quotes, control characters and quotes escaped, cut where dst ends; returns dst. */
#define LOG_QUOTE_SIZE 256
const char *log_quote(const char *text, size_t n, char dst[LOG_QUOTE_SIZE]);
