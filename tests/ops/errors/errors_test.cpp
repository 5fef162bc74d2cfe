// SPDX-License-Identifier: Apache-2.0
// Every error sentence of the operations is said by some call, word for word.
#include "ops/errors/errors.hpp"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "ops/helpers.hpp"
#include "support/source_folder.hpp"

namespace octavo::test {

TensorView ones(DType dtype, std::initializer_list<std::int64_t> shape) {
  static std::deque<Tensor> kept;
  const bool stored = info(dtype).kind != DTypeKind::foreign;
  kept.push_back(stored ? tensor_of(dtype, Shape(shape), [](std::int64_t) { return 1.0; })
                        : Tensor::empty(dtype, shape));
  return kept.back();
}

TensorView scales_of(std::initializer_list<float> list) {
  const TensorView scales = ones(float32, {static_cast<std::int64_t>(list.size())});
  std::copy(list.begin(), list.end(), static_cast<float*>(scales.data));
  return scales;
}

ActivationQuant int8_rule(const Granularity& granularity) {
  ActivationQuant rule;
  rule.spec.granularity = granularity;
  return rule;
}

namespace {

std::vector<ErrorRow> all_rows() {
  std::vector<ErrorRow> rows;
  for (const auto& part :
       {product_errors(), scale_errors(), grouped_errors(), functional_errors(), quantize_errors(),
        weight_errors(), llm_int8_errors(), line_errors(), gradient_errors(), w8a8_errors(),
        layer_errors(), expert_errors(), norm_errors(), attention_errors(), parallel_errors()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

class Errors : public testing::TestWithParam<ErrorRow> {};

TEST_P(Errors, SaysCodeAndSentence) {
  const ErrorRow& row = GetParam();
  expect_error(row.call, row.code, row.sentence, true);
}

INSTANTIATE_TEST_SUITE_P(Rows, Errors, testing::ValuesIn(all_rows()),
                         [](const auto& row) { return std::string(row.param.name); });

// Sentences that no caller can reach on a machine where the library works; the reason beside each.
const char* const kUnreachable[] = {
    "load_linear: prefixes must name linear layers; got",       // checkpoint: declared embeddings
    "{}: memory must be available; got none for {} bytes",      // robustness: failing allocations
    "{}: workspace must be available; got none for {} bytes",   // robustness: failing allocations
    "{}: the problem must be accepted by a backend; got {}",    // the reference accepts everything
    "{}: backend must be usable on this machine; got {}: {}",   // every built backend is usable
    "{}: backend must be for the tensors' device; got {}",      // far: forced backends
    "{}.device must be that of {}, {}; got {}",                 // far: devices do not mix
    "{}: x must be in the host's memory; got {}",               // needs a device
    "attention: q.device must be the CPU; got {}",              // needs a device
    "rms_norm: x.device must be the CPU; got {}",               // needs a device
    "{}: x.device must be the CPU; got {}",                     // needs a device
    "rotate: x.device must be the CPU; got {}",                 // needs a device
    "{}.quantize.rotation must be 0 but on the CPU; got {}",    // far: rotations
    "{}.activation.rotation must be 0 but on the CPU; got {}",  // far: rotations
    "copy: place.device must be the source's or the host",      // needs two devices
    "{}: device must be the host or the weight's own, {}",      // needs two devices
    "{}: device must be usable; got cuda:{}: {}",               // cuda: a driver that fails
    "copy: stream must not be captured where memory",           // cuda: captured streams
    "{}: a backend must have a packed layout; got none",        // the generic one has
    "{}: backend must accept the problem; got {}, which",       // only one backend packs
    "{}: OCTAVO_SPIN must be 0 or 1; got '{}'",                 // cli: a process for each value
    "{}: OCTAVO_ISA must be one of {}; got '{}'",               // cli: a process for each value
    "{}: OCTAVO_NUM_THREADS must be a number of at least 0",    // cli: a process for each value
    "{}: context.workspace.data must not be null; got null",    // robustness: workspaces
    "{}: context.workspace.bytes must be at least {}",          // robustness: workspaces
    "{}: workspace must count less than 2^63 bytes; got more",  // robustness: extents
};

// Formats that only join what is listed on its own.
const char* const kJoining[] = {"{}{}; got {}", "{}: {}; got {}"};

// The sentences in the sources: string literals that fail, refuse and bad are called with.
std::vector<std::string> sentences(const std::string& file) {
  std::ifstream in(file);
  std::stringstream whole;
  whole << in.rdbuf();
  const std::string text = whole.str();
  static const std::regex call(
      R"(\b(?:fail|refuse|bad)\(\s*(?:(?:Code::)?\w+,\s*)?((?:"(?:[^"\\]|\\.)*"\s*)+))");
  static const std::regex piece(R"rx("((?:[^"\\]|\\.)*)")rx");
  std::vector<std::string> found;
  for (std::sregex_iterator m(text.begin(), text.end(), call), end; m != end; ++m) {
    const std::string literals = (*m)[1];
    std::string sentence;
    for (std::sregex_iterator p(literals.begin(), literals.end(), piece); p != end; ++p) {
      sentence += (*p)[1];
    }
    found.push_back(sentence);
  }
  return found;
}

// A format as a pattern: {} stands for anything, {{ and }} for braces.
std::regex pattern_of(const std::string& format) {
  std::string pattern;
  for (std::size_t i = 0; i < format.size(); ++i) {
    const std::string two = format.substr(i, 2);
    if (two == "{}") {
      pattern += ".*";
    } else if (two == "{{" || two == "}}") {
      pattern += std::string("\\") + format[i];
    } else {
      if (std::string("()[]{}.*+?^$|\\/").find(format[i]) != std::string::npos) pattern += '\\';
      pattern += format[i];
      continue;
    }
    ++i;
  }
  return std::regex(pattern);
}

template <class List>
bool listed(const List& list, const std::string& sentence) {
  return std::any_of(std::begin(list), std::end(list),
                     [&](const char* entry) { return sentence.find(entry) == 0; });
}

TEST(ErrorSentences, EverySentenceInTheSourcesHasARow) {
  const std::vector<ErrorRow> rows = all_rows();
  std::size_t checked = 0;
  for (const char* folder : {"ops", "core", "layers", "lines", "parallel"}) {
    const std::string path = in_checkout("src/") + folder;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      if (entry.path().extension() != ".cpp") continue;
      for (const std::string& sentence : sentences(entry.path().string())) {
        if (listed(kUnreachable, sentence) || listed(kJoining, sentence)) continue;
        const std::regex pattern = pattern_of(sentence);
        const bool said = std::any_of(rows.begin(), rows.end(), [&](const ErrorRow& row) {
          return std::regex_search(row.sentence, pattern);
        });
        EXPECT_TRUE(said) << entry.path().filename() << ": \"" << sentence << "\"";
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 200U);  // the search still finds the calls
}

TEST(ErrorSentences, FollowTheFormOperationColonRuleSemicolonGot) {
  for (const ErrorRow& row : all_rows()) {
    const std::string text = row.sentence;
    const std::size_t colon = text.find(": ");
    const std::size_t must = text.find(" must ");
    const std::size_t got = text.find("; got ");
    EXPECT_TRUE(colon != std::string::npos && must != std::string::npos &&
                got != std::string::npos && colon <= must && must < got)
        << text;
  }
}

}  // namespace
}  // namespace octavo::test
