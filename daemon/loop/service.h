/*
 * Service
 *
 * What the daemon tells the service manager that started it (systemd, Type=notify): READY when
 * callers can connect, RELOADING and READY around a reload, STOPPING when a drain begins, a STATUS
 * line for people, and the sign of life that WatchdogSec= waits for. The sign comes from the loop's
 * own deadlines: a loop that hangs gives none, and the manager replaces the daemon. Without
 * $NOTIFY_SOCKET nothing is told and nothing waits.
 *
 * It also keeps descriptors for the service's next process, where the unit says FileDescriptorStoreMax=
 * and the environment says the same in FDSTORE, as systemd from 254 on does by itself.
 *
 * The protocol is sd_notify(3)'s; datagrams to the manager's socket, which are written at once or
 * not at all.
 */
#pragma once

#include "daemon/loop/loop.h"

#include <stddef.h>

/* How often the line for people is looked at, where the watchdog wants no shorter time. */
#define SERVICE_BEAT_MS 5000
/* Descriptors of one message; the kernel takes 253. */
#define SERVICE_STORE_MAX   128
#define SERVICE_STATUS_SIZE 512

struct service {
    struct loop *loop;
    struct deadline beat;
    uint64_t beat_ms;
    bool has_watchdog;
    /* Writes the line for people: what the daemon does, in words. */
    void (*on_describe)(const void *context, char status[SERVICE_STATUS_SIZE]);
    const void *context;
    char status[SERVICE_STATUS_SIZE]; /* as it was told last */
    size_t room;                      /* for descriptors in the manager's store */
};

void service_init(struct service *service, struct loop *loop,
    void (*on_describe)(const void *context, char status[SERVICE_STATUS_SIZE]),
    const void *context);
void service_deinit(struct service *service);
/* Callers can connect. From now on there are signs of life. */
void service_ready(struct service *service);
/* The configuration is read again; service_ready() tells its end. */
void service_reloading(struct service *service);
/* How many more descriptors the manager keeps; 0: it keeps none. */
size_t service_room(const struct service *service);
/* The manager gets these, too, under this name, at most SERVICE_STORE_MAX. False: it has not. */
bool service_store(struct service *service, const char *name, const int *fds, size_t n);
/* The manager closes all that it has under this name. */
void service_forget(struct service *service, const char *name);
/* No new callers any more. */
void service_stopping(struct service *service);
