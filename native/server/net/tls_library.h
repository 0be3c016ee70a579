// Where OpenSSL and AWS-LC differ. All other code of native/ uses what both have: nothing else may ask which
// of the two is compiled in.
#pragma once

#include <string>

struct ssl_ctx_st;
struct ssl_st;

namespace nws {

struct TlsOptions;

/// Lets clients take their sessions up again with tickets: for two hours, and with a certificate of the
/// client's no longer than the certificate is valid; the full handshake that follows will refuse it. `front`
/// is what µSockets makes the SSL of every connection from.
void resume_with_tickets(ssl_ctx_st *front);

/// Takes the ciphers of an entry, and its security level: 2, unless the cipher list names another
/// (`@SECLEVEL=1`). False with an error in the thread's queue. To be called before the context gets a key or
/// a certificate.
///
/// AWS-LC does not measure keys and certificates by itself: those of a client are measured here, those of the
/// server have been measured by Node's OpenSSL. With AWS-LC, a level above 2 is refused.
bool set_ciphers(ssl_ctx_st *context, const TlsOptions &options);

/// Gives a connection, whose ClientHello has come, what it has taken from `front` and does not take over from
/// `context`, which it has got in its place. `min_version` is a TLS1_x_VERSION. False after an error.
bool follow_context(ssl_st *ssl, ssl_ctx_st *context, int min_version);

/// What an error of the library is called, in OpenSSL's way of writing ("no cipher match").
std::string reason_of(unsigned long error);

/// When the library was compiled, as OpenSSL writes it ("Sat Feb  7 19:34:02 2026 UTC"); for AWS-LC, which
/// does not know, the time of its file. Empty where it is not known.
std::string library_built_on();

}  // namespace nws
