#include "load/order_stream.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <future>
#include <stdexcept>
#include <thread>

namespace virtufin::bench {

struct OrderStream::Impl {
  enum Tag : std::intptr_t { kStarted = 1, kWritten, kMetadata, kRead, kFinished };

  absl::AnyInvocable<void(std::size_t)> on_message;
  std::promise<bool> standing;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::unique_ptr<grpc::GenericStub> stub;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
  grpc::ByteBuffer request, message;
  grpc::Status status;
  std::thread thread;

  static void* tag(Tag value) { return reinterpret_cast<void*>(value); }

  void run() {
    void* which = nullptr;
    bool ok = false;
    while (queue.Next(&which, &ok)) {
      switch (static_cast<Tag>(reinterpret_cast<std::intptr_t>(which))) {
        case kStarted:
          if (ok) call->WriteLast(request, grpc::WriteOptions(), tag(kWritten));
          break;
        case kWritten:
          if (ok) call->ReadInitialMetadata(tag(kMetadata));
          break;
        case kMetadata:
          standing.set_value(ok);
          if (ok) {
            call->Read(&message, tag(kRead));
          } else {
            call->Finish(&status, tag(kFinished));
          }
          break;
        case kRead:
          if (!ok) {
            call->Finish(&status, tag(kFinished));
            break;
          }
          on_message(message.Length());
          message.Clear();
          call->Read(&message, tag(kRead));
          break;
        case kFinished: queue.Shutdown(); break;
      }
    }
  }
};

OrderStream::OrderStream(const std::string& target, const std::string& method, std::string request,
                         absl::AnyInvocable<void(std::size_t)> on_message)
    : impl_(std::make_unique<Impl>()) {
  impl_->on_message = std::move(on_message);
  auto channel = grpc::CreateChannel(target, grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
    throw std::runtime_error("no gRPC server at " + target);
  }
  impl_->stub = std::make_unique<grpc::GenericStub>(channel);
  grpc::Slice slice(request);
  impl_->request = grpc::ByteBuffer(&slice, 1);
  impl_->call = impl_->stub->PrepareCall(&impl_->context, method, &impl_->queue);
  impl_->call->StartCall(Impl::tag(Impl::kStarted));
  auto standing = impl_->standing.get_future();
  impl_->thread = std::thread([this] { impl_->run(); });
  if (standing.wait_for(std::chrono::seconds(10)) != std::future_status::ready || !standing.get()) {
    impl_->context.TryCancel();
    impl_->thread.join();
    throw std::runtime_error(method + " was refused: " + impl_->status.error_message());
  }
}

OrderStream::~OrderStream() {
  impl_->context.TryCancel();
  if (impl_->thread.joinable()) impl_->thread.join();
}

}  // namespace virtufin::bench
