#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "bus/bus.h"
#include "core/errors.h"
#include "core/event.h"
#include "core/event_fields.h"
#include "core/scenario.h"

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

/// Makes a worker's outputs by the rules of contract/workmanager.md, "Dispatch".
///
/// Topic: the output's `publishtopic` (removed), the input's `replytopic`, the output's type; then
/// `sc.LIVE.` at its head becomes `sc.<scenario>.`. Envelope: the worker's scenario and the
/// registry's lanes are stamped; correlationid, runid, clocktype, market lane and selector are
/// taken from the input where the output has none; event time likewise in the historical clock,
/// else it is now; walltime is now. Id: always one of worker id, input id and output index, so that
/// an event that is handled twice puts out the same ids; what the worker gave is not used.
///
/// Threads: any.
class OutputMaker {
 public:
  OutputMaker(bus::Bus& bus, std::string worker_id, Scenario scenario);

  /// INVALID_ARGUMENT naming the attribute if it is no event.
  absl::StatusOr<Output> make(const EventFields& fields, const Event& input, std::uint64_t index,
                              TimePoint now);

  /// The dead letter of an output: the same event with an id of its own and why it is dead.
  absl::StatusOr<EventPtr> dead_letter(const Output& output, std::string_view reason, int attempts,
                                       TimePoint now) const;

  const std::string& worker_id() const { return worker_id_; }

 private:
  std::shared_ptr<const OutputTopic> topic(std::string_view name);

  bus::Bus& bus_;
  const std::string worker_id_;
  const Scenario scenario_;

  // Workers put out to a handful of topics; names that they make up must not pile up.
  static constexpr std::size_t kMaxTopics = 256;
  std::mutex mutex_;
  std::string last_name_;
  std::shared_ptr<const OutputTopic> last_;
  StringMap<std::shared_ptr<const OutputTopic>> topics_;
};

}  // namespace virtufin::workmanager
