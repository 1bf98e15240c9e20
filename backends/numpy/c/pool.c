// Threads that share the rows of a loop. They never take Python's lock, so none waits for it.
#define _POSIX_C_SOURCE 200809L
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define MAX_WORKERS 255
#define PATIENCE 1000000  // nanoseconds that an idle worker polls; waking it takes about 50,000
#define PREEMPTED 200000  // a longer pause between two readings of the clock: another took the core
// Turns in which a worker that was preempted does not poll. If it did, a training step next to a
// busy process would take 57 instead of 40 ms.
#define MODEST_TURNS 64

// A loop to be run in parts of `block` rows
typedef struct {
    Call *call;
    const Argument *arguments;
    const int64_t *steps;  // bytes from row to row, 0 for what all rows share, COUNT for a number
    int64_t num_arguments, rows, block;
} Job;

static Job shared;  // the job of the workers; only the thread that holds `owner` changes it

// The number of the job in the upper half, and its parts that nobody has taken in the lower half.
// A worker that takes a part by this one word cannot take it from a job that has ended.
static atomic_uint_fast64_t ticket;
static atomic_int_fast64_t finished;  // parts

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_came = PTHREAD_COND_INITIALIZER;
static atomic_int sleeping;
static int workers;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

static void run_part(const Job *job, int64_t part) {
    Argument arguments[MAX_ARGUMENTS];
    int64_t first = part * job->block, rest = job->rows - first;
    for (int64_t i = 0; i < job->num_arguments; i++) {
        arguments[i] = job->arguments[i];
        if (job->steps[i] == COUNT) {
            arguments[i].count = rest < job->block ? rest : job->block;
        } else if (job->steps[i] && arguments[i].pointer) {
            arguments[i].pointer += first * job->steps[i];
        }
    }
    job->call(arguments);
}

// Take parts and run them until none is left.
static void run_parts(void) {
    uint64_t seen = atomic_load_explicit(&ticket, memory_order_acquire);
    while ((uint32_t)seen) {
        if (atomic_compare_exchange_weak(&ticket, &seen, seen - 1)) {
            run_part(&shared, (int64_t)(uint32_t)seen - 1);
            atomic_fetch_add_explicit(&finished, 1, memory_order_release);
            seen = atomic_load_explicit(&ticket, memory_order_acquire);
        }
    }
}

static int has_work(void) { return (uint32_t)atomic_load(&ticket) != 0; }

// Poll until there is work or patience has run out; false if another program needs the core.
static int poll_for_work(void) {
    int64_t start = nanoseconds(), before = start;
    while (!has_work()) {
        for (int i = 0; i < 32 && !has_work(); i++) relax();
        int64_t now = nanoseconds();
        if (now - before > PREEMPTED) return 0;
        if (now - start > PATIENCE) return 1;
        before = now;
    }
    return 1;
}

static void *work(void *unused) {
    (void)unused;
    for (int modest = 0;; modest -= modest > 0) {
        if (!modest && !poll_for_work()) modest = MODEST_TURNS;
        if (!has_work()) {
            pthread_mutex_lock(&door);
            atomic_fetch_add(&sleeping, 1);
            while (!has_work()) pthread_cond_wait(&work_came, &door);
            atomic_fetch_sub(&sleeping, 1);
            pthread_mutex_unlock(&door);
        }
        run_parts();
    }
    return NULL;
}

// A forked child has none of its parent's threads.
static void forget_workers(void) {
    workers = 0;
    atomic_store(&sleeping, 0);
    atomic_store(&ticket, 0);
    pthread_mutex_init(&owner, NULL);
    pthread_mutex_init(&door, NULL);
    pthread_cond_init(&work_came, NULL);
}

// When the library is loaded: before another thread can fork while the pool is in use
__attribute__((constructor)) static void register_fork_handler(void) {
    pthread_atfork(NULL, NULL, forget_workers);
}

static void start_workers(int wanted) {
    sigset_t all, before;
    sigfillset(&all);  // signals are for the threads of the program
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (workers < wanted && workers < MAX_WORKERS) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL)) break;
        pthread_detach(thread);
        workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void run_rows(Call *call, const Argument *arguments, const int64_t *steps, int64_t num_arguments,
              int64_t rows, int64_t block, int64_t threads) {
    Job job = {call, arguments, steps, num_arguments, rows, block};
    int64_t parts = (rows + block - 1) / block;
    if (threads > parts) threads = parts;
    if (threads < 2 || pthread_mutex_trylock(&owner)) {  // another thread has the pool
        // In the same parts: what a loop adds up may have a place for each.
        for (int64_t part = 0; part < parts; part++) run_part(&job, part);
        return;
    }
    if (workers < threads - 1) start_workers((int)threads - 1);
    shared = job;
    atomic_store(&finished, 0);
    uint64_t number = (atomic_load(&ticket) >> 32) + 1;
    atomic_store(&ticket, number << 32 | (uint64_t)parts);
    if (atomic_load(&sleeping)) {
        pthread_mutex_lock(&door);
        for (int64_t i = 1; i < threads; i++) pthread_cond_signal(&work_came);
        pthread_mutex_unlock(&door);
    }
    run_parts();
    int spins = 0;
    while (atomic_load_explicit(&finished, memory_order_acquire) < parts) {
        if (spins < 1024) spins++, relax();
        else sched_yield();  // a worker was preempted within its part
    }
    pthread_mutex_unlock(&owner);
}
