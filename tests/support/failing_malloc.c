/*
 * Failing malloc
 *
 * A library for LD_PRELOAD under which the n-th allocation fails, once. n stands in the file "fail" of
 * the process's directory, which is read at SIGUSR2; 0 is none. Not for builds with sanitizers, which have an
 * allocator of their own.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static void *(*real_malloc)(size_t size);
static void *(*real_calloc)(size_t n, size_t size);
static void *(*real_realloc)(void *data, size_t size);
static volatile long n_left;

/* What dlsym() itself asks for, before the real ones are found. Never given back. */
static _Alignas(16) char early[4096];
static size_t n_early;

static void *early_take(size_t size)
{
    size_t at = n_early;
    n_early += (size + 15) & ~(size_t)15;
    return n_early <= sizeof(early) ? early + at : NULL;
}

static void on_signal(int number)
{
    (void)number;
    char text[24] = "";
    int fd = open("fail", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n_left = read(fd, text, sizeof(text) - 1) > 0 ? atol(text) : 0;
        (void)close(fd);
    }
}

__attribute__((constructor)) static void begin(void)
{
    *(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc");
    *(void **)&real_calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&real_realloc = dlsym(RTLD_NEXT, "realloc");
    (void)signal(SIGUSR2, on_signal);
}

static bool fails(void)
{
    return n_left > 0 && --n_left == 0;
}

void *malloc(size_t size)
{
    if (!real_malloc) {
        return early_take(size);
    }
    return fails() ? NULL : real_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    if (!real_calloc) {
        return early_take(n * size);
    }
    return fails() ? NULL : real_calloc(n, size);
}

void *realloc(void *data, size_t size)
{
    return fails() ? NULL : real_realloc(data, size);
}
