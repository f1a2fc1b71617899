#include "tests/fuzz/stage_broker.h"

#include "protocol/code.h"
#include "protocol/remoting_command.h"
#include "tests/fuzz/stage_frames.h"
#include "tests/fuzz/target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_SIZE (1024 * 1024)
#define ANSWER_SIZE  4096

static int listen_on_loopback(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr = { htonl(INADDR_LOOPBACK) },
    };
    socklen_t size = sizeof(address);
    promise(fd >= 0 && bind(fd, (const struct sockaddr *)&address, size) == 0 &&
                listen(fd, STAGE_CONNECTIONS_MAX) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &size) == 0,
        "%s", strerror(errno));
    *ret_port = ntohs(address.sin_port);
    return fd;
}

void stage_broker_open(struct stage_broker *broker)
{
    *broker = (struct stage_broker){ 0 };
    broker->nameserver_fd = listen_on_loopback(&broker->nameserver_port);
    broker->broker_fd = listen_on_loopback(&broker->broker_port);
    for (size_t i = 0; i < STAGE_CONNECTIONS_MAX; i++) {
        broker->connections[i].fd = -1;
    }
}

void stage_broker_begin(
    struct stage_broker *broker, struct span script, bool is_nameserver_scripted)
{
    broker->script = script;
    broker->is_nameserver_scripted = is_nameserver_scripted;
}

static void connection_close(struct stage_connection *connection)
{
    if (connection->fd >= 0) {
        (void)close(connection->fd);
        connection->fd = -1;
        free(connection->received);
        connection->received = NULL;
    }
}

void stage_broker_end(struct stage_broker *broker)
{
    for (size_t i = 0; i < STAGE_CONNECTIONS_MAX; i++) {
        connection_close(&broker->connections[i]);
    }
}

static void connection_accept(struct stage_broker *broker, int listener_fd)
{
    int fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    /* Thousands of plays a minute: no port may stay behind in TIME_WAIT. */
    const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    for (size_t i = 0; i < STAGE_CONNECTIONS_MAX; i++) {
        struct stage_connection *connection = &broker->connections[i];
        if (connection->fd < 0) {
            *connection = (struct stage_connection){
                .fd = fd,
                .is_nameserver = listener_fd == broker->nameserver_fd,
                .received = malloc(RECEIVE_SIZE),
            };
            promise(connection->received, "no memory");
            return;
        }
    }
    (void)close(fd);
}

static void connection_write(struct stage_connection *connection, const void *data, size_t n)
{
    if (connection->fd >= 0 && send(connection->fd, data, n, MSG_NOSIGNAL) != (ssize_t)n) {
        connection_close(connection);
    }
}

/* --- the broker that is well --- */

static void route_answer(
    const struct stage_broker *broker, struct span topic, char *text, struct good_answer *answer)
{
    if (span_equals_text(topic, "Absent")) {
        answer->code = RESPONSE_TOPIC_NOT_EXIST;
        return;
    }
    (void)snprintf(text, ANSWER_SIZE,
        "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"127.0.0.1:%u\"},\"brokerName\":\"" STAGE_BROKER
        "\",\"cluster\":\"c\"}],\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":"
        "\"" STAGE_BROKER "\",\"perm\":6,\"readQueueNums\":4,\"topicSysFlag\":0,"
        "\"writeQueueNums\":4}]}",
        broker->broker_port);
    answer->body = span_of(text);
}

static void cluster_answer(
    const struct stage_broker *broker, char *text, struct good_answer *answer)
{
    (void)snprintf(text, ANSWER_SIZE,
        "{\"brokerAddrTable\":{\"" STAGE_BROKER "\":{\"brokerAddrs\":{0:\"127.0.0.1:%u\"},"
        "\"brokerName\":\"" STAGE_BROKER "\",\"cluster\":\"c\"}},\"clusterAddrTable\":"
        "{\"c\":[\"" STAGE_BROKER "\"]}}",
        broker->broker_port);
    answer->body = span_of(text);
}

static void answer_make(const struct stage_broker *broker, const struct remoting_command *request,
    char *text, struct good_answer *answer)
{
    good_answer_make(request, answer);
    if (request->code == REQUEST_GET_ROUTEINFO_BY_TOPIC) {
        route_answer(broker, ext_fields_text(&request->ext_fields, "topic"), text, answer);
    } else if (request->code == REQUEST_GET_BROKER_CLUSTER_INFO) {
        cluster_answer(broker, text, answer);
    }
}

static void answer_well(const struct stage_broker *broker, struct stage_connection *connection,
    const struct remoting_command *request)
{
    char text[ANSWER_SIZE];
    struct good_answer answer;
    answer_make(broker, request, text, &answer);
    size_t size_max = ANSWER_SIZE + answer.body.n;
    uint8_t *frame = malloc(size_max);
    promise(frame, "no memory");
    size_t size = stage_request(frame, size_max, answer.code, request->opaque,
        REMOTING_FLAG_RESPONSE, answer.ext, answer.body);
    connection_write(connection, frame, size);
    free(frame);
}

/* --- the script --- */

/* A response gets the opaque of the request; what cannot be read is written as it is. */
static bool script_write(struct stage_connection *connection, const uint8_t *data, size_t size,
    const struct remoting_command *request)
{
    uint8_t *copy = malloc(size);
    promise(copy, "no memory");
    memcpy(copy, data, size);
    struct ext_field storage[EXT_FIELDS_MAX];
    struct remoting_command command;
    enum serialize_type serialize_type;
    struct header_problem problem;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    bool is_good =
        remoting_command_decode(&command, copy, size, &serialize_type, &problem) == HEADER_OK;
    bool is_response = !is_good || remoting_command_is_response(&command);
    command.opaque = is_response ? request->opaque : command.opaque;
    size_t head_size = is_good ? remoting_command_encoded_head_size(&command, serialize_type) : 0;
    if (head_size > 0) {
        uint8_t *frame = malloc(head_size + command.body.n);
        promise(frame, "no memory");
        remoting_command_encode_head(&command, serialize_type, frame);
        if (command.body.n > 0) {
            memcpy(frame + head_size, command.body.data, command.body.n);
        }
        connection_write(connection, frame, head_size + command.body.n);
        free(frame);
    } else {
        connection_write(connection, data, size);
    }
    free(copy);
    return is_response;
}

/* Up to the next response of the script. */
static void answer_by_script(struct stage_broker *broker, struct stage_connection *connection,
    const struct remoting_command *request)
{
    struct span *script = &broker->script;
    for (;;) {
        size_t size;
        const uint8_t *data = (const uint8_t *)script->data;
        if (script->n == 0 ||
            frame_measure(data, script->n, FRAME_SIZE_MAX, &size) != FRAME_COMPLETE) {
            connection_write(connection, data, script->n);
            connection_close(connection);
            script->n = 0;
            return;
        }
        script->data += size;
        script->n -= size;
        if (script_write(connection, data, size, request)) {
            return;
        }
    }
}

/* --- connections --- */

static void on_request(
    struct stage_broker *broker, struct stage_connection *connection, uint8_t *frame, size_t size)
{
    struct ext_field storage[EXT_FIELDS_MAX];
    struct remoting_command request;
    enum serialize_type serialize_type;
    struct header_problem problem = { "" };
    remoting_command_init(&request, storage, EXT_FIELDS_MAX);
    promise(remoting_command_decode(&request, frame, size, &serialize_type, &problem) == HEADER_OK,
        "the daemon sent a broker: %s", problem.text);
    promise(serialize_type == SERIALIZE_JSON, "the daemon sent a broker the binary form");
    for (size_t i = 0; i < request.ext_fields.n; i++) {
        promise(!span_starts_with(request.ext_fields.fields[i].key, SPAN("sidecar.")),
            "the daemon sent a broker a field of its own");
    }
    if (remoting_command_is_response(&request) || remoting_command_is_oneway(&request)) {
        return;
    }
    bool is_scripted = !connection->is_nameserver || broker->is_nameserver_scripted;
    if (is_scripted && !span_is_absent(broker->script)) {
        answer_by_script(broker, connection, &request);
    } else {
        answer_well(broker, connection, &request);
    }
}

static void connection_read(struct stage_broker *broker, struct stage_connection *connection)
{
    promise(connection->n_received < RECEIVE_SIZE, "more than a frame may have");
    ssize_t n = recv(connection->fd, connection->received + connection->n_received,
        RECEIVE_SIZE - connection->n_received, 0);
    if (n <= 0) {
        connection_close(connection);
        return;
    }
    connection->n_received += (size_t)n;
    size_t at = 0;
    size_t size;
    while (connection->fd >= 0) {
        enum frame_status status = frame_measure(
            connection->received + at, connection->n_received - at, FRAME_SIZE_MAX, &size);
        promise(status == FRAME_COMPLETE || status == FRAME_PARTIAL, "no frame for a broker");
        if (status == FRAME_PARTIAL) {
            connection->n_received -= at;
            memmove(connection->received, connection->received + at, connection->n_received);
            return;
        }
        on_request(broker, connection, connection->received + at, size);
        at += size;
    }
}

size_t stage_broker_poll(const struct stage_broker *broker, struct pollfd *ret_fds)
{
    size_t n = 0;
    ret_fds[n++] = (struct pollfd){ .fd = broker->nameserver_fd, .events = POLLIN };
    ret_fds[n++] = (struct pollfd){ .fd = broker->broker_fd, .events = POLLIN };
    for (size_t i = 0; i < STAGE_CONNECTIONS_MAX; i++) {
        ret_fds[n++] = (struct pollfd){ .fd = broker->connections[i].fd, .events = POLLIN };
    }
    return n;
}

void stage_broker_turn(struct stage_broker *broker, const struct pollfd *fds, size_t n)
{
    for (size_t i = 2; i < n; i++) {
        if (fds[i].fd >= 0 && fds[i].revents) {
            connection_read(broker, &broker->connections[i - 2]);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        if (fds[i].revents) {
            connection_accept(broker, fds[i].fd);
        }
    }
}
