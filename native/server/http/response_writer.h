// Writing responses to HTTP requests, whole or piece by piece. Internal to websocket_server.cpp.
#pragma once

#include <charconv>
#include <climits>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/http/http_connection_state.h"
#include "server/uws/upstream.h"
#include "server/websocket_server.h"

namespace nws {

/// HttpResponse's own `end` and `write` are not used: they put a Date beside a handler's own, and end a head
/// with the first chunk only, so that a stream which is silent at first would keep its client waiting for the
/// status.
template <bool SSL>
class ResponseWriter {
  using HttpResponse = uWS::HttpResponse<SSL>;
  using Corkable = frames::Corkable<SSL>;

 public:
  /// Seconds in which a client must take some of what it is sent; µWebSockets' own (HTTP_TIMEOUT_S).
  static constexpr unsigned write_timeout = 10;

  /// The whole response, which ends the exchange. `closes`: and it is the last of its connection.
  static void whole(HttpResponse *http, const Response &response, bool closes) { write_whole(http, response, closes, !closes); }

  /// The whole response, after which neither the exchange nor the connection ends for µWebSockets: the
  /// request's body is still coming.
  static void whole_but_open(HttpResponse *http, const Response &response) { write_whole(http, response, true, false); }

  /// The head of a response in pieces: chunks, unless it has a length.
  static void begin(HttpResponse *http, const Response &response, bool closes) {
    http->cork([&] { head(http, response, closes, true); });
  }

  /// A piece, which is not empty.
  static void piece(HttpResponse *http, std::string_view content, bool is_chunk) {
    if (!is_chunk) {
      write(http, content);
      return;
    }
    char size[18];
    char *end = std::to_chars(size, size + 16, content.size(), 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    http->cork([&] {
      write(http, {size, static_cast<std::size_t>(end - size)});
      write(http, content);
      write(http, "\r\n");
    });
  }

  /// The end of a response in pieces. `ends_exchange`: the next request may be read.
  static void finish(HttpResponse *http, bool is_chunked, bool ends_exchange) {
    http->cork([&] {
      write(http, is_chunked ? "0\r\n\r\n" : "");
      if (ends_exchange) {
        mark_done(http);
      }
    });
    if (!us_socket_is_closed(SSL, socket(http))) {
      time_out(http, write_timeout);
    }
  }

  /// Asks for the body of a request that expects to be asked.
  static void go_on(HttpResponse *http) { write(http, "HTTP/1.1 100 Continue\r\n\r\n"); }

  static constexpr std::string_view bad_request = "400 Bad Request";

  /// The response to a request that cannot be read to its end.
  static void refusal(HttpResponse *http, std::string_view status) {
    std::string response = "HTTP/1.1 ";
    response.append(status).append("\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    write(http, response);
  }

  static std::size_t buffered(HttpResponse *http) { return Corkable::of(http)->getBufferedAmount(); }

  /// What µWebSockets does itself unless there is an onWritable handler.
  static void drain(HttpResponse *http) {
    Corkable::of(http)->write(nullptr, 0, true, 0);
    if (buffered(http) > 0) {
      time_out(http, write_timeout);
    }
  }

  static void time_out(HttpResponse *http, unsigned seconds) { Timeouts::set(SSL, socket(http), seconds); }

 private:
  static us_socket_t *socket(HttpResponse *http) { return reinterpret_cast<us_socket_t *>(http); }

  static void write_whole(HttpResponse *http, const Response &response, bool closes, bool ends_exchange) {
    http->cork([&] {
      head(http, response, closes, false);
      for (std::string_view body = response.body.value_or(""); !body.empty();) {
        std::string_view part = body.substr(0, INT_MAX);
        write(http, part);
        body.remove_prefix(part.size());
      }
      if (ends_exchange) {
        mark_done(http);
      }
    });
    if (!us_socket_is_closed(SSL, socket(http))) {
      time_out(http, write_timeout);
    }
  }

  static void mark_done(HttpResponse *http) {
    static_cast<uWS::HttpResponseData<SSL> *>(us_socket_ext(SSL, socket(http)))->markDone();
  }

  /// From the status to the empty line. `has_body`: content follows, in chunks where it has no length.
  static void head(HttpResponse *http, const Response &response, bool closes, bool has_body) {
    http->writeStatus(response.status);
    bool has_date = false;
    for (const Header &header : response.headers) {
      has_date = has_date || BodyFraming::equals(header.first, "date");
      http->writeHeader(header.first, header.second);
    }
    if (!has_date) {
      http->writeHeader("Date", date(http));
    }
    if (closes) {
      http->writeHeader("Connection", "close");
    }
    if (response.content_length) {
      http->writeHeader("Content-Length", static_cast<std::uint64_t>(*response.content_length));
    } else if (has_body) {
      http->writeHeader("Transfer-Encoding", "chunked");
    }
    write(http, "\r\n");
  }

  static std::string_view date(HttpResponse *http) {
    us_loop_t *loop = us_socket_context_loop(SSL, us_socket_context(SSL, socket(http)));
    return {static_cast<uWS::LoopData *>(us_loop_ext(loop))->date, 29};
  }

  /// At most 2^31-1 bytes, which is what µSockets can count.
  static void write(HttpResponse *http, std::string_view bytes) {
    Corkable::of(http)->write(bytes.data(), static_cast<int>(bytes.size()));
  }
};

}  // namespace nws
