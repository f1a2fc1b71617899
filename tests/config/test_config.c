#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/ini_file.h"
#include "config/value.h"
#include "tests/support/run_suite.h"

#define N(row) ((int)(sizeof(row) / sizeof(*(row))))
#define NAMESERVER                                                                                 \
    "[nameserver]\naddresses = 10.0.0.1:9876\n" /* two lines, without which no file is complete */
#define NO_LINE 0
#define NO_FILE UINT32_MAX /* the problem is not the file's */

static char path[] = P_tmpdir "/remotingd-config-XXXXXX";

static void create_file(void)
{
    strcpy(path + strlen(path) - strlen("XXXXXX"), "XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
}

static void remove_file(void)
{
    ck_assert_int_eq(unlink(path), 0);
}

static void write_bytes(const char *content, size_t n)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(content, 1, n, file), n);
    ck_assert_int_eq(fclose(file), 0);
}

static struct config *load_complete(const char *content, const char *namesrv_addr)
{
    struct config *config = NULL;
    struct config_problems problems;
    if (content) {
        write_bytes(content, strlen(content));
    }
    int r = config_load(content ? path : NULL, namesrv_addr, &config, &problems);
    ck_assert_msg(r == 0, "%s", problems.n ? problems.text[0] : "no reason given");
    ck_assert_uint_eq(problems.n, 0);
    config_problems_deinit(&problems);
    return config;
}

static void check_list(const struct config_list *list, const char *const *expected)
{
    size_t n = 0;
    for (; expected[n]; n++) {
        ck_assert_msg(n < list->n, "%s is missing", expected[n]);
        ck_assert_str_eq(list->items[n], expected[n]);
    }
    ck_assert_uint_eq(list->n, n);
}

START_TEST(without_a_file_every_setting_has_its_default)
{
    struct config *config = load_complete(NULL, "127.0.0.1:9876");
    ck_assert_str_eq(config->listener.sections[0].socket, "/run/remotingd/remotingd.sock");
    ck_assert_uint_eq(config->listener.sections[0].socket_mode, 0660);
    ck_assert_str_eq(config->listener.sections[0].socket_group, "");
    ck_assert_uint_eq(config->listener.sections[0].max_sessions, 10000);
    ck_assert_str_eq(config->listener.sections[0].name, "");
    ck_assert_str_eq(config->listener.sections[0].role, "");
    ck_assert_uint_eq(config->listener.n, 1);
    ck_assert_str_eq(config->http.socket, "");
    ck_assert_uint_eq(config->http.max_sessions, 1000);
    ck_assert_uint_eq(config->http.idle_timeout_ms, 60000);
    ck_assert_uint_eq(config_n_listeners(config), 1);
    ck_assert_uint_eq(config->role.n, 0);
    ck_assert_uint_eq(config->nameserver.route_refresh_ms, 30000);
    ck_assert_uint_eq(config->nameserver.negative_ttl_ms, 5000);
    ck_assert_uint_eq(config->upstream.connect_timeout_ms, 3000);
    ck_assert_uint_eq(config->upstream.request_timeout_ms, 3000);
    ck_assert_uint_eq(config->upstream.keepalive_idle_ms, 60000);
    ck_assert_uint_eq(config->upstream.tcp_user_timeout_ms, 10000);
    ck_assert(!config->upstream.allow_any_address);
    ck_assert_uint_eq(config->upstream.allow_addresses.n, 0);
    ck_assert_uint_eq(config->upstream.route_addresses.n, 0);
    ck_assert_uint_eq(config->pool.max_idle_ms, 60000);
    ck_assert_uint_eq(config->pool.cleanup_interval_ms, 30000);
    ck_assert_uint_eq(config->backoff.initial_ms, 100);
    ck_assert_uint_eq(config->backoff.max_ms, 30000);
    ck_assert_uint_eq(config->backoff.max_wanted_ms, 2000);
    ck_assert_uint_eq(config->limits.max_frame, 16777216);
    ck_assert_uint_eq(config->limits.max_in_flight, 65535);
    ck_assert_uint_eq(config->limits.max_in_flight_per_session, 4096);
    ck_assert_uint_eq(config->limits.max_long_polls_per_session, 256);
    ck_assert_uint_eq(config->limits.session_buffer, 4194304);
    ck_assert_uint_eq(config->limits.upstream_buffer, 16777216);
    ck_assert_uint_eq(config->limits.total_memory, 268435456);
    ck_assert_uint_eq(config->limits.max_timeout_ms, 300000);
    ck_assert_uint_eq(config->limits.header_timeout_ms, 10000);
    ck_assert_uint_eq(config->limits.write_timeout_ms, 30000);
    ck_assert_uint_eq(config->limits.max_topics, 10000);
    ck_assert_uint_eq(config->limits.max_brokers, 1000);
    ck_assert_uint_eq(config->limits.max_queues, 65536);
    ck_assert_uint_eq(config->limits.max_decompressed, 16777216);
    ck_assert_uint_eq(config->limits.max_groups, 1024);
    ck_assert_uint_eq(config->limits.max_groups_per_session, 64);
    ck_assert_uint_eq(config->limits.max_members, 256);
    ck_assert_uint_eq(config->limits.max_processors_per_session, 256);
    ck_assert_uint_eq(config->limits.max_broker_requests_per_session, 256);
    ck_assert_str_eq(config->send.producer_group, "remotingd");
    ck_assert_uint_eq(config->send.retries, 2);
    ck_assert_uint_eq(config->consume.invisible_time_ms, 60000);
    ck_assert_uint_eq(config->consume.poll_time_ms, 15000);
    ck_assert_uint_eq(config->consume.max_messages, 32);
    ck_assert(!config->tls.enable);
    ck_assert(config->tls.verify);
    ck_assert_str_eq(config->tls.ca_file, "");
    ck_assert_str_eq(config->tls.cert_file, "");
    ck_assert_str_eq(config->tls.key_file, "");
    ck_assert_str_eq(config->tls.server_name, "");
    ck_assert(config->tls.min_version == CONFIG_TLS_1_2);
    ck_assert_uint_eq(config->acl.n, 0);
    ck_assert_str_eq(config->namespace.name, "");
    ck_assert_uint_eq(config->hooks.static_fields.n, 0);
    ck_assert_uint_eq(config->drain.timeout_ms, 30000);
    ck_assert(config->log.level == CONFIG_LOG_INFO);
    config_free(config);
}
END_TEST

/* Every setting at a value that is not its default. */
static const char every_setting[] =
    "[listener]\nsocket = /run/x.sock\nsocket_mode = 0600\nsocket_group = www-data\nmax_sessions = "
    "7\nrole = shop\n"
    "[listener web]\nsocket = /run/web/x.sock\nsocket_mode = 0666\nmax_sessions = 8\n"
    "[http]\nsocket = /run/h.sock\nsocket_mode = 0640\nsocket_group = 4713\nrole = shop\n"
    "max_sessions = 9\nidle_timeout = 23s\n"
    "[role shop]\nusers = root;4711\ngroups = www-data;4712\nsend = orders;invoices-*\n"
    "producer_groups = shop-*\nconsume = %RETRY%x\nconsumer_groups = *\nadmin = yes\n"
    "[role rest]\nusers = *\n"
    "[nameserver]\naddresses = a.example:9876;[fd00::7]:9877\nroute_refresh = 10s\nnegative_ttl = "
    "1500ms\n"
    "[upstream]\nconnect_timeout = 4s\nrequest_timeout = 5s\nkeepalive_idle = "
    "2min\ntcp_user_timeout = 11s\n"
    "allow_addresses = any;10.0.0.0/8;::1\n"
    "route_addresses = 10.0.0.0/8;broker-a:10911\n"
    "[pool]\nmax_idle = 1h\ncleanup_interval = 31s\n"
    "[backoff]\ninitial = 200ms\nmax = 40s\nmax_wanted = 3s\n"
    "[limits]\nmax_frame = 8MiB\nmax_in_flight = 1000\nmax_in_flight_per_session = 100\n"
    "max_long_polls_per_session = 10\nsession_buffer = 65KiB\nupstream_buffer = 1GiB\ntotal_memory "
    "= 2GiB\n"
    "max_timeout = 10min\nheader_timeout = 12s\nwrite_timeout = 13s\nmax_topics = 14\nmax_brokers "
    "= 15\n"
    "max_queues = 16\nmax_decompressed = 17MiB\nmax_groups = 18\nmax_groups_per_session = 19\n"
    "max_members = 20\nmax_processors_per_session = 21\nmax_broker_requests_per_session = 22\n"
    "[send]\nproducer_group = my|group%1\nretries = 0\n"
    "[consume]\ninvisible_time = 18s\npoll_time = 0s\nmax_messages = 19\n"
    "[tls]\nenable = yes\nverify = no\nca_file = /etc/ca.pem\ncert_file = client-cert\n"
    "key_file = client-key\nserver_name = rocketmq.example\nmin_version = 1.3\n"
    "[acl inner]\naddresses = 10.0.0.0/8;broker-a:10911\naccess_key = AK1\n"
    "secret_key_file = /etc/secret\n"
    "[acl rest]\naccess_key = AK2\nsecret_key_file = secret-key\nsecurity_token_file = token\n"
    "[namespace]\nname = blue\n[hooks]\nstatic_fields = zone=b;empty=\n"
    "[drain]\ntimeout = 20s\n"
    "[log]\nlevel = debug\n";

static void check_roles(const struct config *config)
{
    static const char *const users[] = { "root", "4711", NULL };
    static const char *const groups[] = { "www-data", "4712", NULL };
    static const char *const send[] = { "orders", "invoices-*", NULL };
    static const char *const producer_groups[] = { "shop-*", NULL };
    static const char *const consume[] = { "%RETRY%x", NULL };
    static const char *const all[] = { "*", NULL };
    const struct config_role *role = &config->role.sections[0];
    ck_assert_uint_eq(config->role.n, 2);
    ck_assert_str_eq(role->name, "shop");
    check_list(&role->users, users);
    check_list(&role->groups, groups);
    check_list(&role->send, send);
    check_list(&role->producer_groups, producer_groups);
    check_list(&role->consume, consume);
    check_list(&role->consumer_groups, all);
    ck_assert(role->admin);
    ck_assert_str_eq(role[1].name, "rest");
    check_list(&role[1].users, all);
    ck_assert_uint_eq(role[1].send.n, 0);
    ck_assert(!role[1].admin);
}

static void check_every_setting(const struct config *config)
{
    static const char *const nameservers[] = { "a.example:9876", "[fd00::7]:9877", NULL };
    static const char *const networks[] = { "10.0.0.0/8", "::1", NULL };
    static const char *const targets[] = { "10.0.0.0/8", "broker-a:10911", NULL };
    ck_assert_str_eq(config->listener.sections[0].socket, "/run/x.sock");
    ck_assert_uint_eq(config->listener.sections[0].socket_mode, 0600);
    ck_assert_str_eq(config->listener.sections[0].socket_group, "www-data");
    ck_assert_uint_eq(config->listener.sections[0].max_sessions, 7);
    ck_assert_str_eq(config->listener.sections[0].role, "shop");
    ck_assert_uint_eq(config->listener.n, 2);
    ck_assert_str_eq(config->listener.sections[1].name, "web");
    ck_assert_str_eq(config->listener.sections[1].socket, "/run/web/x.sock");
    ck_assert_uint_eq(config->listener.sections[1].socket_mode, 0666);
    ck_assert_str_eq(config->listener.sections[1].socket_group, "");
    ck_assert_str_eq(config->listener.sections[1].role, "");
    ck_assert_uint_eq(config->listener.sections[1].max_sessions, 8);
    ck_assert_str_eq(config->http.socket, "/run/h.sock");
    ck_assert_uint_eq(config->http.socket_mode, 0640);
    ck_assert_str_eq(config->http.socket_group, "4713");
    ck_assert_str_eq(config->http.role, "shop");
    ck_assert_uint_eq(config->http.max_sessions, 9);
    ck_assert_uint_eq(config->http.idle_timeout_ms, 23000);
    ck_assert_uint_eq(config_n_listeners(config), 3);
    check_roles(config);
    check_list(&config->nameserver.addresses, nameservers);
    ck_assert_uint_eq(config->nameserver.route_refresh_ms, 10000);
    ck_assert_uint_eq(config->nameserver.negative_ttl_ms, 1500);
    ck_assert_uint_eq(config->upstream.connect_timeout_ms, 4000);
    ck_assert_uint_eq(config->upstream.request_timeout_ms, 5000);
    ck_assert_uint_eq(config->upstream.keepalive_idle_ms, 120000);
    ck_assert_uint_eq(config->upstream.tcp_user_timeout_ms, 11000);
    ck_assert(config->upstream.allow_any_address);
    check_list(&config->upstream.allow_addresses, networks);
    check_list(&config->upstream.route_addresses, targets);
    ck_assert_uint_eq(config->pool.max_idle_ms, 3600000);
    ck_assert_uint_eq(config->pool.cleanup_interval_ms, 31000);
    ck_assert_uint_eq(config->backoff.initial_ms, 200);
    ck_assert_uint_eq(config->backoff.max_ms, 40000);
    ck_assert_uint_eq(config->backoff.max_wanted_ms, 3000);
    ck_assert_uint_eq(config->limits.max_frame, 8388608);
    ck_assert_uint_eq(config->limits.max_in_flight, 1000);
    ck_assert_uint_eq(config->limits.max_in_flight_per_session, 100);
    ck_assert_uint_eq(config->limits.max_long_polls_per_session, 10);
    ck_assert_uint_eq(config->limits.session_buffer, 66560);
    ck_assert_uint_eq(config->limits.upstream_buffer, 1073741824);
    ck_assert_uint_eq(config->limits.total_memory, 2147483648);
    ck_assert_uint_eq(config->limits.max_timeout_ms, 600000);
    ck_assert_uint_eq(config->limits.header_timeout_ms, 12000);
    ck_assert_uint_eq(config->limits.write_timeout_ms, 13000);
    ck_assert_uint_eq(config->limits.max_topics, 14);
    ck_assert_uint_eq(config->limits.max_brokers, 15);
    ck_assert_uint_eq(config->limits.max_queues, 16);
    ck_assert_uint_eq(config->limits.max_decompressed, 17825792);
    ck_assert_uint_eq(config->limits.max_groups, 18);
    ck_assert_uint_eq(config->limits.max_groups_per_session, 19);
    ck_assert_uint_eq(config->limits.max_members, 20);
    ck_assert_uint_eq(config->limits.max_processors_per_session, 21);
    ck_assert_uint_eq(config->limits.max_broker_requests_per_session, 22);
    ck_assert_str_eq(config->send.producer_group, "my|group%1");
    ck_assert_uint_eq(config->send.retries, 0);
    ck_assert_uint_eq(config->consume.invisible_time_ms, 18000);
    ck_assert_uint_eq(config->consume.poll_time_ms, 0);
    ck_assert_uint_eq(config->consume.max_messages, 19);
    ck_assert(config->tls.enable);
    ck_assert(!config->tls.verify);
    ck_assert_str_eq(config->tls.ca_file, "/etc/ca.pem");
    ck_assert_str_eq(config->tls.cert_file, "client-cert");
    ck_assert_str_eq(config->tls.key_file, "client-key");
    ck_assert_str_eq(config->tls.server_name, "rocketmq.example");
    ck_assert(config->tls.min_version == CONFIG_TLS_1_3);
    static const char *const acl_targets[] = { "10.0.0.0/8", "broker-a:10911", NULL };
    static const char *const static_fields[] = { "zone=b", "empty=", NULL };
    ck_assert_uint_eq(config->acl.n, 2);
    ck_assert_str_eq(config->acl.sections[0].name, "inner");
    check_list(&config->acl.sections[0].addresses, acl_targets);
    ck_assert_str_eq(config->acl.sections[0].access_key, "AK1");
    ck_assert_str_eq(config->acl.sections[0].secret_key_file, "/etc/secret");
    ck_assert_str_eq(config->acl.sections[0].security_token_file, "");
    ck_assert_str_eq(config->acl.sections[1].name, "rest");
    ck_assert_uint_eq(config->acl.sections[1].addresses.n, 0);
    ck_assert_str_eq(config->acl.sections[1].access_key, "AK2");
    ck_assert_str_eq(config->acl.sections[1].secret_key_file, "secret-key");
    ck_assert_str_eq(config->acl.sections[1].security_token_file, "token");
    ck_assert_str_eq(config->namespace.name, "blue");
    check_list(&config->hooks.static_fields, static_fields);
    ck_assert_uint_eq(config->drain.timeout_ms, 20000);
    ck_assert(config->log.level == CONFIG_LOG_DEBUG);
}

START_TEST(a_file_sets_every_setting)
{
    struct config *config = load_complete(every_setting, NULL);
    check_every_setting(config);
    config_free(config);
}
END_TEST

static char *dump(const struct config *config, bool comment_out_defaults)
{
    char *text = NULL;
    size_t n = 0;
    FILE *file = open_memstream(&text, &n);
    ck_assert_ptr_nonnull(file);
    config_dump(config, comment_out_defaults, file);
    ck_assert_int_eq(fclose(file), 0);
    return text;
}

START_TEST(a_dump_is_read_back_as_the_same_settings)
{
    struct config *config = load_complete(every_setting, NULL);
    char *text = dump(config, _i == 0);
    config_free(config);
    config = load_complete(text, "other:1");
    check_every_setting(config);
    config_free(config);
    free(text);
}
END_TEST

START_TEST(a_dump_comments_out_the_defaults_only_when_asked_to)
{
    struct config *config = load_complete(
        "[nameserver]\naddresses = a:1\n[pool]\nmax_idle = 60s\n[send]\nretries = 3\n", NULL);
    char *commented = dump(config, true);
    char *plain = dump(config, false);
    ck_assert_ptr_nonnull(strstr(commented, "\n;max_idle = 1min\n"));
    ck_assert_ptr_nonnull(strstr(commented, "\nretries = 3\n"));
    ck_assert_ptr_nonnull(strstr(commented, "\naddresses = a:1\n"));
    ck_assert_ptr_nonnull(strstr(commented, "\n;socket_group =\n"));
    ck_assert_ptr_nonnull(strstr(plain, "\nmax_idle = 1min\n"));
    ck_assert_ptr_nonnull(strstr(plain, "\nsocket_group =\n"));
    ck_assert_ptr_null(strstr(plain, "\n;"));
    free(commented);
    free(plain);
    config_free(config);
}
END_TEST

START_TEST(a_dump_of_many_long_addresses_is_read_back)
{
    char addresses[CONFIG_ADDRESSES_MAX * (VALUE_ADDRESS_MAX + 1) + 1] = "";
    char *end = addresses;
    for (unsigned i = 0; i < CONFIG_ADDRESSES_MAX; i++) {
        end += sprintf(end, "%s%054u.%054u.%058u.x:9876", i ? ";" : "", i, i, i);
    }
    struct config *config = load_complete(NULL, addresses);
    char *text = dump(config, true);
    struct config *reloaded = load_complete(text, NULL);
    ck_assert_uint_eq(reloaded->nameserver.addresses.n, CONFIG_ADDRESSES_MAX);
    for (size_t i = 0; i < CONFIG_ADDRESSES_MAX; i++) {
        ck_assert_str_eq(
            reloaded->nameserver.addresses.items[i], config->nameserver.addresses.items[i]);
    }
    free(text);
    config_free(reloaded);
    config_free(config);
}
END_TEST

START_TEST(the_sample_file_is_the_commented_dump_of_the_defaults)
{
    const char *root = getenv("SOURCE_ROOT");
    ck_assert_msg(root, "SOURCE_ROOT is not set");
    char name[4096];
    char sample[32768];
    ck_assert_int_lt(snprintf(name, sizeof(name), "%s/config/remotingd.ini", root), N(name));
    FILE *file = fopen(name, "r");
    ck_assert_msg(file, "%s: %s", name, strerror(errno));
    size_t n = fread(sample, 1, sizeof(sample) - 1, file);
    ck_assert_int_eq(fclose(file), 0);
    sample[n] = '\0';
    char *expected = dump(NULL, true);
    ck_assert_str_eq(sample, expected);
    ck_assert_ptr_nonnull(strstr(sample, "\n;addresses = 127.0.0.1:9876\n"));
    free(expected);
}
END_TEST

START_TEST(the_sample_file_without_its_semicolons_holds_the_defaults)
{
    char *text = dump(NULL, true);
    for (char *c = strstr(text, "\n;"); c; c = strstr(c, "\n;")) {
        c[1] = ' ';
    }
    struct config *config = load_complete(text, NULL);
    struct config *defaults = load_complete(NULL, "127.0.0.1:9876");
    char *config_text = dump(config, false);
    char *defaults_text = dump(defaults, false);
    ck_assert_str_eq(config_text, defaults_text);
    free(text);
    free(config_text);
    free(defaults_text);
    config_free(config);
    config_free(defaults);
}
END_TEST

static const struct accepted_case {
    const char *name;
    const char *content;
    const char *namesrv_addr;
    const char *nameservers[5];
} accepted_cases[] = {
    { "one nameserver", "[nameserver]\naddresses=a:1\n", NULL, { "a:1" } },
    { "no blank behind the separator", "[nameserver]\naddresses = a:1;b:2\n", NULL,
        { "a:1", "b:2" } },
    { "a blank behind the separator", "[nameserver]\naddresses = a:1; b:2\n", NULL,
        { "a:1", "b:2" } },
    { "a separator at the end", "[nameserver]\naddresses = a:1;b:2;\n", NULL, { "a:1", "b:2" } },
    { "nothing between separators", "[nameserver]\naddresses = a:1;;b:2\n", NULL,
        { "a:1", "b:2" } },
    { "a list key on several lines", "[nameserver]\naddresses = a:1;b:2\naddresses = c:3\n", NULL,
        { "a:1", "b:2", "c:3" } },
    { "a section in two places",
        "[nameserver]\naddresses = a:1\n[log]\n[nameserver]\naddresses = b:2\n", NULL,
        { "a:1", "b:2" } },
    { "comments and empty lines",
        "# a comment\n\n; another\n   # indented\n[nameserver]\n;addresses = x\naddresses = a:1",
        NULL, { "a:1" } },
    { "an indented setting",
        "[nameserver]\n  route_refresh = 1s\n  addresses = a:1\n\tnegative_ttl = 1s\n", NULL,
        { "a:1" } },
    { "the line ends of DOS", "[nameserver]\r\naddresses = a:1\r\n", NULL, { "a:1" } },
    { "the mark of UTF-8", "\xEF\xBB\xBF[nameserver]\naddresses = a:1\n", NULL, { "a:1" } },
    { "the environment where the file has none", "[log]\nlevel = error\n", "a:1;b:2",
        { "a:1", "b:2" } },
    { "the environment where the file's list is empty", "[nameserver]\naddresses =\n", "a:1",
        { "a:1" } },
    { "the file before the environment", "[nameserver]\naddresses = a:1\n", "b:2", { "a:1" } },
    { "a bad environment that does not count", "[nameserver]\naddresses = a:1\n", "nonsense",
        { "a:1" } },
    { "an environment with blanks and a final separator", "", " a:1 ; b:2;", { "a:1", "b:2" } },
    { "equal values that may be equal",
        NAMESERVER "[backoff]\ninitial = 2s\nmax_wanted = 2s\nmax = 2s\n", NULL,
        { "10.0.0.1:9876" } },
};

START_TEST(files_are_accepted_in_the_forms_people_write_them)
{
    const struct accepted_case *row = &accepted_cases[_i];
    struct config *config = load_complete(row->content, row->namesrv_addr);
    size_t n = 0;
    for (; row->nameservers[n]; n++) {
        ck_assert_msg(n < config->nameserver.addresses.n, "%s: %s is missing", row->name,
            row->nameservers[n]);
        ck_assert_msg(strcmp(config->nameserver.addresses.items[n], row->nameservers[n]) == 0,
            "%s: %s", row->name, config->nameserver.addresses.items[n]);
    }
    ck_assert_msg(config->nameserver.addresses.n == n, "%s: %zu nameservers", row->name,
        config->nameserver.addresses.n);
    config_free(config);
}
END_TEST

START_TEST(a_line_with_sixty_four_nameservers_is_read_whole)
{
    char content[INI_FILE_LINE_MAX + 64];
    char *end = content + sprintf(content, "[nameserver]\naddresses = ");
    for (unsigned i = 0; i < CONFIG_ADDRESSES_MAX; i++) {
        end += sprintf(end, "%snamesrv-%02u.rocketmq.svc.example.org:98%02u",
            i ? (i % 2 ? "; " : ";") : "", i, i);
    }
    strcpy(end, "\n");
    struct config *config = load_complete(content, NULL);
    ck_assert_uint_eq(config->nameserver.addresses.n, CONFIG_ADDRESSES_MAX);
    for (unsigned i = 0; i < CONFIG_ADDRESSES_MAX; i++) {
        char expected[64];
        (void)snprintf(
            expected, sizeof(expected), "namesrv-%02u.rocketmq.svc.example.org:98%02u", i, i);
        ck_assert_str_eq(config->nameserver.addresses.items[i], expected);
    }
    config_free(config);
}
END_TEST

/* Wherever the list is cut: within an item, before and behind a separator. */
START_TEST(a_list_loses_nothing_where_it_crosses_the_buffer_of_inih)
{
    for (int n_first = 1; n_first <= 40; n_first++) {
        char content[1024];
        char *end = content + sprintf(content, "[nameserver]\naddresses =   a%0*d:1", n_first, 0);
        for (unsigned i = 1; i < 40; i++) {
            end += sprintf(end, ";%shost-%u:98%02u", i % 3 ? "" : " ", i, i);
        }
        strcpy(end, ";\n");
        struct config *config = load_complete(content, NULL);
        ck_assert_uint_eq(config->nameserver.addresses.n, 40);
        ck_assert_uint_eq(strlen(config->nameserver.addresses.items[0]), (size_t)n_first + 3);
        for (unsigned i = 1; i < 40; i++) {
            char expected[32];
            (void)snprintf(expected, sizeof(expected), "host-%u:98%02u", i, i);
            ck_assert_str_eq(config->nameserver.addresses.items[i], expected);
        }
        config_free(config);
    }
}
END_TEST

#define TEN     "1234567890"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

struct expected_problem {
    unsigned line;        /* NO_LINE: the file as a whole; NO_FILE: no file is named */
    const char *place;    /* what follows "FILE:LINE: " */
    const char *sentence; /* somewhere behind it */
};

static const struct problem_case {
    const char *name;
    const char *content; /* NULL: no file */
    const char *namesrv_addr;
    struct expected_problem problems[6];
    int error; /* 0: -EINVAL, and no configuration is handed out */
} problem_cases[] = {
    { "an unknown section that is nearly known", "[lisener]\n" NAMESERVER, NULL,
        { { 1, "[lisener]: ", "no such section; did you mean [listener]?" } } },
    { "an unknown section", "[grpc]\nenable = yes\n" NAMESERVER, NULL,
        { { 1, "[grpc]: ",
            "known are [listener], [http], [role], [nameserver], [upstream], [pool], [backoff], "
            "[breaker], "
            "[limits], "
            "[send]" } } },
    { "TLS of which nobody said whether it is meant", NAMESERVER "[tls]\nca_file = /ca.pem\n", NULL,
        { { 4, "[tls] ca_file: ", "accepted is also a line \"enable = yes\"" } } },
    { "a certificate without its key", NAMESERVER "[tls]\nenable = yes\ncert_file = /c.pem\n", NULL,
        { { 5, "[tls] cert_file is given and key_file is not", "\"key_file = FILE\"" } } },
    { "a key without its certificate", NAMESERVER "[tls]\nenable = yes\nkey_file = k\n", NULL,
        { { 5, "[tls] key_file is given and cert_file is not", "\"cert_file = FILE\"" } } },
    { "a version of TLS that is not spoken", NAMESERVER "[tls]\nenable = yes\nmin_version = 1.1\n",
        NULL, { { 5, "[tls] min_version = 1.1: ", "1.2 or 1.3 is accepted" } } },
    { "a section that needs a name", NAMESERVER "[acl]\naccess_key = A\n", NULL,
        { { 3, "[acl ]: ", "one word of at most 32 characters, as in [acl prod]" } } },
    { "a section's name of two words", NAMESERVER "[acl a b]\n", NULL,
        { { 3, "[acl a b]: ", "one word of at most 32 characters" } } },
    { "a name where a section has none", NAMESERVER "[log x]\n", NULL,
        { { 3, "[log x]: ", "there is no such section" } } },
    { "a section without what it needs", NAMESERVER "[acl prod]\naccess_key = A\n", NULL,
        { { 3, "[acl prod] secret_key_file: ", "it is missing" } } },
    { "a setting twice in sections of one name",
        NAMESERVER "[acl a]\naccess_key = A\nsecret_key_file = /s\n[acl a]\naccess_key = B\n", NULL,
        { { 7, "[acl a] access_key = B: ", "line 4 gives it already" } } },
    { "a listener without a path of its own", NAMESERVER "[listener web]\nmax_sessions = 1\n", NULL,
        { { 3, "[listener web] socket = /run/remotingd/remotingd.sock: ",
            "[listener] has this path by default; one that no other has is accepted" } } },
    { "two listeners with one path",
        NAMESERVER "[listener a]\nsocket = /run/x\n[listener b]\nsocket = /run/x\n", NULL,
        { { 6, "[listener b] socket = /run/x: ", "[listener a] has this path;" } } },
    { "HTTP at the path of a listener",
        NAMESERVER "[http]\nsocket = /run/x\n[listener b]\nsocket = /run/x\n", NULL,
        { { 4, "[http] socket = /run/x: ", "[listener b] has this path;" } } },
    { "HTTP at the path that the first listener has by default",
        NAMESERVER "[http]\nsocket = /run/remotingd/remotingd.sock\n", NULL,
        { { 4, "[http] socket = /run/remotingd/remotingd.sock: ",
            "[listener] has this path by default;" } } },
    { "HTTP with a role that is none", NAMESERVER "[http]\nsocket = /run/x\nrole = shop\n", NULL,
        { { 5, "[http] role = shop: ", "there is no such role" } } },
    { "HTTP on TCP", NAMESERVER "[http]\nsocket = 127.0.0.1:80\n", NULL,
        { { 4, "[http] socket = 127.0.0.1:80: ", "absolute path" } } },
    { "a listener's role that does not exist",
        NAMESERVER "[role web]\nusers = root\n[listener]\nrole = wep\n", NULL,
        { { 6, "[listener] role = wep: ", "there is no such role" } } },
    { "a role that nobody can have", NAMESERVER "[role web]\nsend = orders\n", NULL,
        { { 3, "[role web]: ", "nobody can have this role; accepted are users, groups, or" } } },
    { "a role without a name", NAMESERVER "[role]\nusers = root\n", NULL,
        { { 3, "[role ]: ", "as in [role prod]" } } },
    { "users and groups that are not there",
        NAMESERVER "[role web]\nusers = root;nobody-of-that-name\ngroups = no-such-group\n"
                   "[listener]\nsocket_group = no-such-group\n",
        NULL,
        { { 4, "[role web] users = root;nobody-of-that-name: ",
              "\"nobody-of-that-name\": there is no such user on this host" },
            { 5, "[role web] groups = no-such-group: ", "there is no such group on this host" },
            { 7, "[listener] socket_group = no-such-group: ", "there is no such group" } } },
    { "the number of everyone who has none here",
        NAMESERVER "[role web]\nusers = 65534\ngroups = 65534\n", NULL,
        { { 4, "[role web] users = 65534: ", "65534 is nobody's" },
            { 5, "[role web] groups = 65534: ", "65534 is nobody's" } } },
    { "a user's number that is none", NAMESERVER "[role web]\nusers = 4294967295\n", NULL,
        { { 4, "[role web] users = 4294967295: ", "no such user" } } },
    { "patterns that are none",
        NAMESERVER "[role web]\nusers = root\nsend = a*b\nconsume = **\nconsumer_groups = a b\n",
        NULL,
        { { 5, "[role web] send = a*b: ", "as in orders-*, or * for all" },
            { 6, "[role web] consume = **: ", "the beginning of names" },
            { 7, "[role web] consumer_groups = a b: ", "a name is accepted" } } },
    { "a target that is neither",
        NAMESERVER "[acl a]\naccess_key = A\nsecret_key_file = s\naddresses = any\n", NULL,
        { { 6, "[acl a] addresses = any: ", "every address is meant where none is given" } } },
    { "a secret where a file is expected",
        NAMESERVER "[acl a]\naccess_key = A\nsecret_key_file = s3cret!key\n", NULL,
        { { 5, "[acl a] secret_key_file = s3cret!key: ", "the name of a credential" } } },
    { "a field without a value", NAMESERVER "[hooks]\nstatic_fields = zone\n", NULL,
        { { 4, "[hooks] static_fields = zone: ", "key=value is accepted" } } },
    { "an unknown section of any length", "[" HUNDRED HUNDRED HUNDRED "]\nx = 1\n" NAMESERVER, NULL,
        { { 1, "[" HUNDRED "]: ", "no such section" } } },
    { "a section in capitals", "[Log]\n" NAMESERVER, NULL,
        { { 1, "[Log]: ", "did you mean [log]?" } } },
    { "a section that is not closed", NAMESERVER "[log\nlevel = x\n", NULL,
        { { 3, "[log: ", "[section] is accepted alone on its line" } } },
    { "text behind a section", NAMESERVER "[log] level = debug\n", NULL,
        { { 3, "[log] level = debug: ", "[section] is accepted alone on its line" } } },
    { "a comment behind a section", NAMESERVER "[log] ; x\n", NULL,
        { { 3, "[log] ; x: ", "[section] is accepted alone on its line" } } },
    { "an unknown key that is nearly known", NAMESERVER "[listener]\nsoket_mode = 0660\n", NULL,
        { { 4, "[listener] soket_mode = 0660: ", "did you mean socket_mode?" } } },
    { "an unknown key", NAMESERVER "[backoff]\nfactor = 2\n", NULL,
        { { 4,
            "[backoff] factor = 2: ", "no such setting; known are initial, max, max_wanted" } } },
    { "a key of another section", NAMESERVER "[listener]\nmax_idle = 5min\n", NULL,
        { { 4, "[listener] max_idle = 5min: ", "it belongs in [pool]" } } },
    { "a key of any length", NAMESERVER "[log]\n" HUNDRED "1 = 2\n", NULL,
        { { 4, "[log] " HUNDRED " = 2: ", "known are level" } } },
    { "a setting before any section", "level = info\n" NAMESERVER, NULL,
        { { 1, "level = info: ", "below its [section] only" } } },
    { "a line that is nothing", NAMESERVER "nonsense\n", NULL,
        { { 3, "nonsense: ", "[section], key = value or a comment" } } },
    { "a colon for the equals sign", NAMESERVER "[log]\nlevel: info = x\n", NULL,
        { { 4, "level: info = x: ", "key = value" } } },
    { "a value without a key", NAMESERVER "= 5\n", NULL, { { 3, "= 5: ", "key = value" } } },
    { "a value continued on the next line", "[nameserver]\naddresses = a:1;\n  b:2\n", NULL,
        { { 3, "b:2: ", "key = value" } } },
    { "a key that stands twice", NAMESERVER "[send]\nretries = 1\n\nretries = 1\n", NULL,
        { { 6, "[send] retries = 1: ", "line 4 gives it already" } } },
    { "a key that stands three times", NAMESERVER "[send]\nretries = 1\nretries = 2\nretries = 3\n",
        NULL,
        { { 5, "[send] retries = 2: ", "line 4 gives it already" },
            { 6, "[send] retries = 3: ", "line 4 gives it already" } } },
    { "a key that stands in two parts of its section",
        NAMESERVER "[send]\nretries = 1\n[log]\n[send]\nretries = 2\n", NULL,
        { { 7, "[send] retries = 2: ", "line 4 gives it already" } } },
    { "a comment behind a value", NAMESERVER "[send]\nretries = 1 ; once\n", NULL,
        { { 4, "retries = 1 ; once: ", "a comment goes on a line of its own" } } },
    { "a # behind a value", NAMESERVER "[listener]\nsocket = /run/x # mine\n", NULL,
        { { 4, "socket = /run/x # mine: ", "a comment goes on a line of its own" } } },
    { "a blank before the separator", "[nameserver]\naddresses = a:1 ;b:2\n", "c:3",
        { { 2, "addresses = a:1 ;b:2: ", "separated by ; without a blank before it" } } },
    { "a comment for a value", NAMESERVER "[listener]\nsocket_group = ; none\n", NULL,
        { { 4, "socket_group = ; none: ", "a comment goes on a line of its own" } } },
    { "a comment within the brackets of a section",
        NAMESERVER "[acl ;]\naccess_key = k\nsecret_key_file = /k\n", NULL,
        { { 3, "[acl ;]: ", "no ; and no #" } } },
    { "a list for one value", NAMESERVER "[send]\nretries = 1;2\n", NULL,
        { { 4, "[send] retries = 1;2: ", "a whole number" } } },
    { "a value and an overlong list behind it",
        NAMESERVER "[send]\nretries = 1;" HUNDRED HUNDRED "\n", NULL,
        { { 4, "retries = 1;", "bytes are accepted for the key and one item" } } },
    { "an item that fits in no buffer", "[nameserver]\naddresses = " HUNDRED HUNDRED ":1;b:2\n",
        "c:3", { { 2, "addresses = ", "bytes are accepted for the key and one item" } } },
    { "a key that fits in no buffer, with nothing behind it",
        NAMESERVER "[send]\n" HUNDRED HUNDRED " =\n", NULL,
        { { 4, HUNDRED, "bytes are accepted for the key and one item" } } },
    { "a duration without a unit", NAMESERVER "[pool]\nmax_idle = 300\n", NULL,
        { { 4, "[pool] max_idle = 300: ", "a unit is needed: ms, s, min, h" } } },
    { "an empty duration", NAMESERVER "[pool]\nmax_idle =\n", NULL,
        { { 4, "[pool] max_idle = : ", "a whole number and its unit" } } },
    { "a size out of range", NAMESERVER "[limits]\nmax_frame = 17MiB\n", NULL,
        { { 4, "[limits] max_frame = 17MiB: ", "4KiB to 16MiB is accepted" } } },
    { "a count out of range", NAMESERVER "[limits]\nmax_in_flight = 65536\n", NULL,
        { { 4, "[limits] max_in_flight = 65536: ", "1 to 65535 is accepted" } } },
    { "half a second of keepalive", NAMESERVER "[upstream]\nkeepalive_idle = 1500ms\n", NULL,
        { { 4, "[upstream] keepalive_idle = 1500ms: ", "a multiple of 1s is accepted" } } },
    { "an unknown log level", NAMESERVER "[log]\nlevel = notice\n", NULL,
        { { 4, "[log] level = notice: ", "error, warning, info or debug is accepted" } } },
    { "a socket's path of 108 bytes", NAMESERVER "[listener]\nsocket = /" HUNDRED "1234567\n", NULL,
        { { 4, "[listener] socket = /", "108 bytes, at most 107 are accepted" } } },
    { "a bad item of a list", "[nameserver]\naddresses = a:1;b;c:3\n", NULL,
        { { 2, "[nameserver] addresses = a:1;b;c:3: ",
            "\"b\": the port is missing, as in b:9876" } } },
    { "two items with a blank between them", "[nameserver]\naddresses = 10.0.0.1:1 10.0.0.2:2\n",
        NULL,
        { { 2,
            "[nameserver] addresses = 10.0.0.1:1 10.0.0.2:2: ", "one host:port is accepted" } } },
    { "a nameserver given twice", "[nameserver]\naddresses = a:1;b:2\naddresses = a:1\n", NULL,
        { { 3, "[nameserver] addresses = a:1: ", "\"a:1\": it is in the list already" } } },
    { "a network with bits behind its prefix",
        NAMESERVER "[upstream]\nallow_addresses = 10.0.0.1/8\n", NULL,
        { { 4, "[upstream] allow_addresses = 10.0.0.1/8: ", "bits behind its /8" } } },
    { "no nameserver in file and environment", "[log]\nlevel = info\n", NULL,
        { { NO_LINE, "[nameserver] addresses: ", "addresses = 127.0.0.1:9876" } }, -EDESTADDRREQ },
    { "an empty list of nameservers and an empty environment", "[nameserver]\naddresses =\n", "",
        { { 2, "[nameserver] addresses: ", "no nameserver is known" } }, -EDESTADDRREQ },
    { "neither file nor environment", NULL, NULL,
        { { NO_FILE, "[nameserver] addresses: ", "NAMESRV_ADDR" } }, -EDESTADDRREQ },
    { "a bad environment", "[log]\nlevel = info\n", "10.0.0.1:9876;10.0.0.2",
        { { NO_FILE,
            "NAMESRV_ADDR = 10.0.0.1:9876;10.0.0.2: ", "\"10.0.0.2\": the port is missing" } } },
    { "an environment of two lines", NULL, "a:1\nb:2",
        { { NO_FILE, "NAMESRV_ADDR = a:1?b:2: ", "one host:port is accepted" } } },
    { "a first pause longer than the longest",
        NAMESERVER "[backoff]\nmax_wanted = 40s\nmax = 50s\ninitial = 45s\n", NULL,
        { { 6, "[backoff] initial = 45s: ", "at most [backoff] max_wanted = 40s is accepted" } } },
    { "a limit given behind what it limits",
        NAMESERVER "[backoff]\ninitial = 2s\nmax_wanted = 1s\n", NULL,
        { { 5, "[backoff] max_wanted = 1s: ", "at least [backoff] initial = 2s is accepted" } } },
    { "a limit below a default", NAMESERVER "[limits]\nmax_in_flight = 100\n", NULL,
        { { 4, "[limits] max_in_flight = 100: ",
            "at least [limits] max_in_flight_per_session = 4096 (its default) is accepted" } } },
    { "a value above a limit's default", NAMESERVER "[upstream]\nrequest_timeout = 6min\n", NULL,
        { { 4, "[upstream] request_timeout = 6min: ",
            "at most [limits] max_timeout = 5min (its default) is accepted" } } },
    { "a buffer larger than all memory",
        NAMESERVER "[limits]\ntotal_memory = 16MiB\nsession_buffer = 17MiB\n", NULL,
        { { 5, "[limits] session_buffer = 17MiB: ",
            "at most [limits] total_memory = 16MiB is accepted" } } },
    { "a bad value is not compared as well",
        NAMESERVER "[backoff]\ninitial = 40s\nmax = x\nmax_wanted = 2\n", NULL,
        { { 5, "[backoff] max = x: ", "a whole number" },
            { 6, "[backoff] max_wanted = 2: ", "a unit is needed" } } },
    { "every problem of a file",
        "[log]\nlevel = x\n[nope]\ny = 1\n[send]\nretries = z\nretrys = 1\nnonsense\n", "a:1",
        { { 2, "[log] level = x: ", "accepted" }, { 3, "[nope]: ", "no such section" },
            { 6, "[send] retries = z: ", "accepted" },
            { 7, "[send] retrys = 1: ", "did you mean retries?" },
            { 8, "nonsense: ", "accepted" } } },
    { "control characters are shown as one line", NAMESERVER "[log]\nlevel = \x1b[1m\n", NULL,
        { { 4, "[log] level = ?[1m: ", "accepted" } } },
};

static void check_problem(
    const struct problem_case *row, const struct expected_problem *expected, const char *text)
{
    char begin[512];
    if (expected->line == NO_FILE) {
        (void)snprintf(begin, sizeof(begin), "%s", expected->place);
    } else if (expected->line == NO_LINE) {
        (void)snprintf(begin, sizeof(begin), "%s: %s", path, expected->place);
    } else {
        (void)snprintf(begin, sizeof(begin), "%s:%u: %s", path, expected->line, expected->place);
    }
    ck_assert_msg(strncmp(text, begin, strlen(begin)) == 0, "%s: \"%s\" does not begin with \"%s\"",
        row->name, text, begin);
    ck_assert_msg(strstr(text + strlen(begin), expected->sentence),
        "%s: \"%s\" does not say \"%s\"", row->name, text, expected->sentence);
}

START_TEST(a_problem_names_file_line_setting_value_and_what_is_accepted)
{
    const struct problem_case *row = &problem_cases[_i];
    struct config *config = NULL;
    struct config_problems problems;
    if (row->content) {
        write_bytes(row->content, strlen(row->content));
    }
    int r = config_load(row->content ? path : NULL, row->namesrv_addr, &config, &problems);
    ck_assert_msg(r == (row->error ? row->error : -EINVAL), "%s: %d", row->name, r);
    ck_assert_msg((r == -EINVAL) == !config, "%s: what was handed out", row->name);
    size_t n = 0;
    for (; row->problems[n].place; n++) {
        ck_assert_msg(n < problems.n, "%s: problem %zu is missing", row->name, n);
        check_problem(row, &row->problems[n], problems.text[n]);
    }
    ck_assert_msg(problems.n == n, "%s: also \"%s\"", row->name, problems.text[n]);
    config_problems_deinit(&problems);
    config_free(config);
}
END_TEST

static void check_only_problem(const char *content, size_t n, unsigned line, const char *sentence)
{
    struct config *config = NULL;
    struct config_problems problems;
    char begin[512];
    write_bytes(content, n);
    ck_assert_int_eq(config_load(path, "a:1", &config, &problems), -EINVAL);
    ck_assert_uint_eq(problems.n, 1);
    (void)snprintf(begin, sizeof(begin), "%s:%u: ", path, line);
    ck_assert_msg(strncmp(problems.text[0], begin, strlen(begin)) == 0, "%s", problems.text[0]);
    ck_assert_msg(strstr(problems.text[0], sentence), "%s", problems.text[0]);
    config_problems_deinit(&problems);
}

START_TEST(a_zero_byte_is_refused_with_its_line)
{
    static const char content[] = "[log]\nlevel = info\0debug\n";
    check_only_problem(content, sizeof(content) - 1, 2, "without zero bytes");
}
END_TEST

START_TEST(a_line_longer_than_the_limit_is_refused_and_the_next_one_read)
{
    char content[INI_FILE_LINE_MAX + 100];
    memset(content, '#', INI_FILE_LINE_MAX);
    strcpy(content + INI_FILE_LINE_MAX, "\n[log]\nlevel = error\n");
    struct config *config = load_complete(content, "a:1");
    ck_assert(config->log.level == CONFIG_LOG_ERROR);
    config_free(config);

    memset(content, '#', INI_FILE_LINE_MAX + 1);
    strcpy(content + INI_FILE_LINE_MAX + 1, "\n[log]\nlevel = error\n");
    check_only_problem(content, strlen(content), 1, "longer than 4096 bytes");
}
END_TEST

START_TEST(problems_beyond_the_most_are_counted)
{
    char content[4096] = "";
    struct config *config = NULL;
    struct config_problems problems;
    for (unsigned i = 0; i < CONFIG_PROBLEMS_MAX + 3; i++) {
        strcat(content, "nonsense\n");
    }
    write_bytes(content, strlen(content));
    ck_assert_int_eq(config_load(path, "a:1", &config, &problems), -EINVAL);
    ck_assert_uint_eq(problems.n, CONFIG_PROBLEMS_MAX);
    ck_assert_uint_eq(problems.n_left_out, 3);
    config_problems_deinit(&problems);
}
END_TEST

START_TEST(more_sections_of_a_kind_than_fit_are_refused)
{
    char content[4096] = NAMESERVER;
    struct config *config = NULL;
    struct config_problems problems;
    for (unsigned i = 0; i <= CONFIG_NAMED_MAX; i++) {
        sprintf(content + strlen(content), "[acl n%u]\naccess_key = A\nsecret_key_file = /s\n", i);
    }
    write_bytes(content, strlen(content));
    ck_assert_int_eq(config_load(path, NULL, &config, &problems), -EINVAL);
    ck_assert_uint_eq(problems.n, 1);
    ck_assert_ptr_nonnull(strstr(problems.text[0], ":51: [acl n16]: at most 16 sections"));
    config_problems_deinit(&problems);
}
END_TEST

START_TEST(more_addresses_than_fit_are_refused)
{
    char content[4096];
    char *end = content + sprintf(content, "[nameserver]\n");
    for (unsigned i = 0; i <= CONFIG_ADDRESSES_MAX; i++) {
        end += sprintf(end, "addresses = a:%u\n", i + 1);
    }
    check_only_problem(content, strlen(content), 1 + CONFIG_ADDRESSES_MAX + 1,
        "\"a:65\": at most 64 items are accepted");
}
END_TEST

static const struct unreadable_case {
    const char *path;
    int error;
    const char *problem;
} unreadable_cases[] = {
    { "/nonexistent/remotingd.ini", -ENOENT,
        "/nonexistent/remotingd.ini: cannot be read: No such file or directory" },
    { "/", -EISDIR, "/: cannot be read: Is a directory" },
};

START_TEST(a_file_that_cannot_be_read_is_named_with_the_reason)
{
    const struct unreadable_case *row = &unreadable_cases[_i];
    struct config *config = NULL;
    struct config_problems problems;
    ck_assert_int_eq(config_load(row->path, "a:1", &config, &problems), row->error);
    ck_assert_uint_eq(problems.n, 1);
    ck_assert_str_eq(problems.text[0], row->problem);
    config_problems_deinit(&problems);
}
END_TEST

START_TEST(what_is_fixed_stays_when_a_running_daemon_takes_another_file)
{
    CLEANUP(config_free)
    struct config *running = load_complete(NAMESERVER "[listener]\nsocket = /a.sock\n"
                                                      "[listener x]\nsocket = /x.sock\n"
                                                      "[listener y]\nsocket = /y.sock\n",
        NULL);
    CLEANUP(config_free)
    struct config *config = load_complete(NAMESERVER "[listener y]\nsocket = /z.sock\n"
                                                     "max_sessions = 7\n"
                                                     "[listener x]\nsocket = /x.sock\n"
                                                     "[listener]\nsocket = /a.sock\n"
                                                     "[limits]\nmax_in_flight = 5000\n"
                                                     "[breaker]\nfailures = 9\n",
        NULL);
    struct config_problems problems = { .n = 0 }, kept;
    ck_assert_int_eq(config_check_change(config, running, path, &problems), 0);
    ck_assert_uint_eq(problems.n, 0);
    const char *text = running->send.producer_group;
    config_keep_fixed(config, running, "f", &kept);
    ck_assert_ptr_eq(config->send.producer_group, text);
    ck_assert_str_eq(config->listener.sections[1].name, "x");
    ck_assert_str_eq(config->listener.sections[2].name, "y");
    ck_assert_str_eq(config->listener.sections[2].socket, "/y.sock");
    ck_assert_uint_eq(config->listener.sections[2].max_sessions, 7);
    ck_assert_uint_eq(config->limits.max_in_flight, 65535);
    ck_assert_uint_eq(config->breaker.failures, 9);
    ck_assert_uint_eq(kept.n, 2);
    ck_assert_str_eq(
        kept.text[0], "f: [listener y] socket = /z.sock: it stays /y.sock until the next start");
    ck_assert_str_eq(
        kept.text[1], "f: [limits] max_in_flight = 5000: it stays 65535 until the next start");
    config_problems_deinit(&kept);
}
END_TEST

START_TEST(a_running_daemon_takes_no_file_with_other_listeners)
{
    CLEANUP(config_free)
    struct config *running = load_complete(NAMESERVER "[listener x]\nsocket = /x.sock\n", NULL);
    CLEANUP(config_free)
    struct config *config = load_complete(NAMESERVER "[listener y]\nsocket = /x.sock\n", NULL);
    struct config_problems problems = { .n = 0 };
    ck_assert_int_eq(config_check_change(config, running, "f", &problems), -EINVAL);
    ck_assert_uint_eq(problems.n, 2);
    ck_assert_ptr_nonnull(strstr(problems.text[0], "f: [listener y]: it is new; "));
    ck_assert_ptr_nonnull(strstr(problems.text[1], "f: [listener x]: it is missing; "));
    config_problems_deinit(&problems);
}
END_TEST

START_TEST(nothing_is_freed_as_often_as_one_likes)
{
    struct config_problems problems = { .n = 0 };
    config_problems_deinit(&problems);
    config_problems_deinit(&problems);
    ck_assert_ptr_null(config_free(NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config/config");
    TCase *tcase = tcase_create("config");
    tcase_add_checked_fixture(tcase, create_file, remove_file);
    tcase_add_test(tcase, without_a_file_every_setting_has_its_default);
    tcase_add_test(tcase, a_file_sets_every_setting);
    tcase_add_loop_test(tcase, a_dump_is_read_back_as_the_same_settings, 0, 2);
    tcase_add_test(tcase, a_dump_comments_out_the_defaults_only_when_asked_to);
    tcase_add_test(tcase, a_dump_of_many_long_addresses_is_read_back);
    tcase_add_test(tcase, the_sample_file_is_the_commented_dump_of_the_defaults);
    tcase_add_test(tcase, the_sample_file_without_its_semicolons_holds_the_defaults);
    tcase_add_loop_test(
        tcase, files_are_accepted_in_the_forms_people_write_them, 0, N(accepted_cases));
    tcase_add_test(tcase, a_line_with_sixty_four_nameservers_is_read_whole);
    tcase_add_test(tcase, a_list_loses_nothing_where_it_crosses_the_buffer_of_inih);
    tcase_add_loop_test(
        tcase, a_problem_names_file_line_setting_value_and_what_is_accepted, 0, N(problem_cases));
    tcase_add_test(tcase, a_zero_byte_is_refused_with_its_line);
    tcase_add_test(tcase, a_line_longer_than_the_limit_is_refused_and_the_next_one_read);
    tcase_add_test(tcase, problems_beyond_the_most_are_counted);
    tcase_add_test(tcase, more_sections_of_a_kind_than_fit_are_refused);
    tcase_add_test(tcase, more_addresses_than_fit_are_refused);
    tcase_add_loop_test(
        tcase, a_file_that_cannot_be_read_is_named_with_the_reason, 0, N(unreadable_cases));
    tcase_add_test(tcase, what_is_fixed_stays_when_a_running_daemon_takes_another_file);
    tcase_add_test(tcase, a_running_daemon_takes_no_file_with_other_listeners);
    tcase_add_test(tcase, nothing_is_freed_as_often_as_one_likes);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
