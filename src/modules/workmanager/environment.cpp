#include "modules/workmanager/environment.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <span>

namespace virtufin {
namespace {

constexpr char kIdName[] = "VIRTUFIN_WORKER_ID=";
constexpr char kTopicName[] = "VIRTUFIN_WORKER_TOPIC=";
constexpr std::size_t kMaxId = 127;

// putenv() keeps the pointer: these stay for ever, each ending in a NUL whatever is written.
char id_entry[sizeof kIdName + kMaxId];
char topic_entry[sizeof kTopicName + workmanager::kMaxTopicInEnvironment];
std::mutex loading;

/// The rest of `entry` behind `NAME=`.
void fill(std::span<char> value_buffer, std::string_view value) {
  const std::size_t length = std::min(value.size(), value_buffer.size() - 1);
  // An empty view may have no address at all, which memcpy() must not be given.
  std::copy_n(value.begin(), length, value_buffer.begin());
  std::fill(value_buffer.begin() + length, value_buffer.end(), '\0');
}
std::span<char> id_value() { return std::span(id_entry).subspan(sizeof kIdName - 1); }
std::span<char> topic_value() { return std::span(topic_entry).subspan(sizeof kTopicName - 1); }

}  // namespace

void prepare_worker_environment() {
  std::lock_guard lock(loading);
  if (id_entry[0] != '\0') return;
  std::memcpy(id_entry, kIdName, sizeof kIdName);
  std::memcpy(topic_entry, kTopicName, sizeof kTopicName);
  ::putenv(id_entry);
  ::putenv(topic_entry);
}

namespace workmanager {

WorkerEnvironment::WorkerEnvironment(std::string_view worker_id, std::string_view topic) {
  loading.lock();
  fill(id_value(), worker_id);
  fill(topic_value(), topic);
}

WorkerEnvironment::~WorkerEnvironment() {
  fill(id_value(), {});
  fill(topic_value(), {});
  loading.unlock();
}

}  // namespace workmanager
}  // namespace virtufin
