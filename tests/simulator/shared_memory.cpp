// SPDX-License-Identifier: Apache-2.0
#include "simulator/shared_memory.hpp"

#include <cstring>

namespace octavo::cuda::simulator {
namespace {

constexpr std::uint8_t kUndefined = 0xFF;  // a NaN in e4m3 and e5m2, -1 in int8

}  // namespace

SharedMemory::SharedMemory(Address bytes, std::uint32_t cta, ReadSets& sets)
    : cta_(cta), sets_(sets), bytes_(bytes, kUndefined), words_((bytes + 3) / 4) {
  sites_.push_back(Where{});
}

std::string SharedMemory::place(Address address) const {
  return fmt::format("shared {:#x} of CTA {}", address, cta_);
}

std::uint32_t SharedMemory::site_of(const Where& where) {
  const auto same = [&](const Where& site) {
    return site.line == where.line && site.file == where.file;
  };
  for (std::size_t i = sites_.size(); i-- > 0;)
    if (same(sites_[i])) return static_cast<std::uint32_t>(i);
  sites_.push_back(where);
  return static_cast<std::uint32_t>(sites_.size() - 1);
}

void SharedMemory::check_range(Address address, Address bytes, const Actor& actor,
                               const Where& where) const {
  if (std::uint64_t{address} + bytes > bytes_.size()) {
    fault(where, "warp {} accesses {} bytes at {}, which has {}", actor.warp, bytes, place(address),
          bytes_.size());
  }
}

bool SharedMemory::finished(ReadSets::Id reads, const VectorClock& known) {
  for (const Epoch& read : sets_.of(reads))
    if (!known.covers(read)) return false;
  return true;
}

void SharedMemory::check_write(Word& word, Epoch since, Address address, const Actor& actor,
                               const char* what, const Where& where) {
  if (word.barrier) fault(where, "{} overwrites the mbarrier at {}", what, place(address));
  if (word.landing != 0)
    fault(where, "{} of warp {} writes {} while a copy lands there", what, actor.warp,
          place(address));
  if (word.reading != 0)
    fault(where, "{} of warp {} overwrites {} while {} asynchronous reads of it are in flight",
          what, actor.warp, place(address), word.reading);
  if (!actor.knows->writes.covers(since)) {
    fault(where,
          "race: {} of warp {} in CTA {} overwrites {}, and no barrier orders it after the "
          "write at {}",
          what, actor.warp, actor.cta, place(address), spelled(sites_[word.site]));
  }
  if (word.reads != 0 && !finished(word.reads, actor.knows->reads)) {
    fault(where,
          "race: {} of warp {} in CTA {} overwrites {}, and no barrier orders it after a "
          "read of that",
          what, actor.warp, actor.cta, place(address));
  }
}

void SharedMemory::check_read(const Word& word, Epoch since, Address address, const Actor& actor,
                              const char* what, const Where& where) const {
  if (word.barrier) fault(where, "{} reads the mbarrier at {}", what, place(address));
  if (word.landing != 0)
    fault(where, "{} of warp {} reads {} while a copy lands there", what, actor.warp,
          place(address));
  if (word.written.clock == 0)
    fault(where, "{} of warp {} reads {}, which nothing has written", what, actor.warp,
          place(address));
  if (!actor.knows->writes.covers(since)) {
    fault(where,
          "race: {} of warp {} in CTA {} reads {}, and no barrier orders it after the write "
          "at {}",
          what, actor.warp, actor.cta, place(address), spelled(sites_[word.site]));
  }
}

void SharedMemory::load(Address address, Address bytes, void* out, const Actor& actor,
                        const Where& where) {
  check_range(address, bytes, actor, where);
  if (address % bytes != 0)
    fault(where, "a load of {} bytes at {} is not aligned", bytes, place(address));
  for (Address w = address / 4; w < (address + bytes + 3) / 4; ++w) {
    Word& word = words_[w];
    check_read(word, word.written, w * 4, actor, "a load", where);
    word.reads = sets_.with(word.reads, actor.now);
  }
  std::memcpy(out, at(address), bytes);
}

void SharedMemory::store(Address address, Address bytes, const void* from, const Actor& actor,
                         const Where& where) {
  check_range(address, bytes, actor, where);
  if (address % bytes != 0)
    fault(where, "a store of {} bytes at {} is not aligned", bytes, place(address));
  if (actor.thread >= dirty_.size()) dirty_.resize(actor.thread + 1);
  const std::uint32_t site = site_of(where);
  for (Address w = address / 4; w < (address + bytes + 3) / 4; ++w) {
    Word& word = words_[w];
    check_write(word, word.written, w * 4, actor, "a store", where);
    word.written = word.fenced = actor.now;
    word.reads = 0;
    word.unfenced = static_cast<std::int32_t>(actor.thread);
    word.site = site;
    dirty_[actor.thread].push_back(w);
  }
  std::memcpy(at(address), from, bytes);
}

void SharedMemory::fence(const Actor& actor) {
  if (actor.thread >= dirty_.size()) return;
  for (const Address w : dirty_[actor.thread]) {
    Word& word = words_[w];
    if (word.unfenced != static_cast<std::int32_t>(actor.thread)) continue;
    word.unfenced = -1;
    word.fenced = actor.now;
  }
  dirty_[actor.thread].clear();
}

void SharedMemory::begin_landing(Address address, Address bytes, Copier copier, const Actor& actor,
                                 const Where& where) {
  check_range(address, bytes, actor, where);
  const std::uint32_t site = site_of(where);
  for (Address w = address / 4; w < (address + bytes) / 4; ++w) {
    Word& word = words_[w];
    check_write(word, copier == Copier::tma ? word.fenced : word.written, w * 4, actor,
                "an asynchronous copy", where);
    if (copier == Copier::tma && word.unfenced >= 0) {
      fault(where,
            "an asynchronous copy overwrites {}, which thread {} stored without "
            "fence.proxy.async",
            place(w * 4), word.unfenced);
    }
    word.landing = 1;
    word.reads = 0;
    word.site = site;
  }
  std::memset(at(address), kUndefined, bytes);
  ++in_flight_;
}

void SharedMemory::end_landing(Address address, Address bytes, Copier copier, const Actor& actor) {
  if (actor.thread >= dirty_.size()) dirty_.resize(actor.thread + 1);
  for (Address w = address / 4; w < (address + bytes) / 4; ++w) {
    words_[w].landing = 0;
    words_[w].written = words_[w].fenced = actor.now;
    if (copier == Copier::thread) {
      words_[w].unfenced = static_cast<std::int32_t>(actor.thread);
      dirty_[actor.thread].push_back(w);
    }
  }
  --in_flight_;
}

void SharedMemory::begin_reading(Address address, Address bytes, const Actor& actor,
                                 const char* what, const Where& where) {
  check_range(address, bytes, actor, where);
  for (Address w = address / 4; w < (address + bytes) / 4; ++w) {
    Word& word = words_[w];
    if (word.unfenced >= 0) {
      fault(where, "{} reads {}, which thread {} stored without fence.proxy.async", what,
            place(w * 4), word.unfenced);
    }
    check_read(word, word.fenced, w * 4, actor, what, where);
    ++word.reading;
  }
  ++in_flight_;
}

void SharedMemory::end_reading(Address address, Address bytes, Epoch reader) {
  for (Address w = address / 4; w < (address + bytes) / 4; ++w) {
    --words_[w].reading;
    words_[w].reads = sets_.with(words_[w].reads, reader);
  }
  --in_flight_;
}

void SharedMemory::reserve_barrier(Address address, const Actor& actor, const Where& where) {
  check_range(address, 8, actor, where);
  if (address % 8 != 0) fault(where, "an mbarrier at {} is not aligned to 8 bytes", place(address));
  for (Address w = address / 4; w < address / 4 + 2; ++w) {
    if (words_[w].barrier) fault(where, "the mbarrier at {} is there already", place(address));
    check_write(words_[w], words_[w].written, w * 4, actor, "mbarrier.init", where);
    words_[w].barrier = true;
  }
}

}  // namespace octavo::cuda::simulator
