#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "core/errors.h"
#include "google/api/annotations.pb.h"
#include "rpc/transcoder.h"
#include "virtufin/pubsub.pb.h"
#include "virtufin/state.pb.h"
#include "virtufin/workmanager.pb.h"

/// The bindings of a few methods with all kinds of fields, for the fuzz targets of transcoding.
namespace virtufin::rpc::fuzz {

class Described final : public Method {
 public:
  explicit Described(const google::protobuf::MethodDescriptor* descriptor)
      : descriptor_(descriptor) {}
  std::string_view full_name() const override { return descriptor_->full_name(); }
  const google::protobuf::MethodDescriptor* descriptor() const override { return descriptor_; }
  void call(CallPtr, BytesPtr, std::shared_ptr<ServerStream> replies) const override {
    replies->finish(unimplemented("only its descriptor is used"));
  }
  void call(CallPtr, const google::protobuf::Message&,
            ReplyTo<std::unique_ptr<google::protobuf::Message>> reply) const override {
    reply(unimplemented("only its descriptor is used"));
  }

 private:
  const google::protobuf::MethodDescriptor* descriptor_;
};

struct Binding {
  Transcoding transcoding;
  std::shared_ptr<JsonCodec> codec;
  auto request(const Transcoding::Captures& captures, std::string_view query,
               std::string_view body) const {
    return transcoding.request(captures, query, body);
  }
};

inline const std::vector<Binding>& bindings() {
  static const auto* const kBindings = [] {
    auto* all = new std::vector<Binding>;
    const auto codec = std::make_shared<JsonCodec>();
    for (const google::protobuf::FileDescriptor* file :
         {SubscribeRequest::descriptor()->file(), GetStateRequest::descriptor()->file(),
          CreateWorkerRequest::descriptor()->file()}) {
      for (int i = 0; i < file->service(0)->method_count(); ++i) {
        const auto method = std::make_shared<Described>(file->service(0)->method(i));
        auto made = Transcoding::make(
            method, method->descriptor()->options().GetExtension(google::api::http), codec,
            std::make_shared<google::protobuf::DynamicMessageFactory>());
        if (!made.ok()) std::abort();
        all->push_back({*std::move(made), codec});
      }
    }
    return all;
  }();
  return *kBindings;
}

}  // namespace virtufin::rpc::fuzz
