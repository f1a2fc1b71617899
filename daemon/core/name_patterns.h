/*
 * Name patterns
 *
 * Which topics or groups a list of texts means: a name means itself, one that ends with * every name
 * that begins so, and * alone every name. The list is prepared once, so that a question costs one
 * comparison a pattern. The texts stay their owner's.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>

struct name_pattern {
    struct span text; /* without its * */
    bool is_beginning;
};

struct name_patterns {
    struct name_pattern *items;
    size_t n;
    bool is_all;
};

/* 0, or -ENOMEM. */
int name_patterns_init(struct name_patterns *patterns, char *const *texts, size_t n);
void name_patterns_deinit(struct name_patterns *patterns);

/* Whether every pattern of the others is one of these, or these mean every name. */
bool name_patterns_include(
    const struct name_patterns *patterns, const struct name_patterns *others);

/* An absent name is one that is not known: only * means it. */
bool name_patterns_match(const struct name_patterns *patterns, struct span name);
