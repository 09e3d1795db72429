// One step of a layer for a few sequences, as streaming and decoding take it. Included only inside a level's own namespace.
//
// A single row has one sum a column, so a tile of one panel waits for its own multiply-adds: several panels run at once.
// Each sum still adds its products in the order of k, first those of x, then those of h: a row's float32 step has the same
// bits alone, in a batch, and inside a whole sequence.

// One row of operands times N neighbouring panels of V vectors.
struct RowTileArgs {
    const void* a;
    std::int64_t depth;  // in steps of the format
    const void* panel;
    std::int64_t panel_apart;  // bytes
    const float* init;
    float* out;
    std::int64_t apart;          // between panels in init and out
    std::int64_t vector_stride;  // between the vectors of a panel there
    const float* scale;          // int8: of the columns, panel by panel
    const std::int32_t* correction;
    float row_scale;
};

// Bytes ahead that panels are asked for: about the time a line takes from the second-level cache or the next.
constexpr std::int64_t kPrefetch = 1024;

static GATEWORK_INLINE void prefetch(const void* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p);
#endif
}

template <class Format>
struct Products;
template <>
struct Products<Float32> {
    using Sum = Vec;
    static GATEWORK_INLINE Vec operand(const char* a, std::int64_t k) {
        float value;
        std::memcpy(&value, a + 4 * k, sizeof value);
        return constant(value);
    }
    static GATEWORK_INLINE void add(Vec& sum, const char* weight, Vec a) { sum += load(reinterpret_cast<const float*>(weight)) * a; }
};
template <>
struct Products<BFloat16> {
    using Sum = Vec;
    static GATEWORK_INLINE Int operand(const char* a, std::int64_t k) { return constant_int(load_lane(a + 4 * k)); }
    static GATEWORK_INLINE void add(Vec& sum, const char* weight, Int a) { sum = add_pairs(sum, load_int(weight), a); }
};
template <>
struct Products<Int8> {
    using Sum = Int;
    static GATEWORK_INLINE Int operand(const char* a, std::int64_t k) { return constant_int(load_lane(a + 4 * k)); }
    static GATEWORK_INLINE void add(Int& sum, const char* weight, Int a) { sum = add_fours(sum, a, load_int(weight)); }
};

template <class Format, int N, int V>
struct RowTile {
    static GATEWORK_NOINLINE void run(const RowTileArgs& t) {
        using P = Products<Format>;
        constexpr std::int64_t kLine = 4 * kLanes;  // bytes a vector of weights
        const char* a = static_cast<const char*>(t.a);
        const char* panel[N];
        each<N>([&](auto n) GATEWORK_LAMBDA { panel[n] = static_cast<const char*>(t.panel) + n * t.panel_apart; });
        typename P::Sum sum[N][V];
        each<N>([&](auto n) GATEWORK_LAMBDA {
            each<V>([&](auto v) GATEWORK_LAMBDA {
                if constexpr (Format::kStep == 4) {
                    sum[n][v] = load_int(t.correction + (n * V + v) * kLanes);
                } else {
                    sum[n][v] = load(t.init + n * t.apart + v * t.vector_stride);
                }
            });
        });
        const std::int64_t depth = t.depth;
        for (std::int64_t k = 0; k < depth; ++k) {
            const auto one = P::operand(a, k);
            each<N>([&](auto n) GATEWORK_LAMBDA {
                each<V>([&](auto v) GATEWORK_LAMBDA {
                    if constexpr (v * kLine % 64 == 0) prefetch(panel[n] + v * kLine + kPrefetch);
                    P::add(sum[n][v], panel[n] + v * kLine, one);
                });
                panel[n] += V * kLine;
            });
        }
        each<N>([&](auto n) GATEWORK_LAMBDA {
            each<V>([&](auto v) GATEWORK_LAMBDA {
                float* out = t.out + n * t.apart + v * t.vector_stride;
                if constexpr (Format::kStep == 4) {
                    const Vec before = load(t.init + n * t.apart + v * t.vector_stride);
                    store(out, before + to_float(sum[n][v]) * (load(t.scale + (n * V + v) * kLanes) * t.row_scale));
                } else {
                    store(out, sum[n][v]);
                }
            });
        });
    }
};

// Panels of V vectors that run at once: eight sums or so.
constexpr int together(int vectors) { return vectors >= 3 ? 2 : vectors == 2 ? 4 : 8; }

// Panels `first` to `first + count - 1`, all with `vectors` vectors, for one row.
template <class Format, int V>
static GATEWORK_INLINE void row_panels(bool several, const RowTileArgs& t) {
    if (several) {
        RowTile<Format, together(V), V>::run(t);
    } else {
        RowTile<Format, 1, V>::run(t);
    }
}
template <class Format>
static void row_panels(const Matrix& m, std::int64_t p, bool several, const Operands& a, const float* init, float* out) {
    const Panel panel = panel_at(m, p, Format::kStep);
    RowTileArgs t;
    t.a = a.rows[0];
    t.depth = divided_up(m.depth, Format::kStep);
    t.panel_apart = panel.vectors * kLanes * t.depth * 4;
    t.panel = static_cast<const typename Format::Weight*>(m.panels) + panel.offset;
    t.init = init + panel.first;
    t.out = out + panel.first;
    t.apart = m.group ? kLanes : kPanelVectors * kLanes;
    t.vector_stride = panel.apart;
    t.scale = m.scale ? m.scale + panel.column : nullptr;
    t.correction = m.correction ? m.correction + panel.column : nullptr;
    t.row_scale = a.scales ? a.scales[0] : 1.0f;
    switch (panel.vectors) {
        case 1: return row_panels<Format, 1>(several, t);
        case 2: return row_panels<Format, 2>(several, t);
        case 3: return row_panels<Format, 3>(several, t);
        default: return row_panels<Format, 4>(several, t);
    }
}

// Panels first to last - 1 for few rows: out = init + a M, and after each group of panels done(first column, last column)
// of their vectors.
template <class Done>
static void few_rows(
    Precision precision, const Matrix& m, std::int64_t first, std::int64_t last, const Operands& a, std::int64_t rows,
    const float* init, std::int64_t init_stride, float* out, std::int64_t out_stride, const Done& done) {
    const std::int64_t all = panel_count(m);
    for (std::int64_t p = first; p < last;) {
        const Panel panel = panel_at(m, p, step_of(precision));
        std::int64_t count = 1;
        if (rows == 1) {
            // A last panel of neighbours may be smaller than the others.
            const bool even = m.group || m.columns % (kPanelVectors * kLanes) == 0;
            const std::int64_t wanted = together(panel.vectors), like = even ? last : smaller(last, all - 1);
            if (p + wanted <= like) count = wanted;
            switch (precision) {
                case Precision::float32: row_panels<Float32>(m, p, count > 1, a, init, out); break;
                case Precision::bfloat16: row_panels<BFloat16>(m, p, count > 1, a, init, out); break;
                case Precision::int8: row_panels<Int8>(m, p, count > 1, a, init, out); break;
            }
        } else {
            panel_product(precision, m, panel, a, rows, init, init_stride, out, out_stride);
        }
        const std::int64_t wide = m.group ? kLanes : panel.vectors * kLanes;
        done(panel.first, panel.first + count * wide);
        p += count;
    }
}
static void few_rows(
    Precision precision, const Matrix& m, const Operands& a, std::int64_t rows, const float* init,
    std::int64_t init_stride, float* out, std::int64_t out_stride) {
    few_rows(precision, m, 0, panel_count(m), a, rows, init, init_stride, out, out_stride,
             [](std::int64_t, std::int64_t) {});
}

// Scratch of a step, in bytes from its start.
struct StepScratch {
    std::int64_t x_pointers, h_pointers, x_scales, h_scales, x_operands, h_operands, x_bytes, h_bytes;
    std::int64_t z, u, work, stats, bytes;
};
static StepScratch step_plan(const Packed& p, std::int64_t rows) {
    const std::int64_t H = padded(p.units), floats = (std::int64_t)sizeof(float);
    StepScratch s{};
    Places places;
    s.z = places.take(rows * p.cell.slots * H * floats);
    s.x_pointers = places.take(rows * (std::int64_t)sizeof(void*));
    s.h_pointers = places.take(rows * (std::int64_t)sizeof(void*));
    if (p.precision != Precision::float32) {
        s.x_bytes = operand_bytes(p.precision, p.inputs);
        s.h_bytes = operand_bytes(p.precision, larger(p.outputs, p.units));
        s.x_scales = places.take(rows * floats);
        s.h_scales = places.take(rows * floats);
        s.x_operands = places.take(rows * s.x_bytes);
        s.h_operands = places.take(rows * s.h_bytes);
    }
    s.u = places.take(rows * H * floats);
    s.work = places.take(4 * H * floats);
    s.stats = places.take(rows * kPad * floats);
    s.bytes = places.at;
    return s;
}
static std::size_t step_scratch(const Packed& p, std::int64_t rows) { return (std::size_t)step_plan(p, rows).bytes; }

// A row as an operand: where it lies, or converted.
static GATEWORK_INLINE const void* few_operand(
    const Packed& p, const float* from, std::int64_t depth, bool unit, float* scale, char* converted) {
    if (p.precision == Precision::float32) return from;
    to_operand(p.precision, from, depth, unit, converted, scale);
    return converted;
}

static Operands step_operands(const Packed& p, const SingleStep& io, std::int64_t pointers, std::int64_t scales) {
    return {reinterpret_cast<const void* const*>(io.scratch + pointers),
            p.precision == Precision::int8 ? reinterpret_cast<const float*>(io.scratch + scales) : nullptr};
}
static Operands inputs_of_step(const Packed& p, const SingleStep& io, const StepScratch& plan) {
    const void** pointers = reinterpret_cast<const void**>(io.scratch + plan.x_pointers);
    float* scales = reinterpret_cast<float*>(io.scratch + plan.x_scales);
    for (std::int64_t row = 0; row < io.rows; ++row)
        pointers[row] = few_operand(p, io.x[row], p.inputs, false, scales + row, io.scratch + plan.x_operands + row * plan.x_bytes);
    return step_operands(p, io, plan.x_pointers, plan.x_scales);
}
// `unit` null: nothing is known of the rows' size.
static Operands state_of_step(
    const Packed& p, const SingleStep& io, const StepScratch& plan, const float* from, std::int64_t depth,
    const std::uint8_t* unit, bool all_unit) {
    const void** pointers = reinterpret_cast<const void**>(io.scratch + plan.h_pointers);
    float* scales = reinterpret_cast<float*>(io.scratch + plan.h_scales);
    for (std::int64_t row = 0; row < io.rows; ++row)
        pointers[row] = few_operand(p, from + row * padded(depth), depth, all_unit || (unit && unit[row]), scales + row,
                                    io.scratch + plan.h_operands + row * plan.h_bytes);
    return step_operands(p, io, plan.h_pointers, plan.h_scales);
}

static Step step_arrays(const Packed& p, const SingleStep& io, const StepScratch& plan) {
    Step step{};
    step.p = &p;
    step.rows = io.rows;
    step.units = padded(p.units);
    step.outputs = padded(p.outputs);
    step.z = reinterpret_cast<float*>(io.scratch + plan.z);
    step.c_old = io.c;
    step.c = io.c;
    step.h_old = io.h_old;
    step.h = io.h;
    step.u = reinterpret_cast<float*>(io.scratch + plan.u);
    step.stats = reinterpret_cast<float*>(io.scratch + plan.stats);
    return step;
}

// First: operands, and the slots that the product with x leaves out.
static void step_begin(const Packed& p, const SingleStep& io) {
    const StepScratch plan = step_plan(p, io.rows);
    const std::int64_t H = padded(p.units), slots = p.cell.slots * H, reached = p.cell.w_slots * H;
    float* z = reinterpret_cast<float*>(io.scratch + plan.z);
    if (!io.projected) inputs_of_step(p, io, plan);
    state_of_step(p, io, plan, io.h_old, p.outputs, bounded(p.cell) ? io.unit : nullptr, false);
    for (std::int64_t row = 0; row < io.rows; ++row) {
        float* slot = z + row * slots;
        if (io.halves) {
            for (std::int64_t j = 0; j < reached; ++j) {
                const std::uint32_t bits = (std::uint32_t)io.halves[row][j] << 16;
                std::memcpy(slot + j, &bits, sizeof bits);
            }
        } else if (io.projected) {
            std::memcpy(slot, io.x[row], sizeof(float) * (std::size_t)reached);
        } else if (p.cell.kind == CellKind::lstm_layernorm) {
            std::memset(slot, 0, sizeof(float) * (std::size_t)reached);
        }
        if (p.cell.recurrent_bias)
            std::memcpy(slot + reached, p.rb + (p.cell.r_slots - 1) * H, sizeof(float) * (std::size_t)H);
        if (p.cell.kind == CellKind::lstm_layernorm) std::memset(slot + reached, 0, sizeof(float) * (std::size_t)reached);
    }
}

// Then units first to last - 1: products, and for most cells the new state. Anything but all the units needs H' and both
// bounds to be multiples of kPanelVectors x kLanes.
static void step_units(const Packed& p, const SingleStep& io, std::int64_t first, std::int64_t last) {
    constexpr std::int64_t kWide = kPanelVectors * kLanes;
    const StepScratch plan = step_plan(p, io.rows);
    const Step step = step_arrays(p, io, plan);
    const std::int64_t H = step.units, slots = p.cell.slots * H;
    const bool whole = first == 0 && last == H;
    if (!io.projected) {
        const Operands x = step_operands(p, io, plan.x_pointers, plan.x_scales);
        const bool biased = p.cell.kind != CellKind::lstm_layernorm;
        const float* init = biased ? p.b : step.z;
        const auto nothing = [](std::int64_t, std::int64_t) {};
        if (whole) {
            few_rows(p.precision, p.w, 0, panel_count(p.w), x, io.rows, init, biased ? 0 : slots, step.z, slots, nothing);
        } else {
            for (int s = 0; s < p.cell.w_slots; ++s)
                few_rows(p.precision, p.w, (s * H + first) / kWide, (s * H + last) / kWide, x, io.rows, init,
                         biased ? 0 : slots, step.z, slots, nothing);
        }
    }
    const Operands h = step_operands(p, io, plan.h_pointers, plan.h_scales);
    const bool by_panel = p.cell.kind != CellKind::gru_reset_before && p.cell.kind != CellKind::lstm_layernorm;
    const std::int64_t wide = p.r.group ? kLanes : kWide;
    float* z = step.z + p.cell.r_first * H;
    few_rows(p.precision, p.r, first / wide, divided_up(last, wide), h, io.rows, z, slots, z, slots,
             [&](std::int64_t from, std::int64_t to) GATEWORK_LAMBDA {
                 if (by_panel) units_forward<false, false>(step, from, to);
             });
}

// Last: what needs whole rows.
static void step_end(const Packed& p, const SingleStep& io) {
    const StepScratch plan = step_plan(p, io.rows);
    const Step step = step_arrays(p, io, plan);
    const std::int64_t H = step.units, slots = p.cell.slots * H;
    if (p.cell.kind == CellKind::lstm_layernorm) layernorm_forward(step, reinterpret_cast<float*>(io.scratch + plan.work));
    if (p.cell.kind == CellKind::gru_reset_before) {
        gru_before_gates(step, io.h_old);
        const Operands u = state_of_step(p, io, plan, step.u, p.units, nullptr, false);
        few_rows(p.precision, p.rn, u, io.rows, step.z + 2 * H, slots, step.z + 2 * H, slots);
        gru_before_output<false>(step);
    }
    if (p.cell.kind == CellKind::lstm_projection) {
        const Operands u = state_of_step(p, io, plan, step.u, p.units, nullptr, true);
        std::memset(step.h, 0, sizeof(float) * (std::size_t)(io.rows * step.outputs));
        few_rows(p.precision, p.v, u, io.rows, step.h, step.outputs, step.h, step.outputs);
    }
}

// Rows of W x + b in slots, as `projected` takes them.
static void project(const Packed& p, const float* const* x, std::int64_t rows, float* out, char* scratch) {
    SingleStep io{};
    io.rows = rows;
    io.x = x;
    io.scratch = scratch;
    const std::int64_t wide = p.cell.w_slots * padded(p.units);
    const Operands operands = inputs_of_step(p, io, step_plan(p, rows));
    if (p.cell.kind == CellKind::lstm_layernorm) {
        std::memset(out, 0, sizeof(float) * (std::size_t)(rows * wide));
        product(p.precision, p.w, operands, rows, out, wide, out, wide);
    } else {
        product(p.precision, p.w, operands, rows, p.b, 0, out, wide);
    }
}
