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

void wait_for(std::chrono::nanoseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) {
    }
}

struct Visits {
    std::vector<std::atomic<int>> visits;
    int parts, inner;
    std::chrono::nanoseconds busy;
};

// How often each part of one region ran: 1 each. A part begins a region of `inner` parts itself and takes
// `nanoseconds`; visits are part by part, inner part by inner part.
std::vector<int> visits(int parts, int inner, int nanoseconds) {
    Visits all{std::vector<std::atomic<int>>((std::size_t)(parts * inner)), 0, inner, std::chrono::nanoseconds(nanoseconds)};
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
            wait_for(one->busy);
        };
        run(parts, outer, &all);
    }
    std::vector<int> counts;
    for (const auto& visit : all.visits) counts.push_back(visit.load());
    return counts;
}

struct Halves {
    std::vector<float> values;
    std::chrono::nanoseconds busy;
    volatile float smallest;
};

// Half the smallest normal float, computed in each part: 0 where denormals are flushed.
std::vector<float> denormals(int parts, int nanoseconds) {
    Halves halves{std::vector<float>((std::size_t)parts), std::chrono::nanoseconds(nanoseconds), 0x1p-126f};
    nb::gil_scoped_release release;
    run(parts, [](void* context, int part) {
        Halves* all = static_cast<Halves*>(context);
        all->values[(std::size_t)part] = all->smallest * 0.5f;
        wait_for(all->busy);
    }, &halves);
    return halves.values;
}

// Seconds that `rounds` regions of `parts` parts took, each part `nanoseconds` of work.
double seconds(int rounds, int parts, int nanoseconds) {
    nb::gil_scoped_release release;
    std::chrono::nanoseconds work(nanoseconds);
    const auto start = std::chrono::steady_clock::now();
    for (int round = 0; round < rounds; ++round)
        run(parts, [](void* context, int) {
            const auto time = *static_cast<std::chrono::nanoseconds*>(context);
            if (time.count() > 0) wait_for(time);
        }, &work);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void bind(nb::module_& parent) {
    nb::module_ module = parent.def_submodule("threads", "Threads of the kernels. Use gatework.set_threads.");
    module.attr("most") = kMost;
    module.def("count", &count);
    module.def("set_count", &set_count, "n"_a);
    module.def("visits", &visits, "parts"_a, "inner"_a = 1, "nanoseconds"_a = 0);
    module.def("denormals", &denormals, "parts"_a, "nanoseconds"_a = 0);
    module.def("seconds", &seconds, "rounds"_a, "parts"_a, "nanoseconds"_a = 0);
}

}  // namespace gatework::threads
