#include "modules/workmanager/worker_spec.h"

#include <openssl/evp.h>
#include <simdjson.h>

#include <algorithm>
#include <array>

#include "core/errors.h"
#include "core/json_text.h"
#include "core/log.h"
#include "core/topic.h"

namespace virtufin::workmanager {
namespace {

constexpr std::size_t kMaxTopics = 1000;
constexpr std::size_t kMaxTopicBytes = 1023;
constexpr std::size_t kMaxKey = 128;
constexpr std::size_t kMaxTags = 50;
constexpr std::size_t kMaxTagValue = 1024;
constexpr std::size_t kMaxConfigKeys = 128;
constexpr std::size_t kMaxConfigValue = 64 << 10;
constexpr int kMaxConcurrency = 256;

constexpr std::array kReserved = {
    // CloudEvents' attributes.
    "id", "source", "type", "specversion", "datacontenttype", "dataschema", "subject", "time",
    "data", "data_base64",
    // The platform's extensions, and the other spellings that it reads.
    "correlationid", "scenarioid", "runid", "exchange", "clocktype", "eventtime", "walltime",
    "marketlane", "market.lane", "marketworld", "marketselector", "market.selector",
    "marketuniverse", "portfoliolane", "portfolio.lane", "portfolioworld", "strategylane",
    "strategy.lane", "strategyworld", "replytopic", "publishtopic", "busorder", "busmeta",
    "deadletterreason", "deadletterworker", "deadletterattempts", "deadlettertopic",
    "deadletterid"};

bool printable_key(std::string_view key) {
  return !key.empty() && key.size() <= kMaxKey &&
         std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

absl::Status check_config(const std::map<std::string, std::string>& config) {
  if (config.size() > kMaxConfigKeys) {
    return invalid_argument("config has {} keys, the limit is {}", config.size(), kMaxConfigKeys);
  }
  for (const auto& [key, value] : config) {
    if (!printable_key(key)) {
      return invalid_argument("config key '{}' must be 1 to {} printable characters",
                              printable(key), kMaxKey);
    }
    if (std::find(kReserved.begin(), kReserved.end(), key) != kReserved.end()) {
      return invalid_argument("config key '{}' is an attribute of every event; choose another name",
                              key);
    }
    if (value.size() > kMaxConfigValue) {
      return invalid_argument("config.{} is {} bytes, the limit is {}", key, value.size(),
                              kMaxConfigValue);
    }
  }
  return absl::OkStatus();
}

absl::Status check_tags(const std::map<std::string, std::string>& tags) {
  if (tags.size() > kMaxTags) {
    return invalid_argument("{} tags, the limit is {}", tags.size(), kMaxTags);
  }
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > kMaxKey || value.size() > kMaxTagValue) {
      return invalid_argument("tag '{}': a key is 1 to {} and a value at most {} characters",
                              printable(key), kMaxKey, kMaxTagValue);
    }
  }
  return absl::OkStatus();
}

absl::Status check_topics(const std::vector<std::string>& topics) {
  if (topics.empty()) return invalid_argument("topics is empty; a worker needs at least one");
  if (topics.size() > kMaxTopics) {
    return invalid_argument("{} topics, the limit is {}", topics.size(), kMaxTopics);
  }
  for (const auto& topic : topics) {
    if (topic.size() > kMaxTopicBytes) {
      return invalid_argument("topic '{}' is {} bytes, the limit is {}", printable(topic, 60),
                              topic.size(), kMaxTopicBytes);
    }
    VIRTUFIN_RETURN_IF_ERROR(topic::check_pattern(topic));
  }
  return absl::OkStatus();
}

constexpr std::array<std::pair<std::string_view, Dispatch>, 3> kDispatch = {
    {{"pool", Dispatch::kPool}, {"thread", Dispatch::kThread}, {"inline", Dispatch::kInline}}};
constexpr std::array<std::pair<std::string_view, bus::Overflow>, 3> kOverflow = {
    {{"block", bus::Overflow::kBlock},
     {"drop_oldest", bus::Overflow::kDropOldest},
     {"drop_newest", bus::Overflow::kDropNewest}}};

template <class Names, class Value>
std::string_view name_of(const Names& names, Value value) {
  for (const auto& [name, one] : names) {
    if (one == value) return name;
  }
  return {};
}

template <class Value, class Names>
absl::StatusOr<Value> by_name(const Names& names, std::string_view field, std::string_view given) {
  std::string all;
  for (const auto& [name, value] : names) {
    if (name == given) return value;
    all += (all.empty() ? "" : ", ") + std::string(name);
  }
  return invalid_argument("{} is '{}'; it must be one of {}", field, printable(given), all);
}

std::string to_base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

absl::StatusOr<std::string> from_base64(std::string_view text) {
  std::string out(text.size() / 4 * 3 + 3, '\0');
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
  if (length < 0 || text.size() % 4 != 0) return invalid_argument("code is not base64");
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  out.resize(static_cast<std::size_t>(length) - padding);
  return out;
}

std::string json_map(const std::map<std::string, std::string>& map) {
  JsonObject object;
  for (const auto& [key, value] : map) object.text(key, value);
  return std::move(object).finish();
}

/// Reads members of a record; remembers the first that is missing or of another type.
class Reader {
 public:
  explicit Reader(simdjson::dom::object object) : object_(object) {}

  std::string string(const char* name) {
    std::string_view value;
    if (object_[name].get_string().get(value)) fail(name);
    return std::string(value);
  }
  std::int64_t integer(const char* name) {
    std::int64_t value = 0;
    if (object_[name].get_int64().get(value)) fail(name);
    return value;
  }
  bool boolean(const char* name) {
    bool value = false;
    if (object_[name].get_bool().get(value)) fail(name);
    return value;
  }
  std::vector<std::string> strings(const char* name) {
    std::vector<std::string> out;
    simdjson::dom::array array;
    if (object_[name].get_array().get(array)) {
      fail(name);
      return out;
    }
    for (const auto one : array) {
      std::string_view value;
      if (one.get_string().get(value)) fail(name);
      out.emplace_back(value);
    }
    return out;
  }
  std::map<std::string, std::string> map(const char* name) {
    std::map<std::string, std::string> out;
    simdjson::dom::object members;
    if (object_[name].get_object().get(members)) {
      fail(name);
      return out;
    }
    for (const auto& [key, element] : members) {
      std::string_view value;
      if (element.get_string().get(value)) fail(name);
      out.emplace(key, value);
    }
    return out;
  }
  absl::Status status() const {
    return failed_.empty()
               ? absl::OkStatus()
               : invalid_argument("worker record: {} is missing or of another type", failed_);
  }

 private:
  void fail(const char* name) {
    if (failed_.empty()) failed_ = name;
  }
  simdjson::dom::object object_;
  std::string failed_;
};

absl::Status check_retry(const RetryOptions& retry) {
  if (retry.max_attempts() < 0 || retry.max_attempts() > 100) {
    return invalid_argument("retry.max_attempts is {}; it must be 1 to 100", retry.max_attempts());
  }
  if (retry.first_delay_ms() < 0) {
    return invalid_argument("retry.first_delay_ms is {}; it must not be negative",
                            retry.first_delay_ms());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WorkerSpec> spec_from_request(const CreateWorkerRequest& request,
                                             const WorkManagerConfig& config) {
  WorkerSpec spec;
  spec.mime_type = request.mime_type();
  spec.topics.assign(request.topics().begin(), request.topics().end());
  spec.config.insert(request.config().begin(), request.config().end());
  spec.tags.insert(request.tags().begin(), request.tags().end());
  VIRTUFIN_RETURN_IF_ERROR(check_topics(spec.topics));
  VIRTUFIN_RETURN_IF_ERROR(check_config(spec.config));
  VIRTUFIN_RETURN_IF_ERROR(check_tags(spec.tags));
  VIRTUFIN_RETURN_IF_ERROR(check_retry(request.retry()));

  spec.group = request.group();
  spec.filter = {request.filter().type(), request.filter().subject(),
                 request.filter().scenario_id(), request.filter().clock_type()};
  if (!request.scenario().empty()) spec.scenario = request.scenario();
  if (!topic::valid_id(spec.scenario)) {
    return invalid_argument("scenario is '{}'; it must be 1 to 32 characters of [A-Za-z0-9_-]",
                            printable(spec.scenario));
  }
  if (!request.isolation().empty() && request.isolation() != "in-process") {
    return unimplemented("isolation '{}' is not available; only in-process",
                         printable(request.isolation()));
  }
  if (!request.dispatch().empty()) {
    auto dispatch = by_name<Dispatch>(kDispatch, "dispatch", request.dispatch());
    if (!dispatch.ok()) return dispatch.status();
    spec.dispatch = *dispatch;
  }
  if (!request.overflow().empty()) {
    auto overflow = by_name<bus::Overflow>(kOverflow, "overflow", request.overflow());
    if (!overflow.ok()) return overflow.status();
    spec.overflow = *overflow;
  }
  if (request.concurrency() < 0 || request.concurrency() > kMaxConcurrency) {
    return invalid_argument("concurrency is {}; it must be 1 to {}", request.concurrency(),
                            kMaxConcurrency);
  }
  spec.concurrency = std::max(1, request.concurrency());
  if (spec.concurrency > 1 && spec.dispatch != Dispatch::kPool) {
    return invalid_argument("concurrency {} needs dispatch = pool", spec.concurrency);
  }
  if (request.timeout_ms() < 0) {
    return invalid_argument("timeout_ms is {}; it must not be negative", request.timeout_ms());
  }
  spec.timeout =
      request.timeout_ms() > 0 ? std::chrono::milliseconds(request.timeout_ms()) : config.timeout;
  spec.retry.max_attempts = request.retry().max_attempts() > 0 ? request.retry().max_attempts()
                                                               : config.retry_max_attempts;
  spec.retry.first_delay = request.retry().first_delay_ms() > 0
                               ? std::chrono::milliseconds(request.retry().first_delay_ms())
                               : config.retry_first_delay;
  if (request.queue_events() < 0) {
    return invalid_argument("queue_events is {}; it must not be negative", request.queue_events());
  }
  spec.queue_events = request.queue_events() > 0 ? static_cast<std::size_t>(request.queue_events())
                                                 : config.queue_events;
  return spec;
}

std::string to_json(const WorkerSpec& spec) {
  JsonObject out;
  out.text("id", spec.id)
      .text("mime_type", spec.mime_type)
      .raw("topics", json_array(spec.topics))
      .raw("config", json_map(spec.config))
      .raw("tags", json_map(spec.tags))
      .text("group", spec.group)
      .raw("filter", std::move(JsonObject()
                                   .text("type", spec.filter.type)
                                   .text("subject", spec.filter.subject)
                                   .text("scenario_id", spec.filter.scenario_id)
                                   .text("clock_type", spec.filter.clock_type))
                         .finish())
      .text("scenario", spec.scenario)
      .text("overflow", spec.overflow ? name_of(kOverflow, *spec.overflow) : "")
      .text("dispatch", name_of(kDispatch, spec.dispatch))
      .raw("concurrency", std::to_string(spec.concurrency))
      .raw("timeout_ms", std::to_string(spec.timeout.count()))
      .raw("retry_max_attempts", std::to_string(spec.retry.max_attempts))
      .raw("retry_first_delay_ms", std::to_string(spec.retry.first_delay.count()))
      .raw("queue_events", std::to_string(spec.queue_events))
      .text("created_at", format_time(spec.created_at))
      .raw("running", spec.running ? "true" : "false")
      .text("code", to_base64(spec.code));
  return std::move(out).finish();
}

absl::StatusOr<WorkerSpec> spec_from_json(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  if (const auto error = parser.parse(json.data(), json.size()).get_object().get(root)) {
    return invalid_argument("worker record is not a JSON object: {}",
                            simdjson::error_message(error));
  }
  Reader in(root);
  WorkerSpec spec;
  spec.id = in.string("id");
  spec.mime_type = in.string("mime_type");
  spec.topics = in.strings("topics");
  spec.config = in.map("config");
  spec.tags = in.map("tags");
  spec.group = in.string("group");
  const auto filter = in.map("filter");
  const auto filter_value = [&](const char* name) {
    const auto at = filter.find(name);
    return at != filter.end() ? at->second : std::string{};
  };
  spec.filter = {filter_value("type"), filter_value("subject"), filter_value("scenario_id"),
                 filter_value("clock_type")};
  spec.scenario = in.string("scenario");
  const std::string overflow = in.string("overflow");
  const std::string dispatch = in.string("dispatch");
  spec.concurrency =
      static_cast<int>(std::clamp<std::int64_t>(in.integer("concurrency"), 1, kMaxConcurrency));
  spec.timeout = std::chrono::milliseconds(in.integer("timeout_ms"));
  spec.retry.max_attempts =
      static_cast<int>(std::clamp<std::int64_t>(in.integer("retry_max_attempts"), 1, 100));
  spec.retry.first_delay = std::chrono::milliseconds(in.integer("retry_first_delay_ms"));
  spec.queue_events =
      static_cast<std::size_t>(std::max<std::int64_t>(1, in.integer("queue_events")));
  const auto created = parse_time(in.string("created_at"));
  spec.running = in.boolean("running");
  auto code = from_base64(in.string("code"));
  VIRTUFIN_RETURN_IF_ERROR(in.status());

  if (!code.ok()) return with_context(code.status(), "worker record");
  spec.code = *std::move(code);
  if (!created) return invalid_argument("worker record: created_at is no RFC 3339 time");
  spec.created_at = *created;
  auto dispatch_value = by_name<Dispatch>(kDispatch, "worker record: dispatch", dispatch);
  if (!dispatch_value.ok()) return dispatch_value.status();
  spec.dispatch = *dispatch_value;
  if (!overflow.empty()) {
    auto value = by_name<bus::Overflow>(kOverflow, "worker record: overflow", overflow);
    if (!value.ok()) return value.status();
    spec.overflow = *value;
  }
  VIRTUFIN_RETURN_IF_ERROR(check_topics(spec.topics));
  return spec;
}

}  // namespace virtufin::workmanager
