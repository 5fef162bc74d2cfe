// SPDX-License-Identifier: Apache-2.0
// Names, versions and lists of strings.
#include "capi/convert.hpp"

using namespace octavo::capi;

const char* octavo_version(void) { return OCTAVO_VERSION; }

const char* octavo_dtype_name(octavo_dtype dtype) {
  octavo::DType known = octavo::DType::undefined;
  (void)guarded("octavo_dtype_name", [&] { known = dtype_from({"dtype_name", "dtype"}, dtype); });
  return octavo::name(known).data();  // a literal, so it ends in a null byte
}

octavo_code octavo_dtype_from_name(const char* name, octavo_dtype* result) {
  return guarded("dtype_from_name", [&] {
    give("dtype_from_name", result, octavo_dtype{});
    const auto dtype = octavo::dtype_from_name(text_of({"dtype_from_name", "name"}, name));
    if (dtype == octavo::DType::undefined) {
      refuse(octavo::Code::invalid_argument,
             "dtype_from_name: name must be that of a data type; got '{}'", name);
    }
    *result = dtype_to(dtype);
  });
}

float octavo_qmax(octavo_dtype dtype) {
  float result = 0.0F;
  (void)guarded("qmax", [&] { result = octavo::qmax(dtype_from({"qmax", "dtype"}, dtype)); });
  return result;
}

octavo_code octavo_strings_count(const octavo_strings* strings, int64_t* result) {
  return guarded("strings_count", [&] {
    give("strings_count", result, int64_t{0});
    *result = static_cast<int64_t>(value_of({"strings_count", "strings"}, strings).size());
  });
}

octavo_code octavo_strings_at(const octavo_strings* strings, int64_t index, const char** result) {
  return guarded("strings_at", [&] {
    give<const char*>("strings_at", result, nullptr);
    const auto& list = value_of({"strings_at", "strings"}, strings);
    *result = list[checked_index({"strings_at", "index"}, index, list.size())].c_str();
  });
}

octavo_strings* octavo_strings_retain(octavo_strings* strings) { return retain(strings); }
void octavo_strings_release(octavo_strings* strings) { release(strings); }
