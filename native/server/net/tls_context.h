// Fills an OpenSSL context from PEM, and says precisely what is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

struct ssl_ctx_st;
struct ssl_st;

namespace nws {

struct TlsOptions {
  /// PEM, as are the certificates.
  std::string key;
  /// The certificate first, then its chain.
  std::string certificate;
  /// Opens an encrypted key.
  std::string passphrase;
  /// OpenSSL cipher list for TLS 1.2; empty keeps OpenSSL's own.
  std::string ciphers;
  /// Those of TLS 1.3, joined by colons; empty keeps OpenSSL's own.
  std::string cipher_suites;
  /// Refuse TLS 1.2.
  bool tls13_only = false;
  /// Certificates of the authorities whose clients are welcome; may be empty.
  std::string authorities;
  /// Ask clients for a certificate, and refuse those without a valid one.
  bool request_certificate = false;
  bool reject_unauthorized = true;
  /// In lower case: which clients get this one of several. See TlsEntries.
  std::string server_name;
};

struct TlsFailure {
  enum class What { key, passphrase, certificate, authority, mismatch, context };
  What what;
  /// What OpenSSL said. Holds no key material.
  std::string reason;
  /// Which block of the certificate or of the authorities, and which entry of several: from 0.
  std::size_t block = 0;
  std::size_t entry = 0;
};

/// Nothing when the context is ready to serve. What OpenSSL copies from a context into each connection at its
/// start (options, modes, protocol versions) is not set here but in TlsEntries.
std::optional<TlsFailure> configure_tls(ssl_ctx_st *context, const TlsOptions &options);

/// The client's certificate as DER, if an authority of the server has signed it, and it has not expired; else
/// empty. A resumed session was verified when it began.
std::string valid_certificate(ssl_st *ssl);

}  // namespace nws
