// SPDX-License-Identifier: Apache-2.0
// Failing every allocation under the C ABI: OCTAVO_OUT_OF_MEMORY, no leak, no exception, no handle.
#include <unistd.h>

#include <array>
#include <filesystem>

#include "capi/sample.hpp"
#include "robustness/allocation.hpp"

namespace octavo::test::capi_allocation_test {
namespace {

// What failed is thrown again, so that one harness serves both interfaces.
void pass(octavo_code code) {
  if (code != OCTAVO_OK) throw Error(Status(static_cast<Code>(code), {}));
}

// Whatever a call made, released at the end of it.
struct Made {
  std::array<octavo_tensor*, 5> t{};
  std::array<octavo_matmul_gradients, 2> d{octavo_matmul_gradients_init(),
                                           octavo_matmul_gradients_init()};
  octavo_quantize_gradients of_quantize = octavo_quantize_gradients_init();
  octavo_dequantize_gradients of_dequantize = octavo_dequantize_gradients_init();
  octavo_quantized* q = nullptr;
  octavo_packed* packed = nullptr;
  octavo_explanation* explanation = nullptr;
  octavo_checkpoint* file = nullptr;
  octavo_weight* weight = nullptr;
  octavo_strings* layers = nullptr;
  octavo_report* report = nullptr;

  Made() = default;
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;
  ~Made() {
    for (octavo_tensor* tensor : t) octavo_tensor_release(tensor);
    for (const octavo_matmul_gradients& one : d) {
      for (octavo_tensor* tensor : {one.a, one.b, one.bias, one.scale_a}) {
        octavo_tensor_release(tensor);
      }
    }
    for (octavo_tensor* tensor : {of_quantize.x, of_quantize.scale, of_dequantize.data,
                                  of_dequantize.scale, of_dequantize.azp}) {
      octavo_tensor_release(tensor);
    }
    octavo_quantized_release(q);
    octavo_packed_release(packed);
    octavo_explanation_release(explanation);
    octavo_checkpoint_release(file);
    octavo_weight_release(weight);
    octavo_strings_release(layers);
    octavo_report_release(report);
  }
};

octavo_context serial_context() {
  static const octavo_executor serial = [] {
    octavo_executor e = octavo_executor_init();
    e.concurrency = 1;
    return e;
  }();
  octavo_context context = octavo_context_init();
  context.executor = &serial;
  return context;
}

// A folder for as long as the program runs.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("octavo-capi-" + std::to_string(getpid()));
  Folder() { std::filesystem::create_directories(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path); }
};

std::vector<EntryPoint> entry_points() {
  static const Sample s;
  static const octavo_context serial = serial_context();
  static const Folder folder;
  static const std::string in = folder.path / "in.safetensors";
  static const std::string out = folder.path / "out.safetensors";
  using C = const ExecContext&;
  return {
      {"QuantizeAndMultiply",
       [](C) {
         Made m;
         pass(octavo_quantize(s.x, nullptr, &serial, &m.q));
         octavo_operand a = octavo_operand_init();
         a.quantized = m.q;
         pass(octavo_scaled_mm(&a, &s.b, nullptr, &serial, &m.t[0]));
       }},
      {"GroupedList",
       [](C) {
         Made m;
         const octavo_operand* as[] = {&s.a, &s.a};
         const octavo_operand* bs[] = {&s.b, &s.b};
         const octavo_code code = octavo_grouped_mm_list(as, bs, 2, nullptr, &serial, m.t.data());
         EXPECT_EQ(m.t[0] == nullptr, code != OCTAVO_OK);
         EXPECT_EQ(m.t[1] == nullptr, code != OCTAVO_OK);
         pass(code);
       }},
      {"PackAndLinear",
       [](C) {
         Made m;
         const octavo_operand w = operand_of(s.w);
         pass(octavo_pack(&w, nullptr, &serial, &m.packed));
         pass(octavo_linear(s.x, m.packed, nullptr, &serial, &m.t[0]));
         pass(octavo_unpack(m.packed, &serial, &m.q));
       }},
      {"ProductGradients",
       [](C) {
         Made m;
         octavo_scaled_mm_options forward = octavo_scaled_mm_options_init();
         forward.scale_a = octavo_scale_tensor(s.rows, OCTAVO_PER_TOKEN);
         forward.bias = s.two;
         octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
         options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_B | OCTAVO_WANT_BIAS | OCTAVO_WANT_SCALE_A;
         const octavo_code code =
             octavo_scaled_mm_vjp(s.square, &s.a, &s.b, &forward, &options, &serial, &m.d[0]);
         for (const octavo_tensor* tensor : {m.d[0].a, m.d[0].b, m.d[0].bias, m.d[0].scale_a}) {
           EXPECT_EQ(tensor == nullptr, code != OCTAVO_OK);
         }
         pass(code);
       }},
      {"ListGradients",
       [](C) {
         Made m;
         const octavo_view* grads[] = {s.square, s.square};
         const octavo_operand* as[] = {&s.a, &s.a};
         const octavo_operand* bs[] = {&s.b, &s.b};
         octavo_matmul_gradients* results[] = {&m.d[0], &m.d[1]};
         octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
         options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_B;
         const octavo_code code =
             octavo_grouped_mm_list_vjp(grads, as, bs, 2, nullptr, &options, &serial, results);
         for (const octavo_matmul_gradients& one : m.d) {
           EXPECT_EQ(one.a == nullptr, code != OCTAVO_OK);
           EXPECT_EQ(one.b == nullptr, code != OCTAVO_OK);
         }
         pass(code);
       }},
      {"RecipeGradients",
       [](C) {
         Made m;
         octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
         options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_SCALE_A;
         pass(octavo_functional_scaled_mm_vjp(s.square, s.fp8, s.fp8_weight, &s.recipe, 1,
                                              &s.recipe, 1, nullptr, &options, &serial, &m.d[0]));
       }},
      {"QuantiserGradients",
       [](C) {
         Made m;
         octavo_quantize_options forward = octavo_quantize_options_init();
         forward.granularity = OCTAVO_PER_TENSOR;
         forward.scale = octavo_scale_number(0.5);
         octavo_quantize_vjp_options options = octavo_quantize_vjp_options_init();
         options.wanted = OCTAVO_WANT_X | OCTAVO_WANT_SCALE;
         pass(octavo_quantize_vjp(s.x, s.x, &forward, &options, &serial, &m.of_quantize));
         forward = octavo_quantize_options_init();
         forward.flags = OCTAVO_AZP;
         pass(octavo_quantize(s.x, &forward, &serial, &m.q));
         octavo_dequantize_vjp_options back = octavo_dequantize_vjp_options_init();
         back.wanted = OCTAVO_WANT_DATA | OCTAVO_WANT_SCALE | OCTAVO_WANT_AZP;
         pass(octavo_dequantize_vjp(s.x, m.q, &back, &serial, &m.of_dequantize));
       }},
      {"DoubleQuant",
       [](C) {
         Made m;
         pass(octavo_int8_double_quant(s.x, nullptr, &serial, &m.t[0], &m.t[1], &m.t[2], &m.t[3],
                                       &m.t[4]));
       }},
      {"Explain",
       [](C) {
         Made m;
         pass(octavo_scaled_mm_explain(&s.a, &s.b, nullptr, &serial, &m.explanation));
       }},
      {"WriteQuantizeAndRead",
       [](C) {
         Made m;
         octavo_tensor_to_write tensor = octavo_tensor_to_write_init();
         tensor.name = "layer.weight";
         tensor.data = s.x;
         const octavo_tensor_to_write* list[] = {&tensor};
         const char* keys[] = {"a key that is longer than a short string"};
         pass(octavo_write_safetensors(in.c_str(), list, 1, keys, keys, 1));
         pass(octavo_quantize_file(in.c_str(), out.c_str(), nullptr, &m.report));
         pass(octavo_checkpoint_open(out.c_str(), &m.file));
         pass(octavo_checkpoint_quantized_layers(m.file, &m.layers));
         pass(octavo_checkpoint_weight(m.file, "layer", &m.weight));
         pass(octavo_weight_pack(m.weight, nullptr, &m.packed));
       }},
  };
}

class CApiAllocation : public testing::TestWithParam<EntryPoint> {};

TEST_P(CApiAllocation, FailingTheNthIsOutOfMemoryWithoutALeak) {
  {  // a sentence that could not be allocated: what this thread keeps is the same from here on
    const FailingAllocations failing(1);
    EXPECT_EQ(octavo_backend_count(nullptr), OCTAVO_OUT_OF_MEMORY);
  }
  EXPECT_STREQ(octavo_last_error(), "memory must be available; got none");
  expect_out_of_memory(GetParam());
}

INSTANTIATE_TEST_SUITE_P(EntryPoints, CApiAllocation, testing::ValuesIn(entry_points()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace octavo::test::capi_allocation_test
