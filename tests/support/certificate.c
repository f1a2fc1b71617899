#include "tests/support/certificate.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/run_suite.h"

static void extension_add(X509 *x509, const struct certificate *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer->x509, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ck_assert_ptr_nonnull(extension);
    ck_assert_int_eq(X509_add_ext(x509, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void files_write(const struct certificate *certificate)
{
    FILE *file = fopen(certificate->file, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(PEM_write_X509(file, certificate->x509), 1);
    ck_assert_int_eq(fclose(file), 0);
    file = fopen(certificate->key_file, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(chmod(certificate->key_file, 0600), 0);
    ck_assert_int_eq(PEM_write_PrivateKey(file, certificate->key, NULL, NULL, 0, NULL, NULL), 1);
    ck_assert_int_eq(fclose(file), 0);
}

struct certificate certificate_new(const char *directory, const char *name,
    const struct certificate *issuer, const char *alternative, long seconds)
{
    static long serial;
    struct certificate certificate = { .x509 = X509_new(), .key = EVP_EC_gen("P-256") };
    (void)snprintf(certificate.file, sizeof(certificate.file), "%s/%s.pem", directory, name);
    (void)snprintf(
        certificate.key_file, sizeof(certificate.key_file), "%s/%s.key", directory, name);
    X509 *x509 = certificate.x509;
    const struct certificate *signer = issuer ? issuer : &certificate;
    ck_assert(x509 && certificate.key);
    X509_NAME *subject = X509_get_subject_name(x509);
    (void)X509_NAME_add_entry_by_txt(
        subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    (void)X509_set_version(x509, X509_VERSION_3);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(x509), -24 * 3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(x509), seconds);
    (void)X509_set_issuer_name(x509, X509_get_subject_name(signer->x509));
    (void)X509_set_pubkey(x509, certificate.key);
    if (!issuer) {
        extension_add(x509, signer, NID_basic_constraints, "critical,CA:TRUE");
    }
    if (alternative) {
        extension_add(x509, signer, NID_subject_alt_name, alternative);
    }
    ck_assert_int_gt(X509_sign(x509, signer->key, EVP_sha256()), 0);
    files_write(&certificate);
    return certificate;
}

void certificate_deinit(struct certificate *certificate)
{
    (void)unlink(certificate->file);
    (void)unlink(certificate->key_file);
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
}
