#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bus/bus.h"
#include "core/errors.h"
#include "core/event.h"
#include "core/event_fields.h"
#include "core/scenario.h"
#include "core/uuid.h"

namespace virtufin::workmanager {

/// What an output is to the record of orders.
enum class OrderRole : std::uint8_t {
  kNone,
  kOpens,    ///< `submitted`, or anything on `sc.<scenario>.orders`
  kChanges,  ///< a later `trading.order.*`
};

/// A topic that a worker puts out to, with the worker's scenario in it.
struct OutputTopic {
  bus::TopicPtr topic;
  std::string scenario;  ///< of the topic, else the worker's: whose records it belongs to
  bool live = false;     ///< `sc.LIVE.*`: closed to what a replay causes
  bool orders = false;   ///< `sc.<scenario>.orders`
};

/// One event that a worker put out, ready to be recorded and published.
struct Output {
  std::shared_ptr<const OutputTopic> to;
  EventPtr event;
  OrderRole order = OrderRole::kNone;
  bool refused = false;  ///< to `sc.LIVE.*`, caused by a historical event
};

/// The topics that a worker put out to lately. Workers put out to a handful; names that they make
/// up must not pile up. Threads: one at a time.
class OutputTopics {
 public:
  /// The entry of that name, made by `make` if it is new.
  template <class Make>
  const std::shared_ptr<const OutputTopic>& find(std::string_view name, Make&& make) {
    if (last_ != nullptr && name == *last_name_) return *last_;
    auto found = topics_.find(name);
    if (found == topics_.end()) {
      if (topics_.size() >= kMaxTopics) {
        topics_.clear();
        last_ = nullptr;
      }
      found = topics_.emplace(std::string(name), make()).first;
    }
    last_name_ = &found->first;
    last_ = &found->second;
    return *last_;
  }

 private:
  static constexpr std::size_t kMaxTopics = 256;
  StringMap<std::shared_ptr<const OutputTopic>> topics_;
  // Into the map, whose nodes stay where they are until it is cleared and filled at once.
  const std::string* last_name_ = nullptr;
  const std::shared_ptr<const OutputTopic>* last_ = nullptr;
};

/// Makes a worker's outputs by the rules of contract/workmanager.md, "Dispatch".
///
/// Topic: the output's `publishtopic` (removed), the input's `replytopic`, the output's type; then
/// `sc.LIVE.` at its head becomes `sc.<scenario>.`. Envelope: the worker's scenario and the
/// registry's lanes are stamped; correlationid, runid, clocktype, market lane and selector are
/// taken from the input where the output has none; event time likewise in the historical clock,
/// else it is now; walltime is now. Id: always one of worker id, input id and output index, so that
/// an event that is handled twice puts out the same ids; what the worker gave is not used.
///
/// Threads: any, each caller with OutputTopics of its own.
class OutputMaker {
 public:
  OutputMaker(bus::Bus& bus, std::string worker_id, Scenario scenario);

  /// INVALID_ARGUMENT naming the attribute if it is no event.
  absl::StatusOr<Output> make(const EventFields& fields, const Event& input, std::uint64_t index,
                              TimePoint now, OutputTopics& topics) const;

  /// The dead letter of an output: the same event with an id of its own and why it is dead.
  absl::StatusOr<EventPtr> dead_letter(const Output& output, std::string_view reason, int attempts,
                                       TimePoint now) const;

  const std::string& worker_id() const { return worker_id_; }

 private:
  std::shared_ptr<const OutputTopic> make_topic(std::string_view name) const;

  bus::Bus& bus_;
  const std::string worker_id_;
  const Scenario scenario_;
  const UuidHasher::Prefix id_prefix_;
};

}  // namespace virtufin::workmanager
