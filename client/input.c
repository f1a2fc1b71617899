#include "client/input.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "protocol/frame.h"

#define CHUNK_SIZE 65536u

/* Makes room for at least one more byte; -EFBIG at the limit. */
static int make_room(char **data, size_t n, size_t *capacity)
{
    if (n < *capacity) {
        return 0;
    }
    if (*capacity >= FRAME_SIZE_MAX) {
        return -EFBIG;
    }
    const size_t larger = *capacity > 0 ? *capacity * 2 : CHUNK_SIZE;
    char *moved = realloc(*data, larger);
    if (!moved) {
        return -ENOMEM;
    }
    *data = moved;
    *capacity = larger;
    return 0;
}

static ssize_t read_some(int fd, char *data, size_t n)
{
    ssize_t n_read;
    do {
        n_read = read(fd, data, n);
    } while (n_read < 0 && errno == EINTR);
    return n_read < 0 ? -errno : n_read;
}

int input_read_all(int fd, char **ret_data, size_t *ret_n)
{
    char *data = NULL;
    size_t n = 0;
    size_t capacity = 0;
    for (;;) {
        const int r = make_room(&data, n, &capacity);
        const ssize_t n_read = r < 0 ? r : read_some(fd, data + n, capacity - n);
        if (n_read < 0) {
            free(data);
            return (int)n_read;
        }
        if (n_read == 0) {
            *ret_data = data;
            *ret_n = n;
            return 0;
        }
        n += (size_t)n_read;
    }
}

void line_reader_init(struct line_reader *reader, int fd)
{
    *reader = (struct line_reader){ .fd = fd };
}

void line_reader_deinit(struct line_reader *reader)
{
    free(reader->data);
}

enum line_status line_reader_next(struct line_reader *reader, struct span *ret_line)
{
    const char *end = NULL;
    if (reader->scanned < reader->n) {
        end = memchr(reader->data + reader->scanned, '\n', reader->n - reader->scanned);
    }
    if (!end && !reader->ended) {
        reader->scanned = reader->n;
        return LINE_PARTIAL;
    }
    if (!end && reader->at == reader->n && !reader->skips) {
        return LINE_END;
    }
    const size_t end_at = end ? (size_t)(end - reader->data) : reader->n;
    /* `data` cannot be NULL here, but an empty last line must not look absent. */
    *ret_line = (struct span){ reader->data + reader->at, end_at - reader->at };
    reader->at = end ? end_at + 1 : end_at;
    reader->scanned = reader->at;
    const bool was_skipping = reader->skips;
    reader->skips = false;
    return was_skipping ? LINE_TOO_LONG : LINE_READY;
}

int line_reader_fill(struct line_reader *reader)
{
    if (reader->at > 0) {
        reader->n -= reader->at;
        reader->scanned -= reader->at;
        memmove(reader->data, reader->data + reader->at, reader->n);
        reader->at = 0;
    }
    int r = make_room(&reader->data, reader->n, &reader->capacity);
    if (r == -EFBIG) {
        reader->skips = true;
        reader->n = 0;
        reader->scanned = 0;
        r = 0;
    }
    if (r < 0) {
        return r;
    }
    const ssize_t n_read =
        read_some(reader->fd, reader->data + reader->n, reader->capacity - reader->n);
    if (n_read < 0) {
        return (int)n_read;
    }
    reader->ended = n_read == 0;
    reader->n += (size_t)n_read;
    return 0;
}
