// The client's side of TLS, between bytes that come from the kernel and bytes that go to it. Certificates are
// not checked: a benchmark's server has one that no authority has signed.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

namespace load {

class TlsClient {
 public:
  /// Shared by all connections. Throws std::runtime_error.
  static std::shared_ptr<SSL_CTX> make_context(const std::string &cipher_suite);

  explicit TlsClient(SSL_CTX &context);

  /// Takes bytes from the server. What they say goes to `plain`, what must be answered to `wire`. False: TLS
  /// has failed.
  bool receive(std::string_view bytes, std::string &plain, std::string &wire);

  /// Encrypts. False: TLS has failed.
  bool send(std::string_view plain, std::string &wire);

  /// True once application data may be sent.
  bool is_ready() const { return SSL_is_init_finished(ssl_.get()); }

  /// Bytes that wait to be read by OpenSSL, and where its output goes.
  struct Pipe {
    std::string_view input;
    std::string *output = nullptr;
  };

 private:
  struct Free {
    void operator()(SSL *ssl) const { SSL_free(ssl); }
  };
  std::unique_ptr<Pipe> pipe_ = std::make_unique<Pipe>();
  std::unique_ptr<SSL, Free> ssl_;
};

}  // namespace load
