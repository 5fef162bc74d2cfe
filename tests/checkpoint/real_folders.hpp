// SPDX-License-Identifier: Apache-2.0
// The folders of tests/checkpoint/data, a row each: what has to be read of them.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::test {

/// What has to be read of a folder.
struct Folder {
  const char* name;
  const char* scheme;
  std::size_t layers = 7;
  std::optional<Granularity> activation = std::nullopt;  ///< nullopt: activations stay
  bool is_static = false;
  bool azp = false;                    ///< of activations
  bool weight_azp = false;             ///< of the weight
  bool columns = false;                ///< in another order
  std::optional<ScaleGrid> grid = {};  ///< of each layer
};

inline const ScaleGrid kRow{1, kWholeExtent}, kWhole{};

inline const std::vector<Folder>& folders() {
  static const std::vector<Folder> all{
      {.name = "auto-gptq-act-order",
       .scheme = "int8-weight-only",
       .weight_azp = true,
       .columns = true,
       .grid = ScaleGrid{1, 16}},
      {.name = "auto-gptq-groups", .scheme = "int8-weight-only", .grid = ScaleGrid{1, 16}},
      {.name = "auto-gptq-one-group-asymmetric",
       .scheme = "int8-weight-only",
       .weight_azp = true,
       .grid = kRow},
      {.name = "auto-gptq-v2-act-order",
       .scheme = "int8-weight-only",
       .weight_azp = true,
       .columns = true,
       .grid = ScaleGrid{1, 16}},
      {.name = "bitsandbytes-int8", .scheme = "llm-int8", .activation = per_token(), .grid = kRow},
      {.name = "comfyui-fp8", .scheme = "fp8-weight-only", .layers = 2, .grid = kWhole},
      {.name = "comfyui-int8", .scheme = "int8-dynamic", .layers = 2, .activation = per_token()},
      {.name = "comfyui-metadata-u8", .scheme = "fp8-weight-only", .layers = 2, .grid = kWhole},
      {.name = "comfyui-scaled-fp8", .scheme = "fp8-weight-only", .layers = 2, .grid = kWhole},
      {.name = "deepseek-v3",
       .scheme = "fp8-block",
       .activation = group(128),
       .grid = ScaleGrid{128, 128}},
      {.name = "deepseek-v4",
       .scheme = "fp8-block",
       .activation = group(128),
       .grid = ScaleGrid{128, 128}},
      {.name = "llm-compressor-fp8-block",
       .scheme = "fp8-block",
       .activation = group(128),
       .grid = ScaleGrid{128, 128}},
      {.name = "llm-compressor-fp8-channel",
       .scheme = "fp8-dynamic",
       .activation = per_token(),
       .grid = kRow},
      {.name = "llm-compressor-fp8-tensor-static",
       .scheme = "fp8-dynamic",
       .activation = per_tensor(),
       .is_static = true,
       .grid = kWhole},
      {.name = "llm-compressor-int8-asymmetric",
       .scheme = "int8-dynamic",
       .activation = per_token(),
       .azp = true,
       .weight_azp = true,
       .grid = kRow},
      {.name = "llm-compressor-int8-channel",
       .scheme = "int8-dynamic",
       .activation = per_token(),
       .grid = kRow},
      {.name = "llm-compressor-int8-group",
       .scheme = "int8-dynamic",
       .activation = per_token(),
       .grid = ScaleGrid{1, 16}},
      {.name = "llm-compressor-int8-static-asymmetric",
       .scheme = "int8-dynamic",
       .activation = per_tensor(),
       .is_static = true,
       .azp = true,
       .grid = kRow},
      {.name = "llm-compressor-int8-tensor-static",
       .scheme = "int8-dynamic",
       .activation = per_tensor(),
       .is_static = true,
       .grid = kWhole},
      {.name = "llm-compressor-mxfp8",
       .scheme = "mxfp8",
       .activation = group(32),
       .grid = ScaleGrid{1, 32}},
      {.name = "llm-compressor-naive-fp8-weight-only", .scheme = "fp8-weight-only", .grid = kRow},
      {.name = "llm-compressor-pack-w8a16-asymmetric-group",
       .scheme = "int8-weight-only",
       .weight_azp = true,
       .grid = ScaleGrid{1, 16}},
      {.name = "llm-compressor-pack-w8a16-channel", .scheme = "int8-weight-only", .grid = kRow},
      {.name = "modelopt-fp8",
       .scheme = "fp8-dynamic",
       .activation = per_tensor(),
       .is_static = true,
       .grid = kWhole},
      {.name = "modelopt-fp8-block-weight-only",
       .scheme = "fp8-weight-only",
       .layers = 1,
       .grid = ScaleGrid{128, 128}},
      {.name = "modelopt-fp8-per-channel-per-token",
       .scheme = "fp8-dynamic",
       .activation = per_token(),
       .grid = kRow},
      {.name = "modelopt-int8-weight-only", .scheme = "int8-weight-only", .grid = kRow},
      {.name = "quanto-float8", .scheme = "fp8-weight-only", .grid = kRow},
      {.name = "quanto-int8", .scheme = "int8-weight-only", .grid = kRow},
      {.name = "quanto-int8-activations",
       .scheme = "int8-dynamic",
       .activation = per_tensor(),
       .is_static = true,
       .grid = kRow},
      {.name = "quark-fp8",
       .scheme = "fp8-dynamic",
       .activation = per_tensor(),
       .is_static = true,
       .grid = kWhole},
      {.name = "quark-fp8-rows-tokens",
       .scheme = "fp8-dynamic",
       .activation = per_token(),
       .grid = kRow},
      {.name = "quark-int8-weight-only", .scheme = "int8-weight-only", .grid = kRow},
      {.name = "torchao-float8-dynamic-row",
       .scheme = "fp8-dynamic",
       .activation = per_token(),
       .grid = kRow},
      {.name = "torchao-float8-dynamic-tensor",
       .scheme = "fp8-dynamic",
       .activation = per_tensor(),
       .grid = kWhole},
      {.name = "torchao-float8-weight-only", .scheme = "fp8-weight-only", .grid = kRow},
      {.name = "torchao-int8-dynamic",
       .scheme = "int8-dynamic",
       .activation = per_token(),
       .grid = kRow},
      {.name = "torchao-int8-weight-only", .scheme = "int8-weight-only", .grid = kRow},
      {.name = "torchao-intx-int8-group", .scheme = "int8-weight-only", .weight_azp = true},
      {.name = "transformers-fp8-block",
       .scheme = "fp8-block",
       .activation = group(32),
       .grid = ScaleGrid{16, 32}},
      {.name = "transformers-fp8-block-ue8m0",
       .scheme = "fp8-block",
       .activation = group(32),
       .grid = ScaleGrid{16, 32}},
      {.name = "vllm-fp8-dynamic",
       .scheme = "fp8-dynamic",
       .activation = per_token(),
       .grid = kWhole},
      {.name = "vllm-fp8-static",
       .scheme = "fp8-dynamic",
       .activation = per_tensor(),
       .is_static = true,
       .grid = kWhole},
  };
  return all;
}

}  // namespace octavo::test
