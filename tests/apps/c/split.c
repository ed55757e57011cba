/* Spends CPU time in a known split, 60/30/10, over three functions: split cpu [threads]. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile uint64_t sink;

/* A chain of dependent operations: bound by latency, so each inlined copy runs equally fast. */
static inline uint64_t spin(uint64_t x, int n) {
    for (int i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

__attribute__((noinline)) static uint64_t sixty(uint64_t x, int unit) { return spin(x, 6 * unit); }
__attribute__((noinline)) static uint64_t thirty(uint64_t x, int unit) { return spin(x, 3 * unit); }
__attribute__((noinline)) static uint64_t ten(uint64_t x, int unit) { return spin(x, unit); }

/* Rounds of about 100 ms: a sampler at 100 Hz meets each function in every round. Their length varies, as
   constant ones could run in step with the sampler. */
static void *cpu(void *unused) {
    uint64_t x = 1;
    for (int i = 0;; i = (i + 1) % 51) {
        int unit = 3750000 + i * 7 % 51 * 50000;
        x = ten(thirty(sixty(x, unit), unit), unit);
        sink = x;
    }
    return unused;
}

int main(int argc, char **argv) {
    const char *scenario = argc > 1 ? argv[1] : "cpu";
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    if (strcmp(scenario, "idle") == 0) {
        threads = 0;
    } else if (strcmp(scenario, "cpu") != 0) {
        fprintf(stderr, "unknown scenario: %s\n", scenario);
        return 2;
    }
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, cpu, NULL) != 0) {
            perror("pthread_create");
            return 1;
        }
    }
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    for (;;) {
        pause();
    }
}
