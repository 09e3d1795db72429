// The way back through one direction of some sequences, from the tape of `forward`: the gradient of z before the gates'
// activation overwrites the gates, last step first. Then the products that need no order. Included only inside a level's
// own namespace.

struct BackwardScratch {
    std::int64_t dh, dc, du, dm, work, pointers, keep, operands, operand_bytes, bytes;
};

static BackwardScratch backward_plan(const Packed& p, const Schedule& schedule) {
    const std::int64_t H = padded(p.units), P = padded(p.outputs), batch = schedule.batch;
    const std::int64_t floats = (std::int64_t)sizeof(float);
    BackwardScratch s{};
    Places places;
    s.dh = places.take(batch * P * floats);
    s.dc = places.take(batch * H * floats);
    s.du = places.take(batch * H * floats);
    s.dm = places.take(batch * P * floats);
    s.work = places.take(4 * H * floats);
    s.pointers = places.take(batch * (std::int64_t)sizeof(void*));
    s.keep = places.take(2 * batch * (std::int64_t)sizeof(void*));
    if (p.precision != Precision::float32) {
        s.operand_bytes = operand_bytes(p.precision, larger(p.cell.slots * H, P));
        s.operands = places.take(batch * s.operand_bytes);
    }
    s.bytes = places.at;
    return s;
}
static std::size_t backward_scratch(const Packed& p, const Schedule& schedule) {
    return (std::size_t)backward_plan(p, schedule).bytes;
}

// `width` floats of each of `rows` rows, `stride` apart, as operands.
static Operands gradient_operands(
    Precision precision, const float* from, std::int64_t stride, std::int64_t width, std::int64_t rows, const void** pointers,
    char* buffer, std::int64_t row_bytes) {
    for (std::int64_t row = 0; row < rows; ++row) {
        pointers[row] = from + row * stride;
        if (precision == Precision::float32) continue;
        float scale;
        to_operand(precision, from + row * stride, width, false, buffer + row * row_bytes, &scale);
        pointers[row] = buffer + row * row_bytes;
    }
    return {pointers, nullptr};
}

static void add_rows(float* to, const float* from, std::int64_t rows, std::int64_t wide) {
    for (std::int64_t j = 0; j < rows * wide; j += kLanes) store(to + j, load(to + j) + load(from + j));
}

static void backward(const Packed& p, const Schedule& schedule, const Backward& io) {
    const bool masked = io.mask != nullptr, memory = p.cell.memory;
    const BackwardScratch plan = backward_plan(p, schedule);
    const std::int64_t H = padded(p.units), P = padded(p.outputs), batch = schedule.batch, slots = p.cell.slots * H;
    const Tape places = tape_layout(p.cell, p.units, p.outputs, schedule.rows, batch, masked);
    const auto scratch = [&](std::int64_t at) { return reinterpret_cast<float*>(io.scratch + at); };
    float *dh = scratch(plan.dh), *dc = scratch(plan.dc), *du = scratch(plan.du), *dm = scratch(plan.dm);
    const void** pointers = reinterpret_cast<const void**>(io.scratch + plan.pointers);
    const std::uint8_t** keep = reinterpret_cast<const std::uint8_t**>(io.scratch + plan.keep);
    char* buffer = io.scratch + plan.operands;
    // From here on row `place` holds the gradient of the state after the step that was last.
    load_state(io.dh, schedule, p.outputs, dh);
    if (memory) load_state(io.dc, schedule, p.units, dc);

    Step step{};
    step.p = &p;
    step.units = H;
    step.outputs = P;
    step.dc = dc;
    step.extra = io.extra;
    const bool projects = p.cell.kind == CellKind::lstm_projection, before = p.cell.kind == CellKind::gru_reset_before;
    for (std::int64_t s = schedule.steps - 1; s >= 0; --s) {
        const std::int64_t rows = schedule.running[s], row = schedule.first_row[s];
        // Places in the arrays that begin with the start state, of this step's old state.
        const std::int64_t old = s == 0 ? 0 : batch + schedule.first_row[s - 1];
        if (io.dy.base)
            for (std::int64_t place = 0; place < rows; ++place) {
                const float* from = io.dy.row(schedule.time(place, s), schedule.order[place]);
                float* to = dh + place * P;
                for (std::int64_t u = 0; u < p.outputs; ++u) to[u] += from[u];
            }
        step.rows = rows;
        step.z = io.tape + places.z + row * slots;
        step.h_old = io.tape + places.h + old * P;
        step.h = io.tape + places.h + (batch + row) * P;
        step.c_old = io.tape + places.c + old * H;
        step.c = io.tape + places.c + (batch + row) * H;
        step.stats = io.tape + places.stats + row * kPad;
        step.keep_h = keep_rows(io.keep_h, schedule, s, keep);
        step.keep_c = memory ? keep_rows(io.keep_c, schedule, s, keep + batch) : nullptr;
        step.dh = dh;
        if (projects) {
            // dp, the gradient of the projection's result, is kept for that of the projection.
            float* dp = io.tape + places.dp + row * P;
            std::memcpy(dp, dh, sizeof(float) * (std::size_t)(rows * P));
            std::memset(dh, 0, sizeof(float) * (std::size_t)(rows * P));
            if (step.keep_h)
                for (std::int64_t place = 0; place < rows; ++place)
                    for (std::int64_t u = 0; u < p.outputs; ++u)
                        if (step.keep_h[place][u]) {
                            dh[place * P + u] = dp[place * P + u];
                            dp[place * P + u] = 0.0f;
                        }
            std::memset(du, 0, sizeof(float) * (std::size_t)(rows * H));
            const Operands a = gradient_operands(p.precision, dp, P, P, rows, pointers, buffer, plan.operand_bytes);
            product(p.precision, p.vt, a, rows, du, H, du, H);
            step.dh = du;
        }
        step.keep_h || step.keep_c ? units_backward<true>(step, scratch(plan.work))
                                   : units_backward<false>(step, scratch(plan.work));
        const float* operand = io.tape + places.masked + old * P;
        float* to = dh;
        if (masked || before) {
            to = dm;
            std::memset(dm, 0, sizeof(float) * (std::size_t)(rows * P));
        }
        if (before) {
            std::memset(du, 0, sizeof(float) * (std::size_t)(rows * H));
            const Operands a = gradient_operands(p.precision, step.z + 2 * H, slots, H, rows, pointers, buffer, plan.operand_bytes);
            product(p.precision, p.rnt, a, rows, du, H, du, H);
            gru_before_gates_backward(step, operand, du, dm);
        }
        const Operands a = gradient_operands(
            p.precision, step.z + p.cell.r_first * H, slots, p.cell.r_slots * H, rows, pointers, buffer, plan.operand_bytes);
        product(p.precision, p.rt, a, rows, to, P, to, P);
        if (masked) apply_mask(io.mask, schedule, dm, rows, p.outputs, dm);
        if (to == dm) add_rows(dh, dm, rows, P);
    }
    save_state(dh, schedule, 0, batch, p.outputs, io.dh0);
    if (memory) save_state(dc, schedule, 0, batch, p.units, io.dc0);
}

// ------------------------------------------------------------------------------------------------ gradient of the input

constexpr std::int64_t kGradientRows = 96;

static std::size_t input_gradient_scratch(const Packed& p) {
    const std::int64_t operand = p.precision == Precision::float32 ? 0 : operand_bytes(p.precision, p.cell.w_slots * padded(p.units));
    return (std::size_t)(kGradientRows * ((std::int64_t)sizeof(void*) + operand + padded(p.inputs) * (std::int64_t)sizeof(float)) + 256);
}

static void input_gradient(
    const Packed& p, const float* z, float* const* dx, std::int64_t first, std::int64_t last, bool add, char* scratch) {
    const std::int64_t slots = p.cell.slots * padded(p.units), wide = padded(p.inputs), width = p.cell.w_slots * padded(p.units);
    const std::int64_t row_bytes = p.precision == Precision::float32 ? 0 : operand_bytes(p.precision, width);
    Places places;
    const void** pointers = reinterpret_cast<const void**>(scratch + places.take(kGradientRows * (std::int64_t)sizeof(void*)));
    float* out = reinterpret_cast<float*>(scratch + places.take(kGradientRows * wide * (std::int64_t)sizeof(float)));
    char* buffer = scratch + places.at;
    for (; first < last; first += kGradientRows) {
        const std::int64_t rows = smaller(kGradientRows, last - first);
        for (std::int64_t row = 0; row < rows; ++row) {
            if (add) std::memcpy(out + row * wide, dx[first + row], sizeof(float) * (std::size_t)p.inputs);
            else std::memset(out + row * wide, 0, sizeof(float) * (std::size_t)wide);
        }
        const Operands a = gradient_operands(p.precision, z + first * slots, slots, width, rows, pointers, buffer, row_bytes);
        product(p.precision, p.wt, a, rows, out, wide, out, wide);
        for (std::int64_t row = 0; row < rows; ++row)
            std::memcpy(dx[first + row], out + row * wide, sizeof(float) * (std::size_t)p.inputs);
    }
}

// ------------------------------------------------------------------------------------------------ gradients of weights
//
// sums[k][column] += a[row][k] z[row][column]: some rows at a time, the operands are copied into tiles of up to kRows
// columns and the gradients into panels of 64, and every tile meets every panel with its sums in registers. bfloat16 takes
// two rows at once, side by side in a lane.

constexpr std::int64_t kOuterRows = 128;
constexpr int kOuterColumns = 64;
constexpr int kOuterVectors = 4;  // of a tile; with fewer lanes there are more tiles

struct OuterTile {
    const void* a;  // (rows, M), or (rows / 2, M, 2) of bfloat16
    const void* z;  // (rows, 64), or (rows / 2, 64, 2)
    std::int64_t rows;  // at least 1
    float* sums;
};

template <class Format, int M>
struct OuterRun {
    static GATEWORK_NOINLINE void run(const OuterTile& t) {
        float* sums = t.sums;
        Vec sum[M][kOuterVectors];
        each<M>([&](auto m) GATEWORK_LAMBDA {
            each<kOuterVectors>([&](auto v) GATEWORK_LAMBDA { sum[m][v] = load(sums + m * kOuterColumns + v * kLanes); });
        });
        const std::int64_t rows = t.rows;
        if constexpr (Format::kStep == 1) {
            const float *z = static_cast<const float*>(t.z), *a = static_cast<const float*>(t.a);
            Vec vector[kOuterVectors];
            std::int64_t n = 0;
            do {
                each<kOuterVectors>([&](auto v) GATEWORK_LAMBDA { vector[v] = load(z + v * kLanes); });
                each<M>([&](auto m) GATEWORK_LAMBDA {
                    const Vec one = constant(a[m]);
                    each<kOuterVectors>([&](auto v) GATEWORK_LAMBDA { sum[m][v] += vector[v] * one; });
                });
                z += kOuterColumns, a += M;
            } while (++n < rows);
        } else {
            const std::uint16_t *z = static_cast<const std::uint16_t*>(t.z), *a = static_cast<const std::uint16_t*>(t.a);
            Int vector[kOuterVectors];
            std::int64_t n = 0;
            do {
                each<kOuterVectors>([&](auto v) GATEWORK_LAMBDA { vector[v] = load_int(z + 2 * v * kLanes); });
                each<M>([&](auto m) GATEWORK_LAMBDA {
                    const Int pair = constant_int(load_lane(a + 2 * m));
                    each<kOuterVectors>([&](auto v) GATEWORK_LAMBDA { sum[m][v] = add_pairs(sum[m][v], vector[v], pair); });
                });
                z += 2 * kOuterColumns, a += 2 * M;
                n += 2;
            } while (n < rows);
        }
        each<M>([&](auto m) GATEWORK_LAMBDA {
            each<kOuterVectors>([&](auto v) GATEWORK_LAMBDA { store(sums + m * kOuterColumns + v * kLanes, sum[m][v]); });
        });
    }
};
template <class Format, int M>
static void outer_run(const OuterTile& t, std::int64_t height) {
    if constexpr (M > 0) {
        if (height == M) return OuterRun<Format, M>::run(t);
        outer_run<Format, M - 1>(t, height);
    }
}

// Floats copied at once into a tile: what goes over its width is written over by what comes next.
constexpr std::int64_t kCopied = 8;
static_assert(GATEWORK_ROWS <= kCopied);

// Scratch of `outer`: tiles of operands, panels of gradients, and for bfloat16 rows of pairs and pointers to them.
struct OuterScratch {
    std::int64_t tiles, z, pairs, pointers, bytes;
};
static OuterScratch outer_plan(Precision precision, std::int64_t depth) {
    const std::int64_t rows = precision == Precision::float32 ? kOuterRows : (kOuterRows + 1) / 2;
    OuterScratch s{};
    Places places;
    s.tiles = places.take((rows * depth + kCopied) * (std::int64_t)sizeof(float));
    s.z = places.take(rows * kOuterColumns * (std::int64_t)sizeof(float));
    if (precision != Precision::float32) {
        s.pairs = places.take(rows * depth * (std::int64_t)sizeof(float));
        s.pointers = places.take(rows * (std::int64_t)sizeof(void*));
    }
    s.bytes = places.at;
    return s;
}
static std::size_t outer_scratch(Precision precision, std::int64_t depth) { return (std::size_t)outer_plan(precision, depth).bytes; }

// Two rows of `width` floats as pairs of bfloat16; the second may be null.
[[maybe_unused]] static void to_pairs(const float* first, const float* second, std::int64_t width, std::uint16_t* pairs) {
    std::int64_t k = 0;
    for (; k + kLanes <= width; k += kLanes) {
        const Int high = second ? to_bfloat16(load(second + k)) << 16 : constant_int(0);
        store_int(pairs + 2 * k, to_bfloat16(load(first + k)) | high);
    }
    for (; k < width; ++k) {
        pairs[2 * k] = bfloat16_of(first[k]);
        pairs[2 * k + 1] = second ? bfloat16_of(second[k]) : 0;
    }
}

// Tiles of nearly the same height, as in panel_product: calls body(first column, height).
template <class Body>
static GATEWORK_INLINE void outer_tiles(std::int64_t depth, const Body& body) {
    std::int64_t tiles = divided_up(depth, kRows);
    for (std::int64_t k = 0; k < depth; --tiles) {
        const std::int64_t height = divided_up(depth - k, tiles);
        body(k, height);
        k += height;
    }
}

// Rows of 4-byte lanes, `depth` each, into tiles: (rows, height) one after the other.
static void gather_tiles(const float* const* from, std::int64_t rows, std::int64_t depth, float* to) {
    outer_tiles(depth, [&](std::int64_t k, std::int64_t height) {
        if (k + kCopied <= depth) {
            for (std::int64_t n = 0; n < rows; ++n, to += height) std::memcpy(to, from[n] + k, sizeof(float) * kCopied);
            return;
        }
        for (std::int64_t n = 0; n < rows; ++n, to += height)
            for (std::int64_t m = 0; m < height; ++m) std::memcpy(to + m, from[n] + k + m, sizeof(float));
    });
}

template <class Format>
static void outer_in(const Outer& o) {
    constexpr int kStep = Format::kStep;
    const OuterScratch plan = outer_plan(kStep == 1 ? Precision::float32 : Precision::bfloat16, o.depth);
    float *tiles = reinterpret_cast<float*>(o.scratch + plan.tiles), *z = reinterpret_cast<float*>(o.scratch + plan.z);
    for (std::int64_t first = 0; first < o.rows; first += kOuterRows) {
        const std::int64_t rows = smaller(kOuterRows, o.rows - first), whole = (rows + kStep - 1) / kStep;
        if constexpr (kStep == 1) {
            gather_tiles(o.a + first, rows, o.depth, tiles);
        } else {
            // A pair is as wide as a float, and goes the same way.
            const float** pointers = reinterpret_cast<const float**>(o.scratch + plan.pointers);
            for (std::int64_t n = 0; n < whole; ++n) {
                const float* second = 2 * n + 1 < rows ? o.a[first + 2 * n + 1] : nullptr;
                pointers[n] = reinterpret_cast<const float*>(o.scratch + plan.pairs) + n * o.depth;
                to_pairs(o.a[first + 2 * n], second, o.depth, reinterpret_cast<std::uint16_t*>(const_cast<float*>(pointers[n])));
            }
            gather_tiles(pointers, whole, o.depth, tiles);
        }
        for (std::int64_t panel = 0; panel < o.panels; ++panel) {
            const std::int64_t column = o.column + panel * kOuterColumns;
            Vec sum[kOuterColumns / kLanes];
            float* columns = o.columns ? o.columns + panel * kOuterColumns : nullptr;
            for (int v = 0; v < kOuterColumns / kLanes; ++v) sum[v] = columns ? load(columns + v * kLanes) : constant(0.0f);
            for (std::int64_t n = 0; n < rows; n += kStep) {
                const float* row = o.z[first + n] + column;
                const float* second = kStep == 2 && n + 1 < rows ? o.z[first + n + 1] + column : nullptr;
                float* to = z + n / kStep * kOuterColumns;
                for (int v = 0; v < kOuterColumns / kLanes; ++v) {
                    const Vec part = load(row + v * kLanes);
                    sum[v] += part;
                    if constexpr (kStep == 1) {
                        store(to + v * kLanes, part);
                    } else {
                        Int pair = to_bfloat16(part);
                        if (second) {
                            const Vec other = load(second + v * kLanes);
                            sum[v] += other;
                            pair = pair | (to_bfloat16(other) << 16);
                        }
                        store_int(to + v * kLanes, pair);
                    }
                }
            }
            if (columns)
                for (int v = 0; v < kOuterColumns / kLanes; ++v) store(columns + v * kLanes, sum[v]);
            const float* tile = tiles;
            float* sums = o.sums + panel * o.depth * kOuterColumns;
            outer_tiles(o.depth, [&](std::int64_t k, std::int64_t height) {
                for (int c = 0; c < kOuterColumns; c += kOuterVectors * kLanes)
                    outer_run<Format, kRows>({tile, z + c, kStep * whole, sums + k * kOuterColumns + c}, height);
                tile += whole * height;
            });
        }
    }
}

// Some columns of a panel's sums as rows of the weights: weights[l][k] = sums[k][l], k < depth, l < columns.
static void outer_rows(const float* sums, std::int64_t depth, std::int64_t columns, float* weights) {
    std::int64_t l = 0;
    for (; l + kLanes <= columns; l += kLanes) {
        std::int64_t k = 0;
        for (; k + kLanes <= depth; k += kLanes) transpose(sums + k * kOuterColumns + l, kOuterColumns, weights + l * depth + k, depth);
        for (; k < depth; ++k)
            for (int lane = 0; lane < kLanes; ++lane) weights[(l + lane) * depth + k] = sums[k * kOuterColumns + l + lane];
    }
    for (; l < columns; ++l)
        for (std::int64_t k = 0; k < depth; ++k) weights[l * depth + k] = sums[k * kOuterColumns + l];
}

// Levels without instructions for pairs of bfloat16 gain nothing by rounding: they sum the products of the floats.
static void outer(Precision precision, const Outer& o) {
#if defined(__AVX512BF16__) && GATEWORK_LANES == 16
    if (precision != Precision::float32) return outer_in<BFloat16>(o);
#else
    (void)precision;
#endif
    outer_in<Float32>(o);
}
