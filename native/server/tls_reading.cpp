#include "tls_reading.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

extern "C" {
#include "internal/internal.h"  // µSockets' own view of sockets and contexts
}

namespace nws {

namespace {

/// µSockets' us_internal_ssl_socket_t. The flags say that OpenSSL can go on with one thing when another is possible.
struct TlsSocket {
  us_socket_t socket;
  SSL *ssl;
  int write_wants_read;
  int read_wants_write;
};

/// The beginning of µSockets' loop_ssl_data: what its BIO reads from, which socket it writes to, and how.
struct TlsLoop {
  char *input;
  char *output;
  unsigned int input_length;
  unsigned int input_offset;
  us_socket_t *socket;
  int last_write_was_msg_more;
  int msg_more;
};

/// What one call to `decrypt` has found.
struct Decrypted {
  int length = 0;
  /// OpenSSL has more, for which the buffer had no room.
  bool is_full = false;
  /// The peer has sent close_notify, or TLS has failed: nothing more can come.
  bool has_ended = false;
};

Decrypted decrypt(TlsSocket *socket, TlsLoop &loop) {
  char *output = loop.output + LIBUS_RECV_BUFFER_PADDING;
  Decrypted result;
  while (result.length < LIBUS_RECV_BUFFER_LENGTH) {
    int read = SSL_read(socket->ssl, output + result.length, LIBUS_RECV_BUFFER_LENGTH - result.length);
    if (read <= 0) {
      int error = SSL_get_error(socket->ssl, read);
      if (error == SSL_ERROR_WANT_WRITE) {
        socket->read_wants_write = 1;
      } else if (error != SSL_ERROR_WANT_READ) {
        ERR_clear_error();  // the queue is the thread's, and later calls would find what is left there
        result.has_ended = true;
      }
      // OpenSSL stops in front of input only when it can make nothing of it.
      result.has_ended = result.has_ended || loop.input_length > 0;
      return result;
    }
    result.length += read;
    if (loop.input_length == 0 && !SSL_has_pending(socket->ssl)) {
      return result;
    }
  }
  result.is_full = true;
  return result;
}

/// We have sent our close_notify, and wait for the peer's: whatever else it sends is thrown away.
void await_close_notify(TlsSocket *socket) {
  int result = SSL_shutdown(socket->ssl);
  if (result == 1) {
    us_socket_close(0, &socket->socket, 0, nullptr);
  } else if (result < 0) {
    ERR_clear_error();
  }
}

/// What was handed over may be answered, or wait for a turn. So the connection ends as a plain one does, whose peer has
/// said its last: with an end of input that is found when the socket is read again.
void end_input(us_socket_t *socket) { ::shutdown(us_poll_fd(&socket->p), SHUT_RD); }

}  // namespace

us_socket_t *read_tls(us_socket_t *socket, char *received, int length, OnDecrypted decrypted) {
  auto *tls = reinterpret_cast<TlsSocket *>(socket);
  auto &loop = *static_cast<TlsLoop *>(socket->context->loop->data.ssl_data);
  loop.input = received;
  loop.input_length = static_cast<unsigned int>(length);
  loop.input_offset = 0;
  loop.socket = socket;
  loop.msg_more = 0;

  if (us_socket_is_shut_down(1, socket)) {
    await_close_notify(tls);
    return socket;
  }
  bool has_come = false;
  Decrypted piece;
  do {
    piece = decrypt(tls, loop);
    if (piece.length > 0) {
      has_come = true;
      decrypted(socket, loop.output + LIBUS_RECV_BUFFER_PADDING, piece.length);
      if (us_socket_is_closed(1, socket)) {
        return socket;
      }
    }
  } while (piece.is_full);

  if (tls->write_wants_read) {
    tls->write_wants_read = 0;
    socket->context->on_writable(socket);
    if (us_socket_is_closed(1, socket)) {
      return socket;
    }
  }
  if (piece.has_ended || (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN)) {
    if (has_come) {
      end_input(socket);
    } else {
      us_socket_close(0, socket, 0, nullptr);
    }
  }
  return socket;
}

void replace_ssl_on_data(us_socket_context_t *context, OnReceived received) { context->on_data = received; }

}  // namespace nws
