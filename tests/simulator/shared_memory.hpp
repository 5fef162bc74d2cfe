// SPDX-License-Identifier: Apache-2.0
// A CTA's shared memory, with what is known of every four bytes of it.
//
// An access is of the generic proxy (a thread's loads and stores) or of the asynchronous one (TMA,
// wgmma). Reported: bytes read or written while a copy lands in them; bytes overwritten while
// the asynchronous proxy reads them; what threads wrote and the asynchronous proxy reads without
// fence.proxy.async; races, by vector clocks; bytes read that nothing wrote; accesses past the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "simulator/fault.hpp"
#include "simulator/knowledge.hpp"

namespace octavo::cuda::simulator {

/// Who accesses memory: a thread of a warp, or an asynchronous operation that it issued.
struct Actor {
  const Knowledge* knows;
  Epoch now;  ///< its warp's
  std::uint32_t thread;
  std::uint32_t warp, cta;
};

class SharedMemory {
 public:
  using Address = std::uint32_t;
  /// What sixteen bytes of the asynchronous proxy are told apart in.
  static constexpr Address kPiece = 16;

  SharedMemory(Address bytes, std::uint32_t cta, ReadSets& sets);

  Address size() const { return static_cast<Address>(bytes_.size()); }
  const std::uint8_t* at(Address address) const { return bytes_.data() + address; }
  std::uint8_t* at(Address address) { return bytes_.data() + address; }

  /// Loads and stores of a thread. `bytes` is a multiple of 4 or less than it.
  void load(Address address, Address bytes, void* out, const Actor& actor, const Where& where);
  void store(Address address, Address bytes, const void* from, const Actor& actor,
             const Where& where);
  /// fence.proxy.async: what this thread has stored may be read by the asynchronous proxy.
  void fence(const Actor& actor);

  /// Who copies: TMA, of the asynchronous proxy, or cp.async, which is a thread's store that is
  /// late.
  enum class Copier : std::uint8_t { tma, thread };
  /// A copy is issued into these bytes: they are undefined until it has landed.
  void begin_landing(Address address, Address bytes, Copier copier, const Actor& actor,
                     const Where& where);
  /// It has landed, by this deed. Bytes themselves are written through `at`.
  void end_landing(Address address, Address bytes, Copier copier, const Actor& actor);

  /// An asynchronous read of these bytes begins; until it ends nothing may be written there.
  void begin_reading(Address address, Address bytes, const Actor& actor, const char* what,
                     const Where& where);
  void end_reading(Address address, Address bytes, Epoch reader);

  /// The eight bytes of an mbarrier are its alone from now on.
  void reserve_barrier(Address address, const Actor& actor, const Where& where);

  /// Copies that have not landed and asynchronous reads that have not ended.
  std::uint64_t in_flight() const { return in_flight_; }

 private:
  struct Word {
    Epoch written;
    Epoch fenced;  // the same, for asynchronous accesses: they must know of the writer's fence, too
    ReadSets::Id reads = 0;
    std::uint16_t landing = 0;
    std::uint16_t reading = 0;
    std::int32_t unfenced = -1;  // the thread that stored here and has not fenced
    std::uint32_t site = 0;      // where it was written
    bool barrier = false;
  };

  void check_range(Address address, Address bytes, const Actor& actor, const Where& where) const;
  // `since`: what the actor must know of, written or fenced.
  void check_write(Word& word, Epoch since, Address address, const Actor& actor, const char* what,
                   const Where& where);
  void check_read(const Word& word, Epoch since, Address address, const Actor& actor,
                  const char* what, const Where& where) const;
  bool finished(ReadSets::Id reads, const VectorClock& known);
  std::uint32_t site_of(const Where& where);
  std::string place(Address address) const;

  std::uint32_t cta_;
  ReadSets& sets_;
  std::vector<std::uint8_t> bytes_;
  std::vector<Word> words_;
  std::vector<std::vector<Address>> dirty_;  // by thread: words that it has not fenced
  std::vector<Where> sites_;
  std::uint64_t in_flight_ = 0;
};

}  // namespace octavo::cuda::simulator
