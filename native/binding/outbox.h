// The commands that JavaScript has written into the outbox.
#pragma once

#include <cstdint>
#include <span>

#include "server/websocket/connection_table.h"

namespace nws {

/// Carries out the commands in these words of the outbox, in order. Those of one connection that stand next
/// to each other leave together. Inside no µWebSockets callback.
void execute_commands(std::span<std::uint32_t> words, ConnectionTable &connections);

}  // namespace nws
