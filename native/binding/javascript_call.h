// The one way from C++ into JavaScript outside of a call from there.
#pragma once

#include <napi.h>

#include <initializer_list>

namespace nws {

/// Calls `function` on itself, which costs less than to look for the global object, runs promise jobs, and
/// makes an uncaught exception of what is thrown: no handler could be given it. The caller has a HandleScope.
/// False when the environment is being torn down.
inline bool call_javascript(Napi::Env env, Napi::AsyncContext &context, Napi::Function function,
                            std::initializer_list<napi_value> arguments = {}) {
  napi_value result;
  napi_status status = napi_make_callback(env, context, function, function, arguments.size(), arguments.begin(), &result);
  if (status == napi_ok) {
    return true;
  }
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) {
    napi_value exception;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) {
      return napi_fatal_exception(env, exception) == napi_ok;
    }
  }
  return false;
}

}  // namespace nws
