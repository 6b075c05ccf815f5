#include "dapr/bare_client.h"

#include <fmt/format.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <deque>
#include <future>
#include <stdexcept>
#include <thread>

#include "dapr/proto/runtime/v1/dapr.pb.h"

namespace virtufin::bench {
namespace {

namespace rt = ::dapr::proto::runtime::v1;

constexpr const char* kService = "/dapr.proto.runtime.v1.Dapr/";
constexpr const char* kContentType = "application/cloudevents+json";

std::shared_ptr<grpc::Channel> connect(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetInt("grpc.use_local_subchannel_pool", 1);  // a connection of its own
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

struct BareClient::Impl {
  std::shared_ptr<grpc::Channel> channel;
  grpc::CompletionQueue queue;

  template <class Response, class Request>
  Response call(const char* method, const Request& request) {
    grpc::TemplatedGenericStub<Request, Response> stub(channel);
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    auto call = stub.PrepareUnaryCall(&context, std::string(kService) + method, request, &queue);
    call->StartCall();
    Response response;
    grpc::Status status;
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    if (!status.ok()) {
      throw std::runtime_error(fmt::format("{}: {}", method, status.error_message()));
    }
    return response;
  }
};

BareClient::BareClient(const std::string& endpoint) : impl_(std::make_unique<Impl>()) {
  impl_->channel = connect(endpoint);
}

BareClient::~BareClient() {
  impl_->queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (impl_->queue.Next(&tag, &ok)) {
  }
}

void BareClient::publish(const std::string& component, const std::string& topic,
                         const std::string& event) {
  rt::PublishEventRequest request;
  request.set_pubsub_name(component);
  request.set_topic(topic);
  request.set_data(event);
  request.set_data_content_type(kContentType);
  impl_->call<google::protobuf::Empty>("PublishEvent", request);
}

void BareClient::publish_bulk(const std::string& component, const std::string& topic,
                              const std::vector<std::string>& events) {
  rt::BulkPublishRequest request;
  request.set_pubsub_name(component);
  request.set_topic(topic);
  for (std::size_t i = 0; i < events.size(); ++i) {
    auto& entry = *request.add_entries();
    entry.set_entry_id(std::to_string(i));
    entry.set_event(events[i]);
    entry.set_content_type(kContentType);
  }
  const auto response = impl_->call<rt::BulkPublishResponse>("BulkPublishEvent", request);
  if (response.failedentries_size() != 0) {
    throw std::runtime_error("BulkPublishEvent: " + response.failedentries(0).error());
  }
}

void BareClient::save(const std::string& store, const std::string& key, const std::string& value) {
  rt::SaveStateRequest request;
  request.set_store_name(store);
  auto& item = *request.add_states();
  item.set_key(key);
  item.set_value(value);
  impl_->call<google::protobuf::Empty>("SaveState", request);
}

std::string BareClient::get(const std::string& store, const std::string& key) {
  rt::GetStateRequest request;
  request.set_store_name(store);
  request.set_key(key);
  return impl_->call<rt::GetStateResponse>("GetState", request).data();
}

struct BareSubscription::Impl {
  using Request = rt::SubscribeTopicEventsRequestAlpha1;
  using Response = rt::SubscribeTopicEventsResponseAlpha1;
  enum Tag : std::intptr_t { kStart, kFirst, kRead, kWrite, kFinish };

  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Request, Response>> stream;
  Response message;
  Request answer;
  std::deque<std::string> unanswered;
  bool writing = false;
  std::promise<void> stands;
  grpc::Status status;
  absl::AnyInvocable<void()> on_event;
  std::thread thread;

  static void* tag(Tag of) { return reinterpret_cast<void*>(of); }

  void write() {
    if (writing || unanswered.empty()) return;
    writing = true;
    auto& processed = *answer.mutable_event_processed();
    processed.set_id(std::move(unanswered.front()));
    processed.mutable_status()->set_status(rt::TopicEventResponse::SUCCESS);
    unanswered.pop_front();
    stream->Write(answer, tag(kWrite));
  }

  void run(const Request& first) {
    void* done = nullptr;
    bool ok = false, finishing = false;
    while (queue.Next(&done, &ok)) {
      const auto what = static_cast<Tag>(reinterpret_cast<std::intptr_t>(done));
      if (what == kFinish) break;
      if (!ok) {
        if (!finishing) stream->Finish(&status, tag(kFinish));
        finishing = true;
        continue;
      }
      if (what == kStart) {
        stream->Write(first, tag(kFirst));
        stream->Read(&message, tag(kRead));
      } else if (what == kWrite) {
        writing = false;
        write();
      } else if (what == kRead) {
        if (message.has_event_message()) {
          unanswered.push_back(std::move(*message.mutable_event_message()->mutable_id()));
          on_event();
          write();
        } else {
          stands.set_value();
        }
        stream->Read(&message, tag(kRead));
      }
    }
  }
};

BareSubscription::BareSubscription(const std::string& endpoint, const std::string& component,
                                   const std::string& topic, absl::AnyInvocable<void()> on_event)
    : impl_(std::make_unique<Impl>()) {
  impl_->channel = connect(endpoint);
  impl_->on_event = std::move(on_event);
  impl_->context.set_wait_for_ready(true);
  Impl::Request first;
  first.mutable_initial_request()->set_pubsub_name(component);
  first.mutable_initial_request()->set_topic(topic);
  grpc::TemplatedGenericStub<Impl::Request, Impl::Response> stub(impl_->channel);
  impl_->stream = stub.PrepareCall(
      &impl_->context, std::string(kService) + "SubscribeTopicEventsAlpha1", &impl_->queue);
  impl_->stream->StartCall(Impl::tag(Impl::kStart));
  impl_->thread = std::thread([impl = impl_.get(), first] { impl->run(first); });
  if (impl_->stands.get_future().wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
    impl_->context.TryCancel();
    impl_->thread.join();
    throw std::runtime_error("the subscription does not stand: " + impl_->status.error_message());
  }
}

BareSubscription::~BareSubscription() {
  impl_->context.TryCancel();
  if (impl_->thread.joinable()) impl_->thread.join();
}

}  // namespace virtufin::bench
