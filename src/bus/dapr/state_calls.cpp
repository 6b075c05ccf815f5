#include "bus/dapr/state_calls.h"

#include <google/protobuf/empty.pb.h>

#include <unordered_map>
#include <utility>

#include "core/errors.h"
#include "core/log.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

namespace virtufin::bus::sidecar {
namespace {

namespace common = dapr::proto::common::v1;
namespace runtime = dapr::proto::runtime::v1;
using google::protobuf::Empty;

constexpr auto kFirstWrite = common::StateOptions::CONCURRENCY_FIRST_WRITE;
constexpr char kTtl[] = "ttlInSeconds";

common::StateItem make_item(const Write& write) {
  common::StateItem item;
  item.set_key(std::string(write.key));
  item.set_value(std::string(write.value));
  if (!write.etag.empty()) item.mutable_etag()->set_value(std::string(write.etag));
  if (write.first_write) item.mutable_options()->set_concurrency(kFirstWrite);
  // Without it some components (Redis) keep the ttl of the version before.
  if (!write.erase) {
    (*item.mutable_metadata())[kTtl] = write.ttl ? std::to_string(write.ttl->count()) : "-1";
  }
  return item;
}

/// A `done` for calls that answer nothing.
template <class Observe>
absl::AnyInvocable<void(absl::StatusOr<Empty>)> told(Observe observe, StateCalls::Told done) {
  return [observe, done = std::move(done)](absl::StatusOr<Empty> answer) mutable {
    observe(answer.status());
    done(answer.status());
  };
}

}  // namespace

StateCalls::StateCalls(Sidecar& sidecar)
    : sidecar_(sidecar), store_(sidecar.config().state_store) {}

void StateCalls::get(const std::string& key, Done<Item> done) {
  runtime::GetStateRequest request;
  request.set_store_name(store_);
  request.set_key(key);
  sidecar_.call<runtime::GetStateResponse>(
      "GetState", request, {config().call_timeout, true},
      [this, key,
       done = std::move(done)](absl::StatusOr<runtime::GetStateResponse> answer) mutable {
        observe(answer.status());
        if (!answer.ok()) return done(explained(answer.status()));
        done(Item{std::move(key), std::move(*answer->mutable_data()),
                  std::move(*answer->mutable_etag())});
      });
}

void StateCalls::get_many(std::vector<std::string> keys, Done<std::vector<Item>> done) {
  runtime::GetBulkStateRequest request;
  request.set_store_name(store_);
  for (const std::string& key : keys) request.add_keys(key);
  sidecar_.call<runtime::GetBulkStateResponse>(
      "GetBulkState", request, {config().call_timeout, true},
      [this, keys = std::move(keys),
       done = std::move(done)](absl::StatusOr<runtime::GetBulkStateResponse> answer) mutable {
        observe(answer.status());
        if (!answer.ok()) return done(explained(answer.status()));
        std::unordered_map<std::string_view, runtime::BulkStateItem*> found;
        for (auto& item : *answer->mutable_items()) found.emplace(item.key(), &item);
        std::vector<Item> items;
        items.reserve(keys.size());
        for (std::string& key : keys) {
          const auto item = found.find(key);
          if (item == found.end()) {
            items.push_back({std::move(key), {}, {}});
            continue;
          }
          auto& [name, state] = *item;
          if (!state->error().empty()) {
            return done(unavailable("state store '{}' could not read key '{}': {}", store_,
                                    printable(key), printable(state->error())));
          }
          items.push_back({std::move(key), std::move(*state->mutable_data()),
                           std::move(*state->mutable_etag())});
        }
        done(std::move(items));
      });
}

void StateCalls::save(const std::vector<Write>& writes, Told done) {
  runtime::SaveStateRequest request;
  request.set_store_name(store_);
  for (const Write& write : writes) *request.add_states() = make_item(write);
  sidecar_.call<Empty>(
      "SaveState", request, {config().call_timeout, true},
      told([this](const absl::Status& status) { wrote(status); }, std::move(done)));
}

void StateCalls::erase(const Write& write, Told done) {
  runtime::DeleteStateRequest request;
  request.set_store_name(store_);
  request.set_key(std::string(write.key));
  if (!write.etag.empty()) request.mutable_etag()->set_value(std::string(write.etag));
  if (write.first_write) request.mutable_options()->set_concurrency(kFirstWrite);
  sidecar_.call<Empty>(
      "DeleteState", request, {config().call_timeout, true},
      told([this](const absl::Status& status) { wrote(status); }, std::move(done)));
}

void StateCalls::transact(const std::vector<Write>& writes, Told done) {
  runtime::ExecuteStateTransactionRequest request;
  request.set_storename(store_);
  for (const Write& write : writes) {
    auto* operation = request.add_operations();
    operation->set_operationtype(write.erase ? "delete" : "upsert");
    *operation->mutable_request() = make_item(write);
  }
  sidecar_.call<Empty>(
      "ExecuteStateTransaction", request, {config().call_timeout, true},
      told([this](const absl::Status& status) { wrote(status); }, std::move(done)));
}

void StateCalls::query(const std::string& query, Done<std::vector<Item>> done) {
  const auto cannot = [this](std::string_view words) {
    return unimplemented("state store '{}' cannot query{}{}: list by an index key instead", store_,
                         words.empty() ? "" : ": ", words);
  };
  if (const auto info = sidecar_.info()) {
    const auto* component = info->find("state", store_);
    if (component && !component->can("QUERY_API")) return done(cannot(""));
  }
  runtime::QueryStateRequest request;
  request.set_store_name(store_);
  request.set_query(query);
  sidecar_.call<runtime::QueryStateResponse>(
      "QueryStateAlpha1", request, {config().call_timeout, true},
      [this, cannot,
       done = std::move(done)](absl::StatusOr<runtime::QueryStateResponse> answer) mutable {
        const absl::Status& status = answer.status();
        if (status.code() == absl::StatusCode::kInternal ||
            status.code() == absl::StatusCode::kUnimplemented) {
          return done(cannot(message(status)));
        }
        if (!status.ok()) return done(explained(status));
        std::vector<Item> items;
        for (auto& item : *answer->mutable_results()) {
          items.push_back({std::move(*item.mutable_key()), std::move(*item.mutable_data()),
                           std::move(*item.mutable_etag())});
        }
        done(std::move(items));
      });
}

void StateCalls::after(std::chrono::milliseconds delay, absl::AnyInvocable<void()> task) {
  sidecar_.after(delay, std::move(task));
}

bool StateCalls::is_outage(const absl::Status& told) {
  switch (told.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled: return true;
    default: return false;
  }
}

bool StateCalls::is_refusal(const absl::Status& told) {
  switch (told.code()) {
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown: return true;
    default: return false;
  }
}

absl::Status StateCalls::explained(const absl::Status& told) const {
  const std::string_view words = message(told);
  switch (told.code()) {
    case absl::StatusCode::kOk: return told;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return unavailable("state store '{}' failed behind the sidecar: {}", store_, words);
    case absl::StatusCode::kCancelled: return unavailable("state store '{}': {}", store_, words);
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnavailable: {
      const absl::Status away = sidecar_.reachable();
      return unavailable("state store '{}': {}", store_, away.ok() ? words : message(away));
    }
    default: break;
  }
  if (const auto info = sidecar_.info(); info && !info->find("state", store_)) {
    return invalid_argument(
        "no state store is named '{}'; the sidecar has: {}; see bus.dapr.state_store", store_,
        info->names("state"));
  }
  return with_context(told, fmt::format("state store '{}'", store_));
}

absl::Status StateCalls::health() const {
  std::lock_guard lock(mutex_);
  return last_;
}

void StateCalls::observe(const absl::Status& told) {
  if (told.ok() && healthy_.load(std::memory_order_relaxed)) return;
  absl::Status status = explained(told);
  std::lock_guard lock(mutex_);
  healthy_.store(status.ok(), std::memory_order_relaxed);
  last_ = std::move(status);
}

void StateCalls::wrote(const absl::Status& told) {
  // A refusal may be an etag's, so that only a read tells whether the component is ill.
  if (told.ok() || is_outage(told)) observe(told);
}

}  // namespace virtufin::bus::sidecar
