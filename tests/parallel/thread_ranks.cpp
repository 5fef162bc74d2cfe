// SPDX-License-Identifier: Apache-2.0
#include "parallel/thread_ranks.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>
#include <vector>

namespace octavo::test {
namespace {

using Bytes = std::vector<char>;

// Messages in the order in which they were sent. A rank that ends by an exception ends the others.
class Post {
 public:
  void put(int from, int to, Bytes message) {
    const std::lock_guard lock(mutex_);
    boxes_[{from, to}].push(std::move(message));
    arrived_.notify_all();
  }
  Bytes take(int from, int to) {
    std::unique_lock lock(mutex_);
    auto& box = boxes_[{from, to}];
    arrived_.wait(lock, [&] { return !box.empty() || closed_; });
    if (box.empty()) throw Error(Status(Code::unavailable, "a rank is gone"));
    Bytes message = std::move(box.front());
    box.pop();
    return message;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    arrived_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::pair<int, int>, std::queue<Bytes>> boxes_;
  bool closed_ = false;
};

template <class T, class Combine>
void combine(const Bytes& from, void* to, const Combine& with) {
  for (std::size_t i = 0; i < from.size() / sizeof(T); ++i) {
    T a, b;
    char* place = static_cast<char*>(to) + i * sizeof(T);
    std::memcpy(&a, from.data() + i * sizeof(T), sizeof(T));
    std::memcpy(&b, place, sizeof(T));
    a = with(b, a);
    std::memcpy(place, &a, sizeof(T));
  }
}

class ThreadRank final : public Communicator {
 public:
  ThreadRank(Post& post, int rank, int size) : post_(post), rank_(rank), size_(size) {}
  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }

  void all_reduce(Reduction reduction, void* data, std::int64_t count) override {
    const std::int64_t bytes = count * (reduction == Reduction::sum_int64 ? 8 : 4);
    if (rank_ != 0) {
      send(0, data, bytes);
    } else {
      for (int r = 1; r < size_; ++r) {
        const Bytes part = post_.take(r, 0);
        switch (reduction) {
          case Reduction::max_int32:
            combine<std::int32_t>(part, data, [](auto a, auto b) { return std::max(a, b); });
            break;
          case Reduction::sum_int32:
            combine<std::int32_t>(part, data, [](auto a, auto b) { return a + b; });
            break;
          case Reduction::sum_int64:
            combine<std::int64_t>(part, data, [](auto a, auto b) { return a + b; });
            break;
          case Reduction::sum_float32:
            combine<float>(part, data, [](auto a, auto b) { return a + b; });
            break;
        }
      }
    }
    broadcast(0, data, bytes);
  }
  // Later than everything that this rank does before it waits.
  void start_all_reduce(Reduction reduction, void* data, std::int64_t count) override {
    started_.push({reduction, data, count});
  }
  void wait() override {
    const Started s = started_.front();
    started_.pop();
    all_reduce(s.reduction, s.data, s.count);
  }
  bool overlaps() const noexcept override { return true; }
  void all_gather(const void* part, std::int64_t bytes, void* all) override {
    for (int r = 0; r < size_; ++r) send(r, part, bytes);
    for (int r = 0; r < size_; ++r) receive(r, static_cast<char*>(all) + r * bytes, bytes);
  }
  void broadcast(int root, void* data, std::int64_t bytes) override {
    if (rank_ != root) return receive(root, data, bytes);
    for (int r = 0; r < size_; ++r) {
      if (r != root) send(r, data, bytes);
    }
  }
  void send(int to, const void* data, std::int64_t bytes) override {
    const char* from = static_cast<const char*>(data);
    post_.put(rank_, to, Bytes(from, from + bytes));
  }
  void receive(int from, void* data, std::int64_t bytes) override {
    const Bytes message = post_.take(from, rank_);
    if (static_cast<std::int64_t>(message.size()) != bytes) {
      throw Error(Status(Code::internal, "a message has another size"));
    }
    if (bytes > 0) std::memcpy(data, message.data(), message.size());
  }

 private:
  struct Started {
    Reduction reduction;
    void* data;
    std::int64_t count;
  };

  Post& post_;
  int rank_, size_;
  std::queue<Started> started_;
};

}  // namespace

void on_ranks(int size, const std::function<void(std::shared_ptr<Communicator>)>& body) {
  Post post;
  std::exception_ptr first;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        body(std::make_shared<ThreadRank>(post, r, size));
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
        post.close();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace octavo::test
