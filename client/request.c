#include "client/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void request_init(struct request *request, int32_t code)
{
    remoting_command_init(&request->command, request->fields, EXT_FIELDS_MAX);
    request->command.code = code;
    request->command.language = LANGUAGE_CPP; /* LanguageCode.java has none for C */
    request->command.version = REMOTING_VERSION;
    request->n_owned = 0;
    request->problem = NULL;
}

void request_deinit(struct request *request)
{
    while (request->n_owned > 0) {
        free(request->owned[--request->n_owned]);
    }
}

/* Keeps a text made by asprintf() for as long as the request lives. */
static const char *request_own(struct request *request, int printed, char *text)
{
    if (printed < 0) {
        request->problem = "out of memory";
        return NULL;
    }
    if (request->n_owned == EXT_FIELDS_MAX) {
        free(text);
        request->problem = "too many fields: a command carries at most 256";
        return NULL;
    }
    request->owned[request->n_owned++] = text;
    return text;
}

void request_add(struct request *request, const char *key, struct span value)
{
    request->command.has_ext_fields = true;
    if (!ext_fields_add(&request->command.ext_fields, span_of(key), value)) {
        request->problem = "too many fields: a command carries at most 256";
    }
}

void request_add_number(struct request *request, const char *key, int64_t value)
{
    char *text = NULL;
    const int printed = asprintf(&text, "%" PRId64, value);
    const char *owned = request_own(request, printed, text);
    if (owned) {
        request_add(request, key, span_of(owned));
    }
}

void request_add_prefixed(
    struct request *request, const char *prefix, struct span name, struct span value)
{
    char *text = NULL;
    const int printed = asprintf(&text, "%s%.*s", prefix, SPAN_ARGS(name));
    const char *owned = request_own(request, printed, text);
    if (owned) {
        request_add(request, owned, value);
    }
}

const char *request_problem(struct request *request)
{
    const ptrdiff_t duplicate = ext_fields_find_duplicate(&request->command.ext_fields);
    if (!request->problem && duplicate >= 0) {
        char *text = NULL;
        const int printed =
            asprintf(&text, "'%.*s' is given twice", SPAN_ARGS(request->fields[duplicate].key));
        const char *owned = request_own(request, printed, text);
        if (owned) {
            request->problem = owned;
        }
    }
    return request->problem;
}
