// A seam, part of upstream.h. In place of HttpResponse::writeContinue.
//
// Why: µWebSockets would send "100 Continue" as soon as it has read the head, also where no body follows, no
// handler reads the body, or the connection becomes a WebSocket. ResponseWriter::go_on is ours, for when the
// body is wanted.
//
// At the next release: HttpContext.h's onHttp is the only caller, and nothing else answers `Expect:
// 100-continue`.
#pragma once

#ifndef UWS_APP_H
#error "write_continue.h is included by upstream.h alone"
#endif

template <>
inline uWS::HttpResponse<false> *uWS::HttpResponse<false>::writeContinue() {
  return this;
}
template <>
inline uWS::HttpResponse<true> *uWS::HttpResponse<true>::writeContinue() {
  return this;
}
