#include "daemon/core/name_patterns.h"

#include <errno.h>
#include <stdlib.h>

int name_patterns_init(struct name_patterns *patterns, char *const *texts, size_t n)
{
    *patterns = (struct name_patterns){ .n = n };
    patterns->items = calloc(n > 0 ? n : 1, sizeof(*patterns->items));
    if (!patterns->items) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        struct name_pattern *item = &patterns->items[i];
        item->text = span_of(texts[i]);
        item->is_beginning = item->text.n > 0 && texts[i][item->text.n - 1] == '*';
        item->text.n -= item->is_beginning;
        patterns->is_all = patterns->is_all || (item->is_beginning && item->text.n == 0);
    }
    return 0;
}

void name_patterns_deinit(struct name_patterns *patterns)
{
    free(patterns->items);
    *patterns = (struct name_patterns){ .n = 0 };
}

bool name_patterns_match(const struct name_patterns *patterns, struct span name)
{
    if (patterns->is_all) {
        return true;
    }
    for (size_t i = 0; i < patterns->n && !span_is_empty(name); i++) {
        const struct name_pattern *item = &patterns->items[i];
        if (item->is_beginning ? span_starts_with(name, item->text)
                               : span_equals(name, item->text)) {
            return true;
        }
    }
    return false;
}

static bool has_pattern(const struct name_patterns *patterns, const struct name_pattern *other)
{
    for (size_t i = 0; i < patterns->n; i++) {
        if (patterns->items[i].is_beginning == other->is_beginning &&
            span_equals(patterns->items[i].text, other->text)) {
            return true;
        }
    }
    return false;
}

bool name_patterns_include(const struct name_patterns *patterns, const struct name_patterns *others)
{
    bool includes = patterns->is_all || !others->is_all;
    for (size_t i = 0; i < others->n && includes && !patterns->is_all; i++) {
        includes = has_pattern(patterns, &others->items[i]);
    }
    return includes;
}
