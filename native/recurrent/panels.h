// Weights regrouped into panels, and products with them. Included only inside a level's own namespace.

static GATEWORK_INLINE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
static GATEWORK_INLINE std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
static GATEWORK_INLINE std::int64_t divided_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

static int step_of(Precision precision) { return precision == Precision::float32 ? 1 : precision == Precision::bfloat16 ? 2 : 4; }
static int size_of(Precision precision) { return precision == Precision::float32 ? 4 : precision == Precision::bfloat16 ? 2 : 1; }

constexpr int kPanelVectors = 4;

// One panel of a matrix: which columns, and where its weights are. Column of lane l of vector v: first + v x apart + l.
struct Panel {
    int vectors;
    std::int64_t first, apart;
    std::int64_t offset;  // in weights; columns x depth is the same in scales and corrections
    std::int64_t column;  // panels' columns before this one
};

static std::int64_t panel_count(const Matrix& m) {
    return m.group ? m.columns / m.group / kLanes : divided_up(m.columns, kPanelVectors * kLanes);
}
static Panel panel_at(const Matrix& m, std::int64_t p, int step) {
    const std::int64_t steps = divided_up(m.depth, step);
    Panel panel;
    if (m.group) {
        panel = {m.group, p * kLanes, m.columns / m.group, 0, p * m.group * kLanes};
    } else {
        const std::int64_t first = p * kPanelVectors * kLanes;
        panel = {(int)smaller(kPanelVectors, (m.columns - first) / kLanes), first, kLanes, 0, first};
    }
    panel.offset = panel.column * steps * step;
    return panel;
}

// The caller's weights seen as the matrix to be packed: column c is slot c / H' and unit c % H' of `gates`, or plainly
// column c where there are none; the other index is the row, the same way.
struct Source {
    const float* weights;
    std::int64_t width;         // floats a row of the weights
    const std::int8_t* gates;   // gate of each slot, or null: rows of the weights are not gates
    std::int64_t units, slots;  // H and slots; without gates: rows of the weights and 1
    bool transposed;            // the matrix's rows are the weights' rows (the way back), else its columns

    // Row of the weights for a packed index, or -1 for padding.
    std::int64_t weight_row(std::int64_t packed_index) const {
        const std::int64_t wide = padded(units), unit = packed_index % wide;
        if (unit >= units) return -1;
        return gates ? gates[packed_index / wide] * units + unit : unit;
    }
};

static GATEWORK_INLINE float source_at(const Source& s, std::int64_t k, std::int64_t column) {
    const std::int64_t row = s.weight_row(s.transposed ? k : column), other = s.transposed ? column : k;
    return row < 0 || other >= s.width ? 0.0f : s.weights[row * s.width + other];
}

static GATEWORK_INLINE std::uint16_t bfloat16_of(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return (std::uint16_t)(bits >> 16 | 0x40);
    return (std::uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// kLanes rows of `from`, `width` apart, the first kLanes floats of each, transposed to rows `wide` apart.
static GATEWORK_INLINE void transpose(const float* from, std::int64_t width, float* to, std::int64_t wide) {
#if defined(__AVX512F__) && GATEWORK_LANES == 16
    __m512 a[16], b[16];
    for (int l = 0; l < 16; ++l) a[l] = _mm512_loadu_ps(from + l * width);
    for (int l = 0; l < 16; l += 2) {  // pairs of floats, then fours, then the 128-bit parts
        b[l] = _mm512_unpacklo_ps(a[l], a[l + 1]);
        b[l + 1] = _mm512_unpackhi_ps(a[l], a[l + 1]);
    }
    for (int l = 0; l < 16; l += 4) {
        a[l] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b[l]), _mm512_castps_pd(b[l + 2])));
        a[l + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b[l]), _mm512_castps_pd(b[l + 2])));
        a[l + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b[l + 1]), _mm512_castps_pd(b[l + 3])));
        a[l + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b[l + 1]), _mm512_castps_pd(b[l + 3])));
    }
    for (int l = 0; l < 4; ++l) {
        b[l] = _mm512_shuffle_f32x4(a[l], a[l + 4], 0x88);
        b[l + 4] = _mm512_shuffle_f32x4(a[l], a[l + 4], 0xdd);
        b[l + 8] = _mm512_shuffle_f32x4(a[l + 8], a[l + 12], 0x88);
        b[l + 12] = _mm512_shuffle_f32x4(a[l + 8], a[l + 12], 0xdd);
    }
    for (int l = 0; l < 4; ++l) {
        _mm512_storeu_ps(to + l * wide, _mm512_shuffle_f32x4(b[l], b[l + 8], 0x88));
        _mm512_storeu_ps(to + (l + 8) * wide, _mm512_shuffle_f32x4(b[l], b[l + 8], 0xdd));
        _mm512_storeu_ps(to + (l + 4) * wide, _mm512_shuffle_f32x4(b[l + 4], b[l + 12], 0x88));
        _mm512_storeu_ps(to + (l + 12) * wide, _mm512_shuffle_f32x4(b[l + 4], b[l + 12], 0xdd));
    }
#else
    for (int l = 0; l < kLanes; ++l)
        for (int k = 0; k < kLanes; ++k) to[k * wide + l] = from[l * width + k];
#endif
}

// Columns `first` to first + kLanes - 1 of the matrix, of one slot; to[k x wide + lane].
static void pack_lanes(const Source& s, std::int64_t depth, std::int64_t first, float* to, std::int64_t wide) {
    const std::int64_t row = s.weight_row(first), lanes = row < 0 ? 0 : smaller(kLanes, s.units - first % padded(s.units));
    const std::int64_t there = smaller(s.width, depth);
    std::int64_t k = 0;
    if (lanes == kLanes)
        for (; k + kLanes <= there; k += kLanes) transpose(s.weights + row * s.width + k, s.width, to + k * wide, wide);
    for (; k < depth; ++k)
        for (int l = 0; l < kLanes; ++l) to[k * wide + l] = k < there && l < lanes ? s.weights[(row + l) * s.width + k] : 0.0f;
}

// The same of a transposed source: the lanes are neighbours in a row of the weights, the depth goes slot by slot.
static void pack_lanes_transposed(const Source& s, std::int64_t depth, std::int64_t first, float* to, std::int64_t wide) {
    const std::int64_t lanes = larger(0, smaller(kLanes, s.width - first)), slot = padded(s.units);
    for (std::int64_t start = 0; start < depth; start += slot) {
        const float* from = s.weights + s.weight_row(start) * s.width + first;
        float* out = to + start * wide;
        std::int64_t k = 0;
        if (lanes == kLanes)
            for (; k < s.units; ++k) store(out + k * wide, load(from + k * s.width));
        for (; k < slot; ++k)
            for (int l = 0; l < kLanes; ++l) out[k * wide + l] = k < s.units && l < lanes ? from[k * s.width + l] : 0.0f;
    }
}

static void pack_float32(const Source& s, const Matrix& m, const Panel& panel) {
    const std::int64_t wide = panel.vectors * kLanes;
    for (int v = 0; v < panel.vectors; ++v) {
        float* to = static_cast<float*>(m.panels) + panel.offset + v * kLanes;
        const std::int64_t first = panel.first + v * panel.apart;
        if (s.transposed) pack_lanes_transposed(s, m.depth, first, to, wide);
        else pack_lanes(s, m.depth, first, to, wide);
    }
}

// Two rows of the depth side by side in a lane, by way of float32.
static void pack_bfloat16(const Source& s, const Matrix& m, const Panel& panel, float* work) {
    const std::int64_t wide = panel.vectors * kLanes, steps = divided_up(m.depth, 2);
    for (int v = 0; v < panel.vectors; ++v) {
        const std::int64_t first = panel.first + v * panel.apart;
        if (s.transposed) pack_lanes_transposed(s, m.depth, first, work, kLanes);
        else pack_lanes(s, m.depth, first, work, kLanes);
        if (m.depth % 2) store(work + m.depth * kLanes, constant(0.0f));
        std::uint16_t* to = static_cast<std::uint16_t*>(m.panels) + panel.offset + v * kLanes * 2;
        for (std::int64_t k = 0; k < steps; ++k) {
            const Int low = to_bfloat16(load(work + 2 * k * kLanes)), high = to_bfloat16(load(work + (2 * k + 1) * kLanes));
            store_int(to + k * wide * 2, low | (high << 16));
        }
    }
}

static void pack_int8(const Source& s, const Matrix& m, const Panel& panel) {
    std::int8_t* out = static_cast<std::int8_t*>(m.panels) + panel.offset;
    const std::int64_t wide = panel.vectors * kLanes, steps = divided_up(m.depth, 4);
    for (int v = 0; v < panel.vectors; ++v)
        for (int l = 0; l < kLanes; ++l) {
            const std::int64_t column = panel.first + v * panel.apart + l, at = v * kLanes + l;
            float largest = 0.0f;
            for (std::int64_t k = 0; k < m.depth; ++k) {
                const float w = source_at(s, k, column), size = w < 0.0f ? -w : w;
                largest = size > largest || size != size ? size : largest;
            }
            const float scale = largest / 127.0f;
            std::int32_t sum = 0;
            for (std::int64_t k = 0; k < 4 * steps; ++k) {
                const float w = k < m.depth && scale > 0.0f ? source_at(s, k, column) / scale : 0.0f;
                const std::int32_t q = (std::int32_t)(w < 0.0f ? w - 0.5f : w + 0.5f);
                out[(k / 4 * wide + at) * 4 + k % 4] = (std::int8_t)q;
                sum += q;
            }
            m.scale[panel.column + at] = scale / 127.0f;  // the operands' own factor of 127 is taken along
            m.correction[panel.column + at] = -128 * sum;
        }
}

// `work` holds (depth + 1) x kLanes floats.
static void pack_matrix(const Source& source, const Matrix& matrix, Precision precision, int part, int parts, float* work) {
    if (!matrix.panels) return;
    const std::int64_t panels = panel_count(matrix);
    for (std::int64_t p = part; p < panels; p += parts) {
        const Panel panel = panel_at(matrix, p, step_of(precision));
        switch (precision) {
            case Precision::float32: pack_float32(source, matrix, panel); break;
            case Precision::bfloat16: pack_bfloat16(source, matrix, panel, work); break;
            case Precision::int8: pack_int8(source, matrix, panel); break;
        }
    }
}

static void pack_slots(const float* from, int slots, const std::int8_t* gates, std::int64_t units, float* to) {
    const std::int64_t wide = padded(units);
    for (int s = 0; s < slots; ++s) {
        for (std::int64_t u = 0; u < units; ++u) to[s * wide + u] = from[(gates ? gates[s] : s) * units + u];
        for (std::int64_t u = units; u < wide; ++u) to[s * wide + u] = 0.0f;
    }
}

// Part `part` of `parts` of the packing; parts touch different panels.
static void pack(const Weights& weights, Packed& p, bool backward, int part, int parts, float* work) {
    const CellInfo& cell = p.cell;
    const std::int64_t units = p.units;
    static constexpr std::int8_t candidate[] = {2};
    const Source w{weights.w, p.inputs, cell.w_gate, units, cell.w_slots, false};
    const Source r{weights.r, p.outputs, cell.r_gate, units, cell.r_slots, false};
    const Source rn{weights.r, p.outputs, candidate, units, 1, false};
    const Source v{weights.extra[0], units, nullptr, p.outputs, 1, false};
    const auto turned = [](Source source) { source.transposed = true; return source; };
    pack_matrix(w, p.w, p.precision, part, parts, work);
    pack_matrix(r, p.r, p.precision, part, parts, work);
    pack_matrix(rn, p.rn, p.precision, part, parts, work);
    if (p.v.panels) pack_matrix(v, p.v, p.precision, part, parts, work);
    if (backward) {
        pack_matrix(turned(w), p.wt, p.precision, part, parts, work);
        pack_matrix(turned(r), p.rt, p.precision, part, parts, work);
        pack_matrix(turned(rn), p.rnt, p.precision, part, parts, work);
        if (p.vt.panels) pack_matrix(turned(v), p.vt, p.precision, part, parts, work);
    }
    if (part != 0) return;
    if (cell.kind == CellKind::lstm_layernorm) {
        pack_slots(weights.b, 4, nullptr, units, p.b);
        pack_slots(weights.extra[0], 4, nullptr, units, p.extra[0]);
        pack_slots(weights.extra[1], 4, nullptr, units, p.extra[1]);
        pack_slots(weights.extra[2], 1, nullptr, units, p.extra[2]);
        pack_slots(weights.extra[3], 1, nullptr, units, p.extra[3]);
        return;
    }
    pack_slots(weights.b, cell.w_slots, cell.w_gate, units, p.b);
    if (cell.recurrent_bias) {
        // Slots both products fill get both biases; the last, R h alone, its own.
        const std::int64_t wide = padded(units);
        pack_slots(weights.rb, cell.r_slots, cell.r_gate, units, p.rb);
        for (std::int64_t j = cell.r_first * wide; j < cell.w_slots * wide; ++j) p.b[j] += p.rb[j - cell.r_first * wide];
    }
    if (cell.kind == CellKind::lstm_peephole)
        for (int e = 0; e < 3; ++e) pack_slots(weights.extra[e], 1, nullptr, units, p.extra[e]);
}

// In every precision a lane has four bytes at each step of the depth.
static void take(const Packed& from, const std::int32_t* units, Packed& to) {
    const int step = step_of(from.precision), size = size_of(from.precision);
    const std::int64_t steps = divided_up(from.w.depth, step), whole = kPanelVectors * kLanes;
    for (std::int64_t p = 0; p < panel_count(to.w); ++p) {
        const Panel panel = panel_at(to.w, p, step);
        const int wide = panel.vectors * kLanes;
        const char* source[kPanelVectors * kLanes];
        std::int64_t stride[kPanelVectors * kLanes];
        for (int l = 0; l < wide; ++l) {
            const std::int64_t column = panel.first + l, unit = column < to.units ? units[column] : -1;
            source[l] = nullptr;
            stride[l] = 0;
            to.b[column] = unit < 0 ? 0.0f : from.b[unit];
            if (to.w.scale) {
                to.w.scale[column] = unit < 0 ? 0.0f : from.w.scale[unit];
                to.w.correction[column] = unit < 0 ? 0 : from.w.correction[unit];
            }
            if (unit < 0) continue;
            const Panel own = panel_at(from.w, unit / whole, step);
            source[l] = static_cast<const char*>(from.w.panels) + own.offset * size + (unit - own.first) * 4;
            stride[l] = own.vectors * kLanes * 4;
        }
        char* out = static_cast<char*>(to.w.panels) + panel.offset * size;
        for (std::int64_t k = 0; k < steps; ++k) {
            for (int l = 0; l < wide; ++l, out += 4) {
                if (source[l]) std::memcpy(out, source[l] + k * stride[l], 4);
                else std::memset(out, 0, 4);
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------------- products

// Rows of operands in a matrix's format.
struct Operands {
    const void* const* rows;
    const float* scales;  // int8: each row's largest value
};

// Depth a tile goes at once: a piece of a panel that stays in the second-level cache while all rows go over it, and the
// next piece is fetched meanwhile.
constexpr std::int64_t kDepth = 512;

// One panel for all rows: out = init + a M. Column 0 of the matrix is at init and out.
template <class Format>
static void panel_product(
    const Matrix& m, const Panel& panel, const Operands& a, std::int64_t rows, const float* init,
    std::int64_t init_stride, float* out, std::int64_t out_stride) {
    TileArgs t;
    const std::int64_t steps = divided_up(m.depth, Format::kStep), wide = panel.vectors * kLanes * Format::kStep;
    // int8 sums are scaled once, at the end.
    const std::int64_t pieces = Format::kStep == 4 ? 1 : divided_up(steps, kDepth);
    t.out_stride = out_stride;
    t.vector_stride = panel.apart;
    t.scale = m.scale ? m.scale + panel.column : nullptr;
    t.correction = m.correction ? m.correction + panel.column : nullptr;
    const typename Format::Weight* weights = static_cast<const typename Format::Weight*>(m.panels) + panel.offset;
    const bool last = panel.column + panel.vectors * kLanes >= m.columns;
    for (std::int64_t piece = 0, done = 0; piece < pieces; ++piece, done += t.depth) {
        t.depth = divided_up(steps - done, pieces - piece);
        t.panel = weights + done * wide;
        t.first = done * Format::kStep;
        // While the first tile goes over this piece, the next one comes nearer: pieces and panels follow one another.
        t.ahead = last && piece + 1 == pieces ? 0 : t.depth * wide * (std::int64_t)sizeof(typename Format::Weight);
        // Tiles of nearly the same height: 20 rows are 5 + 5 + 5 + 5, not 6 + 6 + 6 + 2.
        std::int64_t tiles = divided_up(rows, kRows);
        for (std::int64_t row = 0; row < rows; --tiles) {
            const int height = (int)divided_up(rows - row, tiles);
            t.a = a.rows + row;
            t.row_scale = a.scales ? a.scales + row : nullptr;
            t.out = out + row * out_stride + panel.first;
            t.init = piece ? t.out : init + row * init_stride + panel.first;
            t.init_stride = piece ? out_stride : init_stride;
            tile_of<Format>(panel.vectors, height)(t);
            t.ahead = 0;
            row += height;
        }
    }
}
static void panel_product(
    Precision precision, const Matrix& m, const Panel& panel, const Operands& a, std::int64_t rows, const float* init,
    std::int64_t init_stride, float* out, std::int64_t out_stride) {
    switch (precision) {
        case Precision::float32: return panel_product<Float32>(m, panel, a, rows, init, init_stride, out, out_stride);
        case Precision::bfloat16: return panel_product<BFloat16>(m, panel, a, rows, init, init_stride, out, out_stride);
        case Precision::int8: return panel_product<Int8>(m, panel, a, rows, init, init_stride, out, out_stride);
    }
}
// For a single row (step.h): panels first to last - 1, several at once, with the same bits.
static void few_rows(
    Precision precision, const Matrix& m, std::int64_t first, std::int64_t last, const Operands& a, std::int64_t rows,
    const float* init, std::int64_t init_stride, float* out, std::int64_t out_stride);
static void product(
    Precision precision, const Matrix& m, const Operands& a, std::int64_t rows, const float* init,
    std::int64_t init_stride, float* out, std::int64_t out_stride) {
    if (rows == 1) return few_rows(precision, m, 0, panel_count(m), a, 1, init, init_stride, out, out_stride);
    for (std::int64_t p = 0; p < panel_count(m); ++p)
        panel_product(precision, m, panel_at(m, p, step_of(precision)), a, rows, init, init_stride, out, out_stride);
}

// ------------------------------------------------------------------------------------------------------- operands
//
// float32 rows are multiplied where they lie. For the other formats they are converted into a buffer first, rows
// `operand_bytes` apart. int8: value x 127 / largest + 128, `largest` the row's own, or 1 where `unit` says |values| <= 1.

static std::int64_t operand_bytes(Precision precision, std::int64_t depth) {
    return divided_up(depth * size_of(precision) + 64, 64) * 64;
}

static void to_operand(Precision precision, const float* from, std::int64_t depth, bool unit, void* to, float* scale) {
    if (precision == Precision::bfloat16) {
        std::uint16_t* out = static_cast<std::uint16_t*>(to);
        std::int64_t k = 0;
        for (; k + kLanes <= depth; k += kLanes) store_low_halves(out + k, to_bfloat16(load(from + k)));
        for (; k < depth; ++k) out[k] = bfloat16_of(from[k]);
        if (depth % 2) out[depth] = 0;
        return;
    }
    std::uint8_t* out = static_cast<std::uint8_t*>(to);
    Int most = constant_int(0);  // sizes compare as integers do, and NaN is the largest
    std::int64_t k = 0;
    for (; k + kLanes <= depth; k += kLanes) most = larger_int(as_int(load(from + k)) & 0x7FFFFFFF, most);
    float lanes[kLanes];
    store(lanes, as_float(most));
    float largest = 0.0f;
    for (int l = 0; l < kLanes; ++l) largest = lanes[l] > largest || lanes[l] != lanes[l] ? lanes[l] : largest;
    for (; k < depth; ++k) {
        const float size = from[k] < 0.0f ? -from[k] : from[k];
        largest = size > largest || size != size ? size : largest;
    }
    const bool finite = largest - largest == 0.0f;
    if (unit && largest <= 1.0f) largest = 1.0f;
    *scale = largest;
    const float factor = largest > 0.0f && finite ? 127.0f / largest : 0.0f;
    k = 0;
    // Adding 1.5 x 2^23 rounds to an integer, kept in the low bits; 128 more shifts it to unsigned.
    for (; k + kLanes <= depth; k += kLanes)
        store_low_bytes(out + k, as_int(load(from + k) * factor + (12582912.0f + 128.0f)));
    for (; k < depth; ++k) {
        const float value = finite ? from[k] * factor : 0.0f;
        out[k] = (std::uint8_t)((std::int32_t)(value < 0.0f ? value - 0.5f : value + 0.5f) + 128);
    }
    for (; k % 4; ++k) out[k] = 128;
}
