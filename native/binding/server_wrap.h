// The class WebSocketServer that JavaScript sees: arguments in, results out.
#pragma once

#include <napi.h>

#include <memory>

#include "environment.h"

namespace nws {

/// new WebSocketServer(number, EngineServerOptions), of src/engine/contract.ts. Every
/// method may be called at any time; after `dispose` they do nothing.
class ServerWrap : public Napi::ObjectWrap<ServerWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ServerWrap(const Napi::CallbackInfo &info);
  ~ServerWrap() override;

 private:
  /// (address: ListenAddress) => BoundAddress. Throws an Error whose `code` is the system's.
  Napi::Value listen(const Napi::CallbackInfo &info);
  /// (descriptor, input: Uint8Array) => exchange, 0 when the request was refused. Throws likewise.
  Napi::Value adopt(const Napi::CallbackInfo &info);
  void stop_listening(const Napi::CallbackInfo &info);
  /// (tls: EngineTls[]). Throws like the constructor an Error with `tlsFailure`.
  void reload_tls(const Napi::CallbackInfo &info);
  /// (keepAlive: boolean)
  void ref(const Napi::CallbackInfo &info);
  /// (exchange, status, headers: string[], closes, contentLength: number | undefined, body: Uint8Array |
  /// undefined) => boolean
  Napi::Value respond(const Napi::CallbackInfo &info);
  /// (exchange, status, headers: string[], closes, contentLength: number | undefined) => boolean
  Napi::Value begin_response(const Napi::CallbackInfo &info);
  /// (exchange, chunk: Uint8Array) => boolean
  Napi::Value write(const Napi::CallbackInfo &info);
  /// (exchange, closes)
  void end_response(const Napi::CallbackInfo &info);
  /// (exchange): a call of the server that needs nothing else.
  template <void (ExchangeOwner::*call)(ExchangeId)>
  void on_exchange(const Napi::CallbackInfo &info);
  /// (exchange) => Uint8Array | undefined: DER
  Napi::Value peer_certificate(const Napi::CallbackInfo &info);
  /// (exchange, route, protocol, headers: string[], compression: CompressionAgreement | undefined) =>
  /// connection
  Napi::Value accept(const Napi::CallbackInfo &info);
  /// (topic, payload: string | Uint8Array, except, compress: Compress) => boolean
  Napi::Value publish(const Napi::CallbackInfo &info);
  /// (topic) => number
  Napi::Value subscribers(const Napi::CallbackInfo &info);
  /// () => EngineCounters of src/engine/contract.ts; empty after dispose
  Napi::Value counters(const Napi::CallbackInfo &info);
  /// () => boolean
  Napi::Value is_flushed(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);

  /// Null after dispose, and when the environment ends.
  HostedServer *hosted() const;

  std::weak_ptr<Environment> environment_;
  std::uint32_t number_ = 0;
};

/// A string's UTF-8, or a Uint8Array's bytes, for the time of a call. Bytes are a binary message, unless they
/// are said to be text.
class PayloadArgument {
 public:
  PayloadArgument(Napi::Value value, bool is_text);
  std::string_view view() const { return view_; }
  OpCode op_code() const { return is_binary_ ? OpCode::binary : OpCode::text; }

 private:
  std::string text_;
  std::string_view view_;
  bool is_binary_;
};

}  // namespace nws
