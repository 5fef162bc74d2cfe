// SPDX-License-Identifier: Apache-2.0
// The fields of every object that --json prints, as one table. tests/docs/check_cli.py holds it to
// what the commands print.
#include "json_help.hpp"

#include <fmt/format.h>

#include <array>
#include <span>

namespace octavo::cli {
namespace {

struct Field {
  const char* names;  // with commas between; of an object inside another: "outer.inner"
  const char* meaning;
};

struct Object {
  const char* commands;
  const char* type;
  std::span<const Field> fields;
};

constexpr std::array kQuantizedLayer{
    Field{"name, n, k", "the layer; its weight is [N, K]"},
    Field{"bytes_before, bytes_after", "of the weight; codes and scales"},
    Field{"sqnr_db", "10 log10(sum w^2 / sum (w - w')^2); null: exact"},
    Field{"max_error", "the largest |w - w'|"},
    Field{"saturated", "codes of the type's largest magnitude"},
    Field{"nearest_output_error, output_error", "with --gptq: by nearest codes, by GPTQ's"}};
constexpr std::array kQuantizeSummary{
    Field{"in, out, scheme", "what was done"},
    Field{"layers, tensors_copied", "how many"},
    Field{"layer_bytes_before, layer_bytes_after", "of the quantised layers"},
    Field{"file_bytes_before, file_bytes_after", "of all files with tensors"},
    Field{"bits_per_weight", "scales included"},
    Field{"mean_sqnr_db", "of the layers that are not exact"},
    Field{"max_error, saturated", "over all layers"},
    Field{"smoothed_norms, unsmoothed_layers", "of --smoothquant"},
    Field{"warnings", "sentences"}};
constexpr std::array kEstimate{Field{"in, scheme, layers", "what would be done"},
                               Field{"file_bytes_before, file_bytes_after", "of the files"},
                               Field{"memory_bytes, seconds", "what it would take"}};
constexpr std::array kTransferSummary{
    Field{"in, out, to", "what was done"},
    Field{"tensors_copied, file_bytes_before, file_bytes_after", "as of quantize"},
    Field{"warnings", "what the format cannot say"}};
constexpr std::array kInspectTensor{Field{"name, dtype, shape", "in safetensors' spelling"},
                                    Field{"file, begin, bytes", "where, in its data section"}};
constexpr std::array kInspectLayer{
    Field{"name, scheme", "the layer"}, Field{"dtype", "of the codes"},
    Field{"granularity", "of the weight [N, K]: tensor, channel, group128, block128x128"},
    Field{"scales", "how many"}};
constexpr std::array kInspectFile{
    Field{"path, bytes, tensors, quantized_layers, files", "of the whole model"},
    Field{"declared_in", "where the quantisation is declared; what counts first"},
    Field{"warnings", "rules that nothing applies, parts that are not there"},
    Field{"metadata", "of the file"}};
constexpr std::array kProblem{Field{"name, problem", "the tensor or file, and what is wrong"}};
constexpr std::array kVerifySummary{
    Field{"path, files, tensors, quantized_layers, problems", "how many"}};
constexpr std::array kCompareTensor{
    Field{"name, shape, cosine, sqnr_db, max_error", "of B's values against A's"},
    Field{"not_finite", "elements of which one is not finite and the other not the same"}};
constexpr std::array kMissing{Field{"name, model", "the tensor, and the model that lacks it"}};
constexpr std::array kDifferent{Field{"name, a, b", "the tensor, and what each has"}};
constexpr std::array kCompareSummary{
    Field{"a, b, tensors, missing, different, not_finite, least_sqnr_db", "of all tensors"}};
constexpr std::array kReport{
    Field{"path, against, calibration", "the models and the file; null: none"},
    Field{"octavo, cpu, threads, least_sqnr_db, schemes, file_bytes", "what it was made with"},
    Field{"layers.name, layers.shape, layers.dtype, layers.scheme, layers.bytes", "as stored"},
    Field{"layers.error", "of stored codes against the float weight; null: no --against"},
    Field{"error.sqnr_db, error.max_error, error.output_sqnr_db", ""},
    Field{"layers.input", "what the calibration says; null: nothing"},
    Field{"input.absmax, input.median_absmax", "of the columns' largest magnitudes"},
    Field{"input.threshold, input.outlier_columns", "columns that reach it"},
    Field{"input.lost_columns", "columns that one static scale makes 0, for int8 and e4m3fn"},
    Field{"input.hessian", "whether there is one"},
    Field{"layers.schemes", "one for each --scheme"},
    Field{"schemes.scheme, schemes.sqnr_db, schemes.max_error, schemes.saturated, "
          "schemes.bytes_after",
          "as of quantize"},
    Field{"schemes.output_sqnr_db", "null: no Hessian, or no error"},
    Field{"layers.histogram", "of |w| over its row's largest, 32 bins"},
    Field{"layers.columns", "which columns stand out"},
    Field{"columns.median_absmax", ""},
    Field{"columns.top, top.column, top.absmax, top.ratio", "the eight largest"},
    Field{"columns.slices", "the largest ratio in each of at most 64 equal slices"},
    Field{"layers.recommendation", "what to do"},
    Field{"recommendation.choice, recommendation.reason", "a scheme, float or keep"},
    Field{"speed", "null: not measured"},
    Field{"speed.shape, speed.times", "times of one shape"},
    Field{"times.form", "float32, bfloat16 or a scheme"},
    Field{"times.m, times.median_us, times.repeats, times.not_run", "rows; why not"}};
constexpr std::array kScheme{
    Field{"name, weight, activations", "what it is"},
    Field{"scale_bytes, rows_of_scale, columns_of_scale", "weights under a scale; 0: all"},
    Field{"bytes_per_weight", "of a 4096 x 4096 layer"},
    Field{"loss_nats", "cross entropy over the float model's"},
    Field{"format, loaders", "of the folder"}};
constexpr std::array kPlanLayers{
    Field{"name, split, dtype, n, k, layers, experts", "layers of one name"},
    Field{"bytes, bytes_read, operations, bytes_sent, messages", "of a rank"},
    Field{"compute_seconds, communication_seconds", "of a batch"}};
constexpr std::array kPlan{
    Field{"ranks, rows, network_gbits, latency_us, machine, simulated", "what was asked"},
    Field{"read_gbps, int8_gops, float8_gops, float16_gops, float32_gops", "rates of a rank"},
    Field{"bytes, other_bytes", "linear layers, the rest"},
    Field{"compute_seconds, communication_seconds, seconds", "of a batch"}};
constexpr std::array kCandidate{Field{"backend, accepts, chosen, reason", "one for each backend"}};
constexpr std::array kExplained{Field{"line, executor", "canonical spelling; whose threads"},
                                Field{"error_bound", "0: the sum is exact"},
                                Field{"workspace_bytes", "of the call"}};
constexpr std::array kFigure{
    Field{"line, backend, threads, cold", "what was timed"},
    Field{"median_us, best_us, rounds", "over the rounds"},
    Field{"gops, peak_gops, peak_instruction, peak_instructions_per_cycle", "operations"},
    Field{"gbps, read_gbps", "bytes"},
    Field{"roofline_fraction, roofline_low, roofline_high", "with its interval"},
    Field{"memory_bound", "more than half of the least time is memory's"},
    Field{"noise_low, noise_high", "of Octavo's time over Octavo's"},
    Field{"scaling, scaling_low, scaling_high", "one thread's time over all threads'"},
    Field{"max_error_ratio", "the largest error over the computed bound"},
    Field{"against", "of --against; else null"},
    Field{"against.line, against.backend, against.median_us, against.max_error_ratio", ""},
    Field{"against.ratio, against.ratio_low, against.ratio_high", "its time over this one's"},
    Field{"peers.name, peers.version", ""},
    Field{"peers.as", "bf16: fp8 given as bfloat16; else null"},
    Field{"peers.not_run", "why not; null: it ran"},
    Field{"peers.note", "what ran, what was left out"},
    Field{"peers.median_us, peers.ratio, peers.ratio_low, peers.ratio_high", "time over ours"},
    Field{"peers.roofline_fraction, peers.max_error_ratio", "null: a part was left out"}};
constexpr std::array kCliffs{
    Field{"line, threads, noise, steps", "drops of efficiency that count"},
    Field{"largest_drop, largest_drop_after", "M"},
    Field{"slower_with_fewer, slower_with_fewer_at", "M; 0: none"},
    Field{"n_plus_one, k_plus_one, both_plus_one", "efficiency one past a multiple of 64"}};
constexpr std::array kCheck{
    Field{"line, backend, passed", ""}, Field{"max_error_ratio", "over the computed bound"},
    Field{"matches_reference", "null: too large to ask"}, Field{"failure", "a sentence"}};
constexpr std::array kRefusal{Field{"line, backend, reason", "of --check: who does not take it"}};
constexpr std::array kLine{Field{"line, backend", "of --list: what would run"}};
constexpr std::array kQuantizeFigure{
    Field{"line, backend, threads, median_us, best_us, rounds", "as of figure"},
    Field{"bytes, gbps, read_gbps", "input, codes, scales, each once"},
    Field{"roofline_fraction, roofline_low, roofline_high", ""},
    Field{"noise_low, noise_high, scaling, scaling_low, scaling_high", ""},
    Field{"matches_reference", "bit for bit"}};
constexpr std::array kExpertsFigure{
    Field{"line, backend, threads, median_us, best_us, rounds", "as of figure"},
    Field{"touched_experts", "experts that have tokens"},
    Field{"gops, peak_gops, gbps, read_gbps, memory_bound", ""},
    Field{"roofline_fraction, roofline_low, roofline_high", ""},
    Field{"noise_low, noise_high, scaling, scaling_low, scaling_high", ""},
    Field{"matches_composition", "bit for bit with the separate operations"}};
constexpr std::array kFeature{Field{"name, present", ""}, Field{"left_out", "by OCTAVO_ISA"}};
constexpr std::array kBackend{
    Field{"name, summary, usable, unavailable", "why not; empty: usable"},
    Field{"uses, more", "what its kernels were chosen for; what the best would need"},
    Field{"caches", "the family of CPUs for whose caches products are cut"}};
constexpr std::array kVariable{Field{"name, value, reader", "null: not set"},
                               Field{"unset, meaning", "what counts then; what it does"}};
constexpr std::array kPeer{Field{"name, version, not_run", "with --peaks"}};
constexpr std::array kPeaks{
    Field{"threads, read_gbps", "with --peaks"},
    Field{"peaks.kind, peaks.instruction, peaks.gops, peaks.instructions_per_cycle", ""}};
constexpr std::array kBuild{Field{"version, compiler, cpu, threads, executor", ""}};

constexpr std::array kObjects{Object{"quantize", "layer", kQuantizedLayer},
                              Object{"quantize", "summary", kQuantizeSummary},
                              Object{"quantize --dry-run", "estimate", kEstimate},
                              Object{"convert, dequantize", "summary", kTransferSummary},
                              Object{"verify", "problem", kProblem},
                              Object{"verify", "summary", kVerifySummary},
                              Object{"compare", "tensor", kCompareTensor},
                              Object{"compare", "missing", kMissing},
                              Object{"compare", "different", kDifferent},
                              Object{"compare", "summary", kCompareSummary},
                              Object{"report", "report", kReport},
                              Object{"inspect", "tensor", kInspectTensor},
                              Object{"inspect", "layer", kInspectLayer},
                              Object{"inspect", "file", kInspectFile},
                              Object{"schemes", "scheme", kScheme},
                              Object{"plan", "layers", kPlanLayers},
                              Object{"plan", "plan", kPlan},
                              Object{"explain", "candidate", kCandidate},
                              Object{"explain", "problem", kExplained},
                              Object{"bench, try", "figure", kFigure},
                              Object{"bench", "quantize_figure", kQuantizeFigure},
                              Object{"bench", "experts_figure", kExpertsFigure},
                              Object{"bench", "cliffs", kCliffs},
                              Object{"bench", "check", kCheck},
                              Object{"bench", "refusal", kRefusal},
                              Object{"bench", "line", kLine},
                              Object{"info", "cpu_feature", kFeature},
                              Object{"info", "backend", kBackend},
                              Object{"info", "variable", kVariable},
                              Object{"info", "peer", kPeer},
                              Object{"info", "peaks", kPeaks},
                              Object{"info", "build", kBuild}};

}  // namespace

void print_json_help() {
  fmt::print(
      "With --json a command prints one JSON object on a line. The field type says what it\n"
      "describes; the last line is the summary. Infinite numbers are null. A field OUTER.INNER\n"
      "is a field of the object, or of each object of the list, that OUTER names.\n");
  for (const Object& object : kObjects) {
    fmt::print("\n{}: {}\n", object.commands, object.type);
    for (const auto& [names, meaning] : object.fields) {
      fmt::print("  {}{}{}\n", names, *meaning == '\0' ? "" : ": ", meaning);
    }
  }
}

}  // namespace octavo::cli
