#include "runtime/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// A range of tasks as one word, so that a claim is one compare-and-swap:
//   bits 63..36 generation (28) | 35..18 begin (18) | 17..0 end (18)
// pool_run stores the ranges of generation g, then publishes g. A claim that succeeds in generation g
// proves that job g is not finished, so `task` and `user`, read after g was seen and before the claim,
// are those of g.
enum { RANGE_BITS = 18 };
#define RANGE_MASK (((uint64_t)1 << RANGE_BITS) - 1)

typedef struct Worker {
    _Alignas(64) _Atomic uint64_t range;
    pthread_t thread;
    struct Pool *pool;
    int32_t index;
} Worker;

struct Pool {
    Heap *heap;
    int32_t n_threads;
    int64_t spin_ns;
    pthread_mutex_t caller;                   ///< one job at a time
    Worker *workers;                          ///< [n_threads]; 0 is the caller's
    _Alignas(64) _Atomic uint32_t generation; ///< futex of sleeping workers
    _Atomic bool quit;
    _Atomic(PoolTask) task;
    _Atomic(void *) user;
    _Alignas(64) _Atomic int64_t remaining;
    _Atomic int32_t caller_done; ///< futex of a sleeping caller; 1 when the job is done
    _Atomic int32_t n_sleeping;
    _Atomic int32_t eager_sleep; ///< launches for which workers do not spin
    _Atomic int64_t by_workers;  ///< tasks of this job done by workers
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void futex_wait(void *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(void *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static uint64_t range_pack(uint32_t generation, int64_t begin, int64_t end)
{
    return (uint64_t)(generation & 0xFFFFFFF) << (2 * RANGE_BITS) | (uint64_t)begin << RANGE_BITS |
           (uint64_t)end;
}

/// Takes one task of a range, from its front (the owner) or its back (a thief). @return the task or -1
static int64_t range_claim(_Atomic uint64_t *range, uint32_t generation, bool from_back)
{
    uint64_t seen = atomic_load_explicit(range, memory_order_acquire);
    for (;;) {
        int64_t begin = (int64_t)(seen >> RANGE_BITS & RANGE_MASK),
                end = (int64_t)(seen & RANGE_MASK);
        if (seen >> (2 * RANGE_BITS) != (generation & 0xFFFFFFF) || begin >= end) return -1;
        uint64_t next = from_back ? seen - 1 : seen + ((uint64_t)1 << RANGE_BITS);
        if (atomic_compare_exchange_weak_explicit(range, &seen, next, memory_order_acq_rel,
                                                  memory_order_acquire))
            return from_back ? end - 1 : begin;
    }
}

/// Runs what is left of job `generation`: the own range, then the others'. @return tasks done
static int64_t work(Pool *p, int32_t me, uint32_t generation)
{
    PoolTask task = atomic_load_explicit(&p->task, memory_order_relaxed);
    void *user = atomic_load_explicit(&p->user, memory_order_relaxed);
    int64_t n_done = 0;
    for (int32_t hop = 0; hop < p->n_threads; hop++) {
        Worker *w = &p->workers[(me + hop) % p->n_threads];
        int64_t t;
        while ((t = range_claim(&w->range, generation, hop > 0)) >= 0) {
            task(user, me, t);
            n_done++;
        }
    }
    return n_done;
}

/// Waits until a generation other than `seen` is published: spins, then sleeps.
static uint32_t await_job(Pool *p, uint32_t seen)
{
    int64_t spin_ns =
        atomic_load_explicit(&p->eager_sleep, memory_order_relaxed) > 0 ? 0 : p->spin_ns;
    int64_t until = spin_ns > 0 ? now_ns() + spin_ns : 0;
    for (int32_t i = 0; spin_ns > 0; i++) {
        uint32_t g = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (g != seen) return g;
        if (i % 32 == 31 && now_ns() > until) break;
    }
    atomic_fetch_add(&p->n_sleeping, 1);
    uint32_t g;
    while ((g = atomic_load(&p->generation)) == seen)
        futex_wait(&p->generation, seen);
    atomic_fetch_sub(&p->n_sleeping, 1);
    return g;
}

static void *worker_main(void *arg)
{
    Worker *w = arg;
    Pool *p = w->pool;
    uint32_t seen = 0;
    for (;;) {
        seen = await_job(p, seen);
        if (atomic_load_explicit(&p->quit, memory_order_acquire)) return NULL;
        int64_t n = work(p, w->index, seen);
        if (!n) continue;
        atomic_fetch_add_explicit(&p->by_workers, n, memory_order_relaxed);
        // The last finisher of a job wakes a caller that sleeps.
        if (atomic_fetch_sub(&p->remaining, n) == n && atomic_exchange(&p->caller_done, 1) == -1)
            futex_wake(&p->caller_done, 1);
    }
}

/// Waits for the tasks that workers still hold.
static void await_workers(Pool *p)
{
    int64_t until = 0;
    for (int32_t i = 0; atomic_load_explicit(&p->remaining, memory_order_acquire) > 0; i++) {
        if (i % 32 != 31) continue;
        int64_t now = now_ns();
        if (!until) until = now + MAX(p->spin_ns, 1000);
        if (now < until) continue;
        int32_t running = 0;
        if (!atomic_compare_exchange_strong(&p->caller_done, &running, -1)) continue;
        while (atomic_load(&p->caller_done) == -1)
            futex_wait(&p->caller_done, (uint32_t)-1);
    }
}

/// When workers got less than a quarter of their share of a long job, a neighbour holds their CPUs, and
/// spinning only makes that worse: for the next 256 jobs they sleep at once.
static void adapt(Pool *p, int64_t n_tasks, int64_t took_ns)
{
    int32_t left = atomic_load_explicit(&p->eager_sleep, memory_order_relaxed);
    if (left > 0) atomic_store_explicit(&p->eager_sleep, left - 1, memory_order_relaxed);
    if (took_ns < 20000 || n_tasks < 4 * p->n_threads) return;
    int64_t share = n_tasks * (p->n_threads - 1) / p->n_threads;
    if (atomic_load_explicit(&p->by_workers, memory_order_relaxed) * 4 < share)
        atomic_store_explicit(&p->eager_sleep, 256, memory_order_relaxed);
}

void pool_run(Pool *p, PoolTask task, void *user, int64_t n_tasks)
{
    ASSERT(n_tasks <= POOL_MAX_TASKS);
    if (n_tasks <= 0) return;
    pthread_mutex_lock(&p->caller);
    if (p->n_threads == 1 || n_tasks == 1) {
        for (int64_t t = 0; t < n_tasks; t++)
            task(user, 0, t);
        pthread_mutex_unlock(&p->caller);
        return;
    }
    int64_t start = now_ns();
    uint32_t g = atomic_load_explicit(&p->generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&p->task, task, memory_order_relaxed);
    atomic_store_explicit(&p->user, user, memory_order_relaxed);
    atomic_store_explicit(&p->by_workers, 0, memory_order_relaxed);
    atomic_store_explicit(&p->caller_done, 0, memory_order_relaxed);
    atomic_store_explicit(&p->remaining, n_tasks, memory_order_relaxed);
    for (int32_t i = 0; i < p->n_threads; i++)
        atomic_store_explicit(
            &p->workers[i].range,
            range_pack(g, n_tasks * i / p->n_threads, n_tasks * (i + 1) / p->n_threads),
            memory_order_release);
    atomic_store(&p->generation, g);
    if (atomic_load(&p->n_sleeping) > 0) futex_wake(&p->generation, INT_MAX);

    int64_t n = work(p, 0, g);
    if (atomic_fetch_sub(&p->remaining, n) != n) await_workers(p);
    adapt(p, n_tasks, now_ns() - start);
    pthread_mutex_unlock(&p->caller);
}

int32_t pool_host_cpus(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int32_t n = CPU_COUNT(&set);
    return n < 1 ? 1 : MIN(n, POOL_MAX_THREADS);
}

int32_t pool_n_threads(const Pool *p)
{
    return p->n_threads;
}

/// Keeps worker `index` on the index-th CPU that this process may use.
static void pin(Worker *w)
{
    cpu_set_t all, one;
    CPU_ZERO(&all);
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    int32_t nth = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all) || nth++ != w->index) continue;
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(w->thread, sizeof one, &one);
        return;
    }
}

KilnStatus pool_open(Heap *heap, const PoolOptions *options, Pool **out, Diag *diag)
{
    *out = NULL;
    int32_t n_host = pool_host_cpus();
    int32_t n = options->n_threads > 0
                    ? MIN(options->n_threads, options->crowd ? POOL_MAX_THREADS : n_host)
                    : n_host;
    Pool *p = heap_new(heap, Pool);
    Worker *workers = heap_array(heap, Worker, n);
    if (!p || !workers) {
        heap_free(heap, p);
        heap_free(heap, workers);
        return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a pool of %d threads", n);
    }
    p->heap = heap;
    p->workers = workers;
    p->n_threads = 1;
    p->spin_ns =
        options->spin_us < 0 ? 0 : 1000 * (int64_t)(options->spin_us ? options->spin_us : 20);
    pthread_mutex_init(&p->caller, NULL);
    for (int32_t i = 1; i < n; i++) {
        workers[i].pool = p;
        workers[i].index = i;
    }
    p->n_threads = n; // before the workers start: they read it
    for (int32_t i = 1; i < n; i++) {
        int error = pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
        if (error) {
            p->n_threads = i;
            pool_close(p);
            return fail(diag, KILN_ERR_NOMEM, "K102", "thread %d of %d could not be started: %s", i,
                        n, strerror(error));
        }
        if (options->pin) pin(&workers[i]);
    }
    *out = p;
    return KILN_OK;
}

void pool_close(Pool *p)
{
    if (!p) return;
    atomic_store(&p->quit, true);
    atomic_fetch_add(&p->generation, 1);
    futex_wake(&p->generation, INT_MAX);
    for (int32_t i = 1; i < p->n_threads; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_mutex_destroy(&p->caller);
    heap_free(p->heap, p->workers);
    heap_free(p->heap, p);
}
