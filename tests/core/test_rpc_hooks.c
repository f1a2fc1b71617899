#include "daemon/core/rpc_hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/code.h"
#include "tests/support/run_suite.h"

static struct rpc_hooks hooks;
static struct ext_field storage[EXT_FIELDS_MAX];
static struct remoting_command command;
static enum rpc_signature signature;

static char *inner_targets[] = { "10.0.0.0/8", "broker-a:10911" };
static char *static_fields[] = { "zone=b", "empty=" };

static void make(void)
{
    hooks = (struct rpc_hooks){ .namespace = "" };
    const struct acl_credentials inner = {
        .name = "inner", .access_key = "AK1", .targets = inner_targets, .n_targets = 2
    };
    const struct acl_credentials rest = { .name = "rest", .access_key = "AK2" };
    ck_assert(rpc_hooks_add_credentials(&hooks, &inner, SPAN("SK1"), SPAN_ABSENT));
    ck_assert(rpc_hooks_add_credentials(&hooks, &rest, SPAN("SK2"), SPAN("TOKEN")));
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    command.body = SPAN("hello");
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("topic"), SPAN("T")));
    signature = RPC_NOT_SIGNED;
}

static void drop(void)
{
    rpc_hooks_deinit(&hooks);
}

static const struct remoting_command *before(const char *address)
{
    const struct remoting_command *way = rpc_hooks_before(&hooks, &command, address, &signature);
    ck_assert_ptr_nonnull(way);
    ck_assert_uint_eq(command.ext_fields.n, 1);
    return way;
}

static void check_field(const struct remoting_command *way, const char *key, const char *expected)
{
    struct span value = ext_fields_get(&way->ext_fields, span_of(key));
    ck_assert_msg(expected ? span_equals_text(value, expected) && !span_is_absent(value)
                           : span_is_absent(value),
        "%s: saw \"%.*s\"", key, SPAN_ARGS(value));
}

START_TEST(without_hooks_a_command_goes_as_it_is)
{
    rpc_hooks_deinit(&hooks);
    ck_assert_ptr_eq(before("10.0.0.1:10911"), &command);
    ck_assert_int_eq(signature, RPC_NOT_SIGNED);
}
END_TEST

static const struct {
    const char *address;
    const char *access_key;
} targets[] = {
    { "10.255.0.1:10911", "AK1" },
    { "broker-a:10911", "AK1" },
    { "broker-a:10912", "AK2" },
    { "11.0.0.1:10911", "AK2" },
    { "[fd00::1]:10911", "AK2" },
};

START_TEST(the_first_credentials_whose_addresses_hold_the_target_sign)
{
    const struct remoting_command *way = before(targets[_i].address);
    check_field(way, "AccessKey", targets[_i].access_key);
    check_field(way, "SecurityToken", strcmp(targets[_i].access_key, "AK2") == 0 ? "TOKEN" : NULL);
    ck_assert_int_eq(signature, RPC_SIGNED_HERE);
    ck_assert_uint_eq(ext_fields_text(&way->ext_fields, "Signature").n, ACL_SIGNATURE_SIZE - 1);
}
END_TEST

START_TEST(the_signature_is_made_over_what_the_other_hooks_added)
{
    hooks.namespace = "blue";
    hooks.static_fields = static_fields;
    hooks.n_static_fields = 2;
    const struct remoting_command *way = before("10.0.0.1:1");
    check_field(way, "nsd", "true");
    check_field(way, "ns", "blue");
    check_field(way, "zone", "b");
    check_field(way, "empty", "");
    char expected[ACL_SIGNATURE_SIZE];
    struct acl_signer *signer = acl_signer_new(SPAN("SK1"));
    ck_assert(acl_sign(signer, &way->ext_fields, SPAN("hello"), expected));
    check_field(way, "Signature", expected);
    acl_signer_free(signer);
    hooks.is_cleared = true;
    way = before("10.0.0.1:1");
    check_field(way, "ns", NULL);
    check_field(way, "zone", NULL);
    check_field(way, "AccessKey", "AK1");
}
END_TEST

START_TEST(a_field_of_the_caller_is_left_as_it_is)
{
    hooks.namespace = "blue";
    command.ext_fields.fields[0] = (struct ext_field){ SPAN("ns"), SPAN("green") };
    check_field(before("10.0.0.1:1"), "ns", "green");
}
END_TEST

START_TEST(a_command_that_its_caller_signed_is_not_touched)
{
    hooks.namespace = "blue";
    command.ext_fields.fields[0] = (struct ext_field){ SPAN("Signature"), SPAN("theirs") };
    ck_assert_ptr_eq(before("10.0.0.1:1"), &command);
    ck_assert_int_eq(signature, RPC_SIGNED_BY_CALLER);
}
END_TEST

START_TEST(each_field_is_added_once_and_again_for_a_repetition_in_the_stated_order)
{
    static const char *const order[] = { "topic", "nsd", "ns", "zone", "empty", "AccessKey",
        "SecurityToken", "Signature" };
    const size_t n = sizeof(order) / sizeof(order[0]);
    hooks.namespace = "blue";
    hooks.static_fields = static_fields;
    hooks.n_static_fields = 2;
    const struct remoting_command *way = before("11.0.0.1:10911");
    struct ext_field written[EXT_FIELDS_MAX];
    char first[ACL_SIGNATURE_SIZE];
    for (unsigned attempt = 0; attempt < 3; attempt++) {
        ck_assert_uint_eq(way->ext_fields.n, n);
        for (size_t i = 0; i < n; i++) {
            ck_assert(span_equals_text(way->ext_fields.fields[i].key, order[i]));
        }
        check_field(way, "AccessKey", "AK2");
        ck_assert_int_eq(signature, RPC_SIGNED_HERE);
        struct span made = ext_fields_text(&way->ext_fields, "Signature");
        if (attempt == 0) {
            (void)snprintf(first, sizeof(first), "%.*s", SPAN_ARGS(made));
        }
        ck_assert(span_equals_text(made, first));
        /* As it was written: what was added stands in it, and its texts are its own. */
        struct remoting_command again = *way;
        memcpy(written, way->ext_fields.fields, n * sizeof(written[0]));
        written[n - 1].value = span_of(first);
        again.ext_fields.fields = written;
        way = rpc_hooks_before(&hooks, &again, "11.0.0.1:10911", &signature);
        ck_assert_ptr_nonnull(way);
    }
}
END_TEST

START_TEST(what_goes_to_nobodys_broker_is_not_signed)
{
    signature = RPC_MUST_NOT_BE_SIGNED;
    hooks.namespace = "blue";
    const struct remoting_command *way = before("10.0.0.1:1");
    check_field(way, "AccessKey", NULL);
    check_field(way, "Signature", NULL);
    check_field(way, "ns", "blue");
    ck_assert_int_eq(signature, RPC_MUST_NOT_BE_SIGNED);
}
END_TEST

START_TEST(a_full_command_has_room_for_all_that_hooks_add)
{
    hooks.namespace = "blue";
    char *many[RPC_HOOK_STATIC_FIELDS_MAX];
    char texts[RPC_HOOK_STATIC_FIELDS_MAX][16];
    for (size_t i = 0; i < RPC_HOOK_STATIC_FIELDS_MAX; i++) {
        ck_assert_int_gt(sprintf(texts[i], "s%zu=v", i), 0);
        many[i] = texts[i];
    }
    hooks.static_fields = many;
    hooks.n_static_fields = RPC_HOOK_STATIC_FIELDS_MAX;
    const size_t n_completed = EXT_FIELDS_MAX + RPC_HOOK_COMPLETED_FIELDS_MAX;
    static struct ext_field full[EXT_FIELDS_MAX + RPC_HOOK_COMPLETED_FIELDS_MAX];
    ext_fields_init(&command.ext_fields, full, n_completed);
    while (command.ext_fields.n < n_completed) {
        ck_assert(ext_fields_add(&command.ext_fields, SPAN("k"), SPAN("v")));
    }
    const struct remoting_command *way =
        rpc_hooks_before(&hooks, &command, "11.0.0.1:1", &signature);
    ck_assert_ptr_nonnull(way);
    ck_assert_uint_eq(way->ext_fields.n, RPC_HOOK_FIELDS_MAX);
    check_field(way, "s63", "v");
    ck_assert_uint_eq(ext_fields_text(&way->ext_fields, "Signature").n, ACL_SIGNATURE_SIZE - 1);
}
END_TEST

/* The brokers' own words (measured). */
static const struct {
    const char *remark;
    const char *address;
    enum rpc_signature signature;
    const char *expected; /* in the remark that the caller sees; NULL: as it came */
} refusals[] = {
    { "check signature failed.", "10.0.0.1:1", RPC_SIGNED_HERE, "signed as AK1 by [acl inner]" },
    { "username cannot be null.", "10.0.0.1:1", RPC_NOT_SIGNED, "no [acl NAME]" },
    { "check signature failed.", "10.0.0.1:1", RPC_SIGNED_BY_CALLER, NULL },
    { "the topic is read only", "10.0.0.1:1", RPC_NOT_SIGNED, NULL },
};

START_TEST(a_refusal_says_what_to_do)
{
    struct remoting_command response = {
        .code = RESPONSE_NO_PERMISSION,
        .remark = span_of(refusals[_i].remark),
    };
    rpc_hooks_after(&hooks, &response, refusals[_i].address, refusals[_i].signature);
    ck_assert(span_starts_with(response.remark, span_of(refusals[_i].remark)));
    if (refusals[_i].expected) {
        ck_assert_ptr_nonnull(strstr(response.remark.data, refusals[_i].expected));
        ck_assert_ptr_null(strstr(response.remark.data, "SK1"));
    } else {
        ck_assert(span_equals_text(response.remark, refusals[_i].remark));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core/rpc_hooks");
    TCase *tcase = tcase_create("rpc_hooks");
    tcase_add_checked_fixture(tcase, make, drop);
    tcase_add_test(tcase, without_hooks_a_command_goes_as_it_is);
    tcase_add_loop_test(tcase, the_first_credentials_whose_addresses_hold_the_target_sign, 0,
        sizeof(targets) / sizeof(*targets));
    tcase_add_test(tcase, the_signature_is_made_over_what_the_other_hooks_added);
    tcase_add_test(tcase, a_field_of_the_caller_is_left_as_it_is);
    tcase_add_test(tcase, a_command_that_its_caller_signed_is_not_touched);
    tcase_add_test(tcase, each_field_is_added_once_and_again_for_a_repetition_in_the_stated_order);
    tcase_add_test(tcase, what_goes_to_nobodys_broker_is_not_signed);
    tcase_add_test(tcase, a_full_command_has_room_for_all_that_hooks_add);
    tcase_add_loop_test(tcase, a_refusal_says_what_to_do, 0, sizeof(refusals) / sizeof(*refusals));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
