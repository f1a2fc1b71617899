#include "tests/support/header_oracle.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ext_field storage[EXT_FIELDS_MAX];

const char *header_status_name(enum header_status status)
{
    static const char *const names[HEADER_STATUSES] = { "OK", "INVALID", "SYNTAX" };
    return names[status];
}

static bool is_absent_or_i32(const json_t *header, const char *key)
{
    const json_t *value = json_object_get(header, key);
    return !value || (json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
                         json_integer_value(value) <= INT32_MAX);
}

static size_t count_ext_fields(const json_t *ext_fields)
{
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)ext_fields, key, value)
    {
        n += !json_is_null(value);
    }
    return n;
}

static bool ext_fields_mean_something(const json_t *ext_fields)
{
    if (!ext_fields || json_is_null(ext_fields)) {
        return true;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)ext_fields, key, value)
    {
        if (json_is_array(value) || json_is_object(value)) {
            return false;
        }
    }
    return json_is_object(ext_fields) && count_ext_fields(ext_fields) <= EXT_FIELDS_MAX;
}

static bool header_means_something(const json_t *header)
{
    const json_t *language = json_object_get(header, "language");
    const json_t *remark = json_object_get(header, "remark");
    return is_absent_or_i32(header, "code") && is_absent_or_i32(header, "flag") &&
           is_absent_or_i32(header, "opaque") && is_absent_or_i32(header, "version") &&
           (!language || json_is_string(language) || json_is_integer(language)) &&
           (!remark || json_is_string(remark) || json_is_null(remark)) &&
           ext_fields_mean_something(json_object_get(header, "extFields"));
}

/* HEADER_OK comes with the tree, to be released. */
static enum header_status judge(const char *data, size_t n, json_t **ret_header)
{
    json_t *header = json_loadb(data, n, JSON_REJECT_DUPLICATES, NULL);
    json_t *lenient = header ? json_incref(header) : json_loadb(data, n, 0, NULL);
    enum header_status status = HEADER_SYNTAX;
    if (json_is_object(lenient)) {
        status = header && header_means_something(header) ? HEADER_OK : HEADER_INVALID;
    }
    json_decref(lenient);
    if (status != HEADER_OK) {
        json_decref(header);
        header = NULL;
    }
    *ret_header = header;
    return status;
}

static bool span_is_string(struct span span, const json_t *string)
{
    return span_equals(
        span, (struct span){ json_string_value(string), json_string_length(string) });
}

static bool number_text_agrees(const char *text, const json_t *value)
{
    if (json_is_integer(value)) {
        return strtoll(text, NULL, 10) == json_integer_value(value);
    }
    return !(strtod(text, NULL) < json_real_value(value)) &&
           !(strtod(text, NULL) > json_real_value(value));
}

/* However many digits it has. */
static bool span_is_number(struct span span, const json_t *value)
{
    char *text = strndup(span.data, span.n);
    bool agrees = text && number_text_agrees(text, value);
    free(text);
    return agrees;
}

static bool span_is_scalar(struct span span, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return span_is_string(span, value);
    case JSON_INTEGER:
    case JSON_REAL:
        return span_is_number(span, value);
    case JSON_TRUE:
        return span_equals_text(span, "true");
    case JSON_FALSE:
        return span_equals_text(span, "false");
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    return false;
}

static bool number_agrees(const struct remoting_command *command, int32_t number,
    enum remoting_command_present present, const json_t *header, const char *key)
{
    const json_t *value = json_object_get(header, key);
    bool is_present = command->present & present;
    return is_present == (value != NULL) && number == (int32_t)json_integer_value(value);
}

static bool language_agrees(const struct remoting_command *command, const json_t *language)
{
    bool is_present = command->present & REMOTING_HAS_LANGUAGE;
    if (!language) {
        return !is_present && command->language == LANGUAGE_JAVA;
    }
    struct span name = { json_string_value(language), json_string_length(language) };
    enum language expected = json_is_integer(language)
                                 ? language_from_number(json_integer_value(language))
                                 : language_from_name(name);
    return is_present && command->language == expected;
}

static bool remark_agrees(struct span remark, const json_t *expected)
{
    if (!json_is_string(expected)) {
        return span_is_absent(remark);
    }
    return !span_is_absent(remark) && span_is_string(remark, expected);
}

/* jansson keeps the order of keys, as we do. */
static bool ext_fields_agree(const struct remoting_command *command, const json_t *expected)
{
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)expected, key, value)
    {
        if (json_is_null(value)) {
            continue;
        }
        if (n == command->ext_fields.n) {
            return false;
        }
        const struct ext_field *field = &command->ext_fields.fields[n++];
        if (!span_equals_text(field->key, key) || !span_is_scalar(field->value, value)) {
            return false;
        }
    }
    return n == command->ext_fields.n && command->has_ext_fields == json_is_object(expected);
}

static bool command_agrees(const struct remoting_command *command, const json_t *header)
{
    return number_agrees(command, command->code, REMOTING_HAS_CODE, header, "code") &&
           number_agrees(command, command->flag, REMOTING_HAS_FLAG, header, "flag") &&
           number_agrees(command, command->opaque, REMOTING_HAS_OPAQUE, header, "opaque") &&
           number_agrees(command, command->version, REMOTING_HAS_VERSION, header, "version") &&
           language_agrees(command, json_object_get(header, "language")) &&
           remark_agrees(command->remark, json_object_get(header, "remark")) &&
           ext_fields_agree(command, json_object_get(header, "extFields"));
}

static char *copy_exactly(const char *data, size_t n)
{
    char *copy = malloc(n);
    if (!copy && n > 0) {
        abort();
    }
    if (n > 0) {
        memcpy(copy, data, n);
    }
    return copy;
}

enum header_status header_oracle_decode(struct remoting_command *command, const char *data,
    size_t n, struct header_problem *ret_problem, char **ret_copy)
{
    *ret_problem = (struct header_problem){ "" };
    *ret_copy = copy_exactly(data, n);
    remoting_command_init(command, storage, EXT_FIELDS_MAX);
    return header_json_decode(command, *ret_copy, n, ret_problem);
}

static bool problem_is_readable(const struct header_problem *problem)
{
    if (problem->text[0] == '\0' || !strstr(problem->text, "; accepted: ")) {
        return false;
    }
    for (const char *at = problem->text; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~') {
            return false;
        }
    }
    return true;
}

enum header_status header_oracle_compare(const char *data, size_t n, char *text, size_t text_size)
{
    json_t *header = NULL;
    enum header_status expected = judge(data, n, &header);
    struct remoting_command command;
    struct header_problem problem;
    char *copy;
    enum header_status status = header_oracle_decode(&command, data, n, &problem, &copy);
    text[0] = '\0';
    if (status != expected) {
        (void)snprintf(text, text_size, "%s, jansson says %s: %s", header_status_name(status),
            header_status_name(expected), problem.text);
    } else if (status == HEADER_OK && !command_agrees(&command, header)) {
        (void)snprintf(text, text_size, "other values than jansson's");
    } else if (status != HEADER_OK && !problem_is_readable(&problem)) {
        (void)snprintf(text, text_size, "unreadable problem: %s", problem.text);
    } else if (status != HEADER_OK && !strstr(problem.text, "saw it twice") &&
               memcmp(copy, data, n) != 0) {
        (void)snprintf(text, text_size, "refused, but written to");
    }
    json_decref(header);
    free(copy);
    return status;
}
