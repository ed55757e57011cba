/* Has memory that a core file must have, and some that it must not: live_dump MEBIBYTES.

   One thread waits for events, for which each stop of the process is an EINTR; one counts; the first one answers each line of its
   input with both counts. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

long known_number = 0x5ca1ab1e;
char *heap_text;
uint64_t *ballast;
unsigned char *reservation;
char *hidden;

static volatile unsigned long counted;
static volatile unsigned long stops;

__attribute__((noinline)) static void *wait_for_events(void *unused) {
    struct epoll_event event;
    int events = epoll_create1(0);
    for (;;) {
        if (epoll_wait(events, &event, 1, -1) < 0 && errno == EINTR) stops++;
    }
    return unused;
}

__attribute__((noinline)) static void *count_on(void *unused) {
    for (;;) {
        counted++;
        if (counted % 1000000 == 0) nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return unused;
}

__attribute__((noinline)) static void answer_lines(void) {
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        printf("alive %lu %lu\n", counted, stops);
        fflush(stdout);
    }
}

static void *map(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) exit(3);
    return memory;
}

int main(int count, char **arguments) {
    size_t size = (count > 1 ? strtoul(arguments[1], NULL, 10) : 1) << 20, gibibyte = 1UL << 30;
    heap_text = malloc(64);
    strcpy(heap_text, "a text on the heap, number 4711");
    ballast = map(size);
    uint64_t word = 1;
    for (size_t i = 0; i < size / sizeof word; i++) {
        word ^= word << 13, word ^= word >> 7, word ^= word << 17;
        ballast[i] = word;
    }
    reservation = map(gibibyte);
    reservation[gibibyte / 2] = 7;
    hidden = map(4096);
    madvise(hidden, 4096, MADV_DONTDUMP);
    strcpy(hidden, "what no core file may have");
    pthread_t waits, counts;
    pthread_create(&waits, NULL, wait_for_events, NULL);
    pthread_create(&counts, NULL, count_on, NULL);
    pthread_setname_np(waits, "waits");
    printf("ready %p %zu\n", (void *)ballast, size);
    fflush(stdout);
    answer_lines();
    return 0;
}
