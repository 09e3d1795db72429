// What the cells do unit by unit, after the products: gates, memory and output of a step, and their way back. Included
// only inside a level's own namespace. Equations: gatework/cells; the way back is their derivative, step by step.
//
// A step's rows follow one another: slot s of row r begins at z + (r x slots + s) x H'.

struct Step {
    const Packed* p;
    std::int64_t rows;
    std::int64_t units;    // H'
    std::int64_t outputs;  // P'
    float* z;
    const float* c_old;
    float* c;
    const float* h_old;
    float* h;
    float* u;
    float* stats;
    const std::uint8_t* const* keep_h;  // each row's, or null
    const std::uint8_t* const* keep_c;
    // on the way back
    float* dh;  // in: gradient of h; out: the part that goes straight to the h before
    float* dc;
    float* extra;
};

// 1 where a unit keeps its old value, else 0; zero past the `width` units there are.
static GATEWORK_INLINE Vec kept(const std::uint8_t* row, std::int64_t unit, std::int64_t width) {
    float lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = unit + l < width && row[unit + l] ? 1.0f : 0.0f;
    return load(lanes);
}
// Not a mixture: what is kept must not be touched by an infinity in what is not.
static GATEWORK_INLINE Vec choose(Vec keep, Vec old, Vec fresh) {
    float k[kLanes], a[kLanes], b[kLanes];
    store(k, keep);
    store(a, old);
    store(b, fresh);
    for (int l = 0; l < kLanes; ++l) b[l] = k[l] != 0.0f ? a[l] : b[l];
    return load(b);
}

// ------------------------------------------------------------------------------------------------------ LSTM family

template <CellKind Kind>
struct LSTMSlots {
    static constexpr bool kCoupled = Kind == CellKind::lstm_coupled;
    static constexpr bool kPeephole = Kind == CellKind::lstm_peephole;
    static constexpr bool kProjection = Kind == CellKind::lstm_projection;
    static constexpr int kSlots = kCoupled ? 3 : 4;
    static constexpr int i = 0, f = 1, g = kCoupled ? 1 : 2, o = kCoupled ? 2 : 3;
};

// U places at once (see `activations`): the same units of neighbouring rows, or Across, neighbouring units of a row.
template <CellKind Kind, bool Tape, bool Keep, bool Rough, int U, bool Across = false>
static GATEWORK_INLINE void lstm_rows(const Step& s, std::int64_t first_row, std::int64_t first_unit) {
    using S = LSTMSlots<Kind>;
    constexpr int kSigmoids = S::kCoupled ? 1 : 2;
    const std::int64_t H = s.units;
    Vec old[U], memory[U];
    float* z[U];
    const auto row_of = [&](int m) GATEWORK_LAMBDA { return Across ? first_row : first_row + m; };
    const auto unit_of = [&](int m) GATEWORK_LAMBDA { return Across ? first_unit + m * kLanes : first_unit; };
    each<U>([&](auto m) GATEWORK_LAMBDA {
        z[m] = s.z + row_of(m) * S::kSlots * H + unit_of(m);
        old[m] = load(s.c_old + row_of(m) * H + unit_of(m));
    });
    // The output gate of a peephole cell must wait for the memory.
    constexpr int kBefore = kSigmoids + (S::kPeephole ? 0 : 1);
    constexpr int kFirst = (kBefore + 1) * U;
    Vec first[kFirst];
    each<U>([&](auto m) GATEWORK_LAMBDA {
        first[m] = load(z[m] + S::i * H);
        if constexpr (S::kPeephole) first[m] = first[m] + load(s.p->extra[0] + unit_of(m)) * old[m];
        if constexpr (!S::kCoupled) {
            first[U + m] = load(z[m] + S::f * H);
            if constexpr (S::kPeephole) first[U + m] = first[U + m] + load(s.p->extra[1] + unit_of(m)) * old[m];
        }
        if constexpr (!S::kPeephole) first[kSigmoids * U + m] = load(z[m] + S::o * H);
        first[kBefore * U + m] = load(z[m] + S::g * H);
    });
    activations<kBefore * U, Rough>(first);
    Vec o[U], t[U];
    each<U>([&](auto m) GATEWORK_LAMBDA {
        const Vec f = S::kCoupled ? 1.0f - first[m] : first[(S::kCoupled ? 0 : U) + m];
        memory[m] = f * old[m] + first[m] * first[kBefore * U + m];
        t[m] = memory[m];
    });
    if constexpr (S::kPeephole) {
        each<U>([&](auto m) GATEWORK_LAMBDA { o[m] = load(z[m] + S::o * H) + load(s.p->extra[2] + unit_of(m)) * memory[m]; });
        activations<U, Rough>(o);
    } else {
        each<U>([&](auto m) GATEWORK_LAMBDA { o[m] = first[kSigmoids * U + m]; });
    }
    activations<0, Rough>(t);
    each<U>([&](auto m) GATEWORK_LAMBDA {
        const std::int64_t row = row_of(m), u = unit_of(m), place = row * H + u;
        if constexpr (Tape) {
            store(z[m] + S::i * H, first[m]);
            if constexpr (!S::kCoupled) store(z[m] + S::f * H, first[U + m]);
            store(z[m] + S::g * H, first[kBefore * U + m]);
            store(z[m] + S::o * H, o[m]);
        }
        Vec output = o[m] * t[m];
        if constexpr (Keep) {
            if (s.keep_c) memory[m] = choose(kept(s.keep_c[row], u, s.p->units), old[m], memory[m]);
            if (s.keep_h && !S::kProjection) output = choose(kept(s.keep_h[row], u, s.p->units), load(s.h_old + place), output);
        }
        store(s.c + place, memory[m]);
        store((S::kProjection ? s.u : s.h) + place, output);
    });
}

template <CellKind Kind, bool Tape, bool Keep, bool Rough = false>
static void lstm_forward(const Step& s, std::int64_t first_unit, std::int64_t last_unit) {
    std::int64_t u = first_unit;
    if (s.rows == 1)
        for (; u + 2 * kLanes <= last_unit; u += 2 * kLanes) lstm_rows<Kind, Tape, Keep, Rough, 2, true>(s, 0, u);
    for (; u < last_unit; u += kLanes) {
        std::int64_t r = 0;
        for (; r + 2 <= s.rows; r += 2) lstm_rows<Kind, Tape, Keep, Rough, 2>(s, r, u);
        if (r < s.rows) lstm_rows<Kind, Tape, Keep, Rough, 1>(s, r, u);
    }
}

// dh of a cell that projects is that of h before the projection, and nothing goes past the product.
template <CellKind Kind, bool Keep>
static void lstm_backward(const Step& s) {
    using S = LSTMSlots<Kind>;
    const std::int64_t H = s.units;
    for (std::int64_t r = 0; r < s.rows; ++r)
        for (std::int64_t u = 0; u < H; u += kLanes) {
            float* z = s.z + r * S::kSlots * H + u;
            const Vec i = load(z + S::i * H), g = load(z + S::g * H), o = load(z + S::o * H);
            const Vec f = S::kCoupled ? 1.0f - i : load(z + S::f * H);
            const Vec old = load(s.c_old + r * H + u);
            Vec memory, dh = load(s.dh + r * H + u), dc = load(s.dc + r * H + u);
            Vec past_h = constant(0.0f), past_c = constant(0.0f);
            if constexpr (Keep) {
                memory = f * old + i * g;
                if (s.keep_h && !S::kProjection) {
                    const Vec keep = kept(s.keep_h[r], u, s.p->units);
                    past_h = keep * dh;
                    dh = (1.0f - keep) * dh;
                }
                if (s.keep_c) {
                    const Vec keep = kept(s.keep_c[r], u, s.p->units);
                    past_c = keep * dc;
                    dc = (1.0f - keep) * dc;
                }
            } else {
                memory = load(s.c + r * H + u);
            }
            const Vec t = tanh(memory);
            const Vec dzo = dh * t * (o * (1.0f - o));
            dc = dc + dh * o * (1.0f - t * t);
            if constexpr (S::kPeephole) {
                dc = dc + load(s.p->extra[2] + u) * dzo;
                store(s.extra + 2 * H + u, load(s.extra + 2 * H + u) + dzo * memory);
            }
            const Vec dzg = dc * i * (1.0f - g * g);
            const Vec dzi = dc * (S::kCoupled ? g - old : g) * (i * (1.0f - i));
            Vec back = dc * f + past_c;
            store(z + S::o * H, dzo);
            store(z + S::g * H, dzg);
            store(z + S::i * H, dzi);
            if constexpr (!S::kCoupled) {
                const Vec dzf = dc * old * (f * (1.0f - f));
                store(z + S::f * H, dzf);
                if constexpr (S::kPeephole) {
                    back = back + load(s.p->extra[0] + u) * dzi + load(s.p->extra[1] + u) * dzf;
                    store(s.extra + u, load(s.extra + u) + dzi * old);
                    store(s.extra + H + u, load(s.extra + H + u) + dzf * old);
                }
            }
            store(s.dc + r * H + u, back);
            if constexpr (!S::kProjection) store(s.dh + r * H + u, past_h);
        }
}

// ------------------------------------------------------------------------------------------------------------- GRU

// Slots n, r, z, q = R_n h + d_n.
template <bool Tape, bool Keep>
static void gru_forward(const Step& s, std::int64_t first_unit, std::int64_t last_unit) {
    const std::int64_t H = s.units;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = first_unit; u < last_unit; u += kLanes) {
            float* slot = s.z + row * 4 * H + u;
            const Vec r = sigmoid(load(slot + H)), z = sigmoid(load(slot + 2 * H));
            const Vec n = tanh(load(slot) + r * load(slot + 3 * H));
            const Vec before = load(s.h_old + row * H + u);
            const Vec after = (1.0f - z) * n + z * before;
            if constexpr (Tape) {
                store(slot, n);
                store(slot + H, r);
                store(slot + 2 * H, z);
            }
            if constexpr (Keep) {
                store(s.h + row * H + u, choose(kept(s.keep_h[row], u, s.p->units), before, after));
            } else {
                store(s.h + row * H + u, after);
            }
        }
}

template <bool Keep>
static void gru_backward(const Step& s) {
    const std::int64_t H = s.units;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = 0; u < H; u += kLanes) {
            float* slot = s.z + row * 4 * H + u;
            const Vec n = load(slot), r = load(slot + H), z = load(slot + 2 * H), q = load(slot + 3 * H);
            Vec dh = load(s.dh + row * H + u), past = constant(0.0f);
            if constexpr (Keep) {
                const Vec keep = kept(s.keep_h[row], u, s.p->units);
                past = keep * dh;
                dh = (1.0f - keep) * dh;
            }
            const Vec dn = dh * (1.0f - z) * (1.0f - n * n);
            store(slot, dn);
            store(slot + H, dn * q * (r * (1.0f - r)));
            store(slot + 2 * H, dh * (load(s.h_old + row * H + u) - n) * (z * (1.0f - z)));
            store(slot + 3 * H, dn * r);
            store(s.dh + row * H + u, dh * z + past);
        }
}

// Slots r, z, n. First r and z, and u = r x (masked h) for the candidate's product; then the rest.
static void gru_before_gates(const Step& s, const float* masked) {
    const std::int64_t H = s.units;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = 0; u < H; u += kLanes) {
            float* slot = s.z + row * 3 * H + u;
            const Vec r = sigmoid(load(slot));
            store(slot, r);
            store(slot + H, sigmoid(load(slot + H)));
            store(s.u + row * H + u, r * load(masked + row * H + u));
        }
}
template <bool Keep>
static void gru_before_output(const Step& s) {
    const std::int64_t H = s.units;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = 0; u < H; u += kLanes) {
            float* slot = s.z + row * 3 * H + u;
            const Vec z = load(slot + H), n = tanh(load(slot + 2 * H)), before = load(s.h_old + row * H + u);
            store(slot + 2 * H, n);
            const Vec after = (1.0f - z) * n + z * before;
            if constexpr (Keep) {
                store(s.h + row * H + u, choose(kept(s.keep_h[row], u, s.p->units), before, after));
            } else {
                store(s.h + row * H + u, after);
            }
        }
}
template <bool Keep>
static void gru_before_output_backward(const Step& s) {
    const std::int64_t H = s.units;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = 0; u < H; u += kLanes) {
            float* slot = s.z + row * 3 * H + u;
            const Vec z = load(slot + H), n = load(slot + 2 * H);
            Vec dh = load(s.dh + row * H + u), past = constant(0.0f);
            if constexpr (Keep) {
                const Vec keep = kept(s.keep_h[row], u, s.p->units);
                past = keep * dh;
                dh = (1.0f - keep) * dh;
            }
            store(slot + 2 * H, dh * (1.0f - z) * (1.0f - n * n));
            store(slot + H, dh * (load(s.h_old + row * H + u) - n) * (z * (1.0f - z)));
            store(s.dh + row * H + u, dh * z + past);
        }
}
// du: gradient of u. The masked h gets `dm` = du x r.
static void gru_before_gates_backward(const Step& s, const float* masked, const float* du, float* dm) {
    const std::int64_t H = s.units;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = 0; u < H; u += kLanes) {
            float* slot = s.z + row * 3 * H + u;
            const Vec r = load(slot), d = load(du + row * H + u);
            store(slot, d * load(masked + row * H + u) * (r * (1.0f - r)));
            store(dm + row * H + u, d * r);
        }
}

// ------------------------------------------------------------------------------------------------------ Elman's RNN

template <bool Relu, bool Keep>
static void rnn_forward(const Step& s, std::int64_t first_unit, std::int64_t last_unit) {
    const std::int64_t H = s.units;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = first_unit; u < last_unit; u += kLanes) {
            const Vec z = load(s.z + row * H + u);
            const Vec after = Relu ? relu(z) : tanh(z);
            store(s.z + row * H + u, after);
            if constexpr (Keep) {
                store(s.h + row * H + u, choose(kept(s.keep_h[row], u, s.p->units), load(s.h_old + row * H + u), after));
            } else {
                store(s.h + row * H + u, after);
            }
        }
}
template <bool Relu, bool Keep>
static void rnn_backward(const Step& s) {
    const std::int64_t H = s.units;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = 0; u < H; u += kLanes) {
            const Vec y = load(s.z + row * H + u);
            Vec dh = load(s.dh + row * H + u), past = constant(0.0f);
            if constexpr (Keep) {
                const Vec keep = kept(s.keep_h[row], u, s.p->units);
                past = keep * dh;
                dh = (1.0f - keep) * dh;
            }
            store(s.z + row * H + u, Relu ? where_positive(y, dh) : dh * (1.0f - y * y));
            store(s.dh + row * H + u, past);
        }
}

// ---------------------------------------------------------------------------------------------- layer normalisation

// Sums over the real units of the slots from `slots` on, H' apart. `real` is 1 on units, 0 on padding.
static float sum_lanes(Vec v) {
    float lanes[kLanes], sum = 0.0f;
    store(lanes, v);
    for (int l = 0; l < kLanes; ++l) sum += lanes[l];
    return sum;
}

constexpr float kEpsilon = 1e-5f;

// a = (a - mean) / sqrt(variance + epsilon) over `slots` x units; returns the factor.
static float normalise(float* a, int slots, std::int64_t units, std::int64_t real_units) {
    const std::int64_t n = slots * units;
    const float count = (float)(slots * real_units);
    Vec sum = constant(0.0f);
    for (std::int64_t j = 0; j < n; j += kLanes) sum += load(a + j);  // padding is zero
    const float mean = sum_lanes(sum) / count;
    for (int s = 0; s < slots; ++s)
        for (std::int64_t u = 0; u < real_units; ++u) a[s * units + u] -= mean;
    Vec squares = constant(0.0f);
    for (std::int64_t j = 0; j < n; j += kLanes) squares += load(a + j) * load(a + j);
    const float factor = 1.0f / ::sqrtf(sum_lanes(squares) / count + kEpsilon);
    for (std::int64_t j = 0; j < n; j += kLanes) store(a + j, load(a + j) * factor);
    return factor;
}
// The way back through `normalise`: d holds the gradient of the result `a`, then that of what was normalised.
static void normalise_backward(float* d, const float* a, float factor, int slots, std::int64_t units, std::int64_t real_units) {
    const std::int64_t n = slots * units;
    const float count = (float)(slots * real_units);
    Vec sum = constant(0.0f), along = constant(0.0f);
    for (std::int64_t j = 0; j < n; j += kLanes) {
        sum += load(d + j);
        along += load(d + j) * load(a + j);
    }
    const float mean = sum_lanes(sum) / count, slope = sum_lanes(along) / count;
    for (int s = 0; s < slots; ++s)
        for (std::int64_t u = 0; u < real_units; ++u) {
            const std::int64_t j = s * units + u;
            d[j] = factor * (d[j] - mean - a[j] * slope);
        }
}

// Slots 0 to 3 W x, 4 to 7 R h, 8 to 11 the gates. extra: gx, gr (4 H' each), gc, bc. Whole rows: the statistics need all.
static void layernorm_forward(const Step& s, float* work) {
    const std::int64_t H = s.units;
    const float *gx = s.p->extra[0], *gr = s.p->extra[1], *gc = s.p->extra[2], *bc = s.p->extra[3];
    for (std::int64_t row = 0; row < s.rows; ++row) {
        float* z = s.z + row * 12 * H;
        float *gates = z + 8 * H, *stats = s.stats + row * kPad;
        stats[0] = normalise(z, 4, H, s.p->units);
        stats[1] = normalise(z + 4 * H, 4, H, s.p->units);
        for (std::int64_t u = 0; u < 4 * H; u += kLanes) {
            const Vec sum = load(gx + u) * load(z + u) + load(gr + u) * load(z + 4 * H + u) + load(s.p->b + u);
            store(gates + u, u >= 2 * H && u < 3 * H ? tanh(sum) : sigmoid(sum));
        }
        for (std::int64_t u = 0; u < H; u += kLanes)
            store(work + u, load(gates + H + u) * load(s.c_old + row * H + u) + load(gates + u) * load(gates + 2 * H + u));
        for (std::int64_t u = 0; u < H; u += kLanes) {
            const Vec old = load(s.c_old + row * H + u), memory = load(work + u);
            store(s.c + row * H + u, s.keep_c ? choose(kept(s.keep_c[row], u, s.p->units), old, memory) : memory);
        }
        stats[2] = normalise(work, 1, H, s.p->units);
        for (std::int64_t u = 0; u < H; u += kLanes) {
            const Vec output = load(gates + 3 * H + u) * tanh(load(gc + u) * load(work + u) + load(bc + u));
            const Vec before = load(s.h_old + row * H + u);
            store(s.h + row * H + u, s.keep_h ? choose(kept(s.keep_h[row], u, s.p->units), before, output) : output);
        }
    }
}

// work: 2 H'. s.extra sums the gradients of gx, gr, gc, bc.
static void layernorm_backward(const Step& s, float* work) {
    const std::int64_t H = s.units, real = s.p->units;
    const float *gx = s.p->extra[0], *gr = s.p->extra[1], *gc = s.p->extra[2], *bc = s.p->extra[3];
    float *dgc = s.extra + 8 * H, *dbc = s.extra + 9 * H, *hat = work, *dhat = work + H;
    const auto add = [](float* to, Vec v) { store(to, load(to) + v); };
    for (std::int64_t row = 0; row < s.rows; ++row) {
        float* z = s.z + row * 12 * H;
        float* gates = z + 8 * H;
        const float* stats = s.stats + row * kPad;
        const float* old = s.c_old + row * H;
        for (std::int64_t u = 0; u < H; u += kLanes)
            store(hat + u, load(gates + H + u) * load(old + u) + load(gates + u) * load(gates + 2 * H + u));
        normalise(hat, 1, H, real);
        for (std::int64_t u = 0; u < H; u += kLanes) {
            const Vec o = load(gates + 3 * H + u), t = tanh(load(gc + u) * load(hat + u) + load(bc + u));
            Vec dh = load(s.dh + row * H + u), past = constant(0.0f);
            if (s.keep_h) {
                const Vec keep = kept(s.keep_h[row], u, real);
                past = keep * dh;
                dh = (1.0f - keep) * dh;
            }
            store(s.dh + row * H + u, past);
            const Vec inner = dh * o * (1.0f - t * t);
            add(dgc + u, inner * load(hat + u));
            add(dbc + u, inner);
            store(dhat + u, inner * load(gc + u));
            store(gates + 3 * H + u, dh * t * (o * (1.0f - o)));
        }
        normalise_backward(dhat, hat, stats[2], 1, H, real);
        for (std::int64_t u = 0; u < H; u += kLanes) {
            Vec dc = load(s.dc + row * H + u), past = constant(0.0f);
            if (s.keep_c) {
                const Vec keep = kept(s.keep_c[row], u, real);
                past = keep * dc;
                dc = (1.0f - keep) * dc;
            }
            dc = dc + load(dhat + u);
            const Vec i = load(gates + u), f = load(gates + H + u), g = load(gates + 2 * H + u);
            store(gates + u, dc * g * (i * (1.0f - i)));
            store(gates + H + u, dc * load(old + u) * (f * (1.0f - f)));
            store(gates + 2 * H + u, dc * i * (1.0f - g * g));
            store(s.dc + row * H + u, dc * f + past);
        }
        for (std::int64_t u = 0; u < 4 * H; u += kLanes) {
            add(s.extra + u, load(gates + u) * load(z + u));
            add(s.extra + 4 * H + u, load(gates + u) * load(z + 4 * H + u));
        }
        // The normalised products make room for their own gradients.
        for (int side = 0; side < 2; ++side) {
            float* a = z + 4 * side * H;
            const float* gain = side == 0 ? gx : gr;
            float* d = work;  // hat and dhat are done with; 4 H' long
            for (std::int64_t u = 0; u < 4 * H; u += kLanes) store(d + u, load(gates + u) * load(gain + u));
            normalise_backward(d, a, stats[side], 4, H, real);
            for (std::int64_t u = 0; u < 4 * H; u += kLanes) store(a + u, load(d + u));
        }
    }
}

// -------------------------------------------------------------------------------------------------------- every cell

// Units first_unit to last_unit - 1 of the step's rows; for cells that need no more than these units' slots.
template <bool Tape, bool Keep>
static void units_forward(const Step& s, std::int64_t first, std::int64_t last) {
    switch (s.p->cell.kind) {
        case CellKind::rnn: return rnn_forward<false, Keep>(s, first, last);
        case CellKind::rnn_relu: return rnn_forward<true, Keep>(s, first, last);
        case CellKind::gru: return gru_forward<Tape, Keep>(s, first, last);
        case CellKind::lstm: return lstm_forward<CellKind::lstm, Tape, Keep>(s, first, last);
        case CellKind::lstm_peephole: return lstm_forward<CellKind::lstm_peephole, Tape, Keep>(s, first, last);
        case CellKind::lstm_coupled: return lstm_forward<CellKind::lstm_coupled, Tape, Keep>(s, first, last);
        case CellKind::lstm_projection: return lstm_forward<CellKind::lstm_projection, Tape, Keep>(s, first, last);
        case CellKind::gru_reset_before:
        case CellKind::lstm_layernorm: return;  // see forward.h
    }
}
static void units_forward(const Step& s, bool tape, std::int64_t first, std::int64_t last) {
    // Answers of products rounded to 8 bits; the commonest cell alone, for the sake of the extension's size.
    if (!tape && !s.keep_h && !s.keep_c && s.p->precision != Precision::float32 && s.p->cell.kind == CellKind::lstm)
        return lstm_forward<CellKind::lstm, false, false, true>(s, first, last);
    if (s.keep_h || s.keep_c) return tape ? units_forward<true, true>(s, first, last) : units_forward<false, true>(s, first, last);
    return tape ? units_forward<true, false>(s, first, last) : units_forward<false, false>(s, first, last);
}

template <bool Keep>
static void units_backward(const Step& s, float* work) {
    switch (s.p->cell.kind) {
        case CellKind::rnn: return rnn_backward<false, Keep>(s);
        case CellKind::rnn_relu: return rnn_backward<true, Keep>(s);
        case CellKind::gru: return gru_backward<Keep>(s);
        case CellKind::lstm: return lstm_backward<CellKind::lstm, Keep>(s);
        case CellKind::lstm_peephole: return lstm_backward<CellKind::lstm_peephole, Keep>(s);
        case CellKind::lstm_coupled: return lstm_backward<CellKind::lstm_coupled, Keep>(s);
        case CellKind::lstm_projection: return lstm_backward<CellKind::lstm_projection, Keep>(s);
        case CellKind::gru_reset_before: return gru_before_output_backward<Keep>(s);
        case CellKind::lstm_layernorm: return layernorm_backward(s, work);
    }
}
