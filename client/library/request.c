#include "client/library/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char no_memory[] = "out of memory";

struct remotingclient_request *remotingclient_request_new(int32_t code)
{
    struct remotingclient_request *request = calloc(1, sizeof(*request));
    if (!request) {
        return NULL;
    }
    remoting_command_init(&request->command, request->fields, EXT_FIELDS_MAX);
    request->command.code = code;
    request->command.language = LANGUAGE_CPP; /* LanguageCode.java has none for C */
    request->command.version = REMOTING_VERSION;
    request->serialize_type = SERIALIZE_JSON;
    return request;
}

/* The block of a field begins with its name. */
static void field_free(const struct ext_field *field)
{
    free((void *)(uintptr_t)field->key.data);
}

struct remotingclient_request *remotingclient_request_free(struct remotingclient_request *request)
{
    if (request) {
        for (size_t i = 0; i < request->command.ext_fields.n; i++) {
            field_free(&request->fields[i]);
        }
        free(request);
    }
    return NULL;
}

void remotingclient_request_add_sized(struct remotingclient_request *request, const char *name,
    size_t n_name, const char *value, size_t n_value)
{
    if (!request || request->failure) {
        return;
    }
    if (request->command.ext_fields.n == EXT_FIELDS_MAX) {
        request->failure = "too many fields: a command carries at most 256";
        return;
    }
    char *block = malloc(n_name + 1 + n_value + 1);
    if (!block) {
        request->failure = no_memory;
        return;
    }
    char *value_copy = (char *)mempcpy(block, name, n_name) + 1;
    value_copy[-1] = '\0';
    *(char *)mempcpy(value_copy, value, n_value) = '\0';
    request->command.has_ext_fields = true;
    (void)ext_fields_add(&request->command.ext_fields, (struct span){ block, n_name },
        (struct span){ value_copy, n_value });
}

void remotingclient_request_add(
    struct remotingclient_request *request, const char *name, const char *value)
{
    if (value) {
        remotingclient_request_add_sized(request, name, strlen(name), value, strlen(value));
    }
}

void remotingclient_request_add_number(
    struct remotingclient_request *request, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    remotingclient_request_add(request, name, text);
}

void remotingclient_request_add_property(
    struct remotingclient_request *request, const char *name, const char *value)
{
    char *field = NULL;
    if (asprintf(&field, "property.%s", name) < 0) {
        if (request) {
            request->failure = no_memory;
        }
        return;
    }
    remotingclient_request_add(request, field, value);
    free(field);
}

void remotingclient_request_remove(struct remotingclient_request *request, const char *name)
{
    if (!request) {
        return;
    }
    for (size_t i = 0; i < request->command.ext_fields.n; i++) {
        const struct ext_field field = request->fields[i];
        if (span_equals_text(field.key, name)) {
            (void)ext_fields_remove(&request->command.ext_fields, field.key);
            field_free(&field);
            return;
        }
    }
}

void remotingclient_request_set_body(
    struct remotingclient_request *request, const void *body, size_t n)
{
    if (request) {
        request->command.body = (struct span){ body, n };
    }
}

void remotingclient_request_set_oneway(struct remotingclient_request *request, bool is_oneway)
{
    if (request) {
        request->command.flag = is_oneway ? REMOTING_FLAG_ONEWAY : 0;
    }
}

void remotingclient_request_set_binary(struct remotingclient_request *request, bool is_binary)
{
    if (request) {
        request->serialize_type = is_binary ? SERIALIZE_ROCKETMQ : SERIALIZE_JSON;
    }
}

const char *remotingclient_request_problem(struct remotingclient_request *request)
{
    if (!request) {
        return no_memory;
    }
    const ptrdiff_t duplicate = ext_fields_find_duplicate(&request->command.ext_fields);
    if (request->failure || duplicate < 0) {
        return request->failure;
    }
    (void)snprintf(request->problem, sizeof(request->problem), "'%.80s' is given twice",
        request->fields[duplicate].key.data);
    return request->problem;
}
