// What TLS does with the records of a client that has shaken hands, between two ends in memory.
#include "server/uws/tls_reading.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>

#include "harness.h"
#include "private_key.h"

namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T *object) const {
    Free(object);
  }
};
using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Connection = std::unique_ptr<SSL, Deleter<SSL_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;

Context server_context() {
  Context context(SSL_CTX_new(TLS_server_method()));
  test::PrivateKey key = test::make_private_key();
  Certificate certificate(X509_new());
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  CHECK(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  CHECK(SSL_CTX_use_certificate(context.get(), certificate.get()) == 1);
  CHECK(SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1);
  nws::limit_key_updates(context.get());
  return context;
}

/// A client and a server that have shaken hands.
class Pair {
 public:
  Pair() {
    BIO *client_end = nullptr;
    BIO *server_end = nullptr;
    CHECK(BIO_new_bio_pair(&client_end, 0, &server_end, 0) == 1);
    SSL_set_bio(client.get(), client_end, client_end);
    SSL_set_bio(server.get(), server_end, server_end);
    SSL_set_connect_state(client.get());
    SSL_set_accept_state(server.get());
    for (int step = 0; step < 10 && !(SSL_is_init_finished(client.get()) && SSL_is_init_finished(server.get())); step++) {
      SSL_do_handshake(client.get());
      SSL_do_handshake(server.get());
    }
    CHECK(SSL_is_init_finished(client.get()) && SSL_is_init_finished(server.get()));
  }

  void send_key_update() {
    CHECK(SSL_key_update(client.get(), SSL_KEY_UPDATE_REQUESTED) == 1);
    CHECK(SSL_do_handshake(client.get()) == 1);
    // AWS-LC sends a KeyUpdate with the write that follows, also of nothing; OpenSSL has sent it already.
    SSL_write(client.get(), "", 0);
  }
  void send(char byte) { CHECK(SSL_write(client.get(), &byte, 1) == 1); }
  /// What reading gives: a byte, SSL_ERROR_WANT_READ, or another error.
  int read() {
    char byte;
    int length = SSL_read(server.get(), &byte, 1);
    return length == 1 ? byte : SSL_get_error(server.get(), length);
  }

 private:
  Context client_context_{SSL_CTX_new(TLS_client_method())};
  Context server_context_ = server_context();

 public:
  Connection client{SSL_new(client_context_.get())};
  Connection server{SSL_new(server_context_.get())};
};

}  // namespace

TEST("a client may send some TLS KeyUpdates at once") {
  Pair pair;
  for (int i = 0; i < 16; i++) {
    pair.send_key_update();
  }
  pair.send('x');
  CHECK(pair.read() == 'x');
}

TEST("a client that sends TLS KeyUpdates without end has ended, and what came before them is read") {
  Pair pair;
  pair.send('x');
  for (int i = 0; i < 100; i++) {
    pair.send_key_update();
  }
  pair.send('y');
  CHECK(pair.read() == 'x');
  int result = pair.read();
  CHECK(result != 'y' && result != SSL_ERROR_WANT_READ);
  // They are on the way, and are not looked at.
  CHECK(BIO_pending(SSL_get_rbio(pair.server.get())) > 50 * 27);
}
