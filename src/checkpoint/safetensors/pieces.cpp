// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors/pieces.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "checkpoint/safetensors/file.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::size_t kAhead = 32;  // pieces that are being read while one is worked on

class PieceRun {
 public:
  explicit PieceRun(const std::vector<Piece>& pieces) : pieces_(pieces) {
    for (std::size_t i = 0; i < std::min(kAhead, pieces.size()); ++i) announce(i);
  }

  /// Takes one piece; null where none is left.
  const Piece* step() noexcept {
    const std::size_t i = next_++;
    if (i >= pieces_.size()) return nullptr;
    if (i + kAhead < pieces_.size()) announce(i + kAhead);
    try {
      pieces_[i].run();
      done_ += pieces_[i].bytes;
    } catch (...) {
      fail(i, std::current_exception());
    }
    return &pieces_[i];
  }
  void fail(std::size_t piece, std::exception_ptr error) noexcept {
    next_ = pieces_.size();
    const std::lock_guard lock(mutex_);
    if (error_ && piece >= failed_) return;
    error_ = std::move(error);
    failed_ = piece;
  }
  std::int64_t done() const noexcept { return done_; }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void announce(std::size_t i) const noexcept {
    const Piece& piece = pieces_[i];
    if (piece.input != nullptr) piece.input->announce(piece.offset, piece.bytes);
  }

  const std::vector<Piece>& pieces_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::int64_t> done_{0};
  std::mutex mutex_;
  std::exception_ptr error_;
  std::size_t failed_ = 0;
};

/// Threads that are waited for whatever happens.
class Helpers {
 public:
  Helpers(PieceRun& run, std::size_t count) {
    threads_.reserve(count);
    try {
      while (threads_.size() < count) {
        threads_.emplace_back([&run] {
          while (run.step() != nullptr) {
          }
        });
      }
    } catch (const std::system_error&) {  // fewer threads then
    }
  }
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;
  ~Helpers() {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace

void run_pieces(const std::vector<Piece>& pieces, int threads,
                const std::function<void(std::string_view, std::int64_t)>& done) {
  PieceRun run(pieces);
  {
    const std::size_t most = std::max<std::size_t>(pieces.size(), 1) - 1;
    const Helpers helpers(run, std::min(static_cast<std::size_t>(std::max(threads, 1)) - 1, most));
    while (const Piece* piece = run.step()) {
      try {
        if (done) done(piece->name, run.done());
      } catch (...) {
        run.fail(0, std::current_exception());
      }
    }
  }
  run.rethrow();
  if (done) done("", run.done());
}

}  // namespace octavo::checkpoint
