/* Spends a resource in a known split, 60/30/10, over three functions: split SCENARIO [threads].

   cpu     computes, each thread by itself
   wall    waits, each thread by itself
   faults  touches fresh pages, each thread by itself
   born    computes in threads that live for 50 ms
   fork    computes in processes that live for 50 ms
   switch  wakes a thread, which wakes this one, each pair of them without end
   exec    computes, and becomes itself anew each 500 ms
   rate    computes, and says after each 100 ms of its own CPU time how much it did
   locks   has threads that wait: two of them for each other, one for both, one for a lock that another has while it sleeps
   queue   sends itself real-time signals, says after each thousand how many came, and waits for events meanwhile
   idle    does nothing, in one thread */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
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

__attribute__((noinline)) static uint64_t round_of(uint64_t x, int unit) {
    return ten(thirty(sixty(x, unit), unit), unit) + 1;
}

/* Rounds of about 100 ms: a sampler at 100 Hz meets each function in every round. Their length varies, as
   constant ones could run in step with the sampler. */
static void *cpu(void *unused) {
    uint64_t x = 1;
    for (int i = 0;; i = (i + 1) % 51) {
        x = round_of(x, 3750000 + i * 7 % 51 * 50000);
        sink = x;
    }
    return unused;
}

static int64_t milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Rounds of some 5 ms, for what does not live long. A sampler counts anew for each thread: rounds of one length would run in step
   with it. */
static void *cpu_for(int64_t duration) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t x = spin((uint64_t)now.tv_nsec | 1, (int)(now.tv_nsec / 64 % 10000000));
    for (int64_t end = milliseconds() + duration; milliseconds() < end;) {
        x = round_of(x, 60000 + (int)(x % 255000));
        sink = x;
    }
    return NULL;
}

static void *cpu_of_the_born(void *unused) {
    (void)unused;
    return cpu_for(50);
}

static void rest(int tenths) {
    struct timespec time = {0, tenths * 20000000L};
    nanosleep(&time, NULL);
    sink++;
}

__attribute__((noinline)) static void wait_sixty(void) { rest(6); sink++; }
__attribute__((noinline)) static void wait_thirty(void) { rest(3); sink++; }
__attribute__((noinline)) static void wait_ten(void) { rest(1); sink++; }

static void *wall(void *unused) {
    for (;;) {
        wait_sixty();
        wait_thirty();
        wait_ten();
    }
    return unused;
}

static void touch(int pages) {
    size_t size = (size_t)pages * 4096;
    volatile char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; memory != MAP_FAILED && at < size; at += 4096) {
        memory[at] = 1;
    }
    munmap((void *)memory, size);
}

__attribute__((noinline)) static void touch_sixty(void) { touch(60); sink++; }
__attribute__((noinline)) static void touch_thirty(void) { touch(30); sink++; }
__attribute__((noinline)) static void touch_ten(void) { touch(10); sink++; }

static void *faults(void *unused) {
    for (;;) {
        touch_sixty();
        touch_thirty();
        touch_ten();
        usleep(1000);
    }
    return unused;
}

static void *echo(void *pipes) {
    int *ends = pipes;
    char byte;
    while (read(ends[0], &byte, 1) == 1 && write(ends[3], &byte, 1) == 1) {
    }
    return NULL;
}

static void *switches(void *unused) {
    int ends[4];
    pthread_t thread;
    char byte = 0;
    if (pipe(ends) != 0 || pipe(ends + 2) != 0 || pthread_create(&thread, NULL, echo, ends) != 0) {
        return unused;
    }
    while (write(ends[1], &byte, 1) == 1 && read(ends[2], &byte, 1) == 1) {
    }
    return unused;
}

/* Of CPU time, not of the clock: what a sampler costs the thread is in it, what others take of the machine is not. */
static void *rate(void *unused) {
    uint64_t x = 1;
    for (;;) {
        struct timespec now;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        int64_t end = now.tv_sec * 1000000000LL + now.tv_nsec + 100000000;
        long did = 0;
        do {
            x = round_of(x, 1000);
            did++;
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        } while (now.tv_sec * 1000000000LL + now.tv_nsec < end);
        sink = x;
        printf("did %ld\n", did);
        fflush(stdout);
    }
    return unused;
}

static void *born(void *unused) {
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, cpu_of_the_born, NULL) == 0) {
            pthread_join(thread, NULL);
        }
    }
    return unused;
}

static void *forks(void *unused) {
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            cpu_for(50);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    return unused;
}

static pthread_mutex_t left = PTHREAD_MUTEX_INITIALIZER, right = PTHREAD_MUTEX_INITIALIZER, kept = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;

__attribute__((noinline)) static void *take_both(pthread_mutex_t *first, pthread_mutex_t *second) {
    pthread_mutex_lock(first);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(second);
    sink++;
    return NULL;
}

static void *take_left(void *unused) {
    (void)unused;
    return take_both(&left, &right);
}

static void *take_right(void *unused) {
    (void)unused;
    return take_both(&right, &left);
}

__attribute__((noinline)) static void *wait_for_left(void *unused) {
    sleep(1);
    pthread_mutex_lock(&left);
    return unused;
}

__attribute__((noinline)) static void *sleep_with_lock(void *unused) {
    pthread_mutex_lock(&kept);
    pthread_barrier_wait(&both);
    for (;;) {
        pause();
    }
    return unused;
}

__attribute__((noinline)) static void *wait_for_lock(void *unused) {
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&kept);
    return unused;
}

static void named(void *(*work)(void *), const char *name) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL) == 0) {
        pthread_setname_np(thread, name);
    }
}

static void *locks(void *unused) {
    pthread_barrier_init(&both, NULL, 2);
    named(take_left, "shop-left");
    named(take_right, "shop-right");
    named(wait_for_left, "shop-third");
    sleep(1);
    named(sleep_with_lock, "shop-owner");
    named(wait_for_lock, "shop-waiting");
    return unused;
}

static __thread volatile sig_atomic_t came;

static void count(int signal) {
    (void)signal;
    came++;
}

static void *queue(void *unused) {
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    sigaction(SIGRTMIN + 3, &action, NULL);
    int events = epoll_create1(0);
    for (;;) {
        came = 0;
        for (int sent = 0; sent < 1000; sent++) {
            /* To this thread, which takes it before it returns. */
            pthread_kill(pthread_self(), SIGRTMIN + 3);
        }
        printf("came %d\n", (int)came);
        fflush(stdout);
        struct epoll_event event;
        epoll_wait(events, &event, 1, 1);
    }
    return unused;
}

static const struct scenario {
    const char *name;
    void *(*work)(void *);
} scenarios[] = {{"cpu", cpu}, {"wall", wall}, {"faults", faults}, {"switch", switches}, {"born", born}, {"fork", forks}, {"rate", rate}, {"locks", locks}, {"queue", queue}, {"idle", NULL}, {"exec", NULL}};

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "cpu";
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    const struct scenario *scenario = NULL;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(name, scenarios[i].name) == 0) {
            scenario = &scenarios[i];
        }
    }
    if (scenario == NULL) {
        fprintf(stderr, "unknown scenario: %s\n", name);
        return 2;
    }
    if (argc <= 3) {
        printf("ready %d\n", (int)getpid());
        fflush(stdout);
    }
    if (strcmp(name, "exec") == 0) {
        cpu_for(500);
        execl("/proc/self/exe", argv[0], "exec", "1", "again", NULL);
        return 1;
    }
    for (int i = 0; i < threads && scenario->work != NULL; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, scenario->work, NULL) != 0) {
            perror("pthread_create");
            return 1;
        }
        char label[16];
        snprintf(label, sizeof label, "%s-%d", name, i);
        pthread_setname_np(thread, label);
    }
    for (;;) {
        pause();
    }
}
