/*
 * RPC hooks
 *
 * What is added to every request on its way to a nameserver or broker, in this order (RocketMQ's
 * RPCHook, doBeforeRequest and doAfterResponse):
 *
 *     namespace       nsd=true and ns=NAME, as Java's NamespaceRpcHook
 *     static_fields   the ext fields of [hooks] static_fields
 *     acl             AccessKey, SecurityToken and Signature by the first [acl NAME] whose addresses
 *                     hold the target; always last, for it signs what the others added
 *
 * A field that the command carries already is left as it is. A request that carries a Signature is
 * its caller's own: no hook touches it. A hook runs for every attempt, since each may go to another
 * target; the command that a caller gave is never changed, the hooks work on a copy of its fields.
 * What is repeated as it was written (after GO_AWAY, or when its connection broke before it went)
 * carries what was added the first time: it is signed anew, and stays signed here.
 *
 * After the response the acl hook says what to do about NO_PERMISSION: brokers tell what was wrong
 * with a signature, not whose it was.
 *
 * Nameservers do not check signatures (measured); they are signed for nevertheless, since Java's
 * client does, and they ignore what they do not know.
 */
#pragma once

#include "protocol/acl_signature.h"
#include "protocol/remoting_command.h"

#define RPC_HOOK_CREDENTIALS_MAX   16
#define RPC_HOOK_STATIC_FIELDS_MAX 64
/* What completion may have added to a command with all the fields that a caller may give. */
#define RPC_HOOK_COMPLETED_FIELDS_MAX 32
/* Beyond those: the fields of the file, the namespace's two and the signature's three. */
#define RPC_HOOK_FIELDS_MAX                                                                        \
    (EXT_FIELDS_MAX + RPC_HOOK_COMPLETED_FIELDS_MAX + RPC_HOOK_STATIC_FIELDS_MAX + 5)

/* Of one [acl NAME]. */
struct acl_credentials {
    const char *name;
    const char *access_key;
    char *const *targets; /* networks and host:port; none: every address */
    size_t n_targets;
    char *security_token;      /* owned; "" = none */
    struct acl_signer *signer; /* owned */
};

/* The texts belong to the configuration, except where it says owned. */
struct rpc_hooks {
    const char *namespace;      /* NULL or "": none */
    char *const *static_fields; /* key=value each */
    size_t n_static_fields;
    struct acl_credentials credentials[RPC_HOOK_CREDENTIALS_MAX]; /* the first match counts */
    size_t n_credentials;
    /* CLEAR_RPC_HOOKS: the first two add nothing any more */
    bool is_cleared;
    /* the command that is being handed out */
    struct remoting_command command;
    struct ext_field fields[RPC_HOOK_FIELDS_MAX];
    char signature[ACL_SIGNATURE_SIZE];
    char remark[512];
};

/* Whose signature a request went with. */
enum rpc_signature {
    RPC_SIGNED_BY_CALLER,
    RPC_SIGNED_HERE,
    RPC_NOT_SIGNED,
    RPC_MUST_NOT_BE_SIGNED, /* its target is nobody's broker: upstream.allow_addresses */
};

/*
 * Appends credentials: given with name, access_key and targets. The secret and the token are not
 * referred to afterwards. False without memory.
 */
bool rpc_hooks_add_credentials(struct rpc_hooks *hooks, const struct acl_credentials *given,
    struct span secret_key, struct span security_token);
void rpc_hooks_deinit(struct rpc_hooks *hooks);

/*
 * The command as it goes to this address: the given one, or one that is valid until the next call.
 * *signature: what the attempt before this one left there. RPC_MUST_NOT_BE_SIGNED is kept, everything
 * else is set. NULL without memory.
 */
const struct remoting_command *rpc_hooks_before(struct rpc_hooks *hooks,
    const struct remoting_command *command, const char *address, enum rpc_signature *signature);
/* May change the response's remark, to a text that is valid until the next call. */
void rpc_hooks_after(struct rpc_hooks *hooks, struct remoting_command *response,
    const char *address, enum rpc_signature signature);
