#include "client/environment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int environment_init(struct environment *environment)
{
    size_t n = 0;
    while (environ && environ[n]) {
        n++;
    }
    const size_t capacity = n + ENVIRONMENT_SET_MAX + 1;
    char **variables = calloc(capacity, sizeof(*variables));
    if (!variables) {
        return -ENOMEM;
    }
    if (n > 0) {
        memcpy(variables, environ, n * sizeof(*variables));
    }
    *environment = (struct environment){
        .variables = variables,
        .n = n,
        .capacity = capacity,
        .n_inherited = n,
    };
    return 0;
}

void environment_deinit(struct environment *environment)
{
    for (size_t i = environment->n_inherited; i < environment->n; i++) {
        free(environment->variables[i]);
    }
    free(environment->variables);
    *environment = (struct environment){ 0 };
}

static void take_out(struct environment *environment, size_t at)
{
    if (at < environment->n_inherited) {
        environment->n_inherited--;
    } else {
        environment->size -= strlen(environment->variables[at]) + 1;
        free(environment->variables[at]);
    }
    environment->n--;
    memmove(environment->variables + at, environment->variables + at + 1,
        (environment->n - at + 1) * sizeof(*environment->variables));
}

void environment_drop(struct environment *environment, const char *prefix)
{
    const size_t n = strlen(prefix);
    for (size_t i = environment->n_inherited; i > 0; i--) {
        if (strncmp(environment->variables[i - 1], prefix, n) == 0) {
            take_out(environment, i - 1);
        }
    }
}

/* Where it stands; environment->n where there is none of this name. */
static size_t find(const struct environment *environment, const char *name)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i < environment->n; i++) {
        const char *variable = environment->variables[i];
        if (strncmp(variable, name, n) == 0 && variable[n] == '=') {
            return i;
        }
    }
    return environment->n;
}

bool environment_has(const struct environment *environment, const char *name)
{
    return find(environment, name) < environment->n;
}

void environment_set(struct environment *environment, const char *name, struct span value)
{
    const size_t at = find(environment, name);
    if (at < environment->n) {
        take_out(environment, at);
    }
    if (span_is_absent(value)) {
        return;
    }
    const size_t size = strlen(name) + 1 + value.n + 1;
    char *variable = NULL;
    if (memchr(value.data, '\0', value.n) || environment->n + 1 >= environment->capacity ||
        size > ENVIRONMENT_SIZE_MAX - environment->size ||
        asprintf(&variable, "%s=%.*s", name, SPAN_ARGS(value)) < 0) {
        environment->n_left_out++;
        return;
    }
    environment->variables[environment->n++] = variable;
    environment->variables[environment->n] = NULL;
    environment->size += size;
}

void environment_set_number(struct environment *environment, const char *name, long long value)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%lld", value);
    environment_set(environment, name, span_of(text));
}
