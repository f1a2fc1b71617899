#include "daemon/loop/log.h"

#include "daemon/core/log_fields.h"

#include <ctype.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_SIZE     1024
#define LOG_DATAGRAM_SIZE (4 * LOG_LINE_SIZE)
#define FORMATS           64 /* that are counted at a time */
#define LINES_PER_SECOND  10 /* of one budget */

/* How many lines of one format were written in its second. */
struct format_budget {
    const char *format;
    uint64_t second;
    unsigned n_written;
    uint64_t n_left_out;
};

/* The one thing that is global: a line may be due anywhere, and there is one standard error. */
static enum log_level log_level = LOG_LEVEL_INFO;
static int journal_fd = -1; /* -1: standard error */
static struct sockaddr_un journal = { .sun_family = AF_UNIX };
static struct format_budget budgets[FORMATS];
static uint64_t n_dropped; /* nobody took them */
static uint64_t n_dropped_told;
static uint64_t n_left_out; /* too many of their kind */

void log_set_level(enum log_level level)
{
    log_level = level;
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

uint64_t log_dropped(void)
{
    return n_dropped;
}

uint64_t log_lines_missing(void)
{
    return n_dropped + n_left_out;
}

/* --- where lines go --- */

void log_set_target(enum log_target target)
{
    struct stat status;
    char *colon = NULL;
    const char *stream = getenv("JOURNAL_STREAM"); /* DEVICE:INODE, systemd.exec(5) */
    unsigned long long device = stream ? strtoull(stream, &colon, 10) : 0;
    unsigned long long inode = colon && *colon == ':' ? strtoull(colon + 1, NULL, 10) : 0;
    bool is_connected = inode != 0 && fstat(STDERR_FILENO, &status) == 0 &&
                        status.st_dev == device && status.st_ino == inode;
    const char *chosen = getenv("REMOTINGD_JOURNAL_SOCKET"); /* by tests */
    (void)snprintf(journal.sun_path, sizeof(journal.sun_path), "%s",
        chosen ? chosen : "/run/systemd/journal/socket");
    if (journal_fd >= 0) {
        (void)close(journal_fd);
        journal_fd = -1;
    }
    if (target == LOG_TARGET_JOURNAL || (target == LOG_TARGET_AUTO && is_connected)) {
        journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
}

/* A datagram of KEY=value lines. Other control characters are quoted already. */
static bool journal_write(enum log_level level, const char *message)
{
    static const int priorities[] = {
        [LOG_LEVEL_ERROR] = 3,
        [LOG_LEVEL_WARNING] = 4,
        [LOG_LEVEL_INFO] = 6,
        [LOG_LEVEL_DEBUG] = 7,
    };
    char datagram[LOG_DATAGRAM_SIZE];
    size_t size = (size_t)snprintf(datagram, sizeof(datagram),
        "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=remotingd\n", message, priorities[level]);
    struct span key, value;
    const char *at = message;
    while (log_fields_next(&at, &key, &value)) {
        if (size + sizeof("REMOTINGD_=\n") + key.n + value.n > sizeof(datagram)) {
            break;
        }
        size += (size_t)snprintf(datagram + size, sizeof(datagram) - size, "REMOTINGD_");
        for (size_t i = 0; i < key.n; i++) {
            datagram[size++] = (char)toupper((unsigned char)key.data[i]);
        }
        size +=
            (size_t)snprintf(datagram + size, sizeof(datagram) - size, "=%.*s\n", SPAN_ARGS(value));
    }
    return sendto(journal_fd, datagram, size, MSG_DONTWAIT | MSG_NOSIGNAL,
               (const struct sockaddr *)&journal, sizeof(journal)) == (ssize_t)size;
}

/*
 * One write a line: lines of two processes never mix. Lines are shorter than PIPE_BUF, so that a
 * pipe or socket which is writable takes one without waiting. A full or closed stderr is nobody's
 * failure. It may be shared with others, and is not made non-blocking for that.
 */
static bool stderr_write(enum log_level level, const char *message)
{
    char line[LOG_LINE_SIZE + 32];
    struct pollfd ready = { .fd = STDERR_FILENO, .events = POLLOUT };
    int size = snprintf(line, sizeof(line), "level=%s %s\n", log_level_name(level), message);
    return poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) &&
           write(STDERR_FILENO, line, (size_t)size) == size;
}

static bool line_write(enum log_level level, const char *message)
{
    return journal_fd >= 0 ? journal_write(level, message) : stderr_write(level, message);
}

/* False: nothing can be written now. */
static bool dropped_tell(void)
{
    char message[96];
    uint64_t n = n_dropped - n_dropped_told;
    if (n == 0) {
        return true;
    }
    (void)snprintf(message, sizeof(message), "lines=%" PRIu64 " dropped: %s took nothing", n,
        journal_fd >= 0 ? "the journal" : "standard error");
    if (!line_write(LOG_LEVEL_WARNING, message)) {
        return false;
    }
    n_dropped_told += n;
    return true;
}

static void message_write(enum log_level level, char *message)
{
    for (char *c = message; (c = strchr(c, '\n')); c++) {
        *c = ' ';
    }
    n_dropped += !dropped_tell() || !line_write(level, message);
}

/* --- how many there may be --- */

static uint64_t second_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec;
}

/* NULL: more formats than places within one second, which have no limit then. */
static struct format_budget *format_find(const char *format, uint64_t second)
{
    struct format_budget *free_place = NULL;
    for (size_t i = 0; i < FORMATS; i++) {
        if (budgets[i].format == format) {
            return &budgets[i];
        }
        if (budgets[i].second != second && budgets[i].n_left_out == 0) {
            free_place = &budgets[i];
        }
    }
    if (free_place) {
        *free_place = (struct format_budget){ .format = format, .second = second };
    }
    return free_place;
}

static bool format_take(const char *format)
{
    uint64_t second = second_now();
    struct format_budget *budget = format_find(format, second);
    if (!budget) {
        return true;
    }
    if (budget->second != second) {
        uint64_t n_before = budget->n_left_out;
        *budget = (struct format_budget){ .format = format, .second = second };
        if (n_before > 0) {
            char message[LOG_LINE_SIZE], quoted[LOG_QUOTE_SIZE];
            (void)snprintf(message, sizeof(message), "log left_out=%" PRIu64 " of=%s", n_before,
                log_quote(format, strlen(format), quoted));
            message_write(LOG_LEVEL_WARNING, message);
        }
    }
    if (budget->n_written == LOG_LINES_PER_SECOND) {
        budget->n_left_out++;
        n_left_out++;
        return false;
    }
    budget->n_written++;
    return true;
}

__attribute__((format(printf, 2, 0))) static void log_line(
    enum log_level level, const char *format, va_list arguments)
{
    char message[LOG_LINE_SIZE];
    if (level > log_level || (level != LOG_LEVEL_DEBUG && !format_take(format))) {
        return;
    }
    if (vsnprintf(message, sizeof(message), format, arguments) >= 0) {
        message_write(level, message);
    }
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
            log_info("log left_out=%" PRIu64 " of=\"%s\"", budget->n_left_out, what);
        }
        *budget = (struct log_budget){ .second = second };
    }
    if (budget->n_logged >= LINES_PER_SECOND) {
        budget->n_left_out++;
        n_left_out++;
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
