/*
 * Process time
 *
 * What the kernel's accounting says of another process: the CPU that all its threads spent, in
 * nanoseconds of the scheduler's clock (/proc/PID/task/.../schedstat; the ticks of /proc/PID/stat
 * are 10 ms coarse), and whether it sleeps. What cannot be read ends the program.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

uint64_t process_cpu_ns(pid_t pid);
/* Waits until the process is in one of the states: S asleep, T stopped, t stopped and traced. */
void process_wait_until(pid_t pid, const char *states);
