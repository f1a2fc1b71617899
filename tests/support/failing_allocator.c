#include "tests/support/failing_allocator.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The names that --wrap gives to the C library's own, and to what stands in their place. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static struct {
    bool is_armed;
    bool is_paused;
    size_t n;
    size_t n_asked;
    size_t n_refused, n_to_refuse;
} allocator;

static bool is_refused(void)
{
    if (!allocator.is_armed || allocator.is_paused || ++allocator.n_asked < allocator.n ||
        allocator.n_refused == allocator.n_to_refuse) {
        return false;
    }
    allocator.n_refused++;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return is_refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return is_refused() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return is_refused() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t n)
{
    return is_refused() ? NULL : __real_strndup(text, n);
}

int __wrap_asprintf(char **ret_text, const char *format, ...)
{
    if (is_refused()) {
        return -1;
    }
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(ret_text, format, arguments);
    va_end(arguments);
    return n;
}

void failing_allocator_init(void)
{
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
}

void failing_allocator_arm(size_t n, size_t n_refused)
{
    allocator.is_armed = true;
    allocator.is_paused = false;
    allocator.n = n;
    allocator.n_asked = allocator.n_refused = 0;
    allocator.n_to_refuse = n_refused;
}

bool failing_allocator_disarm(void)
{
    allocator.is_armed = false;
    return allocator.n_refused > 0;
}

void failing_allocator_pause(void)
{
    allocator.is_paused = true;
}

void failing_allocator_resume(void)
{
    allocator.is_paused = false;
}
