#include "modules/workmanager/output_maker.h"

#include <array>
#include <vector>

#include "core/event_writer.h"
#include "core/log.h"
#include "core/topic.h"
#include "core/uuid.h"
#include "modules/workmanager/extension_list.h"

namespace virtufin::workmanager {
namespace {

constexpr std::string_view kSource = "urn:com.virtufin.workmanager";
constexpr std::string_view kOrderType = "com.virtufin.trading.order.";
constexpr std::string_view kLiveRoot = "sc.LIVE.";

/// The extensions that the rules name, and how the platform's readers also find them spelled.
enum Known : std::uint8_t {
  kCorrelation,
  kScenario,
  kRun,
  kClock,
  kEventTime,
  kWallTime,
  kMarketLane,
  kMarketSelector,
  kPortfolioLane,
  kStrategyLane,
  kPublishTopic,
  kReplyTopic,
  kUnknown,
};

Known known(std::string_view name) {
  switch (name.size()) {
    case 5: return name == "runid" ? kRun : kUnknown;
    case 8: return name == "walltime" ? kWallTime : kUnknown;
    case 9: return name == "clocktype" ? kClock : name == "eventtime" ? kEventTime : kUnknown;
    case 10:
      return name == "scenarioid"   ? kScenario
             : name == "marketlane" ? kMarketLane
             : name == "replytopic" ? kReplyTopic
                                    : kUnknown;
    case 11: return name == "market.lane" || name == "marketworld" ? kMarketLane : kUnknown;
    case 12:
      return name == "publishtopic"   ? kPublishTopic
             : name == "strategylane" ? kStrategyLane
                                      : kUnknown;
    case 13:
      return name == "correlationid"                              ? kCorrelation
             : name == "portfoliolane"                            ? kPortfolioLane
             : name == "strategy.lane" || name == "strategyworld" ? kStrategyLane
                                                                  : kUnknown;
    case 14:
      return name == "marketselector" || name == "marketuniverse"   ? kMarketSelector
             : name == "portfolio.lane" || name == "portfolioworld" ? kPortfolioLane
                                                                    : kUnknown;
    case 15: return name == "market.selector" ? kMarketSelector : kUnknown;
    default: return kUnknown;
  }
}

constexpr std::size_t kOurs = 16;  // extensions that we add to an output, at most

}  // namespace

OutputMaker::OutputMaker(bus::Bus& bus, std::string worker_id, Scenario scenario)
    : bus_(bus),
      worker_id_(std::move(worker_id)),
      scenario_(std::move(scenario)),
      id_prefix_({worker_id_}) {}

std::shared_ptr<const OutputTopic> OutputMaker::make_topic(std::string_view name) const {
  auto made = std::make_shared<OutputTopic>();
  const std::string full = name.starts_with(kLiveRoot)
                               ? topic::scenario(scenario_.id, name.substr(kLiveRoot.size()))
                               : std::string(name);
  const auto parts = topic::parse(full);
  made->topic = bus_.topic(full);
  made->scenario = parts.root == topic::Root::kScenario ? parts.scenario : scenario_.id;
  made->live = full.starts_with(kLiveRoot);
  made->orders = parts.root == topic::Root::kScenario && parts.tail == "orders" && !parts.dead;
  return made;
}

absl::StatusOr<Output> OutputMaker::make(const EventFields& fields, const Event& input,
                                         std::uint64_t index, TimePoint now,
                                         OutputTopics& topics) const {
  ExtensionList extensions(fields.extensions.size() + kOurs);
  std::array<bool, kUnknown + 1> set{};
  std::string_view publish_topic, event_time, reply_topic;
  for (const auto& extension : fields.extensions) {
    const Known which = known(extension.name);
    switch (which) {
      case kPublishTopic: publish_topic = extension.value; continue;
      // Ours to say, whatever the worker thinks.
      case kScenario:
      case kPortfolioLane:
      case kStrategyLane:
      case kWallTime: continue;
      case kEventTime: event_time = extension.value; continue;
      default: break;
    }
    set[which] = true;
    extensions.add(extension);
  }

  const std::size_t inherited = input.extension_count();
  for (std::size_t i = 0; i < inherited; ++i) {
    const Extension extension = input.extension_at(i);
    switch (const Known which = known(extension.name)) {
      case kReplyTopic: reply_topic = extension.value; break;
      case kCorrelation:
      case kRun:
      case kClock:
      case kMarketLane:
      case kMarketSelector:
        if (!set[which]) {
          set[which] = true;
          extensions.add(extension);
        }
        break;
      default: break;
    }
  }
  extensions.add({"scenarioid", scenario_.id});
  if (!set[kMarketLane]) {
    extensions.add({"marketlane", virtufin::name(scenario_.market)});
    if (!scenario_.selector.empty() && !set[kMarketSelector]) {
      extensions.add({"marketselector", scenario_.selector});
    }
  }
  extensions.add({"portfoliolane", virtufin::name(scenario_.portfolio)});
  extensions.add({"strategylane", virtufin::name(scenario_.strategy)});
  if (!set[kClock]) extensions.add({"clocktype", virtufin::name(input.clock())});

  char now_text[kTimeWidth], input_time[kTimeWidth];
  format_time(now, now_text);
  if (event_time.empty()) event_time = fields.time;
  if (event_time.empty()) {
    if (input.clock() == ClockType::kHistorical) {
      format_time(input.event_time(), input_time);
      event_time = {input_time, kTimeWidth};
    } else {
      event_time = {now_text, kTimeWidth};
    }
  }
  extensions.add({"eventtime", event_time});
  extensions.add({"walltime", {now_text, kTimeWidth}});

  const UuidText id = id_prefix_.with(input.id())(index);
  EventFields made = fields;
  made.id = id.view();
  if (made.source.empty()) made.source = kSource;
  if (made.time.empty()) made.time = event_time;
  made.extensions = extensions.view();
  made.config_names = true;  // a worker may hand on what its config stamped on the input
  auto event = make_event(made);
  if (!event.ok()) return with_context(event.status(), "the worker's output is no event");

  Output output;
  const std::string_view name = !publish_topic.empty() ? publish_topic
                                : !reply_topic.empty() ? reply_topic
                                                       : fields.type;
  output.to = topics.find(name, [&] { return make_topic(name); });
  output.event = *std::move(event);
  output.refused = output.to->live && input.clock() == ClockType::kHistorical;
  if (output.to->orders || fields.type == "com.virtufin.trading.order.submitted") {
    output.order = OrderRole::kOpens;
  } else if (fields.type.starts_with(kOrderType)) {
    output.order = OrderRole::kChanges;
  }
  return output;
}

absl::StatusOr<EventPtr> OutputMaker::dead_letter(const Output& output, std::string_view reason,
                                                  int attempts, TimePoint now) const {
  std::vector<Extension> storage;
  EventFields fields = fields_of(*output.event, storage);
  std::erase_if(storage, [](const Extension& extension) {
    return extension.name.starts_with("deadletter") || extension.name == "walltime";
  });
  const std::string tries = std::to_string(attempts);
  const std::string wall_time = format_time(now);
  storage.push_back({"walltime", wall_time});
  storage.push_back({"deadletterreason", reason});
  storage.push_back({"deadletterworker", worker_id_});
  storage.push_back({"deadletterattempts", tries});
  storage.push_back({"deadlettertopic", bus::name(output.to->topic)});
  storage.push_back({"deadletterid", output.event->id()});
  fields.extensions = storage;
  const UuidText id = UuidHasher{"dead", worker_id_, output.event->id()}(0);
  fields.id = id.view();
  return make_event(fields);
}

}  // namespace virtufin::workmanager
