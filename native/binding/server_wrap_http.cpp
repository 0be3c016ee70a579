// What ServerWrap does for requests and their responses.
#include "options.h"
#include "server_wrap.h"
#include "values.h"

namespace nws {

namespace {

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

/// The head of a response, from (exchange, status, headers, closes, contentLength).
struct HeadArguments {
  explicit HeadArguments(const Napi::CallbackInfo &info)
      : exchange(number(info[0])),
        status(latin1(info[1])),
        headers(header_list(info[2], storage)),
        response{.status = status, .headers = headers, .content_length = {}, .body = {}, .closes = boolean(info[3])} {
    if (info[4].IsNumber()) {
      response.content_length = static_cast<std::size_t>(info[4].As<Napi::Number>().Int64Value());
    }
  }

  ExchangeId exchange;
  std::string status;
  std::vector<std::string> storage;
  std::vector<Header> headers;
  Response response;
};

}  // namespace

Napi::Value ServerWrap::respond(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  if (!server) {
    return Napi::Boolean::New(info.Env(), false);
  }
  HeadArguments head(info);
  if (!info[5].IsUndefined()) {
    head.response.body = bytes(info[5]);
  }
  return Napi::Boolean::New(info.Env(), server->server->http().respond(head.exchange, head.response));
}

Napi::Value ServerWrap::begin_response(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  if (!server) {
    return Napi::Boolean::New(info.Env(), false);
  }
  HeadArguments head(info);
  return Napi::Boolean::New(info.Env(), server->server->http().begin_response(head.exchange, head.response));
}

Napi::Value ServerWrap::write(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  return Napi::Boolean::New(info.Env(), !server || server->server->http().write(number(info[0]), bytes(info[1])));
}

void ServerWrap::end_response(const Napi::CallbackInfo &info) {
  if (HostedServer *server = hosted()) {
    server->server->http().end_response(number(info[0]), boolean(info[1]));
  }
}

Napi::Value ServerWrap::peer_certificate(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  std::string der = server ? server->server->http().peer_certificate(number(info[0])) : std::string();
  napi_value copy;
  if (der.empty() || napi_create_buffer_copy(info.Env(), der.length(), der.data(), nullptr, &copy) != napi_ok) {
    return info.Env().Undefined();
  }
  return {info.Env(), copy};
}

Napi::Value ServerWrap::accept(const Napi::CallbackInfo &info) {
  HostedServer *server = hosted();
  if (!server) {
    return Napi::Number::New(info.Env(), 0);
  }
  std::vector<std::string> storage;
  std::string protocol = latin1(info[2]);
  std::vector<Header> headers = header_list(info[3], storage);
  ConnectionId id = server->server->http().accept(number(info[0]), number(info[1]), protocol, headers,
                                                  compression_agreement(info[4]), connection_limits(info[5]));
  return Napi::Number::New(info.Env(), id);
}

}  // namespace nws
