#include "server_wrap.h"

#include "options.h"
#include "values.h"

namespace nws {

namespace {

/// The shape is not what src/engine/native/engine.ts sends.
void refuse(Napi::Env env, const char *what) { Napi::TypeError::New(env, what).ThrowAsJavaScriptException(); }

void throw_system_error(Napi::Env env, int error) {
  Napi::Error thrown = Napi::Error::New(env, uv_strerror(-error));
  thrown.Set("code", Napi::String::New(env, uv_err_name(-error)));
  thrown.ThrowAsJavaScriptException();
}

const char *failure_name(TlsFailure::What what) {
  switch (what) {
    case TlsFailure::What::key:
      return "key";
    case TlsFailure::What::passphrase:
      return "passphrase";
    case TlsFailure::What::certificate:
      return "certificate";
    case TlsFailure::What::authority:
      return "authority";
    case TlsFailure::What::mismatch:
      return "mismatch";
    case TlsFailure::What::context:
      break;
  }
  return "context";
}

void refuse_tls(Napi::Env env, const TlsFailure &failure) {
  Napi::Error error = Napi::Error::New(env, failure.reason);
  error.Set("tlsFailure", Napi::String::New(env, failure_name(failure.what)));
  error.Set("entry", Napi::Number::New(env, static_cast<double>(failure.entry)));
  error.Set("block", Napi::Number::New(env, static_cast<double>(failure.block)));
  error.ThrowAsJavaScriptException();
}

}  // namespace

PayloadArgument::PayloadArgument(Napi::Value value, bool is_text) : is_binary_(!is_text && !value.IsString()) {
  if (value.IsString()) {
    text_ = text(value);
    view_ = text_;
  } else {
    view_ = bytes(value);
  }
}

template <void (ExchangeOwner::*call)(ExchangeId)>
void ServerWrap::on_exchange(const Napi::CallbackInfo &info) {
  if (HostedServer *server = hosted()) {
    (server->server->http().*call)(number(info[0]));
  }
}

Napi::Function ServerWrap::define(Napi::Env env) {
  return DefineClass(env, "WebSocketServer",
                     {
                         InstanceMethod<&ServerWrap::listen>("listen"),
                         InstanceMethod<&ServerWrap::adopt>("adopt"),
                         InstanceMethod<&ServerWrap::stop_listening>("stopListening"),
                         InstanceMethod<&ServerWrap::reload_tls>("reloadTls"),
                         InstanceMethod<&ServerWrap::ref>("ref"),
                         InstanceMethod<&ServerWrap::respond>("respondWith"),
                         InstanceMethod<&ServerWrap::begin_response>("beginResponseWith"),
                         InstanceMethod<&ServerWrap::write>("write"),
                         InstanceMethod<&ServerWrap::end_response>("endResponse"),
                         InstanceMethod<&ServerWrap::on_exchange<&ExchangeOwner::abort>>("abort"),
                         InstanceMethod<&ServerWrap::on_exchange<&ExchangeOwner::pause_body>>("pauseBody"),
                         InstanceMethod<&ServerWrap::on_exchange<&ExchangeOwner::resume_body>>("resumeBody"),
                         InstanceMethod<&ServerWrap::peer_certificate>("peerCertificate"),
                         InstanceMethod<&ServerWrap::accept>("accept"),
                         InstanceMethod<&ServerWrap::publish>("publish"),
                         InstanceMethod<&ServerWrap::subscribers>("subscribers"),
                         InstanceMethod<&ServerWrap::counters>("counters"),
                         InstanceMethod<&ServerWrap::is_flushed>("isFlushed"),
                         InstanceMethod<&ServerWrap::dispose>("dispose"),
                     });
}

ServerWrap::ServerWrap(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ServerWrap>(info) {
  auto environment = Environment::of(info.Env());
  if (!environment || !environment->attached() || !info[0].IsNumber() || !info[1].IsObject() ||
      !info[1].As<Napi::Object>().Get("routes").IsArray()) {
    refuse(info.Env(), "new WebSocketServer(number, { tls, proxyProtocol, requestTimeout, routes }), after attach");
    return;
  }
  number_ = number(info[0]);
  environment_ = environment;
  HostedServer *hosted = environment->open_server(number_, server_options(info[1].As<Napi::Object>()));
  if (!hosted) {
    refuse(info.Env(), "the environment has no event loop");
    return;
  }
  if (const auto &failure = hosted->server->tls_failure()) {
    TlsFailure reported = *failure;
    environment->close_server(number_);
    refuse_tls(info.Env(), reported);
  }
}

ServerWrap::~ServerWrap() {
  if (auto environment = environment_.lock()) {
    environment->close_server(number_);
  }
}

HostedServer *ServerWrap::hosted() const {
  auto environment = environment_.lock();
  return environment ? environment->find_server(number_) : nullptr;
}

Napi::Value ServerWrap::listen(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  ListenResult result = server && info[0].IsObject() ? server->server->listen(listen_address(info[0].As<Napi::Object>()))
                                                     : ListenResult{.host = {}, .port = 0, .error = EINVAL};
  if (!result) {
    throw_system_error(info.Env(), result.error);
    return info.Env().Undefined();
  }
  auto bound = Napi::Object::New(info.Env());
  bound.Set("host", Napi::String::New(info.Env(), result.host));
  bound.Set("port", Napi::Number::New(info.Env(), result.port));
  return bound;
}

Napi::Value ServerWrap::adopt(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  using Adoption = WebSocketServer::Adoption;
  Adoption adoption = server && info[0].IsNumber() ? server->server->take_over(static_cast<int>(number(info[0])), bytes(info[1]))
                                                   : Adoption{.error = EINVAL};
  if (adoption.error != 0) {
    throw_system_error(info.Env(), adoption.error);
    return info.Env().Undefined();
  }
  return Napi::Number::New(info.Env(), adoption.exchange);
}

void ServerWrap::stop_listening(const Napi::CallbackInfo &) {
  if (HostedServer *server = hosted()) {
    server->server->stop_listening();
  }
}

void ServerWrap::reload_tls(const Napi::CallbackInfo &info) {
  if (HostedServer *server = hosted()) {
    if (auto failure = server->server->reload_tls(tls_entries(info[0]))) {
      refuse_tls(info.Env(), *failure);
    }
  }
}

void ServerWrap::ref(const Napi::CallbackInfo &info) {
  if (HostedServer *server = hosted()) {
    server->server->ref(boolean(info[0]));
  }
}

Napi::Value ServerWrap::publish(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  if (!server) {
    return Napi::Boolean::New(info.Env(), false);
  }
  if (auto environment = environment_.lock()) {
    environment->drain_outbox();  // what was sent before comes before
  }
  PayloadArgument payload(info[1], boolean(info[4]));
  return Napi::Boolean::New(info.Env(), server->server->topics().publish(text(info[0]), payload.view(), payload.op_code(),
                                                                         number(info[2]), compress_choice(info[3])));
}

Napi::Value ServerWrap::subscribers(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  if (auto environment = environment_.lock()) {
    environment->drain_outbox();  // who was closed before does not count
  }
  std::size_t count = server ? server->server->topics().subscribers(text(info[0])) : 0;
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value ServerWrap::counters(const Napi::CallbackInfo &info) {
  auto result = Napi::Object::New(info.Env());
  if (HostedServer *server = hosted()) {
    if (auto environment = environment_.lock()) {
      environment->drain_outbox();  // what was sent or published before counts
    }
    server->server->topics().flush();
    const Counters &counters = server->server->counters();
    auto set = [&](const char *name, std::uint64_t value) {
      result.Set(name, Napi::Number::New(info.Env(), static_cast<double>(value)));
    };
    set("tcpConnections", counters.tcp_connections);
    set("messagesReceived", counters.messages_received);
    set("bytesReceived", counters.bytes_received);
    set("messagesSent", counters.messages_sent);
    set("bytesSent", counters.bytes_sent);
    set("publishesDropped", counters.publishes_dropped);
  }
  return result;
}

Napi::Value ServerWrap::is_flushed(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  return Napi::Boolean::New(info.Env(), !server || server->server->http().is_flushed());
}

void ServerWrap::dispose(const Napi::CallbackInfo &) {
  if (auto environment = environment_.lock()) {
    environment->close_server(number_);
  }
}

}  // namespace nws
