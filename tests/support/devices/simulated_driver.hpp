// SPDX-License-Identifier: Apache-2.0
// NVIDIA's driver as the CUDA backend sees it, over the simulator: what that backend does on the
// host runs as it is, and its kernels run in software.
//
// Device 0 is Hopper of four multiprocessors, device 1 an older one (8.0). Memory is far memory:
// the host dies that touches it, and a kernel faults that leaves the allocations of its device.
// Streams run when they are waited for. A fault of a kernel stays: every call fails from then on,
// as a device's would, until `reset_simulated_driver`.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "octavo/tensor.hpp"
#include "simulator/options.hpp"

namespace octavo::test {

/// Before any other call of the library; once.
void install_simulated_driver();
/// Forgets failures and what is queued, and counts from zero.
void reset_simulated_driver();

/// How kernels are simulated from now on.
void set_simulation(const cuda::simulator::Options& options);

/// What was launched since the last reset, by name.
std::map<std::string, int> launches();
/// Tensor maps that the driver has encoded since then.
int encoded_maps();
/// Bytes that are allocated.
std::size_t allocated_bytes();

/// Everything that is queued on `stream` from here on becomes a graph's, and nothing of it runs.
void begin_capture(void* stream);
/// The graph's number.
int end_capture(void* stream);
/// Queues a graph's work.
void launch_graph(int graph, void* stream);

/// The driver's function of that name fails with this result, once, after `calls` calls that do
/// not.
void fail_driver(const std::string& symbol, int result, int calls = 0);

inline constexpr Device kOlder{DeviceType::cuda, 1};

}  // namespace octavo::test
