#include "server/net/tls_entries.h"

#include <openssl/rand.h>

#include <algorithm>

#include "server/net/tls_library.h"
#include "server/uws/tls_reading.h"

namespace nws {

namespace {

/// The host name in a ClientHello (RFC 6066, section 3), in lower case, without the dot that an absolute name
/// ends with; empty without one. What is malformed is for OpenSSL to refuse.
std::string server_name(SSL *ssl) {
  const unsigned char *data = nullptr;
  std::size_t length = 0;
  // Length of the list, then of its one host name: type 0, length, text.
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &length) != 1 || length < 5 || data[2] != 0) {
    return {};
  }
  std::size_t name_length = static_cast<std::size_t>(data[3]) << 8 | data[4];
  if (name_length > length - 5) {
    return {};
  }
  std::string name(reinterpret_cast<const char *>(data + 5), name_length);
  if (name.ends_with('.')) {
    name.pop_back();
  }
  std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  return name;
}

}  // namespace

TlsEntries::TlsEntries(SSL_CTX *front) {
  // What OpenSSL copies into each connection at its start comes from here; the rest, from the entry's
  // context. A client may not make the server do handshakes without end on one connection.
  SSL_CTX_set_options(front, SSL_OP_NO_RENEGOTIATION);
  limit_key_updates(front);
  // OpenSSL otherwise keeps two record buffers of 16 KiB for each connection, idle or not.
  SSL_CTX_set_mode(front, SSL_MODE_RELEASE_BUFFERS);
  // Sessions are resumed by tickets, which the clients keep: a cache here would grow to 20,480 of them.
  SSL_CTX_set_session_cache_mode(front, SSL_SESS_CACHE_OFF);
  resume_with_tickets(front);
  SSL_CTX_set_client_hello_cb(front, choose, this);
  // In place of µSockets' own, which looks names up among its own certificates.
  SSL_CTX_set_tlsext_servername_callback(
      front, +[](SSL *, int *, void *) { return SSL_TLSEXT_ERR_OK; });
}

std::optional<TlsFailure> TlsEntries::load(const std::vector<TlsOptions> &entries) {
  Table table;
  for (const TlsOptions &options : entries) {
    Entry entry{std::unique_ptr<SSL_CTX, ContextDeleter>(SSL_CTX_new(TLS_method())),
                options.tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION,
                {}};
    int length = static_cast<int>(entry.session_id_context.size());
    if (!entry.context || RAND_bytes(entry.session_id_context.data(), length) != 1) {
      return TlsFailure{TlsFailure::What::context, "no TLS context could be made"};
    }
    if (auto failed = configure_tls(entry.context.get(), options)) {
      failed->entry = table.entries.size();
      return failed;
    }
    if (entries.size() > 1 && !options.server_name.empty()) {
      table.by_name.emplace(options.server_name, table.entries.size());
    }
    table.entries.push_back(std::move(entry));
  }
  table_ = std::move(table);
  return std::nullopt;
}

const TlsEntries::Entry &TlsEntries::find(std::string_view name) const {
  auto found = table_.by_name.find(std::string(name));
  // In place of the star stands one label, which is not empty.
  if (std::size_t dot = name.find('.'); found == table_.by_name.end() && dot != std::string_view::npos && dot > 0) {
    found = table_.by_name.find("*" + std::string(name.substr(dot)));
  }
  return table_.entries[found == table_.by_name.end() ? 0 : found->second];
}

int TlsEntries::choose(SSL *ssl, int *alert, void *self) {
  const auto &entries = *static_cast<const TlsEntries *>(self);
  const Entry &entry = entries.table_.by_name.empty() ? entries.table_.entries.front() : entries.find(server_name(ssl));
  SSL_CTX *context = entry.context.get();
  const auto &session_id_context = entry.session_id_context;
  // What the connection has from its beginning does not follow its context.
  if (SSL_set_SSL_CTX(ssl, context) != context || !follow_context(ssl, context, entry.min_version) ||
      SSL_set_session_id_context(ssl, session_id_context.data(), session_id_context.size()) != 1) {
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
  }
  return SSL_CLIENT_HELLO_SUCCESS;
}

}  // namespace nws
