/* Kills its own process at a certain system call that would change something below a directory, or that speaks with a
 * certain server. Loaded with LD_PRELOAD.
 *
 * Counted are calls that write, make last, make, name, cut or remove files below the directory that `shim_arm` names;
 * files without a name are not, for nothing of them stays. If a port is named, also those that connect to it over TCP,
 * send, close, and take an answer that is there (how often one looks in vain is chance). At call number `at` (from 1) it does what `mode` says. The
 * calls are made one at a time, whatever the number of threads, so that nothing happens beside the one that kills.
 *
 * With `power` set, what a power cut may take is taken before the kill: bytes that no fsync of their file followed, and
 * new names that no fsync of their directory followed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { WRITE, SYNC, RENAME, CREATE, UNLINK, TRUNCATE, MKDIR, CONNECT, SEND, RECEIVE, CLOSE };
enum mode { COUNT, BEFORE, AFTER, TORN, FAIL };

#define MAX_TRACE (1 << 20)
#define MAX_DIRTY 1024
#define MAX_NAMES 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char below[PATH_MAX];
static size_t below_length;
static long calls, at;
static int mode, fail_errno, power, port, armed;
static unsigned char trace[MAX_TRACE];

/* Files with bytes that no fsync followed: opened anew, so that locks of the others stay what they are. */
static struct { dev_t device; ino_t inode; int descriptor; off_t synced; } dirty[MAX_DIRTY];
static int dirty_count;
static struct { char from[PATH_MAX], to[PATH_MAX]; } names[MAX_NAMES];
static int name_count;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (real == NULL) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* Real calls under names of our own, for what the shim itself does. */
static int real_ftruncate(int descriptor, off_t length) {
    static int (*real)(int, off_t);
    if (real == NULL) real = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate64");
    return real(descriptor, length);
}

static int real_rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (real == NULL) real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    return real(from, to);
}

static int real_open(const char *path, int flags) {
    static int (*real)(const char *, int, ...);
    if (real == NULL) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    return real(path, flags, 0);
}

static int is_below(const char *path) {
    return strncmp(path, below, below_length) == 0 && (path[below_length] == '/' || path[below_length] == 0);
}

static int path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

static int counts_descriptor(int descriptor) {
    char path[PATH_MAX];
    int saved = errno;
    int found = armed && path_of(descriptor, path) && is_below(path) && strstr(path, " (deleted)") == NULL;
    errno = saved;
    return found;
}

/* The absolute path of a name; false if it isn't below. */
static int counts_path(int directory, const char *name, char *path) {
    int saved = errno, found;
    if (!armed || name == NULL) return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        char base[PATH_MAX];
        if (directory == AT_FDCWD ? getcwd(base, sizeof base) == NULL : !path_of(directory, base)) base[0] = 0;
        int length = snprintf(path, PATH_MAX, "%s/%s", base, name);
        if (length >= PATH_MAX) path[0] = 0;
    }
    found = is_below(path);
    errno = saved;
    return found;
}

static int names_server(const struct sockaddr *address, socklen_t length) {
    return armed && port && address != NULL && address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in) &&
           ntohs(((const struct sockaddr_in *)address)->sin_port) == port;
}

static int counts_socket(int descriptor) {
    struct sockaddr_in6 peer;
    socklen_t length = sizeof peer;
    int saved = errno;
    int found = armed && port && getpeername(descriptor, (struct sockaddr *)&peer, &length) == 0 &&
                names_server((struct sockaddr *)&peer, length);
    errno = saved;
    return found;
}

static void lose_power(void) {
    for (int i = 0; i < dirty_count; i++) {
        struct stat status;
        if (fstat(dirty[i].descriptor, &status) == 0 && status.st_size > dirty[i].synced)
            (void)!real_ftruncate(dirty[i].descriptor, dirty[i].synced);
    }
    for (int i = name_count - 1; i >= 0; i--)
        if (access(names[i].from, F_OK) != 0) real_rename(names[i].to, names[i].from);
}

static void die(void) {
    if (power) lose_power();
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Count a call, with the lock held from here on; what to do instead of it or after it. */
static int enter(enum kind kind) {
    pthread_mutex_lock(&lock);
    long number = ++calls;
    if (number <= MAX_TRACE) trace[number - 1] = (unsigned char)kind;
    if (number != at) return COUNT;
    if (mode == BEFORE || (mode == TORN && kind != WRITE && kind != SEND)) die();
    return mode;
}

static void leave(int what) {
    if (what == AFTER) {
        int saved = errno;
        die();
        errno = saved;
    }
    pthread_mutex_unlock(&lock);
}

static int failed(void) {
    pthread_mutex_unlock(&lock);
    errno = fail_errno;
    return -1;
}

/* ---- what a power cut would take ---- */

static int find_dirty(int descriptor, struct stat *status) {
    if (fstat(descriptor, status) != 0) return -2;
    for (int i = 0; i < dirty_count; i++)
        if (dirty[i].device == status->st_dev && dirty[i].inode == status->st_ino) return i;
    return -1;
}

static void will_write(int descriptor) {
    struct stat status;
    int saved = errno;
    if (power && find_dirty(descriptor, &status) == -1 && dirty_count < MAX_DIRTY) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        int own = real_open(link, O_WRONLY | O_CLOEXEC);
        if (own >= 0) {
            dirty[dirty_count].device = status.st_dev;
            dirty[dirty_count].inode = status.st_ino;
            dirty[dirty_count].descriptor = own;
            dirty[dirty_count++].synced = status.st_size;
        }
    }
    errno = saved;
}

static void was_synced(int descriptor) {
    struct stat status;
    int saved = errno, found;
    if (!power) return;
    found = find_dirty(descriptor, &status);
    if (found >= 0) {
        close(dirty[found].descriptor);
        dirty[found] = dirty[--dirty_count];
    } else if (found == -1 && S_ISDIR(status.st_mode)) {
        char path[PATH_MAX];
        path_of(descriptor, path);
        size_t length = strlen(path);
        int kept = 0;
        for (int i = 0; i < name_count; i++) {
            const char *slash = strrchr(names[i].to, '/');
            if ((size_t)(slash - names[i].to) != length || strncmp(names[i].to, path, length) != 0) {
                if (kept != i) names[kept] = names[i];
                kept++;
            }
        }
        name_count = kept;
    }
    errno = saved;
}

static void will_rename(const char *from, const char *to) {
    int saved = errno;
    /* A name that another file had before is left to the new one: either is what a power cut may leave. */
    if (power && access(to, F_OK) != 0 && name_count < MAX_NAMES) {
        strcpy(names[name_count].from, from);
        strcpy(names[name_count++].to, to);
    }
    errno = saved;
}

/* ---- for the process that is to be killed ---- */

void shim_arm(const char *directory, int server, long call, int what, int error, int cut) {
    snprintf(below, sizeof below, "%s", directory);
    below_length = strlen(below);
    port = server;
    at = call;
    mode = what;
    fail_errno = error;
    power = cut;
    calls = 0;
    armed = 1;
}

void shim_disarm(void) { armed = 0; }

long shim_calls(void) { return calls; }

const unsigned char *shim_trace(void) { return trace; }

/* ---- the calls ---- */

#define MOVING(counts, kind, before, bytes, whole, half) \
    if (!(counts)) return whole; \
    int what = enter(kind); \
    if (what == FAIL) return failed(); \
    before; \
    if (what == TORN) { \
        if ((bytes) > 1) (void)!half; \
        die(); \
    } \
    ssize_t result = whole; \
    leave(what); \
    return result

#define WRITING(descriptor, bytes, whole, half) \
    MOVING(counts_descriptor(descriptor), WRITE, will_write(descriptor), bytes, whole, half)

#define SENDING(descriptor, bytes, whole, half) MOVING(counts_socket(descriptor), SEND, (void)0, bytes, whole, half)

ssize_t sendto(int descriptor, const void *data, size_t bytes, int flags, const struct sockaddr *to, socklen_t length) {
    REAL(sendto);
    SENDING(descriptor, bytes, real(descriptor, data, bytes, flags, to, length),
            real(descriptor, data, bytes / 2, flags, to, length));
}

ssize_t send(int descriptor, const void *data, size_t bytes, int flags) {
    return sendto(descriptor, data, bytes, flags, NULL, 0);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    if (!counts_socket(descriptor)) return real(descriptor, message, flags);
    int what = enter(SEND);
    if (what == FAIL) return failed();
    if (what == TORN) {
        struct msghdr half = *message;
        half.msg_iovlen = message->msg_iovlen / 2;
        if (half.msg_iovlen) (void)!real(descriptor, &half, flags);
        die();
    }
    ssize_t result = real(descriptor, message, flags);
    leave(what);
    return result;
}

static ssize_t write_bytes(int descriptor, const void *data, size_t bytes) {
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    SENDING(descriptor, bytes, real(descriptor, data, bytes), real(descriptor, data, bytes / 2));
}

/* Whether there is something to take from a socket that counts. */
static int counts_answer(int descriptor) {
    static ssize_t (*real)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
    char byte;
    int saved = errno, found;
    if (real == NULL)
        real = (ssize_t (*)(int, void *, size_t, int, struct sockaddr *, socklen_t *))dlsym(RTLD_NEXT, "recvfrom");
    found = counts_socket(descriptor) && real(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) > 0;
    errno = saved;
    return found;
}

ssize_t recvfrom(int descriptor, void *data, size_t bytes, int flags, struct sockaddr *from, socklen_t *length) {
    REAL(recvfrom);
    if (!counts_answer(descriptor)) return real(descriptor, data, bytes, flags, from, length);
    int what = enter(RECEIVE);
    if (what == FAIL) return failed();
    ssize_t result = real(descriptor, data, bytes, flags, from, length);
    leave(what);
    return result;
}

ssize_t recv(int descriptor, void *data, size_t bytes, int flags) {
    return recvfrom(descriptor, data, bytes, flags, NULL, NULL);
}

int connect(int descriptor, const struct sockaddr *address, socklen_t length) {
    REAL(connect);
    if (!names_server(address, length)) return real(descriptor, address, length);
    int what = enter(CONNECT);
    if (what == FAIL) return failed();
    int result = real(descriptor, address, length);
    int saved = errno; /* EINPROGRESS is what one that doesn't wait goes on with */
    leave(what);
    errno = saved;
    return result;
}

int close(int descriptor) {
    static int (*real)(int);
    if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (!counts_socket(descriptor)) return real(descriptor);
    int what = enter(CLOSE);
    int result = real(descriptor);
    if (what == FAIL) {
        pthread_mutex_unlock(&lock);
        errno = fail_errno;
        return -1;
    }
    leave(what);
    return result;
}

ssize_t write(int descriptor, const void *data, size_t bytes) {
    REAL(write);
    if (port && !counts_descriptor(descriptor)) return write_bytes(descriptor, data, bytes);
    WRITING(descriptor, bytes, real(descriptor, data, bytes), real(descriptor, data, bytes / 2));
}

ssize_t pwrite64(int descriptor, const void *data, size_t bytes, off64_t offset) {
    REAL(pwrite64);
    WRITING(descriptor, bytes, real(descriptor, data, bytes, offset), real(descriptor, data, bytes / 2, offset));
}

ssize_t pwrite(int descriptor, const void *data, size_t bytes, off_t offset) {
    return pwrite64(descriptor, data, bytes, offset);
}

ssize_t sendfile64(int descriptor, int from, off64_t *offset, size_t bytes) {
    REAL(sendfile64);
    WRITING(descriptor, bytes, real(descriptor, from, offset, bytes), real(descriptor, from, offset, 1));
}

ssize_t sendfile(int descriptor, int from, off_t *offset, size_t bytes) {
    return sendfile64(descriptor, from, (off64_t *)offset, bytes);
}

int fsync(int descriptor) {
    REAL(fsync);
    if (!counts_descriptor(descriptor)) return real(descriptor);
    int what = enter(SYNC);
    if (what == FAIL) return failed();
    int result = real(descriptor);
    if (result == 0) was_synced(descriptor);
    leave(what);
    return result;
}

int fdatasync(int descriptor) {
    REAL(fdatasync);
    if (!counts_descriptor(descriptor)) return real(descriptor);
    int what = enter(SYNC);
    if (what == FAIL) return failed();
    int result = real(descriptor);
    if (result == 0) was_synced(descriptor);
    leave(what);
    return result;
}

int ftruncate64(int descriptor, off64_t length) {
    if (!counts_descriptor(descriptor)) return real_ftruncate(descriptor, length);
    int what = enter(TRUNCATE);
    if (what == FAIL) return failed();
    int result = real_ftruncate(descriptor, length);
    leave(what);
    return result;
}

int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    REAL(renameat);
    char source[PATH_MAX], target[PATH_MAX];
    int is_ours = counts_path(from_directory, from, source);
    if (!(counts_path(to_directory, to, target) || is_ours)) return real(from_directory, from, to_directory, to);
    int what = enter(RENAME);
    if (what == FAIL) return failed();
    will_rename(source, target);
    int result = real(from_directory, from, to_directory, to);
    leave(what);
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int directory, const char *name, int flags) {
    REAL(unlinkat);
    char path[PATH_MAX];
    if (!counts_path(directory, name, path)) return real(directory, name, flags);
    int what = enter(UNLINK);
    if (what == FAIL) return failed();
    int result = real(directory, name, flags);
    leave(what);
    return result;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int directory, const char *name, mode_t permissions) {
    REAL(mkdirat);
    char path[PATH_MAX];
    if (!counts_path(directory, name, path)) return real(directory, name, permissions);
    int what = enter(MKDIR);
    if (what == FAIL) return failed();
    int result = real(directory, name, permissions);
    leave(what);
    return result;
}

int mkdir(const char *name, mode_t permissions) { return mkdirat(AT_FDCWD, name, permissions); }

int openat64(int directory, const char *name, int flags, ...) {
    REAL(openat64);
    char path[PATH_MAX];
    mode_t permissions = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        permissions = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (!(flags & O_CREAT) || !counts_path(directory, name, path)) return real(directory, name, flags, permissions);
    int what = enter(CREATE);
    if (what == FAIL) return failed();
    int result = real(directory, name, flags, permissions);
    leave(what);
    return result;
}

#define OPEN_AS(name, ...) \
    mode_t permissions = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        permissions = va_arg(rest, mode_t); \
        va_end(rest); \
    } \
    return openat64(__VA_ARGS__, flags, permissions)

int open64(const char *name, int flags, ...) { OPEN_AS(open64, AT_FDCWD, name); }
int open(const char *name, int flags, ...) { OPEN_AS(open, AT_FDCWD, name); }
int openat(int directory, const char *name, int flags, ...) { OPEN_AS(openat, directory, name); }
