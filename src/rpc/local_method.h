#pragma once

// The rows of local services: MethodTable's templates. Included by method.h.

#include <string>
#include <utility>

#include "rpc/method.h"

namespace virtufin::rpc {

/// What every local row has: its name and its descriptor, found in the generated protos.
class LocalMethod : public Method {
 public:
  std::string_view full_name() const final { return full_name_; }
  const google::protobuf::MethodDescriptor* descriptor() const final { return descriptor_; }

 protected:
  /// Throws std::logic_error unless the protos have that method with these messages.
  LocalMethod(std::string_view full_name, const google::protobuf::Descriptor* request,
              const google::protobuf::Descriptor* reply, bool server_streaming);

  /// INVALID_ARGUMENT if the bytes are no such message.
  absl::Status parse(const Bytes& bytes, google::protobuf::Message& request) const;
  absl::Status not_unary() const;

 private:
  std::string full_name_;
  const google::protobuf::MethodDescriptor* descriptor_;
};

template <class Request, class Reply>
class LocalUnary final : public LocalMethod {
 public:
  using Handler = absl::AnyInvocable<void(CallPtr, const Request&, ReplyTo<Reply>) const>;

  LocalUnary(std::string_view full_name, Handler handler)
      : LocalMethod(full_name, Request::descriptor(), Reply::descriptor(), false),
        handler_(std::move(handler)) {}

  void call(CallPtr call, BytesPtr bytes, std::shared_ptr<ServerStream> replies) const override {
    // One allocation for what lives until the reply; the pointer fits into the callback itself.
    struct Held {
      Request request;
      std::shared_ptr<ServerStream> replies;
    };
    auto held = std::make_unique<Held>();
    if (auto status = parse(*bytes, held->request); !status.ok()) return replies->finish(status);
    bytes = nullptr;
    held->replies = std::move(replies);
    const Request& request = held->request;
    handler_(std::move(call), request, [held = std::move(held)](absl::StatusOr<Reply> reply) {
      if (!reply.ok()) return held->replies->finish(reply.status());
      held->replies->write(make_bytes(*reply), [](absl::Status) {});
      held->replies->finish(absl::OkStatus());
    });
  }

  void call(CallPtr call, const google::protobuf::Message& request,
            ReplyTo<std::unique_ptr<google::protobuf::Message>> reply) const override {
    // The same reflection object: the same C++ class, not merely the same proto message.
    if (request.GetReflection() == Request::default_instance().GetReflection()) {
      return handler_(std::move(call), static_cast<const Request&>(request),
                      wrap(std::move(reply)));
    }
    auto copy = std::make_unique<Request>();
    if (auto status = parse(*make_bytes(request), *copy); !status.ok()) return reply(status);
    const Request& seen = *copy;
    handler_(std::move(call), seen,
             [copy = std::move(copy), reply = wrap(std::move(reply))](
                 absl::StatusOr<Reply> typed) mutable { reply(std::move(typed)); });
  }

 private:
  static ReplyTo<Reply> wrap(ReplyTo<std::unique_ptr<google::protobuf::Message>> reply) {
    return [reply = std::move(reply)](absl::StatusOr<Reply> typed) mutable {
      if (!typed.ok()) return reply(typed.status());
      reply(std::unique_ptr<google::protobuf::Message>(std::make_unique<Reply>(*std::move(typed))));
    };
  }

  Handler handler_;
};

template <class Request>
class LocalServerStream final : public LocalMethod {
 public:
  using Handler =
      absl::AnyInvocable<void(CallPtr, const Request&, std::shared_ptr<ServerStream>) const>;

  LocalServerStream(std::string_view full_name, Handler handler)
      : LocalMethod(full_name, Request::descriptor(), nullptr, true),
        handler_(std::move(handler)) {}

  void call(CallPtr call, BytesPtr bytes, std::shared_ptr<ServerStream> replies) const override {
    struct Held {
      Request request;
      std::shared_ptr<ServerStream> replies;
    };
    auto held = std::make_shared<Held>();
    if (auto status = parse(*bytes, held->request); !status.ok()) return replies->finish(status);
    held->replies = std::move(replies);
    const Request& request = held->request;
    ServerStream* stream = held->replies.get();
    handler_(std::move(call), request, std::shared_ptr<ServerStream>(std::move(held), stream));
  }

  void call(CallPtr, const google::protobuf::Message&,
            ReplyTo<std::unique_ptr<google::protobuf::Message>> reply) const override {
    reply(not_unary());
  }

 private:
  Handler handler_;
};

template <class Request, class Reply>
void MethodTable::unary(
    std::string_view full_name,
    absl::AnyInvocable<void(CallPtr, const Request&, ReplyTo<Reply>) const> handler) {
  add(std::make_shared<LocalUnary<Request, Reply>>(full_name, std::move(handler)));
}

template <class Request>
void MethodTable::server_stream(
    std::string_view full_name,
    absl::AnyInvocable<void(CallPtr, const Request&, std::shared_ptr<ServerStream>) const>
        handler) {
  add(std::make_shared<LocalServerStream<Request>>(full_name, std::move(handler)));
}

}  // namespace virtufin::rpc
