#include "daemon/core/openmetrics.h"

#include <inttypes.h>

/* Each twice as long as the one before: latency.h knows them exactly. */
#define BUCKET_FIRST_US 128
#define BUCKETS         16

const char *openmetrics_content_type(enum openmetrics_form form)
{
    return form == OPENMETRICS_1_0 ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                   : "text/plain; version=0.0.4; charset=utf-8";
}

void openmetrics_init(struct openmetrics *metrics, enum openmetrics_form form, FILE *file)
{
    *metrics = (struct openmetrics){ .file = file, .form = form };
}

static const char *kind_word(enum openmetrics_kind kind)
{
    switch (kind) {
    case OPENMETRICS_COUNTER:
        return "counter";
    case OPENMETRICS_GAUGE:
        return "gauge";
    case OPENMETRICS_HISTOGRAM:
        return "histogram";
    }
    return "?";
}

/* The older form calls a counter's family as its samples are called. */
static const char *family_suffix(const struct openmetrics *metrics)
{
    bool is_old_counter =
        metrics->form == OPENMETRICS_PROMETHEUS && metrics->kind == OPENMETRICS_COUNTER;
    return is_old_counter ? "_total" : "";
}

void openmetrics_family(
    struct openmetrics *metrics, enum openmetrics_kind kind, const char *name, const char *help)
{
    metrics->kind = kind;
    metrics->name = name;
    const char *suffix = family_suffix(metrics);
    fprintf(metrics->file, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix,
        kind_word(kind));
}

/* Backslashes, quotes and line feeds are escaped; other control characters have no business here. */
static void write_label_value(FILE *file, const char *value)
{
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '\\' || c == '"') {
            fputc('\\', file);
            fputc(c, file);
        } else if (c == '\n') {
            fputs("\\n", file);
        } else {
            fputc(c < 0x20 || c >= 0x7f ? '?' : c, file);
        }
    }
}

/* NAME SUFFIX {label="value",le="bound"}, with a blank behind it. */
static void write_series(struct openmetrics *metrics, const char *suffix, const char *label,
    const char *label_value, const char *le)
{
    FILE *file = metrics->file;
    fprintf(file, "%s%s", metrics->name, suffix);
    if (label || le) {
        fputc('{', file);
    }
    if (label) {
        fprintf(file, "%s=\"", label);
        write_label_value(file, label_value);
        fputs(le ? "\"," : "\"", file);
    }
    if (le) {
        fprintf(file, "le=\"%s\"", le);
    }
    fputs(label || le ? "} " : " ", file);
    metrics->n_series++;
}

void openmetrics_sample(
    struct openmetrics *metrics, const char *label, const char *label_value, double value)
{
    const char *suffix = metrics->kind == OPENMETRICS_COUNTER ? "_total" : "";
    write_series(metrics, suffix, label, label_value, NULL);
    fprintf(metrics->file, "%.15g\n", value);
}

void openmetrics_histogram(struct openmetrics *metrics, const char *label, const char *label_value,
    const struct latency *latency)
{
    uint64_t bound_us = BUCKET_FIRST_US;
    for (size_t i = 0; i < BUCKETS; i++, bound_us *= 2) {
        char le[32];
        (void)snprintf(le, sizeof(le), "%.15g", (double)bound_us / 1e6);
        write_series(metrics, "_bucket", label, label_value, le);
        fprintf(metrics->file, "%" PRIu64 "\n", latency_count_below(latency, bound_us));
    }
    write_series(metrics, "_bucket", label, label_value, "+Inf");
    fprintf(metrics->file, "%" PRIu64 "\n", latency->n);
    write_series(metrics, "_sum", label, label_value, NULL);
    fprintf(metrics->file, "%.15g\n", (double)latency->sum_us / 1e6);
    write_series(metrics, "_count", label, label_value, NULL);
    fprintf(metrics->file, "%" PRIu64 "\n", latency->n);
}

void openmetrics_end(struct openmetrics *metrics)
{
    if (metrics->form == OPENMETRICS_1_0) {
        fputs("# EOF\n", metrics->file);
    }
}
