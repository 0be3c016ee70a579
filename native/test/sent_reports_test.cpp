// Which messages have left, for senders that have asked: with numbers alone, and on a connection.
#include "server/websocket/sent_reports.h"

#include <string>

#include "fixture.h"
#include "server/websocket/publishing.h"  // ends the Subscriber in SocketData

namespace {

using nws::Compress;
using nws::OpCode;
using nws::SendQuota;
using nws::SentReports;
using nws::SocketData;
using test::Fixture;

SocketData socket_with(nws::ConnectionId id) {
  SocketData data;
  data.id = id;
  return data;
}

/// Writes a frame with so many bytes, head included.
void write(SendQuota &quota, std::uint32_t length) { quota.written += length; }

/// Sends to the only connection, and asks for a report.
void send_reported(Fixture &fixture, const std::string &payload) {
  auto &connection = fixture.only_connection();
  connection.owner()->send(connection.socket, payload, OpCode::binary, Compress::never, true);
}

}  // namespace

TEST("SentReports: a message has left when no more bytes wait than were written behind it") {
  SentReports reports;
  SocketData data = socket_with(1);
  SendQuota quota{};
  write(quota, 100);
  reports.add(data, quota);
  write(quota, 30);
  CHECK(data.reports_sent);
  CHECK(reports.take(data, quota, 131) == 0);
  CHECK(reports.take(data, quota, 31) == 0);
  CHECK(reports.take(data, quota, 30) == 1);
  CHECK(!data.reports_sent);
  CHECK(reports.take(data, quota, 0) == 0);
}

TEST("SentReports: several messages leave in their order, some of them at once, and each is told once") {
  SentReports reports;
  SocketData data = socket_with(1);
  SendQuota quota{};
  for (int i = 0; i < 5; i++) {
    write(quota, 10);
    reports.add(data, quota);
  }
  CHECK(reports.take(data, quota, 41) == 0);
  CHECK(reports.take(data, quota, 40) == 1);
  CHECK(reports.take(data, quota, 40) == 0);
  CHECK(reports.take(data, quota, 15) == 2);
  CHECK(data.reports_sent);
  CHECK(reports.take(data, quota, 0) == 2);
  CHECK(!data.reports_sent);
}

TEST("SentReports: the count of written bytes may pass 2^32 between a message and its end") {
  SentReports reports;
  SocketData data = socket_with(1);
  SendQuota quota{};
  quota.written = UINT32_MAX - 20;
  write(quota, 10);
  reports.add(data, quota);
  write(quota, 50);  // wraps
  reports.add(data, quota);
  CHECK(quota.written < 100);
  CHECK(reports.take(data, quota, 60) == 0);
  CHECK(reports.take(data, quota, 50) == 1);
  CHECK(reports.take(data, quota, 0) == 1);
}

TEST("SentReports: connections do not mix, and what is forgotten is not told to the next one with the id") {
  SentReports reports;
  SocketData first = socket_with(1), second = socket_with(2);
  SendQuota quota{}, other{};
  write(quota, 10);
  reports.add(first, quota);
  write(other, 10);
  reports.add(second, other);
  CHECK(reports.take(second, other, 0) == 1);
  CHECK(first.reports_sent);
  reports.forget(first);
  CHECK(!first.reports_sent);
  SocketData next = socket_with(1);
  CHECK(reports.take(next, quota, 0) == 0);
}

TEST("a message that the kernel takes at once is told by the report that follows, not by the next one") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  send_reported(fixture, "short");
  CHECK(fixture.events.sents == 0);
  auto &connection = fixture.only_connection();
  connection.owner()->report(connection.socket);
  CHECK(fixture.events.sents == 1);
  connection.owner()->report(connection.socket);
  CHECK(fixture.events.sents == 1);
  CHECK(client->read_frame().payload == "short");
}

TEST("messages behind bytes that wait are told when their own bytes have left, without those behind them") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  const std::string filler(1 << 20, 'f');
  int sent = test::fill(fixture, filler);
  send_reported(fixture, "first");
  send_reported(fixture, "second");
  auto &connection = fixture.only_connection();
  connection.owner()->report(connection.socket);
  CHECK(fixture.events.sents == 0);
  connection.owner()->send(connection.socket, filler, OpCode::binary);
  for (int i = 0; i < sent; i++) {
    client->read_frame();
  }
  CHECK(client->read_frame().payload == "first");
  CHECK(client->read_frame().payload == "second");
  fixture.wait([&] { return fixture.events.sents == 2; }, "both reports");
  CHECK(client->read_frame().payload == filler);
}

TEST("what waits when the connection is cut is never told, and nothing is left of it") {
  Fixture fixture;
  fixture.listen();
  auto client = fixture.connect_websocket();
  test::fill(fixture, std::string(1 << 20, 'f'));
  send_reported(fixture, "never");
  auto &connection = fixture.only_connection();
  connection.owner()->terminate(connection.socket);
  fixture.wait([&] { return fixture.events.closes.size() == 1; }, "the end");
  CHECK(fixture.events.sents == 0);
  // The next connection may have the same slot.
  auto next = fixture.connect_websocket();
  send_reported(fixture, "told");
  auto &alive = fixture.only_connection();
  alive.owner()->report(alive.socket);
  CHECK(fixture.events.sents == 1);
}
