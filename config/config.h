/*
 * Configuration
 *
 * One struct with every setting, filled from the defaults and the INI file by way of one settings
 * table (setting.c), whose rows are the whole truth of a setting: section, name, parser, field,
 * default, one sentence. Values are copied into the daemon at start; nothing looks a setting up
 * later. A setting that this version does not act on does not exist here, so that no one believes
 * in an effect it has not.
 *
 * The grammar of the file is ini_file.h's, what values look like is value.h's. A key may stand once
 * in its section, lists excepted: they append what further lines add. A section that may stand
 * several times has a name of its own behind the kind: [acl NAME]. [listener] is there without a
 * name, too: that one always exists, and stands first.
 *
 * A problem with a file is an outcome, not a log line: config_load() describes every problem it
 * finds (up to CONFIG_PROBLEMS_MAX), each with file, line, setting, the value seen, what would be
 * accepted and the nearest known name.
 */
#pragma once

#include "protocol/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define CONFIG_PROBLEMS_MAX  32
#define CONFIG_ADDRESSES_MAX 64 /* items of any list */
#define CONFIG_NAMED_MAX     16 /* sections of one kind with names of their own: [acl NAME] */
#define CONFIG_NAME_SIZE     33 /* such a NAME with its zero */

enum config_log_level {
    CONFIG_LOG_ERROR,
    CONFIG_LOG_WARNING,
    CONFIG_LOG_INFO,
    CONFIG_LOG_DEBUG,
};

enum config_log_target {
    CONFIG_LOG_AUTO,
    CONFIG_LOG_JOURNAL,
    CONFIG_LOG_STDERR,
};

enum config_compression {
    CONFIG_COMPRESS_ZLIB,
    CONFIG_COMPRESS_LZ4,
    CONFIG_COMPRESS_ZSTD,
};

enum config_tls_version {
    CONFIG_TLS_1_2,
    CONFIG_TLS_1_3,
};

/* A list of texts. The texts are owned by the config. */
struct config_list {
    char *items[CONFIG_ADDRESSES_MAX];
    size_t n;
};

/* One [acl NAME]: whose requests to which addresses are signed with what. */
struct config_acl {
    char name[CONFIG_NAME_SIZE];
    struct config_list addresses; /* networks and host:port; none: every address */
    char *access_key;
    char *secret_key_file;
    char *security_token_file; /* "" = none */
};

/* One [listener NAME]: a socket of the daemon's. [http] is one, too. */
struct config_listener {
    char name[CONFIG_NAME_SIZE]; /* "" = [listener] */
    char *socket;                /* path, at most 107 bytes; of [http] "" = none */
    mode_t socket_mode;          /* 0660 */
    char *socket_group;          /* "" = the daemon's own; of this host */
    char *role;                  /* "" = by who the caller is; else one of the roles */
    unsigned max_sessions;       /* 10000; of [http] 1000 */
    bool speaks_http;            /* it is [http], and the next one is its */
    uint64_t idle_timeout_ms;    /* 1min: of a connection between two requests */
};

/* One [role NAME]: who has it, and what they may do. */
struct config_role {
    char name[CONFIG_NAME_SIZE];
    struct config_list users;  /* of this host, by name or number, or * */
    struct config_list groups; /* of this host, by name or number */
    /* Names of RocketMQ's; those that end with * are beginnings. */
    struct config_list send;            /* topics */
    struct config_list producer_groups; /* beside send.producer_group */
    struct config_list consume;         /* topics */
    struct config_list consumer_groups;
    bool admin; /* no */
};

/* What [tls] says. A file is an absolute path or the name of a credential; "" = none. */
struct config_tls {
    bool enable;                         /* no */
    bool verify;                         /* yes */
    char *ca_file;                       /* "" = the system's */
    char *cert_file;                     /* with key_file, or neither */
    char *key_file;                      /* without a passphrase */
    char *server_name;                   /* "" = the host of the address */
    enum config_tls_version min_version; /* 1.2 */
};

/* Durations in milliseconds, sizes in bytes. */
struct config {
    struct {
        struct config_listener sections[CONFIG_NAMED_MAX]; /* the first one is [listener] */
        size_t n;                                          /* 1 and more */
    } listener;
    struct config_listener http;
    struct {
        struct config_role sections[CONFIG_NAMED_MAX]; /* in the order of the file; first match */
        size_t n;
    } role;
    struct {
        /* host:port each; the environment's NAMESRV_ADDR where the file has none */
        struct config_list addresses;
        uint64_t probe_interval_ms; /* 30s */
        uint64_t route_refresh_ms;  /* 30s */
        uint64_t negative_ttl_ms;   /* 5s */
    } nameserver;
    struct {
        uint64_t connect_timeout_ms;        /* 3s */
        uint64_t request_timeout_ms;        /* 3s: the deadline of a request that names none */
        uint64_t keepalive_idle_ms;         /* 60s, whole seconds */
        uint64_t tcp_user_timeout_ms;       /* 10s */
        bool allow_any_address;             /* "any" */
        struct config_list allow_addresses; /* networks: 10.0.0.0/8, fd00::/8, 127.0.0.1 */
        struct config_list route_addresses; /* networks and host:port; none: every address */
    } upstream;
    struct {
        unsigned connections_per_address; /* 1 */
        unsigned max_connections;         /* 0: no limit */
        /*
         * 1min: with cleanup_interval it is over before a broker's own limit of 120 s, which would
         * close a connection in the very moment in which a request is written to it.
         */
        uint64_t max_idle_ms;
        uint64_t cleanup_interval_ms; /* 30s */
    } pool;
    struct {
        uint64_t initial_ms;    /* 100ms */
        uint64_t max_ms;        /* 30s */
        uint64_t max_wanted_ms; /* 2s: the cap while callers are waiting for the address */
    } backoff;
    struct {
        unsigned failures; /* 5 */
    } breaker;
    struct {
        size_t max_frame;                    /* 16MiB, at most 16MiB */
        unsigned max_in_flight;              /* 65535, at most 65535 */
        unsigned max_in_flight_per_session;  /* 4096 */
        unsigned max_long_polls_per_session; /* 256 */
        size_t session_buffer;               /* 4MiB */
        size_t upstream_buffer;              /* 16MiB */
        size_t total_memory;                 /* 256MiB */
        uint64_t max_timeout_ms;             /* 5min */
        uint64_t header_timeout_ms;          /* 10s: how long a caller may take over one frame */
        /* 30s: how long a caller may not read at all while answers wait for it */
        uint64_t write_timeout_ms;
        unsigned max_topics;                      /* 10000 */
        unsigned max_brokers;                     /* 1000, of one route or cluster */
        unsigned max_queues;                      /* 65536, of one route */
        size_t max_decompressed;                  /* 16MiB, one message */
        unsigned max_groups;                      /* 1024, that callers speak for */
        unsigned max_groups_per_session;          /* 64 */
        unsigned max_members;                     /* 256 */
        unsigned max_processors_per_session;      /* 256 */
        unsigned max_broker_requests_per_session; /* 256 */
    } limits;
    struct {
        char *producer_group;                  /* remotingd */
        unsigned retries;                      /* 2 */
        bool latency_fault_tolerance;          /* yes */
        size_t compress_over;                  /* 4KiB; 0: never */
        enum config_compression compress_type; /* zlib */
        size_t max_message_size;               /* 4MiB */
        bool stamp_sender;                     /* no */
    } send;
    struct {
        uint64_t invisible_time_ms; /* 60s */
        uint64_t poll_time_ms;      /* 15s */
        unsigned max_messages;      /* 32 */
    } consume;
    struct config_tls tls;
    struct {
        struct config_acl sections[CONFIG_NAMED_MAX]; /* in the order of the file; first match */
        size_t n;
    } acl;
    struct {
        char *name; /* "" = none */
    } namespace;
    struct {
        struct config_list static_fields; /* key=value each */
    } hooks;
    struct {
        uint64_t timeout_ms; /* 30s */
    } drain;
    struct {
        char *listen;   /* an absolute path, or an address and port; "" = none */
        char *textfile; /* an absolute path; "" = none */
    } metrics;
    struct {
        enum config_log_level level;   /* info */
        enum config_log_target target; /* auto */
    } log;
};

struct config_problems {
    size_t n;
    size_t n_left_out; /* found beyond CONFIG_PROBLEMS_MAX */
    /* Each "FILE:LINE: [section] key = value: sentence", no newline. */
    char *text[CONFIG_PROBLEMS_MAX];
};

/*
 * Loads the file at path over the defaults; path NULL means defaults and environment only.
 * namesrv_addr is the value of NAMESRV_ADDR ("host:port;host:port") or NULL; it counts only where
 * the file names no nameserver.
 * 0: *ret_config is complete and checked. -EDESTADDRREQ: so it is, but names no nameserver, which is
 * the one problem of ret_problems: a daemon can start with it, for it was just installed, and says
 * what is to be done; as a change of what it has, it is a mistake. -EINVAL: ret_problems says why.
 * Other negative errno: the file could not be read, or memory; ret_problems says which, as far as
 * memory allows. ret_problems need not be initialised before and is to be deinitialised in every
 * case.
 */
int config_load(const char *path, const char *namesrv_addr, struct config **ret_config,
    struct config_problems *ret_problems);
struct config *config_free(struct config *config);

/*
 * All sockets that callers connect to: those of [listener], and behind them that of [http] where it
 * has one.
 */
size_t config_n_listeners(const struct config *config);
struct config_listener *config_listener(struct config *config, size_t i);
/* The longest "[listener NAME]" with its zero. */
#define CONFIG_LISTENER_TEXT_SIZE (CONFIG_NAME_SIZE + 16)
/* The section as people write it, for problems. Returns dst. */
const char *config_listener_text(
    const struct config_listener *listener, char dst[static CONFIG_LISTENER_TEXT_SIZE]);
DEFINE_CLEANUP(struct config *, config_free)
void config_problems_deinit(struct config_problems *problems);

/* One setting as it is in force. The texts are valid for the call. */
struct config_view {
    const char *section; /* with its NAME, where it has one */
    const char *key;
    const char *value; /* the items of a list are separated by ; */
    const char *default_text;
    bool is_default;
    const char *sentence;
};
/* Every setting in the order of the table. 0, or -ENOMEM. */
int config_each(const struct config *config,
    void (*visit)(void *context, const struct config_view *view), void *context);

/*
 * One more problem, in words; path NULL stands for no file. Beyond CONFIG_PROBLEMS_MAX, and without
 * memory, it is counted as left out.
 */
void config_problems_add(struct config_problems *problems, const char *path, const char *problem);

/*
 * Whether a daemon that runs with `running` can become what config says: it has the same listeners.
 * 0, or -EINVAL with problems added, which are initialised; path is for them.
 */
int config_check_change(const struct config *config, const struct config *running, const char *path,
    struct config_problems *problems);
/*
 * Makes a config that was checked what that daemon becomes: its listeners are put in running's
 * order, and what is fixed while a daemon runs is taken from running, which gets what config had.
 * Texts move; they are not copied. ret_kept describes what the file would have changed of that, as
 * problems are described, and is to be deinitialised.
 */
void config_keep_fixed(struct config *config, struct config *running, const char *path,
    struct config_problems *ret_kept);

/*
 * Every setting with its effective value, as an INI file that config_load() takes; above each its
 * sentence and default. A value that is the default is commented out when comment_out_defaults is
 * true. config NULL stands for the defaults, with an example for what has none: with
 * comment_out_defaults that makes the sample file remotingd.ini. Failures to write are left in the
 * file's error flag.
 */
void config_dump(const struct config *config, bool comment_out_defaults, FILE *file);
