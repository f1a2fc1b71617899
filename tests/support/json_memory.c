#include "tests/support/json_memory.h"

#include <jansson.h>
#include <stdlib.h>

static size_t allocations_left;

static void *failing_malloc(size_t n)
{
    if (allocations_left == 0) {
        return NULL;
    }
    allocations_left--;
    return malloc(n);
}

void json_memory_limit(size_t n)
{
    allocations_left = n;
    json_set_alloc_funcs(failing_malloc, free);
}

void json_memory_unlimit(void)
{
    json_set_alloc_funcs(malloc, free);
}
