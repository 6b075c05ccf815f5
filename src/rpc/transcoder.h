#pragma once

#include <absl/status/statusor.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/type_resolver.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "google/api/http.pb.h"
#include "rpc/method.h"

namespace virtufin::rpc {

/// JSON by the standard proto3 mapping, lowerCamelCase out with every field, both spellings in. The
/// type resolvers are made once a descriptor pool, because making one costs more than using it.
///
/// Threads: any. Its pools must outlive it.
class JsonCodec {
 public:
  absl::Status to_json(const google::protobuf::Message& message, std::string& out);
  absl::Status to_json(const google::protobuf::Descriptor* type, std::string_view bytes,
                       std::string& out);
  /// Makes the message what the text says. Unknown members are INVALID_ARGUMENT naming them.
  absl::Status from_json(std::string_view text, google::protobuf::Message& message);

 private:
  google::protobuf::util::TypeResolver* resolver(const google::protobuf::DescriptorPool* pool);

  std::mutex mutex_;
  std::map<const google::protobuf::DescriptorPool*,
           std::unique_ptr<google::protobuf::util::TypeResolver>>
      resolvers_;
};

/// One google.api.http binding of one method: makes the request message of a path's captures, the
/// query and the body, and the JSON of a reply.
///
/// A query name may be in either spelling and dotted (`filter.type=`), repeated for a repeated
/// field; `tag.<key>=<value>` adds to a field `repeated virtufin.TagFilter filters`. A name that
/// leads nowhere is INVALID_ARGUMENT naming it.
/// Threads: any.
class Transcoding {
 public:
  using Captures = std::vector<std::pair<std::string_view, std::string>>;

  /// INVALID_ARGUMENT if the rule names fields that the messages do not have.
  static absl::StatusOr<Transcoding> make(
      MethodPtr method, const google::api::HttpRule& rule, std::shared_ptr<JsonCodec> codec,
      std::shared_ptr<google::protobuf::MessageFactory> dynamic);

  /// Verb and path template of a rule; empty verb if it has none.
  static std::pair<std::string, std::string> pattern(const google::api::HttpRule& rule);

  const Method& method() const { return *method_; }
  absl::StatusOr<std::unique_ptr<google::protobuf::Message>> request(const Captures& captures,
                                                                     std::string_view query,
                                                                     std::string_view body) const;
  absl::Status reply(const google::protobuf::Message& message, std::string& out) const;
  /// The same from the bytes of a message of a stream.
  absl::Status reply(std::string_view bytes, std::string& out) const;

 private:
  enum class Body { kNone, kWhole, kField };

  Transcoding() = default;
  absl::Status read_body(std::string_view body, google::protobuf::Message& message) const;
  absl::Status read_query(const Captures& captures, std::string_view query,
                          google::protobuf::Message& message) const;
  absl::Status pick_reply_field(std::string& json) const;

  MethodPtr method_;
  std::shared_ptr<JsonCodec> codec_;
  std::shared_ptr<google::protobuf::MessageFactory> dynamic_;  ///< owns a dynamic prototype
  const google::protobuf::Message* prototype_ = nullptr;
  Body body_ = Body::kNone;
  const google::protobuf::FieldDescriptor* body_field_ = nullptr;
  const google::protobuf::FieldDescriptor* reply_field_ = nullptr;
};

}  // namespace virtufin::rpc
