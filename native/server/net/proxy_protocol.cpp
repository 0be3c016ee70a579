#include "server/net/proxy_protocol.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "server/net/address_text.h"

namespace nws {

namespace {

constexpr std::string_view signature("\r\n\r\n\0\r\nQUIT\n", 12);
/// Signature, version and command, family, and the length of what follows.
constexpr std::size_t fixed_bytes = 16;
/// For the whole header to come. As much as µWebSockets gives to a connection without a request.
constexpr std::uint64_t deadline_milliseconds = 10'000;

/// Version 2 in the upper half, the command in the lower: LOCAL is the proxy's own connection, PROXY one that
/// it passes on.
constexpr unsigned char local_command = 0x20;
constexpr unsigned char proxy_command = 0x21;
constexpr unsigned char tcp4 = 0x11;
constexpr unsigned char tcp6 = 0x21;

/// Bytes of the addresses and ports; none for what must be refused.
std::optional<std::size_t> address_bytes(unsigned char family) {
  switch (family) {
    case 0x00:  // unspecified
      return 0;
    case tcp4:
    case 0x12:  // UDP
      return 12;
    case tcp6:
    case 0x22:  // UDP
      return 36;
    case 0x31:  // unix sockets
    case 0x32:
      return 216;
  }
  return std::nullopt;
}

ProxyHeader invalid() { return {.state = ProxyHeader::State::invalid, .missing = 0, .address = {}}; }
ProxyHeader incomplete(std::size_t missing) {
  return {.state = ProxyHeader::State::incomplete, .missing = missing, .address = {}};
}

}  // namespace

ProxyHeader ProxyHeader::parse(std::string_view bytes) {
  if (!signature.starts_with(bytes.substr(0, signature.size()))) {
    return invalid();
  }
  auto at = [bytes](std::size_t index) { return static_cast<unsigned char>(bytes[index]); };
  if (bytes.size() > signature.size() && at(12) != local_command && at(12) != proxy_command) {
    return invalid();
  }
  if (bytes.size() < fixed_bytes) {
    return incomplete(fixed_bytes - bytes.size());
  }
  std::size_t length = fixed_bytes + (static_cast<std::size_t>(at(14)) << 8 | at(15));
  if (length > max_bytes) {
    return invalid();
  }
  bool is_proxied = at(12) == proxy_command;
  if (auto needed = address_bytes(at(13)); is_proxied && (!needed || fixed_bytes + *needed > length)) {
    return invalid();
  }
  if (bytes.size() < length) {
    return incomplete(length - bytes.size());
  }
  ProxyHeader header{.state = State::complete, .missing = 0, .address = {}};
  if (is_proxied && (at(13) == tcp4 || at(13) == tcp6)) {
    header.address = address_text(bytes.substr(fixed_bytes, at(13) == tcp4 ? 4 : 16));
  }
  return header;
}

struct ProxyStage::Waiting {
  uv_poll_t poll{};
  int descriptor = -1;
  std::string bytes;
  std::uint64_t deadline = 0;
  ProxyStage *stage = nullptr;
  Queue::iterator place;
};

void ProxyStage::WaitingCloser::operator()(Waiting *waiting) const {
  uv_close(reinterpret_cast<uv_handle_t *>(&waiting->poll),
           [](uv_handle_t *handle) { delete static_cast<Waiting *>(handle->data); });
}

ProxyStage::~ProxyStage() {
  while (!waiting_.empty()) {
    ::close(release(waiting_.begin()));
  }
}

void ProxyStage::take(int descriptor) {
  std::string bytes;
  ProxyHeader header = read(descriptor, bytes);
  if (header.state == ProxyHeader::State::incomplete) {
    wait(descriptor, std::move(bytes));
  } else if (header.state == ProxyHeader::State::complete) {
    ready_(descriptor, header.address);
  } else {
    ::close(descriptor);
  }
}

ProxyHeader ProxyStage::read(int descriptor, std::string &bytes) {
  ProxyHeader header = ProxyHeader::parse(bytes);
  while (header.state == ProxyHeader::State::incomplete) {
    std::size_t before = bytes.size();
    bytes.resize(before + header.missing);
    ssize_t received = ::recv(descriptor, bytes.data() + before, header.missing, 0);
    int error = received < 0 ? errno : 0;
    bytes.resize(before + static_cast<std::size_t>(std::max<ssize_t>(received, 0)));
    if (error == EINTR) {
      continue;
    }
    if (error == EAGAIN || error == EWOULDBLOCK) {
      return header;
    }
    header = received > 0 ? ProxyHeader::parse(bytes) : invalid();
  }
  return header;
}

void ProxyStage::wait(int descriptor, std::string bytes) {
  auto waiting = std::make_unique<Waiting>();
  if (uv_poll_init(loop_, &waiting->poll, descriptor)) {
    ::close(descriptor);
    return;
  }
  waiting->poll.data = waiting.get();
  waiting->descriptor = descriptor;
  waiting->bytes = std::move(bytes);
  waiting->deadline = uv_now(loop_) + deadline_milliseconds;
  waiting->stage = this;
  waiting_.emplace_back(waiting.release());
  Waiting &last = *waiting_.back();
  last.place = std::prev(waiting_.end());
  uv_poll_start(&last.poll, UV_READABLE, [](uv_poll_t *poll, int, int) {
    auto *readable = static_cast<Waiting *>(poll->data);
    readable->stage->readable(readable);
  });
  if (waiting_.size() == 1) {
    watch_deadlines();
  }
}

void ProxyStage::readable(Waiting *waiting) {
  ProxyHeader header = read(waiting->descriptor, waiting->bytes);
  if (header.state == ProxyHeader::State::incomplete) {
    return;
  }
  int descriptor = release(waiting->place);
  if (header.state == ProxyHeader::State::complete) {
    ready_(descriptor, header.address);
  } else {
    ::close(descriptor);
  }
}

int ProxyStage::release(Queue::iterator place) {
  int descriptor = (*place)->descriptor;
  waiting_.erase(place);
  return descriptor;
}

void ProxyStage::watch_deadlines() {
  std::uint64_t now = uv_now(loop_);
  std::uint64_t first = waiting_.front()->deadline;
  timer_.start<&ProxyStage::cut_late>(this, first > now ? first - now : 0);
}

void ProxyStage::cut_late() {
  while (!waiting_.empty() && waiting_.front()->deadline <= uv_now(loop_)) {
    ::close(release(waiting_.begin()));
  }
  if (!waiting_.empty()) {
    watch_deadlines();
  }
}

}  // namespace nws
