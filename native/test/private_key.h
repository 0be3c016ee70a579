// Private keys, by functions that OpenSSL and AWS-LC both have.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>

#include <memory>

#include "harness.h"

namespace test {

struct PrivateKeyDeleter {
  void operator()(EVP_PKEY *key) const { EVP_PKEY_free(key); }
};
using PrivateKey = std::unique_ptr<EVP_PKEY, PrivateKeyDeleter>;

/// A fresh one, on the curve P-256.
inline PrivateKey make_private_key() {
  struct Deleter {
    void operator()(EVP_PKEY_CTX *context) const { EVP_PKEY_CTX_free(context); }
  };
  std::unique_ptr<EVP_PKEY_CTX, Deleter> context(EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr));
  EVP_PKEY *key = nullptr;
  CHECK(EVP_PKEY_keygen_init(context.get()) == 1);
  CHECK(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context.get(), NID_X9_62_prime256v1) == 1);
  CHECK(EVP_PKEY_keygen(context.get(), &key) == 1);
  return PrivateKey(key);
}

}  // namespace test
