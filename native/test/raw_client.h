// A WebSocket client that does what it is told, right or wrong: bytes out, frames in. The server runs on the
// same thread, so every wait turns its loop.
#pragma once

#include <uv.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

struct ssl_st;
struct ssl_ctx_st;

namespace test {

/// Turns the loop until the condition holds; fails after ten seconds.
void wait_until(uv_loop_t *loop, const std::function<bool()> &condition, const char *what);

struct Frame {
  int op_code = -1;
  bool fin = false;
  std::string payload;
  /// Of a Close frame; 1005 when it carries none.
  int close_code() const;
};

class RawClient {
 public:
  RawClient(uv_loop_t *loop, int port, bool tls);
  ~RawClient();
  RawClient(const RawClient &) = delete;
  RawClient &operator=(const RawClient &) = delete;

  void send(std::string_view bytes);
  /// Sends a masked frame.
  void send_frame(int op_code, std::string_view payload, bool fin = true);
  /// Sends a byte of TCP's urgent data (RFC 6093), which is none of the stream.
  void send_urgent();
  /// The opening handshake; gives the response's status line.
  std::string open(std::string_view path = "/");
  /// Everything up to and including `end`.
  std::string read_until(std::string_view end);
  Frame read_frame();
  /// Whether anything has come that was not read, or the end. Does not turn the loop.
  bool has_received();
  void wait_for_end();
  /// Half-closes: no more bytes from this side.
  void finish();
  /// Says that no more is sent, by TLS alone (close_notify).
  void notify_close();
  /// Ends with a reset.
  void reset();
  void close();

  /// The request of the opening handshake.
  static std::string handshake(std::string_view path = "/");
  static std::string frame(int op_code, std::string_view payload, bool fin = true, bool masked = true, int reserved_bits = 0);

 private:
  /// Takes what has come; false at the end of the stream.
  bool pump();

  uv_loop_t *loop_;
  int descriptor_ = -1;
  std::unique_ptr<ssl_ctx_st, void (*)(ssl_ctx_st *)> context_;
  std::unique_ptr<ssl_st, void (*)(ssl_st *)> ssl_;
  std::string received_;
  bool ended_ = false;
};

}  // namespace test
