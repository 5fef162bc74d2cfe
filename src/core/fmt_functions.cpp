// SPDX-License-Identifier: Apache-2.0
// fmt's functions, compiled into the library once: neither it nor what is built on it needs fmt's
// own at run time. fmt as headers only would compile them in every file that makes a sentence,
// which takes four seconds each.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {
template thousands_sep_result<char> thousands_sep_impl<char>(locale_ref);
template char decimal_point_impl<char>(locale_ref);
}  // namespace detail
FMT_END_NAMESPACE
