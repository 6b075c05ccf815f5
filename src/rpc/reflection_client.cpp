#include "rpc/reflection_client.h"

#include <grpc/support/time.h>

#include <deque>
#include <set>

#include "core/errors.h"
#include "core/log.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "rpc/grpc_bytes.h"

namespace virtufin::rpc {
namespace {

using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

constexpr char kMethod[] = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
constexpr char kMethodAlpha[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

bool is_infrastructure(const std::string& service) {
  return service.rfind("grpc.reflection.", 0) == 0 || service.rfind("grpc.health.", 0) == 0;
}

/// One question and its answer at a time: first the services, then the file of each, then what
/// these import. Holds itself until it has ended. v1alpha has the same messages.
class Fetch final : public CompletionTag,
                    public ClientQueue::Operation,
                    public std::enable_shared_from_this<Fetch> {
 public:
  Fetch(std::shared_ptr<Backend> backend, const char* method, DescriptorsDone done)
      : backend_(std::move(backend)),
        host_(backend_->next()),
        method_(method),
        done_(std::move(done)) {}

  void begin() {
    if (!backend_->queue().enter(this)) return done_(cancelled("this process is stopping"));
    self_ = shared_from_this();
    const auto limit = backend_->limits().descriptors_timeout.count();
    context_.set_deadline(
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(limit, GPR_TIMESPAN)));
    stream_ = host_.stub.PrepareCall(&context_, method_, backend_->queue().get());
    ServerReflectionRequest list;
    list.set_list_services("");
    questions_.push_back(std::move(list));
    stream_->StartCall(tag());
  }

  void cancel() override { context_.TryCancel(); }

  void run(bool ok) override {
    if (step_ == Step::kFinish) return end();
    if (!ok) return finish();
    switch (step_) {
      case Step::kStart: ask(); break;
      case Step::kWrite:
        step_ = Step::kRead;
        stream_->Read(&received_, tag());
        break;
      case Step::kRead:
        result_ = take();
        if (!result_.ok()) {
          context_.TryCancel();
          return finish();
        }
        ask();
        break;
      case Step::kDone: finish(); break;
      case Step::kFinish: break;
    }
  }

 private:
  enum class Step { kStart, kWrite, kRead, kDone, kFinish };

  void* tag() { return static_cast<CompletionTag*>(this); }

  void ask() {
    while (!questions_.empty()) {
      const ServerReflectionRequest question = std::move(questions_.front());
      questions_.pop_front();
      // Answers bring more files than were asked for.
      if (question.has_file_by_filename() && files_.count(question.file_by_filename()) != 0) {
        continue;
      }
      step_ = Step::kWrite;
      return stream_->Write(shared_buffer(*make_bytes(question)), tag());
    }
    complete_ = true;
    step_ = Step::kDone;
    stream_->WritesDone(tag());
  }

  absl::Status take() {
    const ReceivedBytes bytes(received_);
    ServerReflectionResponse response;
    received_bytes_ += bytes.view().size();
    if (received_bytes_ > backend_->limits().max_descriptor_bytes) {
      return resource_exhausted(
          "its descriptors are more than {} bytes "
          "(gateway.backends.max_descriptor_bytes)",
          backend_->limits().max_descriptor_bytes);
    }
    if (!response.ParseFromArray(bytes.view().data(), static_cast<int>(bytes.view().size()))) {
      return invalid_argument("its reflection answers with bytes that are no answer");
    }
    if (response.has_error_response()) {
      return make_status(absl::StatusCode::kInvalidArgument, "its reflection answers: {}",
                         printable(response.error_response().error_message()));
    }
    for (const auto& service : response.list_services_response().service()) {
      if (is_infrastructure(service.name())) continue;
      services_.push_back(service.name());
      ServerReflectionRequest question;
      question.set_file_containing_symbol(service.name());
      questions_.push_back(std::move(question));
    }
    for (const std::string& text : response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      if (!file.ParseFromString(text)) {
        return invalid_argument("its reflection answers with bytes that are no file");
      }
      for (const std::string& dependency : file.dependency()) {
        if (!asked_.insert(dependency).second) continue;
        ServerReflectionRequest question;
        question.set_file_by_filename(dependency);
        questions_.push_back(std::move(question));
      }
      const std::string name = file.name();
      files_[name] = std::move(file);
    }
    return absl::OkStatus();
  }

  void finish() {
    step_ = Step::kFinish;
    stream_->Finish(&status_, tag());
  }

  void end() {
    absl::Status status = result_;
    if (status.ok() && !complete_) {
      status = from_grpc(status_);
      if (status.ok()) status = unavailable("its reflection ended without an answer");
    }
    const auto self = std::move(self_);
    backend_->queue().leave(this);
    if (absl::IsUnimplemented(status) && method_ == kMethod) {
      return std::make_shared<Fetch>(backend_, kMethodAlpha, std::move(done_))->begin();
    }
    if (!status.ok()) return done_(backend_->describe(host_, status));
    done_(ServiceDescriptors::from_files(files_, services_));
  }

  const std::shared_ptr<Backend> backend_;
  Backend::Host& host_;
  const char* const method_;
  DescriptorsDone done_;
  std::shared_ptr<Fetch> self_;

  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::ByteBuffer received_;
  grpc::Status status_;
  Step step_ = Step::kStart;

  std::deque<ServerReflectionRequest> questions_;
  std::set<std::string> asked_;  ///< files by name
  std::vector<std::string> services_;
  ServiceDescriptors::Files files_;
  std::size_t received_bytes_ = 0;
  bool complete_ = false;
  absl::Status result_;
};

}  // namespace

void fetch_descriptors(std::shared_ptr<Backend> backend, DescriptorsDone done) {
  std::make_shared<Fetch>(std::move(backend), kMethod, std::move(done))->begin();
}

}  // namespace virtufin::rpc
