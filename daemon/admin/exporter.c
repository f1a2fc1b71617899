#include "daemon/admin/exporter.h"

#include "daemon/admin/metrics.h"
#include "daemon/loop/log.h"
#include "daemon/session/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORTER_BACKLOG 16

struct scrape {
    TAILQ_ENTRY(scrape) link;
    struct exporter *exporter;
    struct bufferevent *stream;
    bool is_answered;
};

struct exporter {
    struct invoker *invoker;
    struct evconnlistener *listener;                        /* NULL: none */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" = no Unix socket */
    char *textfile;                                         /* NULL: none */
    struct deadline textfile_due;
    struct log_budget textfile_logged;
    TAILQ_HEAD(, scrape) scrapes;
    size_t n_scrapes;
};

/* --- the text --- */

/* On the heap; NULL without memory. */
static char *metrics_text(
    const struct invoker *invoker, enum openmetrics_form form, size_t *ret_size)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, ret_size);
    if (!file) {
        return NULL;
    }
    metrics_write(invoker, form, file);
    bool is_whole = ferror(file) == 0;
    if (fclose(file) != 0 || !is_whole) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- HTTP --- */

static void scrape_free(struct scrape *scrape)
{
    TAILQ_REMOVE(&scrape->exporter->scrapes, scrape, link);
    scrape->exporter->n_scrapes--;
    bufferevent_free(scrape->stream);
    free(scrape);
}

static void respond(struct scrape *scrape, const char *status, const char *type, const char *body,
    size_t size, bool has_body)
{
    struct evbuffer *output = bufferevent_get_output(scrape->stream);
    (void)evbuffer_add_printf(output,
        "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
        status, type, size);
    if (has_body) {
        (void)evbuffer_add(output, body, size);
    }
    scrape->is_answered = true;
    (void)bufferevent_disable(scrape->stream, EV_READ);
}

static void respond_text(struct scrape *scrape, const char *status, const char *text, bool has_body)
{
    respond(scrape, status, "text/plain; charset=utf-8", text, strlen(text), has_body);
}

static void respond_metrics(struct scrape *scrape, bool wants_openmetrics, bool has_body)
{
    enum openmetrics_form form = wants_openmetrics ? OPENMETRICS_1_0 : OPENMETRICS_PROMETHEUS;
    size_t size = 0;
    char *text = metrics_text(scrape->exporter->invoker, form, &size);
    if (text) {
        respond(scrape, "200 OK", openmetrics_content_type(form), text, size, has_body);
    } else {
        respond_text(scrape, "503 Service Unavailable", "out of memory\n", has_body);
    }
    free(text);
}

static void respond_ready(struct scrape *scrape, bool has_body)
{
    struct health_report report;
    char reason[HEALTH_REASON_SIZE], text[HEALTH_REASON_SIZE + 16];
    monitor_examine(scrape->exporter->invoker->monitor, &report);
    health_report_reason(&report, reason);
    (void)snprintf(text, sizeof(text), "%s%s%s\n", health_state_name(report.state),
        *reason ? ": " : "", reason);
    respond_text(
        scrape, report.state == HEALTH_DOWN ? "503 Service Unavailable" : "200 OK", text, has_body);
}

/* The header is whole, and zero-terminated. */
static void answer(struct scrape *scrape, const char *header)
{
    bool is_head = strncmp(header, "HEAD ", 5) == 0;
    if (!is_head && strncmp(header, "GET ", 4) != 0) {
        respond_text(scrape, "405 Method Not Allowed", "GET and HEAD are accepted\n", true);
        return;
    }
    const char *path = header + (is_head ? 5 : 4);
    struct span name = { path, strcspn(path, " ?\r\n") };
    if (span_equals(name, SPAN("/metrics"))) {
        respond_metrics(
            scrape, strcasestr(header, "application/openmetrics-text") != NULL, !is_head);
    } else if (span_equals(name, SPAN("/readyz"))) {
        respond_ready(scrape, !is_head);
    } else {
        respond_text(scrape, "404 Not Found", "/metrics and /readyz are here\n", !is_head);
    }
}

static void on_read(struct bufferevent *stream, void *context)
{
    struct scrape *scrape = context;
    struct evbuffer *input = bufferevent_get_input(stream);
    char header[EXPORTER_REQUEST_MAX + 1];
    loop_wake(scrape->exporter->invoker->loop);
    if (scrape->is_answered) {
        return;
    }
    ev_ssize_t n = evbuffer_copyout(input, header, EXPORTER_REQUEST_MAX);
    header[n > 0 ? n : 0] = '\0';
    if (strstr(header, "\r\n\r\n")) {
        answer(scrape, header);
    } else if (n == EXPORTER_REQUEST_MAX) {
        respond_text(scrape, "431 Request Header Fields Too Large", "", true);
    }
}

/* All that there was to write is written. */
static void on_written(struct bufferevent *stream, void *context)
{
    (void)stream;
    struct scrape *scrape = context;
    loop_wake(scrape->exporter->invoker->loop);
    if (scrape->is_answered) {
        scrape_free(scrape);
    }
}

/* It closed, broke, or took too long. */
static void on_event(struct bufferevent *stream, short what, void *context)
{
    (void)stream;
    (void)what;
    struct scrape *scrape = context;
    loop_wake(scrape->exporter->invoker->loop);
    scrape_free(scrape);
}

static void on_scrape(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
    int size, void *context)
{
    (void)address;
    (void)size;
    static const struct timeval timeout = {
        .tv_sec = EXPORTER_TIMEOUT_MS / 1000,
        .tv_usec = EXPORTER_TIMEOUT_MS % 1000 * 1000,
    };
    struct exporter *exporter = context;
    loop_wake(exporter->invoker->loop);
    struct scrape *scrape = NULL;
    if (exporter->n_scrapes < EXPORTER_CONNECTIONS_MAX) {
        scrape = calloc(1, sizeof(*scrape));
    }
    struct bufferevent *stream = scrape ? bufferevent_socket_new(evconnlistener_get_base(listener),
                                              fd, BEV_OPT_CLOSE_ON_FREE)
                                        : NULL;
    if (!stream) {
        free(scrape);
        (void)close(fd);
        return;
    }
    *scrape = (struct scrape){ .exporter = exporter, .stream = stream };
    TAILQ_INSERT_TAIL(&exporter->scrapes, scrape, link);
    exporter->n_scrapes++;
    bufferevent_setcb(stream, on_read, on_written, on_event, scrape);
    bufferevent_setwatermark(stream, EV_READ, 0, EXPORTER_REQUEST_MAX);
    (void)bufferevent_set_timeouts(stream, &timeout, &timeout);
    (void)bufferevent_enable(stream, EV_READ | EV_WRITE);
}

/* No descriptors are left: the kernel keeps who waits, and the next event finds them. */
static void on_listener_error(struct evconnlistener *listener, void *context)
{
    (void)listener;
    struct exporter *exporter = context;
    loop_wake(exporter->invoker->loop);
}

/* --- the listener --- */

/* Negative errno: problem says why. */
static int unix_address(struct exporter *exporter, const char *path, struct sockaddr_un *address,
    char *problem, size_t problem_size)
{
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    (void)snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
    if (!listener_path_is_free(address, "[metrics] listen", problem, problem_size)) {
        return -EADDRINUSE;
    }
    (void)unlink(path);
    (void)snprintf(exporter->path, sizeof(exporter->path), "%s", path);
    return 0;
}

/* The text was checked when the configuration was read. */
static socklen_t tcp_address(const char *text, struct sockaddr_storage *storage)
{
    int size = sizeof(*storage);
    return evutil_parse_sockaddr_port(text, (struct sockaddr *)storage, &size) == 0
               ? (socklen_t)size
               : 0;
}

static int listen_at(
    struct exporter *exporter, const char *text, char *problem, size_t problem_size)
{
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_storage storage;
    } address = { .storage = { .ss_family = AF_UNSPEC } };
    socklen_t size = sizeof(address.local);
    if (text[0] == '/') {
        int r = unix_address(exporter, text, &address.local, problem, problem_size);
        if (r < 0) {
            return r;
        }
    } else {
        size = tcp_address(text, &address.storage);
    }
    exporter->listener = evconnlistener_new_bind(exporter->invoker->loop->base, on_scrape, exporter,
        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, EXPORTER_BACKLOG,
        &address.any, (int)size);
    if (!exporter->listener) {
        int error = errno;
        exporter->path[0] = '\0';
        (void)snprintf(problem, problem_size, "[metrics] listen = %s: cannot listen there: %s%s",
            text, strerror(error), error == EADDRINUSE ? " (another port is needed)" : "");
        return -error;
    }
    evconnlistener_set_error_cb(exporter->listener, on_listener_error);
    if (exporter->path[0]) {
        (void)chmod(exporter->path, 0660);
    }
    return 0;
}

/* --- the textfile --- */

/* 0 or a negative errno. A reader sees the old one or the new one, and no part. */
static int textfile_write(const struct exporter *exporter)
{
    char *draft = NULL;
    size_t size = 0;
    char *text = metrics_text(exporter->invoker, OPENMETRICS_PROMETHEUS, &size);
    if (!text || asprintf(&draft, "%s.new", exporter->textfile) < 0) {
        free(text);
        return -ENOMEM;
    }
    FILE *file = fopen(draft, "we");
    int r = file ? 0 : -errno;
    if (file && fwrite(text, 1, size, file) != size) {
        r = -errno;
    }
    if (file && fchmod(fileno(file), 0644) < 0) {
        r = -errno;
    }
    if (file && fclose(file) != 0) {
        r = -errno;
    }
    if (r == 0 && rename(draft, exporter->textfile) < 0) {
        r = -errno;
    }
    free(draft);
    free(text);
    return r;
}

static void on_textfile_due(struct deadline *deadline, uint64_t now_ms)
{
    struct exporter *exporter =
        (struct exporter *)(void *)((char *)deadline - offsetof(struct exporter, textfile_due));
    int r = textfile_write(exporter);
    if (r < 0 && log_budget_take(&exporter->textfile_logged, now_ms, "failures of the textfile")) {
        log_warning("metrics textfile=%s not written: %s", exporter->textfile, strerror(-r));
    }
    loop_deadline_set(exporter->invoker->loop, deadline, now_ms + EXPORTER_TEXTFILE_MS);
}

static int textfile_begin(
    struct exporter *exporter, const char *path, char *problem, size_t problem_size)
{
    exporter->textfile = strdup(path);
    int r = exporter->textfile ? textfile_write(exporter) : -ENOMEM;
    if (r < 0) {
        (void)snprintf(problem, problem_size, "[metrics] textfile = %s: cannot be written: %s",
            path, strerror(-r));
        return r;
    }
    loop_deadline_set(exporter->invoker->loop, &exporter->textfile_due,
        exporter->invoker->loop->now_ms + EXPORTER_TEXTFILE_MS);
    return 0;
}

struct exporter *exporter_new(struct invoker *invoker, char *problem, size_t problem_size)
{
    const struct config *config = invoker->config;
    struct exporter *exporter = calloc(1, sizeof(*exporter));
    if (!exporter) {
        (void)snprintf(problem, problem_size, "out of memory");
        return NULL;
    }
    exporter->invoker = invoker;
    TAILQ_INIT(&exporter->scrapes);
    deadline_init(&exporter->textfile_due, on_textfile_due);
    if ((config->metrics.listen[0] &&
            listen_at(exporter, config->metrics.listen, problem, problem_size) < 0) ||
        (config->metrics.textfile[0] &&
            textfile_begin(exporter, config->metrics.textfile, problem, problem_size) < 0)) {
        return exporter_free(exporter);
    }
    return exporter;
}

struct exporter *exporter_free(struct exporter *exporter)
{
    if (!exporter) {
        return NULL;
    }
    while (!TAILQ_EMPTY(&exporter->scrapes)) {
        scrape_free(TAILQ_FIRST(&exporter->scrapes));
    }
    if (exporter->listener) {
        evconnlistener_free(exporter->listener);
    }
    if (exporter->path[0]) {
        (void)unlink(exporter->path);
    }
    if (exporter->textfile) {
        (void)unlink(exporter->textfile);
    }
    loop_deadline_clear(exporter->invoker->loop, &exporter->textfile_due);
    free(exporter->textfile);
    free(exporter);
    return NULL;
}
