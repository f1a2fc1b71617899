#include "tests/simulation/sim_caller.h"

#include "daemon/session/listener.h"
#include "protocol/code.h"
#include "protocol/remoting_command.h"
#include "tests/fuzz/target.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/sim_server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CALLERS_MAX         13
#define AUDITOR             (CALLERS_MAX - 1) /* the last one does nothing of its own */
#define WAITING_MAX         256               /* requests of one caller */
#define FIELDS_MAX          12
#define READ_SIZE           65536
#define TOKEN_SIZE          24
#define BODY_MAX            70000
#define BODY_USUAL          300
#define BURST_MAX           60
#define EACH_KIND           6 /* of each, where everything is asked for: the draws differ */
#define SLOW_US             45000000
#define SLACK_US            50000 /* FAULTS: at most 50 ms after its deadline */
#define HEADER_TIMEOUT_US   10000000
#define WRITE_TIMEOUT_US    30000000
#define ACCEPT_PAUSE_US     (LISTENER_PAUSE_MS * (uint64_t)MACHINE_MS) /* without descriptors */
#define SIDECAR_CODE_ESCAPE 32767 /* the binary form has 16 bits for the code */

enum kind {
    KIND_SEND,
    KIND_SEND_V2,
    KIND_BY_ADDRESS,
    KIND_BY_BROKER,
    KIND_OWN, /* the daemon's own commands */
    KIND_NAMESERVER,
    KIND_RECEIVE,
    KIND_PULL,
    KIND_HEARTBEAT,
    KIND_WRONG,
};
#define KINDS 10

struct request {
    enum kind kind;
    int32_t opaque;
    enum serialize_type serialize_type;
    bool is_oneway;
    bool echoes;     /* the answer is a server's, and carries the token */
    bool may_repeat; /* executed twice is no mistake */
    bool was_told_unsent;
    unsigned n_executed;
    uint64_t timeout_us;
    uint64_t due_us;  /* MACHINE_NEVER_US until it is written whole */
    uint64_t out_end; /* the byte of its connection behind it */
};

struct caller {
    struct machine_watch watch;
    uint64_t number; /* of connections, to know whether it was accepted */
    bool is_accepted;
    uint64_t connected_us;
    uint8_t *out;
    size_t n_out;
    uint64_t n_written; /* bytes of the connection */
    uint8_t *received;
    size_t n_received, received_size;
    uint32_t waiting[WAITING_MAX]; /* tokens, in the order in which they were written */
    size_t n_waiting;
    int32_t next_opaque;
    bool is_slow; /* it does not read */
    uint64_t slow_since_us, slow_until_us;
    bool is_partial; /* a part of a frame was written, since then: */
    uint64_t partial_since_us;
    bool is_half_closed;
    bool may_be_closed;
};

static struct caller callers[CALLERS_MAX];
static struct request *requests;
static uint32_t n_requests, requests_size;
static struct sockaddr_un daemon_address;
static bool is_calm;
static uint64_t looked_us;
static uint64_t n_answers;
static uint64_t n_connected;
static char *auditor_body;

/* --- requests --- */

uint32_t sim_token_read(const struct ext_fields *fields)
{
    struct span text = ext_fields_text(fields, "token");
    int64_t token;
    return ext_value_parse_i64(text, 0, UINT32_MAX, &token) ? (uint32_t)token : SIM_TOKEN_NONE;
}

void sim_request_executed(uint32_t token)
{
    if (token >= n_requests) {
        return;
    }
    struct request *request = &requests[token];
    promise(!request->was_told_unsent, "request %" PRIu32 " was executed after sent=no", token);
    request->n_executed++;
    promise(request->may_repeat || request->n_executed == 1,
        "request %" PRIu32 " was executed twice", token);
}

static struct request *request_new(uint32_t *ret_token)
{
    if (n_requests == requests_size) {
        requests_size = requests_size > 0 ? 2 * requests_size : 1024;
        requests = realloc(requests, requests_size * sizeof(*requests));
        promise(requests, "no memory");
    }
    *ret_token = n_requests;
    requests[n_requests] = (struct request){ .due_us = MACHINE_NEVER_US };
    return &requests[n_requests++];
}

/* --- what is asked --- */

struct draft {
    struct remoting_command command;
    struct ext_field fields[FIELDS_MAX];
    char token_text[TOKEN_SIZE], timeout_text[TOKEN_SIZE], code_text[TOKEN_SIZE];
};

static void field_add(struct draft *draft, struct span key, const char *value)
{
    promise(ext_fields_add(&draft->command.ext_fields, key, span_of(value)), "too many fields");
}

static struct span body_draw(void)
{
    static char text[BODY_MAX];
    if (!text[0]) {
        for (size_t i = 0; i < sizeof(text); i++) {
            text[i] = (char)('a' + i % 23);
        }
    }
    return (struct span){ text, 1 + chance_below(chance_one_in(30) ? BODY_MAX : BODY_USUAL) };
}

static const char *topic_draw(void)
{
    static const char *const topics[] = { "Orders", "Orders", "Payments", "Absent" };
    return topics[chance_below(4)];
}

static const char *broker_draw(void)
{
    static const char *const brokers[] = { "broker-a", "broker-b", "broker-a", "broker-none" };
    return brokers[chance_below(4)];
}

static const char *address_draw(void)
{
    static const char *const addresses[] = { SIM_BROKER_A, SIM_BROKER_B, "10.0.0.1:9876",
        "10.9.9.9:10911" };
    return addresses[chance_below(4)];
}

static void send_draft(struct draft *draft, struct request *request, bool is_v2)
{
    static const char *const retries[] = { "safe", "no", "at-least-once" };
    draft->command.code = is_v2 ? REQUEST_SEND_MESSAGE_V2 : REQUEST_SEND_MESSAGE;
    field_add(draft, is_v2 ? SPAN("b") : SPAN("topic"), topic_draw());
    draft->command.body = body_draw();
    uint32_t retry = chance_below(4);
    if (retry < 3) {
        field_add(draft, SPAN("sidecar.retry"), retries[retry]);
    }
    if (chance_one_in(8)) {
        field_add(draft, SPAN("property.__SHARDINGKEY"), "key");
    }
    request->echoes = true;
    request->may_repeat = retry == 2;
}

static void own_draft(struct draft *draft)
{
    static const int codes[] = { SIDECAR_HELLO, SIDECAR_GET_STATS, SIDECAR_GET_POOL_STATS,
        SIDECAR_GET_NAMESRV_LIST, SIDECAR_GET_SESSIONS, SIDECAR_IS_ADDRESS_REACHABLE,
        SIDECAR_SUBSCRIBE_NET_EVENTS, SIDECAR_REGISTER_PROCESSOR, SIDECAR_UNREGISTER_PROCESSOR,
        SIDECAR_CLOSE_CLIENTS, SIDECAR_CODE_LAST };
    draft->command.code = codes[chance_below(sizeof(codes) / sizeof(codes[0]))];
    switch (draft->command.code) {
    case SIDECAR_IS_ADDRESS_REACHABLE:
        field_add(draft, SPAN("addr"), address_draw());
        return;
    case SIDECAR_REGISTER_PROCESSOR:
    case SIDECAR_UNREGISTER_PROCESSOR:
        field_add(draft, SPAN("codes"), "39,40,307");
        field_add(draft, SPAN("groups"), "Group");
        return;
    case SIDECAR_CLOSE_CLIENTS:
        draft->command.body = SPAN("[\"" SIM_BROKER_A "\"]");
        return;
    default:
        return;
    }
}

static void kind_draft(struct draft *draft, struct request *request)
{
    struct remoting_command *command = &draft->command;
    switch (request->kind) {
    case KIND_SEND:
    case KIND_SEND_V2:
        send_draft(draft, request, request->kind == KIND_SEND_V2);
        return;
    case KIND_BY_ADDRESS:
        command->code = REQUEST_GET_BROKER_RUNTIME_INFO;
        command->body = chance_one_in(2) ? body_draw() : SPAN_ABSENT;
        field_add(draft, SPAN("sidecar.addr"), address_draw());
        request->echoes = true;
        return;
    case KIND_BY_BROKER:
        command->code = REQUEST_GET_MAX_OFFSET;
        field_add(draft, SPAN("sidecar.broker"), broker_draw());
        request->echoes = true;
        return;
    case KIND_OWN:
        own_draft(draft);
        request->may_repeat = true;
        return;
    case KIND_NAMESERVER:
        command->code =
            chance_one_in(2) ? REQUEST_GET_ROUTEINFO_BY_TOPIC : REQUEST_GET_BROKER_CLUSTER_INFO;
        field_add(draft, SPAN("topic"), topic_draw());
        request->may_repeat = true;
        return;
    case KIND_RECEIVE:
        command->code = REQUEST_POP_MESSAGE;
        field_add(draft, SPAN("topic"), topic_draw());
        field_add(draft, SPAN("consumerGroup"), "Group");
        field_add(draft, SPAN("pollTime"), chance_one_in(2) ? "200" : "3000");
        request->may_repeat = true;
        return;
    case KIND_PULL:
        command->code = REQUEST_PULL_MESSAGE;
        field_add(draft, SPAN("sidecar.broker"), broker_draw());
        field_add(draft, SPAN("topic"), "Orders");
        field_add(draft, SPAN("consumerGroup"), "Group");
        field_add(draft, SPAN("queueId"), "0");
        field_add(draft, SPAN("queueOffset"), "0");
        request->may_repeat = true;
        return;
    case KIND_HEARTBEAT:
        command->code = REQUEST_HEART_BEAT;
        command->body =
            SPAN("{\"clientID\":\"sim\",\"producerDataSet\":[{\"groupName\":\"Group\"}],"
                 "\"consumerDataSet\":[]}");
        request->may_repeat = true;
        return;
    case KIND_WRONG:
        command->code = chance_one_in(2) ? 54321 : REQUEST_SEND_MESSAGE;
        field_add(draft, SPAN("sidecar.nothing"), "1");
        return;
    }
}

/* A binary header has 16 bits of code. */
static void code_escape(struct draft *draft)
{
    if (draft->command.code <= SIDECAR_CODE_ESCAPE) {
        return;
    }
    (void)snprintf(draft->code_text, TOKEN_SIZE, "%d", (int)draft->command.code);
    field_add(draft, SPAN("sidecar.code"), draft->code_text);
    draft->command.code = SIDECAR_HELLO;
}

static void out_append(struct caller *caller, const void *data, size_t n)
{
    caller->out = realloc(caller->out, caller->n_out + n + 1);
    promise(caller->out, "no memory");
    memcpy(caller->out + caller->n_out, data, n);
    caller->n_out += n;
}

static void command_append(struct caller *caller, const struct remoting_command *command,
    enum serialize_type serialize_type)
{
    size_t head_size = remoting_command_encoded_head_size(command, serialize_type);
    promise(head_size > 0, "a header that does not fit");
    uint8_t *head = malloc(head_size);
    promise(head, "no memory");
    remoting_command_encode_head(command, serialize_type, head);
    out_append(caller, head, head_size);
    if (command->body.n > 0) {
        out_append(caller, command->body.data, command->body.n);
    }
    free(head);
}

static void draft_append(
    struct caller *caller, struct draft *draft, struct request *request, uint32_t token)
{
    (void)snprintf(draft->token_text, TOKEN_SIZE, "%" PRIu32, token);
    (void)snprintf(draft->timeout_text, TOKEN_SIZE, "%" PRIu64, request->timeout_us / MACHINE_MS);
    field_add(draft, SPAN("token"), draft->token_text);
    field_add(draft, SPAN("sidecar.timeoutMillis"), draft->timeout_text);
    if (request->serialize_type == SERIALIZE_ROCKETMQ) {
        code_escape(draft);
    }
    draft->command.opaque = request->opaque;
    draft->command.flag = request->is_oneway ? REMOTING_FLAG_ONEWAY : 0;
    command_append(caller, &draft->command, request->serialize_type);
    request->out_end = caller->n_written + caller->n_out;
    if (!request->is_oneway) {
        caller->waiting[caller->n_waiting++] = token;
    }
}

static void draft_init(struct draft *draft)
{
    *draft = (struct draft){ .command = { .language = LANGUAGE_OTHER, .version = 1 } };
    ext_fields_init(&draft->command.ext_fields, draft->fields, FIELDS_MAX);
    draft->command.has_ext_fields = true;
}

static enum kind kind_draw(void)
{
    return chance_one_in(3) ? KIND_SEND : (enum kind)chance_below(KINDS);
}

static void request_append(struct caller *caller, enum kind kind)
{
    static const unsigned timeouts_ms[] = { 1, 20, 100, 500, 3000, 3000 };
    struct draft draft;
    uint32_t token;
    if (caller->n_waiting == WAITING_MAX) {
        return;
    }
    draft_init(&draft);
    struct request *request = request_new(&token);
    request->kind = kind;
    request->opaque = caller->next_opaque;
    caller->next_opaque = (int32_t)((uint32_t)caller->next_opaque + 1);
    request->serialize_type = chance_one_in(3) ? SERIALIZE_ROCKETMQ : SERIALIZE_JSON;
    request->is_oneway = request->kind != KIND_OWN && chance_one_in(12);
    request->timeout_us = timeouts_ms[chance_below(6)] * (uint64_t)MACHINE_MS;
    kind_draft(&draft, request);
    draft_append(caller, &draft, request, token);
}

/* --- connections --- */

static void caller_reset(struct caller *caller)
{
    machine_watch_close(&caller->watch);
    free(caller->out);
    free(caller->received);
    *caller = (struct caller){ .watch = { .fd = -1 } };
}

static bool gave_reason_to_be_closed(const struct caller *caller)
{
    uint64_t now_us = machine_now_us();
    return caller->may_be_closed || (caller->is_half_closed && caller->n_waiting == 0) ||
           (caller->is_partial && now_us - caller->partial_since_us >= HEADER_TIMEOUT_US) ||
           (caller->slow_since_us > 0 && now_us - caller->slow_since_us >= WRITE_TIMEOUT_US);
}

static void caller_ended(struct caller *caller)
{
    promise(gave_reason_to_be_closed(caller), "caller %d was closed, with %zu requests in flight",
        (int)(caller - callers), caller->n_waiting);
    caller_reset(caller);
}

/* The token that waits under this opaque, taken out. False: none. */
static bool waiting_take(struct caller *caller, int32_t opaque, uint32_t *ret_token)
{
    for (size_t i = 0; i < caller->n_waiting; i++) {
        if (requests[caller->waiting[i]].opaque == opaque) {
            *ret_token = caller->waiting[i];
            caller->n_waiting--;
            memmove(&caller->waiting[i], &caller->waiting[i + 1],
                (caller->n_waiting - i) * sizeof(caller->waiting[0]));
            return true;
        }
    }
    return false;
}

static void failure_check(
    struct request *request, uint32_t token, const struct remoting_command *answer)
{
    struct span sent = ext_fields_text(&answer->ext_fields, "sidecar.sent");
    bool was_unsent = span_equals_text(sent, "no");
    promise(was_unsent || span_equals_text(sent, "maybe"), "request %" PRIu32 ": sent=%.*s", token,
        SPAN_ARGS(sent));
    promise(answer->remark.n > 0, "request %" PRIu32 ": no remark", token);
    /* What only reads at a nameserver is always safe to repeat. */
    was_unsent = was_unsent && request->kind != KIND_NAMESERVER;
    promise(!was_unsent || request->n_executed == 0,
        "request %" PRIu32 " of kind %d was executed, and answered: %.*s", token,
        (int)request->kind, SPAN_ARGS(answer->remark));
    request->was_told_unsent = was_unsent;
}

static void answer_check(struct caller *caller, const struct remoting_command *answer,
    enum serialize_type serialize_type)
{
    uint32_t token;
    if (!waiting_take(caller, answer->opaque, &token)) {
        promise(caller->may_be_closed, "caller %d got an answer to %d, which does not wait",
            (int)(caller - callers), (int)answer->opaque);
        return;
    }
    struct request *request = &requests[token];
    n_answers++;
    promise(request->due_us != MACHINE_NEVER_US || caller->may_be_closed,
        "request %" PRIu32 " was answered before it was written", token);
    promise(serialize_type == request->serialize_type, "request %" PRIu32 ": the other header form",
        token);
    if (!span_is_absent(ext_fields_text(&answer->ext_fields, "sidecar.error"))) {
        failure_check(request, token, answer);
    } else if (request->echoes) {
        promise(sim_token_read(&answer->ext_fields) == token,
            "request %" PRIu32 " got the answer of %" PRIu32, token,
            sim_token_read(&answer->ext_fields));
    }
    if (caller == &callers[AUDITOR]) {
        promise(answer->code == RESPONSE_SUCCESS, "the auditor was told: %.*s",
            SPAN_ARGS(answer->remark));
        free(auditor_body);
        auditor_body = strndup(answer->body.data ? answer->body.data : "", answer->body.n);
    }
}

/* The daemon asks: what a broker wants of a client, or oneway an event. */
static void request_of_daemon(struct caller *caller, const struct remoting_command *request,
    enum serialize_type serialize_type)
{
    if (remoting_command_is_oneway(request) || caller->is_half_closed || chance_one_in(3)) {
        return;
    }
    struct remoting_command answer = {
        .code = RESPONSE_SUCCESS,
        .flag = REMOTING_FLAG_RESPONSE,
        .opaque = request->opaque,
        .language = LANGUAGE_OTHER,
        .body = SPAN("{}"),
    };
    command_append(caller, &answer, serialize_type);
}

static void frames_take(struct caller *caller)
{
    static struct ext_field storage[EXT_FIELDS_MAX];
    size_t at = 0;
    size_t size;
    for (;;) {
        enum frame_status status =
            frame_measure(caller->received + at, caller->n_received - at, FRAME_SIZE_MAX, &size);
        promise(status == FRAME_COMPLETE || status == FRAME_PARTIAL, "no frame for a caller");
        if (status == FRAME_PARTIAL) {
            break;
        }
        struct remoting_command command;
        enum serialize_type serialize_type;
        struct header_problem problem = { "" };
        remoting_command_init(&command, storage, EXT_FIELDS_MAX);
        promise(remoting_command_decode(
                    &command, caller->received + at, size, &serialize_type, &problem) == HEADER_OK,
            "the daemon sent a caller: %s", problem.text);
        if (remoting_command_is_response(&command)) {
            answer_check(caller, &command, serialize_type);
        } else {
            request_of_daemon(caller, &command, serialize_type);
        }
        at += size;
    }
    caller->n_received -= at;
    memmove(caller->received, caller->received + at, caller->n_received);
}

/* Until there is nothing more. */
static void caller_read(struct caller *caller)
{
    for (;;) {
        if (caller->received_size - caller->n_received < READ_SIZE) {
            caller->received_size = caller->n_received + 2 * READ_SIZE;
            caller->received = realloc(caller->received, caller->received_size);
            promise(caller->received, "no memory");
        }
        ssize_t n = read(caller->watch.fd, caller->received + caller->n_received,
            caller->received_size - caller->n_received);
        if (n > 0) {
            caller->n_received += (size_t)n;
            frames_take(caller);
            continue;
        }
        if (n == 0 || errno != EAGAIN) {
            caller_ended(caller);
        }
        return;
    }
}

static void on_caller_ready(struct machine_watch *watch, uint32_t events)
{
    struct caller *caller =
        (struct caller *)(void *)((char *)watch - offsetof(struct caller, watch));
    if (!caller->is_slow || (events & (EPOLLHUP | EPOLLERR))) {
        caller_read(caller);
    }
}

static void caller_connect(struct caller *caller)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    promise(fd >= 0, "%s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&daemon_address, sizeof(daemon_address)) < 0) {
        (void)close(fd);
        return;
    }
    machine_watch_add(&caller->watch, fd, true, on_caller_ready);
    caller->number = ++n_connected;
    caller->connected_us = machine_now_us();
    caller->next_opaque = chance_one_in(2) ? INT32_MAX - 5 : (int32_t)chance_below(1000);
}

/* From here on the daemon can have read the requests that end before this byte. */
static void written_note(struct caller *caller)
{
    caller->is_partial = caller->n_out > 0;
    for (size_t i = caller->n_waiting; i > 0; i--) {
        struct request *request = &requests[caller->waiting[i - 1]];
        if (request->out_end > caller->n_written) {
            continue;
        }
        if (request->due_us != MACHINE_NEVER_US) {
            return;
        }
        request->due_us = machine_now_us() + request->timeout_us + SLACK_US;
    }
}

static void caller_write(struct caller *caller, size_t n)
{
    n = n < caller->n_out ? n : caller->n_out;
    ssize_t written = send(caller->watch.fd, caller->out, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0 && errno != EAGAIN) {
        caller_read(caller); /* up to the end, which it must have reason for */
        return;
    }
    if (written > 0) {
        if (!caller->is_partial) {
            caller->partial_since_us = machine_now_us();
        }
        caller->n_out -= (size_t)written;
        caller->n_written += (size_t)written;
        memmove(caller->out, caller->out + written, caller->n_out);
        /* It counts from the first byte of one frame; another's may have come since: later. */
        written_note(caller);
    }
}

/* --- what they do --- */

static void misbehave(struct caller *caller)
{
    uint8_t garbage[64];
    caller->may_be_closed = true;
    for (size_t i = 0; i < sizeof(garbage); i++) {
        garbage[i] = (uint8_t)chance_below(256);
    }
    if (chance_one_in(2)) {
        memset(garbage, 0, 2); /* a length that is possible */
    }
    out_append(caller, garbage, sizeof(garbage));
}

static void slow_begin(struct caller *caller)
{
    caller->is_slow = true;
    caller->slow_since_us = machine_now_us();
    caller->slow_until_us = machine_now_us() + chance_below(SLOW_US);
    machine_watch_change(&caller->watch, false);
}

/* What it asked up to here was perhaps not even read. */
static void deadlines_begin(struct caller *caller)
{
    for (size_t i = 0; i < caller->n_waiting; i++) {
        struct request *request = &requests[caller->waiting[i]];
        if (request->due_us != MACHINE_NEVER_US) {
            request->due_us = machine_now_us() + request->timeout_us + SLACK_US;
        }
    }
}

static void slow_end(struct caller *caller)
{
    caller->is_slow = false;
    machine_watch_change(&caller->watch, true);
    deadlines_begin(caller);
    caller_read(caller);
    caller->slow_since_us = 0;
}

static void burst(struct caller *caller)
{
    for (uint32_t i = chance_below(BURST_MAX); i > 0; i--) {
        request_append(caller, kind_draw());
    }
    caller_write(caller, caller->n_out);
}

static void piece_write(struct caller *caller)
{
    if (caller->n_out > 0) {
        size_t n =
            chance_one_in(3) ? 1 + chance_below(16) : 1 + chance_below((uint32_t)caller->n_out);
        caller_write(caller, n);
    }
}

static void half_close(struct caller *caller)
{
    if (caller->n_out == 0) {
        (void)shutdown(caller->watch.fd, SHUT_WR);
        caller->is_half_closed = true;
    }
}

static void caller_step(struct caller *caller)
{
    uint32_t drawn = chance_below(100);
    if (caller->is_half_closed) {
        if (drawn == 0) {
            caller_reset(caller);
        }
        return;
    }
    if (drawn < 40) {
        request_append(caller, kind_draw());
        caller_write(caller, caller->n_out);
    } else if (drawn < 55) {
        request_append(caller, kind_draw());
        piece_write(caller);
    } else if (drawn < 70) {
        piece_write(caller);
    } else if (drawn < 90) {
        caller_write(caller, caller->n_out);
    } else if (drawn < 93) {
        caller_reset(caller);
    } else if (drawn < 95) {
        burst(caller);
    } else if (drawn < 96) {
        half_close(caller);
    } else if (drawn < 97 && !caller->is_slow) {
        slow_begin(caller);
    } else if (drawn < 98) {
        misbehave(caller);
    }
}

void sim_callers_step(void)
{
    struct caller *caller = &callers[chance_below(AUDITOR)];
    if (caller->watch.fd < 0) {
        caller_connect(caller);
    } else {
        caller_step(caller);
    }
}

/* --- time --- */

static void deadlines_look(struct caller *caller)
{
    uint64_t now_us = machine_now_us();
    if (!caller->is_accepted) {
        uint64_t failed_us = machine_accept_failed_us();
        uint64_t since_us = caller->connected_us > failed_us ? caller->connected_us : failed_us;
        promise(now_us <= since_us + ACCEPT_PAUSE_US + SLACK_US, "a caller is not accepted");
        return;
    }
    for (size_t i = 0; i < caller->n_waiting; i++) {
        const struct request *request = &requests[caller->waiting[i]];
        promise(request->due_us >= now_us,
            "request %" PRIu32 " of kind %d has no answer, %" PRIu64 " ms were given",
            caller->waiting[i], (int)request->kind, request->timeout_us / MACHINE_MS);
    }
}

static void caller_turn(struct caller *caller)
{
    if (!caller->is_accepted && caller->number <= machine_n_accepted()) {
        caller->is_accepted = true;
        deadlines_begin(caller);
    }
    if (caller->is_slow && (is_calm || caller->slow_until_us <= machine_now_us())) {
        slow_end(caller);
    }
    if (caller->watch.fd >= 0 && is_calm && caller->n_out > 0) {
        caller_write(caller, caller->n_out);
    }
    if (caller->watch.fd >= 0 && !caller->is_slow && !caller->may_be_closed &&
        looked_us != machine_now_us()) {
        deadlines_look(caller);
    }
}

void sim_callers_turn(void)
{
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        if (callers[i].watch.fd >= 0) {
            caller_turn(&callers[i]);
        }
    }
    looked_us = machine_now_us();
}

uint64_t sim_callers_next_us(void)
{
    uint64_t next_us = MACHINE_NEVER_US;
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        const struct caller *caller = &callers[i];
        if (caller->watch.fd >= 0 && caller->is_slow && caller->slow_until_us < next_us) {
            next_us = caller->slow_until_us;
        }
    }
    return next_us;
}

void sim_callers_excuse(uint64_t us)
{
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        callers[i].connected_us += us;
        for (size_t j = 0; j < callers[i].n_waiting; j++) {
            struct request *request = &requests[callers[i].waiting[j]];
            if (request->due_us != MACHINE_NEVER_US) {
                request->due_us += us;
            }
        }
    }
}

/* --- beginning and end --- */

void sim_callers_begin(const char *socket_path)
{
    daemon_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    (void)snprintf(daemon_address.sun_path, sizeof(daemon_address.sun_path), "%s", socket_path);
    is_calm = false;
    n_requests = 0;
    looked_us = 0;
    n_answers = n_connected = 0;
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        callers[i] = (struct caller){ .watch = { .fd = -1 } };
    }
}

void sim_callers_ask_everything(void)
{
    struct caller *caller = &callers[0];
    caller_connect(caller);
    promise(caller->watch.fd >= 0, "the daemon does not listen");
    for (uint32_t i = 0; i < KINDS * EACH_KIND; i++) {
        request_append(caller, (enum kind)(i % KINDS));
    }
    caller_write(caller, caller->n_out);
}

size_t sim_callers_n_waiting(void)
{
    size_t n = 0;
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        n += callers[i].watch.fd >= 0 ? callers[i].n_waiting : 0;
    }
    return n;
}

void sim_callers_calm(void)
{
    is_calm = true;
}

bool sim_callers_are_done(void)
{
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        /* Of what is no frame an answer need not come. */
        if (callers[i].watch.fd >= 0 && callers[i].n_waiting > 0 && !callers[i].may_be_closed) {
            return false;
        }
    }
    return true;
}

void sim_callers_may_be_closed(void)
{
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        callers[i].may_be_closed = true;
    }
}

void sim_callers_leave(void)
{
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        caller_reset(&callers[i]);
    }
}

void sim_callers_end(void)
{
    for (size_t i = 0; i < CALLERS_MAX; i++) {
        if (callers[i].watch.fd >= 0) {
            caller_read(&callers[i]);
        }
        promise(callers[i].watch.fd < 0, "caller %zu is connected, and the daemon is gone", i);
    }
    free(requests);
    requests = NULL;
    requests_size = n_requests = 0;
    free(auditor_body);
    auditor_body = NULL;
}

uint64_t sim_callers_n_answers(void)
{
    return n_answers;
}

void sim_auditor_ask(int code)
{
    struct caller *auditor = &callers[AUDITOR];
    struct draft draft;
    uint32_t token;
    if (auditor->watch.fd < 0) {
        caller_connect(auditor);
        promise(auditor->watch.fd >= 0, "the daemon does not listen");
    }
    free(auditor_body);
    auditor_body = NULL;
    draft_init(&draft);
    struct request *request = request_new(&token);
    request->opaque = auditor->next_opaque++;
    request->kind = KIND_OWN;
    request->may_repeat = true;
    request->timeout_us = 1000 * MACHINE_MS;
    draft.command.code = code;
    draft_append(auditor, &draft, request, token);
    caller_write(auditor, auditor->n_out);
}

const char *sim_auditor_answer(void)
{
    return auditor_body;
}
