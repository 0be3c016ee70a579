#include "raw_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "harness.h"

namespace test {

void wait_until(uv_loop_t *loop, const std::function<bool()> &condition, const char *what) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw Failure(std::string("waited in vain for ") + what);
    }
    uv_run(loop, UV_RUN_NOWAIT);
  }
}

int Frame::close_code() const {
  return payload.size() < 2 ? 1005 : static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
}

RawClient::RawClient(uv_loop_t *loop, int port, bool tls)
    : loop_(loop), context_(nullptr, SSL_CTX_free), ssl_(nullptr, SSL_free) {
  descriptor_ = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(descriptor_ >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(connect(descriptor_, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
  fcntl(descriptor_, F_SETFL, O_NONBLOCK);
  if (tls) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), descriptor_);
    wait_until(
        loop_, [this] { return SSL_connect(ssl_.get()) == 1; }, "the TLS handshake");
  }
}

RawClient::~RawClient() { close(); }

void RawClient::close() {
  ssl_.reset();
  if (descriptor_ >= 0) {
    ::close(std::exchange(descriptor_, -1));
  }
}

void RawClient::reset() {
  linger hard{.l_onoff = 1, .l_linger = 0};
  setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close();
}

void RawClient::notify_close() { SSL_shutdown(ssl_.get()); }

void RawClient::finish() { shutdown(descriptor_, SHUT_WR); }

void RawClient::send(std::string_view bytes) {
  wait_until(
      loop_,
      [&] {
        if (bytes.empty()) {
          return true;
        }
        auto written = ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                            : ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (written > 0) {
          bytes.remove_prefix(static_cast<std::size_t>(written));
        }
        return bytes.empty();
      },
      "the socket to take what is sent");
}

void RawClient::send_urgent() { CHECK(::send(descriptor_, "!", 1, MSG_OOB | MSG_NOSIGNAL) == 1); }

bool RawClient::pump() {
  char buffer[65536];
  while (!ended_) {
    auto count = ssl_ ? SSL_read(ssl_.get(), buffer, sizeof buffer) : ::recv(descriptor_, buffer, sizeof buffer, 0);
    if (count > 0) {
      received_.append(buffer, static_cast<std::size_t>(count));
    } else if (ssl_ ? SSL_get_error(ssl_.get(), static_cast<int>(count)) == SSL_ERROR_WANT_READ
                    : count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return true;
    } else {
      ended_ = true;
    }
  }
  return false;
}

std::string RawClient::read_until(std::string_view end) {
  wait_until(
      loop_, [&] { return pump(), received_.find(end) != std::string::npos || ended_; }, "a response");
  auto found = received_.find(end);
  CHECK(found != std::string::npos);
  std::string text = received_.substr(0, found + end.size());
  received_.erase(0, text.size());
  return text;
}

bool RawClient::has_received() { return !pump() || !received_.empty(); }

void RawClient::wait_for_end() {
  wait_until(
      loop_, [this] { return !pump(); }, "the end of the connection");
}

Frame RawClient::read_frame() {
  Frame frame;
  wait_until(
      loop_,
      [&] {
        pump();
        if (received_.size() < 2) {
          CHECK(!ended_);
          return false;
        }
        auto byte = [&](std::size_t i) { return static_cast<unsigned char>(received_[i]); };
        std::size_t header = 2;
        std::uint64_t length = byte(1) & 127u;
        std::size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
        if (received_.size() < header + extended) {
          return false;
        }
        if (extended) {
          length = 0;
          for (std::size_t i = 0; i < extended; i++) {
            length = length << 8 | byte(2 + i);
          }
        }
        header += extended;
        if (received_.size() < header + length) {
          return false;
        }
        frame = {byte(0) & 15, (byte(0) & 128) != 0, received_.substr(header, length)};
        received_.erase(0, header + length);
        return true;
      },
      "a frame");
  return frame;
}

std::string RawClient::frame(int op_code, std::string_view payload, bool fin, bool masked, int reserved_bits) {
  const char mask[4] = {0x11, 0x22, 0x33, 0x44};
  std::string bytes(1, static_cast<char>((fin ? 0x80 : 0) | reserved_bits << 4 | op_code));
  int mask_bit = masked ? 0x80 : 0;
  if (payload.size() < 126) {
    bytes += static_cast<char>(mask_bit | static_cast<int>(payload.size()));
  } else if (payload.size() < 65536) {
    bytes += static_cast<char>(mask_bit | 126);
    bytes += static_cast<char>(payload.size() >> 8);
    bytes += static_cast<char>(payload.size());
  } else {
    bytes += static_cast<char>(mask_bit | 127);
    for (int shift = 56; shift >= 0; shift -= 8) {
      bytes += static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> shift);
    }
  }
  if (masked) {
    bytes.append(mask, 4);
  }
  for (std::size_t i = 0; i < payload.size(); i++) {
    bytes += static_cast<char>(masked ? payload[i] ^ mask[i % 4] : payload[i]);
  }
  return bytes;
}

void RawClient::send_frame(int op_code, std::string_view payload, bool fin) { send(frame(op_code, payload, fin)); }

std::string RawClient::handshake(std::string_view path) {
  return "GET " + std::string(path) +
         " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
}

std::string RawClient::open(std::string_view path) {
  send(handshake(path));
  std::string response = read_until("\r\n\r\n");
  return response.substr(0, response.find("\r\n"));
}

}  // namespace test
