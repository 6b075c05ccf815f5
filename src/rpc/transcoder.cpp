#include "rpc/transcoder.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver_util.h>
#include <simdjson.h>

#include <algorithm>

#include "core/errors.h"
#include "core/log.h"
#include "rpc/field_path.h"
#include "rpc/plain_json.h"
#include "rpc/uri.h"
#include "virtufin/common.pb.h"

namespace virtufin::rpc {
namespace {

namespace pb = google::protobuf;

constexpr char kTypeUrl[] = "type.googleapis.com";
constexpr std::string_view kTagPrefix = "tag.";

std::string type_url(const pb::Descriptor* type) {
  return std::string(kTypeUrl) + "/" + type->full_name();
}

std::string_view text(const pb::util::Status& status) {
  return {status.message().data(), status.message().size()};
}

/// The field `repeated virtufin.TagFilter filters`, or null.
const pb::FieldDescriptor* tag_filters(const pb::Descriptor* type) {
  const pb::FieldDescriptor* field = type->FindFieldByName("filters");
  const bool fits = field != nullptr && field->is_repeated() &&
                    field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE &&
                    field->message_type()->full_name() == TagFilter::descriptor()->full_name();
  return fits ? field : nullptr;
}

}  // namespace

pb::util::TypeResolver* JsonCodec::resolver(const pb::DescriptorPool* pool) {
  std::lock_guard lock(mutex_);
  auto& resolver = resolvers_[pool];
  if (resolver == nullptr) {
    resolver.reset(pb::util::NewTypeResolverForDescriptorPool(kTypeUrl, pool));
  }
  return resolver.get();
}

absl::Status JsonCodec::to_json(const pb::Message& message, std::string& out) {
  if (write_plain_json(message, out)) return absl::OkStatus();
  return to_json(message.GetDescriptor(), message.SerializeAsString(), out);
}

absl::Status JsonCodec::to_json(const pb::Descriptor* type, std::string_view bytes,
                                std::string& out) {
  pb::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  pb::io::ArrayInputStream input(bytes.data(), static_cast<int>(bytes.size()));
  pb::io::StringOutputStream output(&out);
  const auto status = pb::util::BinaryToJsonStream(resolver(type->file()->pool()), type_url(type),
                                                   &input, &output, options);
  if (status.ok()) return absl::OkStatus();
  return internal_error("a {} has no JSON: {}", type->full_name(), text(status));
}

absl::Status JsonCodec::from_json(std::string_view json, pb::Message& message) {
  message.Clear();
  if (read_plain_json(json, message)) return absl::OkStatus();
  message.Clear();
  const pb::Descriptor* type = message.GetDescriptor();
  pb::io::ArrayInputStream input(json.data(), static_cast<int>(json.size()));
  std::string bytes;
  {
    pb::io::StringOutputStream output(&bytes);
    const auto status = pb::util::JsonToBinaryStream(resolver(type->file()->pool()), type_url(type),
                                                     &input, &output, {});
    if (!status.ok()) {
      return invalid_argument("JSON that is no {}: {}", type->full_name(), text(status));
    }
  }
  if (!message.MergeFromString(bytes)) {
    return invalid_argument("JSON that is no {}", type->full_name());
  }
  return absl::OkStatus();
}

std::pair<std::string, std::string> Transcoding::pattern(const google::api::HttpRule& rule) {
  switch (rule.pattern_case()) {
    case google::api::HttpRule::kGet: return {"GET", rule.get()};
    case google::api::HttpRule::kPut: return {"PUT", rule.put()};
    case google::api::HttpRule::kPost: return {"POST", rule.post()};
    case google::api::HttpRule::kDelete: return {"DELETE", rule.delete_()};
    case google::api::HttpRule::kPatch: return {"PATCH", rule.patch()};
    case google::api::HttpRule::kCustom: return {rule.custom().kind(), rule.custom().path()};
    case google::api::HttpRule::PATTERN_NOT_SET: break;
  }
  return {};
}

absl::StatusOr<Transcoding> Transcoding::make(MethodPtr method, const google::api::HttpRule& rule,
                                              std::shared_ptr<JsonCodec> codec,
                                              std::shared_ptr<pb::MessageFactory> dynamic) {
  Transcoding made;
  const pb::Descriptor* input = method->descriptor()->input_type();
  const pb::Descriptor* output = method->descriptor()->output_type();
  if (input->file()->pool() == pb::DescriptorPool::generated_pool()) {
    made.prototype_ = pb::MessageFactory::generated_factory()->GetPrototype(input);
  } else {
    made.prototype_ = dynamic->GetPrototype(input);
    made.dynamic_ = std::move(dynamic);
  }
  if (rule.body() == "*") {
    made.body_ = Body::kWhole;
  } else if (!rule.body().empty()) {
    made.body_ = Body::kField;
    made.body_field_ = find_field(input, rule.body());
    if (made.body_field_ == nullptr) {
      return invalid_argument("{}: body names {}, which {} does not have", method->full_name(),
                              rule.body(), input->full_name());
    }
  }
  if (!rule.response_body().empty()) {
    made.reply_field_ = find_field(output, rule.response_body());
    if (made.reply_field_ == nullptr) {
      return invalid_argument("{}: response_body names {}, which {} does not have",
                              method->full_name(), rule.response_body(), output->full_name());
    }
  }
  made.method_ = std::move(method);
  made.codec_ = std::move(codec);
  return made;
}

absl::StatusOr<std::unique_ptr<pb::Message>> Transcoding::request(const Captures& captures,
                                                                  std::string_view query,
                                                                  std::string_view body) const {
  std::unique_ptr<pb::Message> message(prototype_->New());
  if (body_ != Body::kNone && !body.empty()) {
    if (auto status = read_body(body, *message); !status.ok()) return status;
  }
  if (!query.empty()) {
    if (auto status = read_query(captures, query, *message); !status.ok()) return status;
  }
  const auto read_json = [this](std::string_view json, pb::Message& into) {
    return codec_->from_json(json, into);
  };
  for (const auto& [field, value] : captures) {
    if (auto status = set_field(*message, field, value, read_json); !status.ok()) return status;
  }
  return message;
}

absl::Status Transcoding::read_body(std::string_view body, pb::Message& message) const {
  if (body_ == Body::kWhole) return codec_->from_json(body, message);
  if (body_field_->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE &&
      !body_field_->is_repeated()) {
    return codec_->from_json(body, *message.GetReflection()->MutableMessage(&message, body_field_));
  }
  // The body becomes a member's value, so it must be one value and not the end of an object.
  simdjson::dom::parser parser;
  const simdjson::padded_string padded(body.data(), body.size());
  if (const auto error = parser.parse(padded).error(); error != simdjson::SUCCESS) {
    return invalid_argument("JSON that is no value of {}: {}", body_field_->full_name(),
                            simdjson::error_message(error));
  }
  return codec_->from_json(fmt::format("{{\"{}\":{}}}", body_field_->json_name(), body), message);
}

absl::Status Transcoding::read_query(const Captures& captures, std::string_view query,
                                     pb::Message& message) const {
  const auto parameters = parse_query(query);
  if (!parameters) return invalid_argument("query: a broken %-escape in {}", printable(query));
  const pb::Descriptor* type = message.GetDescriptor();
  const auto unknown = [&](std::string_view name) {
    return invalid_argument("query: {} has no parameter {}", method_->full_name(), printable(name));
  };
  const auto read_json = [this](std::string_view json, pb::Message& into) {
    return codec_->from_json(json, into);
  };
  std::vector<const pb::FieldDescriptor*> seen;
  for (const auto& [name, value] : *parameters) {
    // With the whole message in the body, nothing is left for the query.
    if (body_ == Body::kWhole) return unknown(name);
    if (name.size() > kTagPrefix.size() && name.compare(0, kTagPrefix.size(), kTagPrefix) == 0) {
      if (const pb::FieldDescriptor* filters = tag_filters(type)) {
        pb::Message* filter = message.GetReflection()->AddMessage(&message, filters);
        VIRTUFIN_RETURN_IF_ERROR(
            set_field(*filter, "key", std::string_view(name).substr(kTagPrefix.size()), read_json));
        VIRTUFIN_RETURN_IF_ERROR(set_field(*filter, "value", value, read_json));
        continue;
      }
    }
    const std::string_view head = std::string_view(name).substr(0, name.find('.'));
    const pb::FieldDescriptor* field = find_field(type, head);
    if (field == nullptr || field == body_field_) return unknown(name);
    const bool captured = std::any_of(captures.begin(), captures.end(), [&](const auto& capture) {
      return find_field(type, capture.first) == field;
    });
    if (captured) return invalid_argument("query: {} stands in the path already", name);
    const bool whole = head.size() == name.size();
    if (whole && !field->is_repeated()) {
      if (std::find(seen.begin(), seen.end(), field) != seen.end()) {
        return invalid_argument("query: {} is given twice", name);
      }
      seen.push_back(field);
    }
    auto status = set_field(message, name, value, read_json);
    if (status.code() == absl::StatusCode::kNotFound) return unknown(name);
    if (!status.ok()) return with_context(status, "query");
  }
  return absl::OkStatus();
}

absl::Status Transcoding::reply(const pb::Message& message, std::string& out) const {
  VIRTUFIN_RETURN_IF_ERROR(codec_->to_json(message, out));
  return pick_reply_field(out);
}

absl::Status Transcoding::reply(std::string_view bytes, std::string& out) const {
  VIRTUFIN_RETURN_IF_ERROR(codec_->to_json(method_->descriptor()->output_type(), bytes, out));
  return pick_reply_field(out);
}

absl::Status Transcoding::pick_reply_field(std::string& json) const {
  if (reply_field_ == nullptr) return absl::OkStatus();
  simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(json);
  simdjson::ondemand::document document;
  simdjson::ondemand::value value;
  std::string_view raw;
  if (parser.iterate(padded).get(document) != simdjson::SUCCESS ||
      document[reply_field_->json_name()].get(value) != simdjson::SUCCESS) {
    json = "null";  // a message that is not set
    return absl::OkStatus();
  }
  if (simdjson::to_json_string(value).get(raw) != simdjson::SUCCESS) {
    return internal_error("{}: no JSON of {}", method_->full_name(), reply_field_->name());
  }
  json = std::string(raw);
  return absl::OkStatus();
}

}  // namespace virtufin::rpc
