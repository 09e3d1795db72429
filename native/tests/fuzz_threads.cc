// The pool: every part once, from several threads at once, nested, while its size changes.

#include <chrono>
#include <thread>

#include "tests/fuzz.h"
#include "threads/pool.h"

namespace gatework::fuzz {
namespace {

struct Visits {
    std::vector<int> counts;
    int inner;
};

void visit(void* context, int part) {
    Visits* all = static_cast<Visits*>(context);
    struct Place {
        Visits* all;
        int part;
    } place{all, part};
    gatework::threads::run(all->inner, [](void* to, int index) {
        const Place* at = static_cast<Place*>(to);
        ++at->all->counts[(std::size_t)(at->part * at->all->inner + index)];  // plain: a race would show
    }, &place);
}

void regions(std::int64_t rounds, std::uint64_t seed) {
    Random random(seed);
    for (std::int64_t round = 0; round < rounds; ++round) {
        const int parts = (int)random.below(12);
        Visits all{{}, 1 + (int)random.below(3)};
        all.counts.assign((std::size_t)(parts * all.inner), 0);
        if (random.chance(0.1)) gatework::threads::set_count(1 + (int)random.below(4));
        gatework::threads::run(parts, visit, &all);
        for (const int one : all.counts)
            if (one != 1) fail("threads: a part of %d ran %d times, seed %llu", parts, one, (unsigned long long)seed);
        if (random.chance(0.05)) std::this_thread::sleep_for(std::chrono::microseconds(random.below(200)));
    }
}

}  // namespace

void threads(std::int64_t rounds, std::uint64_t seed) {
    const int before = gatework::threads::count();
    regions(10 * rounds, seed);
    std::vector<std::thread> callers;
    for (std::uint64_t k = 1; k < 4; ++k) callers.emplace_back(regions, 10 * rounds, seed + 1000 * k);
    for (std::thread& caller : callers) caller.join();
    gatework::threads::set_count(before);
    std::printf("threads: %lld regions\n", (long long)(40 * rounds));
}

}  // namespace gatework::fuzz
