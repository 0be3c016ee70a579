// What the module exports: the class WebSocketServer, and the calls that concern a connection or the shared
// channel. src/engine/native/ is the only caller.
#include <napi.h>

#include "environment.h"
#include "server/net/openssl_build.h"
#include "server_wrap.h"
#include "thread_member.h"
#include "values.h"

namespace {

using nws::ConnectionOwner;
using nws::ConnectionTable;
using nws::Environment;

/// ({ quotas, control, inbox, outbox, attachments, deliver }): once, before anything else.
void attach(const Napi::CallbackInfo &info) {
  auto environment = Environment::of(info.Env());
  if (!environment || !info[0].IsObject() || !environment->attach(info[0].As<Napi::Object>())) {
    Napi::TypeError::New(info.Env(), "attach({ quotas, control, inbox, outbox, attachments, deliver }), once")
        .ThrowAsJavaScriptException();
  }
}

/// (memory: ArrayBuffer): that in which messages are lent; once, before a route that lends.
void lend_from(const Napi::CallbackInfo &info) {
  auto environment = Environment::of(info.Env());
  if (!environment || !environment->lend_from(info[0])) {
    Napi::TypeError::New(info.Env(), "lendFrom(ArrayBuffer), once").ThrowAsJavaScriptException();
  }
}

/// (buffers: ArrayBuffer[]): detaches each of them that can be.
void detach(const Napi::CallbackInfo &info) {
  auto buffers = info[0].IsArray() ? info[0].As<Napi::Array>() : Napi::Array::New(info.Env());
  for (std::uint32_t i = 0; i < buffers.Length(); i++) {
    napi_value buffer;
    // What V8 does not detach, the memory of WebAssembly for example, is left as it is.
    if (napi_get_element(info.Env(), buffers, i, &buffer) != napi_ok || napi_detach_arraybuffer(info.Env(), buffer) != napi_ok) {
      continue;
    }
  }
}

/// (): carries out the commands in the outbox.
void drain(const Napi::CallbackInfo &info) {
  if (auto environment = Environment::of(info.Env())) {
    environment->drain_outbox();
  }
}

/// The connection in argument 0, if it is open; the commands given before are carried out first.
const ConnectionTable::Entry *connection(const Napi::CallbackInfo &info, const std::shared_ptr<Environment> &environment) {
  if (!environment || !environment->attached()) {
    return nullptr;
  }
  environment->drain_outbox();
  return environment->connections().find(nws::number(info[0]));
}

/// (id, payload: string | Uint8Array, compress: Compress, isText: boolean, reportSent: boolean): a long
/// message, straight from the caller's memory.
void send(const Napi::CallbackInfo &info) {
  auto environment = Environment::of(info.Env());
  if (auto *entry = connection(info, environment)) {
    nws::PayloadArgument payload(info[1], nws::boolean(info[3]));
    // As if it came through the outbox: the room that the sender was promised is not taken by what was
    // published before.
    nws::SendQuota &quota = environment->connections().quota(nws::number(info[0]));
    quota.pending = static_cast<std::uint32_t>(payload.view().length());
    bool report_sent = nws::boolean(info[4]);
    entry->owner()->send(entry->socket, payload.view(), payload.op_code(), nws::compress_choice(info[2]), report_sent);
    quota.pending = 0;
    // To write may have ended the connection.
    if (auto *alive = report_sent ? environment->connections().find(nws::number(info[0])) : nullptr) {
      alive->owner()->report(alive->socket);
    }
  }
}

/// (id): a call of the connection that needs nothing else.
template <void (ConnectionOwner::*call)(void *socket)>
void on_connection(const Napi::CallbackInfo &info) {
  auto environment = Environment::of(info.Env());
  if (auto *entry = connection(info, environment)) {
    (entry->owner()->*call)(entry->socket);
  }
}

/// (id, topic) => boolean; false when the connection is closed.
template <bool (ConnectionOwner::*call)(void *socket, std::string_view topic)>
Napi::Value on_topic(const Napi::CallbackInfo &info) {
  auto environment = Environment::of(info.Env());
  auto *entry = connection(info, environment);
  bool result = entry && (entry->owner()->*call)(entry->socket, nws::text(info[1]));
  return Napi::Boolean::New(info.Env(), result);
}

/// (id) => boolean
Napi::Value ready_for_fragment(const Napi::CallbackInfo &info) {
  auto environment = Environment::of(info.Env());
  auto *entry = connection(info, environment);
  return Napi::Boolean::New(info.Env(), !entry || entry->owner()->ready_for_fragment(entry->socket));
}

/// (id, payload: Uint8Array, isBinary, isFirst, isLast, compress: Compress)
void send_fragment(const Napi::CallbackInfo &info) {
  auto environment = Environment::of(info.Env());
  if (auto *entry = connection(info, environment)) {
    nws::Fragment fragment{.is_binary = nws::boolean(info[2]),
                           .is_first = nws::boolean(info[3]),
                           .is_last = nws::boolean(info[4]),
                           .compress = nws::compress_choice(info[5])};
    entry->owner()->send_fragment(entry->socket, nws::bytes(info[1]), fragment);
  }
}

/// (id) => string[]
Napi::Value topics(const Napi::CallbackInfo &info) {
  auto environment = Environment::of(info.Env());
  auto names = Napi::Array::New(info.Env());
  if (auto *entry = connection(info, environment)) {
    std::uint32_t index = 0;
    for (std::string_view topic : entry->owner()->topics(entry->socket)) {
      names.Set(index++, Napi::String::New(info.Env(), topic.data(), topic.length()));
    }
  }
  return names;
}

/// { version, builtOn }
Napi::Object openssl(Napi::Env env) {
  nws::OpensslBuild build = nws::openssl_build();
  auto result = Napi::Object::New(env);
  result.Set("version", Napi::String::New(env, build.version));
  result.Set("builtOn", Napi::String::New(env, build.built_on));
  return result;
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  if (!Environment::create(env)) {
    Napi::Error::New(env, "the environment takes no clean-up hook").ThrowAsJavaScriptException();
    return exports;
  }
  exports.Set("attach", Napi::Function::New<attach>(env, "attach"));
  exports.Set("lendFrom", Napi::Function::New<lend_from>(env, "lendFrom"));
  exports.Set("detach", Napi::Function::New<detach>(env, "detach"));
  exports.Set("drain", Napi::Function::New<drain>(env, "drain"));
  exports.Set("send", Napi::Function::New<send>(env, "send"));
  exports.Set("beginMessage", Napi::Function::New<on_connection<&ConnectionOwner::begin_message>>(env, "beginMessage"));
  exports.Set("readyForFragment", Napi::Function::New<ready_for_fragment>(env, "readyForFragment"));
  exports.Set("sendFragment", Napi::Function::New<send_fragment>(env, "sendFragment"));
  exports.Set("withdrawMessage", Napi::Function::New<on_connection<&ConnectionOwner::withdraw_message>>(env, "withdrawMessage"));
  exports.Set("pause", Napi::Function::New<on_connection<&ConnectionOwner::pause>>(env, "pause"));
  exports.Set("resume", Napi::Function::New<on_connection<&ConnectionOwner::resume>>(env, "resume"));
  exports.Set("subscribe", Napi::Function::New<on_topic<&ConnectionOwner::subscribe>>(env, "subscribe"));
  exports.Set("unsubscribe", Napi::Function::New<on_topic<&ConnectionOwner::unsubscribe>>(env, "unsubscribe"));
  exports.Set("isSubscribed", Napi::Function::New<on_topic<&ConnectionOwner::is_subscribed>>(env, "isSubscribed"));
  exports.Set("topics", Napi::Function::New<topics>(env, "topics"));
  exports.Set("openssl", openssl(env));
  exports.Set("WebSocketServer", nws::ServerWrap::define(env));
  exports.Set("ThreadMember", nws::ThreadMember::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(native_websocket_server, initialise)
