// Arguments as C++ values. None of these coerces, and none can fail: a value that is missing or of another
// kind gives nothing. That matters while an environment is being terminated, when every call that could run
// JavaScript is refused, and node-addon-api ends the process on the second refusal in a row.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

#include "protocol.h"
#include "server/websocket/compression.h"

namespace nws {

template <auto read>
std::string string_of(Napi::Value value) {
  std::string result;
  std::size_t length = 0;
  // Short strings, such as topics, are read by one call: it leaves room for a character where it had none for
  // more, of up to four bytes, and for the zero.
  char brief[256];
  constexpr std::size_t surely_whole = sizeof(brief) - 5;
  if (value.IsEmpty() || read(value.Env(), value, brief, sizeof(brief), &length) != napi_ok) {
    return result;
  }
  if (length <= surely_whole) {
    result.assign(brief, length);
  } else if (read(value.Env(), value, nullptr, 0, &length) == napi_ok) {
    result.resize(length);
    read(value.Env(), value, result.data(), length + 1, &length);
  }
  return result;
}

inline std::string text(Napi::Value value) { return string_of<napi_get_value_string_utf8>(value); }

/// A string of HTTP's, in which every character stands for one byte (ISO 8859-1).
inline std::string latin1(Napi::Value value) { return string_of<napi_get_value_string_latin1>(value); }

inline std::uint32_t number(Napi::Value value) {
  std::uint32_t result = 0;
  if (!value.IsEmpty() && napi_get_value_uint32(value.Env(), value, &result) != napi_ok) {
    result = 0;
  }
  return result;
}

inline bool boolean(Napi::Value value) {
  bool result = false;
  return !value.IsEmpty() && napi_get_value_bool(value.Env(), value, &result) == napi_ok && result;
}

/// What the sender of a message wants compressed: as in the outbox (protocol.h).
inline Compress compress_choice(Napi::Value value) { return static_cast<Compress>(number(value) & protocol::compress_mask); }

/// The bytes of a Uint8Array, valid during the call only; empty for anything else. Never a null pointer,
/// which memcpy does not take even for nothing.
inline std::string_view bytes(Napi::Value value) {
  napi_typedarray_type type;
  std::size_t length = 0;
  void *data = nullptr;
  if (!value.IsTypedArray() || napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array || data == nullptr) {
    return "";
  }
  return {static_cast<const char *>(data), length};
}

}  // namespace nws
