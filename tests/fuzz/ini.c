/*
 * The INI file: every file is taken or refused in words, and what was taken says the same after it
 * was written and read again.
 */
#include "config/config.h"
#include "tests/fuzz/target.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATH_SIZE 64

/* A file in memory with these bytes; its descriptor. */
static int file_make(const void *data, size_t n, char path[static PATH_SIZE])
{
    int fd = memfd_create("remotingd.ini", MFD_CLOEXEC);
    promise(fd >= 0 && write(fd, data, n) == (ssize_t)n, "%s", strerror(errno));
    (void)snprintf(path, PATH_SIZE, "/proc/self/fd/%d", fd);
    return fd;
}

static void promise_problems(const struct config_problems *problems)
{
    promise(problems->n > 0 && problems->n <= CONFIG_PROBLEMS_MAX, "%zu problems", problems->n);
    for (size_t i = 0; i < problems->n; i++) {
        promise(problems->text[i][0] != '\0' && !strchr(problems->text[i], '\n'), "%s",
            problems->text[i]);
    }
}

/* NULL when the file was refused. */
static struct config *load(const void *data, size_t n)
{
    char path[PATH_SIZE];
    int fd = file_make(data, n, path);
    struct config *config = NULL;
    struct config_problems problems;
    int r = config_load(path, "127.0.0.1:9876", &config, &problems);
    promise(r == 0 || r == -EINVAL, "%s", strerror(-r));
    promise((r == 0) == (config != NULL), "%d", r);
    if (r < 0) {
        promise_problems(&problems);
    }
    config_problems_deinit(&problems);
    (void)close(fd);
    return config;
}

/* As a file, on the heap. */
static char *dump(const struct config *config, size_t *ret_n)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, ret_n);
    promise(file, "no memory");
    config_dump(config, false, file);
    promise(fclose(file) == 0 && text, "not written");
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(config_free) struct config *config = load(data, n);
    if (!config) {
        return 0;
    }
    size_t n_first, n_second;
    char *first = dump(config, &n_first);
    CLEANUP(config_free) struct config *again = load(first, n_first);
    promise(again, "refused after it was written:\n%s", first);
    char *second = dump(again, &n_second);
    promise(strcmp(first, second) == 0, "%s\nbecomes\n%s", first, second);
    free(first);
    free(second);
    return 0;
}
