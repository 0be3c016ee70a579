// Messages to one connection: whole ones, and those in fragments with what waits behind them.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "server/counters.h"
#include "server/uws/upstream.h"
#include "server/websocket/buffered_amount.h"
#include "server/websocket/compressed_sending.h"
#include "server/websocket/connection_owner.h"
#include "server/websocket/connection_table.h"
#include "server/websocket/frames.h"
#include "server/websocket/publish_order.h"
#include "server/websocket/sent_reports.h"
#include "server/websocket_server.h"

namespace nws {

/// Lives on its loop's thread. The caller knows that a WebSocket is open. See ConnectionOwner.
template <bool SSL>
class Sending {
  using WebSocket = frames::WebSocket<SSL>;

 public:
  Sending(ConnectionTable &connections, ServerEvents &events, Counters &counters, SharedCompression &compression,
          PublishOrder &order)
      : connections_(connections), events_(events), counters_(counters), compression_(compression), order_(order) {}

  [[gnu::hot]] void send(WebSocket *ws, std::string_view payload, OpCode op_code, Compress compress, bool report_sent) {
    SocketData *data = ws->getUserData();
    if (data->has_sent_close()) {
      return;
    }
    order_.write_waiting(data);
    bool is_message = op_code == OpCode::text || op_code == OpCode::binary;
    if (is_message) {
      counters_.sent(payload.length());
    }
    if (is_message && data->held) {
      data->held->add(payload, op_code, compress, report_sent);
    } else {
      write(ws, data, payload, op_code, is_message ? compress : Compress::never);
      if (report_sent) {
        reports_.add(*data, connections_.quota(data->id));
      }
    }
    note_buffered(ws, data);
  }

  void begin_message(WebSocket *ws) {
    SocketData *data = ws->getUserData();
    if (data->has_sent_close()) {
      return;
    }
    order_.write_waiting(data);
    if (data->held) {
      data->held->messages.push_back({{}, {}, {}, false, true});
    } else {
      data->held = std::make_unique<HeldMessages>();
      SendQuota &quota = connections_.quota(data->id);
      quota.limit -= quota.fragment;
    }
  }

  bool ready_for_fragment(WebSocket *ws) {
    HeldMessages *held = ws->getUserData()->held.get();
    if (!held || ws->getBufferedAmount() == 0) {
      return true;
    }
    held->awaits_drain = true;
    return false;
  }

  void send_fragment(WebSocket *ws, std::string_view payload, const Fragment &fragment) {
    SocketData *data = ws->getUserData();
    if (data->has_sent_close() || !data->held) {
      return;
    }
    OpCode op_code = OpCode::continuation;
    if (fragment.is_first) {
      op_code = fragment.is_binary ? OpCode::binary : OpCode::text;
      data->held->compressed = data->compression && data->compression->wants(payload.length(), fragment.compress);
    }
    counters_.bytes_sent += payload.length();
    if (data->held->compressed) {
      auto form = data->compression->compress_fragment(payload, fragment.is_last);
      ws->send(form, fragment.is_first ? frames::compressed(op_code) : frames::upstream(op_code), false, fragment.is_last);
      connections_.quota(data->id).note_frame(form.length());
      compression_.deflated.trim();
    } else {
      ws->send(payload, frames::upstream(op_code), false, fragment.is_last);
      connections_.quota(data->id).note_frame(payload.length());
    }
    if (fragment.is_last) {
      counters_.messages_sent++;
      next_message(ws, data);
    }
    note_buffered(ws, data);
  }

  void withdraw_message(WebSocket *ws) {
    if (SocketData *data = ws->getUserData(); data->held && !data->has_sent_close()) {
      next_message(ws, data);
    }
  }

  /// Some of what waited has been written.
  void drained(WebSocket *ws) {
    SocketData *data = ws->getUserData();
    if (data->held && data->held->awaits_drain && ws->getBufferedAmount() == 0) {
      data->held->awaits_drain = false;
      events_.on_fragment_drain(*data);
    }
    report(ws, data);
    emit_drain_if_due(data);
  }

  /// Tells of the messages that have left.
  void report(WebSocket *ws, SocketData *data) {
    if (data->reports_sent) {
      // Without what has been written and is still in µWebSockets' memory, which getBufferedAmount counts.
      auto waiting = static_cast<std::uint32_t>(frames::Corkable<SSL>::of(ws)->getAsyncSocketData()->buffer.length());
      for (unsigned count = reports_.take(*data, connections_.quota(data->id), waiting); count > 0; count--) {
        events_.on_sent(*data);
      }
    }
  }

  /// The connection ends: what has not left never will.
  void end(WebSocket *ws, SocketData *data) {
    if (!data->reports_sent) {
      return;
    }
    if (!frames::Corkable<SSL>::of(ws)->isCorked()) {  // else it ends with bytes that are lost
      report(ws, data);
    }
    reports_.forget(*data);
  }

  /// Some of what waited has been written, for a connection that sends no more: its sender is told when the
  /// last of it has left, whatever a status has promised.
  void drained_at_end(SocketData *data) {
    SendQuota &quota = connections_.quota(data->id);
    if (quota.buffered == 0) {
      quota.drain_owed = 0;
      events_.on_drain(*data);
    }
  }

 private:
  /// Sends what waits behind a message in fragments that has ended, up to the next of that kind.
  void next_message(WebSocket *ws, SocketData *data) {
    order_.write_waiting(data);
    bool another = false;
    while (!another && !data->held->messages.empty()) {
      HeldMessages::Message message = std::move(data->held->messages.front());
      data->held->messages.pop_front();
      another = message.is_beginning;
      if (!another) {
        data->held->bytes -= message.size();
        write(ws, data, message.payload, message.op_code, message.compress);
        if (message.report_sent) {
          reports_.add(*data, connections_.quota(data->id));
        }
      }
    }
    if (!another) {
      data->held.reset();
      SendQuota &quota = connections_.quota(data->id);
      quota.limit += quota.fragment;
    }
    note_buffered(ws, data);
    report(ws, data);
    emit_drain_if_due(data);
  }

  [[gnu::hot]] void write(WebSocket *ws, SocketData *data, std::string_view payload, OpCode op_code, Compress compress) {
    TlsWriteDeferral guard(data->waits, reinterpret_cast<us_socket_t *>(ws));
    std::size_t length = payload.length();
    if (data->compression && data->compression->wants(length, compress)) {
      length = frames::send_compressed<SSL>(ws, payload, data->compression->compress(payload), op_code);
      compression_.deflated.trim();
    } else {
      frames::send_whole<SSL>(ws, payload, op_code);
    }
    connections_.quota(data->id).note_frame(length);
  }

  /// Raises the events that are asked for when the queue is this short.
  void emit_drain_if_due(SocketData *data) {
    SendQuota &quota = connections_.quota(data->id);
    if (quota.buffered < quota.low_threshold) {
      quota.low_threshold = 0;
      events_.on_buffered_amount_low(*data);
    }
    if (quota.drain_is_due()) {
      quota.drain_is_raised();
      events_.on_drain(*data);
    }
  }

  void note_buffered(WebSocket *ws, SocketData *data) { nws::note_buffered<SSL>(ws, data, connections_); }

  ConnectionTable &connections_;
  ServerEvents &events_;
  Counters &counters_;
  SharedCompression &compression_;
  PublishOrder &order_;
  SentReports reports_;
};

}  // namespace nws
