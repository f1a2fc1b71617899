#include "protocol/header_rocketmq.h"

#include <stdlib.h>

#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

static struct ext_field storage[EXT_FIELDS_MAX];

#define N_MUTATIONS 50000

/* code 10, language GO, version 479, opaque -2, flag 1 */
#define NUMBERS "\x00\x0A\x09\x01\xDF\xFF\xFF\xFF\xFE\x00\x00\x00\x01"
#define NOTHING "\x00\x00\x00\x00"

static enum header_status decode(
    struct remoting_command *command, struct span header, struct header_problem *ret_problem)
{
    uint8_t *copy = golden_copy((const uint8_t *)header.data, header.n);
    *ret_problem = (struct header_problem){ "" };
    remoting_command_init(command, storage, EXT_FIELDS_MAX);
    enum header_status status = header_rocketmq_decode(command, copy, header.n, ret_problem);
    remoting_command_rebase(command, copy, header.n, header.data);
    free(copy);
    return status;
}

struct header_case {
    const char *name;
    struct span header;
    enum header_status status;
    const char *named; /* what the problem names */
};

static const struct header_case cases[] = {
    { "least header", SPAN(NUMBERS NOTHING NOTHING), HEADER_OK, "" },
    { "remark", SPAN(NUMBERS "\0\0\0\2hi" NOTHING), HEADER_OK, "" },
    { "one field", SPAN(NUMBERS NOTHING "\0\0\0\x8\0\1a\0\0\0\1b"), HEADER_OK, "" },
    { "empty key", SPAN(NUMBERS NOTHING "\0\0\0\x7\0\0\0\0\0\1b"), HEADER_OK, "" },

    { "no bytes", SPAN(""), HEADER_SYNTAX, "byte 0" },
    { "numbers only", SPAN(NUMBERS), HEADER_SYNTAX, "byte 13" },
    { "negative remark length", SPAN(NUMBERS "\xFF\xFF\xFF\xFF" NOTHING), HEADER_SYNTAX, "length" },
    { "remark that runs over", SPAN(NUMBERS "\0\0\0\5" NOTHING), HEADER_SYNTAX, "length" },
    { "remark that wraps", SPAN(NUMBERS "\x7F\xFF\xFF\xFF" NOTHING), HEADER_SYNTAX, "length" },
    { "negative ext length", SPAN(NUMBERS NOTHING "\xFF\xFF\xFF\xFF"), HEADER_SYNTAX, "length" },
    { "ext length that runs over", SPAN(NUMBERS NOTHING "\0\0\0\1"), HEADER_SYNTAX, "length" },
    { "bytes after the ext fields", SPAN(NUMBERS NOTHING NOTHING "x"), HEADER_SYNTAX, "length" },
    { "negative key length",
        SPAN(NUMBERS NOTHING "\0\0\0\x8\xFF\xFF"
                             "a\0\0\0\1b"),
        HEADER_SYNTAX, "length" },
    { "key that runs over",
        SPAN(NUMBERS NOTHING "\0\0\0\x8\0\xF"
                             "a\0\0\0\1b"),
        HEADER_SYNTAX, "length" },
    { "negative value length", SPAN(NUMBERS NOTHING "\0\0\0\x8\0\1a\x80\0\0\0b"), HEADER_SYNTAX,
        "length" },
    { "value that runs over", SPAN(NUMBERS NOTHING "\0\0\0\x8\0\1a\0\0\0\2b"), HEADER_SYNTAX,
        "length" },
    { "key without value", SPAN(NUMBERS NOTHING "\0\0\0\3\0\1a"), HEADER_SYNTAX, "length" },
    { "bad text, but a wrong length after it", SPAN(NUMBERS NOTHING "\0\0\0\x9\0\1a\0\0\0\1\xFF\0"),
        HEADER_SYNTAX, "length" },

    { "key that stands twice", SPAN(NUMBERS NOTHING "\0\0\0\x10\0\1a\0\0\0\1b\0\1a\0\0\0\1c"),
        HEADER_INVALID, "a: saw it twice" },
    { "remark that is not UTF-8", SPAN(NUMBERS "\0\0\0\2\xC0\x80" NOTHING), HEADER_INVALID,
        "remark: " },
    { "value with a surrogate", SPAN(NUMBERS NOTHING "\0\0\0\xA\0\1a\0\0\0\3\xED\xA0\x80"),
        HEADER_INVALID, "a: " },
    { "value with a zero byte", SPAN(NUMBERS NOTHING "\0\0\0\x9\0\1a\0\0\0\2b\0"), HEADER_INVALID,
        "a: " },
    { "key that is not UTF-8", SPAN(NUMBERS NOTHING "\0\0\0\x8\0\1\xFF\0\0\0\1b"), HEADER_INVALID,
        "a key of extFields: " },
};

START_TEST(header_is_judged_by_its_lengths_and_its_text)
{
    const struct header_case *row = &cases[_i];
    struct remoting_command command;
    struct header_problem problem;
    enum header_status status = decode(&command, row->header, &problem);
    ck_assert_msg(status == row->status, "%s: %s", row->name, problem.text);
    ck_assert_msg(strstr(problem.text, row->named), "%s: %s", row->name, problem.text);
    ck_assert_msg((status == HEADER_OK) == (problem.text[0] == '\0'), "%s", row->name);
    if (row->header.n >= sizeof(NUMBERS) - 1) {
        ck_assert(command.present & REMOTING_HAS_OPAQUE);
        ck_assert_int_eq(command.opaque, -2);
    }
}
END_TEST

START_TEST(numbers_are_signed_and_texts_are_spans)
{
    struct remoting_command command;
    struct header_problem problem;
    struct span header = SPAN("\xFF\xFE\xFF\xFF\xFD\x80\x00\x00\x00\xFF\xFF\xFF\xFF"
                              "\0\0\0\2hi\0\0\0\x9\0\1k\0\0\0\2vw");
    ck_assert_int_eq((int)decode(&command, header, &problem), (int)HEADER_OK);
    ck_assert_int_eq(command.code, -2);
    ck_assert_int_eq((int)command.language, (int)LANGUAGE_UNKNOWN);
    ck_assert_int_eq(command.version, -3);
    ck_assert_int_eq(command.opaque, INT32_MIN);
    ck_assert_int_eq(command.flag, -1);
    ck_assert_ptr_eq(command.remark.data, header.data + 17);
    ck_assert(span_equals_text(command.remark, "hi"));
    ck_assert(command.has_ext_fields);
    ck_assert_uint_eq(command.ext_fields.n, 1);
    ck_assert(span_equals_text(ext_fields_text(&command.ext_fields, "k"), "vw"));
}
END_TEST

/* wire.md A3: GET_ROUTEINFO T, acceptStandardJsonOnly, opaque 7, version 477, CPP, made by Java. */
START_TEST(route_request_is_encoded_as_by_java)
{
    static const char expected[] =
        "\x00\x69\x01\x01\xDD\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x2C"
        "\x00\x05topic\x00\x00\x00\x01T\x00\x16"
        "acceptStandardJsonOnly\x00\x00\x00\x04true";
    struct remoting_command command;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    command.code = 105;
    command.language = LANGUAGE_CPP;
    command.version = 477;
    command.opaque = 7;
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("topic"), SPAN("T")));
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("acceptStandardJsonOnly"), SPAN("true")));
    uint8_t header[sizeof(expected) - 1];
    ck_assert_uint_eq(header_rocketmq_encoded_size(&command), sizeof(header));
    ck_assert_uint_eq(header_rocketmq_encode(&command, header), sizeof(header));
    ck_assert_mem_eq(header, expected, sizeof(header));
}
END_TEST

START_TEST(empty_texts_are_left_out)
{
    static const char expected[] =
        "\x0D\x72\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\0\0\0\0\0\0\0\x8\0\1a\0\0\0\1b";
    struct remoting_command command;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    command.code = 200050; /* cut to 16 bits, as by Java: 3442 */
    command.language = LANGUAGE_UNKNOWN;
    command.remark = SPAN("");
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("x"), SPAN("")));
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("a"), SPAN("b")));
    ck_assert(ext_fields_add(&command.ext_fields, SPAN(""), SPAN("y")));
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("z"), SPAN_ABSENT));
    uint8_t header[sizeof(expected) - 1];
    ck_assert_uint_eq(header_rocketmq_encoded_size(&command), sizeof(header));
    ck_assert_uint_eq(header_rocketmq_encode(&command, header), sizeof(header));
    ck_assert_mem_eq(header, expected, sizeof(header));
}
END_TEST

START_TEST(empty_value_is_kept_when_read)
{
    struct remoting_command command;
    struct header_problem problem;
    struct span header = SPAN(NUMBERS NOTHING "\0\0\0\7\0\1i\0\0\0\0");
    ck_assert_int_eq((int)decode(&command, header, &problem), (int)HEADER_OK);
    ck_assert_uint_eq(command.ext_fields.n, 1);
    struct span value = ext_fields_text(&command.ext_fields, "i");
    ck_assert(!span_is_absent(value) && span_is_empty(value));
    ck_assert(span_is_absent(command.remark));
}
END_TEST

START_TEST(key_longer_than_its_length_can_say_has_no_encoding)
{
    static char key[INT16_MAX + 1];
    memset(key, 'k', sizeof(key));
    struct remoting_command command;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    ck_assert(
        ext_fields_add(&command.ext_fields, (struct span){ key, sizeof(key) - 1 }, SPAN("v")));
    ck_assert_uint_eq(header_rocketmq_encoded_size(&command), 21 + 2 + INT16_MAX + 4 + 1);
    command.ext_fields.fields[0].key.n++;
    ck_assert_uint_eq(header_rocketmq_encoded_size(&command), 0);
}
END_TEST

START_TEST(fields_beyond_the_array_are_invalid)
{
    /* "0000".."0256", each with the value "v" */
    enum { FIELD_SIZE = 2 + 4 + 4 + 1, N_FIELDS = EXT_FIELDS_MAX + 1 };
    static char header[21 + N_FIELDS * FIELD_SIZE];
    struct remoting_command command;
    struct header_problem problem;
    for (size_t n = EXT_FIELDS_MAX; n <= N_FIELDS; n++) {
        memcpy(header, NUMBERS NOTHING, 17);
        size_t ext_size = n * FIELD_SIZE;
        memcpy(header + 17, (char[]){ 0, 0, (char)(ext_size >> 8), (char)ext_size }, 4);
        for (size_t i = 0; i < n; i++) {
            char field[FIELD_SIZE + 1];
            memcpy(field, "\0\4????\0\0\0\1v", FIELD_SIZE);
            for (size_t digit = 0, rest = i; digit < 4; digit++, rest /= 10) {
                field[5 - digit] = (char)('0' + rest % 10);
            }
            memcpy(header + 21 + i * FIELD_SIZE, field, FIELD_SIZE);
        }
        enum header_status status =
            decode(&command, (struct span){ header, 21 + ext_size }, &problem);
        ck_assert_int_eq((int)status, (int)(n == EXT_FIELDS_MAX ? HEADER_OK : HEADER_INVALID));
    }
    ck_assert_str_eq(problem.text, "extFields: saw too many fields; accepted: at most 256");
}
END_TEST

/* What was accepted must come back the same when it is encoded and decoded again. */
static void assert_round_trip(struct remoting_command *command)
{
    static struct ext_field other_storage[EXT_FIELDS_MAX];
    size_t size = header_rocketmq_encoded_size(command);
    ck_assert_uint_ge(size, 21);
    uint8_t *header = malloc(size);
    ck_assert_ptr_nonnull(header);
    ck_assert_uint_eq(header_rocketmq_encode(command, header), size);
    struct remoting_command again;
    struct header_problem problem;
    remoting_command_init(&again, other_storage, EXT_FIELDS_MAX);
    ck_assert_int_eq((int)header_rocketmq_decode(&again, header, size, &problem), (int)HEADER_OK);
    ck_assert(again.code == command->code && again.opaque == command->opaque &&
              again.flag == command->flag && again.version == command->version &&
              span_equals(again.remark, command->remark));
    size_t at = 0;
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        struct ext_field field = command->ext_fields.fields[i];
        if (field.key.n > 0 && field.value.n > 0) {
            ck_assert(span_equals(again.ext_fields.fields[at].key, field.key));
            ck_assert(span_equals(again.ext_fields.fields[at].value, field.value));
            at++;
        }
    }
    ck_assert_uint_eq(again.ext_fields.n, at);
    free(header);
}

START_TEST(mutated_golden_header_is_refused_or_survives_encoding)
{
    struct golden *golden = golden_load();
    uint32_t state = 4711;
    size_t n_good = 0;
    size_t n_refused = 0;
    for (size_t i = 0; n_good + n_refused < N_MUTATIONS; i++) {
        const struct golden_frame *frame = &golden->frames[i % golden->n];
        struct frame_parts parts;
        frame_split(frame->data, frame->size, &parts);
        if (parts.serialize_type != SERIALIZE_ROCKETMQ) {
            continue;
        }
        uint8_t *copy = golden_copy(parts.header, parts.header_size);
        for (size_t flips = 0; flips <= i % 3; flips++) {
            state = state * 1664525u + 1013904223u;
            copy[(state >> 8) % parts.header_size] ^= (uint8_t)(1u << (state >> 29));
        }
        struct remoting_command command;
        struct header_problem problem;
        remoting_command_init(&command, storage, EXT_FIELDS_MAX);
        if (header_rocketmq_decode(&command, copy, parts.header_size, &problem) == HEADER_OK) {
            assert_round_trip(&command);
            n_good++;
        } else {
            n_refused++;
        }
        free(copy);
    }
    ck_assert_uint_gt(n_good, N_MUTATIONS / 10);
    ck_assert_uint_gt(n_refused, N_MUTATIONS / 10);
    golden_free(golden);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("header_rocketmq");
    TCase *tcase = tcase_create("header_rocketmq");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, header_is_judged_by_its_lengths_and_its_text, 0,
        (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tcase, numbers_are_signed_and_texts_are_spans);
    tcase_add_test(tcase, route_request_is_encoded_as_by_java);
    tcase_add_test(tcase, empty_texts_are_left_out);
    tcase_add_test(tcase, empty_value_is_kept_when_read);
    tcase_add_test(tcase, key_longer_than_its_length_can_say_has_no_encoding);
    tcase_add_test(tcase, fields_beyond_the_array_are_invalid);
    tcase_add_test(tcase, mutated_golden_header_is_refused_or_survives_encoding);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
