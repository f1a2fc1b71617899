/*
 * TLS peer
 *
 * The server's side of a connection, for tests of the client's: driven by hand, on a non-blocking
 * socket, in the test's own thread. What it has to say may be held back, cut or spoilt on its way.
 */
#pragma once

#include "tests/support/certificate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_peer {
    SSL_CTX *context; /* the caller's: tickets are good for all connections of one */
    SSL *ssl;
    BIO *in, *out;
    int fd;
    size_t most_at_once; /* bytes that one tls_peer_run() writes */
    size_t n_left;       /* bytes that are written at all */
    size_t n_sent;
    size_t spoilt_at; /* this byte of them is another one */
};

/* version: TLS1_2_VERSION or TLS1_3_VERSION only. clients NULL: no client certificate is wanted. */
SSL_CTX *tls_peer_context(
    const struct certificate *certificate, int version, const struct certificate *clients);
void tls_peer_init(struct tls_peer *peer, SSL_CTX *context, int fd);
void tls_peer_deinit(struct tls_peer *peer);
/* Takes what has come, goes on with the handshake, and writes what is to be written. */
void tls_peer_run(struct tls_peer *peer);
bool tls_peer_is_connected(const struct tls_peer *peer);
/* What it was sent, as far as there is room; 0 where nothing has come. */
size_t tls_peer_read(struct tls_peer *peer, uint8_t *data, size_t n);
/* tls_peer_run() writes it. */
void tls_peer_write(struct tls_peer *peer, const void *data, size_t n);
/* Whether all that it had to say is written. */
bool tls_peer_has_written(const struct tls_peer *peer);
