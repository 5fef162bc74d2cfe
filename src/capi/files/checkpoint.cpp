// SPDX-License-Identifier: Apache-2.0
// Reading checkpoints: entries, tensors, canonical weights.
#include "octavo/checkpoint.hpp"

#include <iterator>

#include "capi/operand.hpp"

using namespace octavo::capi;
using octavo::Checkpoint;
using octavo::Tensor;

namespace {

const Checkpoint& open_one(const char* operation, const octavo_checkpoint* checkpoint) {
  return *value_of({operation, "checkpoint"}, checkpoint);
}

}  // namespace

octavo_code octavo_checkpoint_open(const char* path, octavo_checkpoint** result) {
  constexpr const char* kName = "checkpoint_open";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(std::make_unique<const Checkpoint>(
        octavo::open_checkpoint(text_of({kName, "path"}, path))));
  });
}

octavo_checkpoint* octavo_checkpoint_retain(octavo_checkpoint* checkpoint) {
  return retain(checkpoint);
}
void octavo_checkpoint_release(octavo_checkpoint* checkpoint) { release(checkpoint); }

octavo_code octavo_checkpoint_describe(const octavo_checkpoint* checkpoint,
                                       octavo_checkpoint_info* result) {
  constexpr const char* kName = "checkpoint_describe";
  return guarded(kName, [&] {
    const Checkpoint& c = open_one(kName, checkpoint);
    octavo_checkpoint_info info{};
    info.entries = static_cast<int64_t>(c.entries().size());
    info.metadata = static_cast<int64_t>(c.metadata().size());
    info.file_bytes = c.file_bytes();
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_checkpoint_entry(const octavo_checkpoint* checkpoint, int64_t index,
                                    octavo_entry_info* result) {
  constexpr const char* kName = "checkpoint_entry";
  return guarded(kName, [&] {
    const auto& entries = open_one(kName, checkpoint).entries();
    const auto& e = entries[checked_index({kName, "index"}, index, entries.size())];
    octavo_entry_info info{};
    info.name = e.name.c_str();
    info.dtype = e.dtype.c_str();
    info.ndim = static_cast<int64_t>(e.shape.size());
    info.shape = e.shape.data();
    info.begin = e.begin;
    info.end = e.end;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_checkpoint_metadata(const octavo_checkpoint* checkpoint, int64_t index,
                                       const char** key, const char** value) {
  constexpr const char* kName = "checkpoint_metadata";
  return guarded(kName, [&] {
    require({kName, "key"}, static_cast<const void*>(key));
    require({kName, "value"}, static_cast<const void*>(value));
    *key = *value = nullptr;
    const auto& pairs = open_one(kName, checkpoint).metadata();
    const std::size_t i = checked_index({kName, "index"}, index, pairs.size());
    const auto pair = std::next(pairs.begin(), static_cast<std::ptrdiff_t>(i));
    *key = pair->first.c_str();
    *value = pair->second.c_str();
  });
}

octavo_code octavo_checkpoint_contains(const octavo_checkpoint* checkpoint, const char* name,
                                       int32_t* result) {
  constexpr const char* kName = "checkpoint_contains";
  return guarded(kName, [&] {
    give(kName, result, int32_t{0});
    const Checkpoint& c = open_one(kName, checkpoint);
    *result = c.contains(text_of({kName, "name"}, name)) ? 1 : 0;
  });
}

octavo_code octavo_checkpoint_tensor(const octavo_checkpoint* checkpoint, const char* name,
                                     octavo_tensor** result) {
  constexpr const char* kName = "checkpoint_tensor";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(open_one(kName, checkpoint).tensor(text_of({kName, "name"}, name)));
  });
}

octavo_code octavo_checkpoint_bytes(const octavo_checkpoint* checkpoint, const char* name,
                                    octavo_tensor** result) {
  constexpr const char* kName = "checkpoint_bytes";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    const Checkpoint& c = open_one(kName, checkpoint);
    const auto bytes =
        std::make_shared<std::vector<std::byte>>(c.bytes(text_of({kName, "name"}, name)));
    slot.fill(Tensor::adopt(
        bytes, {bytes->data(), octavo::DType::uint8, {static_cast<std::int64_t>(bytes->size())}}));
  });
}

octavo_code octavo_checkpoint_quantized_layers(const octavo_checkpoint* checkpoint,
                                               octavo_strings** result) {
  constexpr const char* kName = "checkpoint_quantized_layers";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(open_one(kName, checkpoint).quantized_layers());
  });
}

octavo_code octavo_checkpoint_weight(const octavo_checkpoint* checkpoint, const char* prefix,
                                     octavo_weight** result) {
  constexpr const char* kName = "checkpoint_weight";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(open_one(kName, checkpoint).weight(text_of({kName, "prefix"}, prefix)));
  });
}

octavo_code octavo_weight_describe(const octavo_weight* weight, octavo_weight_info* result) {
  constexpr const char* kName = "weight_describe";
  return guarded(kName, [&] {
    const octavo::Weight& w = value_of({kName, "weight"}, weight);
    octavo_weight_info info{};
    info.scheme = w.scheme.c_str();
    info.has_activation = w.activation.has_value() ? 1 : 0;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_weight_codes(const octavo_weight* weight, octavo_quantized** result) {
  constexpr const char* kName = "weight_codes";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(value_of({kName, "weight"}, weight).codes);
  });
}

octavo_code octavo_weight_activation(const octavo_weight* weight, octavo_activation* result) {
  return guarded("weight_activation", [&] {
    const ArgumentPath place{"weight_activation", "weight"};
    give_activation(place, value_of(place, weight).activation, result);
  });
}

octavo_code octavo_weight_pack(const octavo_weight* weight, const char* backend,
                               octavo_packed** result) {
  constexpr const char* kName = "weight_pack";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    slot.fill(octavo::pack(value_of({kName, "weight"}, weight), backend));
  });
}

octavo_weight* octavo_weight_retain(octavo_weight* weight) { return retain(weight); }
void octavo_weight_release(octavo_weight* weight) { release(weight); }
