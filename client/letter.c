#include "client/letter.h"

#include <stdlib.h>

#include "client/output.h"
#include "protocol/base64.h"
#include "protocol/cleanup.h"
#include "protocol/code.h"
#include "protocol/message.h"

DEFINE_CLEANUP(char *, free)
DEFINE_CLEANUP(json_t *, json_decref)

void letter_deinit(struct letter *letter)
{
    json_decref(letter->json);
    free(letter->owned_body);
    *letter = (struct letter){ 0 };
}

/* NULL, or why the object is no letter. */
static const char *find_problem(json_t *json)
{
    json_t *properties = json_object_get(json, "properties");
    json_t *group = json_object_get(json, "group");
    json_t *sent = json_object_get(json, "sent");
    const char *name;
    json_t *value;
    if (!json_is_object(json)) {
        return "it is no JSON object";
    }
    if (!json_is_string(json_object_get(json, "topic"))) {
        return "it has no topic that is a string";
    }
    if (!json_is_string(json_object_get(json, "body"))) {
        return "it has no body that is base64";
    }
    if ((group && !json_is_string(group)) || (properties && !json_is_object(properties))) {
        return "its group is no string, or its properties are no object";
    }
    if (sent && !span_equals_text(json_object_text(json, "sent"), "no") &&
        !span_equals_text(json_object_text(json, "sent"), "maybe")) {
        return "sent is neither \"no\" nor \"maybe\"";
    }
    json_object_foreach(properties, name, value)
    {
        if (!json_is_string(value)) {
            return "a property is no string";
        }
    }
    return NULL;
}

bool letter_read(struct span line, struct letter *ret_letter, const char **ret_problem)
{
    CLEANUP(json_decref)
    json_t *json = json_loadb(line.data, line.n, JSON_REJECT_DUPLICATES, NULL);
    CLEANUP(free) char *body = NULL;
    size_t n_body = 0;
    *ret_problem = find_problem(json);
    if (*ret_problem) {
        return false;
    }
    if (base64_decode(json_object_text(json, "body"), &body, &n_body) < 0) {
        *ret_problem = "its body is no base64, or there is no memory for it";
        return false;
    }
    if (!json_object_get(json, "properties")) {
        (void)json_object_set_new(json, "properties", json_object());
    }
    *ret_letter = (struct letter){
        .topic = json_string_value(json_object_get(json, "topic")),
        .group = json_string_value(json_object_get(json, "group")),
        .properties = json_object_get(json, "properties"),
        .body = { body, n_body },
        .may_be_sent = span_equals_text(json_object_text(json, "sent"), "maybe"),
    };
    ret_letter->json = TAKE(json);
    ret_letter->owned_body = TAKE(body);
    return true;
}

char *letter_text(const struct letter *letter)
{
    CLEANUP(json_decref)
    json_t *json = letter->json ? json_incref(letter->json) : json_object();
    CLEANUP(free) char *body = letter->json ? NULL : base64_encode(letter->body);
    int r = 0;
    if (!letter->json) {
        r |= json_object_set_new(json, "topic", json_string(letter->topic));
        r |= letter->group ? json_object_set_new(json, "group", json_string(letter->group)) : 0;
        r |= json_object_set_new(json, "body", json_string(body));
    }
    r |= letter->properties ? json_object_set(json, "properties", letter->properties) : 0;
    r |= json_object_set_new(json, "sent", json_string(letter->may_be_sent ? "maybe" : "no"));
    return r == 0 ? json_dumps(json, JSON_COMPACT) : NULL;
}

bool letter_has_order(const struct letter *letter)
{
    return json_object_get(letter->properties, PROPERTY_SHARDING_KEY) != NULL;
}

void letter_set_uniq_key(struct letter *letter, const char *uniq_key)
{
    /* Without memory the repetition has another key, and is one all the same. */
    (void)json_object_set_new(letter->properties, PROPERTY_UNIQ_KEY, json_string(uniq_key));
}

struct remotingclient_request *letter_request_new(const struct letter *letter)
{
    struct remotingclient_request *request = remotingclient_request_new(REQUEST_SEND_MESSAGE);
    const char *name;
    json_t *value;
    remotingclient_request_add(request, "topic", letter->topic);
    remotingclient_request_add(request, "producerGroup", letter->group);
    json_object_foreach(letter->properties, name, value)
    {
        remotingclient_request_add_property(request, name, json_string_value(value));
    }
    remotingclient_request_set_body(request, letter->body.data, letter->body.n);
    return request;
}
