/*
 * load: callers with requests in flight
 *
 *     load [OPTION]... ENDPOINT               (a path, or host:port)
 *
 *     --callers C         connections, 1 unless said
 *     --in-flight W       requests in flight in all, a multiple of C, C unless said: closed loop
 *     --rate R            requests a second in all, whatever is still in flight: open loop; a request
 *                         counts from the moment it was due, so that no wait is left out of the
 *                         percentiles when something stalls (no coordinated omission)
 *     --idle N            N more connections, made first, that never say anything
 *     --body BYTES        of a request, 128 unless said, at least 16
 *     --form json|rocketmq   of the header
 *     --code N            310 (SEND_MESSAGE_V2) unless said
 *     --topic TOPIC       bench unless said
 *     --addr HOST:PORT    the field sidecar.addr
 *     --bare              no field but these two: the daemon completes the message
 *     --no-token          the answers come from a broker, which returns no token
 *     --warm-up SECONDS   0.3 unless said; nothing of it counts
 *     --seconds SECONDS   1 unless said
 *     --requests N        instead of both: this many, from the first to the last answer
 *     --cpu PID           what this process (all its threads) spends meanwhile; may be given again
 *     --lockstep PID      PID is stopped while every caller writes its requests, goes on until all
 *                         are answered and it sleeps again, and so on: it then meets the same
 *                         requests in the same turns on every run. Needs --requests.
 *
 * Prints one JSON object: requests and seconds that were measured, all requests, latencies in
 * microseconds, CPU seconds of the processes in the order given and of itself. Every answer is
 * checked: success, an opaque that is in flight on its connection, the token of its request; the
 * first that is wrong ends the run with exit code 1 and a sentence.
 */
#include "client/histogram.h"
#include "tests/bench/endpoint.h"
#include "tests/bench/process_time.h"
#include "tests/bench/request.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE       (1u << 20)
#define N_EVENTS        512
#define N_PROCESSES     8
#define NS_PER_S        1000000000ull
#define STALL_NS        (10 * NS_PER_S)
#define OPEN_LOOP_SLOTS 1024u
#define BURST_BYTES     (256u << 10)

/* A request in flight; opaque 0: free. */
struct slot {
    uint32_t opaque;
    uint64_t since_ns;
};

/*
 * One connection. Its frames are built once and lie one behind the other, so that the next k
 * requests are the first k frames with new opaques, written with one send.
 */
struct caller {
    int fd;
    uint32_t index;
    uint32_t n_slots; /* a power of two; opaque & (n_slots - 1) is the slot */
    uint32_t n_allowed;
    uint32_t n_in_flight;
    uint32_t *rounds; /* how often each slot was used */
    uint32_t *free_slots;
    struct slot *slots;
    struct request_frame *frames;
    uint32_t n_frames;
    size_t out_at;
    size_t out_n;
    bool is_waiting;
    uint64_t n_sent;
    uint64_t n_due; /* open loop: requests whose time has come */
    struct answer_hints hints;
    struct frame_reader reader;
};

static struct {
    const char *endpoint;
    uint32_t n_callers;
    uint32_t n_in_flight;
    uint32_t n_idle;
    double rate;
    double warm_up_s;
    double seconds;
    uint64_t n_requests;
    bool has_no_token;
    pid_t lockstep;
    pid_t processes[N_PROCESSES];
    size_t n_processes;
    struct request_shape shape;
} options = {
    .n_callers = 1,
    .warm_up_s = 0.3,
    .seconds = 1,
    .shape = { .code = 310, .body_n = 128, .topic = "bench" },
};

static struct {
    int epoll_fd;
    uint32_t run;
    struct caller *callers;
    uint64_t n_sent;
    uint64_t n_answered;
    uint64_t n_limit;       /* no more requests than these */
    uint64_t open_start_ns; /* open loop: when request 0 was due */
    uint64_t n_scheduled;
    uint64_t now_ns;
    bool is_paused; /* nothing is sent because an answer came */
    struct histogram latencies;
    uint8_t read_buffer[READ_SIZE];
} load;

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static void *must_allocate(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    if (!memory) {
        errx(1, "out of memory");
    }
    return memory;
}

static void caller_watch(struct caller *caller, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = caller };
    if (epoll_ctl(load.epoll_fd, operation, caller->fd, &event) < 0) {
        err(1, "epoll_ctl");
    }
}

static void caller_build_frames(struct caller *caller)
{
    size_t size = request_size(&options.shape);
    uint32_t fit = size < BURST_BYTES ? (uint32_t)(BURST_BYTES / size) : 1;
    caller->n_frames = fit < caller->n_allowed ? fit : caller->n_allowed;
    caller->frames = must_allocate(caller->n_frames, sizeof *caller->frames);
    uint8_t *data = must_allocate(caller->n_frames, size);
    for (uint32_t i = 0; i < caller->n_frames; i++) {
        request_init(&caller->frames[i], &options.shape, data + i * size);
    }
}

static void caller_init(struct caller *caller, uint32_t index)
{
    caller->index = index;
    caller->fd = endpoint_connect(options.endpoint);
    caller->n_allowed =
        options.rate > 0 ? OPEN_LOOP_SLOTS : options.n_in_flight / options.n_callers;
    caller->n_slots = 1;
    while (caller->n_slots < caller->n_allowed) {
        caller->n_slots *= 2;
    }
    caller->slots = must_allocate(caller->n_slots, sizeof *caller->slots);
    caller->rounds = must_allocate(caller->n_slots, sizeof *caller->rounds);
    caller->free_slots = must_allocate(caller->n_slots, sizeof *caller->free_slots);
    for (uint32_t i = 0; i < caller->n_slots; i++) {
        caller->free_slots[i] = i;
    }
    caller_build_frames(caller);
    caller_watch(caller, EPOLL_CTL_ADD, EPOLLIN);
}

static void caller_write(struct caller *caller)
{
    while (caller->out_at < caller->out_n) {
        ssize_t n = send(caller->fd, caller->frames[0].data + caller->out_at,
            caller->out_n - caller->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!caller->is_waiting) {
                caller->is_waiting = true;
                caller_watch(caller, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            }
            return;
        }
        if (n < 0) {
            err(1, "caller %u: send", caller->index);
        }
        caller->out_at += (size_t)n;
    }
    caller->out_at = 0;
    caller->out_n = 0;
    if (caller->is_waiting) {
        caller->is_waiting = false;
        caller_watch(caller, EPOLL_CTL_MOD, EPOLLIN);
    }
}

/* When the caller's next request was due. */
static uint64_t caller_due_ns(const struct caller *caller)
{
    if (options.rate <= 0) {
        return load.now_ns;
    }
    double number = (double)(caller->n_sent * options.n_callers + caller->index);
    return load.open_start_ns + (uint64_t)(number * (double)NS_PER_S / options.rate);
}

static void caller_begin(struct caller *caller, struct request_frame *frame)
{
    uint32_t place = caller->free_slots[caller->n_in_flight++];
    uint32_t round = caller->rounds[place]++;
    uint32_t opaque = REQUEST_OPAQUE_FIRST + round * caller->n_slots + place;
    struct token token = token_of(load.run, caller->index, opaque);
    request_renew(frame, opaque, &token);
    caller->slots[place] = (struct slot){ .opaque = opaque, .since_ns = caller_due_ns(caller) };
    caller->n_sent++;
    load.n_sent++;
}

/* Sends as many requests as the caller may. */
static void caller_send(struct caller *caller)
{
    while (caller->out_n == 0) {
        uint64_t n = caller->n_allowed - caller->n_in_flight;
        uint64_t n_left = load.n_limit - load.n_sent;
        n = n < n_left ? n : n_left;
        if (options.rate > 0 && caller->n_due - caller->n_sent < n) {
            n = caller->n_due - caller->n_sent;
        }
        n = n < caller->n_frames ? n : caller->n_frames;
        if (n == 0) {
            return;
        }
        for (uint64_t i = 0; i < n; i++) {
            caller_begin(caller, &caller->frames[i]);
        }
        caller->out_n = n * caller->frames[0].size;
        caller_write(caller);
    }
}

static void caller_take(struct caller *caller, const struct frame *frame)
{
    uint32_t opaque = answer_opaque(frame, &caller->hints);
    uint32_t place = opaque & (caller->n_slots - 1);
    struct slot *slot = &caller->slots[place];
    struct token token = token_of(load.run, caller->index, opaque);
    if (slot->opaque != opaque) {
        errx(1, "caller %u: an answer to opaque %u, which is not in flight", caller->index, opaque);
    }
    if (!options.has_no_token && !answer_has_token(frame, &token)) {
        errx(1, "caller %u: the answer to opaque %u is another request's", caller->index, opaque);
    }
    histogram_record(&load.latencies, load.now_ns - slot->since_ns);
    slot->opaque = 0;
    caller->free_slots[--caller->n_in_flight] = place;
    load.n_answered++;
}

static void caller_read(struct caller *caller)
{
    ssize_t n_read = recv(caller->fd, load.read_buffer, sizeof load.read_buffer, 0);
    if (n_read < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n_read <= 0) {
        errx(1, "caller %u: the connection ended: %s", caller->index,
            n_read < 0 ? strerror(errno) : "end of file");
    }
    load.now_ns = now_ns();
    const uint8_t *data = load.read_buffer;
    size_t n = (size_t)n_read;
    struct frame frame;
    while (frame_reader_next(&caller->reader, &data, &n, &frame)) {
        caller_take(caller, &frame);
    }
}

/* Waits until `until_ns` at most. */
static void turn(uint64_t until_ns)
{
    static struct epoll_event events[N_EVENTS];
    uint64_t now = now_ns();
    uint64_t wait_ns = until_ns > now ? until_ns - now : 0;
    struct timespec wait = {
        .tv_sec = (time_t)(wait_ns / NS_PER_S),
        .tv_nsec = (long)(wait_ns % NS_PER_S),
    };
    int n = epoll_pwait2(load.epoll_fd, events, N_EVENTS, &wait, NULL);
    if (n < 0 && errno != EINTR) {
        err(1, "epoll_pwait2");
    }
    load.now_ns = now_ns();
    for (int i = 0; i < n; i++) {
        struct caller *caller = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) {
            caller_write(caller);
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            caller_read(caller);
        }
        if (!load.is_paused) {
            caller_send(caller);
        }
    }
}

/* Open loop: hands out every request whose time has come; when the next one's comes. */
static uint64_t schedule(void)
{
    double due = (double)(load.now_ns - load.open_start_ns) * options.rate / (double)NS_PER_S;
    while ((double)load.n_scheduled <= due) {
        struct caller *caller = &load.callers[load.n_scheduled++ % options.n_callers];
        caller->n_due++;
        caller_send(caller);
    }
    double next = ceil((double)load.n_scheduled * (double)NS_PER_S / options.rate);
    return load.open_start_ns + (uint64_t)next;
}

/* Runs until then, or until n_limit requests are answered. */
static void run_until(uint64_t end_ns)
{
    uint64_t seen = load.n_answered;
    uint64_t seen_ns = now_ns();
    load.now_ns = seen_ns;
    while (load.now_ns < end_ns && load.n_answered < load.n_limit) {
        uint64_t until_ns = end_ns;
        if (options.rate > 0) {
            uint64_t next_ns = schedule();
            until_ns = next_ns < end_ns ? next_ns : end_ns;
        }
        uint64_t stall_ns = seen_ns + STALL_NS;
        turn(until_ns < stall_ns ? until_ns : stall_ns);
        if (load.n_answered != seen) {
            seen = load.n_answered;
            seen_ns = load.now_ns;
        } else if (load.now_ns >= stall_ns && load.n_sent > load.n_answered) {
            errx(1, "no answer for 10 s, %lu requests are in flight",
                (unsigned long)(load.n_sent - load.n_answered));
        }
    }
}

static void send_all(void)
{
    load.now_ns = now_ns();
    for (uint32_t i = 0; i < options.n_callers; i++) {
        caller_send(&load.callers[i]);
    }
}

static void run_lockstep(void)
{
    uint64_t total = options.n_requests;
    load.is_paused = true;
    while (load.n_answered < total) {
        process_wait_until(options.lockstep, "S");
        if (kill(options.lockstep, SIGSTOP) < 0) {
            err(1, "SIGSTOP");
        }
        process_wait_until(options.lockstep, "Tt");
        load.n_limit = load.n_sent + options.n_in_flight;
        send_all();
        (void)kill(options.lockstep, SIGCONT);
        run_until(UINT64_MAX / 2);
    }
}

/* Of the processes, and of this one behind them. */
static void read_cpu(uint64_t *ns)
{
    for (size_t i = 0; i < options.n_processes; i++) {
        ns[i] = process_cpu_ns(options.processes[i]);
    }
    struct timespec own;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    ns[options.n_processes] = (uint64_t)own.tv_sec * NS_PER_S + (uint64_t)own.tv_nsec;
}

/* What is in flight is waited for, so that a wrong or missing answer at the end is seen too. */
static void drain(void)
{
    load.n_limit = load.n_sent;
    run_until(UINT64_MAX / 2);
}

static void print_result(uint64_t ns, const uint64_t *cpu_before, const uint64_t *cpu_after)
{
    const struct histogram *latencies = &load.latencies;
    double seconds = (double)ns / (double)NS_PER_S;
    printf("{\"requests\": %lu, \"total\": %lu, \"seconds\": %.6f, \"rate\": %.1f",
        (unsigned long)latencies->n, (unsigned long)load.n_sent, seconds,
        (double)latencies->n / seconds);
    static const double percents[] = { 50, 90, 99, 99.9 };
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        printf(", \"p%g_us\": %.2f", percents[i],
            (double)histogram_percentile(latencies, percents[i]) / 1000.0);
    }
    printf(", \"max_us\": %.2f, \"cpu_s\": [", (double)latencies->max / 1000.0);
    for (size_t i = 0; i <= options.n_processes; i++) {
        printf(
            "%s%.6f", i > 0 ? ", " : "", (double)(cpu_after[i] - cpu_before[i]) / (double)NS_PER_S);
    }
    printf("]}\n");
}

static void measure(void)
{
    uint64_t cpu_before[N_PROCESSES + 1];
    uint64_t cpu_after[N_PROCESSES + 1];
    load.n_limit = options.n_requests > 0 ? options.n_requests : UINT64_MAX;
    load.open_start_ns = now_ns();
    if (options.rate <= 0 && !options.lockstep) {
        send_all();
    }
    if (options.n_requests == 0) {
        run_until(load.open_start_ns + (uint64_t)(options.warm_up_s * (double)NS_PER_S));
        memset(&load.latencies, 0, sizeof load.latencies);
    }
    read_cpu(cpu_before);
    uint64_t start_ns = options.n_requests > 0 ? load.open_start_ns : now_ns();
    if (options.lockstep) {
        run_lockstep();
    } else if (options.n_requests > 0) {
        run_until(UINT64_MAX / 2);
    } else {
        run_until(start_ns + (uint64_t)(options.seconds * (double)NS_PER_S));
    }
    uint64_t end_ns = now_ns();
    read_cpu(cpu_after);
    print_result(end_ns - start_ns, cpu_before, cpu_after);
    drain();
}

static void parse_option(int option)
{
    switch (option) {
    case 'c':
        options.n_callers = (uint32_t)strtoul(optarg, NULL, 10);
        break;
    case 'w':
        options.n_in_flight = (uint32_t)strtoul(optarg, NULL, 10);
        break;
    case 'r':
        options.rate = strtod(optarg, NULL);
        break;
    case 'i':
        options.n_idle = (uint32_t)strtoul(optarg, NULL, 10);
        break;
    case 'b':
        options.shape.body_n = strtoul(optarg, NULL, 10);
        break;
    case 'f':
        options.shape.form = strcmp(optarg, "rocketmq") == 0 ? FRAME_ROCKETMQ : FRAME_JSON;
        break;
    case 'C':
        options.shape.code = atoi(optarg);
        break;
    case 't':
        options.shape.topic = optarg;
        break;
    case 'a':
        options.shape.sidecar_addr = optarg;
        break;
    case 'B':
        options.shape.is_bare = true;
        break;
    case 'T':
        options.has_no_token = true;
        break;
    case 'u':
        options.warm_up_s = strtod(optarg, NULL);
        break;
    case 's':
        options.seconds = strtod(optarg, NULL);
        break;
    case 'n':
        options.n_requests = strtoull(optarg, NULL, 10);
        break;
    case 'p':
        if (options.n_processes == N_PROCESSES) {
            errx(2, "--cpu is taken %d times at most", N_PROCESSES);
        }
        options.processes[options.n_processes++] = atoi(optarg);
        break;
    case 'l':
        options.lockstep = atoi(optarg);
        break;
    default:
        errx(2, "usage: load [OPTION]... ENDPOINT; the options are described in load.c");
    }
}

static void parse_arguments(int argc, char **argv)
{
    static const struct option names[] = {
        { "callers", required_argument, NULL, 'c' },
        { "in-flight", required_argument, NULL, 'w' },
        { "rate", required_argument, NULL, 'r' },
        { "idle", required_argument, NULL, 'i' },
        { "body", required_argument, NULL, 'b' },
        { "form", required_argument, NULL, 'f' },
        { "code", required_argument, NULL, 'C' },
        { "topic", required_argument, NULL, 't' },
        { "addr", required_argument, NULL, 'a' },
        { "bare", no_argument, NULL, 'B' },
        { "no-token", no_argument, NULL, 'T' },
        { "warm-up", required_argument, NULL, 'u' },
        { "seconds", required_argument, NULL, 's' },
        { "requests", required_argument, NULL, 'n' },
        { "cpu", required_argument, NULL, 'p' },
        { "lockstep", required_argument, NULL, 'l' },
        { NULL, 0, NULL, 0 },
    };
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) >= 0) {
        parse_option(option);
    }
    if (optind + 1 != argc || options.n_callers == 0) {
        errx(2, "one ENDPOINT and at least one caller are needed");
    }
    options.endpoint = argv[optind];
    if (options.n_in_flight == 0) {
        options.n_in_flight = options.n_callers;
    }
    if (options.n_in_flight % options.n_callers != 0 || options.shape.body_n < TOKEN_SIZE) {
        errx(2, "W has to be a multiple of C, and a body has at least %u bytes", TOKEN_SIZE);
    }
    if (options.n_in_flight / options.n_callers > 4 * OPEN_LOOP_SLOTS) {
        errx(2, "at most %u requests of one caller can be in flight", 4 * OPEN_LOOP_SLOTS);
    }
    if (options.lockstep && (options.n_requests == 0 || options.rate > 0)) {
        errx(2, "--lockstep needs --requests, and no --rate");
    }
}

int main(int argc, char **argv)
{
    parse_arguments(argc, argv);
    endpoint_raise_file_limit(options.n_callers + options.n_idle + 64ul);
    /* A timer of the open loop shall not be 50 us late. */
    (void)prctl(PR_SET_TIMERSLACK, 1ul);
    load.run = (uint32_t)getpid() << 8 ^ (uint32_t)now_ns();
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < options.n_idle; i++) {
        (void)endpoint_connect(options.endpoint);
    }
    load.callers = must_allocate(options.n_callers, sizeof *load.callers);
    for (uint32_t i = 0; i < options.n_callers; i++) {
        caller_init(&load.callers[i], i);
    }
    measure();
    return 0;
}
