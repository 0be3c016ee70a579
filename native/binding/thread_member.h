// The class ThreadMember that JavaScript sees: a server's place in the hub of its process.
#pragma once

#include <napi.h>

#include <memory>

namespace nws {

/// new ThreadMember(hub: string, maxPendingBytes, { outbox: ArrayBuffer, inbox: ArrayBuffer, attachments:
/// [], deliver: (words) => void }). C++ calls `deliver` when it has put so many words into the inbox, from
/// its own callback in the poll phase: no other code of ours is on the stack, and whatever `deliver` calls
/// is safe, `close` included. Does not keep the loop alive. Lives until `close` or the end of the
/// environment.
class ThreadMember : public Napi::ObjectWrap<ThreadMember> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ThreadMember(const Napi::CallbackInfo &info);
  ~ThreadMember() override;

 private:
  struct Agent;

  /// (topic, number): once for each topic.
  void add_interest(const Napi::CallbackInfo &info);
  /// (topic)
  void remove_interest(const Napi::CallbackInfo &info);
  /// (words): publishes what is in the outbox, up to there. Gives how many queues took a message.
  Napi::Value publish(const Napi::CallbackInfo &info);
  /// (topic, payload: string | Uint8Array, flags): a long message, past the outbox. Likewise.
  Napi::Value publish_long(const Napi::CallbackInfo &info);
  void close(const Napi::CallbackInfo &info);

  /// Null after `close`. libuv has a share of it until the handle is closed.
  std::shared_ptr<Agent> agent_;
};

}  // namespace nws
