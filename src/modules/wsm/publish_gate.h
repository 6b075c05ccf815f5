#pragma once

#include <absl/functional/any_invocable.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>

#include "bus/bus.h"

namespace virtufin::wsm {

/// Publishes one connection's events and counts those that the bus has not completed, so that a bus
/// that is slower than the venue stops the socket instead of filling the memory.
///
/// Life: create(), publish(), release(); it frees itself when the last publish is complete, so that
/// a completion costs two atomics and no reference count of its own. Threads: publish(), full() and
/// release() on the connection's loop; the rest any.
class PublishGate {
 public:
  /// `resume` is called, on any thread, when half of `bound` is free again after full() said so.
  static PublishGate* create(bus::Bus& bus, std::uint32_t bound, absl::AnyInvocable<void()> resume);

  void publish(const bus::TopicPtr& topic, EventPtr event);
  /// At least `bound` are out: stop reading until `resume`.
  bool full();
  void release();

  std::uint64_t outstanding() const { return state_.load() & kOutMask; }
  std::uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }
  /// Why the last publish failed since this was last asked.
  std::optional<absl::Status> take_failure();

 private:
  PublishGate(bus::Bus& bus, std::uint32_t bound, absl::AnyInvocable<void()> resume)
      : bus_(bus), bound_(bound), resume_(std::move(resume)) {}
  ~PublishGate() = default;
  void completed(const absl::Status& status);
  void drop_reference();
  void note_failure(const absl::Status& status);

  bus::Bus& bus_;
  const std::uint32_t bound_;
  absl::AnyInvocable<void()> resume_;
  /// Publishes that are out in the lower half; in the upper one who may still touch this: they,
  /// each until its completion has run, and the owner.
  static constexpr std::uint64_t kReference = std::uint64_t{1} << 32;
  static constexpr std::uint64_t kOutMask = kReference - 1;
  std::atomic<std::uint64_t> state_{kReference};
  std::atomic<bool> waiting_{false};
  std::atomic<std::uint64_t> failed_{0};
  std::mutex mutex_;
  std::optional<absl::Status> failure_;  ///< guarded by mutex_
};

}  // namespace virtufin::wsm
