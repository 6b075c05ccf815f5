#include "modules/gateway/stream_query.h"

#include "core/errors.h"
#include "core/log.h"
#include "virtufin/common.pb.h"

namespace virtufin::gateway {

absl::StatusOr<StreamRequest> stream_request_from_query(
    const std::vector<std::pair<std::string, std::string>>& query) {
  StreamRequest request;
  RoutingFilter filter;
  for (const auto& [name, value] : query) {
    if (name == "topics") {
      std::size_t begin = 0;
      while (begin <= value.size()) {
        const std::size_t end = std::min(value.find(',', begin), value.size());
        if (end > begin) {
          request.topics.push_back(value.substr(begin, end - begin));
        }
        begin = end + 1;
      }
      continue;
    }
    std::string* field = nullptr;
    if (name == "type") {
      field = filter.mutable_type();
    } else if (name == "subject") {
      field = filter.mutable_subject();
    } else if (name == "scenarioid") {
      field = filter.mutable_scenario_id();
    } else if (name == "clocktype") {
      field = filter.mutable_clock_type();
    } else {
      return invalid_argument(
          "query parameter '{}' is unknown; there are topics, type, subject, scenarioid, clocktype",
          printable(name));
    }
    if (!field->empty()) {
      return invalid_argument("query parameter '{}' is given twice", name);
    }
    *field = value;
  }
  auto compiled = StreamFilter::create(filter);
  if (!compiled.ok()) {
    return compiled.status();
  }
  request.filter = *std::move(compiled);
  return request;
}

}  // namespace virtufin::gateway
