#include "tls_client.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace load {

namespace {

TlsClient::Pipe &pipe_of(BIO *bio) { return *static_cast<TlsClient::Pipe *>(BIO_get_data(bio)); }

int read_pipe(BIO *bio, char *target, int capacity) {
  auto &input = pipe_of(bio).input;
  BIO_clear_retry_flags(bio);
  if (input.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  auto length = std::min(input.size(), static_cast<std::size_t>(capacity));
  std::memcpy(target, input.data(), length);
  input.remove_prefix(length);
  return static_cast<int>(length);
}

int write_pipe(BIO *bio, const char *bytes, int length) {
  pipe_of(bio).output->append(bytes, static_cast<std::size_t>(length));
  return length;
}

/// OpenSSL's BIO over a Pipe: no system calls of its own, and no copies beyond the one into its record
/// buffer.
BIO_METHOD *pipe_method() {
  static BIO_METHOD *method = [] {
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pipe");
    BIO_meth_set_read(made, read_pipe);
    BIO_meth_set_write(made, write_pipe);
    BIO_meth_set_ctrl(made, [](BIO *, int command, long, void *) -> long { return command == BIO_CTRL_FLUSH; });
    return made;
  }();
  return method;
}

}  // namespace

std::shared_ptr<SSL_CTX> TlsClient::make_context(const std::string &cipher_suite) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!context || !SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) ||
      !SSL_CTX_set_ciphersuites(context.get(), cipher_suite.c_str()) || !SSL_CTX_set1_groups_list(context.get(), "X25519")) {
    throw std::runtime_error("no TLS context for the cipher suite " + cipher_suite);
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  // Whole records are in memory: take all that there is in one go. Held connections keep no buffers.
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  return context;
}

TlsClient::TlsClient(SSL_CTX &context) : ssl_(SSL_new(&context)) {
  BIO *bio = BIO_new(pipe_method());
  BIO_set_data(bio, pipe_.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_connect_state(ssl_.get());
}

bool TlsClient::receive(std::string_view bytes, std::string &plain, std::string &wire) {
  pipe_->input = bytes;
  pipe_->output = &wire;
  constexpr std::size_t record = 16 * 1024;  // the most that one TLS record carries (RFC 8446, section 5.1)
  for (;;) {
    if (!is_ready()) {
      int result = SSL_do_handshake(ssl_.get());
      if (result != 1) {
        return SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ;
      }
    }
    std::size_t had = plain.size();
    plain.resize(had + record);
    int length = SSL_read(ssl_.get(), plain.data() + had, static_cast<int>(record));
    plain.resize(had + static_cast<std::size_t>(std::max(length, 0)));
    if (length <= 0) {
      return SSL_get_error(ssl_.get(), length) == SSL_ERROR_WANT_READ;
    }
  }
}

bool TlsClient::send(std::string_view plain, std::string &wire) {
  pipe_->input = {};
  pipe_->output = &wire;
  return plain.empty() || SSL_write(ssl_.get(), plain.data(), static_cast<int>(plain.size())) == static_cast<int>(plain.size());
}

}  // namespace load
