/*
 * Cgroup
 *
 * The systemd unit of a process, by the text of /proc/PID/cgroup: the outermost unit that is no
 * slice, as in 0::/system.slice/shop.service/worker. What lies within it is the unit's own to name,
 * and would let a user's process pass for a service of the host.
 */
#pragma once

#include "protocol/span.h"

#include <stddef.h>

#define CGROUP_UNIT_SIZE 96 /* a unit's name with its zero; a longer one is cut */

/*
 * The unit's name in dst, of the characters that units are named with (others become ?); "" where
 * the text names none.
 */
void cgroup_unit(struct span text, char dst[static CGROUP_UNIT_SIZE]);
