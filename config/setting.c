#include "config/setting.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS(n)  (UINT64_C(1) * (n))
#define S(n)   (UINT64_C(1000) * (n))
#define MIN(n) (UINT64_C(60000) * (n))
#define H(n)   (UINT64_C(3600000) * (n))
#define KIB(n) (UINT64_C(1) * (n) << 10)
#define MIB(n) (UINT64_C(1) * (n) << 20)
#define GIB(n) (UINT64_C(1) * (n) << 30)

#define SOCKET_PATH_MAX    107 /* sun_path without its zero */
#define SYSTEM_GROUP_MAX   32
#define ROCKETMQ_GROUP_MAX 120 /* what brokers accept */
#define NAMESPACE_MAX      100
#define ACCESS_KEY_MAX     128
#define FILE_PATH_MAX      160 /* what fits a line of any INI reader */
#define SERVER_NAME_MAX    253 /* a host's name */
#define MEMORY_MAX         (SIZE_MAX < GIB(64) ? SIZE_MAX : GIB(64))
#define DUMP_WIDTH         100 /* a longer list goes on with its key repeated */

/* The offset of a field; does not compile when the field is of another type. */
#define FIELD(type, field)                                                                         \
    (offsetof(struct config, field) +                                                              \
        0 * sizeof(char[_Generic(((struct config *)0)->field, type : 1)]))

#define ROW(section_, key_, kind_, offset_, ...)                                                   \
    {                                                                                              \
        .section = #section_, .key = #key_, .kind = kind_, .offset = offset_, __VA_ARGS__          \
    }
#define DURATION(section, key, default, min, max, ...)                                             \
    ROW(section, key, SETTING_DURATION, FIELD(uint64_t, section.key##_ms),                         \
        .default_text = default, .range = { min, max }, __VA_ARGS__)
#define SIZE(section, key, default, min, max, ...)                                                 \
    ROW(section, key, SETTING_SIZE, FIELD(size_t, section.key), .default_text = default,           \
        .range = { min, max }, __VA_ARGS__)
#define COUNT(section, key, default, min, max, ...)                                                \
    ROW(section, key, SETTING_COUNT, FIELD(unsigned, section.key), .default_text = default,        \
        .range = { min, max }, __VA_ARGS__)
#define SWITCH(section, key, default, ...)                                                         \
    ROW(section, key, SETTING_SWITCH, FIELD(bool, section.key), .default_text = default,           \
        .choices = { "no", "yes" }, __VA_ARGS__)
#define CHOICE(type, section, key, default, ...)                                                   \
    ROW(section, key, SETTING_CHOICE, FIELD(enum type, section.key), .default_text = default,      \
        __VA_ARGS__)
#define TEXT(kind, section, key, default, max_bytes, ...)                                          \
    ROW(section, key, kind, FIELD(char *, section.key), .default_text = default,                   \
        .range = { 0, max_bytes }, __VA_ARGS__)
#define LIST(kind, section, key, ...)                                                              \
    ROW(section, key, kind, FIELD(struct config_list, section.key), .default_text = "", __VA_ARGS__)
/* Of a section with a name of its own. */
#define NAMED(section) .stride = sizeof(((struct config *)0)->section.sections[0])
#define NAMED_COUNT(section, key, default, min, max, ...)                                          \
    ROW(section, key, SETTING_COUNT, FIELD(unsigned, section.sections[0].key),                     \
        .default_text = default, .range = { min, max }, NAMED(section), __VA_ARGS__)
#define NAMED_MODE(section, key, default, ...)                                                     \
    ROW(section, key, SETTING_MODE, FIELD(mode_t, section.sections[0].key),                        \
        .default_text = default, .range = { 0, 0777 }, NAMED(section), __VA_ARGS__)
#define NAMED_SWITCH(section, key, default, ...)                                                   \
    ROW(section, key, SETTING_SWITCH, FIELD(bool, section.sections[0].key),                        \
        .default_text = default, .choices = { "no", "yes" }, NAMED(section), __VA_ARGS__)
#define NAMED_TEXT(kind, section, key, default, max_bytes, ...)                                    \
    ROW(section, key, kind, FIELD(char *, section.sections[0].key), .default_text = default,       \
        .range = { 0, max_bytes }, NAMED(section), __VA_ARGS__)
#define NAMED_LIST(kind, section, key, ...)                                                        \
    ROW(section, key, kind, FIELD(struct config_list, section.sections[0].key),                    \
        .default_text = "", NAMED(section), __VA_ARGS__)

/* One row is the whole truth of a setting. Rows of one section stand together. */
/* clang-format off */
const struct setting settings[] = {
    NAMED_TEXT(SETTING_PATH, listener, socket, "/run/remotingd/remotingd.sock", SOCKET_PATH_MAX, .is_fixed = true,
        .sentence = "The Unix socket that local programs connect to; a missing directory is made."),
    NAMED_MODE(listener, socket_mode, "0660", .is_fixed = true,
        .sentence = "The socket's permissions: who may write to it may connect."),
    NAMED_TEXT(SETTING_SYSTEM_GROUP, listener, socket_group, "", SYSTEM_GROUP_MAX, .is_fixed = true,
        .sentence = "The socket's group, by name or number; empty is the daemon's own."),
    NAMED_TEXT(SETTING_WORD, listener, role, "", CONFIG_NAME_SIZE - 1,
        .sentence = "The [role NAME] of this socket's callers; empty: the first role that names the caller."),
    NAMED_COUNT(listener, max_sessions, "10000", 1, 1000000,
        .sentence = "Local programs connected at the same time."),

    TEXT(SETTING_FILE, http, socket, "", SOCKET_PATH_MAX, .is_fixed = true,
        .sentence = "A Unix socket for HTTP/1.1, as in curl --unix-socket; empty: there is none."),
    ROW(http, socket_mode, SETTING_MODE, FIELD(mode_t, http.socket_mode),
        .default_text = "0660", .range = { 0, 0777 }, .is_fixed = true,
        .sentence = "The socket's permissions: who may write to it may connect."),
    TEXT(SETTING_SYSTEM_GROUP, http, socket_group, "", SYSTEM_GROUP_MAX, .is_fixed = true,
        .sentence = "The socket's group, by name or number; empty is the daemon's own."),
    TEXT(SETTING_WORD, http, role, "", CONFIG_NAME_SIZE - 1,
        .sentence = "The [role NAME] of this socket's callers; empty: the first role that names the caller."),
    COUNT(http, max_sessions, "1000", 1, 1000000,
        .sentence = "HTTP connections at the same time."),
    DURATION(http, idle_timeout, "1min", MS(100), H(1),
        .sentence = "How long a connection may be silent between two requests."),

    NAMED_LIST(SETTING_RULE_USERS, role, users, .example = "www-data;1000",
        .sentence = "Who has it, by name or number, or * for all but 65534; the first role to name a caller counts."),
    NAMED_LIST(SETTING_RULE_GROUPS, role, groups, .example = "www-data",
        .sentence = "The same by group. Where neither is given: who comes by a [listener] with this role."),
    NAMED_LIST(SETTING_PATTERNS, role, send, .example = "orders;invoices-*",
        .sentence = "Topics they may send to: names, beginnings with a * behind them, or * for all."),
    NAMED_LIST(SETTING_PATTERNS, role, producer_groups, .example = "shop-*",
        .sentence = "Producer groups they may name, beside send.producer_group, which anyone may."),
    NAMED_LIST(SETTING_PATTERNS, role, consume, .example = "orders",
        .sentence = "Topics that they may read; the retry and dead-letter topics of a group go with it."),
    NAMED_LIST(SETTING_PATTERNS, role, consumer_groups, .example = "billing",
        .sentence = "Consumer groups they may receive as, acknowledge for and be a member of."),
    NAMED_SWITCH(role, admin, "no",
        .sentence = "Whether they may command the daemon, and administer brokers and nameservers."),

    LIST(SETTING_ADDRESSES, nameserver, addresses, .example = "127.0.0.1:9876",
        .sentence = "host:port;host:port. Where none is given, NAMESRV_ADDR of the environment counts."),
    DURATION(nameserver, probe_interval, "30s", MS(100), H(1),
        .sentence = "How often a nameserver that nobody asks is asked, to know how well it does."),
    DURATION(nameserver, route_refresh, "30s", S(1), H(1),
        .sentence = "How old a topic's route may become before it is asked for again."),
    DURATION(nameserver, negative_ttl, "5s", MS(100), MIN(10),
        .sentence = "How long a nameserver's word that a topic does not exist is believed."),

    DURATION(upstream, connect_timeout, "3s", MS(100), MIN(2),
        .sentence = "How long connecting to a broker or nameserver may take."),
    DURATION(upstream, request_timeout, "3s", MS(100), H(1),
        .sentence = "The deadline of a request that names none."),
    DURATION(upstream, keepalive_idle, "60s", S(1), H(2), .step = S(1),
        .sentence = "Silence on a connection before TCP keepalive probes it, in whole seconds."),
    DURATION(upstream, tcp_user_timeout, "10s", S(1), H(1),
        .sentence = "How long written bytes may stay unacknowledged before the connection counts as lost."),
    LIST(SETTING_NETWORKS, upstream, allow_addresses,
        .sentence = "What sidecar.addr may name beyond nameservers and routes: 10.0.0.0/8;fd00::/8, or any."),
    LIST(SETTING_TARGETS, upstream, route_addresses,
        .sentence = "Where routes may lead: 10.0.0.0/8;broker-a:10911. None given: anywhere, as nameservers say."),

    COUNT(pool, connections_per_address, "1", 1, 64,
        .sentence = "Connections to one broker or nameserver, each for requests and for long polls."),
    COUNT(pool, max_connections, "0", 0, 65535,
        .sentence = "Connections in all; an idle one makes room for another. 0 is no limit."),
    DURATION(pool, max_idle, "1min", S(1), H(24),
        .sentence = "How long an unused one is kept; plus cleanup_interval it stays below the 120 s of brokers."),
    DURATION(pool, cleanup_interval, "30s", MS(100), H(1),
        .sentence = "How often idle connections are looked for."),

    DURATION(backoff, initial, "100ms", MS(1), H(1),
        .sentence = "The pause after the first failed connection attempt; it doubles with every further one."),
    DURATION(backoff, max, "30s", MS(1), H(1),
        .sentence = "The longest pause between attempts."),
    DURATION(backoff, max_wanted, "2s", MS(1), H(1),
        .sentence = "The longest pause while callers are waiting for the address."),

    COUNT(breaker, failures, "5", 1, 1000,
        .sentence = "Deadlines in a row without a byte from a connection before it is probed and replaced."),

    SIZE(limits, max_frame, "16MiB", KIB(4), MIB(16),
        .sentence = "The largest frame that is read from callers."),
    COUNT(limits, max_in_flight, "65535", 1, 65535, .is_fixed = true,
        .sentence = "Requests waiting for their answer, in total."),
    COUNT(limits, max_in_flight_per_session, "4096", 1, 65535,
        .sentence = "Requests of one caller waiting for their answer."),
    COUNT(limits, max_long_polls_per_session, "256", 1, 65535,
        .sentence = "Long polls of one caller; they do not count as requests waiting."),
    SIZE(limits, session_buffer, "4MiB", KIB(64), GIB(1),
        .sentence = "Answers that one caller has not read yet; beyond it the caller's requests are not read."),
    SIZE(limits, upstream_buffer, "16MiB", KIB(64), GIB(1),
        .sentence = "Requests that one connection has not taken yet; beyond it callers are told: overloaded."),
    SIZE(limits, total_memory, "256MiB", MIB(1), MEMORY_MAX,
        .sentence = "All buffers together; beyond it callers are told: overloaded."),
    DURATION(limits, max_timeout, "5min", MS(100), H(24),
        .sentence = "The longest deadline that a caller may ask for."),
    DURATION(limits, header_timeout, "10s", MS(100), H(1),
        .sentence = "How long a caller may take over one frame."),
    DURATION(limits, write_timeout, "30s", MS(100), H(1),
        .sentence = "How long a caller may not read at all while answers wait for it."),
    COUNT(limits, max_topics, "10000", 1, 1000000,
        .sentence = "Topics whose routes are kept."),
    COUNT(limits, max_brokers, "1000", 1, 100000,
        .sentence = "Brokers of one route or cluster."),
    COUNT(limits, max_queues, "65536", 1, 1000000,
        .sentence = "Queues of one route."),
    SIZE(limits, max_decompressed, "16MiB", KIB(4), GIB(1),
        .sentence = "The body of one message after decompression."),
    COUNT(limits, max_groups, "1024", 1, 65535,
        .sentence = "Producer groups that callers speak for."),
    COUNT(limits, max_groups_per_session, "64", 1, 65535,
        .sentence = "Producer groups, and consumer groups, of one caller."),
    COUNT(limits, max_members, "256", 1, 65535,
        .sentence = "Callers that are members of consumer groups: each has connections of its own."),
    COUNT(limits, max_processors_per_session, "256", 1, 65535,
        .sentence = "Requests of brokers that one caller registered for: codes times groups."),
    COUNT(limits, max_broker_requests_per_session, "256", 1, 65535,
        .sentence = "Requests of brokers that wait for the answer of one caller."),

    TEXT(SETTING_ROCKETMQ_GROUP, send, producer_group, "remotingd", ROCKETMQ_GROUP_MAX, .is_fixed = true,
        .sentence = "The producer group of sends that name none."),
    COUNT(send, retries, "2", 0, 16,
        .sentence = "Further attempts of a send that failed, within its deadline."),
    SWITCH(send, latency_fault_tolerance, "yes",
        .sentence = "Sends pass over brokers that were slow or refused, for as long as RocketMQ's table says."),
    SIZE(send, compress_over, "4KiB", 0, MIB(16),
        .sentence = "Bodies of so many bytes and more are compressed; 0B is never."),
    CHOICE(config_compression, send, compress_type, "zlib",
        .choices = {
            [CONFIG_COMPRESS_ZLIB] = "zlib",
            [CONFIG_COMPRESS_LZ4] = "lz4",
            [CONFIG_COMPRESS_ZSTD] = "zstd",
        },
        .sentence = "zlib, lz4 or zstd; consumers older than RocketMQ 5 know zlib alone."),
    SIZE(send, max_message_size, "4MiB", KIB(1), MIB(16),
        .sentence = "The largest body of a send, before it is compressed; brokers have a limit of their own."),
    SWITCH(send, stamp_sender, "no",
        .sentence = "Messages say who sent them: SENDER_UID and SENDER_UNIT, which callers may not give then."),

    DURATION(consume, invisible_time, "60s", S(1), H(12),
        .sentence = "How long a received message stays hidden from others, where the caller does not say."),
    DURATION(consume, poll_time, "15s", 0, H(1),
        .sentence = "How long a receive waits for messages, where the caller does not say."),
    COUNT(consume, max_messages, "32", 1, 32,
        .sentence = "Messages of one receive, where the caller does not say."),

    SWITCH(tls, enable, "no", .is_fixed = true,
        .sentence = "Nameservers and brokers are spoken to over TLS, and never in plain text."),
    SWITCH(tls, verify, "yes",
        .sentence = "Their certificates are checked: CA, dates, name. Without it anybody can pose as one."),
    TEXT(SETTING_CREDENTIAL, tls, ca_file, "", FILE_PATH_MAX,
        .sentence = "The CAs that their certificates may be signed by (PEM); none given: the system's."),
    TEXT(SETTING_CREDENTIAL, tls, cert_file, "", FILE_PATH_MAX,
        .sentence = "Our certificate and those between it and its CA (PEM), for those that ask for one."),
    TEXT(SETTING_CREDENTIAL, tls, key_file, "", FILE_PATH_MAX,
        .sentence = "Its key (PEM, without a passphrase): a file, or a systemd credential's name."),
    TEXT(SETTING_WORD, tls, server_name, "", SERVER_NAME_MAX,
        .sentence = "The name that all their certificates carry; none given: the host of each address."),
    CHOICE(config_tls_version, tls, min_version, "1.2",
        .choices = {
            [CONFIG_TLS_1_2] = "1.2",
            [CONFIG_TLS_1_3] = "1.3",
        },
        .sentence = "The oldest version of TLS that is spoken: 1.2 or 1.3."),

    NAMED_LIST(SETTING_TARGETS, acl, addresses, .example = "10.0.0.0/8;broker-a:10911",
        .sentence = "Requests to these are signed: networks and host:port. None given: to every address."),
    NAMED_TEXT(SETTING_WORD, acl, access_key, "", ACCESS_KEY_MAX, .is_required = true,
        .example = "my-application",
        .sentence = "The user at the brokers (AccessKey)."),
    NAMED_TEXT(SETTING_CREDENTIAL, acl, secret_key_file, "", FILE_PATH_MAX, .is_required = true,
        .example = "/etc/remotingd/secret-key",
        .sentence = "The file that holds the user's secret key, or a systemd credential's name."),
    NAMED_TEXT(SETTING_CREDENTIAL, acl, security_token_file, "", FILE_PATH_MAX,
        .example = "security-token",
        .sentence = "The same for a security token, where the brokers ask for one."),

    TEXT(SETTING_WORD, namespace, name, "", NAMESPACE_MAX,
        .sentence = "The namespace (ns) that is sent along with every request."),

    LIST(SETTING_FIELDS, hooks, static_fields,
        .sentence = "Ext fields that are sent along with every request: key=value;key=value."),

    DURATION(drain, timeout, "30s", 0, H(1),
        .sentence = "How long requests in flight may take to finish when the daemon stops."),

    TEXT(SETTING_LISTEN, metrics, listen, "", SOCKET_PATH_MAX, .is_fixed = true,
        .sentence = "Where metrics can be read by HTTP: the path of a Unix socket, or as 127.0.0.1:9464."),
    TEXT(SETTING_FILE, metrics, textfile, "", FILE_PATH_MAX, .is_fixed = true,
        .sentence = "A file that metrics are written to every 15 s, for a collector of textfiles."),

    CHOICE(config_log_level, log, level, "info",
        .choices = {
            [CONFIG_LOG_ERROR] = "error",
            [CONFIG_LOG_WARNING] = "warning",
            [CONFIG_LOG_INFO] = "info",
            [CONFIG_LOG_DEBUG] = "debug",
        },
        .sentence = "The least weighty line that is logged: error, warning, info or debug."),
    CHOICE(config_log_target, log, target, "auto", .is_fixed = true,
        .choices = {
            [CONFIG_LOG_AUTO] = "auto",
            [CONFIG_LOG_JOURNAL] = "journal",
            [CONFIG_LOG_STDERR] = "stderr",
        },
        .sentence = "journal, stderr, or auto: the journal where the service manager connects with it."),
};
/* clang-format on */

const size_t n_settings = sizeof(settings) / sizeof(*settings);
_Static_assert(sizeof(settings) / sizeof(*settings) <= SETTINGS_MAX, "SETTINGS_MAX is too small");

bool setting_is_list(const struct setting *setting)
{
    return setting->kind >= SETTING_ADDRESSES;
}

const struct setting *setting_find(const char *section, const char *key)
{
    for (size_t i = 0; i < n_settings; i++) {
        if (strcmp(settings[i].section, section) == 0 && strcmp(settings[i].key, key) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

static bool setting_is_number(const struct setting *setting)
{
    return setting->kind <= SETTING_CHOICE;
}

static enum value_number setting_number_kind(const struct setting *setting)
{
    static const enum value_number kinds[] = {
        [SETTING_DURATION] = VALUE_DURATION,
        [SETTING_SIZE] = VALUE_SIZE,
        [SETTING_COUNT] = VALUE_COUNT,
        [SETTING_MODE] = VALUE_MODE,
    };
    assert(setting->kind <= SETTING_MODE);
    return kinds[setting->kind];
}

static bool is_of_words(const struct setting *setting)
{
    return setting->kind == SETTING_SWITCH || setting->kind == SETTING_CHOICE;
}

/* "error, warning, info or debug is accepted" */
static void choices_describe(const struct setting *setting, struct value_reason *ret_reason)
{
    size_t n = 0;
    for (size_t i = 0; setting->choices[i] && n < sizeof(ret_reason->text); i++) {
        const char *before = i == 0 ? "" : setting->choices[i + 1] ? ", " : " or ";
        n += (size_t)snprintf(ret_reason->text + n, sizeof(ret_reason->text) - n, "%s%s%s", before,
            setting->choices[i], setting->choices[i + 1] ? "" : " is accepted");
    }
}

/* Words stand for their place; every other number is read and written by value.c. */
static bool number_read(const struct setting *setting, const char *text, uint64_t *ret_number,
    struct value_reason *ret_reason)
{
    if (!is_of_words(setting)) {
        return value_read_number(
            setting_number_kind(setting), text, setting->range, ret_number, ret_reason);
    }
    for (size_t i = 0; setting->choices[i]; i++) {
        if (strcmp(text, setting->choices[i]) == 0) {
            *ret_number = i;
            return true;
        }
    }
    choices_describe(setting, ret_reason);
    return false;
}

void setting_format_number(
    const struct setting *setting, uint64_t number, char dst[static VALUE_NUMBER_MAX])
{
    if (is_of_words(setting)) {
        (void)snprintf(dst, VALUE_NUMBER_MAX, "%s", setting->choices[number]);
    } else {
        value_format_number(setting_number_kind(setting), number, dst);
    }
}

/* The number of a field, whatever its type. */
uint64_t setting_number(const struct setting *setting, const struct config *config, size_t at)
{
    const void *field = (const char *)config + setting->offset + at * setting->stride;
    assert(setting_is_number(setting));
    if (setting->kind == SETTING_DURATION) {
        return *(const uint64_t *)field;
    }
    if (setting->kind == SETTING_SIZE) {
        return *(const size_t *)field;
    }
    if (setting->kind == SETTING_COUNT) {
        return *(const unsigned *)field;
    }
    if (setting->kind == SETTING_MODE) {
        return *(const mode_t *)field;
    }
    if (setting->kind == SETTING_SWITCH) {
        return *(const bool *)field;
    }
    return *(const unsigned *)field; /* an enum */
}

static void number_set(
    const struct setting *setting, struct config *config, size_t at, uint64_t number)
{
    void *field = (char *)config + setting->offset + at * setting->stride;
    assert(setting_is_number(setting));
    if (setting->kind == SETTING_DURATION) {
        *(uint64_t *)field = number;
    } else if (setting->kind == SETTING_SIZE) {
        *(size_t *)field = (size_t)number;
    } else if (setting->kind == SETTING_COUNT) {
        *(unsigned *)field = (unsigned)number;
    } else if (setting->kind == SETTING_MODE) {
        *(mode_t *)field = (mode_t)number;
    } else if (setting->kind == SETTING_SWITCH) {
        *(bool *)field = number != 0;
    } else {
        *(unsigned *)field = (unsigned)number; /* an enum */
    }
}

/*
 * The text or list of a row that has one. Whoever holds a const config does not write through it.
 */
static char **text_field(const struct setting *setting, const struct config *config, size_t at)
{
    return (char **)((uintptr_t)config + setting->offset + at * setting->stride);
}

static struct config_list *list_field(
    const struct setting *setting, const struct config *config, size_t at)
{
    return (struct config_list *)((uintptr_t)config + setting->offset + at * setting->stride);
}

bool setting_is_missing(const struct setting *setting, const struct config *config, size_t at)
{
    return setting->is_required && (*text_field(setting, config, at))[0] == '\0';
}

static int apply_number(const struct setting *setting, struct config *config, size_t at,
    const char *text, struct value_reason *ret_reason)
{
    uint64_t number;
    if (!number_read(setting, text, &number, ret_reason)) {
        return -EINVAL;
    }
    if (setting->step && number % setting->step != 0) {
        char step[VALUE_NUMBER_MAX];
        setting_format_number(setting, setting->step, step);
        (void)snprintf(
            ret_reason->text, sizeof(ret_reason->text), "a multiple of %s is accepted", step);
        return -EINVAL;
    }
    number_set(setting, config, at, number);
    return 0;
}

static int apply_text(const struct setting *setting, struct config *config, size_t at,
    const char *text, struct value_reason *ret_reason)
{
    static bool (*const checks[])(const char *, size_t, struct value_reason *) = {
        [SETTING_PATH] = value_check_path,
        [SETTING_SYSTEM_GROUP] = value_check_system_group,
        [SETTING_ROCKETMQ_GROUP] = value_check_rocketmq_group,
        [SETTING_WORD] = value_check_word,
        [SETTING_CREDENTIAL] = value_check_credential,
        [SETTING_LISTEN] = value_check_listen,
        [SETTING_FILE] = value_check_file,
    };
    if (!checks[setting->kind](text, (size_t)setting->range.max, ret_reason)) {
        return -EINVAL;
    }
    char *copy = strdup(text);
    if (!copy) {
        return -ENOMEM;
    }
    char **field = text_field(setting, config, at);
    free(*field);
    *field = copy;
    return 0;
}

static bool item_is_accepted(const struct setting *setting, const char *item, bool *ret_is_any,
    struct value_reason *ret_reason)
{
    struct value_address address;
    struct value_network network = { .is_any = false };
    bool is_accepted = false;
    if (setting->kind == SETTING_ADDRESSES) {
        is_accepted = value_read_address(item, &address, ret_reason);
    } else if (setting->kind == SETTING_NETWORKS) {
        is_accepted = value_read_network(item, &network, ret_reason);
    } else if (setting->kind == SETTING_FIELDS) {
        is_accepted = value_check_field(item, ret_reason);
    } else if (setting->kind == SETTING_RULE_USERS) {
        is_accepted = value_check_rule_user(item, ret_reason);
    } else if (setting->kind == SETTING_RULE_GROUPS) {
        is_accepted = value_check_rule_group(item, ret_reason);
    } else if (setting->kind == SETTING_PATTERNS) {
        is_accepted = value_check_pattern(item, ret_reason);
    } else if (value_read_network(item, &network, ret_reason)) {
        is_accepted = !network.is_any;
        if (!is_accepted) {
            (void)snprintf(ret_reason->text, sizeof(ret_reason->text),
                "every address is meant where none is given");
        }
        network.is_any = false;
    } else {
        is_accepted = value_read_address(item, &address, ret_reason);
    }
    *ret_is_any = network.is_any;
    return is_accepted;
}

/* 0, -EINVAL with the bare sentence, or -ENOMEM. */
static int apply_item(const struct setting *setting, struct config *config, size_t at,
    const char *item, struct value_reason *ret_reason)
{
    struct config_list *list = list_field(setting, config, at);
    bool is_any;
    if (!item_is_accepted(setting, item, &is_any, ret_reason)) {
        return -EINVAL;
    }
    if (is_any) {
        config->upstream.allow_any_address = true;
        return 0;
    }
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->items[i], item) == 0) {
            (void)snprintf(ret_reason->text, sizeof(ret_reason->text), "it is in the list already");
            return -EINVAL;
        }
    }
    if (list->n == CONFIG_ADDRESSES_MAX) {
        (void)snprintf(ret_reason->text, sizeof(ret_reason->text), "at most %d items are accepted",
            CONFIG_ADDRESSES_MAX);
        return -EINVAL;
    }
    list->items[list->n] = strdup(item);
    if (!list->items[list->n]) {
        return -ENOMEM;
    }
    list->n++;
    return 0;
}

static char *trimmed(char *text)
{
    text += strspn(text, " \t");
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t')) {
        n--;
    }
    text[n] = '\0';
    return text;
}

/* Appends. A reason names the item, for the list may be long. */
static int apply_list(const struct setting *setting, struct config *config, size_t at,
    const char *text, struct value_reason *ret_reason)
{
    int r = 0;
    char *copy = strdup(text);
    if (!copy) {
        return -ENOMEM;
    }
    char *rest = copy;
    for (char *item = strsep(&rest, ";"); item && r == 0; item = strsep(&rest, ";")) {
        struct value_reason reason;
        item = trimmed(item);
        r = item[0] == '\0' ? 0 : apply_item(setting, config, at, item, &reason);
        if (r == -EINVAL) {
            (void)snprintf(
                ret_reason->text, sizeof(ret_reason->text), "\"%.60s\": %.180s", item, reason.text);
        }
    }
    free(copy);
    return r;
}

/* Reads a value into its field. 0, -EINVAL with a reason, or -ENOMEM. */
int setting_apply(const struct setting *setting, struct config *config, size_t at, const char *text,
    struct value_reason *ret_reason)
{
    if (setting_is_number(setting)) {
        return apply_number(setting, config, at, text, ret_reason);
    }
    if (setting_is_list(setting)) {
        return apply_list(setting, config, at, text, ret_reason);
    }
    return apply_text(setting, config, at, text, ret_reason);
}

const char *setting_text(const struct setting *setting, const struct config *config, size_t at,
    char number[static VALUE_NUMBER_MAX])
{
    if (!setting_is_number(setting)) {
        return *text_field(setting, config, at);
    }
    setting_format_number(setting, setting_number(setting, config, at), number);
    return number;
}

bool setting_is_same(
    const struct setting *setting, const struct config *a, const struct config *b, size_t at)
{
    if (setting_is_number(setting)) {
        return setting_number(setting, a, at) == setting_number(setting, b, at);
    }
    return strcmp(*text_field(setting, a, at), *text_field(setting, b, at)) == 0;
}

void setting_swap(const struct setting *setting, struct config *a, struct config *b, size_t at)
{
    if (setting_is_number(setting)) {
        uint64_t number = setting_number(setting, a, at);
        number_set(setting, a, at, setting_number(setting, b, at));
        number_set(setting, b, at, number);
        return;
    }
    char *text = *text_field(setting, a, at);
    *text_field(setting, a, at) = *text_field(setting, b, at);
    *text_field(setting, b, at) = text;
}

void setting_clear(const struct setting *setting, struct config *config, size_t at)
{
    if (setting_is_list(setting)) {
        struct config_list *list = list_field(setting, config, at);
        for (size_t i = 0; i < list->n; i++) {
            free(list->items[i]);
        }
        list->n = 0;
    } else if (!setting_is_number(setting)) {
        free(*text_field(setting, config, at));
        *text_field(setting, config, at) = NULL;
    }
}

/* config NULL stands for the defaults. */
bool setting_is_default(const struct setting *setting, const struct config *config, size_t at)
{
    if (!config) {
        return true;
    }
    if (setting_is_number(setting)) {
        uint64_t number = 0;
        struct value_reason reason;
        return number_read(setting, setting->default_text, &number, &reason) &&
               number == setting_number(setting, config, at);
    }
    if (setting->kind == SETTING_NETWORKS && config->upstream.allow_any_address) {
        return false;
    }
    if (setting_is_list(setting)) {
        return list_field(setting, config, at)->n == 0;
    }
    return strcmp(*text_field(setting, config, at), setting->default_text) == 0;
}

/* In lines of DUMP_WIDTH: one line of any length would not be read back. */
static void dump_list(
    const struct setting *setting, const struct config *config, size_t at, FILE *file)
{
    const struct config_list *list = list_field(setting, config, at);
    size_t width = 0;
    if (setting->kind == SETTING_NETWORKS && config->upstream.allow_any_address) {
        fprintf(file, "%s = any\n", setting->key);
    }
    for (size_t i = 0; i < list->n; i++) {
        size_t n = strlen(list->items[i]) + 1;
        if (width > 0 && width + n <= DUMP_WIDTH) {
            width += n;
            fprintf(file, ";%s", list->items[i]);
            continue;
        }
        fprintf(file, "%s%s = %s", width > 0 ? "\n" : "", setting->key, list->items[i]);
        width = strlen(setting->key) + strlen(" = ") + n;
    }
    fputs(list->n > 0 ? "\n" : "", file);
}

char *setting_value(const struct setting *setting, const struct config *config, size_t at)
{
    char number[VALUE_NUMBER_MAX];
    if (!setting_is_list(setting)) {
        return strdup(setting_text(setting, config, at, number));
    }
    char *text = NULL;
    size_t n = 0;
    FILE *file = open_memstream(&text, &n);
    if (!file) {
        return NULL;
    }
    const struct config_list *list = list_field(setting, config, at);
    if (setting->kind == SETTING_NETWORKS && config->upstream.allow_any_address) {
        fputs(list->n > 0 ? "any;" : "any", file);
    }
    for (size_t i = 0; i < list->n; i++) {
        fprintf(file, "%s%s", i > 0 ? ";" : "", list->items[i]);
    }
    return fclose(file) == 0 ? text : NULL;
}

static void dump_manual(const struct setting *setting, FILE *file)
{
    fprintf(file, "# %s\n# Default: %s", setting->sentence,
        *setting->default_text ? setting->default_text : "none");
    if (setting_is_number(setting) && !is_of_words(setting)) {
        char min[VALUE_NUMBER_MAX];
        char max[VALUE_NUMBER_MAX];
        setting_format_number(setting, setting->range.min, min);
        setting_format_number(setting, setting->range.max, max);
        fprintf(file, " (%s to %s)", min, max);
    }
    fputs(setting->is_fixed ? "\n# A change takes effect at the next start.\n" : "\n", file);
}

void setting_dump(const struct setting *setting, const struct config *config, size_t at,
    bool comment_out, char comment, FILE *file)
{
    dump_manual(setting, file);
    if (setting_is_default(setting, config, at)) {
        const char *text = setting->default_text;
        if (!config && setting->example) {
            text = setting->example;
            comment_out = true; /* an example is not a default */
        }
        fprintf(
            file, "%.*s%s =%s%s\n", comment_out, &comment, setting->key, *text ? " " : "", text);
    } else if (setting_is_list(setting)) {
        dump_list(setting, config, at, file);
    } else if (setting_is_number(setting)) {
        char number[VALUE_NUMBER_MAX];
        setting_format_number(setting, setting_number(setting, config, at), number);
        fprintf(file, "%s = %s\n", setting->key, number);
    } else {
        fprintf(file, "%s = %s\n", setting->key, *text_field(setting, config, at));
    }
}
