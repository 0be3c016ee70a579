// The one door to µWebSockets: a file that needs its classes includes this header, and no header of
// µWebSockets. So every source of ours sees the same µWebSockets, with all of the seams in it, and it does
// not matter where among the headers this one stands.
//
// A seam takes the place of a function of theirs. While the compiler reads their headers, the macros below
// put ours in the place of functions that they call; specialisations of their members follow behind. Nothing
// of this is left at the end: our own sources call us_socket_close and the like by their names, and
// Timeouts::set rather than us_socket_timeout. The seams of the other kind are below µSockets, and need no
// header: tls_reading.h, socket_dispatch.h, socket_set.h.
//
// Each seam has a file of its own, which says what it replaces, why, and what must be checked at the next
// release. native/upstream.json has the functions of theirs, and test/package/upstream.unit.test.ts fails
// when one of them has changed.
#pragma once

#ifdef UWS_APP_H
#error "App.h is included by upstream.h alone"
#endif

#include <libusockets.h>

#include <cstdlib>

#include "server/uws/context_handlers.h"
#include "server/uws/header_limit.h"
#include "server/uws/parser_scope.h"
#include "server/uws/receive_buffer.h"
#include "server/uws/timeouts.h"
#include "server/uws/tls_write_deferral.h"

#define getenv(name) nws::HeaderLimit::variable(name)
#define us_socket_close nws::ParserScope::close
#define us_socket_context_on_data nws::ContextHandlers::on_data
#define us_socket_context_on_end nws::ContextHandlers::on_end
#define us_socket_context_on_timeout nws::ContextHandlers::on_timeout
#define us_socket_context_on_writable nws::ContextHandlers::on_writable
#define us_socket_shutdown nws::ParserScope::shutdown
#define us_socket_timeout nws::Timeouts::set
#define us_socket_write nws::TlsWriteDeferral::write

#include <App.h>

#undef getenv
#undef us_socket_close
#undef us_socket_context_on_data
#undef us_socket_context_on_end
#undef us_socket_context_on_timeout
#undef us_socket_context_on_writable
#undef us_socket_shutdown
#undef us_socket_timeout
#undef us_socket_write

static_assert(nws::ReceiveBuffer::padding == LIBUS_RECV_BUFFER_PADDING);

// Before anything instantiates what they specialise.
#include "server/uws/frame_specializations.h"
#include "server/uws/write_continue.h"
