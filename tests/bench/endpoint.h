/*
 * Endpoint
 *
 * Where a program of the benchmark listens or connects: "host:port" (IPv4, numeric) for TCP, a path
 * for a Unix socket. Sockets come back non-blocking, TCP ones with TCP_NODELAY. Whatever fails ends
 * the program with a sentence: a benchmark has nothing to save.
 */
#pragma once

/* The listening socket; port 0 takes a free one. */
int endpoint_listen(const char *endpoint);
/* The port of a listening TCP socket, 0 for a Unix socket. */
int endpoint_port(int fd);
/* An accepted connection, or -1 when none waits. */
int endpoint_accept(int listener);
/* A connected socket; -1 and errno when nobody listens (yet). */
int endpoint_try_connect(const char *endpoint);
/* The same, but ends the program when it fails. */
int endpoint_connect(const char *endpoint);
/* As many open files as the system lets us have; ends the program when that is less than `wanted`. */
void endpoint_raise_file_limit(unsigned long wanted);
