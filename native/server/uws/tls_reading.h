// A seam. Decrypts what TLS connections have received, in place of µSockets' ssl_on_data (crypto/openssl.c):
// ContextHandlers registers read_tls where µSockets has registered its own.
//
// Why:
//
//   - what came before the peer's close_notify, or before an error of TLS, is handed over first, and the end
//     comes in a later turn, as with a plain connection; µSockets closes the connection at once, and what
//     came is lost;
//   - OpenSSL is not asked once more when it is known to have nothing;
//   - a client that sends KeyUpdates one after another is at its end.
//
// At the next release: what ssl_on_data does for a socket that is shut down, with each error, and after the
// data; the members of loop_ssl_data and us_internal_ssl_socket_t, which tls_reading.cpp mirrors.
#pragma once

#include <libusockets.h>

struct ssl_ctx_st;

namespace nws {

/// Takes decrypted bytes, in memory that has room around them (LIBUS_RECV_BUFFER_PADDING).
using OnDecrypted = us_socket_t *(*)(us_socket_t *, char *, int);

/// Stands in for ssl_on_data, whose arguments the first three are. On the thread of the socket's loop; the
/// socket may be closed afterwards. `decrypted` is called as often as there is a buffer full of bytes, and
/// does not move the socket.
us_socket_t *read_tls(us_socket_t *socket, char *received, int length, OnDecrypted decrypted);

/// The connections of this context may send 16 KeyUpdates at once, and one a second. One that sends more has
/// ended, as by close_notify.
void limit_key_updates(ssl_ctx_st *context);

/// Whether TLS lets the socket be written to, also behind the peer's close_notify: not before the end of the
/// handshake, and not after an error.
bool can_write_tls(us_socket_t *socket);

using OnReceived = us_socket_t *(*)(us_socket_t *, char *, int);

/// Makes `received` the handler of what the sockets of a TLS context receive: one that calls read_tls. After
/// us_socket_context_on_data, which registers ssl_on_data.
void replace_ssl_on_data(us_socket_context_t *context, OnReceived received);

}  // namespace nws
