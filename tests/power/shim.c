/* Record what one process does to the files of one directory, and fail some of its calls.
 *
 * POWER_DIR    the directory, absolute and resolved
 * POWER_TRACE  the file that records are added to
 * POWER_UNSYNCED  when set, fsync and fdatasync report success and do nothing: a disk that lies
 *
 * A record: op (1 byte), process (4), descriptor (4), offset (8), length (4), then that many bytes; little-endian.
 * Calls and their records are under one lock, so that the order of the records is the order on the disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAIL_NONE, FAIL_EIO, FAIL_ENOSPC, FAIL_EROFS, FAIL_SHORT };
enum { EACH, ONE, FROM };
enum { FD_MAX = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char tracked[FD_MAX];
static int trace = -1, kind = FAIL_NONE, which = 0, mode = EACH, count = 0;

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static void put(char op, int fd, int64_t at, const void *data, uint32_t length) {
    static ssize_t (*add)(int, const struct iovec *, int);
    if (trace < 0) {
        const char *path = getenv("POWER_TRACE");
        int (*real)(const char *, int, ...) = REAL("open64", int (*)(const char *, int, ...));
        if (!path || (trace = real(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0) abort();
        add = REAL("writev", ssize_t (*)(int, const struct iovec *, int));
    }
    char head[21];
    int32_t pid = getpid(), handle = fd;
    head[0] = op;
    memcpy(head + 1, &pid, 4), memcpy(head + 5, &handle, 4), memcpy(head + 9, &at, 8), memcpy(head + 17, &length, 4);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)data, length}};
    if (add(trace, parts, 2) != (ssize_t)(sizeof head + length)) abort();
}

static int ours(const char *path) {
    const char *directory = getenv("POWER_DIR");
    size_t length = directory ? strlen(directory) : 0;
    return length && !strncmp(path, directory, length) && (path[length] == '/' || !path[length]);
}

static int is_ours(int fd) { return fd >= 0 && fd < FD_MAX && tracked[fd]; }

/* Whether this call fails, which is recorded; of a write that is cut short, errno stays 0. */
static int fails(const char *call) {
    static const int numbers[] = {0, EIO, ENOSPC, EROFS, 0};
    if (kind == FAIL_NONE || which <= 0) return 0;
    count++;
    if (mode == EACH ? count % which : mode == ONE ? count != which : count < which) return 0;
    put('F', -1, kind, call, strlen(call));
    errno = numbers[kind];
    return 1;
}

static int fails_whole(const char *call) { return kind != FAIL_SHORT && fails(call); }

/* A full disk and one that is read-only can be read. */
static int fails_to_read(const char *call) { return kind == FAIL_EIO && fails(call); }

void power_mark(const char *text, int length) {
    pthread_mutex_lock(&lock);
    put('M', -1, 0, text, length);
    pthread_mutex_unlock(&lock);
}

static void fail(int how, int number, int by) {
    pthread_mutex_lock(&lock);
    kind = how, which = number, mode = by, count = 0;
    pthread_mutex_unlock(&lock);
}

/* From now on each so manyth call fails. */
void power_fail(int how, int each) { fail(how, each, EACH); }

/* The call of this number fails, counted from now on, and no other. */
void power_fail_one(int how, int number) { fail(how, number, ONE); }

/* The call of this number fails, counted from now on, and every later one. */
void power_fail_from(int how, int number) { fail(how, number, FROM); }

/* How many calls could have failed since. */
int power_count(void) { return count; }

static int opened(const char *path, int flags, int mode) {
    int (*real)(const char *, int, ...) = REAL("open64", int (*)(const char *, int, ...));
    if (!ours(path)) {
        int other = real(path, flags, mode);
        if (other >= 0 && other < FD_MAX) tracked[other] = 0;
        return other;
    }
    pthread_mutex_lock(&lock);
    int failed = flags & O_CREAT ? fails_whole("open") : fails_to_read("open");
    int fd = failed ? -1 : real(path, flags, mode);
    if (fd >= FD_MAX) abort();
    if (fd >= 0) {
        tracked[fd] = 1;
        put('O', fd, flags, path, strlen(path));
    }
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return opened(path, flags, mode);
}

int close(int fd) {
    int (*real)(int) = REAL("close", int (*)(int));
    if (!is_ours(fd)) return real(fd);
    pthread_mutex_lock(&lock);
    tracked[fd] = 0;
    put('C', fd, 0, "", 0);
    int result = real(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

static ssize_t written(int fd, const void *data, size_t length, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t));
    if (fails("write")) {
        if (kind != FAIL_SHORT || length < 2) return kind == FAIL_SHORT ? real(fd, data, length, at) : -1;
        length /= 2;
    }
    ssize_t done = real(fd, data, length, at);
    if (done > 0) put('W', fd, at, data, done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    if (!is_ours(fd)) return REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t))(fd, data, length, at);
    pthread_mutex_lock(&lock);
    ssize_t done = written(fd, data, length, at);
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return pwrite64(fd, data, length, at); }

ssize_t write(int fd, const void *data, size_t length) {
    if (!is_ours(fd)) return REAL("write", ssize_t (*)(int, const void *, size_t))(fd, data, length);
    pthread_mutex_lock(&lock);
    off64_t at = lseek64(fd, 0, SEEK_CUR);
    ssize_t done = written(fd, data, length, at);
    int saved = errno;
    if (done > 0) lseek64(fd, at + done, SEEK_SET);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

static int unread(const char *call) {
    pthread_mutex_lock(&lock);
    int failed = fails_to_read(call);
    pthread_mutex_unlock(&lock);
    return failed;
}

ssize_t pread64(int fd, void *data, size_t length, off64_t at) {
    if (is_ours(fd) && unread("read")) return errno = EIO, -1;
    return REAL("pread64", ssize_t (*)(int, void *, size_t, off64_t))(fd, data, length, at);
}

ssize_t pread(int fd, void *data, size_t length, off_t at) { return pread64(fd, data, length, at); }

ssize_t read(int fd, void *data, size_t length) {
    if (is_ours(fd) && unread("read")) return errno = EIO, -1;
    return REAL("read", ssize_t (*)(int, void *, size_t))(fd, data, length);
}

int stat64(const char *path, struct stat64 *found) {
    if (ours(path) && unread("stat")) return errno = EIO, -1;
    return REAL("stat64", int (*)(const char *, struct stat64 *))(path, found);
}

int lstat64(const char *path, struct stat64 *found) {
    if (ours(path) && unread("stat")) return errno = EIO, -1;
    return REAL("lstat64", int (*)(const char *, struct stat64 *))(path, found);
}

int fstat64(int fd, struct stat64 *found) {
    if (is_ours(fd) && unread("stat")) return errno = EIO, -1;
    return REAL("fstat64", int (*)(int, struct stat64 *))(fd, found);
}

int ftruncate64(int fd, off64_t size) {
    int (*real)(int, off64_t) = REAL("ftruncate64", int (*)(int, off64_t));
    if (!is_ours(fd)) return real(fd, size);
    pthread_mutex_lock(&lock);
    int result = fails_whole("truncate") ? -1 : real(fd, size);
    int saved = errno;
    if (!result) put('T', fd, size, "", 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd, const char *name) {
    int (*real)(int) = REAL(name, int (*)(int));
    if (!is_ours(fd)) return real(fd);
    if (getenv("POWER_UNSYNCED")) return 0;
    pthread_mutex_lock(&lock);
    int result = fails_whole("sync") ? -1 : 0; /* the disk is a model: there is nothing to wait for */
    int saved = errno;
    put(result ? 'E' : 'S', fd, 0, "", 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }

int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = REAL("rename", int (*)(const char *, const char *));
    if (!ours(from)) return real(from, to);
    pthread_mutex_lock(&lock);
    int result = fails_whole("rename") ? -1 : real(from, to);
    int saved = errno;
    if (!result) {
        char both[8192];
        size_t first = strlen(from) + 1, second = strlen(to);
        if (first + second > sizeof both) abort();
        memcpy(both, from, first), memcpy(both + first, to, second);
        put('R', -1, 0, both, first + second);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int unlink(const char *path) {
    int (*real)(const char *) = REAL("unlink", int (*)(const char *));
    if (!ours(path)) return real(path);
    pthread_mutex_lock(&lock);
    int result = fails_whole("unlink") ? -1 : real(path);
    int saved = errno;
    if (!result) put('U', -1, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}
