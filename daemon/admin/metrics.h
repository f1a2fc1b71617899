/*
 * Metrics
 *
 * What the daemon counts and holds, as OpenMetrics. The labels are bounded: METRICS_BROKERS_MAX
 * brokers have series of their own and the rest are summed up under the name `others`, nameservers
 * METRICS_NAMESERVERS_MAX; a host with 40 brokers has less than 300 series. OPERATING.md lists them.
 *
 * It looks and changes nothing.
 */
#pragma once

#include "daemon/admin/monitor.h"
#include "daemon/core/openmetrics.h"

#define METRICS_BROKERS_MAX     40
#define METRICS_NAMESERVERS_MAX 8

void metrics_write(const struct invoker *invoker, enum openmetrics_form form, FILE *file);
