/* SPDX-License-Identifier: Apache-2.0 */
/* The C ABI's common ground: codes, data types, tensor descriptors, scales, flags, threads.
 *
 * Conventions of every function, unless it says otherwise:
 *   - It returns a code, OCTAVO_OK or what went wrong; octavo_last_error() has the sentence.
 *   - Results come last. After a failure each result pointer holds NULL.
 *   - A pointer to options or to a context may be NULL: everything by default. Zero means "default"
 *     in every field of every struct; the `..._init()` functions give such a struct.
 *   - A descriptor pointer that may be NULL means "no tensor given" when it is.
 *   - Memory behind arguments has to be there until the call returns, no longer, unless it says so.
 *   - Handles count references and may be used from several threads; their content never changes.
 *     Release takes NULL.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A function that the library exports. */
#define OCTAVO_C_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* Structs that begin with `struct_size` are of version 1: the caller sets their sizeof, and any
 * other size is refused, so that a later version with more fields can tell what a caller has.
 * Structs without `struct_size` never change. */
#define OCTAVO_INIT_FUNCTION_(type)      \
  static inline type type##_init(void) { \
    type value;                          \
    memset(&value, 0, sizeof value);     \
    value.struct_size = sizeof value;    \
    return value;                        \
  }                                      \
  static inline type type##_init(void) /* takes the semicolon behind the macro */

/* What went wrong. */
typedef int32_t octavo_code;
/* The codes of octavo_code. */
enum {
  OCTAVO_OK = 0,
  OCTAVO_INVALID_ARGUMENT = 1, /* an argument breaks a rule; the sentence names it and its value */
  OCTAVO_UNSUPPORTED = 2,      /* legal, but not built; the sentence says what to do instead */
  OCTAVO_UNAVAILABLE = 3,      /* the device, backend or file asked for is not there */
  OCTAVO_OUT_OF_MEMORY = 4,    /* an allocation failed */
  OCTAVO_IO = 5,               /* the operating system refused a read or a write */
  OCTAVO_CORRUPT_DATA = 6,     /* a file breaks its format */
  OCTAVO_DEVICE = 7,           /* an accelerator reported a failure */
  OCTAVO_INTERNAL = 8          /* a fault of Octavo itself */
};

/* "invalid_argument", ...; "unknown" for a number that is no code. */
OCTAVO_C_API const char* octavo_code_name(octavo_code code);

/* The sentence `operation: argument.property must <rule>; got <values>` of this thread's last
 * failure; "no failure" before the first. It lasts until the thread's next failure. */
OCTAVO_C_API const char* octavo_last_error(void);

/* "0.1.0" */
OCTAVO_C_API const char* octavo_version(void);

/* DLDataType of DLPack 1.1. All zero: undefined, which is "the default" wherever a type is asked
 * for. lanes is 1. */
typedef struct octavo_dtype {
  uint8_t code;   /* DLDataTypeCode */
  uint8_t bits;   /* of one element */
  uint16_t lanes; /* 1 */
} octavo_dtype;

#ifdef __cplusplus
#define OCTAVO_DTYPE_(code, bits) (octavo_dtype{code, bits, 1})
#else
#define OCTAVO_DTYPE_(code, bits) ((octavo_dtype){code, bits, 1})
#endif
/* 8-bit float: 4 bits of exponent, 3 of mantissa, no infinity. */
#define OCTAVO_FLOAT8_E4M3FN OCTAVO_DTYPE_(10, 8)
/* 8-bit float: 4 and 3 bits, no infinity, no negative zero. */
#define OCTAVO_FLOAT8_E4M3FNUZ OCTAVO_DTYPE_(11, 8)
/* 8-bit float: 5 bits of exponent, 2 of mantissa. */
#define OCTAVO_FLOAT8_E5M2 OCTAVO_DTYPE_(12, 8)
/* 8-bit float: 5 and 2 bits, no infinity, no negative zero. */
#define OCTAVO_FLOAT8_E5M2FNUZ OCTAVO_DTYPE_(13, 8)
/* A power of two, 2^-127 to 2^127: scales of MX formats. */
#define OCTAVO_FLOAT8_E8M0FNU OCTAVO_DTYPE_(14, 8)
/* The upper half of a float32. */
#define OCTAVO_BFLOAT16 OCTAVO_DTYPE_(4, 16)
/* IEEE 754 binary16. */
#define OCTAVO_FLOAT16 OCTAVO_DTYPE_(2, 16)
/* IEEE 754 binary32. */
#define OCTAVO_FLOAT32 OCTAVO_DTYPE_(2, 32)
/* Codes, signed. */
#define OCTAVO_INT8 OCTAVO_DTYPE_(0, 8)
/* Codes with a zero point. */
#define OCTAVO_UINT8 OCTAVO_DTYPE_(1, 8)
/* Exact sums, zero points. */
#define OCTAVO_INT32 OCTAVO_DTYPE_(0, 32)
/* Indices and offsets. */
#define OCTAVO_INT64 OCTAVO_DTYPE_(0, 64)

/* "float8_e4m3fn", ...; "undefined" for a type that Octavo does not know. */
OCTAVO_C_API const char* octavo_dtype_name(octavo_dtype dtype);
/* The type of that full, short ("e4m3fn", "bf16") or safetensors ("F8_E4M3") name. */
OCTAVO_C_API octavo_code octavo_dtype_from_name(const char* name, octavo_dtype* result);
/* The largest code magnitude that a quantiser's scales aim at: 448, 240, 57344, 57344, 127, 255; 0
 * for other types. */
OCTAVO_C_API float octavo_qmax(octavo_dtype dtype);

/* DLDevice of DLPack 1.1; type 1 is the CPU. */
typedef struct octavo_device {
  int32_t type;  /* OCTAVO_CPU or OCTAVO_CUDA */
  int32_t index; /* from 0 */
} octavo_device;
/* Types of devices. */
enum { OCTAVO_CPU = 1, OCTAVO_CUDA = 2 };
/* The largest number of dimensions of a tensor. */
enum { OCTAVO_MAX_NDIM = 8 };

/* A strided view of memory that somebody else owns, laid out as DLTensor of DLPack 1.1: a pointer
 * to a DLTensor is a pointer to this. Strides count elements, any are legal for inputs; NULL
 * strides are row-major without holes. No alignment is asked for. Inputs are never written. */
typedef struct octavo_view {
  void* data;             /* `byte_offset` bytes before the first element */
  octavo_device device;   /* where `data` lies */
  int32_t ndim;           /* dimensions, at most OCTAVO_MAX_NDIM */
  octavo_dtype dtype;     /* of the elements */
  const int64_t* shape;   /* [ndim] */
  const int64_t* strides; /* [ndim], in elements; NULL: row-major */
  uint64_t byte_offset;   /* from `data` to the first element */
} octavo_view;

/* A row-major view on the CPU; `shape` has to be there as long as the view is used. */
static inline octavo_view octavo_view_of(const void* data, octavo_dtype dtype, int32_t ndim,
                                         const int64_t* shape) {
  octavo_view view;
  memset(&view, 0, sizeof view);
  view.data = (void*)data;
  view.device.type = OCTAVO_CPU;
  view.ndim = ndim;
  view.dtype = dtype;
  view.shape = shape;
  return view;
}

/* Which elements of an operand share one scale; see the specification's section 2.
 * GROUP: `rows` elements along K. BLOCK: `rows` x `cols` elements. */
enum {
  OCTAVO_AUTOMATIC = 0, /* broadcasting of the scale's own shape; quantisers: PER_TOKEN */
  OCTAVO_PER_TENSOR = 1,
  OCTAVO_PER_TOKEN = 2,
  OCTAVO_PER_CHANNEL = 3,
  OCTAVO_GROUP = 4,
  OCTAVO_BLOCK = 5,
  OCTAVO_PER_K = 6,
  OCTAVO_PER_ELEMENT = 7,
  OCTAVO_GRANULARITIES /* how many this version knows */
};
/* Which operand of A[M,K] @ B[K,N] a matrix is. */
enum { OCTAVO_SIDE_A = 0, OCTAVO_SIDE_B = 1 };

/* A scale argument: undefined (what the operand carries, else none), null (explicitly none), a
 * number, or a tensor with a granularity. dequantised = stored * scale. */
enum {
  OCTAVO_SCALE_UNDEFINED = 0,
  OCTAVO_SCALE_NULL = 1,
  OCTAVO_SCALE_NUMBER = 2,
  OCTAVO_SCALE_TENSOR = 3
};
/* A scale argument; octavo_scale_number and octavo_scale_tensor make it. */
typedef struct octavo_scale {
  int32_t kind;              /* OCTAVO_SCALE_... */
  int32_t granularity;       /* of a tensor */
  double number;             /* becomes float32 */
  const octavo_view* values; /* of a tensor */
  int64_t rows, cols;        /* of GROUP and BLOCK */
} octavo_scale;

/* A scale that is a number. */
static inline octavo_scale octavo_scale_number(double number) {
  octavo_scale scale;
  memset(&scale, 0, sizeof scale);
  scale.kind = OCTAVO_SCALE_NUMBER;
  scale.number = number;
  return scale;
}
/* A scale of a tensor; 0: broadcasting of its own shape. */
static inline octavo_scale octavo_scale_tensor(const octavo_view* values, int32_t granularity) {
  octavo_scale scale;
  memset(&scale, 0, sizeof scale);
  scale.kind = OCTAVO_SCALE_TENSOR;
  scale.granularity = granularity;
  scale.values = values;
  return scale;
}

/* What `flags` fields are made of. Each struct names those it takes; others are refused. */
enum {
  /* api: flags, of api/operations.toml */
  /* A is given as [K, M] */
  OCTAVO_TRANS_A = 1 << 0,
  /* B is given as [N, K] */
  OCTAVO_TRANS_B = 1 << 1,
  /* offs has G + 1 elements and begins with 0 */
  OCTAVO_OFFS_PREFIX = 1 << 2,
  /* no effect on a CPU */
  OCTAVO_FAST_ACCUMULATION = 1 << 3,
  /* a row's bits never depend on M; always so on a CPU */
  OCTAVO_BATCH_INVARIANT = 1 << 4,
  /* K = 0 gives zeros */
  OCTAVO_TORCH_COMPAT = 1 << 5,
  /* fp8 overflow: infinity or NaN, not the largest finite */
  OCTAVO_OVERFLOW_IEEE = 1 << 6,
  /* quantise with zero points */
  OCTAVO_AZP = 1 << 7,
  /* quantisers refuse NaN and infinity */
  OCTAVO_NON_FINITE_ERROR = 1 << 8,
  /* LLM.int8's statistics and codes */
  OCTAVO_VECTORWISE = 1 << 9,
  /* leave whole outlier columns out of row_absmax */
  OCTAVO_WHOLE_COLUMNS = 1 << 10,
  /* an operand is used with rows and columns exchanged */
  OCTAVO_TRANSPOSED = 1 << 11,
  /* scaled gradients enter products in float32 */
  OCTAVO_FLOAT32_GRADIENTS = 1 << 12,
  /* a's and b's lack their own scale as a factor */
  OCTAVO_DEQUANTIZED_GRADIENTS = 1 << 13,
  /* LLM.int8: code 0 at outlier elements, not in their columns */
  OCTAVO_BY_ELEMENT = 1 << 14,
  /* quantisers convert NaN and infinity; scales ignore them */
  OCTAVO_NON_FINITE_IGNORE = 1 << 15,
  /* with AZP: ranges include 0 */
  OCTAVO_WIDEN = 1 << 16,
  /* no path that counts numbers below 2^-126 as 0 */
  OCTAVO_EXACT_SUBNORMALS = 1 << 17,
  /* attention: queries see later tokens, too */
  OCTAVO_BIDIRECTIONAL = 1 << 18,
  /* what every product takes */
  OCTAVO_MATMUL_FLAGS = OCTAVO_OVERFLOW_IEEE | OCTAVO_FAST_ACCUMULATION | OCTAVO_BATCH_INVARIANT |
                        OCTAVO_TORCH_COMPAT | OCTAVO_EXACT_SUBNORMALS
  /* api: end */
};

/* A lender of threads. `parallel` calls task(task_context, i) once for every i in [0, tasks), in
 * any order, on any threads, and returns when all are done; it must not throw. Without it (NULL)
 * the library starts `concurrency` - 1 threads for each call; a concurrency of 1 is serial. */
typedef void (*octavo_task)(void* task_context, int64_t index);
/* Threads of the caller's, as octavo_task says. */
typedef struct octavo_executor {
  size_t struct_size;
  void* user; /* what `parallel` is called with */
  /* NULL: threads of the library's */
  void (*parallel)(void* user, int64_t tasks, octavo_task task, void* task_context);
  int64_t concurrency; /* how many tasks can run at once, at least 1 */
} octavo_executor;
OCTAVO_INIT_FUNCTION_(octavo_executor);

/* For engines whose threads come to an operation together, as thread i of n, and for which no pool
 * may be woken beside them. Thread 0 calls operations with the team's executor, then
 * octavo_thread_team_end; threads 1 .. n - 1 call octavo_thread_team_help once for each end: they
 * run their shares of every loop in between, and return when thread 0 ends it. Whoever comes late
 * misses nothing but work. Results have the bits that every executor gives. */
typedef struct octavo_thread_team octavo_thread_team;
/* `threads`: n, thread 0 included, in [1, 512]. */
OCTAVO_C_API octavo_code octavo_thread_team_create(int64_t threads, octavo_thread_team** result);
/* What octavo_context.executor of thread 0 points to; it lives as long as the team. */
OCTAVO_C_API octavo_code octavo_thread_team_executor(octavo_thread_team* team,
                                                     octavo_executor* result);
/* Thread `thread` lends itself until the end; outside [1, n) it returns at once. */
OCTAVO_C_API octavo_code octavo_thread_team_help(octavo_thread_team* team, int64_t thread);
/* Thread 0 says that its operations are over. */
OCTAVO_C_API octavo_code octavo_thread_team_end(octavo_thread_team* team);
OCTAVO_C_API octavo_thread_team* octavo_thread_team_retain(octavo_thread_team* team);
OCTAVO_C_API void octavo_thread_team_release(octavo_thread_team* team);

/* What a call runs on. Without an executor: the library's own threads (see
 * octavo_executor_reason). Without a workspace: a call allocates what it needs; with one, a call
 * that needs more is refused. One workspace serves one call at a time. */
typedef struct octavo_context {
  size_t struct_size;
  const octavo_executor* executor; /* NULL: the library's own threads */
  void* workspace;                 /* scratch memory; NULL: allocated */
  size_t workspace_bytes;          /* of the workspace */
  octavo_device device;            /* {0, 0} or the CPU */
  void* stream;                    /* CUDA only */
} octavo_context;
OCTAVO_INIT_FUNCTION_(octavo_context);

/* A list of strings that the library made; they live as long as the handle. */
typedef struct octavo_strings octavo_strings;
/* How many strings a list has. */
OCTAVO_C_API octavo_code octavo_strings_count(const octavo_strings* strings, int64_t* result);
/* A string by its index. */
OCTAVO_C_API octavo_code octavo_strings_at(const octavo_strings* strings, int64_t index,
                                           const char** result);
OCTAVO_C_API octavo_strings* octavo_strings_retain(octavo_strings* strings);
OCTAVO_C_API void octavo_strings_release(octavo_strings* strings);

#ifdef __cplusplus
}
#endif
