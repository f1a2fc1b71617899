#include "protocol/remoting_command.h"

#include <stdlib.h>

#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#endif
#endif

/* Every allocation of the process is counted, whoever makes it. */
static size_t n_allocations;

#ifdef HAS_ADDRESS_SANITIZER
/* gcc 12 has the function, but not the header that declares it. */
int __sanitizer_install_malloc_and_free_hooks(
    void (*on_malloc)(const volatile void *data, size_t n),
    void (*on_free)(const volatile void *data));

static void count_malloc(const volatile void *data, size_t n)
{
    (void)data;
    (void)n;
    n_allocations++;
}

static void ignore_free(const volatile void *data)
{
    (void)data;
}

static void count_allocations(void)
{
    ck_assert_int_ne(__sanitizer_install_malloc_and_free_hooks(count_malloc, ignore_free), 0);
}
#else
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *data, size_t n);

void *malloc(size_t n)
{
    n_allocations++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    n_allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *data, size_t n)
{
    n_allocations++;
    return __libc_realloc(data, n);
}

static void count_allocations(void)
{
}
#endif

static struct ext_field storage[EXT_FIELDS_MAX];

static enum header_status decode(struct remoting_command *command, uint8_t *frame, size_t size,
    struct header_problem *ret_problem)
{
    enum serialize_type serialize_type = SERIALIZE_JSON;
    remoting_command_init(command, storage, EXT_FIELDS_MAX);
    return remoting_command_decode(command, frame, size, &serialize_type, ret_problem);
}

/* A frame around a JSON header and a body. To be freed. */
static uint8_t *make_frame(const char *header, const char *body, size_t *ret_size)
{
    size_t n_header = strlen(header);
    *ret_size = FRAME_PREFIX_SIZE + n_header + strlen(body);
    uint8_t *frame = malloc(*ret_size);
    ck_assert_ptr_nonnull(frame);
    frame_encode_prefix(frame, SERIALIZE_JSON, n_header, strlen(body));
    memcpy(frame + FRAME_PREFIX_SIZE, header, n_header);
    memcpy(frame + FRAME_PREFIX_SIZE + n_header, body, strlen(body));
    return frame;
}

START_TEST(decoding_a_send_allocates_nothing)
{
    static const char *const files[] = { "send_message.json.request.bin",
        "java_send_message_v2_oneway.json.request.bin", "send_message.binary.request.bin" };
    count_allocations();
    struct golden *golden = golden_load();
    const struct golden_frame *frame = golden_find(golden, files[_i]);
    uint8_t *copy = golden_copy_frame(frame);
    /* The counter works: every frame took at least one. */
    ck_assert_uint_gt(n_allocations, golden->n);

    struct remoting_command command;
    struct header_problem problem;
    size_t n_before = n_allocations;
    enum header_status status = decode(&command, copy, frame->size, &problem);
    size_t n_after = n_allocations;

    ck_assert_uint_eq(n_after, n_before);
    ck_assert_int_eq((int)status, (int)HEADER_OK);
    ck_assert_uint_ge(command.ext_fields.n, 10);
    free(copy);
    golden_free(golden);
}
END_TEST

START_TEST(encoding_allocates_nothing)
{
    count_allocations();
    struct remoting_command command;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    command.remark = SPAN("line\nline");
    uint8_t head[256];
    free(golden_copy((const uint8_t *)"x", 1));
    size_t n_before = n_allocations;
    size_t json_size = remoting_command_encoded_head_size(&command, SERIALIZE_JSON);
    if (json_size <= sizeof(head)) {
        remoting_command_encode_head(&command, SERIALIZE_JSON, head);
    }
    size_t binary_size = remoting_command_encoded_head_size(&command, SERIALIZE_ROCKETMQ);
    if (binary_size <= sizeof(head)) {
        remoting_command_encode_head(&command, SERIALIZE_ROCKETMQ, head);
    }
    size_t n_after = n_allocations;
    ck_assert_uint_gt(n_before, 0);
    ck_assert_uint_eq(n_after, n_before);
    ck_assert_uint_le(json_size, sizeof(head));
    ck_assert_uint_le(binary_size, sizeof(head));
}
END_TEST

START_TEST(flag_tells_responses_and_oneways)
{
    struct remoting_command command = { .flag = 0 };
    ck_assert(!remoting_command_is_response(&command) && !remoting_command_is_oneway(&command));
    command.flag = REMOTING_FLAG_RESPONSE;
    ck_assert(remoting_command_is_response(&command) && !remoting_command_is_oneway(&command));
    command.flag = REMOTING_FLAG_ONEWAY | 0x100;
    ck_assert(!remoting_command_is_response(&command) && remoting_command_is_oneway(&command));
}
END_TEST

START_TEST(body_is_what_follows_the_header)
{
    size_t size;
    uint8_t *frame = make_frame("{\"opaque\":1}", "{\"body\":[", &size);
    struct remoting_command command;
    struct header_problem problem;
    ck_assert_int_eq((int)decode(&command, frame, size, &problem), (int)HEADER_OK);
    ck_assert(span_equals_text(command.body, "{\"body\":["));
    ck_assert_ptr_eq(command.body.data, (char *)frame + 20);
    free(frame);
}
END_TEST

START_TEST(header_that_was_refused_leaves_numbers_but_no_texts)
{
    size_t size;
    uint8_t *frame = make_frame(
        "{\"extFields\":{\"a\":\"\\u0041\"},\"opaque\":9,\"remark\":\"\\n\",\"code\":\"x\"}", "",
        &size);
    struct remoting_command command;
    struct header_problem problem;
    ck_assert_int_eq((int)decode(&command, frame, size, &problem), (int)HEADER_INVALID);
    ck_assert_uint_eq(command.present, REMOTING_HAS_OPAQUE);
    ck_assert_int_eq(command.opaque, 9);
    ck_assert(span_is_absent(command.remark));
    ck_assert(!command.has_ext_fields);
    ck_assert_uint_eq(command.ext_fields.n, 0);
    ck_assert_str_eq(
        problem.text, "code: saw \"x\"; accepted: an integer from -2147483648 to 2147483647");
    free(frame);
}
END_TEST

START_TEST(empty_header_is_no_header_in_either_form)
{
    for (uint8_t type = SERIALIZE_JSON; type <= SERIALIZE_ROCKETMQ; type++) {
        uint8_t frame[] = { 0, 0, 0, 4, type, 0, 0, 0 };
        struct remoting_command command;
        struct header_problem problem;
        ck_assert_int_eq((int)decode(&command, frame, sizeof(frame), &problem), (int)HEADER_SYNTAX);
        ck_assert_uint_eq(command.present, 0);
    }
}
END_TEST

START_TEST(rebase_moves_what_points_into_the_frame_and_nothing_else)
{
    size_t size;
    uint8_t *frame = make_frame("{\"remark\":\"r\",\"extFields\":{\"k\":\"v\"}}", "", &size);
    struct remoting_command command;
    struct header_problem problem;
    ck_assert_int_eq((int)decode(&command, frame, size, &problem), (int)HEADER_OK);
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("ours"), SPAN_ABSENT));
    const char *ours = command.ext_fields.fields[1].key.data;
    uint8_t *copy = golden_copy(frame, size);
    remoting_command_rebase(&command, frame, size, copy);
    free(frame);

    ck_assert(span_equals_text(command.remark, "r"));
    ck_assert(span_equals_text(ext_fields_text(&command.ext_fields, "k"), "v"));
    ck_assert_ptr_eq(command.body.data, (char *)copy + size);
    ck_assert_ptr_eq(command.ext_fields.fields[1].key.data, ours);
    ck_assert(span_is_absent(command.ext_fields.fields[1].value));
    free(copy);
}
END_TEST

START_TEST(header_beyond_24_bits_has_no_encoding)
{
    struct remoting_command command;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    size_t n_fixed = remoting_command_encoded_head_size(&command, SERIALIZE_ROCKETMQ) - 8;
    size_t n = FRAME_HEADER_LENGTH_MAX - n_fixed;
    char *remark = malloc(n + 1);
    ck_assert_ptr_nonnull(remark);
    memset(remark, 'r', n + 1);
    command.remark = (struct span){ remark, n };
    ck_assert_uint_eq(
        remoting_command_encoded_head_size(&command, SERIALIZE_ROCKETMQ), 8 + 0x00FFFFFF);
    command.remark.n++;
    ck_assert_uint_eq(remoting_command_encoded_head_size(&command, SERIALIZE_ROCKETMQ), 0);
    ck_assert_uint_eq(remoting_command_encoded_head_size(&command, SERIALIZE_JSON), 0);
    free(remark);
}
END_TEST

START_TEST(head_has_room_wherever_it_has_an_encoding_that_fits_a_frame)
{
    const size_t remark_sizes[] = { 0, 1000, 1300, 1400, 8000, 100000 };
    const enum serialize_type types[] = { SERIALIZE_JSON, SERIALIZE_ROCKETMQ };
    char *remark = calloc(1, 100000); /* each byte is six in JSON */
    ck_assert_ptr_nonnull(remark);
    for (size_t i = 0; i < 2 * sizeof(remark_sizes) / sizeof(remark_sizes[0]); i++) {
        struct remoting_command command;
        remoting_command_init(&command, storage, EXT_FIELDS_MAX);
        command.opaque = command.code = command.version = command.flag = INT32_MIN;
        command.language = LANGUAGE_DELPHI;
        command.has_ext_fields = true;
        command.remark = (struct span){ remark, remark_sizes[i / 2] };
        size_t size = remoting_command_encoded_head_size(&command, types[i % 2]);
        ck_assert_uint_ge(remoting_command_head_room(&command, types[i % 2]), size);
        command.body = (struct span){ remark, FRAME_SIZE_MAX - size };
        ck_assert_uint_eq(remoting_command_head_room(&command, types[i % 2]), size);
        command.body.n++;
        ck_assert_uint_eq(remoting_command_head_room(&command, types[i % 2]), 0);
    }
    free(remark);
}
END_TEST

/* LanguageCode.java */
static const char *const languages[] = { "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG",
    "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST", "NODE_JS" };

START_TEST(languages_have_the_names_and_numbers_of_java)
{
    const int64_t n = sizeof(languages) / sizeof(languages[0]);
    for (int64_t i = 0; i < n; i++) {
        enum language language = language_from_number(i);
        ck_assert_int_eq((int)language, (int)i);
        ck_assert(span_equals_text(language_name(language), languages[i]));
        ck_assert_int_eq((int)language_from_name(span_of(languages[i])), (int)i);
    }
    ck_assert_int_eq((int)language_from_number(n), (int)LANGUAGE_UNKNOWN);
    ck_assert_int_eq((int)language_from_number(-1), (int)LANGUAGE_UNKNOWN);
    ck_assert_int_eq((int)language_from_number(INT64_MIN), (int)LANGUAGE_UNKNOWN);
    ck_assert_int_eq((int)language_from_name(SPAN("java")), (int)LANGUAGE_UNKNOWN);
    ck_assert_int_eq((int)language_from_name(SPAN("")), (int)LANGUAGE_UNKNOWN);
    ck_assert(span_equals_text(language_name(LANGUAGE_UNKNOWN), "OTHER"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("remoting_command");
    TCase *tcase = tcase_create("remoting_command");
    tcase_add_loop_test(tcase, decoding_a_send_allocates_nothing, 0, 3);
    tcase_add_test(tcase, encoding_allocates_nothing);
    tcase_add_test(tcase, flag_tells_responses_and_oneways);
    tcase_add_test(tcase, body_is_what_follows_the_header);
    tcase_add_test(tcase, header_that_was_refused_leaves_numbers_but_no_texts);
    tcase_add_test(tcase, empty_header_is_no_header_in_either_form);
    tcase_add_test(tcase, rebase_moves_what_points_into_the_frame_and_nothing_else);
    tcase_add_test(tcase, header_beyond_24_bits_has_no_encoding);
    tcase_add_test(tcase, head_has_room_wherever_it_has_an_encoding_that_fits_a_frame);
    tcase_add_test(tcase, languages_have_the_names_and_numbers_of_java);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
