// One WebSocket connection of the client: TCP, TLS if asked for, the upgrade, and frames.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "deflate.h"
#include "message_pattern.h"
#include "tls_client.h"

namespace load {

class Channel;

/// What a channel reports. All of it comes from inside `Channel::ready`.
class ChannelEvents {
 public:
  /// The upgrade is complete.
  virtual void on_open(Channel &channel) = 0;
  /// A piece of a message's payload, which starts at `offset` of the message. False: it is not what it should
  /// be.
  virtual bool on_payload(Channel &channel, std::size_t offset, std::string_view piece) = 0;
  /// A message is complete; `length` bytes of it have been reported.
  virtual bool on_message(Channel &channel, int op_code, std::size_t length) = 0;

 protected:
  ~ChannelEvents() = default;
};

/// What all channels of a load have in common.
struct Endpoint {
  int epoll = -1;
  sockaddr_in address{};
  /// nullptr: plain ws.
  SSL_CTX *tls = nullptr;
  /// nullptr: no compression was offered.
  Inflater *inflater = nullptr;
};

class Channel {
 public:
  /// Starts to connect, and registers with epoll: edge-triggered, so that the registration never has to
  /// change. Throws std::runtime_error.
  Channel(std::uint32_t index, const Endpoint &endpoint, std::string_view request, ChannelEvents &events);
  ~Channel();
  Channel(const Channel &) = delete;
  Channel &operator=(const Channel &) = delete;

  /// The descriptor can be read or written, or has failed. Throws std::runtime_error when anything is not as
  /// it should be.
  void ready(std::uint32_t events);

  /// Adds a message to what `flush` sends.
  void queue(const MessagePattern &pattern, std::uint32_t sequence) { pattern.append_frame(plain_, sequence); }
  /// The same with a frame of fewer than 126 bytes. A mask of zeros is a mask too.
  void queue_short(int op_code, std::string_view payload) {
    plain_.push_back(static_cast<char>(0x80 | op_code));
    plain_.push_back(static_cast<char>(0x80 | payload.size()));
    plain_.append(4, '\0').append(payload);
  }
  void flush();

  /// Lets the destructor reset the connection, so that its port is free at once.
  void reset_on_close();

  std::uint32_t index() const { return index_; }
  bool is_open() const { return state_ == State::open; }
  /// Free for the owner's use: sequence numbers.
  std::uint32_t next_sent = 0;
  std::uint32_t next_received = 0;

 private:
  enum class State { connecting, securing, upgrading, open };

  void read();
  void write_wire(std::string_view bytes);
  void start_upgrade();
  void receive(std::string_view bytes);
  std::string_view receive_response(std::string_view bytes);
  void receive_frames(std::string_view bytes);
  bool take_header(std::string_view &bytes);
  void take_payload(std::string_view piece);
  void finish_message();
  void finish_control();
  void expect(bool as_sent) const {
    if (!as_sent) fail("a message came back different, or out of order");
  }
  [[noreturn]] void fail(const std::string &what) const;

  const std::uint32_t index_;
  const std::string_view request_;
  ChannelEvents &events_;
  Inflater *const inflater_;
  int descriptor_ = -1;
  State state_ = State::connecting;
  std::unique_ptr<TlsClient> tls_;
  /// What the kernel has not taken yet.
  std::string unsent_;
  std::string response_;

  // The frame being read.
  unsigned char header_[10];
  unsigned header_length_ = 0;
  bool in_payload_ = false;
  bool fin_ = false;
  int frame_op_code_ = 0;
  std::uint64_t remaining_ = 0;
  /// The message that its frames make up.
  int message_op_code_ = 0;
  std::size_t message_length_ = 0;
  /// What there is of a compressed message.
  std::string compressed_;
  std::string control_;

  /// Shared by all channels, which work one after the other; empty in between.
  static std::string plain_, decrypted_, wire_;
};

}  // namespace load
