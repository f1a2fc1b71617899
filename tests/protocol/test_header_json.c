#include "protocol/header_json.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/golden.h"
#include "tests/support/header_oracle.h"
#include "tests/support/json_memory.h"
#include "tests/support/run_suite.h"

#define N_MUTATIONS 200000

static struct ext_field storage[EXT_FIELDS_MAX];

/* The same verdict and the same values as the oracle's; which verdict it was. */
static enum header_status assert_agrees(const char *data, size_t n)
{
    char text[512];
    enum header_status status = header_oracle_compare(data, n, text, sizeof(text));
    if (text[0] != '\0') {
        ck_abort_msg("%s\n%.*s", text, (int)n, data);
    }
    return status;
}

/*
 * Cases
 */

struct header_case {
    const char *name;
    struct span text;
    enum header_status status;
    const char *named; /* what the problem names, or NULL */
};

#define OK(name, text)                                                                             \
    {                                                                                              \
        name, SPAN(text), HEADER_OK, NULL                                                          \
    }
#define INVALID(name, text, named)                                                                 \
    {                                                                                              \
        name, SPAN(text), HEADER_INVALID, named                                                    \
    }
#define SYNTAX(name, text)                                                                         \
    {                                                                                              \
        name, SPAN(text), HEADER_SYNTAX, "JSON header"                                             \
    }

static const struct header_case cases[] = {
    OK("no keys", "{}"),
    OK("blanks of every kind everywhere",
        " \t\r\n{ \"code\" : 1 ,\n\"extFields\"\t:\r{ \"a\" : \"b\" , \"c\" : 1 } } \n"),
    OK("least and greatest integers",
        "{\"code\":-2147483648,\"opaque\":2147483647,\"flag\":-0,\"version\":0}"),
    OK("unknown keys", "{\"code\":10,\"new\":1,\"newer\":null}"),
    OK("unknown nested keys", "{\"x\":{\"a\":[1,{\"b\":\"]}\\\"\"}]},\"opaque\":7}"),
    OK("unknown key with brackets in strings", "{\"x\":[\"]\",\"\\\\\",\"{\"],\"opaque\":7}"),
    OK("empty key", "{\"\":1,\"extFields\":{\"\":\"x\"}}"),
    OK("null ext fields", "{\"extFields\":null,\"code\":1}"),
    OK("null ext value is absent", "{\"extFields\":{\"a\":null,\"b\":\"x\"}}"),
    OK("scalars as text", "{\"extFields\":{\"a\":1,\"b\":-0,\"c\":true,\"d\":false,\"e\":1.50}}"),
    OK("real ext values", "{\"extFields\":{\"a\":1e5,\"b\":1E-400,\"c\":0.1e+2,\"d\":-1.5}}"),
    OK("null remark", "{\"remark\":null}"),
    OK("empty remark", "{\"remark\":\"\"}"),
    OK("any serialize type", "{\"serializeTypeCurrentRPC\":[\"ROCKETMQ\"]}"),
    OK("language as number", "{\"language\":9}"),
    OK("language beyond the known", "{\"language\":-1}"),
    OK("unknown language", "{\"language\":\"COBOL\"}"),
    OK("escaped language", "{\"language\":\"\\u0047O\"}"),
    OK("escaped names of keys", "{\"\\u0063ode\":5,\"opaqu\\u0065\":6,\"\\u0065xtFields\":{}}"),
    OK("every escape", "{\"remark\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\uD83D\\uDe00\"}"),
    OK("escaped ext keys and values",
        "{\"extFields\":{\"plain\":\"1\",\"\\u0061\":\"x\\u0001y\",\"b\":\"\\\\\",\"c\":\"2\"}}"),
    OK("raw UTF-8", "{\"remark\":\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80"
                    "\x80\xF4\x8F\xBF\xBF\"}"),
    OK("DEL in a string", "{\"remark\":\"\x7F\"}"),
    OK("greatest integer of 64 bits in ext fields", "{\"extFields\":{\"a\":9223372036854775807}}"),
    OK("NUL that jansson loses behind a number or a word",
        "{\"code\":1\0,\"remark\":null\0,\"extFields\":{\"a\":true\0}}"),
    OK("least integer of 64 bits in ext fields", "{\"extFields\":{\"a\":-9223372036854775808}}"),

    INVALID("real code", "{\"code\":10.0,\"opaque\":1}", "code: saw 10.0"),
    INVALID("code with exponent", "{\"code\":1e1}", "code: saw 1e1"),
    INVALID("code as text", "{\"code\":\"10\"}", "code: saw \"10\""),
    INVALID("null code", "{\"code\":null}", "code: saw null"),
    INVALID("code beyond 32 bits", "{\"code\":2147483648}", "code: saw 2147483648"),
    INVALID("opaque below 32 bits", "{\"opaque\":-2147483649}", "opaque: saw -2147483649"),
    INVALID("flag true", "{\"flag\":true}", "flag: saw true"),
    INVALID("version as object", "{\"version\":{}}", "version: saw {}"),
    INVALID("language as real", "{\"language\":1.5}", "language: saw 1.5"),
    INVALID("null language", "{\"language\":null}", "language: saw null"),
    INVALID("remark as number", "{\"remark\":1}", "remark: saw 1"),
    INVALID("remark as array", "{\"remark\":[]}", "remark: saw []"),
    INVALID("ext fields as array", "{\"extFields\":[]}", "extFields: saw []"),
    INVALID("ext fields as text", "{\"extFields\":\"\"}", "extFields: saw \"\""),
    INVALID("ext value as array", "{\"extFields\":{\"a\":[1]}}", "a: saw [1]"),
    INVALID("ext value as object", "{\"extFields\":{\"a\":{\"b\":1}}}", "a: saw {\"b\":1}"),
    INVALID("code twice", "{\"code\":1,\"code\":1}", "code: saw it twice"),
    INVALID("ext fields twice", "{\"extFields\":{},\"extFields\":{}}", "extFields: saw it twice"),
    INVALID("ext key twice", "{\"extFields\":{\"a\":\"1\",\"a\":\"2\"}}", "a: saw it twice"),
    INVALID("ext key twice, once escaped", "{\"extFields\":{\"a\":1,\"\\u0061\":2}}",
        "a: saw it twice"),
    INVALID("known key twice, once escaped", "{\"flag\":1,\"fl\\u0061g\":1}", "saw it twice"),
    INVALID("ext key twice, once null", "{\"extFields\":{\"a\":null,\"a\":\"2\"}}", "\"a\""),
    INVALID("unknown key twice", "{\"zz\":1,\"zz\":1}", "\"zz\""),
    INVALID("nested key twice", "{\"x\":[{\"yy\":1,\"yy\":1}]}", "\"yy\""),

    SYNTAX("empty", ""),
    SYNTAX("blanks only", " \n"),
    SYNTAX("null", "null"),
    SYNTAX("array", "[1]"),
    SYNTAX("string", "\"code\""),
    SYNTAX("byte order mark", "\xEF\xBB\xBF{}"),
    SYNTAX("text after the header", "{} x"),
    SYNTAX("second header", "{}{}"),
    SYNTAX("NUL after the header", "{}\0"),
    SYNTAX("NUL between tokens", "{\0\"code\":1}"),
    SYNTAX("two NULs behind a number", "{\"code\":1\0\0}"),
    SYNTAX("NUL behind a string", "{\"remark\":\"\"\0}"),
    SYNTAX("NUL in a string", "{\"remark\":\"a\0b\"}"),
    SYNTAX("escaped NUL in a value", "{\"remark\":\"a\\u0000b\"}"),
    SYNTAX("escaped NUL in a key", "{\"a\\u0000b\":1}"),
    SYNTAX("escaped NUL in an ext key", "{\"extFields\":{\"\\u0000\":1}}"),
    SYNTAX("control character in a string", "{\"remark\":\"a\x1F\"}"),
    SYNTAX("line break in a string", "{\"remark\":\"a\n\"}"),
    SYNTAX("form feed as blank", "{\f}"),
    SYNTAX("lone high surrogate", "{\"remark\":\"\\uD83D\"}"),
    SYNTAX("high surrogate before another escape", "{\"remark\":\"\\uD83D\\u0041\"}"),
    SYNTAX("high surrogate before half an escape", "{\"remark\":\"\\uD83D\\u\"}"),
    SYNTAX("lone low surrogate", "{\"remark\":\"\\uDE00\"}"),
    SYNTAX("escape that is none", "{\"remark\":\"\\x41\"}"),
    SYNTAX("escape with three digits", "{\"remark\":\"\\u041\"}"),
    SYNTAX("escape cut short", "{\"remark\":\"\\u00"),
    SYNTAX("overlong slash", "{\"remark\":\"\xC0\xAF\"}"),
    SYNTAX("overlong in three bytes", "{\"remark\":\"\xE0\x9F\xBF\"}"),
    SYNTAX("overlong in four bytes", "{\"remark\":\"\xF0\x8F\xBF\xBF\"}"),
    SYNTAX("surrogate in UTF-8", "{\"remark\":\"\xED\xA0\x80\"}"),
    SYNTAX("beyond U+10FFFF", "{\"remark\":\"\xF4\x90\x80\x80\"}"),
    SYNTAX("continuation without lead", "{\"remark\":\"\x80\"}"),
    SYNTAX("lead without continuation", "{\"remark\":\"\xC3\"}"),
    SYNTAX("character cut by the end", "{\"remark\":\"\xE2\x82"),
    SYNTAX("bad UTF-8 in an unknown nested value", "{\"x\":[\"\xFF\"]}"),
    SYNTAX("mismatched brackets in an unknown value", "{\"x\":[1},\"opaque\":1}"),
    SYNTAX("unclosed nested value", "{\"x\":[[1]"),
    SYNTAX("unclosed string in a nested value", "{\"x\":[\"\\"),
    SYNTAX("bad nested ext value", "{\"extFields\":{\"a\":[1,]}}"),
    SYNTAX("twice, but not JSON either", "{\"x\":[{\"y\":1,\"y\":1},]}"),
    SYNTAX("wrong type, but not JSON either", "{\"code\":\"1\",\"opaque\":1,}"),
    SYNTAX("integer beyond 64 bits", "{\"code\":9223372036854775808}"),
    SYNTAX("integer below 64 bits in ext fields", "{\"extFields\":{\"a\":-9223372036854775809}}"),
    SYNTAX("real that overflows", "{\"extFields\":{\"a\":1e400}}"),
    SYNTAX("leading zero", "{\"code\":01}"),
    SYNTAX("negative leading zero", "{\"code\":-01}"),
    SYNTAX("plus sign", "{\"code\":+1}"),
    SYNTAX("minus alone", "{\"code\":-}"),
    SYNTAX("point without digits", "{\"code\":1.}"),
    SYNTAX("no digits before the point", "{\"code\":.5}"),
    SYNTAX("exponent without digits", "{\"code\":1e+}"),
    SYNTAX("hex number", "{\"code\":0x10}"),
    SYNTAX("not a number", "{\"code\":NaN}"),
    SYNTAX("number runs into a word", "{\"code\":1true}"),
    SYNTAX("word runs on", "{\"x\":truest}"),
    SYNTAX("word in capitals", "{\"x\":True}"),
    SYNTAX("word cut by the end", "{\"x\":tru"),
    SYNTAX("trailing comma", "{\"code\":1,}"),
    SYNTAX("leading comma", "{,\"code\":1}"),
    SYNTAX("no comma", "{\"code\":1 \"flag\":1}"),
    SYNTAX("no colon", "{\"code\" 1}"),
    SYNTAX("no value", "{\"code\":}"),
    SYNTAX("key without quotes", "{code:1}"),
    SYNTAX("key in single quotes", "{'code':1}"),
    SYNTAX("comment", "{/**/}"),
    SYNTAX("unclosed header", "{\"code\":1"),
    SYNTAX("ext fields unclosed", "{\"extFields\":{\"a\":\"b\""),
};

START_TEST(corner_case_is_judged_as_by_jansson)
{
    const struct header_case *row = &cases[_i];
    enum header_status status = assert_agrees(row->text.data, row->text.n);
    ck_assert_msg(status == row->status, "%s: %s", row->name, header_status_name(status));

    struct remoting_command command;
    struct header_problem problem;
    char *copy;
    (void)header_oracle_decode(&command, row->text.data, row->text.n, &problem, &copy);
    free(copy);
    ck_assert_msg(!row->named || strstr(problem.text, row->named), "%s: %s names no %s", row->name,
        problem.text, row->named);
}
END_TEST

/* The header with a middle that is a text repeated n times. To be freed. */
static char *repeat(const char *start, const char *middle, size_t n, const char *end)
{
    size_t size = strlen(start) + n * strlen(middle) + strlen(end) + 1;
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    char *at = stpcpy(text, start);
    for (size_t i = 0; i < n; i++) {
        at = stpcpy(at, middle);
    }
    (void)stpcpy(at, end);
    return text;
}

static void assert_verdict(const char *text, enum header_status expected)
{
    enum header_status status = assert_agrees(text, strlen(text));
    ck_assert_msg(status == expected, "%s: %.60s...", header_status_name(status), text);
}

START_TEST(nesting_is_accepted_to_the_depth_of_jansson)
{
    /* The header itself is the first of 2048 levels. */
    char *closing = repeat("", "]", 2047, "}");
    char *deep = repeat("{\"x\":", "[", 2047, closing);
    assert_verdict(deep, HEADER_OK);
    char *deeper_closing = repeat("", "]", 2048, "}");
    char *deeper = repeat("{\"x\":", "[", 2048, deeper_closing);
    assert_verdict(deeper, HEADER_SYNTAX);
    free(closing);
    free(deep);
    free(deeper_closing);
    free(deeper);
}
END_TEST

static char *make_ext_fields(size_t n)
{
    size_t size = 64 + n * 32;
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    char *at = stpcpy(text, "{\"extFields\":{");
    for (size_t i = 0; i < n; i++) {
        at += sprintf(at, "%s\"key%zu\":\"%zu\"", i > 0 ? "," : "", i, i);
    }
    (void)stpcpy(at, "},\"opaque\":77}");
    return text;
}

START_TEST(ext_fields_beyond_the_array_are_invalid_and_the_opaque_is_still_read)
{
    char *full = make_ext_fields(EXT_FIELDS_MAX);
    assert_verdict(full, HEADER_OK);
    free(full);
    char *fuller = make_ext_fields(300);
    assert_verdict(fuller, HEADER_INVALID);
    struct remoting_command command;
    struct header_problem problem;
    char *copy;
    (void)header_oracle_decode(&command, fuller, strlen(fuller), &problem, &copy);
    ck_assert(command.present & REMOTING_HAS_OPAQUE);
    ck_assert_int_eq(command.opaque, 77);
    ck_assert_str_eq(problem.text, "extFields: saw too many fields; accepted: at most 256");
    free(copy);
    free(fuller);
}
END_TEST

START_TEST(long_numbers_are_judged_as_by_jansson)
{
    char *fits = repeat("{\"extFields\":{\"a\":1", "0", 308, ".0}}");
    char *overflows = repeat("{\"extFields\":{\"a\":1", "0", 309, ".0}}");
    char *small = repeat("{\"extFields\":{\"a\":0.", "0", 400, "1}}");
    assert_verdict(fits, HEADER_OK);
    assert_verdict(overflows, HEADER_SYNTAX);
    assert_verdict(small, HEADER_OK);
    free(fits);
    free(overflows);
    free(small);
}
END_TEST

START_TEST(known_name_stays_known_when_every_letter_is_escaped)
{
    static const char name[] = "serializeTypeCurrentRPC";
    char text[512];
    char *at = stpcpy(text, "{\"serializeTypeCurrentRPC\":1,\"");
    for (size_t i = 0; i < sizeof(name) - 1; i++) {
        at += sprintf(at, "\\u%04x", (unsigned)name[i]);
    }
    (void)stpcpy(at, "\":2}");
    assert_verdict(text, HEADER_INVALID);
}
END_TEST

/* jansson calls a token invalid that it finds no memory for; of everything else it says nothing. */
START_TEST(memory_that_runs_out_in_jansson_is_told_where_it_tells)
{
    static const char text[] = "{\"code\":10,\"opaque\":5,\"x\":{\"y\":[1,2.5,\"z\"]}}";
    size_t n_no_memory = 0;
    enum header_status status = HEADER_NO_MEMORY;
    for (size_t n = 0; status != HEADER_OK; n++) {
        ck_assert_uint_lt(n, 1000);
        json_memory_limit(n);
        struct remoting_command command;
        struct ext_field fields[4];
        struct header_problem problem;
        char copy[sizeof(text)];
        memcpy(copy, text, sizeof(text));
        remoting_command_init(&command, fields, 4);
        status = header_json_decode(&command, copy, sizeof(text) - 1, &problem);
        ck_assert_int_eq(command.opaque, 5);
        ck_assert_int_ne((int)status, (int)HEADER_INVALID);
        bool is_told = status == HEADER_NO_MEMORY;
        n_no_memory += is_told;
        ck_assert(!is_told || strstr(problem.text, "no memory left"));
    }
    json_memory_unlimit();
    ck_assert_uint_gt(n_no_memory, 3);
}
END_TEST

START_TEST(large_header_that_jansson_would_have_to_judge_is_invalid)
{
    struct remoting_command command;
    struct header_problem problem;
    char *copy;
    static const char around[] = "{\"x\":\"\",\"opaque\":5}";
    char *text =
        repeat("{\"x\":\"", "y", HEADER_JSON_JUDGED_MAX - (sizeof(around) - 1), "\",\"opaque\":5}");
    assert_verdict(text, HEADER_OK);
    free(text);

    text = repeat("{\"x\":\"", "y", HEADER_JSON_JUDGED_MAX, "\",\"opaque\":5}");
    enum header_status status = header_oracle_decode(&command, text, strlen(text), &problem, &copy);
    ck_assert_int_eq((int)status, (int)HEADER_INVALID);
    ck_assert_int_eq(command.opaque, 5);
    ck_assert_msg(strstr(problem.text, "262163 bytes"), "%s", problem.text);
    free(copy);
    free(text);

    text = repeat("{\"remark\":\"", "y", 2 * HEADER_JSON_JUDGED_MAX, "\"}");
    assert_verdict(text, HEADER_OK);
    free(text);
}
END_TEST

START_TEST(invalid_header_tells_its_opaque_wherever_it_stands)
{
    static const struct span texts[] = {
        SPAN("{\"opaque\":42,\"code\":\"x\",\"flag\":2}"),
        SPAN("{\"code\":[],\"extFields\":{\"opaque\":7},\"flag\":2,\"opaque\":42}"),
        SPAN("{\"extFields\":{\"a\":{\"opaque\":7}},\"opaque\":42,\"flag\":2}"),
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct remoting_command command;
        struct header_problem problem;
        char *copy;
        enum header_status status =
            header_oracle_decode(&command, texts[i].data, texts[i].n, &problem, &copy);
        ck_assert_int_eq((int)status, (int)HEADER_INVALID);
        ck_assert_uint_eq(command.present, REMOTING_HAS_OPAQUE | REMOTING_HAS_FLAG);
        ck_assert_int_eq(command.opaque, 42);
        ck_assert_int_eq(command.flag, 2);
        free(copy);
    }
}
END_TEST

START_TEST(opaque_that_stands_twice_is_not_told)
{
    struct span text = SPAN("{\"opaque\":1,\"code\":2,\"opaque\":1}");
    struct remoting_command command;
    struct header_problem problem;
    char *copy;
    enum header_status status = header_oracle_decode(&command, text.data, text.n, &problem, &copy);
    ck_assert_int_eq((int)status, (int)HEADER_INVALID);
    ck_assert_uint_eq(command.present, REMOTING_HAS_CODE);
    free(copy);
}
END_TEST

START_TEST(problem_quotes_few_bytes_and_only_printable_ones)
{
    char *text = repeat("{\"extFields\":{\"\xE2\x82\xAC\\n\x7F", "k", 5000, "\":[1,2,3]}}");
    assert_verdict(text, HEADER_INVALID);
    struct remoting_command command;
    struct header_problem problem;
    char *copy;
    (void)header_oracle_decode(&command, text, strlen(text), &problem, &copy);
    ck_assert_msg(strncmp(problem.text, "???\\n?kkk", 9) == 0, "%s", problem.text);
    ck_assert_msg(strstr(problem.text, "kkk...: saw [1,2,3]; accepted: "), "%s", problem.text);
    free(copy);
    free(text);
}
END_TEST

/*
 * Mutations
 */

/* xorshift64*: the same sequence in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static size_t random_below(uint64_t *state, size_t limit)
{
    return limit > 0 ? (size_t)(next_random(state) >> 16) % limit : 0;
}

static const struct span fragments[] = {
    SPAN("{"),
    SPAN("}"),
    SPAN("["),
    SPAN("]"),
    SPAN("\""),
    SPAN("\\"),
    SPAN(","),
    SPAN(":"),
    SPAN(" "),
    SPAN("\n"),
    SPAN("0"),
    SPAN("-"),
    SPAN("."),
    SPAN("e9"),
    SPAN("1e400"),
    SPAN("null"),
    SPAN("true"),
    SPAN("\\u0000"),
    SPAN("\\u0001"),
    SPAN("\\ud83d\\ude00"),
    SPAN("\\udc00"),
    SPAN("\0"),
    SPAN("\x1F"),
    SPAN("\x7F"),
    SPAN("\xC3\xA9"),
    SPAN("\xE2\x80\xA8"),
    SPAN("\x80"),
    SPAN("\xED\xA0\x80"),
    SPAN("\"a\":1,"),
    SPAN("\"a\":null,"),
    SPAN("[1]"),
    SPAN("{}"),
    SPAN("\"code\":1,"),
    SPAN("\"extFields\":{},"),
    SPAN("\"\\u0061\":\"\","),
    SPAN("99999999999"),
    SPAN("null,\"q\":"),
    SPAN("[{}],\"q\":"),
    SPAN("1.5,\"q\":"),
    SPAN("-1,\"q\":"),
    SPAN("\"\",\"q\":"),
};

struct text {
    char data[8192];
    size_t n;
};

static void splice(struct text *text, size_t at, size_t n_removed, const char *data, size_t n)
{
    size_t n_after = text->n - at - n_removed;
    if (at + n + n_after <= sizeof(text->data)) {
        memmove(text->data + at + n, text->data + at + n_removed, n_after);
        memcpy(text->data + at, data, n);
        text->n = at + n + n_after;
    }
}

/* Anywhere, or behind a byte after which a key or a value may stand, so that it may stay JSON. */
static size_t random_place(const struct text *text, uint64_t *state)
{
    size_t at = random_below(state, text->n);
    if (random_below(state, 2) == 0) {
        return at;
    }
    while (at < text->n && (text->data[at] == '\0' || !strchr("{,:[", text->data[at]))) {
        at++;
    }
    return at < text->n ? at + 1 : at;
}

static void mutate(struct text *text, uint64_t *state)
{
    size_t at = random_place(text, state);
    size_t n = random_below(state, 12);
    n = n < text->n - at ? n : text->n - at;
    char slice[16];
    struct span fragment = fragments[random_below(state, sizeof(fragments) / sizeof(fragments[0]))];
    switch (random_below(state, 7)) {
    case 0:
        if (at < text->n) {
            text->data[at] = (char)(text->data[at] ^ 1 << random_below(state, 8));
        }
        break;
    case 1:
        splice(text, at, n, "", 0);
        break;
    case 2:
        memcpy(slice, text->data + at, n);
        splice(text, at, 0, slice, n);
        break;
    case 3:
        splice(text, at, n, fragment.data, fragment.n);
        break;
    default:
        splice(text, at, 0, fragment.data, fragment.n);
        break;
    }
}

START_TEST(golden_header_is_read_as_by_jansson)
{
    struct golden *golden = golden_load();
    for (size_t i = 0; i < golden->n; i++) {
        struct frame_parts parts;
        frame_split(golden->frames[i].data, golden->frames[i].size, &parts);
        if (parts.serialize_type == SERIALIZE_JSON) {
            enum header_status status = assert_agrees((char *)parts.header, parts.header_size);
            ck_assert_int_eq((int)status, (int)HEADER_OK);
        }
    }
    golden_free(golden);
}
END_TEST

START_TEST(mutated_golden_header_is_read_as_by_jansson)
{
    struct golden *golden = golden_load();
    uint64_t state = 20240917;
    size_t n_seen[HEADER_STATUSES] = { 0 };
    for (size_t i = 0; i < N_MUTATIONS;) {
        const struct golden_frame *frame = &golden->frames[random_below(&state, golden->n)];
        struct frame_parts parts;
        frame_split(frame->data, frame->size, &parts);
        if (parts.serialize_type != SERIALIZE_JSON) {
            continue;
        }
        struct text text = { .n = parts.header_size };
        if (text.n > sizeof(text.data)) {
            ck_abort_msg("%s has a large header", frame->file);
        }
        memcpy(text.data, parts.header, text.n);
        for (size_t n = 1 + random_below(&state, 3) / 2; n > 0; n--) {
            mutate(&text, &state);
        }
        n_seen[assert_agrees(text.data, text.n)]++;
        i++;
    }
    /* Mutations that all end alike would prove little. */
    for (size_t i = 0; i < HEADER_STATUSES; i++) {
        ck_assert_uint_gt(n_seen[i], N_MUTATIONS / 100);
    }
    golden_free(golden);
}
END_TEST

/*
 * Encoding
 */

static void assert_encodes(const struct remoting_command *command, const char *expected)
{
    size_t size = header_json_encoded_size(command);
    ck_assert_uint_ge(header_json_encoded_size_max(command), size);
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(header_json_encode(command, text), size);
    ck_assert_msg(span_equals_text((struct span){ text, size }, expected), "%.*s\nis not %s",
        (int)size, text, expected);
    free(text);
}

START_TEST(keys_are_written_in_the_order_of_java)
{
    struct remoting_command command;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    assert_encodes(&command, "{\"code\":0,\"flag\":0,\"language\":\"JAVA\",\"opaque\":0,"
                             "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":0}");

    command = (struct remoting_command){
        .code = INT32_MIN,
        .version = REMOTING_VERSION,
        .opaque = INT32_MAX,
        .flag = -1,
        .language = LANGUAGE_UNKNOWN,
        .has_ext_fields = true,
        .remark = SPAN(""),
    };
    assert_encodes(&command,
        "{\"code\":-2147483648,\"extFields\":{},\"flag\":-1,\"language\":\"OTHER\","
        "\"opaque\":2147483647,\"remark\":\"\",\"serializeTypeCurrentRPC\":\"JSON\","
        "\"version\":479}");

    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("b"), SPAN("1")));
    ck_assert(ext_fields_add(&command.ext_fields, SPAN("a"), SPAN("")));
    assert_encodes(&command,
        "{\"code\":0,\"extFields\":{\"b\":\"1\",\"a\":\"\"},\"flag\":0,\"language\":\"JAVA\","
        "\"opaque\":0,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":0}");
}
END_TEST

struct escape_case {
    struct span text;
    const char *escaped;
};

/* As fastjson 1.2.83 writes a string in double quotes. */
static const struct escape_case escapes[] = {
    { SPAN("plain / 'text' <>&"), "plain / 'text' <>&" },
    { SPAN("\"\\\b\f\n\r\t"), "\\\"\\\\\\b\\f\\n\\r\\t" },
    { SPAN("\x01\x02\x07\x0B\x0E\x1F"), "\\u0001\\u0002\\u0007\\u000B\\u000E\\u001F" },
    { SPAN("~\x7F\xC2\x80\xC2\x9F\xC2\xA0"), "~\\u007F\\u0080\\u009F\xC2\xA0" },
    { SPAN("\xE2\x80\xA7\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAA"),
        "\xE2\x80\xA7\\u2028\\u2029\xE2\x80\xAA" },
    { SPAN("\xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80"),
        "\xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80" },
    { SPAN("more than eight bytes before\n"), "more than eight bytes before\\n" },
};

START_TEST(strings_are_escaped_as_by_fastjson)
{
    struct remoting_command command;
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    const struct escape_case *row = &escapes[_i];
    command.remark = row->text;
    ck_assert(ext_fields_add(&command.ext_fields, row->text, row->text));
    char expected[1024];
    (void)snprintf(expected, sizeof(expected),
        "{\"code\":0,\"extFields\":{\"%s\":\"%s\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":0,"
        "\"remark\":\"%s\",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":0}",
        row->escaped, row->escaped, row->escaped);
    assert_encodes(&command, expected);
}
END_TEST

/* Wherever a special byte stands in the words that are scanned at once. */
START_TEST(special_byte_is_found_at_every_offset)
{
    for (unsigned byte = 1; byte < 0x80; byte++) {
        for (size_t at = 0; at < 24; at++) {
            char text[24];
            memset(text, 'x', sizeof(text));
            text[at] = (char)byte;
            struct remoting_command command;
            remoting_command_init(&command, storage, EXT_FIELDS_MAX);
            command.remark = (struct span){ text, sizeof(text) };
            size_t size = header_json_encoded_size(&command);
            char *header = malloc(size);
            ck_assert_ptr_nonnull(header);
            (void)header_json_encode(&command, header);
            ck_assert_int_eq((int)assert_agrees(header, size), (int)HEADER_OK);

            struct remoting_command again;
            struct header_problem problem;
            char *copy;
            (void)header_oracle_decode(&again, header, size, &problem, &copy);
            ck_assert_msg(span_equals(again.remark, command.remark), "byte %02x at %zu", byte, at);
            free(copy);
            free(header);
        }
    }
}
END_TEST

/* What the encoder copies out of the source has to be what it would write without it. */
static void assert_source_is_what_is_written(const struct remoting_command *command)
{
    static struct ext_field without_source[EXT_FIELDS_MAX];
    struct remoting_command again = *command;
    again.ext_fields.fields = without_source;
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        const struct ext_field *field = &command->ext_fields.fields[i];
        without_source[i] = (struct ext_field){ .key = field->key, .value = field->value };
    }
    size_t size = header_json_encoded_size(&again);
    char *text = malloc(size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_ge(header_json_encoded_size_max(&again), size);
    ck_assert_uint_eq(header_json_encode(&again, text), size);
    text[size] = '\0';
    assert_encodes(command, text);
    free(text);
}

START_TEST(fields_that_pass_through_are_written_as_they_would_be_anew)
{
    static const char header[] =
        "{\"code\":10,\"extFields\":{\"a\":\"1\",\"bb\":\"\",\"\":\"x\", \"c\":\"\\u0041\","
        "\"d\" :\"2\",\"e\":3,\"f\":true,\"\\u0067\":\"h\",\"i\":\"\xC2\x80\",\"j\":\"\x7F\","
        "\"long key of more than sixteen\":\"and a value that is longer than sixteen\",\"k\":\"4\","
        "\"l\":\"5\"},\"opaque\":1}";
    char copy[sizeof(header)];
    for (size_t removed = 0; removed <= 13; removed++) {
        memcpy(copy, header, sizeof(header));
        struct remoting_command command;
        struct header_problem problem;
        remoting_command_init(&command, storage, EXT_FIELDS_MAX);
        ck_assert_int_eq(
            (int)header_json_decode(&command, copy, sizeof(header) - 1, &problem), HEADER_OK);
        struct ext_fields *fields = &command.ext_fields;
        ck_assert_uint_eq(fields->n, 13);
        ck_assert_ptr_nonnull(ext_field_source(&fields->fields[0]));
        ck_assert_ptr_null(ext_field_source(&fields->fields[3]));
        ck_assert_ptr_null(ext_field_source(&fields->fields[5]));
        assert_source_is_what_is_written(&command);
        if (removed < 13) {
            ck_assert(ext_fields_remove(fields, fields->fields[removed].key));
        }
        assert_source_is_what_is_written(&command);
        ck_assert(ext_fields_set(fields, SPAN("bb"), SPAN("another")));
        ck_assert(ext_fields_set(fields, SPAN("l"), SPAN("5")));
        ck_assert(ext_fields_add(fields, SPAN("new"), SPAN("\n")));
        assert_source_is_what_is_written(&command);
        char moved[sizeof(header)];
        memcpy(moved, copy, sizeof(copy));
        remoting_command_rebase(&command, copy, sizeof(copy), moved);
        memset(copy, '?', sizeof(copy));
        assert_source_is_what_is_written(&command);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("header_json");
    TCase *decoding = tcase_create("decoding");
    tcase_set_timeout(decoding, 110);
    tcase_add_loop_test(
        decoding, corner_case_is_judged_as_by_jansson, 0, (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(decoding, nesting_is_accepted_to_the_depth_of_jansson);
    tcase_add_test(decoding, memory_that_runs_out_in_jansson_is_told_where_it_tells);
    tcase_add_test(decoding, ext_fields_beyond_the_array_are_invalid_and_the_opaque_is_still_read);
    tcase_add_test(decoding, long_numbers_are_judged_as_by_jansson);
    tcase_add_test(decoding, known_name_stays_known_when_every_letter_is_escaped);
    tcase_add_test(decoding, large_header_that_jansson_would_have_to_judge_is_invalid);
    tcase_add_test(decoding, invalid_header_tells_its_opaque_wherever_it_stands);
    tcase_add_test(decoding, opaque_that_stands_twice_is_not_told);
    tcase_add_test(decoding, problem_quotes_few_bytes_and_only_printable_ones);
    tcase_add_test(decoding, golden_header_is_read_as_by_jansson);
    tcase_add_test(decoding, mutated_golden_header_is_read_as_by_jansson);
    suite_add_tcase(suite, decoding);
    TCase *encoding = tcase_create("encoding");
    tcase_add_test(encoding, keys_are_written_in_the_order_of_java);
    tcase_add_loop_test(encoding, strings_are_escaped_as_by_fastjson, 0,
        (int)(sizeof(escapes) / sizeof(escapes[0])));
    tcase_add_test(encoding, special_byte_is_found_at_every_offset);
    tcase_add_test(encoding, fields_that_pass_through_are_written_as_they_would_be_anew);
    suite_add_tcase(suite, encoding);
    return run_suite(suite);
}
