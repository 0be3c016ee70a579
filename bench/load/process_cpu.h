// CPU time of processes, from the kernel.
#pragma once

namespace load {

/// Seconds of CPU that a process has used, all its threads together; negative when it cannot be read. In
/// nanoseconds where the kernel says so (schedstat), else in its clock ticks of 10 ms.
double process_cpu_seconds(int process);

/// The same for ourselves.
double own_cpu_seconds();

}  // namespace load
