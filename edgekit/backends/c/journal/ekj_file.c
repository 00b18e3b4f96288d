#define _POSIX_C_SOURCE 200809L /* mkstemp, pread, O_CLOEXEC */

#include "ekj_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNIT_BYTES 4u
#define MAX_PATH 4096u
#define TEMPORARY ".edgekit-XX" "XX" "XX" /* mkstemp puts a name there */

static int write_all(int handle, const uint8_t *data, size_t n, off_t offset) {
    while (n) {
        ssize_t done = pwrite(handle, data, n, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return 1;
        data += done;
        offset += done;
        n -= (size_t)done;
    }
    return 0;
}

static int write_ones(int handle, uint32_t offset, uint32_t n) {
    uint8_t ones[512];
    memset(ones, 0xFF, sizeof ones);
    while (n) {
        uint32_t some = n < sizeof ones ? n : (uint32_t)sizeof ones;
        if (write_all(handle, ones, some, (off_t)offset)) return 1;
        offset += some;
        n -= some;
    }
    return 0;
}

static int inside(const ekj_file *file, uint32_t offset, uint32_t n) {
    return offset <= file->nbytes && n <= file->nbytes - offset;
}

static int file_erase(void *context, uint32_t page) {
    const ekj_file *file = (const ekj_file *)context;
    if (page >= file->nbytes / file->page_bytes) return 1;
    return write_ones(file->handle, page * file->page_bytes, file->page_bytes);
}

static int file_write(void *context, uint32_t offset, const uint8_t *data, uint32_t nbytes) {
    const ekj_file *file = (const ekj_file *)context;
    if (!inside(file, offset, nbytes) || ((offset | nbytes) & (UNIT_BYTES - 1u))) return 1;
    return write_all(file->handle, data, nbytes, (off_t)offset);
}

static int file_read(void *context, uint32_t offset, uint8_t *data, uint32_t nbytes) {
    const ekj_file *file = (const ekj_file *)context;
    if (!inside(file, offset, nbytes)) return 1;
    while (nbytes) {
        ssize_t done = pread(file->handle, data, nbytes, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return 1;
        data += done;
        offset += (uint32_t)done;
        nbytes -= (uint32_t)done;
    }
    return 0;
}

static int file_sync(void *context) { return fsync(((const ekj_file *)context)->handle) != 0; }

/* Make an erased file under a temporary name in the same folder, then give it its own unless another one has it. */
static int create(const char *path, uint32_t nbytes) {
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1u : 0u;
    char name[MAX_PATH + sizeof TEMPORARY];
    int handle, failed;
    if (strlen(path) >= MAX_PATH) {
        errno = ENAMETOOLONG;
        return EKJ_FILE_FAILED;
    }
    memcpy(name, path, folder);
    memcpy(name + folder, TEMPORARY, sizeof TEMPORARY);
    handle = mkstemp(name);
    if (handle < 0) return EKJ_FILE_FAILED;
    failed = write_ones(handle, 0u, nbytes) || fsync(handle);
    failed = close(handle) || failed;
    failed = failed || (link(name, path) && errno != EEXIST);
    failed = unlink(name) || failed;
    if (failed) return EKJ_FILE_FAILED;
    if (folder) name[folder] = 0;
    handle = open(folder ? name : ".", O_RDONLY | O_CLOEXEC);
    if (handle < 0) return EKJ_FILE_FAILED;
    failed = fsync(handle) != 0;
    return close(handle) || failed ? EKJ_FILE_FAILED : EKJ_FILE_OK;
}

static int check(const ekj_file *file) {
    struct stat status;
    if (fstat(file->handle, &status)) return EKJ_FILE_FAILED;
    if (!S_ISREG(status.st_mode)) return EKJ_FILE_NOT_REGULAR;
    if (status.st_size != (off_t)file->nbytes) return EKJ_FILE_SIZE;
    if (flock(file->handle, LOCK_EX | LOCK_NB)) return errno == EWOULDBLOCK ? EKJ_FILE_LOCKED : EKJ_FILE_FAILED;
    return EKJ_FILE_OK;
}

int ekj_file_open(ekj_flash *flash, ekj_file *file, const char *path, uint32_t page_bytes, uint32_t page_count) {
    const int how = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int code;
    file->nbytes = page_bytes * page_count;
    file->page_bytes = page_bytes;
    file->handle = open(path, how);
    if (file->handle < 0 && errno == ENOENT) {
        code = create(path, file->nbytes);
        if (code) return code;
        file->handle = open(path, how);
    }
    if (file->handle < 0) return errno == EISDIR ? EKJ_FILE_NOT_REGULAR : EKJ_FILE_FAILED;
    code = check(file);
    if (code) {
        ekj_file_close(file);
        return code;
    }
    flash->context = file;
    flash->page_bytes = page_bytes;
    flash->page_count = page_count;
    flash->unit_bytes = UNIT_BYTES;
    flash->erase = file_erase;
    flash->write = file_write;
    flash->read = file_read;
    flash->sync = file_sync;
    return EKJ_FILE_OK;
}

void ekj_file_close(ekj_file *file) {
    const int before = errno;
    close(file->handle);
    errno = before;
}
