#include "modules/wsm/wsm.h"

#include <algorithm>

#include "core/errors.h"
#include "modules/wsm/manager.h"

namespace virtufin::wsm {
namespace {

constexpr std::string_view kConnect = "virtufin.WebSocketManager/Connect";
constexpr std::string_view kList = "virtufin.WebSocketManager/List";
constexpr std::string_view kDisconnect = "virtufin.WebSocketManager/Disconnect";
constexpr std::string_view kStartPublish = "virtufin.WebSocketManager/StartPublish";
constexpr std::string_view kStopPublish = "virtufin.WebSocketManager/StopPublish";

bool has_tag(const WebSocketConnection& connection, const TagFilter& filter) {
  const auto found = connection.tags().find(filter.key());
  return found != connection.tags().end() && found->second == filter.value();
}

/// The answer of a method that says nothing but whether it worked.
template <class Response>
Connection::Done answering(rpc::ReplyTo<Response> reply) {
  return [reply = std::move(reply)](absl::Status status) mutable {
    if (!status.ok()) return reply(std::move(status));
    reply(Response{});
  };
}

}  // namespace

struct WsmModule::Impl {
  rpc::MethodTable& methods;
  std::shared_ptr<ConnectionManager> manager;  ///< null if the config is wrong
  absl::Status config;

  void register_methods();
};

WsmModule::WsmModule(Platform& platform, WsmConfig config)
    : impl_(std::make_shared<Impl>(Impl{platform.methods, nullptr, absl::OkStatus()})) {
  auto guard = AddressGuard::create(config.allow_private_hosts);
  if (!guard.ok()) {
    impl_->config = guard.status();
    return;
  }
  auto around =
      std::make_shared<Surroundings>(platform.clock, platform.bus, platform.store, platform.metrics,
                                     platform.instance_id, std::move(config), *std::move(guard));
  impl_->manager = std::make_shared<ConnectionManager>(std::move(around), platform.loops);
  impl_->register_methods();
}

WsmModule::~WsmModule() {
  for (const std::string_view method :
       {kConnect, kList, kDisconnect, kStartPublish, kStopPublish}) {
    impl_->methods.remove(method);
  }
}

void WsmModule::Impl::register_methods() {
  methods.unary<ConnectRequest, ConnectResponse>(
      kConnect, [manager = manager](rpc::CallPtr call, const ConnectRequest& request,
                                    rpc::ReplyTo<ConnectResponse> reply) {
        manager->connect(request, [manager, call = std::move(call), reply = std::move(reply)](
                                      absl::StatusOr<std::string> id) mutable {
          if (!id.ok()) return reply(id.status());
          if (call && call->cancelled()) {
            // Nobody is left to learn the id.
            return manager->disconnect(
                *id, [reply = std::move(reply)](const absl::Status&) mutable {
                  reply(cancelled("the caller went away before the connection stood"));
                });
          }
          ConnectResponse response;
          response.set_id(*id);
          response.set_status(std::string(wsm::name(ConnectionStatus::kConnected)));
          reply(std::move(response));
        });
      });
  methods.unary<ListRequest, ListResponse>(
      kList, [manager = manager](rpc::CallPtr, const ListRequest& request,
                                 rpc::ReplyTo<ListResponse> reply) {
        ListResponse response;
        for (WebSocketConnection& connection : manager->list()) {
          const auto& filters = request.filters();
          if (std::all_of(filters.begin(), filters.end(),
                          [&](const TagFilter& filter) { return has_tag(connection, filter); })) {
            *response.add_connections() = std::move(connection);
          }
        }
        reply(std::move(response));
      });
  methods.unary<DisconnectRequest, DisconnectResponse>(
      kDisconnect, [manager = manager](rpc::CallPtr, const DisconnectRequest& request,
                                       rpc::ReplyTo<DisconnectResponse> reply) {
        manager->disconnect(request.id(), answering<DisconnectResponse>(std::move(reply)));
      });
  methods.unary<StartPublishRequest, StartPublishResponse>(
      kStartPublish, [manager = manager](rpc::CallPtr, const StartPublishRequest& request,
                                         rpc::ReplyTo<StartPublishResponse> reply) {
        manager->start_publish(request.id(), request.topic(),
                               answering<StartPublishResponse>(std::move(reply)));
      });
  methods.unary<StopPublishRequest, StopPublishResponse>(
      kStopPublish, [manager = manager](rpc::CallPtr, const StopPublishRequest& request,
                                        rpc::ReplyTo<StopPublishResponse> reply) {
        manager->stop_publish(request.id(), answering<StopPublishResponse>(std::move(reply)));
      });
}

absl::Status WsmModule::start() {
  VIRTUFIN_RETURN_IF_ERROR(impl_->config);
  impl_->manager->start();
  return absl::OkStatus();
}

void WsmModule::close_intake() {
  if (impl_->manager) impl_->manager->close_intake();
}

void WsmModule::stop(std::chrono::steady_clock::time_point deadline) {
  if (impl_->manager) impl_->manager->stop(deadline);
}

std::vector<HealthEntry> WsmModule::health() const {
  return {{"wsm", impl_->manager ? impl_->manager->health() : impl_->config}};
}

Totals WsmModule::totals() const { return impl_->manager ? impl_->manager->totals() : Totals{}; }

}  // namespace virtufin::wsm
