/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint: written, quantised, opened, packed and multiplied. */
#include "expect.h"

static void join(char* path, size_t size, const char* folder, const char* name) {
  EXPECT(snprintf(path, size, "%s/%s", folder, name) < (int)size);
}

static octavo_code two_bytes(void* user, void* bytes, size_t size) {
  EXPECT(size == 2);
  memcpy(bytes, user, size);
  return OCTAVO_OK;
}

static octavo_code no_bytes(void* user, void* bytes, size_t size) {
  (void)user, (void)bytes, (void)size;
  return OCTAVO_IO;
}

static void count_progress(void* user, int64_t done, int64_t total) {
  EXPECT(done <= total);
  ++*(int*)user;
}

static const float kW[] = {127, 1, 0, 3, 0, 127}; /* [N, K] = [2, 3]: int8 scales are 1 */
static const int64_t kShape[] = {2, 3};

static void write(const char* path) {
  const octavo_view w = octavo_view_of(kW, OCTAVO_FLOAT32, 2, kShape);
  const int64_t two[] = {2};
  char raw[] = {5, 6};
  octavo_tensor_to_write weight = octavo_tensor_to_write_init();
  octavo_tensor_to_write other = octavo_tensor_to_write_init();
  const octavo_tensor_to_write* tensors[2];
  const char* keys[] = {"format"};
  const char* values[] = {"pt"};

  weight.name = "layer.weight";
  weight.data = &w;
  other.name = "other";
  other.fill = no_bytes;
  other.user = raw;
  other.size = 2;
  other.dtype = "BOOL";
  other.ndim = 1;
  other.shape = two;
  tensors[0] = &weight;
  tensors[1] = &other;
  EXPECT(octavo_write_safetensors(path, tensors, 2, keys, values, 1) == OCTAVO_IO);
  EXPECT(strstr(octavo_last_error(), "tensors[1].fill must return OCTAVO_OK; got 5") != NULL);
  other.fill = two_bytes;
  CHECK(octavo_write_safetensors(path, tensors, 2, keys, values, 1));
}

static void read(const char* path) {
  octavo_checkpoint* file = NULL;
  octavo_checkpoint_info info = octavo_checkpoint_info_init();
  octavo_entry_info entry = octavo_entry_info_init();
  octavo_tensor* t = NULL;
  octavo_view view;
  octavo_strings* layers = NULL;
  const char *key = NULL, *value = NULL;
  int64_t count = -1;
  int32_t there = -1;

  CHECK(octavo_checkpoint_open(path, &file));
  CHECK(octavo_checkpoint_describe(file, &info));
  EXPECT(info.entries == 2 && info.metadata == 1 && info.file_bytes > 26);
  CHECK(octavo_checkpoint_entry(file, 0, &entry));
  EXPECT(strcmp(entry.name, "layer.weight") == 0 && strcmp(entry.dtype, "F32") == 0);
  EXPECT(entry.ndim == 2 && entry.shape[1] == 3 && entry.begin == 0 && entry.end == 24);
  CHECK(octavo_checkpoint_metadata(file, 0, &key, &value));
  EXPECT(strcmp(key, "format") == 0 && strcmp(value, "pt") == 0);
  CHECK(octavo_checkpoint_contains(file, "other", &there));
  EXPECT(there == 1);
  CHECK(octavo_checkpoint_contains(file, "another", &there));
  EXPECT(there == 0);
  CHECK(octavo_checkpoint_tensor(file, "layer.weight", &t));
  expect_floats(t, kW, 6);
  CHECK(octavo_checkpoint_bytes(file, "other", &t));
  CHECK(octavo_tensor_view(t, &view));
  EXPECT(view.shape[0] == 2 && ((const uint8_t*)view.data)[1] == 6);
  octavo_tensor_release(t);
  CHECK(octavo_checkpoint_quantized_layers(file, &layers));
  CHECK(octavo_strings_count(layers, &count));
  EXPECT(count == 0);
  octavo_strings_release(layers);
  EXPECT(octavo_checkpoint_tensor(file, "nothing", &t) == OCTAVO_INVALID_ARGUMENT && t == NULL);
  octavo_checkpoint_release(octavo_checkpoint_retain(file));
  octavo_checkpoint_release(file);
}

static void quantize(const char* from, const char* to) {
  octavo_quantize_file_options options = octavo_quantize_file_options_init();
  octavo_report* report = NULL;
  octavo_report_info info = octavo_report_info_init();
  octavo_layer_info layer = octavo_layer_info_init();
  int calls = 0;
  int32_t scheme = -1;

  CHECK(octavo_scheme_from_name("W8A8", &scheme));
  EXPECT(scheme == OCTAVO_INT8_DYNAMIC);
  EXPECT(strcmp(octavo_scheme_name(scheme), "int8-dynamic") == 0);
  options.scheme = scheme;
  options.progress = count_progress;
  options.user = &calls;
  CHECK(octavo_quantize_file(from, to, &options, &report));
  CHECK(octavo_report_describe(report, &info));
  EXPECT(info.layers == 1 && info.tensors_copied == 1 && calls >= 1);
  CHECK(octavo_report_layer(report, 0, &layer));
  EXPECT(strncmp(layer.name, "layer", 5) == 0 && layer.n == 2 && layer.k == 3);
  EXPECT(layer.max_error == 0 && layer.saturated == 2);
  octavo_report_release(report);
}

/* Beside a config.json that does not declare the quantisation, the report says what to add. */
static void warn(const char* folder, const char* from, const char* to) {
  octavo_report* report = NULL;
  octavo_strings* warnings = NULL;
  const char* sentence = NULL;
  int64_t count = -1;
  char config[1024];
  FILE* file = NULL;

  CHECK(octavo_quantize_file(from, to, NULL, &report));
  CHECK(octavo_report_warnings(report, &warnings));
  CHECK(octavo_strings_count(warnings, &count));
  EXPECT(count == 0);
  octavo_strings_release(warnings);
  octavo_report_release(report);

  join(config, sizeof config, folder, "config.json");
  file = fopen(config, "w");
  EXPECT(file != NULL && fputs("{}", file) >= 0 && fclose(file) == 0);
  CHECK(octavo_quantize_file(from, to, NULL, &report));
  CHECK(octavo_report_warnings(report, &warnings));
  octavo_report_release(report);
  CHECK(octavo_strings_count(warnings, &count));
  EXPECT(count == 1);
  CHECK(octavo_strings_at(warnings, 0, &sentence));
  EXPECT(strstr(sentence, "config.json") != NULL &&
         strstr(sentence, "quantization_config") != NULL);
  octavo_strings_release(warnings);
  remove(config);
}

/* Columns 0 and 2 of "layer" stay in float, and none is found by magnitude. */
static void quantize_with_outliers(const char* from, const char* to) {
  const int64_t columns[] = {0, 2};
  octavo_outlier_columns list = {"layer", columns, 2};
  octavo_quantize_file_options options = octavo_quantize_file_options_init();
  octavo_checkpoint* file = NULL;
  octavo_weight* weight = NULL;
  octavo_activation rule = octavo_activation_init();
  const char *key = NULL, *value = NULL;

  options.scheme = OCTAVO_LLM_INT8;
  options.outlier_columns = &list;
  options.outlier_columns_count = 1;
  options.has_outlier_threshold = 1;
  options.whole_columns = 1;
  CHECK(octavo_quantize_file(from, to, &options, NULL));
  CHECK(octavo_checkpoint_open(to, &file));
  CHECK(octavo_checkpoint_metadata(file, 1, &key, &value));
  EXPECT(strstr(value,
                "\"llm_int8_threshold\":0.0,\"llm_int8_whole_columns\":true,"
                "\"llm_int8_outlier_columns\":{\"layer\":[0,2]}") != NULL);
  CHECK(octavo_checkpoint_weight(file, "layer", &weight));
  CHECK(octavo_weight_activation(weight, &rule));
  EXPECT(rule.outlier_threshold == 0);
  octavo_weight_release(weight);
  octavo_checkpoint_release(file);

  list.layer = "lawyer";
  EXPECT(octavo_quantize_file(from, to, &options, NULL) == OCTAVO_INVALID_ARGUMENT);
  EXPECT(strstr(octavo_last_error(), "got 'lawyer' (nearest: 'layer')") != NULL);
}

static void multiply(const char* path) {
  const float x[] = {127, -64, 2, 1, 127, 0};
  const octavo_view x_view = octavo_view_of(x, OCTAVO_FLOAT32, 2, kShape);
  octavo_checkpoint* file = NULL;
  octavo_strings* layers = NULL;
  octavo_weight* weight = NULL;
  octavo_weight_info info = octavo_weight_info_init();
  octavo_activation rule = octavo_activation_init();
  octavo_quantized* codes = NULL;
  octavo_packed* packed = NULL;
  octavo_tensor* y = NULL;
  const char* name = NULL;
  const float want[] = {16065, 635, 254, 3};

  CHECK(octavo_checkpoint_open(path, &file));
  CHECK(octavo_checkpoint_quantized_layers(file, &layers));
  CHECK(octavo_strings_at(layers, 0, &name));
  EXPECT(strcmp(name, "layer") == 0);
  CHECK(octavo_checkpoint_weight(file, name, &weight));
  octavo_strings_release(octavo_strings_retain(layers));
  octavo_strings_release(layers);
  octavo_checkpoint_release(file);
  CHECK(octavo_weight_describe(weight, &info));
  EXPECT(strcmp(info.scheme, "int8-dynamic") == 0 && info.has_activation == 1);
  CHECK(octavo_weight_activation(weight, &rule));
  EXPECT(rule.granularity == OCTAVO_PER_TOKEN);
  CHECK(octavo_weight_codes(weight, &codes));
  CHECK(octavo_dequantize(codes, OCTAVO_FLOAT32, NULL, &y));
  expect_floats(y, kW, 6);
  octavo_quantized_release(codes);
  CHECK(octavo_weight_pack(weight, NULL, &packed));
  octavo_weight_release(octavo_weight_retain(weight));
  octavo_weight_release(weight);
  CHECK(octavo_linear(&x_view, packed, NULL, NULL, &y));
  expect_floats(y, want, 4);
  octavo_packed_release(octavo_packed_retain(packed));
  octavo_packed_release(packed);
}

/* A rank's part, and all parts together: of two rows one rank has both. */
static void shards(const char* path) {
  octavo_checkpoint* file = NULL;
  octavo_weight* parts[2] = {NULL, NULL};
  octavo_weight *whole = NULL, *part = NULL;
  octavo_quantized* codes = NULL;
  octavo_quantized_info info = octavo_quantized_info_init();
  octavo_tensor* y = NULL;
  int64_t rank;

  CHECK(octavo_checkpoint_open(path, &file));
  for (rank = 0; rank < 2; ++rank) {
    CHECK(octavo_checkpoint_shard(file, "layer", OCTAVO_SHARD_COLUMNS, rank, 2, &parts[rank]));
    CHECK(octavo_weight_codes(parts[rank], &codes));
    CHECK(octavo_quantized_describe(codes, &info));
    EXPECT(info.data.shape[0] == (rank == 0 ? 0 : 2) && info.row0 == 0 && info.col0 == 0);
    octavo_quantized_release(codes);
  }
  EXPECT(octavo_checkpoint_shard(file, "layer", OCTAVO_SHARD_ROWS, 2, 2, &part) ==
         OCTAVO_INVALID_ARGUMENT);
  EXPECT(strstr(octavo_last_error(), "rank must be in [0, world = 2); got 2") != NULL);
  octavo_checkpoint_release(file);
  CHECK(octavo_weight_unshard((const octavo_weight* const*)parts, 2, OCTAVO_SHARD_COLUMNS, &whole));
  CHECK(octavo_weight_codes(whole, &codes));
  CHECK(octavo_dequantize(codes, OCTAVO_FLOAT32, NULL, &y));
  expect_floats(y, kW, 6);
  octavo_quantized_release(codes);
  CHECK(octavo_weight_shard(whole, OCTAVO_SHARD_ROWS, 0, 1, &part));
  octavo_weight_release(part);
  octavo_weight_release(whole);
  for (rank = 0; rank < 2; ++rank) octavo_weight_release(parts[rank]);
}

/* The same without a file. */
static void in_memory(void) {
  const octavo_view w = octavo_view_of(kW, OCTAVO_FLOAT32, 2, kShape);
  octavo_weight* weight = NULL;
  octavo_layer_info layer = octavo_layer_info_init();
  octavo_activation rule = octavo_activation_init();
  CHECK(octavo_quantize_weight(&w, OCTAVO_INT8_DYNAMIC, &weight));
  CHECK(octavo_weight_compare("w", &w, weight, &layer));
  EXPECT(strcmp(layer.name, "w") == 0 && layer.n == 2 && layer.max_error == 0);
  octavo_weight_release(weight);
  CHECK(octavo_scheme_activation(OCTAVO_LLM_INT8, &rule));
  EXPECT(rule.flags == OCTAVO_VECTORWISE && rule.outlier_threshold == 6);
}

void test_checkpoints(const char* folder) {
  char original[1024], quantized[1024];
  join(original, sizeof original, folder, "c99-original.safetensors");
  join(quantized, sizeof quantized, folder, "c99-quantised.safetensors");
  write(original);
  read(original);
  quantize(original, quantized);
  warn(folder, original, quantized);
  shards(quantized);
  multiply(quantized);
  quantize_with_outliers(original, quantized);
  in_memory();
  remove(original);
  remove(quantized);
}
