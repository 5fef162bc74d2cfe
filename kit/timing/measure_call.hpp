// SPDX-License-Identifier: Apache-2.0
// Lines of operations beside products, a row for each kind: read, judged, and timed by the rules
// that make a figure: cold memory, interleaved rounds, medians.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kit/lines/line_words.hpp"
#include "kit/timing/measure.hpp"

namespace octavo::kit {

struct CallFigure : Timing {
  std::string backend;
  std::int64_t touched = 0, experts = 0;  ///< experts that have rows, of all; 0: it has none
  bool right = false;                     ///< the bits that its kind compares with
};

/// A line that has been read.
class CallLine {
 public:
  virtual ~CallLine() = default;
  /// The canonical spelling.
  virtual std::string text() const = 0;
  /// What would run it; an empty name forces none.
  virtual std::string backend(const std::string& forced) const = 0;
  /// Whether it gives the bits that its kind compares with.
  virtual bool right(const std::string& forced) const = 0;
  /// Memory rotates through 256 MB. `cold` and `peers` of the options do not count.
  virtual CallFigure measure(const MeasureOptions& options) const = 0;
};

/// An operation: how its lines are read, and what is said of them.
struct CallKind {
  std::string_view operation;  ///< a line's first word
  /// Throws Error for a line that is wrong.
  std::unique_ptr<CallLine> (*read)(std::string_view line);
  const char* figure;  ///< the type of a figure's object, and its field for `right`
  const char* verdict;
  const char* right;  ///< for people
  const char* wrong;
  const char* failure;     ///< one sentence
  bool against_reference;  ///< `right` compares with the reference backend
  LineHelp (*help)();      ///< the grammar of its lines
};

/// All of them.
std::span<const CallKind> call_kinds() noexcept;

/// The kind of a line; null where a product's grammar is to read it.
const CallKind* call_kind(std::string_view line);

/// `read` of the kinds.
std::unique_ptr<CallLine> read_quantize_call(std::string_view line);
std::unique_ptr<CallLine> read_experts_call(std::string_view line);

/// Times calls in rounds.
Timing time_calls(const std::function<void(const ExecContext&)>& call, const Work& work,
                  std::optional<PeakKind> kind, const MeasureOptions& options);

}  // namespace octavo::kit
