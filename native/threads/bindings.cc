// The Python face of the pool, and what its tests and benchmarks call.

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <chrono>
#include <vector>

#include "threads/pool.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gatework::threads {
namespace {

thread_local volatile int last_turn;

// Keeps the processor busy; a turn takes about a nanosecond. Not by the clock, which runs on while the thread does not.
void turn(int turns) {
    for (int i = 0; i < turns; ++i) last_turn = i;
}

struct Visits {
    std::vector<std::atomic<int>> visits;
    int inner, turns;
};

// How often each part of one region ran: 1 each. A part begins a region of `inner` parts itself and takes
// `turns`; visits are part by part, inner part by inner part.
std::vector<int> visits(int parts, int inner, int turns) {
    Visits all{std::vector<std::atomic<int>>((std::size_t)(parts * inner)), inner, turns};
    {
        nb::gil_scoped_release release;
        const auto outer = [](void* context, int part) {
            Visits* one = static_cast<Visits*>(context);
            struct Place {
                Visits* all;
                int part;
            } place{one, part};
            run(one->inner, [](void* to, int index) {
                const Place* at = static_cast<Place*>(to);
                at->all->visits[(std::size_t)(at->part * at->all->inner + index)].fetch_add(1);
            }, &place);
            turn(one->turns);
        };
        run(parts, outer, &all);
    }
    std::vector<int> counts;
    for (const auto& visit : all.visits) counts.push_back(visit.load());
    return counts;
}

struct Halves {
    std::vector<float> values;
    int turns;
    volatile float smallest;
};

// Half the smallest normal float, computed in each part: 0 where denormals are flushed.
std::vector<float> denormals(int parts, int turns) {
    Halves halves{std::vector<float>((std::size_t)parts), turns, 0x1p-126f};
    nb::gil_scoped_release release;
    run(parts, [](void* context, int part) {
        Halves* all = static_cast<Halves*>(context);
        all->values[(std::size_t)part] = all->smallest * 0.5f;
        turn(all->turns);
    }, &halves);
    return halves.values;
}

// Seconds that `rounds` regions of `parts` parts took, each part `turns` of work.
double seconds(int rounds, int parts, int turns) {
    nb::gil_scoped_release release;
    const auto start = std::chrono::steady_clock::now();
    for (int round = 0; round < rounds; ++round)
        run(parts, [](void* context, int) { turn(*static_cast<int*>(context)); }, &turns);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void bind(nb::module_& parent) {
    nb::module_ module = parent.def_submodule("threads", "Threads of the kernels. Use gatework.set_threads.");
    module.attr("most") = kMost;
    module.def("count", &count);
    module.def("set_count", &set_count, "n"_a);
    module.def("visits", &visits, "parts"_a, "inner"_a = 1, "turns"_a = 0);
    module.def("denormals", &denormals, "parts"_a, "turns"_a = 0);
    module.def("seconds", &seconds, "rounds"_a, "parts"_a, "turns"_a = 0);
}

}  // namespace gatework::threads
