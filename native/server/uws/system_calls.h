/* The system calls of each message, as libc has them, but for one thing: in a process of several threads
 * libc's begin and end a place where the thread may be cancelled (pthread_cancel). No thread that serves
 * sockets is, and docs/performance-log.md has what that saves. AddressSanitizer knows libc's, and checks what
 * they are given. C, because µSockets calls them (usockets_names.h). */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __linux__
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static inline ssize_t nws_send(int descriptor, const void *bytes, size_t length, int flags) {
#if defined(SYS_sendto) && !defined(__SANITIZE_ADDRESS__)
  return syscall(SYS_sendto, descriptor, bytes, length, flags, NULL, 0);
#else
  return send(descriptor, bytes, length, flags);
#endif
}

static inline ssize_t nws_recv(int descriptor, void *buffer, size_t length, int flags) {
#if defined(SYS_recvfrom) && !defined(__SANITIZE_ADDRESS__)
  return syscall(SYS_recvfrom, descriptor, buffer, length, flags, NULL, NULL);
#else
  return recv(descriptor, buffer, length, flags);
#endif
}

static inline ssize_t nws_writev(int descriptor, const struct iovec *parts, int count) {
#if defined(SYS_writev) && !defined(__SANITIZE_ADDRESS__)
  return syscall(SYS_writev, descriptor, parts, count);
#else
  return writev(descriptor, parts, count);
#endif
}

#ifdef __linux__
static inline int nws_epoll_wait(int descriptor, struct epoll_event *events, int most, int timeout) {
  return (int)syscall(SYS_epoll_pwait, descriptor, events, most, timeout, NULL, 0);
}
#endif
