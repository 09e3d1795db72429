#include "decode/head.h"

namespace gatework::decode {

Head::Head(const Weights& of, const std::vector<std::int32_t>& ids) {
    const recurrent::Packed& from = *of.packed;
    packed_.cell = from.cell;
    packed_.precision = from.precision;
    packed_.inputs = from.inputs;
    packed_.units = (std::int64_t)ids.size();
    bytes_.reserve(recurrent::packed_bytes(from.cell, from.precision, from.inputs, packed_.units, 0, false));
    recurrent::place_packed(packed_, false, bytes_.bytes());
    of.kernels->take(from, ids.data(), packed_);
    product.prepare(packed_, *of.kernels, kHeadRows);
}

void Network::shorten(const std::vector<std::int32_t>& ids, Heads& heads) const { heads.push_back(std::make_unique<Head>(head, ids)); }

void EnsembleNetwork::shorten(const std::vector<std::int32_t>& ids, Heads& heads) const {
    for (const Network* one : members) one->shorten(ids, heads);
}

}  // namespace gatework::decode
