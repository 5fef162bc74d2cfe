// SPDX-License-Identifier: Apache-2.0
// Float32 embeddings against those that transformers gave the same sentences.
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <sstream>

#include "resources.hpp"
#include "text/text_encoder.hpp"

namespace reverse_dictionary {
namespace {

struct Reference {
  std::vector<std::string> sentences;
  std::vector<float> vectors;
};

Reference load_reference() {
  Reference reference;
  for (const auto& row : data_table("reference_vectors.tsv")) {
    reference.sentences.push_back(row.at(0));
    std::istringstream numbers(row.at(1));
    for (float value; numbers >> value;) reference.vectors.push_back(value);
  }
  return reference;
}

TextEncoder load_encoder() {
  return {model_directory() / "model.safetensors", model_directory() / "vocab.txt"};
}

TEST(Embedding, AgreesWithTransformers) {
  SKIP_WITHOUT_MODEL();
  const Reference reference = load_reference();
  ASSERT_EQ(reference.sentences.size(), 20U);
  const auto vectors = load_encoder().encode(reference.sentences);
  ASSERT_EQ(vectors.size(), reference.vectors.size());
  float largest = 0;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    const float difference = std::abs(vectors[i] - reference.vectors[i]);
    largest = std::max(largest, difference);
    ASSERT_LE(difference, 1e-5F) << reference.sentences[i * 20 / vectors.size()];
  }
  std::cout << "largest difference: " << largest << "\n";
}

TEST(Embedding, DoesNotDependOnTheBatch) {
  SKIP_WITHOUT_MODEL();
  const Reference reference = load_reference();
  const TextEncoder encoder = load_encoder();
  const auto together = encoder.encode(reference.sentences);
  for (std::size_t i = 0; i < reference.sentences.size(); ++i) {
    const auto alone = encoder.encode(std::span(reference.sentences).subspan(i, 1));
    for (std::size_t j = 0; j < alone.size(); ++j) {
      ASSERT_NEAR(alone[j], together[i * encoder.width() + j], 1e-6F) << reference.sentences[i];
    }
  }
}

}  // namespace
}  // namespace reverse_dictionary
