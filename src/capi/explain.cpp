// SPDX-License-Identifier: Apache-2.0
// What would run, and what this build has on this machine.
#include "capi/operations/products.hpp"
#include "octavo/backend.hpp"
#include "octavo/context.hpp"
#include "octavo/problem_line.hpp"

using namespace octavo::capi;

namespace {

ExplanationText with_text(octavo::Explanation explanation) {
  std::string text = explanation.to_string();
  return {std::move(explanation), std::move(text)};
}

// These do not change while a process runs; their strings are handed out.
const std::vector<octavo::BackendInfo>& known_backends() {
  static const std::vector<octavo::BackendInfo> list = octavo::backends();
  return list;
}
const std::vector<octavo::CpuFeature>& known_features() {
  static const std::vector<octavo::CpuFeature> list = octavo::cpu_features();
  return list;
}

}  // namespace

octavo_code octavo_scaled_mm_explain(const octavo_operand* a, const octavo_operand* b,
                                     const octavo_scaled_mm_options* options,
                                     const octavo_context* context, octavo_explanation** result) {
  return guarded("scaled_mm", [&] {
    Slot slot({"scaled_mm", "result"}, result);
    const OperandArgument left({"scaled_mm", "a"}, a);
    const OperandArgument right({"scaled_mm", "b"}, b);
    const octavo::ScaledMmOptions o = options_from({"scaled_mm", "options"}, options);
    const Context run_on("scaled_mm", context);
    slot.fill(
        with_text(octavo::explain(octavo::scaled_mm_problem(left, right, o), run_on, o.backend)));
  });
}

octavo_code octavo_grouped_mm_explain(const octavo_operand* a, const octavo_operand* b,
                                      const octavo_grouped_mm_options* options,
                                      const octavo_context* context, octavo_explanation** result) {
  return guarded("grouped_mm", [&] {
    Slot slot({"grouped_mm", "result"}, result);
    const OperandArgument left({"grouped_mm", "a"}, a);
    const OperandArgument right({"grouped_mm", "b"}, b);
    const octavo::GroupedOptions o = options_from({"grouped_mm", "options"}, options);
    const Context run_on("grouped_mm", context);
    slot.fill(
        with_text(octavo::explain(octavo::grouped_mm_problem(left, right, o), run_on, o.backend)));
  });
}

octavo_code octavo_line_explain(const char* line, const char* backend,
                                const octavo_context* context, octavo_explanation** result) {
  return guarded("line_explain", [&] {
    Slot slot({"line_explain", "result"}, result);
    const Context run_on("line_explain", context);
    const auto parsed = octavo::parse_problem_line(text_of({"line_explain", "line"}, line));
    slot.fill(with_text(octavo::explain(parsed, run_on, backend)));
  });
}

octavo_code octavo_explanation_describe(const octavo_explanation* explanation,
                                        octavo_explanation_info* result) {
  constexpr const char* kName = "explanation_describe";
  return guarded(kName, [&] {
    const ExplanationText& e = value_of({kName, "explanation"}, explanation);
    octavo_explanation_info info{};
    info.candidates = static_cast<int64_t>(e.explanation.candidates.size());
    info.text = e.text.c_str();
    info.executor = e.explanation.executor.c_str();
    info.error_bound = e.explanation.error_bound;
    info.workspace_bytes = e.explanation.workspace_bytes;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_explanation_candidate(const octavo_explanation* explanation, int64_t index,
                                         octavo_candidate_info* result) {
  constexpr const char* kName = "explanation_candidate";
  return guarded(kName, [&] {
    const auto& list = value_of({kName, "explanation"}, explanation).explanation.candidates;
    const octavo::Candidate& c = list[checked_index({kName, "index"}, index, list.size())];
    octavo_candidate_info info{};
    info.backend = c.backend.c_str();
    info.reason = c.reason.c_str();
    info.accepts = c.accepts ? 1 : 0;
    info.chosen = c.chosen ? 1 : 0;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_explanation* octavo_explanation_retain(octavo_explanation* explanation) {
  return retain(explanation);
}
void octavo_explanation_release(octavo_explanation* explanation) { release(explanation); }

octavo_code octavo_backend_count(int64_t* result) {
  return guarded("backend_count", [&] {
    give("backend_count", result, int64_t{0});
    *result = static_cast<int64_t>(known_backends().size());
  });
}

octavo_code octavo_backend_describe(int64_t index, octavo_backend_info* result) {
  constexpr const char* kName = "backend_describe";
  return guarded(kName, [&] {
    const auto& list = known_backends();
    const octavo::BackendInfo& b = list[checked_index({kName, "index"}, index, list.size())];
    octavo_backend_info info{};
    info.name = b.name.c_str();
    info.summary = b.summary.c_str();
    info.unavailable = b.unavailable.c_str();
    info.usable = b.usable ? 1 : 0;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_cpu_feature_count(int64_t* result) {
  return guarded("cpu_feature_count", [&] {
    give("cpu_feature_count", result, int64_t{0});
    *result = static_cast<int64_t>(known_features().size());
  });
}

octavo_code octavo_cpu_feature_describe(int64_t index, octavo_cpu_feature_info* result) {
  constexpr const char* kName = "cpu_feature_describe";
  return guarded(kName, [&] {
    const auto& list = known_features();
    const octavo::CpuFeature& f = list[checked_index({kName, "index"}, index, list.size())];
    octavo_cpu_feature_info info{};
    info.name = f.name.c_str();
    info.present = f.present ? 1 : 0;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_cpu_name(const char** result) {
  return guarded("cpu_name", [&] {
    give<const char*>("cpu_name", result, nullptr);
    static const std::string name = octavo::cpu_name();
    *result = name.c_str();
  });
}

const char* octavo_executor_reason(void) { return octavo::default_executor_reason(); }
