#pragma once

#include <absl/container/inlined_vector.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bus/memory/subscriber.h"

/// What Subscriber keeps on the stack of a thread that works for it; known to its two .cpp only.
namespace virtufin::bus::memory {

/// A run on this thread's stack. The chain of them says what "from its own call" means.
struct Subscriber::Call {
  Subscriber* subscriber;
  Call* outer;
  Slot* slot = nullptr;  ///< while its handler runs
  bool answered = false;
  Verdict verdict{};
};

/// What was decided under the lock and is done after it.
struct Subscriber::Actions {
  struct Letter {
    Slot* slot;
    TopicPtr topic;
    EventPtr event;
    std::string reason;
    int attempts;
  };
  struct EpochEnd {
    std::uint32_t epoch;
    std::uint64_t events;
  };
  /// What few runs have to do.
  struct Rare {
    SteadyTime timer = kNever;
    std::vector<std::pair<CompletionPtr, absl::Status>> completions;
    std::optional<Letter> letter;
    Task on_ready, drained;
    absl::AnyInvocable<void(absl::Status)> on_end;
    absl::Status end_status;
    // Only to be freed.
    Ring<Entry> dropped_queue;
    std::vector<Entry> dropped_claimed, dropped_others;
    TopicPtr freed_topic;
  };

  bool any() const { return rare_ || !epoch_ends.empty(); }
  Rare& rare() {
    if (!rare_) rare_ = std::make_unique<Rare>();
    return *rare_;
  }

  void clear() {
    epoch_ends.clear();
    rare_.reset();
    freed_topic.reset();
    freed_event.reset();
  }

  absl::InlinedVector<EpochEnd, 1> epoch_ends;
  std::unique_ptr<Rare> rare_;
  // Only to be freed.
  TopicPtr freed_topic;
  EventPtr freed_event;
};

}  // namespace virtufin::bus::memory
