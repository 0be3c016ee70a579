#include "options.h"

#include "values.h"

namespace nws {

namespace {

std::string text_or_bytes(Napi::Value value) { return value.IsString() ? text(value) : std::string(bytes(value)); }

CompressionWindows::Window compression_window(Napi::Value value) {
  auto object = value.As<Napi::Object>();
  return {.bits = static_cast<int>(number(object.Get("windowBits"))), .takeover = boolean(object.Get("takeover"))};
}

}  // namespace

std::optional<CompressionAgreement> compression_agreement(Napi::Value value) {
  if (!value.IsObject()) {
    return std::nullopt;
  }
  auto object = value.As<Napi::Object>();
  Napi::Value compressor = object.Get("compressor");
  Napi::Value decompressor = object.Get("decompressor");
  if (!compressor.IsObject() || !decompressor.IsObject()) {
    return std::nullopt;
  }
  return CompressionAgreement{
      .windows = {.compressor = compression_window(compressor), .decompressor = compression_window(decompressor)},
      .options = {.threshold = number(object.Get("threshold")),
                  .memory_level = static_cast<int>(number(compressor.As<Napi::Object>().Get("memoryLevel")))},
      .extension = latin1(object.Get("extension"))};
}

std::optional<ConnectionLimits> connection_limits(Napi::Value value) {
  if (!value.IsObject()) {
    return std::nullopt;
  }
  auto object = value.As<Napi::Object>();
  return ConnectionLimits{.max_payload_length = number(object.Get("maxPayloadLength")),
                          .max_backpressure = number(object.Get("maxBackpressure")),
                          .max_fragment_length = number(object.Get("maxFragmentLength"))};
}

std::vector<TlsOptions> tls_entries(Napi::Value given) {
  std::vector<TlsOptions> entries;
  std::uint32_t count = given.IsArray() ? given.As<Napi::Array>().Length() : 0;
  for (std::uint32_t i = 0; i < count; i++) {
    Napi::Value value = given.As<Napi::Array>().Get(i);
    if (!value.IsObject()) {
      break;
    }
    auto entry = value.As<Napi::Object>();
    entries.push_back({.key = text_or_bytes(entry.Get("key")),
                       .certificate = text_or_bytes(entry.Get("cert")),
                       .passphrase = text_or_bytes(entry.Get("passphrase")),
                       .ciphers = text_or_bytes(entry.Get("ciphers")),
                       .cipher_suites = text_or_bytes(entry.Get("cipherSuites")),
                       .tls13_only = text(entry.Get("minVersion")) == "TLSv1.3",
                       .authorities = text_or_bytes(entry.Get("ca")),
                       .request_certificate = boolean(entry.Get("requestCert")),
                       .reject_unauthorized = boolean(entry.Get("rejectUnauthorized")),
                       .server_name = text(entry.Get("serverName"))});
  }
  return entries;
}

ListenAddress listen_address(const Napi::Object &given) {
  Napi::Value descriptor = given.Get("fd");
  return {.descriptor = descriptor.IsNumber() ? static_cast<int>(number(descriptor)) : -1,
          .unix_path = text(given.Get("unix")),
          .host = text(given.Get("host")),
          .port = static_cast<std::uint16_t>(number(given.Get("port"))),
          .reuse_port = boolean(given.Get("reusePort"))};
}

ServerOptions server_options(const Napi::Object &given) {
  ServerOptions options;
  options.tls = tls_entries(given.Get("tls"));
  options.proxy_protocol = boolean(given.Get("proxyProtocol"));
  options.request_timeout = std::chrono::seconds(number(given.Get("requestTimeout")));
  Napi::Value given_routes = given.Get("routes");
  std::uint32_t count = given_routes.IsArray() ? given_routes.As<Napi::Array>().Length() : 0;
  for (std::uint32_t i = 0; i < count; i++) {
    Napi::Value value = given_routes.As<Napi::Array>().Get(i);
    if (!value.IsObject()) {
      break;
    }
    auto route = value.As<Napi::Object>();
    options.routes.push_back({.max_payload_length = number(route.Get("maxPayloadLength")),
                              .max_backpressure = number(route.Get("maxBackpressure")),
                              .idle_timeout = static_cast<std::uint16_t>(number(route.Get("idleTimeout"))),
                              .send_pings = boolean(route.Get("sendPings")),
                              .compression = route.Get("compression").IsObject(),
                              .max_fragment_length = number(route.Get("maxFragmentLength")),
                              .report_drops = boolean(route.Get("reportDrops")),
                              .text_as_bytes = boolean(route.Get("textAsBytes")),
                              .lend_messages = boolean(route.Get("lendMessages"))});
  }
  return options;
}

}  // namespace nws
