// Long because the loop, the memory shared with JavaScript and both directions of the shared channel have one
// owner: `flush` alternates between the directions, and all other code relies on that order. The part without
// that order, carrying out the outbox's commands, is split off (outbox.cpp).
#include "environment.h"

#include <algorithm>
#include <cstring>

#include "javascript_call.h"
#include "outbox.h"
#include "server/websocket/close_codes.h"

namespace nws {

namespace {

/// The words of an ArrayBuffer; empty when it is none.
std::span<std::uint32_t> words_of(Napi::Value value) {
  if (!value.IsArrayBuffer()) {
    return {};
  }
  auto buffer = value.As<Napi::ArrayBuffer>();
  return {static_cast<std::uint32_t *>(buffer.Data()), buffer.ByteLength() / sizeof(std::uint32_t)};
}

struct InstanceData {
  std::shared_ptr<Environment> environment;
};

}  // namespace

/// The libuv handles of an environment, and what closes them one after the other at its end. Freed by the
/// last close callback.
struct Environment::Hooks {
  uv_prepare_t prepare{};
  uv_check_t check{};
  uv_loop_t *loop = nullptr;
  /// Null until clean-up begins; then keeps the environment alive to the end.
  std::shared_ptr<Environment> environment;
  napi_async_cleanup_hook_handle cleanup = nullptr;
};

bool Environment::create(Napi::Env env) {
  auto environment = std::make_shared<Environment>(env);
  auto weak = std::make_unique<std::weak_ptr<Environment>>(environment);
  napi_status status = napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle handle, void *data) {
        std::unique_ptr<std::weak_ptr<Environment>> weak(static_cast<std::weak_ptr<Environment> *>(data));
        if (auto alive = weak->lock()) {
          alive->begin_cleanup(handle);
        } else {
          napi_remove_async_cleanup_hook(handle);
        }
      },
      weak.get(), nullptr);
  if (status != napi_ok) {
    return false;
  }
  static_cast<void>(weak.release());  // the hook's
  env.SetInstanceData(new InstanceData{environment});
  return true;
}

std::shared_ptr<Environment> Environment::of(Napi::Env env) {
  auto *data = env.GetInstanceData<InstanceData>();
  return data && !data->environment->ended_ ? data->environment : nullptr;
}

Environment::Environment(Napi::Env env) : env_(env) {}
Environment::~Environment() = default;

bool Environment::attach(Napi::Object shared) {
  Napi::Value deliver = shared.Get("deliver");
  Napi::Value attachments = shared.Get("attachments");
  Napi::Value buffers[] = {shared.Get("quotas"), shared.Get("control"), shared.Get("inbox"), shared.Get("outbox")};
  std::span<std::uint32_t> quotas = words_of(buffers[0]);
  std::span<std::uint32_t> control = words_of(buffers[1]);
  std::span<std::uint32_t> inbox = words_of(buffers[2]);
  std::span<std::uint32_t> outbox = words_of(buffers[3]);
  constexpr std::size_t quota_words = sizeof(SendQuota) / sizeof(std::uint32_t);
  if (attached() || !deliver.IsFunction() || !attachments.IsArray() || outbox.empty() ||
      control.size() < protocol::control_words || quotas.size() < (ConnectionTable::capacity + 1) * quota_words ||
      inbox.size() < protocol::record_words(protocol::max_request)) {
    return false;
  }
  waits_in_socket_set_ = shared.Get("waitsInSocketSet").ToBoolean();
  deliver_ = Napi::Persistent(deliver.As<Napi::Function>());
  attachments_ = Napi::Persistent(attachments.As<Napi::Object>());
  for (std::size_t i = 0; i < std::size(buffers); i++) {
    memory_[i] = Napi::Persistent(buffers[i].As<Napi::Object>());
  }
  control_ = control;
  inbox_ = inbox;
  outbox_ = outbox;
  connections_.emplace(std::span(reinterpret_cast<SendQuota *>(quotas.data()), ConnectionTable::capacity + 1));
  context_.emplace(env_, "native-websocket-server");
  return true;
}

bool Environment::start() {
  if (loop_) {
    return true;
  }
  uv_loop_t *loop = nullptr;
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok) {
    return false;
  }
  hooks_ = std::make_unique<Hooks>();
  hooks_->loop = loop;
  loop_.emplace(hooks_->loop);
  // libuv runs the newest of these first: ours before µWebSockets', so that what is published here leaves in
  // the same iteration.
  uv_prepare_init(hooks_->loop, &hooks_->prepare);
  uv_check_init(hooks_->loop, &hooks_->check);
  hooks_->prepare.data = hooks_->check.data = this;
  uv_prepare_start(&hooks_->prepare, [](uv_prepare_t *handle) {
    auto *environment = static_cast<Environment *>(handle->data);
    environment->flush();
    environment->let_loop_end();
  });
  uv_check_start(&hooks_->check, [](uv_check_t *handle) { static_cast<Environment *>(handle->data)->flush(); });
  uv_unref(reinterpret_cast<uv_handle_t *>(&hooks_->prepare));
  uv_unref(reinterpret_cast<uv_handle_t *>(&hooks_->check));
  loop_->turns().set_hand_over([this] { flush(); });
  if (waits_in_socket_set_) {
    loop_->wait_in_socket_set();
  }
  return true;
}

HostedServer *Environment::open_server(std::uint32_t number, ServerOptions options) {
  if (!start()) {
    return nullptr;
  }
  auto &server = servers_[number];
  server = std::make_unique<HostedServer>(*this, number, *loop_, std::move(options));
  return server.get();
}

HostedServer *Environment::find_server(std::uint32_t number) {
  auto found = servers_.find(number);
  return found == servers_.end() ? nullptr : found->second.get();
}

void Environment::close_server(std::uint32_t number) {
  if (auto found = servers_.find(number); found != servers_.end()) {
    drain_outbox();
    found->second->server->stop();
    push(protocol::server_closed | number << 8, 0, {});
    closed_servers_.push_back(std::move(found->second));
    servers_.erase(found);
  }
}

[[gnu::hot]] void Environment::flush() {
  if (flushing_ || ended_) {
    return;
  }
  flushing_ = true;
  do {
    if (!inbox_is_empty() && !deliver()) {
      break;
    }
    drain_outbox();
    for (auto &[number, hosted] : servers_) {
      hosted->server->topics().flush();
    }
    finish_endings();
  } while (!inbox_is_empty() || control_[protocol::outbox_end] != 0);
  closed_servers_.clear();
  flushing_ = false;
}

void Environment::hold_loop() {
  if (!holds_loop_ && hooks_) {
    holds_loop_ = true;
    uv_ref(reinterpret_cast<uv_handle_t *>(&hooks_->prepare));
  }
}

void Environment::let_loop_end() {
  if (holds_loop_ && inbox_is_empty() && hooks_) {
    holds_loop_ = false;
    uv_unref(reinterpret_cast<uv_handle_t *>(&hooks_->prepare));
  }
}

[[gnu::hot]] void Environment::finish_endings() {
  for (ConnectionId id : std::exchange(ending_connections_, {})) {
    if (auto *entry = connections_->find(id)) {
      entry->owner()->finish(entry->socket);
    }
  }
}

[[gnu::hot]] bool Environment::deliver() {
  bool ok = true;
  while (ok && !inbox_is_empty()) {
    ok = call_deliver();
    // JavaScript has read everything, and has given room: what had to wait follows.
    while (overflow_read_ < overflow_.size()) {
      const std::uint32_t *record = overflow_.data() + overflow_read_;
      std::size_t words = protocol::record_words(protocol::is_elsewhere(record[1]) ? 0 : record[2]);
      if (!fits(words)) {
        break;
      }
      std::copy_n(record, words, inbox_.data() + control_[protocol::inbox_end]);
      control_[protocol::inbox_end] += static_cast<std::uint32_t>(words);
      overflow_read_ += words;
    }
    if (overflow_read_ == overflow_.size()) {
      overflow_.clear();
      overflow_read_ = 0;
    }
  }
  if (inbox_is_empty()) {
    attachment_count_ = 0;
    if (lent_) {
      lent_->reuse();
    }
    if (!dropped_.empty()) {
      // JavaScript has left these attachments in place: records of several sockets may share one. Clear them
      // together.
      dropped_.clear();
      Napi::HandleScope scope(env_);
      napi_value none;
      if (napi_create_uint32(env_, 0, &none) == napi_ok) {
        napi_set_named_property(env_, attachments_.Value(), "length", none);
      }
    }
    for (ConnectionId id : closed_connections_) {
      connections_->release(id);
    }
    closed_connections_.clear();
  }
  return ok;
}

[[gnu::hot]] bool Environment::call_deliver() {
  Napi::HandleScope scope(env_);
  // TypeScript catches the errors of handlers.
  return call_javascript(env_, *context_, deliver_.Value());
}

[[gnu::hot]] void Environment::write(std::uint32_t kind, std::uint32_t id, std::size_t length, std::string_view payload) {
  // The loop goes on until the event is delivered, also when a timer has brought it and nothing else keeps
  // the loop alive: the end of the last connection, for example. libuv's next turn lets it end.
  hold_loop();
  std::size_t words = protocol::record_words(payload.length());
  std::uint32_t *record;
  if (overflow_.empty() && fits(words)) {
    record = inbox_.data() + control_[protocol::inbox_end];
    control_[protocol::inbox_end] += static_cast<std::uint32_t>(words);
  } else {
    std::size_t at = overflow_.size();
    overflow_.resize(at + words);
    record = overflow_.data() + at;
  }
  record[0] = id;
  record[1] = kind;
  record[2] = static_cast<std::uint32_t>(length);
  if (!payload.empty()) {
    std::memcpy(record + protocol::header_words, payload.data(), payload.length());
  }
}

void Environment::push(std::uint32_t kind, std::uint32_t id, std::string_view payload) {
  if (!ended_) {
    write(kind, id, payload.length(), payload);
  }
}

std::optional<std::uint32_t> Environment::attach_message(std::string_view payload, bool is_binary) {
  Napi::HandleScope scope(env_);
  napi_value value;
  napi_status status = is_binary ? napi_create_buffer_copy(env_, payload.length(), payload.data(), nullptr, &value)
                                 : napi_create_string_utf8(env_, payload.data(), payload.length(), &value);
  if (status == napi_ok && napi_set_element(env_, attachments_.Value(), attachment_count_, value) == napi_ok) {
    return attachment_count_++;
  }
  bool pending = false;
  napi_value ignored;
  if (napi_is_exception_pending(env_, &pending) == napi_ok && pending) {
    napi_get_and_clear_last_exception(env_, &ignored);
  }
  return std::nullopt;
}

bool Environment::lend_from(Napi::Value memory) {
  std::span<std::uint32_t> words = words_of(memory);
  if (lent_ || words.empty() || words.size_bytes() > protocol::max_lent_memory || !start()) {
    return false;
  }
  memory_.back() = Napi::Persistent(memory.As<Napi::Object>());
  lent_.emplace(std::span(reinterpret_cast<char *>(words.data()), words.size_bytes()), loop_->turns());
  return true;
}

bool Environment::push_lent(ConnectionId id, std::string_view payload) {
  std::optional<std::size_t> offset = lent_ ? lent_->lend(payload) : std::nullopt;
  if (offset) {
    write(protocol::binary_lent | static_cast<std::uint32_t>(*offset) << 8, id, payload.length(), {});
  }
  return offset.has_value();
}

[[gnu::hot]] bool Environment::push_message(ConnectionId id, std::string_view payload, bool is_binary,
                                            const RouteOptions &route) {
  if (ended_) {
    return true;
  }
  bool text_as_bytes = route.text_as_bytes;
  if (payload.length() > protocol::max_inline_message) {
    if (is_binary && route.lend_messages && push_lent(id, payload)) {
      return true;
    }
    auto kind = is_binary ? protocol::binary_attached : text_as_bytes ? protocol::text_bytes_attached : protocol::text_attached;
    return attach(kind, id, payload, is_binary || text_as_bytes);
  }
  auto kind = is_binary ? protocol::binary : text_as_bytes ? protocol::text_bytes : protocol::text;
  write(kind, id, payload.length(), payload);
  return true;
}

bool Environment::attach(std::uint32_t kind, std::uint32_t id, std::string_view payload, bool is_binary) {
  std::optional<std::uint32_t> attachment = attach_message(payload, is_binary);
  if (attachment) {
    write(kind, id, *attachment, {});
  }
  return attachment.has_value();
}

void Environment::push_dropped(ConnectionId id, std::string_view payload, bool is_binary,
                               const DroppedMessages::key_type &message) {
  if (ended_) {
    return;
  }
  auto known = dropped_.find(message);
  if (known == dropped_.end()) {
    std::optional<std::uint32_t> attachment = attach_message(payload, is_binary);
    if (!attachment) {
      return;
    }
    known = dropped_.emplace(message, *attachment).first;
  }
  write(is_binary ? protocol::dropped_binary : protocol::dropped_text, id, known->second, {});
}

bool Environment::push_body(std::uint32_t server, ExchangeId exchange, std::string_view content, bool is_last) {
  if (ended_) {
    return true;
  }
  std::uint32_t tag = server << 8;
  if (content.length() > protocol::max_inline_message) {
    if (!attach(protocol::body_attached | tag, exchange, content, true)) {
      return false;
    }
    content = {};
  }
  if (is_last || !content.empty()) {
    write((is_last ? protocol::body_end : protocol::body) | tag, exchange, content.length(), content);
  }
  return true;
}

void Environment::push_close(ConnectionId id, std::uint16_t code, std::string_view reason, bool was_clean) {
  closed_connections_.push_back(id);
  push(protocol::close | (was_clean ? protocol::was_clean : 0) | static_cast<std::uint32_t>(code) << 16, id, reason);
}

[[gnu::hot]] void Environment::drain_outbox() {
  if (attached()) {
    std::size_t end = std::min<std::size_t>(control_[protocol::outbox_end], outbox_.size());
    execute_commands(outbox_.first(end), *connections_);
    control_[protocol::outbox_end] = 0;
  }
}

// ---- the end ----

void Environment::begin_cleanup(napi_async_cleanup_hook_handle handle) {
  ended_ = true;
  servers_.clear();
  closed_servers_.clear();
  lent_.reset();
  loop_.reset();
  // Node-API may be gone when the last of us is freed: everything that belongs to it is given back now.
  connections_.reset();
  context_.reset();
  for (Napi::ObjectReference &reference : memory_) {
    reference.Reset();
  }
  attachments_.Reset();
  deliver_.Reset();
  if (!hooks_) {
    napi_remove_async_cleanup_hook(handle);
    return;
  }
  // libuv calls all close callbacks of a pass in one go. When ours has been called, µSockets' have been too,
  // or are in the same pass; after the second one nothing of ours is left in the loop.
  Hooks *hooks = hooks_.release();
  hooks->environment = shared_from_this();
  hooks->cleanup = handle;
  uv_prepare_stop(&hooks->prepare);
  uv_check_stop(&hooks->check);
  hooks->prepare.data = hooks->check.data = hooks;
  uv_close(reinterpret_cast<uv_handle_t *>(&hooks->prepare), [](uv_handle_t *prepare) {
    auto *closing = static_cast<Hooks *>(prepare->data);
    uv_close(reinterpret_cast<uv_handle_t *>(&closing->check), [](uv_handle_t *check) {
      std::unique_ptr<Hooks> last(static_cast<Hooks *>(check->data));
      napi_remove_async_cleanup_hook(last->cleanup);
    });
  });
}

// ---- a server's events ----

void HostedServer::on_request(ExchangeId exchange, const RequestHead &head) {
  lines_.clear();
  for (std::string_view line : {head.method, head.url, head.remote_address}) {
    lines_.append(line).append("\n");
  }
  lines_.append(std::to_string(head.remote_port)).append(" ").append(head.local_address).append(" ");
  lines_.append(std::to_string(head.local_port)).append("\n");
  lines_.append(head.proxied_address).append("\n");
  lines_.append(head.has_body ? "1\n" : "\n");
  for (const Header &header : head.headers) {
    lines_.append(header.first).append(":").append(header.second).append("\n");
  }
  environment_.push(tagged(protocol::request), exchange, lines_);
}

void HostedServer::on_abort(ExchangeId exchange) { environment_.push(tagged(protocol::abort), exchange, {}); }

[[gnu::hot]] void HostedServer::on_message(const SocketData &socket, std::string_view payload, bool is_binary) {
  ConnectionId id = socket.id;
  if (!environment_.push_message(id, payload, is_binary, socket.route->options)) {
    if (auto *entry = environment_.connections().find(id)) {
      entry->owner()->fail(entry->socket, close_code::message_too_big);
    }
  }
}

void HostedServer::on_dropped(const SocketData &socket, std::string_view payload, bool is_binary, std::uint32_t publication) {
  environment_.push_dropped(socket.id, payload, is_binary, {number_, publication});
}

void HostedServer::on_descriptors_exhausted() { environment_.push(tagged(protocol::descriptors_exhausted), 0, {}); }

}  // namespace nws
