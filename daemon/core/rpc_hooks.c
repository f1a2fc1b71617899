#include "daemon/core/rpc_hooks.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/address.h"
#include "protocol/code.h"
#include "protocol/utf8.h"

#define REMARK_SEEN_MAX 256 /* bytes of a broker's remark that advice is added to */

bool rpc_hooks_add_credentials(struct rpc_hooks *hooks, const struct acl_credentials *given,
    struct span secret_key, struct span security_token)
{
    assert(hooks->n_credentials < RPC_HOOK_CREDENTIALS_MAX);
    struct acl_credentials *credentials = &hooks->credentials[hooks->n_credentials];
    *credentials = *given;
    credentials->signer = acl_signer_new(secret_key);
    credentials->security_token =
        strndup(security_token.data ? security_token.data : "", security_token.n);
    hooks->n_credentials++;
    return credentials->signer && credentials->security_token;
}

void rpc_hooks_deinit(struct rpc_hooks *hooks)
{
    for (size_t i = 0; i < hooks->n_credentials; i++) {
        struct acl_credentials *credentials = &hooks->credentials[i];
        acl_signer_free(credentials->signer);
        if (credentials->security_token) {
            OPENSSL_cleanse(credentials->security_token, strlen(credentials->security_token));
        }
        free(credentials->security_token);
    }
    hooks->n_credentials = 0;
}

static const struct acl_credentials *credentials_for(
    const struct rpc_hooks *hooks, const char *address)
{
    for (size_t i = 0; i < hooks->n_credentials; i++) {
        const struct acl_credentials *credentials = &hooks->credentials[i];
        if (credentials->n_targets == 0 ||
            address_is_among(address, credentials->targets, credentials->n_targets)) {
            return credentials;
        }
    }
    return NULL;
}

/* There is room for every field that a hook may add. */
static void add_default(struct rpc_hooks *hooks, struct span key, struct span value)
{
    struct ext_fields *ext_fields = &hooks->command.ext_fields;
    if (span_is_absent(ext_fields_get(ext_fields, key))) {
        (void)ext_fields_add(ext_fields, key, value);
    }
}

static bool has_namespace(const struct rpc_hooks *hooks)
{
    return hooks->namespace && hooks->namespace[0];
}

static void namespace_before(struct rpc_hooks *hooks)
{
    if (has_namespace(hooks)) {
        add_default(hooks, SPAN("nsd"), SPAN("true"));
        add_default(hooks, SPAN("ns"), span_of(hooks->namespace));
    }
}

static void static_fields_before(struct rpc_hooks *hooks)
{
    for (size_t i = 0; i < hooks->n_static_fields; i++) {
        const char *field = hooks->static_fields[i];
        const char *equals = strchr(field, '=');
        struct span key = { field, (size_t)(equals - field) };
        add_default(hooks, key, span_of(equals + 1));
    }
}

static bool acl_before(struct rpc_hooks *hooks, const struct acl_credentials *credentials)
{
    struct remoting_command *command = &hooks->command;
    struct ext_fields *ext_fields = &command->ext_fields;
    /* What is signed must be what the key belongs to. */
    (void)ext_fields_set(ext_fields, SPAN("AccessKey"), span_of(credentials->access_key));
    if (credentials->security_token[0]) {
        (void)ext_fields_set(
            ext_fields, SPAN("SecurityToken"), span_of(credentials->security_token));
    }
    if (!acl_sign(credentials->signer, ext_fields, command->body, hooks->signature)) {
        return false;
    }
    return ext_fields_set(ext_fields, SPAN("Signature"), span_of(hooks->signature));
}

static bool is_of_signature(struct span key)
{
    return span_equals(key, SPAN("Signature")) || span_equals(key, SPAN("AccessKey")) ||
           span_equals(key, SPAN("SecurityToken"));
}

const struct remoting_command *rpc_hooks_before(struct rpc_hooks *hooks,
    const struct remoting_command *command, const char *address, enum rpc_signature *signature)
{
    bool has_signature = !span_is_empty(ext_fields_text(&command->ext_fields, "Signature"));
    bool is_repeated = has_signature && *signature == RPC_SIGNED_HERE;
    if (has_signature && !is_repeated) {
        *signature = RPC_SIGNED_BY_CALLER;
        return command;
    }
    bool may_sign = *signature != RPC_MUST_NOT_BE_SIGNED;
    const struct acl_credentials *credentials = may_sign ? credentials_for(hooks, address) : NULL;
    if (may_sign) {
        *signature = credentials ? RPC_SIGNED_HERE : RPC_NOT_SIGNED;
    }
    bool adds_fields = !hooks->is_cleared && (has_namespace(hooks) || hooks->n_static_fields > 0);
    if (!credentials && !adds_fields && !is_repeated) {
        return command;
    }
    hooks->command = *command;
    ext_fields_init(&hooks->command.ext_fields, hooks->fields, RPC_HOOK_FIELDS_MAX);
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        const struct ext_field *field = &command->ext_fields.fields[i];
        if (is_repeated && is_of_signature(field->key)) {
            continue;
        }
        if (!ext_fields_add(&hooks->command.ext_fields, field->key, field->value)) {
            return NULL;
        }
    }
    if (adds_fields) {
        namespace_before(hooks);
        static_fields_before(hooks);
    }
    if (credentials && !acl_before(hooks, credentials)) {
        return NULL;
    }
    return &hooks->command;
}

void rpc_hooks_after(struct rpc_hooks *hooks, struct remoting_command *response,
    const char *address, enum rpc_signature signature)
{
    if (response->code != RESPONSE_NO_PERMISSION) {
        return;
    }
    const struct acl_credentials *credentials = credentials_for(hooks, address);
    size_t n = sizeof(hooks->remark);
    struct span seen = utf8_cut(response->remark, REMARK_SEEN_MAX);
    if (signature == RPC_SIGNED_HERE && credentials) {
        (void)snprintf(hooks->remark, n,
            "%.*s (signed as %s by [acl %s]: is its secret_key_file the user's, and may the user "
            "do "
            "this?)",
            SPAN_ARGS(seen), credentials->access_key, credentials->name);
    } else if (signature == RPC_NOT_SIGNED && span_starts_with(seen, SPAN("username"))) {
        (void)snprintf(hooks->remark, n,
            "%.*s (not signed: no [acl NAME] of the configuration is for %s)", SPAN_ARGS(seen),
            address);
    } else {
        return;
    }
    response->remark = span_of(hooks->remark);
}
