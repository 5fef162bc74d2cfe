// SPDX-License-Identifier: Apache-2.0
// bits FOLDER [--write]: whether this CPU, compiler and build give the committed bits.
//
//   FOLDER/shared.txt   products of integers, and quantisers: the same on every instruction set
//   FOLDER/ROW.txt      other products, of a row of OCTAVO_ISA
//
// A line is ten problems and a digest of their results: `lines/types.txt uniform 30 f00f...`. Each
// row that this CPU has is taken in a process of its own. --write: writes what this build gives
// instead, rows of other CPUs stay. Exit status 1: a digest differs.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/cpu_features.hpp"
#include "kit/lines/quantize_line.hpp"
#include "kit/operands/element.hpp"
#include "kit/operands/operands.hpp"
#include "kit/operands/random.hpp"
#include "kit/oracle/check.hpp"
#include "octavo/octavo.hpp"
#include "support/lines.hpp"

namespace octavo::test::bits {
namespace {

constexpr std::size_t kTogether = 10;  // problems of a digest
constexpr std::array kFiles{"chunks",  "epilogue", "fused",  "grouped", "layouts",
                            "rotated", "scales",   "shapes", "types"};

/// Digests by their names, in the order of these.
using Digests = std::map<std::string, std::uint64_t>;

/// FNV-1a of results, ten at a time under one name.
class Writer {
 public:
  Writer(Digests& digests, std::string name) : digests_(digests), name_(std::move(name)) {}
  void add(std::span<const std::uint8_t> bytes) {
    const std::size_t first = count_++ / kTogether * kTogether;
    std::uint64_t& digest =
        digests_.try_emplace(fmt::format("{} {:04}", name_, first), 0xCBF29CE484222325U)
            .first->second;
    for (const std::uint8_t byte : bytes) digest = (digest ^ byte) * 0x100000001B3U;
  }
  std::size_t count() const noexcept { return count_; }

 private:
  Digests& digests_;
  std::string name_;
  std::size_t count_ = 0;
};

struct Found {
  Digests shared, own;
  std::size_t problems = 0;
};

bool of_integers(const ProblemLine& line) {
  const DType a = line.quantize != DType::undefined ? line.quantize : line.a;
  return is_integer8(a) && is_integer8(line.b);
}

/// The line with some more rows and columns; nothing where its extents hang together.
std::string larger(const std::string& text) {
  try {
    ProblemLine line = parse_problem_line(text);
    line.m += 3;
    line.n += 5;
    std::string other = to_string(line);
    kit::Operands operands(parse_problem_line(other), kit::Content::uniform);
    (void)make_problem(parse_problem_line(other), operands);
    return other;
  } catch (const Error&) {
    return {};
  }
}

void products(const char* file, const std::vector<std::string>& lines, const char* words,
              kit::Content content, Found& found) {
  Writer shared(found.shared, fmt::format("{} {}", file, words));
  Writer own(found.own, fmt::format("{} {}", file, words));
  for (const std::string& text : lines) {
    const ProblemLine line = parse_problem_line(text);
    kit::Operands operands(line, content);
    const LineProblem made = make_problem(line, operands);
    run(made.problem());
    (of_integers(line) ? shared : own).add(kit::output_bytes(made.problem()));
  }
  found.problems += shared.count() + own.count();
}

void quantisers(Found& found) {
  for (const char* from : {"fp32", "bf16", "fp16"}) {
    for (const char* to : {"int8", "uint8", "e4m3fn", "e5m2", "e4m3fnuz"}) {
      Writer writer(found.shared, fmt::format("quantize {}:{}", from, to));
      for (const char* scale : {"token", "channel", "tensor", "group32", "group128", "group17",
                                "block128x128", "block3x40"}) {
        for (const char* extents : {"1x33", "17x300", "130x512"}) {
          const kit::QuantizeLine line = kit::parse_quantize_line(
              fmt::format("quantize {}:{} scale={}{} {}", from, to, scale,
                          std::string_view(to) == "uint8" ? " azp" : "", extents));
          const Tensor x = Tensor::empty(line.from, {line.rows, line.cols});
          const kit::Random random(line.seed);
          for (std::int64_t i = 0; i < x.numel(); ++i) {
            kit::store(x.view(), i, 8 * random.uniform(static_cast<std::uint64_t>(i)) - 3);
          }
          const Quantized q = quantize(x, line.options());
          for (const Tensor* part : {&q.data, &q.scale, &q.azp}) {
            if (!part->defined()) continue;
            const auto bytes =
                static_cast<std::size_t>(part->numel() * element_bytes(part->dtype()));
            writer.add({static_cast<const std::uint8_t*>(part->data()), bytes});
          }
          ++found.problems;
        }
      }
    }
  }
}

Found find() {
  Found found;
  for (const char* file : kFiles) {
    const std::vector<std::string> lines = lines_of(file);
    products(file, lines, "uniform", kit::Content::uniform, found);
    products(file, lines, "exact", kit::Content::exact, found);
    std::vector<std::string> others;
    for (const std::string& line : lines) {
      if (std::string other = larger(line); !other.empty()) others.push_back(std::move(other));
    }
    products(file, others, "larger", kit::Content::uniform, found);
  }
  quantisers(found);
  return found;
}

Digests read(const std::filesystem::path& path) {
  Digests digests;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const std::size_t space = line.rfind(' ');
    if (line.starts_with('#') || space == line.npos) continue;
    std::uint64_t digest = 0;
    (void)std::from_chars(line.data() + space + 1, line.data() + line.size(), digest, 16);
    digests.emplace(line.substr(0, space), digest);
  }
  return digests;
}

void write(const std::filesystem::path& path, const Digests& digests) {
  std::ofstream file(path);
  file << "# Written by bits --write: file of tests/parity/lines, content, the first of ten "
          "problems, digest.\n";
  for (const auto& [name, digest] : digests) file << fmt::format("{} {:016x}\n", name, digest);
}

/// How many digests differ, each of which is told.
int compare(const std::filesystem::path& path, const char* row, const Digests& got) {
  const Digests want = read(path);
  if (want.empty()) {
    fmt::print("{}: {} is not there: nothing to compare with\n", row, path.filename().string());
    return 0;
  }
  int different = 0;
  const auto tell = [&](const std::string& name) {
    ++different;
    fmt::print("{}: problems {} and the nine after it have other bits than {} says\n", row, name,
               path.filename().string());
  };
  for (const auto& [name, digest] : want) {
    const auto found = got.find(name);
    if (found == got.end() || found->second != digest) tell(name);
  }
  for (const auto& [name, digest] : got) {
    if (!want.contains(name)) tell(name);
  }
  return different;
}

int of_row(const std::filesystem::path& folder, const std::string& row, bool writes) {
  ::setenv("OCTAVO_ISA", row.c_str(), 1);
  const Found found = find();
  if (writes) {
    write(folder / "shared.txt", found.shared);
    write(folder / (row + ".txt"), found.own);
    return 0;
  }
  const int different = compare(folder / "shared.txt", row.c_str(), found.shared) +
                        compare(folder / (row + ".txt"), row.c_str(), found.own);
  fmt::print("{}: {} problems, {} of {} digests differ\n", row, found.problems, different,
             found.shared.size() + found.own.size());
  return different == 0 ? 0 : 1;
}

int main_of(const std::vector<std::string>& words) {
  if (words.empty() || words.size() > 2 || (words.size() == 2 && words[1] != "--write")) {
    fmt::print(stderr, "usage: bits FOLDER [--write]\n");
    return 2;
  }
  int status = 0;
  for (const std::string& row : isas_of_this_cpu()) {
    std::fflush(stdout);
    const pid_t child = ::fork();  // before any thread: what a CPU may use is found once
    if (child == 0) {
      const int own = of_row(words[0], row, words.size() == 2);
      std::fflush(stdout);
      ::_exit(own);
    }
    int ended = 0;
    ::waitpid(child, &ended, 0);
    if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0) status = 1;
  }
  return status;
}

}  // namespace
}  // namespace octavo::test::bits

int main(int argc, char** argv) { return octavo::test::bits::main_of({argv + 1, argv + argc}); }
