#include "daemon/core/cgroup.h"

#include "tests/support/run_suite.h"

#define TEN     "1234567890"
#define NINETY5 TEN TEN TEN TEN TEN TEN TEN TEN TEN "12345"

static const struct unit_case {
    const char *name;
    const char *text;
    const char *unit;
} cases[] = {
    { "a service", "0::/system.slice/shop.service\n", "shop.service" },
    { "within a service", "0::/system.slice/shop.service/worker/1\n", "shop.service" },
    { "slices within slices", "0::/system.slice/system-shop.slice/shop@1.service\n",
        "shop@1.service" },
    { "a user's service is not taken for the host's",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service\n",
        "user@1000.service" },
    { "a login", "0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope" },
    { "a container", "0::/system.slice/docker-0a1b.scope\n", "docker-0a1b.scope" },
    { "a path that is not systemd's", "0::/docker/0a1b/shop.service\n", "" },
    { "a slice alone", "0::/system.slice\n", "" },
    { "the root", "0::/\n", "" },
    { "nothing", "", "" },
    { "no end of line", "0::/system.slice/shop.service", "shop.service" },
    { "cgroup 1",
        "12:cpu,cpuacct:/system.slice/cpu.service\n1:name=systemd:/system.slice/a.service\n",
        "a.service" },
    { "both, the unified one empty", "1:name=systemd:/system.slice/a.service\n0::/\n",
        "a.service" },
    { "another hierarchy alone", "4:memory:/system.slice/a.service\n", "" },
    { "characters that no unit has", "0::/system.slice/a b\"=c.service\n", "a?b??c.service" },
    { "a cut text", "0::/system.slice/sho", "" },
    { "a name beyond the room", "0::/" NINETY5 TEN ".service\n", NINETY5 },
    { "a suffix that is all of the name", "0::/.service\n", "" },
};

START_TEST(a_unit_is_the_outermost_one_that_is_no_slice)
{
    const struct unit_case *row = &cases[_i];
    char unit[CGROUP_UNIT_SIZE];
    cgroup_unit(span_of(row->text), unit);
    ck_assert_msg(strcmp(unit, row->unit) == 0, "%s: '%s'", row->name, unit);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core/cgroup");
    TCase *tcase = tcase_create("cgroup");
    tcase_add_loop_test(tcase, a_unit_is_the_outermost_one_that_is_no_slice, 0,
        (int)(sizeof(cases) / sizeof(cases[0])));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
