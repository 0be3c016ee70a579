#include "socket_set.h"

#include <libusockets.h>

#include "internal/internal.h"  // what no public function tells: whether a socket waits for its turn to shake hands

#ifdef __linux__
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#endif

namespace nws {

namespace {
thread_local SocketSet *current_set = nullptr;
}  // namespace

SocketSet *SocketSet::current() { return current_set; }

#ifdef __linux__

struct SocketSet::Handle {
  uv_poll_t poll{};
};

std::unique_ptr<SocketSet> SocketSet::create(uv_loop_t *loop) {
  int descriptor = epoll_create1(EPOLL_CLOEXEC);
  if (descriptor < 0) {
    return nullptr;
  }
  auto handle = std::make_unique<Handle>();
  if (uv_poll_init(loop, &handle->poll, descriptor)) {
    close(descriptor);
    return nullptr;
  }
  return std::unique_ptr<SocketSet>(new SocketSet(std::move(handle), descriptor));
}

SocketSet::SocketSet(std::unique_ptr<Handle> handle, int descriptor) : handle_(handle.release()), descriptor_(descriptor) {
  handle_->poll.data = this;
  uv_poll_start(&handle_->poll, UV_READABLE, [](uv_poll_t *poll, int, int) { static_cast<SocketSet *>(poll->data)->dispatch(); });
  uv_unref(reinterpret_cast<uv_handle_t *>(&handle_->poll));
  current_set = this;
}

SocketSet::~SocketSet() {
  current_set = nullptr;
  handle_->poll.data = handle_;
  uv_close(reinterpret_cast<uv_handle_t *>(&handle_->poll), [](uv_handle_t *poll) { delete static_cast<Handle *>(poll->data); });
  close(descriptor_);
}

int SocketSet::watch(uv_poll_t *poll, int events) {
  int before = static_cast<int>(poll->io_watcher.pevents);
  if (events == before) {
    return 0;
  }
  epoll_event wanted{};
  wanted.events = (events & UV_READABLE ? EPOLLIN : 0u) | (events & UV_WRITABLE ? EPOLLOUT : 0u);
  wanted.data.ptr = poll;
  // An error or a hang-up is reported even to who waits for nothing.
  int operation = before == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  if (epoll_ctl(descriptor_, operation, poll->io_watcher.fd, &wanted) && events != 0) {
    return -errno;
  }
  poll->io_watcher.pevents = static_cast<unsigned>(events);
  if (before == 0 && active_++ == 0) {
    uv_ref(reinterpret_cast<uv_handle_t *>(&handle_->poll));
  } else if (events == 0 && --active_ == 0) {
    uv_unref(reinterpret_cast<uv_handle_t *>(&handle_->poll));
  }
  return 0;
}

void SocketSet::dispatch() {
  // As many as µSockets asks for at once. Those beyond it keep the set readable, and come in the next iteration.
  std::array<epoll_event, 1024> ready;
  int count = epoll_wait(descriptor_, ready.data(), static_cast<int>(ready.size()), 0);
  for (int i = 0; i < count; i++) {
    // µSockets frees a poll at the end of an iteration: one that was stopped by another's callback is still there.
    auto *poll = static_cast<uv_poll_t *>(ready[static_cast<std::size_t>(i)].data.ptr);
    std::uint32_t seen = ready[static_cast<std::size_t>(i)].events;
    int wanted = static_cast<int>(poll->io_watcher.pevents);
    if (wanted == 0) {
      continue;
    }
    if (seen & EPOLLERR) {
      watch(poll, 0);
      poll->poll_cb(poll, UV_EBADF, 0);
      continue;
    }
    int events = (seen & EPOLLIN ? UV_READABLE : 0) | (seen & EPOLLOUT ? UV_WRITABLE : 0);
    if (seen == EPOLLHUP) {
      events = wanted;  // whoever reads or writes finds out about it
    }
    if (events & wanted) {
      poll->poll_cb(poll, 0, events & wanted);
    }
  }
}

#else

struct SocketSet::Handle {};
std::unique_ptr<SocketSet> SocketSet::create(uv_loop_t *) { return nullptr; }
SocketSet::~SocketSet() = default;
int SocketSet::watch(uv_poll_t *, int) { return 0; }

#endif

}  // namespace nws

// ---- what µSockets calls (eventing/libuv.c) ----

namespace {

/// Whether µSockets holds this socket back, so that not too many shake hands in one iteration (loop.c, low priority). One that
/// has had its turn is first put at the head of its context's list, and polled then.
bool waits_for_its_turn(us_poll_t *poll) {
  if (!poll || (poll->poll_type & POLL_TYPE_CALLBACK) > POLL_TYPE_SOCKET_SHUT_DOWN) {  // two bits say what it is
    return false;
  }
  auto *socket = reinterpret_cast<us_socket_t *>(poll);
  return socket->low_prio_state == 1 && socket->context->head_sockets != socket;
}

/// µSockets polls for both directions when a write fails (socket.c), of a socket that waits for its turn, too. Were it read then,
/// µSockets would put it among the waiting a second time, and lose its lists.
int readable_at_its_turn(uv_poll_t *handle, int events) {
  auto *poll = static_cast<us_poll_t *>(handle->data);
  bool is_new = !handle->poll_cb;  // µSockets then has not filled in the rest yet
  if ((events & UV_READABLE) && !is_new && waits_for_its_turn(poll)) {
    events &= ~UV_READABLE;
    poll->poll_type &= static_cast<unsigned char>(~POLL_TYPE_POLLING_IN);  // so that it is polled when its turn comes
  }
  return events;
}

}  // namespace

extern "C" {

int nws_poll_init_socket(uv_loop_t *loop, uv_poll_t *poll, uv_os_sock_t descriptor) {
  if (!nws::SocketSet::current()) {
    return uv_poll_init_socket(loop, poll, descriptor);
  }
  void *data = poll->data;  // µSockets has set it before
  *poll = {};               // of no type: that tells nws_close that it is not libuv's
  poll->data = data;
  poll->io_watcher.fd = descriptor;
  return 0;
}

int nws_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback) {
  events = readable_at_its_turn(poll, events);
  if (!nws::SocketSet::current()) {
    return uv_poll_start(poll, events, callback);
  }
  poll->poll_cb = callback;
  return nws::SocketSet::current()->watch(poll, events);
}

int nws_poll_stop(uv_poll_t *poll) {
  return nws::SocketSet::current() ? nws::SocketSet::current()->watch(poll, 0) : uv_poll_stop(poll);
}

/// One of ours needs no callback: for µSockets it is not closing then, and is freed like any memory.
void nws_close(uv_handle_t *handle, uv_close_cb callback) {
  if (handle->type != UV_UNKNOWN_HANDLE) {
    uv_close(handle, callback);
  }
}
}
