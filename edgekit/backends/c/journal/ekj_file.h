/* Flash in a file, with POSIX: the bytes that edgekit/learn/journal_file.py writes, under the same lock. */
#ifndef EKJ_FILE_H
#define EKJ_FILE_H

#include "ekj_flash.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EKJ_FILE_OK 0
#define EKJ_FILE_FAILED 1      /* errno says why */
#define EKJ_FILE_NOT_REGULAR 2 /* a folder, a device or a pipe */
#define EKJ_FILE_SIZE 3        /* not page_bytes * page_count long: a journal of another form */
#define EKJ_FILE_LOCKED 4      /* another process has it open */

typedef struct ekj_file {
    int handle;
    uint32_t nbytes, page_bytes;
} ekj_file;

/* Open the file at `path` and lock it; where there is none it is made, whole or not at all, for its owner only. */
int ekj_file_open(ekj_flash *flash, ekj_file *file, const char *path, uint32_t page_bytes, uint32_t page_count);
void ekj_file_close(ekj_file *file);

#ifdef __cplusplus
}
#endif
#endif
