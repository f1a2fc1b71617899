#include "client/undelivered.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/cleanup.h"

DEFINE_CLEANUP(char *, free)

#define COPY_SIZE 65536

#define LOCK_OF_SENDER 0
#define LOCK_OF_ADDER  1

struct undelivered {
    char *path;
    int fd;
    /* opened to send */
    FILE *lines;
    off_t end; /* of what was there then */
    char *line;
    size_t line_capacity;
    char *new_path;
    int new_fd; /* what is kept; -1: it was opened to add */
};

DEFINE_CLEANUP(struct undelivered *, undelivered_free)

/* Belongs to the open file and not to the process: two of one process exclude each other too. */
static int lock(int fd, int at, short type, bool waits)
{
    struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
    int r;
    do {
        r = fcntl(fd, waits ? F_OFD_SETLKW : F_OFD_SETLK, &range);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

/* Whether the path still leads to the file that is open: another one may have taken its place. */
static bool is_in_place(const struct undelivered *file)
{
    struct stat here;
    struct stat there;
    return fstat(file->fd, &here) == 0 && stat(file->path, &there) == 0 &&
           here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static int reopen(struct undelivered *file, int flags)
{
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    file->fd = open(file->path, flags | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    return file->fd < 0 ? -errno : 0;
}

/* Locks the file that the path leads to, which may change while the lock is waited for. */
static int lock_in_place(struct undelivered *file, int flags, int at, bool waits)
{
    for (;;) {
        int r = lock(file->fd, at, F_WRLCK, waits);
        if (r < 0 || is_in_place(file)) {
            return r == -EAGAIN || r == -EACCES ? -EBUSY : r;
        }
        r = reopen(file, flags);
        if (r < 0) {
            return r;
        }
    }
}

static int undelivered_new(const char *path, int flags, struct undelivered **ret_file)
{
    CLEANUP(undelivered_free) struct undelivered *file = calloc(1, sizeof(*file));
    if (!file) {
        return -ENOMEM;
    }
    file->fd = -1;
    file->new_fd = -1;
    file->path = strdup(path);
    const int r = file->path ? reopen(file, flags) : -ENOMEM;
    if (r == 0) {
        *ret_file = TAKE(file);
    }
    return r;
}

int undelivered_open(const char *path, struct undelivered **ret_file)
{
    return undelivered_new(path, O_CREAT, ret_file);
}

/* Lines are read where nobody writes: up to the end of now, at which no line is half. */
static int open_lines(struct undelivered *file)
{
    struct stat status;
    int r = lock(file->fd, LOCK_OF_ADDER, F_WRLCK, true);
    if (r == 0 && fstat(file->fd, &status) < 0) {
        r = -errno;
    }
    (void)lock(file->fd, LOCK_OF_ADDER, F_UNLCK, false);
    if (r < 0) {
        return r;
    }
    file->end = status.st_size;
    /* A descriptor of its own for the stream, of the same open file: the locks stay when it goes. */
    const int fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    file->lines = fd < 0 ? NULL : fdopen(fd, "r");
    if (!file->lines) {
        r = -errno;
        (void)(fd < 0 ? 0 : close(fd));
    }
    return r;
}

static int open_new(struct undelivered *file)
{
    if (asprintf(&file->new_path, "%s.new", file->path) < 0) {
        file->new_path = NULL;
        return -ENOMEM;
    }
    /* What a process that was killed left behind of it says nothing that the file does not. */
    file->new_fd =
        open(file->new_path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat status;
    if (file->new_fd < 0 || fstat(file->fd, &status) < 0) {
        return -errno;
    }
    /* Who may add to it is to stay so. Without the right to give it away it becomes the sender's. */
    (void)!fchown(file->new_fd, status.st_uid, status.st_gid);
    return fchmod(file->new_fd, status.st_mode & 0777) < 0 ? -errno : 0;
}

int undelivered_open_to_send(const char *path, struct undelivered **ret_file)
{
    /* Where the name is a link its file is replaced, and the link stays. */
    CLEANUP(free) char *real_path = realpath(path, NULL);
    CLEANUP(undelivered_free) struct undelivered *file = NULL;
    int r = real_path ? undelivered_new(real_path, 0, &file) : -errno;
    if (r == 0) {
        r = lock_in_place(file, 0, LOCK_OF_SENDER, false);
    }
    if (r == 0) {
        r = open_lines(file);
    }
    if (r == 0) {
        r = open_new(file);
    }
    if (r == 0) {
        *ret_file = TAKE(file);
    }
    return r;
}

struct undelivered *undelivered_free(struct undelivered *file)
{
    if (!file) {
        return NULL;
    }
    if (file->lines) {
        (void)fclose(file->lines);
    }
    if (file->new_fd >= 0) {
        (void)unlink(file->new_path);
        (void)close(file->new_fd);
    }
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    free(file->new_path);
    free(file->line);
    free(file->path);
    free(file);
    return NULL;
}

bool undelivered_is_same(const struct undelivered *a, const struct undelivered *b)
{
    struct stat first;
    struct stat second;
    return fstat(a->fd, &first) == 0 && fstat(b->fd, &second) == 0 &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static int write_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        const ssize_t written = write(fd, data, n);
        if (written < 0 && errno != EINTR) {
            return -errno;
        }
        data += written > 0 ? written : 0;
        n -= written > 0 ? (size_t)written : 0;
    }
    return 0;
}

/*
 * A line that did not fit (the disk is full) is taken out again: the next one would be part of it.
 * What a process that was killed left of its line is a line of its own.
 */
static int write_line(int fd, struct span line)
{
    char last = '\n';
    const off_t before = lseek(fd, 0, SEEK_END);
    int r = before < 0 || (before > 0 && pread(fd, &last, 1, before - 1) < 0) ? -errno : 0;
    if (r == 0 && last != '\n') {
        r = write_all(fd, "\n", 1);
    }
    if (r == 0) {
        r = write_all(fd, line.data, line.n);
    }
    if (r == 0) {
        r = write_all(fd, "\n", 1);
    }
    if (r < 0 && before >= 0) {
        (void)!ftruncate(fd, before);
    }
    return r;
}

int undelivered_add(struct undelivered *file, struct span line)
{
    int r = lock_in_place(file, O_CREAT, LOCK_OF_ADDER, true);
    if (r == 0) {
        r = write_line(file->fd, line);
        (void)lock(file->fd, LOCK_OF_ADDER, F_UNLCK, false);
    }
    return r;
}

/* The name in the directory is on the disk, too. */
static int sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory =
        slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!directory) {
        return -ENOMEM;
    }
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (fd < 0) {
        return -errno;
    }
    const int r = fsync(fd) < 0 ? -errno : 0;
    (void)close(fd);
    return r;
}

int undelivered_sync(struct undelivered *file)
{
    return fsync(file->fd) < 0 ? -errno : sync_directory(file->path);
}

int undelivered_next(struct undelivered *file, struct span *ret_line)
{
    const off_t at = ftello(file->lines);
    if (at < 0 || at >= file->end) {
        return at < 0 ? -errno : -ENODATA;
    }
    const ssize_t n = getline(&file->line, &file->line_capacity, file->lines);
    if (n < 0) {
        return ferror(file->lines) ? -errno : -ENODATA;
    }
    const bool has_end = file->line[n - 1] == '\n';
    *ret_line = (struct span){ file->line, (size_t)n - has_end };
    return 0;
}

int undelivered_keep(struct undelivered *file, struct span line)
{
    return write_line(file->new_fd, line);
}

static int copy_rest(struct undelivered *file)
{
    char buffer[COPY_SIZE];
    for (off_t at = file->end;;) {
        const ssize_t n = pread(file->fd, buffer, sizeof(buffer), at);
        if (n == 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        const int r = n > 0 ? write_all(file->new_fd, buffer, (size_t)n) : 0;
        if (r < 0) {
            return r;
        }
        at += n > 0 ? n : 0;
    }
}

int undelivered_replace(struct undelivered *file)
{
    int r = lock(file->fd, LOCK_OF_ADDER, F_WRLCK, true);
    if (r == 0) {
        r = copy_rest(file);
    }
    if (r == 0 && (fsync(file->new_fd) < 0 || rename(file->new_path, file->path) < 0)) {
        r = -errno;
    }
    if (r == 0) {
        (void)close(file->new_fd);
        file->new_fd = -1;
        r = sync_directory(file->path);
    }
    (void)lock(file->fd, LOCK_OF_ADDER, F_UNLCK, false);
    return r;
}
