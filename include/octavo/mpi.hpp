// SPDX-License-Identifier: Apache-2.0
// Ranks that are MPI's processes. Of headers alone, compiled against the program's own MPI: link
// octavo::mpi (find_package(octavo COMPONENTS mpi)).
#pragma once

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "octavo/parallel.hpp"

namespace octavo {

/// A duplicate of an MPI communicator. MPI is initialised before it is made, and finalised after it
/// is gone; one thread at a time talks through it.
///
/// What another rank does not answer within the timeout is an Error (unavailable) and the end of
/// the communicator: every later call fails at once.
///
/// overlaps: MPI goes on with a reduction while nobody calls it, by the network's own hardware or a
/// thread of its own (MPICH: MPIR_CVAR_ASYNC_PROGRESS=1), so that sums travel beside products. The
/// same on all ranks.
class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(MPI_Comm ranks, std::chrono::duration<double> timeout,
                           bool overlaps = false)
      : timeout_(timeout), overlaps_(overlaps) {
    check(MPI_Comm_dup(ranks, &ranks_), "MPI_Comm_dup");
    check(MPI_Comm_set_errhandler(ranks_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check(MPI_Comm_rank(ranks_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(ranks_, &size_), "MPI_Comm_size");
  }
  ~MpiCommunicator() override {
    int finalised = 0;
    if (MPI_Finalized(&finalised) == MPI_SUCCESS && finalised == 0 && !gone_)
      MPI_Comm_free(&ranks_);
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }

  void all_reduce(Reduction reduction, void* data, std::int64_t count) override {
    in_blocks(count * operation_of(reduction).bytes, [&](std::int64_t begin, int bytes) {
      std::memcpy(own(bytes), at(data, begin), static_cast<std::size_t>(bytes));
      MPI_Request request = MPI_REQUEST_NULL;
      wait(started_reduction(reduction, own(bytes), bytes, request), request, "all ranks");
      std::memcpy(at(data, begin), own(bytes), static_cast<std::size_t>(bytes));
    });
  }

  void start_all_reduce(Reduction reduction, void* data, std::int64_t count) override {
    if (!overlaps_) return all_reduce(reduction, data, count);
    (void)own(0);
    std::vector<Started>& blocks = started_->emplace_back();
    in_blocks(count * operation_of(reduction).bytes, [&](std::int64_t begin, int bytes) {
      Started& block = blocks.emplace_back();
      block.memory.assign(at(data, begin), at(data, begin) + bytes);
      block.data = at(data, begin);
      const int code = started_reduction(reduction, block.memory.data(), bytes, block.request);
      if (code == MPI_SUCCESS) return;
      abandon();
      check(code, "MPI_Iallreduce");
    });
  }
  void wait() override {
    if (!overlaps_) return;
    (void)own(0);
    for (Started& block : started_->front()) {
      wait(MPI_SUCCESS, block.request, "all ranks");
      std::memcpy(block.data, block.memory.data(), block.memory.size());
    }
    started_->pop_front();
  }
  bool overlaps() const noexcept override { return overlaps_; }

  void all_gather(const void* part, std::int64_t bytes, void* all) override {
    // Pieces of all ranks come side by side, and go to their places.
    in_blocks(bytes, [&](std::int64_t begin, int piece) {
      const std::int64_t room = std::int64_t{piece} * (size_ + 1);
      char* to = own(room);
      std::memcpy(to, at(part, begin), static_cast<std::size_t>(piece));
      MPI_Request request = MPI_REQUEST_NULL;
      wait(MPI_Iallgather(to, piece, MPI_BYTE, to + piece, piece, MPI_BYTE, ranks_, &request),
           request, "all ranks");
      for (int r = 0; r < size_; ++r) {
        std::memcpy(at(all, r * bytes + begin), to + std::int64_t{piece} * (r + 1),
                    static_cast<std::size_t>(piece));
      }
    });
  }

  void broadcast(int root, void* data, std::int64_t bytes) override {
    in_blocks(bytes, [&](std::int64_t begin, int piece) {
      std::memcpy(own(piece), at(data, begin), static_cast<std::size_t>(piece));
      MPI_Request request = MPI_REQUEST_NULL;
      wait(MPI_Ibcast(own(piece), piece, MPI_BYTE, root, ranks_, &request), request, named(root));
      if (rank_ != root) std::memcpy(at(data, begin), own(piece), static_cast<std::size_t>(piece));
    });
  }

  void send(int to, const void* data, std::int64_t bytes) override {
    in_blocks(bytes, [&](std::int64_t begin, int piece) {
      std::memcpy(own(piece), at(data, begin), static_cast<std::size_t>(piece));
      MPI_Request request = MPI_REQUEST_NULL;
      wait(MPI_Isend(own(piece), piece, MPI_BYTE, to, 0, ranks_, &request), request, named(to));
    });
  }
  void receive(int from, void* data, std::int64_t bytes) override {
    in_blocks(bytes, [&](std::int64_t begin, int piece) {
      MPI_Request request = MPI_REQUEST_NULL;
      wait(MPI_Irecv(own(piece), piece, MPI_BYTE, from, 0, ranks_, &request), request, named(from));
      std::memcpy(at(data, begin), own(piece), static_cast<std::size_t>(piece));
    });
  }

  void all_to_all(const void* parts, std::span<const std::int64_t> bytes_to, void* all,
                  std::span<const std::int64_t> bytes_from) override {
    std::vector<std::int64_t> out(bytes_to.size()), in(bytes_from.size());
    std::exclusive_scan(bytes_to.begin(), bytes_to.end(), out.begin(), std::int64_t{0});
    std::exclusive_scan(bytes_from.begin(), bytes_from.end(), in.begin(), std::int64_t{0});
    // As Communicator's own, but the parts of two ranks travel at once.
    for (int round = 0; round < size_; ++round) {
      const int other = (round - rank_ + size_) % size_;
      const auto r = static_cast<std::size_t>(other);
      exchange(other, at(parts, out[r]), bytes_to[r], at(all, in[r]), bytes_from[r]);
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::int64_t kBlock = std::int64_t{16} << 20;  // bytes of one message

  // What MPI calls a reduction.
  struct Operation {
    MPI_Datatype type;
    MPI_Op op;
    std::int64_t bytes;
  };
  static Operation operation_of(Reduction reduction) {
    const Operation operations[] = {{MPI_INT32_T, MPI_MAX, 4},
                                    {MPI_INT32_T, MPI_SUM, 4},
                                    {MPI_INT64_T, MPI_SUM, 8},
                                    {MPI_FLOAT, MPI_SUM, 4}};
    return operations[static_cast<int>(reduction)];
  }
  int started_reduction(Reduction reduction, void* data, int bytes, MPI_Request& request) {
    const Operation o = operation_of(reduction);
    return MPI_Iallreduce(MPI_IN_PLACE, data, bytes / static_cast<int>(o.bytes), o.type, o.op,
                          ranks_, &request);
  }

  // A block of a reduction that was started, in memory of MPI's.
  struct Started {
    std::vector<char> memory;
    char* data = nullptr;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  static char* at(void* data, std::int64_t offset) { return static_cast<char*>(data) + offset; }
  static const char* at(const void* data, std::int64_t offset) {
    return static_cast<const char*>(data) + offset;
  }
  static std::string named(int rank) { return "rank " + std::to_string(rank); }

  template <class Piece>
  void in_blocks(std::int64_t bytes, const Piece& piece) {
    for (std::int64_t begin = 0; begin < bytes; begin += kBlock) {
      piece(begin, static_cast<int>(std::min(kBlock, bytes - begin)));
    }
  }

  // Sends and receives where both ranks do.
  void exchange(int other, const char* from, std::int64_t bytes, char* to, std::int64_t expected) {
    if (other == rank_) {
      if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
      return;
    }
    in_blocks(std::max(bytes, expected), [&](std::int64_t begin, int) {
      const auto out = static_cast<int>(std::clamp<std::int64_t>(bytes - begin, 0, kBlock));
      const auto in = static_cast<int>(std::clamp<std::int64_t>(expected - begin, 0, kBlock));
      char* sent = own(std::int64_t{out} + in);
      char* received = sent + out;
      if (out > 0) std::memcpy(sent, from + begin, static_cast<std::size_t>(out));
      MPI_Request requests[] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
      int codes[] = {MPI_SUCCESS, MPI_SUCCESS};
      if (in > 0) codes[0] = MPI_Irecv(received, in, MPI_BYTE, other, 0, ranks_, &requests[0]);
      if (out > 0) codes[1] = MPI_Isend(sent, out, MPI_BYTE, other, 0, ranks_, &requests[1]);
      for (int i = 0; i < 2; ++i) wait(codes[i], requests[i], named(other));
      if (in > 0) std::memcpy(to + begin, received, static_cast<std::size_t>(in));
    });
  }

  // Memory of MPI's: it outlives the call where MPI may write to it after a timeout. After one
  // there is none: MPI is not called again.
  char* own(std::int64_t bytes) {
    if (gone_) {
      throw Error(Status(Code::unavailable,
                         "MPI: ranks must answer; got none since an earlier call failed"));
    }
    if (static_cast<std::int64_t>(memory_->size()) < bytes) {
      memory_->resize(static_cast<std::size_t>(bytes));
    }
    return memory_->data();
  }

  static void check(int code, const char* call) {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    throw Error(
        Status(Code::unavailable, std::string("MPI: ") + call + " must succeed; got " + text));
  }

  void wait(int code, MPI_Request& request, const std::string& whom) {
    try {
      check(code, "a message");
      const auto begin = Clock::now();
      for (int done = 0;;) {
        check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
        if (done != 0) return;
        const std::chrono::duration<double> waited = Clock::now() - begin;
        if (waited > timeout_) break;
        if (waited.count() > 1e-3) std::this_thread::yield();
      }
    } catch (...) {
      abandon();
      throw;
    }
    abandon();
    throw Error(Status(Code::unavailable, "MPI: " + whom + " must answer within " +
                                              std::to_string(timeout_.count()) +
                                              " s; got nothing on rank " + std::to_string(rank_)));
  }
  void abandon() {
    gone_ = true;
    (void)memory_.release();  // NOLINT: MPI may still write to it
    memory_ = std::make_unique<std::vector<char>>();
    (void)started_.release();  // NOLINT: as above
    started_ = std::make_unique<std::deque<std::vector<Started>>>();
  }

  MPI_Comm ranks_ = MPI_COMM_NULL;
  std::chrono::duration<double> timeout_;
  int rank_ = 0, size_ = 1;
  bool overlaps_ = false;
  bool gone_ = false;
  std::unique_ptr<std::deque<std::vector<Started>>> started_ =
      std::make_unique<std::deque<std::vector<Started>>>();
  std::unique_ptr<std::vector<char>> memory_ = std::make_unique<std::vector<char>>();
};

/// The ranks of an MPI communicator, after MPI_Init. Throws Error (unavailable).
inline std::shared_ptr<Communicator> mpi_communicator(
    MPI_Comm ranks = MPI_COMM_WORLD,
    std::chrono::duration<double> timeout = std::chrono::seconds(60), bool overlaps = false) {
  return std::make_shared<MpiCommunicator>(ranks, timeout, overlaps);
}

}  // namespace octavo
