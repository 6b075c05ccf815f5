#include "modules/wsm/records.h"

#include <google/protobuf/util/json_util.h>
#include <simdjson.h>

#include <algorithm>

#include "core/errors.h"
#include "core/json_text.h"
#include "core/log.h"

namespace virtufin::wsm {
namespace {

constexpr std::string_view kIndexKey = "websocketmanager.connection.index";
constexpr int kMaxTries = 20;  // of a change that others keep overtaking

std::string record_key(std::string_view id) {
  return fmt::format("websocketmanager.connection.{}", id);
}

absl::StatusOr<std::vector<std::string>> read_index(const std::string& json) {
  std::vector<std::string> ids;
  if (json.empty()) return ids;
  simdjson::dom::parser parser;
  simdjson::dom::array array;
  if (parser.parse(json).get(array) != simdjson::SUCCESS) {
    return internal_error("state: {} is not a JSON array: {}", kIndexKey, printable(json));
  }
  for (const simdjson::dom::element element : array) {
    std::string_view id;
    if (element.get(id) == simdjson::SUCCESS) ids.emplace_back(id);
  }
  return ids;
}

std::string write_index(const std::vector<std::string>& ids) {
  std::string json = "[";
  for (const std::string& id : ids) {
    if (json.size() > 1) json.push_back(',');
    append_json_string(json, id);
  }
  return json + "]";
}

}  // namespace

absl::StatusOr<std::string> to_json(const ConnectionRecord& record) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string request;
  const auto printed =
      google::protobuf::util::MessageToJsonString(record.request, &request, options);
  if (!printed.ok()) {
    return invalid_argument("connection {}: {}", record.id, std::string(printed.message()));
  }
  JsonObject json;
  json.text("id", record.id)
      .text("instance_id", record.instance_id)
      .text("url", record.request.url())
      .text("topic", record.request.topic())
      .boolean("auto_reconnect", record.request.auto_reconnect())
      .boolean("configured", record.configured)
      .boolean("publishing", record.publishing)
      .raw("request", request);
  return std::move(json).finish();
}

absl::StatusOr<ConnectionRecord> record_from_json(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  std::string_view id, instance;
  simdjson::dom::element request;
  ConnectionRecord record;
  if (parser.parse(json.data(), json.size()).get(object) != simdjson::SUCCESS ||
      object["id"].get(id) != simdjson::SUCCESS ||
      object["instance_id"].get(instance) != simdjson::SUCCESS ||
      object["configured"].get(record.configured) != simdjson::SUCCESS ||
      object["publishing"].get(record.publishing) != simdjson::SUCCESS ||
      object["request"].get(request) != simdjson::SUCCESS) {
    return internal_error("state: not a connection's record: {}", printable(json));
  }
  record.id = id;
  record.instance_id = instance;
  const auto read =
      google::protobuf::util::JsonStringToMessage(simdjson::minify(request), &record.request);
  if (!read.ok()) {
    return internal_error("state: connection {}: {}", printable(id), std::string(read.message()));
  }
  return record;
}

void ConnectionRecords::save(const ConnectionRecord& record, Done done) {
  auto json = to_json(record);
  if (!json.ok()) return done(json.status());
  enqueue({record.id, *std::move(json), std::move(done)});
}

void ConnectionRecords::erase(std::string id, Done done) {
  enqueue({std::move(id), {}, std::move(done)});
}

void ConnectionRecords::enqueue(Change change) {
  {
    const std::lock_guard lock(mutex_);
    changes_.push_back(std::move(change));
    if (changes_.size() > 1) return;
  }
  run_front();
}

void ConnectionRecords::run_front() {
  store_.get(std::string(kIndexKey), [self = shared_from_this()](absl::StatusOr<bus::Item> index) {
    if (!index.ok()) return self->finish(index.status());
    self->write(*index);
  });
}

void ConnectionRecords::write(const bus::Item& index) {
  auto ids = read_index(index.value);
  if (!ids.ok()) return finish(ids.status());
  std::string id, json;
  {
    const std::lock_guard lock(mutex_);
    id = changes_.front().id;
    json = changes_.front().json;
  }
  const bool erasing = json.empty();
  const bool listed = std::find(ids->begin(), ids->end(), id) != ids->end();
  std::vector<std::variant<bus::Save, bus::Erase>> writes;
  if (erasing) {
    writes.emplace_back(bus::Erase{record_key(id), {}});
    std::erase(*ids, id);
  } else {
    writes.emplace_back(bus::Save{record_key(id), json, {}, {}});
    if (!listed) ids->push_back(id);
  }
  if (listed == erasing) {
    const bus::Condition condition = index.etag.empty() ? bus::Condition(bus::IfAbsent{})
                                                        : bus::Condition(bus::IfEtag{index.etag});
    writes.emplace_back(bus::Save{std::string(kIndexKey), write_index(*ids), condition, {}});
  }
  store_.transact(std::move(writes),
                  [self = shared_from_this()](absl::StatusOr<std::monostate> written) {
                    if (written.status().code() == absl::StatusCode::kAborted) {
                      bool again = false;
                      {
                        const std::lock_guard lock(self->mutex_);
                        again = ++self->changes_.front().tries < kMaxTries;
                      }
                      if (again) return self->run_front();
                    }
                    self->finish(written.status());
                  });
}

void ConnectionRecords::finish(absl::Status status) {
  Done done;
  bool more = false;
  {
    const std::lock_guard lock(mutex_);
    done = std::move(changes_.front().done);
    changes_.pop_front();
    more = !changes_.empty();
  }
  done(std::move(status));
  if (more) run_front();
}

void ConnectionRecords::load(
    absl::AnyInvocable<void(absl::StatusOr<std::vector<ConnectionRecord>>)> done) {
  store_.get(std::string(kIndexKey), [self = shared_from_this(), done = std::move(done)](
                                         absl::StatusOr<bus::Item> index) mutable {
    auto ids = index.ok() ? read_index(index->value)
                          : absl::StatusOr<std::vector<std::string>>(index.status());
    if (!ids.ok()) return done(ids.status());
    std::vector<std::string> keys;
    for (const std::string& id : *ids) keys.push_back(record_key(id));
    if (keys.empty()) return done(std::vector<ConnectionRecord>{});
    self->store_.get(std::move(keys), [done = std::move(done)](
                                          absl::StatusOr<std::vector<bus::Item>> items) mutable {
      if (!items.ok()) return done(items.status());
      std::vector<ConnectionRecord> records;
      for (const bus::Item& item : *items) {
        if (item.value.empty()) continue;
        auto record = record_from_json(item.value);
        if (record.ok()) {
          records.push_back(*std::move(record));
        } else {
          logger("wsm")->error("{}: {}", item.key, message(record.status()));
        }
      }
      done(std::move(records));
    });
  });
}

}  // namespace virtufin::wsm
