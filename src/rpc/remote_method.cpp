#include "rpc/remote_method.h"

#include <limits>

#include "core/errors.h"
#include "rpc/remote_call.h"

namespace virtufin::rpc {
namespace {

using google::protobuf::Message;

/// Takes the one message of a unary call, for a caller that wants it parsed.
class ParsedReply final : public ServerStream {
 public:
  ParsedReply(std::unique_ptr<Message> reply, ReplyTo<std::unique_ptr<Message>> to)
      : reply_(std::move(reply)), to_(std::move(to)) {}
  ~ParsedReply() override { finish(internal_error("the call ended without an answer")); }

  void start(std::vector<std::pair<std::string, std::string>>) override {}
  void write(BytesPtr message, absl::AnyInvocable<void(absl::Status)> written) override {
    const std::string_view bytes = view(*message);
    parsed_ = bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()) &&
              reply_->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    written(absl::OkStatus());
  }
  void finish(absl::Status status) override {
    if (!to_) return;
    auto to = std::exchange(to_, nullptr);
    if (!status.ok()) return to(std::move(status));
    if (!parsed_) {
      return to(internal_error("the backend answered with bytes that are no {}",
                               reply_->GetDescriptor()->full_name()));
    }
    to(std::move(reply_));
  }

 private:
  std::unique_ptr<Message> reply_;
  bool parsed_ = false;
  ReplyTo<std::unique_ptr<Message>> to_;
};

}  // namespace

RemoteMethod::RemoteMethod(std::shared_ptr<Backend> backend,
                           std::shared_ptr<const ServiceDescriptors> descriptors,
                           const google::protobuf::MethodDescriptor* descriptor)
    : backend_(std::move(backend)),
      descriptors_(std::move(descriptors)),
      descriptor_(descriptor),
      full_name_(rpc::full_name(*descriptor)),
      path_("/" + full_name_) {}

void RemoteMethod::call(CallPtr call, BytesPtr request,
                        std::shared_ptr<ServerStream> replies) const {
  if (descriptor_->client_streaming()) {
    return replies->finish(unimplemented("{}: streams of requests are not served", full_name_));
  }
  if (descriptor_->server_streaming()) {
    return call_stream(backend_, path_, std::move(call), std::move(request), std::move(replies));
  }
  call_unary(backend_, path_, std::move(call), std::move(request), std::move(replies));
}

void RemoteMethod::call(CallPtr call, const Message& request,
                        ReplyTo<std::unique_ptr<Message>> reply) const {
  if (descriptor_->client_streaming() || descriptor_->server_streaming()) {
    return reply(
        unimplemented("{} answers a stream of messages, not one; call it as a stream", full_name_));
  }
  call_unary(backend_, path_, std::move(call), make_bytes(request),
             std::make_shared<ParsedReply>(descriptors_->make(descriptor_->output_type()),
                                           std::move(reply)));
}

}  // namespace virtufin::rpc
