#include "server/net/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "server/net/tls_library.h"

namespace nws {

namespace {

using What = TlsFailure::What;

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T *object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;

/// The last thing OpenSSL has to say, and an empty error queue: it is the thread's, and µSockets reads it
/// too.
std::string take_reason() {
  unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  return reason_of(error);
}

TlsFailure failure(What what, std::size_t block = 0) { return {.what = what, .reason = take_reason(), .block = block}; }

Bio open_pem(const std::string &text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

struct PassphraseRequest {
  const std::string &passphrase;
  bool asked = false;
};

int give_passphrase(char *buffer, int size, int, void *user) {
  auto *request = static_cast<PassphraseRequest *>(user);
  request->asked = true;
  int length = static_cast<int>(std::min<std::size_t>(request->passphrase.size(), static_cast<std::size_t>(size)));
  std::memcpy(buffer, request->passphrase.data(), static_cast<std::size_t>(length));
  return length;
}

/// Whether the text had no further block, which PEM_read_bio reports as an error.
bool has_ended() { return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE; }

std::optional<TlsFailure> use_certificate(SSL_CTX *context, const TlsOptions &options) {
  Bio bio = open_pem(options.certificate);
  Certificate leaf(PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return failure(What::certificate);
  }
  std::size_t block = 1;
  for (; Certificate link{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}; block++) {
    if (SSL_CTX_add0_chain_cert(context, link.get()) != 1) {
      return failure(What::certificate, block);
    }
    static_cast<void>(link.release());  // the context owns it now
  }
  if (!has_ended()) {
    return failure(What::certificate, block);
  }
  ERR_clear_error();
  return std::nullopt;
}

std::optional<TlsFailure> use_key(SSL_CTX *context, const TlsOptions &options) {
  Bio bio = open_pem(options.key);
  PassphraseRequest request{options.passphrase};
  PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, give_passphrase, &request));
  if (!key) {
    return failure(request.asked ? What::passphrase : What::key);
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return failure(What::mismatch);
  }
  return std::nullopt;
}

/// Accepts clients whose certificate is not valid, too.
int accept_any_certificate(int, X509_STORE_CTX *) { return 1; }

std::optional<TlsFailure> use_authorities(SSL_CTX *context, const TlsOptions &options) {
  if (!options.authorities.empty()) {
    Bio bio = open_pem(options.authorities);
    std::size_t block = 0;
    for (; Certificate authority{PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr)}; block++) {
      if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
          SSL_CTX_add_client_CA(context, authority.get()) != 1) {
        return failure(What::authority, block);
      }
    }
    if (block == 0 || !has_ended()) {
      return failure(What::authority, block);
    }
    ERR_clear_error();
  }
  if (options.request_certificate) {
    bool reject = options.reject_unauthorized;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (reject ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       reject ? nullptr : accept_any_certificate);
  }
  return std::nullopt;
}

/// A client that offers protocols by ALPN (RFC 7301) gets HTTP/1.1, the only one that is spoken here.
int select_http11(SSL *, const unsigned char **out, unsigned char *out_length, const unsigned char *in, unsigned int in_length,
                  void *) {
  static const unsigned char http11[] = "\x08http/1.1";
  unsigned char *selected = nullptr;
  int found = SSL_select_next_proto(&selected, out_length, http11, sizeof http11 - 1, in, in_length);
  *out = selected;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

std::optional<TlsFailure> configure_tls(ssl_ctx_st *context, const TlsOptions &options) {
  ERR_clear_error();
  SSL_CTX_set_alpn_select_cb(context, select_http11, nullptr);
  if (!set_ciphers(context, options)) {
    return failure(What::context);
  }
  if (auto failed = use_certificate(context, options)) {
    return failed;
  }
  if (auto failed = use_authorities(context, options)) {
    return failed;
  }
  return use_key(context, options);
}

std::string valid_certificate(ssl_st *ssl) {
  X509 *certificate = SSL_get0_peer_certificate(ssl);
  bool is_valid =
      certificate && SSL_get_verify_result(ssl) == X509_V_OK && X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
  int length = is_valid ? i2d_X509(certificate, nullptr) : 0;
  std::string der(static_cast<std::size_t>(std::max(length, 0)), '\0');
  if (!der.empty()) {
    auto *to = reinterpret_cast<unsigned char *>(der.data());
    i2d_X509(certificate, &to);
  }
  return der;
}

}  // namespace nws
