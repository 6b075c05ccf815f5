#include "modules/gateway/state_service.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/log.h"
#include "modules/gateway/state_change.h"
#include "virtufin/state.pb.h"

namespace virtufin::gateway {
namespace {

constexpr std::string_view kConflict = "CONFLICT:";

/// A condition that did not hold, in the words that clients look for; other errors as they are.
absl::Status as_conflict(const absl::Status& status, std::string_view key) {
  if (!absl::IsAborted(status) || message(status).substr(0, kConflict.size()) == kConflict) {
    return status;
  }
  return aborted("{} key '{}': {}; read it again and repeat the change", kConflict, printable(key),
                 message(status));
}

void set_ok(StatusResponse& status) {
  status.set_success(true);
  status.set_status("OK");
}

bus::Condition condition_of(const std::string& etag) {
  if (etag.empty()) {
    return {};
  }
  return bus::IfEtag{etag};
}

StateItem to_proto_item(bus::Item item) {
  StateItem out;
  out.set_key(std::move(item.key));
  out.set_value(std::move(item.value));
  out.set_etag(std::move(item.etag));
  return out;
}

/// The handlers' shared part. Immutable after construction.
class StateService : public std::enable_shared_from_this<StateService> {
 public:
  StateService(bus::StateStore& store, bus::Bus& bus, const Clock& clock, Metrics& metrics,
               const GatewayConfig& config)
      : config_(config),
        services_(registered_services(config)),
        store_(store),
        notifier_(bus, clock, metrics) {}

  void register_methods(rpc::MethodTable& methods);

 private:
  void save(const rpc::CallPtr& call, const SaveStateRequest& request,
            rpc::ReplyTo<SaveStateResponse> reply) const;
  void erase(const rpc::CallPtr& call, const DeleteStateRequest& request,
             rpc::ReplyTo<DeleteStateResponse> reply) const;
  void query(const QueryStateRequest& request, rpc::ReplyTo<QueryStateResponse> reply) const;
  void get_bulk(const GetBulkStateRequest& request, rpc::ReplyTo<GetBulkStateResponse> reply) const;
  void delete_bulk(const rpc::CallPtr& call, const DeleteBulkStateRequest& request,
                   rpc::ReplyTo<DeleteBulkStateResponse> reply) const;

  absl::Status check_service(const std::string& service) const;
  absl::Status check(const std::string& service, const std::string& key) const;
  template <class Keys>
  absl::Status check_keys(const std::string& service, const Keys& keys) const;
  absl::Status check_save(const SaveStateRequest& request) const;

  const GatewayConfig config_;
  const std::vector<std::string> services_;
  bus::StateStore& store_;
  const StateNotifier notifier_;
};

absl::Status StateService::check_service(const std::string& service) const {
  if (std::find(services_.begin(), services_.end(), service) != services_.end()) {
    return absl::OkStatus();
  }
  return invalid_argument(
      "service '{}' is not registered; known are {}; add more by state.services",
      printable(service), fmt::join(services_, ", "));
}

absl::Status StateService::check(const std::string& service, const std::string& key) const {
  VIRTUFIN_RETURN_IF_ERROR(check_service(service));
  if (key.empty()) {
    return invalid_argument("key is empty; name the record");
  }
  if (key.size() > config_.max_key_bytes) {
    return invalid_argument("key '{}' has {} bytes; at most {} are taken (gateway.max_key_bytes)",
                            printable(key, 40), key.size(), config_.max_key_bytes);
  }
  return absl::OkStatus();
}

template <class Keys>
absl::Status StateService::check_keys(const std::string& service, const Keys& keys) const {
  VIRTUFIN_RETURN_IF_ERROR(check_service(service));
  if (static_cast<std::size_t>(keys.size()) > config_.max_bulk_keys) {
    return invalid_argument("{} keys are more than one call takes: {} (gateway.max_bulk_keys)",
                            keys.size(), config_.max_bulk_keys);
  }
  for (const std::string& key : keys) {
    VIRTUFIN_RETURN_IF_ERROR(check(service, key));
  }
  return absl::OkStatus();
}

absl::Status StateService::check_save(const SaveStateRequest& request) const {
  VIRTUFIN_RETURN_IF_ERROR(check(request.service(), request.key()));
  if (request.value().size() > config_.max_value_bytes) {
    return invalid_argument("value has {} bytes; at most {} are taken (gateway.max_value_bytes)",
                            request.value().size(), config_.max_value_bytes);
  }
  if (request.ttl_seconds() < 0) {
    return invalid_argument("ttl_seconds is {}; give a positive number, or 0 to keep for ever",
                            request.ttl_seconds());
  }
  if (request.change_topic().empty() == request.has_change_event()) {
    return invalid_argument(
        "change_topic and change_event belong together; give both, or none for the default event");
  }
  return absl::OkStatus();
}

void StateService::save(const rpc::CallPtr& call, const SaveStateRequest& request,
                        rpc::ReplyTo<SaveStateResponse> reply) const {
  if (absl::Status status = check_save(request); !status.ok()) {
    return reply(std::move(status));
  }
  EventPtr change_event;
  if (request.has_change_event()) {
    // Before the write, so that a malformed event is the caller's error and changes nothing.
    auto event = event_from_proto(request.change_event());
    if (!event.ok()) {
      return reply(with_context(event.status(), "change_event"));
    }
    change_event = *std::move(event);
  }
  bus::Save save{request.key(), request.value(), condition_of(request.etag()), std::nullopt};
  if (request.ttl_seconds() > 0) {
    save.ttl = std::chrono::seconds(request.ttl_seconds());
  }
  store_.save(std::move(save),
              [self = shared_from_this(), call, &request, change_event = std::move(change_event),
               reply = std::move(reply)](absl::StatusOr<std::string> etag) mutable {
                if (!etag.ok()) {
                  return reply(as_conflict(etag.status(), request.key()));
                }
                if (request.publish_change() && change_event) {
                  self->notifier_.publish(request.change_topic(), std::move(change_event));
                } else if (request.publish_change()) {
                  StateChange change;
                  change.service = request.service();
                  change.key = request.key();
                  change.value = request.include_value() ? &request.value() : nullptr;
                  change.correlation_id = call->metadata("correlationid");
                  self->notifier_.notify(change);
                }
                SaveStateResponse response;
                set_ok(*response.mutable_status());
                response.set_etag(*std::move(etag));
                reply(std::move(response));
              });
}

void StateService::erase(const rpc::CallPtr& call, const DeleteStateRequest& request,
                         rpc::ReplyTo<DeleteStateResponse> reply) const {
  if (absl::Status status = check(request.service(), request.key()); !status.ok()) {
    return reply(std::move(status));
  }
  auto go_on = [self = shared_from_this(), call, &request,
                reply = std::move(reply)](absl::StatusOr<bus::Item> before) mutable {
    if (!before.ok()) {
      return reply(before.status());
    }
    // The request outlives the reply; the shared pointer must outlive the call that it makes.
    bus::StateStore& store = self->store_;
    store.erase({request.key(), condition_of(request.etag())},
                [self = std::move(self), call, &request, value = std::move(before->value),
                 reply = std::move(reply)](const absl::StatusOr<std::monostate>& erased) mutable {
                  if (!erased.ok()) {
                    return reply(as_conflict(erased.status(), request.key()));
                  }
                  if (request.publish_change()) {
                    StateChange change;
                    change.service = request.service();
                    change.saved = false;
                    change.key = request.key();
                    change.value = request.include_value() ? &value : nullptr;
                    change.correlation_id = call->metadata("correlationid");
                    self->notifier_.notify(change);
                  }
                  DeleteStateResponse response;
                  set_ok(*response.mutable_status());
                  reply(std::move(response));
                });
  };
  if (request.publish_change() && request.include_value()) {
    store_.get(request.key(), std::move(go_on));  // what is told is the value that went
  } else {
    go_on(bus::Item{});
  }
}

void StateService::query(const QueryStateRequest& request,
                         rpc::ReplyTo<QueryStateResponse> reply) const {
  if (absl::Status status = check_service(request.service()); !status.ok()) {
    return reply(std::move(status));
  }
  if (request.limit() < 0) {
    return reply(invalid_argument("limit is {}; give 1 to {}, or 0 for that", request.limit(),
                                  config_.max_query_items));
  }
  const std::size_t limit = request.limit() == 0
                                ? config_.max_query_items
                                : std::min<std::size_t>(static_cast<std::size_t>(request.limit()),
                                                        config_.max_query_items);
  store_.query(request.query(), limit,
               [reply = std::move(reply)](absl::StatusOr<std::vector<bus::Item>> items) mutable {
                 if (!items.ok()) {
                   return reply(items.status());
                 }
                 QueryStateResponse response;
                 for (bus::Item& item : *items) {
                   *response.add_items() = to_proto_item(std::move(item));
                 }
                 reply(std::move(response));
               });
}

void StateService::get_bulk(const GetBulkStateRequest& request,
                            rpc::ReplyTo<GetBulkStateResponse> reply) const {
  if (absl::Status status = check_keys(request.service(), request.keys()); !status.ok()) {
    return reply(std::move(status));
  }
  store_.get(std::vector<std::string>(request.keys().begin(), request.keys().end()),
             [reply = std::move(reply)](absl::StatusOr<std::vector<bus::Item>> items) mutable {
               if (!items.ok()) {
                 return reply(items.status());
               }
               GetBulkStateResponse response;
               for (bus::Item& item : *items) {
                 *response.add_items() = to_proto_item(std::move(item));
               }
               reply(std::move(response));
             });
}

/// A bulk deletion under way: each key succeeds or fails for itself; the last one answers.
struct BulkDeletion {
  rpc::CallPtr call;
  const DeleteBulkStateRequest* request;
  rpc::ReplyTo<DeleteBulkStateResponse> reply;
  std::mutex mutex;
  std::vector<absl::Status> results;
  std::size_t left;
};

void StateService::delete_bulk(const rpc::CallPtr& call, const DeleteBulkStateRequest& request,
                               rpc::ReplyTo<DeleteBulkStateResponse> reply) const {
  if (absl::Status status = check_keys(request.service(), request.keys()); !status.ok()) {
    return reply(std::move(status));
  }
  const auto count = static_cast<std::size_t>(request.keys_size());
  const auto finish = [self = shared_from_this()](BulkDeletion& bulk) {
    DeleteBulkStateResponse response;
    std::vector<std::string> deleted;
    const absl::Status* first_error = nullptr;
    for (std::size_t i = 0; i < bulk.results.size(); ++i) {
      const std::string& key = bulk.request->keys(static_cast<int>(i));
      if (bulk.results[i].ok()) {
        deleted.push_back(key);
      } else {
        response.add_failed_keys(key);
        first_error = first_error == nullptr ? &bulk.results[i] : first_error;
      }
    }
    if (first_error == nullptr) {
      set_ok(*response.mutable_status());
    } else {
      response.mutable_status()->set_status("ERROR");
      response.mutable_status()->set_message(
          fmt::format("{} of {} keys were not deleted; the first: {}", response.failed_keys_size(),
                      bulk.results.size(), message(*first_error)));
    }
    if (bulk.request->publish_change() && !deleted.empty()) {
      StateChange change;
      change.service = bulk.request->service();
      change.saved = false;
      change.keys = &deleted;
      change.correlation_id = bulk.call->metadata("correlationid");
      self->notifier_.notify(change);
    }
    bulk.reply(std::move(response));
  };

  auto bulk = std::make_shared<BulkDeletion>();
  bulk->call = call;
  bulk->request = &request;
  bulk->reply = std::move(reply);
  bulk->results.resize(count);
  bulk->left = count;
  if (count == 0) {
    return finish(*bulk);
  }
  for (std::size_t i = 0; i < count; ++i) {
    // The last answer frees the request; the loop reads it only before that.
    store_.erase({request.keys(static_cast<int>(i)), {}},
                 [bulk, i, finish](const absl::StatusOr<std::monostate>& erased) {
                   {
                     const std::lock_guard lock(bulk->mutex);
                     bulk->results[i] = erased.status();
                     if (--bulk->left > 0) {
                       return;
                     }
                   }
                   finish(*bulk);
                 });
  }
}

void StateService::register_methods(rpc::MethodTable& methods) {
  const auto self = shared_from_this();
  methods.unary<SaveStateRequest, SaveStateResponse>(
      "virtufin.State/SaveState", [self](const rpc::CallPtr& call, const SaveStateRequest& request,
                                         rpc::ReplyTo<SaveStateResponse> reply) {
        self->save(call, request, std::move(reply));
      });
  methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState", [self](const rpc::CallPtr&, const GetStateRequest& request,
                                        rpc::ReplyTo<GetStateResponse> reply) {
        if (absl::Status status = self->check(request.service(), request.key()); !status.ok()) {
          return reply(std::move(status));
        }
        self->store_.get(request.key(),
                         [reply = std::move(reply)](absl::StatusOr<bus::Item> item) mutable {
                           if (!item.ok()) {
                             return reply(item.status());
                           }
                           GetStateResponse response;
                           response.set_key(std::move(item->key));
                           response.set_value(std::move(item->value));
                           response.set_etag(std::move(item->etag));
                           reply(std::move(response));
                         });
      });
  methods.unary<DeleteStateRequest, DeleteStateResponse>(
      "virtufin.State/DeleteState",
      [self](const rpc::CallPtr& call, const DeleteStateRequest& request,
             rpc::ReplyTo<DeleteStateResponse> reply) {
        self->erase(call, request, std::move(reply));
      });
  methods.unary<QueryStateRequest, QueryStateResponse>(
      "virtufin.State/QueryState",
      [self](const rpc::CallPtr&, const QueryStateRequest& request,
             rpc::ReplyTo<QueryStateResponse> reply) { self->query(request, std::move(reply)); });
  methods.unary<GetBulkStateRequest, GetBulkStateResponse>(
      "virtufin.State/GetBulkState", [self](const rpc::CallPtr&, const GetBulkStateRequest& request,
                                            rpc::ReplyTo<GetBulkStateResponse> reply) {
        self->get_bulk(request, std::move(reply));
      });
  methods.unary<DeleteBulkStateRequest, DeleteBulkStateResponse>(
      "virtufin.State/DeleteBulkState",
      [self](const rpc::CallPtr& call, const DeleteBulkStateRequest& request,
             rpc::ReplyTo<DeleteBulkStateResponse> reply) {
        self->delete_bulk(call, request, std::move(reply));
      });
}

}  // namespace

void register_state_service(rpc::MethodTable& methods, bus::StateStore& store, bus::Bus& bus,
                            const Clock& clock, Metrics& metrics, const GatewayConfig& config) {
  std::make_shared<StateService>(store, bus, clock, metrics, config)->register_methods(methods);
}

}  // namespace virtufin::gateway
