/*
 * Certificate
 *
 * Certificates and keys for tests, made by the test that needs them and good for an hour: an
 * authority signs itself, all others are signed by one.
 */
#pragma once

#include <openssl/ssl.h>

struct certificate {
    X509 *x509;
    EVP_PKEY *key;
    char file[256], key_file[256]; /* in PEM, the key without a passphrase */
};

/*
 * Written to directory as NAME.pem and NAME.key. issuer NULL: an authority. alternative is what
 * subjectAltName says, as in "DNS:localhost,IP:127.0.0.1"; NULL for none. It expires so many
 * seconds from now.
 */
struct certificate certificate_new(const char *directory, const char *name,
    const struct certificate *issuer, const char *alternative, long seconds);
/* Removes its files, too. */
void certificate_deinit(struct certificate *certificate);
