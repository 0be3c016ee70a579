#include "server/net/openssl_build.h"

#include <openssl/crypto.h>

#include <string_view>

namespace nws {

OpensslBuild openssl_build() {
  OpensslBuild result{.version = OpenSSL_version(OPENSSL_VERSION), .built_on = {}};
  // Either "built on: DATE", or a sentence that it is not available.
  constexpr std::string_view prefix = "built on: ";
  std::string_view built = OpenSSL_version(OPENSSL_BUILT_ON);
  if (built.starts_with(prefix) && built.find_first_of("0123456789") != std::string_view::npos) {
    result.built_on = built.substr(prefix.length());
  }
  return result;
}

}  // namespace nws
