#include "server/net/tls_library.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "server/net/tls_context.h"

namespace nws {

namespace {

/// The least strength of keys, certificates and ciphers, where the cipher list names none of its own
/// (`@SECLEVEL=1`): 112 bits, so RSA from 2048 bits on (SSL_CTX_set_security_level(3)). OpenSSL's default is
/// its builder's choice; the portable engine has the same constant in src/engine/portable/tls-settings.ts.
constexpr int default_security_level = 2;

}  // namespace

#ifdef OPENSSL_IS_AWSLC

namespace {

/// What security levels ask for, in bits (SSL_CTX_set_security_level(3)). AWS-LC has levels in name only.
/// From 3 on they also forbid ciphers, which is not done here.
constexpr int level_bits[] = {0, 80, 112};
static_assert(default_security_level < static_cast<int>(std::size(level_bits)));

/// What belongs to a context, and AWS-LC does not keep in one.
struct Settings {
  /// A connection copies the lists of the context that it begins with: these are set once more. Empty where
  /// the entry has none of its own.
  std::string ciphers;
  std::string cipher_suites;
  /// The least strength of a client's keys and certificates.
  int least_bits = level_bits[default_security_level];
};

void free_settings(void *, void *settings, CRYPTO_EX_DATA *, int, long, void *) {
  std::unique_ptr<Settings>(static_cast<Settings *>(settings)).reset();
}

int settings_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_settings);
  return index;
}

const Settings *settings_of(const SSL_CTX *context) {
  return static_cast<const Settings *>(SSL_CTX_get_ex_data(context, settings_index()));
}

/// Without SHA-1, which is in AWS-LC's own list, and weaker than the security level allows.
constexpr std::uint16_t signature_algorithms[] = {
    SSL_SIGN_ED25519,          SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384,
    SSL_SIGN_RSA_PKCS1_SHA384, SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_RSA_PSS_RSAE_SHA512,
    SSL_SIGN_RSA_PKCS1_SHA512,
};

/// In bits, as OpenSSL has it (NIST SP 800-57 part 1, table 2); 0 for a kind of key that is not known here.
int strength_of_key(const EVP_PKEY *key) {
  int bits = key ? EVP_PKEY_bits(key) : 0;
  switch (key ? EVP_PKEY_id(key) : EVP_PKEY_NONE) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
      return bits >= 3072 ? 128 : bits >= 2048 ? 112 : bits >= 1024 ? 80 : 0;
    case EVP_PKEY_EC:
      return bits / 2;
    case EVP_PKEY_ED25519:
      return 128;
    default:
      return 0;
  }
}

/// In bits. Ed25519 has no digest that is told, and RSA-PSS, which says it elsewhere, is taken for good.
int strength_of_signature(X509 *certificate) {
  int digest = NID_undef;
  int bits = 0;
  if (X509_get_signature_info(certificate, &digest, nullptr, &bits, nullptr) != 1) {
    return 0;
  }
  // AWS-LC counts half of the digest's length. For SHA-1 that says more than is true, as OpenSSL knows.
  return digest == NID_undef ? 128 : digest == NID_sha1 ? 63 : bits;
}

/// The certificate under verification: its key, and how it was signed, but for the trusted one at the end of
/// the chain.
bool is_strong(X509_STORE_CTX *store, int least_bits) {
  X509 *certificate = X509_STORE_CTX_get_current_cert(store);
  bool is_last = X509_STORE_CTX_get_error_depth(store) + 1 == static_cast<int>(sk_X509_num(X509_STORE_CTX_get0_chain(store)));
  return strength_of_key(X509_get0_pubkey(certificate)) >= least_bits &&
         (is_last || strength_of_signature(certificate) >= least_bits);
}

/// Lets the session, and those that are made from it, end with the client's certificate at the latest.
void end_session_with(X509 *certificate, SSL_SESSION *session) {
  std::int64_t end = 0;
  auto begin = static_cast<std::int64_t>(SSL_SESSION_get_time(session));
  if (ASN1_TIME_to_posix(X509_get0_notAfter(certificate), &end) != 1) {
    end = begin;
  }
  std::int64_t left = std::max<std::int64_t>(end - begin, 0);
  if (left < SSL_SESSION_get_timeout(session)) {
    SSL_SESSION_set_timeout(session, static_cast<std::uint32_t>(left));
  }
}

/// Of each certificate that a client shows, from the authority's to its own.
int verify(int is_valid, X509_STORE_CTX *store) {
  auto *ssl = static_cast<SSL *>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  SSL_CTX *context = SSL_get_SSL_CTX(ssl);
  bool is_own = X509_STORE_CTX_get_error_depth(store) == 0;
  if (const Settings *settings = settings_of(context); is_valid && settings && !is_strong(store, settings->least_bits)) {
    X509_STORE_CTX_set_error(store, is_own ? X509_V_ERR_EE_KEY_TOO_SMALL : X509_V_ERR_CA_KEY_TOO_SMALL);
    is_valid = 0;
  }
  if (is_valid && is_own) {
    end_session_with(X509_STORE_CTX_get_current_cert(store), SSL_get_session(ssl));
  }
  auto *chosen = SSL_CTX_get_verify_callback(context);
  return chosen ? chosen(is_valid, store) : is_valid;
}

/// Takes `@SECLEVEL=n` out of a cipher list, and returns n. AWS-LC refuses what is left: a level that has no
/// measure here.
int take_security_level(std::string &ciphers) {
  constexpr std::string_view command = "@SECLEVEL=";
  int level = default_security_level;
  for (std::size_t at = ciphers.find(command); at != std::string::npos; at = ciphers.find(command, at)) {
    std::size_t digit = at + command.length();
    if (digit == ciphers.length() || ciphers[digit] < '0' || ciphers[digit] > '2') {
      break;
    }
    level = ciphers[digit] - '0';
    ciphers.erase(at, command.length() + 1);
  }
  return level;
}

}  // namespace

void resume_with_tickets(ssl_ctx_st *front) {
  // AWS-LC makes the keys of tickets. They change every two days, and those of before are known for two more.
  SSL_CTX_set_timeout(front, SSL_DEFAULT_SESSION_TIMEOUT);
  SSL_CTX_set_session_psk_dhe_timeout(front, SSL_DEFAULT_SESSION_TIMEOUT);  // else two days
  SSL_CTX_set_verify_algorithm_prefs(front, signature_algorithms, std::size(signature_algorithms));
}

bool set_ciphers(ssl_ctx_st *context, const TlsOptions &options) {
  auto settings = std::make_unique<Settings>();
  settings->ciphers = options.ciphers;
  settings->cipher_suites = options.cipher_suites;
  settings->least_bits = level_bits[take_security_level(settings->ciphers)];
  if ((!options.ciphers.empty() && SSL_CTX_set_cipher_list(context, settings->ciphers.c_str()) != 1) ||
      (!options.cipher_suites.empty() && SSL_CTX_set_ciphersuites(context, options.cipher_suites.c_str()) != 1) ||
      SSL_CTX_set_signing_algorithm_prefs(context, signature_algorithms, std::size(signature_algorithms)) != 1 ||
      SSL_CTX_set_ex_data(context, settings_index(), settings.get()) != 1) {
    return false;
  }
  static_cast<void>(settings.release());  // the context owns it now
  return true;
}

bool follow_context(ssl_st *ssl, ssl_ctx_st *context, int min_version) {
  const Settings *settings = settings_of(context);
  if (!settings || SSL_set_min_proto_version(ssl, static_cast<std::uint16_t>(min_version)) != 1 ||
      (!settings->ciphers.empty() && SSL_set_cipher_list(ssl, settings->ciphers.c_str()) != 1) ||
      (!settings->cipher_suites.empty() && SSL_set_ciphersuites(ssl, settings->cipher_suites.c_str()) != 1)) {
    return false;
  }
  SSL_set_verify(ssl, SSL_CTX_get_verify_mode(context), verify);
  // After the handshake the connection gives up what only a handshake needs.
  SSL_set_shed_handshake_config(ssl, 1);
  return true;
}

std::string reason_of(unsigned long error) {
  const char *text = ERR_reason_error_string(error);
  std::string reason = text ? text : "unknown error";
  // NO_CIPHER_MATCH
  std::transform(reason.begin(), reason.end(), reason.begin(), [](char c) {
    return c == '_' ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
  return reason;
}

std::string library_built_on() { return TLS_LIBRARY_FILE_TIME; }

#else

namespace {

/// A session carries the client's certificate as it was verified when it began. One that has expired since is
/// not resumed.
bool certificate_still_counts(SSL *ssl, SSL_SESSION *session) {
  if (!(SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT)) {
    return true;
  }
  X509 *certificate = SSL_SESSION_get0_peer(session);
  return certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

SSL_TICKET_RETURN use_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *, std::size_t, SSL_TICKET_STATUS status,
                             void *) {
  bool usable = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
  if (!usable || !certificate_still_counts(ssl, session)) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

}  // namespace

void resume_with_tickets(ssl_ctx_st *front) { SSL_CTX_set_session_ticket_cb(front, nullptr, use_ticket, nullptr); }

bool set_ciphers(ssl_ctx_st *context, const TlsOptions &options) {
  // Before all that it is the measure for; the cipher list may name another.
  SSL_CTX_set_security_level(context, default_security_level);
  return (options.ciphers.empty() || SSL_CTX_set_cipher_list(context, options.ciphers.c_str()) == 1) &&
         (options.cipher_suites.empty() || SSL_CTX_set_ciphersuites(context, options.cipher_suites.c_str()) == 1);
}

bool follow_context(ssl_st *ssl, ssl_ctx_st *context, int min_version) {
  SSL_set_verify(ssl, SSL_CTX_get_verify_mode(context), SSL_CTX_get_verify_callback(context));
  return SSL_set_min_proto_version(ssl, min_version) == 1;
}

std::string reason_of(unsigned long error) {
  const char *text = ERR_reason_error_string(error);
  return text ? text : "unknown error";
}

std::string library_built_on() {
  // Either "built on: DATE", or a sentence that it is not available.
  constexpr std::string_view prefix = "built on: ";
  std::string_view built = OpenSSL_version(OPENSSL_BUILT_ON);
  bool is_known = built.starts_with(prefix) && built.find_first_of("0123456789") != std::string_view::npos;
  return std::string(is_known ? built.substr(prefix.length()) : "");
}

#endif

}  // namespace nws
