// The pool of pool.h.
//
// What a thread may claim is one atomic number, the ticket: which region it is (high half) and how many of its parts are
// left (low half). Claiming is a compare-and-swap on it. A late thread that still holds the ticket of an older region can
// claim nothing: that region's parts were all gone before the next one began, so its swap fails, and so does whatever it
// read of the region. `Region`'s fields are atomics only because such a late thread may read them while they change.

#include "threads/pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#define GATEWORK_POSIX
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace gatework::threads {
namespace {

// Pauses before an idle thread sleeps, or a waiting caller first offers its processor to others. About 3 microseconds on
// AMD Zen 5 and 10 on Intel Skylake. Long spins collapse where both threads share a processor or it has other work.
constexpr int kSpins = 300;
// How often a waiting caller offers its processor before it sleeps: long enough to cover a part of the usual size, as
// waking up costs tens of microseconds.
constexpr int kYields = 100;

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
    asm volatile("isb" ::: "memory");  // `yield` does nothing on most ARM processors
#else
    std::this_thread::yield();
#endif
}

// Rounding and denormal modes of this thread, without its exception flags.
std::uint64_t float_modes() {
#if defined(__x86_64__) || defined(_M_X64)
    return _mm_getcsr() & ~0x3Fu;
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
    std::uint64_t modes;
    asm volatile("mrs %0, fpcr" : "=r"(modes));
    return modes;
#else
    return 0;
#endif
}

void set_float_modes(std::uint64_t modes) {
    if (modes == float_modes()) return;
#if defined(__x86_64__) || defined(_M_X64)
    _mm_setcsr((unsigned)modes);
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
    asm volatile("msr fpcr, %0" ::"r"(modes));
#endif
}

struct Region {
    std::atomic<void (*)(void*, int)> work{nullptr};
    std::atomic<void*> context{nullptr};
    std::atomic<int> parts{0};
    std::atomic<std::uint64_t> float_modes{0};
};

thread_local bool inside = false;  // this thread runs a part, or is one of the pool's

void run_inline(int parts, void (*work)(void*, int), void* context) {
    for (int part = 0; part < parts; ++part) work(context, part);
}

class Pool {
public:
    explicit Pool(int size) : asked_for_(size), size_(size) {}

    int asked_for() const { return asked_for_; }

    // One region; never called twice at once.
    void run(int parts, void (*work)(void*, int), void* context) {
        if (started_ < size_ && started_ < parts - 1) grow(parts - 1);
        region_.work.store(work, std::memory_order_relaxed);
        region_.context.store(context, std::memory_order_relaxed);
        region_.parts.store(parts, std::memory_order_relaxed);
        region_.float_modes.store(float_modes(), std::memory_order_relaxed);
        unfinished_.store(parts, std::memory_order_relaxed);
        ticket_.store((++number_ << 32) | (std::uint64_t)parts);
        wake(parts - 1);
        take_parts();
        wait();
    }

    // Lets the threads end; the last one to let go frees the pool.
    void retire() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            retired_ = true;
        }
        work_there_.notify_all();
        let_go();
    }

private:
    // Starts threads until there are `wanted`, or all that the pool or the system allows.
    void grow(int wanted) {
#ifdef GATEWORK_POSIX
        sigset_t all, before;  // signals are for the program's own threads
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
        try {
            for (; started_ < size_ && started_ < wanted; ++started_) {
                holders_.fetch_add(1);
                std::thread(&Pool::serve, this).detach();
            }
        } catch (const std::exception&) {
            holders_.fetch_sub(1);
            size_ = started_;
        }
#ifdef GATEWORK_POSIX
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    }

    static std::uint32_t left(std::uint64_t ticket) { return (std::uint32_t)ticket; }

    void serve() {
        inside = true;
        while (work_comes()) {
            take_parts();
        }
        let_go();
    }

    // Waits until parts can be claimed; false when the pool is retired.
    bool work_comes() {
        for (int spin = 0; spin < kSpins; ++spin) {
            if (left(ticket_.load(std::memory_order_relaxed)) > 0) return true;
            pause();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1);
        work_there_.wait(lock, [this] { return retired_ || left(ticket_.load()) > 0; });
        sleepers_.fetch_sub(1);
        return !retired_;
    }

    // Wakes sleepers for `wanted` parts, less those threads that are awake and will look before they sleep.
    void wake(int wanted) {
        const int sleepers = sleepers_.load();
        if (sleepers == 0) return;
        const int wakes = wanted - (started_ - sleepers);
        if (wakes <= 0) return;
        { const std::lock_guard<std::mutex> lock(mutex_); }  // a thread about to sleep now does, and hears this
        if (wakes >= sleepers) {
            work_there_.notify_all();
        } else {
            for (int i = 0; i < wakes; ++i) work_there_.notify_one();
        }
    }

    void take_parts() {
        std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
        while (left(ticket) > 0) {
            void (*const work)(void*, int) = region_.work.load(std::memory_order_relaxed);
            void* const context = region_.context.load(std::memory_order_relaxed);
            const int part = region_.parts.load(std::memory_order_relaxed) - (int)left(ticket);
            const std::uint64_t modes = region_.float_modes.load(std::memory_order_relaxed);
            if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel, std::memory_order_acquire))
                continue;
            set_float_modes(modes);
            work(context, part);
            if (unfinished_.fetch_sub(1) == 1 && waiting_.load()) {
                { const std::lock_guard<std::mutex> lock(mutex_); }
                all_done_.notify_one();
            }
            ticket = ticket_.load(std::memory_order_acquire);
        }
    }

    void wait() {
        for (int spin = 0; spin < kSpins; ++spin) {
            if (unfinished_.load(std::memory_order_acquire) == 0) return;
            pause();
        }
        for (int yield = 0; yield < kYields; ++yield) {
            if (unfinished_.load(std::memory_order_acquire) == 0) return;
            std::this_thread::yield();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        waiting_.store(true);
        all_done_.wait(lock, [this] { return unfinished_.load() == 0; });
        waiting_.store(false, std::memory_order_relaxed);
    }

    void let_go() {
        if (holders_.fetch_sub(1) == 1) delete this;
    }

    // Written by the caller once a region; read by all.
    alignas(64) std::atomic<std::uint64_t> ticket_{0};
    Region region_;
    // Written at every part's end.
    alignas(64) std::atomic<int> unfinished_{0};
    std::atomic<bool> waiting_{false};
    alignas(64) std::atomic<int> sleepers_{0};
    std::mutex mutex_;
    std::condition_variable work_there_, all_done_;
    bool retired_ = false;
    std::atomic<int> holders_{1};  // the threads and whoever may call run
    std::uint64_t number_ = 0;
    const int asked_for_;
    int size_;
    int started_ = 0;
};

// Never freed at exit: sleeping threads may outlive every destructor.
std::atomic<Pool*> pool{nullptr};
std::atomic<bool> busy{false};  // a region runs, or the pool is being replaced
std::atomic<int> wanted{0};     // 0: not decided yet

#ifdef GATEWORK_POSIX
// The child of a fork has none of the threads. What they held is left where it is.
void forget_pool() {
    pool.store(nullptr);
    busy.store(false);
}
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, forget_pool);
#endif

int within_bounds(long n) { return n < 1 ? 1 : n > kMost ? kMost : (int)n; }

// OMP_NUM_THREADS may be a list, one number a nesting depth; what is no number above 0 counts as not set.
int from_environment() {
    const char* text = std::getenv("OMP_NUM_THREADS");
    if (text == nullptr) return 0;
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    while (*end == ' ') ++end;
    return end == text || n < 1 || (*end != '\0' && *end != ',') ? 0 : within_bounds(n);
}

// Processors this process may use: its affinity, and where a container limits time, that limit rounded up.
int processors() {
    long n = (long)std::thread::hardware_concurrency();
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
    if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
        long quota = 0, period = 0;
        if (std::fscanf(file, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0) {
            const long limit = (quota + period - 1) / period;
            n = limit < n ? limit : n;
        }
        std::fclose(file);
    }
#endif
    return within_bounds(n);
}

}  // namespace

int count() {
    int n = wanted.load(std::memory_order_relaxed);
    if (n == 0) {
        const int environment = from_environment();
        const int first = environment > 0 ? environment : processors();
        n = wanted.compare_exchange_strong(n, first) ? first : n;
    }
    return n;
}

void set_count(int n) { wanted.store(within_bounds(n), std::memory_order_relaxed); }

void run(int parts, void (*work)(void* context, int part), void* context) {
    if (parts <= 0) return;
    const int threads = count();
    if (parts == 1 || threads == 1 || inside || busy.exchange(true, std::memory_order_acquire))
        return run_inline(parts, work, context);
    Pool* now = pool.load(std::memory_order_relaxed);
    if (now == nullptr || now->asked_for() != threads - 1) {
        pool.store(nullptr, std::memory_order_relaxed);
        if (now != nullptr) now->retire();
        now = new (std::nothrow) Pool(threads - 1);
        pool.store(now, std::memory_order_relaxed);
    }
    inside = true;
    if (now != nullptr) {
        now->run(parts, work, context);
    } else {
        run_inline(parts, work, context);
    }
    inside = false;
    busy.store(false, std::memory_order_release);
}

}  // namespace gatework::threads
