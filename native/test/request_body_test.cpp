// Where requests end: the framing that a head announces, and chunks, well formed and not.
#include <string>
#include <string_view>

#include "harness.h"
#include "server/http/request_body.h"

namespace {

using nws::BodyFraming;
using nws::RequestBody;
using Kind = BodyFraming::Kind;

BodyFraming framing(std::string_view fields) {
  return BodyFraming::of("POST / HTTP/1.1\r\nHost: localhost\r\n" + std::string(fields) + "\r\n");
}

struct Decoded {
  std::string content;
  /// What was not consumed.
  std::string rest;
  bool complete;
  bool failed;
};

/// Reads `bytes`, `step` at a time.
Decoded decode(std::string_view bytes, std::size_t step) {
  BodyFraming chunked;
  chunked.kind = Kind::chunked;
  RequestBody body(chunked);
  Decoded result{};
  std::size_t at = 0;
  while (at < bytes.size() && !body.complete() && !body.failed()) {
    std::string piece(bytes.substr(at, step));
    RequestBody::Progress progress = body.read(piece.data(), piece.size());
    CHECK(progress.content <= progress.consumed);
    CHECK(progress.consumed <= piece.size());
    CHECK(progress.consumed > 0);
    result.content += piece.substr(0, progress.content);
    at += progress.consumed;
  }
  result.rest = bytes.substr(at);
  result.complete = body.complete();
  result.failed = body.failed();
  return result;
}

TEST("a head says whether a body follows, and how long it is") {
  CHECK(framing("").kind == Kind::none);
  CHECK(framing("Content-Length: 0\r\n").kind == Kind::none);
  CHECK(framing("Content-Length: 12\r\n").kind == Kind::length);
  CHECK(framing("content-LENGTH:\t0012 \r\n").length == 12);
  CHECK(framing("Content-Length: 999999999999999999\r\n").length == 999999999999999999u);
  CHECK(framing("Transfer-Encoding: chunked\r\n").kind == Kind::chunked);
  CHECK(framing("transfer-encoding: CHUNKED\r\n").kind == Kind::chunked);
  CHECK(framing("X-Content-Length: 5\r\nX: Content-Length: 5\r\n").kind == Kind::none);
}

TEST("a head whose body could be read in two ways is doubtful") {
  for (std::string_view fields : {
           "Content-Length: 1\r\nContent-Length: 1\r\n",
           "Content-Length: 1\r\nContent-Length: 2\r\n",
           "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: gzip, chunked\r\n",
           "Transfer-Encoding: identity\r\n",
           "Transfer-Encoding:\r\n",
           "Transfer-Encoding: \x0b"
           "chunked\r\n",
           "Content-Length:\r\n",
           "Content-Length: -1\r\n",
           "Content-Length: +1\r\n",
           "Content-Length: 0x1\r\n",
           "Content-Length: 1, 1\r\n",
           "Content-Length: 1 1\r\n",
           "Content-Length: 1000000000000000000\r\n",
           ": x\r\nContent-Length: 1\r\n",
           "Host: x\r\n:\r\n",
           "X: a\rContent-Length: 1\r\n",
           "X: a\r\rb\r\n",
           "X: a\x7f\r\n",
       }) {
    CHECK(framing(fields).kind == Kind::doubtful);
  }
}

TEST("a body of known length ends there, and leaves the rest alone") {
  BodyFraming known;
  known.kind = Kind::length;
  known.length = 5;
  RequestBody body(known);
  std::string bytes = "12345GET";
  RequestBody::Progress first = body.read(bytes.data(), 2);
  CHECK(first.content == 2 && first.consumed == 2 && !body.complete());
  RequestBody::Progress second = body.read(bytes.data() + 2, 6);
  CHECK(second.content == 3 && second.consumed == 3 && body.complete());
  CHECK(RequestBody().complete());
}

TEST("chunks are joined, wherever the bytes are cut") {
  std::string_view bytes =
      "5\r\nhello\r\n00A;name=\"va lue\";x\r\n, all of y\r\n2\r\nou\r\n000;last\r\nTrailer: value\r\nOther: \t\r\n\r\nGET /next";
  for (std::size_t step = 1; step <= bytes.size(); step++) {
    Decoded decoded = decode(bytes, step);
    CHECK(decoded.complete);
    CHECK(decoded.content == "hello, all of you");
    CHECK(decoded.rest == "GET /next");
  }
  CHECK(decode("0\r\n\r\n", 5).complete);
  CHECK(!decode("0\r\n\r", 5).complete);
}

TEST("chunks that make no sense fail, wherever the bytes are cut") {
  for (std::string_view bytes : {
           "\r\n",
           "g\r\n",
           ":\r\n",
           "-1\r\n",
           "0x1\r\n",
           " 1\r\n",
           "1 \r\nx\r\n",
           "1\nx\r\n",
           "1\rx",
           "1\r\nxy",
           "1\r\nx\ny",
           "1\r\nx\rY",
           "1;a\nb\r\n",
           "0\r\nxx",
           "0\r\n\r\r",
           "0\r\nTrailer: a\nb\r\n\r\n",
           "0\r\nTrailer: a\rb",
           "0\r\nTrailer\r\n\r\n",
           "0\r\nGET / HTTP/1.1\r\n\r\n",
           "0\r\nTrailer : a\r\n\r\n",
           "0\r\n Trailer: a\r\n\r\n",
           "0\r\nTrailer: a\r\n b\r\n\r\n",
           "0\r\n: a\r\n\r\n",
           "0\r\nTrail\xe9r: a\r\n\r\n",
           "0\r\nTrailer: a\x7f\r\n\r\n",
           "1;a\x7f\r\n",
           "8000000000000000000\r\n",
           "ffffffffffffffffffff\r\n",
       }) {
    for (std::size_t step : {std::size_t{1}, std::size_t{2}, bytes.size()}) {
      Decoded decoded = decode(bytes, step);
      // What looks like the start of a trailer fails with its missing end.
      CHECK(decoded.failed || (bytes == "0\r\nxx" && !decoded.complete));
    }
  }
}

TEST("extensions and trailers do not go on for ever") {
  std::string many(20'000, 'x');
  CHECK(decode("1;" + many + "\r\n", 1000).failed);
  CHECK(decode("0\r\n" + many, 1000).failed);
  CHECK(decode("0\r\nX: " + many, 1000).failed);
  std::string often;
  for (int n = 0; n < 5000; n++) {
    often += "1;xxx\r\nx\r\n";
  }
  CHECK(!decode(often, 1000).failed);
  CHECK(decode(often + often, 1000).failed);
}

}  // namespace
