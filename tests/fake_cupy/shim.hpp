// CUDA's keywords, variables and intrinsics in C++, so that tests can run kernels on the CPU.
//
// The threads of a block are fibers, which switch at barriers and shuffles, or, with
// -DSHIM_THREADS, threads of the operating system, for sanitizers. Blocks run one after another. A
// barrier that not all threads reach is an error instead of a deadlock.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

using std::exp, std::log, std::pow, std::sqrt, std::tanh;

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    unsigned count() const { return x * y * z; }
};

struct uint3 {
    unsigned x, y, z;
};

inline dim3 gridDim, blockDim;
inline uint3 blockIdx;

#ifdef SHIM_THREADS
inline thread_local uint3 threadIdx;
inline thread_local unsigned self;
#else
inline uint3 threadIdx;
inline unsigned self;
#endif

namespace shim {

inline void place(unsigned number) {
    self = number;
    threadIdx = {number % blockDim.x, number / blockDim.x % blockDim.y,
                 number / (blockDim.x * blockDim.y)};
}

#ifdef SHIM_THREADS

struct Barrier {
    std::mutex mutex;
    std::condition_variable turn;
    unsigned members = 0, arrived = 0;
    unsigned long round = 0;

    void wait() {
        std::unique_lock lock(mutex);
        unsigned long now = round;
        if (++arrived == members) {
            arrived = 0, round++;
            turn.notify_all();
        } else {
            turn.wait(lock, [&] { return round != now; });
        }
    }
};

#else

constexpr unsigned NONE = ~0u;

struct Fiber {
    ucontext_t start;
    void* place[5];
    std::unique_ptr<char[]> stack{new char[STACK]};
    unsigned thread = NONE;
    uint3 index;  // threadIdx
    bool begun = false;
    static constexpr size_t STACK = 64 << 10;
};

inline std::vector<std::unique_ptr<Fiber>> fibers;
inline Fiber* current;
inline void* scheduler[5];
inline const std::function<void()>* body;
inline unsigned next_thread;
inline bool progress;

// The builtins save three registers only: the compiler spills the others, as a switch needs no more.
[[gnu::noinline]] inline void leave() { __builtin_longjmp(scheduler, 1); }

[[gnu::noinline]] inline void pause_here() {
    if (!__builtin_setjmp(current->place)) leave();
}

struct Barrier {
    unsigned members = 0, arrived = 0;
    unsigned long round = 0;

    void wait() {
        unsigned long now = round;
        if (++arrived == members) {
            arrived = 0, round++;
            progress = true;
        } else {
            while (round == now) pause_here();
        }
    }
};

// The body of a fiber: runs the threads of the block that no fiber has begun, one after another,
// until one pauses at a barrier; then another fiber runs the next.
inline void enter() {
    for (;;) {
        while (next_thread < blockDim.count()) {
            place(current->thread = next_thread++);
            current->index = threadIdx;
            (*body)();
            progress = true;
        }
        current->thread = NONE;
        pause_here();
    }
}

[[gnu::noinline]] inline void start(Fiber& fiber) {
    fiber.begun = true;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.get();
    fiber.start.uc_stack.ss_size = Fiber::STACK;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, enter, 0);
    setcontext(&fiber.start);
}

[[gnu::noinline]] inline void go_on(Fiber& fiber) { __builtin_longjmp(fiber.place, 1); }

// Run a fiber until it pauses; returns false once it has no thread left.
[[gnu::noinline]] inline bool resume(Fiber& fiber) {
    current = &fiber;
    self = fiber.thread, threadIdx = fiber.index;
    if (!__builtin_setjmp(scheduler)) fiber.begun ? go_on(fiber) : start(fiber);
    return current->thread != NONE;
}

#endif

struct Warp {
    Barrier barrier;
    double slots[2][32][3];  // one slot for each lane, large enough for every exchanged type
    unsigned char round[32];
};

inline Barrier block;
inline std::vector<std::unique_ptr<Warp>> warps;

inline Warp& warp() { return *warps[self / 32]; }

// Exchange a value between the lanes of a warp; use(of) gets a function from lane to value. The two
// sets of slots alternate: a lane cannot reach the next exchange but one while another still reads.
template <typename V, typename Use>
auto exchange(V value, Use use) {
    Warp& mine = warp();
    auto slots = mine.slots[mine.round[self % 32] ^= 1];
    std::memcpy(&slots[self % 32], &value, sizeof value);
    mine.barrier.wait();
    return use([&](unsigned lane) {
        V other;
        std::memcpy(&other, &slots[lane % 32], sizeof other);
        return other;
    });
}

// Run one block; returns false on deadlock.
inline bool run_block(const std::function<void()>& kernel) {
    unsigned count = blockDim.count();
    block.members = count;
    block.arrived = 0;
    while (warps.size() < (count + 31) / 32) warps.push_back(std::make_unique<Warp>());
    for (auto& each : warps) {
        each->barrier.members = 32, each->barrier.arrived = 0;
        std::memset(each->round, 0, sizeof each->round);
    }
#ifdef SHIM_THREADS
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; i++) threads.emplace_back([&, i] { place(i), kernel(); });
    for (auto& thread : threads) thread.join();
    return true;
#else
    body = &kernel;
    next_thread = 0;
    unsigned paused = 0;  // how many fibers, from the first on, wait at a barrier
    while (next_thread < count) {
        if (fibers.size() == paused) fibers.push_back(std::make_unique<Fiber>());
        paused += resume(*fibers[paused]);
    }
    for (bool alive = paused; alive;) {
        alive = progress = false;
        for (unsigned i = 0; i < paused; i++)
            if (fibers[i]->thread != NONE) alive |= resume(*fibers[i]);
        if (alive && !progress) {
            fibers.clear();  // they are suspended in the middle of the kernel
            return false;
        }
    }
    return true;
#endif
}

// Run the blocks from number `first` on. Returns 0, or 1 for a barrier that not all threads reach.
inline int launch(const unsigned* grid, const unsigned* threads, unsigned long first,
                  const std::function<void()>& kernel) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {threads[0], threads[1], threads[2]};
    unsigned long blocks = (unsigned long)grid[0] * grid[1] * grid[2];
    for (unsigned long b = first; b < blocks; b++) {
        blockIdx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]),
                    unsigned(b / grid[0] / grid[1])};
        if (!run_block(kernel)) return 1;
    }
    return 0;
}

}  // namespace shim

inline void __syncthreads() { shim::block.wait(); }

inline int __syncthreads_or(int vote) {
    static std::atomic<int> votes;
    shim::block.wait();  // until all threads have read the previous result
    if (self == 0) votes = 0;
    shim::block.wait();
    if (vote) votes = 1;
    shim::block.wait();
    return votes;
}

template <typename V>
V __shfl_xor_sync(unsigned, V value, int step) {
    return shim::exchange(value, [&](auto of) { return of(self ^ step); });
}

template <typename V>
V __shfl_up_sync(unsigned, V value, int step) {
    unsigned lane = self % 32;
    return shim::exchange(value, [&](auto of) { return lane < unsigned(step) ? value : of(lane - step); });
}

template <typename V>
V __shfl_sync(unsigned, V value, int lane) {
    return shim::exchange(value, [&](auto of) { return of(lane); });
}

// mma.sync.m16n8k8 with TF32 operands; attention_tf32.cuh describes which lane holds which elements.
inline void mma_tf32(float* c, const unsigned* a, const unsigned* b) {
    struct Operands {
        float a[4], b[2];
    } mine;
    std::memcpy(mine.a, a, sizeof mine.a);
    std::memcpy(mine.b, b, sizeof mine.b);
    unsigned g = self % 32 / 4, t = self % 4;
    shim::exchange(mine, [&](auto of) {
        for (unsigned k = 0; k < 4; k++) {
            Operands row = of(4 * g + k), left = of(8 * t + k), right = of(8 * t + 4 + k);
            for (int half = 0; half < 2; half++) {  // columns k and k + 4 of a
                c[0] += row.a[2 * half] * left.b[half];
                c[1] += row.a[2 * half] * right.b[half];
                c[2] += row.a[2 * half + 1] * left.b[half];
                c[3] += row.a[2 * half + 1] * right.b[half];
            }
        }
        return 0;
    });
}

// mma.sync.m16n8k16 with bfloat16 operands, in pairs; attention_bf16.cuh describes which lane holds
// which elements.
inline void mma_bf16(float* c, const unsigned* a, const unsigned* b) {
    struct Operands {
        unsigned a[4], b[2];
    } mine;
    std::memcpy(mine.a, a, sizeof mine.a);
    std::memcpy(mine.b, b, sizeof mine.b);
    unsigned g = self % 32 / 4, t = self % 4;
    auto product = [](unsigned x, unsigned y) {  // of two pairs
        auto high = [](unsigned bits) { return std::bit_cast<float>(bits & 0xffff0000u); };
        return high(x << 16) * high(y << 16) + high(x) * high(y);
    };
    shim::exchange(mine, [&](auto of) {
        for (unsigned k = 0; k < 4; k++) {
            Operands row = of(4 * g + k), left = of(8 * t + k), right = of(8 * t + 4 + k);
            for (int half = 0; half < 2; half++) {  // columns from 2k and from 2k + 8 of a
                c[0] += product(row.a[2 * half], left.b[half]);
                c[1] += product(row.a[2 * half], right.b[half]);
                c[2] += product(row.a[2 * half + 1], left.b[half]);
                c[3] += product(row.a[2 * half + 1], right.b[half]);
            }
        }
        return 0;
    });
}

// ldmatrix.m8n8.x4.trans: four matrices (8, 8) of 16-bit elements, transposed. Lane l passes the
// address of row l % 8 of matrix l / 8, a multiple of 16, and gets two elements of each matrix.
inline void ldmatrix_transposed(const unsigned* row, unsigned* four) {
    unsigned g = self % 32 / 4, t = self % 4;
    if (reinterpret_cast<uintptr_t>(row) % 16) std::abort();
    shim::exchange(row, [&](auto of) {
        auto element = [&](unsigned lane) {
            unsigned short value;
            std::memcpy(&value, reinterpret_cast<const unsigned short*>(of(lane)) + g, sizeof value);
            return unsigned(value);
        };
        for (unsigned m = 0; m < 4; m++)
            four[m] = element(8 * m + 2 * t) | element(8 * m + 2 * t + 1) << 16;
        return 0;
    });
}

inline unsigned __ballot_sync(unsigned, bool vote) {
    return shim::exchange(vote, [&](auto of) {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < 32; lane++) votes |= unsigned(of(lane)) << lane;
        return votes;
    });
}

inline float __fdividef(float x, float y) { return x / y; }

inline int __popc(unsigned bits) { return std::popcount(bits); }

inline int __clz(unsigned bits) { return std::countl_zero(bits); }

inline int __ffs(unsigned bits) { return __builtin_ffs(int(bits)); }

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }

inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }

inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }

inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
