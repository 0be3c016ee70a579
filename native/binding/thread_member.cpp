#include "thread_member.h"

#include <uv.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "environment.h"
#include "javascript_call.h"
#include "protocol.h"
#include "server/threads/thread_hub.h"
#include "server_wrap.h"
#include "values.h"

namespace nws {

namespace {

/// Longer payloads have a Buffer or a string of their own, and pass beside the inbox.
constexpr std::size_t max_inline = 16 * 1024;

std::span<std::uint32_t> words_of(Napi::Value value) {
  if (!value.IsArrayBuffer()) {
    return {};
  }
  auto buffer = value.As<Napi::ArrayBuffer>();
  return {static_cast<std::uint32_t *>(buffer.Data()), buffer.ByteLength() / sizeof(std::uint32_t)};
}

constexpr std::size_t words_for(std::size_t bytes) { return (bytes + 3) / 4; }

}  // namespace

/// All of a member. Other threads call nothing of it but uv_async_send.
struct ThreadMember::Agent : ArrivalSink, std::enable_shared_from_this<Agent> {
  explicit Agent(Napi::Env env) : env(env) {}

  /// False when Node-API or libuv refuses.
  bool open(const std::string &hub, std::size_t max_pending, Napi::Object shared);
  void close();
  void receive();
  bool on_arrival(const Arrival &arrival) override;
  void on_lost(std::uint64_t count) override { lost += count; }
  void write_lost();
  std::optional<std::uint32_t> attach(const Arrival &arrival);

  Napi::Env env;
  std::optional<HubMember> member;
  uv_async_t async{};
  napi_async_cleanup_hook_handle cleanup = nullptr;
  /// Of libuv's share: from `open` to the close callback.
  std::shared_ptr<Agent> self;
  std::optional<Napi::AsyncContext> context;
  std::array<Napi::ObjectReference, 3> memory;
  Napi::FunctionReference deliver;
  std::span<std::uint32_t> outbox, inbox;
  std::size_t inbox_end = 0;
  std::uint32_t attachment_count = 0;
  /// Told before the next arrival.
  std::uint64_t lost = 0;
  std::vector<Publication> batch;
};

bool ThreadMember::Agent::open(const std::string &hub, std::size_t max_pending, Napi::Object shared) {
  Napi::Value values[] = {shared.Get("outbox"), shared.Get("inbox"), shared.Get("attachments")};
  Napi::Value function = shared.Get("deliver");
  outbox = words_of(values[0]);
  inbox = words_of(values[1]);
  uv_loop_t *loop = nullptr;
  if (inbox.size() < 2 * protocol::arrival_header_words + words_for(max_inline) || !values[2].IsArray() ||
      !function.IsFunction() || napi_get_uv_event_loop(env, &loop) != napi_ok) {
    return false;
  }
  napi_status status = napi_add_async_cleanup_hook(
      env, [](napi_async_cleanup_hook_handle, void *data) { static_cast<Agent *>(data)->close(); }, this, &cleanup);
  if (status != napi_ok) {
    return false;
  }
  int error = uv_async_init(loop, &async, [](uv_async_t *handle) { static_cast<Agent *>(handle->data)->receive(); });
  if (error != 0) {
    napi_remove_async_cleanup_hook(cleanup);
    return false;
  }
  async.data = this;
  self = shared_from_this();
  uv_unref(reinterpret_cast<uv_handle_t *>(&async));
  for (std::size_t i = 0; i < std::size(values); i++) {
    memory[i] = Napi::Persistent(values[i].As<Napi::Object>());
  }
  deliver = Napi::Persistent(function.As<Napi::Function>());
  context.emplace(env, "native-websocket-server");
  // The hub calls this under a lock that `close` takes as well: never with a handle that is closed.
  member.emplace(ThreadHub::named(hub), max_pending, [this] { uv_async_send(&async); });
  return true;
}

void ThreadMember::Agent::close() {
  if (!member) {
    return;  // the close callback, which is due, removes the hook
  }
  member.reset();
  // Node-API may be gone when the last share is given up.
  context.reset();
  deliver.Reset();
  for (Napi::ObjectReference &reference : memory) {
    reference.Reset();
  }
  uv_close(reinterpret_cast<uv_handle_t *>(&async), [](uv_handle_t *handle) {
    auto agent = std::move(static_cast<Agent *>(handle->data)->self);
    napi_remove_async_cleanup_hook(agent->cleanup);
  });
}

void ThreadMember::Agent::receive() {
  if (!member) {
    return;
  }
  std::shared_ptr<Agent> keep = self;  // `deliver` may close
  inbox_end = 0;
  attachment_count = 0;
  Napi::HandleScope scope(env);
  bool done = member->receive(*this);
  write_lost();
  // The rest comes in a turn of its own: what came from sockets meanwhile is not to wait for all of it.
  if (!done || lost > 0) {
    uv_async_send(&async);
  }
  if (inbox_end > 0) {
    call_javascript(env, *context, deliver.Value(), {Napi::Number::New(env, static_cast<double>(inbox_end))});
  }
}

void ThreadMember::Agent::write_lost() {
  if (lost > 0 && inbox_end + protocol::arrival_header_words <= inbox.size()) {
    std::uint32_t told = static_cast<std::uint32_t>(std::min<std::uint64_t>(lost, 0xffffffff));
    const std::uint32_t header[] = {protocol::arrivals_lost, 0, 0, told};
    std::memcpy(inbox.data() + inbox_end, header, sizeof header);
    inbox_end += protocol::arrival_header_words;
    lost -= told;
  }
}

bool ThreadMember::Agent::on_arrival(const Arrival &arrival) {
  write_lost();
  bool is_inline = arrival.payload.length() <= max_inline;
  std::size_t words = protocol::arrival_header_words + (is_inline ? words_for(arrival.payload.length()) : 0);
  // Long ones count as if they were in the inbox, or many of them would become one long turn.
  if (lost > 0 || inbox_end + words > inbox.size() || attachment_count * words_for(max_inline) > inbox.size()) {
    return false;
  }
  std::uint32_t length = static_cast<std::uint32_t>(arrival.payload.length());
  if (!is_inline) {
    std::optional<std::uint32_t> attachment = attach(arrival);
    if (!attachment) {
      lost++;
      return true;
    }
    length = *attachment;
  }
  const std::uint32_t header[] = {is_inline ? protocol::arrival : protocol::arrival_attached, arrival.number, arrival.flags,
                                  length};
  std::memcpy(inbox.data() + inbox_end, header, sizeof header);
  if (is_inline && length > 0) {
    std::memcpy(inbox.data() + inbox_end + protocol::arrival_header_words, arrival.payload.data(), length);
  }
  inbox_end += words;
  return true;
}

std::optional<std::uint32_t> ThreadMember::Agent::attach(const Arrival &arrival) {
  Napi::HandleScope scope(env);
  napi_value value;
  std::string_view payload = arrival.payload;
  napi_status status = arrival.flags & protocol::text_flag
                           ? napi_create_string_utf8(env, payload.data(), payload.length(), &value)
                           : napi_create_buffer_copy(env, payload.length(), payload.data(), nullptr, &value);
  if (status == napi_ok && napi_set_element(env, memory[2].Value(), attachment_count, value) == napi_ok) {
    return attachment_count++;
  }
  bool pending = false;
  napi_value ignored;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) {
    napi_get_and_clear_last_exception(env, &ignored);
  }
  return std::nullopt;
}

// ---- what JavaScript calls ----

Napi::Function ThreadMember::define(Napi::Env env) {
  return DefineClass(env, "ThreadMember",
                     {
                         InstanceMethod<&ThreadMember::add_interest>("addInterest"),
                         InstanceMethod<&ThreadMember::remove_interest>("removeInterest"),
                         InstanceMethod<&ThreadMember::publish>("publish"),
                         InstanceMethod<&ThreadMember::publish_long>("publishLong"),
                         InstanceMethod<&ThreadMember::close>("close"),
                     });
}

ThreadMember::ThreadMember(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ThreadMember>(info) {
  auto agent = std::make_shared<Agent>(info.Env());
  double max_pending = 0;
  if (!Environment::of(info.Env()) || !info[0].IsString() || !info[1].IsNumber() ||
      napi_get_value_double(info.Env(), info[1], &max_pending) != napi_ok || !info[2].IsObject() ||
      !agent->open(text(info[0]), static_cast<std::size_t>(max_pending), info[2].As<Napi::Object>())) {
    Napi::TypeError::New(info.Env(), "new ThreadMember(hub, maxPendingBytes, { outbox, inbox, attachments, deliver })")
        .ThrowAsJavaScriptException();
    return;
  }
  agent_ = std::move(agent);
}

ThreadMember::~ThreadMember() {
  if (agent_) {
    agent_->close();
  }
}

void ThreadMember::add_interest(const Napi::CallbackInfo &info) {
  if (agent_ && agent_->member) {
    agent_->member->add_interest(text(info[0]), number(info[1]));
  }
}

void ThreadMember::remove_interest(const Napi::CallbackInfo &info) {
  if (agent_ && agent_->member) {
    agent_->member->remove_interest(text(info[0]));
  }
}

Napi::Value ThreadMember::publish(const Napi::CallbackInfo &info) {
  std::size_t queued = 0;
  if (agent_ && agent_->member) {
    std::span<std::uint32_t> words = agent_->outbox.first(std::min<std::size_t>(number(info[0]), agent_->outbox.size()));
    auto &batch = agent_->batch;
    batch.clear();
    for (std::size_t at = 0; at + protocol::publication_header_words <= words.size();) {
      std::size_t topic = words[at], payload = words[at + 1];
      const char *start = reinterpret_cast<const char *>(words.data() + at + protocol::publication_header_words);
      std::size_t next = at + protocol::publication_header_words + words_for(topic + payload);
      if (next > words.size()) {
        break;
      }
      batch.push_back({{start, topic}, {start + topic, payload}, words[at + 2]});
      at = next;
    }
    queued = agent_->member->publish(batch);
  }
  return Napi::Number::New(info.Env(), static_cast<double>(queued));
}

Napi::Value ThreadMember::publish_long(const Napi::CallbackInfo &info) {
  std::size_t queued = 0;
  if (agent_ && agent_->member) {
    std::string topic = text(info[0]);
    PayloadArgument payload(info[1], false);
    Publication one{topic, payload.view(), number(info[2])};
    queued = agent_->member->publish(std::span(&one, 1));
  }
  return Napi::Number::New(info.Env(), static_cast<double>(queued));
}

void ThreadMember::close(const Napi::CallbackInfo &) {
  if (agent_) {
    std::exchange(agent_, nullptr)->close();
  }
}

}  // namespace nws
