#include "protocol/acl_signature.h"

#include <stdlib.h>

#include "protocol/remoting_command.h"
#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

/* Signed requests that a real broker accepted (its answer was not NO_PERMISSION), and their users'
 * secrets. */
static const struct {
    const char *file;
    struct span secret_key;
} accepted[] = {
    { "acl_send_signed.json.request.bin", SPAN("rocketmq1") },
    { "acl_create_user.json.request.bin", SPAN("rocketmq1") },
    { "acl_create_acl.json.request.bin", SPAN("rocketmq1") },
};

static void sign(const struct ext_fields *fields, struct span body, struct span secret_key,
    char dst[static ACL_SIGNATURE_SIZE])
{
    struct acl_signer *signer = acl_signer_new(secret_key);
    ck_assert_ptr_nonnull(signer);
    /* The second time shows that nothing of the first is left. */
    ck_assert(acl_sign(signer, fields, body, dst));
    ck_assert(acl_sign(signer, fields, body, dst));
    acl_signer_free(signer);
}

START_TEST(requests_that_a_broker_accepted_have_the_signature_they_carry)
{
    struct golden *golden = golden_load();
    const struct golden_frame *frame = golden_find(golden, accepted[_i].file);
    uint8_t *copy = golden_copy_frame(frame);
    struct ext_field storage[EXT_FIELDS_MAX];
    struct remoting_command command;
    enum serialize_type serialize_type;
    struct header_problem problem;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    ck_assert_int_eq(
        remoting_command_decode(&command, copy, frame->size, &serialize_type, &problem), HEADER_OK);
    char signature[ACL_SIGNATURE_SIZE];
    sign(&command.ext_fields, command.body, accepted[_i].secret_key, signature);
    struct span expected = ext_fields_text(&command.ext_fields, "Signature");
    ck_assert_msg(span_equals_text(expected, signature), "saw %s, the frame has %.*s", signature,
        SPAN_ARGS(expected));
    free(copy);
    golden_free(golden);
}
END_TEST

/* Made with AclClientRPCHook of RocketMQ 5.3.3. */
START_TEST(a_token_is_signed_between_the_access_key_and_an_empty_heartbeat)
{
    struct ext_field storage[4];
    struct ext_fields fields;
    ext_fields_init(&fields, storage, 4);
    ck_assert(ext_fields_add(&fields, SPAN("SecurityToken"), SPAN("TOK")));
    ck_assert(ext_fields_add(&fields, SPAN("AccessKey"), SPAN("AK")));
    char signature[ACL_SIGNATURE_SIZE];
    sign(&fields, SPAN("{}"), SPAN("SK"), signature);
    ck_assert_str_eq(signature, "eZynKq5lGfNmLB63nwWU2mxBXbk=");
}
END_TEST

START_TEST(keys_are_ordered_by_their_bytes_and_a_prefix_comes_first)
{
    struct ext_field storage[4];
    struct ext_fields fields;
    char in_order[ACL_SIGNATURE_SIZE];
    char signature[ACL_SIGNATURE_SIZE];
    ext_fields_init(&fields, storage, 4);
    ck_assert(ext_fields_add(&fields, SPAN("x"), SPAN("ZaAbBc")));
    sign(&fields, SPAN_ABSENT, SPAN("SK"), in_order);
    ext_fields_init(&fields, storage, 4);
    ck_assert(ext_fields_add(&fields, SPAN("ab"), SPAN("Bc")));
    ck_assert(ext_fields_add(&fields, SPAN("a"), SPAN("Ab")));
    ck_assert(ext_fields_add(&fields, SPAN("Z"), SPAN("Za")));
    ck_assert(ext_fields_add(&fields, SPAN("Signature"), SPAN("an old one")));
    sign(&fields, SPAN_ABSENT, SPAN("SK"), signature);
    ck_assert_str_eq(signature, in_order);
}
END_TEST

START_TEST(more_fields_than_a_command_can_have_are_not_signed)
{
    static struct ext_field storage[ACL_FIELDS_MAX + 1];
    struct ext_fields fields;
    char signature[ACL_SIGNATURE_SIZE];
    struct acl_signer *signer = acl_signer_new(SPAN("SK"));
    ck_assert_ptr_nonnull(signer);
    ext_fields_init(&fields, storage, ACL_FIELDS_MAX + 1);
    for (size_t i = 0; i <= ACL_FIELDS_MAX; i++) {
        ck_assert(ext_fields_add(&fields, SPAN("k"), SPAN("v")));
    }
    ck_assert(!acl_sign(signer, &fields, SPAN_ABSENT, signature));
    acl_signer_free(signer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("protocol/acl_signature");
    TCase *tcase = tcase_create("acl_signature");
    tcase_add_loop_test(tcase, requests_that_a_broker_accepted_have_the_signature_they_carry, 0,
        sizeof(accepted) / sizeof(*accepted));
    tcase_add_test(tcase, a_token_is_signed_between_the_access_key_and_an_empty_heartbeat);
    tcase_add_test(tcase, keys_are_ordered_by_their_bytes_and_a_prefix_comes_first);
    tcase_add_test(tcase, more_fields_than_a_command_can_have_are_not_signed);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
