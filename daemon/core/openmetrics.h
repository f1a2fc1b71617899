/*
 * OpenMetrics
 *
 * Writes metrics as text: in the form of OpenMetrics 1.0, or in the older one of Prometheus (0.0.4),
 * which is what textfiles and old scrapers take. A family is begun once, with its name, kind and
 * help, and its samples follow. Units are base units: seconds, bytes. No I/O but the stream that it
 * is given; failures are left in the stream's error flag. It counts the series that it wrote.
 */
#pragma once

#include "daemon/core/latency.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum openmetrics_form {
    OPENMETRICS_1_0,
    OPENMETRICS_PROMETHEUS, /* text/plain; version=0.0.4 */
};

enum openmetrics_kind {
    OPENMETRICS_COUNTER, /* the name is given without _total */
    OPENMETRICS_GAUGE,
    OPENMETRICS_HISTOGRAM,
};

struct openmetrics {
    FILE *file;
    enum openmetrics_form form;
    enum openmetrics_kind kind; /* of the family that is being written */
    const char *name;
    size_t n_series;
};

/* The content type of a form, for HTTP. */
const char *openmetrics_content_type(enum openmetrics_form form);

void openmetrics_init(struct openmetrics *metrics, enum openmetrics_form form, FILE *file);
void openmetrics_family(
    struct openmetrics *metrics, enum openmetrics_kind kind, const char *name, const char *help);
/* label NULL: none. The value of a label may be any text. */
void openmetrics_sample(
    struct openmetrics *metrics, const char *label, const char *label_value, double value);
/* Of a family of histograms: buckets from 128 us to 4.2 s, sum and count. */
void openmetrics_histogram(struct openmetrics *metrics, const char *label, const char *label_value,
    const struct latency *latency);
void openmetrics_end(struct openmetrics *metrics);
