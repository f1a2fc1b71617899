#include "daemon/loop/wall_clock.h"

#include <time.h>

int64_t wall_clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void month_find(struct wall_clock_month *month, int64_t wall_ms)
{
    time_t now = (time_t)(wall_ms / 1000);
    struct tm first;
    if (!localtime_r(&now, &first)) {
        *month = (struct wall_clock_month){ .began_ms = wall_ms, .ends_ms = wall_ms + 1 };
        return;
    }
    first.tm_mday = 1;
    first.tm_hour = first.tm_min = first.tm_sec = 0;
    first.tm_isdst = -1;
    month->began_ms = (int64_t)mktime(&first) * 1000;
    first.tm_mon++;
    first.tm_isdst = -1;
    month->ends_ms = (int64_t)mktime(&first) * 1000;
}

uint32_t wall_clock_since_month_began_ms(struct wall_clock_month *month, int64_t wall_ms)
{
    if (wall_ms < month->began_ms || wall_ms >= month->ends_ms) {
        month_find(month, wall_ms);
    }
    return (uint32_t)(wall_ms - month->began_ms);
}
