#include "daemon/loop/credential.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/loop/log.h"
#include "protocol/cleanup.h"

int credential_path(const char *name, char *path, size_t n, char *problem, size_t problem_size)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    if (name[0] == '/') {
        (void)snprintf(path, n, "%s", name);
        return 0;
    }
    if (!directory) {
        (void)snprintf(problem, problem_size,
            "%s is the name of a credential, and the service manager handed over none "
            "($CREDENTIALS_DIRECTORY is not set): LoadCredential= in the unit hands it over",
            name);
        return -ENOENT;
    }
    (void)snprintf(path, n, "%s/%s", directory, name);
    return 0;
}

static int read_all(int fd, struct credential *credential)
{
    ssize_t r;
    do {
        r = read(fd, credential->data + credential->n, sizeof(credential->data) - credential->n);
        if (r > 0) {
            credential->n += (size_t)r;
        }
    } while ((r > 0 && credential->n < sizeof(credential->data)) || (r < 0 && errno == EINTR));
    if (r < 0) {
        return -errno;
    }
    if (credential->n == sizeof(credential->data)) {
        return -EFBIG;
    }
    while (credential->n > 0 && (credential->data[credential->n - 1] == '\n' ||
                                    credential->data[credential->n - 1] == '\r')) {
        credential->n--;
    }
    return credential->n > 0 ? 0 : -ENODATA;
}

static void warn_of_readers(int fd, const char *path)
{
    struct stat status;
    if (fstat(fd, &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)) != 0) {
        char quoted[LOG_QUOTE_SIZE];
        log_warning("secret file=%s mode=%04o: others than its owner can read it; chmod 0600",
            log_quote(path, strlen(path), quoted), (unsigned)(status.st_mode & 07777));
    }
}

int credential_read(
    struct credential *credential, const char *name, char *problem, size_t problem_size)
{
    char path[PATH_MAX];
    credential->n = 0;
    int r = credential_path(name, path, sizeof(path), problem, problem_size);
    if (r < 0) {
        return r;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    r = fd < 0 ? -errno : read_all(fd, credential);
    if (r < 0) {
        credential_deinit(credential);
        (void)snprintf(problem, problem_size, "%s: %s", path,
            r == -ENODATA ? "the file is empty, a secret is expected"
            : r == -EFBIG ? "the file is too large for a secret"
                          : strerror(-r));
    } else {
        warn_of_readers(fd, path);
        /* From now on there is something in this process that no core file may have. */
        (void)prctl(PR_SET_DUMPABLE, 0);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return r;
}

void credential_deinit(struct credential *credential)
{
    OPENSSL_cleanse(credential->data, sizeof(credential->data));
    credential->n = 0;
}
