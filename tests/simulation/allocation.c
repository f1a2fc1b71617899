/*
 * Allocation
 *
 * The life of a daemon on a machine (machine.h) in which one allocation fails: its configuration and
 * all its parts are made, a caller asks for one of everything, it is told to drain, and all is taken
 * down. Then the same again with the next allocation, until none is left that could fail; and once
 * more with a few in a row. The configuration and the daemon are made or say why not, every request
 * is answered or its connection closes, and nothing stays behind.
 *
 *     allocation [FIRST [STEP]]      from this allocation on, every so many
 *
 * Speaks TAP.
 */
#include "config/config.h"
#include "daemon/daemon.h"
#include "tests/fuzz/target.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/sim_caller.h"
#include "tests/simulation/sim_server.h"
#include "tests/simulation/world.h"
#include "tests/support/failing_allocator.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE    64
#define PROBLEM_SIZE 256
#define LIVES_WARM   3
#define ANSWERS_MIN  40       /* where nothing fails */
#define ANSWERS_US   10000000 /* longer than any deadline of what is asked */
#define SEED         1
#define ROW          5 /* in a row, where more than one fails */

enum phase {
    PHASE_ASKING,
    PHASE_WAITING,
    PHASE_DRAINING,
};

static char directory[PATH_SIZE];
static enum phase phase;
static uint64_t phase_until_us;

bool world_step(void)
{
    return false;
}

static void phase_go_on(void)
{
    switch (phase) {
    case PHASE_ASKING:
        sim_callers_ask_everything();
        sim_callers_may_be_closed();
        phase = PHASE_WAITING;
        phase_until_us = machine_now_us() + ANSWERS_US;
        return;
    case PHASE_WAITING:
        if (sim_callers_n_waiting() == 0 || machine_now_us() >= phase_until_us) {
            promise(sim_callers_n_waiting() == 0, "%zu requests have no answer",
                sim_callers_n_waiting());
            phase = PHASE_DRAINING;
            (void)raise(SIGTERM);
        }
        return;
    case PHASE_DRAINING:
        return;
    }
}

void world_turn(void)
{
    failing_allocator_pause();
    machine_watches_turn();
    sim_servers_turn();
    sim_callers_turn();
    phase_go_on();
    failing_allocator_resume();
}

uint64_t world_next_us(void)
{
    uint64_t next_us = sim_servers_next_us();
    return phase == PHASE_WAITING && phase_until_us < next_us ? phase_until_us : next_us;
}

/* --- one life --- */

/* NULL where it could not be made, which was said. */
static struct config *config_make(void)
{
    struct config *config;
    struct config_problems problems;
    int r = config_load(NULL, SIM_NAMESERVERS, &config, &problems);
    config_problems_deinit(&problems);
    if (r < 0) {
        promise(r == -ENOMEM, "the configuration: %s", strerror(-r));
        return NULL;
    }
    char *path = NULL;
    failing_allocator_pause();
    promise(asprintf(&path, "%s/s", directory) > 0, "no memory");
    failing_allocator_resume();
    free(config->listener.sections[0].socket);
    config->listener.sections[0].socket = path;
    config->upstream.allow_any_address = true;
    config->limits.upstream_buffer = 65536;
    config->log.level = CONFIG_LOG_ERROR;
    return config;
}

static void daemon_live(struct config *config)
{
    char problem[PROBLEM_SIZE] = "";
    struct daemon *daemon = daemon_new(config, problem, sizeof(problem));
    if (!daemon) {
        promise(problem[0] != '\0', "the daemon is not made, and does not say why");
        return;
    }
    daemon_run(daemon);
    daemon = daemon_free(daemon);
}

/* Whether an allocation was refused. */
static bool life_play(size_t n, size_t n_refused)
{
    machine_begin(SEED);
    machine_calm();
    sim_servers_begin();
    sim_servers_calm();
    char path[PATH_SIZE + 8];
    (void)snprintf(path, sizeof(path), "%s/s", directory);
    sim_callers_begin(path);
    phase = PHASE_ASKING;
    failing_allocator_arm(n, n_refused);
    struct config *config = config_make();
    if (config) {
        daemon_live(config);
        config = config_free(config);
    }
    bool was_refused = failing_allocator_disarm();
    sim_callers_end();
    sim_servers_end();
    return was_refused;
}

static size_t lives_play(size_t first, size_t step, size_t n_refused)
{
    for (int i = 0; i < LIVES_WARM; i++) {
        promise(!life_play(0, 0), "something was refused");
        promise(
            sim_callers_n_answers() >= ANSWERS_MIN, "%" PRIu64 " answers", sim_callers_n_answers());
    }
    size_t heap_before = machine_heap_size();
    size_t n_descriptors = machine_n_descriptors();
    for (size_t n = first;; n += step) {
        bool was_refused = life_play(n, n_refused);
        promise(machine_heap_size() <= heap_before, "allocation %zu: %zu bytes are left behind", n,
            machine_heap_size() - heap_before);
        promise(machine_n_descriptors() == n_descriptors,
            "allocation %zu: %zu descriptors, %zu before", n, machine_n_descriptors(),
            n_descriptors);
        if (!was_refused) {
            return n - 1;
        }
    }
}

static void on_exit_remove(void)
{
    (void)rmdir(directory);
}

int main(int argc, char **argv)
{
    size_t first = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    size_t step = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    (void)setenv("TZ", "UTC", 1);
    /* Without memory for epoll libevent would take what the machine has not. */
    (void)setenv("EVENT_NOPOLL", "1", 1);
    (void)setenv("EVENT_NOSELECT", "1", 1);
    failing_allocator_init();
    json_object_seed(1);
    (void)snprintf(directory, sizeof(directory), "/tmp/remotingd-allocation-XXXXXX");
    promise(mkdtemp(directory), "%s", strerror(errno));
    (void)atexit(on_exit_remove);
    size_t n = lives_play(first, step, 1);
    (void)printf("# %zu allocations\nok 1 - any one allocation may fail\n", n);
    (void)lives_play(first, step, ROW);
    (void)printf("ok 2 - any %d allocations in a row may fail\n1..2\n", ROW);
    return 0;
}
