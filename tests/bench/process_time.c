#include "tests/bench/process_time.h"

#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_NS 20000

static uint64_t thread_cpu_ns(pid_t pid, const char *thread)
{
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, thread);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0; /* the thread has ended meanwhile */
    }
    unsigned long long ns = 0;
    if (fscanf(file, "%llu", &ns) != 1) {
        errx(1, "%s says nothing", path);
    }
    fclose(file);
    return ns;
}

uint64_t process_cpu_ns(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *directory = opendir(path);
    if (!directory) {
        err(1, "%s", path);
    }
    uint64_t sum = 0;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] != '.') {
            sum += thread_cpu_ns(pid, entry->d_name);
        }
    }
    closedir(directory);
    return sum;
}

static char process_state(pid_t pid)
{
    char path[64];
    char text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        err(1, "%s", path);
    }
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *name_end = strrchr(text, ')');
    if (!name_end || strlen(name_end) < 3) {
        errx(1, "%s has no state", path);
    }
    return name_end[2];
}

void process_wait_until(pid_t pid, const char *states)
{
    static const struct timespec pause = { .tv_nsec = POLL_NS };
    while (!strchr(states, process_state(pid))) {
        nanosleep(&pause, NULL);
    }
}
