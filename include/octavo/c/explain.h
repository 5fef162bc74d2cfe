/* SPDX-License-Identifier: Apache-2.0 */
/* What will run a problem, and why; what this build has on this machine; backend.hpp. */
#pragma once

#include "octavo/c/matmul.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The answer to "what will run this, and why?". Its strings live as long as the handle. */
typedef struct octavo_explanation octavo_explanation;
/* What would run octavo_scaled_mm, and why. */
OCTAVO_C_API octavo_code octavo_scaled_mm_explain(const octavo_operand* a, const octavo_operand* b,
                                                  const octavo_scaled_mm_options* options,
                                                  const octavo_context* context,
                                                  octavo_explanation** result);
/* What would run octavo_grouped_mm, and why. */
OCTAVO_C_API octavo_code octavo_grouped_mm_explain(const octavo_operand* a, const octavo_operand* b,
                                                   const octavo_grouped_mm_options* options,
                                                   const octavo_context* context,
                                                   octavo_explanation** result);
/* A problem line, "scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel bias 16x4096x14336". */
OCTAVO_C_API octavo_code octavo_line_explain(const char* line, const char* backend,
                                             const octavo_context* context,
                                             octavo_explanation** result);

/* What octavo_explanation_describe fills. */
typedef struct octavo_explanation_info {
  size_t struct_size;
  int64_t candidates;     /* how many backends there are */
  const char* text;       /* all of it, for people */
  const char* executor;   /* whose threads, and why */
  double error_bound;     /* of a floating sum, relative to sum |A||B|; 0: the sum is exact */
  size_t workspace_bytes; /* scratch memory of the call */
} octavo_explanation_info;
OCTAVO_INIT_FUNCTION_(octavo_explanation_info);
OCTAVO_C_API octavo_code octavo_explanation_describe(const octavo_explanation* explanation,
                                                     octavo_explanation_info* result);
/* What one backend says of a problem. */
typedef struct octavo_candidate_info {
  size_t struct_size;
  const char* backend; /* its name */
  const char* reason;  /* how it would run, or why it does not */
  int32_t accepts;     /* 1: it can run the problem */
  int32_t chosen;      /* 1: it runs the problem */
} octavo_candidate_info;
OCTAVO_INIT_FUNCTION_(octavo_candidate_info);
/* A candidate by its index, in the registry's order. */
OCTAVO_C_API octavo_code octavo_explanation_candidate(const octavo_explanation* explanation,
                                                      int64_t index, octavo_candidate_info* result);
OCTAVO_C_API octavo_explanation* octavo_explanation_retain(octavo_explanation* explanation);
OCTAVO_C_API void octavo_explanation_release(octavo_explanation* explanation);

/* Backends, best first, and instruction sets: indices from 0, invalid_argument past the last.
 * Their strings live as long as the library. */
typedef struct octavo_backend_info {
  size_t struct_size;
  const char* name;        /* as options name it */
  const char* summary;     /* what it is, in one sentence */
  const char* unavailable; /* why it is not usable here; "" where it is */
  int64_t usable;          /* 1: on this machine, now */
} octavo_backend_info;
OCTAVO_INIT_FUNCTION_(octavo_backend_info);
/* How many backends the build has. */
OCTAVO_C_API octavo_code octavo_backend_count(int64_t* result);
OCTAVO_C_API octavo_code octavo_backend_describe(int64_t index, octavo_backend_info* result);

/* An instruction-set extension that kernels may use. */
typedef struct octavo_cpu_feature_info {
  size_t struct_size;
  const char* name; /* as `octavo info` spells it */
  int64_t present;  /* 1: the processor and the system have it */
} octavo_cpu_feature_info;
OCTAVO_INIT_FUNCTION_(octavo_cpu_feature_info);
/* How many extensions there are. */
OCTAVO_C_API octavo_code octavo_cpu_feature_count(int64_t* result);
OCTAVO_C_API octavo_code octavo_cpu_feature_describe(int64_t index,
                                                     octavo_cpu_feature_info* result);
/* The processor's own name; it lives as long as the library. */
OCTAVO_C_API octavo_code octavo_cpu_name(const char** result);
/* Whose threads calls without an executor run on, and why. */
OCTAVO_C_API const char* octavo_executor_reason(void);

#ifdef __cplusplus
}
#endif
