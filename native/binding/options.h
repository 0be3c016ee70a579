// What JavaScript gives as options, as the server takes it. The shapes are those of src/engine/contract.ts.
#pragma once

#include <napi.h>

#include <optional>
#include <vector>

#include "server/websocket_server.h"

namespace nws {

/// Of ListenAddress.
ListenAddress listen_address(const Napi::Object &given);
/// Of EngineServerOptions.
ServerOptions server_options(const Napi::Object &given);
/// Of an array of EngineTls; nothing else gives any.
std::vector<TlsOptions> tls_entries(Napi::Value given);
/// Of CompressionAgreement; none of anything else.
std::optional<CompressionAgreement> compression_agreement(Napi::Value value);
/// Of ConnectionLimits; none of anything else.
std::optional<ConnectionLimits> connection_limits(Napi::Value value);

}  // namespace nws
