#include "daemon/loop/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/loop/transport.h"
#include "tests/support/run_suite.h"
#include "tests/support/tls_peer.h"

#define HOUR     3600
#define PLENTY   (64u << 20)
#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

static char directory[64];
static struct certificate authority, stranger, server, expired, client;
static char empty[] = "";
static struct config_tls settings;
static char problem[512];

static struct tls *tls;
static struct tls_stream *stream;
static struct tls_peer peer;
static int fds[2]; /* the stream's and the peer's */

static void begin(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)snprintf(directory, sizeof(directory), "/tmp/test_tls.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    authority = certificate_new(directory, "authority", NULL, NULL, HOUR);
    stranger = certificate_new(directory, "stranger", NULL, NULL, HOUR);
    server =
        certificate_new(directory, "server", &authority, "DNS:broker.example,IP:10.0.0.7", HOUR);
    expired = certificate_new(directory, "expired", &authority, "DNS:broker.example", -HOUR);
    client = certificate_new(directory, "client", &authority, NULL, HOUR);
    settings = (struct config_tls){
        .enable = true,
        .verify = true,
        .ca_file = authority.file,
        .cert_file = empty,
        .key_file = empty,
        .server_name = empty,
    };
}

static void end(void)
{
    tls = tls_free(tls);
    certificate_deinit(&authority);
    certificate_deinit(&stranger);
    certificate_deinit(&server);
    certificate_deinit(&expired);
    certificate_deinit(&client);
    ck_assert_int_eq(rmdir(directory), 0);
}

static void load(void)
{
    tls = tls_new(&settings, problem, sizeof(problem));
    ck_assert_msg(tls, "%s", problem);
}

static void open_pair(SSL_CTX *context, const char *host)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream = tls_stream_new(tls, host, "broker:10911", fds[0]);
    ck_assert_ptr_nonnull(stream);
    tls_peer_init(&peer, context, fds[1]);
}

static void close_pair(void)
{
    stream = tls_stream_free(stream);
    (void)close(fds[0]);
    if (fds[1] >= 0) {
        (void)close(fds[1]);
    }
    tls_peer_deinit(&peer);
}

/* Until it is done or has failed; or nothing moves any more, which is a hang-up of the peer's. */
static enum tls_handshake shake_hands(void)
{
    for (;;) {
        enum tls_handshake status = tls_stream_handshake(stream);
        if (status == TLS_HANDSHAKE_DONE) {
            tls_peer_run(&peer);
            tls_peer_run(&peer);
        }
        if (status == TLS_HANDSHAKE_DONE || status == TLS_HANDSHAKE_FAILED) {
            return status;
        }
        size_t n_sent = peer.n_sent;
        tls_peer_run(&peer);
        if (peer.n_sent == n_sent && peer.n_left == 0) {
            (void)shutdown(fds[1], SHUT_WR);
        }
    }
}

static void connect_pair(SSL_CTX *context)
{
    open_pair(context, "broker.example");
    enum tls_handshake status = shake_hands();
    ck_assert_msg(status == TLS_HANDSHAKE_DONE, "%s", stream->cause);
    ck_assert(tls_peer_is_connected(&peer));
}

static ssize_t read_into(void *data, size_t n)
{
    const struct iovec vector = { .iov_base = data, .iov_len = n };
    return tls_stream_read(stream, &vector, 1);
}

/* A word each way. */
static void check_words(void)
{
    struct memory memory;
    struct output output;
    uint8_t data[16];
    memory_init(&memory, PLENTY);
    output_init(&output, &memory);
    ck_assert_int_eq(output_append(&output, "hello", 5, NULL), 0);
    ck_assert_int_eq(tls_stream_write(stream, &output), OUTPUT_EMPTY);
    tls_peer_run(&peer);
    ck_assert_uint_eq(tls_peer_read(&peer, data, sizeof(data)), 5);
    ck_assert_mem_eq(data, "hello", 5);
    tls_peer_write(&peer, "welcome", 7);
    tls_peer_run(&peer);
    ck_assert_int_eq(read_into(data, sizeof(data)), 7);
    ck_assert_mem_eq(data, "welcome", 7);
    ck_assert_int_eq(read_into(data, sizeof(data)), -1);
    ck_assert_int_eq(errno, EAGAIN);
    output_deinit(&output);
    memory_deinit(&memory);
}

/* --- what is shared --- */

START_TEST(new_files_hold_for_new_connections_and_old_ones_go_on)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    load();
    connect_pair(context);
    check_words();
    settings.ca_file = stranger.file;
    ck_assert_int_eq(tls_load(tls, &settings, problem, sizeof(problem)), 0);
    check_words();
    close_pair();
    open_pair(context, "broker.example");
    ck_assert_int_eq(shake_hands(), TLS_HANDSHAKE_FAILED);
    ck_assert_ptr_nonnull(strstr(tls_stream_cause(stream), "CA that is unknown here (authority)"));
    close_pair();
    settings.ca_file = authority.file;
    ck_assert_int_eq(tls_load(tls, &settings, problem, sizeof(problem)), 0);
    connect_pair(context);
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(new_certificate_is_shown_from_the_next_connection_on)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], &authority);
    load();
    settings.cert_file = client.file;
    settings.key_file = client.key_file;
    ck_assert_int_eq(tls_load(tls, &settings, problem, sizeof(problem)), 0);
    connect_pair(context);
    check_words();
    X509 *shown = SSL_get1_peer_certificate(peer.ssl);
    ck_assert_ptr_nonnull(shown);
    ck_assert_int_eq(X509_cmp(shown, client.x509), 0);
    X509_free(shown);
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(files_that_cannot_be_loaded_change_nothing)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    load();
    connect_pair(context);
    check_words();
    close_pair();
    struct config_tls wrong = settings;
    char nowhere[] = "/nonexistent/ca.pem";
    wrong.ca_file = nowhere;
    wrong.verify = true;
    ck_assert_int_eq(tls_load(tls, &wrong, problem, sizeof(problem)), -EINVAL);
    ck_assert_str_eq(problem, "[tls] ca_file /nonexistent/ca.pem: No such file or directory");
    connect_pair(context);
    ck_assert(tls_stream_was_resumed(stream)); /* its session is still there */
    check_words();
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(new_files_forget_the_sessions_of_the_old_ones)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    load();
    connect_pair(context);
    ck_assert(!tls_stream_was_resumed(stream));
    check_words();
    close_pair();
    connect_pair(context);
    ck_assert(tls_stream_was_resumed(stream));
    /* What is read on it only now comes too late. */
    ck_assert_int_eq(tls_load(tls, &settings, problem, sizeof(problem)), 0);
    check_words();
    close_pair();
    connect_pair(context);
    ck_assert(!tls_stream_was_resumed(stream));
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(sessions_of_many_peers_take_no_more_than_their_room)
{
    static const uint8_t id[] = "id";
    char name[32];
    load();
    for (unsigned i = 0; i < TLS_SESSIONS_MAX + 10; i++) {
        SSL_SESSION *session = SSL_SESSION_new();
        ck_assert_int_eq(SSL_SESSION_set1_id(session, id, sizeof(id)), 1);
        (void)snprintf(name, sizeof(name), "broker-%u:1", i);
        tls_keep_session(tls, name, session);
        assert_often(tls_find_session(tls, name) == session);
    }
    ck_assert_ptr_null(tls_find_session(tls, "broker-0:1"));
    ck_assert_ptr_null(tls_find_session(tls, "broker-9:1"));
    ck_assert_ptr_nonnull(tls_find_session(tls, "broker-10:1"));
}
END_TEST

static const struct problem_case {
    const char *name;
    const char *setting; /* that gets another file */
    const char *file;
    const char *words;
} problem_cases[] = {
    { "no file", "cert_file", "/nonexistent", "cert_file /nonexistent: No such file or directory" },
    { "no key file", "key_file", "/nonexistent", "key_file /nonexistent: No such file" },
    { "no CA in the file", "ca_file", "client.key", "client.key: it holds no certificate" },
    { "no certificate in the file", "cert_file", "client.key", "it holds no certificate" },
    { "no key in the file", "key_file", "client.pem", "it holds no key that can be read" },
    { "the key of another", "key_file", "server.key", "does not belong to the certificate" },
    { "a credential without any", "key_file", "name", "name is the name of a credential" },
};

START_TEST(file_of_no_use_is_told_with_what_would_be_one)
{
    const struct problem_case *row = &problem_cases[_i];
    char file[512];
    bool is_ours = row->file[0] != '/' && strchr(row->file, '.');
    (void)snprintf(
        file, sizeof(file), "%s%s%s", is_ours ? directory : "", is_ours ? "/" : "", row->file);
    settings.cert_file = client.file;
    settings.key_file = client.key_file;
    char **field = strcmp(row->setting, "ca_file") == 0     ? &settings.ca_file
                   : strcmp(row->setting, "cert_file") == 0 ? &settings.cert_file
                                                            : &settings.key_file;
    *field = file;
    (void)unsetenv("CREDENTIALS_DIRECTORY");
    ck_assert_ptr_null(tls_new(&settings, problem, sizeof(problem)));
    ck_assert_msg(strstr(problem, row->words), "%s: %s", row->name, problem);
    ck_assert_ptr_eq(strstr(problem, "[tls] "), problem);
}
END_TEST

START_TEST(key_may_be_a_credential_of_the_service)
{
    char name[] = "client.key";
    settings.cert_file = client.file;
    settings.key_file = name;
    (void)setenv("CREDENTIALS_DIRECTORY", directory, 1);
    load();
    ck_assert(tls->has_certificate);
    (void)unsetenv("CREDENTIALS_DIRECTORY");
}
END_TEST

/* --- the handshake --- */

static const struct name_case {
    const char *host;
    const char *server_name;
    const char *cause; /* NULL: it is proved */
} name_cases[] = {
    { "broker.example", "", NULL },
    { "10.0.0.7", "", NULL },
    { "10.0.0.8", "broker.example", NULL },
    { "10.0.0.8", "10.0.0.7", NULL },
    { "10.0.0.8", "", "for broker.example, 10.0.0.7, not for 10.0.0.8: [tls] server_name" },
    { "other.example", "", "not for other.example" },
    { "broker.example", "other.example", "not for other.example" },
};

START_TEST(name_that_is_asked_for_has_to_be_proved)
{
    const struct name_case *row = &name_cases[_i];
    char server_name[64];
    (void)snprintf(server_name, sizeof(server_name), "%s", row->server_name);
    settings.server_name = server_name;
    for (int i = 0; i < N(versions); i++) {
        SSL_CTX *context = tls_peer_context(&server, versions[i], NULL);
        load();
        open_pair(context, row->host);
        if (row->cause) {
            ck_assert_int_eq(shake_hands(), TLS_HANDSHAKE_FAILED);
            ck_assert_msg(strstr(tls_stream_cause(stream), row->cause), "%s", stream->cause);
        } else {
            ck_assert_int_eq(shake_hands(), TLS_HANDSHAKE_DONE);
            check_words();
        }
        close_pair();
        SSL_CTX_free(context);
        tls = tls_free(tls);
    }
}
END_TEST

START_TEST(expired_certificate_is_refused)
{
    SSL_CTX *context = tls_peer_context(&expired, versions[_i], NULL);
    load();
    open_pair(context, "broker.example");
    ck_assert_int_eq(shake_hands(), TLS_HANDSHAKE_FAILED);
    ck_assert_ptr_nonnull(strstr(tls_stream_cause(stream), "its certificate expired at 20"));
    close_pair();
    settings.verify = false;
    ck_assert_int_eq(tls_load(tls, &settings, problem, sizeof(problem)), 0);
    connect_pair(context);
    check_words();
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(session_of_a_certificate_that_has_expired_since_is_not_resumed)
{
    SSL_CTX *context = tls_peer_context(&expired, versions[_i], NULL);
    settings.verify = false;
    load();
    connect_pair(context);
    check_words();
    close_pair();
    ck_assert_ptr_nonnull(tls_find_session(tls, "broker:10911"));
    tls->verifies = true; /* as if it had been accepted while it was good */
    ck_assert_ptr_null(tls_find_session(tls, "broker:10911"));
    SSL_CTX_free(context);
}
END_TEST

/* In TLS 1.3 the refusal comes behind the handshake. */
START_TEST(refusal_of_our_certificate_says_that_nothing_was_read)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], &authority);
    uint8_t data[16];
    load();
    open_pair(context, "broker.example");
    if (versions[_i] == TLS1_2_VERSION) {
        ck_assert_int_eq(shake_hands(), TLS_HANDSHAKE_FAILED);
    } else {
        ck_assert_int_eq(shake_hands(), TLS_HANDSHAKE_DONE);
        ck_assert_int_eq(read_into(data, sizeof(data)), -1);
        ck_assert_int_eq(errno, EPROTO);
    }
    ck_assert_ptr_nonnull(strstr(tls_stream_cause(stream), "it wants a client certificate"));
    ck_assert(tls_stream_was_refused(stream));
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(handshake_may_come_byte_by_byte)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    load();
    open_pair(context, "broker.example");
    peer.most_at_once = 1;
    ck_assert_int_eq(shake_hands(), TLS_HANDSHAKE_DONE);
    peer.most_at_once = SIZE_MAX;
    tls_peer_run(&peer);
    check_words();
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(handshake_that_is_cut_off_anywhere_fails_in_words)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    load();
    connect_pair(context);
    close_pair();
    ck_assert_int_eq(tls_load(tls, &settings, problem, sizeof(problem)), 0);
    for (size_t n = 0; n < 600; n += 13) {
        open_pair(context, "broker.example");
        peer.n_left = n;
        assert_often(shake_hands() == TLS_HANDSHAKE_FAILED);
        assert_often(stream->error == 0);
        if (!strstr(tls_stream_cause(stream), "closed the connection in the TLS handshake")) {
            ck_abort_msg("cut at %zu: %s", n, stream->cause);
        }
        close_pair();
    }
    SSL_CTX_free(context);
}
END_TEST

/* Whatever the byte is: no other end than these two, and never a wait for nothing. */
START_TEST(handshake_that_is_spoilt_anywhere_ends)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    size_t n_failed = 0;
    load();
    for (size_t at = 0; at < 600; at += 11) {
        open_pair(context, "broker.example");
        peer.spoilt_at = at;
        peer.n_left = 4096;
        bool is_done = false;
        for (int i = 0; i < 20 && !is_done; i++) {
            enum tls_handshake status = tls_stream_handshake(stream);
            is_done = status == TLS_HANDSHAKE_DONE || status == TLS_HANDSHAKE_FAILED;
            n_failed += status == TLS_HANDSHAKE_FAILED;
            if (status == TLS_HANDSHAKE_FAILED) {
                assert_often(tls_stream_cause(stream));
            }
            tls_peer_run(&peer);
        }
        close_pair();
        ck_assert_int_eq(tls_load(tls, &settings, problem, sizeof(problem)), 0);
    }
    ck_assert_uint_gt(n_failed, 30);
    SSL_CTX_free(context);
}
END_TEST

static const char *const plain_answers[] = {
    "HTTP/1.1 400 Bad Request\r\n\r\n",
    "SSH-2.0-OpenSSH_9.2\r\n",
    "\x00\x00\x00\x7e\x00\x00\x00\x76{\"code\":0}",
};

START_TEST(answer_in_plain_text_is_refused_as_such)
{
    SSL_CTX *context = tls_peer_context(&server, TLS1_3_VERSION, NULL);
    load();
    open_pair(context, "broker.example");
    size_t n = _i == 2 ? 18 : strlen(plain_answers[_i]);
    ck_assert_int_eq(tls_stream_handshake(stream), TLS_HANDSHAKE_WANTS_READ);
    ck_assert_int_eq(send(fds[1], plain_answers[_i], n, 0), (ssize_t)n);
    ck_assert_int_eq(tls_stream_handshake(stream), TLS_HANDSHAKE_FAILED);
    ck_assert_ptr_nonnull(strstr(tls_stream_cause(stream), "is not TLS: does it speak TLS?"));
    ck_assert_int_eq(stream->error, EPROTO);
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

/* --- bytes --- */

START_TEST(end_of_file_comes_behind_the_bytes_with_and_without_close_notify)
{
    for (int is_polite = 0; is_polite < 2; is_polite++) {
        SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
        uint8_t data[64];
        load();
        connect_pair(context);
        tls_peer_write(&peer, "the last words", 14);
        if (is_polite) {
            (void)SSL_shutdown(peer.ssl);
        }
        tls_peer_run(&peer);
        (void)close(fds[1]);
        fds[1] = -1;
        ck_assert_int_eq(read_into(data, 4), 4);
        ck_assert(stream->has_more);
        ck_assert_int_eq(read_into(data + 4, sizeof(data) - 4), 10);
        ck_assert_mem_eq(data, "the last words", 14);
        ck_assert_int_eq(read_into(data, sizeof(data)), 0);
        ck_assert(!stream->has_more);
        ck_assert_ptr_null(tls_stream_cause(stream));
        close_pair();
        SSL_CTX_free(context);
        tls = tls_free(tls);
    }
}
END_TEST

START_TEST(record_that_was_changed_on_its_way_ends_the_stream)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    uint8_t data[64];
    load();
    connect_pair(context);
    check_words();
    peer.spoilt_at = peer.n_sent + 12;
    tls_peer_write(&peer, "something to be changed", 23);
    tls_peer_run(&peer);
    ck_assert_int_eq(read_into(data, sizeof(data)), -1);
    ck_assert_int_eq(errno, EPROTO);
    ck_assert_msg(
        tls_stream_cause(stream) && strstr(stream->cause, "TLS failed: "), "%s", stream->cause);
    close_pair();
    SSL_CTX_free(context);
}
END_TEST

/* --- a transport over it --- */

#define FRAMES_MAX 64

static struct {
    struct loop loop;
    struct memory memory;
    struct transport transport;
    size_t sizes[FRAMES_MAX];
    size_t n_frames;
    unsigned n_connects, n_ends;
    int error;
    uint8_t *received; /* by the peer */
    size_t n_received;
} t;

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + (i >> 8));
}

static void on_frame(
    struct transport *transport, uint8_t *frame, size_t size, struct frame_buffer *owner)
{
    (void)transport;
    (void)owner;
    assert_often(t.n_frames < FRAMES_MAX);
    for (size_t i = FRAME_PREFIX_SIZE; i < size; i++) {
        assert_often(frame[i] == byte_at(i));
    }
    t.sizes[t.n_frames++] = size;
}

static void on_bad_frame(struct transport *transport, uint8_t *data, size_t n)
{
    (void)transport;
    (void)data;
    ck_abort_msg("%zu bytes that are no frame", n);
}

static void on_end(struct transport *transport, enum transport_end end_of_it, int error)
{
    (void)transport;
    t.n_ends++;
    t.error = end_of_it == TRANSPORT_END_OF_FILE ? 0 : error;
}

static void on_connected(struct transport *transport, int error)
{
    (void)transport;
    t.n_connects++;
    t.error = error;
}

static const struct transport_handler handler = {
    .on_frame = on_frame,
    .on_bad_frame = on_bad_frame,
    .on_end = on_end,
    .on_connected = on_connected,
};

static void peer_takes(void)
{
    tls_peer_run(&peer);
    for (;;) {
        size_t n = tls_peer_read(&peer, t.received + t.n_received, (8u << 20) - t.n_received);
        if (n == 0) {
            return;
        }
        t.n_received += n;
    }
}

/* So many turns of the loop, and of the peer; none waits. */
static void turns(unsigned n)
{
    for (; n > 0; n--) {
        (void)event_base_loop(t.loop.base, EVLOOP_NONBLOCK);
        loop_finish(&t.loop);
        peer_takes();
    }
}

static void begin_transport(SSL_CTX *context)
{
    memset(&t, 0, sizeof(t));
    ck_assert_int_eq(loop_init(&t.loop), 0);
    memory_init(&t.memory, PLENTY);
    t.received = malloc(8u << 20);
    open_pair(context, "broker.example");
    ck_assert_int_eq(
        transport_open(&t.transport, &t.loop, &t.memory, &handler, fds[0], FRAME_SIZE_MAX, true),
        0);
    transport_secure(&t.transport, stream);
}

static void end_transport(void)
{
    transport_close(&t.transport);
    transport_close(&t.transport);
    tls_peer_deinit(&peer);
    if (fds[1] >= 0) {
        (void)close(fds[1]);
    }
    ck_assert_uint_eq(t.memory.used, 0);
    memory_deinit(&t.memory);
    loop_deinit(&t.loop);
    free(t.received);
}

static void peer_frame(size_t size)
{
    uint8_t *frame = malloc(size);
    for (size_t i = 0; i < size; i++) {
        frame[i] = byte_at(i);
    }
    frame_encode_prefix(frame, SERIALIZE_JSON, 0, size - FRAME_PREFIX_SIZE);
    tls_peer_write(&peer, frame, size);
    free(frame);
}

static const size_t sizes[] = { 8, 9, 200, 16384, 16385, 65536, 300000, 262144, 1 << 20, 100, 8 };

START_TEST(frames_of_any_size_come_through)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    const size_t pieces[] = { SIZE_MAX, 5000, 70000 };
    for (int i = 0; i < N(pieces); i++) {
        load();
        begin_transport(context);
        turns(10);
        ck_assert_uint_eq(t.n_connects, 1);
        ck_assert_int_eq(t.error, 0);
        peer.most_at_once = pieces[i];
        for (int j = 0; j < N(sizes); j++) {
            peer_frame(sizes[j]);
        }
        for (unsigned n = 0; n < 5000 && t.n_frames < (size_t)N(sizes); n++) {
            turns(1);
        }
        ck_assert_uint_eq(t.n_frames, N(sizes));
        for (int j = 0; j < N(sizes); j++) {
            ck_assert_uint_eq(t.sizes[j], sizes[j]);
        }
        ck_assert_uint_eq(t.n_ends, 0);
        end_transport();
        tls = tls_free(tls);
    }
    SSL_CTX_free(context);
}
END_TEST

START_TEST(frames_that_were_read_while_paused_come_when_it_resumes)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    load();
    begin_transport(context);
    turns(10);
    transport_pause(&t.transport);
    peer_frame(100);
    peer_frame(200);
    turns(3);
    ck_assert_uint_eq(t.n_frames, 0);
    transport_resume(&t.transport);
    turns(2);
    ck_assert_uint_eq(t.n_frames, 2);
    end_transport();
    SSL_CTX_free(context);
}
END_TEST

/* The socket takes a part of a record at a time, and more is appended meanwhile. */
START_TEST(output_of_any_size_goes_out_in_order_through_a_narrow_socket)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    size_t n_sent = 0;
    load();
    begin_transport(context);
    int narrow = 1;
    ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &narrow, sizeof(narrow)), 0);
    turns(10);
    for (int j = 0; j < N(sizes); j++) {
        struct frame_buffer *frame = frame_buffer_new(&t.memory, sizes[j]);
        for (size_t i = 0; i < sizes[j]; i++) {
            frame->data[i] = byte_at(n_sent + i);
        }
        ck_assert_int_eq(output_append(&t.transport.output, frame->data, sizes[j], frame), 0);
        frame_buffer_unref(frame);
        n_sent += sizes[j];
        transport_flush_later(&t.transport);
        (void)event_base_loop(t.loop.base, EVLOOP_NONBLOCK);
        loop_finish(&t.loop);
        ck_assert_uint_eq(t.transport.bytes_sent + t.transport.output.size, n_sent);
    }
    ck_assert(t.transport.is_blocked);
    for (unsigned n = 0; n < 20000 && t.n_received < n_sent; n++) {
        turns(1);
    }
    ck_assert_uint_eq(t.n_received, n_sent);
    ck_assert_uint_eq(t.transport.bytes_sent, n_sent);
    ck_assert(!t.transport.is_blocked);
    for (size_t i = 0; i < n_sent; i++) {
        assert_often(t.received[i] == byte_at(i));
    }
    end_transport();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(small_output_of_a_turn_is_one_record)
{
    SSL_CTX *context = tls_peer_context(&server, versions[_i], NULL);
    load();
    begin_transport(context);
    turns(10);
    struct pollfd readable = { .fd = fds[1], .events = POLLIN };
    ck_assert_int_eq(poll(&readable, 1, 0), 0);
    uint8_t large[8000];
    memset(large, 7, sizeof(large));
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(output_append(&t.transport.output, "request", 7, NULL), 0);
    }
    struct frame_buffer *body = frame_buffer_new(&t.memory, sizeof(large));
    memcpy(body->data, large, sizeof(large));
    ck_assert_int_eq(output_append(&t.transport.output, body->data, sizeof(large), body), 0);
    frame_buffer_unref(body);
    transport_flush_later(&t.transport);
    loop_finish(&t.loop);
    uint8_t record[TLS_RECORD_SIZE + 512];
    ssize_t n = recv(fds[1], record, sizeof(record), MSG_DONTWAIT);
    ck_assert_int_gt(n, 8700);
    ck_assert_int_eq(record[0], SSL3_RT_APPLICATION_DATA);
    ck_assert_int_eq((record[3] << 8 | record[4]) + 5, n);
    end_transport();
    SSL_CTX_free(context);
}
END_TEST

START_TEST(refusal_behind_the_handshake_takes_back_what_was_sent)
{
    SSL_CTX *context = tls_peer_context(&server, TLS1_3_VERSION, &authority);
    load();
    begin_transport(context);
    for (int i = 0; i < 10 && t.n_connects == 0; i++) {
        (void)event_base_loop(t.loop.base, EVLOOP_NONBLOCK);
        tls_peer_run(&peer);
    }
    ck_assert_uint_eq(t.n_connects, 1);
    ck_assert_int_eq(t.error, 0);
    t.transport.bytes_sent = 100;
    turns(2);
    ck_assert_uint_eq(t.n_ends, 1);
    ck_assert_int_eq(t.error, EPROTO);
    ck_assert_uint_eq(t.transport.bytes_sent, 0);
    ck_assert_ptr_nonnull(
        strstr(transport_error_text(&t.transport, t.error), "it wants a client certificate"));
    end_transport();
    SSL_CTX_free(context);
}
END_TEST

static void add_for_versions(TCase *tests, const TTest *test)
{
    tcase_add_loop_test(tests, test, 0, N(versions));
}

static TCase *tests_new(const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, begin, end);
    return tests;
}

static TCase *shared_tests(void)
{
    TCase *tests = tests_new("shared");
    add_for_versions(tests, new_files_hold_for_new_connections_and_old_ones_go_on);
    add_for_versions(tests, new_certificate_is_shown_from_the_next_connection_on);
    add_for_versions(tests, files_that_cannot_be_loaded_change_nothing);
    add_for_versions(tests, new_files_forget_the_sessions_of_the_old_ones);
    tcase_add_test(tests, sessions_of_many_peers_take_no_more_than_their_room);
    tcase_add_loop_test(tests, file_of_no_use_is_told_with_what_would_be_one, 0, N(problem_cases));
    tcase_add_test(tests, key_may_be_a_credential_of_the_service);
    return tests;
}

static TCase *handshake_tests(void)
{
    TCase *tests = tests_new("handshake");
    tcase_add_loop_test(tests, name_that_is_asked_for_has_to_be_proved, 0, N(name_cases));
    add_for_versions(tests, expired_certificate_is_refused);
    add_for_versions(tests, session_of_a_certificate_that_has_expired_since_is_not_resumed);
    add_for_versions(tests, refusal_of_our_certificate_says_that_nothing_was_read);
    add_for_versions(tests, handshake_may_come_byte_by_byte);
    add_for_versions(tests, handshake_that_is_cut_off_anywhere_fails_in_words);
    add_for_versions(tests, handshake_that_is_spoilt_anywhere_ends);
    tcase_add_loop_test(tests, answer_in_plain_text_is_refused_as_such, 0, N(plain_answers));
    return tests;
}

static TCase *byte_tests(void)
{
    TCase *tests = tests_new("bytes");
    add_for_versions(tests, end_of_file_comes_behind_the_bytes_with_and_without_close_notify);
    add_for_versions(tests, record_that_was_changed_on_its_way_ends_the_stream);
    add_for_versions(tests, frames_of_any_size_come_through);
    add_for_versions(tests, frames_that_were_read_while_paused_come_when_it_resumes);
    add_for_versions(tests, output_of_any_size_goes_out_in_order_through_a_narrow_socket);
    add_for_versions(tests, small_output_of_a_turn_is_one_record);
    tcase_add_test(tests, refusal_behind_the_handshake_takes_back_what_was_sent);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("tls");
    suite_add_tcase(suite, shared_tests());
    suite_add_tcase(suite, handshake_tests());
    suite_add_tcase(suite, byte_tests());
    return run_suite(suite);
}
