#include "daemon/core/cgroup.h"

#include <stdbool.h>

static bool ends_with(struct span text, struct span end)
{
    return text.n > end.n && memcmp(text.data + text.n - end.n, end.data, end.n) == 0;
}

/* What stands before the separator; *rest is what stands behind it. */
static struct span part_next(struct span *rest, char separator)
{
    const char *end = rest->n > 0 ? memchr(rest->data, separator, rest->n) : NULL;
    struct span part = *rest;
    if (!end) {
        *rest = SPAN_ABSENT;
        return part;
    }
    part.n = (size_t)(end - rest->data);
    *rest = (struct span){ end + 1, rest->n - part.n - 1 };
    return part;
}

/* The path of a line that is systemd's: 0::PATH, or N:name=systemd:PATH before cgroup 2. */
static struct span path_of_line(struct span line)
{
    struct span hierarchy = part_next(&line, ':');
    struct span controllers = part_next(&line, ':');
    bool is_unified = span_equals(hierarchy, SPAN("0")) && span_is_empty(controllers);
    return is_unified || span_equals(controllers, SPAN("name=systemd")) ? line : SPAN_ABSENT;
}

static struct span unit_of_path(struct span path)
{
    while (!span_is_absent(path)) {
        struct span part = part_next(&path, '/');
        if (ends_with(part, SPAN(".service")) || ends_with(part, SPAN(".scope"))) {
            return part;
        }
        if (!span_is_empty(part) && !ends_with(part, SPAN(".slice"))) {
            break;
        }
    }
    return SPAN_ABSENT;
}

static bool is_of_units(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr(":-_.\\@", c));
}

void cgroup_unit(struct span text, char dst[static CGROUP_UNIT_SIZE])
{
    struct span unit = SPAN_ABSENT;
    while (!span_is_absent(text) && span_is_empty(unit)) {
        unit = unit_of_path(path_of_line(part_next(&text, '\n')));
    }
    size_t n = unit.n < CGROUP_UNIT_SIZE ? unit.n : CGROUP_UNIT_SIZE - 1;
    for (size_t i = 0; i < n; i++) {
        dst[i] = is_of_units(unit.data[i]) ? unit.data[i] : '?';
    }
    dst[n] = '\0';
}
