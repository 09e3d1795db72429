// One step of a layer for a few sequences, as streaming and decoding take it. Included only inside a level's own namespace.
//
// A single row has one sum a column, so a tile of one panel waits for its own multiply-adds: several panels run at once.
// Each sum still adds its products in the order of k, first those of x, then those of h: a row's float32 step has the same
// bits alone, in a batch, and inside a whole sequence.

// One row of operands times N panels of V vectors, equally far apart.
struct RowTileArgs {
    const void* a;
    std::int64_t depth;  // in steps of the format
    const void* panel;
    std::int64_t panel_apart;  // bytes
    const float* init;
    float* out;
    std::int64_t apart;          // between panels in init and out
    std::int64_t column_apart;   // between panels in scale and correction
    std::int64_t vector_stride;  // between the vectors of a panel there
    const float* scale;          // int8: of the columns, panel by panel
    const std::int32_t* correction;
    float row_scale;
};

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
    static GATEWORK_NOINLINE void run(const RowTileArgs& arguments) {
        const RowTileArgs t = arguments;  // a copy, which no store can change
        using P = Products<Format>;
        constexpr std::int64_t kLine = 4 * kLanes;  // bytes a vector of weights
        const char* a = static_cast<const char*>(t.a);
        const char* panel[N];
        each<N>([&](auto n) GATEWORK_LAMBDA { panel[n] = static_cast<const char*>(t.panel) + n * t.panel_apart; });
        typename P::Sum sum[N][V];
        each<N>([&](auto n) GATEWORK_LAMBDA {
            each<V>([&](auto v) GATEWORK_LAMBDA {
                if constexpr (Format::kStep == 4) {
                    sum[n][v] = load_int(t.correction + n * t.column_apart + v * kLanes);
                } else {
                    sum[n][v] = load(t.init + n * t.apart + v * t.vector_stride);
                }
            });
        });
        const std::int64_t depth = t.depth;
        std::int64_t k = 0;
        do {
            const auto one = P::operand(a, k);
            each<N>([&](auto n) GATEWORK_LAMBDA {
                each<V>([&](auto v) GATEWORK_LAMBDA {
                    P::add(sum[n][v], panel[n] + v * kLine, one);
                });
                panel[n] += V * kLine;
            });
        } while (++k < depth);
        each<N>([&](auto n) GATEWORK_LAMBDA {
            each<V>([&](auto v) GATEWORK_LAMBDA {
                float* out = t.out + n * t.apart + v * t.vector_stride;
                if constexpr (Format::kStep == 4) {
                    const Vec before = load(t.init + n * t.apart + v * t.vector_stride);
                    store(out, before + to_float(sum[n][v]) * (load(t.scale + n * t.column_apart + v * kLanes) * t.row_scale));
                } else {
                    store(out, sum[n][v]);
                }
            });
        });
    }
};

// Panels of V vectors that run at once: eight sums or so.
constexpr int together(int vectors) { return vectors >= 3 ? 2 : vectors == 2 ? 4 : 8; }

// Panel p of `vectors` vectors for one row, together with others each `apart` panels on; alone where apart is 0.
template <class Format, int V>
static GATEWORK_INLINE void row_panels(bool alone, const RowTileArgs& t) {
    if (alone) {
        RowTile<Format, 1, V>::run(t);
    } else {
        RowTile<Format, together(V), V>::run(t);
    }
}
template <class Format>
static void row_panels(const Matrix& m, const Panel& panel, std::int64_t apart, const Operands& a, const float* init, float* out) {
    RowTileArgs t;
    t.a = a.rows[0];
    t.depth = divided_up(m.depth, Format::kStep);
    t.column_apart = apart * panel.vectors * kLanes;
    t.panel_apart = t.column_apart * t.depth * 4;
    t.panel = static_cast<const typename Format::Weight*>(m.panels) + panel.offset;
    t.init = init + panel.first;
    t.out = out + panel.first;
    t.apart = apart * (m.group ? kLanes : kPanelVectors * kLanes);
    t.vector_stride = panel.apart;
    t.scale = m.scale ? m.scale + panel.column : nullptr;
    t.correction = m.correction ? m.correction + panel.column : nullptr;
    t.row_scale = a.scales ? a.scales[0] : 1.0f;
    switch (panel.vectors) {
        case 1: return row_panels<Format, 1>(apart == 0, t);
        case 2: return row_panels<Format, 2>(apart == 0, t);
        case 3: return row_panels<Format, 3>(apart == 0, t);
        default: return row_panels<Format, 4>(apart == 0, t);
    }
}
static void row_panels(
    Precision precision, const Matrix& m, const Panel& panel, std::int64_t apart, const Operands& a, const float* init, float* out) {
    switch (precision) {
        case Precision::float32: return row_panels<Float32>(m, panel, apart, a, init, out);
        case Precision::bfloat16: return row_panels<BFloat16>(m, panel, apart, a, init, out);
        case Precision::int8: return row_panels<Int8>(m, panel, apart, a, init, out);
    }
}

// Panels first to last - 1 for few rows: out = init + a M.
static void few_rows(
    Precision precision, const Matrix& m, std::int64_t first, std::int64_t last, const Operands& a, std::int64_t rows,
    const float* init, std::int64_t init_stride, float* out, std::int64_t out_stride) {
    const int step = step_of(precision);
    if (rows > 1) {
        for (; first < last; ++first)
            panel_product(precision, m, panel_at(m, first, step), a, rows, init, init_stride, out, out_stride);
        return;
    }
    if (first == last) return;
    // Panels that run together lie far apart, so that each stream of weights goes straight on to its next panel: prefetchers
    // like that. A last panel of neighbours may be smaller than the others.
    const int vectors = panel_at(m, first, step).vectors;
    const bool even = panel_at(m, last - 1, step).vectors == vectors;
    const std::int64_t streams = together(vectors), apart = (last - first - (even ? 0 : 1)) / streams;
    for (std::int64_t k = 0; k < apart; ++k) row_panels(precision, m, panel_at(m, first + k, step), apart, a, init, out);
    for (std::int64_t p = first + apart * streams; p < last; ++p)
        row_panels(precision, m, panel_at(m, p, step), 0, a, init, out);
}

// ----------------------------------------------------------------------------------- 8-bit weights, 24-bit operands
//
//   h ~ q s,  s = largest |h| / 2^22,  q + 2^23 = b0 + 2^8 b1 + 2^16 b2;   h R = s (S0 + 2^8 S1 + 2^16 (S2 - 128 sum of R))
//
// with S the integer sums of each byte's products. Nothing but the rounding of q is lost before the last line.

template <int N, int V>
struct WideTile {
    static GATEWORK_NOINLINE void run(const RowTileArgs& arguments) {
        const RowTileArgs t = arguments;  // a copy, which no store can change
        constexpr std::int64_t kLine = 4 * kLanes;
        const std::int64_t depth = t.depth, plane = 4 * depth;
        const char* a = static_cast<const char*>(t.a);
        const char* panel[N];
        each<N>([&](auto n) GATEWORK_LAMBDA { panel[n] = static_cast<const char*>(t.panel) + n * t.panel_apart; });
        Int low[N][V], middle[N][V], high[N][V];
        each<N>([&](auto n) GATEWORK_LAMBDA {
            each<V>([&](auto v) GATEWORK_LAMBDA {
                low[n][v] = middle[n][v] = constant_int(0);
                high[n][v] = load_int(t.correction + n * t.column_apart + v * kLanes);
            });
        });
        std::int64_t k = 0;
        do {
            const Int a0 = constant_int(load_lane(a + 4 * k)), a1 = constant_int(load_lane(a + plane + 4 * k));
            const Int a2 = constant_int(load_lane(a + 2 * plane + 4 * k));
            each<N>([&](auto n) GATEWORK_LAMBDA {
                each<V>([&](auto v) GATEWORK_LAMBDA {
                    const Int weight = load_int(panel[n] + v * kLine);
                    low[n][v] = add_fours(low[n][v], a0, weight);
                    middle[n][v] = add_fours(middle[n][v], a1, weight);
                    high[n][v] = add_fours(high[n][v], a2, weight);
                });
                panel[n] += V * kLine;
            });
        } while (++k < depth);
        each<N>([&](auto n) GATEWORK_LAMBDA {
            each<V>([&](auto v) GATEWORK_LAMBDA {
                const Vec sum = to_float(high[n][v]) * 65536.0f + (to_float(middle[n][v]) * 256.0f + to_float(low[n][v]));
                const Vec before = load(t.init + n * t.apart + v * t.vector_stride);
                const Vec scale = load(t.scale + n * t.column_apart + v * kLanes) * t.row_scale;
                store(t.out + n * t.apart + v * t.vector_stride, before + sum * scale);
            });
        });
    }
};
template <int V>
static void wide_panels(const RowTileArgs& first, std::int64_t panels, std::int64_t panel_bytes) {
    constexpr int N = together(V);
    const std::int64_t apart = panels / N;
    RowTileArgs t = first;
    t.panel_apart = apart * panel_bytes;
    t.column_apart = apart * V * kLanes;
    t.apart = apart * kLanes;
    for (std::int64_t p = 0; p < panels; ++p) {
        if (p == apart) p = apart * N;
        if (p == panels) break;
        t.panel = static_cast<const char*>(first.panel) + p * panel_bytes;
        t.init = first.init + p * kLanes;
        t.out = first.out + p * kLanes;
        t.scale = first.scale + p * V * kLanes;
        t.correction = first.correction + p * V * kLanes;
        p < apart ? WideTile<N, V>::run(t) : WideTile<1, V>::run(t);
    }
}
// z += h R of one row; `planes` is 3 x P' bytes.
static void wide_product(const Matrix& m, const float* h, char* planes, float* z) {
    const std::int64_t depth = m.depth, slots = m.group, units = m.columns / slots;
    Vec most = constant(0.0f);
    bool finite = true;
    for (std::int64_t k = 0; k < depth; k += kLanes) most = larger(as_float(as_int(load(h + k)) & 0x7FFFFFFF), most);
    float lanes[kLanes], largest = 0.0f, sum = 0.0f;
    store(lanes, most);
    for (int l = 0; l < kLanes; ++l) largest = lanes[l] > largest ? lanes[l] : largest;
    Vec all = constant(0.0f);
    for (std::int64_t k = 0; k < depth; k += kLanes) all += load(h + k) * 0.0f;  // NaN where any is NaN or infinite
    store(lanes, all);
    for (int l = 0; l < kLanes; ++l) sum += lanes[l];
    finite = sum == 0.0f;
    const float factor = finite && largest > 1e-30f ? 4194304.0f / largest : 0.0f;
    for (std::int64_t k = 0; k < depth; k += kLanes) {
        // Adding 1.5 x 2^23 rounds to an integer, in the low bits; minus that float's bits, plus 2^23.
        const Int q = as_int(load(h + k) * factor + 12582912.0f) + (0x800000 - 0x4B400000);
        store_low_bytes(reinterpret_cast<std::uint8_t*>(planes) + k, q);
        store_low_bytes(reinterpret_cast<std::uint8_t*>(planes) + depth + k, q >> 8);
        store_low_bytes(reinterpret_cast<std::uint8_t*>(planes) + 2 * depth + k, q >> 16);
    }
    RowTileArgs t{};
    t.a = planes;
    t.depth = depth / 4;
    t.panel = m.panels;
    t.init = z;
    t.out = z;
    t.vector_stride = units;
    t.scale = m.scale;
    t.correction = m.correction;
    t.row_scale = finite ? (factor > 0.0f ? largest : 0.0f) : sum;
    const std::int64_t panels = units / kLanes, bytes = slots * kLanes * depth;
    switch (slots) {
        case 1: return wide_panels<1>(t, panels, bytes);
        case 2: return wide_panels<2>(t, panels, bytes);
        case 3: return wide_panels<3>(t, panels, bytes);
        default: return wide_panels<4>(t, panels, bytes);
    }
}

static std::size_t wide_bytes(const Packed& p) {
    const std::int64_t columns = p.cell.r_slots * padded(p.units);
    return (std::size_t)(columns * padded(p.outputs) + columns * 8);
}
static void pack_wide(const Packed& p, const std::int8_t* levels, const float* scales, char* buffer, Matrix& wide) {
    const std::int64_t H = padded(p.units), P = padded(p.outputs), slots = p.cell.r_slots, columns = slots * H;
    wide.depth = P;
    wide.columns = columns;
    wide.group = (int)slots;
    wide.panels = buffer;
    wide.scale = reinterpret_cast<float*>(buffer + columns * P);
    wide.correction = reinterpret_cast<std::int32_t*>(wide.scale + columns);
    std::int8_t* panels = reinterpret_cast<std::int8_t*>(buffer);
    for (std::int64_t s = 0; s < slots; ++s)
        for (std::int64_t u = 0; u < H; ++u) {
            const std::int64_t panel = u / kLanes * slots * kLanes, at = s * kLanes + u % kLanes;
            const std::int64_t row = p.cell.r_gate[s] * p.units + u;
            std::int32_t sum = 0;
            for (std::int64_t k = 0; k < P; ++k) {
                const std::int8_t q = u < p.units && k < p.outputs ? levels[row * p.outputs + k] : (std::int8_t)0;
                panels[panel * P + (k / 4 * slots * kLanes + at) * 4 + k % 4] = q;
                sum += q;
            }
            wide.scale[panel + at] = u < p.units ? scales[row] / 4194304.0f : 0.0f;
            wide.correction[panel + at] = -128 * sum;
        }
}

// Scratch of a step, in bytes from its start.
struct StepScratch {
    std::int64_t x_pointers, h_pointers, x_scales, h_scales, x_operands, h_operands, x_bytes, h_bytes;
    std::int64_t z, u, work, stats, planes, bytes;
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
    s.planes = places.take(3 * padded(p.outputs));
    s.bytes = places.at;
    return s;
}
static std::size_t step_scratch(const Packed& p, std::int64_t rows) { return (std::size_t)step_plan(p, rows).bytes; }

// A row as an operand: where it lies, or converted.
static GATEWORK_INLINE const void* few_operand(
    const Packed& p, const float* from, std::int64_t depth, float* scale, char* converted) {
    if (p.precision == Precision::float32) return from;
    to_operand(p.precision, from, depth, false, converted, scale);
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
        pointers[row] = few_operand(p, io.x[row], p.inputs, scales + row, io.scratch + plan.x_operands + row * plan.x_bytes);
    return step_operands(p, io, plan.x_pointers, plan.x_scales);
}
static Operands state_of_step(
    const Packed& p, const SingleStep& io, const StepScratch& plan, const float* from, std::int64_t depth) {
    const void** pointers = reinterpret_cast<const void**>(io.scratch + plan.h_pointers);
    float* scales = reinterpret_cast<float*>(io.scratch + plan.h_scales);
    for (std::int64_t row = 0; row < io.rows; ++row)
        pointers[row] = few_operand(p, from + row * padded(depth), depth, scales + row,
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
    if (!io.wide) state_of_step(p, io, plan, io.h_old, p.outputs);
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
        if (whole) {
            few_rows(p.precision, p.w, 0, panel_count(p.w), x, io.rows, init, biased ? 0 : slots, step.z, slots);
        } else {
            for (int s = 0; s < p.cell.w_slots; ++s)
                few_rows(p.precision, p.w, (s * H + first) / kWide, (s * H + last) / kWide, x, io.rows, init,
                         biased ? 0 : slots, step.z, slots);
        }
    }
    if (io.wide) {
        const std::int64_t outputs = padded(p.outputs);
        for (std::int64_t row = 0; row < io.rows; ++row)
            wide_product(*io.wide, io.h_old + row * outputs, io.scratch + plan.planes, step.z + row * slots + p.cell.r_first * H);
        return units_forward(step, false, first, last);
    }
    const Operands h = step_operands(p, io, plan.h_pointers, plan.h_scales);
    const std::int64_t wide = p.r.group ? kLanes : kWide;
    float* z = step.z + p.cell.r_first * H;
    few_rows(p.precision, p.r, first / wide, divided_up(last, wide), h, io.rows, z, slots, z, slots);
    // All units at once: they keep each other's latencies company, and z is still in the first-level cache.
    units_forward(step, false, first, last);
}

// Last: what needs whole rows.
static void step_end(const Packed& p, const SingleStep& io) {
    const StepScratch plan = step_plan(p, io.rows);
    const Step step = step_arrays(p, io, plan);
    const std::int64_t H = step.units, slots = p.cell.slots * H;
    if (p.cell.kind == CellKind::lstm_layernorm) layernorm_forward(step, reinterpret_cast<float*>(io.scratch + plan.work));
    if (p.cell.kind == CellKind::gru_reset_before) {
        gru_before_gates(step, io.h_old);
        const Operands u = state_of_step(p, io, plan, step.u, p.units);
        few_rows(p.precision, p.rn, 0, panel_count(p.rn), u, io.rows, step.z + 2 * H, slots, step.z + 2 * H, slots);
        gru_before_output<false>(step);
    }
    if (p.cell.kind == CellKind::lstm_projection) {
        const Operands u = state_of_step(p, io, plan, step.u, p.units);
        std::memset(step.h, 0, sizeof(float) * (std::size_t)(io.rows * step.outputs));
        few_rows(p.precision, p.v, 0, panel_count(p.v), u, io.rows, step.h, step.outputs, step.h, step.outputs);
    }
}

// Rows of W x + b in slots, as `projected` takes them, or W x added to `out`.
static void project(const Packed& p, const float* const* x, std::int64_t rows, bool add, float* out, char* scratch) {
    SingleStep io{};
    io.rows = rows;
    io.x = x;
    io.scratch = scratch;
    const std::int64_t wide = p.cell.w_slots * padded(p.units);
    const Operands operands = inputs_of_step(p, io, step_plan(p, rows));
    if (add || p.cell.kind == CellKind::lstm_layernorm) {
        if (!add) std::memset(out, 0, sizeof(float) * (std::size_t)(rows * wide));
        product(p.precision, p.w, operands, rows, out, wide, out, wide);
    } else {
        product(p.precision, p.w, operands, rows, p.b, 0, out, wide);
    }
}
