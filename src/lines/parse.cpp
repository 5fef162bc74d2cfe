// SPDX-License-Identifier: Apache-2.0
// Reading and writing problem lines.
#include "octavo/problem_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "core/error.hpp"

namespace octavo {
namespace {

constexpr std::array<std::string_view, 3> kOperations{"scaled_mm", "grouped_mm",
                                                      "scaled_grouped_mm"};

template <class T>
struct Named {
  std::string_view name;
  T value;
};
constexpr std::array<Named<LineLayout>, 5> kLayouts{{
    {"natural", LineLayout::natural},
    {"row", LineLayout::row_major},
    {"strided", LineLayout::strided},
    {"reversed", LineLayout::reversed},
    {"broadcast", LineLayout::broadcast},
}};
constexpr std::array<Named<Split>, 5> kSplits{{
    {"rows", Split::rows},
    {"columns", Split::columns},
    {"inner", Split::inner},
    {"batch", Split::batch},
    {"list", Split::list},
}};
constexpr std::array<Named<LineOutliers>, 3> kOutliers{{
    {"columns", LineOutliers::columns},
    {"whole", LineOutliers::whole},
    {"elements", LineOutliers::elements},
}};

Status bad(std::string_view word, const char* rule) {
  return fail(Code::invalid_argument, "problem line: {} must {}; got '{}'",
              word.substr(0, word.find('=')), rule, word);
}

template <class T>
bool number(std::string_view text, T& value) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// Numbers that are not negative, "3+0+17".
bool numbers(std::string_view text, std::vector<std::int64_t>& list) {
  while (true) {
    std::int64_t value = -1;
    const std::size_t end = text.find('+');
    if (!number(text.substr(0, end), value) || value < 0) return false;
    list.push_back(value);
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

// Splits "AxBxC" or "a:b:c" into exactly `count` parts.
template <std::size_t count>
bool split(std::string_view text, char separator, std::array<std::string_view, count>& parts) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end = text.find(separator);
    if ((end == std::string_view::npos) != (i + 1 == count)) return false;
    parts[i] = text.substr(0, end);
    if (i + 1 < count) text.remove_prefix(end + 1);
  }
  return true;
}

template <class T, std::size_t n>
const T* find(const std::array<Named<T>, n>& table, std::string_view name) noexcept {
  for (const auto& row : table) {
    if (row.name == name) return &row.value;
  }
  return nullptr;
}

template <class T, std::size_t n>
std::string_view name_of(const std::array<Named<T>, n>& table, T value) noexcept {
  for (const auto& row : table) {
    if (row.value == value) return row.name;
  }
  return {};
}

bool granularity(std::string_view text, Granularity& g, bool& present) {
  present = text != "none";
  g = present ? granularity_from_name(text) : Granularity{};
  return !present || g.kind != Granularity::Kind::automatic;
}

bool float_type(std::string_view text, DType& dtype) {
  dtype = text.empty() ? DType::float32 : dtype_from_name(text);
  return is_wide(dtype);
}

// One word of the grammar: how it is spelled and what it does.
struct Word {
  std::string_view key;
  const char* rule;
  bool (*read)(std::string_view value, ProblemLine& line);
};

constexpr std::array<Word, 21> kWords{{
    {"scale",
     "be scale=A:B with none, tensor, token, channel, group<g>, block<r>x<c>, per_k, element or mx",
     [](std::string_view v, ProblemLine& l) {
       std::array<std::string_view, 2> parts;
       return split(v, ':', parts) && granularity(parts[0], l.scale_a, l.has_scale_a) &&
              granularity(parts[1], l.scale_b, l.has_scale_b);
     }},
    {"scale_dtype", "be fp32, bf16, fp16 or e8m0fnu",
     [](std::string_view v, ProblemLine& l) {
       l.scale_dtype = dtype_from_name(v);
       return is_wide(l.scale_dtype) || l.scale_dtype == DType::float8_e8m0fnu;
     }},
    {"bias", "be bias or bias=fp32|bf16|fp16",
     [](std::string_view v, ProblemLine& l) { return float_type(v, l.bias); }},
    {"azp", "be azp (one per token) or azp=tensor",
     [](std::string_view v, ProblemLine& l) {
       l.azp = true;
       l.azp_per_tensor = v == "tensor";
       return v.empty() || v == "token" || l.azp_per_tensor;
     }},
    {"alpha", "be a number", [](std::string_view v, ProblemLine& l) { return number(v, l.alpha); }},
    {"beta", "be a number", [](std::string_view v, ProblemLine& l) { return number(v, l.beta); }},
    {"scale_result", "be a number or vector",
     [](std::string_view v, ProblemLine& l) {
       l.has_scale_result = true;
       l.scale_result_vector = v == "vector";
       return l.scale_result_vector || number(v, l.scale_result);
     }},
    {"groups", "be sizes joined by +, such as groups=32+0+96",
     [](std::string_view v, ProblemLine& l) { return numbers(v, l.groups); }},
    {"split", "be rows, columns, inner, batch or list",
     [](std::string_view v, ProblemLine& l) {
       const Split* split = find(kSplits, v);
       if (split != nullptr) l.split = *split;
       return split != nullptr;
     }},
    {"batch", "be a number of matrices",
     [](std::string_view v, ProblemLine& l) {
       std::int64_t count = 0;
       if (!number(v, count) || count < 0 || count > 1 << 20) return false;
       l.split = Split::batch;
       l.groups.assign(static_cast<std::size_t>(count), 0);
       return true;
     }},
    {"prepacked", "stand alone",
     [](std::string_view v, ProblemLine& l) { return l.prepacked = true, v.empty(); }},
    {"quantize", "be int8, uint8 (with azp) or a float8 type",
     [](std::string_view v, ProblemLine& l) {
       l.quantize = dtype_from_name(v);
       return is_float8(l.quantize) || is_integer8(l.quantize);
     }},
    {"static", "be a scale above 0, or a scale and a zero point such as static=0.01:-7",
     [](std::string_view v, ProblemLine& l) {
       const std::size_t colon = v.find(':');
       const bool zero_point = colon != std::string_view::npos;
       return number(v.substr(0, colon), l.static_scale) && l.static_scale > 0.0F &&
              (!zero_point || number(v.substr(colon + 1), l.static_azp));
     }},
    {"rotation", "be a block of 16, 64 or 256",
     [](std::string_view v, ProblemLine& l) {
       return number(v, l.rotation) && (l.rotation == 16 || l.rotation == 64 || l.rotation == 256);
     }},
    {"threshold", "be a number of at least 0",
     [](std::string_view v, ProblemLine& l) { return number(v, l.threshold) && l.threshold >= 0; }},
    {"outliers", "be columns, whole or elements",
     [](std::string_view v, ProblemLine& l) {
       const LineOutliers* outliers = find(kOutliers, v);
       if (outliers != nullptr) l.outliers = *outliers;
       return outliers != nullptr;
     }},
    {"outlier_columns", "be columns joined by +, such as outlier_columns=3+17",
     [](std::string_view v, ProblemLine& l) { return numbers(v, l.outlier_columns); }},
    {"subnormals", "be exact",
     [](std::string_view v, ProblemLine& l) { return l.exact_subnormals = v == "exact"; }},
    {"k_chunks", "be a whole number of at least 2",
     [](std::string_view v, ProblemLine& l) { return number(v, l.k_chunks) && l.k_chunks >= 2; }},
    {"layout", "be natural, row, strided, reversed or broadcast",
     [](std::string_view v, ProblemLine& l) {
       const LineLayout* layout = find(kLayouts, v);
       if (layout != nullptr) l.layout = *layout;
       return layout != nullptr;
     }},
    {"seed", "be a whole number",
     [](std::string_view v, ProblemLine& l) { return number(v, l.seed); }},
}};

constexpr std::string_view kOldQuantize = "quantise";  // until 1.0

std::string_view key_of(std::string_view word) {
  const std::string_view key = word.substr(0, word.find('='));
  return key == kOldQuantize ? "quantize" : key;
}

Status read_word(std::string_view text, ProblemLine& line) {
  const std::size_t equals = text.find('=');
  const std::string_view key = key_of(text);
  line.old_spelling |= text.substr(0, equals) == kOldQuantize;
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view() : text.substr(equals + 1);
  for (const Word& word : kWords) {
    if (word.key != key) continue;
    if (word.read(value, line)) return {};
    return bad(text, word.rule);
  }
  std::string known;
  for (const Word& word : kWords) known += (known.empty() ? "" : ", ") + std::string(word.key);
  return fail(Code::invalid_argument, "problem line: words must be among {}; got '{}'", known,
              text);
}

// The last word's key must not stand before it; batch sets groups and split.
Status check_once(std::span<const std::string_view> words) {
  const std::string_view last = key_of(words.back());
  for (const std::string_view word : words.first(words.size() - 1)) {
    const std::string_view key = key_of(word);
    const bool batch = (key == "batch" && (last == "groups" || last == "split")) ||
                       (last == "batch" && (key == "groups" || key == "split"));
    if (key != last && !batch) continue;
    return fail(Code::invalid_argument,
                "problem line: words must stand once, and batch without groups and split; got '{}' "
                "and '{}'",
                word, words.back());
  }
  return {};
}

Status read_types(std::string_view text, ProblemLine& line) {
  std::array<std::string_view, 3> parts;
  if (!split(text, ':', parts)) return bad(text, "be A:B:out, such as int8:int8:bf16");
  DType* const types[] = {&line.a, &line.b, &line.out};
  for (std::size_t i = 0; i < 3; ++i) {
    *types[i] = dtype_from_name(parts[i]);
    if (*types[i] == DType::undefined) {
      return fail(Code::invalid_argument,
                  "problem line: types must be known names such as int8, e4m3fn or bf16; got '{}'",
                  parts[i]);
    }
  }
  return {};
}

Status read_shape(std::string_view text, ProblemLine& line) {
  std::array<std::string_view, 3> parts;
  const bool read = split(text, 'x', parts) && number(parts[0], line.m) &&
                    number(parts[1], line.n) && number(parts[2], line.k);
  if (read && line.m >= 0 && line.n >= 0 && line.k >= 0) return {};
  return fail(Code::invalid_argument,
              "problem line: the shape must be the last word and MxNxK, such as 16x4096x4096; got "
              "'{}'",
              text);
}

// Words that some problems have no place for: ignoring one would be a different problem.
Status check_words(const ProblemLine& line) {
  if (line.threshold > 0.0F && line.quantize != DType::int8) {
    return fail(Code::invalid_argument,
                "problem line: threshold must come with quantize=int8; got threshold={}",
                line.threshold);
  }
  if (!line.outlier_columns.empty() && line.quantize != DType::int8) {
    return fail(Code::invalid_argument,
                "problem line: outlier_columns must come with quantize=int8; got "
                "outlier_columns={}",
                fmt::join(line.outlier_columns, "+"));
  }
  if (line.outliers != LineOutliers::columns && line.threshold == 0.0F &&
      line.outlier_columns.empty()) {
    return fail(Code::invalid_argument,
                "problem line: outliers must come with threshold or outlier_columns; got "
                "outliers={}",
                name_of(kOutliers, line.outliers));
  }
  if (line.static_scale > 0.0F && line.quantize == DType::undefined) {
    return fail(Code::invalid_argument,
                "problem line: static must come with quantize; got static={}", line.static_scale);
  }
  if (line.rotation != 0 && line.quantize == DType::undefined) {
    return fail(Code::invalid_argument,
                "problem line: rotation must come with quantize; got rotation={}", line.rotation);
  }
  if (line.split == Split::none || line.split == Split::list) return {};
  const char* word = line.prepacked                      ? "prepacked"
                     : line.quantize != DType::undefined ? "quantize"
                                                         : nullptr;
  if (word == nullptr) return {};
  return fail(Code::invalid_argument,
              "problem line: {} must come with scaled_mm or split=list; got split={}", word,
              name_of(kSplits, line.split));
}

// What the words mean together.
Status check_line(ProblemLine& line) {
  if (line.operation == "scaled_mm" && (!line.groups.empty() || line.split != Split::none)) {
    return fail(
        Code::invalid_argument,
        "problem line: groups must come with grouped_mm or scaled_grouped_mm; got scaled_mm");
  }
  if (line.operation == "scaled_mm") return check_words(line);
  if (line.split == Split::none) {
    line.split =
        line.operation == "scaled_grouped_mm" && line.groups.empty() ? Split::batch : Split::rows;
  }
  OCTAVO_TRY(check_words(line));
  if (line.split == Split::batch) return {};
  const std::int64_t extent = line.split == Split::columns ? line.n
                              : line.split == Split::inner ? line.k
                                                           : line.m;
  std::int64_t total = 0;
  for (const std::int64_t size : line.groups) {
    if (__builtin_add_overflow(total, size, &total))
      total = std::numeric_limits<std::int64_t>::max();
  }
  if (total <= extent) return {};
  return fail(Code::invalid_argument,
              "problem line: groups must add up to at most {} (what they cut); got {}", extent,
              total);
}

Result<ProblemLine> parse(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    const std::size_t end = text.find_first_of(" \t\r\n");
    words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end, text.size()));
  }
  if (words.size() < 3) {
    return fail(
        Code::invalid_argument,
        "problem line: words must be an operation, A:B:out types, options and MxNxK; got {} words",
        words.size());
  }
  ProblemLine line;
  line.operation = words.front();
  if (std::ranges::find(kOperations, line.operation) == kOperations.end()) {
    return fail(Code::invalid_argument, "problem line: operation must be {}, {} or {}; got '{}'",
                kOperations[0], kOperations[1], kOperations[2], line.operation);
  }
  OCTAVO_TRY(read_types(words[1], line));
  for (std::size_t i = 2; i + 1 < words.size(); ++i) {
    OCTAVO_TRY(check_once(std::span(words).subspan(2, i - 1)));
    OCTAVO_TRY(read_word(words[i], line));
  }
  OCTAVO_TRY(read_shape(words.back(), line));
  OCTAVO_TRY(check_line(line));
  return line;
}

}  // namespace

std::vector<LineWordRule> problem_line_words() {
  std::vector<LineWordRule> rules;
  for (const Word& word : kWords) rules.push_back({word.key, word.rule});
  return rules;
}

std::vector<std::string_view> problem_line_operations() {
  return {kOperations.begin(), kOperations.end()};
}

ProblemLine parse_problem_line(std::string_view line) {
  return at_edge("problem line", [&] { return parse(line); });
}

std::string to_string(const ProblemLine& l) {
  std::string text = fmt::format("{} {}:{}:{}", l.operation, info(l.a).short_name,
                                 info(l.b).short_name, info(l.out).short_name);
  const auto add = [&](const auto& word) { text += fmt::format(" {}", word); };
  const auto granularity_name = [](bool present, const Granularity& g) {
    return present ? to_string(g) : std::string("none");
  };
  if (l.has_scale_a || l.has_scale_b) {
    add(fmt::format("scale={}:{}", granularity_name(l.has_scale_a, l.scale_a),
                    granularity_name(l.has_scale_b, l.scale_b)));
  }
  if (l.scale_dtype != DType::float32) {
    add(fmt::format("scale_dtype={}", info(l.scale_dtype).short_name));
  }
  if (l.bias == DType::float32) add("bias");
  if (l.bias != DType::float32 && l.bias != DType::undefined) {
    add(fmt::format("bias={}", info(l.bias).short_name));
  }
  if (l.azp) add(l.azp_per_tensor ? "azp=tensor" : "azp");
  if (l.alpha != 1.0F) add(fmt::format("alpha={}", l.alpha));
  if (l.beta != 0.0F) add(fmt::format("beta={}", l.beta));
  if (l.has_scale_result) {
    add(l.scale_result_vector ? std::string("scale_result=vector")
                              : fmt::format("scale_result={}", l.scale_result));
  }
  if (l.split == Split::batch) {
    add(fmt::format("batch={}", l.groups.size()));
  } else if (l.split != Split::none) {
    if (!l.groups.empty()) add(fmt::format("groups={}", fmt::join(l.groups, "+")));
    if (l.split != Split::rows) add(fmt::format("split={}", name_of(kSplits, l.split)));
  }
  if (l.prepacked) add("prepacked");
  if (l.quantize != DType::undefined) {
    add(fmt::format("quantize={}", info(l.quantize).short_name));
  }
  if (l.static_azp != 0) {
    add(fmt::format("static={}:{}", l.static_scale, l.static_azp));
  } else if (l.static_scale > 0.0F) {
    add(fmt::format("static={}", l.static_scale));
  }
  if (l.rotation != 0) add(fmt::format("rotation={}", l.rotation));
  if (l.threshold > 0.0F) add(fmt::format("threshold={}", l.threshold));
  if (l.outliers != LineOutliers::columns) {
    add(fmt::format("outliers={}", name_of(kOutliers, l.outliers)));
  }
  if (!l.outlier_columns.empty()) {
    add(fmt::format("outlier_columns={}", fmt::join(l.outlier_columns, "+")));
  }
  if (l.exact_subnormals) add("subnormals=exact");
  if (l.k_chunks != 0) add(fmt::format("k_chunks={}", l.k_chunks));
  if (l.layout != LineLayout::natural) {
    add(fmt::format("layout={}", name_of(kLayouts, l.layout)));
  }
  if (l.seed != 1) add(fmt::format("seed={}", l.seed));
  return text + fmt::format(" {}x{}x{}", l.m, l.n, l.k);
}

}  // namespace octavo
