#include "protocol/acl_signature.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define SHA1_SIZE 20

struct acl_signer {
    EVP_MAC_CTX *context;
};

struct acl_signer *acl_signer_new(struct span secret_key)
{
    CLEANUP(acl_signer_free) struct acl_signer *signer = calloc(1, sizeof(*signer));
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    if (signer && hmac) {
        signer->context = EVP_MAC_CTX_new(hmac);
    }
    EVP_MAC_free(hmac);
    char digest[] = "SHA1";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (!signer || !signer->context ||
        !EVP_MAC_init(
            signer->context, (const unsigned char *)secret_key.data, secret_key.n, parameters)) {
        return NULL;
    }
    return TAKE(signer);
}

struct acl_signer *acl_signer_free(struct acl_signer *signer)
{
    if (signer) {
        EVP_MAC_CTX_free(signer->context);
        free(signer);
    }
    return NULL;
}

static int compare_keys(const void *a, const void *b)
{
    const struct ext_field *field_a = *(const struct ext_field *const *)a;
    const struct ext_field *field_b = *(const struct ext_field *const *)b;
    size_t n = field_a->key.n < field_b->key.n ? field_a->key.n : field_b->key.n;
    int order = n > 0 ? memcmp(field_a->key.data, field_b->key.data, n) : 0;
    return order != 0 ? order : (field_a->key.n > n) - (field_b->key.n > n);
}

static bool update(struct acl_signer *signer, struct span bytes)
{
    return span_is_empty(bytes) ||
           EVP_MAC_update(signer->context, (const unsigned char *)bytes.data, bytes.n);
}

bool acl_sign(struct acl_signer *signer, const struct ext_fields *ext_fields, struct span body,
    char dst[static ACL_SIGNATURE_SIZE])
{
    const struct ext_field *sorted[ACL_FIELDS_MAX];
    if (ext_fields->n > ACL_FIELDS_MAX) {
        return false;
    }
    for (size_t i = 0; i < ext_fields->n; i++) {
        sorted[i] = &ext_fields->fields[i];
    }
    qsort(sorted, ext_fields->n, sizeof(*sorted), compare_keys);
    /* Begins anew with the key that it was made with. */
    bool is_good = EVP_MAC_init(signer->context, NULL, 0, NULL);
    for (size_t i = 0; i < ext_fields->n && is_good; i++) {
        if (!span_equals(sorted[i]->key, SPAN("Signature"))) {
            is_good = update(signer, sorted[i]->value);
        }
    }
    unsigned char digest[SHA1_SIZE];
    size_t n = 0;
    if (!is_good || !update(signer, body) ||
        !EVP_MAC_final(signer->context, digest, &n, sizeof(digest)) || n != sizeof(digest)) {
        return false;
    }
    (void)EVP_EncodeBlock((unsigned char *)dst, digest, sizeof(digest));
    return true;
}
