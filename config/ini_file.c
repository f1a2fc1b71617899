#include "config/ini_file.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

#define LINE_END_RESERVE 3 /* inih keeps \r, \n and the zero of its buffer for itself */

static const char blanks[] = " \t\r\f\v";

struct source {
    FILE *file;
    const struct ini_file_handler *handler;
    void *user;
    unsigned line;
    char text[INI_FILE_LINE_MAX + 1];
    size_t key_n;     /* of "key =" in text */
    const char *rest; /* what inih has not been given of the value behind it; NULL: all of it was */
    bool has_section;
    bool is_wanted; /* the section's settings */
    int error;
};

static void report(const struct source *source, const char *seen, const char *sentence)
{
    source->handler->on_problem(source->user, source->line, seen, sentence);
}

/* The next line that is fit to be looked at, without its line feed. False: the file ended. */
static bool read_line(struct source *source)
{
    for (;;) {
        size_t n = 0;
        bool has_zero = false;
        int c = fgetc(source->file);
        if (c == EOF) {
            source->error = ferror(source->file) ? -errno : 0;
            return false;
        }
        source->line++;
        for (; c != EOF && c != '\n'; c = fgetc(source->file)) {
            has_zero |= c == '\0';
            if (n < sizeof(source->text)) {
                source->text[n] = (char)c;
            }
            n += n < sizeof(source->text);
        }
        bool is_too_long = n == sizeof(source->text);
        source->text[is_too_long ? n - 1 : n] = '\0';
        if (!has_zero && !is_too_long) {
            return true;
        }
        if (has_zero) {
            report(source, source->text, "text without zero bytes is accepted");
        } else {
            report(source, source->text,
                "the line is longer than 4096 bytes: repeat the key of a list on several lines");
        }
    }
}

/*
 * Indentation would make inih take the line for more of the value above; the mark of UTF-8 stands
 * before some files.
 */
static void trim_line(struct source *source)
{
    const char *begin = source->text;
    if (source->line == 1 && strncmp(begin, "\xEF\xBB\xBF", 3) == 0) {
        begin += 3;
    }
    begin += strspn(begin, blanks);
    size_t n = strlen(begin);
    while (n > 0 && strchr(blanks, begin[n - 1])) {
        n--;
    }
    memmove(source->text, begin, n);
    source->text[n] = '\0';
}

/* inih would cut a line at " ;" and keep " #" in it: neither may happen without a word. */
static bool has_comment_behind(const char *text)
{
    for (const char *mark = strpbrk(text, ";#"); mark; mark = strpbrk(mark + 1, ";#")) {
        if (mark > text && strchr(blanks, mark[-1])) {
            return true;
        }
    }
    return false;
}

/* True when the section line in text is to be given to inih. */
static bool enter_section(struct source *source)
{
    size_t n = strcspn(source->text, "]");
    source->has_section = true;
    source->is_wanted = false;
    if (source->text[n] == '\0' || source->text[n + 1] != '\0') {
        report(source, source->text,
            "[section] is accepted alone on its line; its settings were skipped");
        return false;
    }
    if (has_comment_behind(source->text)) {
        report(
            source, source->text, "a section's name has no ; and no #; its settings were skipped");
        return false;
    }
    source->text[n] = '\0';
    source->is_wanted = source->handler->on_section(source->user, source->line, source->text + 1);
    source->text[n] = ']';
    return source->is_wanted;
}

/* Checks a line that must be a setting, and makes its value the rest that inih is to be given. */
static void enter_setting(struct source *source)
{
    if (source->has_section && !source->is_wanted) {
        return;
    }
    size_t n = strcspn(source->text, "=:");
    if (n == 0 || source->text[n] != '=') {
        report(source, source->text,
            "[section], key = value or a comment with # in front is accepted");
    } else if (!source->has_section) {
        report(source, source->text, "a setting is accepted below its [section] only");
    } else if (has_comment_behind(source->text)) {
        report(source, source->text,
            "a comment goes on a line of its own; the items of a list are separated by ; without a "
            "blank before it");
    } else {
        source->key_n = n + 1;
        source->rest = source->text + n + 1 + strspn(source->text + n + 1, blanks);
    }
}

/* Gives inih "key =" with as many items of the rest as its buffer holds. False: not even one. */
static bool take_piece(struct source *source, char *dst, size_t size)
{
    size_t reserved = source->key_n + LINE_END_RESERVE;
    const char *rest = source->rest;
    size_t n = strlen(rest);
    source->rest = NULL;
    if (reserved > size) {
        return false;
    }
    size_t room = size - reserved;
    if (n > room) {
        const char *separator = memrchr(rest, ';', room);
        if (!separator) {
            return false;
        }
        n = (size_t)(separator - rest);
        source->rest = separator + 1;
    }
    (void)snprintf(dst, size, "%.*s%.*s\n", (int)source->key_n, source->text, (int)n, rest);
    return true;
}

/* inih's fgets(): hands over section lines and settings, one at a time. */
static char *on_read(char *dst, int size, void *user)
{
    struct source *source = user;
    for (;;) {
        while (!source->rest) {
            if (!read_line(source)) {
                return NULL;
            }
            trim_line(source);
            if (source->text[0] == '\0' || source->text[0] == '#' || source->text[0] == ';') {
                continue;
            }
            if (source->text[0] != '[') {
                enter_setting(source);
            } else if (enter_section(source)) {
                (void)snprintf(dst, (size_t)size, "%s\n", source->text);
                return dst;
            }
        }
        if (take_piece(source, dst, (size_t)size)) {
            return dst;
        }
        char sentence[128];
        (void)snprintf(sentence, sizeof(sentence),
            "%d bytes are accepted for the key and one item of its value", size - LINE_END_RESERVE);
        report(source, source->text, sentence);
    }
}

static int on_setting(void *user, const char *section, const char *key, const char *value)
{
    struct source *source = user;
    source->handler->on_setting(source->user, source->line, section, key, value);
    return 1;
}

int ini_file_read(FILE *file, const struct ini_file_handler *handler, void *user)
{
    struct source source = { .file = file, .handler = handler, .user = user };
    int refused = ini_parse_stream(on_read, &source, on_setting, &source);
    if (refused == -2) {
        return -ENOMEM;
    }
    assert(refused == 0); /* nothing was handed over that inih cannot read */
    return source.error;
}
