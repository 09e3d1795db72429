// Whole batches: sequences sorted and cut into parts, the parts run by threads, their sums added up in order.

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "buffers.h"
#include "crf/crf.h"
#include "threads/pool.h"

namespace gatework::crf {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kMostParts = 64;
constexpr std::int64_t kPartTokens = 128;         // fewer, and adding up the parts would cost more than they save
constexpr std::int64_t kPartBytes = 1 << 26;      // of all parts' counts together
constexpr std::int64_t kThreadWork = 1 << 20;     // tokens x K^2 below which threads do not pay

float* floats(Buffer& buffer, std::size_t count) {
    buffer.reserve(count * sizeof(float));
    return reinterpret_cast<float*>(buffer.bytes());
}

// Sequences by falling length, and where each part of about equally many tokens begins, in whole groups.
struct Plan {
    std::vector<std::int64_t> order, first;
    std::int64_t tokens = 0, longest = 0;
    int parts = 0;

    Plan(const Batch& batch, std::int64_t together, std::int64_t most_parts) : order((std::size_t)batch.sequences) {
        for (std::int64_t b = 0; b < batch.sequences; ++b) {
            tokens += batch.lengths[b];
            longest = std::max(longest, batch.lengths[b]);
        }
        // A counting sort: at[n] is where the sequences of length longest - n begin.
        std::vector<std::int64_t> at((std::size_t)longest + 2);
        for (std::int64_t b = 0; b < batch.sequences; ++b) ++at[(std::size_t)(longest - batch.lengths[b]) + 1];
        for (std::size_t n = 1; n < at.size(); ++n) at[n] += at[n - 1];
        for (std::int64_t b = 0; b < batch.sequences; ++b)
            order[(std::size_t)at[(std::size_t)(longest - batch.lengths[b])]++] = b;
        const std::int64_t wanted = std::clamp(tokens / kPartTokens, std::int64_t{1}, std::max(most_parts, std::int64_t{1}));
        std::int64_t seen = 0;
        for (std::int64_t place = 0; place < batch.sequences; ++place) {
            // The next part begins once this one has its share.
            if (place % together == 0 && seen * wanted >= tokens * (std::int64_t)first.size()) first.push_back(place);
            seen += batch.lengths[order[(std::size_t)place]];
        }
        parts = (int)first.size();
        first.push_back(batch.sequences);
    }
    std::int64_t begin(int part) const { return first[(std::size_t)part]; }
    std::int64_t end(int part) const { return first[(std::size_t)part + 1]; }
};

// Runs body(part) for every part. Memory that runs out in a part is reported here.
template <class Body>
void run_parts(int parts, std::int64_t work, Body& body) {
    struct Call {
        Body& body;
        std::atomic<bool> failed{false};
    } call{body};
    const auto one = [](void* context, int part) {
        Call& c = *static_cast<Call*>(context);
        try {
            c.body(part);
        } catch (const std::bad_alloc&) {
            c.failed = true;
        }
    };
    if (work < kThreadWork)
        for (int part = 0; part < parts; ++part) one(&call, part);
    else
        threads::run(parts, one, &call);
    if (call.failed) throw std::bad_alloc();
}

// Zeros in the rows of `width` past a sequence's length.
template <class T>
void clear_padding(const Batch& batch, std::int64_t b, T* rows, Rows places, std::int64_t width) {
    std::int64_t t = batch.lengths[b];
    if (t + 1 < batch.time && places.time[t + 1] - places.time[t] == width) {
        T* first = rows + places.at(t, b);
        std::fill(first, first + (batch.time - t) * width, T{});
        return;
    }
    for (; t < batch.time; ++t) {
        T* row = rows + places.at(t, b);
        std::fill(row, row + width, T{});
    }
}

}  // namespace

void forward_backward(
    const Kernels& kernels, const Model& model, Batch batch, float* nll, const Gradients* gradients,
    const PathShares* path) {
    const std::int64_t tags = model.tags, columns = kernels.padded(tags), rows = (tags + 3) / 4 * 4;
    const std::int64_t size = gradients ? rows * columns : 0;  // of one part's counts
    const std::int64_t room = gradients ? std::max<std::int64_t>(kPartBytes / (8 * size), 1) : kMostParts;
    const Plan plan(batch, kernels.together, std::min(kMostParts, room));
    batch.order = plan.order.data();
    Buffer weights, sums;
    Prepared prepared{model, floats(weights, kernels.prepared_floats(tags)), 0.0f, 0.0f, 0.0f, false};
    kernels.prepare(prepared);
    sums.reserve(sizeof(double) * (std::size_t)(size * plan.parts));
    double* counts = reinterpret_cast<double*>(sums.bytes());

    auto body = [&](int part) {
        double* mine = counts + part * size;
        std::fill(mine, mine + size, 0.0);
        const std::int64_t begin = plan.begin(part), end = plan.end(part);
        const std::int64_t longest = begin < end ? batch.lengths[batch.order[begin]] : 0;
        const std::unique_ptr<bool[]> inexact(new bool[(std::size_t)(end - begin)]);
        Buffer scratch;
        float* room = floats(scratch, kernels.scratch_floats(tags, longest));
        for (std::int64_t first = begin; first < end; first += kernels.together) {
            const int count = (int)std::min<std::int64_t>(kernels.together, end - first);
            kernels.forward_backward(
                prepared, batch, first, count, nll, gradients, path, room, mine, inexact.get() + (first - begin));
        }
        if (gradients) kernels.weigh(prepared, mine);
        std::unique_ptr<double[]> log_scratch;
        for (std::int64_t place = begin; place < end; ++place) {
            const std::int64_t b = batch.order[place], length = batch.lengths[b];
            if (inexact[(std::size_t)(place - begin)]) {
                // The first is the longest.
                if (!log_scratch) log_scratch.reset(new double[(std::size_t)((length + 3) * tags)]);
                exact(model, batch, b, nll + b, gradients, path, mine, columns, log_scratch.get());
            }
            if (path) {
                clear_padding(batch, b, path->p, path->rows, 1);
                clear_padding(batch, b, path->step, path->rows, 1);
            }
            if (!gradients) continue;
            clear_padding(batch, b, gradients->d_emissions, gradients->rows, tags);
            if (!batch.gold) continue;
            const double weight = gradients->weights ? (double)gradients->weights[b] : 1.0;
            for (std::int64_t t = 1; t < length; ++t)
                mine[batch.gold[batch.gold_rows.at(t - 1, b)] * columns + batch.gold[batch.gold_rows.at(t, b)]] -= weight;
        }
    };
    run_parts(plan.parts, plan.tokens * tags * tags, body);
    if (!gradients) return;

    for (std::int64_t i = 0; i < tags; ++i)
        for (std::int64_t j = 0; j < tags; ++j) {
            double sum = 0.0;
            for (int part = 0; part < plan.parts; ++part) sum += counts[(std::size_t)(part * size + i * columns + j)];
            gradients->d_transitions[i * tags + j] = model.transitions[i * tags + j] == kNever ? 0.0f : (float)sum;
        }
    std::vector<double> ends((std::size_t)(2 * tags));
    double *start = ends.data(), *end = start + tags;
    for (std::int64_t b = 0; b < batch.sequences; ++b) {
        if (batch.lengths[b] == 0) continue;
        const float* first = gradients->d_emissions + gradients->rows.at(0, b);
        const float* last = gradients->d_emissions + gradients->rows.at(batch.lengths[b] - 1, b);
        for (std::int64_t k = 0; k < tags; ++k) start[k] += (double)first[k], end[k] += (double)last[k];
    }
    for (std::int64_t k = 0; k < tags; ++k) {
        gradients->d_start[k] = model.start[k] == kNever ? 0.0f : (float)start[k];
        gradients->d_end[k] = model.end[k] == kNever ? 0.0f : (float)end[k];
    }
}

void viterbi(const Kernels& kernels, const Model& model, Batch batch, std::int64_t* tags, Rows tag_rows, float* scores) {
    const Plan plan(batch, kernels.together, kMostParts);
    batch.order = plan.order.data();
    Buffer weights;
    Prepared prepared{model, floats(weights, kernels.prepared_floats(model.tags)), 0.0f, 0.0f, 0.0f, false};
    kernels.prepare_viterbi(prepared);
    auto body = [&](int part) {
        const std::int64_t begin = plan.begin(part), end = plan.end(part);
        if (begin == end) return;
        Buffer scratch;
        float* room = floats(scratch, kernels.scratch_floats(model.tags, batch.lengths[batch.order[begin]]));
        for (std::int64_t first = begin; first < end; first += kernels.together)
            kernels.viterbi(
                prepared, batch, first, (int)std::min<std::int64_t>(kernels.together, end - first), tags, tag_rows,
                scores, room);
        for (std::int64_t place = begin; place < end; ++place)
            clear_padding(batch, batch.order[place], tags, tag_rows, 1);
    };
    run_parts(plan.parts, plan.tokens * model.tags * model.tags, body);
}

void n_best(
    const Model& model, Batch batch, std::int64_t best, std::int64_t* tags, Rows tag_rows, std::int64_t path_stride,
    float* scores) {
    const Plan plan(batch, 1, kMostParts);
    auto body = [&](int part) {
        for (std::int64_t place = plan.begin(part); place < plan.end(part); ++place) {
            const std::int64_t b = plan.order[(std::size_t)place];
            n_best_of(model, batch, b, best, tags, tag_rows, path_stride, scores);
            for (std::int64_t n = 0; n < best; ++n) clear_padding(batch, b, tags + n * path_stride, tag_rows, 1);
        }
    };
    run_parts(plan.parts, plan.tokens * model.tags * model.tags, body);
}

}  // namespace gatework::crf
