/* Makes code while it runs, in one of two ways: hostile_native maps | jit.

   maps  has 10,000 executable mappings, and maps, rewrites, runs and unmaps code without end in one thread, as another computes
   jit   computes in a mapping without a file, whose address it says */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, MAPPINGS = 10000 };
static volatile uint64_t sink;

/* Calls nothing, so that its bytes run wherever they are. */
__attribute__((noinline, aligned(256))) uint64_t work(uint64_t x, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

typedef uint64_t function(uint64_t, uint64_t);

static function *copied(void *place) {
    memcpy(place, (const void *)(uintptr_t)work, 256);
    __builtin___clear_cache((char *)place, (char *)place + 256);
    return (function *)(uintptr_t)place;
}

static void *page(int protection) {
    void *place = mmap(NULL, PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return place;
}

static void *map_and_unmap(void *unused) {
    for (;;) {
        void *place = page(PROT_READ | PROT_WRITE | PROT_EXEC);
        sink = copied(place)(sink + 1, 2000);
        mprotect(place, PAGE, PROT_READ);
        munmap(place, PAGE);
    }
    return unused;
}

int main(int argc, char **argv) {
    function *where = work;
    if (argc > 1 && strcmp(argv[1], "maps") == 0) {
        for (int i = 0; i < MAPPINGS; i++) {
            /* Neighbours of one kind would be one mapping. */
            page(PROT_READ | PROT_EXEC);
            page(PROT_READ);
        }
        pthread_t thread;
        if (pthread_create(&thread, NULL, map_and_unmap, NULL) != 0) {
            return 1;
        }
    } else {
        where = copied(page(PROT_READ | PROT_WRITE | PROT_EXEC));
    }
    printf("ready %llx\n", (unsigned long long)(uintptr_t)where);
    fflush(stdout);
    for (uint64_t x = 1;; x++) {
        sink = where(x, 1000000);
    }
}
