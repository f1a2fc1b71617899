#include "config/config.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config/ini_file.h"
#include "config/setting.h"
#include "config/value.h"

#define SEEN_MAX            100 /* bytes of a value that a problem shows */
#define SEEN_PATH_MAX       300
#define SECTION_SIZE        64 /* a section as it stands in the file, with its zero */
#define NAME_MAX_TO_COMPARE 32 /* bytes of a name that could be a misspelt one of ours */

/* Pairs that contradict each other when the first is the larger one. */
static const struct {
    const char *section;
    const char *key;
    const char *limit_section;
    const char *limit_key;
} order_rules[] = {
    { "backoff", "initial", "backoff", "max" },
    { "backoff", "initial", "backoff", "max_wanted" },
    { "backoff", "max_wanted", "backoff", "max" },
    { "limits", "max_in_flight_per_session", "limits", "max_in_flight" },
    { "limits", "max_frame", "limits", "total_memory" },
    { "limits", "session_buffer", "limits", "total_memory" },
    { "limits", "upstream_buffer", "limits", "total_memory" },
    { "upstream", "request_timeout", "limits", "max_timeout" },
    { "consume", "poll_time", "limits", "max_timeout" },
};

/* The sections that may stand several times, and where their names and number are. */
static const struct named_kind {
    const char *section;
    bool has_nameless; /* the first one has no name and is always there */
    size_t name_offset;
    size_t stride;
    size_t n_offset;
} named_kinds[] = {
    { "listener", true, offsetof(struct config, listener.sections[0].name),
        sizeof(struct config_listener), offsetof(struct config, listener.n) },
    { "role", false, offsetof(struct config, role.sections[0].name), sizeof(struct config_role),
        offsetof(struct config, role.n) },
    { "acl", false, offsetof(struct config, acl.sections[0].name), sizeof(struct config_acl),
        offsetof(struct config, acl.n) },
};

#define N_NAMED_KINDS (sizeof(named_kinds) / sizeof(*named_kinds))

struct loader {
    const char *path;
    struct config *config;
    struct config_problems *problems;
    size_t at; /* of the lines being read: which section of its kind */
    /* where the file gives a setting first; 0: nowhere */
    unsigned line_of[SETTINGS_MAX][CONFIG_NAMED_MAX];
    bool is_bad[SETTINGS_MAX][CONFIG_NAMED_MAX];
    unsigned named_line[N_NAMED_KINDS][CONFIG_NAMED_MAX]; /* where a section stands first */
    bool names_no_nameserver;
    int error;
};

static const struct named_kind *named_kind_find(const char *section, size_t n)
{
    for (size_t i = 0; i < N_NAMED_KINDS; i++) {
        if (strlen(named_kinds[i].section) == n &&
            strncmp(named_kinds[i].section, section, n) == 0) {
            return &named_kinds[i];
        }
    }
    return NULL;
}

static char *named_name(const struct named_kind *kind, const struct config *config, size_t at)
{
    return (char *)((uintptr_t)config + kind->name_offset + at * kind->stride);
}

static size_t *named_count(const struct named_kind *kind, const struct config *config)
{
    return (size_t *)((uintptr_t)config + kind->n_offset);
}

/* One more problem, "FILE:LINE: " and what follows; without a line for 0. */
__attribute__((format(printf, 3, 4))) static void add_problem(
    struct loader *loader, unsigned line, const char *format, ...)
{
    struct config_problems *problems = loader->problems;
    char text[1024];
    size_t n = 0;
    if (problems->n == CONFIG_PROBLEMS_MAX) {
        problems->n_left_out++;
        return;
    }
    text[0] = '\0';
    if (loader->path && line > 0) {
        (void)snprintf(text, sizeof(text), "%.*s:%u", SEEN_PATH_MAX, loader->path, line);
    } else if (loader->path) {
        (void)snprintf(text, sizeof(text), "%.*s", SEEN_PATH_MAX, loader->path);
    }
    n = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", n > 0 ? ": " : "");
    (void)vsnprintf(text + n, sizeof(text) - n, format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?'; /* one line each, whatever the file holds */
        }
    }
    problems->text[problems->n] = strdup(text);
    if (!problems->text[problems->n]) {
        loader->error = -ENOMEM;
        problems->n_left_out++;
        return;
    }
    problems->n++;
}

/* "acl NAME", or just the section. */
static const char *section_text(const struct setting *setting, const struct config *config,
    size_t at, char dst[static SECTION_SIZE])
{
    const struct named_kind *kind = named_kind_find(setting->section, strlen(setting->section));
    const char *name = kind ? named_name(kind, config, at) : "";
    (void)snprintf(dst, SECTION_SIZE, "%s%s%s", setting->section, *name ? " " : "", name);
    return dst;
}

static void add_setting_problem(struct loader *loader, unsigned line, const struct setting *setting,
    const char *value, const char *sentence)
{
    char section[SECTION_SIZE];
    loader->is_bad[setting - settings][loader->at] = true;
    add_problem(loader, line, "[%s] %s = %.*s: %s",
        section_text(setting, loader->config, loader->at, section), setting->key, SEEN_MAX, value,
        sentence);
}

static void apply_from_file(
    struct loader *loader, unsigned line, const struct setting *setting, const char *value)
{
    struct value_reason reason;
    int r = setting_apply(setting, loader->config, loader->at, value, &reason);
    if (r == -EINVAL) {
        add_setting_problem(loader, line, setting, value, reason.text);
    } else if (r < 0) {
        loader->error = r;
    }
}

/* How many letters have to be put in, left out or changed to make one name the other. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_TO_COMPARE + 1];
    size_t n = strlen(b);
    assert(n <= NAME_MAX_TO_COMPARE);
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t changed = diagonal + (a[i] != b[j]);
            size_t moved = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = changed < moved ? changed : moved;
        }
    }
    return row[n];
}

/*
 * What to say of an unknown name: the nearest known one, or all of them. Section NULL is for a
 * section's name, otherwise for a key of that section. format makes a word of a name.
 */
static void suggest(
    const char *section, const char *name, const char *const brackets[2], char *dst, size_t size)
{
    const char *nearest = NULL;
    const char *previous = "";
    size_t best = SIZE_MAX;
    size_t n = (size_t)snprintf(dst, size, "known are");
    for (size_t i = 0; i < n_settings; i++) {
        const char *known = section ? settings[i].key : settings[i].section;
        if ((section && strcmp(settings[i].section, section) != 0) ||
            strcmp(known, previous) == 0) {
            continue;
        }
        size_t distance =
            strlen(name) <= NAME_MAX_TO_COMPARE ? edit_distance(name, known) : SIZE_MAX;
        if (distance < best) {
            best = distance;
            nearest = known;
        }
        int n_more = snprintf(
            dst + n, size - n, "%s %s%s%s", *previous ? "," : "", brackets[0], known, brackets[1]);
        n += (size_t)n_more;
        assert(n < size);
        previous = known;
    }
    if (nearest && best * 3 <= strlen(nearest)) {
        (void)snprintf(dst, size, "did you mean %s%s%s?", brackets[0], nearest, brackets[1]);
    }
}

/* The settings of a section that begins are not there yet. */
static void load_named_defaults(struct loader *loader, const char *section)
{
    for (size_t i = 0; i < n_settings && loader->error == 0; i++) {
        if (strcmp(settings[i].section, section) == 0) {
            struct value_reason reason;
            loader->error = setting_apply(
                &settings[i], loader->config, loader->at, settings[i].default_text, &reason);
            assert(loader->error != -EINVAL);
        }
    }
}

/* [KIND NAME]: finds the section, or makes it. */
static bool on_named_section(
    struct loader *loader, unsigned line, const struct named_kind *kind, const char *name)
{
    size_t *n = named_count(kind, loader->config);
    struct value_reason reason;
    if (name[0] == '\0' && kind->has_nameless) {
        return true;
    }
    if (name[0] == '\0' || !value_check_word(name, CONFIG_NAME_SIZE - 1, &reason)) {
        add_problem(loader, line,
            "[%s %.*s]: a name is accepted behind %s, one word of at most %d characters, as in "
            "[%s prod]",
            kind->section, SEEN_MAX, name, kind->section, CONFIG_NAME_SIZE - 1, kind->section);
        return false;
    }
    for (loader->at = 0; loader->at < *n; loader->at++) {
        if (strcmp(named_name(kind, loader->config, loader->at), name) == 0) {
            return true;
        }
    }
    if (*n == CONFIG_NAMED_MAX) {
        loader->at = 0;
        add_problem(loader, line, "[%s %s]: at most %d sections [%s NAME] are accepted",
            kind->section, name, CONFIG_NAMED_MAX, kind->section);
        return false;
    }
    (*n)++;
    loader->named_line[kind - named_kinds][loader->at] = line;
    (void)snprintf(named_name(kind, loader->config, loader->at), CONFIG_NAME_SIZE, "%s", name);
    load_named_defaults(loader, kind->section);
    return true;
}

static bool on_section(void *user, unsigned line, const char *section)
{
    struct loader *loader = user;
    size_t n_kind = strcspn(section, " \t");
    const struct named_kind *kind = named_kind_find(section, n_kind);
    loader->at = 0;
    if (kind) {
        return on_named_section(
            loader, line, kind, section + n_kind + strspn(section + n_kind, " \t"));
    }
    for (size_t i = 0; i < n_settings; i++) {
        if (strcmp(settings[i].section, section) == 0) {
            return true;
        }
    }
    static const char *const brackets[2] = { "[", "]" };
    char suggestion[512];
    suggest(NULL, section, brackets, suggestion, sizeof(suggestion));
    add_problem(
        loader, line, "[%.*s]: there is no such section; %s", SEEN_MAX, section, suggestion);
    return false;
}

static void on_unknown_key(
    struct loader *loader, unsigned line, const char *section, const char *key, const char *value)
{
    static const char *const brackets[2] = { "", "" };
    char suggestion[512];
    suggest(section, key, brackets, suggestion, sizeof(suggestion));
    for (size_t i = 0; i < n_settings; i++) {
        if (strcmp(settings[i].key, key) == 0) {
            (void)snprintf(
                suggestion, sizeof(suggestion), "it belongs in [%s]", settings[i].section);
        }
    }
    add_problem(loader, line, "[%s] %.*s = %.*s: there is no such setting; %s", section, SEEN_MAX,
        key, SEEN_MAX, value, suggestion);
}

static void on_setting(
    void *user, unsigned line, const char *section, const char *key, const char *value)
{
    struct loader *loader = user;
    char kind[SECTION_SIZE];
    (void)snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(section, " \t"), section);
    const struct setting *setting = setting_find(kind, key);
    if (!setting) {
        on_unknown_key(loader, line, kind, key, value);
        return;
    }
    unsigned *first_line = &loader->line_of[setting - settings][loader->at];
    if (*first_line == 0 || setting_is_list(setting)) {
        *first_line = *first_line ? *first_line : line;
        apply_from_file(loader, line, setting, value);
    } else if (*first_line == line) {
        add_setting_problem(loader, line, setting, value, "one value is accepted, not a list");
    } else {
        char sentence[64];
        (void)snprintf(sentence, sizeof(sentence), "line %u gives it already", *first_line);
        add_setting_problem(loader, line, setting, value, sentence);
    }
}

static void on_problem(void *user, unsigned line, const char *seen, const char *sentence)
{
    add_problem(user, line, "%.*s: %s", SEEN_MAX, seen, sentence);
}

static void load_file(struct loader *loader)
{
    static const struct ini_file_handler handler = { on_section, on_setting, on_problem };
    FILE *file = fopen(loader->path, "re");
    int r = file ? ini_file_read(file, &handler, loader) : -errno;
    if (r < 0) {
        loader->error = r;
        add_problem(loader, 0, "cannot be read: %s", strerror(-r));
    }
    if (file) {
        (void)fclose(file);
    }
}

static void load_nameserver_addresses(struct loader *loader, const char *namesrv_addr)
{
    const struct setting *setting = setting_find("nameserver", "addresses");
    struct value_reason reason;
    if (loader->is_bad[setting - settings][0] || loader->config->nameserver.addresses.n > 0) {
        return;
    }
    int r = setting_apply(setting, loader->config, 0, namesrv_addr ? namesrv_addr : "", &reason);
    if (r == -EINVAL) {
        /* The file has no part in this. */
        struct loader environment = { .problems = loader->problems };
        add_problem(
            &environment, 0, "NAMESRV_ADDR = %.*s: %s", SEEN_MAX, namesrv_addr, reason.text);
        loader->error = environment.error;
    } else if (r < 0) {
        loader->error = r;
    } else if (loader->config->nameserver.addresses.n == 0) {
        loader->names_no_nameserver = true;
        add_problem(loader, loader->line_of[setting - settings][0],
            "[nameserver] addresses: no nameserver is known; accepted is a line such as "
            "\"addresses = %s\" here, or the same list in the environment's NAMESRV_ADDR",
            setting->example);
    }
}

/* The problem stands at the later of the two lines: at least one of them is not a default. */
static void check_order(
    struct loader *loader, const struct setting *setting, const struct setting *limit)
{
    unsigned line = loader->line_of[setting - settings][0];
    unsigned limit_line = loader->line_of[limit - settings][0];
    uint64_t number = setting_number(setting, loader->config, 0);
    uint64_t limit_number = setting_number(limit, loader->config, 0);
    if (loader->is_bad[setting - settings][0] || loader->is_bad[limit - settings][0] ||
        number <= limit_number) {
        return;
    }
    bool is_limit_later = limit_line > line;
    const struct setting *other = is_limit_later ? setting : limit;
    char value[VALUE_NUMBER_MAX];
    char other_value[VALUE_NUMBER_MAX];
    char sentence[160];
    setting_format_number(setting, is_limit_later ? limit_number : number, value);
    setting_format_number(setting, is_limit_later ? number : limit_number, other_value);
    (void)snprintf(sentence, sizeof(sentence), "%s [%s] %s = %s%s is accepted",
        is_limit_later ? "at least" : "at most", other->section, other->key, other_value,
        loader->line_of[other - settings][0] ? "" : " (its default)");
    add_setting_problem(loader, is_limit_later ? limit_line : line,
        is_limit_later ? limit : setting, value, sentence);
}

static unsigned line_of(const struct loader *loader, const struct setting *setting)
{
    return loader->line_of[setting - settings][0];
}

/*
 * Settings of [tls] without a word on whether TLS is meant: they would be believed in, and
 * everything would go in plain text.
 */
static void check_tls_enable(struct loader *loader)
{
    if (line_of(loader, setting_find("tls", "enable")) > 0) {
        return;
    }
    for (size_t i = 0; i < n_settings; i++) {
        if (strcmp(settings[i].section, "tls") == 0 && line_of(loader, &settings[i]) > 0) {
            add_problem(loader, line_of(loader, &settings[i]),
                "[tls] %s: it says nothing without \"enable\"; accepted is also a line "
                "\"enable = yes\" (or \"enable = no\") in [tls]",
                settings[i].key);
            return;
        }
    }
}

/* A certificate is of no use without its key, nor the other way round. */
static void check_tls_pair(struct loader *loader)
{
    const struct setting *pair[] = { setting_find("tls", "cert_file"),
        setting_find("tls", "key_file") };
    const char *const texts[] = { loader->config->tls.cert_file, loader->config->tls.key_file };
    for (size_t i = 0; i < 2; i++) {
        const struct setting *other = pair[1 - i];
        if (texts[i][0] && !texts[1 - i][0] && !loader->is_bad[other - settings][0]) {
            add_problem(loader, line_of(loader, pair[i]),
                "[tls] %s is given and %s is not; accepted is also a line \"%s = FILE\"",
                pair[i]->key, other->key, other->key);
        }
    }
}

static void load_defaults(struct loader *loader)
{
    for (size_t i = 0; i < N_NAMED_KINDS; i++) {
        *named_count(&named_kinds[i], loader->config) = named_kinds[i].has_nameless;
    }
    for (size_t i = 0; i < n_settings && loader->error == 0; i++) {
        struct value_reason reason;
        const struct named_kind *kind =
            named_kind_find(settings[i].section, strlen(settings[i].section));
        if (!kind || kind->has_nameless) {
            loader->error =
                setting_apply(&settings[i], loader->config, 0, settings[i].default_text, &reason);
            assert(loader->error != -EINVAL);
        }
    }
}

/* What a section with a name has to give, and did not. */
static void check_required(struct loader *loader)
{
    for (size_t i = 0; i < n_settings; i++) {
        const struct named_kind *kind =
            named_kind_find(settings[i].section, strlen(settings[i].section));
        for (size_t at = 0; kind && at < *named_count(kind, loader->config); at++) {
            if (!loader->is_bad[i][at] && setting_is_missing(&settings[i], loader->config, at)) {
                add_problem(loader, loader->named_line[kind - named_kinds][at],
                    "[%s %s] %s: it is missing; accepted is a line such as \"%s = %s\"",
                    kind->section, named_name(kind, loader->config, at), settings[i].key,
                    settings[i].key, settings[i].example);
            }
        }
    }
}

/* The line that gives a setting, else that of its section; 0: neither stands in the file. */
static unsigned line_where(const struct loader *loader, const struct setting *setting, size_t at)
{
    const struct named_kind *kind = named_kind_find(setting->section, strlen(setting->section));
    unsigned line = loader->line_of[setting - settings][at];
    return line > 0 || !kind ? line : loader->named_line[kind - named_kinds][at];
}

/* The row of a key that [listener] and [http] both have. */
static const struct setting *listener_setting(
    const struct config_listener *listener, const char *key)
{
    return setting_find(listener->speaks_http ? "http" : "listener", key);
}

/* Which of the sections of its kind it is. */
static size_t listener_at(const struct config *config, size_t i)
{
    return i < config->listener.n ? i : 0;
}

/* A socket's path belongs to one of them. */
static void check_sockets(struct loader *loader)
{
    struct config *config = loader->config;
    for (size_t i = 1; i < config_n_listeners(config); i++) {
        const struct config_listener *listener = config_listener(config, i);
        const struct setting *setting = listener_setting(listener, "socket");
        loader->at = listener_at(config, i);
        for (size_t before = 0; before < i; before++) {
            char section[CONFIG_LISTENER_TEXT_SIZE], sentence[128];
            const struct config_listener *other = config_listener(config, before);
            const struct setting *other_setting = listener_setting(other, "socket");
            if (loader->is_bad[setting - settings][loader->at] ||
                loader->is_bad[other_setting - settings][before] ||
                strcmp(listener->socket, other->socket) != 0) {
                continue;
            }
            (void)snprintf(sentence, sizeof(sentence),
                "%s has this path%s; one that no other has is accepted",
                config_listener_text(other, section),
                loader->line_of[other_setting - settings][before] ? "" : " by default");
            add_setting_problem(loader, line_where(loader, setting, loader->at), setting,
                listener->socket, sentence);
            break;
        }
    }
}

static const struct config_role *role_find(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->role.n; i++) {
        if (strcmp(config->role.sections[i].name, name) == 0) {
            return &config->role.sections[i];
        }
    }
    return NULL;
}

/* The roles that listeners name exist, and there is no role that nobody could have. */
static void check_roles(struct loader *loader)
{
    struct config *config = loader->config;
    const struct setting *users = setting_find("role", "users");
    const struct setting *groups = setting_find("role", "groups");
    bool is_named[CONFIG_NAMED_MAX] = { false };
    for (size_t i = 0; i < config_n_listeners(config); i++) {
        const struct config_listener *listener = config_listener(config, i);
        const struct setting *setting = listener_setting(listener, "role");
        const char *name = listener->role;
        const struct config_role *role = role_find(config, name);
        loader->at = listener_at(config, i);
        if (role) {
            is_named[role - config->role.sections] = true;
        } else if (name[0] != '\0') {
            add_setting_problem(loader, line_where(loader, setting, loader->at), setting, name,
                "there is no such role; the NAME of a section [role NAME] is accepted");
        }
    }
    for (loader->at = 0; loader->at < config->role.n; loader->at++) {
        const struct config_role *role = &config->role.sections[loader->at];
        if (!is_named[loader->at] && role->users.n == 0 && role->groups.n == 0 &&
            !loader->is_bad[users - settings][loader->at] &&
            !loader->is_bad[groups - settings][loader->at]) {
            add_problem(loader, line_where(loader, users, loader->at),
                "[role %s]: nobody can have this role; accepted are users, groups, or a [listener] "
                "with \"role = %s\"",
                role->name, role->name);
        }
    }
}

int config_load(const char *path, const char *namesrv_addr, struct config **ret_config,
    struct config_problems *ret_problems)
{
    *ret_problems = (struct config_problems){ .n = 0 };
    CLEANUP(config_free) struct config *config = calloc(1, sizeof(*config));
    if (!config) {
        return -ENOMEM;
    }
    struct loader loader = { .path = path, .config = config, .problems = ret_problems };
    config->http.speaks_http = true;
    (void)snprintf(config->http.name, sizeof(config->http.name), "http");
    load_defaults(&loader);
    if (path && loader.error == 0) {
        load_file(&loader);
    }
    if (loader.error == 0) {
        loader.at = 0;
        load_nameserver_addresses(&loader, namesrv_addr);
        check_required(&loader);
        check_sockets(&loader);
        check_roles(&loader);
        loader.at = 0;
        for (size_t i = 0; i < sizeof(order_rules) / sizeof(*order_rules); i++) {
            check_order(&loader, setting_find(order_rules[i].section, order_rules[i].key),
                setting_find(order_rules[i].limit_section, order_rules[i].limit_key));
        }
        check_tls_enable(&loader);
        check_tls_pair(&loader);
    }
    if (loader.error == -ENOMEM) {
        add_problem(&loader, 0, "out of memory");
    }
    if (loader.error < 0) {
        return loader.error;
    }
    if (ret_problems->n > loader.names_no_nameserver) {
        return -EINVAL;
    }
    *ret_config = TAKE(config);
    return loader.names_no_nameserver ? -EDESTADDRREQ : 0;
}

/* --- listeners --- */

size_t config_n_listeners(const struct config *config)
{
    return config->listener.n + (config->http.socket[0] != '\0');
}

struct config_listener *config_listener(struct config *config, size_t i)
{
    return i < config->listener.n ? &config->listener.sections[i] : &config->http;
}

const char *config_listener_text(
    const struct config_listener *listener, char dst[static CONFIG_LISTENER_TEXT_SIZE])
{
    const char *name = listener->speaks_http ? "" : listener->name;
    (void)snprintf(dst, CONFIG_LISTENER_TEXT_SIZE, "[%s%s%s]",
        listener->speaks_http ? "http" : "listener", name[0] ? " " : "", name);
    return dst;
}

/* --- a reload --- */

static void listener_problem(struct loader *loader, const char *name, const char *what)
{
    add_problem(loader, 0,
        "[listener %s]: %s; while the daemon runs, the listeners that it was started with are "
        "accepted (a restart takes others)",
        name, what);
}

static const struct config_listener *listener_find(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->listener.n; i++) {
        if (strcmp(config->listener.sections[i].name, name) == 0) {
            return &config->listener.sections[i];
        }
    }
    return NULL;
}

int config_check_change(const struct config *config, const struct config *running, const char *path,
    struct config_problems *problems)
{
    struct loader loader = { .path = path, .problems = problems };
    size_t n_before = problems->n + problems->n_left_out;
    for (size_t i = 0; i < config->listener.n; i++) {
        if (!listener_find(running, config->listener.sections[i].name)) {
            listener_problem(&loader, config->listener.sections[i].name, "it is new");
        }
    }
    for (size_t i = 0; i < running->listener.n; i++) {
        if (!listener_find(config, running->listener.sections[i].name)) {
            listener_problem(&loader, running->listener.sections[i].name, "it is missing");
        }
    }
    return problems->n + problems->n_left_out == n_before ? 0 : -EINVAL;
}

static void listeners_put_in_order(struct config *config, const struct config *running)
{
    struct config_listener before[CONFIG_NAMED_MAX];
    memcpy(before, config->listener.sections, sizeof(before));
    for (size_t i = 0; i < running->listener.n; i++) {
        for (size_t j = 0; j < config->listener.n; j++) {
            if (strcmp(before[j].name, running->listener.sections[i].name) == 0) {
                config->listener.sections[i] = before[j];
            }
        }
    }
}

void config_keep_fixed(struct config *config, struct config *running, const char *path,
    struct config_problems *ret_kept)
{
    *ret_kept = (struct config_problems){ .n = 0 };
    struct loader loader = { .path = path, .problems = ret_kept };
    listeners_put_in_order(config, running);
    for (size_t i = 0; i < n_settings; i++) {
        const struct setting *setting = &settings[i];
        const struct named_kind *kind = named_kind_find(setting->section, strlen(setting->section));
        size_t n = !setting->is_fixed ? 0 : kind ? *named_count(kind, config) : 1;
        for (size_t at = 0; at < n; at++) {
            char section[SECTION_SIZE], seen[VALUE_NUMBER_MAX], kept[VALUE_NUMBER_MAX];
            if (!setting_is_same(setting, config, running, at)) {
                add_problem(&loader, 0, "[%s] %s = %.*s: it stays %.*s until the next start",
                    section_text(setting, config, at, section), setting->key, SEEN_MAX,
                    setting_text(setting, config, at, seen), SEEN_MAX,
                    setting_text(setting, running, at, kept));
            }
            setting_swap(setting, config, running, at);
        }
    }
}

struct config *config_free(struct config *config)
{
    if (!config) {
        return NULL;
    }
    for (size_t i = 0; i < n_settings; i++) {
        const struct named_kind *kind =
            named_kind_find(settings[i].section, strlen(settings[i].section));
        size_t n = kind ? *named_count(kind, config) : 1;
        for (size_t at = 0; at < n; at++) {
            setting_clear(&settings[i], config, at);
        }
    }
    free(config);
    return NULL;
}

void config_problems_add(struct config_problems *problems, const char *path, const char *problem)
{
    struct loader loader = { .path = path, .problems = problems };
    add_problem(&loader, 0, "%s", problem);
}

void config_problems_deinit(struct config_problems *problems)
{
    for (size_t i = 0; i < problems->n; i++) {
        free(problems->text[i]);
    }
    *problems = (struct config_problems){ .n = 0 };
}

/* Of the section whose first row this is. */
static size_t n_in_section(size_t first)
{
    size_t n = 1;
    while (first + n < n_settings &&
           strcmp(settings[first + n].section, settings[first].section) == 0) {
        n++;
    }
    return n;
}

static int view_one(const struct config *config, const struct setting *setting, size_t at,
    void (*visit)(void *context, const struct config_view *view), void *context)
{
    char section[SECTION_SIZE];
    char *value = setting_value(setting, config, at);
    if (!value) {
        return -ENOMEM;
    }
    (void)section_text(setting, config, at, section);
    const struct config_view view = {
        .section = section,
        .key = setting->key,
        .value = value,
        .default_text = setting->default_text,
        .is_default = setting_is_default(setting, config, at),
        .sentence = setting->sentence,
    };
    visit(context, &view);
    free(value);
    return 0;
}

int config_each(const struct config *config,
    void (*visit)(void *context, const struct config_view *view), void *context)
{
    for (size_t i = 0; i < n_settings; i += n_in_section(i)) {
        const struct setting *first = &settings[i];
        const struct named_kind *kind = named_kind_find(first->section, strlen(first->section));
        size_t n_sections = kind ? *named_count(kind, config) : 1;
        for (size_t j = 0; j < n_sections * n_in_section(i); j++) {
            int r =
                view_one(config, first + j % n_in_section(i), j / n_in_section(i), visit, context);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

void config_dump(const struct config *config, bool comment_out_defaults, FILE *file)
{
    fputs("# Settings of remotingd.\n"
          "#\n"
          "# Durations carry their unit (ms, s, min, h), sizes too (B, KiB, MiB, GiB). The items "
          "of a\n"
          "# list are separated by ; or given in further lines with the same key. A comment goes "
          "on a\n"
          "# line of its own.\n",
        file);
    for (size_t i = 0; i < n_settings; i += n_in_section(i)) {
        const struct setting *first = &settings[i];
        const struct named_kind *kind = named_kind_find(first->section, strlen(first->section));
        bool is_example = kind && !kind->has_nameless && !config;
        size_t n_sections = kind && config ? *named_count(kind, config) : 1;
        char section[SECTION_SIZE];
        for (size_t at = 0; at < n_sections; at++) {
            if (is_example) {
                fprintf(file, "\n# Any number of these sections, at most %d.\n#[%s NAME]\n",
                    CONFIG_NAMED_MAX, kind->section);
            } else {
                fprintf(file, "\n[%s]\n",
                    config ? section_text(first, config, at, section) : first->section);
            }
            if (kind && kind->has_nameless && !config) {
                fprintf(file, "# There may be more: [%s NAME], up to %d in all.\n\n",
                    first->section, CONFIG_NAMED_MAX);
            }
            for (size_t j = 0; j < n_in_section(i); j++) {
                fputs(j > 0 ? "\n" : "", file);
                setting_dump(
                    first + j, config, at, comment_out_defaults, is_example ? '#' : ';', file);
            }
        }
    }
}
