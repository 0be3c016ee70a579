#include "server/uws/tls_reading.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "server/uws/upstream_internals.h"

namespace nws {

namespace {

/// µSockets' us_internal_ssl_socket_t. The flags say that OpenSSL can go on with one thing when another is
/// possible.
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

/// The connection ends as a plain one does, whose peer has said its last: with an end of input that is found
/// when the socket is read again. What was handed over may be answered until then, or wait for a turn. Where
/// nothing was (`has_come` is false), the end is found at once: there may be no end of what else comes.
void end_input(us_socket_t *socket, bool has_come) {
  ::shutdown(us_poll_fd(&socket->p), SHUT_RD);
  if (!has_come) {
    us_poll_change(&socket->p, socket->context->loop, us_poll_events(&socket->p) & LIBUS_SOCKET_WRITABLE);
    socket->context->on_end(socket);
  }
}

/// KeyUpdates that a client may send at once (RFC 8446, section 4.6.3); then one a second. Keys wear out
/// after gigabytes (section 5.5). One takes 27 bytes, and 10 µs, or 24 µs with the answer that it may ask
/// for; OpenSSL takes any number of them in one SSL_read. BoringSSL and Go have a limit too, of 32 and of 16
/// in a row.
constexpr std::intptr_t max_key_updates = 16;

/// Where a connection keeps the time at which all its KeyUpdates so far are paid for, in seconds of the
/// steady clock.
int key_updates_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// OpenSSL's callback for each message of the protocol. Ends the connection of a client that sends too many
/// KeyUpdates.
void count_key_update(int is_written, int, int content_type, const void *message, std::size_t length, SSL *ssl, void *) {
  if (is_written || content_type != SSL3_RT_HANDSHAKE || length == 0 ||
      *static_cast<const unsigned char *>(message) != SSL3_MT_KEY_UPDATE) {
    return;
  }
  using std::chrono::seconds;
  auto time = std::chrono::steady_clock::now().time_since_epoch();
  auto now = static_cast<std::intptr_t>(std::chrono::duration_cast<seconds>(time).count());
  std::intptr_t paid = std::max(reinterpret_cast<std::intptr_t>(SSL_get_ex_data(ssl, key_updates_index())), now) + 1;
  SSL_set_ex_data(ssl, key_updates_index(), reinterpret_cast<void *>(paid));
  if (paid - now > max_key_updates) {
    // As if the client had sent close_notify: SSL_read takes no further record.
    SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
  }
}

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
    if (has_come || can_write_tls(socket)) {
      end_input(socket, has_come);
    } else {
      us_socket_close(0, socket, 0, nullptr);
    }
  }
  return socket;
}

void limit_key_updates(ssl_ctx_st *context) { SSL_CTX_set_msg_callback(context, count_key_update); }

bool can_write_tls(us_socket_t *socket) { return !SSL_in_init(reinterpret_cast<TlsSocket *>(socket)->ssl); }

void replace_ssl_on_data(us_socket_context_t *context, OnReceived received) { context->on_data = received; }

}  // namespace nws
