// A seam (see upstream.h). In place of getenv, where µWebSockets calls it.
//
// Why: µWebSockets asks the environment for the limit of a request's head, and is content with 4 KiB.
//
// At the next release: HttpParser.h reads the limit through getenv (MAX_FALLBACK_SIZE), and nothing else
// does.
#pragma once

#include <cstddef>

namespace nws {

struct HeaderLimit {
  /// As much as Node's own HTTP server takes (--max-http-header-size).
  static constexpr std::size_t bytes = 16 * 1024;

  /// Stands in for getenv: the limit, in decimal.
  static const char *variable(const char *) { return "16384"; }
};

}  // namespace nws
