#include "daemon/loop/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE_SIZE    1024
#define LINES_PER_SECOND 10 /* of one budget */

/* The one thing that is global: a line may be due anywhere, and there is one standard error. */
static enum log_level log_level = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    log_level = level;
}

__attribute__((format(printf, 3, 0))) static void log_line(
    enum log_level level, const char *word, const char *format, va_list arguments)
{
    if (level > log_level) {
        return;
    }
    char line[LOG_LINE_SIZE];
    int n = snprintf(line, sizeof(line), "level=%s ", word);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, arguments);
    if (m < 0) {
        return;
    }
    size_t size = (size_t)n + (size_t)m;
    if (size > sizeof(line) - 2) {
        size = sizeof(line) - 2;
    }
    line[size++] = '\n';
    /*
     * One write a line: lines of two processes never mix. A full or closed stderr is nobody's
     * failure.
     */
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written;
}

#define DEFINE_LOG(name, level, word)                                                              \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        log_line(level, word, format, arguments);                                                  \
        va_end(arguments);                                                                         \
    }

DEFINE_LOG(log_error, LOG_LEVEL_ERROR, "error")
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING, "warning")
DEFINE_LOG(log_info, LOG_LEVEL_INFO, "info")
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG, "debug")

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
