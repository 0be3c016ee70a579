// A server on a libuv loop of its own, with a host that echoes, and a way to look into both.
#pragma once

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "echo_events.h"
#include "harness.h"
#include "private_key.h"
#include "raw_client.h"
#include "server/uws/socket_set.h"
#include "server/uws/upstream_internals.h"  // what no public function tells: the timeout of a socket
#include "server/websocket_server.h"

namespace test {

inline std::string pem(const std::function<void(BIO *)> &write) {
  BIO *bio = BIO_new(BIO_s_mem());
  write(bio);
  char *data = nullptr;
  long length = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(length));
  BIO_free(bio);
  return text;
}

struct KeyPair {
  std::string key, certificate;
};

/// A fresh key with a certificate of its own.
inline KeyPair make_key_pair(const char *passphrase = nullptr) {
  PrivateKey key = make_private_key();
  X509 *certificate = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key.get());
  X509_NAME *name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char *>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_sign(certificate, key.get(), EVP_sha256());
  KeyPair pair;
  pair.key = pem([&](BIO *bio) {
    PEM_write_bio_PrivateKey(bio, key.get(), passphrase ? EVP_aes_256_cbc() : nullptr, nullptr, 0, nullptr,
                             const_cast<char *>(passphrase));
  });
  pair.certificate = pem([&](BIO *bio) { PEM_write_bio_X509(bio, certificate); });
  X509_free(certificate);
  return pair;
}

inline const KeyPair &key_pair() {
  static const KeyPair pair = make_key_pair();
  return pair;
}

constexpr std::uint32_t fragment_length = 1000;

inline nws::RouteOptions limits(std::uint32_t max_payload_length = 16 << 20, std::uint16_t idle_timeout = 120,
                                bool send_pings = true) {
  return {.max_payload_length = max_payload_length,
          .max_backpressure = 16 << 20,
          .idle_timeout = idle_timeout,
          .send_pings = send_pings,
          .max_fragment_length = fragment_length};
}

/// While it lives, the process can open so many descriptors and no more.
class WithoutDescriptors {
 public:
  explicit WithoutDescriptors(unsigned but = 0) {
    getrlimit(RLIMIT_NOFILE, &before_);
    int next = dup(0);
    ::close(next);
    rlimit now = before_;
    now.rlim_cur = static_cast<rlim_t>(next) + but;
    setrlimit(RLIMIT_NOFILE, &now);
  }
  ~WithoutDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  WithoutDescriptors(const WithoutDescriptors &) = delete;
  WithoutDescriptors &operator=(const WithoutDescriptors &) = delete;

 private:
  rlimit before_{};
};

/// A loop, a server on it, and the check that nothing of them is left behind.
class Fixture {
 public:
  Fixture() : Fixture(plain()) {}
  /// Without a set, libuv polls each socket, as on systems that have no epoll.
  explicit Fixture(nws::ServerOptions options, bool has_socket_set = true)
      : quotas_(static_cast<nws::SendQuota *>(std::calloc(nws::ConnectionTable::capacity + 1, sizeof(nws::SendQuota)))),
        table({quotas_, nws::ConnectionTable::capacity + 1}) {
    uv_loop_init(&loop);
    tls_ = !options.tls.empty();
    if (has_socket_set) {
      event_loop.emplace(&loop);
    } else {
      WithoutDescriptors none_for_a_set;
      event_loop.emplace(&loop);
    }
    server = nws::WebSocketServer::create(*event_loop, table, std::move(options), events);
    uv_prepare_init(&loop, &answer_);
    answer_.data = this;
    uv_prepare_start(&answer_, [](uv_prepare_t *handle) { static_cast<Fixture *>(handle->data)->answer(); });
    uv_unref(reinterpret_cast<uv_handle_t *>(&answer_));
  }
  ~Fixture() {
    server.reset();
    event_loop.reset();
    uv_close(reinterpret_cast<uv_handle_t *>(&answer_), nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0) {
      std::fprintf(stderr, "handles were left in the loop\n");
      std::abort();
    }
    std::free(quotas_);
  }

  static nws::ServerOptions plain(nws::RouteOptions route = limits()) {
    nws::ServerOptions options;
    options.routes.push_back(route);
    return options;
  }
  static nws::ServerOptions tls(nws::RouteOptions route = limits()) {
    nws::ServerOptions options = plain(route);
    options.tls.emplace_back();
    options.tls[0].key = key_pair().key;
    options.tls[0].certificate = key_pair().certificate;
    return options;
  }

  static nws::ListenAddress any_port() {
    return {.descriptor = -1, .unix_path = {}, .host = "127.0.0.1", .port = 0, .reuse_port = false};
  }
  int listen() {
    nws::ListenResult result = server->listen(any_port());
    CHECK(result);
    return port = result.port;
  }
  std::unique_ptr<RawClient> connect() { return std::make_unique<RawClient>(&loop, port, tls_); }
  std::unique_ptr<RawClient> connect_websocket() {
    auto client = connect();
    CHECK(client->open() == "HTTP/1.1 101 Switching Protocols");
    return client;
  }
  void wait(const std::function<bool()> &condition, const char *what) { wait_until(&loop, condition, what); }
  const nws::ConnectionTable::Entry &only_connection() {
    auto *entry = table.find(events.opened.back());
    CHECK(entry);
    return *entry;
  }

  /// What a host does between two iterations: answer requests, give numbers back.
  void answer() {
    for (auto &[exchange, upgrade, url] :
         hold_requests ? std::vector<EchoEvents::Waiting>() : std::exchange(events.waiting, {})) {
      if (upgrade) {
        server->http().accept(exchange, 0, "", {}, compression);
      } else {
        server->http().respond(exchange, {.status = "200 OK", .headers = {}, .content_length = url.size(), .body = url});
      }
    }
    for (auto &[id, payload, op_code] : std::exchange(events.to_send, {})) {
      if (auto *entry = table.find(id)) {
        entry->owner()->send(entry->socket, payload, op_code);
      }
    }
    for (ConnectionId id : std::exchange(events.to_finish, {})) {
      if (auto *entry = table.find(id)) {
        entry->owner()->finish(entry->socket);
      }
    }
    for (ConnectionId id : std::exchange(events.to_release, {})) {
      table.release(id);
    }
    server->topics().flush();
  }

  uv_loop_t loop{};
  int port = 0;
  EchoEvents events;

 private:
  nws::SendQuota *quotas_;
  uv_prepare_t answer_{};
  bool tls_ = false;

 public:
  nws::ConnectionTable table;
  std::optional<nws::EventLoop> event_loop;
  std::unique_ptr<nws::WebSocketServer> server;
  bool hold_requests = false;
  /// What upgrades agree on.
  std::optional<nws::CompressionAgreement> compression;
};

/// Without TLS and with it, on a thread with a set of sockets and on one without.
inline void for_each_kind_of_poll(const std::function<void(Fixture &)> &run) {
  for (bool tls : {false, true}) {
    for (bool has_socket_set : {true, false}) {
      Fixture fixture(tls ? Fixture::tls() : Fixture::plain(), has_socket_set);
      CHECK((nws::SocketSet::current() != nullptr) == has_socket_set);
      fixture.listen();
      run(fixture);
    }
  }
}

inline void for_plain_and_tls(const std::function<void(Fixture &)> &run) {
  for (bool tls : {false, true}) {
    Fixture fixture(tls ? Fixture::tls() : Fixture::plain());
    fixture.listen();
    run(fixture);
  }
}

inline void expect_close(RawClient &client, int code) {
  Frame frame = client.read_frame();
  CHECK(frame.op_code == 8);
  CHECK(frame.close_code() == code);
}

/// Short texts, each of which is its number.
inline std::string numbered_frames(int count) {
  std::string bytes;
  for (int i = 0; i < count; i++) {
    bytes += RawClient::frame(1, std::to_string(i));
  }
  return bytes;
}

/// Runs the loop until so many messages have come, and gives the most that came in one iteration.
inline int most_messages_at_once(Fixture &fixture, int count) {
  int most = 0;
  fixture.wait(
      [&, before = fixture.events.messages]() mutable {
        most = std::max(most, fixture.events.messages - before);
        before = fixture.events.messages;
        return fixture.events.messages == count;
      },
      "all messages");
  return most;
}

/// Sends to the only connection until the kernel takes no more; gives how many messages that took.
inline int fill(Fixture &fixture, const std::string &payload) {
  auto &connection = fixture.only_connection();
  nws::SendQuota &quota = fixture.table.quota(fixture.events.opened.back());
  int sent = 0;
  for (; quota.buffered == 0; sent++) {
    connection.owner()->send(connection.socket, payload, OpCode::binary);
  }
  return sent;
}

}  // namespace test
