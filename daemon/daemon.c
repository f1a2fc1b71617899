#include "daemon/daemon.h"

#include "config/value.h"
#include "daemon/completion/classic.h"
#include "daemon/loop/credential.h"
#include "daemon/completion/invoke.h"
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

/* Descriptors that are not callers: upstreams, the resolver's sockets, the log. */
#define DESCRIPTORS_RESERVED 256

struct daemon {
    struct config config; /* its strings belong to the caller of daemon_new() */
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
    struct role_table roles;
    struct session_list sessions;
    struct listener *listeners[CONFIG_NAMED_MAX]; /* as many as config has; NULL: not open */
    struct service service;
    struct event signal_events[2];
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
    for (size_t i = 0; i < config->listener.n; i++) {
        n_wanted += config->listener.sections[i].max_sessions;
    }
    for (size_t i = 0; i < config->listener.n && n_wanted > room; i++) {
        struct config_listener *listener = &config->listener.sections[i];
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
             " oneway_flushed=%" PRIu64 " requests=%" PRIu64 " answers=%" PRIu64
             " failures=%" PRIu64 " oneway_failed=%" PRIu64 " late_responses=%" PRIu64,
        drain_state_name(drain->state), drain->n_at_start, drain->n_ended[DRAIN_COMPLETED],
        drain->n_ended[DRAIN_FAILED], drain->n_ended[DRAIN_ABORTED], drain->n_ended[DRAIN_LEFT],
        stats->oneway_written - daemon->oneway_written_before, stats->requests, stats->answers,
        stats->failures, stats->oneway_failed, stats->late_responses);
}

/* After every turn: what a drain waits for may have happened. */
static void on_turn(void *context)
{
    struct daemon *daemon = context;
    if (daemon->drain.state == DRAIN_RUNNING) {
        return;
    }
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
    for (size_t i = 0; i < daemon->config.listener.n; i++) {
        daemon->listeners[i] = listener_free(daemon->listeners[i]);
    }
}

/* For the service manager's status line. */
static void on_describe(const void *context, char status[SERVICE_STATUS_SIZE])
{
    const struct daemon *daemon = context;
    size_t n_usable = 0;
    size_t n_nameservers = nameservers_count(daemon->nameservers);
    for (size_t i = 0; i < n_nameservers; i++) {
        struct nameserver_view view;
        nameservers_view(daemon->nameservers, i, &view);
        n_usable += view.is_usable;
    }
    const char *state = "serving";
    if (daemon->drain.state != DRAIN_RUNNING) {
        state = "draining";
    } else if (nameservers_are_degraded(daemon->nameservers)) {
        state = "degraded, known routes are served";
    }
    (void)snprintf(status, SERVICE_STATUS_SIZE,
        "%s: %zu callers, %zu requests in flight, %zu of %zu nameservers usable", state,
        daemon->sessions.n, daemon->invoker.n_in_flight, n_usable, n_nameservers);
}

/* Begins the drain, or ends the one that is under way. */
static void on_drain(void *context)
{
    struct daemon *daemon = context;
    if (daemon->drain.state == DRAIN_RUNNING) {
        daemon->oneway_written_before = daemon->stats.oneway_written;
    }
    drain_request(&daemon->drain, daemon->loop.now_ms, daemon->config.drain.timeout_ms,
        daemon->invoker.n_in_flight, daemon->invoker.next_id);
    log_info("drain %s in_flight=%zu", drain_state_name(daemon->drain.state),
        daemon->invoker.n_in_flight);
    service_stopping(&daemon->service);
    listeners_close(daemon);
    loop_deadline_set(&daemon->loop, &daemon->drain_deadline, daemon->drain.deadline_ms);
}

static void on_signal(evutil_socket_t signal_number, short what, void *context)
{
    (void)what;
    struct daemon *daemon = context;
    loop_wake(&daemon->loop);
    log_info("signal=%s", strsignal((int)signal_number));
    on_drain(daemon);
}

static int signals_take(struct daemon *daemon)
{
    static const int numbers[] = { SIGTERM, SIGINT };
    (void)signal(SIGPIPE, SIG_IGN);
    /* The settings are read at start only: a hang-up must not end everybody's requests. */
    (void)signal(SIGHUP, SIG_IGN);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
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

_Static_assert(CONFIG_NAMED_MAX <= RPC_HOOK_CREDENTIALS_MAX &&
                   CONFIG_ADDRESSES_MAX <= RPC_HOOK_STATIC_FIELDS_MAX,
    "the hooks hold less than the configuration");

/* 0, or a negative errno: the problem begins with the section. */
static int credentials_add(
    struct rpc_hooks *hooks, const struct config_acl *acl, char *problem, size_t problem_size)
{
    struct credential secret_key = { .n = 0 };
    struct credential security_token = { .n = 0 };
    const struct acl_credentials given = {
        .name = acl->name,
        .access_key = acl->access_key,
        .targets = acl->addresses.items,
        .n_targets = acl->addresses.n,
    };
    int n = snprintf(problem, problem_size, "[acl %s] ", acl->name);
    char *rest = problem + n;
    size_t rest_size = problem_size - (size_t)n;
    int r = credential_read(&secret_key, acl->secret_key_file, rest, rest_size);
    if (r == 0 && acl->security_token_file[0]) {
        r = credential_read(&security_token, acl->security_token_file, rest, rest_size);
    }
    if (r == 0 && !rpc_hooks_add_credentials(hooks, &given, credential_span(&secret_key),
                      credential_span(&security_token))) {
        (void)snprintf(rest, rest_size, "out of memory");
        r = -ENOMEM;
    }
    credential_deinit(&secret_key);
    credential_deinit(&security_token);
    return r;
}

static int hooks_make(struct daemon *daemon, char *problem, size_t problem_size)
{
    const struct config *config = &daemon->config;
    struct rpc_hooks *hooks = &daemon->upstreams.hooks;
    int r = 0;
    hooks->namespace = config->namespace.name;
    hooks->static_fields = config->hooks.static_fields.items;
    hooks->n_static_fields = config->hooks.static_fields.n;
    for (size_t i = 0; i < config->acl.n && r == 0; i++) {
        r = credentials_add(hooks, &config->acl.sections[i], problem, problem_size);
    }
    return r;
}

_Static_assert(CONFIG_NAMED_MAX <= ROLES_MAX && CONFIG_ADDRESSES_MAX <= ROLE_NAMED_MAX &&
                   ROLE_ID_OVERFLOW == VALUE_ID_OVERFLOW,
    "the roles hold less than the configuration, or mean somebody else by nobody");

static struct role_texts role_texts_of(const struct config_list *list)
{
    return (struct role_texts){ list->items, list->n };
}

/* Users and groups were there when the configuration was read. */
static bool role_add_names(
    struct role *role, const struct config_role *config, struct value_reason *ret_reason)
{
    uid_t uid;
    gid_t gid;
    for (size_t i = 0; i < config->users.n; i++) {
        if (strcmp(config->users.items[i], "*") == 0) {
            role->has_every_user = true;
        } else if (!value_read_system_user(config->users.items[i], &uid, ret_reason)) {
            return false;
        } else {
            (void)role_add_user(role, uid);
        }
    }
    for (size_t i = 0; i < config->groups.n; i++) {
        if (!value_read_system_group(config->groups.items[i], &gid, ret_reason)) {
            return false;
        }
        (void)role_add_group(role, gid);
    }
    return true;
}

static int roles_make(struct daemon *daemon, char *problem, size_t problem_size)
{
    const struct config *config = &daemon->config;
    role_table_init(&daemon->roles, geteuid());
    for (size_t i = 0; i < config->role.n; i++) {
        const struct config_role *section = &config->role.sections[i];
        struct value_reason reason;
        struct role *role =
            role_table_add(&daemon->roles, section->name, role_texts_of(&section->send),
                role_texts_of(&section->producer_groups), role_texts_of(&section->consume),
                role_texts_of(&section->consumer_groups), section->admin);
        if (!role) {
            return -ENOMEM;
        }
        role->shared_producer_group = span_of(config->send.producer_group);
        if (!role_add_names(role, section, &reason)) {
            (void)snprintf(problem, problem_size, "[role %s] %s", section->name, reason.text);
            return -ENOENT;
        }
    }
    return 0;
}

static int tls_make(struct daemon *daemon, char *problem, size_t problem_size)
{
    if (!daemon->config.tls.enable) {
        return 0;
    }
    daemon->tls = tls_new(&daemon->config.tls, problem, problem_size);
    daemon->upstreams.tls = daemon->tls;
    return daemon->tls ? 0 : -EINVAL;
}

static int parts_make(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    struct loop *loop = &daemon->loop;
    pending_table_init(&daemon->pending, config->limits.max_in_flight, first_generation(loop));
    net_events_init(&daemon->events);
    daemon->upstreams = (struct upstream_context){
        .loop = loop,
        .memory = &daemon->memory,
        .pending = &daemon->pending,
        .stats = &daemon->stats,
        .buffer_limit = config->limits.upstream_buffer,
        .connect_timeout_ms = config->upstream.connect_timeout_ms,
        .keepalive_idle_ms = config->upstream.keepalive_idle_ms,
        .tcp_user_timeout_ms = config->upstream.tcp_user_timeout_ms,
        .breaker_failures = config->breaker.failures,
        .events = &daemon->events,
    };
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
        .on_drain_context = daemon,
    };
    uniq_key_init(&daemon->invoker.uniq_keys, ip, (uint32_t)getpid(), loop_random(loop));
    session_list_init(&daemon->sessions, loop, &daemon->memory, &daemon->stats, &daemon->invoker,
        config, &daemon->roles);
    return invoker_init(&daemon->invoker) == 0 ? 0 : -ENOMEM;
}

struct daemon *daemon_new(const struct config *config, char *problem, size_t problem_size)
{
    struct daemon *daemon = calloc(1, sizeof(*daemon));
    if (!daemon || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        loop_init(&daemon->loop) < 0) {
        (void)snprintf(problem, problem_size, "out of memory");
        free(daemon);
        return NULL;
    }
    daemon->config = *config;
    sessions_limit(&daemon->config);
    memory_init(&daemon->memory, config->limits.total_memory);
    deadline_init(&daemon->drain_deadline, on_drain_deadline);
    daemon->loop.on_turn = on_turn;
    daemon->loop.on_turn_context = daemon;
    service_init(&daemon->service, &daemon->loop, on_describe, daemon);
    (void)snprintf(problem, problem_size, "out of memory");
    if (roles_make(daemon, problem, problem_size) < 0 || parts_make(daemon) < 0 ||
        signals_take(daemon) < 0 || hooks_make(daemon, problem, problem_size) < 0 ||
        tls_make(daemon, problem, problem_size) < 0) {
        return daemon_free(daemon);
    }
    for (size_t i = 0; i < daemon->config.listener.n; i++) {
        (void)snprintf(problem, problem_size, "out of memory");
        daemon->listeners[i] = listener_new(&daemon->loop, &daemon->sessions,
            &daemon->sessions.entrances[i], problem, problem_size);
        if (!daemon->listeners[i]) {
            return daemon_free(daemon);
        }
    }
    return daemon;
}

void daemon_run(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->config.listener.n; i++) {
        const struct config_listener *listener = &daemon->config.listener.sections[i];
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
    for (size_t i = 0; i < 2; i++) {
        if (event_initialized(&daemon->signal_events[i])) {
            (void)event_del(&daemon->signal_events[i]);
        }
    }
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
    service_deinit(&daemon->service);
    loop_finish(&daemon->loop);
    rpc_hooks_deinit(&daemon->upstreams.hooks);
    role_table_deinit(&daemon->roles);
    memory_deinit(&daemon->memory);
    loop_deinit(&daemon->loop);
    ares_library_cleanup();
    free(daemon);
    return NULL;
}
