#include "server_wrap.h"

namespace nws {

namespace {

/// The shape is not what src/engine/native.ts sends.
void refuse(Napi::Env env, const char *what) { Napi::TypeError::New(env, what).ThrowAsJavaScriptException(); }

std::string text_option(const Napi::Object &object, const char *name) {
  Napi::Value value = object.Get(name);
  if (value.IsString()) {
    return value.As<Napi::String>().Utf8Value();
  }
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
    auto bytes = value.As<Napi::Uint8Array>();
    return {reinterpret_cast<const char *>(bytes.Data()), bytes.ByteLength()};
  }
  return {};
}

std::uint32_t number_option(const Napi::Object &object, const char *name) { return object.Get(name).ToNumber().Uint32Value(); }

ServerOptions server_options(const Napi::Object &given) {
  ServerOptions options;
  options.address = {.host = text_option(given, "host"),
                     .port = static_cast<std::uint16_t>(number_option(given, "port")),
                     .reuse_port = given.Get("reusePort").ToBoolean()};
  if (Napi::Value tls = given.Get("tls"); tls.IsObject()) {
    auto object = tls.As<Napi::Object>();
    options.tls = TlsOptions{.key = text_option(object, "key"),
                             .key_file = {},
                             .certificate = text_option(object, "cert"),
                             .certificate_file = {},
                             .passphrase = text_option(object, "passphrase"),
                             .ciphers = text_option(object, "ciphers"),
                             .tls13_only = text_option(object, "minVersion") == "TLSv1.3"};
  }
  auto routes = given.Get("routes").As<Napi::Array>();
  for (std::uint32_t i = 0; i < routes.Length(); i++) {
    auto route = routes.Get(i).As<Napi::Object>();
    options.routes.push_back({.max_payload_length = number_option(route, "maxPayloadLength"),
                              .max_backpressure = number_option(route, "maxBackpressure"),
                              .idle_timeout = static_cast<std::uint16_t>(number_option(route, "idleTimeout")),
                              .send_pings = route.Get("sendPings").ToBoolean()});
  }
  return options;
}

const char *failure_name(TlsFailure::What what) {
  switch (what) {
    case TlsFailure::What::file:
      return "file";
    case TlsFailure::What::key:
      return "key";
    case TlsFailure::What::passphrase:
      return "passphrase";
    case TlsFailure::What::certificate:
      return "certificate";
    case TlsFailure::What::mismatch:
      return "mismatch";
    case TlsFailure::What::context:
      break;
  }
  return "context";
}

/// A string of HTTP's, in which every character stands for one byte (ISO 8859-1).
std::string latin1(Napi::Value value) {
  std::string text;
  std::size_t length = 0;
  if (napi_get_value_string_latin1(value.Env(), value, nullptr, 0, &length) == napi_ok) {
    text.resize(length);
    napi_get_value_string_latin1(value.Env(), value, text.data(), length + 1, &length);
  }
  return text;
}

/// Header names and values in turn, from an array of strings. The strings are kept in `storage`.
std::vector<Header> header_list(Napi::Value value, std::vector<std::string> &storage) {
  std::vector<Header> headers;
  if (value.IsArray()) {
    auto array = value.As<Napi::Array>();
    std::uint32_t length = array.Length() & ~1u;
    storage.reserve(length);
    for (std::uint32_t i = 0; i < length; i += 2) {
      const std::string &name = storage.emplace_back(latin1(array.Get(i)));
      const std::string &text = storage.emplace_back(latin1(array.Get(i + 1)));
      headers.emplace_back(name, text);
    }
  }
  return headers;
}

}  // namespace

PayloadArgument::PayloadArgument(Napi::Value value) {
  if (value.IsString()) {
    text_ = value.As<Napi::String>().Utf8Value();
    view_ = text_;
  } else if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
    auto bytes = value.As<Napi::Uint8Array>();
    view_ = {reinterpret_cast<const char *>(bytes.Data()), bytes.ByteLength()};
    is_binary_ = true;
  }
}

Napi::Function ServerWrap::define(Napi::Env env) {
  return DefineClass(env, "WebSocketServer",
                     {
                         InstanceMethod<&ServerWrap::listen>("listen"),
                         InstanceMethod<&ServerWrap::stop_listening>("stopListening"),
                         InstanceMethod<&ServerWrap::ref>("ref"),
                         InstanceMethod<&ServerWrap::respond>("respond"),
                         InstanceMethod<&ServerWrap::accept>("accept"),
                         InstanceMethod<&ServerWrap::publish>("publish"),
                         InstanceMethod<&ServerWrap::subscribers>("subscribers"),
                         InstanceMethod<&ServerWrap::is_flushed>("isFlushed"),
                         InstanceMethod<&ServerWrap::dispose>("dispose"),
                     });
}

ServerWrap::ServerWrap(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ServerWrap>(info) {
  auto environment = Environment::of(info.Env());
  if (!environment || !environment->attached() || !info[0].IsNumber() || !info[1].IsObject() ||
      !info[1].As<Napi::Object>().Get("routes").IsArray()) {
    refuse(info.Env(), "new WebSocketServer(number, { host, port, reusePort, tls, routes }), after attach");
    return;
  }
  number_ = info[0].As<Napi::Number>().Uint32Value();
  environment_ = environment;
  HostedServer *hosted = environment->open_server(number_, server_options(info[1].As<Napi::Object>()));
  if (!hosted) {
    refuse(info.Env(), "the environment has no event loop");
    return;
  }
  if (const auto &failure = hosted->server.tls_failure()) {
    Napi::Error error = Napi::Error::New(info.Env(), failure->reason);
    error.Set("tlsFailure", Napi::String::New(info.Env(), failure_name(failure->what)));
    environment->close_server(number_);
    error.ThrowAsJavaScriptException();
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
  ListenResult result = server ? server->server.listen() : ListenResult{.error = EINVAL};
  if (!result) {
    Napi::Error error = Napi::Error::New(info.Env(), uv_strerror(-result.error));
    error.Set("code", Napi::String::New(info.Env(), uv_err_name(-result.error)));
    error.ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  return Napi::Number::New(info.Env(), result.port);
}

void ServerWrap::stop_listening(const Napi::CallbackInfo &) {
  if (HostedServer *server = hosted()) {
    server->server.stop_listening();
  }
}

void ServerWrap::ref(const Napi::CallbackInfo &info) {
  if (HostedServer *server = hosted()) {
    server->server.ref(info[0].ToBoolean());
  }
}

Napi::Value ServerWrap::respond(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  if (!server) {
    return Napi::Boolean::New(info.Env(), false);
  }
  std::vector<std::string> storage;
  std::string status = latin1(info[1]);
  std::vector<Header> headers = header_list(info[2], storage);
  PayloadArgument body(info[3]);
  Response response{.status = status, .headers = headers, .body = std::nullopt, .head_only = info[4].ToBoolean()};
  if (!info[3].IsUndefined()) {
    response.body = body.view();
  }
  return Napi::Boolean::New(info.Env(), server->server.respond(info[0].ToNumber().Uint32Value(), response));
}

Napi::Value ServerWrap::accept(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  if (!server) {
    return Napi::Number::New(info.Env(), 0);
  }
  std::vector<std::string> storage;
  std::string protocol = latin1(info[2]);
  std::vector<Header> headers = header_list(info[3], storage);
  ConnectionId id = server->server.accept(info[0].ToNumber().Uint32Value(), info[1].ToNumber().Uint32Value(), protocol, headers);
  return Napi::Number::New(info.Env(), id);
}

Napi::Value ServerWrap::publish(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  if (!server) {
    return Napi::Boolean::New(info.Env(), false);
  }
  environment_.lock()->drain_outbox();  // what was sent before comes before
  PayloadArgument payload(info[1]);
  return Napi::Boolean::New(info.Env(), server->server.publish(info[0].ToString().Utf8Value(), payload.view(),
                                                               payload.is_binary(), info[2].ToNumber().Uint32Value()));
}

Napi::Value ServerWrap::subscribers(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  std::size_t count = server ? server->server.subscribers(info[0].ToString().Utf8Value()) : 0;
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value ServerWrap::is_flushed(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  return Napi::Boolean::New(info.Env(), !server || server->server.is_flushed());
}

void ServerWrap::dispose(const Napi::CallbackInfo &) {
  if (auto environment = environment_.lock()) {
    environment->close_server(number_);
  }
}

}  // namespace nws
