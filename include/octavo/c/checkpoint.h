/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: safetensors files and the quantisation schemes written into them; checkpoint.hpp.
 * Strings in structs that the library fills live as long as the handle asked. */
#pragma once

#include "octavo/c/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A safetensors file, opened and validated. */
typedef struct octavo_checkpoint octavo_checkpoint;
/* Opens a safetensors file, its index or a model's folder. */
OCTAVO_C_API octavo_code octavo_checkpoint_open(const char* path, octavo_checkpoint** result);
OCTAVO_C_API octavo_checkpoint* octavo_checkpoint_retain(octavo_checkpoint* checkpoint);
OCTAVO_C_API void octavo_checkpoint_release(octavo_checkpoint* checkpoint);

/* What octavo_checkpoint_describe fills. */
typedef struct octavo_checkpoint_info {
  size_t struct_size;
  int64_t entries;    /* tensors */
  int64_t metadata;   /* pairs of strings */
  int64_t file_bytes; /* of all files */
} octavo_checkpoint_info;
OCTAVO_INIT_FUNCTION_(octavo_checkpoint_info);
OCTAVO_C_API octavo_code octavo_checkpoint_describe(const octavo_checkpoint* checkpoint,
                                                    octavo_checkpoint_info* result);

/* A tensor of a checkpoint; its strings live as long as the handle. */
typedef struct octavo_entry_info {
  size_t struct_size;
  const char* name;     /* of the tensor */
  const char* dtype;    /* safetensors spelling */
  int64_t ndim;         /* dimensions */
  const int64_t* shape; /* [ndim] */
  int64_t begin, end;   /* byte offsets in the data section */
} octavo_entry_info;
OCTAVO_INIT_FUNCTION_(octavo_entry_info);
/* Entry `index` in file order. */
OCTAVO_C_API octavo_code octavo_checkpoint_entry(const octavo_checkpoint* checkpoint, int64_t index,
                                                 octavo_entry_info* result);
/* Pair `index` of the metadata, in the order of keys. */
OCTAVO_C_API octavo_code octavo_checkpoint_metadata(const octavo_checkpoint* checkpoint,
                                                    int64_t index, const char** key,
                                                    const char** value);
/* 1 where there is a tensor of that name, else 0. */
OCTAVO_C_API octavo_code octavo_checkpoint_contains(const octavo_checkpoint* checkpoint,
                                                    const char* name, int32_t* result);
/* A copy of a tensor, by name. */
OCTAVO_C_API octavo_code octavo_checkpoint_tensor(const octavo_checkpoint* checkpoint,
                                                  const char* name, octavo_tensor** result);
/* The raw bytes of a tensor of any type, as a uint8 vector. */
OCTAVO_C_API octavo_code octavo_checkpoint_bytes(const octavo_checkpoint* checkpoint,
                                                 const char* name, octavo_tensor** result);
/* The prefixes of all layers whose weight is quantised. */
OCTAVO_C_API octavo_code octavo_checkpoint_quantized_layers(const octavo_checkpoint* checkpoint,
                                                            octavo_strings** result);

/* A layer's weight [N, K] in canonical form: codes, scales, rule of the activations. */
typedef struct octavo_weight octavo_weight;
/* The weight of layer `prefix` (without ".weight"), whatever its dialect. */
OCTAVO_C_API octavo_code octavo_checkpoint_weight(const octavo_checkpoint* checkpoint,
                                                  const char* prefix, octavo_weight** result);
/* What octavo_weight_describe fills. */
typedef struct octavo_weight_info {
  size_t struct_size;
  const char* scheme;     /* "int8-dynamic", ..., "none" */
  int64_t has_activation; /* 1: octavo_weight_activation gives a rule */
} octavo_weight_info;
OCTAVO_INIT_FUNCTION_(octavo_weight_info);
OCTAVO_C_API octavo_code octavo_weight_describe(const octavo_weight* weight,
                                                octavo_weight_info* result);
/* Its codes and scales, in shared memory; the grid is that of [N, K]. */
OCTAVO_C_API octavo_code octavo_weight_codes(const octavo_weight* weight,
                                             octavo_quantized** result);
/* How activations meet this weight; invalid_argument where there is no rule. */
OCTAVO_C_API octavo_code octavo_weight_activation(const octavo_weight* weight,
                                                  octavo_activation* result);
/* Packs for octavo_linear; the rule travels along. `backend`: whose layout; NULL: the best. */
OCTAVO_C_API octavo_code octavo_weight_pack(const octavo_weight* weight, const char* backend,
                                            octavo_packed** result);
/* The dimension of a weight [N, K] that ranks share. */
enum { OCTAVO_SHARD_COLUMNS = 0 /* N */, OCTAVO_SHARD_ROWS = 1 /* K */ };
/* A rank's part of a weight, without a change of any bit. Its codes may begin inside a cell of
 * their scales (octavo_quantized_info). */
OCTAVO_C_API octavo_code octavo_weight_shard(const octavo_weight* weight, int32_t axis,
                                             int64_t rank, int64_t world, octavo_weight** result);
/* The whole of `count` parts that follow each other. */
OCTAVO_C_API octavo_code octavo_weight_unshard(const octavo_weight* const* parts, int64_t count,
                                               int32_t axis, octavo_weight** result);
/* octavo_weight_shard of a layer, reading no other codes. */
OCTAVO_C_API octavo_code octavo_checkpoint_shard(const octavo_checkpoint* checkpoint,
                                                 const char* prefix, int32_t axis, int64_t rank,
                                                 int64_t world, octavo_weight** result);
OCTAVO_C_API octavo_weight* octavo_weight_retain(octavo_weight* weight);
OCTAVO_C_API void octavo_weight_release(octavo_weight* weight);

/* A tensor to be written: either `data`, with any strides, or `fill`, which writes the `size` bytes
 * of `dtype` (safetensors spelling, any of its types) and `shape` when the tensor's turn comes and
 * returns OCTAVO_OK; one tensor is in memory at a time. */
typedef struct octavo_tensor_to_write {
  size_t struct_size;
  const char* name;        /* of the tensor */
  const octavo_view* data; /* its bytes; NULL: `fill` writes them */
  /* writes the bytes when their turn comes */
  octavo_code (*fill)(void* user, void* bytes, size_t size);
  void* user;           /* what `fill` is called with */
  size_t size;          /* in bytes */
  const char* dtype;    /* safetensors spelling */
  int64_t ndim;         /* dimensions */
  const int64_t* shape; /* [ndim] */
} octavo_tensor_to_write;
OCTAVO_INIT_FUNCTION_(octavo_tensor_to_write);
/* Writes a file in one step: after a failure the target is untouched. Metadata is two arrays of
 * `metadata_count` strings. */
OCTAVO_C_API octavo_code octavo_write_safetensors(const char* path,
                                                  const octavo_tensor_to_write* const* tensors,
                                                  int64_t count, const char* const* metadata_keys,
                                                  const char* const* metadata_values,
                                                  int64_t metadata_count);

/* How a checkpoint is quantised. */
enum {
  OCTAVO_INT8_DYNAMIC = 0,
  OCTAVO_FP8_DYNAMIC = 1,
  OCTAVO_FP8_BLOCK = 2,
  OCTAVO_LLM_INT8 = 3,
  OCTAVO_INT8_WEIGHT_ONLY = 4,
  OCTAVO_FP8_WEIGHT_ONLY = 5,
  OCTAVO_MXFP8 = 6
};
/* "int8-dynamic", ...; "unknown" for a number that is no scheme. */
OCTAVO_C_API const char* octavo_scheme_name(int32_t scheme);
/* The scheme of that name, the ecosystem's spellings (FP8_DYNAMIC, W8A8, ...) included. */
OCTAVO_C_API octavo_code octavo_scheme_from_name(const char* name, int32_t* result);

/* How activations meet a weight of that scheme; invalid_argument where they stay as they are. */
OCTAVO_C_API octavo_code octavo_scheme_activation(int32_t scheme, octavo_activation* result);
/* Quantises a float weight [N, K], as layers store it, by that scheme. */
OCTAVO_C_API octavo_code octavo_quantize_weight(const octavo_view* weight, int32_t scheme,
                                                octavo_weight** result);

/* LLM.int8(): columns of a layer's activations that stay in float whatever they hold, ascending. */
typedef struct octavo_outlier_columns {
  const char* layer;      /* without ".weight" */
  const int64_t* columns; /* ascending */
  int64_t count;          /* of the columns */
} octavo_outlier_columns;

/* Experts that a model's class keeps in one tensor, of which transformers loads no 8-bit form. */
typedef enum octavo_experts {
  OCTAVO_EXPERTS_AS_LOADED = 0, /* refused */
  OCTAVO_EXPERTS_IN_FLOAT = 1,
  OCTAVO_EXPERTS_SEPARATE = 2 /* a layer for each: Octavo and vLLM read the file */
} octavo_experts;

/* How octavo_quantize_file quantises, and what it leaves alone. */
typedef struct octavo_quantize_file_options {
  size_t struct_size;
  int64_t scheme;            /* octavo_scheme */
  const char* const* ignore; /* layers to leave alone: names, or "re:..." */
  int64_t ignore_count;      /* of `ignore` */
  void (*progress)(void* user, int64_t done, int64_t total); /* bytes of input; must not throw */
  void* user;                                                /* what `progress` is called with */
  const octavo_outlier_columns*
      outlier_columns;           /* LLM.int8(): one for each layer that has a list */
  int64_t outlier_columns_count; /* of `outlier_columns` */
  int64_t has_outlier_threshold; /* 0: LLM.int8()'s threshold is 6 */
  double outlier_threshold; /* columns with |a| >= it stay in float, too; 0: only those listed */
  int64_t whole_columns;    /* 1: all of an outlier column stays out of row statistics */
  const char*
      layout;      /* a file that says what the modules of a model of one's own are; NULL: none */
  int64_t guess;   /* 1: names decide what tensors of a model of no known class are */
  int64_t experts; /* octavo_experts */
} octavo_quantize_file_options;
OCTAVO_INIT_FUNCTION_(octavo_quantize_file_options);

/* What quantising did to a layer's weight [n, k]. */
typedef struct octavo_layer_info {
  size_t struct_size;
  const char* name;                  /* of the layer */
  int64_t n, k;                      /* of the weight */
  int64_t bytes_before, bytes_after; /* weight and scales */
  double sqnr_db;                    /* 10 log10(sum w^2 / sum (w - w')^2) */
  double max_error;                  /* largest |w - w'| */
  int64_t saturated;                 /* codes at the type's largest magnitude */
} octavo_layer_info;
OCTAVO_INIT_FUNCTION_(octavo_layer_info);
/* Measures a weight [N, K] against its quantised form; the result's name is `layer` itself. */
OCTAVO_C_API octavo_code octavo_weight_compare(const char* layer, const octavo_view* weight,
                                               const octavo_weight* quantized,
                                               octavo_layer_info* result);

/* What became of a file and of each of its layers. */
typedef struct octavo_report octavo_report;
/* Quantises every linear layer's weight of a file and copies the rest. `result` may be NULL. */
OCTAVO_C_API octavo_code octavo_quantize_file(const char* in, const char* out,
                                              const octavo_quantize_file_options* options,
                                              octavo_report** result);
/* What octavo_report_describe fills. */
typedef struct octavo_report_info {
  size_t struct_size;
  int64_t layers;                              /* that were quantised */
  int64_t file_bytes_before, file_bytes_after; /* of all files */
  int64_t tensors_copied;                      /* that were written as they are */
} octavo_report_info;
OCTAVO_INIT_FUNCTION_(octavo_report_info);
OCTAVO_C_API octavo_code octavo_report_describe(const octavo_report* report,
                                                octavo_report_info* result);
/* A layer by its index; the name lives as long as the report. */
OCTAVO_C_API octavo_code octavo_report_layer(const octavo_report* report, int64_t index,
                                             octavo_layer_info* result);
/* Sentences about what other programs will not understand: a config.json in the file's folder that
 * does not declare its quantisation, with what to add to it. */
OCTAVO_C_API octavo_code octavo_report_warnings(const octavo_report* report,
                                                octavo_strings** result);
OCTAVO_C_API octavo_report* octavo_report_retain(octavo_report* report);
OCTAVO_C_API void octavo_report_release(octavo_report* report);

#ifdef __cplusplus
}
#endif
