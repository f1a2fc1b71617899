#include "daemon/upstream/routes.h"

#include "daemon/loop/log.h"
#include "protocol/code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

/* After a fetch that failed, old routes are not refreshed in the background for so long. */
#define REFRESH_PAUSE_MS 1000
/*
 * A fetch that nobody waits for goes on, for its answer is good for who asks next: so many at once,
 * and no more. Callers with short deadlines and ever new topics would otherwise fill
 * limits.max_in_flight at a nameserver that is silent. Those that were left first go on: their
 * deadlines tell that it is.
 */
#define ROUTE_FETCHES_LEFT_MAX 256

struct route_fetch {
    struct routes *routes;
    struct nameserver_call call;
    TAILQ_HEAD(, route_waiter) waiters;
    bool is_left;   /* nobody waits for it */
    bool is_over;   /* who still waits is being told */
    bool is_denied; /* a nameserver answered that it knows no such topic */
    char *topic;    /* "" for the cluster table */
    struct ext_field field;
    struct loop_reapable reapable;
    UT_hash_handle hh;
};

struct routes {
    struct upstream_context *context;
    struct nameservers *nameservers;
    struct route_table *table;
    struct topic_route_limits limits;
    uint64_t fetch_timeout_ms;
    uint64_t negative_ttl_ms;
    uint64_t no_refresh_until_ms;
    uint64_t cluster_fetched_ms;
    bool has_cluster;
    struct route_fetch *fetches;
    size_t n_left; /* of them, that nobody waits for */
};

static struct route_table_limits table_limits(const struct config *config)
{
    return (struct route_table_limits){
        .max_topics = config->limits.max_topics,
        .refresh_ms = config->nameserver.route_refresh_ms,
        .negative_ttl_ms = config->nameserver.negative_ttl_ms,
    };
}

void routes_configure(struct routes *routes, const struct config *config)
{
    const struct route_table_limits limits = table_limits(config);
    route_table_set_limits(routes->table, &limits);
    routes->limits.max_brokers = config->limits.max_brokers;
    routes->limits.max_queues = config->limits.max_queues;
    routes->fetch_timeout_ms = config->upstream.request_timeout_ms;
    routes->negative_ttl_ms = config->nameserver.negative_ttl_ms;
}

struct routes *routes_new(
    struct upstream_context *context, struct nameservers *nameservers, const struct config *config)
{
    struct routes *routes = calloc(1, sizeof(*routes));
    if (!routes) {
        return NULL;
    }
    const struct route_table_limits limits = table_limits(config);
    routes->context = context;
    routes->nameservers = nameservers;
    routes->table = route_table_new(&limits);
    if (!routes->table) {
        free(routes);
        return NULL;
    }
    routes_configure(routes, config);
    return routes;
}

static void on_fetch_reap(struct loop_reapable *reapable)
{
    struct route_fetch *fetch =
        (struct route_fetch *)(void *)((char *)reapable - offsetof(struct route_fetch, reapable));
    free(fetch->topic);
    free(fetch);
}

static void left_set(struct route_fetch *fetch, bool is_left)
{
    fetch->routes->n_left -= fetch->is_left;
    fetch->routes->n_left += is_left;
    fetch->is_left = is_left;
}

static void fetch_leave(struct route_fetch *fetch)
{
    fetch->is_over = true;
    left_set(fetch, false);
    HASH_DEL(fetch->routes->fetches, fetch);
    nameserver_call_cancel(&fetch->call);
}

static void waiter_remove(struct route_waiter *waiter)
{
    TAILQ_REMOVE(&waiter->fetch->waiters, waiter, link);
    waiter->fetch = NULL;
}

struct routes *routes_free(struct routes *routes)
{
    if (!routes) {
        return NULL;
    }
    while (routes->fetches) {
        struct route_fetch *fetch = routes->fetches;
        fetch_leave(fetch);
        while (!TAILQ_EMPTY(&fetch->waiters)) {
            waiter_remove(TAILQ_FIRST(&fetch->waiters));
        }
        on_fetch_reap(&fetch->reapable);
    }
    route_table_free(routes->table);
    free(routes);
    return NULL;
}

struct route_table *routes_table(struct routes *routes)
{
    return routes->table;
}

/* The fetch is over: everybody who waits is told, and may start another. */
static void fetch_end(struct route_fetch *fetch, const struct failure_report *report)
{
    fetch_leave(fetch);
    while (!TAILQ_EMPTY(&fetch->waiters)) {
        struct route_waiter *waiter = TAILQ_FIRST(&fetch->waiters);
        waiter_remove(waiter);
        waiter->on_fetched(waiter, report);
    }
    loop_reap(fetch->routes->context->loop, &fetch->reapable, on_fetch_reap);
}

static const char *topic_route_status_text(enum topic_route_status status)
{
    switch (status) {
    case TOPIC_ROUTE_OK:
        return "fine";
    case TOPIC_ROUTE_MALFORMED:
        return "not understandable";
    case TOPIC_ROUTE_TOO_LARGE:
        return "larger than limits.max_brokers or limits.max_queues allow";
    case TOPIC_ROUTE_NO_MEMORY:
        return "too large for the memory there is";
    }
    return "?";
}

/* 0, -EINVAL for an answer of no use, which was logged, or -ENOMEM. */
static int topic_put(struct routes *routes, struct span topic, struct span body)
{
    struct topic_route *route = NULL;
    enum topic_route_status status = topic_route_decode(body.data, body.n, &routes->limits, &route);
    if (status != TOPIC_ROUTE_OK) {
        char quoted[LOG_QUOTE_SIZE];
        log_warning("route topic=%s refused: the nameserver's answer is %s",
            log_quote(topic.data, topic.n, quoted), topic_route_status_text(status));
        return status == TOPIC_ROUTE_NO_MEMORY ? -ENOMEM : -EINVAL;
    }
    return route_table_put(routes->table, topic, route, routes->context->loop->now_ms);
}

static int cluster_put(struct routes *routes, struct span body)
{
    CLEANUP(topic_route_free) struct topic_route *cluster = NULL;
    enum topic_route_status status =
        cluster_info_decode(body.data, body.n, &routes->limits, &cluster);
    if (status != TOPIC_ROUTE_OK) {
        log_warning("cluster table refused: the nameserver's answer is %s",
            topic_route_status_text(status));
        return status == TOPIC_ROUTE_NO_MEMORY ? -ENOMEM : -EINVAL;
    }
    routes->has_cluster = true;
    routes->cluster_fetched_ms = routes->context->loop->now_ms;
    return route_table_learn(routes->table, cluster, routes->context->loop->now_ms);
}

/*
 * Every nameserver that answers says that there is no such topic. Each knows by itself what brokers
 * told it, and one that has just started knows nothing yet.
 */
static void denied(struct route_fetch *fetch)
{
    struct routes *routes = fetch->routes;
    struct span topic = span_of(fetch->topic);
    uint64_t now_ms = routes->context->loop->now_ms;
    switch (route_table_deny(routes->table, topic, now_ms)) {
    case ROUTE_DENIAL_DOUBTED:
        log_warning(
            "route topic=%s kept: the nameservers know no such topic any more", fetch->topic);
        fetch_end(fetch, NULL);
        return;
    case ROUTE_DENIAL_LOST:
        net_event_note(routes->context->events, EVENT_ROUTE_LOST, true, fetch->topic,
            "the nameservers know no such topic any more");
        fetch_end(fetch, NULL);
        return;
    case ROUTE_DENIAL_ABSENT:
        fetch_end(fetch, NULL);
        return;
    case ROUTE_DENIAL_NO_MEMORY:
        break;
    }
    struct failure_report report;
    failure_set(&report, FAILURE_OVERLOADED, false, "out of memory");
    fetch_end(fetch, &report);
}

static void on_response(struct nameserver_call *call, struct remoting_command *response,
    const struct command_source *source)
{
    (void)source;
    struct route_fetch *fetch =
        (struct route_fetch *)(void *)((char *)call - offsetof(struct route_fetch, call));
    struct routes *routes = fetch->routes;
    struct span topic = span_of(fetch->topic);
    struct failure_report report;
    int r;
    if (response->code == RESPONSE_SUCCESS) {
        r = topic.n > 0 ? topic_put(routes, topic, response->body)
                        : cluster_put(routes, response->body);
        if (r == -ENOMEM) {
            failure_set(&report, FAILURE_OVERLOADED, false, "out of memory for %s%s",
                topic.n > 0 ? "the route of topic " : "the cluster table", fetch->topic);
        } else {
            failure_set(&report, FAILURE_NO_ROUTE, false,
                "the nameserver's answer about %s%s is of no use (see the log)",
                topic.n > 0 ? "topic " : "the cluster", fetch->topic);
        }
    } else if (response->code == RESPONSE_TOPIC_NOT_EXIST && topic.n > 0) {
        fetch->is_denied = true;
        if (!nameserver_call_confirm(call)) {
            denied(fetch);
        }
        return;
    } else {
        r = -1;
        failure_set(&report, FAILURE_NO_NAMESERVER, false,
            "the nameserver answered code %d to the question for %s%s: %.*s", (int)response->code,
            topic.n > 0 ? "topic " : "the cluster", fetch->topic,
            (int)(response->remark.n < 128 ? response->remark.n : 128),
            response->remark.data ? response->remark.data : "");
    }
    fetch_end(fetch, r < 0 ? &report : NULL);
}

static void on_failure(struct nameserver_call *call, const struct failure_report *report)
{
    struct route_fetch *fetch =
        (struct route_fetch *)(void *)((char *)call - offsetof(struct route_fetch, call));
    struct routes *routes = fetch->routes;
    if (fetch->is_denied) {
        denied(fetch); /* by who answers */
        return;
    }
    routes->no_refresh_until_ms = clock_after(routes->context->loop->now_ms, REFRESH_PAUSE_MS);
    struct failure_report copy = *report;
    /* Asking for a route has not sent the caller's request anywhere. */
    copy.maybe_sent = false;
    fetch_end(fetch, &copy);
}

static const struct nameserver_call_handler call_handler = {
    .on_response = on_response,
    .on_failure = on_failure,
};

static struct route_fetch *fetch_find(struct routes *routes, struct span topic)
{
    struct route_fetch *fetch;
    HASH_FIND(hh, routes->fetches, topic.data, topic.n, fetch);
    return fetch;
}

/* NULL without memory. A fetch that was started here still has to be begun. */
static struct route_fetch *fetch_new(struct routes *routes, struct span topic)
{
    struct route_fetch *fetch = calloc(1, sizeof(*fetch));
    if (!fetch || !(fetch->topic = strndup(topic.data, topic.n))) {
        free(fetch);
        return NULL;
    }
    fetch->routes = routes;
    TAILQ_INIT(&fetch->waiters);
    HASH_ADD_KEYPTR(hh, routes->fetches, fetch->topic, topic.n, fetch);
    if (!fetch->hh.tbl) {
        free(fetch->topic);
        free(fetch);
        return NULL;
    }
    return fetch;
}

static void fetch_begin(struct route_fetch *fetch)
{
    struct routes *routes = fetch->routes;
    bool is_topic = fetch->topic[0] != '\0';
    struct remoting_command command = {
        .code = is_topic ? REQUEST_GET_ROUTEINFO_BY_TOPIC : REQUEST_GET_BROKER_CLUSTER_INFO,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
    };
    ext_fields_init(&command.ext_fields, &fetch->field, 1);
    if (is_topic) {
        (void)ext_fields_add(&command.ext_fields, SPAN("topic"), span_of(fetch->topic));
    }
    const struct command_source source = { 0 };
    nameserver_call_start(&fetch->call, routes->nameservers, &call_handler, &command, &source, true,
        clock_after(routes->context->loop->now_ms, routes->fetch_timeout_ms));
}

static void wait_for(
    struct routes *routes, struct span topic, uint64_t deadline_ms, struct route_waiter *waiter)
{
    struct failure_report report;
    struct route_fetch *fetch = fetch_find(routes, topic);
    bool is_new = !fetch;
    if (is_new) {
        fetch = fetch_new(routes, topic);
    }
    if (!fetch) {
        failure_set(&report, FAILURE_OVERLOADED, false, "out of memory");
        waiter->on_fetched(waiter, &report);
        return;
    }
    left_set(fetch, false);
    waiter->fetch = fetch;
    TAILQ_INSERT_TAIL(&fetch->waiters, waiter, link);
    if (is_new) {
        fetch_begin(fetch);
    }
    /* Beginning may have been its end, and that of who waited. */
    if (!fetch->is_over && nameserver_call_is_too_late(&fetch->call, deadline_ms, &report)) {
        route_waiter_cancel(waiter);
        waiter->on_fetched(waiter, &report);
    }
}

void routes_wait_topic(
    struct routes *routes, struct span topic, uint64_t deadline_ms, struct route_waiter *waiter)
{
    wait_for(routes, topic, deadline_ms, waiter);
}

void routes_wait_cluster(struct routes *routes, uint64_t deadline_ms, struct route_waiter *waiter)
{
    wait_for(routes, SPAN(""), deadline_ms, waiter);
}

bool routes_cluster_is_fresh(const struct routes *routes)
{
    return routes->has_cluster &&
           routes->context->loop->now_ms - routes->cluster_fetched_ms < routes->negative_ttl_ms;
}

void route_waiter_cancel(struct route_waiter *waiter)
{
    struct route_fetch *fetch = waiter->fetch;
    if (!fetch) {
        return;
    }
    waiter_remove(waiter);
    if (fetch->is_over || !TAILQ_EMPTY(&fetch->waiters)) {
        return;
    }
    if (fetch->routes->n_left < ROUTE_FETCHES_LEFT_MAX) {
        left_set(fetch, true);
    } else {
        fetch_end(fetch, NULL);
    }
}

enum route_entry_state routes_find(
    struct routes *routes, struct span topic, struct route_entry **ret_entry)
{
    uint64_t now_ms = routes->context->loop->now_ms;
    enum route_entry_state state = route_table_find(routes->table, topic, now_ms, ret_entry);
    if (state == ROUTE_STALE && now_ms >= routes->no_refresh_until_ms &&
        route_table_is_due(routes->table, *ret_entry, now_ms) &&
        routes->n_left < ROUTE_FETCHES_LEFT_MAX && !fetch_find(routes, topic)) {
        struct route_fetch *fetch = fetch_new(routes, topic);
        if (fetch) {
            left_set(fetch, true);
            fetch_begin(fetch);
            /*
             * A fetch that failed at once changed nothing; one that ended well may have replaced
             * the entry.
             */
            state = route_table_find(routes->table, topic, now_ms, ret_entry);
        }
    }
    return state;
}

void routes_learn(struct routes *routes, int32_t code, struct span topic, struct span body)
{
    if (code == REQUEST_GET_ROUTEINFO_BY_TOPIC && !span_is_empty(topic)) {
        (void)topic_put(routes, topic, body);
    } else if (code == REQUEST_GET_BROKER_CLUSTER_INFO) {
        (void)cluster_put(routes, body);
    }
}
