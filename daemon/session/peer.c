#include "daemon/session/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CGROUP_TEXT_MAX 4096 /* bytes of /proc/PID/cgroup that are looked at */
#define GROUPS_USUAL    64
#define GROUPS_MAX      65536 /* NGROUPS_MAX of the kernel */

/* NULL where there is none. */
static char *unit_read(pid_t pid)
{
    char path[48];
    char unit[CGROUP_UNIT_SIZE];
    char text[CGROUP_TEXT_MAX];
    (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    cgroup_unit((struct span){ text, n > 0 ? (size_t)n : 0 }, unit);
    return unit[0] ? strdup(unit) : NULL;
}

void peer_read(int fd, struct peer *ret_peer)
{
    struct ucred credentials = { .pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1 };
    socklen_t size = sizeof(credentials);
    *ret_peer = (struct peer){
        .is_known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0,
    };
    ret_peer->pid = credentials.pid;
    ret_peer->uid = credentials.uid;
    ret_peer->gid = credentials.gid;
    ret_peer->unit = unit_read(credentials.pid);
}

void peer_deinit(struct peer *peer)
{
    free(peer->unit);
    peer->unit = NULL;
}

const struct role *peer_role(
    int fd, const struct peer *peer, const struct role_table *roles, const struct role *of_listener)
{
    gid_t usual[GROUPS_USUAL];
    gid_t *many = NULL;
    struct role_caller seen = {
        .is_known = peer->is_known,
        .uid = peer->uid,
        .gid = peer->gid,
    };
    if (of_listener || roles->n > 0) {
        socklen_t size = sizeof(usual);
        int r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, usual, &size);
        if (r < 0 && errno == ERANGE && size <= GROUPS_MAX * sizeof(gid_t)) {
            many = malloc(size); /* without memory the caller is not known by its groups */
            r = many ? getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, many, &size) : -1;
        }
        seen.groups = many ? many : usual;
        seen.n_groups = r == 0 ? size / sizeof(gid_t) : 0;
    }
    const struct role *role = role_table_find(roles, of_listener, &seen);
    free(many);
    return role;
}

const char *peer_text(const struct peer *peer, char dst[static PEER_TEXT_SIZE])
{
    int n = snprintf(dst, PEER_TEXT_SIZE, "pid=%d uid=%d gid=%d", (int)peer->pid, (int)peer->uid,
        (int)peer->gid);
    if (peer->unit) {
        (void)snprintf(dst + n, PEER_TEXT_SIZE - (size_t)n, " unit=%s", peer->unit);
    }
    return dst;
}
