#include "server/net/openssl_build.h"

#include <openssl/crypto.h>

#include "server/net/tls_library.h"

namespace nws {

OpensslBuild openssl_build() { return {.version = OpenSSL_version(OPENSSL_VERSION), .built_on = library_built_on()}; }

}  // namespace nws
