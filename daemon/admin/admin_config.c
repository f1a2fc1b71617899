/* GET_CONFIG, GET_MEMORY and SET_LOG_LEVEL: what the daemon was told, what it holds, what it says. */
#include "daemon/admin/admin.h"

#include "daemon/loop/log.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* --- configuration --- */

/* Keys and tokens are in files of their own, and only the names of these are settings. */
static void on_setting(void *context, const struct config_view *view)
{
    json_t *row = json_object();
    json_object_set_new(row, "section", admin_json_text(view->section));
    json_object_set_new(row, "key", admin_json_text(view->key));
    json_object_set_new(row, "value", admin_json_text(view->value));
    json_object_set_new(row, "default", admin_json_text(view->default_text));
    json_object_set_new(row, "isDefault", json_boolean(view->is_default));
    json_object_set_new(row, "meaning", admin_json_text(view->sentence));
    json_array_append_new(context, row);
}

void admin_get_config(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    json_t *rows = json_array();
    if (config_each(invocation->invoker->config, on_setting, rows) < 0) {
        json_decref(rows);
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    admin_answer_json(invocation, json_pack("{s:o}", "settings", rows));
}

/* --- memory --- */

size_t admin_open_files(void)
{
    size_t n = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (!directory) {
        return 0;
    }
    while (readdir(directory)) {
        n++;
    }
    (void)closedir(directory);
    return n > 3 ? n - 3 : 0; /* . and .. and its own */
}

/* limit 0: there is none. setting: what it is called in the configuration; NULL: it has no name. */
static void add_row(
    json_t *rows, const char *what, uint64_t used, uint64_t limit, const char *setting)
{
    json_t *row = json_object();
    json_object_set_new(row, "what", json_string(what));
    json_object_set_new(row, "used", admin_json_count(used));
    json_object_set_new(row, "limit", limit > 0 ? admin_json_count(limit) : json_null());
    json_object_set_new(row, "setting", admin_json_text(setting));
    json_array_append_new(rows, row);
}

static void count_address(void *context, const struct upstream_address *address)
{
    (void)address;
    (*(size_t *)context)++;
}

static json_t *memory_rows(const struct invoker *invoker)
{
    const struct config *config = invoker->config;
    const struct pending_table *pending = invoker->upstreams->pending;
    struct upstream_pool_report report;
    struct rlimit files = { .rlim_cur = 0 };
    size_t n_addresses = 0;
    json_t *rows = json_array();
    (void)getrlimit(RLIMIT_NOFILE, &files);
    upstream_pool_report(invoker->pool, &report);
    upstream_pool_each(invoker->pool, count_address, &n_addresses);
    add_row(rows, "buffers, bytes", invoker->memory->used, invoker->memory->limit,
        "limits.total_memory");
    add_row(rows, "buffers kept for reuse, bytes", invoker->memory->kept_size,
        FRAME_BUFFERS_KEPT_SIZE, NULL);
    add_row(rows, "output blocks kept for reuse", invoker->memory->blocks.n,
        invoker->memory->blocks.n_max, NULL);
    add_row(rows, "resident, bytes", admin_resident_bytes(), 0, NULL);
    add_row(rows, "open files", admin_open_files(),
        files.rlim_cur == RLIM_INFINITY ? 0 : files.rlim_cur, "LimitNOFILE");
    for (size_t i = 0; i < invoker->sessions->n_entrances; i++) {
        const struct session_entrance *entrance = &invoker->sessions->entrances[i];
        char what[sizeof(entrance->config->name) + 16];
        (void)snprintf(what, sizeof(what), "callers%s%s", entrance->config->name[0] ? " of " : "",
            entrance->config->name);
        add_row(rows, what, entrance->n, entrance->config->max_sessions,
            entrance->config->speaks_http ? "http.max_sessions" : "listener.max_sessions");
    }
    add_row(rows, "requests in flight", invoker->n_in_flight, config->limits.max_in_flight,
        "limits.max_in_flight");
    add_row(
        rows, "pending at brokers", pending->n_pending, pending->capacity, "limits.max_in_flight");
    add_row(rows, "opaques in quarantine", pending->quarantined.n, pending->capacity,
        "limits.max_in_flight");
    add_row(rows, "connections to brokers and nameservers", report.n_total, report.max_connections,
        "pool.max_connections");
    add_row(rows, "addresses remembered", n_addresses, POOL_ADDRESSES_MAX, NULL);
    add_row(rows, "topics", route_table_n_topics(routes_table(invoker->routes)),
        config->limits.max_topics, "limits.max_topics");
    add_row(rows, "producer groups", identity_n_producers(invoker->identity),
        config->limits.max_groups, "limits.max_groups");
    add_row(rows, "members of consumer groups", identity_n_members(invoker->identity),
        config->limits.max_members, "limits.max_members");
    return rows;
}

void admin_get_memory(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    admin_answer_json(invocation, json_pack("{s:o}", "memory", memory_rows(invocation->invoker)));
}

/* --- the log --- */

void admin_set_log_level(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    struct span word = ext_fields_text(&command->ext_fields, "level");
    enum log_level before = log_get_level();
    for (enum log_level level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        if (span_equals_text(word, log_level_name(level))) {
            char text[SESSION_TEXT_SIZE];
            log_info("%s SET_LOG_LEVEL level=%s before=%s", session_text(invocation->session, text),
                log_level_name(level), log_level_name(before));
            log_set_level(level);
            admin_answer_json(invocation, json_pack("{s:s, s:s}", "level", log_level_name(level),
                                              "before", log_level_name(before)));
            return;
        }
    }
    invocation_fail(invocation, FAILURE_INVALID, false,
        "level is none: error, warning, info or debug is accepted");
}
