#include "decode/decode.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <new>

#include "decode/head.h"
#include "decode/rows.h"
#include "threads/pool.h"

namespace gatework::decode {

namespace {

constexpr std::int64_t kRows = 64;  // beginnings that a thread has at once, or as many as one source needs
constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr double kLeast = 1e-10;  // see kernels/decoding.py
constexpr std::size_t kNodes = 1024;
constexpr std::int64_t kMostBanks = 16;

// A token of a kept beginning, and the one before it.
struct Node {
    std::int32_t parent, token;
};

struct Beginning {
    double log_p = 0.0;
    std::int32_t node = -1;
    std::int64_t length = 0;  // tokens
    std::int64_t row = -1;    // of the step that made it
    std::int32_t state = 0;
};

struct Candidate {
    double score;
    float log_p;
    std::int64_t row;
    std::int32_t token, state;

    bool before(const Candidate& other) const {
        if (score != other.score) return score > other.score;
        return row != other.row ? row < other.row : token < other.token;
    }
};

// One search, or one draw.
struct Job {
    const Source* source;
    std::shared_ptr<const Heads> heads;  // null where all tokens may come
    std::int64_t place;   // of the source
    std::uint64_t seed;
    std::vector<Node> nodes;
    std::vector<float> looked;  // (nodes, S)
    std::size_t most = kNodes;  // nodes from which on those that lead nowhere are looked for
    std::vector<Beginning> live;
    std::vector<Found> ended;
};

// Which tokens a beginning may have next; used again and again by one thread.
struct Choice {
    bool some = false;                  // only `tokens`, else all but padding
    std::vector<std::int32_t> tokens, states, ids;
};

class Worker {
public:
    Worker(const Network& network, const Search& search, std::int64_t most, std::int64_t places)
        : network_(network), search_(search), made_(network.rows(most, places)), rows_(*made_) {}

    // One step of all jobs; those that are done have no beginnings any more.
    void step(std::vector<std::unique_ptr<Job>>& jobs) {
        std::vector<Move> moves;
        for (const auto& job : jobs)
            for (const Beginning& one : job->live)
                moves.push_back({one.row, job->source, one.node < 0 ? kEnd : job->nodes[(std::size_t)one.node].token,
                                 job->heads ? job->heads->data() : nullptr});
        rows_.step(moves);
        std::int64_t row = 0;
        for (const auto& job : jobs) {
            const auto count = (std::int64_t)job->live.size();
            if (search_.draws) draw(*job, row);
            else search(*job, row);
            row += count;
            if (job->live.empty() || job->live[0].length >= job->source->limit || settled(*job)) finish(*job);
        }
    }

private:
    // Fills `choice_` for a beginning; what may not come of all tokens becomes -inf among its logits.
    void allow(const Job& job, const Beginning& one, float* logits) {
        const Source& source = *job.source;
        choice_.some = true;
        choice_.tokens.clear();
        choice_.states.clear();
        if (one.length < (std::int64_t)source.prefix.size()) {
            choice_.tokens.push_back(source.prefix[(std::size_t)one.length]);
            choice_.states.push_back(one.state);
            return;
        }
        for (const std::int32_t token : search_.never) logits[token] = kNever;
        if (one.length < search_.min_tokens) logits[kEnd] = kNever;
        if (search_.automaton) {
            follow(one, source, logits);
        } else {
            choice_.some = false;
        }
        if (search_.no_repeat > 0) ban(job, one, logits);
    }

    // Tokens after which the automaton can still accept within the limit.
    void follow(const Beginning& one, const Source& source, const float* logits) {
        generate::Automaton& automaton = *search_.automaton;
        const auto row = automaton.row(one.state);
        const std::int64_t fewest = search_.min_tokens - one.length - 1, most = source.limit - one.length - 1;
        bool ends = automaton.accepts(one.state) && logits[kEnd] > kNever;
        const auto end = [&] {
            choice_.tokens.push_back(kEnd);
            choice_.states.push_back(one.state);
            ends = false;
        };
        for (std::size_t k = 0; k < row->tokens.size(); ++k) {
            const std::int32_t token = row->tokens[k];
            if (ends && token > kEnd) end();
            if (logits[token] > kNever && automaton.within(row->next[k], fewest, most)) {
                choice_.tokens.push_back(token);
                choice_.states.push_back(row->next[k]);
            }
        }
        if (ends) end();
    }

    // Tokens that would make n-grams come again are left out, unless nothing would be left.
    void ban(const Job& job, const Beginning& one, float* logits) {
        std::vector<std::int32_t>& ids = choice_.ids;
        read(job, one.node, ids);
        const auto length = (std::int64_t)ids.size(), before = search_.no_repeat - 1;
        if (length < search_.no_repeat) return;
        std::vector<std::int32_t> banned;
        for (std::int64_t at = 0; at + before < length; ++at)
            if (std::equal(ids.begin() + at, ids.begin() + at + before, ids.end() - before)) banned.push_back(ids[(std::size_t)(at + before)]);
        std::sort(banned.begin(), banned.end());
        banned.erase(std::unique(banned.begin(), banned.end()), banned.end());
        const auto held = [&](std::int32_t token) { return std::binary_search(banned.begin(), banned.end(), token); };
        if (choice_.some) {
            if (std::all_of(choice_.tokens.begin(), choice_.tokens.end(), held)) return;
            for (const std::int32_t token : banned) logits[token] = kNever;
            return;
        }
        std::int64_t left = 0;
        for (std::int32_t v = 1; v < network_.outputs && left == 0; ++v) left += logits[v] > kNever && !held(v);
        if (left > 0)
            for (const std::int32_t token : banned) logits[token] = kNever;
    }

    static void read(const Job& job, std::int32_t node, std::vector<std::int32_t>& ids) {
        ids.clear();
        for (; node >= 0; node = job.nodes[(std::size_t)node].parent) ids.push_back(job.nodes[(std::size_t)node].token);
        std::reverse(ids.begin(), ids.end());
    }

    void search(Job& job, std::int64_t first) {
        const std::int64_t wanted = 2 * search_.beams;
        found_.resize((std::size_t)search_.banks(job.source->state));
        for (auto& bank : found_) bank.clear();
        for (std::size_t k = 0; k < job.live.size(); ++k) {
            const Beginning& one = job.live[k];
            const std::int64_t row = first + (std::int64_t)k;
            float* logits = rows_.logits(row);
            allow(job, one, logits);
            best(*job.source, one, logits, rows_.total(row), row, wanted);
        }
        const auto ahead = [](const Candidate& a, const Candidate& b) { return a.before(b); };
        std::vector<Beginning> longer;
        for (auto& bank : found_) {
            const auto kept = std::min<std::int64_t>(wanted, (std::int64_t)bank.size());
            std::partial_sort(bank.begin(), bank.begin() + kept, bank.end(), ahead);
            const std::size_t before_these = longer.size();
            for (std::int64_t rank = 0; rank < kept && (std::int64_t)(longer.size() - before_these) < search_.beams; ++rank) {
                const Candidate& one = bank[(std::size_t)rank];
                const Beginning& before = job.live[(std::size_t)(one.row - first)];
                if (one.token != kEnd) longer.push_back(extended(job, before, one));
                else if (rank < search_.beams) end(job, before, one);
            }
        }
        job.live.swap(longer);
        if (job.nodes.size() > job.most) sweep(job);
    }

    // Forgets tokens that no beginning goes on from, so that memory grows with the targets and not with what was tried.
    void sweep(Job& job) const {
        std::vector<std::int32_t> number(job.nodes.size(), -1);
        for (const Beginning& one : job.live)
            for (std::int32_t node = one.node; node >= 0 && number[(std::size_t)node] < 0; node = job.nodes[(std::size_t)node].parent)
                number[(std::size_t)node] = 0;
        const std::size_t S = job.looked.size() / job.nodes.size();
        std::size_t kept = 0;
        for (std::size_t node = 0; node < number.size(); ++node) {
            if (number[node] < 0) continue;
            const std::int32_t parent = job.nodes[node].parent;  // before its children, so numbered already
            job.nodes[kept] = {parent < 0 ? -1 : number[(std::size_t)parent], job.nodes[node].token};
            if (S > 0) std::copy_n(job.looked.begin() + (std::ptrdiff_t)(node * S), S, job.looked.begin() + (std::ptrdiff_t)(kept * S));
            number[node] = (std::int32_t)kept++;
        }
        job.nodes.resize(kept);
        job.looked.resize(kept * S);
        for (Beginning& one : job.live)
            if (one.node >= 0) one.node = number[(std::size_t)one.node];
        job.most = std::max(kNodes, 2 * kept);
    }

    // The `wanted` best ways on of a beginning join each bank of `found_`.
    void best(const Source& source, const Beginning& one, const float* logits, float total, std::int64_t row, std::int64_t wanted) {
        const auto ahead = [](const Candidate& a, const Candidate& b) { return a.before(b); };  // the worst on top of the heap
        heaps_.resize(found_.size());
        for (std::size_t k = 0; k < found_.size(); ++k) heaps_[k] = {(std::ptrdiff_t)found_[k].size(), kNever, false};
        const auto offer = [&](std::size_t bank, std::int32_t token, std::int32_t state) {
            auto& found = found_[bank];
            Heap& heap = heaps_[bank];
            const float log_p = logits[token] - total;
            found.push_back({one.log_p + (double)log_p, log_p, row, token, state});
            std::push_heap(found.begin() + heap.begin, found.end(), ahead);
            if ((std::int64_t)found.size() - heap.begin > wanted) {
                std::pop_heap(found.begin() + heap.begin, found.end(), ahead);
                found.pop_back();
            }
            heap.full = (std::int64_t)found.size() - heap.begin == wanted;
            if (heap.full) heap.bar = logits[found[(std::size_t)heap.begin].token];
        };
        if (choice_.some) {
            for (std::size_t k = 0; k < choice_.tokens.size(); ++k) {
                const std::int32_t token = choice_.tokens[k], state = choice_.states[k];
                const float own = logits[token];
                if (own == kNever) continue;
                const std::size_t bank = found_.size() == 1 || token == kEnd ? 0 : (std::size_t)search_.bank(source.state, state);
                if (!heaps_[bank].full || own > heaps_[bank].bar) offer(bank, token, state);
            }
            return;
        }
        float& bar = heaps_[0].bar;
        const auto consider = [&](std::int32_t v) {
            if (logits[v] > bar) offer(0, v, one.state);
        };
        if (!source.only.empty())
            for (const std::int32_t v : source.only) consider(v);
        else
            for (std::int32_t v = 1; v < network_.outputs; ++v) consider(v);
    }

    void draw(Job& job, std::int64_t row) {
        const Beginning one = job.live[0];
        float* logits = rows_.logits(row);
        const float total = rows_.total(row);
        allow(job, one, logits);
        drawn_.clear();
        places_.clear();
        const auto consider = [&](std::int32_t token, std::int32_t state) {
            if (logits[token] == kNever) return;
            drawn_.push_back(token);
            places_.push_back(state);
        };
        if (choice_.some)
            for (std::size_t k = 0; k < choice_.tokens.size(); ++k) consider(choice_.tokens[k], choice_.states[k]);
        else
            for (std::int32_t v = 1; v < network_.outputs; ++v) consider(v, one.state);
        job.live.clear();
        if (drawn_.empty()) return;
        read(job, one.node, choice_.ids);
        const generate::Choice chosen =
            sampler_.choose(logits, total, drawn_.data(), (std::int64_t)drawn_.size(), choice_.ids.data(), (std::int64_t)choice_.ids.size(),
                            search_.settings, generate::uniform(job.seed, (std::uint64_t)one.length));
        const Candidate made{one.log_p + (double)chosen.log_p, chosen.log_p, row, chosen.token, places_[(std::size_t)chosen.place]};
        if (chosen.token == kEnd) end(job, one, made);
        else job.live.push_back(extended(job, one, made));
    }

    Beginning extended(Job& job, const Beginning& before, const Candidate& one) {
        if (network_.attention != Attention::none) {
            const float* looked = rows_.looked(one.row);
            job.looked.insert(job.looked.end(), looked, looked + job.source->places);
        }
        job.nodes.push_back({before.node, one.token});
        return {one.score, (std::int32_t)job.nodes.size() - 1, before.length + 1, one.row, one.state};
    }

    void end(Job& job, const Beginning& before, const Candidate& one) {
        const float* looked = network_.attention != Attention::none ? rows_.looked(one.row) : nullptr;
        keep(job, before, one.score, looked, true);
    }

    // A target joins those that were found; `looked` of its end.
    void keep(Job& job, const Beginning& last, double log_p, const float* looked, bool ended) {
        Found found;
        read(job, last.node, found.ids);
        found.log_p = log_p;
        found.ended = ended;
        const auto S = (std::size_t)job.source->places;
        const std::int64_t tokens = last.length + (ended ? 1 : 0);
        if (network_.attention != Attention::none) {
            found.attention.resize((std::size_t)tokens * S);
            std::int64_t t = last.length;
            for (std::int32_t node = last.node; node >= 0; node = job.nodes[(std::size_t)node].parent)
                std::copy_n(job.looked.data() + (std::size_t)node * S, S, found.attention.data() + (std::size_t)--t * S);
            if (looked) std::copy_n(looked, S, found.attention.data() + (std::size_t)last.length * S);
        }
        found.score = log_p / search_.penalty(tokens);
        if (search_.coverage_penalty != 0.0 && network_.attention != Attention::none) {
            double covered = 0.0;
            for (std::size_t s = 0; s < S; ++s) {
                double seen = 0.0;
                for (std::int64_t t = 0; t < tokens; ++t) seen += (double)found.attention[(std::size_t)t * S + s];
                covered += std::log(std::max(std::min(seen, 1.0), kLeast));
            }
            found.score += search_.coverage_penalty * covered;
        }
        job.ended.push_back(std::move(found));
    }

    // Whether no beginning can change the answer.
    bool settled(const Job& job) const {
        if (search_.draws) return false;
        const bool enough = (std::int64_t)job.ended.size() >= search_.beams;
        if (enough && !search_.grid) return true;
        if ((std::int64_t)job.ended.size() < search_.count) return false;
        std::vector<double> scores;
        for (const Found& one : job.ended) scores.push_back(one.score);
        std::nth_element(scores.begin(), scores.begin() + (search_.count - 1), scores.end(), std::greater<double>());
        double most = -std::numeric_limits<double>::infinity();
        for (const Beginning& one : job.live)
            most = std::max(most, one.log_p / search_.penalty(search_.grid && enough ? one.length : job.source->limit));
        return most <= scores[(std::size_t)(search_.count - 1)];
    }

    // What is kept is cut where it is needed.
    void finish(Job& job) {
        if ((std::int64_t)job.ended.size() < (search_.draws ? 1 : search_.count))
            for (const Beginning& one : job.live) keep(job, one, one.log_p, nullptr, false);
        job.live.clear();
    }

    const Network& network_;
    const Search& search_;
    std::unique_ptr<Rows> made_;
    Rows& rows_;
    generate::Sampler sampler_;
    Choice choice_;
    std::vector<std::vector<Candidate>> found_;  // of each bank; without a grid there is one
    struct Heap {
        std::ptrdiff_t begin;  // in the bank
        float bar;             // logits have to be above it once there are enough
        bool full;
    };
    std::vector<Heap> heaps_;
    std::vector<std::int32_t> drawn_, places_;
};

// The rows of beginnings that go on are numbered by the step that made them; a job that begins has none.
struct Share {
    const Network* network;
    const std::vector<Source>* sources;
    const Search* search;
    std::vector<std::vector<std::unique_ptr<Job>>>* done;  // of each part
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> failed{false};  // out of memory
    std::int64_t total, at_once, places;
    std::int64_t each;  // most rows of a job
};

std::shared_ptr<const Heads> shortened(const Network& network, const Source& source) {
    auto made = std::make_shared<Heads>();
    network.shorten(source.only, *made);
    return made;
}

void work(Share& share, int part) {
    const Search& search = *share.search;
    const std::int64_t each = search.draws ? search.count : 1;
    Worker worker(*share.network, search, share.at_once * share.each, share.places);
    std::vector<std::unique_ptr<Job>> jobs;
    std::shared_ptr<const Heads> latest;  // of the source that was last begun: its draws follow one another
    std::int64_t place = -1;
    for (;;) {
        while ((std::int64_t)jobs.size() < share.at_once) {
            const std::int64_t number = share.next.fetch_add(1, std::memory_order_relaxed);
            if (number >= share.total) break;
            auto job = std::make_unique<Job>();
            job->place = number / each;
            job->source = &(*share.sources)[(std::size_t)job->place];
            job->seed = generate::row_seed(job->source->seed, (std::uint64_t)(number % each));
            if (!job->source->only.empty()) {
                if (place != job->place) latest = shortened(*share.network, *job->source);
                place = job->place;
                job->heads = latest;
            }
            Beginning first;
            first.state = job->source->state;
            job->live.push_back(first);
            jobs.push_back(std::move(job));
        }
        if (jobs.empty()) return;
        worker.step(jobs);
        std::size_t going = 0;
        for (auto& job : jobs) {
            if (job->live.empty()) (*share.done)[(std::size_t)part].push_back(std::move(job));
            else jobs[going++] = std::move(job);
        }
        jobs.resize(going);
    }
}

void run(void* context, int part) {
    Share& share = *static_cast<Share*>(context);
    try {
        work(share, part);
    } catch (const std::bad_alloc&) {
        share.failed = true;
    }
}

}  // namespace

double Search::penalty(std::int64_t tokens) const {
    return std::pow((double)std::max<std::int64_t>(tokens, 1), length_penalty) * std::pow((5.0 + (double)tokens) / 6.0, gnmt);
}

std::int64_t Search::banks(std::int32_t start) const {
    return grid ? std::min<std::int64_t>((std::int64_t)automaton->distance(start) + 2, kMostBanks) : 1;
}

std::int64_t Search::bank(std::int32_t start, std::int32_t state) const {
    const std::int64_t farthest = (std::int64_t)automaton->distance(start) + 1;
    return std::min<std::int64_t>(automaton->distance(state), farthest) * (banks(start) - 1) / farthest;
}

std::vector<std::vector<Found>> decode(const Network& network, const std::vector<Source>& sources, const Search& search) {
    std::vector<std::vector<Found>> found(sources.size());
    if (sources.empty()) return found;
    Share share;
    share.network = &network;
    share.sources = &sources;
    share.search = &search;
    share.total = (std::int64_t)sources.size() * (search.draws ? search.count : 1);
    share.places = 0;
    for (const Source& one : sources) share.places = std::max(share.places, one.places);
    share.each = 1;
    for (const Source& one : sources)
        if (!search.draws) share.each = std::max(share.each, search.beams * search.banks(one.state));
    const std::int64_t most = std::max<std::int64_t>(1, kRows / share.each);
    const int parts = (int)std::min<std::int64_t>(threads::count(), share.total);
    share.at_once = std::min(most, (share.total + parts - 1) / parts);
    std::vector<std::vector<std::unique_ptr<Job>>> done((std::size_t)parts);
    share.done = &done;
    if (parts == 1) run(&share, 0);
    else threads::run(parts, run, &share);
    if (share.failed) throw std::bad_alloc();
    for (auto& part : done) {
        for (auto& job : part) {
            auto& own = found[(std::size_t)job->place];
            for (Found& one : job->ended) own.push_back(std::move(one));
        }
    }
    for (auto& own : found) {
        std::stable_sort(own.begin(), own.end(), [](const Found& a, const Found& b) {
            return a.ended != b.ended ? a.ended : a.score > b.score;
        });
        if ((std::int64_t)own.size() > search.count) own.resize((std::size_t)search.count);
    }
    return found;
}

}  // namespace gatework::decode
