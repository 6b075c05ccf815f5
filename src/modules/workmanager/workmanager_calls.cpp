// The methods of virtufin.WorkManager.

#include <openssl/evp.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "core/errors.h"
#include "core/uuid.h"
#include "modules/workmanager/workmanager_impl.h"

namespace virtufin::workmanager {
namespace {

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  std::string out;
  for (unsigned int i = 0; i < length; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

bool same_hex(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  });
}

}  // namespace

template <class Reply>
void WorkManagerModule::Impl::on_blocking_pool(
    rpc::ReplyTo<Reply> reply, absl::AnyInvocable<void(Impl&, rpc::ReplyTo<Reply>)> work) {
  // Shared, because a full pool gives the task, and the reply in it, no way back.
  const auto held = std::make_shared<rpc::ReplyTo<Reply>>(std::move(reply));
  const bool posted =
      platform_.blocking.post([self = shared_from_this(), held, work = std::move(work)]() mutable {
        std::lock_guard lock(self->control_);
        if (self->stopped_) return (*held)(unavailable("the WorkManager is stopping"));
        work(*self, std::move(*held));
      });
  if (!posted) (*held)(resource_exhausted("too many changes of workers wait; try again"));
}

void WorkManagerModule::Impl::add_methods() {
  using rpc::CallPtr;
  using rpc::ReplyTo;
  auto& table = platform_.methods;
  const auto self = shared_from_this();
  table.unary<CreateWorkerRequest, CreateWorkerResponse>(
      kMethods[0],
      [self](CallPtr, const CreateWorkerRequest& request, ReplyTo<CreateWorkerResponse> reply) {
        if (!self->intake_) return reply(unavailable("the WorkManager is stopping"));
        self->on_blocking_pool<CreateWorkerResponse>(
            std::move(reply), [&request](Impl& impl, ReplyTo<CreateWorkerResponse> answer) {
              impl.create(request, std::move(answer));
            });
      });
  table.unary<StartWorkerRequest, StartWorkerResponse>(
      kMethods[1],
      [self](CallPtr, const StartWorkerRequest& request, ReplyTo<StartWorkerResponse> reply) {
        self->on_blocking_pool<StartWorkerResponse>(
            std::move(reply), [id = request.id()](Impl& impl, ReplyTo<StartWorkerResponse> answer) {
              impl.start_worker(id, std::move(answer));
            });
      });
  table.unary<StopWorkerRequest, StopWorkerResponse>(
      kMethods[2],
      [self](CallPtr, const StopWorkerRequest& request, ReplyTo<StopWorkerResponse> reply) {
        self->on_blocking_pool<StopWorkerResponse>(
            std::move(reply), [id = request.id()](Impl& impl, ReplyTo<StopWorkerResponse> answer) {
              impl.stop_worker(id, std::move(answer));
            });
      });
  table.unary<DeleteWorkerRequest, DeleteWorkerResponse>(
      kMethods[3],
      [self](CallPtr, const DeleteWorkerRequest& request, ReplyTo<DeleteWorkerResponse> reply) {
        self->on_blocking_pool<DeleteWorkerResponse>(
            std::move(reply),
            [id = request.id()](Impl& impl, ReplyTo<DeleteWorkerResponse> answer) {
              impl.delete_worker(id, std::move(answer));
            });
      });
  table.unary<ListWorkersRequest, ListWorkersResponse>(
      kMethods[4], [self](CallPtr, const ListWorkersRequest& request,
                          ReplyTo<ListWorkersResponse> reply) { reply(self->list(request)); });
}

void WorkManagerModule::Impl::create(const CreateWorkerRequest& request,
                                     rpc::ReplyTo<CreateWorkerResponse> reply) {
  {
    std::lock_guard lock(mutex_);
    if (entries_.size() >= config_.max_workers) {
      return reply(resource_exhausted("there are {} workers, the limit is max_workers = {}",
                                      entries_.size(), config_.max_workers));
    }
  }
  auto spec = spec_from_request(request, config_);
  if (!spec.ok()) return reply(spec.status());
  const auto& source = request.code_source();
  if (source.source_case() == CodeSource::kUrl) {
    return reply(unimplemented("code from a URL is not available yet; send it as content"));
  }
  if (source.source_case() != CodeSource::kContent || source.content().empty()) {
    return reply(invalid_argument("code_source.content is empty; send the worker's code"));
  }
  spec->code = source.content();
  if (!source.sha256().empty()) {
    const std::string actual = sha256_hex(spec->code);
    if (!same_hex(actual, source.sha256())) {
      return reply(invalid_argument("the code's SHA-256 is {}, code_source.sha256 says {}", actual,
                                    printable(source.sha256())));
    }
  }
  spec->id = random_uuid().view();
  spec->created_at = platform_.clock.now();
  spec->running = request.start();

  auto entry = make_entry(*std::move(spec), true);
  if (!entry.ok()) return reply(entry.status());
  const WorkerSpec& made = entry->worker->spec();
  auto status = records_.save(made);
  if (status.ok()) status = records_.add_to_index(made.id);
  if (status.ok()) {
    lifecycle_.publish(made, "created");
    if (entry->running) status = begin(*entry);
  }
  if (!status.ok()) {
    if (const auto erased = records_.erase(made.id); !erased.ok()) {
      log_->warn("the record of worker {} stays behind: {}", made.id, message(erased));
    }
    entry->worker->close();
    return reply(status);
  }
  {
    std::lock_guard lock(mutex_);
    entries_.emplace(made.id, *entry);
  }
  CreateWorkerResponse response;
  response.set_id(made.id);
  reply(std::move(response));
}

void WorkManagerModule::Impl::start_worker(const std::string& id,
                                           rpc::ReplyTo<StartWorkerResponse> reply) {
  auto entry = find(id);
  if (!entry.ok()) return reply(entry.status());
  auto status = begin(*entry);
  if (status.ok()) {
    {
      std::lock_guard lock(mutex_);
      entries_[id].recovering = false;
    }
    status = set_running(id, true);
  }
  if (!status.ok()) return reply(status);
  reply(StartWorkerResponse());
}

void WorkManagerModule::Impl::stop_worker(const std::string& id,
                                          rpc::ReplyTo<StopWorkerResponse> reply) {
  auto entry = find(id);
  if (!entry.ok()) return reply(entry.status());
  if (const auto status = set_running(id, false); !status.ok()) return reply(status);
  const bool was_stopped = entry->worker->state() == Worker::State::kStopped;
  if (!was_stopped) lifecycle_.publish(entry->worker->spec(), "stopping");
  entry->worker->stop([self = shared_from_this(), worker = entry->worker, was_stopped,
                       reply = std::move(reply)]() mutable {
    if (!was_stopped && !self->stopped_) self->lifecycle_.publish(worker->spec(), "stopped");
    reply(StopWorkerResponse());
  });
}

void WorkManagerModule::Impl::delete_worker(const std::string& id,
                                            rpc::ReplyTo<DeleteWorkerResponse> reply) {
  auto entry = find(id);
  if (!entry.ok()) return reply(entry.status());
  if (const auto status = records_.erase(id); !status.ok()) return reply(status);
  {
    std::lock_guard lock(mutex_);
    entries_[id].deleting = true;
  }
  // The rest waits for the event in hand and must not hold up other changes meanwhile.
  entry->worker->stop(
      [self = shared_from_this(), worker = entry->worker, reply = std::move(reply)]() mutable {
        self->remove(worker->spec().id);
        if (!self->stopped_) self->lifecycle_.publish(worker->spec(), "deleted");
        reply(DeleteWorkerResponse());
      });
}

void WorkManagerModule::Impl::fill(const Entry& entry, const std::string& instance,
                                   WorkerInfo& info) {
  const Worker& worker = *entry.worker;
  const WorkerSpec& spec = worker.spec();
  const Counts counts = worker.counts();
  const Worker::State state = worker.state();
  const bool running = state == Worker::State::kOnline || state == Worker::State::kDegraded ||
                       state == Worker::State::kStarting;
  info.set_id(spec.id);
  info.set_mime_type(spec.mime_type);
  info.set_language(std::string(entry.engine->label()));
  for (const auto& topic : spec.topics) info.add_topics(topic);
  info.set_created_at(format_time(spec.created_at));
  info.set_status(running ? WORKER_STATUS_RUNNING : WORKER_STATUS_STOPPED);
  info.mutable_config()->insert(spec.config.begin(), spec.config.end());
  info.mutable_tags()->insert(spec.tags.begin(), spec.tags.end());
  info.set_delivered(counts.delivered);
  info.set_processed(counts.processed);
  info.set_failed(counts.failed);
  info.set_dead_lettered(counts.dead_lettered);
  info.set_dropped(counts.dropped);
  info.set_in_flight(counts.in_flight);
  info.set_outputs(counts.outputs);
  info.set_orders(counts.orders);
  info.set_orders_recorded(counts.orders_recorded);
  info.set_lag_p50_us(worker.lag().quantile_ns(0.5) / 1000);
  info.set_lag_p99_us(worker.lag().quantile_ns(0.99) / 1000);
  info.set_last_error(worker.last_error());
  info.set_scenario(spec.scenario);
  info.set_state(std::string(workmanager::name(state)));
  info.set_instance(instance);
}

ListWorkersResponse WorkManagerModule::Impl::list(const ListWorkersRequest& request) const {
  std::vector<Entry> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : entries_) {
      if (!entry.deleting) all.push_back(entry);
    }
  }
  ListWorkersResponse response;
  for (const auto& entry : all) {
    const auto& tags = entry.worker->spec().tags;
    const bool wanted = std::all_of(request.filters().begin(), request.filters().end(),
                                    [&](const TagFilter& filter) {
                                      const auto at = tags.find(filter.key());
                                      return at != tags.end() && at->second == filter.value();
                                    });
    if (wanted) fill(entry, platform_.instance_id, *response.add_workers());
  }
  return response;
}

}  // namespace virtufin::workmanager
