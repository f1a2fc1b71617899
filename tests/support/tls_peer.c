#include "tests/support/tls_peer.h"

#include <openssl/err.h>
#include <sys/socket.h>

#include "tests/support/run_suite.h"

SSL_CTX *tls_peer_context(
    const struct certificate *certificate, int version, const struct certificate *clients)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    ck_assert_ptr_nonnull(context);
    ck_assert_int_eq(SSL_CTX_set_min_proto_version(context, version), 1);
    ck_assert_int_eq(SSL_CTX_set_max_proto_version(context, version), 1);
    ck_assert_int_eq(SSL_CTX_use_certificate(context, certificate->x509), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, certificate->key), 1);
    ck_assert_int_eq(SSL_CTX_set_session_id_context(context, (const uint8_t *)"test", 4), 1);
    if (clients) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        ck_assert_int_eq(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), clients->x509), 1);
    }
    return context;
}

void tls_peer_init(struct tls_peer *peer, SSL_CTX *context, int fd)
{
    *peer = (struct tls_peer){
        .context = context,
        .ssl = SSL_new(context),
        .in = BIO_new(BIO_s_mem()),
        .out = BIO_new(BIO_s_mem()),
        .fd = fd,
        .most_at_once = SIZE_MAX,
        .n_left = SIZE_MAX,
        .spoilt_at = SIZE_MAX,
    };
    ck_assert(peer->ssl && peer->in && peer->out);
    SSL_set_bio(peer->ssl, peer->in, peer->out);
    SSL_set_accept_state(peer->ssl);
}

void tls_peer_deinit(struct tls_peer *peer)
{
    SSL_free(peer->ssl);
}

static void take(struct tls_peer *peer)
{
    uint8_t data[65536];
    ssize_t n;
    while ((n = recv(peer->fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
        assert_often(BIO_write(peer->in, data, (int)n) == n);
    }
}

static void give(struct tls_peer *peer)
{
    char *data;
    size_t n = (size_t)BIO_get_mem_data(peer->out, &data);
    if (n > peer->most_at_once) {
        n = peer->most_at_once;
    }
    if (n > peer->n_left) {
        n = peer->n_left;
    }
    if (n == 0) {
        return;
    }
    if (peer->spoilt_at >= peer->n_sent && peer->spoilt_at < peer->n_sent + n) {
        data[peer->spoilt_at - peer->n_sent] ^= 0x55;
        peer->spoilt_at = SIZE_MAX;
    }
    ssize_t n_sent = send(peer->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n_sent > 0) {
        static uint8_t gone[1 << 16];
        peer->n_sent += (size_t)n_sent;
        peer->n_left -= peer->n_left == SIZE_MAX ? 0 : (size_t)n_sent;
        for (size_t left = (size_t)n_sent; left > 0;) {
            int piece =
                BIO_read(peer->out, gone, left < sizeof(gone) ? (int)left : (int)sizeof(gone));
            assert_often(piece > 0);
            left -= (size_t)piece;
        }
    }
}

void tls_peer_run(struct tls_peer *peer)
{
    take(peer);
    if (!SSL_is_init_finished(peer->ssl)) {
        (void)SSL_do_handshake(peer->ssl);
        ERR_clear_error();
    }
    give(peer);
}

bool tls_peer_is_connected(const struct tls_peer *peer)
{
    return SSL_is_init_finished(peer->ssl);
}

size_t tls_peer_read(struct tls_peer *peer, uint8_t *data, size_t n)
{
    size_t n_read = 0;
    (void)SSL_read_ex(peer->ssl, data, n, &n_read);
    ERR_clear_error();
    return n_read;
}

void tls_peer_write(struct tls_peer *peer, const void *data, size_t n)
{
    size_t n_written;
    ck_assert_int_eq(SSL_write_ex(peer->ssl, data, n, &n_written), 1);
    ck_assert_uint_eq(n_written, n);
}

bool tls_peer_has_written(const struct tls_peer *peer)
{
    return BIO_ctrl_pending(peer->out) == 0;
}
