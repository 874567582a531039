/* Copyright: Contributors to airstack.backbone
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 *
 * A directory shown at a mount point, each call after a delay: slow_filesystem DIRECTORY MICROSECONDS FUSE-ARGUMENTS...
 * What costs a call, and why, stands in slow_filesystem.py.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define CALLS_AT_ONCE 64          /* Linux: nfs.max_session_slots */
#define CACHED_SECONDS 3.0        /* nfs(5): acregmin */
#define WRITE_BYTES (1024 * 1024) /* nfs(5): wsize, as Linux and EFS agree on it */

typedef struct fuse_file_info opened;

struct handle {
    int descriptor;
    atomic_long unsent; /* bytes that an NFS client would still hold */
};

static int root;
static long microseconds;

/* libfuse asks for the attributes of what a call made or set; on NFS the call's own answer holds them. */
static _Thread_local int is_answered;

static void wait_calls(long calls)
{
    struct timespec left = {calls * microseconds / 1000000, calls * microseconds % 1000000 * 1000};
    while (nanosleep(&left, &left) == -1 && errno == EINTR)
        ;
}

static const char *below(const char *path) { return path[1] ? path + 1 : "."; }

static struct handle *held(const opened *file) { return (struct handle *)(uintptr_t)file->fh; }

static int result(int value) { return value == -1 ? -errno : 0; }

static int answered(int value)
{
    is_answered = value != -1;
    return result(value);
}

static void send(struct handle *handle)
{
    long bytes = atomic_exchange(&handle->unsent, 0);
    wait_calls((bytes + WRITE_BYTES - 1) / WRITE_BYTES);
}

static void *begin(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    prctl(PR_SET_TIMERSLACK, 1); /* nanoseconds; the threads to come inherit it */
    config->entry_timeout = config->attr_timeout = CACHED_SECONDS;
    config->ac_attr_timeout_set = 1;
    config->ac_attr_timeout = 1e9; /* or libfuse asks for attributes at each opening */
    config->auto_cache = config->use_ino = config->nullpath_ok = 1;
    return NULL;
}

static int slow_getattr(const char *path, struct stat *status, opened *file)
{
    int failed = file ? fstat(held(file)->descriptor, status) : fstatat(root, below(path), status, AT_SYMLINK_NOFOLLOW);
    if (failed)
        return -errno;
    if (!is_answered)
        wait_calls(1);
    is_answered = 0;
    return 0;
}

static int slow_readlink(const char *path, char *target, size_t size)
{
    wait_calls(1);
    ssize_t length = readlinkat(root, below(path), target, size - 1);
    if (length == -1)
        return -errno;
    target[length] = '\0';
    return 0;
}

static int slow_mkdir(const char *path, mode_t mode)
{
    wait_calls(1);
    return answered(mkdirat(root, below(path), mode));
}

static int slow_symlink(const char *target, const char *path)
{
    wait_calls(1);
    return answered(symlinkat(target, root, below(path)));
}

static int slow_link(const char *from, const char *to)
{
    wait_calls(1);
    return answered(linkat(root, below(from), root, below(to), 0));
}

static int slow_unlink(const char *path)
{
    wait_calls(1);
    return result(unlinkat(root, below(path), 0));
}

static int slow_rmdir(const char *path)
{
    wait_calls(1);
    return result(unlinkat(root, below(path), AT_REMOVEDIR));
}

static int slow_rename(const char *from, const char *to, unsigned int flags)
{
    wait_calls(1);
    return result(renameat2(root, below(from), root, below(to), flags));
}

static int slow_chmod(const char *path, mode_t mode, opened *file)
{
    wait_calls(1);
    return answered(file ? fchmod(held(file)->descriptor, mode) : fchmodat(root, below(path), mode, 0));
}

static int slow_chown(const char *path, uid_t user, gid_t group, opened *file)
{
    wait_calls(1);
    return answered(file ? fchown(held(file)->descriptor, user, group)
                         : fchownat(root, below(path), user, group, AT_SYMLINK_NOFOLLOW));
}

static int slow_utimens(const char *path, const struct timespec times[2], opened *file)
{
    wait_calls(1);
    return answered(file ? futimens(held(file)->descriptor, times)
                         : utimensat(root, below(path), times, AT_SYMLINK_NOFOLLOW));
}

static int slow_truncate(const char *path, off_t size, opened *file)
{
    wait_calls(1);
    if (file)
        return answered(ftruncate(held(file)->descriptor, size));
    int descriptor = openat(root, below(path), O_WRONLY | O_CLOEXEC);
    if (descriptor == -1)
        return -errno;
    int answer = answered(ftruncate(descriptor, size));
    close(descriptor);
    return answer;
}

static int hold(int descriptor, opened *file)
{
    if (descriptor == -1)
        return -errno;
    struct handle *handle = calloc(1, sizeof *handle);
    if (!handle) {
        close(descriptor);
        return -ENOMEM;
    }
    handle->descriptor = descriptor;
    file->fh = (uintptr_t)handle;
    return 0;
}

static int slow_create(const char *path, mode_t mode, opened *file)
{
    wait_calls(1);
    int answer = hold(openat(root, below(path), file->flags | O_CREAT | O_CLOEXEC, mode), file);
    is_answered = answer == 0;
    return answer;
}

static int slow_open(const char *path, opened *file)
{
    wait_calls(1);
    return hold(openat(root, below(path), file->flags | O_CLOEXEC), file);
}

static int slow_read(const char *path, char *buffer, size_t size, off_t offset, opened *file)
{
    (void)path;
    wait_calls(1);
    ssize_t length = pread(held(file)->descriptor, buffer, size, offset);
    return length == -1 ? -errno : (int)length;
}

static int slow_write(const char *path, const char *buffer, size_t size, off_t offset, opened *file)
{
    (void)path;
    ssize_t length = pwrite(held(file)->descriptor, buffer, size, offset);
    if (length == -1)
        return -errno;
    atomic_fetch_add(&held(file)->unsent, length);
    return (int)length;
}

static int slow_flush(const char *path, opened *file)
{
    (void)path;
    send(held(file));
    return 0;
}

static int slow_fsync(const char *path, int is_data_only, opened *file)
{
    (void)path;
    (void)is_data_only;
    send(held(file));
    wait_calls(1);
    return 0;
}

static int slow_release(const char *path, opened *file)
{
    (void)path;
    close(held(file)->descriptor);
    free(held(file));
    return 0;
}

static int slow_opendir(const char *path, opened *file)
{
    return hold(openat(root, below(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC), file);
}

static int slow_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, opened *file,
                        enum fuse_readdir_flags flags)
{
    (void)path;
    (void)offset;
    (void)flags;
    wait_calls(1);
    int descriptor = openat(held(file)->descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = descriptor == -1 ? NULL : fdopendir(descriptor);
    if (!directory)
        return -errno;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        struct stat status;
        if (fstatat(descriptor, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
            fill(buffer, entry->d_name, &status, 0, FUSE_FILL_DIR_PLUS);
    }
    closedir(directory);
    return 0;
}

static int slow_statfs(const char *path, struct statvfs *status)
{
    (void)path;
    wait_calls(1);
    return result(fstatvfs(root, status));
}

static const struct fuse_operations operations = {
    .init = begin,
    .getattr = slow_getattr,
    .readlink = slow_readlink,
    .mkdir = slow_mkdir,
    .symlink = slow_symlink,
    .link = slow_link,
    .unlink = slow_unlink,
    .rmdir = slow_rmdir,
    .rename = slow_rename,
    .chmod = slow_chmod,
    .chown = slow_chown,
    .utimens = slow_utimens,
    .truncate = slow_truncate,
    .create = slow_create,
    .open = slow_open,
    .read = slow_read,
    .write = slow_write,
    .flush = slow_flush,
    .fsync = slow_fsync,
    .release = slow_release,
    .opendir = slow_opendir,
    .releasedir = slow_release,
    .readdir = slow_readdir,
    .statfs = slow_statfs,
};

int main(int count, char **arguments)
{
    if (count != 4) {
        fprintf(stderr, "usage: %s DIRECTORY MICROSECONDS MOUNT-POINT\n", arguments[0]);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* no mount outlives its benchmark */
    umask(0);
    root = open(arguments[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    microseconds = atol(arguments[2]);
    if (root == -1 || microseconds < 0) {
        perror(arguments[1]);
        return 2;
    }
    struct fuse_args none = FUSE_ARGS_INIT(1, arguments);
    struct fuse *filesystem = fuse_new(&none, &operations, sizeof operations, NULL);
    if (!filesystem || fuse_mount(filesystem, arguments[3]) != 0)
        return 1;
    struct fuse_loop_config *loop = fuse_loop_cfg_create();
    fuse_loop_cfg_set_max_threads(loop, CALLS_AT_ONCE);
    fuse_loop_cfg_set_idle_threads(loop, CALLS_AT_ONCE);
    int failed = fuse_set_signal_handlers(fuse_get_session(filesystem)) || fuse_loop_mt(filesystem, loop) < 0;
    fuse_unmount(filesystem);
    return failed;
}
