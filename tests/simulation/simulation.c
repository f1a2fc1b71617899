/*
 * Simulation
 *
 * Plays the whole daemon in this process against random histories of callers, servers and failures
 * (sim_caller.h, sim_server.h) on a machine that stands still while anybody has something to do
 * (machine.h). Every seed is an episode with a daemon of its own:
 *
 *     PLAYING    steps, drawn by chance
 *     CALMING    servers are well again, callers finish what they began: everybody gets an answer
 *     RESTING    what the daemon keeps for a while runs out
 *     ASKING     everybody has left, and it says so: nothing in flight, no memory in use
 *     DRAINING   it is told to; in one episode of four right out of PLAYING
 *
 * and then everything that it held is taken down, which asserts that nothing was left behind; no
 * descriptor and, as far as the address sanitizer counts, no byte of the heap may stay.
 *
 *     simulation [--steps N] [--first SEED]     N steps in all (a million), from this seed on (1)
 *     simulation --seconds N                    as long; begins at a seed of the day
 *     simulation --seed N                       this episode alone, with the daemon's log
 *
 * Speaks TAP. The episodes run in a child: whatever ends it, or keeps it from going on, is told with
 * the command that plays the seed again.
 */
#include "config/config.h"
#include "daemon/daemon.h"
#include "protocol/code.h"
#include "tests/fuzz/target.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/sim_caller.h"
#include "tests/simulation/sim_server.h"
#include "tests/simulation/world.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS_DEFAULT  1000000
#define EPISODE_STEPS  2000
#define PATH_SIZE      64
#define PROBLEM_SIZE   256
#define STUCK_S        60
#define REST_US        20000000 /* longer than the daemon waits for orphaned messages */
#define STOP_MAX_MS    40000
#define STOP_ONE       4000
#define SERVERS_SHARE  6
#define MEMORY_AT_REST 65536
#define EPISODES_WARM  2 /* libraries keep what they made the first time */
#define DRAIN_SLACK_US 1000000

enum phase {
    PHASE_PLAYING,
    PHASE_CALMING,
    PHASE_RESTING,
    PHASE_ASKING,
    PHASE_DRAINING,
};

/* Seen by the parent. */
struct progress {
    uint64_t seed;
    uint64_t n_steps;
    uint64_t n_episodes;
    uint64_t n_answers;
    bool is_done;
};

static struct progress *progress;
static struct config *config;
static char directory[PATH_SIZE];
static enum phase phase;
static uint64_t n_steps_left;
static uint64_t phase_until_us;
static bool drains_at_once;

/* --- the world --- */

bool world_step(void)
{
    if (phase != PHASE_PLAYING || n_steps_left == 0) {
        return false;
    }
    n_steps_left--;
    progress->n_steps++;
    if (chance_one_in(STOP_ONE)) {
        uint64_t stop_us = chance_below(STOP_MAX_MS) * (uint64_t)MACHINE_MS;
        sim_callers_excuse(stop_us);
        machine_stop_for(stop_us);
    } else if (chance_one_in(SERVERS_SHARE)) {
        sim_servers_step();
    } else {
        sim_callers_step();
    }
    return true;
}

static void drain_begin(void)
{
    phase = PHASE_DRAINING;
    phase_until_us = machine_now_us() + config->drain.timeout_ms * MACHINE_MS + DRAIN_SLACK_US;
    sim_auditor_ask(SIDECAR_DRAIN);
    sim_callers_may_be_closed();
}

static int64_t number_of(const json_t *stats, const char *name)
{
    const json_t *value = json_object_get(stats, name);
    promise(json_is_integer(value), "no number '%s' in the statistics", name);
    return json_integer_value(value);
}

static void stats_check(const char *text)
{
    json_t *stats = json_loads(text, 0, NULL);
    promise(stats, "the statistics are no JSON: %s", text);
    promise(number_of(stats, "inFlight") == 0, "at the end in flight: %s", text);
    promise(number_of(stats, "sessions") == 1, "at the end connected: %s", text);
    promise(number_of(stats, "memoryUsed") <= MEMORY_AT_REST, "at the end in use: %s", text);
    json_decref(stats);
}

static void phase_go_on(void)
{
    const char *answer;
    switch (phase) {
    case PHASE_PLAYING:
        if (n_steps_left == 0 && drains_at_once) {
            drain_begin();
        } else if (n_steps_left == 0) {
            phase = PHASE_CALMING;
            machine_calm();
            sim_servers_calm();
            sim_callers_calm();
        }
        return;
    case PHASE_CALMING:
        if (sim_callers_are_done()) {
            phase = PHASE_RESTING;
            sim_callers_leave();
            phase_until_us = machine_now_us() + REST_US;
        }
        return;
    case PHASE_RESTING:
        if (machine_now_us() >= phase_until_us) {
            phase = PHASE_ASKING;
            phase_until_us = MACHINE_NEVER_US;
            sim_auditor_ask(SIDECAR_GET_STATS);
        }
        return;
    case PHASE_ASKING:
        answer = sim_auditor_answer();
        if (answer) {
            stats_check(answer);
            drain_begin();
        }
        return;
    case PHASE_DRAINING:
        promise(machine_now_us() <= phase_until_us, "the drain does not end");
        return;
    }
}

void world_turn(void)
{
    machine_watches_turn();
    sim_servers_turn();
    sim_callers_turn();
    phase_go_on();
}

uint64_t world_next_us(void)
{
    uint64_t servers_us = sim_servers_next_us();
    uint64_t callers_us = sim_callers_next_us();
    uint64_t next_us = servers_us < callers_us ? servers_us : callers_us;
    /* One more, for the drain that does not end. */
    uint64_t phase_us =
        phase == PHASE_RESTING || phase == PHASE_DRAINING ? phase_until_us + 1 : MACHINE_NEVER_US;
    return next_us < phase_us ? next_us : phase_us;
}

/* --- an episode --- */

/* Other limits with every seed, small ones above all. */
static void config_draw(void)
{
    config->limits.max_in_flight = chance_one_in(3) ? 16 : 1024;
    config->limits.max_in_flight_per_session = chance_one_in(3) ? 8 : 256;
    config->limits.max_long_polls_per_session = chance_one_in(3) ? 2 : 64;
    config->limits.session_buffer = chance_one_in(2) ? 4096 : 4 * 1024 * 1024;
    config->limits.upstream_buffer = chance_one_in(2) ? 16384 : 16 * 1024 * 1024;
    config->pool.connections_per_address = 1 + chance_below(2);
    config->pool.max_connections = chance_one_in(3) ? 1 + chance_below(4) : 0;
    config->pool.max_idle_ms = chance_one_in(2) ? 1000 : 60000;
    config->pool.cleanup_interval_ms = chance_one_in(2) ? 500 : 30000;
    config->nameserver.route_refresh_ms = chance_one_in(2) ? 1000 : 30000;
    config->upstream.connect_timeout_ms = chance_one_in(2) ? 200 : 3000;
    config->breaker.failures = 1 + chance_below(5);
    config->send.compress_over = chance_one_in(2) ? 0 : 4096;
    config->drain.timeout_ms = chance_one_in(2) ? 500 : 30000;
    config->upstream.allow_any_address = chance_one_in(2);
    drains_at_once = chance_one_in(4);
}

static void episode_play(uint64_t seed, uint64_t n_steps)
{
    char problem[PROBLEM_SIZE];
    progress->seed = seed;
    machine_begin(seed);
    sim_servers_begin();
    sim_callers_begin(config->listener.sections[0].socket);
    config_draw();
    phase = PHASE_PLAYING;
    n_steps_left = n_steps;
    struct daemon *daemon = daemon_new(config, problem, sizeof(problem));
    promise(daemon, "%s", problem);
    daemon_run(daemon);
    promise(phase == PHASE_DRAINING, "the daemon has stopped, and nobody has told it to");
    daemon = daemon_free(daemon);
    progress->n_answers += sim_callers_n_answers();
    sim_callers_end();
    sim_servers_end();
    progress->n_episodes++;
}

/* --- the child --- */

struct options {
    uint64_t n_steps;
    uint64_t first;
    uint64_t seconds;
    bool is_replay;
};

static uint64_t wall_seconds(void)
{
    struct timespec now;
    (void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec;
}

static void config_make(enum config_log_level log_level)
{
    struct config_problems problems;
    promise(config_load(NULL, SIM_NAMESERVERS, &config, &problems) == 0, "no configuration");
    config_problems_deinit(&problems);
    free(config->listener.sections[0].socket);
    promise(asprintf(&config->listener.sections[0].socket, "%s/s", directory) > 0, "no memory");
    config->log.level = log_level;
}

static void episodes_play(const struct options *options)
{
    uint64_t ends_s = wall_seconds() + options->seconds;
    size_t heap_before = 0;
    size_t n_descriptors = 0;
    json_object_seed(1);
    config_make(options->is_replay ? CONFIG_LOG_DEBUG : CONFIG_LOG_ERROR);
    for (uint64_t seed = options->first;; seed++) {
        episode_play(seed, EPISODE_STEPS);
        size_t n = seed - options->first + 1;
        if (n == EPISODES_WARM) {
            heap_before = machine_heap_size();
            n_descriptors = machine_n_descriptors();
        }
        if (n > EPISODES_WARM) {
            promise(machine_heap_size() <= heap_before, "%zu bytes are left behind",
                machine_heap_size() - heap_before);
            promise(machine_n_descriptors() == n_descriptors, "%zu descriptors, %zu before",
                machine_n_descriptors(), n_descriptors);
        }
        bool is_over =
            options->seconds > 0 ? wall_seconds() >= ends_s : progress->n_steps >= options->n_steps;
        if (options->is_replay || is_over) {
            break;
        }
    }
    config = config_free(config);
    progress->is_done = true;
}

/* --- the parent --- */

/* False: it does not go on. */
static bool child_wait(pid_t child, int *ret_status)
{
    sigset_t ends;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGCHLD);
    uint64_t n_steps = 0;
    while (waitpid(child, ret_status, WNOHANG) == 0) {
        const struct timespec limit = { .tv_sec = STUCK_S };
        if (sigtimedwait(&ends, NULL, &limit) < 0 && errno == EAGAIN) {
            if (progress->n_steps == n_steps) {
                (void)kill(child, SIGKILL);
                (void)waitpid(child, ret_status, 0);
                return false;
            }
            n_steps = progress->n_steps;
        }
    }
    return true;
}

static bool options_read(int argc, char **argv, struct options *ret_options)
{
    *ret_options = (struct options){ .n_steps = STEPS_DEFAULT, .first = 1 };
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--steps") == 0) {
            ret_options->n_steps = value;
        } else if (strcmp(argv[i], "--first") == 0) {
            ret_options->first = value;
        } else if (strcmp(argv[i], "--seconds") == 0) {
            ret_options->seconds = value;
            ret_options->first = wall_seconds() * 1000;
        } else if (strcmp(argv[i], "--seed") == 0) {
            ret_options->first = value;
            ret_options->is_replay = true;
        } else {
            return false;
        }
    }
    return argc % 2 == 1;
}

static bool outcome_tell(const char *program, bool has_ended, int status)
{
    bool is_good = has_ended && WIFEXITED(status) && WEXITSTATUS(status) == 0 && progress->is_done;
    (void)printf("# %" PRIu64 " steps in %" PRIu64 " episodes, %" PRIu64 " answers\n",
        progress->n_steps, progress->n_episodes, progress->n_answers);
    if (!has_ended) {
        (void)printf("# no step within %d s\n", STUCK_S);
    }
    if (!is_good && progress->is_done) {
        (void)printf("# every episode went well, and the process did not end well\n");
    } else if (!is_good) {
        (void)printf("# again: %s --seed %" PRIu64 "\n", program, progress->seed);
    }
    (void)printf("%s 1 - every history ends with one answer for every request\n1..1\n",
        is_good ? "ok" : "not ok");
    return is_good;
}

int main(int argc, char **argv)
{
    struct options options;
    if (!options_read(argc, argv, &options)) {
        (void)fprintf(
            stderr, "usage: simulation [--steps N] [--first SEED] | --seconds N | --seed N\n");
        return 2;
    }
    sigset_t ends;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &ends, NULL);
    (void)setenv("TZ", "UTC", 1);
    (void)snprintf(directory, sizeof(directory), "/tmp/remotingd-simulation-XXXXXX");
    progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!mkdtemp(directory) || progress == MAP_FAILED) {
        (void)fprintf(stderr, "simulation: %s\n", strerror(errno));
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        episodes_play(&options);
        exit(EXIT_SUCCESS);
    }
    int status = 0;
    bool has_ended = child > 0 && child_wait(child, &status);
    char path[PATH_SIZE + 8];
    (void)snprintf(path, sizeof(path), "%s/s", directory);
    (void)unlink(path);
    (void)rmdir(directory);
    return outcome_tell(argv[0], has_ended, status) ? EXIT_SUCCESS : EXIT_FAILURE;
}
