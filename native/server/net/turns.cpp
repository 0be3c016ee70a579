#include "server/net/turns.h"

#include <algorithm>

#include "server/uws/upstream_loop.h"

namespace nws {

namespace {
thread_local Turns *current_turns = nullptr;
}  // namespace

struct Turns::Handle {
  uv_idle_t idle{};
};

Turns *Turns::current() { return current_turns; }

Turns::Turns(uv_loop_t *loop, us_loop_t *sockets) : sockets_(sockets), handle_(std::make_unique<Handle>()) {
  uv_idle_init(loop, &handle_->idle);  // documented to succeed always
  handle_->idle.data = this;
  current_turns = this;
}

Turns::~Turns() {
  current_turns = nullptr;
  uv_idle_t *idle = &handle_->idle;
  idle->data = handle_.release();
  uv_close(reinterpret_cast<uv_handle_t *>(idle), [](uv_handle_t *handle) { delete static_cast<Handle *>(handle->data); });
}

// A pass begins in libuv's idle phase, and in its poll phase, before which µSockets counts the iteration.
std::uint64_t Turns::pass() const { return iteration_of(sockets_) + idles_; }

void Turns::begin_pass() {
  std::uint64_t now = pass();
  if (now != pass_) {
    pass_ = now;
    pass_began_ = 0;
    begun_ = 0;
    readable_ = max_total_read;
    requests_left_ = max_total_requests;
    events_left_ = max_total_events;
    inflatable_ = max_total_inflated;
    handshake_steps_left_ = max_handshake_steps;
  }
}

void Turns::wait(const Ticket &ticket, bool spent) {
  if (fresh_.empty() && spent_.empty()) {
    uv_idle_start(&handle_->idle, [](uv_idle_t *idle) { static_cast<Turns *>(idle->data)->serve(); });
  }
  (spent ? spent_ : fresh_).push_back(ticket);
}

void Turns::forget(const TurnTaker *taker) {
  auto is_theirs = [taker](const Ticket &ticket) { return ticket.taker == taker; };
  std::erase_if(fresh_, is_theirs);
  std::erase_if(spent_, is_theirs);
}

std::size_t Turns::reads_left(std::size_t bytes) {
  begin_pass();
  return (readable_ + bytes - 1) / bytes;
}

bool Turns::take_request(RequestShare &share) {
  begin_pass();
  if (share.pass != pass_) {
    share = {pass_, 0};
  }
  // Behind a response, its connection's next request begins while JavaScript is still being given others.
  end_pass_if_long();
  if (requests_left_ == 0 || share.begun == max_requests) {
    return false;
  }
  requests_left_--;
  share.begun++;
  begun_ += events_of_request;
  return true;
}

std::uint32_t Turns::events_left() {
  begin_pass();
  return std::min({events_left_, max_events, batch_});
}

void Turns::hand_over_if_due() {
  if (!hand_over_ || (begun_ < batch_ && !is_due_)) {
    return;
  }
  is_due_ = false;
  std::uint64_t before = uv_hrtime();
  if (pass_began_ == 0) {
    pass_began_ = before;  // where no set of ours has looked at the clock
  }
  hand_over_();
  std::uint64_t took = uv_hrtime() - before;
  if (took > max_pass_time / 2) {
    // As many as would have taken a fifth of a pass.
    std::uint64_t fewer = begun_ * (max_pass_time / 5) / took;
    batch_ = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(fewer, 1, batch_));
  } else if (took < max_pass_time / 10) {
    batch_ = std::min(2 * batch_, max_batch);
  }
  end_pass_if_long();
  begun_ = 0;
}

void Turns::begin_reading(std::uint64_t now) {
  begin_pass();
  if (pass_began_ == 0) {
    pass_began_ = now;
  }
}

void Turns::end_pass_if_long() {
  if (begun_ < batch_) {
    return;
  }
  std::uint64_t now = uv_hrtime();
  if (pass_began_ == 0) {
    pass_began_ = now;
  }
  if (now - pass_began_ > max_pass_time) {
    readable_ = 0;
    requests_left_ = 0;
    events_left_ = 0;
  }
}

bool Turns::take_handshake_step() {
  begin_pass();
  if (handshake_steps_left_ == 0) {
    return false;
  }
  handshake_steps_left_--;
  return true;
}

void Turns::serve() {
  idles_++;
  begin_reading(uv_hrtime());
  // Who comes to wait meanwhile has its turn next time. Every other time one of those that are spent goes on
  // in any case: fresh ones may come for ever. Not every time: one may take the whole pass.
  std::size_t fresh = fresh_.size();
  std::size_t spent = spent_.size();
  auto has_budget = [this] { return requests_left_ > 0 && events_left_ > 0 && inflatable_ > 0; };
  auto serve_first = [this](std::deque<Ticket> &queue) {
    Ticket ticket = queue.front();
    queue.pop_front();
    ticket.taker->take_turn(ticket.socket, ticket.id);
    hand_over_if_due();
  };
  if (idles_ % 2 == 0 && spent > 0) {
    serve_first(spent_);
    spent--;
  }
  for (; fresh > 0 && has_budget() && !fresh_.empty(); fresh--) {
    serve_first(fresh_);
  }
  for (; spent > 0 && has_budget() && !spent_.empty(); spent--) {
    serve_first(spent_);
  }
  if (fresh_.empty() && spent_.empty()) {
    uv_idle_stop(&handle_->idle);
  }
}

}  // namespace nws
