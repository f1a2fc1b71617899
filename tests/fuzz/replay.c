/*
 * Replays inputs: replay_TARGET FILE|DIRECTORY ... It names each before it is tried, so that the
 * last line before a crash is the input. One TAP line tells that all were taken; none is a failure.
 */
#include "tests/fuzz/target.h"

#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_SIZE 4096

/* In memory that ends where the input ends. */
static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (!file || fstat(fileno(file), &status) < 0) {
        (void)fprintf(stderr, "%s cannot be read\n", path);
        return false;
    }
    size_t n = (size_t)status.st_size;
    uint8_t *data = malloc(n > 0 ? n : 1);
    bool is_read = data && fread(data, 1, n, file) == n;
    (void)fclose(file);
    (void)printf("# %s\n", path);
    (void)fflush(stdout);
    if (is_read) {
        (void)LLVMFuzzerTestOneInput(data, n);
    }
    free(data);
    return is_read;
}

static bool replay_directory(const char *path, size_t *n_replayed)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    bool is_good = n >= 0;
    for (int i = 0; i < n; i++) {
        char file[PATH_SIZE];
        (void)snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            is_good = replay_file(file) && is_good;
            ++*n_replayed;
        }
        free(entries[i]);
    }
    if (n >= 0) {
        free(entries);
    }
    return is_good;
}

int main(int argc, char **argv)
{
    size_t n_replayed = 0;
    bool is_good = true;
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode)) {
            is_good = replay_directory(argv[i], &n_replayed) && is_good;
        } else {
            is_good = replay_file(argv[i]) && is_good;
            n_replayed++;
        }
    }
    is_good = is_good && n_replayed > 0;
    (void)printf(
        "1..1\n%sok 1 - %zu inputs keep the promises\n", is_good ? "" : "not ", n_replayed);
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
