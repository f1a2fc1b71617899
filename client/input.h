/*
 * Input
 *
 * Bytes from a file or the standard input: all of them as one body, or line by line. Both are
 * bounded by what a frame can carry. The line reader never waits by itself: its caller waits for
 * the descriptor and for answers at once.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>

struct line_reader {
    int fd;
    char *data;
    size_t n;
    size_t capacity;
    size_t at;      /* where the next line starts */
    size_t scanned; /* no line end before this */
    bool ended;
    bool skips; /* inside a line that is too long: its bytes are dropped */
};

enum line_status {
    LINE_READY,
    LINE_TOO_LONG, /* longer than a frame: it was dropped */
    LINE_PARTIAL,  /* call line_reader_fill() */
    LINE_END,
};

/*
 * Everything up to the end. 0, -EFBIG when it is more than a frame can carry, or another negative
 * errno.
 */
int input_read_all(int fd, char **ret_data, size_t *ret_n);

void line_reader_init(struct line_reader *reader, int fd);
void line_reader_deinit(struct line_reader *reader);
/* The next line, without its line feed; valid until the next call of line_reader_fill(). */
enum line_status line_reader_next(struct line_reader *reader, struct span *ret_line);
/* One read(2). 0 or a negative errno. */
int line_reader_fill(struct line_reader *reader);
