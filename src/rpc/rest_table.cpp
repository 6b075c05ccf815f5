#include "rpc/rest_table.h"

#include "core/errors.h"
#include "core/log.h"
#include "google/api/annotations.pb.h"

namespace virtufin::rpc {
namespace {

/// The annotation of a method. One of a dynamic descriptor has it as an unknown field or as a
/// message of its own pool, so it is read back from the bytes.
google::api::HttpRule http_rule(const google::protobuf::MethodDescriptor* method) {
  const auto& options = method->options();
  if (options.HasExtension(google::api::http)) return options.GetExtension(google::api::http);
  google::protobuf::MethodOptions reparsed;
  if (!reparsed.ParseFromString(options.SerializeAsString())) return {};
  return reparsed.GetExtension(google::api::http);
}

}  // namespace

RestTable::RestTable(const MethodTable& methods, const std::deque<CustomRoute>& custom,
                     CallMetrics& metrics)
    : version_(methods.version()), rows_(methods.list()) {
  for (const CustomRoute& route : custom) {
    const auto status = router_.add(route.verb, route.path_template, targets_.size());
    if (!status.ok()) {
      logger("rpc")->error("route {} {}: {}", route.verb, route.path_template, message(status));
      continue;
    }
    targets_.push_back({&route, nullptr, route.stats});
  }
  for (const MethodPtr& method : rows_) {
    if (method->descriptor()->client_streaming()) continue;
    const google::api::HttpRule rule = http_rule(method->descriptor());
    add(method, rule, metrics);
    for (const auto& binding : rule.additional_bindings()) add(method, binding, metrics);
  }
}

void RestTable::add(const MethodPtr& method, const google::api::HttpRule& rule,
                    CallMetrics& metrics) {
  const auto [verb, path] = Transcoding::pattern(rule);
  if (verb.empty()) return;
  auto transcoding = Transcoding::make(method, rule, codec_, dynamic_);
  const auto status =
      transcoding.ok() ? router_.add(verb, path, targets_.size()) : transcoding.status();
  if (!status.ok()) {
    // A route of our own may stand in a method's place; anything else is worth knowing.
    const auto level = status.code() == absl::StatusCode::kAlreadyExists ? spdlog::level::debug
                                                                         : spdlog::level::warn;
    logger("rpc")->log(level, "{}: {}", method->full_name(), message(status));
    return;
  }
  targets_.push_back({nullptr, std::make_unique<Transcoding>(*std::move(transcoding)),
                      metrics.of(method->full_name())});
}

}  // namespace virtufin::rpc
