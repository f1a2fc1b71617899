#include "tests/simulation/sim_server.h"

#include "protocol/code.h"
#include "protocol/remoting_command.h"
#include "tests/fuzz/stage_frames.h"
#include "tests/fuzz/target.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/sim_caller.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINKS_MAX       128
#define TEXT_SIZE       2048
#define READ_SIZE       65536
#define SOON_US         50000
#define LATE_US         4000000
#define CONNECT_US      3000
#define CONNECT_LONG_US 5000000
#define AWAY_US         20000000
#define TRICKLE_US      3000
#define TRICKLE_SIZE    200

enum server_mode {
    SERVER_WELL,
    SERVER_REFUSING,
    SERVER_UNREACHABLE, /* no attempt ends */
    SERVER_SILENT,
    SERVER_DEAF, /* it does not read */
};
#define SERVER_MODES 5

struct server {
    const char *host;
    uint16_t port;
    bool is_nameserver;
    enum server_mode mode;
    uint64_t until_us;
};

static struct server servers[] = {
    { .host = "10.0.0.1", .port = 9876, .is_nameserver = true },
    { .host = "10.0.0.2", .port = 9876, .is_nameserver = true },
    { .host = "10.0.1.1", .port = 10911 },
    { .host = "10.0.1.2", .port = 10911 },
};
#define N_SERVERS (sizeof(servers) / sizeof(servers[0]))

struct answer {
    TAILQ_ENTRY(answer) link;
    uint64_t due_us;
    bool closes; /* and then the connection ends */
    size_t n;
    uint8_t data[];
};

/* A connection of the daemon's, from its first attempt on. */
struct link {
    struct machine_watch watch;
    struct server *server;
    int daemon_fd;
    bool is_connecting;
    uint64_t connected_us;
    int connect_error;
    uint8_t *received;
    size_t n_received, received_size;
    TAILQ_HEAD(, answer) answers; /* put off */
    uint8_t *out;                 /* being written */
    size_t n_out;
    bool closes; /* when it is */
    bool trickles;
    uint64_t piece_us;
    int32_t last_opaque;
};

static struct link links[LINKS_MAX];
static bool is_calm;

/* --- connections --- */

static void link_close(struct link *link)
{
    machine_watch_close(&link->watch);
    while (!TAILQ_EMPTY(&link->answers)) {
        struct answer *answer = TAILQ_FIRST(&link->answers);
        TAILQ_REMOVE(&link->answers, answer, link);
        free(answer);
    }
    free(link->received);
    free(link->out);
    link->received = link->out = NULL;
}

static bool link_is_open(const struct link *link)
{
    return link->watch.fd >= 0 && !link->is_connecting;
}

static void link_out_append(struct link *link, const void *data, size_t n)
{
    link->out = realloc(link->out, link->n_out + n + 1);
    promise(link->out, "no memory");
    memcpy(link->out + link->n_out, data, n);
    link->n_out += n;
}

static void link_write(struct link *link)
{
    if (link->n_out > 0 && link->piece_us <= machine_now_us()) {
        size_t n = link->n_out;
        if (link->trickles) {
            n = 1 + chance_below(TRICKLE_SIZE);
            n = n < link->n_out ? n : link->n_out;
            link->piece_us = machine_now_us() + chance_below(TRICKLE_US);
        }
        ssize_t sent = send(link->watch.fd, link->out, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) {
            link_close(link);
            return;
        }
        if (sent > 0) {
            link->n_out -= (size_t)sent;
            memmove(link->out, link->out + sent, link->n_out);
        }
    }
    if (link->n_out == 0 && link->closes) {
        link_close(link);
    }
}

static void answer_later(
    struct link *link, uint64_t after_us, const void *data, size_t n, bool closes)
{
    struct answer *answer = malloc(sizeof(*answer) + n);
    promise(answer, "no memory");
    answer->due_us = machine_now_us() + after_us;
    answer->closes = closes;
    answer->n = n;
    memcpy(answer->data, data, n);
    TAILQ_INSERT_TAIL(&link->answers, answer, link);
}

static uint64_t delay_draw(void)
{
    if (is_calm || chance_below(10) < 6) {
        return 0;
    }
    return chance_below(chance_below(4) > 0 ? SOON_US : LATE_US);
}

/* --- answers --- */

static void route_make(struct span topic, char *text, struct good_answer *answer)
{
    static const char broker[] = "{\"brokerAddrs\":{0:\"%s\"},\"brokerName\":\"broker-%c\","
                                 "\"cluster\":\"c\"}";
    static const char queue[] = "{\"brokerName\":\"broker-%c\",\"perm\":6,\"readQueueNums\":2,"
                                "\"topicSysFlag\":0,\"writeQueueNums\":2}";
    char both[4][160];
    if (span_equals_text(topic, "Absent")) {
        answer->code = RESPONSE_TOPIC_NOT_EXIST;
        return;
    }
    (void)snprintf(both[0], sizeof(both[0]), broker, SIM_BROKER_A, 'a');
    (void)snprintf(both[1], sizeof(both[1]), broker, SIM_BROKER_B, 'b');
    (void)snprintf(both[2], sizeof(both[2]), queue, 'a');
    (void)snprintf(both[3], sizeof(both[3]), queue, 'b');
    bool is_on_both = span_equals_text(topic, STAGE_TOPIC);
    (void)snprintf(text, TEXT_SIZE, "{\"brokerDatas\":[%s%s%s],\"queueDatas\":[%s%s%s]}", both[0],
        is_on_both ? "," : "", is_on_both ? both[1] : "", both[2], is_on_both ? "," : "",
        is_on_both ? both[3] : "");
    answer->body = span_of(text);
}

static void cluster_make(char *text, struct good_answer *answer)
{
    (void)snprintf(text, TEXT_SIZE,
        "{\"brokerAddrTable\":{\"broker-a\":{\"brokerAddrs\":{0:\"%s\"},\"brokerName\":\"broker-"
        "a\","
        "\"cluster\":\"c\"},\"broker-b\":{\"brokerAddrs\":{0:\"%s\"},\"brokerName\":\"broker-b\","
        "\"cluster\":\"c\"}},\"clusterAddrTable\":{\"c\":[\"broker-a\",\"broker-b\"]}}",
        SIM_BROKER_A, SIM_BROKER_B);
    answer->body = span_of(text);
}

/* The frame, to be freed, with the token that came. */
static uint8_t *answer_encode(const struct remoting_command *request, int code, int32_t opaque,
    int flag, uint32_t token, size_t *ret_n)
{
    char text[TEXT_SIZE];
    struct good_answer answer;
    good_answer_make(request, &answer);
    if (request->code == REQUEST_GET_ROUTEINFO_BY_TOPIC) {
        route_make(ext_fields_text(&request->ext_fields, "topic"), text, &answer);
    } else if (request->code == REQUEST_GET_BROKER_CLUSTER_INFO) {
        cluster_make(text, &answer);
    }
    if (code != RESPONSE_SUCCESS) {
        answer = (struct good_answer){ .code = code, .ext = "" };
    }
    char ext[TEXT_SIZE];
    (void)snprintf(ext, sizeof(ext), "%s%s\"token\":\"%" PRIu32 "\"", answer.ext,
        answer.ext[0] ? "," : "", token);
    size_t size_max = 2 * TEXT_SIZE + answer.body.n;
    uint8_t *frame = malloc(size_max);
    promise(frame, "no memory");
    *ret_n = stage_request(frame, size_max, answer.code, opaque, flag, ext, answer.body);
    return frame;
}

enum manner {
    MANNER_GOOD,
    MANNER_TWICE,
    MANNER_ONEWAY,  /* the answer says that it is to be answered by none */
    MANNER_STRANGE, /* before it another one comes, to what was not asked on this connection */
    MANNER_GARBAGE,
    MANNER_CUT, /* half of it, then the end */
    MANNER_END, /* nothing but the end */
    MANNER_NEVER,
    MANNER_ERROR,
    MANNER_BUSY,
    MANNER_GO_AWAY,
};

static enum manner manner_draw(const struct server *server)
{
    if (is_calm) {
        return MANNER_GOOD;
    }
    if (server->mode == SERVER_SILENT) {
        return MANNER_NEVER;
    }
    return chance_below(4) > 0 ? MANNER_GOOD : (enum manner)chance_below(MANNER_GO_AWAY + 1);
}

static bool manner_executes(enum manner manner)
{
    return manner != MANNER_ERROR && manner != MANNER_BUSY && manner != MANNER_GO_AWAY;
}

static int manner_code(enum manner manner)
{
    switch (manner) {
    case MANNER_ERROR:
        return RESPONSE_SYSTEM_ERROR;
    case MANNER_BUSY:
        return RESPONSE_SYSTEM_BUSY;
    case MANNER_GO_AWAY:
        return RESPONSE_GO_AWAY;
    case MANNER_GOOD:
    case MANNER_TWICE:
    case MANNER_ONEWAY:
    case MANNER_STRANGE:
    case MANNER_GARBAGE:
    case MANNER_CUT:
    case MANNER_END:
    case MANNER_NEVER:
        break;
    }
    return RESPONSE_SUCCESS;
}

/* To a request on another connection where there is one, else to none at all. */
static void strange_answer(struct link *link, const struct remoting_command *request)
{
    const struct link *other = &links[chance_below(LINKS_MAX)];
    int32_t opaque = link_is_open(other) && other != link ? other->last_opaque
                                                          : (int32_t)chance_below(UINT32_MAX);
    size_t n;
    uint8_t *frame = answer_encode(
        request, RESPONSE_SUCCESS, opaque, REMOTING_FLAG_RESPONSE, SIM_TOKEN_NOBODYS, &n);
    answer_later(link, 0, frame, n, false);
    free(frame);
}

static void answer_give(
    struct link *link, const struct remoting_command *request, enum manner manner, uint32_t token)
{
    int flag = REMOTING_FLAG_RESPONSE | (manner == MANNER_ONEWAY ? REMOTING_FLAG_ONEWAY : 0);
    size_t n;
    uint8_t *frame = answer_encode(request, manner_code(manner), request->opaque, flag, token, &n);
    uint64_t after_us = delay_draw();
    switch (manner) {
    case MANNER_STRANGE:
        strange_answer(link, request);
        answer_later(link, after_us, frame, n, false);
        break;
    case MANNER_TWICE:
        answer_later(link, after_us, frame, n, false);
        answer_later(link, after_us + delay_draw(), frame, n, false);
        break;
    case MANNER_GARBAGE:
        /* Not what it says: a server that lies about that is not found out. */
        frame[chance_below(FRAME_PREFIX_SIZE + 1)] ^= (uint8_t)(1 + chance_below(255));
        answer_later(link, after_us, frame, n, true);
        break;
    case MANNER_CUT:
        answer_later(link, after_us, frame, chance_below((uint32_t)n), true);
        break;
    case MANNER_END:
        answer_later(link, after_us, frame, 0, true);
        break;
    case MANNER_NEVER:
        break;
    case MANNER_GOOD:
    case MANNER_ONEWAY:
    case MANNER_ERROR:
    case MANNER_BUSY:
    case MANNER_GO_AWAY:
        answer_later(link, after_us, frame, n, false);
        break;
    }
    free(frame);
}

static void on_request(struct link *link, uint8_t *frame, size_t size)
{
    static struct ext_field storage[EXT_FIELDS_MAX];
    struct remoting_command request;
    enum serialize_type serialize_type;
    struct header_problem problem = { "" };
    remoting_command_init(&request, storage, EXT_FIELDS_MAX);
    promise(remoting_command_decode(&request, frame, size, &serialize_type, &problem) == HEADER_OK,
        "the daemon sent a server: %s", problem.text);
    promise(serialize_type == SERIALIZE_JSON, "the daemon sent a server the binary form");
    if (remoting_command_is_response(&request)) {
        return;
    }
    link->last_opaque = request.opaque;
    enum manner manner = manner_draw(link->server);
    uint32_t token = sim_token_read(&request.ext_fields);
    if (manner_executes(manner)) {
        sim_request_executed(token);
    }
    if (!remoting_command_is_oneway(&request)) {
        answer_give(link, &request, manner, token);
    }
}

/* --- reading and writing --- */

static void link_frames_take(struct link *link)
{
    size_t at = 0;
    size_t size;
    while (link->watch.fd >= 0) {
        enum frame_status status =
            frame_measure(link->received + at, link->n_received - at, FRAME_SIZE_MAX, &size);
        promise(status == FRAME_COMPLETE || status == FRAME_PARTIAL, "no frame for a server");
        if (status == FRAME_PARTIAL) {
            link->n_received -= at;
            memmove(link->received, link->received + at, link->n_received);
            return;
        }
        on_request(link, link->received + at, size);
        at += size;
    }
}

static void on_link_ready(struct machine_watch *watch, uint32_t events)
{
    struct link *link = (struct link *)(void *)((char *)watch - offsetof(struct link, watch));
    if (link->is_connecting || link->server->mode == SERVER_DEAF || !(events & EPOLLIN)) {
        if (events & (EPOLLHUP | EPOLLERR)) {
            link_close(link);
        }
        return;
    }
    if (link->received_size - link->n_received < READ_SIZE) {
        link->received_size = link->n_received + 2 * READ_SIZE;
        link->received = realloc(link->received, link->received_size);
        promise(link->received, "no memory");
    }
    ssize_t n =
        read(watch->fd, link->received + link->n_received, link->received_size - link->n_received);
    if (n > 0) {
        link->n_received += (size_t)n;
        link_frames_take(link);
    } else if (n == 0 || errno != EAGAIN) {
        link_close(link);
    }
}

static void link_connect_end(struct link *link)
{
    int fd = link->watch.fd;
    link->is_connecting = false;
    machine_connected(fd, link->daemon_fd, link->connect_error);
    if (link->connect_error != 0) {
        link_close(link);
    } else {
        machine_watch_change(&link->watch, link->server->mode != SERVER_DEAF);
    }
}

static void link_turn(struct link *link)
{
    uint64_t now_us = machine_now_us();
    if (link->is_connecting) {
        if (link->connected_us <= now_us) {
            link_connect_end(link);
        }
        return;
    }
    struct answer *answer = TAILQ_FIRST(&link->answers);
    while (answer) {
        struct answer *next = TAILQ_NEXT(answer, link);
        if (answer->due_us <= now_us && !link->closes) {
            link_out_append(link, answer->data, answer->n);
            link->closes = answer->closes;
            TAILQ_REMOVE(&link->answers, answer, link);
            free(answer);
        }
        answer = next;
    }
    link_write(link);
}

void sim_servers_turn(void)
{
    for (size_t i = 0; i < N_SERVERS; i++) {
        struct server *server = &servers[i];
        if (server->mode == SERVER_WELL || server->until_us > machine_now_us()) {
            continue;
        }
        server->mode = SERVER_WELL;
        for (size_t j = 0; j < LINKS_MAX; j++) {
            if (links[j].server == server && link_is_open(&links[j])) {
                machine_watch_change(&links[j].watch, true);
            }
        }
    }
    for (size_t i = 0; i < LINKS_MAX; i++) {
        if (links[i].watch.fd >= 0) {
            link_turn(&links[i]);
        }
    }
}

static void earlier(uint64_t *at_us, uint64_t other_us)
{
    *at_us = other_us < *at_us ? other_us : *at_us;
}

uint64_t sim_servers_next_us(void)
{
    uint64_t next_us = MACHINE_NEVER_US;
    for (size_t i = 0; i < N_SERVERS; i++) {
        if (servers[i].mode != SERVER_WELL) {
            earlier(&next_us, servers[i].until_us);
        }
    }
    for (size_t i = 0; i < LINKS_MAX; i++) {
        const struct link *link = &links[i];
        const struct answer *answer;
        if (link->watch.fd < 0) {
            continue;
        }
        if (link->is_connecting) {
            earlier(&next_us, link->connected_us);
            continue;
        }
        if (link->n_out > 0) {
            earlier(&next_us, link->piece_us);
        }
        /* What is behind the end of the connection is not written. */
        TAILQ_FOREACH (answer, &link->answers, link) {
            if (link->closes) {
                break;
            }
            earlier(&next_us, answer->due_us);
        }
    }
    return next_us;
}

/* --- what happens to them --- */

static void server_enter(struct server *server, enum server_mode mode)
{
    server->mode = mode;
    server->until_us = machine_now_us() + chance_below(chance_one_in(3) ? AWAY_US : AWAY_US / 20);
    for (size_t i = 0; i < LINKS_MAX; i++) {
        struct link *link = &links[i];
        if (link->server != server || !link_is_open(link)) {
            continue;
        }
        if (mode == SERVER_REFUSING) {
            link_close(link);
        } else {
            machine_watch_change(&link->watch, mode != SERVER_DEAF);
        }
    }
}

/* What brokers ask of a client. */
static void broker_request(struct link *link)
{
    static const struct {
        int code;
        int flag;
        const char *ext;
    } requests[] = {
        { REQUEST_NOTIFY_CONSUMER_IDS_CHANGED, REMOTING_FLAG_ONEWAY,
            "\"consumerGroup\":\"Group\"" },
        { REQUEST_CHECK_TRANSACTION_STATE, REMOTING_FLAG_ONEWAY,
            "\"tranStateTableOffset\":\"1\",\"commitLogOffset\":\"2\",\"topic\":\"Orders\"" },
        { REQUEST_GET_CONSUMER_RUNNING_INFO, 0, "\"consumerGroup\":\"Group\"" },
        { REQUEST_NOTIFY_CONSUMER_IDS_CHANGED, 0, "" },
        { 12345, 0, "" },
    };
    uint8_t frame[TEXT_SIZE];
    uint32_t i = chance_below(sizeof(requests) / sizeof(requests[0]));
    size_t n = stage_request(frame, sizeof(frame), requests[i].code, (int)chance_below(INT32_MAX),
        requests[i].flag, requests[i].ext, SPAN_ABSENT);
    link_out_append(link, frame, n);
}

static void link_step(struct link *link)
{
    uint8_t garbage[64];
    switch (chance_below(8)) {
    case 0:
        link_close(link);
        return;
    case 1:
        for (size_t i = 0; i < sizeof(garbage); i++) {
            garbage[i] = (uint8_t)chance_below(256);
        }
        link_out_append(link, garbage, sizeof(garbage));
        return;
    case 2:
        link->closes = true;
        return;
    case 3:
        link->trickles = !link->trickles;
        return;
    default:
        broker_request(link);
        return;
    }
}

void sim_servers_step(void)
{
    if (chance_one_in(8)) {
        struct server *server = &servers[chance_below(N_SERVERS)];
        server_enter(server, (enum server_mode)chance_below(SERVER_MODES));
        return;
    }
    struct link *link = &links[chance_below(LINKS_MAX)];
    if (link_is_open(link)) {
        link_step(link);
    }
}

void sim_servers_begin(void)
{
    is_calm = false;
    for (size_t i = 0; i < LINKS_MAX; i++) {
        links[i] = (struct link){ .watch = { .fd = -1 } };
        TAILQ_INIT(&links[i].answers);
    }
    for (size_t i = 0; i < N_SERVERS; i++) {
        servers[i].mode = SERVER_WELL;
    }
}

void sim_servers_calm(void)
{
    is_calm = true;
    for (size_t i = 0; i < N_SERVERS; i++) {
        servers[i].until_us = 0;
    }
    for (size_t i = 0; i < LINKS_MAX; i++) {
        links[i].trickles = false;
        links[i].piece_us = 0;
    }
}

void sim_servers_end(void)
{
    for (size_t i = 0; i < LINKS_MAX; i++) {
        if (links[i].watch.fd >= 0) {
            link_close(&links[i]);
        }
    }
}

/* --- the network, for the daemon --- */

static struct server *server_find(const struct sockaddr_in *address)
{
    for (size_t i = 0; i < N_SERVERS; i++) {
        if (address->sin_addr.s_addr == inet_addr(servers[i].host) &&
            ntohs(address->sin_port) == servers[i].port) {
            return &servers[i];
        }
    }
    return NULL;
}

static void link_open(struct link *link, struct server *server, int daemon_fd)
{
    *link = (struct link){
        .server = server,
        .daemon_fd = daemon_fd,
        .is_connecting = true,
        .connected_us = machine_now_us() + (is_calm ? 0 : chance_below(CONNECT_US)),
        .connect_error = server->mode == SERVER_REFUSING ? ECONNREFUSED : 0,
    };
    TAILQ_INIT(&link->answers);
    if (server->mode == SERVER_UNREACHABLE) {
        link->connected_us = MACHINE_NEVER_US;
    } else if (!is_calm && chance_one_in(20)) {
        link->connected_us += chance_below(CONNECT_LONG_US);
    }
    link->trickles = !is_calm && chance_one_in(8);
    machine_watch_add(&link->watch, machine_connect_pair(daemon_fd), false, on_link_ready);
}

/* In the place of the C library's. */
int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int type = 0;
    socklen_t type_size = sizeof(type);
    if (address->sa_family == AF_UNIX) {
        return (int)syscall(SYS_connect, fd, address, size);
    }
    struct server *server = address->sa_family == AF_INET
                                ? server_find((const struct sockaddr_in *)(const void *)address)
                                : NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0 || type != SOCK_STREAM ||
        !server) {
        errno = ENETUNREACH;
        return -1;
    }
    if (server->mode == SERVER_REFUSING && chance_one_in(2)) {
        errno = ECONNREFUSED;
        return -1;
    }
    for (size_t i = 0; i < LINKS_MAX; i++) {
        if (links[i].watch.fd < 0) {
            link_open(&links[i], server, fd);
            errno = EINPROGRESS;
            return -1;
        }
    }
    promise(false, "%d connections at the same time", LINKS_MAX);
    return -1;
}
