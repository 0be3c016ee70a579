// The certificates of one server, of which each client gets the one for the name that it asks for.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/net/tls_context.h"

namespace nws {

/// Chooses when a ClientHello has come, before OpenSSL has decided anything: so protocol versions, ciphers,
/// authorities and what is asked of the client are the entry's own. Sessions are resumed within the entry
/// alone that they were made with, never with one that `load` has brought since.
class TlsEntries {
 public:
  /// Lets `front`, from which µSockets makes the SSL of every connection, ask this. Must outlive its use.
  explicit TlsEntries(SSL_CTX *front);
  TlsEntries(const TlsEntries &) = delete;
  TlsEntries &operator=(const TlsEntries &) = delete;

  /// Takes the place of all entries of before; the first is the default. Handshakes under way and open
  /// connections keep theirs. After a failure nothing has changed. `entries` is not empty.
  std::optional<TlsFailure> load(const std::vector<TlsOptions> &entries);

 private:
  struct ContextDeleter {
    void operator()(SSL_CTX *context) const { SSL_CTX_free(context); }
  };
  struct Entry {
    std::unique_ptr<SSL_CTX, ContextDeleter> context;
    int min_version;
    std::array<unsigned char, 16> session_id_context;
  };
  struct Table {
    std::vector<Entry> entries;
    /// Names in lower case; of several entries only, as the only one serves every client.
    std::unordered_map<std::string, std::size_t> by_name;
  };

  static int choose(SSL *ssl, int *alert, void *self);
  const Entry &find(std::string_view name) const;

  Table table_;
};

}  // namespace nws
