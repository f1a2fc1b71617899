/* Arguments and exit codes of remotingd, nothing else. */
#include "config/config.h"
#include "daemon/daemon.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define DEFAULT_CONFIG_PATH "/etc/remotingd/remotingd.ini"

/* sysexits.h: EX_USAGE and EX_CONFIG, which systemd can be told not to restart after. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 64,
    EXIT_CONFIG = 78,
};

static const char help[] =
    "remotingd - the RocketMQ sidecar: programs of this host speak RocketMQ through a Unix socket\n"
    "\n"
    "usage: remotingd [--config FILE] [--check-config | --dump-config]\n"
    "\n"
    "  -c, --config FILE   the configuration; default " DEFAULT_CONFIG_PATH ", and without such a\n"
    "                      file the defaults with the nameservers of NAMESRV_ADDR\n"
    "      --check-config  read the configuration, say what is wrong with it, and exit\n"
    "      --dump-config   print every setting with its value and what it means, and exit\n"
    "  -h, --help          this text\n"
    "      --version       the version\n"
    "\n"
    "It stays in the foreground and logs to standard error, one event a line. SIGTERM and SIGINT\n"
    "drain it: nothing new is taken, what is in flight is answered; a second one ends it at once.\n"
    "SIGHUP reads the configuration again: all of it, or, where it is wrong, nothing.\n"
    "\n"
    "exit codes: 0 stopped as asked; 1 could not start or serve; 64 wrong usage; 78 wrong\n"
    "configuration\n"
    "\n"
    "examples:\n"
    "  NAMESRV_ADDR=127.0.0.1:9876 remotingd\n"
    "  remotingd --config ./remotingd.ini\n"
    "  remotingd --config ./remotingd.ini --check-config && systemctl restart remotingd\n"
    "  NAMESRV_ADDR=127.0.0.1:9876 remotingd --dump-config > remotingd.ini\n";

enum action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_DUMP,
};

enum option_value {
    OPTION_CHECK = 256,
    OPTION_DUMP,
    OPTION_VERSION,
};

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "check-config", no_argument, NULL, OPTION_CHECK },
    { "dump-config", no_argument, NULL, OPTION_DUMP },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, OPTION_VERSION },
    { 0 },
};

/* The named file; the default one where it exists; otherwise NULL for the defaults alone. */
static const char *config_path(const char *named)
{
    struct stat status;
    if (named) {
        return named;
    }
    /* Where it may not even be looked for, it is not known to be absent. */
    return stat(DEFAULT_CONFIG_PATH, &status) == 0 || errno != ENOENT ? DEFAULT_CONFIG_PATH : NULL;
}

static int config_read(const char *path, struct config **ret_config)
{
    struct config_problems problems = { 0 };
    int r = config_load(path, getenv("NAMESRV_ADDR"), ret_config, &problems);
    for (size_t i = 0; i < problems.n; i++) {
        fprintf(stderr, "remotingd: %s\n", problems.text[i]);
    }
    if (problems.n_left_out > 0) {
        fprintf(stderr, "remotingd: %zu more problems\n", problems.n_left_out);
    }
    config_problems_deinit(&problems);
    return r;
}

static int run(struct config *config, const char *path)
{
    char problem[512];
    const struct daemon_source source = { path, getenv("NAMESRV_ADDR") };
    struct daemon *daemon = daemon_new(config, problem, sizeof(problem));
    if (!daemon) {
        fprintf(stderr, "remotingd: %s\n", problem);
        return EXIT_FAILED;
    }
    daemon_set_source(daemon, &source);
    daemon_run(daemon);
    daemon_free(daemon);
    return EXIT_OK;
}

static int act(enum action action, const char *path)
{
    CLEANUP(config_free) struct config *config = NULL;
    int r = config_read(path, &config);
    if (r == -EDESTADDRREQ && action == ACTION_RUN) {
        fputs(
            "remotingd: it starts without: callers are told no-nameserver until the configuration "
            "names one and is read again (remotingctl reload --wait)\n",
            stderr);
    } else if (r < 0) {
        return EXIT_CONFIG;
    }
    switch (action) {
    case ACTION_CHECK:
        printf("%s: the configuration is fine\n", path ? path : "defaults");
        return EXIT_OK;
    case ACTION_DUMP:
        config_dump(config, false, stdout);
        return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
    case ACTION_RUN:
        return run(config, path);
    }
    return EXIT_FAILED;
}

int main(int n_arguments, char **arguments)
{
    enum action action = ACTION_RUN;
    const char *path = NULL;
    int option;
    while ((option = getopt_long(n_arguments, arguments, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case OPTION_CHECK:
            action = ACTION_CHECK;
            break;
        case OPTION_DUMP:
            action = ACTION_DUMP;
            break;
        case OPTION_VERSION:
            puts("remotingd " REMOTINGD_VERSION);
            return EXIT_OK;
        case 'h':
            fputs(help, stdout);
            return EXIT_OK;
        default:
            fputs("remotingd: see remotingd --help\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < n_arguments) {
        fprintf(stderr, "remotingd: '%s' is no option: see remotingd --help\n", arguments[optind]);
        return EXIT_USAGE;
    }
    return act(action, config_path(path));
}
