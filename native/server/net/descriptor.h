// File descriptors of sockets.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

namespace nws {

/// Makes a socket's descriptor non-blocking, and this process's alone. Returns the descriptor, which may be
/// none.
inline int prepare_descriptor(int descriptor) {
  if (descriptor >= 0) {
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
#ifdef SO_NOSIGPIPE
    int on = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
  }
  return descriptor;
}

/// Another descriptor of a connected socket, non-blocking, for this process alone. The connection lasts until
/// both are closed: close(2), other than shutdown(2), sends nothing while there is another descriptor.
/// Negative when there is none, for the reason in errno.
inline int duplicate_descriptor(int descriptor) { return prepare_descriptor(fcntl(descriptor, F_DUPFD_CLOEXEC, 0)); }

}  // namespace nws
