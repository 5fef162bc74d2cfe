// SPDX-License-Identifier: Apache-2.0
// Uses Octavo's own reader and writer; the fingerprint is an FNV-1a hash in the file's metadata.
#include "embedding_cache.hpp"

#include <array>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <string_view>

#include "errors.hpp"
#include "octavo/checkpoint.hpp"

namespace reverse_dictionary {
namespace {

constexpr const char* kTensor = "embeddings";
constexpr const char* kKey = "fingerprint";

struct Fnv {
  std::uint64_t value = 0xCBF29CE484222325U;
  void add(std::string_view bytes) {
    for (const char byte : bytes) {
      value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001B3U;
    }
  }
};

}  // namespace

std::string fingerprint(const std::filesystem::path& model, const std::vector<Synset>& synsets) {
  std::ifstream file(model, std::ios::binary);
  if (!file) throw MissingResource("model: cannot read " + model.string());
  Fnv hash;
  std::array<char, 1 << 16> part{};
  while (file.read(part.data(), part.size()) || file.gcount() > 0) {
    hash.add({part.data(), static_cast<std::size_t>(file.gcount())});
  }
  for (const Synset& synset : synsets) {
    hash.add(synset.definition);
    hash.add("\n");
  }
  return std::to_string(hash.value);
}

std::optional<std::vector<float>> load_embeddings(const std::filesystem::path& cache,
                                                  const std::string& fingerprint, std::size_t rows,
                                                  std::size_t width) {
  if (!std::filesystem::is_regular_file(cache)) return std::nullopt;
  try {
    const octavo::Checkpoint file = octavo::open_checkpoint(cache.string());
    const auto found = file.metadata().find(kKey);
    if (found == file.metadata().end() || found->second != fingerprint) return std::nullopt;
    const octavo::Tensor tensor = file.tensor(kTensor);
    if (tensor.dtype() != octavo::float32 || tensor.rank() != 2 ||
        tensor.size(0) != static_cast<std::int64_t>(rows) ||
        tensor.size(1) != static_cast<std::int64_t>(width)) {
      return std::nullopt;
    }
    const auto* values = tensor.data_as<float>();
    return std::vector<float>(values, values + rows * width);
  } catch (const octavo::Error&) {
    return std::nullopt;  // a damaged cache is made again
  }
}

void save_embeddings(const std::filesystem::path& cache, const std::string& fingerprint,
                     const std::vector<float>& embeddings, std::size_t rows) {
  const std::size_t size = embeddings.size() * sizeof(float);
  octavo::TensorToWrite tensor;
  tensor.name = kTensor;
  tensor.dtype = "F32";
  tensor.shape = {static_cast<std::int64_t>(rows),
                  static_cast<std::int64_t>(embeddings.size() / rows)};
  tensor.bytes = [&embeddings, size] {
    std::vector<std::byte> bytes(size);
    std::memcpy(bytes.data(), embeddings.data(), size);
    return bytes;
  };
  octavo::write_safetensors(cache.string(), {tensor}, {{kKey, fingerprint}});
}

}  // namespace reverse_dictionary
