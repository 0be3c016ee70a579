// Which OpenSSL, or AWS-LC, is compiled in.
#pragma once

#include <string>

namespace nws {

struct OpensslBuild {
  /// For example "OpenSSL 3.0.19 27 Jan 2026": the day is that of the release. Or "AWS-LC 5.5.0".
  std::string version;
  /// When this library was compiled, for example "Sat Feb  7 19:34:02 2026 UTC". Distributions mend a release
  /// without a new version, so that this day tells more. Empty where it is not known.
  std::string built_on;
};

OpensslBuild openssl_build();

}  // namespace nws
