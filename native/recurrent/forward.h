// A pass through one direction of some sequences. Included only inside a level's own namespace.
//
// The products with x run ahead of the recurrence, for as many rows as stay in the second-level cache; then step by step
// a panel's product with h is added in place and the panel's units get their gates, memory and output while warm.

constexpr std::int64_t kAheadFloats = 96 * 1024;

// Scratch of the forward pass, in bytes from its start.
struct ForwardScratch {
    std::int64_t ahead;  // rows computed ahead
    std::int64_t pointers, scales, operands, operand_bytes, h_pointers, h_scales, h_operands, h_operand_bytes;
    std::int64_t z, h, h2, c, masked, u, stats, work, keep;
    std::int64_t bytes;
};

struct Places {
    std::int64_t at = 0;
    std::int64_t take(std::int64_t bytes) {
        const std::int64_t here = at;
        at += divided_up(bytes, 64) * 64;
        return here;
    }
};

static ForwardScratch forward_plan(const Packed& p, const Schedule& schedule, bool tape) {
    const std::int64_t H = padded(p.units), P = padded(p.outputs), batch = schedule.batch;
    const std::int64_t slots = p.cell.slots * H, floats = (std::int64_t)sizeof(float);
    ForwardScratch s{};
    Places places;
    s.ahead = smaller(schedule.rows, larger(kAheadFloats / slots, batch));
    s.pointers = places.take(s.ahead * (std::int64_t)sizeof(void*));
    s.h_pointers = places.take(batch * (std::int64_t)sizeof(void*));
    s.keep = places.take(2 * batch * (std::int64_t)sizeof(void*));
    if (p.precision != Precision::float32) {
        s.operand_bytes = operand_bytes(p.precision, p.inputs);
        s.operands = places.take(s.ahead * s.operand_bytes);
        s.scales = places.take(s.ahead * floats);
        s.h_operand_bytes = operand_bytes(p.precision, larger(p.outputs, p.units));
        s.h_operands = places.take(batch * s.h_operand_bytes);
        s.h_scales = places.take(batch * floats);
    }
    s.work = places.take(4 * H * floats);
    if (!tape) {
        s.z = places.take(s.ahead * slots * floats);
        s.h = places.take(batch * P * floats);
        s.h2 = places.take(batch * P * floats);
        s.masked = places.take(batch * P * floats);
        s.c = places.take(batch * H * floats);
        s.u = places.take(batch * H * floats);
        s.stats = places.take(batch * kPad * floats);
    }
    s.bytes = places.at;
    return s;
}
static std::size_t forward_scratch(const Packed& p, const Schedule& schedule, bool tape) {
    return (std::size_t)forward_plan(p, schedule, tape).bytes;
}

// States of all sequences in sorted order, padded with zeros.
static void load_state(const float* from, const Schedule& schedule, std::int64_t width, float* to) {
    const std::int64_t wide = padded(width);
    for (std::int64_t place = 0; place < schedule.batch; ++place) {
        float* row = to + place * wide;
        if (from) std::memcpy(row, from + schedule.order[place] * width, sizeof(float) * (std::size_t)width);
        for (std::int64_t u = from ? width : 0; u < wide; ++u) row[u] = 0.0f;
    }
}
// States of the places first to last - 1, back to the caller's order.
static void save_state(
    const float* from, const Schedule& schedule, std::int64_t first, std::int64_t last, std::int64_t width, float* to) {
    const std::int64_t wide = padded(width);
    for (std::int64_t place = first; place < last; ++place)
        std::memcpy(to + schedule.order[place] * width, from + place * wide, sizeof(float) * (std::size_t)width);
}

// W x + b of the rows from step `s` on, as many as `ahead`; z is the first one's. Returns how many.
static std::int64_t project_inputs(
    const Packed& p, const Schedule& schedule, const Forward& io, const ForwardScratch& plan, std::int64_t s, float* z) {
    const std::int64_t H = padded(p.units), slots = p.cell.slots * H;
    const void** x = reinterpret_cast<const void**>(io.scratch + plan.pointers);
    std::int64_t rows = 0;
    for (; s < schedule.steps && rows + schedule.running[s] <= plan.ahead; ++s)
        for (std::int64_t place = 0; place < schedule.running[s]; ++place)
            x[rows++] = io.x.row(schedule.time(place, s), schedule.order[place]);
    // Slots the product does not reach: a recurrent bias of its own, or nothing.
    const std::int64_t reached = p.cell.w_slots * H;
    const bool plain_bias = p.cell.kind != CellKind::lstm_layernorm;
    for (std::int64_t row = 0; row < rows; ++row) {
        float* slot = z + row * slots;
        if (io.projected) std::memcpy(slot, x[row], sizeof(float) * (std::size_t)reached);
        if (p.cell.recurrent_bias) {
            std::memcpy(slot + reached, p.rb + (p.cell.r_slots - 1) * H, sizeof(float) * (std::size_t)H);
        } else if (!plain_bias) {
            std::memset(slot, 0, sizeof(float) * (std::size_t)(2 * reached));
        }
    }
    if (io.projected) return rows;
    Operands operands{x, nullptr};
    if (p.precision != Precision::float32) {
        float* scales = reinterpret_cast<float*>(io.scratch + plan.scales);
        for (std::int64_t row = 0; row < rows; ++row) {
            char* to = io.scratch + plan.operands + row * plan.operand_bytes;
            to_operand(p.precision, static_cast<const float*>(x[row]), p.inputs, false, to, scales + row);
            x[row] = to;
        }
        operands.scales = scales;
    }
    if (plain_bias) {
        product(p.precision, p.w, operands, rows, p.b, 0, z, slots);
    } else {
        product(p.precision, p.w, operands, rows, z, slots, z, slots);
    }
    return rows;
}

// Rows of a state as operands of a product: where they lie, or converted.
static Operands state_operands(
    const Packed& p, const Forward& io, const ForwardScratch& plan, const float* state, std::int64_t width,
    std::int64_t rows) {
    const void** pointers = reinterpret_cast<const void**>(io.scratch + plan.h_pointers);
    const std::int64_t wide = padded(width);
    for (std::int64_t row = 0; row < rows; ++row) pointers[row] = state + row * wide;
    if (p.precision == Precision::float32) return {pointers, nullptr};
    float* scales = reinterpret_cast<float*>(io.scratch + plan.h_scales);
    for (std::int64_t row = 0; row < rows; ++row) {
        char* to = io.scratch + plan.h_operands + row * plan.h_operand_bytes;
        to_operand(p.precision, state + row * wide, width, false, to, scales + row);
        pointers[row] = to;
    }
    return {pointers, scales};
}

static void apply_mask(const float* mask, const Schedule& schedule, const float* from, std::int64_t rows, std::int64_t width, float* to) {
    const std::int64_t wide = padded(width);
    for (std::int64_t place = 0; place < rows; ++place) {
        const float* factors = mask + schedule.order[place] * width;
        for (std::int64_t u = 0; u < width; ++u) to[place * wide + u] = from[place * wide + u] * factors[u];
        for (std::int64_t u = width; u < wide; ++u) to[place * wide + u] = 0.0f;
    }
}

static const std::uint8_t* const* keep_rows(
    const Rows<const std::uint8_t>& keep, const Schedule& schedule, std::int64_t s, const std::uint8_t** rows) {
    if (!keep.base) return nullptr;
    for (std::int64_t place = 0; place < schedule.running[s]; ++place)
        rows[place] = keep.row(schedule.time(place, s), schedule.order[place]);
    return rows;
}

// h kept where asked, for the cell whose h is a projection.
static void keep_projected(const Step& s, std::int64_t width) {
    if (!s.keep_h) return;
    for (std::int64_t row = 0; row < s.rows; ++row)
        for (std::int64_t u = 0; u < width; ++u)
            if (s.keep_h[row][u]) s.h[row * s.outputs + u] = s.h_old[row * s.outputs + u];
}

static void one_step(
    const Packed& p, const Forward& io, const ForwardScratch& plan, const Step& step, const float* operand, bool tape) {
    const std::int64_t H = step.units, slots = p.cell.slots * H, rows = step.rows;
    float* z = step.z + p.cell.r_first * H;
    float* work = reinterpret_cast<float*>(io.scratch + plan.work);
    const Operands h = state_operands(p, io, plan, operand, p.outputs, rows);
    const bool by_panel = p.cell.kind != CellKind::gru_reset_before && p.cell.kind != CellKind::lstm_layernorm;
    if (by_panel && rows == 1) {
        few_rows(p.precision, p.r, 0, panel_count(p.r), h, 1, z, slots, z, slots);
        units_forward(step, tape, 0, H);
    } else for (std::int64_t n = 0; n < panel_count(p.r); ++n) {
        const Panel panel = panel_at(p.r, n, step_of(p.precision));
        panel_product(p.precision, p.r, panel, h, rows, z, slots, z, slots);
        if (by_panel) {
            const std::int64_t wide = p.r.group ? kLanes : panel.vectors * kLanes;
            units_forward(step, tape, panel.first, panel.first + wide);
        }
    }
    if (p.cell.kind == CellKind::lstm_layernorm) layernorm_forward(step, work);
    if (p.cell.kind == CellKind::gru_reset_before) {
        gru_before_gates(step, operand);
        const Operands u = state_operands(p, io, plan, step.u, p.units, rows);
        product(p.precision, p.rn, u, rows, step.z + 2 * H, slots, step.z + 2 * H, slots);
        step.keep_h ? gru_before_output<true>(step) : gru_before_output<false>(step);
    }
    if (p.cell.kind == CellKind::lstm_projection) {
        const Operands u = state_operands(p, io, plan, step.u, p.units, rows);
        std::memset(step.h, 0, sizeof(float) * (std::size_t)(rows * step.outputs));
        product(p.precision, p.v, u, rows, step.h, step.outputs, step.h, step.outputs);
        keep_projected(step, p.outputs);
    }
}

static void forward(const Packed& p, const Schedule& schedule, const Forward& io) {
    const bool tape = io.tape != nullptr, masked = io.mask != nullptr;
    const ForwardScratch plan = forward_plan(p, schedule, tape);
    const std::int64_t H = padded(p.units), P = padded(p.outputs), batch = schedule.batch, slots = p.cell.slots * H;
    const bool memory = p.cell.memory;
    const Tape places = tape_layout(p.cell, p.units, p.outputs, schedule.rows, batch, masked);
    const auto scratch = [&](std::int64_t at) { return reinterpret_cast<float*>(io.scratch + at); };
    float* h = tape ? io.tape + places.h : scratch(plan.h);
    float* c = tape ? io.tape + places.c : scratch(plan.c);
    float* operand = masked ? tape ? io.tape + places.masked : scratch(plan.masked) : h;
    const std::uint8_t** keep = reinterpret_cast<const std::uint8_t**>(io.scratch + plan.keep);
    load_state(io.h0, schedule, p.outputs, h);
    if (memory) load_state(io.c0, schedule, p.units, c);

    Step step{};
    step.p = &p;
    step.units = H;
    step.outputs = P;
    std::int64_t still = batch, ready = 0;
    float* z = nullptr;
    for (std::int64_t s = 0; s < schedule.steps; ++s) {
        const std::int64_t rows = schedule.running[s], row = schedule.first_row[s];
        if (rows < still) {
            save_state(h, schedule, rows, still, p.outputs, io.h);
            if (memory) save_state(c, schedule, rows, still, p.units, io.c);
            still = rows;
        }
        if (ready == 0) {
            z = tape ? io.tape + places.z + row * slots : scratch(plan.z);
            ready = project_inputs(p, schedule, io, plan, s, z);
        }
        if (masked) apply_mask(io.mask, schedule, h, rows, p.outputs, operand);
        else operand = h;
        step.rows = rows;
        step.z = z;
        step.h_old = h;
        step.c_old = c;
        step.h = tape ? io.tape + places.h + (batch + row) * P : scratch(h == scratch(plan.h) ? plan.h2 : plan.h);
        step.c = tape && memory ? io.tape + places.c + (batch + row) * H : c;
        step.u = tape ? io.tape + places.u + row * H : scratch(plan.u);
        step.stats = tape ? io.tape + places.stats + row * kPad : scratch(plan.stats);
        step.keep_h = keep_rows(io.keep_h, schedule, s, keep);
        step.keep_c = memory ? keep_rows(io.keep_c, schedule, s, keep + batch) : nullptr;
        one_step(p, io, plan, step, operand, tape);
        for (std::int64_t place = 0; place < rows; ++place)
            std::memcpy(
                io.y.row(schedule.time(place, s), schedule.order[place]), step.h + place * P,
                sizeof(float) * (std::size_t)p.outputs);
        h = step.h;
        c = step.c;
        if (masked && tape) operand = io.tape + places.masked + (batch + row) * P;
        z += rows * slots;
        ready -= rows;
    }
    save_state(h, schedule, 0, still, p.outputs, io.h);
    if (memory) save_state(c, schedule, 0, still, p.units, io.c);
}
