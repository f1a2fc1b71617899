#include "daemon/loop/log.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE_SIZE    1024
#define LINES_PER_SECOND 10 /* of one budget */

/* What is global: a line may be due anywhere, and there is one standard error. */
static enum log_level log_level = LOG_LEVEL_INFO;
static uint64_t n_dropped;
static uint64_t n_dropped_told;

void log_set_level(enum log_level level)
{
    log_level = level;
}

uint64_t log_dropped(void)
{
    return n_dropped;
}

/*
 * One write a line: lines of two processes never mix. Lines are shorter than PIPE_BUF, so that a
 * pipe or socket which is writable takes one without waiting. A full or closed stderr is nobody's
 * failure. It may be shared with others, and is not made non-blocking for that.
 */
static bool line_write(const char *line, size_t n)
{
    struct pollfd poll_fd = { .fd = STDERR_FILENO, .events = POLLOUT };
    return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLOUT) &&
           write(STDERR_FILENO, line, n) == (ssize_t)n;
}

/* False: nothing can be written now. */
static bool dropped_tell(void)
{
    char line[96];
    uint64_t n = n_dropped - n_dropped_told;
    if (n == 0) {
        return true;
    }
    int size = snprintf(line, sizeof(line),
        "level=warning lines=%" PRIu64 " dropped: standard error took nothing\n", n);
    if (!line_write(line, (size_t)size)) {
        return false;
    }
    n_dropped_told += n;
    return true;
}

enum log_level log_get_level(void)
{
    return log_level;
}

const char *log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    }
    return "?";
}

__attribute__((format(printf, 2, 0))) static void log_line(
    enum log_level level, const char *format, va_list arguments)
{
    if (level > log_level) {
        return;
    }
    char line[LOG_LINE_SIZE];
    int n = snprintf(line, sizeof(line), "level=%s ", log_level_name(level));
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, arguments);
    if (m < 0) {
        return;
    }
    size_t size = (size_t)n + (size_t)m;
    if (size > sizeof(line) - 2) {
        size = sizeof(line) - 2;
    }
    line[size++] = '\n';
    n_dropped += !dropped_tell() || !line_write(line, size);
}

#define DEFINE_LOG(name, level)                                                                    \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        log_line(level, format, arguments);                                                        \
        va_end(arguments);                                                                         \
    }

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)

bool log_budget_take(struct log_budget *budget, uint64_t now_ms, const char *what)
{
    uint64_t second = now_ms / 1000;
    if (second != budget->second) {
        if (budget->n_left_out > 0) {
            log_info("%s left out of the log: %" PRIu64, what, budget->n_left_out);
        }
        *budget = (struct log_budget){ .second = second };
    }
    if (budget->n_logged >= LINES_PER_SECOND) {
        budget->n_left_out++;
        return false;
    }
    budget->n_logged++;
    return true;
}

const char *log_quote(const char *text, size_t n, char dst[LOG_QUOTE_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    dst[at++] = '"';
    for (size_t i = 0; i < n && at < LOG_QUOTE_SIZE - 6; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            dst[at++] = '\\';
            dst[at++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            dst[at++] = '\\';
            dst[at++] = 'x';
            dst[at++] = digits[c >> 4];
            dst[at++] = digits[c & 15];
        } else {
            dst[at++] = (char)c;
        }
    }
    dst[at++] = '"';
    dst[at] = '\0';
    return dst;
}
