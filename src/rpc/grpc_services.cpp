#include "rpc/grpc_services.h"

#include <algorithm>

#include "core/errors.h"
#include "core/log.h"
#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "rpc/reflection.h"

namespace virtufin::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr std::string_view kCheck = "grpc.health.v1.Health/Check";
constexpr std::string_view kWatch = "grpc.health.v1.Health/Watch";
constexpr std::string_view kReflection = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
constexpr std::string_view kReflectionAlpha =
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

std::vector<const google::protobuf::ServiceDescriptor*> own_descriptors() {
  return {HealthCheckRequest::descriptor()->file()->service(0),
          grpc::reflection::v1::ServerReflectionRequest::descriptor()->file()->service(0),
          grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()->file()->service(0)};
}

template <class Message>
bool parse(const Bytes& bytes, Message& message) {
  return message.ParseFromArray(bytes.view().data(), static_cast<int>(bytes.view().size()));
}

/// One request message, then `answer`.
template <class Answer>
void with_request(const std::shared_ptr<GrpcCall>& call, Answer answer) {
  call->serve([raw = call.get(), answer](const std::shared_ptr<const Bytes>& bytes) {
    HealthCheckRequest request;
    if (bytes == nullptr || !parse(*bytes, request)) {
      return raw->finish(invalid_argument("no readable HealthCheckRequest"));
    }
    answer(request);
  });
}

}  // namespace

bool OwnServices::serve(std::string_view name, const std::shared_ptr<GrpcCall>& call) {
  if (name == kCheck) {
    check(call);
  } else if (name == kWatch) {
    watch(call);
  } else if (name == kReflection || name == kReflectionAlpha) {
    reflect(call);
  } else {
    return false;
  }
  return true;
}

int OwnServices::status_of(const std::string& service) const {
  const auto own = own_descriptors();
  const auto rows = methods_.list();
  const bool known =
      service.empty() ||
      std::any_of(own.begin(), own.end(),
                  [&](const auto* descriptor) { return descriptor->full_name() == service; }) ||
      std::any_of(rows.begin(), rows.end(), [&](const MethodPtr& row) {
        return row->descriptor()->service()->full_name() == service;
      });
  if (!known) return HealthCheckResponse::SERVICE_UNKNOWN;
  return health_.ready() ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void OwnServices::check(const std::shared_ptr<GrpcCall>& call) {
  // The call outlives its own callback.
  with_request(call, [this, raw = call.get()](const HealthCheckRequest& request) {
    const int status = status_of(request.service());
    if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
      return raw->finish(not_found("no service {}", printable(request.service())));
    }
    HealthCheckResponse response;
    response.set_status(static_cast<HealthCheckResponse::ServingStatus>(status));
    raw->write(make_bytes(response), [](const absl::Status&) {});
    raw->finish(absl::OkStatus());
  });
}

void OwnServices::watch(const std::shared_ptr<GrpcCall>& call) {
  with_request(call, [this, raw = call.get()](const HealthCheckRequest& request) {
    if (draining_) return raw->finish(unavailable("this process is stopping"));
    auto watch = std::make_shared<Watch>();
    watch->call = raw->shared_from_this();
    watch->service = request.service();
    watches_.push_back(watch);
    tell(watch, status_of(watch->service));
  });
}

void OwnServices::tell(const std::shared_ptr<Watch>& watch, int status) {
  if (watch->busy || watch->told == status) return;
  watch->told = status;
  watch->busy = true;
  HealthCheckResponse response;
  response.set_status(static_cast<HealthCheckResponse::ServingStatus>(status));
  // Completed on the queue's thread, like everything here.
  watch->call->write(make_bytes(response), [watch](const absl::Status&) { watch->busy = false; });
}

bool OwnServices::tick() {
  std::erase_if(watches_, [](const auto& watch) { return watch->call->over(); });
  std::erase_if(reflections_, [](const auto& stream) {
    const auto call = stream.lock();
    return call == nullptr || call->over();
  });
  for (const auto& watch : watches_) tell(watch, status_of(watch->service));
  return !watches_.empty();
}

void OwnServices::drain() {
  draining_ = true;
  const absl::Status stopping = unavailable("this process is stopping");
  for (const auto& watch : watches_) {
    tell(watch, HealthCheckResponse::NOT_SERVING);
    watch->call->finish(stopping);
  }
  for (const auto& stream : reflections_) {
    if (const auto call = stream.lock()) call->finish(stopping);
  }
}

void OwnServices::reflect(const std::shared_ptr<GrpcCall>& call) {
  if (draining_) return call->finish(unavailable("this process is stopping"));
  std::erase_if(reflections_, [](const auto& stream) { return stream.expired(); });
  reflections_.push_back(call);
  auto reflection = std::make_shared<Reflection>(methods_, own_descriptors());
  call->serve([raw = call.get(), reflection](const std::shared_ptr<const Bytes>& bytes) {
    if (bytes == nullptr) return raw->finish(absl::OkStatus());
    grpc::reflection::v1::ServerReflectionRequest request;
    if (!parse(*bytes, request)) {
      return raw->finish(invalid_argument("no readable ServerReflectionRequest"));
    }
    // The next request is read when this answer is out, so that nothing queues up.
    raw->write(make_bytes(reflection->answer(request)),
               [call = raw->shared_from_this()](const absl::Status& status) {
                 if (status.ok()) call->read_next();
               });
  });
}

}  // namespace virtufin::rpc
