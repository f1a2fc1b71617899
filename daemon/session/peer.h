/*
 * Peer
 *
 * Who is at the other end of a Unix socket, read once when the caller connects: process, user and
 * group by the socket's credentials, and the systemd unit by /proc/PID/cgroup where the sandbox lets
 * it be seen (not under ProtectProc=invisible). The unit is for people who read logs: a process may
 * be gone, and its number another's, before it is looked at. Nothing is decided by it.
 */
#pragma once

#include "daemon/core/cgroup.h"
#include "daemon/core/role.h"

#include <stdbool.h>
#include <sys/types.h>

/* The longest peer_text() with its zero. */
#define PEER_TEXT_SIZE (CGROUP_UNIT_SIZE + 64)

struct peer {
    bool is_known;
    pid_t pid; /* 0: of another PID namespace */
    uid_t uid;
    gid_t gid;
    char *unit; /* NULL: not to be seen, or none, or no memory for it */
};

/* To be deinitialised. */
void peer_read(int fd, struct peer *ret_peer);
void peer_deinit(struct peer *peer);
/*
 * The role that the caller gets: role_table_find() with the supplementary groups, which only this
 * needs.
 */
const struct role *peer_role(int fd, const struct peer *peer, const struct role_table *roles,
    const struct role *of_listener);
/* "pid=12 uid=33 gid=33 unit=shop.service"; returns dst. */
const char *peer_text(const struct peer *peer, char dst[static PEER_TEXT_SIZE]);
