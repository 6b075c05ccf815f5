#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>

namespace virtufin::rpc::test {

/// A generic client: calls by name, on messages of any kind. Each wait has a limit of ten seconds.
class GrpcClient {
 public:
  explicit GrpcClient(int port, grpc::ChannelArguments arguments = {})
      : channel_(grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                           grpc::InsecureChannelCredentials(), arguments)),
        stub_(channel_) {}

  /// One call: starts, writes, reads, ends; each step waits for itself.
  class Call {
   public:
    Call(grpc::GenericStub& stub, const std::string& path,
         std::map<std::string, std::string> metadata = {},
         std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
      for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
      context.set_deadline(std::chrono::system_clock::now() + timeout);
      stream_ = stub.PrepareCall(&context, path, &queue_);
      stream_->StartCall(tag(1));
      wait(1);
    }
    ~Call() {
      context.TryCancel();
      queue_.Shutdown();
      void* got = nullptr;
      bool ok = false;
      while (queue_.Next(&got, &ok)) {
      }
    }

    bool write(const std::string& bytes) {
      const grpc::Slice slice(bytes);
      stream_->Write(grpc::ByteBuffer(&slice, 1), tag(2));
      return wait(2);
    }
    bool writes_done() {
      stream_->WritesDone(tag(3));
      return wait(3);
    }
    bool read_metadata() {
      stream_->ReadInitialMetadata(tag(6));
      return wait(6);
    }
    bool read(std::string& bytes) {
      grpc::ByteBuffer buffer;
      stream_->Read(&buffer, tag(4));
      if (!wait(4)) return false;
      grpc::Slice slice;
      if (!buffer.DumpToSingleSlice(&slice).ok()) return false;
      bytes.assign(reinterpret_cast<const char*>(slice.begin()), slice.size());
      return true;
    }
    template <class Message>
    bool read(Message& message) {
      std::string bytes;
      return read(bytes) && message.ParseFromString(bytes);
    }
    grpc::Status finish() {
      grpc::Status status;
      stream_->Finish(&status, tag(5));
      wait(5);
      return status;
    }

    grpc::ClientContext context;

   private:
    static void* tag(std::intptr_t number) { return reinterpret_cast<void*>(number); }
    bool wait(std::intptr_t number) {
      void* got = nullptr;
      bool ok = false;
      if (!queue_.Next(&got, &ok) || got != tag(number)) throw std::logic_error("another tag");
      return ok;
    }

    grpc::CompletionQueue queue_;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  };

  std::unique_ptr<Call> start(const std::string& path,
                              std::map<std::string, std::string> metadata = {},
                              std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
    return std::make_unique<Call>(stub_, path, std::move(metadata), timeout);
  }

  template <class Request, class Reply>
  grpc::Status unary(const std::string& path, const Request& request, Reply& reply,
                     std::map<std::string, std::string> metadata = {},
                     std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
    const auto call = start(path, std::move(metadata), timeout);
    call->write(request.SerializeAsString());
    call->writes_done();
    call->read(reply);
    return call->finish();
  }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
};

}  // namespace virtufin::rpc::test
