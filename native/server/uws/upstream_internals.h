// µSockets' own view of sockets, contexts and loops, where no public function tells what we must know.
#pragma once

extern "C" {
#include "internal/internal.h"
}
