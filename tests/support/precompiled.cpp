// SPDX-License-Identifier: Apache-2.0
// Nothing: the target whose headers the tests' targets share needs a source.
