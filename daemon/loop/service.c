#include "daemon/loop/service.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* A sign may come late by a slow turn, and one may be lost: three in each of the manager's times. */
#define BEATS_PER_WATCHDOG 3

static bool is_watched(const struct service *service)
{
    return service->beat_ms > 0;
}

/* state: READY=1 and its like, or an empty text for the status line alone. */
static void tell(struct service *service, const char *state)
{
    char status[SERVICE_STATUS_SIZE];
    service->on_describe(service->context, status);
    if (!state[0] && strcmp(status, service->status) == 0) {
        return;
    }
    (void)sd_notifyf(0, "%s%sSTATUS=%s", state, state[0] ? "\n" : "", status);
    memcpy(service->status, status, sizeof(status));
}

static void on_beat(struct deadline *deadline, uint64_t now_ms)
{
    struct service *service =
        (struct service *)(void *)((char *)deadline - offsetof(struct service, beat));
    if (service->has_watchdog) {
        (void)sd_notify(0, "WATCHDOG=1");
    }
    tell(service, "");
    loop_deadline_set(service->loop, deadline, now_ms + service->beat_ms);
}

void service_init(struct service *service, struct loop *loop,
    void (*on_describe)(const void *context, char status[SERVICE_STATUS_SIZE]), const void *context)
{
    uint64_t watchdog_us = 0;
    *service = (struct service){ .loop = loop, .on_describe = on_describe, .context = context };
    deadline_init(&service->beat, on_beat);
    if (!getenv("NOTIFY_SOCKET")) {
        return;
    }
    const char *room = getenv("FDSTORE");
    service->room = room ? strtoul(room, NULL, 10) : 0;
    service->beat_ms = SERVICE_BEAT_MS;
    service->has_watchdog = sd_watchdog_enabled(0, &watchdog_us) > 0;
    uint64_t watchdog_beat_ms = watchdog_us / 1000 / BEATS_PER_WATCHDOG;
    if (service->has_watchdog && watchdog_beat_ms < service->beat_ms) {
        service->beat_ms = watchdog_beat_ms > 0 ? watchdog_beat_ms : 1;
    }
}

size_t service_room(const struct service *service)
{
    return service->room;
}

bool service_store(struct service *service, const char *name, const int *fds, size_t n)
{
    char state[256];
    assert(n <= SERVICE_STORE_MAX && n <= service->room);
    (void)snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s", name);
    if (sd_pid_notify_with_fds(0, 0, state, fds, (unsigned)n) <= 0) {
        return false;
    }
    service->room -= n;
    return true;
}

void service_forget(struct service *service, const char *name)
{
    if (is_watched(service)) {
        (void)sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    }
}

void service_deinit(struct service *service)
{
    if (service->loop) {
        loop_deadline_clear(service->loop, &service->beat);
    }
}

void service_ready(struct service *service)
{
    if (is_watched(service)) {
        tell(service, "READY=1");
        loop_deadline_set(service->loop, &service->beat, service->loop->now_ms + service->beat_ms);
    }
}

void service_reloading(struct service *service)
{
    if (is_watched(service)) {
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, service->loop->now_us);
    }
}

void service_stopping(struct service *service)
{
    if (is_watched(service)) {
        tell(service, "STOPPING=1");
    }
}
