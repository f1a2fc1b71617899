/*
 * Exporter
 *
 * Lets others read the metrics (metrics.h): at a Unix socket or a TCP address by HTTP, and in a
 * textfile that is replaced every EXPORTER_TEXTFILE_MS. Read-only, and no more HTTP than that takes:
 *
 *     GET /metrics    the metrics; OpenMetrics where the Accept header asks for it, else 0.0.4
 *     GET /readyz     200 while the daemon is healthy or degraded, 503 while it is down; the state
 *
 * One request a connection, within EXPORTER_TIMEOUT_MS and EXPORTER_REQUEST_MAX bytes, and
 * EXPORTER_CONNECTIONS_MAX connections at once; beyond them a connection is closed. It is written by
 * hand, since evhttp of libevent 2.1 has no limit to its connections.
 */
#pragma once

#include "daemon/admin/monitor.h"

#define EXPORTER_CONNECTIONS_MAX 8
#define EXPORTER_REQUEST_MAX     8192
#define EXPORTER_TIMEOUT_MS      5000
#define EXPORTER_TEXTFILE_MS     15000

struct exporter;

/*
 * Does what [metrics] says, which may be nothing. NULL: problem says why not, in one line that names
 * the setting.
 */
struct exporter *exporter_new(struct invoker *invoker, char *problem, size_t problem_size);
/* Removes its socket and its textfile. NULL is fine; always returns NULL. */
struct exporter *exporter_free(struct exporter *exporter);
