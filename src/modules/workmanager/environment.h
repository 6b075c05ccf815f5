#pragma once

#include <string_view>

namespace virtufin {

/// Puts VIRTUFIN_WORKER_ID and VIRTUFIN_WORKER_TOPIC into the environment as fixed buffers, empty.
/// Libraries read them while they are loaded; setenv() later would move the environment under other
/// threads' getenv(). Call in main before any thread starts; further calls do nothing.
void prepare_worker_environment();

namespace workmanager {

inline constexpr std::size_t kMaxTopicInEnvironment = 1023;

/// Fills the two buffers for as long as it lives, one worker at a time: a second one waits.
/// A topic longer than kMaxTopicInEnvironment is cut.
class WorkerEnvironment {
 public:
  WorkerEnvironment(std::string_view worker_id, std::string_view topic);
  ~WorkerEnvironment();
  WorkerEnvironment(const WorkerEnvironment&) = delete;
  WorkerEnvironment& operator=(const WorkerEnvironment&) = delete;
};

}  // namespace workmanager
}  // namespace virtufin
