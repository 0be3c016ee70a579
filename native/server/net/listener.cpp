#include "server/net/listener.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "server/net/descriptor.h"

namespace nws {

namespace {

/// Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn.
constexpr int backlog = 4096;
/// Between two attempts while descriptors are short.
constexpr std::uint64_t retry_milliseconds = 250;

bool is_shortage(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

#if !defined(SOCK_CLOEXEC) || !defined(SOCK_NONBLOCK)
int new_socket(int family) { return prepare_descriptor(socket(family, SOCK_STREAM, 0)); }
int accept_one(int listening, sockaddr *address, socklen_t *length) {
  return prepare_descriptor(accept(listening, address, length));
}
#else
int new_socket(int family) { return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }
int accept_one(int listening, sockaddr *address, socklen_t *length) {
  return accept4(listening, address, length, SOCK_CLOEXEC | SOCK_NONBLOCK);
}
#endif

/// Binds and listens on the descriptor. 0, or an errno.
int bind_and_listen_unix(int descriptor, const std::string &path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return ENAMETOOLONG;
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (bind(descriptor, reinterpret_cast<const sockaddr *>(&address), sizeof address)) {
    return errno;
  }
  if (listen(descriptor, backlog)) {
    int error = errno;
    unlink(path.c_str());
    return error;
  }
  return 0;
}

/// Likewise.
int bind_and_listen(int descriptor, const sockaddr_storage &address, bool reuse_port) {
  int on = 1;
  int off = 0;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (reuse_port && setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) {
    return errno;
  }
  if (address.ss_family == AF_INET6) {
    setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  socklen_t length = address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (bind(descriptor, reinterpret_cast<const sockaddr *>(&address), length) || listen(descriptor, backlog)) {
    return errno;
  }
  return 0;
}

/// Listens on a descriptor that came from elsewhere. 0, or an errno: EINVAL for what cannot accept.
int listen_on_given(int descriptor) {
  int type = 0;
  socklen_t length = sizeof type;
  if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length)) {
    return errno;
  }
  sockaddr_storage address{};
  length = sizeof address;
  if (getsockname(descriptor, reinterpret_cast<sockaddr *>(&address), &length)) {
    return errno;
  }
  bool is_known = address.ss_family == AF_INET || address.ss_family == AF_INET6 || address.ss_family == AF_UNIX;
  if (type != SOCK_STREAM || !is_known) {
    return EINVAL;
  }
  // Where it listens already, this sets no more than the backlog.
  return listen(descriptor, backlog) ? errno : 0;
}

/// Where a socket listens.
ListenResult place_of(int descriptor) {
  Endpoint end = Endpoint::local(descriptor);
  return {.host = std::move(end.address), .port = end.port, .error = 0};
}

}  // namespace

struct Listener::Handles {
  uv_poll_t poll{};
  uv_timer_t retry{};
  int descriptor = -1;
  std::string unix_path;
  int still_open = 2;
};

void Listener::HandlesCloser::operator()(Handles *handles) const {
  auto closed = [](uv_handle_t *handle) {
    auto *owner = static_cast<Handles *>(handle->data);
    if (--owner->still_open == 0) {
      delete owner;  // libuv was the last to hold it
    }
  };
  handles->poll.data = handles;
  handles->retry.data = handles;
  uv_close(reinterpret_cast<uv_handle_t *>(&handles->poll), closed);
  uv_close(reinterpret_cast<uv_handle_t *>(&handles->retry), closed);
  if (!handles->unix_path.empty()) {
    unlink(handles->unix_path.c_str());
  }
  if (handles->descriptor >= 0) {
    ::close(handles->descriptor);
  }
}

ListenResult Listener::open(uv_loop_t *loop, const ListenAddress &address) {
  return address.descriptor >= 0 ? open_given(loop, address.descriptor) : open_new(loop, address);
}

ListenResult Listener::open_given(uv_loop_t *loop, int descriptor) {
  auto handles = std::make_unique<Handles>();
  // Before anything is changed about it: EEXIST when libuv polls it for another owner already.
  if (int status = uv_poll_init(loop, &handles->poll, descriptor)) {
    return {.host = {}, .port = 0, .error = -status};
  }
  uv_timer_init(loop, &handles->retry);  // documented to succeed always
  handles_.reset(handles.release());
  int error = listen_on_given(descriptor);
  if (error != 0) {
    handles_.reset();  // without its descriptor, which stays the caller's
    return {.host = {}, .port = 0, .error = error};
  }
  handles_->descriptor = prepare_descriptor(descriptor);
  start();
  return place_of(descriptor);
}

ListenResult Listener::open_new(uv_loop_t *loop, const ListenAddress &address) {
  sockaddr_storage storage{};
  bool is_unix = !address.unix_path.empty();
  if (is_unix) {
    storage.ss_family = AF_UNIX;
  } else if (uv_ip6_addr(address.host.c_str(), address.port, reinterpret_cast<sockaddr_in6 *>(&storage)) &&
             uv_ip4_addr(address.host.c_str(), address.port, reinterpret_cast<sockaddr_in *>(&storage))) {
    return {.host = {}, .port = 0, .error = EINVAL};
  }
  int descriptor = new_socket(storage.ss_family);
  if (descriptor < 0) {
    return {.host = {}, .port = 0, .error = errno};
  }
  int error =
      is_unix ? bind_and_listen_unix(descriptor, address.unix_path) : bind_and_listen(descriptor, storage, address.reuse_port);
  if (error != 0) {
    ::close(descriptor);
    return {.host = {}, .port = 0, .error = error};
  }
  auto handles = std::make_unique<Handles>();
  handles->descriptor = descriptor;
  handles->unix_path = address.unix_path;
  if (int status = uv_poll_init(loop, &handles->poll, descriptor)) {
    ::close(descriptor);
    if (is_unix) {
      unlink(address.unix_path.c_str());
    }
    return {.host = {}, .port = 0, .error = -status};
  }
  uv_timer_init(loop, &handles->retry);  // documented to succeed always
  handles_.reset(handles.release());
  start();
  return place_of(descriptor);
}

void Listener::start() {
  handles_->poll.data = this;
  handles_->retry.data = this;
  resume();
}

void Listener::ref(bool keep_alive) {
  if (handles_) {
    auto change = keep_alive ? uv_ref : uv_unref;
    change(reinterpret_cast<uv_handle_t *>(&handles_->poll));
    change(reinterpret_cast<uv_handle_t *>(&handles_->retry));
  }
}

void Listener::resume() {
  uv_poll_start(&handles_->poll, UV_READABLE,
                [](uv_poll_t *poll, int, int) { static_cast<Listener *>(poll->data)->accept_pending(); });
}

void Listener::pause() {
  // The clients wait in the backlog meanwhile. Descriptors may be freed anywhere in the process, so ask again
  // by the clock.
  uv_poll_stop(&handles_->poll);
  uv_timer_start(
      &handles_->retry, [](uv_timer_t *timer) { static_cast<Listener *>(timer->data)->resume(); }, retry_milliseconds, 0);
}

void Listener::accept_pending() {
  for (int i = 0; i < max_accepted; i++) {
    sockaddr_storage address;
    socklen_t length = sizeof address;
    address.ss_family = AF_UNSPEC;
    int descriptor = accept_one(handles_->descriptor, reinterpret_cast<sockaddr *>(&address), &length);
    if (descriptor >= 0) {
      callbacks_.accepted(descriptor, Endpoint::of(address));
    } else if (is_shortage(errno)) {
      pause();
      callbacks_.exhausted();
      return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    }
    // Whatever else accept(2) reports (ECONNABORTED, EINTR, pending network errors) is about that one client.
  }
}

}  // namespace nws
