/* Preloaded into MariaDB: makes fsync and fdatasync as much slower as a file that may change meanwhile says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile uint64_t *delay_ns;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void prepare(void) {
    const char *path = getenv("SHAREMESH_SYNC_DELAY");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *shown = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *delay_ns, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    delay_ns = shown == MAP_FAILED ? NULL : shown;
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
}

static void wait_longer(void) {
    uint64_t wanted = delay_ns ? *delay_ns : 0;
    if (wanted) {
        struct timespec pause = {.tv_sec = wanted / 1000000000, .tv_nsec = wanted % 1000000000};
        nanosleep(&pause, NULL);
    }
}

int fsync(int file) {
    wait_longer();
    return real_fsync(file);
}

int fdatasync(int file) {
    wait_longer();
    return real_fdatasync(file);
}
