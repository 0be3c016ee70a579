// The deadlines of requests, on a loop without a server.
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "harness.h"
#include "server/http/request_deadlines.h"

namespace {

using nws::RequestDeadlines;
using Place = RequestDeadlines::Place;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Loop {
  Loop() { uv_loop_init(&loop); }
  ~Loop() {
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
  }
  void run_for(milliseconds time) {
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    uv_update_time(&loop);
    uv_timer_start(
        &timer, [](uv_timer_t *handle) { uv_close(reinterpret_cast<uv_handle_t *>(handle), nullptr); },
        static_cast<std::uint64_t>(time.count()), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
  }

  uv_loop_t loop{};
};

TEST("requests expire in the order in which they began, not before their time, and not when they have ended") {
  Loop loop;
  std::vector<int> numbers{0, 1, 2, 3};
  std::vector<int> expired;
  auto began = steady_clock::now();
  RequestDeadlines deadlines(&loop.loop, milliseconds(30), [&](void *number) {
    CHECK(steady_clock::now() - began >= milliseconds(30));
    expired.push_back(*static_cast<int *>(number));
  });
  Place first, second, gone, again;
  auto destroyed = std::make_unique<Place>();
  first.take(deadlines, &numbers[0]);
  gone.take(deadlines, &numbers[1]);
  destroyed->take(deadlines, &numbers[1]);
  again.take(deadlines, &numbers[2]);
  second.take(deadlines, &numbers[3]);
  CHECK(gone.is_taken());
  gone.leave();
  gone.leave();
  destroyed.reset();
  again.leave();
  again.take(deadlines, &numbers[2]);
  again.take(deadlines, &numbers[0]);
  loop.run_for(milliseconds(60));
  CHECK((expired == std::vector<int>{0, 3, 2}));
  CHECK(!first.is_taken() && !second.is_taken() && !again.is_taken());
  began = steady_clock::now();
  gone.take(deadlines, &numbers[1]);
  loop.run_for(milliseconds(60));
  CHECK((expired == std::vector<int>{0, 3, 2, 1}));
}

TEST("requests that expire at once are ended over several turns, and may end one another") {
  Loop loop;
  std::vector<Place> places(1000);
  std::size_t count = 0;
  int turns = 0;
  bool was_in_turn = false;
  RequestDeadlines deadlines(&loop.loop, milliseconds(1), [&](void *place) {
    count++;
    turns += !std::exchange(was_in_turn, true);
    // The neighbour's connection goes with it.
    auto *next = static_cast<Place *>(place) + 1;
    if (next < places.data() + 10) {
      next->leave();
    }
  });
  uv_check_t check;
  uv_check_init(&loop.loop, &check);
  check.data = &was_in_turn;
  uv_unref(reinterpret_cast<uv_handle_t *>(&check));
  uv_check_start(&check, [](uv_check_t *handle) { *static_cast<bool *>(handle->data) = false; });
  for (Place &place : places) {
    place.take(deadlines, &place);
  }
  loop.run_for(milliseconds(50));
  CHECK(count == 995);
  CHECK(turns >= 4);
  uv_close(reinterpret_cast<uv_handle_t *>(&check), nullptr);
  uv_run(&loop.loop, UV_RUN_DEFAULT);
}

TEST("without a limit no request expires, and none keeps the loop alive") {
  Loop loop;
  bool expired = false;
  RequestDeadlines unlimited(&loop.loop, milliseconds(0), [&](void *) { expired = true; });
  RequestDeadlines limited(&loop.loop, milliseconds(60'000), [&](void *) { expired = true; });
  Place first, second;
  first.take(unlimited, &first);
  second.take(limited, &second);
  CHECK(!first.is_taken() && second.is_taken());
  uv_run(&loop.loop, UV_RUN_DEFAULT);
  CHECK(!expired);
}

}  // namespace
