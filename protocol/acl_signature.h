/*
 * ACL signature
 *
 * What RocketMQ's brokers check a request's sender by, in both of their versions (plain ACL up to
 * 5.2, authentication 2.0 after it): HMAC-SHA1, by the user's secret key, over the values of all ext
 * fields in the order of their keys and the body behind them, in base64. The keys themselves, code,
 * opaque, flag, language, version and remark are not signed.
 *
 * AccessKey (and SecurityToken) are signed with the rest, so that they have to be among the fields
 * before; Signature itself is left out wherever it stands.
 *
 * Source: org.apache.rocketmq.acl.common.AclClientRPCHook and AclUtils of RocketMQ; the order is
 * that of Java's strings, which for keys in ASCII is that of their bytes.
 */
#pragma once

#include "protocol/cleanup.h"
#include "protocol/ext_fields.h"

#include <stdbool.h>

#define ACL_SIGNATURE_SIZE 29 /* with its zero */
/* More fields are not signed: what a command carries and what hooks add. */
#define ACL_FIELDS_MAX (EXT_FIELDS_MAX + 128)

/* Holds one secret key, inside the cryptographic library. */
struct acl_signer;

/* NULL without memory. The key's bytes are not needed any more afterwards. */
struct acl_signer *acl_signer_new(struct span secret_key);
struct acl_signer *acl_signer_free(struct acl_signer *signer);
DEFINE_CLEANUP(struct acl_signer *, acl_signer_free)

/* False without memory, or for more than ACL_FIELDS_MAX fields. */
bool acl_sign(struct acl_signer *signer, const struct ext_fields *ext_fields, struct span body,
    char dst[static ACL_SIGNATURE_SIZE]);
