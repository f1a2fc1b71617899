/*
 * Environment
 *
 * The environment of a command that is started: ours, and what is set here, which replaces what
 * ours has of the same name. Values may come from others: what holds a NUL, or does not fit the
 * limits below, is left out and counted.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>

#define ENVIRONMENT_SET_MAX  1024             /* variables that are set here */
#define ENVIRONMENT_SIZE_MAX ((size_t)131072) /* bytes of all of them; the kernel's limit for one */

struct environment {
    char **variables; /* "NAME=VALUE", behind the last one NULL: as execve(2) takes them */
    size_t n;
    size_t capacity;
    size_t n_inherited; /* the first ones belong to our own environment, the others are owned */
    size_t size;        /* of the others, in bytes */
    size_t n_left_out;
};

/* A copy of ours. 0 or -ENOMEM. */
int environment_init(struct environment *environment);
void environment_deinit(struct environment *environment);
/* Takes out of what was inherited every variable whose name begins so. */
void environment_drop(struct environment *environment, const char *prefix);
/* Whether it has a variable of this name. */
bool environment_has(const struct environment *environment, const char *name);
/* An absent value takes the variable out. What cannot be set is left out and counted. */
void environment_set(struct environment *environment, const char *name, struct span value);
void environment_set_number(struct environment *environment, const char *name, long long value);
