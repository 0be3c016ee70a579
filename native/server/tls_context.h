// Fills an OpenSSL context from PEM, which µWebSockets itself reads from files only, and says precisely what is wrong.
#pragma once

#include <optional>
#include <string>

struct ssl_ctx_st;

namespace nws {

struct TlsOptions {
  /// PEM text; or else a file's name.
  std::string key;
  std::string key_file;
  /// The certificate first, then its chain.
  std::string certificate;
  std::string certificate_file;
  /// Opens an encrypted key.
  std::string passphrase;
  /// OpenSSL cipher list for TLS 1.2; empty keeps OpenSSL's own.
  std::string ciphers;
  /// Refuse TLS 1.2.
  bool tls13_only = false;
};

struct TlsFailure {
  enum class What { file, key, passphrase, certificate, mismatch, context };
  What what;
  /// The file at fault, where one was named.
  std::string file;
  /// What OpenSSL said. Holds no key material.
  std::string reason;
};

/// Nothing when the context is ready to serve.
std::optional<TlsFailure> configure_tls(ssl_ctx_st *context, const TlsOptions &options);

}  // namespace nws
