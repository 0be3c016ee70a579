#include "channel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

namespace load {

std::string Channel::plain_, Channel::decrypted_, Channel::wire_;

Channel::Channel(std::uint32_t index, const Endpoint &endpoint, std::string_view request, ChannelEvents &events)
    : index_(index), request_(request), events_(events), inflater_(endpoint.inflater) {
  descriptor_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor_ < 0) {
    fail(std::string("socket: ") + strerror(errno));
  }
  if (endpoint.tls) {
    tls_ = std::make_unique<TlsClient>(*endpoint.tls);
  }
  int on = 1;
  setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // Pacing costs timers, and there is nothing to be paced on one machine. The server's side is left as it is.
  setsockopt(descriptor_, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = this;
  auto *address = reinterpret_cast<const sockaddr *>(&endpoint.address);
  bool started = connect(descriptor_, address, sizeof endpoint.address) == 0 || errno == EINPROGRESS;
  if (!started || epoll_ctl(endpoint.epoll, EPOLL_CTL_ADD, descriptor_, &event) != 0) {
    int error = errno;
    close(descriptor_);
    fail(std::string("connect: ") + strerror(error));
  }
}

Channel::~Channel() { close(descriptor_); }

void Channel::reset_on_close() {
  linger at_once{1, 0};
  setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void Channel::ready(std::uint32_t events) {
  if (state_ == State::connecting) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      fail(std::string("connect: ") + strerror(error));
    }
    if (!(events & EPOLLOUT)) {
      return;
    }
    if (tls_) {
      state_ = State::securing;
      receive({});  // makes the ClientHello
    } else {
      start_upgrade();
    }
  }
  if ((events & EPOLLOUT) && !unsent_.empty()) {
    std::string bytes;
    bytes.swap(unsent_);
    write_wire(bytes);
  }
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    read();
  }
}

void Channel::read() {
  static std::vector<char> buffer(512 * 1024);
  for (;;) {
    ssize_t length = recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (length < 0 && errno == EINTR) {
      continue;
    }
    if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    }
    if (length <= 0) {
      fail(length == 0 ? "the server closed the connection" : std::string("recv: ") + strerror(errno));
    }
    receive({buffer.data(), static_cast<std::size_t>(length)});
    // Less than asked for: there was no more, and what comes now is a new edge (epoll(7), question 9).
    if (static_cast<std::size_t>(length) < buffer.size()) {
      return;
    }
  }
}

void Channel::receive(std::string_view bytes) {
  if (tls_) {
    std::string decrypted;
    decrypted.swap(decrypted_);
    wire_.clear();
    if (!tls_->receive(bytes, decrypted, wire_)) {
      fail("TLS has failed");
    }
    if (!wire_.empty()) {
      write_wire(wire_);
    }
    if (state_ == State::securing && tls_->is_ready()) {
      start_upgrade();
    }
    receive_frames(decrypted);
    decrypted.clear();
    decrypted_.swap(decrypted);
  } else {
    receive_frames(bytes);
  }
}

void Channel::start_upgrade() {
  state_ = State::upgrading;
  plain_.append(request_);
  flush();
}

void Channel::flush() {
  if (plain_.empty()) {
    return;
  }
  if (tls_) {
    wire_.clear();
    bool ok = tls_->send(plain_, wire_);
    plain_.clear();
    if (!ok) {
      fail("TLS has failed");
    }
    write_wire(wire_);
  } else {
    write_wire(plain_);
    plain_.clear();
  }
}

void Channel::write_wire(std::string_view bytes) {
  if (unsent_.empty()) {
    ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
      fail(std::string("send: ") + strerror(errno));
    }
    bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
  }
  unsent_.append(bytes);
}

/// Reads the answer to the upgrade, and returns what comes after it.
std::string_view Channel::receive_response(std::string_view bytes) {
  std::size_t had = response_.size();
  response_.append(bytes);
  std::size_t end = response_.find("\r\n\r\n");
  if (end == std::string::npos) {
    return {};
  }
  bytes.remove_prefix(end + 4 - had);
  response_.resize(end);
  // The key is RFC 6455's example (section 1.3), and so is the answer to it.
  if (!response_.starts_with("HTTP/1.1 101 ") || response_.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == std::string::npos) {
    fail("the upgrade was refused: " + response_.substr(0, response_.find('\r')));
  }
  if (inflater_ && !accepts_deflate(response_)) {
    fail("the server does not agree to compression without context takeover on both sides");
  }
  response_ = std::string();
  state_ = State::open;
  events_.on_open(*this);
  return bytes;
}

void Channel::receive_frames(std::string_view bytes) {
  if (state_ == State::upgrading) {
    bytes = receive_response(bytes);
  }
  if (state_ != State::open && !bytes.empty()) {
    fail("bytes before the upgrade was complete");
  }
  for (;;) {
    if (!in_payload_ && !take_header(bytes)) {
      return;
    }
    auto piece = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size())));
    bytes.remove_prefix(piece.size());
    remaining_ -= piece.size();
    bool is_control = frame_op_code_ >= 8;
    if (is_control) {
      control_.append(piece);
    } else if (inflater_) {
      compressed_.append(piece);
    } else {
      take_payload(piece);
    }
    if (remaining_ > 0) {
      return;
    }
    in_payload_ = false;
    if (is_control) {
      finish_control();
    } else if (fin_) {
      finish_message();
    }
  }
}

void Channel::take_payload(std::string_view piece) {
  expect(piece.empty() || events_.on_payload(*this, message_length_, piece));
  message_length_ += piece.size();
}

void Channel::finish_message() {
  if (inflater_) {
    auto text = inflater_->inflate(compressed_);
    compressed_.clear();
    if (!text) {
      fail("a message cannot be inflated, or is too long");
    }
    take_payload(*text);
  }
  std::size_t length = std::exchange(message_length_, 0);
  int op_code = std::exchange(message_op_code_, 0);
  expect(events_.on_message(*this, op_code, length));
}

/// Collects a frame's header (RFC 6455, section 5.2). False: more bytes are needed.
bool Channel::take_header(std::string_view &bytes) {
  for (;;) {
    unsigned needed = 2;
    if (header_length_ >= 2) {
      unsigned length = header_[1] & 0x7f;
      needed = length == 126 ? 4 : length == 127 ? 10 : 2;
      if (header_length_ == needed) {
        break;
      }
    }
    if (bytes.empty()) {
      return false;
    }
    auto taken = std::min<std::size_t>(needed - header_length_, bytes.size());
    memcpy(header_ + header_length_, bytes.data(), taken);
    header_length_ += static_cast<unsigned>(taken);
    bytes.remove_prefix(taken);
  }
  remaining_ = header_[1] & 0x7f;
  if (header_length_ > 2) {
    remaining_ = 0;
    for (unsigned i = 2; i < header_length_; i++) {
      remaining_ = remaining_ << 8 | header_[i];
    }
  }
  header_length_ = 0;
  in_payload_ = true;
  fin_ = header_[0] & 0x80;
  frame_op_code_ = header_[0] & 0x0f;
  // The first reserved bit says that a message is compressed (RFC 7692, section 6). Either all of them are,
  // or none.
  bool compressed = inflater_ && (frame_op_code_ == 1 || frame_op_code_ == 2);
  if ((header_[0] & 0x70) != (compressed ? 0x40 : 0) || (header_[1] & 0x80)) {
    fail(compressed ? "a message came back uncompressed" : "a frame has reserved bits, or is masked");
  }
  if (frame_op_code_ < 8) {
    if ((frame_op_code_ == 0) != (message_op_code_ != 0)) {
      fail("a fragment is out of place");
    }
    if (frame_op_code_ != 0) {
      message_op_code_ = frame_op_code_;
    }
  }
  return true;
}

void Channel::finish_control() {
  std::string payload;
  payload.swap(control_);
  if (frame_op_code_ == 8) {
    fail("the server sent a Close frame");
  }
  if (frame_op_code_ == 9) {
    queue_short(10, payload);
    flush();
  }
}

void Channel::fail(const std::string &what) const {
  throw std::runtime_error("connection " + std::to_string(index_) + ": " + what);
}

}  // namespace load
