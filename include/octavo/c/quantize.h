/* SPDX-License-Identifier: Apache-2.0 */
/* Quantisers, the rule of a fused quantiser, and packed weights. */
#pragma once

#include "octavo/c/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which float32 numbers a scale may be. */
enum {
  OCTAVO_ROUNDING_NONE = 0,         /* absmax / qmax */
  OCTAVO_ROUNDING_POWER_OF_TWO = 1, /* 2^ceil(log2(absmax / qmax)) */
  OCTAVO_ROUNDING_MX_FLOOR = 2      /* OCP MX 1.0 */
};

/* How octavo_quantize makes codes and scales. */
typedef struct octavo_quantize_options {
  size_t struct_size;
  /* api: octavo_quantize_options, of api/operations.toml */
  int64_t rows, cols; /* of GROUP and BLOCK */
  /* the magnitude that scales aim at; 0: the type's largest */
  double qmax;
  /* static quantisation: this scale instead of a computed one */
  octavo_scale scale;
  /* static quantisation with azp: the zero points, int32 */
  const octavo_view* azp_in;
  /* of the codes: int8, uint8 (with azp), float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, ...;
   * undefined: int8 */
  octavo_dtype dtype;
  /* tensor, token, channel, group128, block128x128; 0: PER_TOKEN */
  int32_t granularity;
  /* how granularities read the matrix: a as [M, K], b as [K, N] */
  int32_t side;
  /* upper bound of absmax; 0: none */
  float scale_ub;
  /* lower bound of the scale, and the scale of zeros */
  float min_scale;
  /* none, power_of_two (up, before quantising: DeepSeek) or mx_floor (OCP MX) */
  int32_t rounding;
  /* float32, or float8_e8m0fnu for power-of-two scales; undefined: float32 */
  octavo_dtype scale_dtype;
  /* AZP, NON_FINITE_ERROR, NON_FINITE_IGNORE, OVERFLOW_IEEE, WIDEN */
  uint32_t flags;
  /* api: end */
} octavo_quantize_options;
OCTAVO_INIT_FUNCTION_(octavo_quantize_options);

/* Quantises a matrix [R, C] of bfloat16, float16 or float32 with any strides; the same bits on
 * every backend. A weight stored as [N, K] is viewed as [K, N] by its strides, with PER_CHANNEL
 * and SIDE_B. */
OCTAVO_C_API octavo_code octavo_quantize(const octavo_view* x,
                                         const octavo_quantize_options* options,
                                         const octavo_context* context, octavo_quantized** result);
/* The same into the memory of `out`, which has the shapes, types and grid that octavo_quantize
 * gives. `backend` forces one by name; NULL: the best. */
OCTAVO_C_API octavo_code octavo_quantize_into(const octavo_view* x,
                                              const octavo_quantize_options* options,
                                              const octavo_quantized* out, const char* backend,
                                              const octavo_context* context);
/* Groups of 32 along K with float8_e8m0fnu scales; dtype undefined: float8_e4m3fn. */
OCTAVO_C_API octavo_code octavo_quantize_mxfp8(const octavo_view* x, octavo_dtype dtype,
                                               int32_t side, const octavo_context* context,
                                               octavo_quantized** result);
/* The scales (and zero points) that octavo_quantize would use; no codes. */
OCTAVO_C_API octavo_code octavo_compute_scale(const octavo_view* x,
                                              const octavo_quantize_options* options,
                                              const octavo_context* context,
                                              octavo_quantized** result);
/* (codes - azp) * scale in float32, converted once; out_dtype undefined: float32. */
OCTAVO_C_API octavo_code octavo_dequantize(const octavo_quantized* q, octavo_dtype out_dtype,
                                           const octavo_context* context, octavo_tensor** result);

/* The arguments of octavo_rotate beside x. */
typedef struct octavo_rotate_options {
  size_t struct_size;
  /* api: octavo_rotate_options, of api/operations.toml */
  /* [..., C]; default: allocated by the call */
  const octavo_view* out;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* neighbours that are rotated together: 16, 64 or 256 */
  int32_t block;
  /* bfloat16, float16 or float32; default: x's */
  octavo_dtype out_dtype;
  /* api: end */
} octavo_rotate_options;
OCTAVO_INIT_FUNCTION_(octavo_rotate_options);
/* Blocks of neighbours of x [..., C] times a Hadamard matrix that is its own inverse; rotate.hpp */
OCTAVO_C_API octavo_code octavo_rotate(const octavo_view* x, const octavo_rotate_options* options,
                                       const octavo_context* context, octavo_tensor** result);

/* How float activations are quantised on their way into a product. */
typedef struct octavo_activation {
  size_t struct_size;
  /* api: octavo_activation, of api/operations.toml */
  int64_t rows, cols; /* of GROUP and BLOCK */
  /* as of quantize */
  double qmax;
  /* LLM.int8: ascending columns that are float whatever they hold, with or without a threshold (a
   * calibrated list) */
  const int64_t* outlier_columns;
  int64_t outlier_count;
  /* where the codes go; default: the workspace */
  const octavo_view* codes;
  /* where the scales go; default: the workspace */
  const octavo_view* scales;
  /* the type that activations are quantised to */
  octavo_dtype dtype;
  /* "token", "tensor" or "group128"; 0: PER_TOKEN */
  int32_t granularity;
  /* of the activations' computed scales, as of quantize; 0: none */
  float scale_ub;
  float min_scale;
  int32_t rounding;
  /* float32, or float8_e8m0fnu for power-of-two scales; undefined: float32 */
  octavo_dtype scale_dtype;
  /* static quantisation by this one scale (and zero point), with a granularity of one for all; 0:
   * computed ones */
  float static_scale;
  int32_t static_azp;
  /* blocks of so many neighbours along K are rotated before all else: 16, 64 or 256, as the
   * weight's rows were (octavo.quantizers.rotate); 0: none */
  int32_t rotation;
  /* LLM.int8: columns with an element of this magnitude stay in float; 0: off */
  float outlier_threshold;
  /* AZP, NON_FINITE_ERROR, NON_FINITE_IGNORE, OVERFLOW_IEEE, WIDEN, VECTORWISE, WHOLE_COLUMNS */
  uint32_t flags;
  uint32_t reserved;
  /* api: end */
} octavo_activation;
OCTAVO_INIT_FUNCTION_(octavo_activation);

/* One side of a product: exactly one of data, quantized and packed (B only). `activation` (A only):
 * `data` is float and is quantised on the fly. flags: TRANSPOSED (not of a packed weight) */
typedef struct octavo_packed octavo_packed;
/* One side of a product; fill one of the first three tensors. */
typedef struct octavo_operand {
  size_t struct_size;
  const octavo_view* data;             /* elements, of any type */
  const octavo_quantized* quantized;   /* codes with their scales */
  const octavo_packed* packed;         /* a packed weight; B only */
  const octavo_activation* activation; /* how float `data` is quantised; A only */
  uint64_t flags;                      /* TRANSPOSED */
} octavo_operand;
OCTAVO_INIT_FUNCTION_(octavo_operand);

/* A weight packed once for the kernels of this machine: immutable, shared between threads,
 * unpacked bit for bit. It owns its codes and scales. */
typedef struct octavo_pack_options {
  size_t struct_size;
  /* api: octavo_pack_options, of api/operations.toml */
  /* the weight's scale, as scale_b of scaled_mm; default: the one that it carries */
  octavo_scale scale;
  /* the rule by which linear will quantise activations; default: none, they are multiplied as they
   * are */
  const octavo_activation* activation;
  /* whose layout; default, or where that one has none: the first that has */
  const char* backend;
  /* api: end */
} octavo_pack_options;
OCTAVO_INIT_FUNCTION_(octavo_pack_options);
/* Packs a weight B [K, N] of any strides, type and scale for this machine's kernels. */
OCTAVO_C_API octavo_code octavo_pack(const octavo_operand* weight,
                                     const octavo_pack_options* options,
                                     const octavo_context* context, octavo_packed** result);
/* Codes [K, N] with K contiguous, and scales. */
OCTAVO_C_API octavo_code octavo_unpack(const octavo_packed* weight, const octavo_context* context,
                                       octavo_quantized** result);

/* What octavo_packed_describe fills. */
typedef struct octavo_packed_info {
  size_t struct_size;
  int64_t k, n;           /* of the weight [K, N] */
  size_t bytes;           /* of codes, scales and column sums */
  const char* layout;     /* what the codes are in: "i8x4", "f8x2", ... */
  octavo_dtype dtype;     /* of the codes */
  int32_t has_activation; /* 1: octavo_linear quantises as octavo_packed_activation says */
} octavo_packed_info;
OCTAVO_INIT_FUNCTION_(octavo_packed_info);
OCTAVO_C_API octavo_code octavo_packed_describe(const octavo_packed* weight,
                                                octavo_packed_info* result);
/* The rule that octavo_linear follows; invalid_argument where there is none. */
OCTAVO_C_API octavo_code octavo_packed_activation(const octavo_packed* weight,
                                                  octavo_activation* result);
OCTAVO_C_API octavo_packed* octavo_packed_retain(octavo_packed* weight);
OCTAVO_C_API void octavo_packed_release(octavo_packed* weight);

#ifdef __cplusplus
}
#endif
