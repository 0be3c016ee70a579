// File descriptors of sockets.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

namespace nws {

/// Another descriptor of a connected socket, non-blocking, for this process alone. The connection lasts until
/// both are closed: close(2), other than shutdown(2), sends nothing while there is another descriptor.
/// Negative when there is none, for the reason in errno.
inline int duplicate_descriptor(int descriptor) {
  int own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (own >= 0) {
    fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK);
#ifdef SO_NOSIGPIPE
    int on = 1;
    setsockopt(own, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
  }
  return own;
}

}  // namespace nws
