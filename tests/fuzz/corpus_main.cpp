// SPDX-License-Identifier: Apache-2.0
// A fuzz target as a regression test: every file of a corpus and mutations of it, the same in every
// run, without libFuzzer. What makes the target fail is left in a file.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::array<int, 5> kFatal{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
constexpr const char* kReproducer = "fuzz-reproducer";

/// The input under test, for the handler.
Bytes current;

// Writes the input beside the caller and lets the signal end the process.
void keep_input(int signal) {
  constexpr char kSentence[] = "the input that failed is in ./fuzz-reproducer\n";
  const int file = ::open(kReproducer, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  ssize_t written = ::write(file, current.data(), current.size());
  written = ::write(STDERR_FILENO, kSentence, sizeof kSentence - 1);
  (void)written;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

Bytes contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void run(Bytes input) {
  current = std::move(input);
  // Memory of exactly the input's size, so that a sanitizer sees a read behind it.
  const Bytes exact(current.begin(), current.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

/// Changes of an input, from a generator whose numbers are the same everywhere.
class Mutator {
 public:
  explicit Mutator(const std::vector<Bytes>& corpus) : corpus_(corpus) {}

  Bytes mutate(Bytes input) {
    constexpr std::array kChanges{&Mutator::set, &Mutator::flip, &Mutator::insert, &Mutator::erase,
                                  &Mutator::splice};
    for (std::size_t i = 0, changes = 1 + below(4); i < changes; ++i) {
      (this->*kChanges[below(kChanges.size())])(input);
    }
    return input;
  }

 private:
  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }
  std::uint8_t byte() { return static_cast<std::uint8_t>(random_()); }
  static auto at(Bytes& input, std::size_t place) {
    return input.begin() + static_cast<std::ptrdiff_t>(place);
  }

  void set(Bytes& input) {
    if (!input.empty()) input[below(input.size())] = byte();
  }
  void flip(Bytes& input) {
    if (!input.empty()) input[below(input.size())] ^= static_cast<std::uint8_t>(1U << below(8));
  }
  void insert(Bytes& input) { input.insert(at(input, below(input.size() + 1)), byte()); }
  void erase(Bytes& input) {
    const std::size_t begin = below(input.size()), length = 1 + below(8);
    input.erase(at(input, begin), at(input, std::min(input.size(), begin + length)));
  }
  // A piece of another input over a piece of this one.
  void splice(Bytes& input) {
    const Bytes& other = corpus_[below(corpus_.size())];
    const std::size_t from = below(other.size()), to = below(input.size());
    const std::size_t length = std::min({below(32), other.size() - from, input.size() - to});
    std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(from), length, at(input, to));
  }

  const std::vector<Bytes>& corpus_;
  std::mt19937_64 random_{15};
};

}  // namespace

int main(int argc, char** argv) {
  int mutations = 0;
  if (argc != 3 ||
      std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), mutations).ec != std::errc()) {
    fmt::print(stderr, "usage: {} CORPUS MUTATIONS_PER_FILE\n", argv[0]);
    return 2;
  }
  for (const int signal : kFatal) std::signal(signal, keep_input);
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) paths.push_back(entry);
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> corpus;
  for (const auto& path : paths) corpus.push_back(contents(path));
  if (corpus.empty()) {
    fmt::print(stderr, "{} must hold inputs; it is empty\n", argv[1]);
    return 1;
  }
  Mutator mutator(corpus);
  run({});
  for (const Bytes& input : corpus) {
    run(input);
    for (int i = 0; i < mutations; ++i) run(mutator.mutate(input));
  }
  fmt::print("{} files, {} executions\n", corpus.size(),
             1 + corpus.size() * (1 + static_cast<std::size_t>(mutations)));
  return 0;
}
