#include "server/uws/socket_set.h"

#include "server/net/turns.h"
#include "server/uws/socket_dispatch.h"

#ifdef __linux__
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
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
  wanted.events =
      (events & UV_READABLE ? EPOLLIN : 0u) | (events & UV_WRITABLE ? EPOLLOUT : 0u) | (events & UV_DISCONNECT ? EPOLLRDHUP : 0u);
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
  // As many as µSockets asks for at once. Those beyond it keep the set readable, and come in the next
  // iteration.
  std::array<epoll_event, 1024> ready;
  int count = epoll_wait(descriptor_, ready.data(), static_cast<int>(ready.size()), 0);
  auto end = ready.begin() + std::max(count, 0);
  // The kernel gives sockets that stay ready in the same order each time: those that the last iteration did
  // not get to are first now.
  auto is_next = [this](const epoll_event &event) { return event.data.ptr == next_; };
  if (auto next = next_ ? std::find_if(ready.begin(), end, is_next) : end; next != end) {
    std::rotate(ready.begin(), next, end);
  }
  next_ = nullptr;
  for (auto event = ready.begin(); event != end; ++event) {
    // µSockets frees a poll at the end of an iteration: one that was stopped by another's callback is still
    // there.
    auto *poll = static_cast<uv_poll_t *>(event->data.ptr);
    if (Turns *turns = Turns::current(); turns && !turns->may_read()) {
      next_ = poll;
      return;
    }
    std::uint32_t seen = event->events;
    int wanted = static_cast<int>(poll->io_watcher.pevents);
    if (wanted == 0) {
      continue;
    }
    if (seen & EPOLLERR) {
      // What came before the error can still be read, and then the error is.
      dispatch_socket(poll, wanted & UV_READABLE ? 0 : UV_EBADF, UV_READABLE);
      continue;
    }
    int events =
        (seen & EPOLLIN ? UV_READABLE : 0) | (seen & EPOLLOUT ? UV_WRITABLE : 0) | (seen & EPOLLRDHUP ? UV_DISCONNECT : 0);
    if (seen == EPOLLHUP) {
      events = wanted;  // the next read or write fails
    }
    if (events & wanted) {
      dispatch_socket(poll, 0, events & wanted);
    }
  }
}

#else

struct SocketSet::Handle {};
std::unique_ptr<SocketSet> SocketSet::create(uv_loop_t *) { return nullptr; }
SocketSet::~SocketSet() = default;
int SocketSet::watch(uv_poll_t *, int) { return 0; }

#endif

int SocketSet::change(uv_poll_t *poll, int events) {
  return current() ? current()->watch(poll, events) : uv_poll_start(poll, events, dispatch_socket);
}

}  // namespace nws

// ---- what µSockets calls (eventing/libuv.c) ----

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

/// In place of µSockets' callback: the only polls that it starts here are those of connected sockets.
int nws_poll_start(uv_poll_t *poll, int events, uv_poll_cb) { return nws::SocketSet::change(poll, events); }

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
