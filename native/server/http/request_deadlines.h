// How long requests may take to come: what `requestTimeout` of src/types/index.ts asks for.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>

#include "server/net/loop_timer.h"

namespace nws {

/// The connections of one server of whose request a part has come, in the order in which that began: all have
/// the same time, so one timer for the first of them is enough. A request that is read whole at once is never
/// here, and neither is a connection without one. Lives on its loop's thread, and outlives the places in it.
class RequestDeadlines {
  /// Not the loop's clock, which is behind by what the turn has taken so far.
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

 public:
  /// A connection's place, which it gives up when it is destroyed.
  class Place {
   public:
    Place() = default;
    ~Place() { leave(); }
    Place(const Place &) = delete;
    Place &operator=(const Place &) = delete;

    bool is_taken() const { return deadlines_ != nullptr; }
    /// Behind all others, from now on, unless it is taken already. `socket` is what `expired` gets.
    void take(RequestDeadlines &deadlines, void *socket);
    void leave();

   private:
    friend class RequestDeadlines;
    struct Waiting {
      void *socket;
      Place *place;
      Time deadline;
    };

    RequestDeadlines *deadlines_ = nullptr;
    std::list<Waiting>::iterator at_;
  };

  /// `allowed`: 0 for no limit. `expired` is to end the connection; it is called by the loop, for a place
  /// that has been left.
  RequestDeadlines(uv_loop_t *loop, std::chrono::milliseconds allowed, std::function<void(void *socket)> expired);
  RequestDeadlines(const RequestDeadlines &) = delete;
  RequestDeadlines &operator=(const RequestDeadlines &) = delete;

 private:
  void watch();
  void look();

  std::chrono::milliseconds allowed_;
  std::function<void(void *)> expired_;
  std::list<Place::Waiting> waiting_;
  LoopTimer timer_;
  bool is_watching_ = false;
};

}  // namespace nws
