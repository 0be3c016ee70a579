// The set tells once of input: what is behind a read must show all the same.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "fixture.h"

namespace {

using test::Fixture;
using test::for_each_kind_of_poll;
using test::for_plain_and_tls;
using test::RawClient;

TEST("a FIN or a reset that has come together with a message is noticed behind it") {
  for_each_kind_of_poll([](Fixture &fixture) {
    auto polite = fixture.connect_websocket();
    polite->send_frame(1, "last");
    polite->finish();
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the end of the client that has sent FIN");
    CHECK(fixture.events.messages == 1);
    auto rude = fixture.connect_websocket();
    rude->send_frame(1, "last");
    rude->reset();
    fixture.wait([&] { return fixture.events.closes.size() == 2; }, "the end of the client that has reset");
  });
}

TEST("a client that sends just what is read at once, twice, is read twice, and its FIN is noticed") {
  constexpr std::size_t head = 8;
  std::string message = RawClient::frame(2, std::string(LIBUS_RECV_BUFFER_LENGTH - head, 'x'));
  CHECK(message.size() == LIBUS_RECV_BUFFER_LENGTH);
  for_each_kind_of_poll([&](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    client->send(message + message);
    client->finish();
    fixture.wait([&] { return fixture.events.messages == 2; }, "both messages");
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the end");
  });
}

TEST("input that comes while a connection is paused is read when it goes on, though no more comes") {
  for_each_kind_of_poll([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    auto &connection = fixture.only_connection();
    for (int round = 1; round <= 3; round++) {
      connection.owner()->pause(connection.socket);
      client->send_frame(1, "meanwhile");
      for (int turn = 0; turn < 5; turn++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
      }
      CHECK(fixture.events.messages == round - 1);
      connection.owner()->resume(connection.socket);
      fixture.wait([&] { return fixture.events.messages == round; }, "the message");
    }
  });
}

TEST("what comes behind TCP's urgent data is read, though no more comes") {
  for_each_kind_of_poll([](Fixture &fixture) {
    auto client = fixture.connect_websocket();
    for (int round = 1; round <= 2; round++) {
      client->send_frame(1, "before");
      client->send_urgent();
      client->send_frame(1, "behind");
      fixture.wait([&] { return fixture.events.messages == 2 * round; }, "both messages");
    }
    client->send_urgent();
    client->finish();
    fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the end");
  });
}

/// A folder of its own, for a unix socket.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "nws-test-XXXXXX").string();
    CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder &) = delete;
  Folder &operator=(const Folder &) = delete;

  std::string file(const char *name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

class UnixClient {
 public:
  explicit UnixClient(const std::string &path) : descriptor_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    CHECK(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    CHECK(connect(descriptor_, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
  }
  ~UnixClient() { close(descriptor_); }
  UnixClient(const UnixClient &) = delete;
  UnixClient &operator=(const UnixClient &) = delete;

  /// Sends a descriptor with the bytes; behind those the kernel lets a read end.
  void send_with_descriptor(std::string bytes) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
    iovec part{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &descriptor_, sizeof descriptor_);
    CHECK(sendmsg(descriptor_, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }

 private:
  int descriptor_;
};

TEST("what comes behind a descriptor on a unix socket is read, though no more comes") {
  for (bool has_socket_set : {true, false}) {
    Folder folder;
    Fixture fixture(Fixture::plain(), has_socket_set);
    nws::ListenAddress at{.descriptor = -1, .unix_path = folder.file("s"), .host = {}, .port = 0, .reuse_port = false};
    CHECK(fixture.server->listen(at));
    UnixClient client(at.unix_path);
    client.send_with_descriptor(RawClient::handshake());
    fixture.wait([&] { return fixture.events.opened.size() == 1; }, "the handshake");
    client.send_with_descriptor(RawClient::frame(1, "before"));
    client.send_with_descriptor(RawClient::frame(1, "behind"));
    fixture.wait([&] { return fixture.events.messages == 2; }, "both messages");
  }
}

TEST("a connection that is closed while a handler runs the loop harms nobody, though the kernel has told of it") {
  for_plain_and_tls([](Fixture &fixture) {
    std::array clients{fixture.connect_websocket(), fixture.connect_websocket()};
    nws::Turns &turns = fixture.event_loop->turns();
    fixture.events.lend = [&](std::string_view) { turns.make_hand_over_due(); };
    std::size_t kept = 2;
    turns.set_hand_over([&] {
      if (kept == 2) {
        kept = fixture.events.messages_of[fixture.events.opened[0]] > 0 ? 0 : 1;
        clients[1 - kept]->reset();
        for (int run = 0; run < 10; run++) {
          uv_run(&fixture.loop, UV_RUN_NOWAIT);
        }
        CHECK(fixture.events.closes.size() == 1);
      }
    });
    for (auto &client : clients) {
      client->send_frame(1, "both at once");
    }
    fixture.wait([&] { return kept < 2; }, "a handler");
    CHECK(clients[kept]->read_frame().payload == "both at once");
    turns.set_hand_over(nullptr);
  });
}

}  // namespace
