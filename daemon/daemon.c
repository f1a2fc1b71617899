#include "daemon/daemon.h"

#include "daemon/admin/exporter.h"
#include "daemon/admin/monitor.h"
#include "daemon/completion/classic.h"
#include "daemon/completion/invoke.h"
#include "daemon/rules.h"
#include "daemon/session/handover.h"
#include "daemon/session/listener.h"
#include "daemon/loop/log.h"
#include "daemon/completion/processor.h"
#include "daemon/loop/service.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_SIGNALS 3
/* Descriptors that are not callers: upstreams, the resolver's sockets, the log. */
#define DESCRIPTORS_RESERVED 256

struct daemon {
    struct config *config;     /* of the caller of daemon_new(), until the first reload */
    struct config *own_config; /* the same, where it was read by a reload */
    struct daemon_source source;
    bool was_hung_up; /* SIGHUP came */
    struct loop loop;
    struct memory memory;
    struct stats stats;
    struct drain drain;
    struct pending_table pending;
    struct net_events events;
    struct tls *tls; /* NULL: plain text */
    struct upstream_context upstreams;
    struct resolver *resolver;
    struct upstream_pool *pool;
    struct nameservers *nameservers;
    struct routes *routes;
    struct notifications *notifications;
    struct control *control;
    struct identity *identity;
    struct processors *processors;
    struct classic *classic;
    struct invoker invoker;
    struct role_table *roles;
    struct session_list sessions;
    struct listener *listeners[CONFIG_NAMED_MAX + 1]; /* of the entrances; NULL: not open */
    struct service service;
    struct handover handover;
    struct monitor *monitor;
    struct exporter *exporter;
    struct event signal_events[N_SIGNALS];
    struct deadline drain_deadline;
    uint64_t oneway_written_before; /* stats.oneway_written when the drain began */
};

/*
 * The IPv4 address by which other hosts see this one, for the UNIQ_KEYs: the one that the default
 * route leaves by. Connecting a datagram socket sends nothing, and needs no netlink, which a service's
 * sandbox may forbid. The address asked for is one of those reserved for documentation.
 */
static void host_address(struct loop *loop, uint8_t ip[4])
{
    uint32_t drawn = loop_random(loop);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(9) };
    socklen_t n = sizeof(address);
    memcpy(ip, &drawn, 4);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    if (inet_pton(AF_INET, "192.0.2.1", &address.sin_addr) == 1 &&
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &n) == 0) {
        memcpy(ip, &address.sin_addr, 4);
    }
    close(fd);
}

/* As Java's client makes it: address@instance, and the instance is drawn anew at every start. */
static void client_id_make(struct loop *loop, const uint8_t ip[4], char *text, size_t size)
{
    (void)snprintf(text, size, "%u.%u.%u.%u@%d#%08" PRIx32, ip[0], ip[1], ip[2], ip[3],
        (int)getpid(), loop_random(loop));
}

/*
 * A service may get fewer descriptors than its unit asks for: the real number decides how many
 * callers there can be.
 */
static void sessions_limit(struct config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    rlim_t room = limit.rlim_cur > 2 * DESCRIPTORS_RESERVED ? limit.rlim_cur - DESCRIPTORS_RESERVED
                                                            : limit.rlim_cur / 2;
    uint64_t n_wanted = 0;
    for (size_t i = 0; i < config_n_listeners(config); i++) {
        n_wanted += config_listener(config, i)->max_sessions;
    }
    for (size_t i = 0; i < config_n_listeners(config) && n_wanted > room; i++) {
        struct config_listener *listener = config_listener(config, i);
        uint64_t share = listener->max_sessions * (uint64_t)room / n_wanted;
        share = share > 0 ? share : 1;
        log_warning("socket=%s max_sessions=%u lowered to %llu: the limit on open files is %llu",
            listener->socket, listener->max_sessions, (unsigned long long)share,
            (unsigned long long)limit.rlim_cur);
        listener->max_sessions = (unsigned)share;
    }
}

static void drain_log_end(const struct daemon *daemon)
{
    const struct stats *stats = &daemon->stats;
    const struct drain *drain = &daemon->drain;
    log_info("drain %s in_flight_at_start=%zu completed=%zu failed=%zu aborted=%zu callers_left=%zu"
             " handed_over=%" PRIu64 " oneway_flushed=%" PRIu64 " requests=%" PRIu64
             " answers=%" PRIu64 " failures=%" PRIu64 " oneway_failed=%" PRIu64
             " late_responses=%" PRIu64,
        drain_state_name(drain->state), drain->n_at_start, drain->n_ended[DRAIN_COMPLETED],
        drain->n_ended[DRAIN_FAILED], drain->n_ended[DRAIN_ABORTED], drain->n_ended[DRAIN_LEFT],
        stats->sessions_handed_over, stats->oneway_written - daemon->oneway_written_before,
        stats->requests, stats->answers, stats->failures, stats->oneway_failed,
        stats->late_responses);
}

static void reload_by_signal(struct daemon *daemon);

/* After every turn: what a drain waits for may have happened. */
static void on_turn(void *context)
{
    struct daemon *daemon = context;
    if (daemon->was_hung_up) {
        daemon->was_hung_up = false;
        reload_by_signal(daemon);
    }
    if (daemon->drain.state == DRAIN_RUNNING) {
        return;
    }
    handover_callers(&daemon->handover);
    /* Oneway requests are in flight no more when a connection has them; they still have to go. */
    size_t unwritten =
        session_list_unwritten(&daemon->sessions) + upstream_pool_unwritten(daemon->pool);
    if (daemon->invoker.n_in_flight == 0) {
        identity_drain(daemon->identity);
    }
    drain_advance(&daemon->drain, daemon->loop.now_ms,
        daemon->invoker.n_in_flight + control_n_busy(daemon->control), unwritten);
    if (drain_is_over(&daemon->drain)) {
        loop_stop(&daemon->loop);
    }
}

static void on_drain_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)deadline; /* it ends the wait; on_turn looks */
    (void)now_ms;
}

static void listeners_close(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->sessions.n_entrances; i++) {
        daemon->listeners[i] = listener_free(daemon->listeners[i]);
    }
}

/* For the service manager's status line. */
static void on_describe(const void *context, char status[SERVICE_STATUS_SIZE])
{
    const struct daemon *daemon = context;
    monitor_describe(daemon->monitor, status);
}

static void listeners_hand_over(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->sessions.n_entrances; i++) {
        if (daemon->listeners[i]) {
            listener_hand_over(daemon->listeners[i], &daemon->handover);
        }
    }
}

/* Begins the drain, or ends the one that is under way. */
static void on_drain(struct daemon *daemon)
{
    if (daemon->drain.state == DRAIN_RUNNING) {
        daemon->oneway_written_before = daemon->stats.oneway_written;
    }
    drain_request(&daemon->drain, daemon->loop.now_ms, daemon->config->drain.timeout_ms,
        daemon->invoker.n_in_flight, daemon->invoker.next_id);
    log_info("drain %s in_flight=%zu", drain_state_name(daemon->drain.state),
        daemon->invoker.n_in_flight);
    net_event_note(&daemon->events, EVENT_DRAIN, false, drain_state_name(daemon->drain.state),
        "%zu in flight", daemon->invoker.n_in_flight);
    service_stopping(&daemon->service);
    if (handover_begin(&daemon->handover)) {
        listeners_hand_over(daemon);
    }
    listeners_close(daemon);
    loop_deadline_set(&daemon->loop, &daemon->drain_deadline, daemon->drain.deadline_ms);
}

static void on_signal(evutil_socket_t signal_number, short what, void *context)
{
    (void)what;
    struct daemon *daemon = context;
    loop_wake(&daemon->loop);
    log_info("signal=%s", strsignal((int)signal_number));
    if (signal_number == SIGHUP) {
        daemon->was_hung_up = true;
    } else {
        on_drain(daemon);
    }
}

static int signals_take(struct daemon *daemon)
{
    static const int numbers[N_SIGNALS] = { SIGTERM, SIGINT, SIGHUP };
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < N_SIGNALS; i++) {
        if (evsignal_assign(
                &daemon->signal_events[i], daemon->loop.base, numbers[i], on_signal, daemon) < 0 ||
            evsignal_add(&daemon->signal_events[i], NULL) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/*
 * Of the upstream opaques: drawn, so that a daemon that starts again does not take up the opaques of
 * the one before. Tests choose it (32767: the sign bit comes next).
 */
static uint16_t first_generation(struct loop *loop)
{
    const char *chosen = getenv("REMOTINGD_FIRST_GENERATION");
    return chosen ? (uint16_t)strtoul(chosen, NULL, 10) : (uint16_t)loop_random(loop);
}

/* Settings that are read where connections are made and used. */
static void upstreams_configure(struct upstream_context *upstreams, const struct config *config)
{
    upstreams->buffer_limit = config->limits.upstream_buffer;
    upstreams->connect_timeout_ms = config->upstream.connect_timeout_ms;
    upstreams->keepalive_idle_ms = config->upstream.keepalive_idle_ms;
    upstreams->tcp_user_timeout_ms = config->upstream.tcp_user_timeout_ms;
    upstreams->breaker_failures = config->breaker.failures;
}

static struct role_table *roles_free(struct role_table *roles)
{
    if (roles) {
        role_table_deinit(roles);
        free(roles);
    }
    return NULL;
}

/* NULL: problem says why not. */
static struct role_table *roles_new(const struct config *config, const char *shared_producer_group,
    char *problem, size_t problem_size)
{
    struct role_table *roles = calloc(1, sizeof(*roles));
    if (!roles) {
        (void)snprintf(problem, problem_size, "out of memory");
    } else if (rules_make_roles(roles, config, shared_producer_group, problem, problem_size) < 0) {
        roles = roles_free(roles);
    }
    return roles;
}

static int tls_make(struct daemon *daemon, char *problem, size_t problem_size)
{
    if (!daemon->config->tls.enable) {
        return 0;
    }
    daemon->tls = tls_new(&daemon->config->tls, problem, problem_size);
    daemon->upstreams.tls = daemon->tls;
    return daemon->tls ? 0 : -EINVAL;
}

/* --- reload --- */

static void log_target_take(const struct config *config)
{
    static const enum log_target targets[] = {
        [CONFIG_LOG_AUTO] = LOG_TARGET_AUTO,
        [CONFIG_LOG_JOURNAL] = LOG_TARGET_JOURNAL,
        [CONFIG_LOG_STDERR] = LOG_TARGET_STDERR,
    };
    log_set_target(targets[config->log.target]);
}

static void log_level_take(const struct config *config)
{
    static const enum log_level levels[] = {
        [CONFIG_LOG_ERROR] = LOG_LEVEL_ERROR,
        [CONFIG_LOG_WARNING] = LOG_LEVEL_WARNING,
        [CONFIG_LOG_INFO] = LOG_LEVEL_INFO,
        [CONFIG_LOG_DEBUG] = LOG_LEVEL_DEBUG,
    };
    log_set_level(levels[config->log.level]);
}

/* What takes the place of what a reload replaces, made before anything is touched. */
struct replacement {
    struct config *config;
    struct role_table *roles;
    struct rpc_hooks *hooks;
};

static void replacement_deinit(struct replacement *new)
{
    new->config = config_free(new->config);
    new->roles = roles_free(new->roles);
    if (new->hooks) {
        rpc_hooks_deinit(new->hooks);
        free(new->hooks);
    }
}

/* False: problem says why not. The certificates come last, for they are replaced as they are read. */
static bool replacement_make(struct daemon *daemon, struct replacement *new,
    struct config_problems *problems, char *problem, size_t problem_size)
{
    const struct daemon_source *source = &daemon->source;
    problem[0] = '\0';
    if (config_load(source->path, source->namesrv_addr, &new->config, problems) < 0 ||
        config_check_change(new->config, daemon->config, source->path, problems) < 0) {
        return false;
    }
    new->hooks = calloc(1, sizeof(*new->hooks));
    if (!new->hooks) {
        (void)snprintf(problem, problem_size, "out of memory");
        return false;
    }
    new->roles = roles_new(new->config, daemon->config->send.producer_group, problem, problem_size);
    return new->roles &&rules_make_hooks(new->hooks, new->config, problem, problem_size) == 0 &&
           (!daemon->tls || !new->config->tls.enable ||
               tls_load(daemon->tls, &new->config->tls, problem, problem_size) == 0);
}

/* Connections to those that leave end when nothing is in flight on them. */
static void nameservers_take(struct daemon *daemon)
{
    const struct config_list *list = &daemon->config->nameserver.addresses;
    struct span addresses[CONFIG_ADDRESSES_MAX];
    for (size_t i = 0; i < list->n; i++) {
        addresses[i] = span_of(list->items[i]);
    }
    const char *leaving[CONFIG_ADDRESSES_MAX];
    size_t n_leaving = nameservers_leaving(daemon->nameservers, addresses, list->n, leaving);
    for (size_t i = 0; i < n_leaving; i++) {
        (void)upstream_pool_drain_address(
            daemon->pool, span_of(leaving[i]), "it is no nameserver any more (reload)");
    }
    if (nameservers_replace(daemon->nameservers, addresses, list->n) < 0) {
        log_error("reload: out of memory: the list of nameservers stays");
    }
    nameservers_configure(daemon->nameservers, daemon->config);
}

/* Everybody who holds the configuration, or something of it, is given the new one. */
static void config_spread(struct daemon *daemon)
{
    struct config *config = daemon->config;
    log_level_take(config);
    daemon->memory.limit = config->limits.total_memory;
    upstreams_configure(&daemon->upstreams, config);
    upstream_pool_configure(daemon->pool, config);
    nameservers_take(daemon);
    routes_configure(daemon->routes, config);
    identity_configure(daemon->identity, config);
    processors_configure(daemon->processors, config);
    daemon->invoker.config = config;
    session_list_configure(&daemon->sessions, config, daemon->roles);
}

static void replacement_take(
    struct daemon *daemon, struct replacement *new, struct config_problems *ret_kept)
{
    struct config *old_config = daemon->own_config;
    struct role_table *old_roles = daemon->roles;
    config_keep_fixed(new->config, daemon->config, daemon->source.path, ret_kept);
    sessions_limit(new->config);
    daemon->config = daemon->own_config = TAKE(new->config);
    daemon->roles = TAKE(new->roles);
    rpc_hooks_deinit(&daemon->upstreams.hooks);
    daemon->upstreams.hooks = *new->hooks;
    new->hooks->n_credentials = 0; /* they were handed over */
    config_spread(daemon);
    session_list_judge_again(&daemon->sessions);
    (void)roles_free(old_roles);
    (void)config_free(old_config);
}

static void reload_log(const struct daemon *daemon, bool is_done,
    const struct config_problems *problems, const struct config_problems *kept)
{
    const char *path = daemon->source.path ? daemon->source.path : "defaults";
    for (size_t i = 0; i < problems->n; i++) {
        log_error("reload problem=%s", problems->text[i]);
    }
    for (size_t i = 0; i < kept->n; i++) {
        log_warning("reload kept=%s", kept->text[i]);
    }
    if (is_done) {
        log_info("reload done config=%s kept=%zu", path, kept->n);
    } else {
        log_error("reload failed config=%s problems=%zu: everything stays as it was", path,
            problems->n + problems->n_left_out);
    }
}

static bool on_reload(
    struct daemon *daemon, struct config_problems *ret_problems, struct config_problems *ret_kept)
{
    struct replacement new = { 0 };
    char problem[512];
    *ret_problems = (struct config_problems){ .n = 0 };
    *ret_kept = (struct config_problems){ .n = 0 };
    bool is_running = daemon->drain.state == DRAIN_RUNNING;
    if (is_running) {
        service_reloading(&daemon->service);
    }
    bool is_done = replacement_make(daemon, &new, ret_problems, problem, sizeof(problem));
    if (is_done) {
        replacement_take(daemon, &new, ret_kept);
        daemon->stats.reloads++;
    } else {
        daemon->stats.reloads_failed++;
        if (problem[0]) {
            config_problems_add(ret_problems, daemon->source.path, problem);
        }
    }
    daemon->stats.last_reload_failed = !is_done;
    replacement_deinit(&new);
    reload_log(daemon, is_done, ret_problems, ret_kept);
    if (is_running) {
        service_ready(&daemon->service);
    }
    return is_done;
}

static void reload_by_signal(struct daemon *daemon)
{
    struct config_problems problems, kept;
    (void)on_reload(daemon, &problems, &kept);
    config_problems_deinit(&problems);
    config_problems_deinit(&kept);
}

/* --- its life --- */

/* Requests that are under way at the broker that was master are still answered there. */
static void on_master_moved(void *context, const char *broker_name, const char *before)
{
    struct daemon *daemon = context;
    size_t n = upstream_pool_drain_address(
        daemon->pool, span_of(before), "its broker has another master now");
    log_info("broker=%s moved from=%s connections=%zu", broker_name, before, n);
}

static int parts_make(struct daemon *daemon)
{
    struct config *config = daemon->config;
    struct loop *loop = &daemon->loop;
    pending_table_init(&daemon->pending, config->limits.max_in_flight, first_generation(loop));
    if (net_events_init(&daemon->events) < 0) {
        return -ENOMEM;
    }
    daemon->upstreams = (struct upstream_context){
        .loop = loop,
        .memory = &daemon->memory,
        .pending = &daemon->pending,
        .stats = &daemon->stats,
        .events = &daemon->events,
    };
    upstreams_configure(&daemon->upstreams, config);
    daemon->resolver = resolver_new(loop);
    daemon->pool = upstream_pool_new(&daemon->upstreams, daemon->resolver, config);
    if (!daemon->resolver || !daemon->pool) {
        return -ENOMEM;
    }
    daemon->nameservers = nameservers_new(&daemon->upstreams, daemon->pool, config);
    daemon->notifications = notifications_new(&daemon->upstreams, daemon->pool);
    if (!daemon->nameservers || !daemon->notifications) {
        return -ENOMEM;
    }
    daemon->routes = routes_new(&daemon->upstreams, daemon->nameservers, config);
    if (daemon->routes) {
        route_table_watch_masters(routes_table(daemon->routes), on_master_moved, daemon);
    }
    daemon->control =
        daemon->routes ? control_new(&daemon->upstreams, daemon->pool, daemon->routes) : NULL;
    if (!daemon->control) {
        return -ENOMEM;
    }
    uint8_t ip[4];
    char client_id[64];
    host_address(loop, ip);
    client_id_make(loop, ip, client_id, sizeof(client_id));
    daemon->identity = identity_new(daemon->control, config, client_id);
    daemon->processors = daemon->identity ? processors_new(&daemon->upstreams, daemon->routes,
                                                daemon->identity, config)
                                          : NULL;
    daemon->classic = classic_new(&daemon->upstreams, daemon->pool, client_id);
    if (!daemon->processors || !daemon->classic) {
        return -ENOMEM;
    }
    daemon->invoker = (struct invoker){
        .upstreams = &daemon->upstreams,
        .pool = daemon->pool,
        .nameservers = daemon->nameservers,
        .routes = daemon->routes,
        .notifications = daemon->notifications,
        .pop_discards = { .context = &daemon->upstreams, .pool = daemon->pool },
        .pop_releases = { .context = &daemon->upstreams, .pool = daemon->pool },
        .classic = daemon->classic,
        .identity = daemon->identity,
        .processors = daemon->processors,
        .sessions = &daemon->sessions,
        .loop = loop,
        .memory = &daemon->memory,
        .stats = &daemon->stats,
        .config = config,
        .drain = &daemon->drain,
        .on_drain = on_drain,
        .on_reload = on_reload,
        .daemon = daemon,
    };
    uniq_key_init(&daemon->invoker.uniq_keys, ip, (uint32_t)getpid(), loop_random(loop));
    session_list_init(&daemon->sessions, loop, &daemon->memory, &daemon->stats, &daemon->invoker,
        config, daemon->roles);
    daemon->monitor = monitor_new(&daemon->invoker);
    daemon->invoker.monitor = daemon->monitor;
    return invoker_init(&daemon->invoker) == 0 && daemon->monitor ? 0 : -ENOMEM;
}

struct daemon *daemon_new(struct config *config, char *problem, size_t problem_size)
{
    struct daemon *daemon = calloc(1, sizeof(*daemon));
    if (!daemon || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        loop_init(&daemon->loop) < 0) {
        (void)snprintf(problem, problem_size, "out of memory");
        free(daemon);
        return NULL;
    }
    daemon->config = config;
    sessions_limit(config);
    memory_init(&daemon->memory, config->limits.total_memory);
    deadline_init(&daemon->drain_deadline, on_drain_deadline);
    daemon->loop.on_turn = on_turn;
    daemon->loop.on_turn_context = daemon;
    log_level_take(config);
    log_target_take(config);
    service_init(&daemon->service, &daemon->loop, on_describe, daemon);
    (void)snprintf(problem, problem_size, "out of memory");
    daemon->roles = roles_new(config, config->send.producer_group, problem, problem_size);
    if (!daemon->roles || parts_make(daemon) < 0 || signals_take(daemon) < 0 ||
        rules_make_hooks(&daemon->upstreams.hooks, config, problem, problem_size) < 0 ||
        tls_make(daemon, problem, problem_size) < 0) {
        return daemon_free(daemon);
    }
    handover_init(&daemon->handover, &daemon->service, &daemon->sessions);
    for (size_t i = 0; i < daemon->sessions.n_entrances; i++) {
        (void)snprintf(problem, problem_size, "out of memory");
        daemon->listeners[i] = listener_new(&daemon->loop, &daemon->sessions,
            &daemon->sessions.entrances[i], problem, problem_size);
        if (!daemon->listeners[i]) {
            return daemon_free(daemon);
        }
    }
    monitor_start(daemon->monitor);
    daemon->exporter = exporter_new(&daemon->invoker, problem, problem_size);
    if (!daemon->exporter) {
        return daemon_free(daemon);
    }
    for (size_t i = 0; i < daemon->sessions.n_entrances; i++) {
        listener_own(daemon->listeners[i]);
    }
    handover_take_callers(&daemon->handover);
    return daemon;
}

void daemon_set_source(struct daemon *daemon, const struct daemon_source *source)
{
    daemon->source = *source;
}

void daemon_run(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->sessions.n_entrances; i++) {
        const struct config_listener *listener = config_listener(daemon->config, i);
        log_info("listening socket=%s max_sessions=%u pid=%d version=%s%s%s%s%s", listener->socket,
            listener->max_sessions, (int)getpid(), REMOTINGD_VERSION,
            listener->name[0] ? " listener=" : "", listener->name,
            listener->role[0] ? " role=" : "", listener->role);
    }
    service_ready(&daemon->service);
    loop_run(&daemon->loop);
    invoker_abort(&daemon->invoker);
    drain_log_end(daemon);
}

/* What was told at the end of the drain is written by a last turn. */
static void daemon_stop(struct daemon *daemon)
{
    listeners_close(daemon);
    identity_stop(daemon->identity);
    if (daemon->nameservers) {
        nameservers_stop(daemon->nameservers);
    }
    if (daemon->pool) {
        upstream_pool_close(daemon->pool);
    }
    daemon->notifications = notifications_free(daemon->notifications);
    daemon->routes = routes_free(daemon->routes);
    loop_finish(&daemon->loop);
    session_list_close(&daemon->sessions);
    loop_finish(&daemon->loop);
}

struct daemon *daemon_free(struct daemon *daemon)
{
    if (!daemon) {
        return NULL;
    }
    if (daemon->sessions.loop) {
        daemon_stop(daemon);
    }
    for (size_t i = 0; i < N_SIGNALS; i++) {
        if (event_initialized(&daemon->signal_events[i])) {
            (void)event_del(&daemon->signal_events[i]);
        }
    }
    daemon->exporter = exporter_free(daemon->exporter);
    daemon->monitor = monitor_free(daemon->monitor);
    invoker_deinit(&daemon->invoker);
    daemon->classic = classic_free(daemon->classic);
    daemon->identity = identity_free(daemon->identity);
    daemon->control = control_free(daemon->control);
    daemon->routes = routes_free(daemon->routes);
    daemon->notifications = notifications_free(daemon->notifications);
    daemon->nameservers = nameservers_free(daemon->nameservers);
    daemon->pool = upstream_pool_free(daemon->pool);
    daemon->tls = tls_free(daemon->tls);
    daemon->resolver = resolver_free(daemon->resolver);
    daemon->processors = processors_free(daemon->processors);
    if (daemon->pending.capacity > 0) {
        pending_table_deinit(&daemon->pending);
    }
    loop_deadline_clear(&daemon->loop, &daemon->drain_deadline);
    handover_deinit(&daemon->handover);
    service_deinit(&daemon->service);
    loop_finish(&daemon->loop);
    net_events_deinit(&daemon->events);
    rpc_hooks_deinit(&daemon->upstreams.hooks);
    daemon->roles = roles_free(daemon->roles);
    daemon->own_config = config_free(daemon->own_config);
    memory_deinit(&daemon->memory);
    loop_deinit(&daemon->loop);
    ares_library_cleanup();
    free(daemon);
    return NULL;
}
